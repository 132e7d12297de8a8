//! `correlate`: a fold of a contraction becomes a contraction of windows. Rounding.
//!
//! Assumes bound symbols and no gradient request. Guarantees values within the rounding of the
//! sums involved, whose terms it reorders and to which it adds zeros.
//!
//! The derivative of a convolution by what is convolved spreads each element over the window that it
//! is the sum of: every kernel times every element, a tensor as many times as large as a kernel
//! has places, folded together. Each sum can be had at once: it is the product of the reversed
//! kernel with the window of the cotangent around it (Dumoulin and Visin, "A Guide to Convolution
//! Arithmetic for Deep Learning", 2016).
//!
//! | from | to |
//! |---|---|
//! | `fold(dot(w, a))` | `dot(reversed w, windows(pad a))` |
//! | `slice(fold(dot(w, a)))` | the same, padded by less |
//!
//! where the fold's strides are 1, its places within windows are axes of `w` alone and its
//! windows axes of `a` alone, and the products with zeros that are added cost less than the memory
//! that is not written and read.

use kilngrad_ir::infer::infer;
use kilngrad_ir::op::{Axes, DotAxes, PadAxis, SliceAxis, Window, Windows};
use kilngrad_ir::{Constant, DType, Dense, Dim, Entry, Literal, Op, Program, Type, Value};
use smallvec::{SmallVec, smallvec};

use crate::dce::drop_dead;
use crate::pass::{Context as PassContext, Exactness, Pass, PassError, each_entry};
use crate::rules::{Context, Proposal, Step, sweep};
use crate::shapes::lengths;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Correlate;

/// Multiply-adds that take as long as writing an element and reading it again.
const PER_ELEMENT: f64 = 64.0;

impl Pass for Correlate {
    fn name(&self) -> &'static str {
        "correlate"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Rounding
    }

    fn run(&self, _: &mut PassContext<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(correlate(entry)))
    }
}

/// The entry with contractions of windows for folds of contractions.
pub fn correlate(entry: &Entry) -> Entry {
    // Slices first: what they cut off need not be computed.
    let entry = drop_dead(&sweep(entry, &[of_slice], 1));
    sweep(&entry, &[of_fold], 1)
}

fn of_slice(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let Op::Slice(ranges) = &node.op else { return None };
    let fold = node.operands[0];
    let Op::Fold(windows) = &ctx.def(fold)?.op else { return None };
    let windows = windows.clone();
    if !ctx.single_use(fold) {
        return None;
    }
    let mut kept = Vec::with_capacity(ranges.len());
    for (axis, (range, length)) in ranges.iter().zip(lengths(ctx.ty(fold))).enumerate() {
        let SliceAxis { start, limit, stride } = range;
        let (start, limit) = (start.as_constant()?, limit.as_constant()?);
        let whole = start == 0 && limit == length as i64;
        let slides = windows.iter().any(|window| window.axis == axis);
        if *stride != 1 || !(whole || slides) {
            return None;
        }
        kept.push((start, length as i64 - limit));
    }
    let terms = ctx.def(fold)?.operands[0];
    correlated(ctx, &windows, terms, &kept)
}

fn of_fold(ctx: &mut Context<'_>, node: &Proposal) -> Option<Step> {
    let Op::Fold(windows) = &node.op else { return None };
    correlated(ctx, windows, node.operands[0], &vec![(0, 0); node.ty.rank()])
}

/// Where an axis of a contraction's result is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Batch(usize),
    /// An axis of the operand of this number.
    Free(usize, usize),
}

