//! `schedule`: an order that keeps little alive. Exact.
//!
//! Assumes what `copies` guarantees. Guarantees an order of kernels in which a state is written
//! after every other kernel that reads its value on entry and after every kernel that a check
//! depends on; states and constants stand first, and
//! a view directly behind what it is a view of.
//!
//! Two orders are made by list scheduling, and the one whose peak of live bytes is lower is kept:
//! the order of the program as far as writes of states allow it, and the greedy one that always
//! takes the ready kernel that leaves least alive (optimizer updates run as soon as their gradient
//! is there, so gradients do not pile up). Both are `O(n log n)`: a kernel's key changes only when
//! it becomes the last reader of an operand, and is pushed again then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Entry, Graph, NodeId, Op, Program, Value};
use smallvec::SmallVec;

use crate::memory::{
    bases, deciding, is_step, operand_bases, state_bound, state_readers, step_of, steps,
};
use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::regions::with_regions;
use crate::shapes::bytes;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Schedule;

impl Pass for Schedule {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(schedule(entry)))
    }
}

/// The entry with its kernels in a better order.
pub fn schedule(entry: &Entry) -> Entry {
    let entry = &*with_regions(entry, schedule);
    let problem = Problem::new(entry);
    let plain = problem.order(|_, index| (0, index));
    let greedy = problem.order(|growth, index| (growth, index));
    let order = if problem.peak(&greedy) < problem.peak(&plain) { greedy } else { plain };
    let order: Vec<NodeId> = order.into_iter().map(|index| problem.kernels[index]).collect();
    in_order(entry, &order)
}

/// What is to be ordered.
struct Problem {
    /// The kernels, in the order of the program.
    kernels: Vec<NodeId>,
    /// For each kernel the kernels that must come later.
    after: Vec<Vec<usize>>,
    /// For each kernel how many must come before.
    before: Vec<usize>,
    /// For each kernel the arena bytes of its results.
    made: Vec<usize>,
    /// For each kernel the blocks that it reads.
    reads: Vec<SmallVec<[usize; 8]>>,
    /// Values in the arena: their bytes and the kernels that read them.
    blocks: Vec<(usize, Vec<usize>)>,
}

impl Problem {
    fn new(entry: &Entry) -> Problem {
        let graph = &entry.graph;
        let bases = bases(graph);
        let kernels: Vec<NodeId> = steps(graph).map(|(id, _)| id).collect();
        let mut index_of = vec![usize::MAX; graph.node_count()];
        for (index, id) in kernels.iter().enumerate() {
            index_of[id.index()] = index;
        }
        let count = kernels.len();
        let mut problem = Problem {
            kernels,
            after: vec![Vec::new(); count],
            before: vec![0; count],
            made: vec![0; count],
            reads: vec![SmallVec::new(); count],
            blocks: Vec::new(),
        };
        let mut is_root = vec![false; graph.value_count()];
        for root in entry.roots() {
            is_root[bases[root.index()].index()] = true;
        }
        problem.dataflow(graph, &bases, &index_of, &is_root);
        problem.writes(entry, &bases, &index_of);
        problem
    }

    fn dataflow(&mut self, graph: &Graph, bases: &[Value], index_of: &[usize], is_root: &[bool]) {
        let mut block_of = vec![usize::MAX; graph.value_count()];
        for index in 0..self.kernels.len() {
            let node = graph.node(self.kernels[index]);
            for base in operand_bases(node, bases) {
                if let Some(producer) = step_of(graph, base) {
                    self.edge(index_of[producer.index()], index);
                }
                let block = block_of[base.index()];
                if block != usize::MAX {
                    self.reads[index].push(block);
                    self.blocks[block].1.push(index);
                }
            }
            for &result in node.results.iter().filter(|result| !is_root[result.index()]) {
                let size = bytes(graph.ty(result));
                self.made[index] += size;
                block_of[result.index()] = self.blocks.len();
                self.blocks.push((size, Vec::new()));
            }
        }
    }

