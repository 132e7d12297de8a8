//! The checker of memory plans: a proof, by replay, that a planned entry computes what it says.
//!
//! A plan puts values whose lives do not meet into the same bytes, results over operands that they
//! are computed from, and updates over states that are read elsewhere. One mistake there is a wrong
//! number far from its cause, so no plan is trusted: this module replays the entry's order over a
//! model of its memory and refuses the plan at the first read that would not see the bytes of its
//! value. It shares nothing with the planner but the words of the IR: live ranges are not computed
//! here at all, and what may be written in place is derived from the kernels' bodies. The idea is
//! the checker of register allocations in regalloc2.
//!
//! # What is modelled
//!
//! Values that name the same bytes have the same *content*: a view has its operand's, all reads of
//! a state have one, every other value has its own. Contents are written once, at one place, so a
//! content is there from its writing until another one is written over any of its bytes, and then
//! it is lost for good. The model is hence an ordered map of the arena's intervals to the contents
//! that lie there, and for each content the value that was first written over it. Each write
//! inserts one interval and each interval is removed once, so a replay takes
//! O(n log n) for n operands and results, whatever the plan. Values of no bytes overlap nothing.
//!
//! # Rules
//!
//! Where things are:
//!
//! - `plan_c1`: the entry has a plan, and each value has a place and a size without symbols.
//! - `plan_c2`: the graph holds states, constants with elements, views (`reshape`), kernels and
//!   control flow only; regions hold no constants, whose places are the entry's to give.
//! - `plan_c3`: an argument lies in the buffer of its position.
//! - `plan_c4`: a read state lies in its own memory.
//! - `plan_c5`: constants lie among the constants, aligned to their elements, each in bytes of its
//!   own.
//! - `plan_c6`: a view lies where its operand lies.
//! - `plan_c7`: results of kernels lie where writing is allowed: not in arguments, nor among
//!   constants.
//! - `plan_c8`: in the arena, results begin at multiples of [`ARENA_ALIGN`] and end within the
//!   plan's bytes.
//!
//! What the replay proves:
//!
//! - `plan_c9`: an operand is in memory whenever a kernel reads it.
//! - `plan_c10`: a kernel's result overlaps none of its operands, save in place, and no other of
//!   its results.
//! - `plan_c11`: each output's buffer is written by the value that is returned there and by no
//!   other, so once, and it holds that value at the end.
//! - `plan_c12`: the memory of a state that is updated is written by the update and by nothing
//!   else, after every read of the old value, and holds the update at the end.
//! - `plan_c13`: states without an update are not written.
//! - `plan_c14`: the lower bound that the plan states is not above its arena.
//! - `plan_c15`: when the last condition of a check is computed, all of them are in memory, and no
//!   state has been written.
//!
//! The regions of control flow are replayed on their own, of a loop as one iteration: values of a
//! region's arena are written before they are read each time that it runs, and its arguments and
//! results are where these rules say:
//!
//! - `plan_c16`: control flow has a workspace in the arena, which overlaps neither its operands nor
//!   its results; these overlap none of its operands. That of a `while` has room for the results of
//!   its regions, beside what either has for itself.
//! - `plan_c17`: the argument of a scan's carry lies where its next value is written, or in bytes of the
//!   workspace that nothing in the region writes: the next iteration finds there, in its turn, what
//!   this one has written, as the two places change roles.
//!
//! - `plan_c18`: no state is written before or by what a caller may cancel: control flow that is or has
//!   a `while`.
//!
//! A result is *in place* of an operand if both begin at the same byte and have equal shapes and
//! element sizes, the kernel is no reduction, and its body reads the operand through elementwise
//! operations only, hence at the index that is written. That the operand is not used later needs no
//! rule: a later kernel that reads it breaks `plan_c9`, and outputs and updates are in buffers that
//! nothing else writes.

mod in_place;
mod memory;

use std::ops::Range;

use kilngrad_ir::op::{Kernel, Workspace};
use kilngrad_ir::{
    Constant, Def, Entry, Graph, Node, NodeId, Op, Place, Plan, Program, Site, StateId, Value,
    ValueName,
};

