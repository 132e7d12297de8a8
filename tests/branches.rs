//! Control flow that data decide, as a user runs it: natively by either side, learning through it,
//! and loops that another thread ends.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use kilngrad::prelude::*;
use ndarray::{Array1, Array2, ArrayD, array};

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

/// Runs a program natively, on one thread and on two, and interpreted, each anew for each feed of
/// `x`: every output within `bound`, and of both numbers of threads the same bits.
fn meets(program: &Program, feeds: &[ArrayD<f64>], bound: f64) {
    for x in feeds {
        let mut slow = program.clone().interpret(&Options::new()).unwrap();
        let meant = slow.call("run").feed("x", x).run().unwrap();
        let mut bits: Vec<Vec<u64>> = Vec::new();
        for threads in [1, 2] {
            let mut exe = program.clone().compile(&Options::new().threads(threads)).unwrap();
            let found = exe.call("run").feed("x", x).run().unwrap();
            let mut all = Vec::new();
            for name in found.names() {
                let (found, meant) = (found.view::<f64>(name).unwrap(), meant.array(name).unwrap());
                for (found, meant) in found.iter().zip(meant.to_f64_vec()) {
                    let near = (found - meant).abs() <= bound * meant.abs();
                    assert!(near || found.to_bits() == meant.to_bits(), "{name}: {found}, {meant}");
                    all.push(found.to_bits());
                }
            }
            bits.push(all);
        }
        assert_eq!(bits[0], bits[1], "one thread and two");
    }
}

fn vectors(of: &[&[f64]]) -> Vec<ArrayD<f64>> {
    of.iter().map(|numbers| Array1::from_vec(numbers.to_vec()).into_dyn()).collect()
}

#[test]
fn a_loop_with_a_branch_ends_where_its_data_say() {
    let b = Builder::new("collatz");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (1,)).sum(..);
    let (last, steps) = e.repeat_while(
        (x, e.scalar(F64, 0.0)),
        |(n, _)| n.gt(1.0),
        |(n, steps)| {
            let odd = (n - (n / 2.0).floor() * 2.0).gt(0.5);
            (odd.cond(n, |n| n * 3.0 + 1.0, |n| n / 2.0), steps + 1.0)
        },
    );
    e.output("last", last);
    e.output("steps", steps);
    let program = b.finish().unwrap();
    meets(&program, &vectors(&[&[27.0], &[1.0], &[0.0], &[97.0], &[f64::NAN]]), 0.0);
    let mut exe = program.compile(&Options::new()).unwrap();
    let x = array![27.0];
    let out = exe.call("run").feed("x", &x).run().unwrap();
    assert_eq!(out.scalar::<f64>("steps").unwrap(), 111.0);
}

/// The power method with a matrix that the region states, contractions, and what it captures.
#[test]
fn a_loop_of_contractions_meets_the_interpreter() {
    let b = Builder::new("power").with_float(F64);
    let scale = b.param("scale", (3, 3), Init::Constant(0.5));
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (3,));
    let matrix = [2.0, 1.0, 0.0, 1.0, 3.0, 1.0, 0.0, 1.0, 4.0];
    let (v, _, _) = e.repeat_while(
        (x, x * 0.0, e.scalar(I64, 0)),
        |(v, u, i)| (v - u).square().sum(..).gt(1e-20) & i.lt(200),
        |(v, _, i)| {
            let w = v.entry().constant((3, 3), &matrix) * scale;
            let next = w.matmul(v);
            (next / next.square().sum(..).sqrt(), v, i + 1)
        },
    );
    e.output("v", v);
    let program = b.finish().unwrap();
    meets(&program, &vectors(&[&[1.0, 1.0, 1.0], &[1.0, 0.0, -1.0]]), 1e-9);
}

#[test]
fn control_flow_nests() {
    let b = Builder::new("nested").with_float(F64);
    let w = b.param("w", (4, 4), Init::Xavier);
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (b.dim("t"), 4));
    // A branch and a loop in every step of a scan.
    let (last, all) = x.scan(x.sum(0) * 0.0, |h, x| {
        let positive = x.sum(..).gt(0.0);
        let next = positive.cond((h, x), |(h, x)| (h + x).matmul(w).tanh(), |(h, _)| h);
        let next = h.entry().repeat_while(next, |h| h.square().sum(..).gt(1.0), |h| h * 0.5);
        (next, next)
    });
    // A scan in one side of a branch, and nothing in the other.
    let scanned = last.sum(..).gt(0.0).cond(
        (last, x),
        |(h, x)| x.scan(h, |h, x| (h * 0.5 + x, ())).0,
        |(h, _)| h,
    );
    e.output("last", last);
    e.output("all", all);
    e.output("scanned", scanned);
    let program = b.finish().unwrap();
    let feeds: Vec<ArrayD<f64>> = [1.0, -1.0, 3.0]
        .into_iter()
        .map(|scale| {
            let at = |(i, j)| scale * ((i * 4 + j) as f64 * 1.7).sin();
            Array2::from_shape_fn((5, 4), at).into_dyn()
        })
        .collect();
    meets(&program, &feeds, 1e-12);
}

