//! `stabilise`: formulas that overflow or cancel become those that do not.
//!
//! Assumes bound symbols; runs before gradients, so that a naive `log(softmax(x))` is made stable
//! before it is differentiated. It runs first of all, since `simplify` moves what formulas are known
//! by (an exponential above a reshape of the logits, say), and again for what that shows. It alone may turn NaN or infinity finite, where only the way of
//! computing made them. With `softplus(x) = max(x, 0) + log1p(exp(−|x|))`:
//!
//! | from | to |
//! |---|---|
//! | `log(exp x)` | `x` |
//! | `log(exp(x) / y)` | `x − log y`, where `y` is made of exponentials |
//! | `log Σ exp x` | `m + log Σ exp(x − m)`, `m` the maximum |
//! | `exp(x) / Σ exp x` | `exp(x − m) / Σ exp(x − m)` |
//! | `log(1 + x)`, `log(1 − x)` | `log1p x`, `log1p(−x)` |
//! | `exp(x) − 1` | `expm1 x` |
//! | `log1p(exp x)` | `softplus x` |
//! | `log(sigmoid x)`, `log(1 − sigmoid x)` | `−softplus(−x)`, `−softplus x` |
//! | `1 / (1 + exp(−x))`, `1 − sigmoid x` | `sigmoid x`, `sigmoid(−x)` |
//!
//! Sources: Blanchard, Higham, Higham, "Accurately computing the log-sum-exp and softmax
//! functions", IMA J. Numer. Anal. 41 (2021); Mächler, "Accurately computing log(1 − exp(−|a|))"
//! (2012).

use kilngrad_ir::op::{Axes, BinaryOp as B, CompareOp, ReduceOp, UnaryOp as U};
use kilngrad_ir::{DType, Entry, Op, Program, Type, Value};
use smallvec::smallvec;

use crate::pass::{Context as PassContext, Exactness, Pass, PassError, each_entry};
use crate::rules::{Context, Proposal, Rule, Step, sweep};

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Stabilise;

const SWEEPS: usize = 2;

/// How many operations may make a sum of exponentials, one after the other.
const MAX_SUMMANDS: usize = 8;

const RULES: &[Rule] = &[rule];

impl Pass for Stabilise {
    fn name(&self) -> &'static str {
        "stabilise"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Stabilising
    }

    fn run(&self, _: &mut PassContext<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(stabilise(entry)))
    }
}

/// The entry with its formulas made stable.
pub fn stabilise(entry: &Entry) -> Entry {
    sweep(entry, RULES, SWEEPS)
}

fn rule(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    if !node.ty.dtype.is_float() {
        return None;
    }
    let x = node.operands.first().copied()?;
    if node.op == Op::Unary(U::Log) {
        log(ctx, x, node)
    } else if node.op == Op::Unary(U::Log1p) {
        log1p(ctx, x, node)
    } else if node.op == Op::Binary(B::Div) {
        sigmoid(ctx, node).or_else(|| softmax(ctx, node))
    } else if let Op::Binary(B::Sub | B::Add) = node.op {
        minus_one(ctx, node).or_else(|| one_minus(ctx, node))
    } else {
        None
    }
}

