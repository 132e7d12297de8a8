//! Attention.

use kilngrad_ir::DType;

use crate::example::example;
use crate::operand::IntoTensor;
use crate::tensor::Tensor;

/// Options of [`Tensor::attention_with`].
///
/// ```
/// # use kilngrad_builder::{Attention, Builder, F32, Mode};
/// # let b = Builder::new("attention");
/// # let e = b.entry("run", Mode::Eval);
/// # let (t, head) = (b.dim("t"), 16);
/// let [q, k, v] = ["q", "k", "v"].map(|name| e.input(name, F32, (8, t, head)));
/// let mixed = q.attention_with(k, v, Attention::new().causal(true));
/// assert_eq!(mixed.ty(), q.ty());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Attention<'b> {
    mask: Option<Tensor<'b>>,
    causal: bool,
    scale: Option<f64>,
}

impl<'b> Attention<'b> {
    /// Every query attends to every key; scores are divided by the root of the length of a key.
    #[doc = example!(
        q.attention_with(k, v, Attention::new()) => about array![[7.0]];
        q = e.constant([1, 4], &[2.0, 0.0, 0.0, 0.0]);
        k = e.constant([2, 4], &[0.0, 0.0, 0.0, 0.0, 3f64.ln(), 0.0, 0.0, 0.0]);
        v = e.constant([2, 1], &[4.0, 8.0])
    )]
    pub fn new() -> Attention<'b> {
        Attention::default()
    }

    /// A mask that broadcasts to the scores, `[…, queries, keys]`: a `bool` one is true where a
    /// query attends to a key, a float one is added to the scores.
    #[doc = example!(
        q.attention_with(k, v, Attention::new().mask(to_first)) => array![[4.0]];
        to_first = e.constant([1, 2], &[true, false]);
        q = e.constant([1, 1], &[1.0]);
        k = e.constant([2, 1], &[0.0, 1.0]);
        v = e.constant([2, 1], &[4.0, 8.0])
    )]
    #[must_use]
    pub fn mask(self, mask: Tensor<'b>) -> Attention<'b> {
        Attention { mask: Some(mask), ..self }
    }

    /// Whether query `i` attends to keys 0 to `i` only.
    #[doc = example!(
        x.attention_with(x, v, Attention::new().causal(true)) => array![[4.0], [6.0]];
        x = e.constant([2, 1], &[1.0, 1.0]);
        v = e.constant([2, 1], &[4.0, 8.0])
    )]
    #[must_use]
    pub fn causal(self, causal: bool) -> Attention<'b> {
        Attention { causal, ..self }
    }

    /// What scores are multiplied by.
    #[doc = example!(
        q.attention_with(k, v, Attention::new().scale(3f64.ln())) => about array![[7.0]];
        q = e.constant([1, 1], &[1.0]);
        k = e.constant([2, 1], &[0.0, 1.0]);
        v = e.constant([2, 1], &[4.0, 8.0])
    )]
    #[must_use]
    pub fn scale(self, scale: f64) -> Attention<'b> {
        Attention { scale: Some(scale), ..self }
    }
}

impl<'b> Tensor<'b> {
    /// Scaled dot-product attention of queries `[…, l, d]` over keys `[…, s, d]` and values
    /// `[…, s, e]`: `softmax(q·kᵀ/√d)·v`, of shape `[…, l, e]`; the leading axes broadcast. Vaswani
    /// and others, "Attention Is All You Need" (2017).
    ///
    /// Here the scores are 0 and `2·ln 3/√4`, so the second value weighs three times as much.
    #[doc = example!(
        q.attention(k, v) => about array![[7.0]];
        q = e.constant([1, 4], &[2.0, 0.0, 0.0, 0.0]);
        k = e.constant([2, 4], &[0.0, 0.0, 0.0, 0.0, 3f64.ln(), 0.0, 0.0, 0.0]);
        v = e.constant([2, 1], &[4.0, 8.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn attention(self, keys: impl IntoTensor<'b>, values: impl IntoTensor<'b>) -> Tensor<'b> {
        self.attention_with(keys, values, Attention::new())
    }

    /// Scaled dot-product attention with options: see [`attention`](Self::attention). A query that
    /// attends to no key gives zeros.
    #[doc = example!(
        q.attention_with(k, v, Attention::new().mask(mask)) => array![[6.0], [0.0]];
        mask = e.constant([2, 1], &[true, false]);
        q = e.constant([2, 1], &[1.0, 1.0]);
        k = e.constant([2, 1], &[1.0, 1.0]);
        v = e.constant([2, 1], &[4.0, 8.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn attention_with(
        self,
        keys: impl IntoTensor<'b>,
        values: impl IntoTensor<'b>,
        options: Attention<'b>,
    ) -> Tensor<'b> {
        let (keys, values) = (self.entry.adopt(keys), self.entry.adopt(values));
        if !self.is_real("attention") {
            return self.entry.poisoned();
        }
        let ranks = [self, keys, values].map(|tensor| tensor.ty().map(|ty| ty.rank()));
        if let Some(rank) = ranks.into_iter().flatten().find(|rank| *rank < 2) {
            let message = format!("expected tensors of at least two axes, found one of {rank}");
            return self.entry.fail_on("shape_b1", message, &[self, keys, values]);
        }
        let _scope = self.entry.enter("attention");
        // The queries are scaled: they are fewer numbers than the scores.
        let mut scores = self.for_scores(options.scale).matmul(keys.t());
        if options.causal {
            scores = scores.causal();
        }
        match options.mask {
            Some(mask) if mask.ty().is_some_and(|ty| ty.dtype == DType::Bool) => {
                scores = mask.select(scores, f64::NEG_INFINITY);
            }
            Some(mask) => scores = scores + mask,
            None => {}
        }
        let weights = match options.mask {
            Some(_) => scores.softmax_or_zero(),
            // Every query attends to the first key at least.
            None => scores.softmax(-1),
        };
        weights.matmul(values)
    }

    /// Queries times the factor of their scores.
    #[track_caller]
    fn for_scores(self, scale: Option<f64>) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let length = &ty.shape.dims()[ty.rank() - 1];
        match (scale, length.as_constant()) {
            (Some(scale), _) => self * scale,
            (None, Some(length)) => self * (1.0 / (length as f64).sqrt()),
            (None, None) => self * self.count(&[ty.rank() - 1], self, 0).rsqrt(),
        }
    }

    /// Scores without those of keys that come after their query.
    #[track_caller]
    fn causal(self) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let matrix: kilngrad_ir::Shape = ty.shape.dims()[ty.rank() - 2..].iter().collect();
        let query = self.entry.iota(DType::I64, &matrix, -2);
        let key = self.entry.iota(DType::I64, &matrix, -1);
        key.le(query).select(self, f64::NEG_INFINITY)
    }

    /// `softmax` along the last axis, and zeros where all are −inf.
    #[track_caller]
    fn softmax_or_zero(self) -> Tensor<'b> {
        let max = self.max_keepdim(-1).stop_gradient();
        // −inf is not subtracted from itself, and 0 not divided by itself.
        let none = max.eq(f64::NEG_INFINITY);
        let power = (self - none.select(0.0, max)).exp();
        power / none.select(1.0, power.sum_keepdim(-1))
    }
}
