//! `plan`: a place in memory for every value. Exact.
//!
//! Assumes what `copies` and `schedule` guarantee. Guarantees, and has [`crate::check`] prove by a
//! replay that shares no code with it:
//!
//! - arguments, states and dense constants are read where they are;
//! - outputs are written where the caller wants them, updates where their states live;
//! - views share the memory of what they are views of;
//! - everything else lies in one arena, at offsets that are multiples of [`ALIGNMENT`], and no two
//!   values that are live at once overlap, save a result that is written over an operand that ends
//!   there (see [`crate::alias`]).
//!
//! A value is live from the kernel that computes it to the last that reads it, both included.
//! Values that are written over each other share a *block*; blocks are placed by `offsets`.

mod offsets;

use std::fmt;

use kilngrad_ir::op::{Kernel, Scan, Workspace};
use kilngrad_ir::{Constant, Entry, Graph, Node, Op, Origin, Place, Plan, Program, Value};

use crate::alias::may_overwrite;
use crate::memory::{bases, operand_bases, steps};
use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::regions::{as_entry, with_ops};
use crate::shapes::bytes;
use offsets::{Block, arrange};

/// Offsets in the arena and among the constants are multiples of this many bytes: the length of a
/// cache line and of the longest vector.
pub const ALIGNMENT: usize = 64;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct PlanMemory;

impl Pass for PlanMemory {
    fn name(&self) -> &'static str {
        "plan"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, context: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        context.plans.clear();
        each_entry(program, |entry| {
            let (entry, report) = plan_entry(entry);
            crate::check::check(program, &entry).map_err(PassError::Plan)?;
            context.plans.push(report);
            Ok(entry)
        })
    }
}

/// What the plan of one entry decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanReport {
    /// The entry.
    pub entry: String,
    /// Bytes of the arena: the plan's peak.
    pub peak_bytes: usize,
    /// Bytes that any plan of this order needs.
    pub lower_bound_bytes: usize,
    /// Bytes of the constants.
    pub constant_bytes: usize,
    /// How many results are written over an operand.
    pub in_place: usize,
    /// Who is live where most is, largest first.
    pub at_peak: Vec<LiveValue>,
}

/// A value that is live at the peak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveValue {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: usize,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "entry {}: arena {} B, bound {} B, constants {} B, {} result{} in place; at the peak:",
            self.entry,
            self.peak_bytes,
            self.lower_bound_bytes,
            self.constant_bytes,
            self.in_place,
            if self.in_place == 1 { "" } else { "s" }
        )?;
        for value in &self.at_peak {
            writeln!(f, "  {} {} B  {}", value.name, value.bytes, value.origin)?;
        }
        Ok(())
    }
}

/// The entry with places, and what was decided.
pub fn plan_entry(entry: &Entry) -> (Entry, PlanReport) {
    plan_graph(entry, None)
}

/// Control flow whose regions have places in a workspace, which is not placed yet. Only one region
/// runs at a time, so they take the same bytes.
fn plan_regions(entry: &Entry, op: &Op) -> Option<Op> {
    let scan = if let Op::Scan(scan) = op { Some(&**scan) } else { None };
    let mut bytes = 0;
    let bodies: Vec<Graph> = op
        .bodies()
        .into_iter()
        .map(|body| {
            let (planned, report) = plan_graph(&as_entry(entry, body), scan);
            bytes = bytes.max(report.peak_bytes);
            planned.graph
        })
        .collect();
    if let Op::While(repeat) = op {
        let layout = repeat.layout().expect("symbols are bound, and sizes fit memory");
        bytes += layout.last().expect("a layout has an end");
    }
    let workspace = Workspace { bytes, place: Place::Arena(0) };
    (!bodies.is_empty()).then(|| op.with_bodies(bodies).with_workspace(Some(workspace)))
}

/// Plans an entry, or a region, which may be a scan's. Recurses once a region.
fn plan_graph(entry: &Entry, region: Option<&Scan>) -> (Entry, PlanReport) {
    let entry = with_ops(entry, |node| plan_regions(entry, &node.op));
    let graph = &entry.graph;
    let bases = bases(graph);
    let (mut places, constant_bytes) = fixed_places(&entry, &bases);
    if let Some(scan) = region {
        place_carries(scan, graph, &bases, &mut places);
    }
    let live = Live::new(&entry, &bases, &places);
    let arena = arrange(&live.blocks);
    for (value, block) in live.block_of.iter().enumerate() {
        if let Some(block) = block {
            places[value] = Some(Place::Arena(arena.offsets[*block]));
        }
    }
    let report = PlanReport {
        entry: entry.name.to_string(),
        peak_bytes: arena.bytes,
        lower_bound_bytes: live.bound,
        constant_bytes,
        in_place: live.in_place,
        at_peak: live.at_peak(graph),
    };
    let workspaces = live.workspaces.iter().map(|block| Place::Arena(arena.offsets[*block]));
    let mut planned = with_workspaces_at(entry.into_owned(), workspaces);
    for (value, base) in bases.iter().enumerate() {
        planned.graph.set_place(Value::from_index(value), places[base.index()]);
    }
    let (arena_bytes, lower_bound_bytes) = (arena.bytes, live.bound);
    planned.plan = Some(Plan { arena_bytes, lower_bound_bytes });
    (planned, report)
}

