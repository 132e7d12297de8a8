//! One of two regions: the derivative of a cond is a cond on the same predicate, whose regions are
//! the vector-Jacobian products of the two.
//!
//! Its results are the cotangents of the values that either region reads, zeros where the region has
//! none. Arguments it is given again; constants of the language and other shapes of a value it makes
//! again; every other value of the way forward is a result of the forward cond too. A value of one
//! region and one of the other share a result where their types are the same, and it is zeros where
//! there is no value of the other one.

use std::ops::Range;

use kilngrad_ir::op::{BinaryOp, Cond};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Def, Graph, Node, NodeId, Op, Origin, Type, Value};

use super::region::{self, active_values, is_made_again, part};
use super::{Contributions, Flow};
use crate::backward::{cotangent_origin, pull_back};

/// By operand and result of a cond: how a derivative flows through the region that reads it.
pub(super) fn flows(cond: &Cond) -> Vec<Vec<Flow>> {
    let predicate = vec![Flow::None; cond.then.results().len()];
    let regions = cond.branches().into_iter().flat_map(|(body, _)| region::flows(body));
    std::iter::once(predicate).chain(regions).collect()
}

/// The cotangents of a cond's operands. The node is extended by the values that they need.
pub(super) fn contributions(
    graph: &mut Graph,
    node: &Node,
    cond: &Cond,
    cotangents: &[Option<Value>],
    wanted: &[bool],
) -> Contributions {
    let mut contributions = Contributions::from_elem(None, node.operands.len());
    let mut branches = cond
        .branches()
        .map(|(body, operands)| Branch::new(body, operands.clone(), cotangents, &wanted[operands]));
    // Each value once, wherever it is read: what both regions give it is one result.
    let mut by: Vec<usize> = Vec::new();
    for at in (0..wanted.len()).filter(|at| wanted[*at]) {
        let known = by.iter().any(|first| node.operands[*first] == node.operands[at]);
        if !known && branches.iter().any(|branch| branch.reaches(node, node.operands[at])) {
            by.push(at);
        }
    }
    if by.is_empty() {
        return contributions;
    }
    let read = branches.each_mut().map(|branch| {
        let results = by.iter().map(|at| {
            let value = node.operands[*at];
            branch.cotangent_of(node, value, graph.ty(value))
        });
        let results = results.collect();
        branch.read(results)
    });
    let kept = keep(graph, node, cond, &branches, &read);

    let mut operands = vec![node.operands[0]];
    let mut bodies = Vec::new();
    for ((branch, read), kept) in branches.iter().zip(&read).zip(kept) {
        operands.extend(read.arguments.iter().map(|at| node.operands[branch.operands.start + at]));
        operands.extend(read.cotangents.iter().filter_map(|at| cotangents[branch.given[*at].0]));
        operands.extend(kept);
        bodies.push(branch.back(read));
    }
    let [then, otherwise] =
        <[Graph; 2]>::try_from(bodies).expect("a cond has two regions, so has its way back");
    let op = Op::Cond(Box::new(Cond { then, otherwise, workspace: None }));
    let origin = cotangent_origin(graph, node.results[0], &node.origin);
    let made = graph.append(op, &operands, &[], origin);
    let made = made.expect("the regions were made for these operands");
    for (result, at) in by.into_iter().enumerate() {
        contributions[at] = Some(graph.node(made).results[result]);
    }
    contributions
}

/// Lets the forward cond give the values that its way back reads: for each region, where they are.
fn keep(
    graph: &mut Graph,
    node: &Node,
    cond: &Cond,
    branches: &[Branch<'_>; 2],
    read: &[Read; 2],
) -> [Vec<Value>; 2] {
    let Def::Result { node: id, .. } = graph.value(node.results[0]).def else {
        unreachable!("a result of a node is no argument")
    };
    // Of each further result, its type and the value of either region.
    let mut more: Vec<(Type, [Option<Value>; 2])> = Vec::new();
    let mut places: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
    for (side, (branch, read)) in branches.iter().zip(read).enumerate() {
        for &value in &read.values {
            let own = branch.body.results().iter().position(|result| *result == value);
            let place = own.unwrap_or_else(|| {
                let ty = branch.graph.ty(value);
                let free =
                    more.iter().position(|(other, sides)| other == ty && sides[side].is_none());
                let at = free.unwrap_or(more.len());
                if free.is_none() {
                    more.push((ty.clone(), [None; 2]));
                }
                more[at].1[side] = Some(value);
                node.results.len() + at
            });
            places[side].push(place);
        }
    }
    if !more.is_empty() {
        let bodies = [0, 1].map(|side| {
            // The walk back may have let control flow of the region give more, so it is the walked one.
            let branch = &branches[side];
            let results: Vec<Value> = branch.body.results().to_vec();
            let kept = more.iter().filter_map(|(_, sides)| sides[side]);
            let results: Vec<Value> = results.into_iter().chain(kept).collect();
            let own = |id: NodeId| id.index() < branch.body.node_count();
            let mut body = part(&branch.graph, branch.body.arguments(), own, &results);
            let given = body.results().to_vec();
            let (own, kept) = given.split_at(branch.body.results().len());
            let (mut results, mut values) = (own.to_vec(), kept.iter().copied());
            for (ty, sides) in &more {
                let value = sides[side].and_then(|_| values.next());
                results.push(value.unwrap_or_else(|| zeros(&mut body, ty, &node.origin)));
            }
            body.set_results(results);
            body
        });
        let types: Vec<Type> = more.into_iter().map(|(ty, _)| ty).collect();
        let [then, otherwise] = bodies;
        let cond = Cond { then, otherwise, workspace: cond.workspace };
        graph.extend(id, Op::Cond(Box::new(cond)), &types);
    }
    let results = &graph.node(id).results;
    places.map(|places| places.into_iter().map(|at| results[at]).collect())
}

fn zeros(graph: &mut Graph, ty: &Type, origin: &Origin) -> Value {
    Emitter::new(graph, origin.clone()).splat(ty, 0.0)
}

/// A region with its way back behind it.
struct Branch<'c> {
    body: &'c Graph,
    /// Where what it reads is among the node's operands.
    operands: Range<usize>,
    /// The region, then what the walk back appended. New arguments are cotangents.
    graph: Graph,
    /// The results that have cotangents, with the arguments that stand for those.
    given: Vec<(usize, Value)>,
    /// By value of the region.
    found: Vec<Option<Value>>,
}

