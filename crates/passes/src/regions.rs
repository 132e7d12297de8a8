//! Regions of scans under passes: each is a graph of its own, rewritten like an entry's.
//!
//! A pass over an entry begins with the regions of its scans, which it sees as entries without
//! states, checks and updates. They keep their arguments and results. Recurses once a region.

use std::borrow::Cow;

use kilngrad_ir::op::Scan;
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Entry, Graph, Mode, Op};

use crate::pass::PassError;

/// The entry with the region of each scan replaced by what `run` makes of it.
pub(crate) fn with_regions<'e>(
    entry: &'e Entry,
    mut run: impl FnMut(&Entry) -> Entry,
) -> Cow<'e, Entry> {
    with_scans(entry, |scan| Scan { body: run(&as_entry(entry, scan)).graph, ..scan.clone() })
}

/// The entry with each scan replaced by what `run` makes of it.
pub(crate) fn with_scans<'e>(
    entry: &'e Entry,
    mut run: impl FnMut(&Scan) -> Scan,
) -> Cow<'e, Entry> {
    if !has_scans(&entry.graph) {
        return Cow::Borrowed(entry);
    }
    let mut rewriter = Rewriter::new(&entry.graph);
    for (id, node) in entry.graph.nodes() {
        let Op::Scan(scan) = &node.op else {
            rewriter.copy(id);
            continue;
        };
        let (scan, operands) = (run(scan), rewriter.operands(node));
        rewriter.copy_with(id, Op::Scan(Box::new(scan)), &operands);
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

/// Whether a graph has scans.
pub(crate) fn has_scans(graph: &Graph) -> bool {
    graph.nodes().any(|(_, node)| matches!(node.op, Op::Scan(_)))
}

/// A region as an entry.
pub(crate) fn as_entry(around: &Entry, scan: &Scan) -> Entry {
    let mut entry = Entry::new(&around.name, Mode::Eval, scan.body.clone());
    entry.outputs = scan.body.results().iter().map(|_| "".into()).collect();
    entry
}
