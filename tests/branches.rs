//! Control flow that data decide, as a user runs it: natively by either side, learning through it,
//! and loops that another thread ends.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use kilngrad::prelude::*;
use ndarray::array;

/// One of two layers, with the sum of squares minimised.
fn either() -> Program {
    let b = Builder::new("either");
    let [u, v] = ["u", "v"].map(|name| b.param(name, (3, 3), Init::Xavier));
    let e = b.entry("train", Mode::Train);
    let x = e.input("x", F32, (b.dim("n"), 3));
    let y = x.sum(..).gt(0.0).cond(x, |x| x.matmul(u).tanh(), |x| x.matmul(v).exp());
    let loss = y.square().mean(..);
    e.minimize(loss, [u, v], Sgd::new(0.125));
    e.output("loss", loss);
    b.finish().unwrap()
}

#[test]
fn training_meets_the_interpreter_on_either_side() {
    let program = either();
    let mut exe = program.clone().compile(&Options::new()).unwrap();
    let mut slow = program.interpret(&Options::new()).unwrap();
    for (step, sign) in [1f32, -1.0, 1.0, -1.0].into_iter().enumerate() {
        let x = array![[0.5f32, 1.0, -0.25], [0.125, 0.75, 0.5]] * sign;
        let before = slow.state("u").unwrap().clone();
        let fast = exe.call("train").feed("x", &x).run().unwrap().scalar::<f32>("loss").unwrap();
        let meant = slow.call("train").feed("x", &x).run().unwrap().number("loss").unwrap();
        assert!((f64::from(fast) - meant).abs() <= 1e-5 * meant.abs(), "step {step}");
        // The layer that did not run stays as it is.
        assert_eq!(*slow.state("u").unwrap() == before, sign < 0.0, "step {step}");
    }
    for path in ["u", "v"] {
        let (fast, meant) = (exe.state::<f32>(path).unwrap(), slow.state(path).unwrap());
        let pairs = fast.iter().zip(meant.to_f64_vec());
        assert!(pairs.into_iter().all(|(x, y)| (f64::from(*x) - y).abs() < 1e-5), "{path}");
    }
}

/// Counts its calls, and up to a number.
fn counting() -> Program {
    let b = Builder::new("counting");
    let calls = b.state("calls", I64, (), Init::Zeros);
    let e = b.entry("run", Mode::Eval);
    let limit = e.input("limit", I64, ());
    e.update(calls, e.read(calls) + 1);
    e.output("count", e.repeat_while(e.scalar(I64, 0), |i| i.lt(limit), |i| i + 1));
    b.finish().unwrap()
}

#[test]
fn a_flag_ends_a_loop_and_no_state_changes() {
    let mut slow = counting().interpret(&Options::new()).unwrap();
    let flag = AtomicBool::new(false);
    let count = |slow: &mut kilngrad::Interpreted, limit: i64| {
        let out = slow.call("run").feed("limit", &limit).cancel(&flag).run()?;
        out.number("count")
    };
    assert_eq!(count(&mut slow, 5).unwrap(), 5.0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            flag.store(true, Ordering::Relaxed);
        });
        let error = count(&mut slow, i64::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.to_string().contains("branches.rs"), "{error}");
    });
    assert_eq!(slow.state("calls"), Some(&1i64.into()));
}

#[test]
fn a_while_is_not_compiled_yet_and_the_line_is_named() {
    let error = counting().compile(&Options::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let message = error.to_string();
    assert!(message.contains("while") && message.contains("branches.rs"), "{message}");
}
