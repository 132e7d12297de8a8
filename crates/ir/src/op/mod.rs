//! The operations: a closed set of primitive families.
//!
//! Everything that a pass must know of an operation is here or in its row: what it computes is
//! stated in docs/ir.md and by the interpreter, its type rule in [`crate::infer`].

mod binary;
mod elementwise;
mod scan;
mod unary;

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

pub use binary::{BINARY, BinaryDerivative, BinaryOp, BinaryPartial, BinaryRow, CompareOp};
pub use elementwise::{Domain, Emit};
pub use scan::{Scan, Workspace};
pub use unary::{UNARY, UnaryDerivative, UnaryOp, UnaryRow};

use crate::dim::Dim;
use crate::graph::Graph;
use crate::literal::Constant;
use crate::program::StateId;

/// A few axes.
pub type Axes = SmallVec<[usize; 4]>;

/// How elements are combined by `reduce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReduceOp {
    /// The sum; 0 of nothing. The order of additions is not defined.
    Sum,
    /// The product; 1 of nothing. The order of multiplications is not defined.
    Prod,
    /// The largest; NaN if any is; the lowest value of the dtype (−inf) of nothing.
    Max,
    /// The smallest; NaN if any is; the highest value of the dtype (inf) of nothing.
    Min,
}

impl ReduceOp {
    /// Every kind with its word in the text form.
    pub const ALL: [(ReduceOp, &'static str); 4] = [
        (ReduceOp::Sum, "reduce_sum"),
        (ReduceOp::Prod, "reduce_prod"),
        (ReduceOp::Max, "reduce_max"),
        (ReduceOp::Min, "reduce_min"),
    ];

    /// Its word in the text form.
    pub const fn name(self) -> &'static str {
        ReduceOp::ALL[self as usize].1
    }

    /// The kind whose word in the text form is `name`.
    pub fn from_name(name: &str) -> Option<ReduceOp> {
        ReduceOp::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }
}

/// Which extreme `argmax` and `argmin` look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArgReduceOp {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Which axes a contraction pairs. The result's axes are the batch axes, then the remaining axes
/// of the left operand, then those of the right, each in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DotAxes {
    /// Batch axes of the left operand.
    pub lhs_batch: Axes,
    /// The right operand's, in the same order.
    pub rhs_batch: Axes,
    /// Contracted axes of the left operand.
    pub lhs_contract: Axes,
    /// The right operand's, in the same order.
    pub rhs_contract: Axes,
}

impl DotAxes {
    /// Axes of the left operand (of rank `rank`) that are neither batch nor contracted.
    pub fn lhs_free(&self, rank: usize) -> Axes {
        free(rank, &self.lhs_batch, &self.lhs_contract)
    }

    /// Axes of the right operand (of rank `rank`) that are neither batch nor contracted.
    pub fn rhs_free(&self, rank: usize) -> Axes {
        free(rank, &self.rhs_batch, &self.rhs_contract)
    }
}

fn free(rank: usize, batch: &[usize], contract: &[usize]) -> Axes {
    (0..rank).filter(|axis| !batch.contains(axis) && !contract.contains(axis)).collect()
}

/// The part of an axis that `slice` keeps: `start`, `start + stride`, … below `limit`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceAxis {
    /// First index kept.
    pub start: Dim,
    /// Exclusive bound.
    pub limit: Dim,
    /// Distance between kept indices, at least 1.
    pub stride: usize,
}

/// What `pad` adds to an axis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PadAxis {
    /// Elements before the first.
    pub low: Dim,
    /// Elements after the last.
    pub high: Dim,
    /// Elements between neighbours.
    pub interior: usize,
}

/// What the loops of a fused kernel are built around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelKind {
    /// Element by element over one index space.
    Map,
    /// Reductions over one index space, with what is fused before, between and after them.
    Reduce,
    /// One contraction with its epilogue.
    Contraction,
    /// One `gather` or `scatter_add`.
    Indexed,
}

impl KernelKind {
    /// Every kind with its word in the text form.
    pub const ALL: [(KernelKind, &'static str); 4] = [
        (KernelKind::Map, "map"),
        (KernelKind::Reduce, "reduce"),
        (KernelKind::Contraction, "contraction"),
        (KernelKind::Indexed, "indexed"),
    ];

    /// Its word in the text form.
    pub const fn name(self) -> &'static str {
        KernelKind::ALL[self as usize].1
    }
}

/// A fused kernel: a region computed as one piece of native code.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Unique in its entry.
    pub name: Arc<str>,
    /// What its loops are built around.
    pub kind: KernelKind,
    /// What it computes; its arguments stand for the operands, in order, and its results for the
    /// node's results.
    pub body: Graph,
}

/// A function whose derivative is not that of the operations it is made of: a region says it.
///
/// The node's operands are the function's values, its inputs, and whatever else the region reads.
/// The region's arguments are a cotangent for each value and then one for each operand, where the
/// node's results stand for the values; its results are the cotangents of the inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomGradient {
    /// From the values' cotangents to the inputs'.
    pub backward: Graph,
}

impl CustomGradient {
    /// How many of `operands` operands are values; 0 where the region does not fit.
    pub fn value_count(&self, operands: usize) -> usize {
        self.backward.arguments().len().saturating_sub(operands)
    }

    /// Which of `operands` operands are inputs.
    pub fn inputs(&self, operands: usize) -> Range<usize> {
        let values = self.value_count(operands);
        values..values + self.backward.results().len()
    }
}

