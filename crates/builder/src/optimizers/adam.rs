//! Adam and AdamW.

use crate::example::step_example;
use crate::optimizers::{LearningRate, Step, below_one, not_negative, optimizer};
use crate::tensor::Tensor;

/// Adam, in PyTorch's formulas: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015).
///
/// ```text
/// g ← g + weight_decay·p
/// m ← m + (1 − β₁)·(g − m)
/// v ← β₂·v + (1 − β₂)·g²
/// p ← p − lr/(1 − β₁ᵗ) · m/(√v/√(1 − β₂ᵗ) + eps)
/// ```
///
/// State: `adam.m`, `adam.v`, `adam.step`. Moments below the smallest normal number are zero.
#[doc = step_example!(Adam::new(0.1); 1 => 0.9)]
#[derive(Debug, Clone)]
pub struct Adam<'b> {
    pub(super) rate: LearningRate<'b>,
    pub(super) name: Option<String>,
    pub(super) rule: Rule,
}

/// Adam with decoupled weight decay: `p ← p − lr·weight_decay·p` before Adam's step, which the
/// decay takes no part in. Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
///
/// State: `adamw.m`, `adamw.v`, `adamw.step`. Moments below the smallest normal number are zero.
#[doc = step_example!(AdamW::new(0.1); 1 => 0.899)]
#[derive(Debug, Clone)]
pub struct AdamW<'b> {
    pub(super) rate: LearningRate<'b>,
    pub(super) name: Option<String>,
    pub(super) rule: Rule,
}

/// Options that the meaning of the state depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
}

optimizer!(Adam, Adam, "Adam::new(0.1)" keeps "m");
optimizer!(AdamW, Adam, "AdamW::new(0.1)" keeps "m");

impl<'b> Adam<'b> {
    /// With betas 0.9 and 0.999, eps 1e-8 and no weight decay.
    #[doc = step_example!(Adam::new(0.1); 1 => 0.9)]
    pub fn new(rate: impl Into<LearningRate<'b>>) -> Adam<'b> {
        Adam { rate: rate.into(), name: None, rule: Rule::new(0.0, false) }
    }
}

impl<'b> AdamW<'b> {
    /// With betas 0.9 and 0.999, eps 1e-8 and weight decay 0.01.
    #[doc = step_example!(AdamW::new(0.1); 1 => 0.899)]
    pub fn new(rate: impl Into<LearningRate<'b>>) -> AdamW<'b> {
        AdamW { rate: rate.into(), name: None, rule: Rule::new(0.01, true) }
    }
}

macro_rules! setters {
    ($($optimizer:ident { betas $betas:literal, eps $eps:literal, decay $decay:literal })*) => {$(
        impl<'b> $optimizer<'b> {
            /// Decays of the two moments, each from 0 to below 1. Both 0 leave the gradient's sign.
            #[doc = step_example!($optimizer::new(0.1).betas(0.0, 0.0); 2 => $betas)]
            #[must_use]
            pub fn betas(self, beta1: f64, beta2: f64) -> Self {
                Self { rule: Rule { beta1, beta2, ..self.rule }, ..self }
            }

            /// What is added to the denominator, at least 0.
            #[doc = step_example!($optimizer::new(0.1).eps(2.0); 1 => $eps)]
            #[must_use]
            pub fn eps(self, eps: f64) -> Self {
                Self { rule: Rule { eps, ..self.rule }, ..self }
            }

            /// Weight decay, at least 0.
            #[doc = step_example!($optimizer::new(0.1).eps(3.0).weight_decay(1.0); 1 => $decay)]
            #[must_use]
            pub fn weight_decay(self, weight_decay: f64) -> Self {
                Self { rule: Rule { weight_decay, ..self.rule }, ..self }
            }
        }
    )*};
}

setters! {
    Adam { betas 0.8, eps 0.95, decay 0.95 }
    AdamW { betas 0.7981, eps 0.949, decay 0.86 }
}

impl Rule {
    fn new(weight_decay: f64, decoupled: bool) -> Rule {
        Rule { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, decoupled }
    }

    pub(super) fn name(&self) -> &'static str {
        if self.decoupled { "adamw" } else { "adam" }
    }

    pub(super) fn fault(&self) -> Option<String> {
        below_one("first beta", self.beta1)
            .or_else(|| below_one("second beta", self.beta2))
            .or_else(|| not_negative("eps", self.eps))
            .or_else(|| not_negative("weight decay", self.weight_decay))
    }

    /// The parameter's next value.
    #[track_caller]
    pub(super) fn step<'b>(&self, step: &Step<'b, '_>) -> Tensor<'b> {
        let shared = step.shared();
        let Some(count) = shared.count else { return step.value };
        let (value, gradient) = match (self.decoupled, self.weight_decay) {
            (true, 0.0) => (step.value, step.gradient),
            (true, decay) => {
                let kept = 1.0 - shared.rate() * decay;
                (step.value * step.scalar(kept), step.gradient)
            }
            (false, decay) => (step.value, step.decayed_gradient(decay)),
        };
        let entry = shared.entry;
        let (m, v) = (step.slot("m"), step.slot("v"));
        let mean = entry.read(m);
        let mean = step.keep(m, mean + (gradient - mean) * (1.0 - self.beta1));
        let square = entry.read(v) * self.beta2 + gradient * gradient * (1.0 - self.beta2);
        let square = step.keep_divisor(v, square, self.eps);
        let size = shared.rate() / correction(self.beta1, count);
        let spread = correction(self.beta2, count).rsqrt();
        let denominator = square.sqrt() * step.scalar(spread) + self.eps;
        value - step.scalar(size) * (mean / denominator)
    }
}

/// `1 − βᵗ`, as `−expm1(t·ln β)`, which loses no digits where `βᵗ` is near 1.
#[track_caller]
fn correction(beta: f64, count: Tensor<'_>) -> Tensor<'_> {
    -(count * libm::log(beta)).expm1()
}
