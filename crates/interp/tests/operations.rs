//! What each operation computes, against values written down by hand or by another formula.

#![allow(clippy::unwrap_used)]

mod common;

use common::{apply, array, ty};
use kilngrad_interp::Array;
use kilngrad_ir::op::{
    ArgReduceOp, BinaryOp, CompareOp, DotAxes, PadAxis, ReduceOp, SliceAxis, UnaryOp,
};
use kilngrad_ir::{Constant, DType, Dense, Dim, Literal, Op, random};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn unary(op: UnaryOp, x: impl Into<Array>) -> Array {
    apply(Op::Unary(op), &[x.into()], None)
}

fn binary(op: BinaryOp, x: impl Into<Array>, y: impl Into<Array>) -> Array {
    apply(Op::Binary(op), &[x.into(), y.into()], None)
}

fn cast(x: impl Into<Array>, dtype: DType) -> Array {
    let x = x.into();
    let to = ty(dtype, x.shape());
    apply(Op::Cast, &[x], Some(to))
}

fn reduce(op: ReduceOp, axes: &[usize], x: Array) -> Array {
    apply(Op::Reduce { op, axes: axes.into() }, &[x], None)
}

#[test]
fn unary_edges_and_wrapping() {
    let x = vec![-INF, -1.5, -0.0, 0.0, 2.5, INF, NAN];
    assert_eq!(unary(UnaryOp::Relu, x.clone()), vec![0.0, 0.0, 0.0, 0.0, 2.5, INF, NAN].into());
    assert_eq!(unary(UnaryOp::Sign, x.clone()), vec![-1.0, -1.0, -0.0, 0.0, 1.0, 1.0, NAN].into());
    assert_eq!(unary(UnaryOp::Round, x), vec![-INF, -2.0, -0.0, 0.0, 2.0, INF, NAN].into());
    assert_eq!(unary(UnaryOp::Neg, vec![i32::MIN, 3]), vec![i32::MIN, -3].into());
    assert_eq!(unary(UnaryOp::Neg, vec![1u8, 0]), vec![255u8, 0].into());
    assert_eq!(unary(UnaryOp::Not, vec![true, false]), vec![false, true].into());
    assert_eq!(unary(UnaryOp::Not, vec![1u8]), vec![254u8].into());
}

#[test]
fn binary_edges_and_wrapping() {
    let (x, y) = (vec![1.0, NAN, 1.0, -0.0, 0.0], vec![2.0, 1.0, NAN, 0.0, -0.0]);
    assert_eq!(binary(BinaryOp::Max, x.clone(), y.clone()), vec![2.0, NAN, NAN, 0.0, -0.0].into());
    assert_eq!(binary(BinaryOp::Min, x, y), vec![1.0, NAN, NAN, 0.0, -0.0].into());
    assert_eq!(
        binary(BinaryOp::Div, vec![7i32, i32::MIN, -7], vec![0, -1, 2]),
        vec![-1, i32::MIN, -3].into()
    );
    assert_eq!(binary(BinaryOp::Div, vec![7u8], vec![0u8]), vec![255u8].into());
    assert_eq!(binary(BinaryOp::Add, vec![250u8], vec![10u8]), vec![4u8].into());
    assert_eq!(binary(BinaryOp::Shl, vec![1u8, 1], vec![9u8, 7]), vec![2u8, 128].into());
    assert_eq!(binary(BinaryOp::Shr, vec![-8i64], vec![65i64]), vec![-4i64].into());
    assert_eq!(
        binary(BinaryOp::Xor, vec![true, true], vec![true, false]),
        vec![false, true].into()
    );
}

#[test]
fn comparisons_are_unordered_by_nan_and_blind_to_the_sign_of_zero() {
    let (x, y) = (Array::from(vec![NAN, -0.0, 1.0]), Array::from(vec![NAN, 0.0, 2.0]));
    let compare = |op| apply(Op::Compare(op), &[x.clone(), y.clone()], None);
    assert_eq!(compare(CompareOp::Eq), vec![false, true, false].into());
    assert_eq!(compare(CompareOp::Ne), vec![true, false, true].into());
    assert_eq!(compare(CompareOp::Le), vec![false, true, true].into());
    assert_eq!(compare(CompareOp::Lt), vec![false, false, true].into());
}

#[test]
fn select_takes_where_true() {
    let operands = [vec![true, false].into(), vec![1u8, 2].into(), vec![3u8, 4].into()];
    assert_eq!(apply(Op::Select, &operands, None), vec![1u8, 4].into());
}

