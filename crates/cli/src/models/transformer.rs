//! Transformers, after Vaswani and others, "Attention Is All You Need" (2017): a classifier of digits
//! whose rows are tokens, or with a text the [model of its characters](super::characters).

use std::f64::consts::LN_10;
use std::path::PathBuf;

use kilngrad::prelude::*;

use crate::models::sequences::{ROW, sequences};
use crate::models::{Column, Common, Declare, Model, characters};
use crate::workloads::transformer::Block;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Model the characters of this text, or of the project's own documentation, and write some.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "data")]
    #[allow(clippy::option_option)]
    text: Option<Option<PathBuf>>,
}

/// What comes after tokens are vectors.
pub(super) struct Body {
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Body {
    pub(super) fn new(scope: &Scope, blocks: usize, width: usize, heads: usize) -> Body {
        let block = |index| Block::new(&scope.scope(&format!("block{index}")), width, heads);
        Body {
            blocks: (0..blocks).map(block).collect(),
            norm: LayerNorm::new(scope, "norm", (width,), 1e-5),
        }
    }

    /// Vectors `[batch, token, width]` of as many tokens as there are.
    pub(super) fn forward<'b>(&self, x: Tensor<'b>, attention: Attention<'b>) -> Tensor<'b> {
        let placed = x + places(x);
        self.norm.forward(self.blocks.iter().fold(placed, |x, block| block.forward(x, attention)))
    }
}

/// Sines and cosines of each token's place, of wavelengths from 2π to 20,000π: section 3.5 of the
/// paper. They know no longest sequence.
fn places<'b>(x: Tensor<'b>) -> Tensor<'b> {
    let width = x.ty().and_then(|ty| ty.shape.dims()[2].as_constant()).unwrap_or(0);
    let half = width as usize / 2;
    let e = x.entry();
    let place = e.arange(F32, x.length(1)).unsqueeze(-1);
    let frequency = (e.arange(F32, half) * (-4.0 * LN_10 / half as f64)).exp();
    let angle = place * frequency;
    e.cat([angle.sin(), angle.cos()], -1)
}

/// Numbers that become of a token.
const WIDTH: usize = 64;

struct Classifier {
    embed: Dense,
    body: Body,
    head: Dense,
}

impl Classifier {
    fn new(scope: &Scope) -> Classifier {
        Classifier {
            embed: Dense::new(scope, "embed", ROW, WIDTH),
            body: Body::new(scope, 2, WIDTH, 4),
            head: Dense::new(scope, "head", WIDTH, 10),
        }
    }

    /// Logits of sequences `[batch, token, 8]`: of the mean of what became of the tokens.
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.head.forward(self.body.forward(self.embed.forward(x), Attention::new()).mean(1))
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        if let Some(text) = &self.text {
            return characters::declare(text.as_deref(), common);
        }
        let b = common.builder("transformer");
        let (n, t) = (b.dim("n"), b.dim("t"));
        let net = Classifier::new(&b.scope("net"));

        let train = b.entry("train", Mode::Train);
        let (x, y) = (train.input("x", F32, (n, t, ROW)), train.input("y", I64, (n,)));
        let loss = net.forward(x).cross_entropy(y);
        train.minimize(loss, b.params("net"), Adam::new(1e-3));
        train.output("loss", loss);

        let evaluate = b.entry("evaluate", Mode::Eval);
        let (x, y) = (evaluate.input("x", F32, (n, t, ROW)), evaluate.input("y", I64, (n,)));
        let logits = net.forward(x);
        evaluate.output("loss", logits.cross_entropy(y));
        evaluate.output("accuracy", logits.accuracy(y));

        let predict = b.entry("predict", Mode::Eval);
        let x = predict.input("x", F32, (n, t, ROW));
        predict.output("probs", net.forward(x).softmax(-1));
        let description =
            format!("digits as 8 tokens of a row, 2 blocks of {WIDTH}, 4 heads, mean, 10, Adam");
        let rows = sequences(&common.digits()?)?;
        let model = Model::new(b.finish()?, description, &rows, Column::ACCURACY);
        Ok(Model { epochs: 30, lengths: vec![("t", 8)], ..model })
    }
}
