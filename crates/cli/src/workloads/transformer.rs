//! A step of a causal transformer.

use kilngrad::prelude::*;

use super::{Workload, classes};

/// Attention, then two dense layers, each beside the sum that it is added to, and each normalised
/// before: Xiong and others, "On Layer Normalization in the Transformer Architecture" (2020).
pub(crate) struct Block {
    before_attention: LayerNorm,
    projections: Dense,
    mix: Dense,
    before_dense: LayerNorm,
    wide: Dense,
    narrow: Dense,
    heads: usize,
    width: usize,
}

impl Block {
    /// For tokens that are vectors of `width` numbers, a multiple of the heads.
    pub(crate) fn new(scope: &Scope, width: usize, heads: usize) -> Block {
        let norm = |name| LayerNorm::new(scope, name, (width,), 1e-5);
        let dense = |name, inputs, outputs| Dense::new(scope, name, inputs, outputs);
        Block {
            before_attention: norm("before_attention"),
            projections: dense("projections", width, 3 * width),
            mix: dense("mix", width, width),
            before_dense: norm("before_dense"),
            wide: dense("wide", width, 4 * width),
            narrow: dense("narrow", 4 * width, width),
            heads,
            width,
        }
    }

    /// The block applied to sequences of any length, `[batch, token, width]`.
    pub(crate) fn forward<'b>(&self, x: Tensor<'b>, attention: Attention<'b>) -> Tensor<'b> {
        let (batch, length, part) = (x.length(0), x.length(1), self.width / self.heads);
        let all = self.projections.forward(self.before_attention.forward(x));
        // Queries, keys and values, each of every head: [batch, head, token, part of the vector].
        let all = all.reshape((batch, length, 3, self.heads, part)).transpose([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|which| all.index(0, which));
        let mixed = q.attention_with(k, v, attention).swap_axes(1, 2);
        let x = x + self.mix.forward(mixed.reshape((batch, length, self.width)));
        x + self.narrow.forward(self.wide.forward(self.before_dense.forward(x)).gelu())
    }
}

pub(super) fn transformer(batch: usize, length: usize, vocabulary: usize) -> Result<Workload> {
    const WIDTH: usize = 128;
    let b = Builder::new("transformer");
    let scope = b.scope("model");
    let normal = |std| Init::Normal { mean: 0.0, std };
    let tokens = scope.param("tokens", (vocabulary, WIDTH), normal(1.0));
    let places = scope.param("places", (length, WIDTH), normal(0.02));
    let blocks: Vec<Block> =
        (0..2).map(|index| Block::new(&scope.scope(&format!("block{index}")), WIDTH, 4)).collect();
    let norm = LayerNorm::new(&scope, "norm", (WIDTH,), 1e-5);
    let head = Dense::new(&scope, "head", WIDTH, vocabulary);

    let step = b.entry("step", Mode::Train);
    let [x, y] = ["x", "y"].map(|name| step.input(name, I64, (batch, length)));
    let embedded = step.read(tokens).index_select(0, x) + places;
    let causal = Attention::new().causal(true);
    let hidden = blocks.iter().fold(embedded, |x, block| block.forward(x, causal));
    let logits = head.forward(norm.forward(hidden));
    let loss = logits.flatten(0, 1).cross_entropy(y.flatten(0, 1));
    step.minimize(loss, b.params("model"), Adam::new(1e-3));
    step.output("loss", loss);
    let classes = ["x", "y"].map(|name| (name, classes(name, &[batch, length], vocabulary)));
    Ok(Workload { program: b.finish()?, floats: Vec::new(), classes: classes.into() })
}
