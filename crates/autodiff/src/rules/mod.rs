//! The rules: one file a family of operations.
//!
//! A rule is a vector-Jacobian product: from the cotangent of a node's result, what the node
//! contributes to the cotangent of each operand. It is written with the primitives themselves, so
//! it may be differentiated in its turn, and for shapes with symbols, so it does not ask for
//! lengths that only a binding gives.

mod cond;
mod custom;
mod dot;
mod elementwise;
mod indexed;
mod layout;
mod product;
mod reduce;
mod region;
mod repeat;
mod scan;

use kilngrad_ir::op::{BinaryDerivative, BinaryOp, Emit, UnaryDerivative};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Constant, Graph, Literal, Node, Op, Value};
use smallvec::SmallVec;

use crate::backward::cotangent_origin;

/// What an operation is to a derivative that would flow from its result to an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It has a derivative, which a rule of this module gives.
    Derivative,
    /// It is piecewise constant: the derivative is zero.
    Zero,
    /// It has none: its numbers are not real, or it says so.
    None,
    /// It is a fused kernel, what it computes could be differentiated, but not any more; or a `while`,
    /// whose derivative would need the values of any number of iterations.
    Opaque,
}

/// How derivatives flow through a node: from each result to each operand.
#[derive(Debug, Clone)]
pub(crate) enum Flows {
    /// To each operand alike from every result.
    Alike(SmallVec<[Flow; 3]>),
    /// By operand and result, as the regions of control flow let them.
    Apart(Vec<Vec<Flow>>),
}

impl Flows {
    /// Those of a node.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Flows {
        if let Op::Scan(scan) = &node.op {
            return Flows::Apart(scan::flows(scan));
        }
        if let Op::Cond(cond) = &node.op {
            return Flows::Apart(cond::flows(cond));
        }
        if let Op::While(repeat) = &node.op {
            return Flows::Apart(repeat::flows(repeat));
        }
        Flows::Alike((0..node.operands.len()).map(|operand| flow(graph, node, operand)).collect())
    }

    /// How a derivative flows from a result to an operand.
    pub(crate) fn get(&self, operand: usize, result: usize) -> Flow {
        match self {
            Flows::Alike(flows) => flows[operand],
            Flows::Apart(flows) => flows[operand][result],
        }
    }
}

/// How a derivative flows from a node's result to one of its operands.
fn flow(graph: &Graph, node: &Node, operand: usize) -> Flow {
    let is_float = |value: Value| graph.ty(value).dtype.is_float();
    if !is_float(node.operands[operand]) {
        return Flow::None;
    }
    match &node.op {
        Op::Unary(op) => match op.row().derivative {
            UnaryDerivative::Of(_) => Flow::Derivative,
            UnaryDerivative::Zero => Flow::Zero,
            UnaryDerivative::None => Flow::None,
        },
        Op::Binary(op) => match op.row().derivative {
            BinaryDerivative::Of(_) => Flow::Derivative,
            BinaryDerivative::None => Flow::None,
        },
        Op::Cast if is_float(node.result()) => Flow::Derivative,
        Op::Select
        | Op::Reduce { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_) => Flow::Derivative,
        Op::Cast
        | Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Compare(_)
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::StopGradient => Flow::None,
        Op::CustomGradient(custom) => match custom.inputs(node.operands.len()).contains(&operand) {
            true => Flow::Derivative,
            false => Flow::None,
        },
        Op::Kernel(_) => Flow::Opaque,
        Op::Scan(_) | Op::Cond(_) | Op::While(_) => {
            unreachable!("flows through control flow are told apart by result")
        }
        Op::Gradient { .. } => unreachable!("requests are expanded in the order of the graph"),
    }
}

/// What a node contributes to the cotangents of its operands.
pub(crate) type Contributions = SmallVec<[Option<Value>; 3]>;

/// A node of a graph with the cotangent of its result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pull<'n> {
    /// The node.
    pub(crate) node: &'n Node,
    /// The cotangent of its result.
    pub(crate) cotangent: Value,
}