/// The fold of `terms` without so many elements at either end of each axis.
fn correlated(
    ctx: &mut Context<'_>,
    windows: &Windows,
    terms: Value,
    cut: &[(i64, i64)],
) -> Option<Step> {
    let rank = cut.len();
    let strides = windows.iter().any(|window| window.stride != 1);
    if strides || windows.is_empty() || !ctx.may_drop() || !ctx.single_use(terms) {
        return None;
    }
    let (product, permutation) = transposed(ctx, terms);
    let Op::Dot(axes) = &ctx.def(product)?.op else { return None };
    let axes = axes.clone();
    let operands = ctx.def(product)?.operands.clone();
    if !ctx.single_use(product) {
        return None;
    }
    let ranks = [0, 1].map(|side| ctx.ty(operands[side]).rank());
    let sources: Vec<From> = {
        let free =
            |side: usize, axes: Axes| axes.into_iter().map(move |axis| From::Free(side, axis));
        let batch = (0..axes.lhs_batch.len()).map(From::Batch);
        let all =
            batch.chain(free(0, axes.lhs_free(ranks[0]))).chain(free(1, axes.rhs_free(ranks[1])));
        let all: Vec<From> = all.collect();
        permutation.iter().map(|axis| all[*axis]).collect()
    };
    let From::Free(kernel, _) = sources[rank] else { return None };
    let image = 1 - kernel;
    let mut places = Axes::new();
    let mut positions = Axes::new();
    for (at, window) in windows.iter().enumerate() {
        let (From::Free(side, place), From::Free(other, position)) =
            (sources[rank + at], sources[window.axis])
        else {
            return None;
        };
        if side != kernel || other != image {
            return None;
        }
        places.push(place);
        positions.push(position);
    }
    let amounts = amounts(ctx, windows, (operands[image], &positions), cut)?;
    let [lhs, rhs] = [&axes.lhs_contract, &axes.rhs_contract];
    let summed = if image == 0 { lhs } else { rhs };
    if !pays(ctx, (operands[image], &positions), summed, &amounts, windows) {
        return None;
    }

    let reversed = reversed(ctx, operands[kernel], &places);
    let (view, order) = view(ctx, operands[image], windows, &positions, amounts);
    // Places come first in the reversed kernel, and last in the view.
    let moved = |axis: usize| {
        let before = places.iter().filter(|place| **place < axis).count();
        places.iter().position(|place| *place == axis).unwrap_or(places.len() + axis - before)
    };
    let of = |side: usize, axes: &Axes| -> Axes {
        axes.iter().map(|axis| if side == kernel { moved(*axis) } else { *axis }).collect()
    };
    let within = |side: usize| -> Axes {
        match side == kernel {
            true => (0..places.len()).collect(),
            false => order.iter().map(|at| ranks[image] + at).collect(),
        }
    };
    let contracted = |side: usize, axes: &Axes| -> Axes {
        of(side, axes).into_iter().chain(within(side)).collect()
    };
    let sums = DotAxes {
        lhs_batch: of(0, &axes.lhs_batch),
        rhs_batch: of(1, &axes.rhs_batch),
        lhs_contract: contracted(0, &axes.lhs_contract),
        rhs_contract: contracted(1, &axes.rhs_contract),
    };
    let factors = if kernel == 0 { [reversed, view] } else { [view, reversed] };
    let free = |side: usize| {
        let rank = ctx.ty(factors[side]).rank();
        let axes = if side == 0 { sums.lhs_free(rank) } else { sums.rhs_free(rank) };
        axes.into_iter().map(move |axis| From::Free(side, axis))
    };
    let batch = (0..sums.lhs_batch.len()).map(From::Batch);
    let found: Vec<From> = batch.chain(free(0)).chain(free(1)).collect();
    let permutation = sources[..rank].iter().map(|source| {
        let source = match *source {
            From::Free(side, axis) if side == kernel => From::Free(side, moved(axis)),
            From::Free(..) | From::Batch(_) => *source,
        };
        found.iter().position(|other| *other == source)
    });
    let permutation: Axes = permutation.collect::<Option<_>>()?;
    let sums = built(ctx, Op::Dot(sums), &factors);
    Some(Step::Node(Op::Transpose { permutation }, smallvec![sums]))
}

/// What a value is the transpose of, with the permutation.
fn transposed(ctx: &Context<'_>, value: Value) -> (Value, Axes) {
    if let Some(node) = ctx.def(value)
        && let Op::Transpose { permutation } = &node.op
    {
        return (node.operands[0], permutation.clone());
    }
    (value, (0..ctx.ty(value).rank()).collect())
}

