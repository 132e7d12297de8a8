//! Where a NaN comes from, and a look at the values on its way.
//!
//! `cargo run --release --example debug`

#![allow(clippy::print_stdout)]

use kilngrad::prelude::*;
use ndarray::Array2;

/// Distances between points and learned centres; their root has no derivative at 0.
fn declare() -> Result<Program> {
    let b = Builder::new("centres");
    let n = b.dim("n");
    let centre = b.scope("model").param("centre", (2,), Init::Zeros);
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (n, 2));
    let squares = (x - centre).square().sum(1).named("squares");
    let loss = squares.sqrt().mean(..);
    train.minimize(loss, b.params("model"), Sgd::new(0.1));
    train.output("loss", loss);
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new().check_nan(true))?;
    let fine = Array2::from_shape_fn((4, 2), |(i, j)| (i + j) as f32 + 0.5);
    let outputs = exe.call("train").feed("x", &fine).fetch("squares").run()?;
    println!("loss {}", outputs.scalar::<f32>("loss")?);
    println!("squares {}", outputs.view::<f32>("squares")?);

    // One point on the centre: the loss is finite, its derivative is not.
    let centre = exe.state::<f32>("model.centre")?.to_owned();
    let mut bad = fine.clone();
    bad.row_mut(2).assign(&centre);
    match exe.call("train").feed("x", &bad).run() {
        Ok(_) => println!("the call went through"),
        Err(error) => println!("\n{error}"),
    }
    assert_eq!(exe.state::<f32>("model.centre")?, centre);
    println!("\nthe centre is still {centre}");
    Ok(())
}
