//! Magnitudes bound what another evaluation may give.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, array, ty};
use kilngrad_interp::{Array, Measured, States, eval_node, eval_node_measured};
use kilngrad_ir::op::{
    ArgReduceOp, BinaryOp, CompareOp, DotAxes, Kernel, KernelKind, ReduceOp, UNARY,
    UnaryDerivative, UnaryOp,
};
use kilngrad_ir::{Bindings, DType, Graph, NodeId, Op, Program, Type, Value, random};

/// How far each operation of the other evaluation errs.
const UNIT: f64 = 1e-9;

fn drawn(shape: &[usize], low: f64, high: f64, stream: u64) -> Array {
    let key = random::key(3, stream, 0);
    let count: usize = shape.iter().product();
    let unit = |index| random::element(key, index as u64, DType::F64).to_f64();
    let elements: Vec<f64> = (0..count).map(|index| low + (high - low) * unit(index)).collect();
    array(shape, &elements)
}

fn f64s(dims: &[usize]) -> Type {
    ty(DType::F64, dims)
}

/// A kernel over inputs of these shapes, in a graph of its own.
fn kernel(inputs: &[Array], body: impl Fn(&mut Build, &[Value]) -> Value) -> Graph {
    let mut b = Build::new();
    let arguments: Vec<Value> =
        inputs.iter().map(|input| b.graph.add_numbered_argument(input.ty())).collect();
    let result = body(&mut b, &arguments);
    b.graph.set_results(vec![result]);
    let kernel = Kernel { name: "k".into(), kind: KernelKind::Map, body: b.graph };
    let mut outer = Build::new();
    let arguments: Vec<Value> =
        inputs.iter().map(|input| outer.graph.add_numbered_argument(input.ty())).collect();
    outer.op(Op::Kernel(Box::new(kernel)), &arguments);
    outer.graph
}

fn no_states() -> States {
    States::initial(&Program::new("none"), 0).unwrap()
}

fn measure(graph: &Graph, inputs: &[Array]) -> Measured {
    let first = NodeId::from_index(0);
    eval_node_measured(graph, first, inputs, &Bindings::new(), &no_states(), UNIT)
        .unwrap()
        .remove(0)
}

/// Evaluates a kernel's body with an error after each operation on floats.
fn perturbed(body: &Graph, inputs: &[Array], stream: u64) -> Array {
    let mut values: Vec<Option<Array>> = vec![None; body.value_count()];
    for (argument, input) in body.arguments().iter().zip(inputs) {
        values[argument.index()] = Some(input.clone());
    }
    for (id, node) in body.nodes() {
        let operands: Vec<Array> =
            node.operands.iter().map(|value| values[value.index()].clone().unwrap()).collect();
        let mut result =
            eval_node(body, id, &operands, &Bindings::new(), &no_states()).unwrap().remove(0);
        let rounds = match &node.op {
            Op::Unary(op) => {
                let exact = matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu);
                !exact && matches!(op.row().derivative, UnaryDerivative::Of(_))
            }
            Op::Binary(op) => !matches!(op, BinaryOp::Max | BinaryOp::Min),
            Op::Dot(_)
            | Op::Reduce { op: ReduceOp::Sum | ReduceOp::Prod, .. }
            | Op::ScatterAdd { .. }
            | Op::Fold(_) => true,
            Op::State(_)
            | Op::Constant(_)
            | Op::Dimension(_)
            | Op::Iota { .. }
            | Op::Random { .. }
            | Op::Compare(_)
            | Op::Select
            | Op::Cast
            | Op::Reduce { op: ReduceOp::Max | ReduceOp::Min, .. }
            | Op::ArgReduce { .. }
            | Op::Argsort { .. }
            | Op::Broadcast { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::Windows(_)
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. }
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Kernel(_) => false,
        };
        if rounds && let Array::F64(elements) = &mut result {
            let key = random::key(stream as i64, id.index() as u64, 1);
            for (index, element) in elements.iter_mut().enumerate() {
                let error = random::element(key, index as u64, DType::F64).to_f64();
                *element *= 1.0 + UNIT * (2.0 * error - 1.0);
            }
        }
        values[node.result().index()] = Some(result);
    }
    values[body.results()[0].index()].clone().unwrap()
}

