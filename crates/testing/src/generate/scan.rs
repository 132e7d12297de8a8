//! Loops: accumulators that stay in bounds, carries that swap, a constant that every iteration
//! reads, orders and windows of slices, arrays that a body states, contractions of what is read in other
//! shapes, and loops in loops.

use kilngrad_ir::op::{Axes, BinaryOp, DotAxes, ReduceOp, Scan, UnaryOp, Window, Windows};
use kilngrad_ir::{Constant, DType, Dense, Dim, Graph, Literal, Op, Origin, Type, Value};

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
        let count = self.shape(&slice).iter().product::<usize>();
        let sized = slice.shape.as_constant().is_some();
        let stated = count <= 256 && sized;
        // Products of all pairs of elements are many.
        let mixes = near && slice.dtype != DType::Bool && slice.rank() > 0 && count <= 64 && sized;
        let body = match picks.below(10) {
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
            6..=9 if mixes => mixed(&slice, step, picks),
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

/// What a mix is computed by: a contraction of two values, put back into their shape.
#[derive(Debug, Clone, Copy)]
enum Blend {
    /// `x·yᵀ` of the last axes, times `y`.
    Projected,
    /// Sums of products over the last axis, over and over.
    Rows,
    /// In a row: the sum of products, times each.
    Flattened,
    /// With the axes the other way round: `xᵀ·y`, times `xᵀ`.
    Transposed,
    /// Two of `x`, each contracted with `y` and multiplied with it.
    Doubled,
}

const BLENDS: [Blend; 5] =
    [Blend::Projected, Blend::Rows, Blend::Flattened, Blend::Transposed, Blend::Doubled];

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

    pub(super) fn emit(&mut self, op: Op, operands: &[Value], declared: &[Type]) -> Vec<Value> {
        let node = self.body.append(op, operands, declared, Origin::unknown());
        let node =
            node.unwrap_or_else(|error| panic!("the generator made an invalid node: {error}"));
        self.body.node(node).results.to_vec()
    }

    pub(super) fn binary(&mut self, op: BinaryOp, x: Value, y: Value) -> Value {
        self.emit(Op::Binary(op), &[x, y], &[])[0]
    }

    pub(super) fn splat(&mut self, ty: &Type, number: f64) -> Value {
        let op = Op::Constant(Constant::Splat(Literal::from_f64(ty.dtype, number)));
        self.emit(op, &[], std::slice::from_ref(ty))[0]
    }

    fn dot(&mut self, x: Value, y: Value, pairs: &[(usize, usize)], batch: usize) -> Value {
        let axes = DotAxes {
            lhs_batch: (0..batch).collect(),
            rhs_batch: (0..batch).collect(),
            lhs_contract: pairs.iter().map(|pair| pair.0).collect(),
            rhs_contract: pairs.iter().map(|pair| pair.1).collect(),
        };
        self.emit(Op::Dot(axes), &[x, y], &[])[0]
    }

    fn broadcast(&mut self, x: Value, dims: impl IntoIterator<Item = usize>, ty: &Type) -> Value {
        let dims: Axes = dims.into_iter().collect();
        self.emit(Op::Broadcast { dims }, &[x], std::slice::from_ref(ty))[0]
    }

    /// A value within `bound` and its negative, which are powers of two: integers stay as they are.
    fn tamed(&mut self, step: Step, x: Value, bound: f64) -> Value {
        let ty = self.body.ty(x).clone();
        if !ty.dtype.is_float() {
            return x;
        }
        if step == Step::Smooth {
            let quarter = self.splat(&ty, 0.25);
            let scaled = self.binary(BinaryOp::Mul, x, quarter);
            return self.emit(Op::Unary(UnaryOp::Tanh), &[scaled], &[])[0];
        }
        let [low, high] = [-bound, bound].map(|bound| self.splat(&ty, bound));
        let low = self.binary(BinaryOp::Max, x, low);
        self.binary(BinaryOp::Min, low, high)
    }

    /// A value of the type of two others, of at least one axis, from them. Sums of whole numbers of
    /// at most 16 in size stay exact.
    fn blend(&mut self, blend: Blend, step: Step, x: Value, y: Value) -> Value {
        let ty = self.body.ty(x).clone();
        let rank = ty.rank();
        let flat = ty.element_count().expect("its shape is constant");
        let mul = |region: &mut Region, x, y| region.binary(BinaryOp::Mul, x, y);
        match blend {
            Blend::Projected => {
                let pairs = if rank == 1 { &[][..] } else { &[(rank - 1, rank - 1)] };
                let product = match rank {
                    0..=2 => self.dot(x, y, pairs, 0),
                    more => self.dot(x, y, pairs, more - 2),
                };
                let product = self.tamed(step, product, BOUND);
                match rank {
                    0..=2 => self.dot(product, y, &[(1, 0)], 0),
                    more => self.dot(product, y, &[(more - 1, more - 2)], more - 2),
                }
            }
            Blend::Rows => {
                let sums = self.dot(x, y, &[(rank - 1, rank - 1)], rank - 1);
                let sums = self.tamed(step, sums, BOUND);
                let sums = self.broadcast(sums, 0..rank - 1, &ty);
                mul(self, sums, x)
            }
            Blend::Flattened => {
                let row = Type::new(ty.dtype, [Dim::from(flat)].into_iter().collect());
                let [x, y] = [x, y].map(|value| self.reshaped(value, &row));
                let sum = self.dot(x, y, &[(0, 0)], 0);
                let sum = self.tamed(step, sum, BOUND);
                let sums = self.broadcast(sum, [], &row);
                let scaled = mul(self, x, sums);
                self.reshaped(scaled, &ty)
            }
            Blend::Transposed => {
                let permutation: Axes = (0..rank).rev().collect();
                let turn = Op::Transpose { permutation };
                let turned = self.emit(turn.clone(), &[x], &[])[0];
                // The last axis of the turned one is the first of what it is turned from.
                let product = self.dot(turned, y, &[(rank - 1, 0)], 0);
                let axes = (1..2 * (rank - 1)).collect::<Axes>();
                let product = match rank {
                    1 => product,
                    _ => self.emit(Op::Reduce { op: ReduceOp::Sum, axes }, &[product], &[])[0],
                };
                let sums = self.tamed(step, product, BOUND);
                let turned_ty = self.body.ty(turned).clone();
                let sums = self.broadcast(sums, (0..rank).take(rank.min(2) - 1), &turned_ty);
                let scaled = mul(self, turned, sums);
                self.emit(turn, &[scaled], &[])[0]
            }
            Blend::Doubled => {
                let dims =
                    std::iter::once(Dim::from(2usize)).chain(ty.shape.dims().iter().cloned());
                let two = Type::new(ty.dtype, dims.collect());
                let both = self.broadcast(x, 1..=rank, &two);
                let pairs: Vec<(usize, usize)> = (0..rank).map(|axis| (axis + 1, axis)).collect();
                let sums = self.dot(both, y, &pairs, 0);
                let sums = self.tamed(step, sums, BOUND);
                let sums = self.broadcast(sums, [0], &two);
                let scaled = mul(self, both, sums);
                let axes = std::iter::once(0).collect();
                self.emit(Op::Reduce { op: ReduceOp::Sum, axes }, &[scaled], &[])[0]
            }
        }
    }

    fn reshaped(&mut self, x: Value, ty: &Type) -> Value {
        self.emit(Op::Reshape, &[x], std::slice::from_ref(ty))[0]
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

/// One carry of two blends, one after the other, of what the region is given and of the first blend. What
/// the second adds to it is stacked.
fn mixed(ty: &Type, step: Step, picks: &mut Picks<'_>) -> Graph {
    let (mut region, arguments) = Region::new(ty, 1);
    let mut pool = arguments.clone();
    // What is smooth is read as it is, so that contractions are of the arguments themselves.
    if step == Step::Clamped {
        pool = pool.into_iter().map(|value| region.tamed(step, value, 16.0)).collect();
    }
    let bound = 16.0;
    for _ in 0..2 {
        let [x, y] = [(); 2].map(|()| picks.of(&pool));
        let blend = region.blend(picks.of(&BLENDS), step, x, y);
        pool.push(region.tamed(step, blend, bound));
    }
    let last = pool[pool.len() - 1];
    // Every result depends on every argument: a gradient is asked for along any path.
    let sum = region.binary(BinaryOp::Add, last, arguments[2]);
    let sum = region.tamed(step, sum, bound);
    let next = region.next(step, [arguments[0], arguments[1], sum]);
    let stacked = region.binary(BinaryOp::Add, last, next);
    let stacked = region.tamed(step, stacked, bound);
    region.body.set_results(vec![next, stacked]);
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
