//! Functions that relate elements to others along axes: softmax and its kin, and normalisation.

use kilngrad_ir::op::ReduceOp;
use kilngrad_ir::{Dim, Shape};

use crate::example::example;
use crate::operand::IntoTensor;
use crate::ops::{IntoAxes, written};
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

    /// Layer normalisation of each of `groups` equal groups of channels, which are along axis 1,
    /// with all axes after it: Wu and He, "Group Normalization" (2018).
    #[doc = example!(
        x.group_norm(2, 0.0) => array![[-1.0, 1.0, -1.0, 1.0]];
        x = e.constant([1, 4], &[1.0, 5.0, 10.0, 18.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn group_norm(self, groups: usize, eps: f64) -> Tensor<'b> {
        if !self.is_real("group_norm") {
            return self.entry.poisoned();
        }
        let Some(ty) = self.ty() else { return self };
        let count = i64::try_from(groups).unwrap_or(i64::MAX);
        let dims = ty.shape.dims();
        let Some(channels) = dims.get(1).and_then(|channels| channels.exact_div(count)) else {
            let message =
                format!("expected channels along axis 1, a multiple of {groups}, found {ty}");
            return self.entry.fail_on("shape_b1", message, &[self]);
        };
        let _scope = self.entry.enter("group_norm");
        let group = [dims[0].clone(), Dim::constant(count), channels];
        let shape: Shape = group.into_iter().chain(dims[2..].iter().cloned()).collect();
        let axes: Vec<usize> = (2..=ty.rank()).collect();
        self.reshape(shape).layer_norm(written(&axes), eps).reshape(ty.shape)
    }

    /// Layer normalisation of each channel of each sample, along the axes from 2 on: Ulyanov,
    /// Vedaldi and Lempitsky, "Instance Normalization" (2016).
    #[doc = example!(
        x.instance_norm(0.0) => array![[[-1.0, 1.0], [-1.0, 1.0]]];
        x = e.constant([1, 2, 2], &[1.0, 5.0, 10.0, 18.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn instance_norm(self, eps: f64) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        if ty.rank() < 3 {
            let message = format!("expected samples, channels and further axes, found {ty}");
            return self.entry.fail_on("shape_b1", message, &[self]);
        }
        let _scope = self.entry.enter("instance_norm");
        let axes: Vec<usize> = (2..ty.rank()).collect();
        self.layer_norm(written(&axes), eps)
    }

    /// `(x − mean)/√(var + eps)` of each channel along every axis but axis 1, the channels', with
    /// the statistics of the elements themselves (correction 0), as in training: Ioffe and Szegedy,
    /// "Batch Normalization" (2015).
    #[doc = example!(
        x.batch_norm(0.0) => array![[-1.0, -1.0], [1.0, 1.0]];
        x = e.constant([2, 2], &[1.0, 10.0, 5.0, 18.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn batch_norm(self, eps: f64) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        if ty.rank() < 2 {
            let message = format!("expected samples and channels, found {ty}");
            return self.entry.fail_on("shape_b1", message, &[self]);
        }
        let _scope = self.entry.enter("batch_norm");
        let axes: Vec<usize> = (0..ty.rank()).filter(|axis| *axis != 1).collect();
        self.layer_norm(written(&axes), eps)
    }

    /// `(x − mean)/√(var + eps)` of each channel, along axis 1, with given statistics, one a
    /// channel, as in use.
    #[doc = example!(
        x.batch_norm_with(mean, var, 0.0) => array![[2.0, -2.0]];
        x = e.constant([1, 2], &[5.0, 2.0]);
        mean = e.constant([2], &[1.0, 10.0]);
        var = e.constant([2], &[4.0, 16.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn batch_norm_with(
        self,
        mean: impl IntoTensor<'b>,
        var: impl IntoTensor<'b>,
        eps: f64,
    ) -> Tensor<'b> {
        if !self.is_real("batch_norm") {
            return self.entry.poisoned();
        }
        let _scope = self.entry.enter("batch_norm");
        let (mean, var) = (self.a_channel(mean), self.a_channel(var));
        (self - mean) * (var + eps).rsqrt()
    }

    /// A vector of one number a channel, in a shape that broadcasts to this tensor along axis 1:
    /// what a normalised tensor is scaled and shifted by.
    #[doc = example!(
        x * x.a_channel(gain) => array![[[10.0, 20.0], [300.0, 400.0]]];
        x = e.constant([1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        gain = e.constant([2], &[10.0, 100.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn a_channel(self, vector: impl IntoTensor<'b>) -> Tensor<'b> {
        let vector = self.entry.adopt(vector);
        let Some((own, ty)) = self.ty().zip(vector.ty()) else { return self.entry.poisoned() };
        if own.rank() < 2 || ty.shape.dims() != &own.shape.dims()[1..2] {
            let message = format!("expected one number a channel, axis 1 of {own}, found {ty}");
            return self.entry.fail_on("shape_b1", message, &[self, vector]);
        }
        let ones = (2..own.rank()).map(|_| Dim::constant(1));
        let shape: Shape = ty.shape.dims().iter().cloned().chain(ones).collect();
        vector.reshape(shape)
    }

    /// The cosine of the angle between vectors along axes, which disappear: `x·y/(|x||y|)`, with
    /// norms of at least `eps`, for which PyTorch takes 1e-8.
    #[doc = example!(
        x.cosine_similarity(y, -1, 1e-8) => about 0.96;
        x = e.constant([2], &[3.0, 4.0]);
        y = e.constant([2], &[4.0, 3.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn cosine_similarity(
        self,
        other: impl IntoTensor<'b>,
        axes: impl IntoAxes,
        eps: f64,
    ) -> Tensor<'b> {
        let other = self.entry.adopt(other);
        if !self.is_real("cosine_similarity") {
            return self.entry.poisoned();
        }
        let Some((lhs, rhs)) = self.broadcast_with(other) else { return self.entry.poisoned() };
        let axes = axes.written();
        let _scope = self.entry.enter("cosine_similarity");
        let lengths =
            lhs.l2_norm(axes.clone()).maximum(eps) * rhs.l2_norm(axes.clone()).maximum(eps);
        (lhs * rhs).sum(axes) / lengths
    }
}