fn log(ctx: &mut Context<'_>, x: Value, node: &Proposal) -> Option<Step> {
    if let Some(inner) = ctx.unary_of(U::Exp, x) {
        return Some(Step::Value(inner));
    }
    if let Some(inner) = ctx.unary_of(U::Sigmoid, x) {
        return Some(Step::Value(log_sigmoid(ctx, inner)));
    }
    let inner = ctx.def(x)?.clone();
    let operands = &inner.operands;
    if inner.op == Op::Binary(B::Div) {
        let exponent = ctx.unary_of(U::Exp, operands[0])?;
        if !is_not_negative(ctx, operands[1], MAX_SUMMANDS) {
            return None;
        }
        let divisor = ctx.build(Op::Unary(U::Log), &[operands[1]], &node.ty);
        return Some(Step::Node(Op::Binary(B::Sub), smallvec![exponent, divisor]));
    }
    if inner.op == Op::Binary(B::Add) {
        let rest = other_than_one(ctx, operands[0], operands[1])?;
        return Some(Step::Node(Op::Unary(U::Log1p), smallvec![rest]));
    }
    if inner.op == Op::Binary(B::Sub) {
        return log_of_complement(ctx, operands[0], operands[1]);
    }
    if let Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. } = inner.op {
        let from = ctx.ty(operands[0]).clone();
        let log = ctx.build(Op::Unary(U::Log), operands, &from);
        return Some(Step::Node(inner.op, smallvec![log]));
    }
    let Op::Reduce { op: ReduceOp::Sum, axes } = &inner.op else { return None };
    let exponent = unshifted_exponent(ctx, operands[0])?;
    let (shifted, maximum) = shift(ctx, exponent, axes);
    let full = ctx.ty(exponent).clone();
    let powers = ctx.build(Op::Unary(U::Exp), &[shifted], &full);
    let sum = ctx.build(inner.op.clone(), &[powers], &node.ty);
    let log = ctx.build(Op::Unary(U::Log), &[sum], &node.ty);
    Some(Step::Node(Op::Binary(B::Add), smallvec![log, maximum]))
}

/// Whether a value is +0 or more, by being made of exponentials and positive constants: the quotient
/// by −0 is negative, and its logarithm not that of a difference. Recurses `depth` deep.
fn is_not_negative(ctx: &Context<'_>, value: Value, depth: usize) -> bool {
    let Some(node) = ctx.def(value).filter(|_| depth > 0) else { return false };
    if let Op::Unary(op) = node.op {
        return op == U::Exp;
    }
    let sum = matches!(node.op, Op::Binary(B::Add) | Op::Reduce { op: ReduceOp::Sum, .. });
    let moved = matches!(node.op, Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. });
    let number = ctx.number(value).is_some_and(|number| number > 0.0);
    let parts = || node.operands.iter().all(|part| is_not_negative(ctx, *part, depth - 1));
    number || ((sum || moved) && parts())
}

/// `log(one − x)`.
fn log_of_complement(ctx: &mut Context<'_>, one: Value, x: Value) -> Option<Step> {
    if ctx.number(one) != Some(1.0) {
        return None;
    }
    if let Some(inner) = ctx.unary_of(U::Sigmoid, x) {
        return Some(Step::Value(minus_softplus(ctx, inner)));
    }
    let ty = ctx.ty(x).clone();
    let minus = ctx.build(Op::Unary(U::Neg), &[x], &ty);
    Some(Step::Node(Op::Unary(U::Log1p), smallvec![minus]))
}

/// `softplus x` is `max(x, 0)` and [`softplus_tail`].
fn log1p(ctx: &mut Context<'_>, x: Value, node: &Proposal) -> Option<Step> {
    if let Some(inner) = ctx.unary_of(U::Neg, x).and_then(|x| ctx.unary_of(U::Sigmoid, x)) {
        return Some(Step::Value(minus_softplus(ctx, inner)));
    }
    let exponent = ctx.unary_of(U::Exp, x)?;
    if is_negative_size(ctx, exponent) {
        return None;
    }
    let (positive, tail) = softplus_tail(ctx, exponent);
    let zero = ctx.number_constant(&node.ty, 0.0);
    let above = ctx.build(Op::Select, &[positive, exponent, zero], &node.ty);
    Some(Step::Node(Op::Binary(B::Add), smallvec![above, tail]))
}

/// Whether `x > 0`, and `log1p(exp(−|x|))`. Selections stand for `max`, `min` and `|·|`: at 0, where
/// those have kinks, one branch holds and its derivatives are the function's.
fn softplus_tail(ctx: &mut Context<'_>, x: Value) -> (Value, Value) {
    let ty = ctx.ty(x).clone();
    let zero = ctx.number_constant(&ty, 0.0);
    let truth = ty.with_dtype(DType::Bool);
    let positive = ctx.build(Op::Compare(CompareOp::Gt), &[x, zero], &truth);
    let minus = ctx.build(Op::Unary(U::Neg), &[x], &ty);
    let minus_size = ctx.build(Op::Select, &[positive, minus, x], &ty);
    let power = ctx.build(Op::Unary(U::Exp), &[minus_size], &ty);
    (positive, ctx.build(Op::Unary(U::Log1p), &[power], &ty))
}

