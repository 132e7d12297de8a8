//! `decide`: a cond whose predicate is a constant is the region that it picks. Exact.
//!
//! Guarantees nothing that a later pass needs: a predicate that data give stays, and the region
//! that runs is chosen when it is computed. Work and size are linear.

use kilngrad_ir::op::Cond;
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Constant, Entry, Graph, Node, Op, Program, Value};

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::regions::with_regions;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Decide;

impl Pass for Decide {
    fn name(&self) -> &'static str {
        "decide"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(decide(entry)))
    }
}

/// Recurses once a region, and once a cond within the region that another one was replaced by.
fn decide(entry: &Entry) -> Entry {
    let entry = with_regions(entry, decide);
    let graph = &entry.graph;
    let known =
        |node: &Node| matches!(node.op, Op::Cond(_)) && constant(graph, node.operands[0]).is_some();
    if !graph.nodes().any(|(_, node)| known(node)) {
        return entry.into_owned();
    }
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        if let Op::Cond(cond) = &node.op
            && let Some(holds) = constant(graph, node.operands[0])
        {
            replace(&mut rewriter, node, cond, holds);
        } else {
            rewriter.copy(id);
        }
    }
    decide(&rewriter.finish_entry(&entry))
}

/// Puts the region that a predicate picks in its cond's place.
fn replace(rewriter: &mut Rewriter<'_>, node: &Node, cond: &Cond, holds: bool) {
    let (body, positions) = cond.branch(holds);
    let operands = rewriter.operands(node);
    let results = inline(rewriter.target_mut(), body, &operands[positions]);
    for (&old, new) in node.results.iter().zip(results) {
        rewriter.replace(old, new);
    }
}

/// What a predicate is in every call.
fn constant(graph: &Graph, predicate: Value) -> Option<bool> {
    let Op::Constant(Constant::Splat(literal)) = &graph.defining_node(predicate)?.op else {
        return None;
    };
    Some(literal.to_f64() != 0.0)
}

/// Copies the nodes of a region, of these operands, and gives what its results are there.
fn inline(target: &mut Graph, body: &Graph, operands: &[Value]) -> Vec<Value> {
    let mut map: Vec<Option<Value>> = vec![None; body.value_count()];
    for (argument, operand) in body.arguments().iter().zip(operands) {
        map[argument.index()] = Some(*operand);
    }
    let get = |map: &[Option<Value>], value: &Value| {
        map[value.index()].expect("a region's values are its own, and defined before")
    };
    for (_, node) in body.nodes() {
        let operands: Vec<Value> = node.operands.iter().map(|value| get(&map, value)).collect();
        let types: Vec<_> = node.results.iter().map(|value| body.ty(*value).clone()).collect();
        let copy = target.append_unchecked(node.op.clone(), &operands, &types, node.origin.clone());
        for (old, new) in node.results.iter().zip(&target.node(copy).results) {
            map[old.index()] = Some(*new);
        }
    }
    body.results().iter().map(|value| get(&map, value)).collect()
}
