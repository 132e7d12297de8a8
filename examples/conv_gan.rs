//! A generative adversarial network of convolutions, after Radford, Metz and Chintala (2016).
//!
//! `cargo run --release --example conv_gan` prints both losses and writes `samples.png`, again and
//! again.

#![allow(clippy::print_stdout)]

use kilngrad::{data, plot, prelude::*};

/// What the generator makes an image of: so many normal numbers.
const CODE: usize = 32;

struct Generator(Dense, [BatchNorm; 2], [ConvTranspose2d; 2]);

impl Generator {
    fn new(s: &Scope) -> Generator {
        let double = ConvTranspose::new().stride(2).padding(1);
        let conv = |name, i, o| ConvTranspose2d::new(s, name, i, o, 4, double);
        let norm = |name, channels| BatchNorm::new(s, name, channels, 1e-5);
        let first = Dense::new(s, "first", CODE, 64 * 2 * 2);
        Generator(first, [norm("n0", 64), norm("n1", 32)], [conv("c0", 64, 32), conv("c1", 32, 1)])
    }

    fn forward<'b>(&self, z: Tensor<'b>) -> Tensor<'b> {
        let Generator(first, norm, conv) = self;
        let maps = first.forward(z).reshape((z.length(0), 64, 2, 2));
        let maps = conv[0].forward(norm[0].forward(maps).relu());
        conv[1].forward(norm[1].forward(maps).relu()).sigmoid()
    }
}

struct Discriminator([Conv2d; 2], Dense);

impl Discriminator {
    fn new(s: &Scope) -> Discriminator {
        let conv = |name, i, o| Conv2d::new(s, name, i, o, 4, Conv::new().stride(2).padding(1));
        Discriminator([conv("c0", 1, 32), conv("c1", 32, 64)], Dense::new(s, "head", 64 * 2 * 2, 1))
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let maps = self.0.iter().fold(x, |maps, conv| conv.forward(maps).leaky_relu(0.2));
        self.1.forward(maps.flatten(1, -1))
    }
}

fn declare() -> Result<Program> {
    let b = Builder::new("convolutional gan");
    let n = b.dim("n");
    let (g, d) = (Generator::new(&b.scope("g")), Discriminator::new(&b.scope("d")));
    let adam = || Adam::new(5e-4).betas(0.5, 0.999);

    let e = b.entry("train", Mode::Train); // both steps are one call
    let real = d.forward(e.input("x", F32, (n, 64)).reshape((n, 1, 8, 8)));
    let image = g.forward(e.normal("z", (n, CODE)));
    let fake = d.forward(image.stop_gradient());
    let loss = real.bce_with_logits(0.9) + fake.bce_with_logits(0.0);
    e.minimize(loss, b.params("d"), adam());
    e.output("discriminator", loss);
    let loss = d.forward(image).bce_with_logits(1.0); // d as it is after its step
    e.minimize(loss, b.params("g"), adam());
    e.output("generator", loss);

    let e = b.entry("sample", Mode::Eval);
    e.output("images", g.forward(e.normal("z", (n, CODE))));
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let mut exe = declare()?.compile(&Options::new().seed(3))?;
    let digits = data::digits()?;
    for epoch in 0..80 {
        let mut losses = [0f32; 2];
        for batch in digits.batches(64, epoch) {
            let outputs = exe.call("train").feed("x", &batch.x).run()?;
            losses = [outputs.scalar("discriminator")?, outputs.scalar("generator")?];
        }
        if epoch % 10 == 9 {
            println!("epoch {:>2}  losses {:.3} and {:.3}", epoch + 1, losses[0], losses[1]);
            let samples = exe.call("sample").bind("n", 64).run()?;
            plot::image_grid("samples.png", samples.view::<f32>("images")?, (8, 8))?;
        }
    }
    println!("samples.png has 64 of the generator's digits");
    Ok(())
}
