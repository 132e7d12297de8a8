//! Reductions, contractions, and reductions that are put back where they came from.

use kilngrad_ir::op::{ArgReduceOp, Axes, BinaryOp, DotAxes, ReduceOp, UnaryOp};
use kilngrad_ir::{DType, Op, Value};

use super::range::{self, Range};
use super::{Generator, MAX_WORK};
use crate::recipe::{Picks, Regime};

impl Generator {
    pub(super) fn reduce_step(&mut self, picks: &mut Picks<'_>) {
        let Some(x) = self.pick_where(picks, |value| self.dtype(value) != DType::Bool) else {
            return;
        };
        let op = picks.of(&ReduceOp::ALL).0;
        let axes = self.some_axes(x, picks);
        self.reduce(op, axes, x);
    }

    /// A reduction, whose operand is made small where the result would be large.
    fn reduce(&mut self, op: ReduceOp, axes: Axes, x: Value) -> Option<Value> {
        let (shape, dtype) = (self.shape(self.graph.ty(x)), self.dtype(x));
        let count = axes.iter().map(|axis| shape[*axis]).product();
        let reach = range::reduce(op, self.range(x), count, dtype).magnitude();
        let sums = matches!(op, ReduceOp::Sum | ReduceOp::Prod);
        let x = match op {
            ReduceOp::Sum | ReduceOp::Prod if dtype.is_float() && reach > self.limit() => {
                let reach =
                    if op == ReduceOp::Sum { self.limit() / count.max(1) as f64 } else { 1.0 };
                self.clamp(x, -reach.floor().max(1.0), reach.floor().max(1.0))?
            }
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => x,
        };
        // The extremes of nothing are infinite, which is no whole number.
        if !sums && count == 0 && !self.wild() {
            return None;
        }
        let range = range::reduce(op, self.range(x), count, dtype);
        self.emit(Op::Reduce { op, axes }, &[x], &[], range)
    }

