//! Reductions.

use kilngrad_ir::op::{Axes, CompareOp, Emit, ReduceOp};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Op, Value};

use super::{Pull, product, times, zero_like};

pub(super) fn reduce(e: &mut Emitter<'_>, op: ReduceOp, axes: &Axes, pull: Pull<'_>) -> Value {
    let x = pull.node.operands[0];
    match op {
        ReduceOp::Sum => spread(e, axes, x, pull.cotangent),
        ReduceOp::Prod => {
            let others = product::of_others(e, axes, x);
            let cotangent = spread(e, axes, x, pull.cotangent);
            times(e, cotangent, others)
        }
        ReduceOp::Max | ReduceOp::Min => extreme(e, axes, pull),
    }
}

/// The cotangent is shared evenly among the elements that are equal to the extreme, the choice of
/// PyTorch's `amax`: it keeps the derivative symmetric in the elements. Where the extreme is NaN
/// no element equals it, and the derivative is 0, as it is for the binary `max`.
fn extreme(e: &mut Emitter<'_>, axes: &Axes, pull: Pull<'_>) -> Value {
    let x = pull.node.operands[0];
    let chosen = spread(e, axes, x, pull.node.result());
    let chosen = e.compare(CompareOp::Eq, x, chosen);
    let (one, zero) = (e.constant_like(x, 1.0), zero_like(e, x));
    let counted = e.select(chosen, one, zero);
    let count = e.emit(Op::Reduce { op: ReduceOp::Sum, axes: axes.clone() }, &[counted], &[]);
    let share = (e as &mut dyn Emit).div(pull.cotangent, count);
    let share = spread(e, axes, x, share);
    e.select(chosen, share, zero)
}

/// What `reduced` has at each kept index, at every index of `x`, of which `axes` were reduced.
fn spread(e: &mut Emitter<'_>, axes: &Axes, x: Value, reduced: Value) -> Value {
    let ty = e.ty(x).clone();
    let dims = (0..ty.rank()).filter(|axis| !axes.contains(axis)).collect();
    e.emit(Op::Broadcast { dims }, &[reduced], &[ty])
}
