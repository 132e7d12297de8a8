//! A dense network on handwritten digits: declare, train, save, load, predict.
//!
//! `cargo run --release --example mlp`

#![allow(clippy::print_stdout)]

use kilngrad::{data, prelude::*};

/// Plain ids: the model borrows nothing and can be kept anywhere.
struct Mlp {
    hidden: Dense,
    head: Dense,
}

impl Mlp {
    fn new(scope: &Scope) -> Mlp {
        Mlp { hidden: Dense::new(scope, "hidden", 64, 64), head: Dense::new(scope, "head", 64, 10) }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.head.forward(self.hidden.forward(x).relu().dropout("drop", 0.1))
    }
}

fn declare() -> Result<Program> {
    let b = Builder::new("digits");
    let n = b.dim("n"); // bound by what is fed
    let net = Mlp::new(&b.scope("net"));

    let train = b.entry("train", Mode::Train); // dropout on
    let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
    let loss = net.forward(x).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);

    let predict = b.entry("predict", Mode::Eval); // the same parameters, another graph
    let x = predict.input("x", F32, (n, 64));
    predict.output("probs", net.forward(x).softmax(-1));
    Ok(b.finish()?) // every mistake at once
}

fn main() -> Result<()> {
    let (train, test) = data::digits()?.split_every(5);
    let mut exe = declare()?.compile(&Options::new().seed(7).threads(2))?;
    for epoch in 0..20 {
        let mut loss = 0.0f32;
        for batch in train.batches(32, epoch) {
            let call = exe.call("train").feed("x", &batch.x).feed("y", &batch.y);
            loss = call.run()?.scalar("loss")?;
        }
        println!("epoch {epoch:>2}  loss {loss:.4}");
    }

    let path = std::env::temp_dir().join("digits.safetensors");
    exe.save(&path)?;
    let mut again = declare()?.compile(&Options::new())?;
    again.load(&path, &Load::strict())?;
    let outputs = again.call("predict").feed("x", &test.x).run()?;
    let probs = outputs.view::<f32>("probs")?;
    let right = probs.outer_iter().zip(&test.y).filter(|(row, digit)| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.is_some_and(|(class, _)| class as i64 == **digit)
    });
    println!("test accuracy {:.1}%", 100.0 * right.count() as f64 / test.len() as f64);
    Ok(())
}
