//! The commands that take a program in a file, as a person or a script meets them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kilngrad::prelude::*;
use kilngrad::{Array, load_arrays, save_arrays};
use ndarray::array;
use serde_json::Value;

/// A folder of its own, in which the command runs.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let folder =
            std::env::temp_dir().join(format!("kilngrad-command-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kilngrad"));
        command.args(args).current_dir(&self.0);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a run that succeeds.
    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Standard error of a run that fails.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    fn json(&self, args: &[&str]) -> Value {
        let stdout = self.succeeds(args);
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        serde_json::from_str(&stdout).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn arrays(&self, name: &str) -> BTreeMap<String, Array> {
        load_arrays(self.0.join(name), &Limits::default()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// One step of gradient descent on a line, and its value.
const LINE: &str = r#"kilngrad 1
program "line"

state "w": f32[2] = [1.0, 2.0] parameter

entry @train(%x: f32[n,2], %t: f32[n]) train {
  %w: f32[2] = state "w"
  %y: f32[n] = dot %x, %w contract=[1]x[0]
  %d: f32[n] = sub %y, %t
  %s: f32[n] = mul %d, %d
  %loss: f32[] = reduce_sum %s axes=[0]
  %g: f32[2] = gradient %loss wrt (%w)
  %rate: f32[2] = constant 0.125
  %step: f32[2] = mul %rate, %g
  %next: f32[2] = sub %w, %step
  update "w" := %next
  return loss = %loss
}

entry @predict(%x: f32[n,2]) eval {
  %w: f32[2] = state "w"
  %y: f32[n] = dot %x, %w contract=[1]x[0]
  return y = %y
}

entry @count() eval {
  %0: i64[n] = iota axis=0
  return y = %0
}
"#;

/// The program and inputs of which every number is exact.
fn line(test: &str) -> Folder {
    let folder = Folder::new(test);
    folder.write("line.kg", LINE);
    let inputs = [
        ("x", Array::from(array![[1f32, 0.0], [0.0, 1.0], [1.0, 1.0]])),
        ("t", Array::from(vec![0f32, 0.0, 1.0])),
    ];
    let named = inputs.iter().map(|(name, array)| (*name, array));
    save_arrays(folder.0.join("in.safetensors"), named).unwrap();
    folder
}

#[test]
fn run_calls_an_entry_and_keeps_what_it_is_told_to() {
    let folder = line("run");
    let inputs = ["--inputs", "in.safetensors"];
    let run = |more: &[&str]| folder.json(&[&["run", "--json"], more, &inputs].concat());
    for engine in [&["--threads", "2"][..], &["--interp"]] {
        let predict =
            run(&[&["line.kg", "--entry", "predict", "--out", "out.safetensors"], engine].concat());
        assert_eq!(predict["outputs"]["y"]["values"], serde_json::json!([1.0, 2.0, 3.0]));
        assert_eq!(predict["outputs"]["y"]["shape"], serde_json::json!([3]));
        assert_eq!(predict["updated"], serde_json::json!([]));
        assert_eq!(folder.arrays("out.safetensors")["y"], Array::from(vec![1f32, 2.0, 3.0]));

        // loss = 1 + 4 + 4, its gradient 2·(1 + 2, 2 + 2), and the update an eighth of that.
        let train =
            run(&[&["line.kg", "--entry", "train", "--save", "next.safetensors"], engine].concat());
        assert_eq!(train["outputs"]["loss"]["values"], 9.0);
        assert_eq!(train["updated"], serde_json::json!(["w"]));
        assert_eq!(folder.arrays("next.safetensors")["w"], Array::from(vec![0.25f32, 1.0]));
        let again = run(&[&["next.safetensors", "--entry", "predict"], engine].concat());
        assert_eq!(again["outputs"]["y"]["values"], serde_json::json!([0.25, 1.0, 1.25]));
    }
    let printed = folder.succeeds(&[&["run", "line.kg", "--entry", "train"], &inputs[..]].concat());
    for words in ["\"line\": entry train", "loss        f32[] 9.00000", "--save FILE"] {
        assert!(printed.contains(words), "expected {words:?} in:\n{printed}");
    }
    let count = folder.succeeds(&["run", "line.kg", "--entry", "count", "--bind", "n=20"]);
    assert!(count.contains(" 0   1   2   …  17  18  19"), "{count}");
}

/// A dumped stage has no values of its own, and computes with a model's what the model does.
#[test]
fn run_brings_states_to_a_stage_that_was_dumped() {
    let folder = Folder::new("states");
    folder.succeeds(&["train", "mlp", "--epochs", "2", "--save", "model.safetensors"]);
    folder.succeeds(&[
        "dump",
        "model.safetensors",
        "--entry",
        "predict",
        "--bind",
        "n=4",
        "--out",
        "d",
    ]);
    let digits = kilngrad::data::digits().unwrap();
    let x = Array::from(digits.x.slice(ndarray::s![..4, ..]).to_owned());
    save_arrays(folder.0.join("x.safetensors"), [("x", &x)]).unwrap();
    let probabilities = |more: &[&str]| {
        let asked = ["--inputs", "x.safetensors", "--out", "y.safetensors"];
        folder.succeeds(&[&["run"], more, &asked].concat());
        folder.arrays("y.safetensors")["probs"].to_f64_vec()
    };
    let saved = probabilities(&["model.safetensors", "--entry", "predict"]);
    assert_eq!(saved.len(), 40);
    let stages = std::fs::read_dir(folder.0.join("d/predict.n4")).unwrap();
    let stages = stages.map(|file| file.unwrap().file_name().into_string().unwrap());
    let stages: Vec<String> =
        stages.filter(|name| name.ends_with("-fuse.kg") || name.ends_with("-input.kg")).collect();
    assert_eq!(stages.len(), 2, "{stages:?}");
    for stage in stages {
        let stage = format!("d/predict.n4/{stage}");
        for engine in [&[][..], &["--interp"]] {
            let with = [&[&stage, "--states", "model.safetensors"], engine].concat();
            for (found, expected) in probabilities(&with).iter().zip(&saved) {
                assert!((found - expected).abs() < 1e-5, "{with:?}: {found} beside {expected}");
            }
            // Of a weight that is zero nothing is told of the digit.
            let without = probabilities(&[&[&*stage], engine].concat());
            assert_eq!(without[..10], without[10..20], "{stage}");
            assert_ne!(saved[..10], saved[10..20]);
        }
    }
}

#[test]
fn run_takes_states_from_what_it_saved_and_from_nothing_else() {
    let folder = line("strict");
    let called = ["--entry", "predict", "--inputs", "in.safetensors"];
    let train = ["--entry", "train", "--inputs", "in.safetensors", "--save", "next.safetensors"];
    folder.succeeds(&[&["run", "line.kg"], &train[..]].concat());
    let arrays = [("w", Array::from(vec![1f64])), ("b", Array::from(1f32))];
    for (file, count) in [("type.safetensors", 1), ("more.safetensors", 2)] {
        let arrays = arrays[..count].iter().map(|(name, array)| (*name, array));
        save_arrays(folder.0.join(file), arrays).unwrap();
    }
    for engine in [&[][..], &["--interp"]] {
        let run = |file| [&["run", "line.kg", "--states", file], &called[..], engine].concat();
        let next = folder.json(&[&run("next.safetensors")[..], &["--json"]].concat());
        assert_eq!(next["outputs"]["y"]["values"], serde_json::json!([0.25, 1.0, 1.25]));
        for (file, words) in [
            ("type.safetensors", &["\"w\" of f32[2]", "f64[1]"][..]),
            ("more.safetensors", &["unexpected \"b\""]),
            ("in.safetensors", &["no \"w\"", "\"t\""]),
            ("absent.safetensors", &["could not read \"absent.safetensors\""]),
        ] {
            let error = folder.fails(&run(file));
            for word in words {
                assert!(error.contains(word), "expected {word:?} in: {error}");
            }
        }
    }
}

/// A script reads of a failure what a person reads, and no command forgets to say it.
#[test]
fn with_json_a_failure_is_an_object() {
    let folder = line("failures");
    folder.write("wrong.kg", &LINE.replacen("sub %y, %t", "sub %y, %q", 1));
    let none = LINE.replacen("sub %y, %t", "floor %t", 1);
    folder.write("none.kg", &none);
    let cases: [(&[&str], &str, &[u64]); 9] = [
        (&["run", "absent.kg"], "Io", &[]),
        (&["run", "wrong.kg"], "Format", &[9]),
        (&["run", "line.kg", "--entry", "stop"], "Name", &[]),
        (&["run", "line.kg", "--entry", "predict", "--states", "in.safetensors"], "Format", &[]),
        (&["grad", "wrong.kg"], "Format", &[9]),
        (&["grad", "none.kg", "--entry", "train"], "Gradient", &[12]),
        (&["dump", "wrong.kg", "--out", "d"], "Format", &[9]),
        (&["dump", "line.kg", "--out", "d"], "Shape", &[]),
        (&["train", "mlp", "--data", "absent.csv"], "Io", &[]),
    ];
    for (args, kind, lines) in cases {
        let plain = folder.run(args);
        assert!(args[0] == "train" || plain.stdout.is_empty(), "{args:?}");
        let output = folder.run(&[args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let stdout = text(&output.stdout);
        assert_eq!(stdout.lines().count(), 1, "{args:?}: {stdout}");
        let found: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(found["kind"], kind, "{args:?}: {stdout}");
        let diagnostics = found["diagnostics"].as_array().unwrap();
        let at: Vec<u64> = diagnostics.iter().map(|one| one["line"].as_u64().unwrap()).collect();
        assert_eq!(at, lines, "{args:?}: {stdout}");
        for one in diagnostics {
            assert_eq!(one["file"], args[1]);
            assert!(one["rule"].is_string() && one["message"].is_string(), "{stdout}");
        }
        // As without it; what was said before comes first.
        let (stderr, error) = (text(&output.stderr), found["error"].as_str().unwrap());
        let label = if lines.is_empty() { "error: " } else { "" };
        assert!(stderr.ends_with(&format!("{label}{error}\n")), "{args:?}: {stderr}");
        assert!(text(&plain.stderr).ends_with(&format!("{label}{error}\n")), "{args:?}");
    }
    // This one has an object of its own, and no other after it.
    let output = folder.run(&["check", "wrong.kg", "absent.kg", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["errors"], &found["error"]), (&Value::from(2), &Value::Null));
    // A wrong command line is for who wrote it.
    let output = folder.run(&["run", "--json"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
}

#[test]
fn run_says_what_is_missing() {
    let folder = line("missing");
    let cases: [(&[&str], &[&str]); 6] = [
        (&["line.kg"], &["\"train\"", "\"predict\"", "found none"]),
        (&["line.kg", "--entry", "stop"], &["\"train\"", "found \"stop\""]),
        (&["line.kg", "--entry", "predict"], &["input \"x\" of f32[n,2]", "no feed"]),
        (&["line.kg", "--entry", "count"], &["length for n"]),
        (&["absent.kg"], &["could not read \"absent.kg\""]),
        (
            &["line.kg", "--entry", "count", "--bind", "n=1", "--out", "no/out"],
            &["could not write"],
        ),
    ];
    for (args, words) in cases {
        let error = folder.fails(&[&["run"], args].concat());
        assert!(error.starts_with("error: "), "{error}");
        for word in words {
            assert!(error.contains(word), "expected {word:?} in: {error}");
        }
    }
}

#[test]
fn grad_expands_requests_and_the_rest_stays() {
    let folder = line("grad");
    let printed = folder.succeeds(&["grad", "line.kg"]);
    assert!(!printed.contains("gradient %loss"), "{printed}");
    let program = Program::parse(&printed, &Limits::default()).unwrap();
    assert_eq!(program.entries.len(), 3);
    let one = folder.succeeds(&["grad", "line.kg", "--entry", "train"]);
    assert_eq!(Program::parse(&one, &Limits::default()).unwrap().entries.len(), 1);

    let object = folder.json(&["grad", "line.kg", "--json"]);
    assert_eq!(object, serde_json::json!({ "program": printed }));
    let object = folder.json(&["grad", "line.kg", "--out", "h.kg", "--json"]);
    assert_eq!(object, serde_json::json!({ "out": "h.kg" }));

    assert_eq!(folder.succeeds(&["grad", "line.kg", "--out", "g.kg"]), "");
    let read = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap();
    assert_eq!(read("g.kg"), read("h.kg"));
    let inputs = ["--entry", "train", "--inputs", "in.safetensors", "--json"];
    let expanded = folder.json(&[&["run", "g.kg"], &inputs[..]].concat());
    assert_eq!(expanded["outputs"]["loss"]["values"], 9.0);

    folder.write(
        "none.kg",
        &LINE
            .replace("wrt (%w)", "wrt (%rate)")
            .replace("  %g: f32[2]", "  %rate: f32[2] = constant 0.125\n  %g: f32[2]")
            .replacen("  %rate: f32[2] = constant 0.125\n  %step", "  %step", 1),
    );
    let error = folder.fails(&["grad", "none.kg"]);
    for words in
        ["error[", "--> none.kg:13:", "13 |   %g: f32[2] = gradient %loss wrt (%rate)", "^"]
    {
        assert!(error.contains(words), "expected {words:?} in:\n{error}");
    }
}

#[test]
fn check_shows_every_mistake_of_every_file() {
    let folder = line("check");
    folder.write("wrong.kg", "kilngrad 1\nprogram \"w\"\n\nentry @e(%x: f32[n]) eval {\n  %0: f32[n] = add %x, %y\n  %1: f32[m] = neg %x\n  return y = %0\n}\n");
    assert_eq!(folder.succeeds(&["check", "line.kg"]), "1 file checked, no errors\n");
    let error = folder.fails(&["check", "line.kg", "wrong.kg", "absent.kg"]);
    for words in [
        "  --> wrong.kg:5:24",
        " 5 |   %0: f32[n] = add %x, %y\n   |                        ^^",
        "  --> wrong.kg:6:",
        "error: could not read \"absent.kg\"",
        "error: found 3 errors in 2 of 3 files",
    ] {
        assert!(error.contains(words), "expected {words:?} in:\n{error}");
    }
    let output = folder.run(&["check", "--json", "line.kg", "wrong.kg"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(found["errors"], 2);
    assert_eq!(found["files"][0]["errors"], serde_json::json!([]));
    assert_eq!(found["files"][1]["errors"][0]["line"], 5);
    assert_eq!(found["files"][1]["errors"][0]["column"], 24);
}

#[test]
fn dump_writes_stages_that_parse() {
    let folder = line("dump");
    let error = folder.fails(&["dump", "line.kg", "--out", "d"]);
    assert!(error.contains("--bind n=32"), "{error}");
    let shown =
        folder.succeeds(&["dump", "line.kg", "--entry", "predict", "--bind", "n=3", "--out", "d"]);
    assert!(shown.contains(" 1 node ") && !shown.contains(" 1 nodes"), "{shown}");
    let rows = folder.json(&["dump", "line.kg", "--out", "d", "--bind", "n=3", "--json"]);
    assert_eq!(rows["entries"].as_array().unwrap().len(), 3);
    for entry in ["train", "predict", "count"] {
        let files = std::fs::read_dir(folder.0.join(format!("d/{entry}.n3"))).unwrap();
        assert!(files.count() > 10);
    }
    let input = std::fs::read_to_string(folder.0.join("d/train.n3/00-input.kg")).unwrap();
    Program::parse(&input, &Limits::default()).unwrap();
    let shown =
        folder.succeeds(&["dump", "mlp", "--entry", "train", "--bind", "n=8", "--out", "m"]);
    assert!(shown.contains("entry train, n=8") && shown.contains("fuse"), "{shown}");
    assert!(folder.0.join("m/train.n8/plan.txt").exists());
    let error = folder.fails(&["dump", "mlp", "--bind", "m=8", "--out", "m"]);
    assert!(error.contains("\"m\""), "{error}");
}

/// The page's program, and what it says that `kilngrad dump` prints of it, times apart.
#[test]
fn the_stages_on_the_page_are_those_that_dump_prints() {
    const PAGE: &str = include_str!("../../../docs/commands.md");
    let block = |begins: &str| {
        let rest = PAGE.split_once(&format!("```text\n{begins}")).expect(begins).1;
        format!("{begins}{}", rest.split_once("```").expect("a block ends").0)
    };
    let folder = Folder::new("page");
    folder.write("line.kg", &block("kilngrad 1\n"));
    let command = "kilngrad dump line.kg --entry train --bind n=3 --out d";
    let shown = block(&format!("$ {command}\n"));
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    let printed = folder.succeeds(&args);
    // Number, name, count of nodes: what comes after is the time.
    let stages = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect();
        text.lines().filter(|line| line.starts_with("  ")).map(words).collect()
    };
    assert!(stages(&printed).len() > 10, "{printed}");
    assert_eq!(stages(&shown), stages(&printed), "docs/commands.md says otherwise:\n{printed}");
    let fuse = stages(&printed).into_iter().find(|stage| stage[1] == "fuse").unwrap();
    let file = format!("/{}-fuse.kg", fuse[0]);
    assert!(PAGE.contains(&file), "the page runs another stage than {file}");
}

#[test]
fn models_lists_what_other_commands_take() {
    let folder = Folder::new("models");
    let shown = folder.succeeds(&["models"]);
    for line in shown.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(matches!(words[0], "train" | "bench") && words.len() > 3, "{line}");
        folder.succeeds(&[words[0], words[1], "--help"]);
    }
    let rows = folder.json(&["models", "--json"]);
    let count = rows["train"].as_array().unwrap().len() + rows["bench"].as_array().unwrap().len();
    assert_eq!(shown.lines().count(), count);
}

#[test]
fn doctor_measures_and_says_how_it_is() {
    let folder = Folder::new("doctor");
    let found = folder.json(&["doctor", "--json"]);
    for key in ["sgemm_gflops", "copy_gb_per_s", "triad_gb_per_s", "cores"] {
        assert!(found[key].as_f64().unwrap() > 0.0, "{key} of {found}");
    }
    assert_eq!(
        (&found["executable_memory"], &found["subnormals_kept"]),
        (&true.into(), &true.into())
    );
    let shown = folder.succeeds(&["doctor"]);
    for words in ["processor", "features", "tiles", "sgemm", "memory", "Gflop/s"] {
        assert!(shown.contains(words), "expected {words:?} in:\n{shown}");
    }
}

#[test]
fn completion_is_a_script() {
    let folder = Folder::new("completion");
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.succeeds(&["completion", shell]);
        assert!(script.contains("kilngrad") && script.contains("doctor"), "{shell}");
    }
}

/// Names that a file chooses are printed, not obeyed.
#[test]
fn names_from_files_are_escaped() {
    let folder = Folder::new("names");
    folder.write(
        "a.kg",
        "kilngrad 1\nprogram \"p\\u{1b}[2J\"\nstate \"s\\u{202e}\": f32[] = 1.0 buffer\n\
         entry @e() eval {\n  %0: f32[] = state \"s\\u{202e}\"\n  return \"o\\u{1b}]0;\" = %0\n}\n",
    );
    for args in [&["run", "a.kg"][..], &["run", "a.kg", "--json"], &["grad", "a.kg"]] {
        let shown = folder.succeeds(args);
        let plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(shown.chars().all(plain), "{shown:?}");
    }
}

/// A reader that stops early stops no writer with a panic.
#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = line("pipe");
    for args in [&["grad", "line.kg"][..], &["models"], &["completion", "bash"]] {
        let mut child =
            folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}: {stderr}");
        assert_eq!(stderr, "", "{args:?}");
    }
}
