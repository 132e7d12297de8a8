//! Sums over the iterations of a scan, of which as much as can be is summed after it.
//!
//! The cotangent of a constant is a sum over the iterations. A sum of contractions of what each
//! iteration has is one contraction over all iterations, of stacks: the gradient of a recurrent
//! weight becomes one matrix product in place of one an iteration. Sums go through what is linear.

use kilngrad_ir::op::BinaryOp;
use kilngrad_ir::op::{Axes, DotAxes, ReduceOp, Scan, UnaryOp};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Graph, Op, Type, Value};

use super::node_of;

/// How many operations between a sum and its terms are looked through.
const MAX_DEPTH: usize = 8;

/// How a sum over the iterations is computed after them.
#[derive(Debug)]
pub(super) enum Sum {
    /// It is the last value of a carry: of the accumulator at this position.
    Accumulated(usize),
    /// The sum over the first axis of a stack, and over other axes of its slices.
    Stack(Value, Axes),
    /// One contraction over the first axes of two stacks beside what it contracts of their slices.
    Contraction(DotAxes, [Value; 2]),
    /// An operation that is linear in one operand, the sum, and has no other.
    Through(Op, Type, Box<Sum>),
    /// A contraction of a sum with a constant of the scan, which is the operand at this position.
    With(DotAxes, usize, Side, Box<Sum>),
    /// Both.
    Both(Box<[Sum; 2]>),
}

/// Which operand of a contraction something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The first.
    Left,
    /// The second.
    Right,
}

/// Plans sums over the iterations of a region's values.
pub(super) struct Sums<'g> {
    graph: &'g Graph,
    /// Nodes before this one are the region's own: sums do not go through them.
    first: usize,
    consts: usize,
    accumulated: Vec<Value>,
    stacked: Vec<Value>,
}

impl<'g> Sums<'g> {
    pub(super) fn new(graph: &'g Graph, first: usize, scan: &Scan) -> Sums<'g> {
        Sums { graph, first, consts: scan.consts, accumulated: Vec::new(), stacked: Vec::new() }
    }

    /// The values that carries add up, and those that are stacked, each once.
    pub(super) fn finish(self) -> (Vec<Value>, Vec<Value>) {
        (self.accumulated, self.stacked)
    }

    /// How the sum of a value over the iterations is computed.
    pub(super) fn plan(&mut self, value: Value) -> Sum {
        self.plan_within(value, MAX_DEPTH)
    }

    fn plan_within(&mut self, value: Value, depth: usize) -> Sum {
        let node = node_of(self.graph, value).filter(|id| id.index() >= self.first && depth > 0);
        let Some(node) = node.map(|id| self.graph.node(id)) else { return self.accumulate(value) };
        match &node.op {
            Op::Binary(BinaryOp::Add) => {
                let both = [0, 1].map(|at| self.plan_within(node.operands[at], depth - 1));
                Sum::Both(Box::new(both))
            }
            Op::Unary(UnaryOp::Neg) | Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. } => {
                let inner = self.plan_within(node.operands[0], depth - 1);
                let ty = self.graph.ty(value).clone();
                Sum::Through(node.op.clone(), ty, Box::new(inner))
            }
            Op::Reduce { op: ReduceOp::Sum, axes } => {
                let axes = axes.iter().map(|axis| axis + 1);
                let axes = std::iter::once(0).chain(axes).collect();
                Sum::Stack(self.stack(node.operands[0]), axes)
            }
            Op::Dot(axes) => self.contraction(axes, node.operands[0], node.operands[1], depth),
            Op::State(_)
            | Op::Constant(_)
            | Op::Dimension(_)
            | Op::Iota { .. }
            | Op::Random { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Cast
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Argsort { .. }
            | Op::Windows(_)
            | Op::Fold(_)
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. }
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Kernel(_) => self.accumulate(value),
        }
    }

    fn contraction(&mut self, axes: &DotAxes, left: Value, right: Value, depth: usize) -> Sum {
        match (self.constant(left), self.constant(right)) {
            (Some(at), _) => {
                let sum = Box::new(self.plan_within(right, depth - 1));
                Sum::With(axes.clone(), at, Side::Left, sum)
            }
            (None, Some(at)) => {
                let sum = Box::new(self.plan_within(left, depth - 1));
                Sum::With(axes.clone(), at, Side::Right, sum)
            }
            (None, None) => Sum::Contraction(axes.clone(), [left, right].map(|it| self.stack(it))),
        }
    }

    /// The position of a value among the constants.
    fn constant(&self, value: Value) -> Option<usize> {
        let constants = &self.graph.arguments()[..self.consts];
        constants.iter().position(|constant| *constant == value)
    }

    fn accumulate(&mut self, value: Value) -> Sum {
        let known = self.accumulated.iter().position(|known| *known == value);
        Sum::Accumulated(known.unwrap_or_else(|| {
            self.accumulated.push(value);
            self.accumulated.len() - 1
        }))
    }

    fn stack(&mut self, value: Value) -> Value {
        if !self.stacked.contains(&value) {
            self.stacked.push(value);
        }
        value
    }
}

/// What stands around the scan for what sums are made of.
pub(super) trait Around {
    /// The stack of a value.
    fn stack(&self, e: &mut Emitter<'_>, value: Value) -> Value;
    /// The last value of an accumulator.
    fn accumulated(&self, index: usize) -> Value;
    /// An operand of the scan.
    fn operand(&self, position: usize) -> Value;
}

impl Sum {
    /// Computes the sum around the scan.
    pub(super) fn emit(&self, e: &mut Emitter<'_>, around: &dyn Around) -> Value {
        match self {
            Sum::Accumulated(index) => around.accumulated(*index),
            Sum::Stack(value, axes) => {
                let op = Op::Reduce { op: ReduceOp::Sum, axes: axes.clone() };
                let stack = around.stack(e, *value);
                e.emit(op, &[stack], &[])
            }
            Sum::Contraction(axes, values) => {
                let [left, right] = values.map(|value| around.stack(e, value));
                e.emit(Op::Dot(over_time(axes)), &[left, right], &[])
            }
            Sum::Through(op, ty, inner) => {
                let inner = inner.emit(e, around);
                let stated = matches!(op, Op::Broadcast { .. } | Op::Reshape);
                let declared = if stated { std::slice::from_ref(ty) } else { &[] };
                e.emit(op.clone(), &[inner], declared)
            }
            Sum::With(axes, at, side, inner) => {
                let (constant, inner) = (around.operand(*at), inner.emit(e, around));
                let operands = match side {
                    Side::Left => [constant, inner],
                    Side::Right => [inner, constant],
                };
                e.emit(Op::Dot(axes.clone()), &operands, &[])
            }
            Sum::Both(both) => {
                let [left, right] = [0, 1].map(|at| both[at].emit(e, around));
                e.emit(Op::Binary(BinaryOp::Add), &[left, right], &[])
            }
        }
    }
}

/// The axes of a contraction of slices as axes of their stacks, contracted over the first too.
fn over_time(axes: &DotAxes) -> DotAxes {
    let later = |axes: &Axes| axes.iter().map(|axis| axis + 1).collect::<Axes>();
    let contracted = |axes: &Axes| std::iter::once(0).chain(later(axes)).collect::<Axes>();
    DotAxes {
        lhs_batch: later(&axes.lhs_batch),
        rhs_batch: later(&axes.rhs_batch),
        lhs_contract: contracted(&axes.lhs_contract),
        rhs_contract: contracted(&axes.rhs_contract),
    }
}
