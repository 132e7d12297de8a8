//! Identities of elementwise operations that hold bit for bit.
//!
//! What is missing is missing for a reason: `x + 0` is not `x` for −0, `x − x` and `x·0` are NaN
//! for infinities, and a comparison is not the negation of its opposite for NaN.

use kilngrad_ir::op::{BinaryOp as B, CompareOp, UnaryOp as U};
use kilngrad_ir::{DType, Literal, Op, Value};
use smallvec::smallvec;

use crate::rules::{Context, Operands, Proposal, Step};

pub(super) fn rule(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    match &node.op {
        Op::Unary(op) => unary(ctx, *op, node),
        Op::Binary(op) => binary(ctx, *op, node),
        Op::Select => select(ctx, node),
        Op::Cast => cast(ctx, node),
        Op::StopGradient => ctx.may_drop().then(|| Step::Value(node.operands[0])),
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Compare(_)
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => None,
    }
}

fn unary(ctx: &Context<'_>, op: U, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    let inner = ctx.def(x)?;
    let Op::Unary(inner_op) = inner.op else {
        let Op::Compare(compare) = inner.op else { return None };
        if op != U::Not {
            return None;
        }
        let total = !ctx.ty(inner.operands[0]).dtype.is_float();
        return negated(compare, total)
            .map(|op| Step::Node(Op::Compare(op), inner.operands.clone()));
    };
    match op {
        U::Neg | U::Not if inner_op == op => Some(Step::Value(inner.operands[0])),
        // The negative of an unsigned number is another number, whose magnitude is itself.
        U::Abs if inner_op == U::Neg && ctx.ty(x).dtype != DType::U8 => {
            Some(Step::Node(node.op.clone(), inner.operands.clone()))
        }
        U::Abs | U::Relu | U::Sign if inner_op == op => Some(Step::Value(x)),
        // Whole numbers stay as they are, whichever way they became whole.
        U::Floor | U::Ceil | U::Round | U::Trunc
            if matches!(inner_op, U::Floor | U::Ceil | U::Round | U::Trunc) =>
        {
            Some(Step::Value(x))
        }
        U::Neg
        | U::Abs
        | U::Sign
        | U::Not
        | U::Exp
        | U::Expm1
        | U::Log
        | U::Log1p
        | U::Sqrt
        | U::Rsqrt
        | U::Tanh
        | U::Sigmoid
        | U::Relu
        | U::Erf
        | U::Erfc
        | U::Exp2
        | U::Log2
        | U::Sin
        | U::Cos
        | U::Tan
        | U::Asin
        | U::Acos
        | U::Atan
        | U::Sinh
        | U::Cosh
        | U::Asinh
        | U::Acosh
        | U::Atanh
        | U::Floor
        | U::Ceil
        | U::Round
        | U::Trunc => None,
    }
}

/// The comparison that holds exactly where `op` does not; of floats only equality has one, since
/// NaN is neither less nor not less.
fn negated(op: CompareOp, total: bool) -> Option<CompareOp> {
    match op {
        CompareOp::Eq => Some(CompareOp::Ne),
        CompareOp::Ne => Some(CompareOp::Eq),
        CompareOp::Lt => total.then_some(CompareOp::Ge),
        CompareOp::Le => total.then_some(CompareOp::Gt),
        CompareOp::Gt => total.then_some(CompareOp::Le),
        CompareOp::Ge => total.then_some(CompareOp::Lt),
    }
}

fn binary(ctx: &mut Context<'_>, op: B, node: &Proposal) -> Option<Step> {
    let (x, y) = (node.operands[0], node.operands[1]);
    if op.row().commutes && ctx.splat(x).is_some() && ctx.splat(y).is_none() {
        return Some(Step::Node(node.op.clone(), smallvec![y, x]));
    }
    if let Some(step) = with_constant(ctx, op, node) {
        return Some(step);
    }
    match op {
        B::Add => sum(ctx, x, y),
        B::Sub => {
            let negated = ctx.unary_of(U::Neg, y)?;
            Some(Step::Node(Op::Binary(B::Add), smallvec![x, negated]))
        }
        B::Mul | B::Div => {
            let (x, y) = (ctx.unary_of(U::Neg, x)?, ctx.unary_of(U::Neg, y)?);
            // MIN/−1 wraps, so the signs of an integer quotient are not free.
            let free = op == B::Mul || ctx.ty(x).dtype.is_float();
            free.then(|| Step::Node(node.op.clone(), smallvec![x, y]))
        }
        // No derivative passes through the larger of two that are not numbers.
        B::Max | B::Min => (x == y && ctx.may_drop()).then_some(Step::Value(x)),
        B::And | B::Or => (x == y).then_some(Step::Value(x)),
        B::Rem | B::Pow | B::Atan2 | B::Xor | B::Shl | B::Shr => None,
    }
}

fn sum(ctx: &Context<'_>, x: Value, y: Value) -> Option<Step> {
    let difference = |x, y| Some(Step::Node(Op::Binary(B::Sub), smallvec![x, y]));
    if let Some(y) = ctx.unary_of(U::Neg, y) {
        return difference(x, y);
    }
    difference(y, ctx.unary_of(U::Neg, x)?)
}

