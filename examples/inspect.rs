//! What the compiler did to a program: layers and work, stages, memory, kernels, what became of a
//! value, and a stage that is read back and interpreted.
//!
//! `cargo run --release --example inspect`

#![allow(clippy::print_stdout)]

use kilngrad::prelude::*;
use ndarray::{Array1, Array2};

fn declare() -> Result<Program> {
    let b = Builder::new("digits");
    let n = b.dim("n");
    let net = b.scope("net");
    let (hidden, head) = (Dense::new(&net, "hidden", 64, 32), Dense::new(&net, "head", 32, 10));
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
    let h = hidden.forward(x).relu().named("h");
    let loss = head.forward(h).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new().specialise("n", &[32]))?;
    println!("{}\n", exe.summary());

    for stage in exe.stages("train")? {
        let (name, nodes, peak) = (stage.name, stage.nodes, stage.peak_bytes);
        println!("{name:<14}{nodes:>5} nodes {peak:>9} B at the peak {:>10.1?}", stage.time);
    }

    let plan = exe.plan("train")?;
    println!("\narena {} B, bound {} B; at the peak:", plan.peak_bytes, plan.lower_bound_bytes);
    for value in plan.at_peak.iter().take(4) {
        println!("  {:<16}{:>9} B  {}", value.name, value.bytes, value.origin);
    }

    println!();
    for kernel in exe.kernels("train")?.iter().take(3) {
        println!("{kernel}");
    }
    println!("\n{}\n\n{}", exe.why("train", "loss")?, exe.why("train", "h")?);

    // A stage is a program: parse it, interpret it, compare.
    let text = exe.stage("train", "fuse")?.text;
    let mut fused = Program::parse(&text, &Default::default())?.interpret(&Options::new())?;
    fused.copy_state(&exe)?; // a text holds no weights
    let x = Array2::from_shape_fn((32, 64), |(i, j)| ((i * 64 + j) as f32).sin());
    let y = Array1::from_iter((0..32).map(|i| i % 10i64));
    let outputs = exe.call("train").feed("x", &x).feed("y", &y).fetch("h").run()?;
    let (native, h) = (outputs.scalar::<f32>("loss")?, outputs.view::<f32>("h")?.sum());
    let slow = fused.call("train").feed("x", &x).feed("y", &y).run()?.number("loss")?;
    println!("\nnative {native}, fused and interpreted {slow}; h sums to {h}");
    assert!((f64::from(native) - slow).abs() < 1e-5);
    Ok(())
}
