//! Which values lie between the values asked for and the loss.

use kilngrad_ir::{Def, Graph, Node, NodeId, Value};

use crate::rules::{Flow, Flows};

/// The paths from the values asked for to a loss.
#[derive(Debug)]
pub(crate) struct Paths {
    /// By value: whether a derivative may flow into it from the loss and is wanted, since it is
    /// asked for or depends differentiably on what is.
    active: Vec<bool>,
    /// By value: whether the loss depends on it by a path of which every operation has a
    /// derivative, be it zero.
    reached: Vec<bool>,
    /// Whether a fused kernel or a `while` is on a path.
    meets_opaque: bool,
}

impl Paths {
    /// Walks the nodes up to the loss, forward from the values asked for and back from the loss.
    pub(crate) fn find(graph: &Graph, loss: Value, wanted: &[Value]) -> Paths {
        let mut active = vec![false; graph.value_count()];
        for value in wanted {
            active[value.index()] = true;
        }
        for (_, node) in up_to(graph, loss) {
            let flows = Flows::of(graph, node);
            for (index, result) in node.results.iter().enumerate() {
                active[result.index()] |= (0..node.operands.len()).any(|operand| {
                    active[node.operands[operand].index()]
                        && flows.get(operand, index) == Flow::Derivative
                });
            }
        }
        let mut reached = vec![false; graph.value_count()];
        let mut meets_opaque = false;
        reached[loss.index()] = true;
        let mut reached_now = Vec::new();
        for (_, node) in up_to(graph, loss).rev() {
            if !node.results.iter().any(|result| reached[result.index()]) {
                continue;
            }
            let flows = Flows::of(graph, node);
            for (index, _) in node.results.iter().enumerate().filter(|it| reached[it.1.index()]) {
                for (operand, value) in node.operands.iter().enumerate() {
                    let flow = flows.get(operand, index);
                    meets_opaque |= flow == Flow::Opaque && active[value.index()];
                    reached_now.push((*value, flow != Flow::None));
                }
            }
            for (value, flows) in reached_now.drain(..) {
                reached[value.index()] |= flows;
            }
        }
        Paths { active, reached, meets_opaque }
    }

    /// Whether the cotangent of a value is wanted.
    pub(crate) fn active(&self, value: Value) -> bool {
        self.active[value.index()]
    }

    /// Whether the loss depends on a value by a path of which every operation has a derivative.
    pub(crate) fn reached(&self, value: Value) -> bool {
        self.reached[value.index()]
    }

    /// Whether a fused kernel or a `while` is on a path, which then has no rule.
    pub(crate) fn meets_opaque(&self) -> bool {
        self.meets_opaque
    }
}

/// The nodes that the loss may depend on, in order.
pub(crate) fn up_to(
    graph: &Graph,
    loss: Value,
) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
    let count = match graph.value(loss).def {
        Def::Argument(_) => 0,
        Def::Result { node, .. } => node.index() + 1,
    };
    graph.nodes().take(count)
}

/// By value: whether the loss depends on it at all.
pub(crate) fn ancestors(graph: &Graph, loss: Value) -> Vec<bool> {
    let mut ancestors = vec![false; graph.value_count()];
    ancestors[loss.index()] = true;
    for (_, node) in up_to(graph, loss).rev() {
        if node.results.iter().any(|result| ancestors[result.index()]) {
            for operand in &node.operands {
                ancestors[operand.index()] = true;
            }
        }
    }
    ancestors
}

/// Whether the loss depends on any of `values`.
pub(crate) fn depends_on_any(graph: &Graph, loss: Value, values: &[Value]) -> bool {
    if values.is_empty() {
        return false;
    }
    let ancestors = ancestors(graph, loss);
    values.iter().any(|value| ancestors[value.index()])
}

/// The first node, in order, that lets the loss depend on `value` but is `barrier` to its
/// derivative, along paths that are free of barriers up to there.
pub(crate) fn first_barrier(
    graph: &Graph,
    loss: Value,
    value: Value,
    barrier: Flow,
) -> Option<NodeId> {
    let ancestors = ancestors(graph, loss);
    let mut flows = vec![false; graph.value_count()];
    flows[value.index()] = true;
    for (id, node) in up_to(graph, loss) {
        if !node.results.iter().any(|result| ancestors[result.index()]) {
            continue;
        }
        if !node.operands.iter().any(|value| flows[value.index()]) {
            continue;
        }
        let of_node = Flows::of(graph, node);
        for (operand, value) in node.operands.iter().enumerate() {
            if !flows[value.index()] {
                continue;
            }
            let needed = |index: &usize| ancestors[node.results[*index].index()];
            let mut through =
                (0..node.results.len()).filter(needed).map(|index| of_node.get(operand, index));
            // Of several results, one that lets it pass is not barred by the others.
            let barred = match barrier {
                Flow::None => through.all(|flow| flow == barrier),
                Flow::Derivative | Flow::Zero | Flow::Opaque => through.any(|flow| flow == barrier),
            };
            if barred {
                return Some(id);
            }
            for (index, result) in node.results.iter().enumerate() {
                if matches!(of_node.get(operand, index), Flow::Derivative | Flow::Zero) {
                    flows[result.index()] = true;
                }
            }
        }
    }
    None
}
