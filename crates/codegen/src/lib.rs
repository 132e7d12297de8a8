//! From loop IR to machine code with Cranelift; nothing else in the compiler knows it.
//!
//! [`compile`] turns a [`Program`](kilngrad_loops::Program) into a [`Module`], whose
//! [`Entry`] runs it. On the way there is no optimiser to speak of: what is hoisted, unrolled,
//! vectorised or tiled is so in the loop IR already, and Cranelift is asked to keep the order.
//!
//! | file | what |
//! |---|---|
//! | `module` | the order of work, and placing the code |
//! | `kernel` | statements and loops of a kernel, and what it calls |
//! | `inst` | instructions |
//! | `address` | addresses, and the counters of loops |
//! | `entry` | the program's calls |
//! | `backend`, `isa`, `effort` | running Cranelift: on threads, for which processor, how hard |
//! | `memory` | where the code lives |
//! | `abi`, `needs` | what caller and code agree on |
//!
//! Invariants, each held by a test:
//!
//! - Only verified programs are compiled, so no address that code computes is outside its buffer.
//! - Code has no traps: every instruction is total, and calls nothing but what is in
//!   [`kilngrad_tiles`]: tiles and elementary functions.
//! - It computes what the loop evaluator computes, to the bit (NaN payloads aside), whatever the
//!   features of the processor and the effort of the optimiser.
//! - No page is writable and executable at once; a dropped module leaves no memory behind.
//! - The same program, features and options give the same code, on any number of threads.
//!
//! # Examples
//!
//! ```
//! use kilngrad_codegen::{CodegenOptions, Features, FloatMode, Host, compile};
//! use kilngrad_loops::parse_program;
//!
//! let program = parse_program(
//!     "program @double arena=0 externals=2 {
//!        buffer x: f32[4] external 0 readonly
//!        buffer y: f32[4] external 1
//!        kernel @double chunks=1 {
//!          buffer x: f32[4] read
//!          buffer y: f32[4] write
//!          %0: f32x4 = load x[0]
//!          %1: f32x4 = add %0, %0
//!          store y[0] = %1
//!        }
//!        call double(x, y)
//!      }",
//! )?;
//! let module = compile(&program, &CodegenOptions::new(Features::detect()))?;
//!
//! let (mut x, mut y) = ([1.0f32, 2.0, 3.0, 4.0], [0.0f32; 4]);
//! let externals = [x.as_mut_ptr().cast::<u8>(), y.as_mut_ptr().cast()];
//! let nowhere = std::ptr::without_provenance_mut(64);
//! let _mode = FloatMode::enter();
//! // SAFETY: the externals have four numbers each, and there is neither arena nor scratch.
//! let ran =
//!     unsafe { module.entry().call(nowhere, externals.as_ptr(), nowhere, &Host::sequential()) };
//! assert_eq!(ran, Ok(()));
//! assert_eq!(y, [2.0, 4.0, 6.0, 8.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod abi;
mod address;
mod backend;
mod effort;
mod entry;
mod inst;
mod isa;
mod kernel;
mod memory;
mod module;
mod needs;
mod uses;

use kilngrad_loops::math::Function;
use kilngrad_loops::{Scalar, TileShape};
pub use kilngrad_tiles::{Features, FloatMode};

pub use abi::{Host, KernelFn, RunChunks, Stopped};
pub use isa::Effort;
pub use module::{CodegenOptions, Entry, FunctionText, MAX_BUFFERS, Module, compile};
pub use needs::ExternalNeed;

/// Why a program has no machine code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodegenError {
    /// The program breaks a rule of the loop IR.
    #[error("the loop program does not verify")]
    Verify(#[from] kilngrad_loops::VerifyError),
    /// The processor, or the features that the options allow, lack something.
    #[error("unsupported: {what}")]
    Unsupported {
        /// What was expected and what was found.
        what: String,
    },
    /// No tile of this shape runs with the features.
    #[error(
        "kernel {kernel}: expected a tile that the features allow, found {} {}x{} {}",
        shape.scalar,
        shape.rows,
        shape.cols,
        if shape.fma { "fma" } else { "unfused" }
    )]
    Tile {
        /// The kernel's name.
        kernel: String,
        /// The shape asked for.
        shape: TileShape,
    },
    /// No code of this function runs with the features.
    #[error(
        "kernel {kernel}: expected a function that the features allow, found {function} of {scalar}"
    )]
    Function {
        /// The kernel's name.
        kernel: String,
        /// The function asked for.
        function: Function,
        /// Of elements of this type.
        scalar: Scalar,
    },
    /// Cranelift refused a function; a defect of this compiler.
    #[error("function {function}: {message}")]
    Backend {
        /// The kernel's name, or the entry's.
        function: String,
        /// What Cranelift said.
        message: String,
    },
    /// The system refused memory for code, or to make it executable.
    #[error("no memory for code")]
    Memory(#[source] std::io::Error),
}
