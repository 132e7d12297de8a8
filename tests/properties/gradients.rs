//! Gradients are derivatives.

use kilngrad_testing::{
    Checked, Differentiable, Recipe, Regime, Seen, check, features, properties,
};

#[test]
fn gradients_are_difference_quotients() {
    let mut seen = Checked::default();
    check(Recipe::strategy(Regime::Reals, 12), 1500, |recipe| {
        let case = Differentiable::new(&recipe);
        let checked = properties::gradients_are_derivatives(&case);
        seen += checked.map_err(|error| format!("{error}\nin the program\n{case:?}"))?;
        Ok(())
    });
    assert!(seen.compared[0] > 4_000 && seen.compared[1] > 4_000, "{seen:?}");
    assert!(seen.nonzero > 4_000 && seen.skipped < seen.compared[0] / 4, "{seen:?}");
}

#[test]
fn native_gradients_are_those_of_the_declared_program() {
    let mut seen = Seen::default();
    check(Recipe::strategy(Regime::Reals, 12), 300, |recipe| {
        let case = Differentiable::new(&recipe).case;
        for case in [case.clone(), case.clone().at_zero()] {
            let compared = properties::native_computes_what_is_meant(&case, features());
            seen += compared.map_err(|error| format!("{error}\nin the program\n{case:?}"))?;
        }
        Ok(())
    });
    assert!(seen.elements > 3_000 && seen.unpromised < seen.elements / 5, "{seen:?}");
}

#[test]
fn passes_keep_gradients() {
    let mut seen = Seen::default();
    check(Recipe::strategy(Regime::Reals, 12), 300, |recipe| {
        let case = Differentiable::new(&recipe);
        let compared = properties::passes_keep_values(&case.case, features());
        seen += compared.map_err(|error| format!("{error}\nin the program\n{case:?}"))?;
        Ok(())
    });
    assert!(seen.elements > 30_000 && seen.unpromised < seen.elements / 5, "{seen:?}");
}
