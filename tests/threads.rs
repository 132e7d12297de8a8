//! Results are the same bits at any number of threads.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::prelude::*;
use kilngrad_testing::features;
use ndarray::{Array1, Array2};

/// Large enough that contractions, maps and reductions have several chunks each.
fn program() -> Program {
    let b = Builder::new("wide");
    let scope = b.scope("net");
    let hidden = Dense::new(&scope, "hidden", 300, 700);
    let head = Dense::new(&scope, "head", 700, 10);
    let step = b.entry("step", Mode::Train);
    let x = step.input("x", F32, (257, 300));
    let hidden = hidden.forward(x).tanh().dropout("drop", 0.1).layer_norm(-1, 1e-5);
    let loss = head.forward(hidden).cross_entropy(step.input("y", I64, (257,)));
    step.minimize(loss, b.params("net"), Adam::new(1e-2));
    step.output("loss", loss);
    step.output("columns", hidden.sum(0));
    b.finish().unwrap()
}

/// The bits of every output of three steps, and of every state after them.
fn bits(threads: usize) -> (Vec<u32>, Vec<Vec<u8>>) {
    let options = Options::new().features(features()).threads(threads).seed(3);
    let mut exe = program().compile(&options).unwrap();
    let x = Array2::from_shape_fn((257, 300), |(i, j)| ((i * 300 + j) as f32 * 0.37).sin());
    let y = Array1::from_shape_fn(257, |row| row as i64 % 10);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let outputs = exe.call("step").feed("x", &x).feed("y", &y).run().unwrap();
        seen.push(outputs.scalar::<f32>("loss").unwrap().to_bits());
        seen.extend(outputs.view::<f32>("columns").unwrap().iter().map(|x| x.to_bits()));
    }
    (seen, exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let one = bits(1);
    for threads in [2, 3, 5] {
        assert!(bits(threads) == one, "{threads} threads differ from one");
    }
    for _ in 0..10 {
        assert!(bits(4) == one, "runs of four threads differ");
    }
}
