//! A static-graph compiler for deep learning on CPUs.
//!
//! A model is declared once with a [`Builder`](prelude::Builder); its graph is differentiated
//! symbolically, optimised, and compiled to native loops; a training step, update included, is one
//! call. There is no Python, no LLVM and no C compiler, at build or at run time.
//!
//! ```
//! use kilngrad::prelude::*;
//! use ndarray::array;
//!
//! // y = x·w + b, fitted to y = 2x + 1.
//! let b = Builder::new("line");
//! let n = b.dim("n");
//! let line = Dense::new(&b.scope("line"), "fit", 1, 1);
//! let train = b.entry("train", Mode::Train);
//! let x = train.input("x", F32, (n, 1));
//! let t = train.input("t", F32, (n, 1));
//! let loss = line.forward(x).mse_loss(t);
//! train.minimize(loss, b.params("line"), Sgd::new(0.1));
//! train.output("loss", loss);
//!
//! let mut exe = b.finish()?.compile(&Options::new())?;
//! let (x, t) = (array![[0f32], [1.0], [2.0]], array![[1f32], [3.0], [5.0]]);
//! let mut loss = 0f32;
//! for _ in 0..200 {
//!     loss = exe.call("train").feed("x", &x).feed("t", &t).run()?.scalar("loss")?;
//! }
//! assert!(loss < 1e-3);
//! # Ok::<(), kilngrad::Error>(())
//! ```

#![forbid(unsafe_code)]

mod arrays;
pub mod check;
mod compiler;
pub mod data;
mod dump;
mod example;
mod executable;
mod files;
mod flops;
mod frozen;
mod interpreted;
mod names;
mod nan;
mod options;
#[cfg(feature = "plot")]
pub mod plot;
pub mod prelude;
mod report;
mod summary;
pub mod trainer;
pub mod units;
mod values;
mod why;

pub use arrays::{load_arrays, save_arrays};
pub use executable::{Executable, ProgramExt};
pub use files::{Load, Loaded, Mismatch};
pub use frozen::{Frozen, Session};
pub use interpreted::{Interpreted, InterpretedCall, InterpretedOutputs};
pub use kilngrad_interp::Array;
pub use kilngrad_ir::text::Limits;
pub use kilngrad_ir::{Error, ErrorKind, random};
pub use kilngrad_passes::{LiveValue, PlanReport, Reason, Rejection};
pub use kilngrad_runtime::{Call, Element, Input, Outputs};
pub use kilngrad_tiles::Features;
pub use names::NameMap;
pub use options::Options;
pub use report::{KernelReport, Report, Stage};
pub use summary::{CompiledSummary, EntrySummary, Layer, Size, Summary};
pub use why::{Step, Why};

/// What functions of this crate return.
///
/// ```
/// use kilngrad::{ErrorKind, Result, prelude::*};
///
/// fn loss(exe: &mut Executable) -> Result<f32> {
///     exe.call("train").run()?.scalar("loss")
/// }
/// let mut exe = Builder::new("empty").finish()?.compile(&Options::new())?;
/// assert_eq!(loss(&mut exe).map_err(|error| error.kind()), Err(ErrorKind::Name));
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The crates that the compiler is made of, for those who work on it.
///
/// ```
/// use kilngrad::{internals::ir, prelude::*};
///
/// let program = Builder::new("empty").finish()?;
/// assert!(ir::verify(&program).is_ok());
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub mod internals {
    pub use kilngrad_autodiff as autodiff;
    pub use kilngrad_builder as builder;
    pub use kilngrad_codegen as codegen;
    pub use kilngrad_interp as interp;
    pub use kilngrad_ir as ir;
    pub use kilngrad_loops as loops;
    pub use kilngrad_lower as lower;
    pub use kilngrad_passes as passes;
    pub use kilngrad_runtime as runtime;
    pub use kilngrad_tiles as tiles;
}

/// The guide's code, run with the documentation's examples.
#[cfg(all(doctest, feature = "data"))]
#[doc = include_str!("../../../docs/guide.md")]
struct Guide;
