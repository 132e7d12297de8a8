//! Formulas as they stand in books, which a compiler had better compute otherwise.

use kilngrad_ir::op::{Axes, BinaryOp, ReduceOp, UnaryOp};
use kilngrad_ir::{Literal, Op, Type, Value};

use super::{Generator, range};
use crate::recipe::{Picks, Regime};

impl Generator {
    /// A formula with an exponential that is moderate here, so that it needs no rewriting to be
    /// right.
    pub(super) fn formula_step(&mut self, picks: &mut Picks<'_>) {
        if self.case.regime == Regime::Integers {
            return;
        }
        let float = |value: Value| self.dtype(value).is_float();
        // Where axes are equal, one is easily taken for the other.
        let square = |value: Value| {
            let dims = self.graph.ty(value).shape.dims();
            float(value) && (1..dims.len()).any(|axis| dims[..axis].contains(&dims[axis]))
        };
        let x = self.pick_where(picks, square).or_else(|| self.pick_where(picks, float));
        if let Some(x) = x {
            self.formula(x, picks);
        }
    }

    fn formula(&mut self, x: Value, picks: &mut Picks<'_>) -> Option<Value> {
        let x = self.clamp(x, -4.0, 4.0)?;
        let one = self.constant(self.ty(x), Literal::from_f64(self.dtype(x), 1.0))?;
        let power = self.raw_unary(UnaryOp::Exp, x)?;
        match picks.below(9) {
            0 | 7 | 8 => self.normalised_power(power, picks),
            1 => {
                let axes = self.some_axes(x, picks);
                let sum = self.sum_of_powers(power, axes)?;
                self.raw_unary(UnaryOp::Log, sum)
            }
            2 => self.raw_unary(UnaryOp::Log1p, power),
            3 => {
                let sum = self.raw_binary(BinaryOp::Add, one, power)?;
                self.raw_unary(UnaryOp::Log, sum)
            }
            4 => self.raw_binary(BinaryOp::Sub, power, one),
            5 => {
                let share = self.raw_unary(UnaryOp::Sigmoid, x)?;
                self.raw_unary(UnaryOp::Log, share)
            }
            _ => {
                let share = self.raw_unary(UnaryOp::Sigmoid, x)?;
                let rest = self.raw_binary(BinaryOp::Sub, one, share)?;
                self.raw_unary(UnaryOp::Log, rest)
            }
        }
    }

    /// A softmax, or its logarithm; or, where lengths allow it, what only looks like one: the sums
    /// are repeated along other axes than they were taken along.
    fn normalised_power(&mut self, power: Value, picks: &mut Picks<'_>) -> Option<Value> {
        let full = self.ty(power);
        let axes = self.some_axes(power, picks);
        let sum = self.sum_of_powers(power, axes.clone())?;
        let places = placements(&self.ty(sum), &full);
        let dims = picks.of(&places);
        let repeated = self.emit(Op::Broadcast { dims }, &[sum], &[full], self.range(sum))?;
        let share = self.raw_binary(BinaryOp::Div, power, repeated)?;
        if picks.rarely(2) { self.raw_unary(UnaryOp::Log, share) } else { Some(share) }
    }

    /// `None` of no terms, where the sum is 0.
    fn sum_of_powers(&mut self, power: Value, axes: Axes) -> Option<Value> {
        let shape = self.shape(self.graph.ty(power));
        let terms: usize = axes.iter().map(|axis| shape[*axis]).product();
        if terms == 0 {
            return None;
        }
        let op = ReduceOp::Sum;
        let range = range::reduce(op, self.range(power), terms, self.dtype(power));
        self.emit(Op::Reduce { op, axes }, &[power], &[], range)
    }
}

/// The ways in which axes of one type may be axes of another, in order.
fn placements(from: &Type, to: &Type) -> Vec<Axes> {
    let mut found = vec![Axes::new()];
    for dim in from.shape.dims() {
        let longer = found.iter().flat_map(|axes| {
            let next = axes.last().map_or(0, |axis| axis + 1);
            let fitting = (next..to.rank()).filter(|axis| to.shape.dims()[*axis] == *dim);
            fitting.map(|axis| axes.iter().copied().chain([axis]).collect())
        });
        found = longer.collect();
    }
    found
}