/// Appends what a node contributes to each of its operands for which `wanted` holds, which are
/// operands that a derivative flows to. `cotangents` are those of its results, of which at least
/// one is there.
pub(crate) fn contributions(
    graph: &mut Graph,
    node: &Node,
    cotangents: &[Option<Value>],
    wanted: &[bool],
) -> Contributions {
    if let Op::CustomGradient(custom) = &node.op {
        return custom::contributions(graph, node, custom, cotangents, wanted);
    }
    if let Op::Scan(scan) = &node.op {
        return scan::contributions(graph, node, scan, cotangents, wanted);
    }
    if let Op::Cond(cond) = &node.op {
        return cond::contributions(graph, node, cond, cotangents, wanted);
    }
    let cotangent = cotangents[0].expect("all other operations with derivatives have one result");
    let pull = Pull { node, cotangent };
    // Each piece of a concatenation begins where those before it end.
    let offsets = if let Op::Concat { axis } = &node.op {
        layout::offsets(graph, &node.operands, *axis)
    } else {
        Vec::new()
    };
    let contribution = |(operand, wanted): (usize, &bool)| {
        wanted.then(|| {
            let origin = cotangent_origin(graph, node.operands[operand], &node.origin);
            let e = &mut Emitter::new(graph, origin);
            match &node.op {
                Op::Unary(op) => elementwise::unary(e, *op, pull),
                Op::Binary(op) => elementwise::binary(e, *op, pull, operand),
                Op::Select => elementwise::select(e, pull, operand),
                Op::Cast => elementwise::cast(e, pull),
                Op::Reduce { op, axes } => reduce::reduce(e, *op, axes, pull),
                Op::Dot(axes) => dot::dot(e, axes, pull, operand),
                Op::Broadcast { dims } => layout::broadcast(e, dims, pull),
                Op::Reshape => layout::reshape(e, pull),
                Op::Transpose { permutation } => layout::transpose(e, permutation, pull),
                Op::Slice(axes) => layout::slice(e, axes, pull),
                Op::Pad(axes) => layout::pad(e, axes, pull, operand),
                Op::Concat { axis } => layout::concat(e, *axis, &offsets[operand], pull, operand),
                Op::Gather { axis } => indexed::gather(e, *axis, pull),
                Op::ScatterAdd { axis } => indexed::scatter_add(e, *axis, pull, operand),
                Op::Windows(windows) => layout::windows(e, windows, pull),
                Op::Fold(windows) => layout::fold(e, windows, pull),
                Op::State(_)
                | Op::Constant(_)
                | Op::Dimension(_)
                | Op::Iota { .. }
                | Op::Random { .. }
                | Op::Compare(_)
                | Op::ArgReduce { .. }
                | Op::Argsort { .. }
                | Op::StopGradient
                | Op::CustomGradient(_)
                | Op::Gradient { .. }
                | Op::Scan(_)
                | Op::Cond(_)
                | Op::While(_)
                | Op::Kernel(_) => unreachable!("no derivative flows through {}", node.op.name()),
            }
        })
    };
    wanted.iter().enumerate().map(contribution).collect()
}

/// `cotangent · partial`, without multiplications by a constant 1 or −1, and with one division for
/// a reciprocal.
fn times(e: &mut Emitter<'_>, cotangent: Value, partial: Value) -> Value {
    if is_splat(e.graph(), partial, 1.0) {
        return cotangent;
    }
    if is_splat(e.graph(), partial, -1.0) {
        return (e as &mut dyn Emit).neg(cotangent);
    }
    if is_splat(e.graph(), cotangent, 1.0) {
        return partial;
    }
    if let Some(divisor) = reciprocal_of(e.graph(), partial) {
        return (e as &mut dyn Emit).div(cotangent, divisor);
    }
    (e as &mut dyn Emit).mul(cotangent, partial)
}

/// Whether a value is a constant with every element equal to `number`.
fn is_splat(graph: &Graph, value: Value, number: f64) -> bool {
    let Some(node) = graph.defining_node(value) else { return false };
    let literal = Literal::from_f64(graph.ty(value).dtype, number);
    matches!(&node.op, Op::Constant(Constant::Splat(element)) if *element == literal)
}

/// `x` of a value that is computed as `1/x`.
fn reciprocal_of(graph: &Graph, value: Value) -> Option<Value> {
    let node = graph.defining_node(value)?;
    let reciprocal = node.op == Op::Binary(BinaryOp::Div) && is_splat(graph, node.operands[0], 1.0);
    reciprocal.then(|| node.operands[1])
}

/// A constant zero of the type of `like`.
fn zero_like(e: &mut Emitter<'_>, like: Value) -> Value {
    let ty = e.ty(like).clone();
    e.splat(&ty, 0.0)
}
