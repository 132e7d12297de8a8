//! On random programs every pass keeps what it promises, in the interpreter.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;
#[path = "common/generate.rs"]
mod generate;

use common::{Draw, evaluate};
use generate::Style;
use kilngrad_interp::{Array, Outcome};
use kilngrad_ir::{Bindings, Machine};
use kilngrad_passes::bind::Bind;
use kilngrad_passes::copies::Copies;
use kilngrad_passes::cse::Cse;
use kilngrad_passes::dce::Dce;
use kilngrad_passes::fold::Fold;
use kilngrad_passes::fuse::Fuse;
use kilngrad_passes::plan::PlanMemory;
use kilngrad_passes::schedule::Schedule;
use kilngrad_passes::simplify::Simplify;
use kilngrad_passes::strength::Strength;
use kilngrad_passes::{Context, Exactness, Pass, Pipeline};

const MACHINE: Machine = Machine::BASELINE;

fn arrays(outcome: &Outcome) -> Vec<&Array> {
    outcome.outputs.iter().chain(outcome.updates.iter().map(|(_, array)| array)).collect()
}

fn close(expected: f64, found: f64) -> bool {
    let small = (expected - found).abs() <= 1e-9 * expected.abs().max(1.0);
    small || expected == found || (expected.is_nan() && found.is_nan())
}

/// Compares by the promise.
fn differ(exactness: Exactness, expected: &Array, found: &Array) -> Option<String> {
    match exactness {
        Exactness::Exact => expected.first_difference(found).map(|found| format!("{found:?}")),
        Exactness::Rounding | Exactness::Stabilising => {
            if expected.ty() != found.ty() {
                return Some(format!("types {} and {}", expected.ty(), found.ty()));
            }
            let pairs = expected.to_f64_vec().into_iter().zip(found.to_f64_vec());
            let mut apart = pairs.filter(|(expected, found)| !close(*expected, *found));
            apart.next().map(|pair| format!("{pair:?}"))
        }
    }
}

fn check(seeds: std::ops::Range<u64>, style: Style, pipeline: &Pipeline, special: bool) {
    let bindings = Bindings::new();
    for seed in seeds {
        let program = generate::program(&mut Draw(seed), style, 12 + seed as usize % 40);
        let mut context = Context::new(&MACHINE, &bindings);
        let first = evaluate(&program, &program.entries[0], seed, special);
        let mut last = (program.clone(), first);
        let mut observe = |stage: &kilngrad_passes::Stage<'_>| {
            let found = evaluate(stage.program, &stage.program.entries[0], seed, special);
            let (expected, compared) = (arrays(&last.1), arrays(&found));
            assert_eq!(expected.len(), compared.len());
            for (index, (e, f)) in expected.into_iter().zip(compared).enumerate() {
                if let Some(difference) = differ(stage.exactness, e, f) {
                    panic!(
                        "seed {seed}: {} changes root {index}: {difference}\n{}\nto\n{}",
                        stage.name, last.0, stage.program
                    );
                }
            }
            last = (stage.program.clone(), found);
        };
        let run = pipeline.run(program.clone(), &mut context, &mut observe);
        run.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{program}"));
    }
}

fn exact() -> Pipeline {
    Pipeline::new().then(Bind).then(Simplify).then(Fold).then(Cse).then(Dce)
}

fn back(pipeline: Pipeline) -> Pipeline {
    pipeline.then(Fuse).then(Copies).then(Schedule).then(PlanMemory)
}

#[test]
fn exact_passes_keep_bits() {
    check(0..1500, Style::Any, &exact(), false);
}

#[test]
fn exact_passes_keep_nan_infinity_and_signs_of_zero() {
    check(10_000..11_500, Style::Any, &exact(), true);
}

#[test]
fn kernels_keep_bits_with_and_without_simplification() {
    check(20_000..21_000, Style::Any, &back(Pipeline::new()), true);
    check(30_000..31_000, Style::Any, &back(exact()), true);
}

#[test]
fn strength_keeps_numbers() {
    let passes = || Pipeline::new().then(Simplify).then(Strength).then(Simplify).then(Cse);
    check(40_000..41_500, Style::Smooth, &back(passes()), false);
}

#[test]
fn passes_name_themselves_once() {
    let pipelines = [Pipeline::before_gradients(), Pipeline::after_gradients()];
    let passes: Vec<&dyn Pass> = pipelines.iter().flat_map(Pipeline::passes).collect();
    assert!(passes.iter().all(|pass| !pass.name().is_empty()));
    assert_eq!(passes[0].name(), "bind");
    assert_eq!(passes[passes.len() - 1].name(), "plan");
}
