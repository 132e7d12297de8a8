//! Optimizers: their steps are graph, appended to an entry as updates, and compiled with it.
//!
//! The state of an optimizer lives beside each parameter: `net.w.adam.m` for the parameter
//! `net.w`, and one step counter a group at its first parameter, `net.w.adam.step`. The word in the
//! middle is the optimizer's, or what [`Adam::named`] and its like say.
//!
//! The parameters of one call of [`Entry::minimize`] are a group. Another call with the same
//! parameters in the same order, the same name and the same rule, in this entry or another,
//! continues the same states: that is how a program trains by two entries. Learning rates may
//! differ. Any other call that would touch the states of a group is an error; a name keeps two
//! optimizers of the same parameters apart.
//!
//! Everything that is one number a step, such as bias corrections, is computed in `f64`, and
//! rounded to the parameter's dtype once.
//!
//! Moments and velocities, which decay, hold no subnormal numbers: what is smaller than the
//! smallest normal number becomes zero.

mod accumulate;
mod adam;
mod adaptive;
mod groups;
mod penalty;
mod sgd;

use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

use kilngrad_ir::{DType, Diagnostic, Init, Literal, Role, Site, State, StateId, Type};

pub use accumulate::Accumulator;
pub use adam::{Adam, AdamW};
pub use adaptive::{Adadelta, Adagrad, RmsProp};
pub use sgd::Sgd;

use crate::builder::{Param, Params};
use crate::entry::Entry;
use crate::example::{example, step_example};
use crate::tensor::Tensor;

/// How far a step goes: a number, or a scalar float tensor such as an input of the entry.
#[doc = step_example!(Sgd::new(e.constant((), &[0.5]) * 0.5); 1 => 0.5)]
#[derive(Debug, Clone, Copy)]
pub enum LearningRate<'b> {
    /// The same in every call.
    Number(f64),
    /// Computed or fed.
    Tensor(Tensor<'b>),
}

impl From<f64> for LearningRate<'_> {
    fn from(number: f64) -> Self {
        LearningRate::Number(number)
    }
}

impl<'b> From<Tensor<'b>> for LearningRate<'b> {
    fn from(tensor: Tensor<'b>) -> Self {
        LearningRate::Tensor(tensor)
    }
}

/// An optimizer with its options: what [`Sgd`], [`Adam`] and the others become.
#[doc = step_example!(Optimizer::from(Sgd::new(0.25)); 1 => 0.5)]
#[derive(Debug, Clone)]
pub struct Optimizer<'b> {
    rate: LearningRate<'b>,
    name: Option<String>,
    rule: Rule,
}

/// The rule of a step without its learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Sgd(sgd::Rule),
    Adam(adam::Rule),
    Adagrad(adaptive::AdagradRule),
    RmsProp(adaptive::RmsPropRule),
    Adadelta(adaptive::AdadeltaRule),
}

impl Rule {
    fn name(&self) -> &'static str {
        match self {
            Rule::Sgd(_) => "sgd",
            Rule::Adam(rule) => rule.name(),
            Rule::Adagrad(_) => "adagrad",
            Rule::RmsProp(_) => "rmsprop",
            Rule::Adadelta(_) => "adadelta",
        }
    }

    /// Whether the rule counts steps.
    fn counts(&self) -> bool {
        match self {
            Rule::Sgd(rule) => rule.counts(),
            Rule::Adam(_) => true,
            Rule::Adagrad(_) | Rule::RmsProp(_) | Rule::Adadelta(_) => false,
        }
    }

    /// What is wrong with its options: what was expected and found.
    fn fault(&self) -> Option<String> {
        match self {
            Rule::Sgd(rule) => rule.fault(),
            Rule::Adam(rule) => rule.fault(),
            Rule::Adagrad(rule) => rule.fault(),
            Rule::RmsProp(rule) => rule.fault(),
            Rule::Adadelta(rule) => rule.fault(),
        }
    }
}

