//! Contractions absorb transposes, and reductions over axes of length 1 disappear.
//!
//! The pairs of axes that a contraction sums over keep their order, so sums are taken in the same
//! order and keep their bits.

use kilngrad_ir::op::{Axes, DotAxes, ReduceOp};
use kilngrad_ir::{DType, Literal, Op, Type, Value};
use smallvec::smallvec;

use crate::rules::{Context, Proposal, Step};
use crate::shapes::lengths;

pub(super) fn rule(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    match &node.op {
        Op::Dot(axes) => dot(ctx, axes, node),
        Op::Transpose { permutation } => transpose_of_dot(ctx, permutation, node),
        Op::Reduce { op, axes } => reduce(ctx, *op, axes, node),
        Op::ArgReduce { axis, .. } | Op::Argsort { axis, .. } => {
            let one = lengths(ctx.ty(node.operands[0]))[*axis] == 1 && ctx.may_drop();
            let zero = Literal::from_i64(DType::I64, 0);
            one.then(|| Step::Value(ctx.constant(&node.ty, zero)))
        }
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
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

fn dot(ctx: &Context<'_>, axes: &DotAxes, node: &Proposal) -> Option<Step> {
    let (lhs, rhs) = (node.operands[0], node.operands[1]);
    if let Some((source, map)) = absorbed(ctx, lhs, &axes.lhs_batch, &axes.lhs_contract) {
        let axes = DotAxes {
            lhs_batch: through(&map, &axes.lhs_batch),
            lhs_contract: through(&map, &axes.lhs_contract),
            ..axes.clone()
        };
        return Some(Step::Node(Op::Dot(axes), smallvec![source, rhs]));
    }
    let (source, map) = absorbed(ctx, rhs, &axes.rhs_batch, &axes.rhs_contract)?;
    let axes = DotAxes {
        rhs_batch: through(&map, &axes.rhs_batch),
        rhs_contract: through(&map, &axes.rhs_contract),
        ..axes.clone()
    };
    Some(Step::Node(Op::Dot(axes), smallvec![lhs, source]))
}

/// What an operand is the transpose of, with its permutation, if the free axes keep their order:
/// the result's axes are in the order of the operands' free axes.
fn absorbed(
    ctx: &Context<'_>,
    operand: Value,
    batch: &Axes,
    contract: &Axes,
) -> Option<(Value, Axes)> {
    let inner = ctx.def(operand)?;
    let Op::Transpose { permutation } = &inner.op else { return None };
    let free =
        (0..permutation.len()).filter(|axis| !batch.contains(axis) && !contract.contains(axis));
    let places: Axes = free.map(|axis| permutation[axis]).collect();
    places.is_sorted().then(|| (inner.operands[0], permutation.clone()))
}

fn through(permutation: &Axes, axes: &Axes) -> Axes {
    axes.iter().map(|axis| permutation[*axis]).collect()
}

/// A transpose that swaps the left and the right axes of a contraction swaps its operands instead.
fn transpose_of_dot(ctx: &Context<'_>, permutation: &Axes, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    let inner = ctx.def(x)?;
    let Op::Dot(axes) = &inner.op else { return None };
    let batch = axes.lhs_batch.len();
    let left = axes.lhs_free(ctx.ty(inner.operands[0]).rank()).len();
    let rank = permutation.len();
    let swapped = (0..batch).chain(batch + left..rank).chain(batch..batch + left);
    if !permutation.iter().copied().eq(swapped) || !ctx.single_use(x) {
        return None;
    }
    let axes = DotAxes {
        lhs_batch: axes.rhs_batch.clone(),
        rhs_batch: axes.lhs_batch.clone(),
        lhs_contract: axes.rhs_contract.clone(),
        rhs_contract: axes.lhs_contract.clone(),
    };
    Some(Step::Node(Op::Dot(axes), smallvec![inner.operands[1], inner.operands[0]]))
}

/// Axes of length 1 are not reduced but dropped. Of sums only integers', since 0 + −0 is +0; and not
/// before differentiation, since no derivative passes through the largest of what is not a number.
fn reduce(ctx: &mut Context<'_>, op: ReduceOp, axes: &Axes, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    let from = ctx.ty(x).clone();
    if !ctx.may_drop() || (op == ReduceOp::Sum && from.dtype.is_float()) {
        return None;
    }
    let lengths = lengths(&from);
    let unit: Axes = axes.iter().copied().filter(|axis| lengths[*axis] == 1).collect();
    if axes.is_empty() {
        return Some(Step::Value(x));
    }
    if unit.is_empty() {
        return None;
    }
    let ty = Type::new(from.dtype, from.shape.without(&unit));
    let squeezed = ctx.build(Op::Reshape, &[x], &ty);
    let left = axes.iter().filter(|axis| !unit.contains(axis));
    let renumber = |axis: &usize| axis - unit.iter().filter(|gone| *gone < axis).count();
    let axes: Axes = left.map(renumber).collect();
    if axes.is_empty() {
        return Some(Step::Value(squeezed));
    }
    Some(Step::Node(Op::Reduce { op, axes }, smallvec![squeezed]))
}
