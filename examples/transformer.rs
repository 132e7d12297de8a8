//! A transformer, after Vaswani and others, "Attention Is All You Need" (2017), that reads
//! handwritten digits row by row.
//!
//! `cargo run --release --example transformer` prints the test accuracy after each epoch, and that of
//! images whose last rows are cut off: it takes any number of rows.

#![allow(clippy::print_stdout)]

use kilngrad::{data, prelude::*};
use ndarray::{Array2, Axis};

const WIDTH: usize = 64;
const HEADS: usize = 4;

struct Block {
    norm: [LayerNorm; 2],
    qkv: Dense,
    mix: Dense,
    wide: Dense,
    narrow: Dense,
}

impl Block {
    fn new(s: &Scope) -> Block {
        let dense = |name, inputs, outputs| Dense::new(s, name, inputs, outputs);
        Block {
            norm: ["norm0", "norm1"].map(|name| LayerNorm::new(s, name, (WIDTH,), 1e-5)),
            qkv: dense("qkv", WIDTH, 3 * WIDTH),
            mix: dense("mix", WIDTH, WIDTH),
            wide: dense("wide", WIDTH, 4 * WIDTH),
            narrow: dense("narrow", 4 * WIDTH, WIDTH),
        }
    }

    /// x + attention(norm(x)), then x + dense(norm(x)).
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let (n, t) = (x.length(0), x.length(1));
        let qkv = self.qkv.forward(self.norm[0].forward(x));
        let qkv = qkv.reshape((n, t, 3, HEADS, WIDTH / HEADS)).transpose([2, 0, 3, 1, 4]);
        let mixed = qkv.index(0, 0).attention(qkv.index(0, 1), qkv.index(0, 2));
        let x = x + self.mix.forward(mixed.swap_axes(1, 2).reshape((n, t, WIDTH)));
        x + self.narrow.forward(self.wide.forward(self.norm[1].forward(x)).gelu())
    }
}

fn declare() -> Result<Program> {
    let b = Builder::new("transformer");
    let (n, t) = (b.dim("n"), b.dim("t")); // any number of images, of any number of rows
    let net = b.scope("net");
    let embed = Dense::new(&net, "embed", 8, WIDTH);
    let blocks = ["block0", "block1"].map(|name| Block::new(&net.scope(name)));
    let head = Dense::new(&net, "head", WIDTH, 10);
    for (name, mode) in [("train", Mode::Train), ("evaluate", Mode::Eval)] {
        let e = b.entry(name, mode);
        let (x, y) = (e.input("x", F32, (n, t, 8)), e.input("y", I64, (n,)));
        let place = e.arange(F32, t).unsqueeze(-1);
        let angle = place * (e.arange(F32, WIDTH / 2) * (-9.2 / (WIDTH / 2) as f64)).exp();
        let x = embed.forward(x) + e.cat([angle.sin(), angle.cos()], -1);
        let logits = head.forward(blocks.iter().fold(x, |x, block| block.forward(x)).mean(1));
        if mode == Mode::Train {
            e.minimize(logits.cross_entropy(y), b.params("net"), Adam::new(1e-3));
        }
        e.output("accuracy", logits.accuracy(y));
    }
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new().seed(1))?;
    let (train, test) = data::digits()?.split_every(5);
    let rows = |x: &Array2<f32>| x.to_shape((x.nrows(), 8, 8)).expect("64 pixels").to_owned();
    for epoch in 0..10 {
        for batch in train.batches(32, epoch) {
            exe.call("train").feed("x", &rows(&batch.x)).feed("y", &batch.y).run()?;
        }
        let mut accuracy = |height: usize| -> Result<f32> {
            let x = rows(&test.x).slice_axis(Axis(1), (0..height).into()).to_owned();
            let call = exe.call("evaluate").feed("x", &x).feed("y", &test.y);
            Ok(100.0 * call.run()?.scalar::<f32>("accuracy")?)
        };
        let (whole, cut) = (accuracy(8)?, accuracy(7)?);
        println!("epoch {:>2}  test accuracy {whole:.1}%, of seven rows {cut:.1}%", epoch + 1);
    }
    Ok(())
}
