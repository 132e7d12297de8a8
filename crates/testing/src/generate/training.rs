//! What training steps are made of: dense layers, and states that accumulate.

use kilngrad_ir::op::{BinaryOp, DotAxes, UnaryOp};
use kilngrad_ir::{DType, Op, StateId, Type, Value};

use super::Generator;
use crate::recipe::Picks;

impl Generator {
    /// A dense layer: a contraction with a weight along the last axis, a bias, an activation.
    pub(super) fn layer_step(&mut self, picks: &mut Picks<'_>) {
        let float = |value: Value| self.dtype(value).is_float() && self.graph.ty(value).rank() > 0;
        let Some(x) = self.pick_where(picks, float) else { return };
        self.layer(x, picks);
    }

    fn layer(&mut self, x: Value, picks: &mut Picks<'_>) -> Option<Value> {
        let Type { dtype, shape } = self.ty(x);
        let depth = shape.dims().last()?.clone();
        let units = picks.of(&self.lengths);
        let weight = Type::new(dtype, [depth, units.clone()].into_iter().collect());
        let weight = self.parameter(weight, picks)?;
        let mut axes = DotAxes::default();
        axes.lhs_contract.push(shape.rank() - 1);
        axes.rhs_contract.push(0);
        let sums = self.dot(axes, x, weight)?;
        let bias = self.parameter(Type::new(dtype, [units].into_iter().collect()), picks)?;
        let dims = [shape.rank() - 1].into_iter().collect();
        let ty = self.ty(sums);
        let bias = self.emit(Op::Broadcast { dims }, &[bias], &[ty], self.range(bias))?;
        let biased = self.binary(BinaryOp::Add, sums, bias)?;
        let activation = picks.of(&[UnaryOp::Relu, UnaryOp::Tanh, UnaryOp::Sigmoid]);
        let whole = self.case.regime == crate::recipe::Regime::Integers;
        self.unary(if whole { UnaryOp::Relu } else { activation }, biased)
    }

    /// A state, or an input where the type has a symbol.
    fn parameter(&mut self, ty: Type, picks: &mut Picks<'_>) -> Option<Value> {
        match self.new_state(ty.clone(), picks) {
            Some(id) => self.read(id),
            None => self.input(ty, picks),
        }
    }

    /// What optimizers do: `v := decay·v + x`, then `w := w − rate·v`. Old values are read for the
    /// last time where new ones are written, so each may be in the memory of the other.
    pub(super) fn accumulate_step(&mut self, picks: &mut Picks<'_>) {
        let number = |value: Value| {
            self.dtype(value) != DType::Bool && self.graph.ty(value).shape.as_constant().is_some()
        };
        let Some(x) = self.pick_where(picks, number) else { return };
        let Some((moment, old)) = self.accumulator(self.ty(x), picks) else { return };
        let Some(new) = self.step_towards(BinaryOp::Add, old, x, picks) else { return };
        self.updates.push((moment, new));
        if picks.rarely(2) {
            return;
        }
        let Some((weight, old)) = self.accumulator(self.ty(x), picks) else { return };
        if let Some(new) = self.step_towards(BinaryOp::Sub, old, new, picks) {
            self.updates.push((weight, new));
        }
    }

    /// A state of the type that has no update yet, and its value.
    fn accumulator(&mut self, ty: Type, picks: &mut Picks<'_>) -> Option<(StateId, Value)> {
        let mut known = (0..self.case.program.states.len()).map(StateId::from_index);
        let free = |id: &StateId| {
            self.case.program.state(*id).ty == ty
                && self.updates.iter().all(|(updated, _)| updated != id)
        };
        let id = known.rfind(free);
        let id = if let Some(id) = id { id } else { self.new_state(ty, picks)? };
        Some((id, self.read(id)?))
    }

    /// `old op factor·x`.
    fn step_towards(
        &mut self,
        op: BinaryOp,
        old: Value,
        x: Value,
        picks: &mut Picks<'_>,
    ) -> Option<Value> {
        let factor = self.splat(self.ty(x), picks)?;
        let scaled = self.binary(BinaryOp::Mul, x, factor)?;
        self.binary(op, old, scaled)
    }
}
