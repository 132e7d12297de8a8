//! Maps: every function, several results, several chunks, and pieces.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Body, Close, Numbers, array, check, chunks, compare, evaluate, float_inputs, floats,
    integer_inputs, lower, program,
};
use kilngrad_interp::Array;
use kilngrad_ir::DType::{self, F32, F64, I32, I64};
use kilngrad_ir::op::{BinaryOp, CompareOp, KernelKind, Op, PadAxis, SliceAxis, UnaryOp};
use kilngrad_ir::{Dim, Literal, Machine, Shape, Type, Value};
use kilngrad_loops::ChunkOrder;

#[test]
fn every_function_on_vectors_and_remainders() {
    for (dtype, bound) in [(F32, 3e-7), (F64, 1e-15)] {
        for row in &kilngrad_ir::op::UNARY {
            if !row.domain.contains(dtype) {
                continue;
            }
            let mut body = Body::default();
            let x = body.argument(dtype, &[5, 23]);
            // Read across rows, so that lanes are gathered too.
            let turned = body.argument(dtype, &[23, 5]);
            let turned = body.transpose(turned, &[1, 0]);
            let results = [body.unary(row.op, x), body.unary(row.op, turned)];
            let body = body.results(&results);
            let inputs = float_inputs(&body);
            check(KernelKind::Map, body, &inputs, Close::Within(bound));
        }
        for op in [BinaryOp::Pow, BinaryOp::Rem, BinaryOp::Div, BinaryOp::Max, BinaryOp::Min] {
            let mut body = Body::default();
            let x = body.argument(dtype, &[5, 23]);
            let y = body.argument(dtype, &[23]);
            let y = body.broadcast(y, &[1], &[5, 23]);
            let result = body.binary(op, x, y);
            let body = body.results(&[result]);
            let inputs = float_inputs(&body);
            check(KernelKind::Map, body, &inputs, Close::Within(2.0 * bound));
        }
    }
}

/// An update by Adam: several results, and numbers that are the same for all elements.
#[test]
fn adam_update() {
    let shape = [300, 257];
    let mut body = Body::default();
    let [w, m, v, g] = [0; 4].map(|_| body.argument(F32, &shape));
    let step = body.argument(I64, &[]);
    let step = body.cast(step, F32);
    // The new moment, and it divided by what its start at zero takes away.
    let decay = |body: &mut Body, rate: f64, old: Value, new: Value| {
        let kept = body.splat(F32, rate, &shape);
        let share = body.splat(F32, 1.0 - rate, &shape);
        let old = body.binary(BinaryOp::Mul, kept, old);
        let new = body.binary(BinaryOp::Mul, share, new);
        let sum = body.binary(BinaryOp::Add, old, new);
        let base = body.splat(F32, rate, &[]);
        let power = body.binary(BinaryOp::Pow, base, step);
        let one = body.splat(F32, 1.0, &[]);
        let correction = body.binary(BinaryOp::Sub, one, power);
        let correction = body.broadcast(correction, &[], &shape);
        (sum, body.binary(BinaryOp::Div, sum, correction))
    };
    let (m, mean) = decay(&mut body, 0.9, m, g);
    let square = body.binary(BinaryOp::Mul, g, g);
    let (v, variance) = decay(&mut body, 0.99, v, square);
    let root = body.unary(UnaryOp::Sqrt, variance);
    let epsilon = body.splat(F32, 1e-3, &shape);
    let root = body.binary(BinaryOp::Add, root, epsilon);
    let change = body.binary(BinaryOp::Div, mean, root);
    let w = body.binary(BinaryOp::Sub, w, change);
    let body = body.results(&[w, m, v]);
    let mut inputs = float_inputs(&body);
    inputs[2] = floats(&mut Numbers(9), &Type::new(F32, Shape::new(shape)), 0.1, 2.0);
    inputs[4] = Array::from_elements(&[], vec![3i64]).unwrap();
    let lowered = check(KernelKind::Map, body, &inputs, Close::Within(1e-5));
    assert!(chunks(&lowered)[0] > 2);
}

#[test]
fn large_maps_are_split() {
    for shape in [&[200_000][..], &[250, 800], &[8, 3, 9000], &[100_003]] {
        let mut body = Body::default();
        let x = body.argument(F32, shape);
        let last = shape.len() - 1;
        let y = body.argument(F32, &shape[last..]);
        let y = body.broadcast(y, &[last], shape);
        let sum = body.binary(BinaryOp::Add, x, y);
        let positive = body.compare(CompareOp::Gt, sum, x);
        let body = body.results(&[sum, positive]);
        let inputs = integer_inputs(&body);
        let lowered = check(KernelKind::Map, body, &inputs, Close::Exact);
        // A prime length has no equal parts.
        let prime = shape == [100_003];
        assert_eq!(chunks(&lowered)[0] == 1, prime, "{shape:?}: {:?}", chunks(&lowered));
    }
}

#[test]
fn large_transpositions() {
    for (shape, permutation) in [([300, 130, 5], [1, 0, 2]), ([100, 20, 64], [2, 1, 0])] {
        let mut body = Body::default();
        let x = body.argument(F32, &shape);
        let y = body.transpose(x, &permutation);
        let body = body.results(&[y]);
        let inputs = integer_inputs(&body);
        check(KernelKind::Map, body, &inputs, Close::Exact);
    }
}

