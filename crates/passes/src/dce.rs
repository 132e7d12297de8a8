//! `dce`: nodes that no output, no update and no gradient request needs are dropped. Exact.
//!
//! Assumes nothing. Guarantees that every node has a result that a later node uses or that is a
//! root. Arguments stay: they are the entry's signature. One walk back over the nodes marks what
//! is needed, so the work is linear.

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Check, Constant, DType, Entry, Graph, Literal, Op, Program, Value};

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};

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
    for (id, node) in graph.nodes().rev() {
        if node.results.iter().any(|value| needed[value.index()]) {
            live[id.index()] = true;
            for operand in &node.operands {
                needed[operand.index()] = true;
            }
        }
    }
    let mut rewriter = Rewriter::new(graph);
    for (id, _) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        rewriter.copy(id);
    }
    rewriter.finish_entry(entry)
}
