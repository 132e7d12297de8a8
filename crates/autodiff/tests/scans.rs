//! Derivatives of scans, of three orders, against differences in `f64`, and what they leave in the
//! loop.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, check, check_typed, dim, drawn, expanded, symbolic, ty};
use kilngrad_ir::op::{BinaryOp, CustomGradient, DotAxes, Op, Scan, UnaryOp};
use kilngrad_ir::{DType, Dim, Graph, Program, Type, Value};

/// How a scan runs.
#[derive(Clone)]
struct Way {
    length: Dim,
    reverse: bool,
}

fn way(length: &str, reverse: bool) -> Way {
    Way { length: dim(length), reverse }
}

/// Appends a scan of the region that `body` writes: of its constants, carries and slices it makes
/// the carries' next values and the slices to stack. Gives the node's results.
fn scan(
    b: &mut Build,
    [consts, carries, xs]: [&[Value]; 3],
    way: &Way,
    body: impl FnOnce(&mut Build, [&[Value]; 3]) -> (Vec<Value>, Vec<Value>),
) -> Vec<Value> {
    let mut inner = Build::new();
    let mut stand_in = |value: &Value, slice: bool| {
        let outer = b.graph.ty(*value);
        let without: &[usize] = if slice { &[0] } else { &[] };
        let ty = Type::new(outer.dtype, outer.shape.without(without));
        inner.graph.add_numbered_argument(ty)
    };
    let of_consts: Vec<Value> = consts.iter().map(|it| stand_in(it, false)).collect();
    let of_carries: Vec<Value> = carries.iter().map(|it| stand_in(it, false)).collect();
    let of_xs: Vec<Value> = xs.iter().map(|it| stand_in(it, true)).collect();
    let (next, stacked) = body(&mut inner, [&of_consts, &of_carries, &of_xs]);
    inner.graph.set_results([next, stacked].concat());
    let op = Op::Scan(Box::new(Scan {
        body: inner.graph,
        consts: consts.len(),
        carries: carries.len(),
        length: way.length.clone(),
        reverse: way.reverse,
        workspace: None,
    }));
    b.ops(op, &[consts, carries, xs].concat())
}

fn matmul() -> Op {
    Op::Dot(DotAxes {
        lhs_contract: [1].as_slice().into(),
        rhs_contract: [0].as_slice().into(),
        ..DotAxes::default()
    })
}

/// `tanh(x·u + h·w + b)`, which is carried and stacked.
fn cell(b: &mut Build, [consts, carries, xs]: [&[Value]; 3]) -> (Vec<Value>, Vec<Value>) {
    let [u, w, bias] = [consts[0], consts[1], consts[2]];
    let from_x = b.op(matmul(), &[xs[0], u]);
    let from_h = b.op(matmul(), &[carries[0], w]);
    let sum = b.add(from_x, from_h);
    let bias = b.broadcast(bias, &[1], sum);
    let sum = b.add(sum, bias);
    let next = b.unary(UnaryOp::Tanh, sum);
    (vec![next], vec![next])
}

fn recurrent(b: &mut Build, x: &[Value], way: &Way) -> Value {
    let results = scan(b, [&x[..3], &x[3..4], &x[4..5]], way, cell);
    let last = b.weighted(results[0], 61);
    let all = b.weighted(results[1], 62);
    b.add(last, all)
}

#[test]
fn a_recurrent_layer_both_ways() {
    let inputs = [
        drawn(&[2, 2], -1.0, 1.0, 1),
        drawn(&[2, 2], -1.0, 1.0, 2),
        drawn(&[2], -1.0, 1.0, 3),
        drawn(&[1, 2], -1.0, 1.0, 4),
        drawn(&[3, 1, 2], -1.0, 1.0, 5),
    ];
    for reverse in [false, true] {
        let way = way("3", reverse);
        check("recurrent", &inputs, |b, x| recurrent(b, x, &way));
    }
    let types: Vec<Type> = [&["2", "2"][..], &["2", "2"], &["2"], &["n", "2"], &["t", "n", "2"]]
        .map(symbolic)
        .to_vec();
    let way = way("t", false);
    check_typed("recurrent of symbols", &types, &inputs, |b, x| recurrent(b, x, &way));
}