use in_place::{elementwise_arguments, refusal};
use memory::{Contents, Intervals};

/// What offsets in the arena are multiples of: a line of the cache, and the widest vector.
pub const ARENA_ALIGN: usize = 64;

/// Whether an operation is a `while` or has one in a region. Recurses once a region.
fn has_while(op: &Op) -> bool {
    let inside = |body: &Graph| body.nodes().any(|(_, node)| has_while(&node.op));
    matches!(op, Op::While(_)) || op.bodies().into_iter().any(inside)
}

/// A rule that a memory plan breaks, and where: a bug of the planner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({rule}){} in entry {entry}{}", at(.values), built(.site.as_ref()))]
pub struct CheckError {
    /// The rule's label, such as `plan_c9`.
    pub rule: &'static str,
    /// What was expected and what was found, in lower case and without a period.
    pub message: String,
    /// The values that it is about, the one at fault first.
    pub values: Vec<ValueName>,
    /// The entry.
    pub entry: String,
    /// The user's line of the first of these values whose line is known.
    pub site: Option<Site>,
}

/// Proves that a planned entry reads and writes what it says, by the rules of this module.
///
/// The program is one that [`kilngrad_ir::verify`] accepts.
///
/// # Errors
///
/// The first broken rule, in the order of the entry.
pub fn check(program: &Program, entry: &Entry) -> Result<(), CheckError> {
    check_graph(program, entry, None)
}

/// Replays an entry, or one run of a region, of which `around` is the operation. Recurses once a
/// region.
fn check_graph(program: &Program, entry: &Entry, around: Option<&Op>) -> Result<(), CheckError> {
    let mut replay = Replay::new(program, entry)?;
    let carries = match around {
        Some(Op::Scan(scan)) => scan.carry_operands(),
        Some(_) | None => 0..0,
    };
    for (position, &argument) in entry.graph.arguments().iter().enumerate() {
        match position.checked_sub(carries.start).filter(|_| carries.contains(&position)) {
            Some(carry) => replay.carry(argument, carry)?,
            None => {
                replay.lies_at(argument, Place::Argument(position), "plan_c3", "an argument")?;
            }
        }
    }
    let decided = entry.decided_after();
    for (id, node) in entry.graph.nodes() {
        if let (Some(_), Op::Constant(_)) = (around, &node.op) {
            let message = "expected no constant in a region, found one".into();
            return Err(replay.error("plan_c2", message, &node.results));
        }
        replay.node(id, node)?;
        if Some(id) == decided {
            replay.decide()?;
        }
    }
    replay.roots()
}

/// An entry between two nodes of its order.
struct Replay<'p> {
    program: &'p Program,
    entry: &'p Entry,
    graph: &'p Graph,
    arena_bytes: usize,
    /// By value: where it lies, and how many bytes.
    spans: Vec<Span>,
    /// By value: the first value of the same bytes, which stands for them all.
    content: Vec<Value>,
    /// By state: what stands for its old value, if that is read.
    old: Vec<Option<Value>>,
    /// By state: the value that updates it, if any.
    update: Vec<Option<Value>>,
    /// By content: the last kernel that has read it.
    reader: Vec<Option<NodeId>>,
    /// The first value that was written to a state.
    first_update: Option<Value>,
    /// In a region, the carries that lie in the arena.
    carries: Vec<Value>,
    /// In a region, by carry, the argument that lies where the next value is written.
    in_place_carry: Vec<Option<Value>>,
    arena: Intervals,
    constants: Intervals,
    contents: Contents,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    place: Place,
    bytes: usize,
}

