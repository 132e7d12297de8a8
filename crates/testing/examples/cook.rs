//! Cooks the program of one recipe, prints it, and asks every property about it.
//!
//! `cargo run -p kilngrad-testing --example cook -- Reals 109,0,0,5` replays a failure of
//! `tests/properties`: the arguments are the regime and the bytes that the failure prints.

#![allow(clippy::print_stdout)]

use std::env::args;

use kilngrad_testing::{Case, Differentiable, Recipe, Regime, features, properties};

fn main() {
    let regime = match args().nth(1).as_deref() {
        Some("Integers") => Regime::Integers,
        Some("Reals") => Regime::Reals,
        Some("Wild") => Regime::Wild,
        Some("Smooth") => return gradients(),
        other => panic!("expected Integers, Reals, Wild or Smooth, found {other:?}"),
    };
    let case = Case::new(&Recipe::from_bytes(regime, &bytes()));
    println!("{case:?}");
    let report = |name: &str, result: Result<(), String>| match result {
        Ok(()) => println!("{name}: holds"),
        Err(error) => println!("{name}: {error}"),
    };
    report("text", properties::text_round_trips(&case.program));
    report("passes", properties::passes_keep_values(&case, features()).map(drop));
    report("kernels", properties::kernels_compute_what_is_meant(&case, features()).map(drop));
    report("loops", properties::loops_and_native_agree(&case, features()));
    report("native", properties::native_computes_what_is_meant(&case, features()).map(drop));
}

fn gradients() {
    let case = Differentiable::new(&Recipe::from_bytes(Regime::Reals, &bytes()));
    println!("{case:?}");
    println!("{:?}", properties::gradients_are_derivatives(&case));
}

fn bytes() -> Vec<u8> {
    let text = args().nth(2).expect("the recipe's bytes, separated by commas");
    let byte = |part: &str| part.trim().parse().expect("a byte");
    text.trim_matches(['[', ']']).split(',').map(byte).collect()
}
