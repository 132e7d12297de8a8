//! Programs that were compiled wrongly once, each small enough to read.
//!
//! A defect that a property finds leaves its program in tests/bugs, and every property holds of it
//! from then on.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use kilngrad::internals::ir::Program;
use kilngrad::internals::ir::text::Limits;
use kilngrad_testing::{Case, Regime, caught, features, properties, text_tests};

/// What symbols stand for, one after the other.
const LENGTHS: [usize; 5] = [1, 0, 3, 8, 33];

#[test]
fn every_property_holds_of_programs_that_failed_once() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bugs");
    check(Path::new(folder), &[Regime::Integers, Regime::Reals, Regime::Wild]);
}

/// What random programs seldom come upon: no iterations, carries that swap, loops in loops.
#[test]
fn every_property_holds_of_scans() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scans");
    check(Path::new(folder), &[Regime::Reals, Regime::Wild]);
}

fn check(folder: &Path, regimes: &[Regime]) {
    for path in text_tests::inputs(folder, "kg") {
        let text = std::fs::read_to_string(&path).unwrap();
        let program = Program::parse(&text, &Limits::default());
        let program = program.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for &regime in regimes {
            for length in LENGTHS {
                let case = Case::of(program.clone(), regime, length);
                if !case.keeps_regime() {
                    continue;
                }
                caught(|| holds(&case)).unwrap_or_else(|error| {
                    panic!("{} with {regime:?} of length {length}: {error}", path.display())
                });
            }
        }
    }
}

fn holds(case: &Case) -> Result<(), String> {
    properties::text_round_trips(&case.program)?;
    properties::passes_keep_values(case, features())?;
    properties::loops_and_native_agree(case, features())?;
    // What is computed of any bits is not promised.
    if case.regime != Regime::Wild {
        properties::kernels_compute_what_is_meant(case, features())?;
        properties::native_computes_what_is_meant(case, features())?;
    }
    Ok(())
}
