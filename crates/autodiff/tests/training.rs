//! A network trained by gradient steps that are written in the graph, interpreted.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, expanded, ty};
use kilngrad_interp::{Array, Interpreter};
use kilngrad_ir::op::{BinaryOp, CompareOp, DotAxes, ReduceOp, UnaryOp};
use kilngrad_ir::{
    DType, Entry, Init, Literal, Mode, Op, Program, Role, State, StateId, Type, Value, verify,
};

const PIXELS: usize = 64;
const HIDDEN: usize = 64;
const CLASSES: usize = 10;

fn f32s(dims: &[usize]) -> Type {
    ty(dims).with_dtype(DType::F32)
}

fn matmul(b: &mut Build, x: Value, w: Value) -> Value {
    let axes = DotAxes {
        lhs_contract: [1].as_slice().into(),
        rhs_contract: [0].as_slice().into(),
        ..DotAxes::default()
    };
    b.op(Op::Dot(axes), &[x, w])
}

fn layer(b: &mut Build, x: Value, w: Value, bias: Value) -> Value {
    let product = matmul(b, x, w);
    let bias = b.broadcast(bias, &[1], product);
    b.add(product, bias)
}

/// One step of gradient descent on the mean cross entropy of a network with one hidden layer.
fn program() -> Program {
    let normal = |std: f64, stream| Init::Normal { mean: 0.0, std, stream };
    let zeros = Init::Splat(Literal::from_f64(DType::F32, 0.0));
    let parameters = [
        ("hidden.w", vec![PIXELS, HIDDEN], normal(0.2, 1)),
        ("hidden.b", vec![HIDDEN], zeros.clone()),
        ("out.w", vec![HIDDEN, CLASSES], normal(0.2, 2)),
        ("out.b", vec![CLASSES], zeros),
    ];
    let mut b = Build::new();
    let rows = common::symbolic(&["n", "64"]).with_dtype(DType::F32);
    let x = b.input("x", rows);
    let labels = b.input("labels", common::symbolic(&["n"]).with_dtype(DType::I64));
    let read: Vec<Value> = parameters
        .iter()
        .enumerate()
        .map(|(index, (_, dims, _))| {
            b.op_as(Op::State(StateId::from_index(index)), &[], f32s(dims))
        })
        .collect();

    let hidden = layer(&mut b, x, read[0], read[1]);
    let hidden = b.unary(UnaryOp::Relu, hidden);
    let logits = layer(&mut b, hidden, read[2], read[3]);
    let largest = b.reduce(ReduceOp::Max, &[1], logits);
    let largest = b.op(Op::StopGradient, &[largest]);
    let largest = b.broadcast(largest, &[0], logits);
    let shifted = b.binary(BinaryOp::Sub, logits, largest);
    let exp = b.unary(UnaryOp::Exp, shifted);
    let sum = b.reduce(ReduceOp::Sum, &[1], exp);
    let log = b.unary(UnaryOp::Log, sum);
    let log = b.broadcast(log, &[0], logits);
    let log_softmax = b.binary(BinaryOp::Sub, shifted, log);
    let classes = common::symbolic(&["n", "10"]).with_dtype(DType::I64);
    let class = b.op_as(Op::Iota { axis: 1 }, &[], classes);
    let label = b.broadcast(labels, &[0], class);
    let chosen = b.op(Op::Compare(CompareOp::Eq), &[class, label]);
    let zero = b.splat(b.graph.ty(logits).clone(), 0.0);
    let picked = b.op(Op::Select, &[chosen, log_softmax, zero]);
    let total = b.total(picked);
    let count = b.op_as(Op::Dimension(common::dim("n")), &[], f32s(&[]));
    let mean = b.binary(BinaryOp::Div, total, count);
    let loss = b.unary(UnaryOp::Neg, mean);

    let gradients = b.gradient(loss, &read);
    let mut updates = Vec::new();
    for (index, (parameter, gradient)) in read.iter().zip(gradients).enumerate() {
        let rate = b.splat(b.graph.ty(gradient).clone(), 0.1);
        let step = b.mul(rate, gradient);
        let next = b.binary(BinaryOp::Sub, *parameter, step);
        updates.push((StateId::from_index(index), next));
    }
    b.graph.set_results(vec![loss]);
    let mut entry = Entry::new("step", Mode::Train, b.graph);
    entry.outputs = vec!["loss".into()];
    entry.updates = updates;
    let state = |(path, dims, init): (&str, Vec<usize>, Init)| State {
        path: path.into(),
        ty: f32s(&dims),
        init,
        role: Role::Parameter,
    };
    let states = parameters.into_iter().map(state).collect();
    let program = Program { name: "mlp".into(), states, entries: vec![entry] };
    verify(&program).unwrap();
    program
}

/// Rows whose class is the position of the largest of ten sums of pixels.
fn data(rows: usize) -> (Vec<f32>, Vec<i64>) {
    let x = common::drawn(&[rows, PIXELS], -1.0, 1.0, 3).to_f64_vec();
    let label = |row: &[f64]| {
        let sums: Vec<f64> = (0..CLASSES).map(|class| row[class * 6..][..6].iter().sum()).collect();
        (0..CLASSES).max_by(|a, b| sums[*a].total_cmp(&sums[*b])).unwrap() as i64
    };
    let labels = x.chunks(PIXELS).map(label).collect();
    (x.into_iter().map(|x| x as f32).collect(), labels)
}

#[test]
fn a_network_learns() {
    let mut interpreter = Interpreter::new(expanded(&program()), 1).unwrap();
    let (x, labels) = data(1437);
    let mut epochs = Vec::new();
    for _ in 0..5 {
        let mut losses = Vec::new();
        // The last batch is a short one.
        for (x, labels) in x.chunks(32 * PIXELS).zip(labels.chunks(32)) {
            let x = Array::from_elements(&[labels.len(), PIXELS], x.to_vec()).unwrap();
            let feeds = [("x", x), ("labels", labels.to_vec().into())];
            let outputs = interpreter.call("step", feeds).unwrap();
            losses.push(outputs["loss"].scalar().unwrap().to_f64());
        }
        epochs.push(losses.iter().sum::<f64>() / losses.len() as f64);
    }
    assert!(epochs.windows(2).all(|pair| pair[1] < pair[0]), "{epochs:?}");
    assert!(epochs[4] < 0.5 * epochs[0], "{epochs:?}");
}
