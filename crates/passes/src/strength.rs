//! `strength`: cheaper operations for dear ones. Rounding.
//!
//! Assumes bound symbols and no gradient request: it runs after differentiation, so that it may
//! not change a derivative's conventions. Guarantees values within the rounding of the
//! operations involved; the sign of a zero may change, and a result within one rounding of
//! overflow may overflow.
//!
//! | from | to |
//! |---|---|
//! | `pow(x, 2)`, `pow(x, 3)`, `pow(x, −1)` | products, `1/x` |
//! | `1 / √x` | `rsqrt x` |
//! | sum over axes of length 1 | reshape |
//! | sum over repeated axes | product with their length |
//! | reduction of a transpose | reduction of what was transposed |
//! | sum of pads that do not overlap | one concatenation |

use kilngrad_ir::op::{Axes, BinaryOp as B, ReduceOp, UnaryOp as U};
use kilngrad_ir::{Entry, Literal, Op, Program, Type, Value};
use smallvec::{SmallVec, smallvec};

use crate::pass::{Context as PassContext, Exactness, Pass, PassError, each_entry};
use crate::rules::{Context, MAX_PIECES, Operands, Proposal, Rule, Step, sweep};
use crate::shapes::lengths;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Strength;

const SWEEPS: usize = 2;

const RULES: &[Rule] = &[rule];

impl Pass for Strength {
    fn name(&self) -> &'static str {
        "strength"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Rounding
    }

    fn run(&self, _: &mut PassContext<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(reduce_strength(entry)))
    }
}

/// The entry with cheaper operations.
pub fn reduce_strength(entry: &Entry) -> Entry {
    sweep(entry, RULES, SWEEPS)
}

