//! The same elements elsewhere: each goes back to where it came from, and what comes from several
//! places is summed.

use kilngrad_ir::op::{Axes, Emit, PadAxis, ReduceOp, SliceAxis, Window};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Constant, DType, Dim, Graph, Literal, Op, Type, Value};
use smallvec::SmallVec;

use super::product::inverse;
use super::{Pull, zero_like};

/// The sum over the axes along which elements were repeated.
pub(super) fn broadcast(e: &mut Emitter<'_>, dims: &Axes, pull: Pull<'_>) -> Value {
    let rank = e.ty(pull.cotangent).rank();
    let axes = (0..rank).filter(|axis| !dims.contains(axis)).collect();
    sum(e, axes, pull.cotangent)
}

pub(super) fn reshape(e: &mut Emitter<'_>, pull: Pull<'_>) -> Value {
    let ty = e.ty(pull.node.operands[0]).clone();
    e.emit(Op::Reshape, &[pull.cotangent], &[ty])
}

pub(super) fn transpose(e: &mut Emitter<'_>, permutation: &Axes, pull: Pull<'_>) -> Value {
    e.emit(Op::Transpose { permutation: inverse(permutation) }, &[pull.cotangent], &[])
}

/// The cotangent with zeros where elements were left out: before, behind and, for strides, between.
pub(super) fn slice(e: &mut Emitter<'_>, axes: &[SliceAxis], pull: Pull<'_>) -> Value {
    let lengths = e.ty(pull.node.operands[0]).shape.dims().to_vec();
    let kept = e.ty(pull.cotangent).shape.dims().to_vec();
    let amounts = axes.iter().zip(lengths.iter().zip(&kept)).map(|(range, (length, kept))| {
        let end = &range.start + &span(kept, range.stride - 1);
        PadAxis { low: range.start.clone(), high: length - &end, interior: range.stride - 1 }
    });
    let amounts = amounts.collect();
    let zero = zero_like_scalar(e, pull.cotangent);
    e.emit(Op::Pad(amounts), &[pull.cotangent, zero], &[])
}

/// For the elements, the cotangent where they went; for the padding, its sum everywhere else.
pub(super) fn pad(e: &mut Emitter<'_>, axes: &[PadAxis], pull: Pull<'_>, operand: usize) -> Value {
    let ty = e.ty(pull.node.operands[0]).clone();
    if operand == 0 {
        let ranges = axes.iter().zip(ty.shape.dims()).map(|(amount, length)| SliceAxis {
            start: amount.low.clone(),
            limit: &amount.low + &span(length, amount.interior),
            stride: amount.interior + 1,
        });
        return e.emit(Op::Slice(ranges.collect()), &[pull.cotangent], &[]);
    }
    let elements = truth(e, &ty.with_dtype(DType::Bool), false);
    let padding = truth(e, &Type::scalar(DType::Bool), true);
    let added = e.emit(Op::Pad(axes.into()), &[elements, padding], &[]);
    let zero = zero_like(e, pull.cotangent);
    let added = e.select(added, pull.cotangent, zero);
    let axes = (0..axes.len()).collect();
    sum(e, axes, added)
}

/// Each element of the operand was shown by several windows: what they get is summed.
pub(super) fn windows(e: &mut Emitter<'_>, windows: &[Window], pull: Pull<'_>) -> Value {
    let ty = e.ty(pull.node.operands[0]).clone();
    e.emit(Op::Fold(windows.into()), &[pull.cotangent], &[ty])
}

pub(super) fn fold(e: &mut Emitter<'_>, windows: &[Window], pull: Pull<'_>) -> Value {
    e.emit(Op::Windows(windows.into()), &[pull.cotangent], &[])
}

/// Where each of the operands of a concatenation begins.
pub(super) fn offsets(graph: &Graph, operands: &[Value], axis: usize) -> Vec<Dim> {
    let mut next = Dim::constant(0);
    let begins = operands.iter().map(|operand| {
        let end = &next + &graph.ty(*operand).shape.dims()[axis];
        std::mem::replace(&mut next, end)
    });
    begins.collect()
}

/// The operand's part of the cotangent, which begins at `offset`.
pub(super) fn concat(
    e: &mut Emitter<'_>,
    axis: usize,
    offset: &Dim,
    pull: Pull<'_>,
    operand: usize,
) -> Value {
    let lengths = e.ty(pull.node.operands[operand]).shape.dims();
    let ranges = lengths.iter().enumerate().map(|(index, length)| {
        let start = if index == axis { offset.clone() } else { Dim::constant(0) };
        SliceAxis { limit: &start + length, start, stride: 1 }
    });
    let ranges: SmallVec<[SliceAxis; 2]> = ranges.collect();
    e.emit(Op::Slice(ranges), &[pull.cotangent], &[])
}

/// How many indices `length` elements reach over with `interior` others between neighbours. The
/// type rules ask for a constant length where there are any.
fn span(length: &Dim, interior: usize) -> Dim {
    match length.as_constant() {
        Some(count) if count > 0 && interior > 0 => {
            // One element spans one index however far apart its neighbours would be.
            let gaps = if count > 1 { (count - 1) * interior as i64 } else { 0 };
            Dim::constant(count + gaps)
        }
        _ => length.clone(),
    }
}

fn sum(e: &mut Emitter<'_>, axes: Axes, x: Value) -> Value {
    if axes.is_empty() {
        return x;
    }
    e.emit(Op::Reduce { op: ReduceOp::Sum, axes }, &[x], &[])
}

fn zero_like_scalar(e: &mut Emitter<'_>, like: Value) -> Value {
    let ty = Type::scalar(e.ty(like).dtype);
    e.splat(&ty, 0.0)
}

fn truth(e: &mut Emitter<'_>, ty: &Type, value: bool) -> Value {
    let literal = Literal::from_bits(DType::Bool, u64::from(value));
    e.emit(Op::Constant(Constant::Splat(literal)), &[], std::slice::from_ref(ty))
}
