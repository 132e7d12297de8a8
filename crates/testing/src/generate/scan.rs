//! Loops: accumulators that stay in bounds, carries that swap, a constant that every iteration
//! reads, orders and windows of slices, arrays that a body states, and loops in loops.

use kilngrad_ir::op::{BinaryOp, Scan, UnaryOp, Window, Windows};
use kilngrad_ir::{Constant, DType, Dense, Graph, Literal, Op, Origin, Type, Value};

use super::Generator;
use super::range::Range;
use crate::recipe::{Picks, Regime};

/// Bounds of a carry of floats: whole numbers within them are exact when two are added.
pub(super) const BOUND: f64 = 512.0;

/// How a carry goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A sum that is clamped, or wraps.
    Clamped,
    /// The hyperbolic tangent of a sum.
    Smooth,
}

impl Generator {
    pub(super) fn scan_step(&mut self, picks: &mut Picks<'_>) {
        let usable = |value: Value| {
            self.graph.ty(value).rank() > 0 && (!self.smooth || self.dtype(value) == DType::F64)
        };
        let Some(stack) = self.pick_where(picks, usable) else { return };
        let ty = self.ty(stack);
        let slice = Type::new(ty.dtype, ty.shape.without(&[0]));
        let real = ty.dtype.is_float() && self.case.regime != Regime::Integers;
        let step =
            if real && (self.smooth || picks.rarely(2)) { Step::Smooth } else { Step::Clamped };
        // An empty stack has iterations too, and no sizes of its own to bound the work by.
        if self.elements(&ty).is_none_or(|elements| elements > 1 << 12) || self.shape(&ty)[0] > 70 {
            return;
        }
        let Some(first) = self.scan_value(&slice, picks) else { return };
        let Some(constant) = self.scan_value(&slice, picks) else { return };
        let near = self.wild() || self.range(stack).magnitude() <= BOUND;
        let stated = self.shape(&slice).iter().product::<usize>() <= 256
            && slice.shape.as_constant().is_some();
        let body = match picks.below(6) {
            1 => swap(&slice, step),
            2 if slice.rank() > 0 => nested(&slice, step),
            // Neighbours in the order are where a difference quotient stops.
            3 if slice.rank() > 0 && slice.dtype != DType::Bool && !self.smooth => {
                ordered(&slice, step)
            }
            4 if near && slice.dtype != DType::Bool && self.shape(&ty).get(1) > Some(&1) => {
                windowed(&slice, step)
            }
            5 if near && slice.dtype != DType::Bool && stated => shifted(&slice, step),
            _ => accumulate(&slice, step),
        };
        let carries = body.arguments().len() - 2;
        let firsts = vec![first; carries];
        let op = Op::Scan(Box::new(Scan {
            body,
            consts: 1,
            carries,
            length: ty.shape.dims()[0].clone(),
            reverse: picks.rarely(2),
            workspace: None,
        }));
        let bound = if step == Step::Smooth { 1.0 } else { BOUND };
        let each = match ty.dtype.is_float() {
            true => Range::new(-bound, bound, step == Step::Clamped),
            false => Range::all(ty.dtype),
        };
        // All that is added, clamped and chosen from is whole where these are.
        let sources = [first, constant, stack];
        let whole = each.whole && sources.iter().all(|value| self.range(*value).whole);
        let range = Range { whole, ..each.union(self.range(first)) };
        let operands = [&[constant], &firsts[..], &[stack]].concat();
        self.emit_each(op, &operands, range);
    }

    /// Appends a node with several results of one range, unless they would be too large.
    pub(super) fn emit_each(&mut self, op: Op, operands: &[Value], range: Range) {
        let types: Vec<&Type> = operands.iter().map(|value| self.graph.ty(*value)).collect();
        let inferred = kilngrad_ir::infer::infer(&op, &types, &[])
            .unwrap_or_else(|error| panic!("the generator made an invalid node: {error}"));
        let sizes: Option<Vec<usize>> = inferred.iter().map(|ty| self.elements(ty)).collect();
        let Some(elements) = sizes.map(|sizes| sizes.iter().sum::<usize>()) else { return };
        if self.work + elements > super::MAX_WORK {
            return;
        }
        self.work += elements;
        self.graph.append_unchecked(op, operands, &inferred, self.origin.clone());
        for ty in &inferred {
            let wild = self.wild() && ty.dtype.is_float();
            self.ranges.push(if wild { Range::all(ty.dtype) } else { range });
        }
    }

    /// A value of a type within the bounds of a carry.
    pub(super) fn scan_value(&mut self, ty: &Type, picks: &mut Picks<'_>) -> Option<Value> {
        let fits = |value: Value| {
            let range = self.range(value);
            *self.graph.ty(value) == *ty && (self.wild() || range.magnitude() <= BOUND)
        };
        let found = self.pick_where(picks, fits);
        if ty.dtype == DType::Bool || !ty.dtype.is_float() {
            let any = self.pick_where(picks, |value| *self.graph.ty(value) == *ty);
            return any.or_else(|| self.splat(ty.clone(), picks));
        }
        found.or_else(|| {
            let zero = Op::Constant(Constant::Splat(Literal::from_f64(ty.dtype, 0.0)));
            self.emit(zero, &[], std::slice::from_ref(ty), Range::point(0.0))
        })
    }
}

