//! `argsort`: each lane by a merge sort from the bottom up.
//!
//! A lane of n elements is copied to scratch with its indices, and ⌈log₂ n⌉ passes merge sorted
//! runs of 1, 2, 4, … elements into runs twice as long, from one half of the scratch to the other
//! and back. The number of steps is known, so loops are counted; which of two elements a step takes
//! is data, so each step picks the heads of both runs by an index, which the loop IR clamps: every
//! address is proved whatever the elements are. A step takes the right head only if it belongs
//! *before* the left one, so equal elements stay in order.
//!
//! Chunks split lanes, never one.

use kilngrad_ir::{DType, Graph, Node, Op};
use kilngrad_loops::{
    Access, Affine, BinaryInst, Buffer, CompareInst, KernelBuilder, MaskInst, Reg, Scalar,
};

use crate::lanes::memory_scalar;
use crate::space::{Split, repeat};
use crate::stage::{Param, StageBuilder, Stages};
use crate::{Context, LowerError};

/// Additions that a step of a merge costs.
const STEP_COST: usize = 8;

/// Whether the kernel is a sort.
pub(crate) fn is_sort(ctx: &Context<'_>) -> bool {
    node(&ctx.kernel.body).is_some()
}

fn node(graph: &Graph) -> Option<&Node> {
    let mut nodes = graph.nodes().map(|(_, node)| node);
    nodes.find(|node| matches!(node.op, Op::Argsort { .. }))
}

/// Lowers an `argsort` kernel.
///
/// # Errors
///
/// If a shape depends on a symbol, or the body holds something else.
pub(crate) fn lower_argsort(ctx: &Context<'_>) -> Result<Stages, LowerError> {
    let graph = &ctx.kernel.body;
    let node = node(graph).ok_or(LowerError::Body { op: "no argsort" })?;
    let Op::Argsort { axis, descending } = node.op else {
        return Err(LowerError::Body { op: node.op.name() });
    };
    let ty = graph.ty(node.operands[0]);
    let shape = ty.shape.as_constant().ok_or_else(|| LowerError::Shape { ty: ty.to_string() })?;
    let elements: usize = shape.iter().product();
    if elements == 0 {
        return Ok(Stages::default());
    }
    let length = shape[axis];
    let extents = [shape[..axis].iter().product(), shape[axis + 1..].iter().product::<usize>()];
    let passes = length.next_power_of_two().trailing_zeros() as usize;
    let work = elements.saturating_mul(STEP_COST * (passes + 1));
    let split = lanes_split(extents, Split::wanted(ctx.machine, work));

    let mut stage = StageBuilder::new(ctx.name, split.chunks);
    let scalar = memory_scalar(ty.dtype);
    let from = stage.param(Param::Argument(0), scalar, elements, Access::Read);
    let to = stage.param(Param::Result(0), Scalar::I64, elements, Access::Write);
    let b = &mut stage.b;
    let sort = Sort {
        dtype: ty.dtype,
        descending,
        length,
        keys: b.buffer("keys", scalar, 2 * length, Access::Scratch),
        indices: b.buffer("indices", Scalar::I64, 2 * length, Access::Scratch),
    };
    let [(first_outer, outer), (first_inner, inner)] =
        [0, 1].map(|group| split.part(group, extents[group]));
    let stride = extents[1] as i64;
    repeat(b, outer, |b, o| {
        repeat(b, inner, |b, i| {
            let lane = first_outer.add(&o).scaled(length as i64 * stride);
            let lane = lane.add(&first_inner).add(&i);
            b.for_(length, |b, l| {
                let key = b.load(from, lane.clone().plus(l, stride), 1);
                b.store(sort.keys, Affine::var(l), key);
                let index = b.index(Scalar::I64, 1, Affine::var(l), 0);
                b.store(sort.indices, Affine::var(l), index);
            });
            let sorted = sort.write(b);
            b.for_(length, |b, l| {
                let index = b.load(sort.indices, Affine::constant(sorted).plus(l, 1), 1);
                b.store(to, lane.clone().plus(l, stride), index);
            });
            Ok(())
        })
    })?;
    Ok(Stages::one(stage.finish()))
}