#[test]
fn no_iterations_pass_cotangents_through() {
    let inputs = [
        drawn(&[2, 2], -1.0, 1.0, 1),
        drawn(&[2, 2], -1.0, 1.0, 2),
        drawn(&[2], -1.0, 1.0, 3),
        drawn(&[1, 2], -1.0, 1.0, 4),
        drawn(&[0, 1, 2], -1.0, 1.0, 5),
    ];
    check("no iterations", &inputs, |b, x| recurrent(b, x, &way("0", false)));
}

#[test]
fn carries_that_mix_swap_or_stay() {
    let inputs = [drawn(&[2], -1.0, 1.0, 1), drawn(&[2], -1.0, 1.0, 2), drawn(&[2], -1.0, 1.0, 3)];
    check("swap", &inputs, |b, x| {
        let results = scan(b, [&[], x, &[]], &way("3", false), |b, [_, carries, _]| {
            let product = b.mul(carries[0], carries[1]);
            let third = b.unary(UnaryOp::Sin, carries[2]);
            (vec![carries[1], product, third], vec![carries[0]])
        });
        let parts: Vec<Value> =
            results.iter().zip(71..).map(|(part, stream)| b.weighted(*part, stream)).collect();
        parts.into_iter().reduce(|sum, part| b.add(sum, part)).unwrap()
    });
}

#[test]
fn sums_that_stay_and_sums_that_leave() {
    let inputs =
        [drawn(&[2], 0.5, 1.0, 1), drawn(&[2, 2], -1.0, 1.0, 2), drawn(&[3, 2], -1.0, 1.0, 3)];
    check("consts", &inputs, |b, x| {
        let results = scan(b, [&x[..2], &x[..1], &x[2..]], &way("3", true), |b, [c, h, xs]| {
            // Elementwise, transposed, negated, twice, and as it is.
            let scaled = b.mul(c[0], xs[0]);
            let w = b.op(Op::Transpose { permutation: [1, 0].as_slice().into() }, &[c[1]]);
            let w = b.unary(UnaryOp::Neg, w);
            let w = b.add(w, c[1]);
            let axes = DotAxes {
                lhs_contract: [0].as_slice().into(),
                rhs_contract: [0].as_slice().into(),
                ..DotAxes::default()
            };
            let h = b.op(Op::Dot(axes), &[w, h[0]]);
            let sum = b.add(h, scaled);
            let next = b.unary(UnaryOp::Tanh, sum);
            (vec![next], vec![c[0], next])
        });
        let parts: Vec<Value> =
            results.iter().zip(71..).map(|(part, stream)| b.weighted(*part, stream)).collect();
        parts.into_iter().reduce(|sum, part| b.add(sum, part)).unwrap()
    });
}

#[test]
fn scans_within_scans() {
    let inputs = [
        drawn(&[2, 2], -1.0, 1.0, 1),
        drawn(&[1, 2], -1.0, 1.0, 2),
        drawn(&[2, 3, 1, 2], -1.0, 1.0, 3),
    ];
    check("nested", &inputs, |b, x| {
        let results = scan(b, [&x[..1], &x[1..2], &x[2..]], &way("2", false), |b, [c, h, xs]| {
            let bias = b.splat(ty(&[2]), 0.25);
            let consts = [c[0], c[0], bias];
            let inner = scan(b, [&consts, h, xs], &way("3", true), cell);
            let next = b.unary(UnaryOp::Sin, inner[0]);
            (vec![next], vec![inner[1], h[0]])
        });
        let parts: Vec<Value> =
            results.iter().zip(71..).map(|(part, stream)| b.weighted(*part, stream)).collect();
        parts.into_iter().reduce(|sum, part| b.add(sum, part)).unwrap()
    });
}

