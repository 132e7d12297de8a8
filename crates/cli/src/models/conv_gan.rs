//! A generative adversarial network of convolutions, after Radford, Metz and Chintala, "Unsupervised
//! Representation Learning with Deep Convolutional Generative Adversarial Networks" (2016).

use std::path::PathBuf;

use kilngrad::prelude::*;

use crate::models::gan::{Game, Network, model};
use crate::models::{Common, Declare, Model, pictures};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Numbers that an image is made of.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = pictures::code())]
    code: usize,
    /// The picture of samples, drawn anew as training goes.
    #[arg(long, value_name = "FILE.png", default_value = "conv-gan.png")]
    samples: PathBuf,
}

/// Channels of the maps of 4×4; those of 2×2 are twice as many.
const CHANNELS: usize = 16;

/// A code, 2×2 maps, 4×4 maps, the image.
struct Generator {
    first: Dense,
    norms: [BatchNorm; 2],
    convs: [ConvTranspose2d; 2],
}

impl Generator {
    fn new(scope: &Scope, code: usize) -> Generator {
        let norm = |name, channels| BatchNorm::new(scope, name, channels, 1e-5);
        let conv = |name, inputs, outputs| {
            let doubling = ConvTranspose::new().stride(2).padding(1);
            ConvTranspose2d::new(scope, name, inputs, outputs, 4, doubling)
        };
        Generator {
            first: Dense::new(scope, "first", code, 2 * CHANNELS * 2 * 2),
            norms: [norm("norm0", 2 * CHANNELS), norm("norm1", CHANNELS)],
            convs: [conv("conv0", 2 * CHANNELS, CHANNELS), conv("conv1", CHANNELS, 1)],
        }
    }
}

impl Network for Generator {
    fn forward<'b>(&self, z: Tensor<'b>) -> Tensor<'b> {
        let maps = self.first.forward(z).reshape((z.length(0), 2 * CHANNELS, 2, 2));
        let maps = self.convs[0].forward(self.norms[0].forward(maps).relu());
        self.convs[1].forward(self.norms[1].forward(maps).relu()).flatten(1, -1)
    }
}

/// An image, 4×4 maps, 2×2 maps, a logit.
struct Discriminator {
    convs: [Conv2d; 2],
    head: Dense,
}

impl Discriminator {
    fn new(scope: &Scope) -> Discriminator {
        let conv = |name, inputs, outputs| {
            Conv2d::new(scope, name, inputs, outputs, 4, Conv::new().stride(2).padding(1))
        };
        Discriminator {
            convs: [conv("conv0", 1, CHANNELS), conv("conv1", CHANNELS, 2 * CHANNELS)],
            head: Dense::new(scope, "head", 2 * CHANNELS * 2 * 2, 1),
        }
    }
}

impl Network for Discriminator {
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let image = x.reshape((x.length(0), 1, 8, 8));
        let maps = self.convs.iter().fold(image, |x, conv| conv.forward(x).leaky_relu(0.2));
        self.head.forward(maps.flatten(1, -1))
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let b = common.builder("convolutional gan");
        let game = Game {
            generator: Generator::new(&b.scope("g"), self.code),
            discriminator: Discriminator::new(&b.scope("d")),
            code: self.code,
            rate: 5e-4,
        };
        let description = format!(
            "generator {}, {wide}×2×2, {CHANNELS}×4×4, 8×8, batch norm, against discriminator 8×8, \
             {CHANNELS}×4×4, {wide}×2×2, 1, Adam",
            self.code,
            wide = 2 * CHANNELS
        );
        let model = model(game.declare(b)?, description, common, (&self.samples, self.code))?;
        Ok(Model { epochs: 400, ..model })
    }
}
