//! Bodies: clusters become kernels.
//!
//! Clusters are visited from the last to the first, so that when one's turn comes it is known
//! which of its values are needed outside: by roots, views, and the kernels built so far. A body
//! holds what those values are computed from, back to the values of other kernels and of memory,
//! which become its arguments; inline nodes are copied into it. Nodes of a body keep the order of
//! the entry's graph, which is topological.

use std::collections::BTreeMap;

use kilngrad_ir::op::{Kernel, KernelKind};
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Entry, Graph, NodeId, Op, Origin, Type, Value, ValueName};

use super::cluster::{Clusters, Kind};
use super::flow::{Flow, Role};
use crate::pass::PassError;

/// What a cluster becomes.
#[derive(Debug)]
struct Plan {
    group: u32,
    /// Nodes of the body, ascending.
    nodes: Vec<u32>,
    /// Values of memory and of other kernels, in the order of their first use.
    arguments: Vec<Value>,
    /// Values needed outside, in order.
    results: Vec<Value>,
}

/// A kernel's name and the nodes it was made of.
pub(super) type Made = (String, Vec<u32>);

/// The entry with its clusters as kernels.
pub(super) fn build(
    entry: &Entry,
    flow: &Flow<'_>,
    clusters: &mut Clusters,
    prefix: &str,
) -> Result<(Entry, Vec<Made>), PassError> {
    let plans = plan(entry, flow, clusters);
    let mut rewriter = Rewriter::new(&entry.graph);
    for (id, _) in entry.graph.nodes() {
        if flow.roles[id.index()] == Role::Source {
            rewriter.copy(id);
        }
    }
    let mut made = Vec::new();
    for plan in plans {
        let cluster = clusters.get(plan.group);
        if cluster.kind == Kind::Fixed {
            rewriter.copy(NodeId::from_index(cluster.members[0] as usize));
            continue;
        }
        let kind = match cluster.kind {
            Kind::Map | Kind::Piece | Kind::Fixed => KernelKind::Map,
            Kind::Reduce(_) => KernelKind::Reduce,
            Kind::Contraction => KernelKind::Contraction,
            Kind::Indexed => KernelKind::Indexed,
        };
        let name = format!("{prefix}{}", kernel_name(flow, made.len(), &plan.nodes));
        let body = body(flow, &plan);
        super::contract::check(kind, &body).map_err(|message| PassError::Kernel {
            kernel: format!("{name} of entry {}", entry.name),
            message,
            site: None,
        })?;
        append(&mut rewriter, flow, &plan, Kernel { name: name.as_str().into(), kind, body });
        made.push((name, plan.nodes));
    }
    Ok((rewriter.finish_entry(entry), made))
}

/// The nodes, arguments and results of every cluster that is needed, by rank.
fn plan(entry: &Entry, flow: &Flow<'_>, clusters: &mut Clusters) -> Vec<Plan> {
    let mut needed = vec![false; flow.graph.value_count()];
    for root in entry.roots() {
        needed[root.index()] = true;
    }
    let mut plans = Vec::new();
    for group in clusters.by_rank().into_iter().rev() {
        let mut members = clusters.get(group).members.clone();
        members.sort_unstable();
        let results: Vec<Value> = members
            .iter()
            .flat_map(|member| flow.node(*member).results.iter().copied())
            .filter(|value| needed[value.index()])
            .collect();
        if results.is_empty() {
            continue;
        }
        let plan = if clusters.get(group).kind == Kind::Fixed {
            let arguments = flow.node(members[0]).operands.to_vec();
            Plan { group, nodes: members, arguments, results }
        } else {
            gather(flow, clusters, group, results)
        };
        for argument in &plan.arguments {
            needed[argument.index()] = true;
        }
        plans.push(plan);
    }
    plans.reverse();
    plans
}

