//! Conds and whiles as a user writes them: what they compute, what they draw and check, and what is
//! said where they are written wrongly.

#![allow(clippy::unwrap_used)]

use kilngrad_builder::{Builder, F64, I64, Init, Mode};
use kilngrad_interp::{Array, InterpError, Interpreter};
use kilngrad_ir::Op;

fn interpreter(b: Builder) -> Interpreter {
    let program = kilngrad_autodiff::differentiate(&b.finish().unwrap()).unwrap();
    Interpreter::new(program, 0).unwrap()
}

#[test]
fn a_parameter_is_differentiated_through_the_side_that_ran() {
    let b = Builder::new("either").with_float(F64);
    let w = b.param("w", (2,), Init::Ones);
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (2,));
    // The parameter is brought in by one side only.
    let y = x.sum(..).gt(0.0).cond(x, |x| x * w, |x| x * 3.0);
    let loss = y.square().sum(..);
    let [dx, dw] = loss.gradient([x, e.read(w)]);
    e.output("dx", dx);
    e.output("dw", dw);
    let mut run = interpreter(b);
    let out = run.call("run", [("x", Array::from(vec![1.0, 2.0]))]).unwrap();
    assert_eq!((&out["dx"], &out["dw"]), (&vec![2.0, 4.0].into(), &vec![2.0, 8.0].into()));
    let out = run.call("run", [("x", Array::from(vec![-1.0, 0.0]))]).unwrap();
    assert_eq!((&out["dx"], &out["dw"]), (&vec![-18.0, 0.0].into(), &vec![0.0, 0.0].into()));
}

#[test]
fn checks_hold_where_they_run() {
    let b = Builder::new("checks");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, ());
    let y = x.gt(0.0).cond(
        x,
        |x| {
            e.check(x.lt(10.0), "less than ten");
            x
        },
        |x| -x,
    );
    let y = e.repeat_while(
        y,
        |y| y.lt(5.0),
        |y| {
            e.check(y.gt(1.0), "more than one");
            y * 2.0
        },
    );
    e.output("y", y);
    let mut run = interpreter(b);
    let mut call = |x: f64| run.call("run", [("x", x.into())]).map(|out| out["y"].clone());
    assert_eq!(call(-20.0), Ok(20.0.into()));
    assert_eq!(call(2.0), Ok(8.0.into()));
    for (x, expected) in [(20.0, "less than ten"), (0.5, "more than one")] {
        let Err(InterpError::Check(found)) = call(x) else { panic!("expected {x} to be refused") };
        assert!(found.contains(expected) && found.contains("branches.rs"), "{found}");
    }
}

#[test]
fn iterations_draw_apart() {
    let b = Builder::new("draws").with_float(F64);
    let e = b.entry("run", Mode::Eval);
    let zeros = [e.zeros(F64, ()), e.zeros(F64, ())];
    let first = (e.scalar(I64, 0), zeros);
    let (_, drawn) = e.repeat_while(
        first,
        |(i, _)| i.lt(2),
        // By the entry around the loop, and still anew.
        |(i, [_, last])| (i + 1, [last, last * 0.0 + e.uniform("draw", ())]),
    );
    let once = e.zeros(F64, ()).lt(1.0).cond(
        zeros,
        |[x, _]| x + x.entry().uniform("draw", ()),
        |[x, _]| x,
    );
    let [one, two] = drawn;
    e.output("all", e.stack([one, two, once], 0));
    let mut run = interpreter(b);
    let mut call = || run.call("run", []).unwrap()["all"].to_f64_vec();
    let found = [call(), call()].concat();
    for (at, x) in found.iter().enumerate() {
        assert!((0.0..1.0).contains(x) && *x != 0.0, "{found:?}");
        assert!(!found[..at].contains(x), "{found:?}");
    }
}

