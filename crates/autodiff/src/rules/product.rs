//! The derivative of a product: for each factor, the product of the others.
//!
//! Dividing the product by the factor would be wrong where a factor is zero, and masking the zeros
//! right only once: derivatives of the derivative would miss them. Here the products of the others
//! are made of multiplications alone, so they are right for any number of zeros, at any order.

use kilngrad_ir::op::{Axes, CompareOp, Emit, PadAxis, ReduceOp, SliceAxis};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{DType, Dim, Op, Shape, Type, Value};
use smallvec::SmallVec;

use super::times;

/// The product, over `axes`, of all elements of `x` but the one at each index; of the type of `x`.
pub(super) fn of_others(e: &mut Emitter<'_>, axes: &Axes, x: Value) -> Value {
    let ty = e.ty(x).clone();
    let kept: Axes = (0..ty.rank()).filter(|axis| !axes.contains(axis)).collect();
    let order: Axes = kept.iter().chain(axes).copied().collect();
    let dims =
        |axes: &Axes| -> Shape { axes.iter().map(|axis| ty.shape.dims()[*axis].clone()).collect() };
    let count = dims(axes).elements().expect("coefficients of the operand's size fit");

    // One row of factors for each kept index.
    let last = e.emit(Op::Transpose { permutation: order.clone() }, &[x], &[]);
    let rows = dims(&kept).dims().iter().chain([&count]).collect();
    let rows = e.emit(Op::Reshape, &[last], &[Type::new(ty.dtype, rows)]);
    let others = match count.as_constant() {
        Some(count) => by_tree(e, rows, count),
        None => by_table(e, rows),
    };
    let last_ty = e.ty(last).clone();
    let others = e.emit(Op::Reshape, &[others], &[last_ty]);
    e.emit(Op::Transpose { permutation: inverse(&order) }, &[others], &[])
}

/// Where each axis went.
pub(super) fn inverse(permutation: &[usize]) -> Axes {
    let mut inverse: Axes = permutation.into();
    for (position, axis) in permutation.iter().enumerate() {
        inverse[*axis] = position;
    }
    inverse
}

/// By a tree of products over the last axis, of constant length `count`: what is outside an
/// element is its sibling and what is outside the pair (Blelloch, "Prefix Sums and Their
/// Applications", 1990, its down-sweep). Linear work, `log count` levels.
fn by_tree(e: &mut Emitter<'_>, rows: Value, count: i64) -> Value {
    let kept = e.ty(rows).rank() - 1;
    // Upward: each level holds the products of the pairs of the level below.
    let mut levels: Vec<Pairs> = Vec::new();
    let (mut level, mut length) = (rows, count);
    while length > 1 {
        let pairs = split(e, kept, level, length);
        let products = (e as &mut dyn Emit).mul(pairs.first, pairs.second);
        level = reshape_rows(e, kept, products, &[pairs.count]);
        length = pairs.count;
        levels.push(pairs);
    }
    // Downward: nothing is outside the root.
    let mut outside = e.constant_like(level, 1.0);
    for pairs in levels.iter().rev() {
        outside = outside_of_each(e, kept, pairs, outside);
    }
    outside
}

/// A level of the tree.
struct Pairs {
    /// The first of each pair, of shape `[…, count, 1]`.
    first: Value,
    /// The second of each pair, likewise.
    second: Value,
    /// Number of pairs.
    count: i64,
    /// Number of elements: one less than `2·count` where the last is paired with 1.
    length: i64,
}

/// Pairs of neighbours of rows of `length` elements; an odd one out is paired with 1.
fn split(e: &mut Emitter<'_>, kept: usize, level: Value, length: i64) -> Pairs {
    let count = length / 2 + length % 2;
    let mut even = level;
    if 2 * count > length {
        let one = e.splat(&Type::scalar(e.ty(level).dtype), 1.0);
        let none = PadAxis { low: Dim::constant(0), high: Dim::constant(0), interior: 0 };
        let mut amounts: SmallVec<[PadAxis; 2]> = (0..=kept).map(|_| none.clone()).collect();
        amounts[kept].high = Dim::constant(1);
        even = e.emit(Op::Pad(amounts), &[level, one], &[]);
    }
    let pairs = reshape_rows(e, kept, even, &[count, 2]);
    let first = part(e, kept + 1, pairs, 0, 1);
    let second = part(e, kept + 1, pairs, 1, 2);
    Pairs { first, second, count, length }
}

/// For each element of the pairs, its sibling times what is outside the pair, in rows.
fn outside_of_each(e: &mut Emitter<'_>, kept: usize, pairs: &Pairs, outside: Value) -> Value {
    let outside = reshape_rows(e, kept, outside, &[pairs.count, 1]);
    let of_first = times(e, pairs.second, outside);
    let of_second = times(e, pairs.first, outside);
    let both = e.emit(Op::Concat { axis: kept + 1 }, &[of_first, of_second], &[]);
    let rows = reshape_rows(e, kept, both, &[2 * pairs.count]);
    part(e, kept, rows, 0, pairs.length)
}

/// The same elements with the first `kept` axes as they are and then axes of these lengths.
fn reshape_rows(e: &mut Emitter<'_>, kept: usize, x: Value, lengths: &[i64]) -> Value {
    let ty = e.ty(x);
    let lengths = lengths.iter().map(|length| Dim::constant(*length));
    let shape = ty.shape.dims()[..kept].iter().cloned().chain(lengths).collect();
    let ty = Type::new(ty.dtype, shape);
    e.emit(Op::Reshape, &[x], &[ty])
}

/// The part of an axis from `start` to before `limit`.
fn part(e: &mut Emitter<'_>, axis: usize, x: Value, start: i64, limit: i64) -> Value {
    let whole =
        |length: &Dim| SliceAxis { start: Dim::constant(0), limit: length.clone(), stride: 1 };
    let mut ranges: SmallVec<[SliceAxis; 2]> = e.ty(x).shape.dims().iter().map(whole).collect();
    ranges[axis].start = Dim::constant(start);
    ranges[axis].limit = Dim::constant(limit);
    e.emit(Op::Slice(ranges), &[x], &[])
}

/// By a table of the factors against themselves with 1 on the diagonal, for rows whose length is a
/// symbol: the number of a tree's levels would depend on it. Quadratic work.
fn by_table(e: &mut Emitter<'_>, rows: Value) -> Value {
    let ty = e.ty(rows).clone();
    let last = ty.rank() - 1;
    let dims = ty.shape.dims();
    let table: Shape = dims.iter().chain([&dims[last]]).collect();
    let indices = Type::new(DType::I64, table.clone());
    let excluded = e.emit(Op::Iota { axis: last }, &[], std::slice::from_ref(&indices));
    let included = e.emit(Op::Iota { axis: last + 1 }, &[], &[indices]);
    let diagonal = e.compare(CompareOp::Eq, excluded, included);
    let kept_and_included = (0..last).chain([last + 1]).collect();
    let broadcast = Op::Broadcast { dims: kept_and_included };
    let factors = e.emit(broadcast, &[rows], &[Type::new(ty.dtype, table)]);
    let one = e.constant_like(factors, 1.0);
    let others = e.select(diagonal, one, factors);
    let axes = [last + 1].as_slice().into();
    e.emit(Op::Reduce { op: ReduceOp::Prod, axes }, &[others], &[])
}