/// The side that does not run may be one that would never end.
#[test]
fn one_side_is_computed() {
    let b = Builder::new("one");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (2,));
    let y = x.sum(..).gt(0.0).cond(
        x,
        |x| x.exp(),
        |x| x.entry().repeat_while(x, |x| x.sum(..).lt(f64::INFINITY), |x| x * 0.5),
    );
    e.output("y", y);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let x = array![1.0, 2.0];
    let out = exe.call("run").feed("x", &x).run().unwrap();
    assert!((out.view::<f64>("y").unwrap()[0] - 1f64.exp()).abs() < 1e-15);
}

#[test]
fn checks_hold_where_they_run() {
    let b = Builder::new("checks");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (1,)).sum(..);
    let small = |x: Tensor<'_>| x.entry().check(x.lt(10.0), "less than ten");
    let y = x.gt(0.0).cond(
        x,
        |x| {
            small(x);
            x
        },
        |x| -x,
    );
    let large = |y: Tensor<'_>| y.entry().check(y.gt(1.0), "more than one");
    let y = e.repeat_while(
        y,
        |y| y.lt(5.0),
        |y| {
            large(y);
            y * 2.0
        },
    );
    e.output("y", y);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let mut call = |x: f64| {
        let x = array![x];
        let out = exe.call("run").feed("x", &x).run()?;
        out.scalar::<f64>("y")
    };
    assert_eq!(call(-20.0).unwrap(), 20.0);
    assert_eq!(call(2.0).unwrap(), 8.0);
    for (x, expected) in [(20.0, "less than ten"), (0.5, "more than one")] {
        let error = call(x).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Check);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_frozen_program_branches_and_repeats() {
    let b = Builder::new("frozen").with_float(F64);
    let [u, v] = ["u", "v"].map(|name| b.param(name, (33, 33), Init::Xavier));
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (b.dim("n"), 33));
    let y = x.sum(..).gt(0.0).cond(x, |x| x.matmul(u).tanh(), |x| x.matmul(v).exp());
    let y = e.repeat_while(y, |y| y.square().sum(..).gt(1.0), |y| y.matmul(u).tanh() * 0.5);
    e.output("y", y);
    let program = b.finish().unwrap();
    let mut exe = program.clone().compile(&Options::new()).unwrap();
    let frozen = program.compile(&Options::new()).unwrap().freeze().unwrap();
    let mut session = frozen.session();
    for sign in [1.0, -1.0] {
        let x = Array2::from_shape_fn((7, 33), |(i, j)| sign * (1.0 + (i * 33 + j) as f64).sin());
        let x = x + sign * 0.25;
        let whole =
            exe.call("run").feed("x", &x).run().unwrap().view::<f64>("y").unwrap().to_owned();
        let found = session.call("run").feed("x", &x).run().unwrap();
        let found = found.view::<f64>("y").unwrap();
        assert!(found.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-12));
    }
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

/// As above, natively, in a scan's side of a branch too, whose other threads wait.
#[test]
fn a_flag_ends_native_loops_and_no_state_changes() {
    for threads in [1, 2] {
        let mut exe = counting().compile(&Options::new().threads(threads)).unwrap();
        let flag = AtomicBool::new(false);
        let count = |exe: &mut Executable, limit: i64| {
            let out = exe.call("run").feed("limit", &limit).cancel(&flag).run()?;
            out.scalar::<i64>("count")
        };
        assert_eq!(count(&mut exe, 5).unwrap(), 5);
        assert_eq!(count(&mut exe, 0).unwrap(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                flag.store(true, Ordering::Relaxed);
            });
            let error = count(&mut exe, i64::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(error.to_string().contains("branches.rs"), "{error}");
        });
        assert_eq!(exe.state::<i64>("calls").unwrap().sum(), 2);
        flag.store(false, Ordering::Relaxed);
        assert_eq!(count(&mut exe, 7).unwrap(), 7, "a cancelled call leaves nothing behind");
    }
}