/// Holds evaluations with errors to the magnitudes, and these to be no more than `slack` times
/// what the errors make of at least one element.
fn check(name: &str, slack: f64, inputs: &[Array], body: impl Fn(&mut Build, &[Value]) -> Value) {
    let graph = kernel(inputs, body);
    let Op::Kernel(kernel) = &graph.node(NodeId::from_index(0)).op else { unreachable!() };
    let Measured { array, magnitude } = measure(&graph, inputs);
    let mut closest = 0f64;
    for stream in 0..50 {
        let other = perturbed(&kernel.body, inputs, stream);
        let pairs = array.to_f64_vec().into_iter().zip(other.to_f64_vec());
        for ((expected, found), magnitude) in pairs.zip(magnitude.iter()) {
            let error = (found - expected).abs();
            assert!(error <= UNIT * magnitude * (1.0 + 1e-3), "{name}: {error:e} of {magnitude}");
            closest = closest.max(error / (UNIT * magnitude));
        }
    }
    assert!(closest * slack >= 1.0, "{name}: magnitudes are {:.1} times too large", 1.0 / closest);
}

#[test]
fn elementwise_errors_are_bounded() {
    for row in &UNARY {
        if !row.domain.contains(DType::F64) {
            continue;
        }
        // Squares inside the domain, away from its ends.
        let below_one = [UnaryOp::Asin, UnaryOp::Acos, UnaryOp::Atanh].contains(&row.op);
        let low = if row.op == UnaryOp::Acosh { 1.1 } else { 0.3 };
        let high = if below_one { 0.9 } else { 1.9 };
        let x = drawn(&[40], low, high, 2);
        // The operand of the operation itself has an error.
        check(row.name, 6.0, &[x], |b, x| {
            let square = b.op(Op::Binary(BinaryOp::Mul), &[x[0], x[0]]);
            let y = b.op(Op::Unary(row.op), &[square]);
            b.op(Op::Binary(BinaryOp::Mul), &[y, x[0]])
        });
    }
    for op in [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Pow,
        BinaryOp::Max,
        BinaryOp::Min,
        BinaryOp::Rem,
    ] {
        let inputs = [drawn(&[40], 0.5, 2.0, 4), drawn(&[40], 0.5, 1.5, 5)];
        check(op.row().name, 6.0, &inputs, |b, x| {
            let square = b.op(Op::Binary(BinaryOp::Mul), &[x[0], x[0]]);
            let exp = b.op(Op::Unary(UnaryOp::Exp), &[x[1]]);
            b.op(Op::Binary(op), &[square, exp])
        });
    }
}

#[test]
fn sums_and_contractions_are_bounded_by_their_terms() {
    let total = Op::Reduce { op: ReduceOp::Sum, axes: [1].as_slice().into() };
    let terms = array(&[1, 3], &[1e9, 1.0, -1e9]);
    let graph = kernel(std::slice::from_ref(&terms), |b, x| b.op(total.clone(), &[x[0]]));
    let Measured { array: sum, magnitude } = measure(&graph, &[terms]);
    assert_eq!(sum, vec![1.0].into());
    assert_eq!(magnitude.iter().copied().collect::<Vec<_>>(), [2e9 + 1.0]);

    let inputs = [drawn(&[3, 4], -1.0, 1.0, 1), drawn(&[4, 5], -1.0, 1.0, 2)];
    let axes = DotAxes {
        lhs_contract: [1].as_slice().into(),
        rhs_contract: [0].as_slice().into(),
        ..DotAxes::default()
    };
    check("dot of computed factors", 20.0, &inputs, |b, x| {
        let left = b.op(Op::Unary(UnaryOp::Exp), &[x[0]]);
        let right = b.op(Op::Unary(UnaryOp::Tanh), &[x[1]]);
        b.op(Op::Dot(axes.clone()), &[left, right])
    });
    // 2·((1 + 1e9) − 1e9): the factor in brackets has the magnitude 1 + (1e9 + 1).
    let inputs_of_one = [2.0, 1.0, 1e9].map(|x| Array::from(vec![x]));
    let inner = DotAxes {
        lhs_contract: [0].as_slice().into(),
        rhs_contract: [0].as_slice().into(),
        ..DotAxes::default()
    };
    for computed_first in [false, true] {
        let graph = kernel(&inputs_of_one, |b, x| {
            let sum = b.op(Op::Binary(BinaryOp::Add), &[x[1], x[2]]);
            let one = b.op(Op::Binary(BinaryOp::Sub), &[sum, x[2]]);
            let factors = if computed_first { [one, x[0]] } else { [x[0], one] };
            b.op(Op::Dot(inner.clone()), &factors)
        });
        let Measured { array, magnitude } = measure(&graph, &inputs_of_one);
        assert_eq!(array, 2.0.into());
        assert_eq!(magnitude.sum(), 2.0 + 2.0 * (1e9 + 2.0));
    }
    for (op, name) in ReduceOp::ALL {
        check(name, 20.0, &inputs[..1], |b, x| {
            let left = b.op(Op::Unary(UnaryOp::Exp), &[x[0]]);
            b.op(Op::Reduce { op, axes: [1].as_slice().into() }, &[left])
        });
    }
    check("softmax", 20.0, &inputs[..1], |b, x| {
        let axes = || [1].as_slice().into();
        let rows = |b: &mut Build, x| {
            b.op_as(Op::Broadcast { dims: [0].as_slice().into() }, &[x], f64s(&[3, 4]))
        };
        let largest = b.op(Op::Reduce { op: ReduceOp::Max, axes: axes() }, &[x[0]]);
        let largest = rows(b, largest);
        let shifted = b.op(Op::Binary(BinaryOp::Sub), &[x[0], largest]);
        let exp = b.op(Op::Unary(UnaryOp::Exp), &[shifted]);
        let sum = b.op(Op::Reduce { op: ReduceOp::Sum, axes: axes() }, &[exp]);
        let sum = rows(b, sum);
        b.op(Op::Binary(BinaryOp::Div), &[exp, sum])
    });
}

