//! Adagrad, RMSprop and Adadelta: steps scaled by what the squares of gradients add up to.

use crate::example::step_example;
use crate::optimizers::{LearningRate, Step, below_one, not_negative, optimizer};
use crate::tensor::Tensor;

/// Adagrad, in PyTorch's formulas: Duchi, Hazan and Singer (2011).
///
/// ```text
/// g ← g + weight_decay·p
/// s ← s + g²
/// p ← p − lr·g/(√s + eps)
/// ```
///
/// State: `adagrad.sum`.
#[doc = step_example!(Adagrad::new(0.1); 2 => 0.8331)]
#[derive(Debug, Clone)]
pub struct Adagrad<'b> {
    pub(super) rate: LearningRate<'b>,
    pub(super) name: Option<String>,
    pub(super) rule: AdagradRule,
}

/// Options that the meaning of the state depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AdagradRule {
    eps: f64,
    weight_decay: f64,
}

optimizer!(Adagrad, Adagrad, "Adagrad::new(0.1)" keeps "sum");

impl<'b> Adagrad<'b> {
    /// With eps 1e-10 and no weight decay.
    #[doc = step_example!(Adagrad::new(0.1); 1 => 0.9)]
    pub fn new(rate: impl Into<LearningRate<'b>>) -> Adagrad<'b> {
        let rule = AdagradRule { eps: 1e-10, weight_decay: 0.0 };
        Adagrad { rate: rate.into(), name: None, rule }
    }

    /// What is added to the denominator, at least 0.
    #[doc = step_example!(Adagrad::new(0.1).eps(2.0); 1 => 0.95)]
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { rule: AdagradRule { eps, ..self.rule }, ..self }
    }

    /// Weight decay, at least 0, added to the gradient.
    #[doc = step_example!(Adagrad::new(0.1).eps(1.0).weight_decay(1.0); 1 => 0.925)]
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { rule: AdagradRule { weight_decay, ..self.rule }, ..self }
    }
}

impl AdagradRule {
    pub(super) fn fault(&self) -> Option<String> {
        not_negative("eps", self.eps).or_else(|| not_negative("weight decay", self.weight_decay))
    }

    /// The parameter's next value.
    #[track_caller]
    pub(super) fn step<'b>(&self, step: &Step<'b, '_>) -> Tensor<'b> {
        let gradient = step.decayed_gradient(self.weight_decay);
        let square = gradient * gradient;
        let sum = step.slot("sum");
        let next = step.shared().entry.read(sum) + square;
        step.shared().entry.update(sum, next);
        step.value - step.scaled(gradient / (next.sqrt() + self.eps))
    }
}

/// RMSprop, in PyTorch's formulas: Hinton, lecture 6e of "Neural Networks for Machine Learning"
/// (2012).
///
/// ```text
/// g ← g + weight_decay·p
/// s ← alpha·s + (1 − alpha)·g²
/// a ← a + (1 − alpha)·(g − a)             if centred, else 0
/// b ← momentum·b + g/(√max(s − a², 0) + eps)
/// p ← p − lr·b
/// ```
///
/// State: `rmsprop.square`, with momentum `rmsprop.velocity`, centred `rmsprop.mean`; what is below
/// the smallest normal number is zero.
#[doc = step_example!(RmsProp::new(0.1).alpha(0.75).momentum(0.5); 2 => 0.5643)]
#[derive(Debug, Clone)]
pub struct RmsProp<'b> {
    pub(super) rate: LearningRate<'b>,
    pub(super) name: Option<String>,
    pub(super) rule: RmsPropRule,
}

/// Options that the meaning of the state depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RmsPropRule {
    alpha: f64,
    eps: f64,
    momentum: f64,
    weight_decay: f64,
    centred: bool,
}

optimizer!(RmsProp, RmsProp, "RmsProp::new(0.1)" keeps "square");

impl<'b> RmsProp<'b> {
    /// With alpha 0.99, eps 1e-8, and neither momentum nor weight decay.
    #[doc = step_example!(RmsProp::new(0.1); 1 => 0.0)]
    pub fn new(rate: impl Into<LearningRate<'b>>) -> RmsProp<'b> {
        let rule = RmsPropRule {
            alpha: 0.99,
            eps: 1e-8,
            momentum: 0.0,
            weight_decay: 0.0,
            centred: false,
        };
        RmsProp { rate: rate.into(), name: None, rule }
    }

    /// Decay of the squares, from 0 to below 1.
    #[doc = step_example!(RmsProp::new(0.1).alpha(0.75); 1 => 0.8)]
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        Self { rule: RmsPropRule { alpha, ..self.rule }, ..self }
    }

    /// What is added to the denominator, at least 0.
    #[doc = step_example!(RmsProp::new(0.1).alpha(0.75).eps(2.0); 1 => 0.9333)]
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { rule: RmsPropRule { eps, ..self.rule }, ..self }
    }

    /// Momentum, at least 0.
    #[doc = step_example!(RmsProp::new(0.1).alpha(0.75).momentum(0.5); 2 => 0.5643)]
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { rule: RmsPropRule { momentum, ..self.rule }, ..self }
    }

    /// Weight decay, at least 0, added to the gradient.
    #[doc = step_example!(RmsProp::new(0.1).alpha(0.75).eps(2.0).weight_decay(2.0); 1 => 0.9)]
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { rule: RmsPropRule { weight_decay, ..self.rule }, ..self }
    }

    /// Divides by the deviation of gradients, not by their root mean square.
    #[doc = step_example!(RmsProp::new(0.1).alpha(0.75).centred(); 1 => 0.7691)]
    #[must_use]
    pub fn centred(self) -> Self {
        Self { rule: RmsPropRule { centred: true, ..self.rule }, ..self }
    }
}

