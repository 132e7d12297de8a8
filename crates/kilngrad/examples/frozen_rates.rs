//! What freezing is worth: `predict` of a 784-512-256-10 network on an executable and on a session
//! of its frozen program, in turn.
//!
//! `cargo run --release -p kilngrad --example frozen_rates`

#![allow(clippy::print_stdout)]

use std::time::Instant;

use kilngrad::prelude::*;
use ndarray::Array2;

const ROUNDS: usize = 41;

fn declare() -> Result<Program> {
    let b = Builder::new("mlp");
    let n = b.dim("n");
    let scope = b.scope("net");
    let layer = |(name, inputs, outputs)| Dense::new(&scope, name, inputs, outputs);
    let layers = [("first", 784, 512), ("second", 512, 256)].map(layer);
    let head = layer(("head", 256, 10));
    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, 784));
    let hidden = layers.iter().fold(x, |x, layer| layer.forward(x).relu());
    predict.output("probs", head.forward(hidden).softmax(-1));
    Ok(b.finish()?)
}

/// Microseconds of a call, the median of several.
fn time(calls: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let begun = Instant::now();
        call()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new())?;
    let mut session = exe.freeze()?.session();
    println!("{:>6} {:>14} {:>14} {:>8}", "rows", "executable µs", "session µs", "ratio");
    for rows in [1, 2, 4, 8, 16, 32, 128] {
        let x = Array2::from_shape_fn((rows, 784), |(i, j)| ((i * 784 + j) as f32 * 0.01).sin());
        let calls = (2000 / rows).clamp(15, 200);
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let whole = time(calls, || exe.call("predict").feed("x", &x).run().map(drop))?;
            let frozen = time(calls, || session.call("predict").feed("x", &x).run().map(drop))?;
            times.push((whole, frozen));
        }
        let whole = median(times.iter().map(|(whole, _)| *whole).collect());
        let frozen = median(times.iter().map(|(_, frozen)| *frozen).collect());
        let ratio = median(times.iter().map(|(whole, frozen)| frozen / whole).collect());
        println!("{rows:>6} {whole:>14.1} {frozen:>14.1} {ratio:>8.2}");
    }
    Ok(())
}
