//! The command as a person or a script meets it.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn kilngrad(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kilngrad")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The JSON object that ends standard output, which holds nothing else.
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// Training and test loss of each epoch, as printed.
fn losses(output: &Output) -> Vec<[f64; 2]> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.parse::<usize>().ok()?;
            Some([words.next()?.parse().ok()?, words.next()?.parse().ok()?])
        })
        .collect()
}

#[test]
fn train_reaches_its_accuracy_and_says_so() {
    let output = kilngrad(&["train", "mlp"]);
    assert_eq!(losses(&output).len(), 30);
    let stdout = text(&output.stdout);
    for words in ["4,810 in 4 tensors", "1,437 training rows, 360 test rows", "arena", "next:"] {
        assert!(stdout.contains(words), "expected {words:?} in:\n{stdout}");
    }
    let row = json(&kilngrad(&["train", "mlp", "--json"]));
    assert!(row["value"].as_f64().unwrap() >= 0.95, "{row}");
    assert_eq!(
        (&row["model"], &row["metric"], &row["epochs"]),
        (&Value::from("mlp"), &Value::from("accuracy"), &Value::from(30))
    );
    for key in ["loss", "seconds", "compile_ms"] {
        assert!(row[key].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn a_seed_gives_the_same_losses_at_every_run_and_number_of_threads() {
    let run =
        |more: &[&str]| losses(&kilngrad(&[&["train", "mlp", "--epochs", "4"], more].concat()));
    let once = run(&["--seed", "5"]);
    assert_eq!(once, run(&["--seed", "5"]));
    assert_eq!(once, run(&["--seed", "5", "--threads", "2"]));
    assert_ne!(once, run(&["--seed", "6"]));
}

#[test]
fn native_code_follows_the_interpreter() {
    for (float, bound) in [("f32", 1e-3), ("f64", 1e-6)] {
        for processor in ["native", "baseline"] {
            let args = ["train", "mlp", "--epochs", "5", "--float", float];
            let native = losses(&kilngrad(&[&args[..], &["--processor", processor]].concat()));
            let slow = losses(&kilngrad(&[&args[..], &["--interp"]].concat()));
            assert_eq!(native.len(), 5);
            for (one, other) in native.iter().flatten().zip(slow.iter().flatten()) {
                assert!((one - other).abs() < bound, "{float} on {processor}: {one} {other}");
            }
        }
    }
    // The object has more digits than the lines.
    let args = ["train", "mlp", "--epochs", "5", "--float", "f64", "--json"];
    let native = json(&kilngrad(&args))["loss"].as_f64().unwrap();
    let slow = json(&kilngrad(&[&args[..], &["--interp"]].concat()))["loss"].as_f64().unwrap();
    assert!((native - slow).abs() < 1e-9, "{native} {slow}");
}

#[test]
fn dumped_stages_parse_back() {
    let folder = std::env::temp_dir().join(format!("kilngrad-dump-{}", std::process::id()));
    let folder_name = folder.to_str().unwrap();
    let output = kilngrad(&["train", "mlp", "--epochs", "1", "--dump", folder_name]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let train = folder.join("train.n32");
    let mut stages = 0;
    for file in std::fs::read_dir(&train).unwrap() {
        let path = file.unwrap().path();
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(!content.is_empty(), "{path:?}");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("kg") => {
                let limits = kilngrad::internals::ir::text::Limits::default();
                let program = kilngrad::internals::ir::Program::parse(&content, &limits).unwrap();
                assert_eq!(program.to_string(), content, "{path:?}");
                stages += 1;
            }
            Some("loops") => {
                let program = kilngrad::internals::loops::parse_program(&content).unwrap();
                assert_eq!(program.to_string(), content, "{path:?}");
            }
            Some("clif" | "s" | "txt" | "dot") => {}
            other => panic!("unexpected file {path:?} of kind {other:?}"),
        }
    }
    assert!(stages >= 10, "{stages}");
    assert!(Path::new(&train).join("plan.txt").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn bench_prints_the_peers_keys() {
    for workload in ["linreg", "logreg", "mlp_small"] {
        let row = json(&kilngrad(&["bench", workload, "--seconds", "0.05", "--json"]));
        assert_eq!(row["workload"], workload);
        assert_eq!(row["system"], "kilngrad");
        for key in [
            "step_ms",
            "min_ms",
            "compile_s",
            "arena_bytes",
            "arena_lower_bound_bytes",
            "flops",
            "interpreter_ratio",
            "threads",
            "loss",
        ] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{key} of {row}");
        }
    }
    let row = json(&kilngrad(&["bench", "mlp_small", "--interp", "--seconds", "0", "--json"]));
    assert_eq!(row["system"], "kilngrad-interp");
}

#[test]
fn every_workload_runs() {
    let models = json(&kilngrad(&["models", "--json"]));
    let names = models["bench"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    // Those of the peers' scripts.
    let training =
        ["linreg", "logreg", "mlp", "mlp_small", "cnn", "lstm", "autoencoder", "gan", "vae"];
    let kernels = ["gelu_chain", "softmax", "layernorm_grad", "adam_update", "sum_rows"];
    let more = ["transformer", "matmul_256", "matmul_1024", "conv3x3_grad"];
    for name in training.iter().chain(&kernels).chain(&more) {
        assert!(names.contains(name), "{name} among {names:?}");
    }
    for name in names {
        let row = json(&kilngrad(&["bench", name, "--seconds", "0", "--json"]));
        for key in ["step_ms", "flops", "interpreter_ratio"] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{key} of {row}");
        }
        let trains = training.contains(&name) || name == "transformer";
        assert!(!trains || row["loss"].as_f64().is_some_and(f64::is_finite), "{row}");
    }
}

#[test]
fn version_is_that_of_the_command() {
    let expected = format!("kilngrad {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&kilngrad(&["--version"]).stdout), expected);
}

#[test]
fn wrong_usage_exits_with_two() {
    for args in [
        &["train", "cnm"][..],
        &["bench", "nothing"],
        &["train", "mlp", "--threads", "0"],
        &["train", "mlp", "--seconds", "1"],
        &["run"],
        &["run", "a.kg", "--bind", "n"],
        &["run", "a.kg", "--bind", "n=-1"],
        &["check"],
        &["dump", "mlp"],
        &["completion", "cmd"],
        &[],
    ] {
        let output = kilngrad(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn training_is_logged_drawn_and_resumed() {
    let folder = std::env::temp_dir().join(format!("kilngrad-train-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (run, log, plot) = (file("run.safetensors"), file("log.csv"), file("loss.png"));
    let train = |epochs: &str, more: &[&str]| {
        kilngrad(&[&["train", "mlp", "--epochs", epochs], more].concat())
    };
    let whole = losses(&train("3", &[]));
    let first = train("1", &["--checkpoint", &run, "--log", &log, "--plot", &plot]);
    assert_eq!(losses(&first), whole[..1]);
    assert!(text(&first.stdout).contains(" after 1 epoch in "), "{}", text(&first.stdout));
    let rest = train("3", &["--checkpoint", &run, "--log", &log, "--resume"]);
    assert_eq!(losses(&rest), whole[1..]);
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 4);
    assert!(std::fs::read(&plot).unwrap().starts_with(b"\x89PNG"));

    let refused = train("3", &["--checkpoint", &run]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("resume from it"), "{}", text(&refused.stderr));
    let data = file("rows.csv");
    let header: Vec<String> =
        (0..64).map(|pixel| format!("p{pixel}")).chain(["y".into()]).collect();
    let row = |digit: usize| vec![digit.to_string(); 65].join(",");
    let rows: Vec<String> = (0..20).map(|row_at| row(row_at % 10)).collect();
    std::fs::write(&data, format!("{}\n{}\n", header.join(","), rows.join("\n"))).unwrap();
    let own = train("2", &["--data", &data]);
    assert!(text(&own.stdout).contains("16 training rows, 4 test rows"), "{}", text(&own.stdout));
    std::fs::write(&data, "a,y\n1,2\n3,4\n").unwrap();
    let refused = train("1", &["--data", &data]);
    assert!(text(&refused.stderr).contains("f32[n,64]"), "{}", text(&refused.stderr));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[cfg(unix)]
#[test]
fn a_signal_ends_training_after_its_step_and_keeps_the_run() {
    let path =
        std::env::temp_dir().join(format!("kilngrad-signal-{}.safetensors", std::process::id()));
    let run = path.to_str().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kilngrad"))
        .args(["train", "mlp", "--epochs", "100000", "--checkpoint", run])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "training ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "a script does not go on: {}", output.status);
    let stdout = text(&output.stdout);
    assert!(stdout.contains("steps; --resume goes on"), "{stdout}");
    let steps: usize = {
        let words = stdout.split("stopped after ").nth(1).unwrap();
        words.split(' ').next().unwrap().replace(',', "").parse().unwrap()
    };
    // What was done is not done again: the next line is of the epoch that was cut off.
    let epoch = steps.div_ceil(45);
    let more = kilngrad(&[
        "train",
        "mlp",
        "--epochs",
        &epoch.to_string(),
        "--checkpoint",
        run,
        "--resume",
    ]);
    assert_eq!(losses(&more).len(), 1, "{}", text(&more.stdout));
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(path.with_extension("safetensors.lock")).unwrap();
}

/// A terminal that is closed ends a run as any signal does, and no run that is to outlive it.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    for ignored in [false, true] {
        let name = format!("kilngrad-nohup-{ignored}-{}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        let script = if ignored { "trap '' HUP; exec \"$@\"" } else { "exec \"$@\"" };
        let mut child = Command::new("sh")
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_kilngrad"), "train", "mlp"])
            .args(["--epochs", "100000", "--checkpoint", path.to_str().unwrap()])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while !path.exists() {
            assert!(child.try_wait().unwrap().is_none(), "training ended by itself");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let id = child.id().to_string();
        let send = |signal: &str| Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(send("-HUP").success());
        if ignored {
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(child.try_wait().unwrap().is_none(), "ended by a signal that it was to ignore");
            assert!(send("-TERM").success());
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", output.status);
        assert!(text(&output.stdout).contains("steps; --resume goes on"));
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(path.with_extension("safetensors.lock")).unwrap();
    }
}

/// An archive with a scalar `x`.
const NPZ: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0\xfahv]h\xa8\xe8'E\0\0\0E\0\0\0\x05\0\0\0x.npy\
    \x93NUMPY\x01\x007\0{'descr': '<f4', 'fortran_order': False, 'shape': (), }\0\0\x80?\
    PK\x01\x02\x14\x03\x14\0\0\0\0\0\xfahv]h\xa8\xe8'E\0\0\0E\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x80\x01\
    \0\0\0\0x.npyPK\x05\x06\0\0\0\0\x01\0\x01\x003\0\0\0h\0\0\0\0\0";

#[test]
fn rows_of_a_file_are_what_it_says() {
    let folder = std::env::temp_dir().join(format!("kilngrad-rows-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, target: &str, pixel: &str, labels: &[&str]| {
        let path = folder.join(name);
        let names = (0..64).map(|pixel| format!("p{pixel}")).chain([target.to_owned()]);
        let header = names.collect::<Vec<_>>().join(",");
        let row = |label: &&str| format!("{}{label}", format!("{pixel},").repeat(64));
        let rows: Vec<String> = labels.iter().map(row).collect();
        std::fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let train = |path: &str, more: &[&str]| {
        kilngrad(&[&["train", "mlp", "--epochs", "1", "--data", path], more].concat())
    };
    // A label that is no whole number is no class.
    for (label, found) in [("nan", "NaN"), ("2.7", "2.7"), ("-0.4", "-0.4"), ("1e300", "1e300")] {
        let path = write("labels.csv", "y", "0", &["1", "2", "3", label, "5", "6"]);
        let refused = train(&path, &[]);
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{label}");
        for words in ["labels.csv", "row 4", "whole number", &format!("found {found}")] {
            assert!(stderr.contains(words), "expected {words:?} in {stderr}");
        }
    }
    let refused = text(&train(&write("one.csv", "y", "0", &["1"]), &[]).stderr);
    assert!(refused.contains("found 1 row\n"), "{refused}");
    // Whole numbers may be written as floats, and a column may have any name.
    let path = write("x.csv", "x", "0.5", &["1.0", "2", "3e0", "4", "5", "6"]);
    assert!(train(&path, &[]).status.success(), "{}", text(&train(&path, &[]).stderr));
    // Features keep the precision that the model has.
    let path = write("fine.csv", "y", "1.00000001", &["1"; 6]);
    let row = json(&train(&path, &["--float", "f64", "--json"]));
    let path = write("fine.csv", "y", "1", &["1"; 6]);
    let whole = json(&train(&path, &["--float", "f64", "--json"]));
    assert_ne!(row["loss"], whole["loss"]);
    // A file that is no table is named.
    let path = folder.join("rows.npz");
    std::fs::write(&path, NPZ).unwrap();
    let refused = train(path.to_str().unwrap(), &[]);
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("rows.npz") && stderr.contains("found a scalar"), "{stderr}");
    // However many epochs.
    let (path, there) = (write("rows.csv", "y", "0", &["1"; 6]), folder.join("x.csv"));
    let most = ["--epochs", &u64::MAX.to_string(), "--checkpoint", there.to_str().unwrap()];
    let refused = kilngrad(&[&["train", "mlp", "--data", &path], &most[..]].concat());
    assert_eq!(refused.status.code(), Some(1));
    std::fs::remove_dir_all(&folder).unwrap();
}
