//! Watching for numbers that are not finite: where they come from, and that the call undoes itself.

#![allow(clippy::unwrap_used)]

use kilngrad::Input;
use kilngrad::prelude::*;
use ndarray::{Array1, array};

/// A program of one entry called `train` whose loss `body` makes from an input and a parameter of
/// three numbers each.
fn declare(rate: f64, body: impl for<'b> Fn(Tensor<'b>, Tensor<'b>) -> Tensor<'b>) -> Program {
    let b = Builder::new("watched");
    let w = b.scope("net").param("w", (3,), Init::Values(vec![1.0, 2.0, 3.0]));
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (3,));
    let loss = train.within("body", || body(x, train.read(w)));
    train.minimize(loss, b.params("net"), Sgd::new(rate).momentum(0.9));
    train.output("loss", loss);
    b.finish().unwrap()
}

fn states(exe: &Executable) -> Vec<Vec<u8>> {
    exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
}

/// Checks that natively and interpreted a call with `good` succeeds, one with `bad` fails with all
/// of `words` in the error and changes nothing, and one with `good` then succeeds again.
fn check(program: &Program, good: &dyn Input, bad: &dyn Input, words: &[&str]) {
    let options = Options::new().check_nan(true);
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::NotFinite, "{error}");
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "expected {word:?} in: {text}");
        }
    };
    let mut exe = program.clone().compile(&options).unwrap();
    exe.call("train").feed("x", good).run().unwrap();
    let before = states(&exe);
    refused(exe.call("train").feed("x", bad).run().unwrap_err());
    assert_eq!(states(&exe), before);
    exe.call("train").feed("x", good).run().unwrap();
    assert_ne!(states(&exe), before);

    let mut slow = program.clone().interpret(&options).unwrap();
    slow.call("train").feed("x", good).run().unwrap();
    let before = slow.state("net.w").unwrap().clone();
    refused(slow.call("train").feed("x", bad).run().unwrap_err());
    assert_eq!(*slow.state("net.w").unwrap(), before);
    slow.call("train").feed("x", good).run().unwrap();
}

#[test]
fn the_logarithm_of_a_negative_number() {
    let line = line!() + 1;
    let program = declare(0.01, |x, w| (x * w).named("product").log().sum(..));
    check(
        &program,
        &array![1f32, 1.0, 1.0],
        &array![1f32, -2.0, 4.0],
        &[
            "nan at [1] of",
            "= log, -0.01",
            "1 of 3 nan",
            "in \"body\"",
            &format!("nan.rs:{line}:"),
            "operand %product: f32[3], -3.99 to 11.98",
            "it reaches output \"loss\"",
            "no state has changed",
        ],
    );
}

#[test]
fn zero_by_zero_in_a_loss() {
    let line = line!() + 1;
    let program = declare(0.01, |x, w| (x * w).sum(..) / x.sum(..));
    let bad = Array1::<f32>::zeros(3);
    check(
        &program,
        &array![1f32, 1.0, 1.0],
        &bad,
        &[
            "nan in %loss: f32[] = div, in \"body\"",
            "operand %2: f32[], 0.0",
            &format!("nan.rs:{line}:"),
        ],
    );
}

#[test]
fn a_step_that_is_too_large() {
    // The loss is finite, and so is its gradient; only the step leaves f32.
    let program = declare(1e30, |x, w| (x * w).sum(..));
    check(
        &program,
        &array![1e-30f32, 1e-30, 1e-30],
        &array![1e20f32, 0.0, 0.0],
        &["inf at [0] of", "in \"minimize\"", "state \"net.w\"", "operand", "no state has changed"],
    );
}

#[test]
fn the_gradient_of_a_square_root_at_zero() {
    let line = line!() + 1;
    let program = declare(0.01, |x, w| (x * w).named("product").sqrt().sum(..));
    check(
        &program,
        &array![1f32, 1.0, 1.0],
        &array![1f32, 0.0, 4.0],
        &["inf at [1] of", "the cotangent of %product", &format!("nan.rs:{line}:"), "operand"],
    );
}

#[test]
fn an_input_that_is_not_finite_already() {
    let program = declare(0.01, |x, w| (x * w).sum(..));
    check(
        &program,
        &array![1f32, 1.0, 1.0],
        &array![1f32, 2.0, f32::NAN],
        &["nan at [2] of input %x: f32[3], as it was fed, 1.0 to 2.0, 1 of 3 nan"],
    );
}

#[test]
fn a_state_that_is_not_finite_already() {
    let mut exe =
        declare(0.01, |x, w| (x * w).sum(..)).compile(&Options::new().check_nan(true)).unwrap();
    exe.set_state("net.w", &array![1f32, f32::INFINITY, f32::INFINITY]).unwrap();
    let error = exe.call("train").feed("x", &array![1f32, 1.0, 1.0]).run().unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("inf at [1] of state \"net.w\", before the call, 1.0, 2 of 3 inf"),
        "{text}"
    );
}

#[test]
fn a_mask_of_infinities_is_fine_until_it_is_the_cause() {
    // Masked attention: where x is negative a score does not count. Scores are of two kinds at
    // least, or their softmax would be the same for every parameter.
    let line = line!() + 2;
    let program = declare(0.01, |x, w| {
        let scores = x.gt(0.0).select(x * w, f64::NEG_INFINITY).softmax(-1).named("shares");
        (scores * w).sum(..)
    });
    check(
        &program,
        &array![1f32, -1.0, 2.0],
        &array![-1f32, -1.0, -2.0],
        &["nan at [0] of", "= sub, 3 of 3 nan", "f32[3], 3 of 3 -inf", &format!("nan.rs:{line}:")],
    );
}

#[test]
fn a_stated_nan_begins_where_it_is_taken() {
    // As a function does that marks what is out of its domain.
    let line = line!() + 1;
    let program = declare(0.01, |x, w| x.gt(0.0).select(x * w, f64::NAN).sum(..));
    check(
        &program,
        &array![1f32, 1.0, 1.0],
        &array![1f32, 1.0, -1.0],
        &[
            "nan at [2] of",
            "= select, 0.99 to 1.99, 1 of 3 nan",
            "bool[3], false to true",
            &format!("nan.rs:{line}:"),
        ],
    );
}

#[test]
fn a_sum_that_overflows_on_its_way_alone() {
    // In f64, as the interpreter adds, the terms cancel; in f32 the partial sums do not.
    let b = Builder::new("partial");
    let run = b.entry("run", Mode::Eval);
    run.output("total", run.input("x", F32, (64,)).sum(..));
    let program = b.finish().unwrap();
    let x = Array1::from_shape_fn(64, |i| if i < 32 { 3e38f32 } else { -3e38 });
    let mut exe = program.compile(&Options::new().check_nan(true)).unwrap();
    let error = exe.call("run").feed("x", &x).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    let text = error.to_string();
    assert!(text.contains("of output \"total\"") || text.contains("in output \"total\""), "{text}");
    assert!(text.contains("overflows on its way"), "{text}");
}

#[test]
fn nothing_is_watched_unless_it_is_asked_for() {
    let program = declare(0.01, |x, w| (x * w).log().sum(..));
    let mut exe = program.compile(&Options::new()).unwrap();
    let x = array![1f32, -2.0, 4.0];
    let outputs = exe.call("train").feed("x", &x).run().unwrap();
    assert!(outputs.scalar::<f32>("loss").unwrap().is_nan());
}
