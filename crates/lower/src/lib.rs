#![forbid(unsafe_code)]
//! From fused kernels to loop IR.
//!
//! [`lower_entry`] takes an entry whose every value has a place in memory (after fusing and
//! planning) and writes one kernel of the loop IR, sometimes several, for each kernel of the graph.
//! All decisions about loops are made here: which axes are one loop, which is vectorised, how much
//! is unrolled, where an expression is computed, how chunks split the work. They depend on shapes
//! and on the [`Machine`] alone.
//!
//! # How it is built
//!
//! From the bottom up:
//!
//! - `code`: instructions, shared and hoisted as they are written;
//! - `lanes`: a value as all its lanes: uniform, packed in vectors, or separate scalars;
//! - `elementwise`, `math`, `random`: operations on lanes; elementary functions are those of
//!   [`kilngrad_loops::math`], as straight-line code;
//! - `expr`: the value of a body at an index map; layout operations only change the map;
//! - `space`: loops over an index space: axes merged, the vector axis, chunks;
//! - `strip`: loops cut into strips, for functions that take many elements at a time;
//! - `stage`: a kernel under construction, with what its parameters are bound to;
//! - `map` (with `fold`), `reduce`, `contraction`, `indexed`: one module a kind of kernel;
//! - `entry`: memory, sharing of equal kernels, order.
//!
//! # A kind's lowering
//!
//! Each kind is a function from `Context` to `Stages`. It makes an `Expr` over the body and asks it
//! for `accesses` at `axis_coords` (strides of every leaf along every axis), decides on loops,
//! declares buffers through a `StageBuilder` (which binds arguments in the `Expr`), and writes the
//! loops; in the innermost, `expr.eval` gives a value's lanes at the index map that the loops
//! define, and `code.store` writes them. A value that the kind computes itself, such as a
//! contraction's sum or a reduction, is bound before it is read: `expr.bind(value,
//! Source::Memory(…))` where it was stored, with any offset and strides, or `Source::Scalar(…)`
//! where it is a register. `Nest` writes the loops around blocks of an elementwise body, `Block`
//! those within; `Line` one loop along the vector axis with its remainders. Memory that outlives a
//! stage is a `Stages::temporary`; memory that outlives the call is a `Stages::packed` form of an
//! operand that no call changes.

mod code;
mod contraction;
mod elementwise;
mod entry;
mod expr;
mod fold;
mod indexed;
mod lanes;
mod map;
mod math;
mod random;
mod reduce;
mod sort;
mod space;
mod stage;
mod strip;

use kilngrad_ir::op::Kernel;
use kilngrad_ir::{DType, Graph, Machine};

use code::Target;

pub use entry::{External, Lowered, Packing, lower_entry, lower_frozen};

/// Why an entry was not lowered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// The entry has a node that belongs into a kernel.
    #[error("expected kernels, views, states and constants, found {op} outside a kernel")]
    NotFused {
        /// The operation.
        op: &'static str,
    },
    /// The entry has no memory plan.
    #[error("expected a memory plan, found none for entry {entry}")]
    NotPlanned {
        /// The entry.
        entry: String,
    },
    /// A value has no place, or one that it cannot have.
    #[error("expected {expected} for {value}, found {found}")]
    Place {
        /// The value.
        value: String,
        /// Which places it may have.
        expected: &'static str,
        /// Its place.
        found: String,
    },
    /// A shape is not constant or too large.
    #[error("expected a shape without symbols whose bytes fit memory, found {ty}")]
    Shape {
        /// The type.
        ty: String,
    },
    /// A kernel's body has an operation that its kind does not compute.
    #[error("expected a body that its kind of kernel computes, found {op}")]
    Body {
        /// The operation.
        op: &'static str,
    },
    /// A body argument is read that has no buffer: a mistake of the lowering.
    #[error("expected a buffer for every argument that is read, found none")]
    Unbound,
    /// What was written breaks a rule of the loop IR: a mistake of the lowering.
    #[error(transparent)]
    Loops(#[from] kilngrad_loops::VerifyError),
}

/// What a kernel's lowering is given.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) name: &'a str,
    pub(crate) machine: &'a Machine,
    /// Which of the kernel's operands no call changes.
    pub(crate) constant: &'a [bool],
}

impl Context<'_> {
    /// The widest body for the dtypes of a graph: four lanes if a vector holds four of any of its
    /// numbers, else two if it holds two, else one.
    pub(crate) fn target(&self, graph: &Graph) -> Target {
        let lanes = |dtype: DType| self.machine.lanes(dtype).min(16 / dtype.size());
        let lanes = graph.values().map(|(_, data)| lanes(data.ty.dtype)).max();
        Target { lanes: lanes.unwrap_or(1).min(4), fma: self.machine.fma }
    }

    /// What a stage is called when there are others.
    pub(crate) fn stage_name(&self, at: usize) -> String {
        if at == 0 { self.name.to_owned() } else { format!("{}.{at}", self.name) }
    }
}