#[test]
fn large_pieces_are_split() {
    let mut body = Body::default();
    let x = body.argument(F32, &[600, 400]);
    let y = body.argument(F32, &[600, 17]);
    let z = body.argument(F32, &[600, 400]);
    let z = body.unary(UnaryOp::Neg, z);
    let all = body.op(Op::Concat { axis: 1 }, &[x, y, z]);
    let body = body.results(&[all]);
    let inputs = integer_inputs(&body);
    let lowered = check(KernelKind::Map, body, &inputs, Close::Exact);
    assert!(lowered[0].program.body.len() == 3);

    for interior in [0, 1] {
        let mut body = Body::default();
        let x = body.argument(F32, &[600, 400]);
        let padding = body.argument(F32, &[]);
        let axis = || PadAxis { low: Dim::from(3usize), high: Dim::from(40usize), interior };
        let padded = body.op(Op::Pad([axis(), axis()].into_iter().collect()), &[x, padding]);
        let body = body.results(&[padded]);
        let inputs = integer_inputs(&body);
        check(KernelKind::Map, body, &inputs, Close::Exact);
    }
}

#[test]
fn random_numbers_are_the_references() {
    for dtype in [F32, F64, I32, I64] {
        for shape in [&[][..], &[3], &[5, 7], &[64], &[2, 33, 3]] {
            let mut body = Body::default();
            let seed = body.argument(I64, &[]);
            let counter = body.argument(I64, &[]);
            let draw = body.declared(
                Op::Random { stream: 0x0123_4567_89ab_cdef },
                &[seed, counter],
                dtype,
                shape,
            );
            let permutation: Vec<usize> = (0..shape.len()).rev().collect();
            let turned = body.transpose(draw, &permutation);
            let ranges = shape.iter().map(|&length| SliceAxis {
                start: Dim::from(1usize),
                limit: Dim::from(length),
                stride: 2,
            });
            let part = body.op(Op::Slice(ranges.collect()), &[draw]);
            // An argument of the shape makes bodies of other widths.
            let other = body.argument(F64, shape);
            let cast = body.cast(other, dtype);
            let sum = body.binary(BinaryOp::Sub, draw, cast);
            for result in [draw, turned, part, sum] {
                let mut graph = body.0.clone();
                graph.set_results(vec![result]);
                let inputs = [
                    Array::from_elements(&[], vec![-5i64]).unwrap(),
                    Array::from_elements(&[], vec![1i64 << 40]).unwrap(),
                    Array::splat(Literal::from_f64(F64, 0.0), shape),
                ];
                check(KernelKind::Map, graph, &inputs, Close::Exact);
            }
        }
    }
}

/// Indices beyond 32 bits: the last elements of a draw that is never made whole.
#[test]
fn random_numbers_far_out() {
    let length = (1usize << 33) + 7;
    for dtype in [F32, F64, I32, I64] {
        let mut body = Body::default();
        let seed = body.argument(I64, &[]);
        let counter = body.argument(I64, &[]);
        let stream = 11;
        let draw = body.declared(Op::Random { stream }, &[seed, counter], dtype, &[length]);
        let start = length - 9;
        let range = SliceAxis { start: Dim::from(start), limit: Dim::from(length), stride: 1 };
        let part = body.op(Op::Slice([range].into_iter().collect()), &[draw]);
        let program = program(KernelKind::Map, body.results(&[part]));
        let inputs = [3i64, 4].map(|x| Array::from_elements(&[], vec![x]).unwrap());
        let key = kilngrad_ir::random::key(3, stream, 4);
        let elements =
            (start..length).map(|at| kilngrad_ir::random::element(key, at as u64, dtype));
        let expected = array(&Type::new(dtype, Shape::new([9usize])), elements);
        let lowered = lower(&program, &Machine::BASELINE);
        let found = evaluate(&program, &lowered, &inputs, ChunkOrder::Ascending);
        compare(&expected, &found[0], Close::Exact).unwrap();
    }
}

#[test]
fn casts_between_all_types() {
    let specials = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        255.0,
        256.0,
        -300.0,
        3e9,
        -3e9,
        1e19,
        -1e19,
        1e30,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        2.5,
        3.5,
        2_147_483_647.0,
        16_777_217.0,
    ];
    for from in DType::ALL {
        for to in DType::ALL {
            let mut body = Body::default();
            let x = body.argument(from, &[21]);
            let y = body.cast(x, to);
            let body = body.results(&[y]);
            let ty = Type::new(from, Shape::new([21usize]));
            let inputs = [array(&ty, specials.iter().map(|x| Literal::from_f64(from, *x)))];
            check(KernelKind::Map, body, &inputs, Close::Exact);
        }
    }
}

/// A body a hundred thousand operations deep needs no deep stack.
#[test]
fn long_chains() {
    let mut body = Body::default();
    let x = body.argument(I32, &[7]);
    let mut value = x;
    for _ in 0..100_000 {
        value = body.binary(BinaryOp::Add, value, x);
    }
    let body = body.results(&[value]);
    let program = program(KernelKind::Map, body);
    let inputs = [Array::from_elements(&[7], vec![1i32, -2, 3, 4, 5, 6, 7]).unwrap()];
    let lowered = lower(&program, &Machine::BASELINE);
    let found = evaluate(&program, &lowered, &inputs, ChunkOrder::Ascending);
    let expected = [1, -2, 3, 4, 5, 6, 7].map(|x| x * 100_001);
    let expected = Array::from_elements(&[7], expected.to_vec()).unwrap();
    compare(&expected, &found[0], Close::Exact).unwrap();
}
