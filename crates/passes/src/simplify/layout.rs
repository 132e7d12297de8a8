//! Operations that only move elements: they compose, cancel, and sink below elementwise
//! operations.
//!
//! Sinking has one direction, away from the arguments: `relu(transpose x)` becomes
//! `transpose(relu x)`. Chains of elementwise operations close up, a transpose ends at a
//! contraction that absorbs it, a reshape ends where it costs nothing, and a broadcast that sinks
//! leaves the work on fewer elements.

use kilngrad_ir::op::{Axes, PadAxis, SliceAxis, Window};
use kilngrad_ir::{Dim, Op, Type, Value};
use smallvec::{SmallVec, smallvec};

use crate::rules::{Context, MAX_PIECES, Operands, Proposal, Step};
use crate::shapes::{elements, lengths};

pub(super) fn rule(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    match &node.op {
        Op::Reshape => reshape(ctx, node),
        Op::Transpose { permutation } => transpose(ctx, permutation, node),
        Op::Broadcast { dims } => broadcast(ctx, dims, node),
        Op::Slice(axes) => slice(ctx, axes, node),
        Op::Pad(axes) => pad(ctx, axes, node),
        Op::Concat { axis } => concat(ctx, *axis, node),
        Op::Windows(axes) => windows(ctx, axes, node),
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast => sink(ctx, node),
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => None,
    }
}

fn reshape(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if *ctx.ty(x) == node.ty {
        return Some(Step::Value(x));
    }
    if let Some(literal) = ctx.splat(x) {
        return Some(Step::Value(ctx.constant(&node.ty, literal)));
    }
    let inner = ctx.def(x)?;
    (inner.op == Op::Reshape).then(|| Step::Node(Op::Reshape, inner.operands.clone()))
}

fn transpose(ctx: &mut Context<'_>, permutation: &Axes, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if permutation.iter().copied().eq(0..permutation.len()) {
        return Some(Step::Value(x));
    }
    if let Some(literal) = ctx.splat(x) {
        return Some(Step::Value(ctx.constant(&node.ty, literal)));
    }
    // Axes of length 1 may stand anywhere; if the others keep their order, so does memory.
    let from = lengths(ctx.ty(x));
    let moving: Axes = permutation.iter().copied().filter(|axis| from[*axis] != 1).collect();
    if moving.is_sorted() {
        return Some(Step::Node(Op::Reshape, smallvec![x]));
    }
    let inner = ctx.def(x)?;
    if let Op::Transpose { permutation: first } = &inner.op {
        let permutation = permutation.iter().map(|axis| first[*axis]).collect();
        return Some(Step::Node(Op::Transpose { permutation }, inner.operands.clone()));
    }
    let Op::Broadcast { dims } = &inner.op else { return None };
    let (dims, operand) = (dims.clone(), inner.operands[0]);
    Some(transpose_of_broadcast(ctx, permutation, &dims, operand))
}

/// A broadcast to the transposed shape: of the operand, whose axes are transposed first where
/// their order changes.
fn transpose_of_broadcast(
    ctx: &mut Context<'_>,
    permutation: &Axes,
    dims: &Axes,
    operand: Value,
) -> Step {
    let place_of = |axis: usize| {
        let place = permutation.iter().position(|from| *from == axis);
        place.expect("a permutation has every axis")
    };
    let places: Axes = dims.iter().map(|axis| place_of(*axis)).collect();
    let mut order: Axes = (0..places.len()).collect();
    order.sort_unstable_by_key(|axis| places[*axis]);
    let mut sorted = places;
    sorted.sort_unstable();
    let operand = if order.is_sorted() {
        operand
    } else {
        let from = ctx.ty(operand).clone();
        let shape = order.iter().map(|axis| &from.shape.dims()[*axis]).collect();
        let ty = Type::new(from.dtype, shape);
        ctx.build(Op::Transpose { permutation: order }, &[operand], &ty)
    };
    Step::Node(Op::Broadcast { dims: sorted }, smallvec![operand])
}

