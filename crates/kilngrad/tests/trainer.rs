//! Training runs: what they compute, how they end, and that a resumed one is an uninterrupted one.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use kilngrad::data::Table;
use kilngrad::prelude::*;
use kilngrad::trainer::{
    Cosine, EarlyStopping, History, Schedule, StepDecay, Stopped, Trainer, evaluate, predict,
};
use ndarray::{Array1, Array2};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("kilngrad-trainer-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A classifier with dropout, gradients that add up, and a learning rate that is fed.
fn program(width: usize) -> Program {
    let b = Builder::new("classifier");
    let n = b.dim("n");
    let net = b.scope("net");
    let (hidden, head) = (Dense::new(&net, "hidden", 4, width), Dense::new(&net, "head", width, 3));
    let sums = Accumulator::new(&b.scope("sums"), b.params("net"));
    let forward = |x| hidden.forward(x).relu();

    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 4)), train.input("y", I64, (n,)));
    let logits = head.forward(forward(x).dropout("drop", 0.3));
    let loss = logits.cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(train.input("rate", F32, ())));
    train.output("loss", loss);
    train.output("accuracy", logits.accuracy(y));

    let add = b.entry("add", Mode::Train);
    let (x, y) = (add.input("x", F32, (n, 4)), add.input("y", I64, (n,)));
    let loss = head.forward(forward(x).dropout("drop", 0.3)).cross_entropy(y);
    sums.add(loss, x);
    add.output("loss", loss);
    let step = b.entry("step", Mode::Train);
    let gradients = step.clip_grad_norm(&sums.take(step), 1.0);
    let rate = step.input("rate", F32, ());
    step.apply_gradients(b.params("net"), &gradients, Sgd::new(rate).momentum(0.9));

    let e = b.entry("evaluate", Mode::Eval);
    let (x, y) = (e.input("x", F32, (n, 4)), e.input("y", I64, (n,)));
    let logits = head.forward(forward(x));
    e.output("loss", logits.cross_entropy(y));
    e.output("accuracy", logits.accuracy(y));
    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, 4));
    predict.output("class", head.forward(forward(x)).argmax(-1));
    b.finish().unwrap_or_else(|errors| panic!("{errors}"))
}

fn executable(seed: i64) -> Executable {
    program(8).compile(&Options::new().seed(seed)).unwrap()
}

/// Rows whose class is told by their sum.
fn table(rows: usize) -> Table {
    let x = Array2::from_shape_fn((rows, 4), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 11.0);
    let y = Array1::from_iter(x.rows().into_iter().map(|row| (row.sum() * 0.74) as i64 % 3));
    Table::new().with("x", x).unwrap().with("y", y).unwrap()
}

fn states(exe: &Executable) -> Vec<(String, Vec<u8>)> {
    exe.state_bytes().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect()
}

const SCHEDULE: Cosine = Cosine { first: 0.02, last: 0.001, steps: 40 };

#[test]
fn a_run_is_its_calls() {
    let rows = table(50);
    let mut exe = executable(3);
    let mut seen = Vec::new();
    let history = Trainer::new(&mut exe, "train")
        .epochs(3)
        .batch(16)
        .seed(5)
        .schedule("rate", SCHEDULE)
        .on_step(|step| {
            seen.push((step.epoch, step.batch, step.metric("loss").unwrap()));
            ControlFlow::Continue(())
        })
        .run(&rows)
        .unwrap();
    assert_eq!((history.stopped, history.steps, history.epochs.len()), (Stopped::Done, 12, 3));

    let mut other = executable(3);
    let mut losses = Vec::new();
    for epoch in 0..3u64 {
        let shuffled = rows.shuffle(5 << 32 | epoch);
        let mut sum = 0.0;
        for batch in 0..4usize {
            let at: Vec<usize> = (batch * 16..(batch * 16 + 16).min(50)).collect();
            let part = shuffled.select(&at);
            let x: ndarray::ArrayD<f32> = part.column("x").unwrap().clone().try_into().unwrap();
            let y: ndarray::ArrayD<i64> = part.column("y").unwrap().clone().try_into().unwrap();
            let rate = SCHEDULE.rate(epoch * 4 + batch as u64) as f32;
            let call = other.call("train").feed("x", &x).feed("y", &y).feed("rate", &rate);
            let loss = f64::from(call.run().unwrap().scalar::<f32>("loss").unwrap());
            sum += loss * at.len() as f64;
            losses.push((epoch + 1, batch + 1, loss));
        }
        assert_eq!(history.epochs[epoch as usize].training("loss"), Some(sum / 50.0));
    }
    assert_eq!(seen, losses);
    assert_eq!(states(&exe), states(&other));
}

