//! Reductions as training steps need them: fused, split over chunks, and at their edges.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Body, Close, array, check, chunks, float_inputs, inputs_of, integer_inputs};
use common::{FUSING, Numbers, lower, program};
use kilngrad_interp::Array;
use kilngrad_ir::DType::{F32, F64, I32, I64, U8};
use kilngrad_ir::op::{ArgReduceOp, BinaryOp, CompareOp, KernelKind, Op, ReduceOp, UnaryOp};
use kilngrad_ir::{Literal, Type, Value};

/// `(max, sum, softmax)` of `x` over `axes`.
fn softmax(body: &mut Body, x: Value, axes: &[usize]) -> [Value; 3] {
    let shape = body.shape(x);
    let largest = body.reduce(ReduceOp::Max, axes, x);
    let spread = body.spread(largest, axes, &shape);
    let below = body.binary(BinaryOp::Sub, x, spread);
    let power = body.unary(UnaryOp::Exp, below);
    let sum = body.reduce(ReduceOp::Sum, axes, power);
    let spread = body.spread(sum, axes, &shape);
    [largest, sum, body.binary(BinaryOp::Div, power, spread)]
}

#[test]
fn softmax_in_every_layout() {
    for (dtype, bound) in [(F32, 2e-6), (F64, 1e-14)] {
        for axes in [&[1][..], &[0], &[0, 1], &[2], &[0, 2], &[0, 1, 2]] {
            let mut body = Body::default();
            let x = body.argument(dtype, &[9, 21, 6]);
            let [largest, sum, result] = softmax(&mut body, x, axes);
            let body = body.results(&[result, largest, sum]);
            let inputs = float_inputs(&body);
            check(KernelKind::Reduce, body, &inputs, Close::Within(bound));
        }
    }
}

/// The expensive exponential of a softmax is computed once and kept for the second pass.
#[test]
fn softmax_keeps_its_powers() {
    let mut body = Body::default();
    let x = body.argument(F32, &[8, 256]);
    let [_, _, result] = softmax(&mut body, x, &[1]);
    let body = body.results(&[result]);
    let inputs = float_inputs(&body);
    let lowered = check(KernelKind::Reduce, body, &inputs, Close::Within(2e-6));
    let scratch: Vec<usize> =
        lowered.iter().map(|lowered| lowered.program.kernels[0].scratch_bytes()).collect();
    assert_eq!(scratch[0], 256 * 4);
    assert_eq!(scratch[2], 0, "a cramped cache keeps nothing this long");
}

#[test]
fn layer_normalisation() {
    for axes in [&[1][..], &[0]] {
        let shape = [34, 50];
        let mut body = Body::default();
        let x = body.argument(F32, &shape);
        let gain = body.argument(F32, &[50]);
        let bias = body.argument(F32, &[50]);
        let count = axes.iter().map(|axis| shape[*axis]).product::<usize>() as f64;
        let mean = |body: &mut Body, x: Value| {
            let sum = body.reduce(ReduceOp::Sum, axes, x);
            let kept = body.shape(sum);
            let count = body.splat(F32, count, &kept);
            body.binary(BinaryOp::Div, sum, count)
        };
        let centre = mean(&mut body, x);
        let spread = body.spread(centre, axes, &shape);
        let centred = body.binary(BinaryOp::Sub, x, spread);
        let square = body.binary(BinaryOp::Mul, centred, centred);
        let variance = mean(&mut body, square);
        let kept = body.shape(variance);
        let epsilon = body.splat(F32, 1e-5, &kept);
        let variance = body.binary(BinaryOp::Add, variance, epsilon);
        let scale = body.unary(UnaryOp::Rsqrt, variance);
        let spread = body.spread(scale, axes, &shape);
        let unit = body.binary(BinaryOp::Mul, centred, spread);
        let gain = body.broadcast(gain, &[1], &shape);
        let bias = body.broadcast(bias, &[1], &shape);
        let scaled = body.binary(BinaryOp::Mul, unit, gain);
        let result = body.binary(BinaryOp::Add, scaled, bias);
        let body = body.results(&[result, centre, scale]);
        let inputs = float_inputs(&body);
        check(KernelKind::Reduce, body, &inputs, Close::Within(1e-5));
    }
}