/// Walks back from the results.
fn gather(flow: &Flow<'_>, clusters: &mut Clusters, group: u32, results: Vec<Value>) -> Plan {
    let inside = |clusters: &mut Clusters, value: Value| {
        let node = flow.node_of(value)?;
        let own = flow.is_real(node) && clusters.of(node) == group;
        (own || flow.inline[node as usize]).then_some(node)
    };
    let mut found: BTreeMap<u32, ()> = BTreeMap::new();
    let mut stack: Vec<u32> = results.iter().filter_map(|value| flow.node_of(*value)).collect();
    for node in &stack {
        found.insert(*node, ());
    }
    while let Some(node) = stack.pop() {
        for (position, &operand) in flow.node(node).operands.iter().enumerate() {
            if !flow.reads_memory(node, position)
                && let Some(next) = inside(clusters, operand)
                && found.insert(next, ()).is_none()
            {
                stack.push(next);
            }
        }
    }
    let nodes: Vec<u32> = found.into_keys().collect();
    let mut arguments = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for &node in &nodes {
        for (position, &operand) in flow.node(node).operands.iter().enumerate() {
            let outside = flow.reads_memory(node, position) || inside(clusters, operand).is_none();
            if outside && seen.insert(operand) {
                arguments.push(operand);
            }
        }
    }
    Plan { group, nodes, arguments, results }
}

fn body(flow: &Flow<'_>, plan: &Plan) -> Graph {
    let source = flow.graph;
    let mut body = Graph::new();
    for &node in &plan.nodes {
        for result in &flow.node(node).results {
            body.reserve_name(source.name(*result));
        }
    }
    let mut map: BTreeMap<Value, Value> = BTreeMap::new();
    for &argument in &plan.arguments {
        let data = source.value(argument);
        map.insert(argument, body.add_argument(data.name.clone(), data.ty.clone()));
    }
    // A value may be an argument and also computed here: an inline node that lies in memory too.
    let as_argument = map.clone();
    for &id in &plan.nodes {
        let node = flow.node(id);
        let operand = |(position, value): (usize, &Value)| match flow.reads_memory(id, position) {
            true => as_argument[value],
            false => map[value],
        };
        let operands: Vec<Value> = node.operands.iter().enumerate().map(operand).collect();
        let types: Vec<Type> = node.results.iter().map(|value| source.ty(*value).clone()).collect();
        let copy = body.append_unchecked(node.op.clone(), &operands, &types, node.origin.clone());
        for (index, result) in node.results.iter().enumerate() {
            let value = body.node(copy).results[index];
            if !as_argument.contains_key(result) {
                body.rename(value, source.name(*result).clone());
            }
            map.insert(*result, value);
        }
    }
    body.set_results(plan.results.iter().map(|value| map[value]).collect());
    body
}

fn append(rewriter: &mut Rewriter<'_>, flow: &Flow<'_>, plan: &Plan, kernel: Kernel) {
    let source = flow.graph;
    let operands: Vec<Value> = plan.arguments.iter().map(|value| rewriter.get(*value)).collect();
    let types: Vec<Type> = plan.results.iter().map(|value| source.ty(*value).clone()).collect();
    let op = Op::Kernel(Box::new(kernel));
    let origin = origin(flow, plan);
    let node = rewriter.target_mut().append_unchecked(op, &operands, &types, origin);
    for (index, &result) in plan.results.iter().enumerate() {
        let value = rewriter.target().node(node).results[index];
        let name: ValueName = source.name(result).clone();
        rewriter.target_mut().rename(value, name);
        rewriter.replace(result, value);
    }
}

/// The origin of a kernel: its first result's, replacing the values that are no longer there.
fn origin(flow: &Flow<'_>, plan: &Plan) -> Origin {
    let gone = plan.nodes.iter().flat_map(|node| &flow.node(*node).results);
    let gone = gone.filter(|value| !plan.results.contains(value));
    flow.graph.origin(plan.results[0]).replacing(gone.map(|value| flow.graph.name(*value)))
}

/// `k3_dot_add_relu`: a number that makes it unique, and what is computed last, for who reads a
/// profile.
fn kernel_name(flow: &Flow<'_>, number: usize, nodes: &[u32]) -> String {
    let telling = |node: &&u32| {
        let dot = matches!(flow.node(**node).op, kilngrad_ir::Op::Dot(_));
        !flow.inline[**node as usize] || dot || nodes.len() == 1
    };
    let words: Vec<&str> =
        nodes.iter().filter(telling).map(|node| flow.node(*node).op.name()).collect();
    let heavy = words.iter().find(|word| word.starts_with("reduce") || **word == "dot");
    let mut name = format!("k{number}");
    if let Some(heavy) = heavy {
        name += &format!("_{heavy}");
    }
    let rest: Vec<&&str> = words.iter().filter(|word| Some(*word) != heavy).collect();
    for word in rest.iter().skip(rest.len().saturating_sub(2)) {
        name += &format!("_{word}");
    }
    name
}
