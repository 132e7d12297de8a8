//! Calls: what is fed and fetched, what is refused, and that a refused call changes nothing.

#![allow(clippy::unwrap_used)]

use kilngrad::prelude::*;
use ndarray::{Array1, Array2, ShapeBuilder, array};

/// y = x·w with a counter of calls: inputs of a symbolic and of a fixed length.
fn program() -> Program {
    let b = Builder::new("calls");
    let n = b.dim("n");
    let scope = b.scope("model");
    let w = scope.param("w", (3, 2), Init::Values((0..6).map(f64::from).collect()));
    let step = b.entry("step", Mode::Train);
    let x = step.input("x", F32, (n, 3));
    let shift = step.input("shift", I64, (n * 2,));
    let y = x.matmul(step.read(w));
    step.output("y", y);
    step.output("total", shift.sum(..));
    step.output("positive", y.gt(0.0));
    step.minimize(y.sum(..), b.params("model"), Sgd::new(0.5));
    b.finish().unwrap()
}

fn executable() -> Executable {
    program().compile(&Options::new()).unwrap()
}

#[test]
fn any_layout_and_any_batch_are_fed() {
    let mut exe = executable();
    let mut reference = program().interpret(&Options::new()).unwrap();
    for rows in [0, 1, 2, 7, 2] {
        let numbers: Vec<f32> = (0..rows * 3).map(|i| i as f32 - 4.0).collect();
        let plain = Array2::from_shape_vec((rows, 3), numbers.clone()).unwrap();
        let mut columns = Array2::zeros((rows, 3).f());
        columns.assign(&plain);
        let mut wide = Array2::zeros((rows, 6));
        wide.slice_mut(ndarray::s![.., ..;2]).assign(&plain);
        let strided = wide.slice(ndarray::s![.., ..;2]);
        let shift = Array1::from_iter(0..2 * rows as i64);
        let mut expected = None;
        for x in [plain.view(), columns.view(), strided] {
            let states: Vec<Vec<u8>> = exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect();
            let paths: Vec<String> = exe.state_bytes().map(|(path, _)| path.to_owned()).collect();
            let outputs = exe.call("step").feed("x", &x).feed("shift", &shift).run().unwrap();
            let y = outputs.view::<f32>("y").unwrap().to_owned();
            assert_eq!(y.shape(), [rows, 2]);
            assert_eq!(outputs.scalar::<i64>("total").unwrap(), shift.sum());
            let positive = outputs.view::<bool>("positive").unwrap();
            assert!(positive.iter().zip(&y).all(|(flag, y)| *flag == (*y > 0.0)));
            assert_eq!(*expected.get_or_insert_with(|| y.clone()), y);
            // Back to the state before, so that each layout meets the same weights.
            for (path, bytes) in paths.iter().zip(&states) {
                let weights: Vec<f32> = bytes
                    .chunks_exact(4)
                    .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
                    .collect();
                if path == "model.w" {
                    let w = Array2::from_shape_vec((3, 2), weights).unwrap();
                    exe.set_state(path, &w).unwrap();
                }
            }
        }
        reference.copy_state(&exe).unwrap();
        exe.call("step").feed("x", &plain).feed("shift", &shift).run().unwrap();
        reference.call("step").feed("x", &plain).feed("shift", &shift).run().unwrap();
        let native = exe.state::<f32>("model.w").unwrap();
        let bytes: Vec<u8> = native.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(reference.state("model.w").unwrap().to_bytes(), bytes);
    }
}

