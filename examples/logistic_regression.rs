//! Logistic regression: `p = 1/(1 + e^−(x·w + b))` with the least cross-entropy, alone and with a
//! penalty on the weights.
//!
//! `cargo run --release --example logistic_regression` tells benign tumours from malignant ones, and
//! shows what each penalty does to the weights.

#![allow(clippy::print_stdout)]

use kilngrad::{data, prelude::*};
use ndarray::Axis;

#[derive(Debug, Clone, Copy)]
enum Penalty {
    None,
    L1,
    L2,
}

fn declare(penalty: Penalty) -> Result<Program> {
    let b = Builder::new("logistic regression");
    let n = b.dim("n");
    let (w, b0) = (b.param("w", (30,), Init::Zeros), b.param("b", (), Init::Zeros));

    let train = b.entry("train", Mode::Train);
    let (x, t) = (train.input("x", F32, (n, 30)), train.input("y", F32, (n,)));
    let p = (x.matmul(w) + b0).sigmoid();
    // The naive formula: the compiler makes it stable.
    let loss = -(t * p.log() + (1.0 - t) * (1.0 - p).log()).mean(..);
    let loss = match penalty {
        Penalty::None => loss,
        Penalty::L1 => loss + train.l1_penalty(w) * 0.02,
        Penalty::L2 => loss + train.l2_penalty(w) * 0.02,
    };
    train.minimize(loss, vec![w, b0], Sgd::new(0.05).momentum(0.9));

    let evaluate = b.entry("evaluate", Mode::Eval);
    let (x, t) = (evaluate.input("x", F32, (n, 30)), evaluate.input("y", F32, (n,)));
    let benign = (x.matmul(w) + b0).gt(0.0);
    evaluate.output("accuracy", benign.eq(t.gt(0.5)).cast(F32).mean(..));
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut rows = data::breast_cancer()?;
    for mut column in rows.x.axis_iter_mut(Axis(1)) {
        let (mean, deviation) = (column.mean().unwrap_or(0.0), column.std(0.0));
        column.mapv_inplace(|x| (x - mean) / deviation);
    }
    let (train, test) = rows.split_every(5);
    for penalty in [Penalty::None, Penalty::L1, Penalty::L2] {
        let mut exe = declare(penalty)?.compile(&Options::new())?;
        for _step in 0..500 {
            exe.call("train").feed("x", &train.x).feed("y", &train.y).run()?;
        }
        let w = exe.state::<f32>("w")?;
        let small = w.iter().filter(|w| w.abs() < 0.02).count();
        let size = w.iter().map(|w| w * w).sum::<f32>().sqrt();
        let outputs = exe.call("evaluate").feed("x", &test.x).feed("y", &test.y).run()?;
        let accuracy = 100.0 * outputs.scalar::<f32>("accuracy")?;
        println!(
            "{penalty:?}: accuracy {accuracy:.1}%, |w| {size:.2}, {small} of 30 weights near 0"
        );
    }
    Ok(())
}
