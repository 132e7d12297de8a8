//! The two halves of a region with its way back: what the backward region is given, and what the
//! forward region stacks for it.

use kilngrad_ir::{Def, Graph, Node, NodeId, Op, Value};

use super::Back;
use crate::rules::region::{is_made_again, part};

/// What the backward region is made of.
#[derive(Debug)]
pub(super) struct Needs {
    /// By node of the region with its way back: whether it is part of the backward region.
    include: Vec<bool>,
    /// Positions of the constants that it reads.
    pub(super) consts: Vec<usize>,
    /// Positions of the scanned operands that it reads slices of.
    pub(super) slices: Vec<usize>,
    /// Which stacks with cotangents it reads slices of.
    pub(super) cotangents: Vec<usize>,
    /// Values of the way forward that it reads, in the order of their definition.
    pub(super) residuals: Vec<Value>,
}

impl Needs {
    /// What the results need, where the forward values among `factors` are stacked as well; but for
    /// constants, which are the same in every iteration.
    pub(super) fn of(back: &Back<'_>, results: &[Value], factors: &[Value]) -> Needs {
        let graph = &back.graph;
        let mut needed = vec![false; graph.value_count()];
        for value in results {
            needed[value.index()] = true;
        }
        let mut residual = vec![false; graph.value_count()];
        let stacked = |value: &&Value| back.is_forward(**value) && !back.is_constant(**value);
        for value in factors.iter().filter(stacked) {
            residual[value.index()] = true;
        }
        let mut include = vec![false; graph.node_count()];
        for (id, node) in graph.nodes().rev() {
            if !node.results.iter().any(|value| needed[value.index()]) {
                continue;
            }
            // What is stacked as a factor is read from its stack.
            let given = node.results.iter().any(|value| residual[value.index()]);
            include[id.index()] = id.index() >= back.forward_nodes || is_made_again(node) && !given;
            if include[id.index()] {
                node.operands.iter().for_each(|value| needed[value.index()] = true);
            } else {
                for value in node.results.iter().filter(|value| needed[value.index()]) {
                    residual[value.index()] = true;
                }
            }
        }
        let arguments = back.scan.body.arguments();
        for at in back.scan.carry_operands() {
            residual[arguments[at].index()] |= needed[arguments[at].index()];
        }
        let is_slice =
            |value: &Value| back.scan.scanned_operands().any(|at| arguments[at] == *value);
        let read = |at: &usize| needed[arguments[*at].index()];
        let all = (0..graph.value_count()).map(Value::from_index);
        Needs {
            include,
            consts: back.scan.const_operands().filter(read).collect(),
            slices: back.scan.scanned_operands().filter(read).collect(),
            cotangents: (0..back.stacks.len())
                .filter(|at| needed[back.stacks[*at].1.index()])
                .collect(),
            residuals: all.filter(|value| residual[value.index()] && !is_slice(value)).collect(),
        }
    }

    /// The backward region. Its carries are called by `carries`.
    pub(super) fn body(&self, back: &Back<'_>, carries: &[Value], results: &[Value]) -> Graph {
        let of_region = back.scan.body.arguments();
        let consts = self.consts.iter().map(|at| of_region[*at]);
        let cotangents = self.cotangents.iter().map(|at| back.stacks[*at].1);
        let slices = self.slices.iter().map(|at| of_region[*at]);
        let residuals = self.residuals.iter().copied();
        let arguments: Vec<Value> = consts
            .chain(carries.iter().copied())
            .chain(cotangents)
            .chain(slices)
            .chain(residuals)
            .collect();
        part(&back.graph, &arguments, |id| self.include[id.index()], results)
    }
}

/// Lets the forward scan stack these values of its region: the stacks, in order.
pub(super) fn stacked(
    graph: &mut Graph,
    node: &Node,
    back: &Back<'_>,
    residuals: &[Value],
) -> Vec<Value> {
    let scan = back.scan;
    let mut results = scan.body.results().to_vec();
    let mut types = Vec::new();
    let mut positions = Vec::new();
    for &residual in residuals {
        let known = results[scan.carries..].iter().position(|result| *result == residual);
        positions.push(known.map_or(results.len(), |known| scan.carries + known));
        if known.is_none() {
            results.push(residual);
            types.push(scan.stacked(back.graph.ty(residual)));
        }
    }
    let Def::Result { node: id, .. } = graph.value(node.results[0]).def else {
        unreachable!("a result of a node is no argument")
    };
    if !types.is_empty() {
        // The walk back may have let scans of the region stack more, so it is the walked one.
        let own = |id: NodeId| id.index() < back.forward_nodes;
        let body = part(&back.graph, scan.body.arguments(), own, &results);
        let more = kilngrad_ir::op::Scan { body, ..scan.clone() };
        graph.extend(id, Op::Scan(Box::new(more)), &types);
    }
    positions.into_iter().map(|at| graph.node(id).results[at]).collect()
}