impl<'p> Replay<'p> {
    fn new(program: &'p Program, entry: &'p Entry) -> Result<Replay<'p>, CheckError> {
        let graph = &entry.graph;
        let fail = |message, values: &[Value]| Err(error(entry, "plan_c1", message, values));
        let Some(plan) = entry.plan else {
            return fail("expected a plan, found none".into(), &[]);
        };
        let mut spans = Vec::with_capacity(graph.value_count());
        for (value, data) in graph.values() {
            let Some(place) = data.place else {
                return fail("expected a place, found none".into(), &[value]);
            };
            let Some(bytes) = data.ty.byte_count() else {
                return fail(
                    format!("expected a size without symbols, found {}", data.ty),
                    &[value],
                );
            };
            spans.push(Span { place, bytes });
        }
        if plan.lower_bound_bytes > plan.arena_bytes {
            let message = format!(
                "expected a lower bound of at most the arena's {} bytes, found {}",
                plan.arena_bytes, plan.lower_bound_bytes
            );
            return Err(error(entry, "plan_c14", message, &[]));
        }
        let (content, old) = contents(program, graph);
        let mut update = vec![None; program.states.len()];
        for &(id, value) in &entry.updates {
            update[id.index()] = Some(value);
        }
        Ok(Replay {
            program,
            entry,
            graph,
            arena_bytes: plan.arena_bytes,
            spans,
            content,
            old,
            update,
            reader: vec![None; graph.value_count()],
            first_update: None,
            carries: Vec::new(),
            in_place_carry: vec![None; graph.results().len()],
            arena: Intervals::default(),
            constants: Intervals::default(),
            contents: Contents::new(graph.value_count()),
        })
    }

    fn node(&mut self, id: NodeId, node: &'p Node) -> Result<(), CheckError> {
        match &node.op {
            Op::State(state) => {
                self.lies_at(node.result(), Place::State(*state), "plan_c4", "a read state")
            }
            Op::Constant(Constant::Dense(_)) => self.constant(node.result()),
            Op::Reshape => {
                let place = self.span(node.operands[0]).place;
                self.lies_at(node.result(), place, "plan_c6", "a view")
            }
            Op::Kernel(kernel) => self.kernel(id, node, kernel),
            Op::Scan(_) | Op::Cond(_) | Op::While(_) => self.control_flow(id, node),
            Op::Constant(Constant::Splat(_))
            | Op::Dimension(_)
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
            | Op::Transpose { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Windows(_)
            | Op::Fold(_)
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. } => {
                let expected = "expected a state, a constant with elements, a view or a kernel";
                let message = format!("{expected}, found {}", node.op.name());
                Err(self.error("plan_c2", message, &node.results))
            }
        }
    }

    fn constant(&mut self, value: Value) -> Result<(), CheckError> {
        let Span { place, bytes } = self.span(value);
        let Place::Constant(offset) = place else {
            let message =
                format!("expected a place among the constants, found {}", self.show(place));
            return Err(self.error("plan_c5", message, &[value]));
        };
        let align = self.graph.ty(value).dtype.size();
        let end = offset.checked_add(bytes).filter(|_| offset.is_multiple_of(align));
        let Some(end) = end else {
            let message = format!("expected an offset that {align} divides, found {offset}");
            return Err(self.error("plan_c5", message, &[value]));
        };
        if let Some(other) = self.constants.insert(offset..end, value).first() {
            let message = "expected constants in bytes of their own, found two that overlap";
            return Err(self.error("plan_c5", message.into(), &[value, *other]));
        }
        Ok(())
    }

    fn kernel(&mut self, id: NodeId, node: &'p Node, kernel: &Kernel) -> Result<(), CheckError> {
        for &operand in &node.operands {
            self.read(id, node, operand)?;
        }
        // Derived where it is first asked for, which for most kernels is never.
        let mut elementwise = None;
        for &result in &node.results {
            for content in self.write(result)? {
                self.contents.lose(content, result);
                if is_result_of(self.graph, content, id) {
                    let message = "expected results in bytes of their own, found two that overlap";
                    return Err(self.error("plan_c10", message.into(), &[result, content]));
                }
                if self.reader[content.index()] == Some(id) {
                    let elementwise =
                        elementwise.get_or_insert_with(|| elementwise_arguments(&kernel.body));
                    self.in_place(node, kernel, elementwise, result, content)?;
                }
            }
        }
        Ok(())
    }

    /// The argument of a region that stands for a carry.
    fn carry(&mut self, argument: Value, carry: usize) -> Result<(), CheckError> {
        let Span { place, bytes } = self.span(argument);
        let Place::Arena(offset) = place else {
            self.lies_at(argument, Place::Output(carry), "plan_c17", "a carry")?;
            self.in_place_carry[carry] = Some(argument);
            return Ok(());
        };
        let range = self.arena_range(argument, offset, bytes)?;
        self.carries.push(argument);
        if let Some(other) = self.arena.insert(range, argument).first() {
            let message = "expected carries in bytes of their own, found two that overlap";
            return Err(self.error("plan_c17", message.into(), &[argument, *other]));
        }
        Ok(())
    }

    fn control_flow(&mut self, id: NodeId, node: &'p Node) -> Result<(), CheckError> {
        for &operand in &node.operands {
            self.read(id, node, operand)?;
        }
        let result = node.results[0];
        let Some(Workspace { bytes, place: Place::Arena(offset) }) = node.op.workspace() else {
            let message = "expected a workspace in the arena, found none".into();
            return Err(self.error("plan_c16", message, &[result]));
        };
        let workspace = self.arena_range(result, offset, bytes)?;
        // It stands for no value: nobody reads it once the node has ended.
        let nobody = Value::from_index(self.graph.value_count());
        let mut displaced = self.arena.insert(workspace.clone(), nobody);
        for &result in &node.results {
            let more = self.write(result)?;
            if more.contains(&nobody) {
                let message = "expected results beside the workspace, found one that overlaps it";
                return Err(self.error("plan_c16", message.into(), &[result]));
            }
            displaced.extend(more.iter().copied());
            more.iter().for_each(|content| self.contents.lose(*content, result));
        }
        // Its own results are written before its last iteration, so they are no states either.
        if let Some(update) = self.first_update.filter(|_| has_while(&node.op)) {
            let message =
                "expected what a caller may cancel before a state is written, found a write";
            return Err(self.error("plan_c18", message.into(), &[result, update]));
        }
        self.arena.remove(workspace);
        for content in displaced {
            self.contents.lose(content, result);
            if is_result_of(self.graph, content, id) {
                let message = "expected results in bytes of their own, found two that overlap";
                return Err(self.error("plan_c10", message.into(), &[result, content]));
            }
            if self.reader[content.index()] == Some(id) {
                let message = format!(
                    "expected a {} to write over none of its operands, found one",
                    node.op.name()
                );
                return Err(self.error("plan_c16", message, &[result, content]));
            }
        }
        let arena_bytes = self.region_bytes(node, bytes)?;
        for body in node.op.bodies() {
            let mut region = Entry::new(&self.entry.name, self.entry.mode, body.clone());
            region.plan = Some(Plan { arena_bytes, lower_bound_bytes: 0 });
            check_graph(self.program, &region, Some(&node.op))?;
        }
        Ok(())
    }

    /// How many bytes of a workspace are its regions' own: of a `while`, what their results leave.
    fn region_bytes(&self, node: &Node, workspace: usize) -> Result<usize, CheckError> {
        let Op::While(repeat) = &node.op else { return Ok(workspace) };
        let results = repeat.layout().and_then(|layout| layout.last().copied());
        let left = results.and_then(|results| workspace.checked_sub(results));
        left.ok_or_else(|| {
            let message = format!(
                "expected a workspace with room for the results of the regions, found {workspace} bytes"
            );
            self.error("plan_c16", message, &[node.results[0]])
        })
    }

    /// A kernel reads an operand.
    fn read(&mut self, id: NodeId, node: &Node, operand: Value) -> Result<(), CheckError> {
        let content = self.content_of(operand);
        self.reader[content.index()] = Some(id);
        let Some(writer) = self.contents.lost_to(content) else { return Ok(()) };
        let reader = node.results[0];
        let is_old =
            matches!(self.graph.defining_node(content), Some(Node { op: Op::State(_), .. }));
        let (rule, when) = if is_old {
            ("plan_c12", "expected every read of a state's old value before the state is written")
        } else {
            ("plan_c9", "expected an operand that is still in memory")
        };
        let (operand_name, reader_name) = (self.graph.name(operand), self.graph.name(reader));
        let message = format!(
            "{when}, found {operand_name} under {} when {reader_name} is computed from it",
            self.graph.name(writer)
        );
        Err(self.error(rule, message, &[reader, operand, writer]))
    }

    /// A kernel writes a result. Returns the contents that it is written over.
    fn write(&mut self, result: Value) -> Result<Vec<Value>, CheckError> {
        let Span { place, bytes } = self.span(result);
        match place {
            Place::Arena(offset) => {
                let range = self.arena_range(result, offset, bytes)?;
                let displaced = self.arena.insert(range, result);
                if let Some(carry) = displaced.iter().find(|value| self.carries.contains(*value)) {
                    let message = "expected nothing to be written over a carry, found a result";
                    return Err(self.error("plan_c17", message.into(), &[result, *carry]));
                }
                Ok(displaced)
            }
            Place::Output(position) => {
                let output = self.graph.results().get(position).copied();
                if output.map(|output| self.content_of(output)) == Some(result) {
                    let present = self.in_place_carry.get(position).copied().flatten();
                    return Ok(present.filter(|_| bytes > 0).into_iter().collect());
                }
                let returned =
                    output.map_or("no value".into(), |it| self.graph.name(it).to_string());
                let message = format!(
                    "expected {returned} to be written to {}, found {}",
                    self.show(place),
                    self.graph.name(result)
                );
                Err(self.error("plan_c11", message, &[result]))
            }
            Place::State(state) => {
                self.updates(state, result)?;
                self.first_update.get_or_insert(result);
                let old = self.old.get(state.index()).copied().flatten();
                Ok(old.filter(|_| bytes > 0).into_iter().collect())
            }
            Place::Argument(_) | Place::Constant(_) => {
                let message = format!(
                    "expected a result where writing is allowed, found {}",
                    self.show(place)
                );
                Err(self.error("plan_c7", message, &[result]))
            }
        }
    }

    /// Bytes of the arena at which something may lie.
    fn arena_range(
        &self,
        value: Value,
        offset: usize,
        bytes: usize,
    ) -> Result<Range<usize>, CheckError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.arena_bytes);
        let end = end.filter(|_| offset.is_multiple_of(ARENA_ALIGN));
        end.map(|end| offset..end).ok_or_else(|| {
            let message = format!(
                "expected an offset that {ARENA_ALIGN} divides and {bytes} bytes within the \
                 arena's {}, found {}",
                self.arena_bytes,
                self.show(Place::Arena(offset))
            );
            self.error("plan_c8", message, &[value])
        })
    }

    /// The checks are decided here.
    fn decide(&self) -> Result<(), CheckError> {
        if let Some(update) = self.first_update {
            let message = "expected checks to be decided before a state is written, found a write";
            return Err(self.error("plan_c15", message.into(), &[update]));
        }
        for check in &self.entry.checks {
            if let Some(writer) = self.contents.lost_to(self.content_of(check.condition)) {
                let message = format!(
                    "expected a condition that is still in memory, found it under {}",
                    self.graph.name(writer)
                );
                return Err(self.error("plan_c15", message, &[check.condition, writer]));
            }
        }
        Ok(())
    }

    /// Whether a result that is written to a state is the state's update.
    fn updates(&self, state: StateId, result: Value) -> Result<(), CheckError> {
        let place = self.show(Place::State(state));
        let name = self.graph.name(result);
        let Some(update) = self.update.get(state.index()).copied().flatten() else {
            let message =
                format!("expected no writing to {place}, which has no update, found {name}");
            return Err(self.error("plan_c13", message, &[result]));
        };
        if self.content_of(update) == result {
            return Ok(());
        }
        let update_name = self.graph.name(update);
        let message = format!("expected {update_name} to be written to {place}, found {name}");
        Err(self.error("plan_c12", message, &[result, update]))
    }

    /// Whether a result may be written over the bytes that a kernel reads as operands.
    fn in_place(
        &self,
        node: &Node,
        kernel: &Kernel,
        elementwise: &[bool],
        result: Value,
        content: Value,
    ) -> Result<(), CheckError> {
        let shared = |value: &Value| self.content_of(*value) == content;
        let operands = node.operands.iter().zip(elementwise).filter(|(operand, _)| shared(operand));
        for (&operand, &elementwise) in operands {
            let (from, to) = (self.graph.value(operand), self.graph.value(result));
            let Some(reason) = refusal(kernel.kind, elementwise, from, to) else { continue };
            let message = format!(
                "expected {} to overlap no operand save in place, found that it overlaps {}, {reason}",
                to.name, from.name
            );
            return Err(self.error("plan_c10", message, &[result, operand]));
        }
        Ok(())
    }

    /// Outputs and updates are where they are looked for once the call has ended. What is there
    /// stays there: nothing else is written to these places.
    fn roots(&self) -> Result<(), CheckError> {
        for (position, &result) in self.graph.results().iter().enumerate() {
            self.lies_at(result, Place::Output(position), "plan_c11", "an output")?;
        }
        for &(state, value) in &self.entry.updates {
            self.lies_at(value, Place::State(state), "plan_c12", "an update")?;
        }
        Ok(())
    }

    fn lies_at(
        &self,
        value: Value,
        expected: Place,
        rule: &'static str,
        what: &str,
    ) -> Result<(), CheckError> {
        let found = self.span(value).place;
        if found == expected {
            return Ok(());
        }
        let message =
            format!("expected {what} at {}, found {}", self.show(expected), self.show(found));
        Err(self.error(rule, message, &[value]))
    }

    fn span(&self, value: Value) -> Span {
        self.spans[value.index()]
    }

    fn content_of(&self, value: Value) -> Value {
        self.content[value.index()]
    }

    fn error(&self, rule: &'static str, message: String, values: &[Value]) -> CheckError {
        error(self.entry, rule, message, values)
    }

    /// A place as the text form writes it.
    fn show(&self, place: Place) -> String {
        match place {
            Place::Arena(offset) => format!("arena+{offset}"),
            Place::Argument(position) => format!("argument {position}"),
            Place::Output(position) => format!("output {position}"),
            Place::State(id) => match self.program.states.get(id.index()) {
                Some(state) => format!("state {:?}", state.path),
                None => format!("state number {}", id.index()),
            },
            Place::Constant(offset) => format!("constants+{offset}"),
        }
    }
}