    /// Reads of a state, and what decides checks, come before its write.
    fn writes(&mut self, entry: &Entry, bases: &[Value], index_of: &[usize]) {
        let readers = state_readers(&entry.graph, bases, state_bound(entry));
        let deciding = deciding(entry, bases);
        for &(state, value) in &entry.updates {
            let Some(writer) = step_of(&entry.graph, bases[value.index()]) else { continue };
            let before = readers[state.index()].iter().chain(&deciding);
            for &reader in before.filter(|reader| **reader != writer) {
                self.edge(index_of[reader.index()], index_of[writer.index()]);
            }
        }
    }

    fn edge(&mut self, from: usize, to: usize) {
        self.after[from].push(to);
        self.before[to] += 1;
    }

    /// List scheduling: of the kernels that are ready, the one with the least key is next. Keys
    /// are made of the bytes by which a kernel changes what is live, and its index.
    fn order(&self, key: impl Fn(i64, usize) -> (i64, usize)) -> Vec<usize> {
        let mut waiting = self.before.clone();
        let mut left: Vec<usize> = self.blocks.iter().map(|(_, readers)| readers.len()).collect();
        let mut done = vec![false; self.kernels.len()];
        let growth = |index: usize, left: &[usize]| {
            let freed = self.reads[index].iter().filter(|block| left[**block] == 1);
            let freed: usize = freed.map(|block| self.blocks[*block].0).sum();
            self.made[index] as i64 - freed as i64
        };
        let mut ready = BinaryHeap::new();
        for index in (0..waiting.len()).filter(|index| waiting[*index] == 0) {
            ready.push(Reverse(key(growth(index, &left), index)));
        }
        let mut order = Vec::with_capacity(self.kernels.len());
        while let Some(Reverse((_, index))) = ready.pop() {
            // A kernel whose key fell was pushed again; what is left of it is stale.
            if std::mem::replace(&mut done[index], true) {
                continue;
            }
            order.push(index);
            for &block in &self.reads[index] {
                left[block] -= 1;
                if left[block] == 1 {
                    let readers = &self.blocks[block].1;
                    let last = readers.iter().copied().find(|reader| !done[*reader]);
                    if let Some(last) = last.filter(|last| waiting[*last] == 0) {
                        ready.push(Reverse(key(growth(last, &left), last)));
                    }
                }
            }
            for &next in &self.after[index] {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    ready.push(Reverse(key(growth(next, &left), next)));
                }
            }
        }
        assert_eq!(order.len(), self.kernels.len(), "copies leaves an order that is possible");
        order
    }

    /// The most bytes that are live at once.
    fn peak(&self, order: &[usize]) -> usize {
        let mut left: Vec<usize> = self.blocks.iter().map(|(_, readers)| readers.len()).collect();
        let (mut live, mut peak) = (0, 0);
        for &index in order {
            live += self.made[index];
            peak = peak.max(live);
            for &block in &self.reads[index] {
                left[block] -= 1;
                if left[block] == 0 {
                    live -= self.blocks[block].0;
                }
            }
        }
        peak
    }
}

/// The entry with its kernels in this order.
fn in_order(entry: &Entry, order: &[NodeId]) -> Entry {
    let graph = &entry.graph;
    let mut views: Vec<Vec<NodeId>> = vec![Vec::new(); graph.value_count()];
    for (id, node) in graph.nodes().filter(|(_, node)| node.op == Op::Reshape) {
        views[node.operands[0].index()].push(id);
    }
    let mut rewriter = Rewriter::new(graph);
    let begin = graph.arguments().to_vec();
    copy_views(&mut rewriter, &views, begin);
    for (id, node) in graph.nodes() {
        if node.op != Op::Reshape && !is_step(node) {
            rewriter.copy(id);
            copy_views(&mut rewriter, &views, node.results.to_vec());
        }
    }
    for &id in order {
        rewriter.copy(id);
        copy_views(&mut rewriter, &views, graph.node(id).results.to_vec());
    }
    rewriter.finish_entry(entry)
}

/// Copies the views of these values, and the views of those.
fn copy_views(rewriter: &mut Rewriter<'_>, views: &[Vec<NodeId>], mut values: Vec<Value>) {
    while let Some(value) = values.pop() {
        for &view in &views[value.index()] {
            rewriter.copy(view);
            values.push(rewriter.source().node(view).result());
        }
    }
}
