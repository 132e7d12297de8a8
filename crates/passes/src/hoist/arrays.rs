//! Arrays that the regions of a `cond` or a `while` state, around it: a plan has places for the
//! entry's constants alone.

use std::ops::Range;

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Constant, Graph, Node, NodeId, Op, Value};

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
    let mut arguments = source.arguments().to_vec();
    let stated = || source.nodes().map(|(_, node)| node).filter(|node| is_array(node));
    arguments.splice(at..at, stated().map(Node::result));
    let mut part = Rewriter::part(source, &arguments);
    for (id, _) in source.nodes().filter(|(_, node)| !is_array(node)) {
        part.copy(id);
    }
    let around = stated().map(|node| {
        let origin = node.origin.replacing([source.name(node.result())]);
        let types = std::slice::from_ref(source.ty(node.result()));
        let target = rewriter.target_mut();
        let made = target.append_unchecked(node.op.clone(), &[], types, origin);
        target.node(made).result()
    });
    let around = around.collect();
    (part.finish_with(source.results()), around)
}
