//! The dataflow of fused entries: kernels and control flow, its *steps*, over values in memory, of
//! which views are other names.

use std::collections::BTreeSet;

use kilngrad_ir::{Def, Entry, Graph, Node, NodeId, Op, StateId, Value};
use smallvec::SmallVec;

/// For every value the value whose memory it shares: itself, unless it is a view.
pub(crate) fn bases(graph: &Graph) -> Vec<Value> {
    let mut bases: Vec<Value> = graph.values().map(|(value, _)| value).collect();
    for (_, node) in graph.nodes() {
        if node.op == Op::Reshape {
            bases[node.result().index()] = bases[node.operands[0].index()];
        }
    }
    bases
}

/// The steps, kernels and control flow, in order: the nodes that run.
pub(crate) fn steps(graph: &Graph) -> impl Iterator<Item = (NodeId, &Node)> {
    graph.nodes().filter(|(_, node)| is_step(node))
}

/// The step that computes a value.
pub(crate) fn step_of(graph: &Graph, value: Value) -> Option<NodeId> {
    let Def::Result { node, .. } = graph.value(value).def else { return None };
    is_step(graph.node(node)).then_some(node)
}

pub(crate) fn is_step(node: &Node) -> bool {
    matches!(node.op, Op::Kernel(_) | Op::Scan(_) | Op::Cond(_) | Op::While(_))
}

/// Whether an operation may end a call: it is a `while`, which a caller may cancel, or has one in a
/// region. Recurses once a region.
pub(crate) fn may_end_call(op: &Op) -> bool {
    let inside = |body: &Graph| body.nodes().any(|(_, node)| may_end_call(&node.op));
    matches!(op, Op::While(_)) || op.bodies().into_iter().any(inside)
}

/// The state that a value is read from.
pub(crate) fn state_of(graph: &Graph, value: Value) -> Option<StateId> {
    let Op::State(id) = graph.defining_node(value)?.op else { return None };
    Some(id)
}

/// The bases of a node's operands, each once, in order.
pub(crate) fn operand_bases(node: &Node, bases: &[Value]) -> SmallVec<[Value; 8]> {
    let mut found: SmallVec<[Value; 8]> = SmallVec::new();
    for operand in &node.operands {
        let base = bases[operand.index()];
        if !found.contains(&base) {
            found.push(base);
        }
    }
    found
}

/// The kernels that read each state's value on entry, by state; a state is read by several nodes
/// if passes kept them apart.
pub(crate) fn state_readers(graph: &Graph, bases: &[Value], states: usize) -> Vec<Vec<NodeId>> {
    let mut readers = vec![Vec::new(); states];
    for (id, node) in steps(graph) {
        for base in operand_bases(node, bases) {
            if let Some(state) = state_of(graph, base) {
                let readers: &mut Vec<NodeId> = &mut readers[state.index()];
                if readers.last() != Some(&id) {
                    readers.push(id);
                }
            }
        }
    }
    readers
}

/// The steps that may end the call, each once: those that compute the conditions of checks, and those
/// that may be cancelled. No state is written before them.
pub(crate) fn deciding(entry: &Entry, bases: &[Value]) -> Vec<NodeId> {
    let conditions = entry.checks.iter().map(|check| bases[check.condition.index()]);
    let checks = conditions.filter_map(|base| step_of(&entry.graph, base));
    let cancelled = steps(&entry.graph).filter(|(_, node)| may_end_call(&node.op));
    let steps: BTreeSet<NodeId> = checks.chain(cancelled.map(|(id, _)| id)).collect();
    steps.into_iter().collect()
}

/// One more than the greatest state that an entry reads or updates.
pub(crate) fn state_bound(entry: &Entry) -> usize {
    let read = entry.graph.nodes().filter_map(|(_, node)| {
        let Op::State(id) = node.op else { return None };
        Some(id.index() + 1)
    });
    let updated = entry.updates.iter().map(|(id, _)| id.index() + 1);
    read.chain(updated).max().unwrap_or(0)
}
