//! `copies`: every output and every update gets a kernel result of its own. Exact.
//!
//! Assumes a fused entry. Guarantees:
//!
//! - An output is a kernel result that is no other root, or a reshape of one: the kernel writes it
//!   where the caller wants it. Outputs that are arguments, states, constants, or another root get
//!   a copy kernel.
//! - So is an update, and its kernel can be ordered after every kernel that reads the state's
//!   value on entry, or reads it itself only where it may be overwritten (see [`crate::alias`]).
//!   So updates are written where states live and no read comes after them. Where that is
//!   impossible (a state's new value is needed to compute something from the old one; two states
//!   swap), the new value stays in the arena and a copy kernel, on which nothing depends, moves it
//!   last.
//! - A kernel that a check depends on writes no state, so every check can be decided before the
//!   first write.
//! - An update of a state by its own value needs no kernel, and gets none.

use std::collections::BTreeSet;

use kilngrad_ir::op::{Kernel, KernelKind};
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Entry, Graph, NodeId, Op, Program, StateId, Value};

use crate::alias::may_overwrite;
use crate::memory::{bases, deciding, state_bound, state_of, state_readers, step_of, steps};
use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::regions::with_regions;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Copies;

/// How many nodes a search for readers behind a writer may visit; one that exceeds it costs a
/// copy.
const MAX_VISITS: usize = 10_000;

impl Pass for Copies {
    fn name(&self) -> &'static str {
        "copies"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(with_copies(entry)))
    }
}

fn with_copies(entry: &Entry) -> Entry {
    defer_writes(&separate_roots(&with_regions(entry, with_copies)))
}

/// Gives every root a kernel result of its own.
fn separate_roots(entry: &Entry) -> Entry {
    let graph = &entry.graph;
    let bases = bases(graph);
    let mut taken = BTreeSet::new();
    let mut own = |value: Value| {
        let base = bases[value.index()];
        step_of(graph, base).is_some() && taken.insert(base)
    };
    let outputs: Vec<(Value, bool)> =
        graph.results().iter().map(|value| (*value, own(*value))).collect();
    let updates: Vec<(StateId, Value, bool)> = entry
        .updates
        .iter()
        .map(|(state, value)| {
            let unchanged = state_of(graph, bases[value.index()]) == Some(*state);
            (*state, *value, unchanged || own(*value))
        })
        .collect();

    let mut rewriter = Rewriter::new(graph);
    for (id, _) in graph.nodes() {
        rewriter.copy(id);
    }
    let mut copier = Copier::new(graph);
    let mut place = |rewriter: &mut Rewriter<'_>, value: Value, own: bool| {
        let value = rewriter.get(value);
        if own { value } else { copier.copy(rewriter.target_mut(), value) }
    };
    let outputs = outputs.into_iter().map(|(value, own)| place(&mut rewriter, value, own));
    let outputs = outputs.collect();
    let updates =
        updates.into_iter().map(|(id, value, own)| (id, place(&mut rewriter, value, own)));
    let updates = updates.collect();
    let (mut target, _) = rewriter.finish();
    target.set_results(outputs);
    Entry { updates, ..with_graph(entry, target) }
}

/// Copies the new value of a state last, where its kernel cannot write it at once.
fn defer_writes(entry: &Entry) -> Entry {
    let deferred = deferred(entry);
    if deferred.is_empty() {
        return entry.clone();
    }
    let mut graph = entry.graph.clone();
    let mut copier = Copier::new(&entry.graph);
    let updates = entry.updates.iter().map(|(state, value)| {
        let value = if deferred.contains(state) { copier.copy(&mut graph, *value) } else { *value };
        (*state, value)
    });
    let updates = updates.collect();
    Entry { updates, ..with_graph(entry, graph) }
}

