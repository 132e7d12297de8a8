//! How derivatives flow through a region, and parts of one.

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Graph, Node, NodeId, Op, Value};

use super::{Flow, Flows};

/// By argument and result of a region: how a derivative flows.
pub(super) fn flows(body: &Graph) -> Vec<Vec<Flow>> {
    let nodes: Vec<Flows> = body.nodes().map(|(_, node)| Flows::of(body, node)).collect();
    let reach = |argument: &Value| {
        let mut reach = vec![Flow::None; body.value_count()];
        if body.ty(*argument).dtype.is_float() {
            reach[argument.index()] = Flow::Derivative;
        }
        for ((_, node), flows) in body.nodes().zip(&nodes) {
            for (index, result) in node.results.iter().enumerate() {
                let through = node.operands.iter().enumerate().map(|(operand, value)| {
                    in_turn(reach[value.index()], flows.get(operand, index))
                });
                reach[result.index()] = through.fold(Flow::None, either);
            }
        }
        body.results().iter().map(|result| reach[result.index()]).collect()
    };
    body.arguments().iter().map(reach).collect()
}

/// Adds that a loop of no iterations gives its carries back: the arguments from `first` on and the
/// first results.
pub(super) fn keep_carries(flows: &mut [Vec<Flow>], body: &Graph, first: usize, carries: usize) {
    for carry in 0..carries {
        if body.ty(body.arguments()[first + carry]).dtype.is_float() {
            let flow = &mut flows[first + carry][carry];
            *flow = either(*flow, Flow::Derivative);
        }
    }
}

/// Adds what flows over any number of iterations, where the carries are the arguments from
/// `first` on and the first results.
pub(super) fn go_around(flows: &mut [Vec<Flow>], first: usize, carries: usize) {
    // Warshall: through each carry in turn, from one iteration into later ones.
    for carry in 0..carries {
        let onward = flows[first + carry].clone();
        for row in &mut *flows {
            let into = row[carry];
            for (flow, onward) in row.iter_mut().zip(&onward) {
                *flow = either(*flow, in_turn(into, *onward));
            }
        }
    }
}

/// What one operation after another is to a derivative.
fn in_turn(first: Flow, second: Flow) -> Flow {
    match (first, second) {
        (Flow::None, _) | (_, Flow::None) => Flow::None,
        (Flow::Opaque, _) | (_, Flow::Opaque) => Flow::Opaque,
        (Flow::Zero, _) | (_, Flow::Zero) => Flow::Zero,
        (Flow::Derivative, Flow::Derivative) => Flow::Derivative,
    }
}

/// What two ways beside each other are to a derivative.
pub(super) fn either(one: Flow, other: Flow) -> Flow {
    let rank = |flow| match flow {
        Flow::None => 0,
        Flow::Zero => 1,
        Flow::Derivative => 2,
        Flow::Opaque => 3,
    };
    if rank(one) >= rank(other) { one } else { other }
}

/// By value of a region: whether it depends differentiably on an argument that is active.
pub(super) fn active_values(body: &Graph, arguments: &[bool]) -> Vec<bool> {
    let mut active = vec![false; body.value_count()];
    for (argument, is_active) in body.arguments().iter().zip(arguments) {
        active[argument.index()] = *is_active;
    }
    for (_, node) in body.nodes() {
        let flows = Flows::of(body, node);
        for (index, result) in node.results.iter().enumerate() {
            active[result.index()] = node.operands.iter().enumerate().any(|(operand, value)| {
                active[value.index()] && flows.get(operand, index) == Flow::Derivative
            });
        }
    }
    active
}

/// A graph of some nodes of another one, which keep their names, with these values for arguments.
pub(super) fn part(
    source: &Graph,
    arguments: &[Value],
    include: impl Fn(NodeId) -> bool,
    results: &[Value],
) -> Graph {
    let mut part = Rewriter::part(source, arguments);
    for (id, _) in source.nodes().filter(|(id, _)| include(*id)) {
        part.copy(id);
    }
    part.finish_with(results)
}

/// Whether a value is made again sooner than kept: it needs no work of its own.
pub(super) fn is_made_again(node: &Node) -> bool {
    match &node.op {
        Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. } => true,
        Op::State(_)
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Dot(_)
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
        | Op::Kernel(_) => false,
    }
}