/// What the way back of a region reads.
struct Read {
    /// Its results.
    results: Vec<Value>,
    /// By node of the region with its way back: whether it is part of it.
    include: Vec<bool>,
    /// Which arguments of the region.
    arguments: Vec<usize>,
    /// Which of the cotangents that are given.
    cotangents: Vec<usize>,
    /// Which values of the way forward, in the order of their definition.
    values: Vec<Value>,
}

impl<'c> Branch<'c> {
    fn new(
        body: &'c Graph,
        operands: Range<usize>,
        cotangents: &[Option<Value>],
        wanted: &[bool],
    ) -> Branch<'c> {
        let mut graph = body.clone();
        let active = active_values(body, wanted);
        let is_given =
            |(at, value): &(usize, &Value)| cotangents[*at].is_some() && active[value.index()];
        let results: Vec<(usize, Value)> =
            body.results().iter().enumerate().filter(is_given).map(|(at, it)| (at, *it)).collect();
        let mut given = Vec::with_capacity(results.len());
        for (at, value) in &results {
            let ty = graph.ty(*value).clone();
            given.push((*at, graph.add_numbered_argument(ty)));
        }
        let mut found: Vec<Option<Value>> = vec![None; graph.value_count()];
        for ((_, value), (_, cotangent)) in results.iter().zip(&given) {
            let origin = cotangent_origin(&graph, *value, &graph.origin(*value));
            found[value.index()] = sum(&mut graph, found[value.index()], Some(*cotangent), origin);
        }
        pull_back(&mut graph, body.node_count(), &mut found, |value| active[value.index()]);
        Branch { body, operands, graph, given, found }
    }

    /// Whether a value that a node reads has a cotangent here.
    fn reaches(&self, node: &Node, value: Value) -> bool {
        let mut arguments = self.operands.clone().zip(self.body.arguments());
        arguments.any(|(at, argument)| {
            node.operands[at] == value && self.found[argument.index()].is_some()
        })
    }

    /// The cotangent of a value of this type that the node reads; zeros where there is none.
    fn cotangent_of(&mut self, node: &Node, value: Value, ty: &Type) -> Value {
        let mut total = None;
        for (at, argument) in self.operands.clone().zip(self.body.arguments()) {
            if node.operands[at] == value {
                let origin = cotangent_origin(&self.graph, *argument, &node.origin);
                total = sum(&mut self.graph, total, self.found[argument.index()], origin);
            }
        }
        total.unwrap_or_else(|| zeros(&mut self.graph, ty, &node.origin))
    }

    /// What the way back reads that gives these results.
    fn read(&self, results: Vec<Value>) -> Read {
        let (graph, forward) = (&self.graph, self.body.node_count());
        let mut needed = vec![false; graph.value_count()];
        results.iter().for_each(|value| needed[value.index()] = true);
        let mut include = vec![false; graph.node_count()];
        let mut values = Vec::new();
        for (id, node) in graph.nodes().rev() {
            if !node.results.iter().any(|value| needed[value.index()]) {
                continue;
            }
            include[id.index()] = id.index() >= forward || is_made_again(node);
            if include[id.index()] {
                node.operands.iter().for_each(|value| needed[value.index()] = true);
            } else {
                values.extend(node.results.iter().filter(|value| needed[value.index()]));
            }
        }
        values.sort_unstable();
        let is_read = |value: Value| needed[value.index()];
        let arguments = self.body.arguments();
        Read {
            arguments: (0..arguments.len()).filter(|at| is_read(arguments[*at])).collect(),
            cotangents: (0..self.given.len()).filter(|at| is_read(self.given[*at].1)).collect(),
            results,
            include,
            values,
        }
    }

    /// The way back.
    fn back(&self, read: &Read) -> Graph {
        let arguments = read.arguments.iter().map(|at| self.body.arguments()[*at]);
        let cotangents = read.cotangents.iter().map(|at| self.given[*at].1);
        let arguments: Vec<Value> =
            arguments.chain(cotangents).chain(read.values.iter().copied()).collect();
        part(&self.graph, &arguments, |id| read.include[id.index()], &read.results)
    }
}

/// The sum of two cotangents, of which either may be missing.
fn sum(
    graph: &mut Graph,
    one: Option<Value>,
    other: Option<Value>,
    origin: Origin,
) -> Option<Value> {
    let (Some(left), Some(right)) = (one, other) else { return one.or(other) };
    Some(Emitter::new(graph, origin).emit(Op::Binary(BinaryOp::Add), &[left, right], &[]))
}
