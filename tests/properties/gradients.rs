//! Gradients are derivatives.

use kilngrad_testing::{Checked, Differentiable, Recipe, Regime, check, properties};

#[test]
fn gradients_are_difference_quotients() {
    let mut seen = Checked::default();
    check(Recipe::strategy(Regime::Reals, 12), 400, |recipe| {
        let case = Differentiable::new(&recipe);
        let checked = properties::gradients_are_derivatives(&case);
        seen += checked.map_err(|error| format!("{error}\nin the program\n{case:?}"))?;
        Ok(())
    });
    assert!(seen.compared[0] > 1_000 && seen.compared[1] > 1_000, "{seen:?}");
    assert!(seen.nonzero > 1_000 && seen.skipped < seen.compared[0] / 4, "{seen:?}");
}