fn broadcast(ctx: &mut Context<'_>, dims: &Axes, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if *ctx.ty(x) == node.ty {
        return Some(Step::Value(x));
    }
    if let Some(literal) = ctx.splat(x) {
        return Some(Step::Value(ctx.constant(&node.ty, literal)));
    }
    let to = lengths(&node.ty);
    let repeats = (0..to.len()).any(|axis| !dims.contains(&axis) && to[axis] != 1);
    if !repeats {
        return Some(Step::Node(Op::Reshape, smallvec![x]));
    }
    let inner = ctx.def(x)?;
    if let Op::Broadcast { dims: first } = &inner.op {
        let dims = first.iter().map(|axis| dims[*axis]).collect();
        return Some(Step::Node(Op::Broadcast { dims }, inner.operands.clone()));
    }
    if inner.op != Op::Reshape {
        return None;
    }
    // A reshape that only puts in axes of length 1 is left out.
    let source = inner.operands[0];
    let (from, through) = (lengths(ctx.ty(source)), lengths(ctx.ty(x)));
    let kept: Axes = (0..through.len()).filter(|axis| through[*axis] != 1).collect();
    let same = !from.contains(&1) && kept.iter().map(|axis| &through[*axis]).eq(&from);
    let dims = kept.iter().map(|axis| dims[*axis]).collect();
    same.then(|| Step::Node(Op::Broadcast { dims }, smallvec![source]))
}

fn slice(ctx: &mut Context<'_>, axes: &[SliceAxis], node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if *ctx.ty(x) == node.ty {
        return Some(Step::Value(x));
    }
    if let Some(literal) = ctx.splat(x) {
        return Some(Step::Value(ctx.constant(&node.ty, literal)));
    }
    let inner = ctx.def(x)?;
    let operand = inner.operands.first().copied()?;
    if let Op::Slice(first) = &inner.op {
        let composed = first.iter().zip(axes).map(|(first, then)| compose(first, then));
        return Some(Step::Node(Op::Slice(composed.collect::<Option<_>>()?), smallvec![operand]));
    }
    if let Op::Broadcast { dims } = &inner.op {
        let dims = dims.clone();
        let kept: SmallVec<[SliceAxis; 2]> = dims.iter().map(|axis| axes[*axis].clone()).collect();
        let shape = dims.iter().map(|axis| &node.ty.shape.dims()[*axis]).collect();
        let part = ctx.build(Op::Slice(kept), &[operand], &Type::new(node.ty.dtype, shape));
        return Some(Step::Node(Op::Broadcast { dims }, smallvec![part]));
    }
    if let Op::Concat { axis } = inner.op {
        return slice_of_concat(ctx, axes, axis, &inner.operands);
    }
    let Op::Pad(amounts) = &inner.op else { return None };
    slice_of_pad(ctx, axes, amounts, operand)
}

/// The slice of an axis that two slices after another keep.
fn compose(first: &SliceAxis, then: &SliceAxis) -> Option<SliceAxis> {
    let stride = i64::try_from(first.stride).ok()?;
    let at = |index: &Dim| -> Option<i64> {
        index.as_constant()?.checked_mul(stride)?.checked_add(first.start.as_constant()?)
    };
    let (low, high) = (then.start.as_constant()?, then.limit.as_constant()?);
    // Behind the last index kept, so that the bound stays inside the axis; where none is, the
    // second start may be behind the axis.
    let (start, limit) = if low == high {
        (first.start.as_constant()?, first.start.as_constant()?)
    } else {
        (at(&then.start)?, at(&Dim::constant(high - 1))? + 1)
    };
    Some(SliceAxis {
        start: Dim::constant(start),
        limit: Dim::constant(limit),
        stride: first.stride.checked_mul(then.stride)?,
    })
}

/// A slice that stays within one of the pieces.
fn slice_of_concat(
    ctx: &Context<'_>,
    axes: &[SliceAxis],
    axis: usize,
    pieces: &[Value],
) -> Option<Step> {
    if !ctx.may_drop() {
        return None;
    }
    let (start, limit) = (axes[axis].start.as_constant()?, axes[axis].limit.as_constant()?);
    let mut offset = 0;
    for &piece in pieces {
        let length = ctx.ty(piece).shape.dims()[axis].as_constant()?;
        if start >= offset && limit <= offset + length {
            let mut within: SmallVec<[SliceAxis; 2]> = axes.into();
            within[axis].start = Dim::constant(start - offset);
            within[axis].limit = Dim::constant(limit - offset);
            return Some(Step::Node(Op::Slice(within), smallvec![piece]));
        }
        offset += length;
    }
    None
}