/// The entry with the workspaces of its control flow, in order, at these places.
fn with_workspaces_at(entry: Entry, mut places: impl Iterator<Item = Place>) -> Entry {
    let placed = with_ops(&entry, |node| {
        let bytes = node.op.workspace()?.bytes;
        let place = places.next().expect("a place was chosen for every workspace");
        Some(node.op.with_workspace(Some(Workspace { bytes, place })))
    });
    placed.into_owned()
}

/// Places the carries of a region. The next value is written over the present one where that is
/// allowed; other carries need a second buffer beside the one of the scan's result, as present and
/// next value change places from iteration to iteration.
fn place_carries(scan: &Scan, graph: &Graph, bases: &[Value], places: &mut [Option<Place>]) {
    for carry in scan.carry_results() {
        let argument = graph.arguments()[scan.consts + carry];
        let next = bases[graph.results()[carry].index()];
        let writer = steps(graph).position(|(_, node)| node.results.contains(&next));
        let readers = steps(graph).enumerate().filter(|(_, (_, node))| {
            node.operands.iter().any(|operand| bases[operand.index()] == argument)
        });
        let last = readers.map(|(position, _)| position).max();
        let node = writer.filter(|_| last <= writer).and_then(|writer| steps(graph).nth(writer));
        let in_place = node.is_some_and(|(_, node)| {
            let Op::Kernel(kernel) = &node.op else { return false };
            let result = node.results.iter().position(|value| *value == next);
            result.is_some_and(|result| overwrites(graph, bases, node, kernel, result, argument))
        });
        places[argument.index()] = in_place.then_some(Place::Output(carry));
    }
}

/// The places that are not chosen, by base, and the bytes of the constants.
fn fixed_places(entry: &Entry, bases: &[Value]) -> (Vec<Option<Place>>, usize) {
    let graph = &entry.graph;
    let mut places = vec![None; graph.value_count()];
    for (index, argument) in graph.arguments().iter().enumerate() {
        places[argument.index()] = Some(Place::Argument(index));
    }
    let mut constant_bytes = 0;
    for (_, node) in graph.nodes() {
        if let Op::State(id) = node.op {
            places[node.result().index()] = Some(Place::State(id));
        } else if let Op::Constant(Constant::Dense(dense)) = &node.op {
            places[node.result().index()] = Some(Place::Constant(constant_bytes));
            // An empty constant takes a place too: offsets tell constants apart.
            constant_bytes += padded(dense.bytes().len().max(1));
        }
    }
    for (index, result) in graph.results().iter().enumerate() {
        places[bases[result.index()].index()] = Some(Place::Output(index));
    }
    for (state, value) in &entry.updates {
        places[bases[value.index()].index()] = Some(Place::State(*state));
    }
    (places, constant_bytes)
}

/// Bytes as the arena counts them.
fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Who is live when.
struct Live {
    blocks: Vec<Block>,
    /// The block of each value in the arena.
    block_of: Vec<Option<usize>>,
    /// The most bytes that are live at once, and where.
    bound: usize,
    peak: usize,
    in_place: usize,
    /// The first and last step of each value in the arena.
    ranges: Vec<Option<(usize, usize)>>,
    /// The blocks of workspaces, in order.
    workspaces: Vec<usize>,
}

impl Live {
    fn new(entry: &Entry, bases: &[Value], places: &[Option<Place>]) -> Live {
        let graph = &entry.graph;
        let ranges = ranges(entry, bases, places);
        let mut live = Live {
            blocks: Vec::new(),
            block_of: vec![None; graph.value_count()],
            bound: 0,
            peak: 0,
            in_place: 0,
            ranges,
            workspaces: Vec::new(),
        };
        // What a region is given in the arena are carries, whose memory is theirs in every step.
        let last = steps(graph).count().saturating_sub(1);
        for &argument in graph.arguments().iter().filter(|value| places[value.index()].is_none()) {
            let size = padded(bytes(graph.ty(argument)));
            live.block_of[argument.index()] = Some(live.blocks.len());
            live.ranges[argument.index()] = Some((0, last));
            live.blocks.push(Block { size, first: 0, last });
        }
        for (position, (_, node)) in steps(graph).enumerate() {
            live.place_results(graph, bases, position, node);
        }
        live.measure();
        live
    }