/// A run with everything that has a position, which is stopped after `stop` batches.
fn run(exe: &mut Executable, folder: &Folder, accumulate: bool, stop: Option<usize>) -> History {
    let (rows, test) = table(60).split_every(5);
    let entry = if accumulate { "add" } else { "train" };
    let mut left = stop;
    let mut trainer = Trainer::new(exe, entry)
        .epochs(6)
        .batch(10)
        .seed(2)
        .schedule("rate", SCHEDULE.warm_up(3))
        .validate_by("evaluate", &test, 5)
        .early_stopping(EarlyStopping::minimise("loss").patience(4).by_at_least(0.02))
        .on_step(move |_| {
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .checkpoint(folder.file("run.safetensors"))
        .log(folder.file("log.csv"))
        .resume();
    if accumulate {
        trainer = trainer.accumulate(2, "step");
    }
    trainer.run(&rows).unwrap()
}

#[test]
fn a_resumed_run_is_an_uninterrupted_one() {
    // Compiled once; forks share the code.
    let (first, others) = (executable(1), executable(100));
    for accumulate in [false, true] {
        let folder = Folder::new("whole");
        let mut exe = first.fork().unwrap();
        let whole = run(&mut exe, &folder, accumulate, None);
        let log = std::fs::read(folder.file("log.csv")).unwrap();
        let file = std::fs::read(folder.file("run.safetensors")).unwrap();
        let expected = states(&exe);
        for stop in [1, 2, 4, 5, 6, 13] {
            let folder = Folder::new("parts");
            let mut parts = 0;
            let (last, found) = loop {
                // Another seed: everything that a run depends on is in the file.
                let mut exe = if parts == 0 { first.fork() } else { others.fork() }.unwrap();
                let history = run(&mut exe, &folder, accumulate, Some(stop));
                parts += 1;
                if history.stopped != Stopped::Callback {
                    break (history, states(&exe));
                }
            };
            assert!(parts > 1, "{stop} steps at a time");
            assert_eq!(last, whole, "{stop} steps at a time");
            assert!(found == expected, "{stop} steps at a time");
            assert_eq!(std::fs::read(folder.file("log.csv")).unwrap(), log);
            assert!(std::fs::read(folder.file("run.safetensors")).unwrap() == file);
        }
    }
}

#[test]
fn the_interpreter_trains_as_compiled_code() {
    let rows = table(20);
    let (mut native, mut exact) =
        (executable(1), program(8).interpret(&Options::new().seed(1)).unwrap());
    let native = Trainer::new(&mut native, "train").schedule("rate", SCHEDULE).run(&rows).unwrap();
    let exact = Trainer::new(&mut exact, "train").schedule("rate", SCHEDULE).run(&rows).unwrap();
    let (native, exact) = (native.metric("loss").unwrap(), exact.metric("loss").unwrap());
    assert!((native - exact).abs() < 1e-5, "{native} {exact}");
}

#[test]
fn accumulated_batches_are_one_batch() {
    let rows = table(30);
    let train = |batch, accumulate| {
        let b = Builder::new("line");
        let w = b.param("w", (4,), Init::Constant(0.5));
        let sums = Accumulator::new(&b.scope("sums"), w);
        let e = b.entry("add", Mode::Train);
        let (x, y) = (e.input("x", F32, (b.dim("n"), 4)), e.input("y", I64, (b.dim("n"),)));
        let loss = (x.matmul(w) - y.cast(F32)).square().mean(..);
        sums.add(loss, x);
        e.output("loss", loss);
        let e = b.entry("step", Mode::Train);
        e.apply_gradients(w, &sums.take(e), Sgd::new(0.1));
        let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
        let trainer = Trainer::new(&mut exe, "add").epochs(2).batch(batch);
        assert_eq!(trainer.accumulate(accumulate, "step").run(&rows).unwrap().steps, 2);
        exe.state::<f32>("w").unwrap().to_owned()
    };
    let (whole, parts) = (train(30, 1), train(8, 10));
    assert!((&whole - &parts).iter().all(|d| d.abs() < 1e-6), "{whole} {parts}");
}

#[test]
fn a_run_ends_early_when_asked_or_when_nothing_gets_better() {
    let rows = table(40);
    let flag = AtomicBool::new(false);
    let mut exe = executable(1);
    let history = Trainer::new(&mut exe, "train")
        .epochs(9)
        .schedule("rate", SCHEDULE)
        .stop(&flag)
        .on_step(|step| {
            flag.store(step.step == 3, Ordering::SeqCst);
            ControlFlow::Continue(())
        })
        .run(&rows)
        .unwrap();
    assert_eq!((history.stopped, history.steps), (Stopped::Asked, 3));

    let mut exe = executable(1);
    let history = Trainer::new(&mut exe, "train")
        .epochs(50)
        .schedule("rate", |_: u64| 0.0)
        .validate("evaluate", &rows)
        .early_stopping(EarlyStopping::minimise("loss").patience(3))
        .run(&rows)
        .unwrap();
    assert_eq!((history.stopped, history.epochs.len()), (Stopped::Early, 4));

    let mut exe = executable(1);
    let history = Trainer::new(&mut exe, "train")
        .epochs(50)
        .schedule("rate", |_: u64| 0.0)
        .on_epoch(|epoch| match epoch.number {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .run(&rows)
        .unwrap();
    assert_eq!((history.stopped, history.epochs.len()), (Stopped::Callback, 2));
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_last_checkpoint() {
    let folder = Folder::new("nan");
    let path = folder.file("run.safetensors");
    let rows = table(64);
    let mut exe = executable(1);
    let mut good = Vec::new();
    let error = Trainer::new(&mut exe, "train")
        .epochs(4)
        .schedule("rate", |step: u64| if step < 4 { 0.01 } else { f64::NAN })
        .checkpoint(&path)
        .on_epoch(|epoch| {
            good.push(epoch.number);
            ControlFlow::Continue(())
        })
        .run(&rows)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    let text = error.to_string();
    assert!(
        text.contains("found NaN in batch 2 of epoch 3") && text.contains("after step 4"),
        "{text}"
    );
    assert_eq!(good, [1, 2]);
    let mut again = executable(9);
    again.load(&path, &Load::strict()).unwrap();
    assert!(again.state::<f32>("net.head.w").unwrap().iter().all(|w| w.is_finite()));
    assert_eq!(again.state::<i64>("net.hidden.w.adam.step").unwrap().sum(), 4);

    // The step that spoils the parameters has a finite loss itself, and is not written.
    let mut exe = executable(1);
    let spoilt = Trainer::new(&mut exe, "train")
        .schedule("rate", |_: u64| f64::NAN)
        .checkpoint(folder.file("none.safetensors"))
        .batch(64)
        .run(&rows)
        .unwrap_err();
    assert_eq!(spoilt.kind(), ErrorKind::NotFinite);
    assert!(spoilt.to_string().contains("\"net.hidden.w\""), "{spoilt}");
    assert!(!folder.file("none.safetensors").exists());
}

#[test]
fn a_checkpoint_is_of_one_run_and_one_writer() {
    let folder = Folder::new("other");
    let path = folder.file("run.safetensors");
    let rows = table(20);
    let train = |exe: &mut Executable, seed, resume| {
        let trainer = Trainer::new(exe, "train").seed(seed).schedule("rate", SCHEDULE);
        let trainer = trainer.checkpoint(&path);
        if resume { trainer.resume().run(&rows) } else { trainer.run(&rows) }
    };
    let says = |found: Result<History>, words: &[&str]| {
        let text = found.unwrap_err().to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "expected {word:?} in {text}"));
    };
    let mut exe = executable(1);
    train(&mut exe, 1, false).unwrap();
    says(train(&mut exe, 1, false), &["expected no file at", "resume"]);
    says(train(&mut exe, 2, true), &["run of seed 2, found 1"]);
    let mut wide = program(9).compile(&Options::new()).unwrap();
    says(train(&mut wide, 1, true), &["\"net.hidden.w\" of f32[4,9], found f32[4,8]"]);
    // The same states and other entries.
    let mut other = program(8);
    other.entries.pop();
    says(train(&mut other.compile(&Options::new()).unwrap(), 1, true), &["digest"]);
    // The same program from other lines, and with other initial values.
    let mut moved = exe.snapshot().to_string();
    moved = moved.replace("tests/trainer.rs:", "tests/moved.rs:1");
    let moved = Program::parse(&moved, &Limits::default()).unwrap();
    train(&mut moved.compile(&Options::new()).unwrap(), 1, true).unwrap();

    let before = states(&exe);
    std::fs::write(&path, &std::fs::read(&path).unwrap()[..300]).unwrap();
    assert!(train(&mut exe, 1, true).is_err());
    assert!(states(&exe) == before);
    std::fs::remove_file(&path).unwrap();
    let trainer = Trainer::new(&mut exe, "train").schedule("rate", SCHEDULE).checkpoint(&path);
    let inner = trainer.on_step(|_| {
        let mut second = executable(1);
        says(train(&mut second, 1, true), &["locked by another run"]);
        ControlFlow::Continue(())
    });
    inner.run(&rows).unwrap();
}

#[test]
fn evaluation_and_prediction_are_of_the_whole_table() {
    let rows = table(33);
    let mut exe = executable(4);
    let whole = evaluate(&mut exe, "evaluate", &rows, None).unwrap();
    let parts = evaluate(&mut exe, "evaluate", &rows, Some(7)).unwrap();
    for (whole, part) in whole.iter().zip(&parts) {
        assert!((whole.value - part.value).abs() < 1e-6, "{whole} {part}");
    }
    let whole = predict(&mut exe, "predict", &rows, None).unwrap();
    assert_eq!(whole, predict(&mut exe, "predict", &rows, Some(7)).unwrap());
    assert_eq!(whole["class"].shape(), [33]);
}

#[test]
fn mistakes_name_what_was_expected_and_found() {
    let rows = table(20);
    let mut exe = executable(1);
    let mut says = |table: &Table,
                    change: fn(Trainer<'_, Executable>) -> Trainer<'_, Executable>,
                    words: &[&str]| {
        let trainer = change(Trainer::new(&mut exe, "train").schedule("rate", SCHEDULE));
        let text = trainer.run(table).unwrap_err().to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "expected {word:?} in {text}"));
    };
    let none = Table::new().with("x", Array2::<f32>::zeros((0, 4))).unwrap();
    says(&none, |t| t, &["at least one row", "found none"]);
    says(&rows, |t| t.batch(0), &["at least one row, found 0"]);
    let lacking = Table::new().with("x", Array2::<f32>::zeros((5, 4))).unwrap();
    says(&lacking, |t| t, &["input \"y\" of i64[n]", "found columns \"x\""]);
    let double = rows.clone().cast("x", F64).unwrap();
    let remedy = "found f64[20,4]; `Table::cast(\"x\", F32)` converts it";
    says(&double, |t| t, &["expected a column \"x\" of f32[n,4]", remedy]);
    let narrow = Table::new().with("x", Array2::<f32>::zeros((5, 3))).unwrap();
    let words = "expected a column \"x\" of f32[n,4] for \"train\", found f32[5,3]";
    says(&narrow, |t| t, &[words]);
    says(
        &rows,
        |t| t.schedule("lr", |_: u64| 0.1),
        &["expected an input \"lr\"", "\"x\", \"y\", \"rate\""],
    );
    says(&rows, |t| t.schedule("y", |_: u64| 0.1), &["float scalar", "i64[n]"]);
    says(&rows, |t| t.loss("los"), &["expected a metric \"los\"", "\"loss\", \"accuracy\""]);
    says(
        &rows,
        |t| t.early_stopping(EarlyStopping::minimise("f1")),
        &["expected a metric \"f1\" of \"train\""],
    );
    says(&rows, |t| t.accumulate(2, "evaluate"), &["no input but the schedule's", "\"x\""]);
    says(&rows, |t| t.accumulate(0, "step"), &["at least one batch, found 0"]);
    says(&rows, |t| t.resume(), &["expected a checkpoint"]);
    says(&rows, |t| t.checkpoint("/proc/none/x.safetensors"), &["could not lock"]);
}

/// What early stopping has seen is in the history, so it may be told of another metric.
#[test]
fn early_stopping_goes_by_the_history() {
    let folder = Folder::new("early");
    let (rows, test) = table(60).split_every(3);
    let first = executable(1);
    let train = |name: &str, epochs, stopping: EarlyStopping| {
        let mut exe = first.fork().unwrap();
        let trainer = Trainer::new(&mut exe, "train").epochs(epochs);
        let trainer = trainer.schedule("rate", |_: u64| 1e-3);
        let trainer = trainer.validate("evaluate", &test).early_stopping(stopping.patience(4));
        trainer.checkpoint(folder.file(name)).resume().run(&rows).unwrap()
    };
    // The loss stays above the accuracy, so as the same number it would never be better.
    let (less, more) = (EarlyStopping::minimise("loss"), EarlyStopping::maximise("accuracy"));
    let whole = train("whole", 20, less.clone());
    assert_eq!((whole.stopped, whole.epochs.len()), (Stopped::Done, 20));
    assert_eq!(train("parts", 2, more).epochs, whole.epochs[..2]);
    assert_eq!(train("parts", 20, less), whole);
}

/// The files that are for people to look at cost no epoch.
#[test]
fn a_log_that_cannot_be_written_costs_no_epoch() {
    let folder = Folder::new("log");
    let rows = table(40);
    let mut exe = executable(1);
    let before = states(&exe);
    let trainer = Trainer::new(&mut exe, "train").schedule("rate", SCHEDULE);
    let error = trainer.log(folder.file("none").join("log.csv")).run(&rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(states(&exe) == before, "before the first step");

    // From the second epoch on.
    let logs = folder.file("logs");
    std::fs::create_dir(&logs).unwrap();
    let trainer = Trainer::new(&mut exe, "train").epochs(3).schedule("rate", SCHEDULE);
    let trainer =
        trainer.log(logs.join("log.csv")).checkpoint(folder.file("run")).on_step(|step| {
            if (step.epoch, step.batch) == (2, step.batches) {
                std::fs::remove_dir_all(&logs).unwrap();
            }
            ControlFlow::Continue(())
        });
    assert_eq!(trainer.run(&rows).unwrap_err().kind(), ErrorKind::Io);
    let trainer = Trainer::new(&mut exe, "train").epochs(2).schedule("rate", SCHEDULE);
    let history = trainer.checkpoint(folder.file("run")).resume().run(&rows).unwrap();
    assert_eq!((history.epochs.len(), history.steps), (2, 4));
}

#[test]
fn a_log_has_a_field_for_every_metric_of_every_epoch() {
    let folder = Folder::new("ragged");
    let rows = table(20);
    let mut exe = executable(1);
    let trainer = Trainer::new(&mut exe, "train").schedule("rate", SCHEDULE);
    trainer.checkpoint(folder.file("run")).run(&rows).unwrap();
    let trainer = Trainer::new(&mut exe, "train").epochs(2).schedule("rate", SCHEDULE);
    let trainer = trainer.validate("evaluate", &rows).log(folder.file("log.csv"));
    trainer.checkpoint(folder.file("run")).resume().run(&rows).unwrap();
    let log = std::fs::read_to_string(folder.file("log.csv")).unwrap();
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(',').collect()).collect();
    let names = ["epoch", "step", "loss", "accuracy", "validation loss", "validation accuracy"];
    assert_eq!(lines[0], names);
    assert_eq!((lines.len(), lines[1].len(), lines[2].len()), (3, 6, 6), "{log}");
    assert_eq!(lines[1][4..], ["", ""]);
}

/// Nothing is left in the sums for whatever comes next.
#[test]
fn a_run_ends_between_steps() {
    let rows = table(40);
    let flag = AtomicBool::new(true);
    for asked in [true, false] {
        let mut exe = executable(1);
        let trainer = Trainer::new(&mut exe, "add").batch(8).accumulate(3, "step");
        let trainer = trainer.schedule("rate", SCHEDULE).epochs(9);
        let history = match asked {
            true => trainer.stop(&flag).run(&rows).unwrap(),
            false => trainer.on_step(|_| ControlFlow::Break(())).run(&rows).unwrap(),
        };
        assert_eq!(history.steps, 1);
        assert_eq!(exe.state::<f64>("sums.rows").unwrap().sum(), 0.0);
    }
}

/// What cannot be looked at may be a checkpoint.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_looked_at_is_no_new_one() {
    let folder = Folder::new("loop");
    let path = folder.file("run.safetensors");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    for resume in [false, true] {
        let mut exe = executable(1);
        let trainer = Trainer::new(&mut exe, "train").schedule("rate", SCHEDULE).checkpoint(&path);
        let trainer = if resume { trainer.resume() } else { trainer };
        let error = trainer.run(&table(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("run.safetensors"), "{error}");
    }
    assert!(std::fs::symlink_metadata(&path).unwrap().is_symlink());
}

/// The file with its header changed by `edit`.
fn edited(path: &Path, edit: impl Fn(&str) -> String) {
    let bytes = std::fs::read(path).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, elements) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header = edit(std::str::from_utf8(header).unwrap());
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length, header.as_bytes(), elements].concat()).unwrap();
}