/// A slice that leaves all of the padding away.
fn slice_of_pad(
    ctx: &Context<'_>,
    axes: &[SliceAxis],
    amounts: &[PadAxis],
    operand: Value,
) -> Option<Step> {
    if !ctx.may_drop() {
        return None;
    }
    let mut within: SmallVec<[SliceAxis; 2]> = SmallVec::new();
    for ((axis, amount), length) in axes.iter().zip(amounts).zip(ctx.ty(operand).shape.dims()) {
        let low = amount.low.as_constant()?;
        let (start, limit) = (axis.start.as_constant()? - low, axis.limit.as_constant()? - low);
        if amount.interior != 0 || start < 0 || limit > length.as_constant()? {
            return None;
        }
        let (start, limit) = (Dim::constant(start), Dim::constant(limit));
        within.push(SliceAxis { start, limit, stride: axis.stride });
    }
    Some(Step::Node(Op::Slice(within), smallvec![operand]))
}

fn pad(ctx: &mut Context<'_>, axes: &[PadAxis], node: &Proposal) -> Option<Step> {
    let (x, fill) = (node.operands[0], node.operands[1]);
    let gaps = |(axis, length): (&PadAxis, &usize)| axis.interior != 0 && *length > 1;
    let inside = axes.iter().zip(&lengths(ctx.ty(x))).any(gaps);
    if *ctx.ty(x) == node.ty && !inside && ctx.may_drop() {
        return Some(Step::Value(x));
    }
    let literal = ctx.splat(fill)?;
    (ctx.splat(x) == Some(literal)).then(|| Step::Value(ctx.constant(&node.ty, literal)))
}

fn concat(ctx: &mut Context<'_>, axis: usize, node: &Proposal) -> Option<Step> {
    if let [x] = node.operands.as_slice() {
        return Some(Step::Value(*x));
    }
    let first = ctx.splat(node.operands[0]);
    if let Some(literal) = first
        && node.operands.iter().all(|piece| ctx.splat(*piece) == first)
    {
        return Some(Step::Value(ctx.constant(&node.ty, literal)));
    }
    let empty = |piece: &Value| ctx.ty(*piece).shape.dims()[axis].as_constant() == Some(0);
    let kept = node.operands.iter().filter(|piece| !(ctx.may_drop() && empty(piece)));
    let mut pieces = Operands::new();
    for &piece in kept {
        // One that others read as well is there anyway.
        let inner = ctx.def(piece).filter(|inner| inner.op == node.op && ctx.single_use(piece));
        match inner {
            Some(inner) if pieces.len() + inner.operands.len() <= MAX_PIECES => {
                pieces.extend_from_slice(&inner.operands);
            }
            Some(_) | None => pieces.push(piece),
        }
    }
    let changed = pieces != node.operands && !pieces.is_empty();
    changed.then(|| Step::Node(node.op.clone(), pieces))
}

/// Windows of one element each, one for each index, are the elements themselves.
fn windows(ctx: &mut Context<'_>, axes: &[Window], node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if let Some(literal) = ctx.splat(x) {
        return Some(Step::Value(ctx.constant(&node.ty, literal)));
    }
    let single = axes.iter().all(|window| window.size == 1 && window.stride == 1);
    single.then(|| Step::Node(Op::Reshape, smallvec![x]))
}

/// An elementwise operation on operands that are all moved alike (or constant) is the movement of
/// the operation on what was moved; but not where that has elements and the operation none, whose
/// derivatives would then be taken, and may be infinite.
fn sink(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let mut movement: Option<(Op, Type)> = None;
    for &operand in node.operands.iter().filter(|operand| ctx.splat(**operand).is_none()) {
        let inner = ctx.def(operand)?;
        let movable = matches!(inner.op, Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. });
        let source = movable.then(|| ctx.ty(inner.operands[0]))?;
        match &movement {
            None => movement = Some((inner.op.clone(), source.clone())),
            Some((op, ty)) if *op == inner.op && ty.shape == source.shape => {}
            Some(_) => return None,
        }
    }
    let (op, source) = movement?;
    if elements(&node.ty) == 0 && elements(&source) != 0 {
        return None;
    }
    let mut operands = Operands::new();
    for &operand in &node.operands {
        let moved = match ctx.splat(operand) {
            Some(literal) => {
                let ty = source.with_dtype(literal.dtype());
                ctx.constant(&ty, literal)
            }
            None => ctx.def(operand).map(|inner| inner.operands[0])?,
        };
        operands.push(moved);
    }
    let result = ctx.build(node.op.clone(), &operands, &source.with_dtype(node.ty.dtype));
    Some(Step::Node(op, smallvec![result]))
}