#[test]
fn a_refused_call_says_why_and_changes_nothing() {
    let mut exe = executable();
    let x = array![[1f32, 2.0, 3.0]];
    let shift = array![1i64, 2];
    let before: Vec<Vec<u8>> = exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect();
    let wide = Array2::<f64>::zeros((1, 3));
    let long = Array2::<f32>::zeros((1, 4));
    let flat = Array1::<f32>::zeros(3);
    let odd = array![1i64, 2, 3];
    let check = |result: Result<(), Error>, kind: ErrorKind, words: &[&str]| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "expected {word:?} in: {error}");
        }
    };
    let run = |call: kilngrad::Call<'_, kilngrad::Report>| call.run().map(|_| ());

    check(run(exe.call("stop")), ErrorKind::Name, &["\"stop\"", "\"step\""]);
    check(run(exe.call("step").feed("x", &x)), ErrorKind::Name, &["\"shift\"", "i64[2*n]"]);
    let call = exe.call("step").feed("x", &x).feed("shift", &shift).feed("z", &x);
    check(run(call), ErrorKind::Name, &["\"z\"", "\"x\""]);
    let call = exe.call("step").feed("x", &x).feed("x", &x).feed("shift", &shift);
    check(run(call), ErrorKind::Name, &["\"x\"", "two"]);
    let call = exe.call("step").feed("x", &wide).feed("shift", &shift);
    check(run(call), ErrorKind::DType, &["f32", "f64", "\"x\""]);
    let call = exe.call("step").feed("x", &long).feed("shift", &shift);
    check(run(call), ErrorKind::Shape, &["[n,3]", "[1, 4]"]);
    let call = exe.call("step").feed("x", &flat).feed("shift", &shift);
    check(run(call), ErrorKind::Shape, &["[n,3]", "[3]"]);
    let call = exe.call("step").feed("x", &x).feed("shift", &odd);
    check(run(call), ErrorKind::Shape, &["[2*n]", "[3]"]);
    let call = exe.call("step").bind("n", 2).feed("x", &x).feed("shift", &shift);
    check(run(call), ErrorKind::Shape, &["found 2, which it is bound to, and 1 of input \"x\""]);
    let call = exe.call("step").bind("m", 2).feed("x", &x).feed("shift", &shift);
    check(run(call), ErrorKind::Name, &["\"m\"", "\"n\""]);

    let after: Vec<Vec<u8>> = exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect();
    assert_eq!(before, after);
    let outputs = exe.call("step").feed("x", &x).feed("shift", &shift).run().unwrap();
    check(outputs.view::<f64>("y").map(|_| ()), ErrorKind::DType, &["f32", "f64"]);
    check(outputs.scalar::<f32>("y").map(|_| ()), ErrorKind::Shape, &["[1, 2]"]);
    check(outputs.view::<f32>("x").map(|_| ()), ErrorKind::Name, &["\"x\"", "\"y\""]);
    // Of lengths that are compiled already, in the same words.
    let call = exe.call("step").feed("x", &long).feed("shift", &shift);
    check(run(call), ErrorKind::Shape, &["[n,3]", "[1, 4]"]);
}

