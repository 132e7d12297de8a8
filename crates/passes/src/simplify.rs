//! `simplify`: what can be said with less. Exact.
//!
//! Assumes bound symbols. Guarantees only that values keep their bits: each rule holds for NaN,
//! infinities, −0 and wrapping integers, not just for numbers. Rules by family:
//!
//! - [`algebra`]: identities of elementwise operations;
//! - [`layout`]: reshapes, transposes, broadcasts, slices, pads and concatenations compose and
//!   cancel, and sink below elementwise operations, so that fusion sees elementwise chains;
//! - [`contract`]: contractions absorb transposes; reductions over axes of length 1 disappear.
//!
//! While gradient requests are pending, no rule lets an operand go unused, `stop_gradient` stays,
//! and what a request differentiates by is neither replaced nor looked through.

mod algebra;
mod contract;
mod layout;

use kilngrad_ir::{Entry, Program};

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::rules::{Rule, sweep};

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Simplify;

const SWEEPS: usize = 3;

const RULES: &[Rule] = &[algebra::rule, layout::rule, contract::rule];

impl Pass for Simplify {
    fn name(&self) -> &'static str {
        "simplify"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(simplify(entry)))
    }
}

/// The entry after three sweeps.
pub fn simplify(entry: &Entry) -> Entry {
    sweep(entry, RULES, SWEEPS)
}