#[test]
fn what_may_jump_is_not_bounded() {
    let magnitudes = |inputs: &[Array], body: &dyn Fn(&mut Build, &[Value]) -> Value| {
        measure(&kernel(inputs, body), inputs).magnitude.iter().copied().collect::<Vec<_>>()
    };
    let (x, y) = (Array::from(vec![1.0, 2.0, 3.0]), Array::from(vec![1.0, 2.5, 3.0]));
    let exact = |b: &mut Build, x: &[Value]| b.op(Op::Compare(CompareOp::Gt), &[x[0], x[1]]);
    assert_eq!(magnitudes(&[x.clone(), y.clone()], &exact), [0.0; 3]);
    // The root of a square is near 1, 2 and 3, to what side is not defined.
    let rounded = |b: &mut Build, x: &[Value]| {
        let square = b.op(Op::Binary(BinaryOp::Mul), &[x[0], x[0]]);
        let root = b.op(Op::Unary(UnaryOp::Sqrt), &[square]);
        let above = b.op(Op::Compare(CompareOp::Gt), &[root, x[1]]);
        let (one, zero) = (b.splat(f64s(&[3]), 1.0), b.splat(f64s(&[3]), 0.0));
        b.op(Op::Select, &[above, one, zero])
    };
    let inf = f64::INFINITY;
    assert_eq!(magnitudes(&[x.clone(), y.clone()], &rounded), [inf, 0.0, inf]);
    let floor = |b: &mut Build, x: &[Value]| {
        let product = b.op(Op::Binary(BinaryOp::Mul), &[x[0], x[1]]);
        b.op(Op::Unary(UnaryOp::Round), &[product])
    };
    let halves = Array::from(vec![0.5, 0.6, 1.5]);
    assert_eq!(magnitudes(&[halves, vec![1.0; 3].into()], &floor), [inf, 0.0, inf]);
    let whole = |b: &mut Build, x: &[Value]| {
        let product = b.op(Op::Binary(BinaryOp::Mul), &[x[0], x[0]]);
        b.op_as(Op::Cast, &[product], ty(DType::I32, &[3]))
    };
    let thirds = Array::from(vec![1.0, 1.3, 2.0]);
    assert_eq!(magnitudes(&[thirds], &whole), [inf, 0.0, inf]);
    let first = |b: &mut Build, x: &[Value]| {
        let exp = b.op(Op::Unary(UnaryOp::Exp), &[x[0]]);
        b.op(Op::ArgReduce { op: ArgReduceOp::Max, axis: 1 }, &[exp])
    };
    let rows = array(&[2, 3], &[1.0, 2.0, 2.0, 1.0, 3.0, 2.0]);
    assert_eq!(magnitudes(&[rows], &first), [inf, 0.0]);
}