    fn place_results(&mut self, graph: &Graph, bases: &[Value], position: usize, node: &Node) {
        let kernel = if let Op::Kernel(kernel) = &node.op { Some(kernel) } else { None };
        if let Some(workspace) = node.op.workspace() {
            let size = padded(workspace.bytes);
            self.workspaces.push(self.blocks.len());
            self.blocks.push(Block { size, first: position, last: position });
        }
        let mut ending: Vec<Value> = operand_bases(node, bases).to_vec();
        ending.retain(|base| self.may_end(graph, *base, position));
        for (index, &result) in node.results.iter().enumerate() {
            let Some((first, last)) = self.ranges[result.index()] else { continue };
            let size = padded(bytes(graph.ty(result)));
            let over = kernel.and_then(|kernel| {
                ending.iter().position(|base| overwrites(graph, bases, node, kernel, index, *base))
            });
            let block = match over {
                Some(over) => {
                    self.in_place += 1;
                    let base = ending.remove(over);
                    self.block_of[base.index()].expect("operands are placed before their readers")
                }
                None => {
                    self.blocks.push(Block { size, first, last });
                    self.blocks.len() - 1
                }
            };
            self.blocks[block].last = last;
            self.block_of[result.index()] = Some(block);
        }
    }

    /// Whether the memory of a value may be another's from this step on: nothing reads it later, and
    /// it is not a carry's.
    fn may_end(&self, graph: &Graph, base: Value, position: usize) -> bool {
        let computed = graph.defining_node(base).is_some();
        computed && self.ranges[base.index()].is_some_and(|range| range.1 == position)
    }

    /// Finds the peak by adding up what begins and ends at each kernel.
    fn measure(&mut self) {
        let count = self.blocks.iter().map(|block| block.last + 2).max().unwrap_or(0);
        let mut change = vec![(0usize, 0usize); count];
        for block in &self.blocks {
            change[block.first].0 += block.size;
            change[block.last + 1].1 += block.size;
        }
        let mut now = 0;
        for (position, (begins, ends)) in change.into_iter().enumerate() {
            now = now + begins - ends;
            if now > self.bound {
                (self.bound, self.peak) = (now, position);
            }
        }
    }

    fn at_peak(&self, graph: &Graph) -> Vec<LiveValue> {
        let mut live: Vec<LiveValue> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (value, data) in graph.values() {
            let Some((first, last)) = self.ranges[value.index()] else { continue };
            let Some(block) = self.block_of[value.index()] else { continue };
            let now = first <= self.peak && self.peak <= last;
            // Of two values in one place the first to be live stands for both.
            if now && seen.insert(block) {
                let name = data.name.to_string();
                live.push(LiveValue { name, bytes: bytes(&data.ty), origin: graph.origin(value) });
            }
        }
        live.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        live
    }
}

/// The first and last kernel at which each base without a fixed place is live; kernels are counted
/// in order. A check reads its condition once the last of them is computed.
fn ranges(entry: &Entry, bases: &[Value], places: &[Option<Place>]) -> Vec<Option<(usize, usize)>> {
    let graph = &entry.graph;
    let mut ranges: Vec<Option<(usize, usize)>> = vec![None; graph.value_count()];
    for (position, (_, node)) in steps(graph).enumerate() {
        for operand in &node.operands {
            if let Some(range) = &mut ranges[bases[operand.index()].index()] {
                range.1 = position;
            }
        }
        for result in &node.results {
            if places[result.index()].is_none() {
                ranges[result.index()] = Some((position, position));
            }
        }
    }
    let Some(last) = entry.decided_after() else { return ranges };
    let decided = steps(graph).take_while(|(id, _)| *id <= last).count().saturating_sub(1);
    for check in &entry.checks {
        if let Some(range) = &mut ranges[bases[check.condition.index()].index()] {
            range.1 = range.1.max(decided);
        }
    }
    ranges
}

/// Whether a result may take the memory of `base`: by every operand that lies there.
fn overwrites(
    graph: &Graph,
    bases: &[Value],
    node: &Node,
    kernel: &Kernel,
    result: usize,
    base: Value,
) -> bool {
    let same = bytes(graph.ty(base)) == bytes(graph.ty(node.results[result]));
    let mut operands = node.operands.iter().enumerate();
    same && operands.all(|(index, operand)| {
        bases[operand.index()] != base || may_overwrite(kernel, result, index)
    })
}
