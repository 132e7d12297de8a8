//! What became of a value: from the line that made it to the kernel that computes it.
//!
//! A pass keeps the names of the values that it keeps. A value that is gone is followed to what
//! stands in its place by position: what the entry now returns or updates instead, what a reader
//! that is still there now reads instead. Only then is it taken for dropped.

use std::fmt;

use kilngrad_ir::{
    Bindings, Entry, Error, ErrorKind, Graph, Node, NodeId, Op, Origin, Place, Program, Type,
    Value, ValueName,
};

use crate::compiler::Compiler;
use crate::example::program_example;
use crate::units::bytes;
use crate::values;

/// What became of a value of an entry: see [`Executable::why`](crate::Executable::why).
#[doc = program_example!(
    "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
    "let why = exe.why(\"run\", \"y\")?;"
    "assert_eq!((why.ty.to_string(), why.operation), (\"f32[n]\".into(), \"mul\"));"
)]
#[derive(Debug, Clone)]
pub struct Why {
    /// The entry.
    pub entry: String,
    /// What the value is called as it is declared.
    pub name: String,
    /// Its type as it is declared.
    pub ty: Type,
    /// What computes it as it is declared: an operation's word, or `input`.
    pub operation: &'static str,
    /// The line and scope that made it.
    pub origin: Origin,
    /// What happened to it, in the order of the stages; stages that left it alone are left out.
    pub steps: Vec<Step>,
}

/// What happened to a value in a stage of the compiler.
#[doc = program_example!(
    "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
    "assert!(exe.why(\"run\", \"y\")?.steps.iter().any(|step| step.stage == \"fuse\"));"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The stage.
    pub stage: &'static str,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} = {} of entry {:?}", self.name, self.ty, self.operation, self.entry)?;
        if self.origin != Origin::unknown() {
            write!(f, "  {}", self.origin)?;
        }
        let width = self.steps.iter().map(|step| step.stage.len()).max().unwrap_or(0);
        for Step { stage, text } in &self.steps {
            write!(f, "\n  {stage:<width$}  {text}")?;
        }
        Ok(())
    }
}

/// Follows a value of the entry at position `entry` through the passes.
///
/// # Errors
///
/// Where there is no such value, or the entry cannot be compiled.
pub(crate) fn why(
    compiler: &Compiler,
    entry: usize,
    bindings: &Bindings,
    name: &str,
) -> Result<Why, Error> {
    let declared = &compiler.program.entries[entry];
    let value = values::find(declared, name)?;
    let graph = &declared.graph;
    let mut trail = Trail { at: At::Value(value), last: None, steps: Vec::new() };
    compiler.history(entry, bindings, &mut |stage, program| trail.step(stage, program))?;
    let (last, at) = (trail.last, trail.at);
    let mut steps = trail.steps;
    if let Some(program) = &last {
        steps.extend(in_memory(program, &at).map(|text| Step { stage: "plan", text }));
    } else {
        return Err(Error::new(ErrorKind::Internal, "expected a compiler with stages"));
    }
    Ok(Why {
        entry: declared.name.to_string(),
        name: graph.name(value).to_string(),
        ty: graph.ty(value).clone(),
        operation: graph.defining_node(value).map_or("input", |node| node.op.name()),
        origin: graph.origin(value),
        steps,
    })
}

/// Where a value is at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// It is a value of the entry's graph.
    Value(Value),
    /// It is computed inside these kernels and not in memory.
    Inside(ValueName, Vec<String>),
    /// It is not there any more.
    Gone,
}

/// A value on its way through the stages.
struct Trail {
    at: At,
    /// The program after the stage before.
    last: Option<Program>,
    steps: Vec<Step>,
}

impl Trail {
    fn step(&mut self, stage: &'static str, program: &Program) {
        let next = &program.entries[0];
        if let Some(last) = self.last.take() {
            let (at, text) = match &self.at {
                At::Value(value) => follow(&last.entries[0], *value, next),
                At::Inside(name, _) => (inside(next, name), None),
                At::Gone => (At::Gone, None),
            };
            self.at = at;
            self.steps.extend(text.map(|text| Step { stage, text }));
        }
        self.last = Some(program.clone());
    }
}

/// Where a value of an entry is after the next pass, and what happened to it, if anything did.
fn follow(last: &Entry, value: Value, next: &Entry) -> (At, Option<String>) {
    let name = last.graph.name(value);
    if let Some(kept) = called(&next.graph, name) {
        let text = changed(&last.graph, value, &next.graph, kept);
        return (At::Value(kept), text);
    }
    let at = inside(next, name);
    if let At::Inside(_, kernels) = &at {
        let text = format!("computed in {}, which keeps it out of memory", kernels.join(", "));
        return (at, Some(text));
    }
    let Some(stand_in) = by_root(last, value, next).or_else(|| by_reader(last, value, next)) else {
        return (At::Gone, Some("dropped: nothing that is left reads it".to_owned()));
    };
    let known = called(&last.graph, next.graph.name(stand_in)).is_some();
    let word = if known { "merged into" } else { "replaced by" };
    (At::Value(stand_in), Some(format!("{word} {}", shown(&next.graph, stand_in))))
}