    pub(super) fn arg_reduce_step(&mut self, picks: &mut Picks<'_>) {
        let number = |value: Value| {
            self.dtype(value) != DType::Bool
                && self.shape(self.graph.ty(value)).iter().any(|length| *length > 0)
        };
        let Some(x) = self.pick_where(picks, number) else { return };
        let shape = self.shape(self.graph.ty(x));
        let fitting: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] > 0).collect();
        let axis = picks.of(&fitting);
        let op = picks.of(&[ArgReduceOp::Max, ArgReduceOp::Min]);
        let range = Range::new(0.0, (shape[axis] - 1) as f64, true);
        self.emit(Op::ArgReduce { op, axis }, &[x], &[], range);
    }

    /// Axes of a value: the last, none, all, or any of them.
    pub(super) fn some_axes(&self, x: Value, picks: &mut Picks<'_>) -> Axes {
        let rank = self.graph.ty(x).rank();
        match (picks.below(8), rank) {
            (_, 0) | (1, _) => Axes::new(),
            (0 | 2 | 3, _) => Axes::from_slice(&[rank - 1]),
            (4, _) => (0..rank).collect(),
            (5, _) => Axes::from_slice(&[0]),
            _ => {
                let mask = picks.byte();
                (0..rank).filter(|axis| mask >> (axis % 8) & 1 == 1).collect()
            }
        }
    }

    pub(super) fn dot_step(&mut self, picks: &mut Picks<'_>) {
        let Some(lhs) = self.pick_where(picks, |value| self.dtype(value) != DType::Bool) else {
            return;
        };
        let dtype = self.dtype(lhs);
        let shares = |value: Value| {
            let dims = self.graph.ty(lhs).shape.dims();
            self.dtype(value) == dtype
                && self.graph.ty(value).shape.dims().iter().any(|dim| dims.contains(dim))
        };
        let rhs = self.pick_where(picks, shares);
        let rhs = rhs.or_else(|| self.pick_where(picks, |value| self.dtype(value) == dtype));
        let Some(rhs) = rhs else { return };
        let axes = self.dot_axes(lhs, rhs, picks);
        self.dot(axes, lhs, rhs);
    }

    /// Pairs axes of equal length, at random.
    fn dot_axes(&self, lhs: Value, rhs: Value, picks: &mut Picks<'_>) -> DotAxes {
        let (left, right) = (self.ty(lhs), self.ty(rhs));
        let mut axes = DotAxes::default();
        // The last axes first: that is where contractions mostly are.
        for (l, dim) in left.shape.dims().iter().enumerate().rev() {
            let free: Vec<usize> = (0..right.rank())
                .filter(|r| !axes.rhs_batch.contains(r) && !axes.rhs_contract.contains(r))
                .filter(|r| right.shape.dims()[*r] == *dim)
                .collect();
            if free.is_empty() {
                continue;
            }
            let r = picks.of(&free);
            match picks.below(6) {
                0 | 1 | 4 => {
                    axes.lhs_contract.push(l);
                    axes.rhs_contract.push(r);
                }
                2 => {
                    axes.lhs_batch.push(l);
                    axes.rhs_batch.push(r);
                }
                _ => {}
            }
        }
        axes
    }

    pub(super) fn dot(&mut self, axes: DotAxes, lhs: Value, rhs: Value) -> Option<Value> {
        let shape = self.shape(self.graph.ty(lhs));
        let other = self.shape(self.graph.ty(rhs));
        let terms: usize = axes.lhs_contract.iter().map(|axis| shape[*axis]).product();
        let rank = shape.len() + other.len() - axes.lhs_batch.len() - 2 * axes.lhs_contract.len();
        let free = axes.rhs_free(other.len());
        let columns: usize = free.iter().map(|axis| other[*axis].max(1)).product();
        let work =
            shape.iter().map(|length| *length.max(&1)).product::<usize>().checked_mul(columns);
        if rank > 5 || work.is_none_or(|work| self.work + work > MAX_WORK) {
            return None;
        }
        let (mut lhs, mut rhs) = (lhs, rhs);
        let dtype = self.dtype(lhs);
        let reach = self.range(lhs).magnitude() * self.range(rhs).magnitude() * terms as f64;
        if dtype.is_float() && reach > self.limit() {
            let reach = (self.limit() / terms.max(1) as f64).sqrt().floor().max(1.0);
            lhs = self.clamp(lhs, -reach, reach)?;
            rhs = self.clamp(rhs, -reach, reach)?;
        }
        let term = range::binary(BinaryOp::Mul, self.range(lhs), self.range(rhs), dtype);
        let range = range::reduce(ReduceOp::Sum, term, terms, dtype);
        let result = self.emit(Op::Dot(axes), &[lhs, rhs], &[], range)?;
        self.work += work.unwrap_or(0);
        Some(result)
    }

    /// What softmax and layer norm do: a reduction that is broadcast back and combined with what
    /// was reduced, once or twice.
    pub(super) fn normalise_step(&mut self, picks: &mut Picks<'_>) {
        let float = |value: Value| self.dtype(value).is_float() && self.graph.ty(value).rank() > 0;
        let Some(x) = self.pick_where(picks, float) else { return };
        let axes = match self.some_axes(x, picks) {
            axes if axes.is_empty() => Axes::from_slice(&[self.graph.ty(x).rank() - 1]),
            axes => axes,
        };
        self.normalise(x, &axes, picks);
    }

    fn normalise(&mut self, x: Value, axes: &Axes, picks: &mut Picks<'_>) -> Option<Value> {
        let peak = self.reduce(ReduceOp::Max, axes.clone(), x)?;
        let peak = self.back(peak, axes, x)?;
        let shifted = self.binary(BinaryOp::Sub, x, peak)?;
        let power = match self.case.regime {
            Regime::Integers => self.unary(UnaryOp::Relu, shifted)?,
            Regime::Reals | Regime::Wild => self.unary(UnaryOp::Exp, shifted)?,
        };
        let sum = self.reduce(ReduceOp::Sum, axes.clone(), power)?;
        let sum = self.back(sum, axes, x)?;
        let op = match self.case.regime {
            Regime::Integers => BinaryOp::Sub,
            Regime::Reals | Regime::Wild => BinaryOp::Div,
        };
        let result = self.binary(op, power, sum)?;
        if picks.rarely(3) {
            return self.reduce(ReduceOp::Sum, axes.clone(), result);
        }
        Some(result)
    }

    /// A value that was reduced from `like` along `axes`, broadcast to its type.
    fn back(&mut self, reduced: Value, axes: &Axes, like: Value) -> Option<Value> {
        let ty = self.ty(like);
        let dims = (0..ty.rank()).filter(|axis| !axes.contains(axis)).collect();
        self.emit(Op::Broadcast { dims }, &[reduced], &[ty], self.range(reduced))
    }
}
