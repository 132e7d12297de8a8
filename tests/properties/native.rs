//! Loops, machine code and the interpreter compute the same.

use kilngrad::internals::loops::{Kernel, Place, Stmt};
use kilngrad_testing::{
    Case, Compiled, Features, Recipe, Regime, Seen, Strategy, machine, properties,
};

use crate::{ask, ask_recipes, features};

#[test]
fn loops_and_native_code_agree_on_any_bits() {
    ask(Regime::Wild, 250, 16, |case| properties::loops_and_native_agree(case, features()));
}

#[test]
fn loops_and_native_code_agree_on_real_numbers() {
    ask(Regime::Reals, 250, 16, |case| properties::loops_and_native_agree(case, features()));
}

#[test]
fn loops_and_native_code_agree_without_wide_instructions() {
    let baseline = Features::baseline().intersect(Features::detect());
    ask(Regime::Reals, 200, 16, |case| properties::loops_and_native_agree(case, baseline));
}

#[test]
fn native_code_computes_whole_numbers_exactly() {
    ask(Regime::Integers, 500, 20, |case| {
        properties::native_computes_what_is_meant(case, features())
    });
}

#[test]
fn native_code_computes_real_numbers_within_bounds() {
    let seen = ask(Regime::Reals, 400, 20, |case| {
        properties::native_computes_what_is_meant(case, features())
    });
    enough(seen);
}

#[test]
fn kernels_compute_whole_numbers_exactly() {
    ask(Regime::Integers, 300, 20, |case| {
        properties::kernels_compute_what_is_meant(case, features())
    });
}

#[test]
fn kernels_compute_real_numbers_within_bounds() {
    let seen = ask(Regime::Reals, 300, 20, |case| {
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

#[test]
fn large_programs_compute_whole_numbers_exactly_in_loops_and_native_code() {
    let strategy = Recipe::strategy(Regime::Integers, 8).prop_map(Recipe::widened);
    ask_recipes(strategy, 200, |case| {
        properties::loops_and_native_agree(case, features())?;
        properties::native_computes_what_is_meant(case, features())
    });
}

#[test]
fn large_programs_compute_real_numbers_within_bounds_in_loops_and_native_code() {
    let strategy = Recipe::strategy(Regime::Reals, 8).prop_map(Recipe::widened);
    ask_recipes(strategy, 200, |case| {
        properties::loops_and_native_agree(case, features())?;
        properties::native_computes_what_is_meant(case, features())
    });
}

/// What generated programs exercise, so that the properties are about all of it.
#[derive(Debug, Default)]
struct Covered {
    kernels: usize,
    chunked: usize,
    tiled: usize,
    vectors: usize,
    scratch: usize,
    functions: usize,
    in_place: usize,
}

#[test]
fn programs_reach_every_kind_of_kernel() {
    let mut covered = Covered::default();
    for seed in 0..150 {
        let recipe = Recipe::sample(Regime::Reals, seed, 12);
        let case = Case::new(&if seed % 2 == 0 { recipe } else { recipe.widened() });
        let compiled = Compiled::new(&case.program, 0, &case.bindings, features(), &mut |_| {});
        covered.add(&compiled.unwrap());
    }
    println!("{covered:?}");
    let Covered { kernels, chunked, tiled, vectors, scratch, functions, in_place } = covered;
    assert!(kernels > 400, "{kernels}");
    for (what, count) in [
        ("chunks", chunked),
        ("tiles", tiled),
        ("vectors", vectors),
        ("scratch", scratch),
        ("memory in place", in_place),
    ] {
        assert!(count >= 10, "{count} kernels of {kernels} with {what}");
    }
    if machine(features()).leaf_elements.is_some() {
        assert!(functions >= 10, "{functions} kernels of {kernels} with functions in strips");
    }
}

impl Covered {
    fn add(&mut self, compiled: &Compiled) {
        let program = &compiled.lowered.program;
        for call in program.calls() {
            let kernel = &program.kernels[call.kernel.0 as usize];
            let places: Vec<Place> =
                call.args.iter().map(|slot| program.buffers[slot.0 as usize].place).collect();
            let twice = (1..places.len()).any(|at| places[..at].contains(&places[at]));
            self.kernels += 1;
            self.chunked += usize::from(kernel.chunks > 1);
            self.tiled += usize::from(any(&kernel.body, &|stmt| matches!(stmt, Stmt::Tile(_))));
            self.vectors += usize::from(has_vectors(kernel));
            self.scratch += usize::from(kernel.scratch_bytes() > 0);
            self.functions +=
                usize::from(any(&kernel.body, &|stmt| matches!(stmt, Stmt::Apply(_))));
            self.in_place += usize::from(twice);
        }
    }
}

fn has_vectors(kernel: &Kernel) -> bool {
    kernel.registers.iter().any(|ty| ty.lanes() > 1)
}

/// Whether a statement has a property. Recurses over the nest, which is as deep as it is written.
fn any(body: &[Stmt], property: &dyn Fn(&Stmt) -> bool) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::For(inner) => any(&inner.body, property),
        Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => property(stmt),
    })
}
