//! What the compiler did to a program: stages, memory, and a gradient as a graph.
//!
//! `cargo run --release --example inspect`

#![allow(clippy::print_stdout)]

use kilngrad::prelude::*;
use ndarray::{Array1, Array2};

fn declare() -> Result<Program> {
    let b = Builder::new("regression");
    let n = b.dim("n");
    let model = Dense::new(&b.scope("model"), "linear", 4, 1);
    let train = b.entry("train", Mode::Train);
    let (x, t) = (train.input("x", F32, (n, 4)), train.input("t", F32, (n, 1)));
    let loss = model.forward(x).mse_loss(t);
    train.minimize(loss, b.params("model"), Sgd::new(0.1));
    train.output("loss", loss);
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let program = declare()?;
    println!("{program}");

    let mut exe = program.clone().compile(&Options::new().keep_stages(true))?;
    let (x, t) = (Array2::<f32>::ones((8, 4)), Array1::<f32>::zeros(8));
    let t = t.to_shape((8, 1)).expect("eight rows of one number");
    let native: f32 = exe.call("train").feed("x", &x).feed("t", &t).run()?.scalar("loss")?;

    let report = exe.report("train").expect("the entry was just called");
    for stage in &report.stages {
        println!("{:<14}{:>4} nodes {:>10.1?}", stage.name, stage.nodes, stage.time);
    }
    println!("arena {} B, at least {} B", report.arena_bytes, report.lower_bound_bytes);
    for stage in report.stages.iter().filter(|stage| stage.name == "fuse") {
        println!("{}", stage.text);
    }

    let mut slow = program.interpret(&Options::new())?;
    let loss = slow.call("train").feed("x", &x).feed("t", &t).run()?.number("loss")?;
    println!("native {native}, interpreted {loss}");
    Ok(())
}
