//! `dce`: nodes that no output, no update and no gradient request needs are dropped. Exact.
//!
//! Assumes nothing. Guarantees that every node has a result that a later node uses or that is a
//! root, that each result and operand of control flow is needed, and that none is there twice. Arguments
//! stay: they are the entry's signature. One walk back over the nodes marks what is needed, so the
//! work is linear, but for a walk over a scan's region for each carry that leads to another.

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Check, Constant, DType, Entry, Graph, Literal, Node, Op, Program, Value};

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::prune::{Pruned, pruned};
use crate::regions::with_regions;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Dce;

impl Pass for Dce {
    fn name(&self) -> &'static str {
        "dce"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(drop_dead(entry)))
    }
}

/// The entry without checks that always hold, and without what its other roots do not need.
pub fn drop_dead(entry: &Entry) -> Entry {
    let entry = &*with_regions(entry, drop_dead);
    let checks = entry.checks.iter().filter(|check| !always_holds(&entry.graph, check.condition));
    let checks: Vec<Check> = checks.cloned().collect();
    if checks.len() < entry.checks.len() {
        return drop_unneeded(&Entry { checks, ..entry.clone() });
    }
    drop_unneeded(entry)
}

fn always_holds(graph: &Graph, condition: Value) -> bool {
    let truth = Literal::from_f64(DType::Bool, 1.0);
    let node = graph.defining_node(condition);
    node.is_some_and(|node| node.op == Op::Constant(Constant::Splat(truth)))
}

fn drop_unneeded(entry: &Entry) -> Entry {
    let graph = &entry.graph;
    let mut needed = vec![false; graph.value_count()];
    for root in entry.roots() {
        needed[root.index()] = true;
    }
    let mut live = vec![false; graph.node_count()];
    let mut smaller: Vec<Option<Pruned>> = Vec::new();
    smaller.resize_with(graph.node_count(), || None);
    for (id, node) in graph.nodes().rev() {
        if !node.results.iter().any(|value| needed[value.index()]) {
            continue;
        }
        live[id.index()] = true;
        let used: Vec<bool> = node.results.iter().map(|value| needed[value.index()]).collect();
        if let Some(pruned) = pruned(&node.op, &node.operands, &used) {
            for &operand in &pruned.operands {
                needed[node.operands[operand].index()] = true;
            }
            smaller[id.index()] = Some(pruned);
            continue;
        }
        for operand in &node.operands {
            needed[operand.index()] = true;
        }
    }
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        match smaller[id.index()].take() {
            Some(pruned) => copy_pruned(&mut rewriter, node, pruned),
            None => {
                rewriter.copy(id);
            }
        }
    }
    rewriter.finish_entry(entry)
}

fn copy_pruned(rewriter: &mut Rewriter<'_>, node: &Node, pruned: Pruned) {
    let source = rewriter.source();
    let operands = pruned.operands.iter().map(|at| rewriter.get(node.operands[*at]));
    let operands: Vec<Value> = operands.collect();
    let made = rewriter.target_mut().append(pruned.op, &operands, &[], node.origin.clone());
    let made = made.expect("a part of a verified operation keeps its rules");
    for (&old, at) in node.results.iter().zip(&pruned.results) {
        let Some(at) = at else { continue };
        let new = rewriter.target().node(made).results[*at];
        // The first of several that are one keeps its name.
        let renamed = pruned.results.iter().position(|other| other == &Some(*at));
        if renamed.is_some_and(|first| node.results[first] == old) {
            rewriter.target_mut().rename(new, source.name(old).clone());
        }
        rewriter.replace(old, new);
    }
}

/// By value: whether a root needs it.
pub(crate) fn needed_by(graph: &Graph, roots: impl Iterator<Item = Value>) -> Vec<bool> {
    let mut needed = vec![false; graph.value_count()];
    roots.for_each(|root| needed[root.index()] = true);
    for (_, node) in graph.nodes().rev() {
        if node.results.iter().any(|value| needed[value.index()]) {
            node.operands.iter().for_each(|operand| needed[operand.index()] = true);
        }
    }
    needed
}
