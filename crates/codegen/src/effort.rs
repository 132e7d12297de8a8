//! How much Cranelift is let rearrange each kernel.
//!
//! Loop IR arrives with its constants hoisted, its common parts shared, its loops unrolled and its
//! instructions in the order that suits the registers, and addresses are computed as far out as
//! they go. So there is little left to optimise, and what Cranelift does at `opt_level = speed`
//! costs: it moves pure instructions down to their uses, away from the loads whose latency they
//! hid, and rewrites the comparison that ends a loop into one that keeps the old counter alive.
//! Over the kernels of `examples/effort_rates.rs`, ordered code is as fast or up to a third faster,
//! and takes a fifth less time to compile.
//!
//! The exception is integer division by a constant, where the optimiser replaces twenty or more
//! cycles by a multiplication.

use kilngrad_loops::Kernel;

use crate::isa::Effort;
use crate::uses;

/// The level of effort for a kernel.
pub(crate) fn of(kernel: &Kernel) -> Effort {
    if uses::divides_by_constant(kernel) { Effort::Optimized } else { Effort::Ordered }
}
