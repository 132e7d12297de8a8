//! Functions with a derivative of their own: the region is written out.

use kilngrad_ir::op::CustomGradient;
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Graph, Node, Origin, Value};
use smallvec::SmallVec;

use super::Contributions;
use crate::backward::cotangent_origin;

/// The cotangents of the inputs, as the region computes them of the results' cotangents. One that
/// no use gives is zero.
///
/// What the region calls the function's values are the node's results and not what was computed
/// forward, so a second derivative follows the region there too.
pub(super) fn contributions(
    graph: &mut Graph,
    node: &Node,
    custom: &CustomGradient,
    cotangents: &[Option<Value>],
    wanted: &[bool],
) -> Contributions {
    let body = &custom.backward;
    let mut outside: Vec<Option<Value>> = vec![None; body.value_count()];
    let (of_cotangents, of_operands) = body.arguments().split_at(node.results.len());
    for ((argument, cotangent), &result) in of_cotangents.iter().zip(cotangents).zip(&node.results)
    {
        let cotangent = cotangent.unwrap_or_else(|| {
            let origin = cotangent_origin(graph, result, &node.origin);
            let ty = graph.ty(result).clone();
            Emitter::new(graph, origin).splat(&ty, 0.0)
        });
        outside[argument.index()] = Some(cotangent);
    }
    let others = &node.operands[node.results.len()..];
    for (argument, value) in of_operands.iter().zip(node.results.iter().chain(others)) {
        outside[argument.index()] = Some(*value);
    }
    for (_, inner) in body.nodes() {
        write_out(graph, body, inner, &node.origin, &mut outside);
    }
    let inputs = custom.inputs(node.operands.len());
    let contribution = |(operand, wanted): (usize, &bool)| {
        wanted.then(|| written(&outside, body.results()[operand - inputs.start]))
    };
    wanted.iter().enumerate().map(contribution).collect()
}

/// Appends a node of a region. Its origin is the user's line within the region, if it is known.
fn write_out(
    graph: &mut Graph,
    body: &Graph,
    inner: &Node,
    around: &Origin,
    outside: &mut [Option<Value>],
) {
    let operands: SmallVec<[Value; 3]> =
        inner.operands.iter().map(|value| written(outside, *value)).collect();
    let types: SmallVec<[_; 1]> =
        inner.results.iter().map(|value| body.ty(*value).clone()).collect();
    let origin = if inner.origin == Origin::unknown() { around } else { &inner.origin };
    let copy = graph.append_unchecked(inner.op.clone(), &operands, &types, origin.clone());
    for (index, result) in inner.results.iter().enumerate() {
        outside[result.index()] = Some(graph.node(copy).results[index]);
    }
}

/// What stands for a value of a region.
fn written(outside: &[Option<Value>], value: Value) -> Value {
    outside[value.index()].expect("a value of a region is written out before it is used")
}