impl RmsPropRule {
    pub(super) fn fault(&self) -> Option<String> {
        below_one("alpha", self.alpha)
            .or_else(|| not_negative("eps", self.eps))
            .or_else(|| not_negative("momentum", self.momentum))
            .or_else(|| not_negative("weight decay", self.weight_decay))
    }

    /// The parameter's next value.
    #[track_caller]
    pub(super) fn step<'b>(&self, step: &Step<'b, '_>) -> Tensor<'b> {
        let entry = step.shared().entry;
        let gradient = step.decayed_gradient(self.weight_decay);
        let square = step.slot("square");
        let spread = entry.read(square) * self.alpha + gradient * gradient * (1.0 - self.alpha);
        let mut spread = step.keep_divisor(square, spread, self.eps);
        if self.centred {
            let mean = step.slot("mean");
            let before = entry.read(mean);
            let next = step.keep(mean, before + (gradient - before) * (1.0 - self.alpha));
            // Not below 0 but by rounding, which a gradient that stays the same comes to.
            spread = (spread - next * next).maximum(0.0);
        }
        let mut direction = gradient / (spread.sqrt() + self.eps);
        if self.momentum != 0.0 {
            let velocity = step.slot("velocity");
            direction = step.keep(velocity, entry.read(velocity) * self.momentum + direction);
        }
        step.value - step.scaled(direction)
    }
}

/// Adadelta, in PyTorch's formulas: Zeiler (2012).
///
/// ```text
/// g ← g + weight_decay·p
/// s ← rho·s + (1 − rho)·g²
/// d ← √(a + eps)/√(s + eps)·g
/// a ← rho·a + (1 − rho)·d²
/// p ← p − lr·d
/// ```
///
/// State: `adadelta.square`, `adadelta.delta`; what is below the smallest normal number is zero.
#[doc = step_example!(Adadelta::new(1.0); 1 => 0.9968)]
#[derive(Debug, Clone)]
pub struct Adadelta<'b> {
    pub(super) rate: LearningRate<'b>,
    pub(super) name: Option<String>,
    pub(super) rule: AdadeltaRule,
}

/// Options that the meaning of the state depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AdadeltaRule {
    rho: f64,
    eps: f64,
    weight_decay: f64,
}

optimizer!(Adadelta, Adadelta, "Adadelta::new(1.0)" keeps "delta");

impl<'b> Adadelta<'b> {
    /// With rho 0.9, eps 1e-6 and no weight decay.
    #[doc = step_example!(Adadelta::new(1.0); 1 => 0.9968)]
    pub fn new(rate: impl Into<LearningRate<'b>>) -> Adadelta<'b> {
        let rule = AdadeltaRule { rho: 0.9, eps: 1e-6, weight_decay: 0.0 };
        Adadelta { rate: rate.into(), name: None, rule }
    }

    /// Decay of the squares, from 0 to below 1.
    #[doc = step_example!(Adadelta::new(1.0).rho(0.0).eps(1.0); 1 => 0.1056)]
    #[must_use]
    pub fn rho(self, rho: f64) -> Self {
        Self { rule: AdadeltaRule { rho, ..self.rule }, ..self }
    }

    /// What is added under the roots, at least 0.
    #[doc = step_example!(Adadelta::new(1.0).eps(1.0); 1 => -0.6903)]
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { rule: AdadeltaRule { eps, ..self.rule }, ..self }
    }

    /// Weight decay, at least 0, added to the gradient.
    #[doc = step_example!(Adadelta::new(1.0).eps(1.0).weight_decay(1.0); 1 => -1.1764)]
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { rule: AdadeltaRule { weight_decay, ..self.rule }, ..self }
    }
}

impl AdadeltaRule {
    pub(super) fn fault(&self) -> Option<String> {
        below_one("rho", self.rho)
            .or_else(|| not_negative("eps", self.eps))
            .or_else(|| not_negative("weight decay", self.weight_decay))
    }

    /// The parameter's next value.
    #[track_caller]
    pub(super) fn step<'b>(&self, step: &Step<'b, '_>) -> Tensor<'b> {
        let entry = step.shared().entry;
        let gradient = step.decayed_gradient(self.weight_decay);
        let (square, delta) = (step.slot("square"), step.slot("delta"));
        let squares = entry.read(square) * self.rho + gradient * gradient * (1.0 - self.rho);
        let squares = step.keep_divisor(square, squares, self.eps);
        let before = entry.read(delta);
        let direction = (before + self.eps).sqrt() / (squares + self.eps).sqrt() * gradient;
        let deltas = before * self.rho + direction * direction * (1.0 - self.rho);
        step.keep(delta, deltas);
        step.value - step.scaled(direction)
    }
}
