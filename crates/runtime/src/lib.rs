//! The executable: compiled entries, the states' memory, the arena, threads, calls.
//!
//! This crate runs what [`kilngrad_codegen`] compiled and knows nothing of how: whoever builds an
//! [`Executable`] gives it a [`Compile`], which it asks when an entry is first called with new
//! lengths.
//!
//! `unsafe` is in three places: memory that is acquired fallibly (`memory`), elements as bytes
//! (`element`), and the call of generated code with the threads that help it (`call`, `pool`).

mod call;
mod code;
mod element;
mod example;
mod executable;
mod finite;
mod memory;
mod pool;
mod states;

pub use call::{Call, Outputs};
pub use code::{Code, Compile, External, Slot};
pub use element::{Element, Input};
pub use executable::{Executable, SPECIALISATIONS};
pub use finite::{Found, NotFinite};
pub use kilngrad_codegen::Features;
