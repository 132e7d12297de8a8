//! What most programs need: `use kilngrad::prelude::*;`.
//!
//! ```
//! use kilngrad::prelude::*;
//!
//! let b = Builder::new("half");
//! let e = b.entry("run", Mode::Eval);
//! e.output("y", e.input("x", F32, ()) * 0.5);
//! let mut exe = b.finish()?.compile(&Options::new())?;
//! assert_eq!(exe.call("run").feed("x", &3f32).run()?.scalar::<f32>("y")?, 1.5);
//! # Ok::<(), Error>(())
//! ```

pub use kilngrad_builder::*;
pub use kilngrad_ir::{DType, Mode, Program, Role};
pub use kilngrad_runtime::Outputs;

pub use crate::{
    Error, ErrorKind, Executable, Frozen, Interpreted, Limits, Load, Loaded, Options, ProgramExt,
    Result, Session,
};