#[test]
fn what_is_captured_is_an_operand_of_the_side_that_reads_it() {
    let b = Builder::new("captured");
    let e = b.entry("run", Mode::Eval);
    let (x, y) = (e.input("x", F64, (3,)), e.input("y", F64, (3,)));
    e.output("z", x.sum(..).gt(0.0).cond(x, |x| x + y, |x| x));
    let program = b.finish().unwrap();
    let conds = program.entries[0].graph.nodes().filter_map(|(_, node)| {
        let Op::Cond(cond) = &node.op else { return None };
        Some((cond.then_operands(), cond.otherwise_operands()))
    });
    assert_eq!(conds.collect::<Vec<_>>(), [(1..3, 3..4)]);
}

#[test]
fn mistakes_are_told_at_the_users_line() {
    let b = Builder::new("mistakes");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (3,));
    x.sum(..).gt(0.0).cond(x, |x| x.sum(..), |x| x);
    x.cond(x, |x| x, |x| x * 2.0);
    x.gt(0.0).cond(x, |x| x, |x| x * 2.0);
    e.repeat_while(x, |x| x.gt(0.0), |x| x * 2.0);
    e.repeat_while(x, |x| x.sum(..).gt(0.0), |x| x.sum(..));
    let found = b.finish().unwrap_err().to_string();
    for rule in
        ["cond_c3", "cond_b2", "while_b3", "while_b1", "branches.rs", "`.any(..)`", "compare it"]
    {
        assert!(found.contains(rule), "expected {rule} in\n{found}");
    }
}

/// Loops of what is around a region belong to the region that they are written in.
#[test]
fn control_flow_of_what_is_around_is_within() {
    let b = Builder::new("around");
    let e = b.entry("run", Mode::Eval);
    let xs = e.input("xs", F64, (3,));
    let (holds, zero) = (xs.sum(..).gt(0.0), e.scalar(F64, 0.0));
    // A scan of what is around within a while, a while and a cond of it within a scan.
    let once = |first| {
        let scanned = |h| xs.scan(zero, |sum, x| (sum + x * h, ())).0;
        e.repeat_while(first, |h| h.lt(100.0), scanned)
    };
    let (last, _) = xs.scan(zero, |h, x| {
        let count = e.repeat_while(zero, |i| i.lt(x), |i| i + h + 1.0);
        let h = holds.cond((), |()| h + x, |()| h * 2.0);
        (h + count, ())
    });
    // One that would never end is not begun.
    let endless = || e.repeat_while(zero, |h| h.lt(1.0), |h| h * 0.5);
    e.output("last", holds.cond((), |()| last, |()| endless()));
    e.output("once", once(zero + 2.0));
    let mut run = interpreter(b);
    let out = run.call("run", [("xs", Array::from(vec![1.0, 2.0, 3.0]))]).unwrap();
    // h: 0 + 1 + 1 = 2; of 2, 2 + 2 and 3 more; of 7, 7 + 3 and 8 more.
    assert_eq!((&out["last"], &out["once"]), (&18.0.into(), &432.0.into()));
}

#[test]
fn a_guard_keeps_what_it_guards_from_failing() {
    let b = Builder::new("guard");
    let e = b.entry("run", Mode::Eval);
    let (table, at) = (e.input("table", F64, (3,)), e.input("at", I64, (2,)));
    let inside = (at.ge(0) & at.lt(3)).all(..);
    let zero = e.scalar(F64, 0.0);
    let sum = inside.cond((), |()| table.gather(0, at).sum(..), |()| zero);
    e.output("sum", sum);
    let mut run = interpreter(b);
    let mut call = |at: [i64; 2]| {
        let table = Array::from(vec![1.0, 2.0, 4.0]);
        let at = Array::from(at.to_vec());
        run.call("run", [("table", table), ("at", at)]).map(|out| out["sum"].clone())
    };
    assert_eq!(call([0, 2]), Ok(5.0.into()));
    assert_eq!(call([0, 3]), Ok(0.0.into()));
}
