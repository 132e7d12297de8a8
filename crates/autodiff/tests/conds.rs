//! Derivatives of conds, of three orders, against differences in `f64`, what they keep, and what is
//! said of `while`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, check, drawn, eval, expanded, ty};
use kilngrad_autodiff::differentiate;
use kilngrad_interp::Array;
use kilngrad_ir::op::{CompareOp, Cond, Scan, UnaryOp, While};
use kilngrad_ir::{Dim, Op, Program, Value};

type Side = fn(&mut Build, &[Value]) -> Vec<Value>;

/// Appends a cond of the regions that the sides write of what they read. Gives the node's results.
fn cond(b: &mut Build, predicate: Value, sides: [(&[Value], Side); 2]) -> Vec<Value> {
    let mut operands = vec![predicate];
    let [then, otherwise] = sides.map(|(read, side)| {
        let mut inner = Build::new();
        let arguments = read.iter().map(|value| b.graph.ty(*value).clone());
        let arguments: Vec<Value> =
            arguments.map(|ty| inner.graph.add_numbered_argument(ty)).collect();
        operands.extend(read);
        let results = side(&mut inner, &arguments);
        inner.graph.set_results(results);
        inner.graph
    });
    b.ops(Op::Cond(Box::new(Cond { then, otherwise, workspace: None })), &operands)
}

/// Whether the sum of the elements is above a bound.
fn above(b: &mut Build, x: Value, bound: f64) -> Value {
    let total = b.total(x);
    let bound = b.splat(ty(&[]), bound);
    b.op(Op::Compare(CompareOp::Gt), &[total, bound])
}

/// `tanh(x·y)` and `exp(y)`: values of the way forward that the way back reads.
fn curved(b: &mut Build, x: &[Value]) -> Vec<Value> {
    let product = b.mul(x[0], x[1]);
    let first = b.unary(UnaryOp::Tanh, product);
    vec![first, b.unary(UnaryOp::Exp, x[1])]
}

/// `sin(x)·x` and a constant: one result has no derivative, and one operand is not read.
fn partly(b: &mut Build, x: &[Value]) -> Vec<Value> {
    let sine = b.unary(UnaryOp::Sin, x[0]);
    let constant = b.splat(ty(&[3]), 2.0);
    vec![b.mul(sine, x[0]), constant]
}

/// Both results, told apart.
fn loss(b: &mut Build, results: &[Value]) -> Value {
    let parts = [b.weighted(results[0], 61), b.weighted(results[1], 62)];
    b.add(parts[0], parts[1])
}

#[test]
fn either_side_is_differentiated() {
    let inputs = [drawn(&[3], 0.3, 0.9, 1), drawn(&[3], -1.0, 1.0, 2)];
    for bound in [-10.0, 10.0] {
        check("either side", &inputs, |b, x| {
            let predicate = above(b, x[0], bound);
            let results = cond(b, predicate, [(x, curved), (&x[..1], partly)]);
            loss(b, &results)
        });
        check("the same value twice", &inputs[..1], |b, x| {
            let predicate = above(b, x[0], bound);
            let results = cond(b, predicate, [(&[x[0], x[0]], curved), (&[x[0]], partly)]);
            loss(b, &results)
        });
    }
}

#[test]
fn what_a_side_gives_as_it_is() {
    let inputs = [drawn(&[3], 0.3, 0.9, 1), drawn(&[3], -1.0, 1.0, 2)];
    for bound in [-10.0, 10.0] {
        check("swapped", &inputs, |b, x| {
            let predicate = above(b, x[0], bound);
            let results = cond(
                b,
                predicate,
                [(x, |_, x| vec![x[1], x[0]]), (x, |b, x| vec![x[0], b.mul(x[0], x[1])])],
            );
            let both = b.mul(results[0], results[1]);
            b.weighted(both, 63)
        });
    }
}

#[test]
fn a_cond_in_a_cond_and_in_a_scan() {
    fn outer(b: &mut Build, x: &[Value]) -> Vec<Value> {
        let predicate = above(b, x[1], 0.0);
        cond(b, predicate, [(x, curved), (&x[..1], partly)])
    }
    let inputs = [drawn(&[3], 0.3, 0.9, 1), drawn(&[3], 0.1, 1.0, 2)];
    for bound in [-10.0, 10.0] {
        check("nested", &inputs, |b, x| {
            let predicate = above(b, x[0], bound);
            let results = cond(b, predicate, [(x, outer), (&x[..1], partly)]);
            loss(b, &results)
        });
    }
    // Of three slices the sums are below, above and above.
    let xs = [0.1, 0.2, 0.3, 0.9, 0.8, 0.7, 0.5, 0.6, 0.7];
    let inputs = [common::array(&[3, 3], &xs), drawn(&[3], 0.1, 0.9, 2)];
    check("in a scan", &inputs, |b, x| {
        let mut inner = Build::new();
        let carry = inner.graph.add_numbered_argument(ty(&[3]));
        let slice = inner.graph.add_numbered_argument(ty(&[3]));
        let predicate = above(&mut inner, slice, 1.2);
        let read = [carry, slice];
        let results = cond(&mut inner, predicate, [(&read, curved), (&[slice], partly)]);
        let next = inner.mul(results[0], results[1]);
        inner.graph.set_results(vec![next, results[1]]);
        let scan = Scan {
            body: inner.graph,
            consts: 0,
            carries: 1,
            length: Dim::constant(3),
            reverse: false,
            workspace: None,
        };
        let results = b.ops(Op::Scan(Box::new(scan)), &[x[1], x[0]]);
        loss(b, &results)
    });
}

