//! The graph IR: programs, their operations, the rules that they keep, and their text form.
//!
//! A [`Program`] is a table of states and named [`Entry`]s over them; an entry's body is a
//! [`Graph`] of [`Node`]s over [`Value`]s. Types ([`Type`]) have a dtype and a shape whose
//! lengths are polynomials over symbols ([`Dim`]). What passes decide (fused kernels, order,
//! places in memory) is part of the IR and of its text form, so a dump at any stage can be read
//! back and run.
//!
//! # Examples
//!
//! ```
//! use kilngrad_ir::{Program, text::Limits, verify};
//!
//! let program = Program::parse(r#"kilngrad 1
//! program "square"
//! entry @run(%x: f32[n]) eval {
//!   %y: f32[n] = mul %x, %x
//!   return y = %y
//! }"#, &Limits::default())?;
//! assert!(verify(&program).is_ok());
//! assert_eq!(program.entries[0].graph.node_count(), 1);
//! # Ok::<(), kilngrad_ir::text::ParseErrors>(())
//! ```

#![forbid(unsafe_code)]

mod diagnostic;
mod dim;
mod dtype;
mod error;
mod example;
mod graph;
pub mod infer;
mod literal;
mod machine;
pub mod op;
mod origin;
mod program;
pub mod random;
pub mod rewrite;
pub mod text;
mod types;
mod verify;

pub use diagnostic::{Diagnostic, Related, Source};
pub use dim::{Bindings, Dim, Symbol};
pub use dtype::DType;
pub use error::{Error, ErrorKind};
pub use graph::{Def, Graph, Node, NodeId, Value, ValueData, ValueName};
pub use literal::{Constant, Dense, Literal};
pub use machine::{Machine, TileSize};
pub use op::Op;
pub use origin::{Origin, OriginData, Site};
pub use program::{Check, Entry, Init, Mode, Place, Plan, Program, Role, State, StateId};
pub use types::{Shape, Type};
pub use verify::{MAX_CONTROL, MAX_NESTING, VerifyError, verify, verify_entry};