/// By value, what stands for the bytes that it names; by state, what stands for its old value.
fn contents(program: &Program, graph: &Graph) -> (Vec<Value>, Vec<Option<Value>>) {
    let mut content: Vec<Value> = graph.values().map(|(value, _)| value).collect();
    let mut old = vec![None; program.states.len()];
    for (_, node) in graph.nodes() {
        let [result] = node.results[..] else { continue };
        if let Op::State(id) = node.op {
            content[result.index()] = *old[id.index()].get_or_insert(result);
        } else if matches!(node.op, Op::Reshape) {
            content[result.index()] = content[node.operands[0].index()];
        }
    }
    (content, old)
}

fn is_result_of(graph: &Graph, value: Value, id: NodeId) -> bool {
    match graph.value(value).def {
        Def::Argument(_) => false,
        Def::Result { node, .. } => node == id,
    }
}

fn error(entry: &Entry, rule: &'static str, message: String, values: &[Value]) -> CheckError {
    let site = |value: &Value| entry.graph.origin(*value).site().cloned();
    CheckError {
        rule,
        message,
        values: values.iter().map(|value| entry.graph.name(*value).clone()).collect(),
        entry: entry.name.to_string(),
        site: values.iter().find_map(site),
    }
}

fn at(values: &[ValueName]) -> String {
    let names: Vec<String> = values.iter().map(ValueName::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" at {}", names.join(", ")) }
}

fn built(site: Option<&Site>) -> String {
    site.map_or_else(String::new, |site| format!(", built at {site}"))
}
