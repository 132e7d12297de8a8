//! A convolutional network for the handwritten digits: convolution and pool, twice, then dense.

use clap::ValueEnum;
use kilngrad::prelude::*;

use crate::models::{Column, Common, Declare, Model};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What stays of each square of four.
    #[arg(long, value_enum, default_value_t = Pooling::Max)]
    pool: Pooling,
    /// Normalise each channel over the batch after each convolution.
    #[arg(long)]
    batch_norm: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pooling {
    /// The greatest.
    Max,
    /// The mean.
    Average,
}

struct Cnn {
    convs: [Conv2d; 2],
    norms: Option<[BatchNorm; 2]>,
    pool: Pooling,
    hidden: Dense,
    head: Dense,
}

impl Cnn {
    fn new(scope: &Scope, pool: Pooling, batch_norm: bool) -> Cnn {
        let conv = |name, inputs, outputs| {
            Conv2d::new(scope, name, inputs, outputs, 3, Conv::new().padding(1))
        };
        let norm = |name, channels| BatchNorm::new(scope, name, channels, 1e-5);
        Cnn {
            convs: [conv("conv0", 1, 16), conv("conv1", 16, 32)],
            norms: batch_norm.then(|| [norm("norm0", 16), norm("norm1", 32)]),
            pool,
            hidden: Dense::new(scope, "hidden", 32 * 2 * 2, 64),
            head: Dense::new(scope, "head", 64, 10),
        }
    }

    /// Logits of images `[n, 64]`.
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let mut maps = x.reshape((x.length(0), 1, 8, 8));
        for (layer, conv) in self.convs.iter().enumerate() {
            maps = conv.forward(maps);
            if let Some(norms) = &self.norms {
                maps = norms[layer].forward(maps);
            }
            maps = match self.pool {
                Pooling::Max => maps.relu().max_pool2d(2, Pool::new()),
                Pooling::Average => maps.relu().avg_pool2d(2, Pool::new()),
            };
        }
        self.head.forward(self.hidden.forward(maps.flatten(1, -1)).relu())
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let b = common.builder("convolutional");
        let n = b.dim("n");
        let net = Cnn::new(&b.scope("net"), self.pool, self.batch_norm);

        let train = b.entry("train", Mode::Train);
        let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
        let loss = net.forward(x).cross_entropy(y);
        train.minimize(loss, b.params("net"), Adam::new(3e-3));
        train.output("loss", loss);

        let evaluate = b.entry("evaluate", Mode::Eval);
        let (x, y) = (evaluate.input("x", F32, (n, 64)), evaluate.input("y", I64, (n,)));
        let logits = net.forward(x);
        evaluate.output("loss", logits.cross_entropy(y));
        evaluate.output("accuracy", logits.accuracy(y));

        let predict = b.entry("predict", Mode::Eval);
        predict.output("probs", net.forward(predict.input("x", F32, (n, 64))).softmax(-1));
        let norm = if self.batch_norm { ", batch norm" } else { "" };
        let pool = match self.pool {
            Pooling::Max => "max",
            Pooling::Average => "average",
        };
        let description = format!(
            "conv 16 3×3{norm}, {pool} pool 2, conv 32 3×3{norm}, {pool} pool 2, 64-10, Adam"
        );
        let model = Model::new(b.finish()?, description, &common.digits()?, Column::ACCURACY);
        Ok(Model { epochs: 30, ..model })
    }
}
