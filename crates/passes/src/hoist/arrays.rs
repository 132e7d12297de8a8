//! Arrays that the regions of a `cond` or a `while` state, around it: a plan has places for the
//! entry's constants alone.

use std::ops::Range;

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Constant, Graph, Node, NodeId, Op, Type, Value};
use smallvec::SmallVec;

/// The regions of a `cond` or a `while`, with the positions of the operands that they read and that
/// no iteration changes.
pub(super) fn regions(op: &Op) -> Option<[(&Graph, Range<usize>); 2]> {
    if let Op::Cond(cond) = op {
        Some(cond.branches())
    } else if let Op::While(repeat) = op {
        let (test, body) = (repeat.test_operands(), repeat.body_operands());
        Some([(&repeat.test, test), (&repeat.body, body)])
    } else {
        None
    }
}

pub(super) fn is_array(node: &Node) -> bool {
    matches!(node.op, Op::Constant(Constant::Dense(_)))
}

/// Copies a node of these [`regions`], whose arrays become operands.
pub(super) fn hoist(
    rewriter: &mut Rewriter<'_>,
    (id, node): (NodeId, &Node),
    regions: [(&Graph, Range<usize>); 2],
) {
    let stated = |(body, _): &(&Graph, _)| body.nodes().any(|(_, node)| is_array(node));
    if !regions.iter().any(stated) {
        rewriter.copy(id);
        return;
    }
    let given = rewriter.operands(node);
    let last = given[regions[1].1.end..].to_vec();
    let mut operands = given[..regions[0].1.start].to_vec();
    let mut bodies = Vec::new();
    for (body, at) in regions {
        operands.extend(&given[at.clone()]);
        let (body, arrays) = without_arrays(rewriter, body, at.len());
        operands.extend(arrays);
        bodies.push(body);
    }
    operands.extend(last);
    rewriter.copy_with(id, node.op.with_bodies(bodies), &operands);
}

/// A region whose arrays are arguments from position `at` on, and the arrays around it.
fn without_arrays(rewriter: &mut Rewriter<'_>, source: &Graph, at: usize) -> (Graph, Vec<Value>) {
    let mut body = Graph::new();
    let mut map: Vec<Option<Value>> = vec![None; source.value_count()];
    let mut arrays = Vec::new();
    for (_, data) in source.values() {
        body.reserve_name(&data.name);
    }
    let (before, after) = source.arguments().split_at(at);
    let stated = source.nodes().filter(|(_, node)| is_array(node));
    let stated = stated.map(|(_, node)| (node.result(), Some(node)));
    let before = before.iter().map(|value| (*value, None));
    let after = after.iter().map(|value| (*value, None));
    for (value, array) in before.chain(stated).chain(after) {
        let data = source.value(value);
        map[value.index()] = Some(body.add_argument(data.name.clone(), data.ty.clone()));
        if let Some(array) = array {
            let origin = array.origin.replacing([source.name(value)]);
            let target = rewriter.target_mut();
            let types = std::slice::from_ref(&data.ty);
            let made = target.append_unchecked(array.op.clone(), &[], types, origin);
            arrays.push(target.node(made).result());
        }
    }
    for (_, node) in source.nodes().filter(|(_, node)| !is_array(node)) {
        let get = |value: &Value| map[value.index()].expect("values are defined before");
        let operands: SmallVec<[Value; 3]> = node.operands.iter().map(get).collect();
        let types: SmallVec<[Type; 1]> =
            node.results.iter().map(|value| source.ty(*value).clone()).collect();
        let copy = body.append_unchecked(node.op.clone(), &operands, &types, node.origin.clone());
        for (at, result) in node.results.iter().enumerate() {
            let value = body.node(copy).results[at];
            body.rename(value, source.name(*result).clone());
            map[result.index()] = Some(value);
        }
    }
    let results = source.results().iter().map(|value| map[value.index()]);
    body.set_results(results.map(|value| value.expect("results are the region's")).collect());
    (body, arrays)
}
