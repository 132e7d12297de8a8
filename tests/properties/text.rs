//! Text and programs turn into each other, at every stage.

use kilngrad_testing::{Case, Differentiable, Recipe, Regime, check, properties};

use crate::{ask, features};

fn round_trips_at_every_stage(case: &Case) -> Result<(), String> {
    properties::text_round_trips_at_every_stage(case, features())
}

#[test]
fn text_round_trips_at_every_stage() {
    ask(Regime::Reals, 300, 20, round_trips_at_every_stage);
    ask(Regime::Integers, 150, 20, round_trips_at_every_stage);
}

#[test]
fn text_round_trips_for_any_bits() {
    ask(Regime::Wild, 400, 20, round_trips_at_every_stage);
}

#[test]
fn text_with_gradients_round_trips_at_every_stage() {
    check(Recipe::strategy(Regime::Reals, 10), 150, |recipe| {
        round_trips_at_every_stage(&Differentiable::new(&recipe).case)
    });
}