#[test]
fn casts_saturate_wrap_and_round_once() {
    let x = vec![NAN, 1e20, -1e20, -1.9, 255.9];
    assert_eq!(cast(x.clone(), DType::I32), vec![0, i32::MAX, i32::MIN, -1, 255].into());
    assert_eq!(cast(x.clone(), DType::U8), vec![0u8, 255, 0, 0, 255].into());
    assert_eq!(cast(x, DType::Bool), vec![true; 5].into());
    assert_eq!(cast(vec![-1i64, 1 << 40], DType::U8), vec![255u8, 0].into());
    assert_eq!(cast(vec![true, false], DType::F32), vec![1f32, 0.0].into());
    // Through f64 this number would round twice, to a neighbour.
    let twice = (1i64 << 60) + (1 << 36) + 1;
    assert_eq!(cast(vec![twice], DType::F32), vec![twice as f32].into());
    assert_ne!(twice as f32, (twice as f64) as f32);
}

#[test]
fn reductions_over_any_axes() {
    let x = array(&[2, 3, 2], &(0..12).map(f64::from).collect::<Vec<_>>());
    assert_eq!(reduce(ReduceOp::Sum, &[], x.clone()), x);
    assert_eq!(reduce(ReduceOp::Sum, &[0, 1, 2], x.clone()), 66.0.into());
    assert_eq!(reduce(ReduceOp::Sum, &[1], x.clone()), array(&[2, 2], &[6.0, 9.0, 24.0, 27.0]));
    assert_eq!(reduce(ReduceOp::Sum, &[0, 2], x.clone()), vec![14.0, 22.0, 30.0].into());
    assert_eq!(reduce(ReduceOp::Max, &[0], x.clone()).shape(), [3, 2]);
    assert_eq!(reduce(ReduceOp::Prod, &[1, 2], x), vec![0.0, 332_640.0].into());
}

#[test]
fn reductions_of_nothing_and_of_nan() {
    let empty = array::<f64>(&[2, 0], &[]);
    assert_eq!(reduce(ReduceOp::Sum, &[1], empty.clone()), vec![0.0, 0.0].into());
    assert_eq!(reduce(ReduceOp::Prod, &[1], empty.clone()), vec![1.0, 1.0].into());
    assert_eq!(reduce(ReduceOp::Max, &[1], empty.clone()), vec![-INF, -INF].into());
    assert_eq!(reduce(ReduceOp::Min, &[1], empty.clone()), vec![INF, INF].into());
    assert_eq!(reduce(ReduceOp::Sum, &[0], empty), array::<f64>(&[0], &[]));
    let none = array::<i32>(&[0], &[]);
    assert_eq!(reduce(ReduceOp::Max, &[0], none.clone()), i32::MIN.into());
    assert_eq!(reduce(ReduceOp::Min, &[0], none), i32::MAX.into());
    for order in [vec![NAN, 1.0, 2.0], vec![1.0, NAN, 2.0], vec![1.0, 2.0, NAN]] {
        assert_eq!(reduce(ReduceOp::Max, &[0], order.clone().into()), NAN.into());
        assert_eq!(reduce(ReduceOp::Min, &[0], order.into()), NAN.into());
    }
    assert_eq!(reduce(ReduceOp::Sum, &[0], vec![250u8, 10].into()), 4u8.into());
    assert_eq!(reduce(ReduceOp::Sum, &[0], vec![i64::MAX, 1].into()), i64::MIN.into());
}

#[test]
fn sums_of_f32_are_rounded_once() {
    // Each partial sum in f32 would lose the 1.
    let terms = Array::from(vec![1e8f32, 1.0, -1e8]);
    assert_eq!(reduce(ReduceOp::Sum, &[0], terms.clone()), 1f32.into());
    let ones = Array::from(vec![1f32; 3]);
    assert_eq!(apply(dot(&[], &[], &[0], &[0]), &[terms, ones], None), 1f32.into());
    let factors = Array::from(vec![1e30f32, 1e30, 1e-30]);
    assert_eq!(reduce(ReduceOp::Prod, &[0], factors), (1e30f32 * (1e30f32 * 1e-30f32)).into());
}

#[test]
fn arguments_of_extremes_are_the_first() {
    let arg = |op, axis, x: Array| apply(Op::ArgReduce { op, axis }, &[x], None);
    let x = array(&[2, 3], &[1.0, 3.0, 3.0, -1.0, NAN, NAN]);
    assert_eq!(arg(ArgReduceOp::Max, 1, x.clone()), vec![1i64, 1].into());
    assert_eq!(arg(ArgReduceOp::Min, 1, x.clone()), vec![0i64, 1].into());
    assert_eq!(arg(ArgReduceOp::Min, 0, x), vec![1i64, 1, 1].into());
    assert_eq!(arg(ArgReduceOp::Max, 0, vec![-0.0, 0.0].into()), 0i64.into());
    assert_eq!(arg(ArgReduceOp::Max, 0, vec![-INF, -INF].into()), 0i64.into());
}