#[test]
fn values_of_both_sides_share_results() {
    let mut b = Build::new();
    let x = [b.vector("x", 3), b.vector("y", 3)];
    let predicate = above(&mut b, x[0], 0.0);
    let results = cond(
        &mut b,
        predicate,
        [
            (&x, curved),
            (&x, |b, x| {
                let sine = b.unary(UnaryOp::Sin, x[0]);
                let first = b.mul(sine, x[1]);
                vec![first, b.unary(UnaryOp::Cos, first)]
            }),
        ],
    );
    let loss = loss(&mut b, &results);
    let gradients = b.gradient(loss, &x);
    let program = expanded(&b.program(&gradients));
    let conds: Vec<(usize, usize)> = (program.entries[0].graph.nodes())
        .filter(|(_, node)| matches!(node.op, Op::Cond(_)))
        .map(|(_, node)| (node.operands.len(), node.results.len()))
        .collect();
    // `tanh` and `exp` are results of their own; of the other side, the sine is kept, and where
    // the first one has nothing. Then a cotangent for each of the two that either reads.
    assert_eq!(conds.iter().map(|(_, results)| *results).collect::<Vec<_>>(), [3, 2]);
}

/// How often `x` is doubled until it is 100.
fn doubled() -> Program {
    let mut b = Build::new();
    let x = b.scalar("x");
    let y = twice_until(&mut b, x);
    let squared = b.mul(y, y);
    let requested = b.gradient(squared, &[x]);
    b.program(&requested)
}

/// A value doubled until it is 100.
fn twice_until(b: &mut Build, x: Value) -> Value {
    let mut test = Build::new();
    let carried = test.graph.add_numbered_argument(ty(&[]));
    let bound = test.splat(ty(&[]), 100.0);
    let more = test.op(Op::Compare(CompareOp::Lt), &[carried, bound]);
    test.graph.set_results(vec![more]);
    let mut body = Build::new();
    let carried = body.graph.add_numbered_argument(ty(&[]));
    let twice = body.add(carried, carried);
    body.graph.set_results(vec![twice]);
    let op = While { test: test.graph, body: body.graph, carries: 1, workspace: None };
    b.op(Op::While(Box::new(op)), &[x])
}

/// The while is named, not the cond that it is in.
#[test]
fn a_while_in_a_side_is_named() {
    let mut b = Build::new();
    let x = b.scalar("x");
    let zero = b.splat(ty(&[]), 0.0);
    let p = b.op(Op::Compare(CompareOp::Lt), &[zero, x]);
    let sides = [(); 2].map(|()| {
        let mut side = Build::new();
        let read = side.graph.add_numbered_argument(ty(&[]));
        let y = twice_until(&mut side, read);
        side.graph.set_results(vec![y]);
        side.graph
    });
    let [then, otherwise] = sides;
    let cond = Cond { then, otherwise, workspace: None };
    let y = b.op(Op::Cond(Box::new(cond)), &[p, x, x]);
    let requested = b.gradient(y, &[x]);
    let found = differentiate(&b.program(&requested)).unwrap_err();
    let found = found[0].to_string();
    for word in ["gradient_d3", "found while", "`scan` has a derivative"] {
        assert!(found.contains(word), "expected {word:?} in\n{found}");
    }
}

#[test]
fn a_while_has_no_derivative_and_scan_is_named() {
    let found = differentiate(&doubled()).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1);
    for word in ["gradient_d3", "found while", "`scan` has a derivative", "model.rs"] {
        assert!(found[0].contains(word), "expected {word:?} in\n{}", found[0]);
    }
}

#[test]
fn what_only_a_test_reads_passes_nothing() {
    let mut b = Build::new();
    let (x, bound) = (b.scalar("x"), b.scalar("bound"));
    let mut test = Build::new();
    let [read, carried] = [(); 2].map(|()| test.graph.add_numbered_argument(ty(&[])));
    let more = test.op(Op::Compare(CompareOp::Lt), &[carried, read]);
    test.graph.set_results(vec![more]);
    let mut body = Build::new();
    let carried = body.graph.add_numbered_argument(ty(&[]));
    let twice = body.add(carried, carried);
    body.graph.set_results(vec![twice]);
    let op = While { test: test.graph, body: body.graph, carries: 1, workspace: None };
    let y = b.op(Op::While(Box::new(op)), &[bound, x]);
    let cut = b.op(Op::StopGradient, &[y]);
    let product = b.mul(cut, bound);
    let requested = b.gradient(product, &[bound]);
    let outputs = eval(&expanded(&b.program(&requested)), &[Array::from(3.0), Array::from(20.0)]);
    assert_eq!(outputs, [Array::from(24.0)]);
}