/// Whether a value is `−|x|`, written so or as a selection.
fn is_negative_size(ctx: &Context<'_>, value: Value) -> bool {
    if let Some(size) = ctx.unary_of(U::Neg, value) {
        return ctx.unary_of(U::Abs, size).is_some();
    }
    let Some(choice) = ctx.def(value).filter(|node| node.op == Op::Select) else { return false };
    let (condition, minus, x) = (choice.operands[0], choice.operands[1], choice.operands[2]);
    let opposite = ctx.unary_of(U::Neg, minus) == Some(x) || ctx.unary_of(U::Neg, x) == Some(minus);
    let above = ctx.def(condition).filter(|node| node.op == Op::Compare(CompareOp::Gt));
    opposite && above.is_some_and(|node| node.operands[0] == x && is_zero(ctx, node.operands[1]))
}

fn is_zero(ctx: &Context<'_>, value: Value) -> bool {
    ctx.number(value) == Some(0.0)
}

/// `min(x, 0) − log1p(exp(−|x|))`.
fn log_sigmoid(ctx: &mut Context<'_>, x: Value) -> Value {
    let ty = ctx.ty(x).clone();
    let (positive, tail) = softplus_tail(ctx, x);
    let zero = ctx.number_constant(&ty, 0.0);
    let below = ctx.build(Op::Select, &[positive, zero, x], &ty);
    ctx.build(Op::Binary(B::Sub), &[below, tail], &ty)
}

fn minus_softplus(ctx: &mut Context<'_>, x: Value) -> Value {
    let ty = ctx.ty(x).clone();
    let minus = ctx.build(Op::Unary(U::Neg), &[x], &ty);
    log_sigmoid(ctx, minus)
}

/// The summand beside a constant 1.
fn other_than_one(ctx: &Context<'_>, x: Value, y: Value) -> Option<Value> {
    if ctx.number(y) == Some(1.0) { Some(x) } else { (ctx.number(x) == Some(1.0)).then_some(y) }
}

/// `exp(x) − 1`, also where it is written `exp(x) + −1`.
fn minus_one(ctx: &Context<'_>, node: &Proposal) -> Option<Step> {
    let (x, y) = (node.operands[0], node.operands[1]);
    let one = if node.op == Op::Binary(B::Sub) { 1.0 } else { -1.0 };
    if ctx.number(y) != Some(one) {
        return None;
    }
    let exponent = ctx.unary_of(U::Exp, x)?;
    Some(Step::Node(Op::Unary(U::Expm1), smallvec![exponent]))
}

fn one_minus(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    if node.op != Op::Binary(B::Sub) || ctx.number(node.operands[0]) != Some(1.0) {
        return None;
    }
    let inner = ctx.unary_of(U::Sigmoid, node.operands[1])?;
    let minus = ctx.build(Op::Unary(U::Neg), &[inner], &node.ty);
    Some(Step::Node(Op::Unary(U::Sigmoid), smallvec![minus]))
}

/// `1/(1 + exp(−x))` and `exp(x)/(1 + exp x)`.
fn sigmoid(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let (numerator, denominator) = (node.operands[0], node.operands[1]);
    let sum = ctx.def(denominator)?;
    if sum.op != Op::Binary(B::Add) {
        return None;
    }
    let power = other_than_one(ctx, sum.operands[0], sum.operands[1])?;
    let exponent = ctx.unary_of(U::Exp, power)?;
    let argument = if numerator == power || ctx.unary_of(U::Exp, numerator) == Some(exponent) {
        exponent
    } else if ctx.number(numerator) == Some(1.0) {
        match ctx.unary_of(U::Neg, exponent) {
            Some(inner) => inner,
            None => ctx.build(Op::Unary(U::Neg), &[exponent], &node.ty),
        }
    } else {
        return None;
    };
    Some(Step::Node(Op::Unary(U::Sigmoid), smallvec![argument]))
}

