//! A recurrent network written out: eight rows of a handwritten digit are eight steps.
//!
//! `cargo run --release --example rnn`; `Rnn`, `Gru` and `Lstm` are there ready made.

#![allow(clippy::print_stdout)]

use kilngrad::{data, prelude::*};

struct Recurrent {
    wx: Param,
    wh: Param,
    bias: Param,
    head: Dense,
}

impl Recurrent {
    fn new(s: &Scope, inputs: usize, hidden: usize) -> Recurrent {
        Recurrent {
            wx: s.param("wx", (inputs, hidden), Init::Xavier),
            wh: s.param("wh", (hidden, hidden), Init::Xavier),
            bias: s.param("bias", (hidden,), Init::Zeros),
            head: Dense::new(s, "head", hidden, 10),
        }
    }

    fn forward<'b>(&self, xs: Tensor<'b>, h0: Tensor<'b>) -> Tensor<'b> {
        // The body is written once for every step, and may use whatever is around it.
        let (last, _all) = xs.scan(h0, |h, x| {
            let h = (x.matmul(self.wx) + h.matmul(self.wh) + self.bias).tanh();
            (h, h)
        });
        self.head.forward(last)
    }
}

fn main() -> Result<()> {
    let b = Builder::new("rows");
    let n = b.dim("n");
    let rnn = Recurrent::new(&b.scope("rnn"), 8, 50);
    let entry = |name: &str, mode| {
        let e = b.entry(name, mode);
        let x = e.input("x", F32, (n, 64));
        let rows = x.reshape((n, 8, 8)).transpose([1, 0, 2]); // [time, n, 8]
        (e, rnn.forward(rows, e.zeros(F32, (n, 50))))
    };
    let (train, logits) = entry("train", Mode::Train);
    let loss = logits.cross_entropy(train.input("y", I64, (n,)));
    train.minimize(loss, b.params("rnn"), Adam::new(3e-3));
    train.output("loss", loss);
    let (predict, logits) = entry("predict", Mode::Eval);
    predict.output("class", logits.argmax(-1));

    let (digits, test) = data::digits()?.split_every(5);
    let mut exe = b.finish()?.compile(&Options::new().seed(1))?;
    for epoch in 0..10 {
        let mut loss = 0.0f32;
        for batch in digits.batches(32, epoch) {
            let call = exe.call("train").feed("x", &batch.x).feed("y", &batch.y);
            loss = call.run()?.scalar("loss")?;
        }
        println!("epoch {epoch:>2}  loss {loss:.4}");
    }
    let outputs = exe.call("predict").feed("x", &test.x).run()?;
    let classes = outputs.view::<i64>("class")?;
    let right = classes.iter().zip(&test.y).filter(|(class, digit)| class == digit).count();
    println!("test accuracy {:.1}%", 100.0 * right as f64 / test.len() as f64);
    Ok(())
}