/// Identities with a constant on the right, where operations that commute have theirs.
fn with_constant(ctx: &mut Context<'_>, op: B, node: &Proposal) -> Option<Step> {
    let (x, y) = (node.operands[0], node.operands[1]);
    let constant = ctx.splat(y)?;
    let dtype = constant.dtype();
    let value = constant.to_f64();
    let is = |number: f64| value == number && dtype != DType::Bool;
    let positive_zero = constant.is_zero_bits();
    let keep = Some(Step::Value(x));
    let negate = || Some(Step::Node(Op::Unary(U::Neg), smallvec![x]));
    match op {
        // −0 is what adding leaves alone; +0 turns −0 into +0.
        B::Add if is(0.0) && (!dtype.is_float() || !positive_zero) => keep,
        B::Sub if is(0.0) && positive_zero => keep,
        B::Mul | B::Div | B::Pow if is(1.0) => keep,
        B::Mul | B::Div if is(-1.0) => negate(),
        B::Mul if is(0.0) && !dtype.is_float() && ctx.may_drop() => Some(Step::Value(y)),
        B::Div if dtype.is_float() => {
            let reciprocal = exact_reciprocal(constant)?;
            let factor = ctx.constant(&node.ty, reciprocal);
            Some(Step::Node(Op::Binary(B::Mul), smallvec![x, factor]))
        }
        B::Mul if dtype.is_float() => {
            let inner = ctx.unary_of(U::Neg, x)?;
            let factor = ctx.number_constant(&node.ty, -value);
            Some(Step::Node(Op::Binary(B::Mul), smallvec![inner, factor]))
        }
        B::Or | B::Xor | B::Shl | B::Shr if positive_zero => keep,
        B::And if all_bits(constant) => keep,
        B::And if positive_zero && ctx.may_drop() => Some(Step::Value(y)),
        B::Or if all_bits(constant) && ctx.may_drop() => Some(Step::Value(y)),
        B::Xor if all_bits(constant) => Some(Step::Node(Op::Unary(U::Not), smallvec![x])),
        B::Add
        | B::Sub
        | B::Mul
        | B::Div
        | B::Rem
        | B::Pow
        | B::Atan2
        | B::Max
        | B::Min
        | B::And
        | B::Or
        | B::Xor
        | B::Shl
        | B::Shr => None,
    }
}

/// The reciprocal of a power of two, if it is a normal number: then the product is the correctly
/// rounded quotient.
fn exact_reciprocal(constant: Literal) -> Option<Literal> {
    let value = constant.to_f64();
    let reciprocal = Literal::from_f64(constant.dtype(), 1.0 / value);
    let power_of_two = value.is_normal() && value.to_bits() & ((1 << 52) - 1) == 0;
    let (normal, representable) = match constant.dtype() {
        DType::F32 => {
            let (x, y) = (value as f32, reciprocal.to_f64() as f32);
            (x.is_normal(), y.is_normal())
        }
        DType::F64 => (value.is_normal(), reciprocal.to_f64().is_normal()),
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => return None,
    };
    (power_of_two && normal && representable).then_some(reciprocal)
}

/// Whether every bit of an integer, or the one of a truth value, is set.
fn all_bits(constant: Literal) -> bool {
    match constant.dtype() {
        DType::Bool => constant.bits() == 1,
        DType::U8 => constant.bits() == 0xff,
        DType::I32 | DType::I64 => constant.to_i64() == -1,
        DType::F32 | DType::F64 => false,
    }
}

fn select(ctx: &Context<'_>, node: &Proposal) -> Option<Step> {
    let (condition, on_true, on_false) = (node.operands[0], node.operands[1], node.operands[2]);
    if on_true == on_false {
        return Some(Step::Value(on_true));
    }
    if let Some(known) = ctx.splat(condition)
        && ctx.may_drop()
    {
        return Some(Step::Value(if known.bits() != 0 { on_true } else { on_false }));
    }
    let inner = ctx.unary_of(U::Not, condition)?;
    Some(Step::Node(Op::Select, smallvec![inner, on_false, on_true]))
}

fn cast(ctx: &Context<'_>, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if *ctx.ty(x) == node.ty {
        return Some(Step::Value(x));
    }
    let inner = ctx.def(x)?;
    if inner.op != Op::Cast {
        return None;
    }
    let first = inner.operands[0];
    let (middle, from) = (ctx.ty(x).dtype, ctx.ty(first).dtype);
    // Floats saturate where integers wrap.
    let wraps = from == DType::I32 && middle == DType::F64 && node.ty.dtype == DType::U8;
    if wraps || !holds_every(middle, from) {
        return None;
    }
    // Through a dtype that holds every number of the first, so the detour changes none.
    let operands: Operands = smallvec![first];
    Some(Step::Node(Op::Cast, operands))
}

/// Whether every number of `narrow` is one of `wide`.
fn holds_every(wide: DType, narrow: DType) -> bool {
    match (wide, narrow) {
        (DType::F64, DType::F32 | DType::I32 | DType::U8 | DType::Bool)
        | (DType::F32, DType::U8 | DType::Bool)
        | (DType::I64, DType::I32 | DType::U8 | DType::Bool)
        | (DType::I32, DType::U8 | DType::Bool)
        | (DType::U8, DType::Bool) => true,
        (
            DType::F32 | DType::F64 | DType::I32 | DType::I64 | DType::U8 | DType::Bool,
            DType::F32 | DType::F64 | DType::I32 | DType::I64 | DType::U8 | DType::Bool,
        ) => false,
    }
}