#[test]
fn integers_and_truths_go_along() {
    let inputs = [drawn(&[2], -1.0, 1.0, 1), drawn(&[3, 2], -1.0, 1.0, 2)];
    check("integers", &inputs, |b, x| {
        let integer = Type::scalar(DType::I64);
        let zero = b.splat(integer.clone(), 0.0);
        let carries = [x[0], zero];
        let results = scan(b, [&[], &carries, &x[1..]], &way("3", false), |b, [_, h, xs]| {
            let one = b.splat(integer.clone(), 1.0);
            let count = b.add(h[1], one);
            let scale = b.op_as(Op::Cast, &[count], ty(&[]));
            let scale = b.broadcast(scale, &[], h[0]);
            let scaled = b.mul(scale, xs[0]);
            let smaller = b.op(Op::Compare(kilngrad_ir::op::CompareOp::Lt), &[h[0], xs[0]]);
            let chosen = b.op(Op::Select, &[smaller, scaled, h[0]]);
            let next = b.unary(UnaryOp::Sin, chosen);
            (vec![next, count], vec![count])
        });
        b.weighted(results[0], 71)
    });
}

#[test]
fn a_derivative_of_the_users_own_within() {
    let inputs = [drawn(&[2], -1.0, 1.0, 1)];
    check("custom", &inputs, |b, x| {
        let results = scan(b, [&[], x, &[]], &way("3", false), |b, [_, h, _]| {
            let value = b.unary(UnaryOp::Sin, h[0]);
            let mut backward = Graph::new();
            let arguments = [0; 3].map(|_| backward.add_numbered_argument(ty(&[2])));
            let mut region = Build { graph: backward };
            let slope = region.unary(UnaryOp::Cos, arguments[2]);
            let dx = region.mul(slope, arguments[0]);
            region.graph.set_results(vec![dx]);
            let custom = CustomGradient { backward: region.graph };
            let next = b.ops(Op::CustomGradient(Box::new(custom)), &[value, h[0]]);
            (next.clone(), next)
        });
        b.weighted(results[1], 71)
    });
}

fn scans(graph: &Graph) -> Vec<&Scan> {
    let mut scans: Vec<&Scan> = Vec::new();
    for (_, node) in graph.nodes() {
        if let Op::Scan(scan) = &node.op {
            scans.push(scan);
        }
    }
    scans
}

fn gradients_of_a_layer() -> Program {
    let mut b = Build::new();
    let shapes: [&[usize]; 5] = [&[5, 6], &[6, 6], &[6], &[4, 6], &[3, 4, 5]];
    let inputs: Vec<Value> =
        shapes.iter().enumerate().map(|(at, dims)| b.input(&format!("x{at}"), ty(dims))).collect();
    let loss = recurrent(&mut b, &inputs, &way("3", false));
    let wanted = b.gradient(loss, &inputs[..4]);
    expanded(&b.program(&wanted))
}

/// The weights' gradients are contractions over time after the loop, which keeps one product an
/// iteration: the cotangent's way through the recurrent weights.
#[test]
fn gradients_of_weights_leave_the_loop() {
    let program = gradients_of_a_layer();
    let graph = &program.entries[0].graph;
    let [forward, backward] = scans(graph)[..] else { panic!("expected two scans: {program}") };
    let dots = |graph: &Graph| graph.nodes().filter(|(_, it)| matches!(it.op, Op::Dot(_))).count();
    assert_eq!([dots(&forward.body), dots(&backward.body), dots(graph)], [2, 1, 2], "{program}");
    assert!(backward.reverse && !forward.reverse);
    // The carry before each iteration is stacked besides; the carry after it was stacked already.
    assert_eq!([forward.body.results().len(), backward.carries], [3, 1], "{program}");
}

#[test]
fn what_no_iteration_leads_to_is_refused() {
    let mut b = Build::new();
    let inputs = [b.vector("x", 2), b.vector("y", 2)];
    let results = scan(&mut b, [&[], &inputs, &[]], &way("3", false), |b, [_, h, _]| {
        let one = b.unary(UnaryOp::Sin, h[0]);
        let other = b.binary(BinaryOp::Mul, h[0], h[1]);
        (vec![one, other], vec![])
    });
    let loss = b.total(results[0]);
    let wanted = b.gradient(loss, &inputs);
    let found = kilngrad_autodiff::differentiate(&b.program(&wanted)).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("%y"), "{}", found[0]);
}
