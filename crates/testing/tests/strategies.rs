//! The generators and oracles on their own: what the workspace's properties are made of.

#![allow(clippy::unwrap_used)]

use kilngrad_testing::{Case, Checked, Differentiable, Recipe, Regime, properties};

#[test]
fn texts_of_random_programs_round_trip() {
    for seed in 0..150 {
        for regime in [Regime::Integers, Regime::Reals, Regime::Wild] {
            let case = Case::new(&Recipe::sample(regime, seed, 16));
            let result = properties::text_round_trips(&case.program);
            result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

#[test]
fn gradients_of_random_programs_are_derivatives() {
    let mut seen = Checked::default();
    for seed in 0..320 {
        let case = Differentiable::new(&Recipe::sample(Regime::Reals, seed, 10));
        match properties::gradients_are_derivatives(&case) {
            Ok(checked) => seen += checked,
            Err(error) => panic!("seed {seed}: {error}\n{case:?}"),
        }
    }
    println!("{seen:?}");
    assert!(seen.compared[0] > 1000 && seen.compared[1] > 1000, "{seen:?}");
    assert!(seen.nonzero > 500, "{seen:?}");
    assert!(seen.skipped < seen.compared[0], "{seen:?}");
}
