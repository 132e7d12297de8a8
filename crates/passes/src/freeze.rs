//! Freezing: what a program computes from its states alone is computed once.
//!
//! [`freeze`] cuts a program whose states no longer change in two. One part, `prepare`, has an
//! entry without inputs that computes values of the states alone: weights transposed, scaled,
//! merged. The other is the program again, each of these values being a state that is read. Both
//! are ordinary programs: they print, run in the interpreter and are compiled like any other.
//!
//! Entries that update states cannot be called on frozen ones and stay as they are.
//!
//! A value is prepared where that saves work and a call reads no more than before: its elements
//! take no more bytes than what they are computed from, or they are contractions. Broadcasts and
//! reshapes are no work: what they repeat is prepared instead. A value that has a symbol in its
//! definition is computed by each call, and so is what a pending gradient request differentiates
//! by, with all that depends on it.

use std::collections::HashMap;
use std::sync::Arc;

use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{
    Constant, Dim, Entry, Graph, Init, Literal, Mode, Op, Program, Role, State, StateId, Value,
};
use smallvec::SmallVec;

use crate::cse::merge_equal;
use crate::pins::Pins;

/// The name of the entry that computes what is prepared.
pub const PREPARE: &str = "prepare";

/// A program cut in two.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The program, whose last states are the prepared ones.
    pub program: Program,
    /// A program of the same states without those, whose one entry, called [`PREPARE`], has an
    /// output for each of them, called by its path. `None` where there is nothing to prepare.
    pub prepare: Option<Program>,
}

/// Cuts a program whose states no longer change.
pub fn freeze(program: &Program) -> Frozen {
    let callable = |entry: &&Entry| entry.updates.is_empty();
    let uses: Vec<Uses> =
        program.entries.iter().filter(callable).map(|entry| Uses::new(program, entry)).collect();
    let mut preparation = Preparation::default();
    for (entry, uses) in program.entries.iter().filter(callable).zip(&uses) {
        preparation.add(&entry.graph, uses);
    }
    if preparation.results.is_empty() {
        return Frozen { program: program.clone(), prepare: None };
    }
    let (graph, state_of) = preparation.merged();

    let mut frozen = program.clone();
    for (index, value) in graph.results().iter().enumerate() {
        let (path, ty) = (unused_path(program, index), graph.ty(*value).clone());
        let init = Init::Splat(Literal::from_i64(ty.dtype, 0));
        frozen.states.push(State { path, ty, init, role: Role::Buffer });
    }
    let mut states = state_of.iter().map(|at| StateId::from_index(program.states.len() + at));
    let callable = frozen.entries.iter_mut().filter(|entry| entry.updates.is_empty());
    for (entry, uses) in callable.zip(&uses) {
        *entry = cut(entry, uses, &mut states);
    }

    let mut entry = Entry::new(PREPARE, Mode::Eval, graph);
    entry.outputs =
        frozen.states[program.states.len()..].iter().map(|state| state.path.clone()).collect();
    let prepare = Program {
        name: program.name.clone(),
        states: program.states.clone(),
        entries: vec![entry],
    };
    Frozen { program: frozen, prepare: Some(prepare) }
}

/// A path for a prepared state.
fn unused_path(program: &Program, index: usize) -> Arc<str> {
    let mut path = format!("prepared.{index}");
    while program.find_state(&path).is_some() {
        path.push('_');
    }
    path.into()
}

/// The entry with what is prepared read from states, which are taken in order.
fn cut(entry: &Entry, uses: &Uses, states: &mut impl Iterator<Item = StateId>) -> Entry {
    let mut rewriter = Rewriter::new(&entry.graph);
    for (id, _) in entry.graph.nodes() {
        match uses.call[id.index()] {
            Call::Nothing => {}
            Call::Computes => {
                rewriter.copy(id);
            }
            Call::Reads => {
                let state = states.next().expect("there is a state for each value that is read");
                rewriter.copy_with(id, Op::State(state), &[]);
            }
        }
    }
    rewriter.finish_entry(entry)
}

/// The graph of [`PREPARE`] as far as it is written.
#[derive(Default)]
struct Preparation {
    graph: Graph,
    /// What calls read, in the order of entries and nodes.
    results: Vec<Value>,
}

impl Preparation {
    /// Copies what `uses` says of an entry's graph.
    fn add(&mut self, graph: &Graph, uses: &Uses) {
        let mut copies: Vec<Option<Value>> = vec![None; graph.value_count()];
        for (id, node) in graph.nodes().filter(|(id, _)| uses.prepare[id.index()]) {
            let copy = |value: &Value| copies[value.index()].expect("operands are prepared too");
            let operands: SmallVec<[Value; 3]> = node.operands.iter().map(copy).collect();
            let (value, origin) = (node.result(), node.origin.clone());
            let ty = std::slice::from_ref(graph.ty(value));
            let copy = self.graph.append_unchecked(node.op.clone(), &operands, ty, origin);
            let copy = self.graph.node(copy).result();
            copies[value.index()] = Some(copy);
            if uses.call[id.index()] == Call::Reads {
                self.results.push(copy);
            }
        }
    }

