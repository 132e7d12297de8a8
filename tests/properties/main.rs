//! Properties of every program, on random programs.
//!
//! Each test draws recipes (see `kilngrad_testing::Recipe`), cooks programs from them and asks one
//! of `kilngrad_testing::properties` about each. A failure prints the smallest recipe that was
//! found, as Rust, and the program that it gives. `PROPTEST_CASES` draws more programs and
//! `PROPTEST_RNG_SEED` others; `KILNGRAD_FEATURES=baseline` compiles for less than this processor.

#![allow(missing_docs, clippy::unwrap_used)]

mod gradients;
mod native;
mod passes;
mod text;

use kilngrad_testing::{Case, Recipe, Regime, Strategy, caught, check, features};

/// Asks about so many random programs.
fn ask<T>(
    regime: Regime,
    cases: u32,
    steps: usize,
    property: impl FnMut(&Case) -> Result<T, String>,
) -> Vec<T> {
    ask_recipes(Recipe::strategy(regime, steps), cases, property)
}

/// Asks about the programs of so many recipes.
fn ask_recipes<T>(
    recipes: impl Strategy<Value = Recipe>,
    cases: u32,
    mut property: impl FnMut(&Case) -> Result<T, String>,
) -> Vec<T> {
    let mut seen = Vec::new();
    check(recipes, cases, |recipe| {
        let case = Case::new(&recipe);
        let result = caught(|| property(&case))
            .map_err(|error| format!("{error}\nin the program\n{case:?}"));
        seen.push(result?);
        Ok(())
    });
    seen
}
