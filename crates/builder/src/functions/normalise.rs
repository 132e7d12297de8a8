//! Functions that relate elements to others along axes: softmax and its kin, and normalisation.

use kilngrad_ir::op::ReduceOp;

use crate::example::example;
use crate::ops::IntoAxes;
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// `eˣ/Σeˣ` along axes, of floats, as `exp(x − max)/Σexp(x − max)`. NaN where all are −inf or
    /// one is inf, as PyTorch's.
    #[doc = example!(
        x.softmax(-1) => array![[0.5, 0.5], [0.25, 0.75]];
        x = e.constant([2, 2], &[7.0, 7.0, 0.0, 3f64.ln()])
    )]
    #[track_caller]
    #[must_use]
    pub fn softmax(self, axes: impl IntoAxes) -> Tensor<'b> {
        if !self.is_real("softmax") {
            return self.entry.poisoned();
        }
        let axes = axes.written();
        let _scope = self.entry.enter("softmax");
        let power = (self - self.max_keepdim(axes.clone()).stop_gradient()).exp();
        power / power.sum_keepdim(axes)
    }

    /// `ln softmax(x)`, as `x − max − ln Σexp(x − max)`, finite where the softmax is 0.
    #[doc = example!(
        x.log_softmax(-1) => about vec![-1.3863, -0.2877];
        x = e.constant([2], &[0.0, 3f64.ln()])
    )]
    #[track_caller]
    #[must_use]
    pub fn log_softmax(self, axes: impl IntoAxes) -> Tensor<'b> {
        if !self.is_real("log_softmax") {
            return self.entry.poisoned();
        }
        let axes = axes.written();
        let _scope = self.entry.enter("log_softmax");
        let centred = self - self.max_keepdim(axes.clone()).stop_gradient();
        centred - centred.exp().sum_keepdim(axes).log()
    }

    /// `ln Σeˣ` along axes, which disappear, of floats, as `max + ln Σexp(x − max)`; −inf where
    /// all are −inf, or there are none.
    #[doc = example!(x.logsumexp(-1) => about 1000.6931; x = e.constant([2], &[1000.0, 1000.0]))]
    #[track_caller]
    #[must_use]
    pub fn logsumexp(self, axes: impl IntoAxes) -> Tensor<'b> {
        self.log_sum_exp(axes, false)
    }

    /// `ln Σeˣ` along axes, which stay with length 1: see [`logsumexp`](Self::logsumexp).
    #[doc = example!(
        x.logsumexp_keepdim(-1) => about vec![1000.6931];
        x = e.constant([2], &[1000.0, 1000.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn logsumexp_keepdim(self, axes: impl IntoAxes) -> Tensor<'b> {
        self.log_sum_exp(axes, true)
    }

    #[track_caller]
    fn log_sum_exp(self, axes: impl IntoAxes, keepdim: bool) -> Tensor<'b> {
        if !self.is_real("logsumexp") {
            return self.entry.poisoned();
        }
        let Some(axes) = self.axes(axes) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("logsumexp");
        let max = self.reduce(ReduceOp::Max, axes.clone()).stop_gradient();
        // An infinite maximum is not subtracted: inf − inf is NaN.
        let finite = max.abs().lt(f64::INFINITY);
        let shift = finite.select(max, 0.0);
        let centred = self - shift.keepdim(self, &axes);
        let sum = centred.exp().reduce(ReduceOp::Sum, axes.clone()).log() + shift;
        if keepdim { sum.keepdim(self, &axes) } else { sum }
    }

    /// `(x − mean)/√(var + eps)` along axes, with the variance of the elements themselves
    /// (correction 0): Ba, Kiros and Hinton, "Layer Normalization" (2016).
    #[doc = example!(x.layer_norm(-1, 0.0) => vec![-1.0, 1.0]; x = e.constant([2], &[1.0, 5.0]))]
    #[track_caller]
    #[must_use]
    pub fn layer_norm(self, axes: impl IntoAxes, eps: f64) -> Tensor<'b> {
        if !self.is_real("layer_norm") {
            return self.entry.poisoned();
        }
        let axes = axes.written();
        let _scope = self.entry.enter("layer_norm");
        let centred = self - self.mean_keepdim(axes.clone());
        centred * (centred.square().mean_keepdim(axes) + eps).rsqrt()
    }

    /// `x/√(mean x² + eps)` along axes: Zhang and Sennrich, "Root Mean Square Layer Normalization"
    /// (2019).
    #[doc = example!(x.rms_norm(-1, 0.0) => about vec![0.2, 1.4]; x = e.constant([2], &[1.0, 7.0]))]
    #[track_caller]
    #[must_use]
    pub fn rms_norm(self, axes: impl IntoAxes, eps: f64) -> Tensor<'b> {
        if !self.is_real("rms_norm") {
            return self.entry.poisoned();
        }
        let _scope = self.entry.enter("rms_norm");
        self * (self.square().mean_keepdim(axes) + eps).rsqrt()
    }
}
