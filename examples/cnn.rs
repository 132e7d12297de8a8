//! A convolutional network on handwritten digits: convolution, pool, twice, then dense.
//!
//! `cargo run --release --example cnn` prints the test accuracy after each epoch.

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;

use kilngrad::data::{self, Table};
use kilngrad::prelude::*;
use kilngrad::trainer::Trainer;

struct Cnn {
    conv: [Conv2d; 2],
    norm: [BatchNorm; 2],
    head: Dense,
}

impl Cnn {
    fn new(s: &Scope) -> Cnn {
        let same = Conv::new().padding(1);
        Cnn {
            conv: [Conv2d::new(s, "c0", 1, 16, 3, same), Conv2d::new(s, "c1", 16, 32, 3, same)],
            norm: [BatchNorm::new(s, "n0", 16, 1e-5), BatchNorm::new(s, "n1", 32, 1e-5)],
            head: Dense::new(s, "head", 32 * 2 * 2, 10),
        }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let mut maps = x.reshape((x.length(0), 1, 8, 8));
        for (conv, norm) in self.conv.iter().zip(&self.norm) {
            maps = norm.forward(conv.forward(maps)).relu().max_pool2d(2, Pool::new());
        }
        self.head.forward(maps.flatten(1, -1))
    }
}

fn declare() -> Result<Program> {
    let b = Builder::new("cnn");
    let n = b.dim("n");
    let net = Cnn::new(&b.scope("net"));

    let train = b.entry("train", Mode::Train); // the batch's statistics
    let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
    let loss = net.forward(x).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(2e-3));
    train.output("loss", loss);

    let evaluate = b.entry("evaluate", Mode::Eval); // the running ones
    let (x, y) = (evaluate.input("x", F32, (n, 64)), evaluate.input("y", I64, (n,)));
    evaluate.output("accuracy", net.forward(x).accuracy(y));
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let (train, test) = Table::from(data::digits()?).split_every(5);
    let mut exe = declare()?.compile(&Options::new().seed(1))?;
    let trainer = Trainer::new(&mut exe, "train").epochs(10).batch(32).validate("evaluate", &test);
    let history = trainer.on_epoch(|epoch| {
        let accuracy = 100.0 * epoch.validation("accuracy").unwrap_or(0.0);
        println!("epoch {:>2}  test accuracy {accuracy:.1}%", epoch.number);
        ControlFlow::Continue(())
    });
    history.run(&train).map(drop)
}
