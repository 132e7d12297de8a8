//! Losses, in PyTorch's definitions.
//!
//! A target has the shape of its prediction, or is one number: where broadcasting would make a
//! matrix of `[n,1]` and `[n]`, and a loss that trains nothing, there is an error instead.

use kilngrad_ir::{DType, Diagnostic};

use crate::example::example;
use crate::operand::Operand;
use crate::tensor::Tensor;

/// How the losses of elements become the loss.
#[doc = example!(
    x.mse_loss_with(t, Reduction::None) => vec![0.0, 4.0];
    x = e.constant([2], &[1.0, 2.0]);
    t = e.constant([2], &[1.0, 4.0])
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean; NaN of none.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay.
    None,
}

/// Options of [`Tensor::cross_entropy_with`].
#[doc = example!(
    x.cross_entropy_with(t, options) => about 0.9808;
    options = CrossEntropy::new().reduction(Reduction::Sum);
    x = e.constant([2, 2], &[0.0, 3f64.ln(), 0.0, 0.0]);
    t = e.constant([2], &[1, 0])
)]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CrossEntropy {
    label_smoothing: f64,
    reduction: Reduction,
}

impl CrossEntropy {
    /// No smoothing, the mean over samples.
    #[doc = example!(
        x.cross_entropy_with(t, CrossEntropy::new()) => about 0.2877;
        x = e.constant([1, 2], &[0.0, 3f64.ln()]);
        t = e.constant([1], &[1])
    )]
    pub fn new() -> CrossEntropy {
        CrossEntropy::default()
    }

    /// Mixes the target with the uniform distribution, which gets this weight from 0 to 1: Szegedy
    /// and others, "Rethinking the Inception Architecture" (2016).
    #[doc = example!(
        x.cross_entropy_with(t, CrossEntropy::new().label_smoothing(1.0)) => about 0.837;
        x = e.constant([1, 2], &[0.0, 3f64.ln()]);
        t = e.constant([1], &[1])
    )]
    #[must_use]
    pub fn label_smoothing(self, weight: f64) -> CrossEntropy {
        CrossEntropy { label_smoothing: weight, ..self }
    }

    /// How the losses of samples become the loss.
    #[doc = example!(
        x.cross_entropy_with(t, options) => about vec![0.2877];
        options = CrossEntropy::new().reduction(Reduction::None);
        x = e.constant([1, 2], &[0.0, 3f64.ln()]);
        t = e.constant([1], &[1])
    )]
    #[must_use]
    pub fn reduction(self, reduction: Reduction) -> CrossEntropy {
        CrossEntropy { reduction, ..self }
    }
}

