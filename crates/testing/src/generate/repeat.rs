//! Loops that data end: two carries that change places, or one of two regions in each iteration.

use kilngrad_ir::op::{BinaryOp, CompareOp, Op, While};
use kilngrad_ir::{Constant, DType, Graph, Literal, Type, Value};

use super::Generator;
use super::cond::{cond, stepped, swapped};
use super::range::Range;
use super::scan::{BOUND, Region, Step};
use crate::recipe::{Picks, Regime};

/// Iterations, but for one that data may add.
const MOST: usize = 4;

impl Generator {
    pub(super) fn while_step(&mut self, picks: &mut Picks<'_>) {
        let Some(x) = self.pick_where(picks, |_| true) else { return };
        let ty = self.ty(x);
        if self.elements(&ty).is_none_or(|elements| elements > 1 << 10) {
            return;
        }
        let real = ty.dtype.is_float() && self.case.regime != Regime::Integers;
        let step = if real && picks.rarely(2) { Step::Smooth } else { Step::Clamped };
        let Some(first) = self.scan_value(&ty, picks) else { return };
        let Some(constant) = self.scan_value(&ty, picks) else { return };
        let Some(limit) = self.iterations(picks) else { return };
        let counter = Type::scalar(DType::I64);
        let zero = Op::Constant(Constant::Splat(Literal::from_i64(DType::I64, 0)));
        let zero = self.emit(zero, &[], &[counter], Range::point(0.0));
        let Some(zero) = zero else { return };
        let op = Op::While(Box::new(While {
            test: counts_to(&ty),
            body: iteration(&ty, step, picks.rarely(2)),
            carries: 3,
            workspace: None,
        }));
        let bound = if step == Step::Smooth { 1.0 } else { BOUND };
        let each = match ty.dtype.is_float() {
            true => Range::new(-bound, bound, step == Step::Clamped),
            false => Range::all(ty.dtype),
        };
        // All that is added, clamped and chosen from is whole where these are.
        let sources = [x, first, constant];
        let whole = each.whole && sources.iter().all(|value| self.range(*value).whole);
        let range = each.union(self.range(x)).union(self.range(first));
        let before = self.ranges.len();
        self.emit_each(op, &[limit, constant, zero, x, first], Range { whole, ..range });
        if let Some(counter) = self.ranges.get_mut(before) {
            *counter = Range::new(0.0, (MOST + 1) as f64, true);
        }
    }

    /// How many iterations there are; one more where some truth holds.
    fn iterations(&mut self, picks: &mut Picks<'_>) -> Option<Value> {
        let counter = Type::scalar(DType::I64);
        let count = picks.below(MOST) as i64;
        let stated = Op::Constant(Constant::Splat(Literal::from_i64(DType::I64, count)));
        let stated =
            self.emit(stated, &[], std::slice::from_ref(&counter), Range::point(count as f64))?;
        let truth = Type::scalar(DType::Bool);
        let there = self.pick_where(picks, |value| *self.graph.ty(value) == truth);
        let Some(there) = there else { return Some(stated) };
        let one = self.emit(Op::Cast, &[there], &[counter], Range::new(0.0, 1.0, true))?;
        let range = Range::new(0.0, (count + 1) as f64, true);
        self.emit(Op::Binary(BinaryOp::Add), &[stated, one], &[], range)
    }
}

/// The test: a constant, the count and two values.
fn counts_to(ty: &Type) -> Graph {
    let mut body = Graph::new();
    let scalar = Type::scalar(DType::I64);
    let limit = body.add_numbered_argument(scalar.clone());
    let count = body.add_numbered_argument(scalar);
    body.add_numbered_argument(ty.clone());
    body.add_numbered_argument(ty.clone());
    let mut region = Region { body };
    let more = region.emit(Op::Compare(CompareOp::Lt), &[count, limit], &[])[0];
    region.body.set_results(vec![more]);
    region.body
}

/// An iteration: a constant, the count and two values, which change places on the way.
fn iteration(ty: &Type, step: Step, branches: bool) -> Graph {
    let mut body = Graph::new();
    let constant = body.add_numbered_argument(ty.clone());
    let count = body.add_numbered_argument(Type::scalar(DType::I64));
    let [x, y] = [(); 2].map(|()| body.add_numbered_argument(ty.clone()));
    let mut region = Region { body };
    let one = region.splat(&Type::scalar(DType::I64), 1.0);
    let next = region.binary(BinaryOp::Add, count, one);
    let (first, second) = if branches {
        let early = region.emit(Op::Compare(CompareOp::Lt), &[count, one], &[])[0];
        let op = cond(stepped(ty, step), swapped(ty));
        let values = region.emit(op, &[early, constant, x, y, x, y], &[]);
        (values[0], values[1])
    } else {
        (y, region.next(step, [constant, x, y]))
    };
    region.body.set_results(vec![next, first, second]);
    region.body
}