/// How the definition of a value that kept its name changed.
fn changed(last: &Graph, value: Value, next: &Graph, kept: Value) -> Option<String> {
    let (before, after) = (last.defining_node(value)?, next.defining_node(kept)?);
    if let Op::Kernel(kernel) = &after.op {
        let before = matches!(&before.op, Op::Kernel(old) if old.name == kernel.name);
        return (!before).then(|| format!("computed by {}, in memory", described(after)));
    }
    let differs = before.op.name() != after.op.name();
    differs.then(|| format!("now {}", shown(next, kept)))
}

fn called(graph: &Graph, name: &ValueName) -> Option<Value> {
    graph.values().find(|(_, data)| data.name == *name).map(|(value, _)| value)
}

/// The kernels in whose bodies a value of this name is computed.
fn inside(entry: &Entry, name: &ValueName) -> At {
    let kernels = entry.graph.nodes().filter_map(|(_, node)| {
        let Op::Kernel(kernel) = &node.op else { return None };
        let mut results = kernel.body.nodes().flat_map(|(_, node)| &node.results);
        results.any(|result| kernel.body.name(*result) == name).then(|| described(node))
    });
    let kernels: Vec<String> = kernels.collect();
    if kernels.is_empty() { At::Gone } else { At::Inside(name.clone(), kernels) }
}

/// What an entry returns, or updates a state with, instead of a value.
fn by_root(last: &Entry, value: Value, next: &Entry) -> Option<Value> {
    let mut results = last.graph.results().iter().zip(next.graph.results());
    let result = results.find(|(before, _)| **before == value).map(|(_, now)| *now);
    let mut updates = last.updates.iter().zip(&next.updates);
    let update = || updates.find(|(before, _)| before.1 == value).map(|(_, now)| now.1);
    result.or_else(update)
}

/// What a reader of a value that is still there reads in its place.
fn by_reader(last: &Entry, value: Value, next: &Entry) -> Option<Value> {
    last.graph.nodes().find_map(|(_, reader)| {
        let place = reader.operands.iter().position(|operand| *operand == value)?;
        let kept = called(&next.graph, last.graph.name(reader.results[0]))?;
        let now = next.graph.defining_node(kept)?;
        let same = now.op.name() == reader.op.name() && now.operands.len() == reader.operands.len();
        let instead = same.then(|| now.operands[place])?;
        // An operation that commutes may have changed its operands' order.
        let swapped = called(&last.graph, next.graph.name(instead))
            .is_some_and(|before| before != value && reader.operands.contains(&before));
        (!swapped).then_some(instead)
    })
}

/// `%5: f32[8,10] = sub %3, %4`.
fn shown(graph: &Graph, value: Value) -> String {
    let (name, ty) = (graph.name(value), graph.ty(value));
    let Some(node) = graph.defining_node(value) else { return format!("{name}: {ty}") };
    let operands: Vec<String> =
        node.operands.iter().map(|operand| graph.name(*operand).to_string()).collect();
    format!("{name}: {ty} = {} {}", node.op.name(), operands.join(", ")).trim_end().to_owned()
}

/// `@k3_dot_add (contraction of 7 operations)`.
fn described(node: &Node) -> String {
    let Op::Kernel(kernel) = &node.op else { return node.op.name().to_owned() };
    let (kind, count) = (kernel.kind.name(), kernel.body.node_count());
    let s = if count == 1 { "" } else { "s" };
    format!("@{} ({kind} of {count} operation{s})", kernel.name)
}

/// Where the last stage has a value.
fn in_memory(program: &Program, at: &At) -> Option<String> {
    let entry = &program.entries[0];
    let At::Value(value) = at else { return None };
    let graph = &entry.graph;
    let data = graph.value(*value);
    let size = bytes(data.ty.byte_count().unwrap_or(0));
    Some(match data.place? {
        Place::Arena(offset) => {
            let kernels: Vec<NodeId> = graph.nodes().filter_map(kernel_id).collect();
            let touches = |id: &&NodeId| {
                let node = graph.node(**id);
                node.operands.iter().chain(&node.results).any(|touched| touched == value)
            };
            let mut live = kernels.iter().filter(touches);
            let first = live.next();
            let last = live.next_back().or(first);
            let name = |id: Option<&NodeId>| id.map_or("?", |id| kernel_name(graph.node(*id)));
            format!("lies at arena+{offset}, {size}, from @{} to @{}", name(first), name(last))
        }
        Place::Output(index) => {
            format!("is written as output {:?}, {size}", entry.outputs[index])
        }
        Place::Argument(_) => format!("is read where it is fed, {size}"),
        Place::State(id) => {
            format!("lies in the memory of state {:?}, {size}", program.state(id).path)
        }
        Place::Constant(offset) => format!("lies at constants+{offset}, {size}"),
    })
}

fn kernel_id((id, node): (NodeId, &Node)) -> Option<NodeId> {
    matches!(node.op, Op::Kernel(_)).then_some(id)
}

fn kernel_name(node: &Node) -> &str {
    if let Op::Kernel(kernel) = &node.op { &kernel.name } else { node.op.name() }
}
