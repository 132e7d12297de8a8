//! Elementwise operations: the derivatives are in the operations' rows.

use kilngrad_ir::op::{BinaryDerivative, BinaryOp, Emit, UnaryDerivative, UnaryOp};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Op, Value};

use super::{Pull, times, zero_like};

/// `x̄ = ȳ · dy/dx`.
pub(super) fn unary(e: &mut Emitter<'_>, op: UnaryOp, pull: Pull<'_>) -> Value {
    let UnaryDerivative::Of(derivative) = op.row().derivative else {
        unreachable!("no derivative flows through {}", op.row().name)
    };
    let partial = derivative(e, pull.node.operands[0], pull.node.result());
    times(e, pull.cotangent, partial)
}

/// `x̄ = z̄ · ∂z/∂x`, and so for `y`.
pub(super) fn binary(e: &mut Emitter<'_>, op: BinaryOp, pull: Pull<'_>, operand: usize) -> Value {
    let BinaryDerivative::Of(partials) = op.row().derivative else {
        unreachable!("no derivative flows through {}", op.row().name)
    };
    let node = pull.node;
    let partial = partials[operand](e, node.operands[0], node.operands[1], node.result());
    times(e, pull.cotangent, partial)
}

/// The cotangent where the operand was selected, zero elsewhere: a derivative that is infinite or
/// NaN on the branch that was not taken does not come back through this one.
pub(super) fn select(e: &mut Emitter<'_>, pull: Pull<'_>, operand: usize) -> Value {
    let condition = pull.node.operands[0];
    let zero = zero_like(e, pull.cotangent);
    match operand {
        1 => e.select(condition, pull.cotangent, zero),
        2 => e.select(condition, zero, pull.cotangent),
        _ => unreachable!("no derivative flows to a condition"),
    }
}

/// Between floats, rounding counts as the identity.
pub(super) fn cast(e: &mut Emitter<'_>, pull: Pull<'_>) -> Value {
    let ty = e.ty(pull.node.operands[0]).clone();
    e.emit(Op::Cast, &[pull.cotangent], &[ty])
}
