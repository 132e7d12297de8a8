//! `flatten`: both sides of a cond are computed, and its results chosen by the predicate; of a
//! predicate that is a constant, the one side. Exact: operations have no effect but their results, and
//! a choice keeps bits.
//!
//! Assumes no gradient requests, whose derivatives would go through both sides. Guarantees a
//! program without conds. A `while` is refused: how often it runs is not known before, and within a
//! cond it might not even end. Work and size are linear.

use kilngrad_ir::op::{Axes, Cond};
use kilngrad_ir::rewrite::{Emitter, Rewriter};
use kilngrad_ir::{Constant, DType, Entry, Graph, Node, Op, Program, Value};

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::regions::try_with_regions;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl Pass for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, flatten)
    }
}

fn flatten(entry: &Entry) -> Result<Entry, PassError> {
    let entry = try_with_regions(entry, flatten)?;
    let graph = &entry.graph;
    if let Some((_, node)) = graph.nodes().find(|(_, node)| matches!(node.op, Op::While(_))) {
        return Err(PassError::NotCompiled {
            op: node.op.name(),
            value: graph.name(node.results[0]).to_string(),
            entry: entry.name.to_string(),
            site: node.origin.site().cloned(),
        });
    }
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        if let Op::Cond(cond) = &node.op {
            choose(&mut rewriter, node, cond);
        } else {
            rewriter.copy(id);
        }
    }
    Ok(rewriter.finish_entry(&entry))
}

fn choose(rewriter: &mut Rewriter<'_>, node: &Node, cond: &Cond) {
    let operands = rewriter.operands(node);
    let source = rewriter.source();
    if let Some(holds) = constant(source, node.operands[0]) {
        let (body, positions) = cond.branch(holds);
        let results = inline(rewriter.target_mut(), body, &operands[positions]);
        for (&old, new) in node.results.iter().zip(results) {
            rewriter.replace(old, new);
        }
        return;
    }
    let [then, otherwise] =
        cond.branches().map(|(body, at)| inline(rewriter.target_mut(), body, &operands[at]));
    for ((&old, then), otherwise) in node.results.iter().zip(then).zip(otherwise) {
        if then == otherwise {
            rewriter.replace(old, then);
            continue;
        }
        let mut emitter = Emitter::new(rewriter.target_mut(), node.origin.clone());
        let chosen = select(&mut emitter, operands[0], then, otherwise);
        rewriter.replace(old, chosen);
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

fn select(e: &mut Emitter<'_>, predicate: Value, then: Value, otherwise: Value) -> Value {
    let ty = e.ty(then).with_dtype(DType::Bool);
    let everywhere = match ty.rank() {
        0 => predicate,
        _ => e.emit(Op::Broadcast { dims: Axes::new() }, &[predicate], &[ty]),
    };
    e.emit(Op::Select, &[everywhere, then, otherwise], &[])
}