#[test]
fn positions_are_not_trusted() {
    let folder = Folder::new("position");
    let path = folder.file("run.safetensors");
    let rows = table(50);
    let train = |exe: &mut Executable, stop: usize, resume: bool| {
        let trainer = Trainer::new(exe, "train").batch(10).epochs(3).checkpoint(&path);
        let trainer = trainer.schedule("rate", SCHEDULE).on_step(move |step| {
            let flow = step.epoch == 2 && step.batch == stop;
            if flow { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if resume { trainer.resume().run(&rows) } else { trainer.run(&rows) }
    };
    train(&mut executable(1), 3, false).unwrap();
    let file = std::fs::read(&path).unwrap();
    // Numbers as large as they may be.
    let most = u64::MAX.to_string();
    for name in ["step", "number", "epoch", "stale"] {
        std::fs::write(&path, &file).unwrap();
        edited(&path, |header| {
            let parts: Vec<&str> = header.split(&format!("\\\"{name}\\\":")).collect();
            let rest =
                parts[1..].iter().map(|part| part.trim_start_matches(|c: char| c.is_numeric()));
            let parts: Vec<&str> = parts[..1].iter().copied().chain(rest).collect();
            parts.join(&format!("\\\"{name}\\\":{most}"))
        });
        let history = train(&mut executable(1), 0, true).unwrap();
        assert_eq!((history.steps, history.epochs.len()), (15, 3), "{name}");
    }
    // A sum too many is refused before a state changes.
    std::fs::write(&path, &file).unwrap();
    edited(&path, |header| header.replace("\\\"sums\\\":[", "\\\"sums\\\":[0,"));
    let mut exe = executable(7);
    let before = states(&exe);
    let error = train(&mut exe, 0, true).unwrap_err().to_string();
    assert!(error.contains("sums of 2 metrics") && error.contains("found 3"), "{error}");
    assert!(states(&exe) == before);
}

#[test]
fn a_moment_that_is_not_finite_is_not_written() {
    let folder = Folder::new("moment");
    let b = Builder::new("steep");
    let w = b.param("w", (), Init::Constant(1.0));
    let e = b.entry("train", Mode::Train);
    let loss = (e.input("x", F32, (b.dim("n"),)) * w).mean(..);
    e.minimize(loss, w, Adam::new(0.1));
    e.output("loss", loss);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    // The square of the gradient is infinite, so the step is 0.
    let rows = Table::new().with("x", vec![1e25f32; 4]).unwrap();
    let trainer = Trainer::new(&mut exe, "train").checkpoint(folder.file("run"));
    let error = trainer.run(&rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    assert!(error.to_string().contains("\"w.adam.v\""), "{error}");
    assert_eq!(exe.state::<f32>("w").unwrap().sum(), 1.0);
}

#[test]
fn columns_of_another_type_are_told_by_evaluate_and_predict() {
    let mut exe = executable(1);
    let y = vec![0i64; 6];
    let double = Table::new().with("x", Array2::<f64>::zeros((6, 4))).unwrap();
    let double = double.with("y", y.clone()).unwrap();
    let narrow = Table::new().with("x", Array2::<f32>::zeros((6, 3))).unwrap();
    let narrow = narrow.with("y", y).unwrap();
    let remedy = "found f64[6,4]; `Table::cast(\"x\", F32)` converts it";
    // Where the shape is wrong too, `cast` is no remedy.
    let neither = narrow.clone().cast("x", F64).unwrap();
    for (table, kind, found) in [
        (&double, ErrorKind::DType, remedy),
        (&narrow, ErrorKind::Shape, "found f32[6,3]"),
        (&neither, ErrorKind::Shape, "found f64[6,3]"),
    ] {
        for batch in [None, Some(4)] {
            let errors = [
                ("evaluate", evaluate(&mut exe, "evaluate", table, batch).unwrap_err()),
                ("predict", predict(&mut exe, "predict", table, batch).unwrap_err()),
            ];
            for (entry, error) in errors {
                let expected = "expected a column \"x\" of f32[n,4] for";
                assert_eq!(error.to_string(), format!("{expected} {entry:?}, {found}"));
                assert_eq!(error.kind(), kind);
            }
        }
    }
    assert!(evaluate(&mut exe, "evaluate", &double.cast("x", F32).unwrap(), None).is_ok());
}

#[test]
fn rows_that_never_fit_are_refused_before_the_first_step() {
    let b = Builder::new("fixed");
    let w = b.param("w", (), Init::Zeros);
    let e = b.entry("train", Mode::Train);
    let loss = (e.input("x", F32, (32,)) * w).mean(..);
    e.minimize(loss, w, Sgd::new(e.input("rate", F32, ())));
    e.output("loss", loss);
    b.entry("step", Mode::Train).input("rate", F64, ());
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let rows = |rows| Table::new().with("x", vec![1f32; rows]).unwrap();
    let mut says = |count: usize, batch: usize, words: &str| {
        let mut steps = 0;
        let trainer = Trainer::new(&mut exe, "train").batch(batch).schedule("rate", |_: u64| 0.1);
        let run = trainer.on_step(|_| {
            steps += 1;
            ControlFlow::Continue(())
        });
        let text = run.run(&rows(count)).unwrap_err().to_string();
        assert!(text.contains(words) && steps == 0, "expected {words:?} in {text}");
    };
    says(100, 32, "batches of 32 rows for input \"x\" of f32[32], found a last one of 4");
    says(100, 20, "batches of 32 rows for input \"x\" of f32[32], found 20");
    says(20, 32, "batches of 32 rows for input \"x\" of f32[32], found 20");
    let trainer = Trainer::new(&mut exe, "train").schedule("rate", |_: u64| 0.1);
    assert_eq!(trainer.epochs(2).run(&rows(96)).unwrap().steps, 6);

    let trainer = Trainer::new(&mut exe, "train").schedule("rate", |_: u64| 0.1);
    let error = trainer.accumulate(1, "step").run(&rows(32)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DType);
    let text = error.to_string();
    assert!(text.contains("\"rate\"") && text.contains("f32") && text.contains("f64"), "{text}");
}

#[test]
fn one_batch_is_its_own_mean() {
    let b = Builder::new("most");
    let e = b.entry("run", Mode::Eval);
    e.output("most", e.input("x", F64, (b.dim("n"),)).max(..));
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let rows = Table::new().with("x", vec![0.1; 3]).unwrap();
    // Three times it is rounded up.
    assert_ne!(0.1 * 3.0 / 3.0, 0.1);
    assert_eq!(evaluate(&mut exe, "run", &rows, None).unwrap()[0].value, 0.1);
}

#[test]
fn accuracy_counts_no_class_that_there_is_not() {
    for name in ["accuracy", "top_k_accuracy"] {
        let b = Builder::new("metrics");
        let e = b.entry("run", Mode::Eval);
        let (x, y) = (e.input("x", F32, (b.dim("n"), 3)), e.input("y", I64, (b.dim("n"),)));
        e.output("share", if name == "accuracy" { x.accuracy(y) } else { x.top_k_accuracy(y, 1) });
        let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
        for (class, fits) in [(2i64, true), (3, false), (-1, false)] {
            let rows = Table::new().with("x", Array2::<f32>::zeros((2, 3))).unwrap();
            let found = evaluate(&mut exe, "run", &rows.with("y", vec![0, class]).unwrap(), None);
            match fits {
                true => {
                    assert_eq!(found.unwrap()[0].value, if name == "accuracy" { 0.5 } else { 1.0 })
                }
                false => assert_eq!(found.unwrap_err().kind(), ErrorKind::Check, "{name} {class}"),
            }
        }
    }
}

/// Schedules are the same bits on every machine: of sums, products and `libm`'s cosine.
#[test]
fn schedules_are_of_portable_arithmetic() {
    let cosine = Cosine { first: 1.0, last: 0.0, steps: 23 };
    assert_eq!(cosine.rate(7).to_bits(), 0x3fe9_3a15_253b_ae7d);
    // More than 2³¹ factors.
    let slow = StepDecay { first: 1.0, factor: 1.0 - 2f64.powi(-33), every: 1 };
    assert!((slow.rate(1 << 33) - (-1f64).exp()).abs() < 1e-6, "{}", slow.rate(1 << 33));
    let half = StepDecay { first: 3.0, factor: 0.5, every: 2 };
    assert_eq!([0, 1, 5, 4_000].map(|step| half.rate(step)), [3.0, 3.0, 0.75, 0.0]);
}