/// Loss and gradient of classification with `i64` labels, whose one-hot rows are comparisons of
/// an index.
#[test]
fn cross_entropy_of_labels() {
    let shape = [13, 22];
    for op in [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Ge] {
        let mut body = Body::default();
        let x = body.argument(F32, &shape);
        let labels = body.argument(I64, &[13]);
        let [_, sum, likelihood] = softmax(&mut body, x, &[1]);
        let log = body.unary(UnaryOp::Log, sum);
        let classes = body.declared(Op::Iota { axis: 1 }, &[], I64, &shape);
        let labels = body.broadcast(labels, &[0], &shape);
        let hot = body.compare(op, classes, labels);
        let zero = body.splat(F32, 0.0, &shape);
        let chosen = body.select(hot, x, zero);
        let chosen = body.reduce(ReduceOp::Sum, &[1], chosen);
        let loss = body.binary(BinaryOp::Sub, log, chosen);
        let one = body.cast(hot, F32);
        let gradient = body.binary(BinaryOp::Sub, likelihood, one);
        let body = body.results(&[loss, gradient]);
        let mut inputs = float_inputs(&body);
        let far = [0, 21, 5, -1, 22, i64::MAX, i64::MIN, 1 << 32, (1 << 32) + 5, 7, 8, 9, 10];
        inputs[1] = Array::from_elements(&[13], far.to_vec()).unwrap();
        check(KernelKind::Reduce, body, &inputs, Close::Within(1e-5));
    }
}

fn with_specials(ty: &Type, stride: usize) -> Array {
    let specials = [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 7.0, 7.0, -0.0, 0.0];
    let mut numbers = Numbers(stride as u64);
    let elements = (0..ty.element_count().unwrap()).map(|at| {
        let special = at % stride == stride - 1;
        let value = if special { numbers.pick(&specials) } else { numbers.below(5) as f64 };
        Literal::from_f64(ty.dtype, value)
    });
    array(ty, elements)
}

#[test]
fn extremes_propagate_nan_and_find_the_first() {
    for dtype in [F32, F64] {
        for (shape, axis) in
            [([37, 30], 1), ([37, 30], 0), ([300, 3], 0), ([2, 77], 1), ([65, 2], 1)]
        {
            for stride in [1, 7, 50, 10_000] {
                let mut body = Body::default();
                let x = body.argument(dtype, &shape);
                let results: Vec<Value> = [ArgReduceOp::Max, ArgReduceOp::Min]
                    .map(|op| body.op(Op::ArgReduce { op, axis }, &[x]))
                    .into_iter()
                    .chain([ReduceOp::Max, ReduceOp::Min].map(|op| body.reduce(op, &[axis], x)))
                    .collect();
                let body = body.results(&results);
                let inputs = inputs_of(&body, |ty| with_specials(ty, stride));
                check(KernelKind::Reduce, body, &inputs, Close::Exact);
            }
        }
    }
}

/// All elements the lowest of their type: nothing beats the identity, and the first is index 0.
#[test]
fn extremes_of_the_lowest() {
    for dtype in [F32, F64, I32, I64, U8] {
        let mut body = Body::default();
        let x = body.argument(dtype, &[3, 41]);
        let first = body.op(Op::ArgReduce { op: ArgReduceOp::Max, axis: 1 }, &[x]);
        let largest = body.reduce(ReduceOp::Max, &[1], x);
        let body = body.results(&[first, largest]);
        let lowest = if dtype.is_float() { f64::NEG_INFINITY } else { -1e30 };
        let literal = Literal::from_f64(dtype, lowest);
        let inputs = [Array::splat(literal, &[3, 41])];
        check(KernelKind::Reduce, body, &inputs, Close::Exact);
    }
}

#[test]
fn large_sums_are_split_and_combined() {
    for (shape, axes) in [
        (&[400_000][..], &[0][..]),
        (&[20_000, 24], &[0]),
        (&[2, 100_000], &[1]),
        (&[60_000, 5], &[0, 1]),
        (&[700, 7, 100], &[0, 2]),
    ] {
        let mut body = Body::default();
        let x = body.argument(F32, shape);
        let y = body.argument(F32, shape);
        let product = body.binary(BinaryOp::Mul, x, y);
        let sum = body.reduce(ReduceOp::Sum, axes, product);
        let largest = body.reduce(ReduceOp::Max, axes, x);
        let spread = body.spread(largest, axes, shape);
        let below = body.binary(BinaryOp::Sub, x, spread);
        let total = body.reduce(ReduceOp::Sum, axes, below);
        let twice = body.binary(BinaryOp::Add, total, total);
        let body = body.results(&[sum, twice, total, largest]);
        let inputs = integer_inputs(&body);
        let lowered = check(KernelKind::Reduce, body, &inputs, Close::Exact);
        assert!(chunks(&lowered)[0] > 2, "{shape:?} {axes:?}: {:?}", chunks(&lowered));
    }
}