/// A region under construction.
pub(super) struct Region {
    pub(super) body: Graph,
}

impl Region {
    /// With a constant, carries and a slice, all of one type.
    pub(super) fn new(ty: &Type, carries: usize) -> (Region, Vec<Value>) {
        let mut body = Graph::new();
        let arguments = (0..carries + 2).map(|_| body.add_numbered_argument(ty.clone())).collect();
        (Region { body }, arguments)
    }

    fn emit(&mut self, op: Op, operands: &[Value], declared: &[Type]) -> Vec<Value> {
        let node = self.body.append(op, operands, declared, Origin::unknown());
        let node =
            node.unwrap_or_else(|error| panic!("the generator made an invalid node: {error}"));
        self.body.node(node).results.to_vec()
    }

    fn binary(&mut self, op: BinaryOp, x: Value, y: Value) -> Value {
        self.emit(Op::Binary(op), &[x, y], &[])[0]
    }

    fn splat(&mut self, ty: &Type, number: f64) -> Value {
        let op = Op::Constant(Constant::Splat(Literal::from_f64(ty.dtype, number)));
        self.emit(op, &[], std::slice::from_ref(ty))[0]
    }

    /// The next value of a carry, from the slice and a constant.
    pub(super) fn next(&mut self, step: Step, [constant, carry, slice]: [Value; 3]) -> Value {
        let ty = self.body.ty(carry).clone();
        if ty.dtype == DType::Bool {
            let both = self.binary(BinaryOp::Xor, carry, slice);
            return self.binary(BinaryOp::Or, both, constant);
        }
        if step == Step::Smooth {
            let scaled = self.binary(BinaryOp::Mul, carry, constant);
            let bounded = self.emit(Op::Unary(UnaryOp::Tanh), &[scaled], &[])[0];
            let sum = self.binary(BinaryOp::Add, bounded, slice);
            return self.emit(Op::Unary(UnaryOp::Tanh), &[sum], &[])[0];
        }
        let sum = self.binary(BinaryOp::Add, carry, slice);
        if !ty.dtype.is_float() {
            return self.binary(BinaryOp::Sub, sum, constant);
        }
        let [low, high] = [-BOUND, BOUND].map(|bound| self.splat(&ty, bound));
        let bounded = self.binary(BinaryOp::Max, sum, low);
        let bounded = self.binary(BinaryOp::Min, bounded, high);
        self.binary(BinaryOp::Max, bounded, constant)
    }
}

/// One carry, stacked before and after.
fn accumulate(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let next = region.next(step, [arguments[0], arguments[1], arguments[2]]);
    region.body.set_results(vec![next, arguments[1], next]);
    region.body
}

/// Two carries, each the other's next value on its way.
fn swap(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 2);
    let next = region.next(step, [arguments[0], arguments[1], arguments[3]]);
    region.body.set_results(vec![arguments[2], next, arguments[1]]);
    region.body
}

/// One carry of the slice's places in its order.
fn ordered(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let order = Op::Argsort { axis: ty.rank() - 1, descending: false };
    let order = region.emit(order, &[arguments[2]], &[])[0];
    let places = region.emit(Op::Cast, &[order], std::slice::from_ref(ty))[0];
    let next = region.next(step, [arguments[0], arguments[1], places]);
    region.body.set_results(vec![next, arguments[1]]);
    region.body
}

/// One carry of the sums of what windows of two rows show of each.
fn windowed(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let windows: Windows =
        [Window { axis: 0, size: 2, stride: 1, dilation: 1 }].into_iter().collect();
    let shown = region.emit(Op::Windows(windows.clone()), &[arguments[2]], &[])[0];
    let folded = region.emit(Op::Fold(windows), &[shown], std::slice::from_ref(ty))[0];
    let next = region.next(step, [arguments[0], arguments[1], folded]);
    region.body.set_results(vec![next, arguments[1]]);
    region.body
}

/// One carry of the slice and an array that the region states.
fn shifted(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let count = ty.element_count().expect("its shape is constant");
    let elements = (0..count).map(|at| Literal::from_i64(ty.dtype, at as i64 % 2));
    let dense = Dense::new(ty.dtype, elements).expect("elements of the dtype");
    let types = std::slice::from_ref(ty);
    let array = region.emit(Op::Constant(Constant::Dense(dense)), &[], types)[0];
    let sum = region.binary(BinaryOp::Add, arguments[2], array);
    let next = region.next(step, [arguments[0], arguments[1], sum]);
    region.body.set_results(vec![next, arguments[1]]);
    region.body
}

/// A loop over the slice, backwards, from zeros; what it stacks is what the carry adds up.
fn nested(ty: &Type, step: Step) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let row = Type::new(ty.dtype, ty.shape.without(&[0]));
    let inner = accumulate(&row, step);
    let zero = region.splat(&row, 0.0);
    let op = Op::Scan(Box::new(Scan {
        body: inner,
        consts: 1,
        carries: 1,
        length: ty.shape.dims()[0].clone(),
        reverse: true,
        workspace: None,
    }));
    let results = region.emit(op, &[zero, zero, arguments[2]], &[]);
    let next = region.next(step, [arguments[0], arguments[1], results[2]]);
    region.body.set_results(vec![next, arguments[1]]);
    region.body
}
