//! The interface between compiled programs and whoever runs them.
//!
//! A compiled program is one function, the *entry*, that calls a *kernel* function for each call of
//! the program, in order. A kernel runs one of its chunks; a kernel with several is handed to the
//! [`Host`], who decides which thread runs which chunk. Nothing here allocates, and nothing may
//! unwind: compiled code has no landing pads, so a panic that reached it would abort the process.

use std::ffi::c_void;
use std::sync::atomic::AtomicBool;

/// A kernel: runs chunk `chunk` on the buffers in `args`.
///
/// `args` has one pointer for each parameter of the kernel (its buffers that are not scratch), in
/// order. `scratch` is the memory of this thread, of at least
/// [`kilngrad_loops::Kernel::scratch_bytes`] initialised bytes, aligned to
/// [`kilngrad_loops::Kernel::SCRATCH_ALIGN`].
///
/// # Safety
///
/// Only the [`Host`] calls kernels, with the arguments that the entry gave it: `args` unchanged,
/// each `chunk` from 0 to `chunks − 1` exactly once, chunks at the same time only with distinct
/// `scratch`.
pub type KernelFn = unsafe extern "C" fn(args: *const *mut u8, scratch: *mut u8, chunk: usize);

/// Runs all `chunks` chunks of a kernel and returns when the last has ended.
///
/// The chunks may run in any order and on any threads: no chunk writes what another touches.
/// `scratch` is the memory that the entry was called with, for chunks that run on the calling
/// thread; other threads bring their own, of equal size and alignment. The effects of all chunks
/// happen before the return.
///
/// # Safety
///
/// Only the entry calls this, while the memory behind its own arguments is valid. The function does
/// not unwind.
pub type RunChunks = unsafe extern "C" fn(
    host: *const Host,
    kernel: KernelFn,
    args: *const *mut u8,
    scratch: *mut u8,
    chunks: usize,
);

/// A program's entry; see [`Entry::call`](crate::Entry::call) for the contract. It returns
/// [`RAN`], [`CANCELLED`], or one more than the position of the first condition of its gate that
/// does not hold.
pub(crate) type EntryFn = unsafe extern "C" fn(
    arena: *mut u8,
    externals: *const *mut u8,
    scratch: *mut u8,
    host: *const Host,
) -> usize;

/// What an entry returns that ran to its end.
pub(crate) const RAN: usize = 0;

/// What an entry returns that found [`Host::cancel`] set.
pub(crate) const CANCELLED: usize = usize::MAX;

/// Why a program ended early.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use kilngrad_codegen::{CodegenOptions, Features, Host, Stopped, compile};
/// use kilngrad_loops::parse_program;
///
/// // It runs for as long as `c` is not 0, and nothing changes `c`.
/// let program = parse_program(
///     "program @endless arena=0 externals=1 {
///        buffer c: u8[1] external 0 readonly
///        while { } test c { }
///      }",
/// )?;
/// let module = compile(&program, &CodegenOptions::new(Features::detect()))?;
///
/// let mut c = 1u8;
/// let externals = [&raw mut c];
/// let cancel = AtomicBool::new(true);
/// let host = Host { cancel: &cancel, ..Host::sequential() };
/// let nowhere = std::ptr::without_provenance_mut(64);
/// // SAFETY: the external has its byte, there is neither arena nor scratch, and the flag lives.
/// let ran = unsafe { module.entry().call(nowhere, externals.as_ptr(), nowhere, &host) };
/// assert_eq!(ran, Err(Stopped::Cancelled));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The position of the first condition of the gate that does not hold.
    Gate(usize),
    /// [`Host::cancel`] was set when a while was about to run its test.
    Cancelled,
}

/// What the entry needs from its surroundings.
///
/// A thread pool provides [`Host::run_chunks`] and finds itself again by [`Host::context`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Host {
    /// Called for each kernel that has more than one chunk.
    pub run_chunks: RunChunks,
    /// For `run_chunks` alone; compiled code does not look at it.
    pub context: *const c_void,
    /// Ends the program where it is set: each while looks before each run of its test. It is valid
    /// during the call, and any thread may set it. A program without a while does not look.
    pub cancel: *const AtomicBool,
}

/// What nobody sets.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Host {
    /// Runs every chunk on the calling thread, in ascending order, and cancels nothing.
    pub const fn sequential() -> Host {
        Host { run_chunks: run_in_order, context: std::ptr::null(), cancel: &raw const NEVER }
    }
}

unsafe extern "C" fn run_in_order(
    _host: *const Host,
    kernel: KernelFn,
    args: *const *mut u8,
    scratch: *mut u8,
    chunks: usize,
) {
    for chunk in 0..chunks {
        // SAFETY: the arguments are the entry's, and each chunk runs once, none beside another.
        unsafe { kernel(args, scratch, chunk) }
    }
}
