//! Regions of control flow under passes: each is a graph of its own, rewritten like an entry's.
//!
//! A pass over an entry begins with the regions of its control flow, which it sees as entries without
//! states, checks and updates. They keep their arguments and results. Recurses once a region.

use std::borrow::Cow;

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Entry, Graph, Mode, Node, Op};

use crate::pass::PassError;

/// The entry with each region of control flow replaced by what `run` makes of it.
pub(crate) fn with_regions<'e>(
    entry: &'e Entry,
    mut run: impl FnMut(&Entry) -> Entry,
) -> Cow<'e, Entry> {
    with_ops(entry, |node| {
        let bodies = node.op.bodies();
        let made = bodies.iter().map(|body| run(&as_entry(entry, body)).graph);
        (!bodies.is_empty()).then(|| node.op.with_bodies(made))
    })
}

/// The entry with the operations that `run` gives for some of its control flow.
pub(crate) fn with_ops<'e>(
    entry: &'e Entry,
    mut run: impl FnMut(&Node) -> Option<Op>,
) -> Cow<'e, Entry> {
    if !has_control_flow(&entry.graph) {
        return Cow::Borrowed(entry);
    }
    let mut rewriter = Rewriter::new(&entry.graph);
    for (id, node) in entry.graph.nodes() {
        match run(node) {
            Some(op) => {
                let operands = rewriter.operands(node);
                rewriter.copy_with(id, op, &operands);
            }
            None => {
                rewriter.copy(id);
            }
        }
    }
    Cow::Owned(rewriter.finish_entry(entry))
}

/// As [`with_regions`], for what may fail.
pub(crate) fn try_with_regions<'e>(
    entry: &'e Entry,
    mut run: impl FnMut(&Entry) -> Result<Entry, PassError>,
) -> Result<Cow<'e, Entry>, PassError> {
    let mut failed = None;
    let entry = with_regions(entry, |region| match run(region) {
        Ok(region) => region,
        Err(error) => {
            failed.get_or_insert(error);
            region.clone()
        }
    });
    match failed {
        None => Ok(entry),
        Some(error) => Err(error),
    }
}

/// Whether a graph has control flow.
fn has_control_flow(graph: &Graph) -> bool {
    graph.nodes().any(|(_, node)| !node.op.bodies().is_empty())
}

/// A region as an entry.
pub(crate) fn as_entry(around: &Entry, body: &Graph) -> Entry {
    let mut entry = Entry::new(&around.name, Mode::Eval, body.clone());
    entry.outputs = body.results().iter().map(|_| "".into()).collect();
    entry
}