/// An operation with its attributes. Operands are beside it in the node.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A state's value on entry. Entries only.
    State(StateId),
    /// The same elements in every call.
    Constant(Constant),
    /// A dimension's value as a scalar of the declared number dtype.
    Dimension(Dim),
    /// Each element is its index along `axis`, of the declared number type.
    Iota {
        /// Which axis counts.
        axis: usize,
    },
    /// Counter-based random elements of the declared type: see [`crate::random`]. Operands: seed
    /// and counter, both `i64[]`.
    Random {
        /// Tells the streams of one seed apart.
        stream: u64,
    },
    /// Element by element.
    Unary(UnaryOp),
    /// Element by element, on equal types.
    Binary(BinaryOp),
    /// Element by element, on equal types, to `bool`.
    Compare(CompareOp),
    /// The second operand where the first (`bool`) is true, else the third.
    Select,
    /// The same numbers in the declared dtype: floats round to nearest or truncate toward
    /// integers, saturating, NaN to 0; integers wrap; to `bool`, `x ≠ 0`.
    Cast,
    /// Combine the elements along `axes`, which disappear.
    Reduce {
        /// How.
        op: ReduceOp,
        /// Sorted, distinct.
        axes: Axes,
    },
    /// Index (`i64`) of the first extreme along `axis`, which disappears; of the first NaN if
    /// there is any.
    ArgReduce {
        /// Which extreme.
        op: ArgReduceOp,
        /// Not empty.
        axis: usize,
    },
    /// Contraction: sums of products over paired axes.
    Dot(DotAxes),
    /// Repeat along new axes of the declared type: axis `i` of the operand becomes axis `dims[i]`.
    Broadcast {
        /// Strictly ascending.
        dims: Axes,
    },
    /// The same elements in row-major order, in the declared shape.
    Reshape,
    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose {
        /// Each axis once.
        permutation: Axes,
    },
    /// A regular part of each axis.
    Slice(SmallVec<[SliceAxis; 2]>),
    /// The first operand with the second (a scalar) put around and between its elements.
    Pad(SmallVec<[PadAxis; 2]>),
    /// The operands one after the other along `axis`.
    Concat {
        /// Which axis grows.
        axis: usize,
    },
    /// Slices of the first operand along `axis`, which the second (`i64`) picks by index: its axes
    /// take the place of that axis. An index out of range picks the nearest there is.
    Gather {
        /// Not empty.
        axis: usize,
    },
    /// The first operand, with the slices of the third added to those along `axis` that the second
    /// (`i64`) picks, in the order of its elements: the transpose of `gather`. An index out of range
    /// picks the nearest there is.
    ScatterAdd {
        /// Not empty.
        axis: usize,
    },
    /// The operand; no gradient passes.
    StopGradient,
    /// The first operands, which are values of a function that has a derivative of its own. No
    /// gradient passes to them; the region gives that of the inputs.
    CustomGradient(Box<CustomGradient>),
    /// A request: the derivatives of the first operand, a float scalar, by each other operand.
    /// What a pass may not do before it is expanded is in docs/ir.md.
    Gradient {
        /// Zero, rather than an error, where the loss does not depend on an operand or a
        /// derivative does not exist.
        or_zero: bool,
    },
    /// A region computed once for each index of an axis, in order.
    Scan(Box<Scan>),
    /// A fused kernel over the operands.
    Kernel(Box<Kernel>),
}

impl Op {
    /// Whether two nodes with equal operations, operands and types give equal values and one may
    /// stand for both. Gradient requests depend on what lies between their operands, not on the
    /// operands' values alone. A region for the way back need not be linear: what it makes of two
    /// cotangents is not what it makes of their sum.
    pub fn is_shareable(&self) -> bool {
        match self {
            Op::Gradient { .. } | Op::CustomGradient(_) => false,
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
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Dot(_)
            | Op::Broadcast { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::StopGradient
            | Op::Scan(_)
            | Op::Kernel(_) => true,
        }
    }

    /// The word that begins the operation in the text form.
    pub fn name(&self) -> &'static str {
        match self {
            Op::State(_) => "state",
            Op::Constant(_) => "constant",
            Op::Dimension(_) => "dimension",
            Op::Iota { .. } => "iota",
            Op::Random { .. } => "random",
            Op::Unary(op) => op.row().name,
            Op::Binary(op) => op.row().name,
            Op::Compare(op) => op.name(),
            Op::Select => "select",
            Op::Cast => "cast",
            Op::Reduce { op, .. } => op.name(),
            Op::ArgReduce { op: ArgReduceOp::Max, .. } => "argmax",
            Op::ArgReduce { op: ArgReduceOp::Min, .. } => "argmin",
            Op::Dot(_) => "dot",
            Op::Broadcast { .. } => "broadcast",
            Op::Reshape => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Slice(_) => "slice",
            Op::Pad(_) => "pad",
            Op::Concat { .. } => "concat",
            Op::Gather { .. } => "gather",
            Op::ScatterAdd { .. } => "scatter_add",
            Op::StopGradient => "stop_gradient",
            Op::CustomGradient(_) => "custom_gradient",
            Op::Gradient { or_zero: false } => "gradient",
            Op::Gradient { or_zero: true } => "gradient_or_zero",
            Op::Scan(_) => "scan",
            Op::Kernel(_) => "kernel",
        }
    }
}
