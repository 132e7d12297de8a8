//! Passes keep what the interpreter computes.

use kilngrad_testing::{Regime, Seen, properties};

use crate::{ask, features};

fn total(seen: Vec<Seen>) -> Seen {
    seen.into_iter().fold(Seen::default(), |mut total, seen| {
        total += seen;
        total
    })
}

#[test]
fn passes_keep_whole_numbers() {
    let seen =
        ask(Regime::Integers, 500, 24, |case| properties::passes_keep_values(case, features()));
    let seen = total(seen);
    assert!(seen.elements > 100_000, "{seen:?}");
}

#[test]
fn passes_keep_real_numbers_within_bounds() {
    let seen =
        ask(Regime::Reals, 1500, 24, |case| properties::passes_keep_values(case, features()));
    let seen = total(seen);
    assert!(seen.elements > 100_000 && seen.unpromised < seen.elements / 10, "{seen:?}");
}

#[test]
fn exact_passes_keep_every_bit_of_anything() {
    ask(Regime::Wild, 600, 24, |case| properties::passes_keep_values(case, features()));
}
