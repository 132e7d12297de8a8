//! A variational autoencoder, after Kingma and Welling (2014): codes that are drawn from a normal
//! distribution decode to digits.
//!
//! `cargo run --release --example vae` prints the bound that is trained and writes `samples.png`.

#![allow(clippy::print_stdout)]

use kilngrad::{data, plot, prelude::*};

const CODE: usize = 8;

struct Vae {
    encoder: Dense,
    mean: Dense,
    log_var: Dense,
    decoder: [Dense; 2],
}

impl Vae {
    fn new(s: &Scope) -> Vae {
        let dense = |name, inputs, outputs| Dense::new(s, name, inputs, outputs);
        Vae {
            encoder: dense("encoder", 64, 256),
            mean: dense("mean", 256, CODE),
            log_var: dense("log_var", 256, CODE),
            decoder: [dense("d0", CODE, 256), dense("d1", 256, 64)],
        }
    }

    /// log p(x|z), pixel by pixel, is linear in these.
    fn decode<'b>(&self, z: Tensor<'b>) -> Tensor<'b> {
        self.decoder[1].forward(self.decoder[0].forward(z).relu())
    }

    /// −ELBO = −E[log p(x|z)] + KL(q(z|x) ‖ p(z)), with z = μ + σ·ε.
    fn loss<'b>(&self, x: Tensor<'b>, epsilon: Tensor<'b>) -> Tensor<'b> {
        let hidden = self.encoder.forward(x).relu();
        let (mean, log_var) = (self.mean.forward(hidden), self.log_var.forward(hidden));
        let z = mean + (log_var * 0.5).exp() * epsilon;
        let cross_entropy = self.decode(z).bce_with_logits_with(x, Reduction::None).sum(-1);
        let divergence = (mean.square() + log_var.exp() - log_var - 1.0).sum(-1) * 0.5;
        (cross_entropy + divergence).mean(..)
    }
}

fn declare() -> Result<Program> {
    let b = Builder::new("vae");
    let n = b.dim("n");
    let vae = Vae::new(&b.scope("vae"));
    let e = b.entry("train", Mode::Train);
    let loss = vae.loss(e.input("x", F32, (n, 64)), e.normal("epsilon", (n, CODE)));
    e.minimize(loss, b.params("vae"), Adam::new(2e-3));
    e.output("loss", loss);
    let e = b.entry("sample", Mode::Eval);
    e.output("images", vae.decode(e.normal("z", (n, CODE))).sigmoid());
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new().seed(1))?;
    let digits = data::digits()?;
    for epoch in 0..100 {
        let mut loss = 0f32;
        for batch in digits.batches(32, epoch) {
            loss = exe.call("train").feed("x", &batch.x).run()?.scalar("loss")?;
        }
        if epoch % 10 == 9 {
            println!("epoch {:>3}  −ELBO {loss:.2} nats an image", epoch + 1);
        }
    }
    let samples = exe.call("sample").bind("n", 64).run()?;
    plot::image_grid("samples.png", samples.view::<f32>("images")?, (8, 8))?;
    println!("samples.png has 64 digits that nobody wrote");
    Ok(())
}
