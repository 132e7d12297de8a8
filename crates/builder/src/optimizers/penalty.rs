//! What is added to a loss to keep parameters small, and what keeps gradients small.

use crate::builder::Params;
use crate::entry::Entry;
use crate::tensor::Tensor;

impl<'b> Entry<'b> {
    /// The sum of `|w|` over all elements of the parameters, to be added to a loss with a factor.
    /// The derivative is 0 where an element is.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("lasso");
    /// let layer = Dense::new(&b.root(), "layer", 8, 1);
    /// let e = b.entry("train", Mode::Train);
    /// let loss = layer.forward(e.input("x", F32, (b.dim("n"), 8))).mse_loss(1.0);
    /// let loss = loss + e.l1_penalty(b.params("layer.w")) * 1e-4;
    /// e.minimize(loss, b.params("layer"), Sgd::new(0.1));
    /// assert!(b.finish().is_ok());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn l1_penalty(self, params: impl Into<Params>) -> Tensor<'b> {
        let _scope = self.enter("l1_penalty");
        self.total(params.into(), |value| value.abs().sum(..))
    }

    /// The sum of `w²` over all elements of the parameters, to be added to a loss with a factor. With
    /// factor `d/2` its gradient is what [`Sgd::weight_decay`](crate::Sgd::weight_decay) adds.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("ridge");
    /// let layer = Dense::new(&b.root(), "layer", 8, 1);
    /// let e = b.entry("train", Mode::Train);
    /// let loss = layer.forward(e.input("x", F32, (b.dim("n"), 8))).mse_loss(1.0);
    /// let loss = loss + e.l2_penalty(b.params("layer.w")) * 1e-4;
    /// e.minimize(loss, b.params("layer"), Sgd::new(0.1));
    /// assert!(b.finish().is_ok());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn l2_penalty(self, params: impl Into<Params>) -> Tensor<'b> {
        let _scope = self.enter("l2_penalty");
        self.total(params.into(), |value| value.square().sum(..))
    }

    /// The tensors with every element brought into `−limit … limit`; a NaN stays.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("clipped");
    /// let layer = Dense::new(&b.root(), "layer", 8, 1);
    /// let e = b.entry("train", Mode::Train);
    /// let loss = layer.forward(e.input("x", F32, (b.dim("n"), 8))).mse_loss(1.0);
    /// let gradients = e.gradients(loss, b.params("layer"));
    /// e.apply_gradients(b.params("layer"), &e.clip_grad_value(&gradients, 0.5), Sgd::new(0.1));
    /// assert!(b.finish().is_ok());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn clip_grad_value(self, gradients: &[Tensor<'b>], limit: f64) -> Vec<Tensor<'b>> {
        if !(limit.is_finite() && limit >= 0.0) {
            let message = format!("expected a limit of at least 0, found {limit}");
            let failed = self.fail_on("optimizer_b3", message, gradients);
            return vec![failed; gradients.len()];
        }
        let _scope = self.enter("clip_grad_value");
        let mut clipped = Vec::with_capacity(gradients.len());
        for gradient in gradients {
            clipped.push(gradient.maximum(-limit).minimum(limit));
        }
        clipped
    }

    /// The sum over parameters of what `of` makes of each.
    #[track_caller]
    fn total(self, params: Params, of: impl Fn(Tensor<'b>) -> Tensor<'b>) -> Tensor<'b> {
        let mut total: Option<Tensor<'b>> = None;
        for param in params.list {
            let term = of(self.read(param));
            total = Some(total.map_or(term, |total| total + term));
        }
        match total {
            Some(total) => total,
            None if params.failed => self.poisoned(),
            None => {
                let message = "expected at least one parameter to penalise, found none";
                self.fail(kilngrad_ir::Diagnostic::new("optimizer_b2", message))
            }
        }
    }
}