/// The zeros around an image: as many as reach into every window, less what is cut off. `None` where
/// more is cut off.
fn amounts(
    ctx: &Context<'_>,
    windows: &[Window],
    (image, positions): (Value, &Axes),
    cut: &[(i64, i64)],
) -> Option<SmallVec<[PadAxis; 2]>> {
    let none = PadAxis { low: Dim::constant(0), high: Dim::constant(0), interior: 0 };
    let mut amounts: SmallVec<[PadAxis; 2]> = SmallVec::from_elem(none, ctx.ty(image).rank());
    for (window, position) in windows.iter().zip(positions) {
        let reach = window.span()? - 1;
        let (low, high) = cut[window.axis];
        if low > reach || high > reach {
            return None;
        }
        amounts[*position].low = Dim::constant(reach - low);
        amounts[*position].high = Dim::constant(reach - high);
    }
    Some(amounts)
}

/// Whether the products with zeros that are added cost less than the contraction's result, which is
/// not written and read any more: so many more sums than there were windows, of so many terms.
fn pays(
    ctx: &Context<'_>,
    (image, positions): (Value, &Axes),
    contracted: &Axes,
    amounts: &[PadAxis],
    windows: &[Window],
) -> bool {
    let from = lengths(ctx.ty(image));
    let terms: usize = contracted.iter().map(|axis| from[*axis]).product();
    let more = windows.iter().zip(positions).map(|(window, position)| {
        let PadAxis { low, high, .. } = &amounts[*position];
        let zeros = low.as_constant().zip(high.as_constant()).map_or(0, |(low, high)| low + high);
        let reach = window.span().unwrap_or(i64::MAX) - 1;
        let length = from[*position] as f64;
        (length + (zeros - reach) as f64) / length.max(1.0)
    });
    terms as f64 * (more.product::<f64>() - 1.0) <= PER_ELEMENT
}

/// The kernel with its places first and in the opposite order.
fn reversed(ctx: &mut Context<'_>, kernel: Value, places: &Axes) -> Value {
    let ty = ctx.ty(kernel).clone();
    let others = (0..ty.rank()).filter(|axis| !places.contains(axis));
    let permutation: Axes = places.iter().copied().chain(others).collect();
    let first = built(ctx, Op::Transpose { permutation }, &[kernel]);
    let apart = ctx.ty(first).clone();
    let dims = apart.shape.dims();
    let count: i64 = dims[..places.len()].iter().filter_map(Dim::as_constant).product();
    let flat = [Dim::constant(count)].into_iter().chain(dims[places.len()..].iter().cloned());
    let flat = Type::new(ty.dtype, flat.collect());
    let flat = ctx.build(Op::Reshape, &[first], &flat);
    // The opposite order of all places is that along each of their axes.
    let indices = (0..count).rev().map(|index| Literal::from_i64(DType::I64, index));
    let indices = Dense::new(DType::I64, indices).expect("every literal has the dtype");
    let ty = Type::new(DType::I64, [Dim::constant(count)].into_iter().collect());
    let indices = ctx.build(Op::Constant(Constant::Dense(indices)), &[], &ty);
    let opposite = built(ctx, Op::Gather { axis: 0 }, &[flat, indices]);
    ctx.build(Op::Reshape, &[opposite], &apart)
}

/// The windows of an image with zeros around it, and for each of `windows` which of the new axes is its
/// own.
fn view(
    ctx: &mut Context<'_>,
    image: Value,
    windows: &[Window],
    positions: &Axes,
    amounts: SmallVec<[PadAxis; 2]>,
) -> (Value, Axes) {
    let scalar = Type::scalar(ctx.ty(image).dtype);
    let zero = ctx.number_constant(&scalar, 0.0);
    let padded = built(ctx, Op::Pad(amounts), &[image, zero]);
    let mut own: Windows =
        windows.iter().zip(positions).map(|(w, axis)| Window { axis: *axis, ..*w }).collect();
    own.sort_by_key(|window| window.axis);
    let order = positions.iter().map(|axis| own.iter().take_while(|w| w.axis < *axis).count());
    let order = order.collect();
    (built(ctx, Op::Windows(own), &[padded]), order)
}

/// A node whose type follows from its operands'.
fn built(ctx: &mut Context<'_>, op: Op, operands: &[Value]) -> Value {
    let types: Vec<Type> = operands.iter().map(|value| ctx.ty(*value).clone()).collect();
    let types: Vec<&Type> = types.iter().collect();
    let ty = infer(&op, &types, &[]).expect("made of a fold that keeps the rules").remove(0);
    ctx.build(op, operands, &ty)
}
