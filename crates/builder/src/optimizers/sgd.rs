//! Stochastic gradient descent, with momentum.

use crate::example::step_example;
use crate::optimizers::{LearningRate, Step, not_negative, optimizer};
use crate::tensor::Tensor;

/// Gradient descent, in PyTorch's formulas:
///
/// ```text
/// g ← g + weight_decay·p
/// v ← momentum·v + (1 − dampening)·g      from v = g at the first step
/// p ← p − lr·v                            or p − lr·(g + momentum·v) with Nesterov's momentum
/// ```
///
/// State: `sgd.velocity` with momentum, and `sgd.step` with dampening. A velocity below the smallest
/// normal number is zero.
#[doc = step_example!(Sgd::new(0.1).momentum(0.5); 2 => 0.54)]
#[derive(Debug, Clone)]
pub struct Sgd<'b> {
    pub(super) rate: LearningRate<'b>,
    pub(super) name: Option<String>,
    pub(super) rule: Rule,
}

/// Options that the meaning of the state depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
}

optimizer!(Sgd, Sgd, "Sgd::new(0.1).momentum(0.9)" keeps "velocity");

impl<'b> Sgd<'b> {
    /// Without momentum and weight decay.
    #[doc = step_example!(Sgd::new(0.1); 1 => 0.8)]
    pub fn new(rate: impl Into<LearningRate<'b>>) -> Sgd<'b> {
        let rule = Rule { momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false };
        Sgd { rate: rate.into(), name: None, rule }
    }

    /// Momentum, at least 0.
    #[doc = step_example!(Sgd::new(0.1).momentum(0.5); 2 => 0.54)]
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Sgd<'b> {
        Sgd { rule: Rule { momentum, ..self.rule }, ..self }
    }

    /// Nesterov's momentum, which needs momentum and no dampening.
    #[doc = step_example!(Sgd::new(0.1).momentum(0.5).nesterov(); 1 => 0.7)]
    #[must_use]
    pub fn nesterov(self) -> Sgd<'b> {
        Sgd { rule: Rule { nesterov: true, ..self.rule }, ..self }
    }

    /// Dampening of the momentum.
    #[doc = step_example!(Sgd::new(0.1).momentum(0.5).dampening(0.5); 2 => 0.62)]
    #[must_use]
    pub fn dampening(self, dampening: f64) -> Sgd<'b> {
        Sgd { rule: Rule { dampening, ..self.rule }, ..self }
    }

    /// Weight decay, at least 0, added to the gradient.
    #[doc = step_example!(Sgd::new(0.1).weight_decay(1.0); 1 => 0.7)]
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Sgd<'b> {
        Sgd { rule: Rule { weight_decay, ..self.rule }, ..self }
    }
}

impl Rule {
    /// The first step differs from the others only with dampening: else `momentum·0 + g = g`.
    pub(super) fn counts(&self) -> bool {
        self.momentum != 0.0 && self.dampening != 0.0
    }

    pub(super) fn fault(&self) -> Option<String> {
        let nesterov = self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0);
        not_negative("momentum", self.momentum)
            .or_else(|| not_negative("weight decay", self.weight_decay))
            .or_else(|| {
                let found = self.dampening;
                (!found.is_finite()).then(|| format!("expected a finite dampening, found {found}"))
            })
            .or_else(|| {
                nesterov.then(|| {
                    format!(
                        "expected momentum without dampening for Nesterov's momentum, found \
                         momentum {} and dampening {}",
                        self.momentum, self.dampening
                    )
                })
            })
    }

    /// The parameter's next value.
    #[track_caller]
    pub(super) fn step<'b>(&self, step: &Step<'b, '_>) -> Tensor<'b> {
        let gradient = step.decayed_gradient(self.weight_decay);
        if self.momentum == 0.0 {
            return step.value - step.scaled(gradient);
        }
        let slot = step.slot("velocity");
        let entry = step.shared().entry;
        let damped = match self.dampening {
            0.0 => gradient,
            dampening => gradient * (1.0 - dampening),
        };
        let later = entry.read(slot) * self.momentum + damped;
        let velocity = match step.shared().count {
            Some(count) => count.eq(1.0).select(gradient, later),
            None => later,
        };
        let velocity = step.keep(slot, velocity);
        let direction = if self.nesterov { gradient + velocity * self.momentum } else { velocity };
        step.value - step.scaled(direction)
    }
}
