//! Linear regression: `y = x·w + b` with the least mean square of errors, by gradient descent.
//!
//! `cargo run --release --example linear_regression` prints the weights of ten measurements of a
//! patient, and how much of the disease's progression they explain.

#![allow(clippy::print_stdout)]

use kilngrad::{data, prelude::*};
use ndarray::{Axis, Zip};

const NAMES: [&str; 10] =
    ["age", "sex", "body mass index", "blood pressure", "s1", "s2", "s3", "s4", "s5", "s6"];

fn declare() -> Result<Program> {
    let b = Builder::new("linear regression");
    let n = b.dim("n");
    let (w, b0) = (b.param("w", (10,), Init::Zeros), b.param("b", (), Init::Zeros));
    for (name, mode) in [("train", Mode::Train), ("evaluate", Mode::Eval)] {
        let e = b.entry(name, mode);
        let (x, t) = (e.input("x", F32, (n, 10)), e.input("y", F32, (n,)));
        let y = x.matmul(w) + b0;
        if mode == Mode::Train {
            let loss = (y - t).square().mean(..);
            e.minimize(loss, vec![w, b0], Sgd::new(0.1).momentum(0.9));
        }
        e.output("r2", y.r2_score(t));
    }
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut rows = data::diabetes()?;
    let (mean, deviation) = (rows.x.mean_axis(Axis(0)), rows.x.std_axis(Axis(0), 0.0));
    for mut row in rows.x.rows_mut() {
        let scale = Zip::from(&mut row).and(mean.as_ref().expect("there are rows"));
        scale.and(&deviation).for_each(|x, mean, deviation| *x = (*x - mean) / deviation);
    }
    let (train, test) = rows.split_every(5);

    let mut exe = declare()?.compile(&Options::new())?;
    for _step in 0..300 {
        exe.call("train").feed("x", &train.x).feed("y", &train.y).run()?;
    }
    let w = exe.state::<f32>("w")?;
    for (name, w) in NAMES.iter().zip(&w) {
        println!("{name:<16} {w:>8.2}");
    }
    let outputs = exe.call("evaluate").feed("x", &test.x).feed("y", &test.y).run()?;
    println!("R² on rows not seen: {:.3}", outputs.scalar::<f32>("r2")?);
    Ok(())
}