#[test]
fn a_flag_ends_loops_at_any_depth() {
    let b = Builder::new("deep");
    let total = b.state("total", F64, (), Init::Zeros);
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (b.dim("n"),));
    // The state's new value needs no loop, and is written after it all the same.
    e.update(total, e.read(total) + x.sum(..));
    let (_, all) = x.scan(e.scalar(F64, 0.0), |h, x| {
        let next = x.gt(2.0).cond(
            (h, x),
            |(h, x)| h.entry().repeat_while(h, |h| h.lt(x * f64::INFINITY), |h| h * 0.5),
            |(h, x)| h + x,
        );
        (next, next)
    });
    e.output("all", all);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let x = array![1.0, 2.0];
    let out = exe.call("run").feed("x", &x).run().unwrap();
    assert_eq!(out.view::<f64>("all").unwrap(), array![1.0, 3.0].into_dyn());
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            flag.store(true, Ordering::Relaxed);
        });
        let x = array![1.0, 3.0];
        let call = exe.call("run").feed("x", &x).cancel(&flag);
        assert_eq!(call.run().map(drop).unwrap_err().kind(), ErrorKind::Cancelled);
    });
    assert_eq!(exe.state::<f64>("total").unwrap().sum(), 3.0);
}

/// The loop's own result is the state's new value, and is written when the loop has ended.
#[test]
fn a_flag_ends_a_loop_over_a_state() {
    let b = Builder::new("over");
    let state = b.state("state", F64, (3,), Init::Constant(1.0));
    let e = b.entry("run", Mode::Eval);
    let limit = e.input("limit", F64, ());
    e.update(state, e.repeat_while(e.read(state), |h| h.sum(..).lt(limit), |h| h + 1.0));
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    exe.call("run").feed("limit", &7.0f64).run().unwrap();
    let ended = array![3.0, 3.0, 3.0].into_dyn();
    assert_eq!(exe.state::<f64>("state").unwrap(), ended);
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            flag.store(true, Ordering::Relaxed);
        });
        let call = exe.call("run").feed("limit", &f64::INFINITY).cancel(&flag);
        assert_eq!(call.run().map(drop).unwrap_err().kind(), ErrorKind::Cancelled);
    });
    assert_eq!(exe.state::<f64>("state").unwrap(), ended);
}

/// No elements, truths, carries that change places, and stacks of what a loop gives.
#[test]
fn carries_of_every_kind_go_around() {
    let b = Builder::new("kinds");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (b.dim("n"),));
    let none = e.zeros(F64, (0, 2));
    let first = (e.scalar(I64, 0), (x.gt(0.0), none), (x, x * 2.0));
    let (_, (truths, none), (y, z)) = e.repeat_while(
        first,
        |(i, ..)| i.lt(3),
        |(i, (t, none), (y, z))| (i + 1, (t ^ z.gt(1.0), none + 1.0), (z, y)),
    );
    let (_, all) = x.scan(e.scalar(F64, 0.0), |h, x| {
        let (h, swapped) = e.repeat_while((h, x), |(h, _)| h.lt(x), |(h, s)| (s + 1.0, h));
        (h * 0.5, (h, swapped))
    });
    e.output("truths", truths.cast(F64));
    e.output("none", none);
    e.output("y", y);
    e.output("z", z);
    e.output("all", all.0);
    e.output("swapped", all.1);
    let feeds = vectors(&[&[1.0, -2.0, 0.25], &[5.0], &[]]);
    meets(&b.finish().unwrap(), &feeds, 0.0);
}

/// What a loop without iterations would compute is not moved before it: it might not end.
#[test]
fn loops_in_a_loop_of_no_iterations_do_not_begin() {
    let b = Builder::new("none");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (b.dim("n"),));
    let zero = e.scalar(F64, 0.0);
    let last = x.scan(zero, |h, x| {
        let endless = e.repeat_while(zero, |h| h.lt(1.0), |h| h * 0.5);
        (h + x + endless, ())
    });
    e.output("last", last.0);
    meets(&b.finish().unwrap(), &vectors(&[&[]]), 0.0);
}

/// As deep as programs may nest, a loop in a branch in a scan and so on.
#[test]
fn control_flow_nests_eight_deep() {
    fn deeper<'b>(h: Tensor<'b>, levels: usize) -> Tensor<'b> {
        let e = h.entry();
        match (levels, levels % 3) {
            (0, _) => h * 0.75 + 1.0,
            (_, 0) => h.gt(1.0).cond(h, |h| deeper(h, levels - 1), |h| h + 2.0),
            (_, 1) => {
                let first = (e.scalar(I64, 0), h);
                let next = |(i, h): (Tensor<'b>, Tensor<'b>)| (i + 1, deeper(h, levels - 1));
                e.repeat_while(first, |(i, _)| i.lt(2), next).1
            }
            _ => e.repeat(2, h, |h| (deeper(h, levels - 1), ())).0,
        }
    }
    let b = Builder::new("deep");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (1,));
    e.output("y", deeper(x.sum(..), 8));
    meets(&b.finish().unwrap(), &vectors(&[&[0.0], &[3.0], &[-1e9]]), 1e-12);
}