impl<'b> Tensor<'b> {
    /// The mean of `(x − target)²`.
    #[doc = example!(
        x.mse_loss(t) => 2.0;
        x = e.constant([2], &[1.0, 2.0]);
        t = e.constant([2], &[1.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn mse_loss(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.mse_loss_with(target, Reduction::Mean)
    }

    /// `(x − target)²`, reduced.
    #[doc = example!(
        x.mse_loss_with(t, Reduction::Sum) => 4.0;
        x = e.constant([2], &[1.0, 2.0]);
        t = e.constant([2], &[1.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn mse_loss_with(self, target: impl Operand<'b>, reduction: Reduction) -> Tensor<'b> {
        let Some(target) = self.target("mse_loss", target) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("mse_loss");
        (self - target).square().reduced(reduction)
    }

    /// The mean of `|x − target|`; the derivative is 0 where they are equal.
    #[doc = example!(
        x.l1_loss(t) => 1.0;
        x = e.constant([2], &[1.0, 2.0]);
        t = e.constant([2], &[1.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn l1_loss(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.l1_loss_with(target, Reduction::Mean)
    }

    /// `|x − target|`, reduced.
    #[doc = example!(
        x.l1_loss_with(t, Reduction::Sum) => 2.0;
        x = e.constant([2], &[1.0, 2.0]);
        t = e.constant([2], &[1.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn l1_loss_with(self, target: impl Operand<'b>, reduction: Reduction) -> Tensor<'b> {
        let Some(target) = self.target("l1_loss", target) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("l1_loss");
        (self - target).abs().reduced(reduction)
    }

    /// The mean of `d²/2` where `d = |x − target| ≤ delta`, else `delta·(d − delta/2)`: Huber
    /// (1964).
    #[doc = example!(
        x.huber_loss(t, 1.0) => 0.75;
        x = e.constant([2], &[1.0, 2.0]);
        t = e.constant([2], &[1.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn huber_loss(self, target: impl Operand<'b>, delta: f64) -> Tensor<'b> {
        self.huber_loss_with(target, delta, Reduction::Mean)
    }

    /// Huber's loss, reduced: see [`huber_loss`](Self::huber_loss). `delta` is above 0.
    #[doc = example!(
        x.huber_loss_with(t, 1.0, Reduction::None) => vec![0.125, 1.5];
        x = e.constant([2], &[1.0, 2.0]);
        t = e.constant([2], &[1.5, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn huber_loss_with(
        self,
        target: impl Operand<'b>,
        delta: f64,
        reduction: Reduction,
    ) -> Tensor<'b> {
        let Some(target) = self.target("huber_loss", target) else { return self.entry.poisoned() };
        if !(delta > 0.0 && delta.is_finite()) {
            let message = format!("expected a delta above 0, found {delta}");
            return self.entry.fail_on("loss_b2", message, &[self]);
        }
        let _scope = self.entry.enter("huber_loss");
        let difference = self - target;
        let distance = difference.abs();
        let near = difference.square() * 0.5;
        let far = (distance - 0.5 * delta) * delta;
        distance.le(delta).select(near, far).reduced(reduction)
    }

    /// The mean binary cross-entropy of probabilities from 0 to 1:
    /// `−t·ln p − (1 − t)·ln(1 − p)`, with logarithms of at least −100, as PyTorch's. The
    /// derivative of a logarithm that is cut is 0; [`bce_with_logits`](Self::bce_with_logits) cuts
    /// none.
    #[doc = example!(
        p.bce_loss(t) => about 0.4904;
        p = e.constant([2], &[0.5, 0.25]);
        t = e.constant([2], &[1.0, 0.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn bce_loss(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.bce_loss_with(target, Reduction::Mean)
    }

    /// Binary cross-entropy of probabilities, reduced: see [`bce_loss`](Self::bce_loss).
    #[doc = example!(
        p.bce_loss_with(t, Reduction::None) => about vec![0.6931, 100.0];
        p = e.constant([2], &[0.5, 1.0]);
        t = e.constant([2], &[1.0, 0.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn bce_loss_with(self, target: impl Operand<'b>, reduction: Reduction) -> Tensor<'b> {
        let Some(target) = self.target("bce_loss", target) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("bce_loss");
        let (zero, one) = (self.eq(0.0), self.eq(1.0));
        // The logarithm of 0 is not computed: its derivative is infinite.
        let log = zero.select(-100.0, zero.select(1.0, self).log().maximum(-100.0));
        let other = one.select(-100.0, (-one.select(0.0, self)).log1p().maximum(-100.0));
        ((target - 1.0) * other - target * log).reduced(reduction)
    }

    /// The mean binary cross-entropy of logits, `softplus(x) − x·t`, which is
    /// `max(x, 0) − x·t + ln(1 + e^−|x|)` and overflows nowhere.
    #[doc = example!(
        x.bce_with_logits(1.0) => about 0.4904;
        x = e.constant([2, 1], &[0.0, 3f64.ln()])
    )]
    #[track_caller]
    #[must_use]
    pub fn bce_with_logits(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.bce_with_logits_with(target, Reduction::Mean)
    }

    /// Binary cross-entropy of logits, reduced: see [`bce_with_logits`](Self::bce_with_logits).
    #[doc = example!(
        x.bce_with_logits_with(0.0, Reduction::None) => about vec![0.6931, 1000.0];
        x = e.constant([2], &[0.0, 1000.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn bce_with_logits_with(
        self,
        target: impl Operand<'b>,
        reduction: Reduction,
    ) -> Tensor<'b> {
        let Some(target) = self.target("bce_with_logits", target) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("bce_with_logits");
        (self.softplus() - self * target).reduced(reduction)
    }

    /// The mean cross-entropy of logits over samples.
    ///
    /// Classes are along axis 1, or axis 0 of a vector. The target is class indices, of an
    /// integer dtype and the logits' shape without that axis, or probabilities in the logits' type.
    /// A call with a class index out of range fails.
    #[doc = example!(
        x.cross_entropy(t) => about 0.2877;
        x = e.constant([1, 2], &[0.0, 3f64.ln()]);
        t = e.constant([1], &[1])
    )]
    #[track_caller]
    #[must_use]
    pub fn cross_entropy(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.cross_entropy_with(target, CrossEntropy::new())
    }

    /// Cross-entropy of logits with options: see [`cross_entropy`](Self::cross_entropy).
    #[doc = example!(
        x.cross_entropy_with(t, CrossEntropy::new().reduction(Reduction::Sum)) => about 0.9808;
        x = e.constant([2, 2], &[0.0, 3f64.ln(), 0.0, 0.0]);
        t = e.constant([2], &[1, 0])
    )]
    #[track_caller]
    #[must_use]
    pub fn cross_entropy_with(self, target: impl Operand<'b>, options: CrossEntropy) -> Tensor<'b> {
        let smoothing = options.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            let message = format!("expected a label smoothing from 0 to 1, found {smoothing}");
            return self.entry.fail_on("loss_b2", message, &[self]);
        }
        let Some((axis, target)) = self.classes("cross_entropy", target, true) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("cross_entropy");
        let log = self.log_softmax(axis);
        let hard = match target.ty() {
            Some(ty) if ty.dtype.is_float() => (log * target).sum(axis),
            Some(_) | None => log.pick(axis, target),
        };
        let loss = if smoothing == 0.0 {
            -hard
        } else {
            -(hard * (1.0 - smoothing) + log.mean(axis) * smoothing)
        };
        loss.reduced(options.reduction)
    }

    /// The mean over samples of minus the log-probability, which this tensor holds, of a class.
    /// Classes and indices are as for [`cross_entropy`](Self::cross_entropy).
    #[doc = example!(
        x.nll_loss(t) => 1.5;
        x = e.constant([2, 2], &[-1.0, -3.0, -2.0, -4.0]);
        t = e.constant([2], &[0, 0])
    )]
    #[track_caller]
    #[must_use]
    pub fn nll_loss(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.nll_loss_with(target, Reduction::Mean)
    }

    /// Minus the log-probability of a class, reduced: see [`nll_loss`](Self::nll_loss).
    #[doc = example!(
        x.nll_loss_with(t, Reduction::None) => vec![1.0, 4.0];
        x = e.constant([2, 2], &[-1.0, -3.0, -2.0, -4.0]);
        t = e.constant([2], &[0, 1])
    )]
    #[track_caller]
    #[must_use]
    pub fn nll_loss_with(self, target: impl Operand<'b>, reduction: Reduction) -> Tensor<'b> {
        let Some((axis, target)) = self.classes("nll_loss", target, false) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("nll_loss");
        (-self.pick(axis, target)).reduced(reduction)
    }

    /// The mean of `t·(ln t − x)` over elements, where `0·ln 0` is 0: the divergence of
    /// log-probabilities `x` from probabilities `t`. NaN where `t` is 0 and `x` infinite.
    #[doc = example!(
        x.kl_div(t) => about 0.3466;
        x = e.constant([2], &[0.5, 0.5]).log();
        t = e.constant([2], &[1.0, 0.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn kl_div(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.kl_div_with(target, Reduction::Mean)
    }

    /// `t·(ln t − x)`, reduced: see [`kl_div`](Self::kl_div).
    #[doc = example!(
        x.kl_div_with(t, Reduction::Sum) => about 0.6931;
        x = e.constant([2], &[0.5, 0.5]).log();
        t = e.constant([2], &[1.0, 0.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn kl_div_with(self, target: impl Operand<'b>, reduction: Reduction) -> Tensor<'b> {
        let Some(target) = self.target("kl_div", target) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("kl_div");
        let none = target.eq(0.0);
        let entropy = target * none.select(1.0, target).log();
        (entropy - target * self).reduced(reduction)
    }

    /// The mean of `x` where the target is 1, and of `max(0, 1 − x)` where it is −1: of distances
    /// of pairs that are alike or not.
    #[doc = example!(
        distance.hinge_embedding_loss(alike) => 1.375;
        distance = e.constant([2], &[2.0, 0.25]);
        alike = e.constant([2], &[1.0, -1.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn hinge_embedding_loss(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.hinge_embedding_loss_with(target, 1.0, Reduction::Mean)
    }

    /// `x` where the target is 1, `max(0, margin − x)` where it is −1, reduced; the sum of both
    /// elsewhere, as PyTorch's.
    #[doc = example!(
        distance.hinge_embedding_loss_with(alike, 2.0, Reduction::Sum) => 3.5;
        distance = e.constant([2], &[2.0, 0.5]);
        alike = e.constant([2], &[1.0, -1.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn hinge_embedding_loss_with(
        self,
        target: impl Operand<'b>,
        margin: f64,
        reduction: Reduction,
    ) -> Tensor<'b> {
        let Some(target) = self.target("hinge_embedding_loss", target) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("hinge_embedding_loss");
        let alike = target.ne(-1.0).select(self, 0.0);
        let apart = target.ne(1.0).select((margin - self).relu(), 0.0);
        (alike + apart).reduced(reduction)
    }

    #[track_caller]
    fn reduced(self, reduction: Reduction) -> Tensor<'b> {
        match reduction {
            Reduction::Mean => self.mean(..),
            Reduction::Sum => self.sum(..),
            Reduction::None => self,
        }
    }

    /// A target in this tensor's shape; `None` after an error.
    #[track_caller]
    pub(super) fn target(self, name: &str, target: impl Operand<'b>) -> Option<Tensor<'b>> {
        if !self.is_real(name) {
            return None;
        }
        let target = self.operand(target);
        let (own, ty) = self.ty().zip(target.ty())?;
        if ty.rank() != 0 && ty.shape != own.shape {
            let message =
                format!("expected a target of the prediction's shape {}, found {ty}", own.shape);
            self.entry.fail_on("loss_b1", message, &[self, target]);
            return None;
        }
        self.broadcast_with(target).map(|(_, target)| target)
    }

    /// The axis of classes, and the target: indices, or probabilities where these are allowed.
    /// `None` after an error.
    #[track_caller]
    pub(super) fn classes(
        self,
        name: &str,
        target: impl Operand<'b>,
        probabilities: bool,
    ) -> Option<(isize, Tensor<'b>)> {
        if !self.is_real(name) {
            return None;
        }
        let target = self.operand(target);
        let (own, ty) = self.ty().zip(target.ty())?;
        if own.rank() == 0 {
            let message = format!("expected an axis of classes, found {own}");
            self.entry.fail_on("shape_b1", message, &[self]);
            return None;
        }
        let axis = own.rank().min(2) - 1;
        let samples = own.shape.without(&[axis]);
        let signed = isize::try_from(axis).ok()?;
        let indices = ty.dtype.is_integer() && ty.shape == samples;
        if indices || (probabilities && ty == own) {
            self.entry.home(&[self, target])?;
            return Some((signed, target));
        }
        let or = if probabilities { format!(" or probabilities of type {own}") } else { "".into() };
        let message = format!(
            "expected class indices of an integer dtype and shape {samples}{or}, found {ty}"
        );
        let diagnostic = Diagnostic::new("loss_b1", message);
        let diagnostic = self.entry.with_operands(diagnostic, &[self, target]);
        self.entry.fail(diagnostic.help(format!("the classes are along axis {axis} of {own}")));
        None
    }

    /// The elements that indices name along an axis, which disappears; a call with an index out of
    /// range fails. Elements are selected, not multiplied by 0, so that infinite ones do no harm.
    #[track_caller]
    pub(super) fn pick(self, axis: isize, indices: Tensor<'b>) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self.entry.poisoned() };
        let indices = self.indices_inside(axis, indices);
        let counts = self.entry.iota(DType::I64, &ty.shape, axis);
        indices.unsqueeze(axis).eq(counts).select(self, 0.0).sum(axis)
    }

    /// Class indices along an axis, in `i64`, which no number of classes overflows; a call with one
    /// that is out of range fails.
    #[track_caller]
    pub(super) fn indices_inside(self, axis: isize, indices: Tensor<'b>) -> Tensor<'b> {
        let (Some(ty), Some(from_first)) = (self.ty(), self.axis(axis)) else {
            return self.entry.poisoned();
        };
        let indices = indices.cast_exactly(DType::I64);
        let classes = &ty.shape.dims()[from_first];
        let (least, greatest) = (indices.min(..), indices.max(..));
        let inside = least.ge(0) & greatest.lt(self.count(&[from_first], greatest, 0));
        self.entry.check(inside, &format!("class indices from 0 to below {classes}"));
        indices
    }
}
