//! Randomly drawn kernels agree with the reference interpreter bit for bit, and large ones are
//! accepted by the verifier of loops.

#![allow(clippy::unwrap_used)]

mod common;

use common::draw::{self, FUNCTIONS, LARGE, SMALL, Scope};
use common::{
    Close, LEAFY, MACHINES, Numbers, check, evaluate, float_inputs, inputs_of, lower, program,
    small_integers,
};
use kilngrad_ir::op::KernelKind;
use kilngrad_ir::{Graph, Machine};
use kilngrad_loops::ChunkOrder;

type Draw = fn(&mut Numbers, Scope) -> Graph;

const KINDS: [(KernelKind, Draw, u64); 4] = [
    (KernelKind::Map, draw::map, 400),
    (KernelKind::Map, draw::concat, 100),
    (KernelKind::Map, draw::pad, 100),
    (KernelKind::Reduce, draw::reduce, 500),
];

fn numbers(seed: u64) -> Numbers {
    Numbers(seed.wrapping_mul(0x517c_c1b7_2722_0a95))
}

fn agree((kind, draw, count): (KernelKind, Draw, u64)) {
    for seed in 0..count {
        let mut numbers = numbers(seed);
        let body = draw(&mut numbers, SMALL);
        let inputs = inputs_of(&body, |ty| small_integers(&mut numbers, ty));
        let outcome = std::panic::catch_unwind(|| check(kind, body, &inputs, Close::Exact));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn maps() {
    agree(KINDS[0]);
}

#[test]
fn concatenations() {
    agree(KINDS[1]);
}

#[test]
fn paddings() {
    agree(KINDS[2]);
}

#[test]
fn reductions() {
    agree(KINDS[3]);
}

/// Where functions are applied to strips is a question of speed alone: no bit of a result depends
/// on it, whatever numbers are computed.
#[test]
fn strips_change_no_bit() {
    let mut applied = 0;
    for (kind, draw, count) in KINDS {
        for seed in 0..2 * count {
            let body = draw(&mut numbers(seed), FUNCTIONS);
            let inputs = float_inputs(&body);
            let program = program(kind, body);
            let straight = Machine { leaf_elements: None, ..LEAFY };
            let [strips, straight] = [LEAFY, straight].map(|machine| {
                let lowered = lower(&program, &machine);
                let results = evaluate(&program, &lowered, &inputs, ChunkOrder::Ascending);
                (lowered.program.to_string(), results)
            });
            applied += usize::from(strips.0.contains(" apply "));
            assert!(!straight.0.contains(" apply "), "seed {seed}: {}", straight.0);
            let unfused = lower(&program, &Machine { fma: false, ..LEAFY }).program.to_string();
            assert!(!unfused.contains(" apply "), "seed {seed}: {unfused}");
            for (strips, straight) in strips.1.iter().zip(&straight.1) {
                for (x, y) in strips.iter().zip(straight.iter()) {
                    let (bits, of) = (x.to_f64().to_bits(), y.to_f64().to_bits());
                    let nan = x.to_f64().is_nan() && y.to_f64().is_nan();
                    assert!(bits == of || nan, "seed {seed}: {x} in strips, else {y}\n{program}");
                }
            }
        }
    }
    assert!(applied > 350, "only {applied} kernels have strips");
}

/// Every split over chunks that is chosen can be proved to be one.
#[test]
fn large_kernels_are_verified() {
    let mut split = 0;
    for (kind, draw, count) in KINDS {
        for seed in 0..count {
            let program = program(kind, draw(&mut numbers(seed), LARGE));
            let lowered = lower(&program, MACHINES[seed as usize % MACHINES.len()]);
            split += usize::from(lowered.program.kernels.iter().any(|kernel| kernel.chunks > 1));
        }
    }
    assert!(split > 500, "only {split} kernels have several chunks");
}
