//! What most programs need: `use kilngrad::prelude::*;`.

pub use kilngrad_builder::*;
pub use kilngrad_ir::{DType, Mode, Program, Role};
pub use kilngrad_runtime::Outputs;

pub use crate::{
    Error, ErrorKind, Executable, Frozen, Interpreted, Limits, Load, Loaded, Options, ProgramExt,
    Result, Session,
};