/// The states that cannot be written by the kernels that compute their new values.
fn deferred(entry: &Entry) -> BTreeSet<StateId> {
    let graph = &entry.graph;
    let bases = bases(graph);
    let readers = state_readers(graph, &bases, state_bound(entry));
    let deciding = deciding(entry, &bases);
    let mut after = successors(graph, &bases);
    let mut deferred = BTreeSet::new();
    for &(state, value) in &entry.updates {
        let base = bases[value.index()];
        // A state that is updated by its own value is written by none.
        let Some(writer) = step_of(graph, base) else { continue };
        let before = [&readers[state.index()][..], &deciding].concat();
        let possible = !deciding.contains(&writer)
            && overwrites(graph, &bases, writer, base, state)
            && !reaches(&after, writer, &before);
        if possible {
            for &reader in before.iter().filter(|reader| **reader != writer) {
                after[reader.index()].push(writer);
            }
        } else {
            deferred.insert(state);
        }
    }
    deferred
}

/// Whether a kernel that writes a state reads it only where it may.
fn overwrites(graph: &Graph, bases: &[Value], writer: NodeId, base: Value, state: StateId) -> bool {
    let node = graph.node(writer);
    let result = node.results.iter().position(|value| *value == base);
    let result = result.expect("a value is a result of the node that defines it");
    let mut operands = node.operands.iter().enumerate();
    operands.all(|(index, operand)| {
        // A scan goes on reading what it has begun to write.
        let kernel = if let Op::Kernel(kernel) = &node.op { Some(kernel) } else { None };
        kernel.is_some_and(|kernel| may_overwrite(kernel, result, index))
            || state_of(graph, bases[operand.index()]) != Some(state)
    })
}

/// The kernels that read a result of each kernel, by node.
fn successors(graph: &Graph, bases: &[Value]) -> Vec<Vec<NodeId>> {
    let mut after = vec![Vec::new(); graph.node_count()];
    for (id, node) in steps(graph) {
        for operand in &node.operands {
            if let Some(producer) = step_of(graph, bases[operand.index()]) {
                let list: &mut Vec<NodeId> = &mut after[producer.index()];
                if list.last() != Some(&id) {
                    list.push(id);
                }
            }
        }
    }
    after
}

/// Whether a path leads from `start` to another node among `goals`; also where that was not
/// decided within the budget.
fn reaches(after: &[Vec<NodeId>], start: NodeId, goals: &[NodeId]) -> bool {
    let goals: BTreeSet<NodeId> = goals.iter().copied().filter(|goal| *goal != start).collect();
    let mut seen = BTreeSet::from([start]);
    let mut stack = vec![start];
    while let Some(node) = stack.pop() {
        for &next in &after[node.index()] {
            if goals.contains(&next) || seen.len() > MAX_VISITS {
                return true;
            }
            if seen.insert(next) {
                stack.push(next);
            }
        }
    }
    false
}

/// Appends copy kernels with names that are not taken.
struct Copier {
    next: usize,
    taken: BTreeSet<String>,
}

impl Copier {
    fn new(graph: &Graph) -> Copier {
        let names = steps(graph).filter_map(|(_, node)| {
            let Op::Kernel(kernel) = &node.op else { return None };
            Some(kernel.name.to_string())
        });
        Copier { next: graph.node_count(), taken: names.collect() }
    }

    fn copy(&mut self, graph: &mut Graph, value: Value) -> Value {
        let mut name = format!("copy{}", self.next);
        while !self.taken.insert(name.clone()) {
            self.next += 1;
            name = format!("copy{}", self.next);
        }
        self.next += 1;
        let ty = graph.ty(value).clone();
        let mut body = Graph::new();
        let argument = body.add_argument(graph.name(value).clone(), ty.clone());
        body.set_results(vec![argument]);
        let kernel = Kernel { name: name.as_str().into(), kind: KernelKind::Map, body };
        let origin = graph.origin(value);
        let op = Op::Kernel(Box::new(kernel));
        let node = graph.append_unchecked(op, &[value], &[ty], origin);
        graph.node(node).result()
    }
}

fn with_graph(entry: &Entry, graph: Graph) -> Entry {
    Entry {
        name: entry.name.clone(),
        mode: entry.mode,
        graph,
        outputs: entry.outputs.clone(),
        checks: entry.checks.clone(),
        updates: entry.updates.clone(),
        plan: None,
    }
}