/// `exp(x) / Σ exp x` with a maximum that is not yet taken out.
fn softmax(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let exponent = unshifted_exponent(ctx, node.operands[0])?;
    let repeat = ctx.def(node.operands[1])?.clone();
    let Op::Broadcast { dims } = &repeat.op else { return None };
    let sum = ctx.def(reshaped_back(ctx, repeat.operands[0]))?.clone();
    let Op::Reduce { op: ReduceOp::Sum, axes } = &sum.op else { return None };
    // Of a square, sums of rows may be repeated along columns.
    let back = *dims == kept_axes(node.ty.rank(), axes);
    if !back || ctx.unary_of(U::Exp, sum.operands[0]) != Some(exponent) {
        return None;
    }
    let (shifted, _) = shift(ctx, exponent, axes);
    let powers = ctx.build(Op::Unary(U::Exp), &[shifted], &node.ty);
    let kept = ctx.ty(repeat.operands[0]).clone();
    let total = ctx.build(sum.op.clone(), &[powers], &kept);
    let repeated = ctx.build(repeat.op, &[total], &node.ty);
    Some(Step::Node(Op::Binary(B::Div), smallvec![powers, repeated]))
}

/// What a value is after reshapes that end where they began, as one that keeps axes of length 1
/// and one that drops them again.
fn reshaped_back(ctx: &Context<'_>, value: Value) -> Value {
    let once = ctx.def(value).filter(|node| node.op == Op::Reshape);
    let twice = once.and_then(|node| ctx.def(node.operands[0]));
    let source = twice.filter(|node| node.op == Op::Reshape).map(|node| node.operands[0]);
    source.filter(|source| ctx.ty(*source) == ctx.ty(value)).unwrap_or(value)
}

/// The `x` of `exp x`, unless a maximum is taken out of it already.
fn unshifted_exponent(ctx: &Context<'_>, power: Value) -> Option<Value> {
    let exponent = ctx.unary_of(U::Exp, power)?;
    let shifted = ctx
        .def(exponent)
        .filter(|node| node.op == Op::Binary(B::Sub))
        .is_some_and(|node| comes_from_maximum(ctx, node.operands[1]));
    (!shifted).then_some(exponent)
}

/// Whether a value is a maximum that was only moved, guarded or stopped since it was taken.
fn comes_from_maximum(ctx: &Context<'_>, mut value: Value) -> bool {
    for _ in 0..8 {
        let Some(node) = ctx.def(value) else { return false };
        if let Op::Reduce { op: ReduceOp::Max, .. } = node.op {
            return true;
        }
        value = if let Op::Broadcast { .. } | Op::Reshape | Op::StopGradient = node.op {
            node.operands[0]
        } else if node.op == Op::Select {
            node.operands[1]
        } else {
            return false;
        };
    }
    false
}

/// `x − m` with `m` the maximum along `axes` where that is finite, else 0, as a constant to
/// differentiation, which the result does not depend on; and `m` itself.
fn shift(ctx: &mut Context<'_>, x: Value, axes: &Axes) -> (Value, Value) {
    let full = ctx.ty(x).clone();
    let kept = Type::new(full.dtype, full.shape.without(axes));
    let op = Op::Reduce { op: ReduceOp::Max, axes: axes.clone() };
    let maximum = ctx.build(op, &[x], &kept);
    let size = ctx.build(Op::Unary(U::Abs), &[maximum], &kept);
    let infinite = ctx.number_constant(&kept, f64::INFINITY);
    let truth = kept.with_dtype(DType::Bool);
    let finite = ctx.build(Op::Compare(CompareOp::Lt), &[size, infinite], &truth);
    let zero = ctx.number_constant(&kept, 0.0);
    let guarded = ctx.build(Op::Select, &[finite, maximum, zero], &kept);
    let guarded = ctx.build(Op::StopGradient, &[guarded], &kept);
    let dims = kept_axes(full.rank(), axes);
    let repeated = ctx.build(Op::Broadcast { dims }, &[guarded], &full);
    (ctx.build(Op::Binary(B::Sub), &[x, repeated], &full), guarded)
}

/// The axes that a reduction along `axes` leaves.
fn kept_axes(rank: usize, axes: &Axes) -> Axes {
    (0..rank).filter(|axis| !axes.contains(axis)).collect()
}
