//! Loops, machine code and the interpreter compute the same.

use kilngrad_testing::{Features, Regime, Seen, properties};

use crate::{ask, features};

#[test]
fn loops_and_native_code_agree_on_any_bits() {
    ask(Regime::Wild, 50, 16, |case| properties::loops_and_native_agree(case, features()));
}

#[test]
fn loops_and_native_code_agree_on_real_numbers() {
    ask(Regime::Reals, 50, 16, |case| properties::loops_and_native_agree(case, features()));
}

#[test]
fn loops_and_native_code_agree_without_wide_instructions() {
    let baseline = Features::baseline().intersect(Features::detect());
    ask(Regime::Reals, 40, 16, |case| properties::loops_and_native_agree(case, baseline));
}

#[test]
fn native_code_computes_whole_numbers_exactly() {
    ask(Regime::Integers, 100, 20, |case| {
        properties::native_computes_what_is_meant(case, features())
    });
}

#[test]
fn native_code_computes_real_numbers_within_bounds() {
    let seen = ask(Regime::Reals, 100, 20, |case| {
        properties::native_computes_what_is_meant(case, features())
    });
    enough(seen);
}

#[test]
fn kernels_compute_whole_numbers_exactly() {
    ask(Regime::Integers, 60, 20, |case| {
        properties::kernels_compute_what_is_meant(case, features())
    });
}

#[test]
fn kernels_compute_real_numbers_within_bounds() {
    let seen = ask(Regime::Reals, 60, 20, |case| {
        properties::kernels_compute_what_is_meant(case, features())
    });
    enough(seen);
}

/// Most of what was compared must be of elements that something is promised of.
fn enough(seen: Vec<Seen>) {
    let elements: usize = seen.iter().map(|seen| seen.elements).sum();
    let unpromised: usize = seen.iter().map(|seen| seen.unpromised).sum();
    assert!(elements > 10_000 && unpromised < elements / 10, "{unpromised} of {elements}");
}
