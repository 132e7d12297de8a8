//! Program-level loop IR: which kernel runs on which memory, in which order.

use crate::kernel::{Kernel, Scalar};

/// A buffer of a program: an index into [`Program::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A kernel of a program: an index into [`Program::kernels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(pub u32);

/// Where a buffer's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the arena, `offset` bytes from its start; a multiple of [`Kernel::SCRATCH_ALIGN`].
    Arena {
        /// Bytes from the arena's start.
        offset: usize,
    },
    /// Entry `index` of the table of external pointers that the caller passes: inputs, outputs,
    /// states and constants. External buffers do not overlap each other or the arena.
    External {
        /// Index into the pointer table.
        index: usize,
    },
}

/// A piece of memory as the program names it. Several may share arena bytes at different times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BufferPlace {
    /// For the text form.
    pub name: String,
    /// Type of an element.
    pub scalar: Scalar,
    /// Number of elements.
    pub len: usize,
    /// Where it is.
    pub place: Place,
    /// Whether kernels may write it. Only external buffers can be read-only.
    pub writable: bool,
}

/// Runs every chunk of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// Which kernel.
    pub kernel: KernelId,
    /// One buffer for each of the kernel's parameters (its buffers that are not scratch, in
    /// order), of equal scalar and length.
    pub args: Vec<Slot>,
}

/// Ends a program early: what comes after it runs only if every condition holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gate {
    /// How many calls run before it.
    pub after: usize,
    /// Buffers of one `u8` each, which is 0 where the condition does not hold.
    pub conditions: Vec<Slot>,
}

/// One entry of a graph program, bound to memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// For the text form and symbols.
    pub name: String,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Number of entries in the table of external pointers.
    pub externals: usize,
    /// Memory.
    pub buffers: Vec<BufferPlace>,
    /// Kernels; equal ones are shared.
    pub kernels: Vec<Kernel>,
    /// The calls, in order.
    pub body: Vec<Call>,
    /// Where the program may end early.
    pub gate: Option<Gate>,
}

impl Program {
    /// Bytes of scratch that the largest kernel needs for one chunk; each worker has as many.
    pub fn scratch_bytes(&self) -> usize {
        self.kernels.iter().map(Kernel::scratch_bytes).max().unwrap_or(0)
    }
}