#[test]
fn states_are_read_set_saved_and_loaded() {
    let folder = std::env::temp_dir().join(format!("kilngrad-calls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("weights.safetensors");
    let mut exe = executable();
    let weights = array![[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]];
    exe.set_state("model.w", &weights.t().to_owned().t()).unwrap();
    assert_eq!(exe.state::<f32>("model.w").unwrap(), weights.view().into_dyn());
    assert_eq!(exe.set_state("model.w", &array![1f32]).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(exe.set_state("model.v", &weights).unwrap_err().kind(), ErrorKind::Name);
    assert_eq!(exe.state::<f64>("model.w").unwrap_err().kind(), ErrorKind::DType);
    exe.save(&path).unwrap();

    let mut other = executable();
    other.load(&path, &Load::strict()).unwrap();
    assert_eq!(other.state::<f32>("model.w").unwrap(), weights.view().into_dyn());

    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, 8, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let mut torn = executable();
        let before: Vec<Vec<u8>> = torn.state_bytes().map(|(_, b)| b.to_vec()).collect();
        assert_eq!(
            torn.load(&path, &Load::strict()).unwrap_err().kind(),
            ErrorKind::Format,
            "{length} bytes"
        );
        let after: Vec<Vec<u8>> = torn.state_bytes().map(|(_, b)| b.to_vec()).collect();
        assert_eq!(before, after);
    }
    assert_eq!(
        other.load(folder.join("absent"), &Load::strict()).unwrap_err().kind(),
        ErrorKind::Io
    );
    assert!(exe.save(folder.join("absent").join("weights")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn more_bindings_than_are_kept() {
    let mut exe = executable();
    for rows in (1..40).chain(1..3) {
        let x = Array2::<f32>::ones((rows, 3));
        let shift = Array1::<i64>::ones(2 * rows);
        let outputs = exe.call("step").feed("x", &x).feed("shift", &shift).run().unwrap();
        assert_eq!(outputs.scalar::<i64>("total").unwrap(), 2 * rows as i64);
    }
}

/// How often an entry is compiled shows in the folder of its dumps.
#[test]
fn as_many_bindings_are_kept_as_options_say() {
    let folder = std::env::temp_dir().join(format!("kilngrad-kept-{}", std::process::id()));
    let lengths: Vec<usize> = (0..20).collect();
    let options = Options::new().entries(&["step"]).specialise("n", &lengths).dump(&folder);
    for (kept, compiled_again) in [(20, false), (19, true)] {
        let mut exe = program().compile(&options.clone().bindings(kept)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let (x, shift) = (Array2::<f32>::ones((0, 3)), Array1::<i64>::ones(0));
        exe.call("step").feed("x", &x).feed("shift", &shift).run().unwrap();
        assert_eq!(folder.exists(), compiled_again, "{kept}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Also where no length is known yet, so that nothing is compiled.
#[test]
fn a_gradient_that_does_not_exist_is_an_error_at_the_users_line() {
    for symbolic in [false, true] {
        let b = Builder::new("blocked");
        let w = b.scope("model").param("w", (3,), Init::Ones);
        let step = b.entry("step", Mode::Train);
        let mut loss = step.read(w).stop_gradient().sum(..);
        if symbolic {
            loss = loss * step.input("x", F32, (b.dim("n"),)).sum(..);
        }
        let line = line!() + 1;
        step.minimize(loss, b.params("model"), Sgd::new(0.1));
        let error = b.finish().unwrap().compile(&Options::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gradient);
        let text = error.to_string();
        assert!(text.contains("model.w"), "{text}");
        assert!(text.contains(&format!("calls.rs:{line}")), "{text}");
    }
}

/// As where no length is unknown, and of the entries that are wanted alone.
#[test]
fn a_gradient_that_nothing_needs_may_be_asked_for() {
    fn input<'b>(b: &'b Builder, entry: Entry<'b>, symbolic: bool) -> Tensor<'b> {
        match symbolic {
            true => entry.input("x", F32, (b.dim("n"),)),
            false => entry.input("x", F32, (2,)),
        }
    }
    for symbolic in [false, true] {
        let b = Builder::new("unused");
        let w = b.param("w", (3,), Init::Ones);
        let run = b.entry("run", Mode::Train);
        let x = input(&b, run, symbolic);
        let _ = run.read(w).stop_gradient().sum(..).gradient([run.read(w)]);
        run.output("y", x);
        let wrong = b.entry("wrong", Mode::Train);
        let x = input(&b, wrong, symbolic);
        let [slope] = (wrong.read(w).stop_gradient().sum(..) + x.sum(..)).gradient([wrong.read(w)]);
        wrong.output("slope", slope);
        let program = b.finish().unwrap();
        let error = program.clone().compile(&Options::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gradient);
        let mut exe = program.compile(&Options::new().entries(&["run"])).unwrap();
        exe.call("run").feed("x", &array![1f32, 2.0]).run().unwrap();
    }
}

/// What picks by index along an axis of no elements picks nothing.
#[test]
fn no_rows_are_arranged_as_any_number_is() {
    let b = Builder::new("none");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 4));
    let picks = e.input("picks", I64, (b.dim("m"),));
    let (sorted, _) = x.sort(-1);
    let (top, at) = x.topk(2, -1);
    let rows = x.index_select(0, picks);
    let turned = x.flip(0);
    let [slope] = (sorted.square().sum(..) + rows.sum(..) + turned.square().sum(..)).gradient([x]);
    for (name, value) in
        [("sorted", sorted), ("top", top), ("at", at), ("rows", rows), ("turned", turned)]
    {
        e.output(name, value);
    }
    e.output("slope", slope);
    let program = b.finish().unwrap();
    let mut slow = program.clone().interpret(&Options::new()).unwrap();
    let mut exe = program.compile(&Options::new()).unwrap();
    for rows in [0, 3] {
        let x =
            Array2::from_shape_fn((rows, 4), |(row, column)| ((row * 5 + column * 3) % 7) as f32);
        let picks = Array1::from_iter((0..rows as i64).rev());
        let expected = slow.call("run").feed("x", &x).feed("picks", &picks).run().unwrap();
        let found = exe.call("run").feed("x", &x).feed("picks", &picks).run().unwrap();
        for name in ["sorted", "top", "rows", "turned", "slope"] {
            let found = found.view::<f32>(name).unwrap().to_owned();
            assert_eq!(expected.array(name).unwrap(), &found.into(), "{name} of {rows}");
        }
        assert_eq!(found.view::<i64>("at").unwrap().shape(), [rows, 2]);
    }
    // Of none there is nothing that an index could pick.
    let (x, picks) = (Array2::<f32>::zeros((0, 4)), array![0i64]);
    let error = exe.call("run").feed("x", &x).feed("picks", &picks).run().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Check | ErrorKind::Shape), "{error}");
}

/// Class indices come from data: one out of range fails the call, natively and interpreted alike,
/// and no state has changed.
#[test]
fn a_class_index_out_of_range_is_an_error_of_the_users_line() {
    let b = Builder::new("classes");
    let n = b.dim("n");
    let head = Dense::new(&b.scope("head"), "fc", 2, 3);
    let train = b.entry("train", Mode::Train);
    let logits = head.forward(train.input("x", F32, (n, 2)));
    let (line, loss) = (line!(), logits.cross_entropy(train.input("y", I64, (n,))));
    train.check(loss.lt(100.0), "a loss below 100");
    train.minimize(loss, b.params("head"), Adam::new(0.1));
    train.output("loss", loss);
    let program = b.finish().unwrap();

    for features in [kilngrad::Features::detect(), kilngrad::Features::baseline()] {
        let mut exe = program.clone().compile(&Options::new().features(features)).unwrap();
        let mut reference = program.clone().interpret(&Options::new()).unwrap();
        let x = array![[1f32, 2.0], [3.0, -4.0], [0.5, 0.25]];
        let states = |exe: &Executable| -> Vec<Vec<u8>> {
            exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
        };
        let classes = "expected class indices from 0 to below 3";
        for (y, x, expected, found) in [
            (array![0i64, 3, 1], &x, classes, ", found 0 to 3 in input \"y\""),
            (array![0, 1, -1], &x, classes, ", found -1 to 1 in input \"y\""),
            (array![i64::MIN, i64::MAX, 0], &x, classes, "to 9223372036854775807 in input \"y\""),
            // The condition is of both inputs and of states.
            (array![0, 1, 2], &(&x * 1e6), "expected a loss below 100", ""),
        ] {
            reference.copy_state(&exe).unwrap();
            let before = states(&exe);
            let error = exe.call("train").feed("x", x).feed("y", &y).run().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Check);
            let text = error.to_string();
            assert!(text.starts_with(&format!("{expected} in entry train")), "{text}");
            assert!(text.ends_with(found) && text.contains("found") != found.is_empty(), "{text}");
            assert!(
                !text.contains("class") || text.contains(&format!("calls.rs:{line}:")),
                "{text}"
            );
            assert_eq!(states(&exe), before);
            let meant = reference.call("train").feed("x", x).feed("y", &y).run().unwrap_err();
            assert_eq!(meant.to_string(), text);
        }
        let y = array![0i64, 2, 1];
        let before = states(&exe);
        exe.call("train").feed("x", &x).feed("y", &y).run().unwrap();
        assert_ne!(states(&exe), before, "a call whose checks hold updates");
        // The mean loss of no sample is NaN, which is not below anything.
        let (x, y) = (Array2::<f32>::zeros((0, 2)), Array1::<i64>::zeros(0));
        let error = exe.call("train").feed("x", &x).feed("y", &y).run().unwrap_err();
        assert!(error.to_string().starts_with("expected a loss below 100"), "{error}");
    }
}
