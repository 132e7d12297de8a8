//! Randomly drawn kernels agree with the reference interpreter bit for bit, and large ones are
//! accepted by the verifier of loops.

#![allow(clippy::unwrap_used)]

mod common;

use common::draw::{self, LARGE, SMALL, Size};
use common::{Close, MACHINES, Numbers, check, inputs_of, lower, program, small_integers};
use kilngrad_ir::Graph;
use kilngrad_ir::op::KernelKind;

type Draw = fn(&mut Numbers, Size) -> Graph;

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