/// The setters and the conversion that every optimizer has.
macro_rules! optimizer {
    ($optimizer:ident, $variant:ident, $example:literal keeps $state:literal) => {
        impl<'b> $optimizer<'b> {
            /// The word under which states are kept, in place of the optimizer's own: it keeps
            /// two optimizers of the same parameters apart.
            #[doc = concat!(
                        "\n```\n",
                        "# use kilngrad_builder::*;\n",
                        "# let b = Builder::new(\"named\");\n",
                        "let w = b.param(\"w\", (), Init::Ones);\n",
                        "let e = b.entry(\"train\", Mode::Train);\n",
                        "e.minimize(e.read(w).square(), w, ", $example, ".named(\"slow\"));\n",
                        "assert!(b.finish()?.find_state(\"w.slow.", $state, "\").is_some());\n",
                        "# Ok::<(), BuildErrors>(())\n",
                        "```\n"
                    )]
            #[must_use]
            pub fn named(self, name: &str) -> Self {
                Self { name: Some(name.to_owned()), ..self }
            }
        }

        impl<'b> From<$optimizer<'b>> for crate::optimizers::Optimizer<'b> {
            fn from(optimizer: $optimizer<'b>) -> Self {
                crate::optimizers::Optimizer {
                    rate: optimizer.rate,
                    name: optimizer.name,
                    rule: crate::optimizers::Rule::$variant(optimizer.rule),
                }
            }
        }
    };
}
pub(crate) use optimizer;

/// What the builder knows of the parameters that are minimized together.
pub(crate) struct Group {
    name: Arc<str>,
    params: Vec<StateId>,
    rule: Rule,
    site: &'static Location<'static>,
    /// States beside parameters, by the parameter and the last word of the path.
    slots: HashMap<(StateId, &'static str), Param>,
}

/// One parameter's step: where its rule reads and writes.
pub(crate) struct Step<'b, 's> {
    shared: &'s Shared<'b>,
    group: usize,
    /// Who is updated.
    param: Param,
    /// Its value before the step.
    pub(crate) value: Tensor<'b>,
    /// The gradient.
    pub(crate) gradient: Tensor<'b>,
}

/// What the steps of a group have in common.
pub(crate) struct Shared<'b> {
    pub(crate) entry: Entry<'b>,
    pub(crate) rate: LearningRate<'b>,
    /// Number of the step from 1, a scalar of `f64`, if the rule counts.
    pub(crate) count: Option<Tensor<'b>>,
}

impl<'b> Shared<'b> {
    /// The learning rate as a scalar of `f64`.
    #[track_caller]
    pub(crate) fn rate(&self) -> Tensor<'b> {
        match self.rate {
            LearningRate::Number(number) => self
                .entry
                .splat(Literal::from_f64(DType::F64, number), kilngrad_ir::Shape::scalar()),
            LearningRate::Tensor(tensor) => tensor.cast_exactly(DType::F64),
        }
    }
}

