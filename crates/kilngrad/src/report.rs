//! What is known of a compiled entry: its kernels, its memory, its work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kilngrad_ir::{Bindings, Entry, Graph, Node, Op, Value};
use kilngrad_passes::{FusionReport, PlanReport, Rejection};

use crate::example::program_example;
use crate::flops::flops;

/// What is known of an entry compiled for one binding of its symbols.
#[doc = program_example!(
    "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
    "let report = exe.report(\"run\")?;"
    "assert_eq!((&*report.entry, report.flops), (\"run\", 9)); // 4 products, 4 terms, 1 sum"
)]
#[derive(Debug, Clone)]
pub struct Report {
    /// The entry.
    pub entry: Arc<str>,
    /// What the symbols were bound to.
    pub bindings: Bindings,
    /// Bytes of the arena that a call uses: the plan's peak, and what single kernels keep beside.
    pub arena_bytes: usize,
    /// What lies where, and who is live where most is.
    pub plan: PlanReport,
    /// The kernels, in the order in which a call runs them.
    pub kernels: Vec<KernelReport>,
    /// Floating-point operations of one call: two for each term of a contraction, one for each
    /// element of an elementwise operation or a reduction, counted before fusion.
    pub flops: u64,
    /// How long it took from the declared graph to machine code.
    pub time: Duration,
}

/// The entry at a stage of the compiler.
#[doc = program_example!(
    "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
    "let stage = exe.stage(\"run\", \"fuse\")?;"
    "assert!(Program::parse(&stage.text, &Default::default()).is_ok());"
)]
#[derive(Debug, Clone)]
pub struct Stage {
    /// The pass, or what was made; a pass that runs several times gives several stages.
    pub name: &'static str,
    /// Nodes of the entry's graph, or calls of the loop program.
    pub nodes: usize,
    /// The most bytes that would be live at once, in this order, if each value that a node of the
    /// graph computes had memory of its own. Of the loop program and the code, the arena.
    pub peak_bytes: usize,
    /// How long it took.
    pub time: Duration,
    /// Its text: a program that parses and runs again, a loop program, or what Cranelift was given
    /// and what it made.
    pub text: String,
}

/// A kernel of a compiled entry: operations that run as one piece of native code.
#[doc = program_example!(
    "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
    "let written: usize = exe.kernels(\"run\")?.iter().map(|kernel| kernel.bytes_written).sum();"
    "assert!(written >= 4 * 4 + 4); // y and the total"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelReport {
    /// Its name, as in dumps and drawings.
    pub name: String,
    /// What its loops are built around: `map`, `reduce` or `contraction`.
    pub kind: &'static str,
    /// The values that it computes for others to read, with their types.
    pub results: Vec<String>,
    /// Its operations, in order.
    pub operations: Vec<&'static str>,
    /// Bytes of the values that it reads.
    pub bytes_read: usize,
    /// Bytes of the values that it writes.
    pub bytes_written: usize,
    /// Floating-point operations, counted as in [`Report::flops`]; more in sum where a kernel
    /// computes again what another computes too.
    pub flops: u64,
    /// Lines and scopes of the user that its operations come from, each once.
    pub origins: Vec<String>,
    /// Values that it reads although another kernel computes them, and why that is so.
    pub rejected: Vec<Rejection>,
}

/// A line with what it computes from how much, and a line for each refusal.
impl fmt::Display for KernelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KernelReport { name, results, operations, bytes_read, bytes_written, flops, .. } = self;
        write!(f, "{name}: {} = {}", results.join(", "), operations.join(" "))?;
        write!(f, "; {bytes_read} B in, {bytes_written} B out, {flops} flop")?;
        if !self.origins.is_empty() {
            write!(f, " <- {}", self.origins.join(", "))?;
        }
        self.rejected.iter().try_for_each(|rejection| write!(f, "\n  not fused: {rejection}"))
    }
}

/// The kernels of a planned entry, in order; those of a scan's region once, where the scan is.
pub(crate) fn kernels(entry: &Entry, fusion: &[FusionReport]) -> Vec<KernelReport> {
    let known = fusion.iter().filter(|report| *report.entry == *entry.name);
    let known: Vec<_> = known.flat_map(|report| &report.kernels).collect();
    let mut kernels = Vec::new();
    collect(&entry.graph, &mut kernels);
    for kernel in &mut kernels {
        if let Some(known) = known.iter().find(|known| known.name == kernel.name) {
            kernel.rejected.clone_from(&known.rejected);
        }
    }
    kernels
}

/// Recurses once a region.
fn collect(graph: &Graph, kernels: &mut Vec<KernelReport>) {
    for (_, node) in graph.nodes() {
        node.op.bodies().into_iter().for_each(|body| collect(body, kernels));
        kernels.extend(kernel(graph, node));
    }
}

fn kernel(graph: &Graph, node: &Node) -> Option<KernelReport> {
    let Op::Kernel(kernel) = &node.op else { return None };
    let bytes = |value: &Value| graph.ty(*value).byte_count().unwrap_or(0);
    let mut read = node.operands.to_vec();
    read.sort_unstable();
    read.dedup();
    let mut origins: Vec<String> = Vec::new();
    for (_, inner) in kernel.body.nodes() {
        let site = inner.origin.site().map(ToString::to_string);
        let place = site.unwrap_or_else(|| inner.origin.scope().to_owned());
        if !place.is_empty() && !origins.contains(&place) {
            origins.push(place);
        }
    }
    let shown = |value: &Value| format!("{}: {}", graph.name(*value), graph.ty(*value));
    Some(KernelReport {
        name: kernel.name.to_string(),
        kind: kernel.kind.name(),
        results: node.results.iter().map(shown).collect(),
        operations: kernel.body.nodes().map(|(_, inner)| inner.op.name()).collect(),
        bytes_read: read.iter().map(bytes).sum(),
        bytes_written: node.results.iter().map(bytes).sum(),
        flops: flops(&kernel.body),
        origins,
        rejected: Vec::new(),
    })
}

/// The most bytes that are live at once if each computed value of an entry has memory of its own:
/// what states hold, what is fed and what the program states is not counted.
pub(crate) fn peak_bytes(entry: &Entry, bindings: &Bindings) -> usize {
    let graph = &entry.graph;
    let mut readers = graph.use_counts();
    for (_, value) in &entry.updates {
        readers[value.index()] += 1;
    }
    let (mut live, mut peak) = (0usize, 0usize);
    let size = |value: Value| {
        let counted = match graph.defining_node(value).map(|node| &node.op) {
            None | Some(Op::State(_) | Op::Constant(_)) => None,
            Some(_) => graph.ty(value).shape.bind(bindings),
        };
        let elements = counted.and_then(|shape| shape.elements()?.as_constant());
        let elements = elements.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        elements.saturating_mul(graph.ty(value).dtype.size())
    };
    for (_, node) in graph.nodes() {
        for &result in &node.results {
            live = live.saturating_add(size(result));
        }
        peak = peak.max(live);
        for &operand in &node.operands {
            readers[operand.index()] -= 1;
            if readers[operand.index()] == 0 {
                live = live.saturating_sub(size(operand));
            }
        }
        for &result in node.results.iter().filter(|result| readers[result.index()] == 0) {
            live = live.saturating_sub(size(result));
        }
    }
    peak
}
