//! `cse`: nodes that compute the same are merged into the first of them. Exact.
//!
//! Assumes nothing. Guarantees that no two nodes have equal operations, operands and types, save
//! what must stay apart: gradient requests, functions with a derivative of their own, and values
//! that a pending request differentiates by (see [`crate::pins`]), which merge neither way. Random
//! numbers of one stream, seed and counter are equal by definition and merge. Operands of
//! operations that commute are compared in one order.
//!
//! Nodes are found by a hash whose buckets are compared in full and never iterated, so the result
//! does not depend on it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kilngrad_ir::op::Axes;
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Entry, Graph, NodeId, Op, Program, Type, Value};
use smallvec::SmallVec;

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::pins::Pins;
use crate::regions::with_regions;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Cse;

impl Pass for Cse {
    fn name(&self) -> &'static str {
        "cse"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(merge_equal(entry)))
    }
}

/// The entry with equal nodes merged.
pub fn merge_equal(entry: &Entry) -> Entry {
    let entry = &*with_regions(entry, merge_equal);
    let graph = &entry.graph;
    let pins = Pins::of(graph);
    let mut rewriter = Rewriter::new(graph);
    let mut seen: HashMap<u64, SmallVec<[NodeId; 1]>> = HashMap::new();
    for (id, node) in graph.nodes() {
        let pinned = node.results.iter().any(|value| pins.contains(*value));
        if pinned || !node.op.is_shareable() {
            rewriter.copy(id);
            continue;
        }
        let operands = ordered(&node.op, rewriter.operands(node));
        let types: SmallVec<[&Type; 1]> =
            node.results.iter().map(|value| graph.ty(*value)).collect();
        let bucket = seen.entry(hash(&node.op, &operands, &types)).or_default();
        let target = rewriter.target();
        let equal = bucket.iter().find(|old| same(target, **old, &node.op, &operands, &types));
        if let Some(&old) = equal {
            for (index, &result) in node.results.iter().enumerate() {
                let value = rewriter.target().node(old).results[index];
                rewriter.replace(result, value);
            }
        } else {
            bucket.push(rewriter.copy(id));
        }
    }
    rewriter.finish_entry(entry)
}

/// The operands in the one order in which operations that commute are compared.
fn ordered(op: &Op, mut operands: SmallVec<[Value; 3]>) -> SmallVec<[Value; 3]> {
    if let Op::Binary(op) = op
        && op.row().commutes
    {
        operands.sort_unstable();
    }
    operands
}

fn same(graph: &Graph, old: NodeId, op: &Op, operands: &[Value], types: &[&Type]) -> bool {
    let node = graph.node(old);
    node.op == *op
        && *ordered(&node.op, node.operands.clone()) == *operands
        && node.results.iter().map(|value| graph.ty(*value)).eq(types.iter().copied())
}

fn hash(op: &Op, operands: &[Value], types: &[&Type]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash_op(op, &mut hasher);
    operands.hash(&mut hasher);
    types.hash(&mut hasher);
    hasher.finish()
}

fn hash_op(op: &Op, hasher: &mut DefaultHasher) {
    std::mem::discriminant(op).hash(hasher);
    match op {
        Op::State(id) => id.hash(hasher),
        Op::Constant(constant) => constant.hash(hasher),
        Op::Dimension(dim) => dim.hash(hasher),
        Op::Iota { axis } | Op::Concat { axis } | Op::Gather { axis } | Op::ScatterAdd { axis } => {
            axis.hash(hasher)
        }
        Op::Random { stream } => stream.hash(hasher),
        Op::Unary(op) => op.hash(hasher),
        Op::Binary(op) => op.hash(hasher),
        Op::Compare(op) => op.hash(hasher),
        Op::Reduce { op, axes } => (op, axes).hash(hasher),
        Op::ArgReduce { op, axis } => (op, axis).hash(hasher),
        Op::Argsort { axis, descending } => (axis, descending).hash(hasher),
        Op::Dot(axes) => axes.hash(hasher),
        Op::Broadcast { dims } => Axes::hash(dims, hasher),
        Op::Transpose { permutation } => permutation.hash(hasher),
        Op::Slice(axes) => axes.hash(hasher),
        Op::Pad(axes) => axes.hash(hasher),
        Op::Windows(windows) | Op::Fold(windows) => windows.hash(hasher),
        Op::Gradient { or_zero } => or_zero.hash(hasher),
        Op::Kernel(kernel) => (&kernel.name, kernel.kind).hash(hasher),
        Op::Scan(scan) => (scan.consts, scan.carries, &scan.length, scan.reverse).hash(hasher),
        Op::Cond(_) | Op::While(_) => {
            for body in op.bodies() {
                let words = body.nodes().map(|(_, node)| node.op.name());
                words.for_each(|word| word.hash(hasher));
            }
        }
        Op::Select | Op::Cast | Op::Reshape | Op::StopGradient | Op::CustomGradient(_) => {}
    }
}