impl<'b> Step<'b, '_> {
    /// A state of the parameter's type beside it, zero at first.
    #[track_caller]
    pub(crate) fn slot(&self, word: &'static str) -> Param {
        let builder = self.shared.entry.builder;
        let Some(id) = self.param.state else { return self.param };
        let (known, path, ty) = {
            let inner = builder.inner.borrow();
            let (group, state) = (&inner.groups[self.group], &inner.states[id.index()]);
            let known = group.slots.get(&(id, word)).copied();
            (known, format!("{}.{}.{word}", state.path, group.name), state.ty.clone())
        };
        if let Some(known) = known {
            return known;
        }
        let init = Init::Splat(Literal::from_i64(ty.dtype, 0));
        self.shared.entry.optimizer_state(self.group, (id, word), path, ty, init)
    }

    /// Lets a state that decays be `next` after the step, with zero for what is smaller than the
    /// smallest normal number. Gives what it will be.
    ///
    /// A moment whose gradient is zero, such as that of a unit that died, would decay to a
    /// subnormal number that rounds to itself ever after, and processors take a hundred cycles for
    /// each of those.
    #[track_caller]
    pub(crate) fn keep(&self, slot: Param, next: Tensor<'b>) -> Tensor<'b> {
        let least = match next.ty().map(|ty| ty.dtype) {
            Some(DType::F32) => f64::from(f32::MIN_POSITIVE),
            Some(DType::F64) => f64::MIN_POSITIVE,
            // Poisoned, or refused where it is declared.
            Some(DType::I64 | DType::I32 | DType::U8 | DType::Bool) | None => return next,
        };
        // NaN is not less, and stays.
        let next = next.abs().lt(least).select(next.like(0.0), next);
        self.shared.entry.update(slot, next);
        next
    }

    /// [`keep`](Self::keep) of squares that a step is divided by with `eps`. Where that is nothing,
    /// zero would make the step infinite, and they are kept as they are.
    #[track_caller]
    pub(crate) fn keep_divisor(&self, slot: Param, next: Tensor<'b>, eps: f64) -> Tensor<'b> {
        let is_f32 = next.ty().is_some_and(|ty| ty.dtype == DType::F32);
        let nothing = if is_f32 { eps as f32 == 0.0 } else { eps == 0.0 };
        if !nothing {
            return self.keep(slot, next);
        }
        self.shared.entry.update(slot, next);
        next
    }

    /// A scalar of `f64` in the parameter's dtype.
    #[track_caller]
    pub(crate) fn scalar(&self, number: Tensor<'b>) -> Tensor<'b> {
        match self.value.ty() {
            Some(ty) => number.cast_exactly(ty.dtype),
            None => number,
        }
    }

    /// `rate·direction`.
    #[track_caller]
    pub(crate) fn scaled(&self, direction: Tensor<'b>) -> Tensor<'b> {
        match self.shared.rate {
            LearningRate::Number(number) => direction * number,
            LearningRate::Tensor(rate) => direction * self.scalar(rate.cast_exactly(DType::F64)),
        }
    }

    /// The gradient with that of `weight_decay·‖parameter‖²/2` added.
    #[track_caller]
    pub(crate) fn decayed_gradient(&self, weight_decay: f64) -> Tensor<'b> {
        match weight_decay {
            0.0 => self.gradient,
            decay => self.gradient + self.value * decay,
        }
    }

    pub(crate) fn shared(&self) -> &Shared<'b> {
        self.shared
    }
}

impl<'b> Entry<'b> {
    /// Steps parameters down the gradient of a loss, a float scalar: each call of the entry does
    /// one step of the optimizer, after everything that reads the parameters before this point.
    ///
    /// Every parameter must take part in the loss, which compiling checks. Parameters that take
    /// part and are not listed stay as they are.
    #[doc = step_example!(Sgd::new(0.25); 2 => 0.25)]
    #[track_caller]
    pub fn minimize(
        self,
        loss: Tensor<'b>,
        params: impl Into<Params>,
        optimizer: impl Into<Optimizer<'b>>,
    ) {
        let params = params.into();
        let gradients = self.gradients(loss, params.clone());
        self.apply_gradients(params, &gradients, optimizer);
    }

    /// The gradients of a loss by parameters, by one request: one a parameter, in order.
    #[doc = example!(
        e.gradients(e.read(w).square(), w)[0] => 2f32;
        w = b.param("w", (), Init::Ones)
    )]
    #[track_caller]
    pub fn gradients(self, loss: Tensor<'b>, params: impl Into<Params>) -> Vec<Tensor<'b>> {
        let mut values = Vec::new();
        for param in params.into().list {
            values.push(self.read(param));
        }
        loss.gradients(&values, false)
    }

    /// Steps parameters by these gradients, one a parameter: [`minimize`](Self::minimize) with
    /// the gradients in the caller's hands, to clip or to average.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Init, Mode, Sgd};
    /// # use kilngrad_interp::{Array, Interpreter};
    ///
    /// let b = Builder::new("clipped");
    /// let w = b.param("w", (), Init::Ones);
    /// let e = b.entry("train", Mode::Train);
    /// let gradients = e.gradients(e.read(w).square(), w);
    /// e.apply_gradients(w, &[gradients[0].clamp(-0.5, 0.5)], Sgd::new(1.0));
    /// # let program = kilngrad_autodiff::differentiate(&b.finish()?)
    /// #     .map_err(|found| found[0].to_string())?;
    /// # let mut run = Interpreter::new(program, 0)?;
    /// run.call("train", [])?;
    /// assert_eq!(run.state("w"), Some(&Array::from(0.5f32)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn apply_gradients(
        self,
        params: impl Into<Params>,
        gradients: &[Tensor<'b>],
        optimizer: impl Into<Optimizer<'b>>,
    ) {
        let (params, optimizer) = (params.into(), optimizer.into());
        if params.failed || gradients.iter().any(|gradient| gradient.value.is_none()) {
            return;
        }
        if params.list.len() != gradients.len() {
            let message = format!(
                "expected a gradient for each of {} parameters, found {}",
                params.list.len(),
                gradients.len()
            );
            self.fail(Diagnostic::new("optimizer_b2", message));
            return;
        }
        let _scope = self.enter("minimize");
        let Some(group) = self.group(&params, &optimizer) else { return };
        let Some(shared) = self.shared(group, &params, &optimizer) else { return };
        for (param, gradient) in params.list.into_iter().zip(gradients.iter().copied()) {
            let value = self.read(param);
            let step = Step { shared: &shared, group, param, value, gradient };
            let next = match &optimizer.rule {
                Rule::Sgd(rule) => rule.step(&step),
                Rule::Adam(rule) => rule.step(&step),
                Rule::Adagrad(rule) => rule.step(&step),
                Rule::RmsProp(rule) => rule.step(&step),
                Rule::Adadelta(rule) => rule.step(&step),
            };
            self.update(param, next);
        }
    }

    /// The tensors scaled by one number so that the norm of all together is at most `max_norm`: by
    /// `min(1, max_norm/(norm + 1e-6))`, PyTorch's `clip_grad_norm_`.
    #[doc = example!(
        e.clip_grad_norm(&[x], 1.0)[0] => about vec![0.6, 0.8];
        x = e.constant([2], &[3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn clip_grad_norm(self, gradients: &[Tensor<'b>], max_norm: f64) -> Vec<Tensor<'b>> {
        let Some((first, rest)) = gradients.split_first() else { return Vec::new() };
        if !(max_norm.is_finite() && max_norm >= 0.0) {
            let message = format!("expected a norm of at least 0, found {max_norm}");
            let failed = self.fail_on("optimizer_b3", message, gradients);
            return vec![failed; gradients.len()];
        }
        let _scope = self.enter("clip_grad_norm");
        let mut total = first.square().sum(..);
        for gradient in rest {
            total = total + gradient.square().sum(..);
        }
        let norm = total.flat_sqrt();
        let factor = (norm.like(max_norm) / (norm + 1e-6)).minimum(1.0);
        let mut clipped = Vec::with_capacity(gradients.len());
        for gradient in gradients {
            clipped.push(*gradient * factor);
        }
        clipped
    }

    /// The group of a call: a known one that it continues, or a new one. `None` after an error.
    #[track_caller]
    fn group(self, params: &Params, optimizer: &Optimizer<'b>) -> Option<usize> {
        let site = Location::caller();
        if let Some(message) = optimizer.fault() {
            self.fail(Diagnostic::new("optimizer_b3", message));
            return None;
        }
        if params.list.is_empty() {
            let message = "expected at least one parameter to minimize by, found none";
            self.fail(Diagnostic::new("optimizer_b2", message));
            return None;
        }
        let mut ids: Vec<StateId> = Vec::with_capacity(params.list.len());
        let mut seen = HashSet::new();
        for param in &params.list {
            let id = self.state_of(*param)?;
            if !seen.insert(id) {
                let path = self.builder.inner.borrow().states[id.index()].path.clone();
                let message = format!("expected each parameter once, found {path:?} again");
                self.fail(Diagnostic::new("optimizer_b2", message));
                return None;
            }
            ids.push(id);
        }
        let name: Arc<str> = optimizer.name.as_deref().unwrap_or(optimizer.rule.name()).into();
        let inner = self.builder.inner.borrow();
        let rival = inner.groups.iter().position(|group| {
            group.name == name && group.params.iter().any(|id| seen.contains(id))
        });
        let Some(index) = rival else {
            drop(inner);
            let slots = HashMap::new();
            let group = Group { name, params: ids, rule: optimizer.rule, site, slots };
            let mut inner = self.builder.inner.borrow_mut();
            inner.groups.push(group);
            return Some(inner.groups.len() - 1);
        };
        let group = &inner.groups[index];
        let what = match (group.params == ids, group.rule == optimizer.rule) {
            (true, true) => return Some(index),
            (true, false) => "options",
            (false, _) => "parameters",
        };
        let site = group.site;
        drop(inner);
        let message =
            format!("expected the {what} of the earlier {name:?}, found others for the same state");
        let diagnostic = Diagnostic::new("optimizer_b1", message)
            .related("the earlier one is here", Site::caller(site))
            .help("give one of the two another name with `.named(..)` to keep their states apart");
        self.fail(diagnostic);
        None
    }

    /// What the steps have in common; `None` after an error.
    #[track_caller]
    fn shared(
        self,
        group: usize,
        params: &Params,
        optimizer: &Optimizer<'b>,
    ) -> Option<Shared<'b>> {
        if let LearningRate::Tensor(rate) = optimizer.rate {
            self.admit(&[rate])?;
            let ty = rate.ty()?;
            if ty.rank() != 0 || !ty.dtype.is_float() {
                let message =
                    format!("expected a learning rate that is a float scalar, found {ty}");
                self.fail_on("optimizer_b3", message, &[rate]);
                return None;
            }
        }
        let mut shared = Shared { entry: self, rate: optimizer.rate, count: None };
        let first = params.list.first().and_then(|param| param.state);
        if let Some(id) = first.filter(|_| optimizer.rule.counts()) {
            let (known, path) = {
                let inner = self.builder.inner.borrow();
                let (group, state) = (&inner.groups[group], &inner.states[id.index()]);
                let known = group.slots.get(&(id, "step")).copied();
                (known, format!("{}.{}.step", state.path, group.name))
            };
            let counter = match known {
                Some(known) => known,
                None => {
                    let init = Init::Splat(Literal::from_i64(DType::I64, 0));
                    let ty = Type::scalar(DType::I64);
                    self.optimizer_state(group, (id, "step"), path, ty, init)
                }
            };
            let count = self.read(counter) + 1;
            self.update(counter, count);
            shared.count = Some(count.cast_exactly(DType::F64));
        }
        Some(shared)
    }

    /// Declares a state of an optimizer and notes it in its group.
    #[track_caller]
    fn optimizer_state(
        self,
        group: usize,
        key: (StateId, &'static str),
        path: String,
        ty: Type,
        init: Init,
    ) -> Param {
        let site = Location::caller();
        let state = State { path: path.into(), ty, init, role: Role::Optimizer };
        let param = self.builder.declare(state, "".into(), site);
        self.builder.inner.borrow_mut().groups[group].slots.insert(key, param);
        param
    }
}

impl Optimizer<'_> {
    /// What is wrong with its options.
    fn fault(&self) -> Option<String> {
        let rate = match self.rate {
            LearningRate::Number(rate) => not_negative("learning rate", rate),
            LearningRate::Tensor(_) => None,
        };
        let named = self.name.as_deref().unwrap_or(self.rule.name());
        let parts = named
            .split('.')
            .any(str::is_empty)
            .then(|| format!("expected names joined by single dots, found {named:?}"));
        rate.or(parts).or_else(|| self.rule.fault())
    }
}

/// What is wrong with an option that is to be finite and at least 0.
fn not_negative(name: &str, found: f64) -> Option<String> {
    let fine = found.is_finite() && found >= 0.0;
    (!fine).then(|| format!("expected a {name} of at least 0, found {found}"))
}

/// What is wrong with an option that is to be from 0 to below 1.
fn below_one(name: &str, found: f64) -> Option<String> {
    let fine = (0.0..1.0).contains(&found);
    (!fine).then(|| format!("expected a {name} from 0 to below 1, found {found}"))
}
