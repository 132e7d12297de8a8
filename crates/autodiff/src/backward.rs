//! The walk back from the loss.

use kilngrad_ir::op::BinaryOp;
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Def, Graph, NodeId, Op, Origin, Value};
use smallvec::SmallVec;

use crate::paths::Paths;
use crate::rules::{self, Flow, Flows};

/// Appends the cotangents of the active values that the loss depends on, and gives them by value.
///
/// A value's cotangent is the sum of what each use contributes, in the order of the walk: from the
/// last use to the first, and within a node from the first operand to the last.
pub(crate) fn cotangents(graph: &mut Graph, loss: Value, paths: &Paths) -> Vec<Option<Value>> {
    let mut cotangents: Vec<Option<Value>> = vec![None; graph.value_count()];
    if !paths.active(loss) {
        return cotangents;
    }
    let ty = graph.ty(loss).clone();
    let origin = cotangent_origin(graph, loss, &graph.origin(loss));
    cotangents[loss.index()] = Some(Emitter::new(graph, origin).splat(&ty, 1.0));
    let count = match graph.value(loss).def {
        Def::Argument(_) => 0,
        Def::Result { node, .. } => node.index() + 1,
    };
    pull_back(graph, count, &mut cotangents, |value| paths.active(value));
    cotangents
}

/// Walks back over the first `count` nodes of a graph from the values that have cotangents, and
/// adds up those of active values.
pub(crate) fn pull_back(
    graph: &mut Graph,
    count: usize,
    cotangents: &mut [Option<Value>],
    active: impl Fn(Value) -> bool,
) {
    for id in (0..count).rev().map(NodeId::from_index) {
        let node = graph.node(id);
        let pulled: SmallVec<[Option<Value>; 1]> =
            node.results.iter().map(|result| cotangents[result.index()]).collect();
        if pulled.iter().all(Option::is_none) {
            continue;
        }
        let flows = Flows::of(graph, node);
        let reaches = |operand: usize| {
            let mut given = (0..pulled.len()).filter(|result| pulled[*result].is_some());
            given.any(|result| flows.get(operand, result) == Flow::Derivative)
        };
        let needs = |(operand, value): (usize, &Value)| active(*value) && reaches(operand);
        let wanted: Vec<bool> = node.operands.iter().enumerate().map(needs).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let node = node.clone();
        let contributions = rules::contributions(graph, &node, &pulled, &wanted);
        for (&operand, contribution) in node.operands.iter().zip(contributions) {
            let Some(contribution) = contribution else { continue };
            let sum = match cotangents[operand.index()] {
                None => contribution,
                Some(sum) => {
                    let origin = cotangent_origin(graph, operand, &node.origin);
                    let add = Op::Binary(BinaryOp::Add);
                    Emitter::new(graph, origin).emit(add, &[sum, contribution], &[])
                }
            };
            cotangents[operand.index()] = Some(sum);
        }
    }
}

/// The origin of the cotangent of a value: the value's own, or its user's where it has none.
pub(crate) fn cotangent_origin(graph: &Graph, value: Value, user: &Origin) -> Origin {
    let own = graph.origin(value);
    let origin = if own == Origin::unknown() { user } else { &own };
    origin.cotangent(graph.name(value))
}
