//! A generative adversarial network on the handwritten digits, after Goodfellow et al. (2014): two
//! networks in one program, trained against each other by entries of their own.
//!
//! `cargo run --release --example gan` prints both losses and writes `samples.png`.

use kilngrad::{data, plot, prelude::*};
use ndarray::Array2;

/// What the generator makes an image of: so many normal numbers.
const CODE: usize = 32;

struct Net {
    fc: Dense,
    out: Dense,
}

impl Net {
    fn new(s: &Scope, inputs: usize, outputs: usize) -> Self {
        Net { fc: Dense::new(s, "fc", inputs, 128), out: Dense::new(s, "out", 128, outputs) }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.out.forward(self.fc.forward(x).leaky_relu(0.2))
    }
}

fn declare() -> Result<Program> {
    let b = Builder::new("gan");
    let n = b.dim("n");
    let (g, d) = (Net::new(&b.scope("g"), CODE, 64), Net::new(&b.scope("d"), 64, 1));
    let adam = || Adam::new(1e-3).betas(0.5, 0.999);

    let e = b.entry("step_d", Mode::Train);
    let fake = g.forward(e.normal("z", (n, CODE))).sigmoid().stop_gradient();
    let real = d.forward(e.input("real", F32, (n, 64)));
    let loss = real.bce_with_logits(1.0) + d.forward(fake).bce_with_logits(0.0);
    e.minimize(loss, b.params("d"), adam());
    e.output("loss", loss);

    let e = b.entry("step_g", Mode::Train);
    let fake = g.forward(e.normal("z", (n, CODE))).sigmoid();
    let loss = d.forward(fake).bce_with_logits(1.0);
    e.minimize(loss, b.params("g"), adam()); // d is used, not updated
    e.output("loss", loss);

    let e = b.entry("sample", Mode::Eval);
    e.output("images", g.forward(e.input("z", F32, (n, CODE))).sigmoid());
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new().seed(3))?;
    let digits = data::digits()?;
    for epoch in 0..150 {
        let (mut loss_d, mut loss_g) = (0f32, 0f32);
        for batch in digits.batches(64, epoch) {
            loss_d = exe.call("step_d").feed("real", &batch.x).run()?.scalar("loss")?;
            loss_g = exe.call("step_g").bind("n", 64).run()?.scalar("loss")?;
        }
        if epoch % 10 == 9 {
            println!("epoch {:>3}  discriminator {loss_d:.3}  generator {loss_g:.3}", epoch + 1);
        }
    }
    // Any numbers will do; these are spread like normal ones, and the same in every run.
    let z = Array2::from_shape_fn((64, CODE), |(i, j)| {
        let angles = [(i * 31 + j * 17 + 1) as f32, (i * 7 + j * 3 + 2) as f32 * 1.7];
        1.4 * (angles[0].sin() + angles[1].cos()) / 1.4
    });
    let samples = exe.call("sample").feed("z", &z).run()?;
    plot::image_grid("samples.png", samples.view::<f32>("images")?, (8, 8))?;
    println!("samples.png has 64 of the generator's digits");
    Ok(())
}