/// The most equal parts, up to as many as are wanted, of the lanes before the axis or after it.
fn lanes_split(extents: [usize; 2], wanted: usize) -> Split {
    let mut best = Split::WHOLE;
    for (group, extent) in extents.into_iter().enumerate() {
        let parts = (1..=wanted.min(extent)).rev().find(|parts| extent.is_multiple_of(*parts));
        let chunks = parts.unwrap_or(1);
        if chunks > best.chunks {
            best = Split { group, chunks };
        }
    }
    best
}

/// The order, and the scratch of a lane: two halves of keys and of indices.
struct Sort {
    dtype: DType,
    descending: bool,
    length: usize,
    keys: Buffer,
    indices: Buffer,
}

/// Two sorted runs side by side, and where they are merged to.
struct Runs {
    start: Affine,
    left: usize,
    right: usize,
    to: Affine,
}

impl Sort {
    /// Merges until there is one run; gives where it begins.
    fn write(&self, b: &mut KernelBuilder) -> i64 {
        let half = self.length as i64;
        let (mut from, mut to) = (0, half);
        let mut width = 1;
        while width < self.length {
            let pair = 2 * width;
            let runs = |at: Affine, right: usize| Runs {
                start: at.clone().offset(from),
                left: width,
                right,
                to: at.offset(to),
            };
            let pairs = self.length / pair;
            if pairs > 0 {
                b.for_(pairs, |b, p| {
                    let at = Affine::constant(0).plus(p, pair as i64);
                    self.merge(b, &runs(at, width));
                });
            }
            let rest = self.length % pair;
            let at = Affine::constant((pairs * pair) as i64);
            if rest > width {
                self.merge(b, &runs(at, rest - width));
            } else if rest > 0 {
                self.copy(b, &at.clone().offset(from), &at.offset(to), rest);
            }
            (from, to) = (to, from);
            width = pair;
        }
        from
    }

    fn copy(&self, b: &mut KernelBuilder, from: &Affine, to: &Affine, count: usize) {
        b.for_(count, |b, k| {
            for buffer in [self.keys, self.indices] {
                let value = b.load(buffer, from.clone().plus(k, 1), 1);
                b.store(buffer, to.clone().plus(k, 1), value);
            }
        });
    }

    fn merge(&self, b: &mut KernelBuilder, runs: &Runs) {
        let both = runs.left + runs.right;
        let int = |b: &mut KernelBuilder, value: usize| b.const_int(Scalar::I64, value as i64, 1);
        let (zero, one) = (int(b, 0), int(b, 1));
        let (left_end, right_end) = (int(b, runs.left), int(b, both));
        b.for_carry(both, &[zero, left_end], |b, k, heads| {
            let [i, j] = [heads[0], heads[1]];
            let memory = [(self.keys, runs.start.clone()), (self.indices, runs.start.clone())];
            let left = b.load_picked(i, both, &memory);
            let right = b.load_picked(j, both, &memory);
            let left_done = b.compare(CompareInst::Ge, i, left_end);
            let right_is_there = b.compare(CompareInst::Lt, j, right_end);
            let before = self.before(b, right[0], left[0]);
            let wanted = b.mask(MaskInst::Or, left_done, before);
            let takes_right = b.mask(MaskInst::And, wanted, right_is_there);
            for (at, buffer) in [self.keys, self.indices].into_iter().enumerate() {
                let value = b.select(takes_right, right[at], left[at]);
                b.store(buffer, runs.to.clone().plus(k, 1), value);
            }
            let step = b.select(takes_right, one, zero);
            let rest = b.binary(BinaryInst::Sub, one, step);
            vec![b.binary(BinaryInst::Add, i, rest), b.binary(BinaryInst::Add, j, step)]
        });
    }

    /// Whether `x` comes before `y` and is not equal to it.
    fn before(&self, b: &mut KernelBuilder, x: Reg, y: Reg) -> Reg {
        let op = if self.descending { CompareInst::Gt } else { CompareInst::Lt };
        let beyond = b.compare(op, x, y);
        if !self.dtype.is_float() {
            return beyond;
        }
        // NaN is above every number.
        let (x_nan, y_nan) = (b.compare(CompareInst::Ne, x, x), b.compare(CompareInst::Ne, y, y));
        let (is, is_not) = if self.descending { (x_nan, y_nan) } else { (y_nan, x_nan) };
        let is_not = b.mask_not(is_not);
        let by_nan = b.mask(MaskInst::And, is, is_not);
        b.mask(MaskInst::Or, beyond, by_nan)
    }
}
