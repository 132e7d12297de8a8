//! Graph passes: from what a user declared to kernels in order with places in memory.
//!
//! A [`Pass`] is a function from programs to programs with a name and a promise about values
//! ([`Exactness`]). [`run`] takes a program through all of them: the symbols are bound, the graph
//! becomes small and stable, gradient requests are expanded by a pass that the caller brings (this
//! crate may not know differentiation), and what is left is fused into kernels, ordered, and given
//! places in memory. After every pass the verifier runs and an observer looks.
//!
//! | pass | promise | what it does |
//! |---|---|---|
//! | [`bind`] | exact | symbols become constants |
//! | [`dce`] | exact | drops what no root needs |
//! | [`simplify`] | exact | identities that keep every bit |
//! | [`fold`] | exact | computes what is constant |
//! | [`stabilise`] | stabilising | formulas that neither overflow nor cancel |
//! | [`cse`] | exact | merges what is equal |
//! | [`correlate`] | rounding | contractions of windows for folds of contractions |
//! | [`strength`] | rounding | cheaper operations for dear ones |
//! | [`fuse`] | exact | nodes become kernels |
//! | [`copies`] | exact | every root gets a kernel result of its own |
//! | [`schedule`] | exact | an order that keeps little alive |
//! | [`plan`] | exact | a place for every value, proved by [`check`] |
//!
//! Beside the pipeline, [`freeze`](mod@freeze) cuts a program whose states no longer change in what
//! is computed once and what each call computes.
//!
//! ```
//! use kilngrad_ir::{Bindings, Machine, Program};
//! use kilngrad_passes::{Options, run};
//!
//! let program = Program::new("empty");
//! let options = Options { machine: Machine::BASELINE, bindings: Bindings::new() };
//! let compiled = run(&program, &options, &[], &mut |_| {})?;
//! assert!(compiled.program.entries.is_empty());
//! # Ok::<(), kilngrad_passes::PassError>(())
//! ```

#![forbid(unsafe_code)]

pub mod alias;
pub mod bind;
pub mod check;
pub mod copies;
pub mod correlate;
pub mod cse;
pub mod dce;
pub mod decide;
pub mod draw;
mod element;
pub mod fold;
pub mod freeze;
pub mod fuse;
pub mod hoist;
mod memory;
mod pass;
mod pins;
mod pipeline;
pub mod plan;
mod prune;
mod regions;
mod rules;
pub mod schedule;
mod shapes;
pub mod simplify;
pub mod stabilise;
pub mod strength;

pub use check::CheckError;
pub use fuse::{FusionReport, KernelReport, Reason, Rejection};
pub use pass::{Context, Exactness, Pass, PassError};
pub use pipeline::{Compiled, Observer, Options, Pipeline, Stage, run, run_pass};
pub use plan::{LiveValue, PlanReport};
