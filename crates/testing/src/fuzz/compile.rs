//! Any bytes as a recipe, whose program goes through the whole compiler.

use kilngrad_tiles::Features;

use super::hold;
use crate::generate::{Case, Differentiable};
use crate::properties;
use crate::recipe::{HEADER, Recipe, Regime, STEP};

/// Steps of a program, so that one takes milliseconds.
const STEPS: usize = 24;

/// The first byte says what kind of program the others spell; every property holds of it.
///
/// # Panics
///
/// If one does not.
pub fn compile(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(HEADER + STEPS * STEP)];
    let baseline = Features::baseline().intersect(Features::detect());
    let features = if kind & 8 == 0 { Features::detect() } else { baseline };
    let regime = match kind & 3 {
        0 => Regime::Integers,
        1 => Regime::Reals,
        2 => Regime::Wild,
        _ => {
            let recipe = Recipe::from_bytes(Regime::Reals, bytes);
            let case = Differentiable::new(&recipe);
            return hold(differentiable(&case, features), &(recipe, case));
        }
    };
    let recipe = Recipe::from_bytes(regime, bytes);
    let recipe = if kind & 4 == 0 { recipe } else { recipe.widened() };
    let case = Case::new(&recipe);
    hold(compiles(&case, features), &(recipe, case));
}

fn compiles(case: &Case, features: Features) -> Result<(), String> {
    properties::text_round_trips_at_every_stage(case, features)?;
    properties::passes_keep_values(case, features)?;
    properties::loops_and_native_agree(case, features)?;
    // What is computed of any bits is not promised.
    if case.regime != Regime::Wild {
        properties::kernels_compute_what_is_meant(case, features)?;
        properties::native_computes_what_is_meant(case, features)?;
    }
    Ok(())
}

fn differentiable(case: &Differentiable, features: Features) -> Result<(), String> {
    properties::text_round_trips_at_every_stage(&case.case, features)?;
    properties::passes_keep_values(&case.case, features)?;
    properties::gradients_are_derivatives(case)?;
    for case in [case.case.clone(), case.case.clone().at_zero()] {
        properties::native_computes_what_is_meant(&case, features)?;
    }
    Ok(())
}
