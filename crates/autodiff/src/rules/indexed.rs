//! Slices that indices pick. `gather` and `scatter_add` are each other's transpose.

use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Op, Value};

use super::{Pull, zero_like};

/// Each slice of the cotangent goes back to where it was taken, and those from one place are summed.
pub(super) fn gather(e: &mut Emitter<'_>, axis: usize, pull: Pull<'_>) -> Value {
    let zero = zero_like(e, pull.node.operands[0]);
    let operands = [zero, pull.node.operands[1], pull.cotangent];
    e.emit(Op::ScatterAdd { axis }, &operands, &[])
}

/// The cotangent, of what was there and, where it went, of what was added.
pub(super) fn scatter_add(
    e: &mut Emitter<'_>,
    axis: usize,
    pull: Pull<'_>,
    operand: usize,
) -> Value {
    match operand {
        0 => pull.cotangent,
        _ => e.emit(Op::Gather { axis }, &[pull.cotangent, pull.node.operands[1]], &[]),
    }
}