fn dot(lhs_batch: &[usize], rhs_batch: &[usize], lhs: &[usize], rhs: &[usize]) -> Op {
    Op::Dot(DotAxes {
        lhs_batch: lhs_batch.into(),
        rhs_batch: rhs_batch.into(),
        lhs_contract: lhs.into(),
        rhs_contract: rhs.into(),
    })
}

#[test]
fn contractions_of_every_arrangement() {
    let a = array(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let b = array(&[3, 2], &[1, 0, 2, 1, 0, 3]);
    let product = array(&[2, 2], &[5, 11, 14, 23]);
    assert_eq!(apply(dot(&[], &[], &[1], &[0]), &[a.clone(), b.clone()], None), product);
    // Contracting the left operand's rows with the right one's columns: the transposed product.
    let swapped = apply(dot(&[], &[], &[0], &[1]), &[b.clone(), a.clone()], None);
    assert_eq!(swapped, array(&[2, 2], &[5, 14, 11, 23]));
    let outer = apply(dot(&[], &[], &[], &[]), &[vec![1, 2].into(), vec![3, 4].into()], None);
    assert_eq!(outer, array(&[2, 2], &[3, 4, 6, 8]));
    let all = apply(dot(&[], &[], &[0, 1], &[1, 0]), &[a.clone(), b.clone()], None);
    assert_eq!(all, 28.into());
    let elements = apply(dot(&[0, 1], &[0, 1], &[], &[]), &[a.clone(), a.clone()], None);
    assert_eq!(elements, array(&[2, 3], &[1, 4, 9, 16, 25, 36]));
    let batched = apply(dot(&[1], &[0], &[0], &[1]), &[a, b], None);
    assert_eq!(batched, vec![1, 9, 18].into());
    let (wide, tall) = (array::<f64>(&[2, 0], &[]), array::<f64>(&[0, 3], &[]));
    assert_eq!(apply(dot(&[], &[], &[1], &[0]), &[wide, tall], None), array(&[2, 3], &[0.0; 6]));
}

#[test]
fn integer_contractions_wrap() {
    let x = Array::from(vec![200u8, 100]);
    let expected = (200u64 * 200 + 100 * 100) as u8;
    assert_eq!(apply(dot(&[], &[], &[0], &[0]), &[x.clone(), x], None), expected.into());
}

#[test]
fn broadcasts_repeat_along_new_axes() {
    let broadcast = |dims: &[usize], x: Array, shape: &[usize]| {
        let to = ty(x.dtype(), shape);
        apply(Op::Broadcast { dims: dims.into() }, &[x], Some(to))
    };
    let x = Array::from(vec![1u8, 2]);
    assert_eq!(broadcast(&[0], x.clone(), &[2, 3]), array(&[2, 3], &[1u8, 1, 1, 2, 2, 2]));
    assert_eq!(broadcast(&[1], x.clone(), &[3, 2]), array(&[3, 2], &[1u8, 2, 1, 2, 1, 2]));
    assert_eq!(broadcast(&[1], x, &[0, 2]), array::<u8>(&[0, 2], &[]));
    assert_eq!(broadcast(&[], 7u8.into(), &[2]), vec![7u8, 7].into());
    assert_eq!(broadcast(&[], 7u8.into(), &[]), 7u8.into());
    assert_eq!(broadcast(&[1], vec![5u8].into(), &[2, 1]), array(&[2, 1], &[5u8, 5]));
}

#[test]
fn views_keep_row_major_order() {
    let x = array(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let transposed = apply(
        Op::Transpose { permutation: [1, 0].as_slice().into() },
        std::slice::from_ref(&x),
        None,
    );
    assert_eq!(transposed, array(&[3, 2], &[1, 4, 2, 5, 3, 6]));
    let flat = apply(Op::Reshape, &[transposed], Some(ty(DType::I32, &[6])));
    assert_eq!(flat, vec![1, 4, 2, 5, 3, 6].into());
    let one = apply(Op::Reshape, &[7i32.into()], Some(ty(DType::I32, &[1, 1])));
    assert_eq!(one, array(&[1, 1], &[7]));
    let turned = array(&[2, 3, 1], &[1, 2, 3, 4, 5, 6]);
    let turned = apply(Op::Transpose { permutation: [2, 0, 1].as_slice().into() }, &[turned], None);
    assert_eq!(turned, array(&[1, 2, 3], &[1, 2, 3, 4, 5, 6]));
}

fn range(start: usize, limit: usize, stride: usize) -> SliceAxis {
    SliceAxis { start: Dim::from(start), limit: Dim::from(limit), stride }
}

#[test]
fn slices_with_strides() {
    let slice = |axes: &[SliceAxis], x: &Array| {
        apply(Op::Slice(axes.iter().cloned().collect()), std::slice::from_ref(x), None)
    };
    let x = Array::from(vec![0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(slice(&[range(1, 6, 2)], &x), vec![1, 3, 5].into());
    assert_eq!(slice(&[range(1, 7, 3)], &x), vec![1, 4].into());
    assert_eq!(slice(&[range(7, 7, 2)], &x), array::<i32>(&[0], &[]));
    assert_eq!(slice(&[range(2, 3, usize::MAX)], &x), vec![2].into());
    let matrix = array(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    assert_eq!(slice(&[range(1, 2, 1), range(0, 3, 2)], &matrix), array(&[1, 2], &[4, 6]));
    assert_eq!(slice(&[], &7i32.into()), 7.into());
}

#[test]
fn pads_around_and_between() {
    let pad = |low: usize, high: usize, interior: usize, x: Array| {
        let axis = PadAxis { low: Dim::from(low), high: Dim::from(high), interior };
        apply(Op::Pad([axis].into_iter().collect()), &[x, 9.into()], None)
    };
    assert_eq!(pad(1, 2, 0, vec![1, 2].into()), vec![9, 1, 2, 9, 9].into());
    assert_eq!(pad(1, 0, 2, vec![1, 2].into()), vec![9, 1, 9, 9, 2].into());
    assert_eq!(pad(1, 1, 2, array::<i32>(&[0], &[])), vec![9, 9].into());
    assert_eq!(pad(1, 0, usize::MAX >> 1, vec![1].into()), vec![9, 1].into());
}

#[test]
fn concatenation_along_any_axis() {
    let (a, b) = (array(&[1, 2], &[1, 2]), array(&[1, 2], &[3, 4]));
    let concat = |axis, pieces: &[Array]| apply(Op::Concat { axis }, pieces, None);
    assert_eq!(concat(0, &[a.clone(), b.clone()]), array(&[2, 2], &[1, 2, 3, 4]));
    assert_eq!(concat(1, &[a.clone(), b.clone()]), array(&[1, 4], &[1, 2, 3, 4]));
    assert_eq!(concat(1, &[a.clone(), array::<i32>(&[1, 0], &[])]), a);
    assert_eq!(concat(0, std::slice::from_ref(&b)), b);
}

#[test]
fn sources() {
    let iota = |axis, dtype, shape: &[usize]| apply(Op::Iota { axis }, &[], Some(ty(dtype, shape)));
    assert_eq!(iota(0, DType::I64, &[3]), vec![0i64, 1, 2].into());
    assert_eq!(iota(1, DType::F32, &[2, 2]), array(&[2, 2], &[0f32, 1.0, 0.0, 1.0]));
    assert_eq!(iota(0, DType::U8, &[257]).iter().last().unwrap().to_i64(), 0);
    let dense = Dense::new(DType::F32, [1.0, 2.0].map(|x| Literal::from_f64(DType::F32, x)));
    let dense = Op::Constant(Constant::Dense(dense.unwrap()));
    assert_eq!(apply(dense, &[], Some(ty(DType::F32, &[2, 1]))), array(&[2, 1], &[1f32, 2.0]));
    let three = Op::Dimension(Dim::from(3));
    assert_eq!(apply(three, &[], Some(ty(DType::F64, &[]))), 3.0.into());
}

#[test]
fn random_elements_depend_on_the_logical_index_alone() {
    let draw = |shape: &[usize], seed: i64, counter: i64, stream| {
        let to = ty(DType::F32, shape);
        apply(Op::Random { stream }, &[seed.into(), counter.into()], Some(to))
    };
    let flat = draw(&[6], 3, 4, 5);
    let key = random::key(3, 5, 4);
    let expected = (0..6).map(|index| random::element(key, index, DType::F32));
    assert!(flat.iter().eq(expected));
    assert_eq!(draw(&[2, 3], 3, 4, 5).to_bytes(), flat.to_bytes());
    for other in [draw(&[6], 2, 4, 5), draw(&[6], 3, 5, 5), draw(&[6], 3, 4, 6)] {
        assert_ne!(other, flat);
    }
}

#[test]
fn stop_gradient_is_the_identity() {
    assert_eq!(apply(Op::StopGradient, &[vec![1f32, NAN as f32].into()], None).len(), 2);
}