fn rule(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    if !ctx.may_drop() {
        return None;
    }
    if let Op::Reduce { op, axes } = &node.op {
        return reduce(ctx, *op, axes, node);
    }
    let Op::Binary(op) = node.op else { return None };
    match op {
        B::Pow => power(ctx, node),
        B::Div => quotient(ctx, node),
        B::Add => sum_of_pads(ctx, node),
        B::Sub
        | B::Mul
        | B::Rem
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

fn power(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let (x, exponent) = (node.operands[0], ctx.number(node.operands[1])?);
    if exponent == 2.0 {
        Some(Step::Node(Op::Binary(B::Mul), smallvec![x, x]))
    } else if exponent == 3.0 {
        let square = ctx.build(Op::Binary(B::Mul), &[x, x], &node.ty);
        Some(Step::Node(Op::Binary(B::Mul), smallvec![square, x]))
    } else if exponent == -1.0 {
        let one = ctx.number_constant(&node.ty, 1.0);
        Some(Step::Node(Op::Binary(B::Div), smallvec![one, x]))
    } else {
        None
    }
}

fn quotient(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let (x, y) = (node.operands[0], node.operands[1]);
    if !node.ty.dtype.is_float() || ctx.number(x) != Some(1.0) {
        return None;
    }
    let root = ctx.unary_of(U::Sqrt, y)?;
    Some(Step::Node(Op::Unary(U::Rsqrt), smallvec![root]))
}

fn reduce(ctx: &mut Context<'_>, op: ReduceOp, axes: &Axes, node: &Proposal) -> Option<Step> {
    let x = node.operands[0];
    if axes.is_empty() {
        return Some(Step::Value(x));
    }
    let lengths = lengths(ctx.ty(x));
    if axes.iter().all(|axis| lengths[*axis] == 1) {
        return Some(Step::Node(Op::Reshape, smallvec![x]));
    }
    let inner = ctx.def(x)?.clone();
    if let Op::Transpose { permutation } = &inner.op {
        return reduce_of_transpose(op, axes, permutation, inner.operands[0]);
    }
    let Op::Broadcast { dims } = &inner.op else { return None };
    reduce_of_broadcast(ctx, op, axes, dims, inner.operands[0], node)
}

/// Only where the kept axes keep their order.
fn reduce_of_transpose(
    op: ReduceOp,
    axes: &Axes,
    permutation: &Axes,
    operand: Value,
) -> Option<Step> {
    let kept = (0..permutation.len()).filter(|axis| !axes.contains(axis));
    if !kept.map(|axis| permutation[axis]).is_sorted() {
        return None;
    }
    let mut axes: Axes = axes.iter().map(|axis| permutation[*axis]).collect();
    axes.sort_unstable();
    Some(Step::Node(Op::Reduce { op, axes }, smallvec![operand]))
}

/// Only where every reduced axis repeats the operand.
fn reduce_of_broadcast(
    ctx: &mut Context<'_>,
    op: ReduceOp,
    axes: &Axes,
    dims: &Axes,
    operand: Value,
    node: &Proposal,
) -> Option<Step> {
    let full = lengths(ctx.ty(node.operands[0]));
    let count: usize = axes.iter().map(|axis| full[*axis]).product();
    if count == 0 || axes.iter().any(|axis| dims.contains(axis)) {
        return None;
    }
    let ty = ctx.ty(operand).clone();
    let combined = match op {
        ReduceOp::Max | ReduceOp::Min => operand,
        ReduceOp::Sum => {
            let literal = Literal::from_i64(ty.dtype, i64::try_from(count).ok()?);
            let times = ctx.constant(&ty, literal);
            ctx.build(Op::Binary(B::Mul), &[operand, times], &ty)
        }
        ReduceOp::Prod => return None,
    };
    let renumber = |axis: &usize| axis - axes.iter().filter(|gone| *gone < axis).count();
    let dims = dims.iter().map(renumber).collect();
    Some(Step::Node(Op::Broadcast { dims }, smallvec![combined]))
}

/// Parts of an axis that hold values; elsewhere there are zeros.
struct Pieces {
    axis: usize,
    /// Ranges along the axis, ascending and disjoint, with their values.
    parts: Vec<(i64, i64, Value)>,
}

/// The gradients of slices are pads, and slices that cut a tensor up leave a sum of them: each
/// addition would read and write the whole tensor. Disjoint pads are one concatenation.
fn sum_of_pads(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    if !node.ty.dtype.is_float() {
        return None;
    }
    let (left, right) = (pieces(ctx, node.operands[0])?, pieces(ctx, node.operands[1])?);
    if left.axis != right.axis || left.parts.len() + right.parts.len() > MAX_PIECES {
        return None;
    }
    let axis = left.axis;
    let mut parts = left.parts;
    parts.extend(right.parts);
    parts.sort_by_key(|part| (part.0, part.1));
    if parts.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return None;
    }
    let total = node.ty.shape.dims()[axis].as_constant()?;
    let mut operands = Operands::new();
    let mut end = 0;
    for (start, limit, value) in parts {
        if start > end {
            operands.push(zeros(ctx, &node.ty, axis, start - end));
        }
        operands.push(value);
        end = limit;
    }
    if end < total {
        operands.push(zeros(ctx, &node.ty, axis, total - end));
    }
    Some(Step::Node(Op::Concat { axis }, operands))
}

fn zeros(ctx: &mut Context<'_>, like: &Type, axis: usize, length: i64) -> Value {
    let mut dims: SmallVec<[kilngrad_ir::Dim; 4]> = like.shape.dims().into();
    dims[axis] = kilngrad_ir::Dim::constant(length);
    let ty = Type::new(like.dtype, dims.into_iter().collect());
    ctx.number_constant(&ty, 0.0)
}

/// A value as pieces between zeros: a pad along one axis, or a concatenation.
fn pieces(ctx: &Context<'_>, value: Value) -> Option<Pieces> {
    let node = ctx.def(value)?;
    if let Op::Concat { axis } = node.op {
        return ctx.single_use(value).then(|| concatenated(ctx, axis, &node.operands)).flatten();
    }
    let Op::Pad(amounts) = &node.op else { return None };
    let fill = ctx.splat(node.operands[1])?;
    let padded = |amount: &&kilngrad_ir::op::PadAxis| {
        amount.low.as_constant() != Some(0)
            || amount.high.as_constant() != Some(0)
            || amount.interior != 0
    };
    if !fill.is_zero_bits() || amounts.iter().filter(padded).count() != 1 {
        return None;
    }
    let axis = amounts.iter().position(|amount| padded(&amount))?;
    if amounts[axis].interior != 0 {
        return None;
    }
    let start = amounts[axis].low.as_constant()?;
    let length = ctx.ty(node.operands[0]).shape.dims()[axis].as_constant()?;
    Some(Pieces { axis, parts: vec![(start, start + length, node.operands[0])] })
}

fn concatenated(ctx: &Context<'_>, axis: usize, operands: &[Value]) -> Option<Pieces> {
    let mut parts = Vec::with_capacity(operands.len());
    let mut start = 0;
    for &operand in operands {
        let length = ctx.ty(operand).shape.dims()[axis].as_constant()?;
        let zero = ctx.splat(operand).is_some_and(Literal::is_zero_bits);
        if !zero {
            parts.push((start, start + length, operand));
        }
        start += length;
    }
    Some(Pieces { axis, parts })
}