    /// The graph with what entries prepare alike computed once, and for each result as it was
    /// the position of its value among the results that are left.
    fn merged(self) -> (Graph, Vec<usize>) {
        let mut entry = Entry::new(PREPARE, Mode::Eval, self.graph);
        entry.graph.set_results(self.results);
        let mut graph = merge_equal(&entry).graph;
        let mut distinct: Vec<Value> = Vec::new();
        let mut at: HashMap<Value, usize> = HashMap::new();
        let mut position = |value: &Value| {
            *at.entry(*value).or_insert_with(|| {
                distinct.push(*value);
                distinct.len() - 1
            })
        };
        let positions = graph.results().iter().map(&mut position).collect();
        graph.set_results(distinct);
        (graph, positions)
    }
}

/// What a call does for a node's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Nobody asks for it.
    Nothing,
    /// The node runs.
    Computes,
    /// The value is prepared.
    Reads,
}

/// What is needed where, by node.
struct Uses {
    call: Vec<Call>,
    /// Whether the preparation computes the node.
    prepare: Vec<bool>,
}

impl Uses {
    fn new(program: &Program, entry: &Entry) -> Uses {
        let graph = &entry.graph;
        let worth = worth_preparing(program, graph);
        let mut call = vec![false; graph.value_count()];
        let mut prepare = vec![false; graph.value_count()];
        entry.roots().for_each(|root| call[root.index()] = true);
        let mut uses = Uses {
            call: vec![Call::Nothing; graph.node_count()],
            prepare: vec![false; graph.node_count()],
        };
        // Users come after definitions, so each node is decided when all its users are.
        for (id, node) in graph.nodes().rev() {
            let any = |needed: &[bool]| node.results.iter().any(|value| needed[value.index()]);
            let reads = any(&call) && worth[id.index()];
            if reads {
                uses.call[id.index()] = Call::Reads;
            } else if any(&call) {
                uses.call[id.index()] = Call::Computes;
                node.operands.iter().for_each(|operand| call[operand.index()] = true);
            }
            if reads || any(&prepare) {
                uses.prepare[id.index()] = true;
                node.operands.iter().for_each(|operand| prepare[operand.index()] = true);
            }
        }
        uses
    }
}

/// The nodes whose values are better read than computed, if a call needs them.
fn worth_preparing(program: &Program, graph: &Graph) -> Vec<bool> {
    let pins = Pins::of(graph);
    let mut worth = vec![false; graph.node_count()];
    // For each value of the states alone, the bytes that a call reads for it.
    let mut read: Vec<Option<usize>> = vec![None; graph.value_count()];
    for (id, node) in graph.nodes() {
        let operands = node.operands.iter().map(|operand| read[operand.index()]);
        let Some(operands) = operands.collect::<Option<SmallVec<[usize; 3]>>>() else { continue };
        let &[value] = node.results.as_slice() else { continue };
        let Some(size) = graph.ty(value).byte_count() else { continue };
        if pins.contains(value) || mentions_symbols(&node.op) {
            continue;
        }
        // A function with a derivative of its own gives its first operand on and reads no other.
        let read_now = if let Op::CustomGradient(_) = node.op { 1 } else { operands.len() };
        let sources =
            operands[..read_now].iter().fold(0usize, |sum, bytes| sum.saturating_add(*bytes));
        let (bytes, prepared) = match work(program, &node.op) {
            Work::Never => continue,
            Work::None { bytes } => (sources.saturating_add(bytes), false),
            Work::Elements if size > sources => (sources, false),
            Work::Elements | Work::Sums => (size, true),
        };
        worth[id.index()] = prepared;
        read[value.index()] = Some(bytes);
    }
    worth
}

/// What there is to save by computing a node once.
enum Work {
    /// Nothing, besides reading so many bytes of its own.
    None { bytes: usize },
    /// Something for each element.
    Elements,
    /// So much for each element that reading it always pays.
    Sums,
    /// It depends on more than states, or belongs where it is.
    Never,
}

fn work(program: &Program, op: &Op) -> Work {
    match op {
        Op::State(id) => Work::None { bytes: program.state(*id).ty.byte_count().unwrap_or(0) },
        Op::Constant(Constant::Dense(dense)) => Work::None { bytes: dense.bytes().len() },
        Op::Constant(Constant::Splat(_))
        | Op::Iota { .. }
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Windows(_)
        | Op::StopGradient
        | Op::CustomGradient(_) => Work::None { bytes: 0 },
        Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Fold(_) => Work::Elements,
        Op::Dot(_) => Work::Sums,
        Op::Dimension(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => Work::Never,
    }
}

/// Whether an attribute has a symbol, so that the value depends on what a call binds. Recurses once
/// a region.
fn mentions_symbols(op: &Op) -> bool {
    let free = |dim: &Dim| dim.as_constant().is_none();
    match op {
        Op::Dimension(dim) => free(dim),
        Op::Slice(axes) => axes.iter().any(|axis| free(&axis.start) || free(&axis.limit)),
        Op::Pad(axes) => axes.iter().any(|axis| free(&axis.low) || free(&axis.high)),
        Op::Scan(scan) => free(&scan.length) || region_mentions_symbols(&scan.body),
        Op::Cond(_) | Op::While(_) => op.bodies().into_iter().any(region_mentions_symbols),
        Op::CustomGradient(custom) => region_mentions_symbols(&custom.backward),
        Op::State(_)
        | Op::Constant(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::Gradient { .. }
        | Op::Kernel(_) => false,
    }
}

fn region_mentions_symbols(region: &Graph) -> bool {
    region.values().any(|(_, data)| data.ty.shape.symbols().next().is_some())
        || region.nodes().any(|(_, node)| mentions_symbols(&node.op))
}
