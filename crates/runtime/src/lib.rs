//! Executables and sessions: compiled entries, states, the arena, threads, calls.
//!
//! This crate runs what [`kilngrad_codegen`] compiled and knows nothing of how: whoever builds an
//! [`Executable`] or a [`Frozen`] program gives it a [`Compile`], which is asked when an entry is
//! first called with new lengths.
//!
//! | | shared by | holds |
//! |---|---|---|
//! | `library` | an executable and its forks; a frozen program and its sessions | the program, compiled code |
//! | `states` | nobody | the values of an executable's states |
//! | `workspace` | nobody | arena, scratch, threads, outputs, the code that its owner has met |
//!
//! A [`Call`] puts the three together; an [`Executable`] owns one of each, a [`Session`] has no
//! states. What is shared is read, so a call whose code its workspace has met takes no lock.
//!
//! `unsafe` is in these places: memory that is acquired fallibly (`memory`), elements as bytes
//! (`element`), and the call of generated code with the threads that help it (`launch`, `workspace`,
//! `constant`, `pool`).

mod call;
mod code;
mod constant;
mod element;
mod example;
mod executable;
mod finite;
mod launch;
mod library;
mod memory;
mod pool;
mod session;
mod states;
mod workspace;

pub use call::{Call, Outputs};
pub use code::{Code, Compile, External, Gate, Slot};
pub use constant::{Constant, WeakConstant};
pub use element::{Element, Input};
pub use executable::Executable;
pub use finite::{Found, NotFinite};
pub use kilngrad_codegen::Features;
pub use library::KEPT_BINDINGS;
pub use session::{Frozen, Session};