#[test]
fn large_extremes_are_split_and_combined() {
    for dtype in [F32, F64, I32, I64, U8] {
        for (shape, axis) in [(&[500_000][..], 0), (&[40_000, 12], 0), (&[3, 200_000], 1)] {
            let mut body = Body::default();
            let x = body.argument(dtype, shape);
            let first = body.op(Op::ArgReduce { op: ArgReduceOp::Max, axis }, &[x]);
            let last = body.op(Op::ArgReduce { op: ArgReduceOp::Min, axis }, &[x]);
            let body = body.results(&[first, last]);
            let inputs = inputs_of(&body, |ty| with_specials(ty, 30_011));
            let lowered = check(KernelKind::Reduce, body, &inputs, Close::Exact);
            assert!(chunks(&lowered)[0] > 2, "{shape:?}: {:?}", chunks(&lowered));
        }
    }
}

/// Rows that fill chunks: reductions of many rows are split along them.
#[test]
fn many_rows_are_split() {
    for (shape, axes) in [
        (&[512, 256][..], &[1][..]),
        (&[96, 2048], &[0]),
        (&[64, 30, 256], &[1]),
        (&[70, 2, 3000], &[1]),
    ] {
        let mut body = Body::default();
        let x = body.argument(F32, shape);
        let largest = body.reduce(ReduceOp::Max, axes, x);
        let spread = body.spread(largest, axes, shape);
        let below = body.binary(BinaryOp::Sub, x, spread);
        let total = body.reduce(ReduceOp::Sum, axes, below);
        let body = body.results(&[below, total]);
        let inputs = integer_inputs(&body);
        let lowered = check(KernelKind::Reduce, body, &inputs, Close::Exact);
        assert!(chunks(&lowered)[0] > 2, "{shape:?}: {:?}", chunks(&lowered));
    }
}

/// A reduction that is read at another row's index needs all rows first.
#[test]
fn reductions_read_across_rows() {
    let mut body = Body::default();
    let x = body.argument(F32, &[12, 12, 10]);
    let sum = body.reduce(ReduceOp::Sum, &[2], x);
    let turned = body.transpose(sum, &[1, 0]);
    let both = body.binary(BinaryOp::Add, sum, turned);
    let spread = body.spread(both, &[2], &[12, 12, 10]);
    let result = body.binary(BinaryOp::Mul, x, spread);
    let largest = body.reduce(ReduceOp::Max, &[2], result);
    let body = body.results(&[result, both, largest]);
    let inputs = integer_inputs(&body);
    check(KernelKind::Reduce, body, &inputs, Close::Exact);
}

#[test]
fn empty_and_single_reductions() {
    for (shape, axes) in [
        (&[3, 0][..], &[1][..]),
        (&[0, 3], &[1]),
        (&[0, 3], &[0]),
        (&[4, 1], &[1]),
        (&[4, 5], &[]),
        (&[], &[]),
        (&[1, 1], &[0, 1]),
        (&[0, 0], &[0, 1]),
    ] {
        for dtype in [F32, F64, I32, I64, U8] {
            let mut body = Body::default();
            let x = body.argument(dtype, shape);
            let mut results: Vec<Value> =
                ReduceOp::ALL.map(|(op, _)| body.reduce(op, axes, x)).to_vec();
            let spread = body.spread(results[0], axes, shape);
            results.push(body.binary(BinaryOp::Sub, x, spread));
            let body = body.results(&results);
            let inputs = integer_inputs(&body);
            check(KernelKind::Reduce, body, &inputs, Close::Exact);
        }
    }
}

/// The same entry for the same machine gives the same program.
#[test]
fn lowering_is_deterministic() {
    let mut body = Body::default();
    let x = body.argument(F32, &[64, 100]);
    let [_, _, result] = softmax(&mut body, x, &[1]);
    let program = program(KernelKind::Reduce, body.results(&[result]));
    assert_eq!(lower(&program, &FUSING), lower(&program, &FUSING));
}
