//! Strategies, oracles and harnesses for Kilngrad's own tests.

#![forbid(unsafe_code)]

pub mod accuracy;
mod bound;
mod compile;
pub mod fuzz;
mod generate;
mod gradients;
pub mod properties;
mod recipe;
pub mod reference;
mod runner;
pub mod text_tests;

pub use bound::{
    Bounded, BoundedOutcome, SUM_F64, Seen, ULPS_F32, ULPS_F64, eval_entry_bounded,
    eval_node_bounded,
};
pub use compile::{Compiled, Differentiate, Ran, input, machine, output};
pub use generate::{Case, Differentiable, SEED};
pub use gradients::{Checked, check_gradients};
pub use recipe::{HEADER, Random, Recipe, Regime, STEP};
pub use runner::{caught, check};

pub use kilngrad_tiles::Features;
pub use proptest::strategy::Strategy;

/// The instructions that generated code may use in tests, as the variable `KILNGRAD_FEATURES`
/// says: all of this processor's where it is unset, and the baseline for `baseline`.
///
/// # Panics
///
/// If the variable has another value.
pub fn features() -> Features {
    match std::env::var("KILNGRAD_FEATURES").ok().as_deref() {
        None => Features::detect(),
        Some("baseline") => Features::baseline().intersect(Features::detect()),
        Some(other) => {
            panic!("expected KILNGRAD_FEATURES to be unset or \"baseline\", found {other:?}")
        }
    }
}
