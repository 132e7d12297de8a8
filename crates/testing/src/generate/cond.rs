//! One of two regions: what a loop's step makes of three values, or two of them as they are.

use kilngrad_ir::op::{Cond, Op};
use kilngrad_ir::{DType, Graph, Type, Value};

use super::Generator;
use super::range::Range;
use super::scan::{BOUND, Region, Step};
use crate::recipe::{Picks, Regime};

impl Generator {
    pub(super) fn cond_step(&mut self, picks: &mut Picks<'_>) {
        let usable = |value: Value| !self.smooth || self.dtype(value) == DType::F64;
        let Some(x) = self.pick_where(picks, usable) else { return };
        let ty = self.ty(x);
        if self.elements(&ty).is_none_or(|elements| elements > 1 << 12) {
            return;
        }
        let real = ty.dtype.is_float() && self.case.regime != Regime::Integers;
        let step =
            if real && (self.smooth || picks.rarely(2)) { Step::Smooth } else { Step::Clamped };
        let Some(y) = self.scan_value(&ty, picks) else { return };
        let Some(z) = self.scan_value(&ty, picks) else { return };
        let Some(predicate) = self.predicate(picks) else { return };
        let (stepped, swapped) = (stepped(&ty, step), swapped(&ty));
        let (op, operands) = match picks.rarely(2) {
            false => (cond(stepped, swapped), [predicate, y, z, x, y, z]),
            true => (cond(swapped, stepped), [predicate, y, z, y, z, x]),
        };
        let bound = if step == Step::Smooth { 1.0 } else { BOUND };
        let each = match ty.dtype.is_float() {
            true => Range::new(-bound, bound, step == Step::Clamped),
            false => Range::all(ty.dtype),
        };
        // All that is added, clamped and chosen from is whole where these are.
        let whole = each.whole && [x, y, z].iter().all(|value| self.range(*value).whole);
        let range = each.union(self.range(y)).union(self.range(z));
        self.emit_each(op, &operands, Range { whole, ..range });
    }

    /// A truth. Of a smooth program it is one that no input moves.
    fn predicate(&mut self, picks: &mut Picks<'_>) -> Option<Value> {
        let ty = Type::scalar(DType::Bool);
        let there = self.pick_where(picks, |value| *self.graph.ty(value) == ty && !self.smooth);
        there.or_else(|| self.dense(ty, picks))
    }
}

pub(super) fn cond(then: Graph, otherwise: Graph) -> Op {
    Op::Cond(Box::new(Cond { then, otherwise, workspace: None }))
}

/// A step's next value, twice: each result depends on all that is read.
pub(super) fn stepped(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let next = region.next(step, [arguments[0], arguments[1], arguments[2]]);
    region.body.set_results(vec![next, next]);
    region.body
}

/// Two values, the second one first.
pub(super) fn swapped(ty: &Type) -> Graph {
    let (mut region, arguments) = Region::new(ty, 0);
    region.body.set_results(vec![arguments[1], arguments[0]]);
    region.body
}
