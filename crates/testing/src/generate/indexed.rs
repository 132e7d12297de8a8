//! What indices pick, and conditions on data.

use kilngrad_ir::op::{BinaryOp, CompareOp, ReduceOp};
use kilngrad_ir::{Check, DType, Literal, Op, Value};

use super::range::{self, Range};
use super::{Generator, MAX_WORK};
use crate::recipe::Picks;

impl Generator {
    pub(super) fn gather_step(&mut self, picks: &mut Picks<'_>) {
        self.gather(picks);
    }

    /// A tensor, indices into an axis of it, which may be out of range, and the picked slices.
    fn gather(&mut self, picks: &mut Picks<'_>) -> Option<(Value, Value, usize, Value)> {
        let picked = |value: Value| self.shape(self.graph.ty(value)).iter().any(|len| *len > 0);
        let x = self.pick_where(picks, picked)?;
        let shape = self.shape(self.graph.ty(x));
        let fitting: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] > 0).collect();
        let axis = picks.of(&fitting);
        let index =
            |value: Value| self.dtype(value) == DType::I64 && self.graph.ty(value).rank() < 3;
        let indices = match self.pick_where(picks, index) {
            Some(indices) if !picks.rarely(3) => indices,
            _ => {
                let ty = self.fresh_type(picks, &[DType::I64]).with_dtype(DType::I64);
                self.dense(ty, picks)?
            }
        };
        let range = self.range(x);
        let slices = self.emit(Op::Gather { axis }, &[x, indices], &[], range)?;
        Some((x, indices, axis, slices))
    }

    pub(super) fn scatter_step(&mut self, picks: &mut Picks<'_>) {
        let Some((x, indices, axis, taken)) = self.gather(picks) else { return };
        let dtype = self.dtype(x);
        if dtype == DType::Bool {
            return;
        }
        let ty = self.ty(taken);
        let same = self.pick_where(picks, |value| *self.graph.ty(value) == ty);
        let slices = same.unwrap_or(taken);
        let x = match picks.rarely(2) {
            true => self.constant(self.ty(x), Literal::from_i64(dtype, 0)),
            false => Some(x),
        };
        let Some(x) = x else { return };
        // Every slice may go to one place.
        let count = self.elements(self.graph.ty(indices)).unwrap_or(MAX_WORK);
        let most = (self.limit() / (count + 1) as f64).floor().max(1.0);
        let reach = range::reduce(ReduceOp::Sum, self.range(slices), count, dtype);
        let reach = range::binary(BinaryOp::Add, self.range(x), reach, dtype).magnitude();
        let too_far = dtype.is_float() && reach > self.limit();
        let small = |g: &mut Generator, value| match too_far {
            true => g.clamp(value, -most, most),
            false => Some(value),
        };
        let Some(x) = small(self, x) else { return };
        let Some(slices) = small(self, slices) else { return };
        let sum = range::reduce(ReduceOp::Sum, self.range(slices), count, dtype);
        let range = range::binary(BinaryOp::Add, self.range(x), sum, dtype);
        self.emit(Op::ScatterAdd { axis }, &[x, indices, slices], &[], range);
    }

    pub(super) fn argsort_step(&mut self, picks: &mut Picks<'_>) {
        let sortable = |value: Value| {
            let ty = self.graph.ty(value);
            ty.rank() > 0 && ty.dtype != DType::Bool
        };
        let Some(x) = self.pick_where(picks, sortable) else { return };
        let shape = self.shape(self.graph.ty(x));
        let axis = picks.below(shape.len());
        let descending = picks.rarely(2);
        let range = Range::new(0.0, shape[axis].saturating_sub(1) as f64, true);
        self.emit(Op::Argsort { axis, descending }, &[x], &[], range);
    }

    /// A check that holds, for a reason that no pass sees: no element is below what is fed.
    pub(super) fn check_step(&mut self, picks: &mut Picks<'_>) {
        let integers = |value: Value| self.dtype(value) == DType::I64;
        let Some(x) = self.pick_where(picks, integers) else { return };
        let count = self.shape(self.graph.ty(x)).iter().product();
        let range = range::reduce(ReduceOp::Min, self.range(x), count, DType::I64);
        let axes = (0..self.graph.ty(x).rank()).collect();
        let least = self.emit(Op::Reduce { op: ReduceOp::Min, axes }, &[x], &[], range);
        let Some(least) = least else { return };
        // The range is in `f64`, which rounds large integers.
        let floor = Literal::from_f64(DType::I64, range.low - range.low.abs() * 1e-12);
        let Some(floor) = self.constant(self.ty(least), floor) else { return };
        let truth = Range::new(0.0, 1.0, true);
        let holds = self.emit(Op::Compare(CompareOp::Ge), &[least, floor], &[], truth);
        let Some(condition) = holds else { return };
        let expected = ["numbers", "no \"less\"\n", ""][picks.below(3)].into();
        self.checks.push(Check { condition, expected, origin: self.origin.clone() });
    }
}
