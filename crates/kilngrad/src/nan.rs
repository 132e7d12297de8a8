//! Where numbers that are not finite come from.
//!
//! A call that gave one is run again in the interpreter, from the same inputs, states and random
//! numbers. Of the values on the way from there back, over values that are not finite either, the
//! first one is named that is fed or held so, or that is computed so from operands that are all
//! finite. An infinity that the program itself states, such as a mask's, is named only if it leads
//! to the result and nothing else does.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::AtomicBool;

use kilngrad_interp::{Array, Outcome, States, Trace, eval_entry_until};
use kilngrad_ir::{
    Def, Diagnostic, Entry, Error, ErrorKind, Graph, Literal, Node, Op, Program, Value,
};
use kilngrad_runtime::{Found, NotFinite};

use crate::interpreted::{array, array_of};

/// A call of an entry, to be run again.
pub(crate) struct Replay<'a> {
    pub(crate) program: &'a Program,
    /// An entry of the program without gradient requests.
    pub(crate) entry: &'a Entry,
    /// In the order of its arguments.
    pub(crate) inputs: &'a [Array],
    /// As before the call.
    pub(crate) states: &'a States,
    /// What ends its loops.
    pub(crate) cancel: &'a AtomicBool,
}

/// Why a native call gave what is not finite; `program` is its entry as it is compiled, and
/// `states` are the bytes of its states.
///
/// # Errors
///
/// Why it cannot be run again.
pub(crate) fn replay(
    program: &Program,
    call: &NotFinite<'_>,
    states: &[Cow<'_, [u8]>],
) -> Result<Error, Error> {
    let states = program.states.iter().zip(states).map(|(state, bytes)| {
        let shape = state.ty.shape.as_constant().unwrap_or_default();
        array(state.ty.dtype, &shape, bytes)
    });
    let states = States::new(program, states.collect::<Result<_, Error>>()?)?;
    let inputs = call.inputs.iter().map(|input| array_of(*input));
    let inputs = inputs.collect::<Result<Vec<_>, Error>>()?;
    let entry = &program.entries[0];
    let never = AtomicBool::new(false);
    let cancel = call.cancel.unwrap_or(&never);
    explain(&Replay { program, entry, inputs: &inputs, states: &states, cancel }, &call.found)
}

/// Refuses an interpreted call whose outputs or updates are not all finite.
///
/// # Errors
///
/// Where the first number that is not finite comes from.
pub(crate) fn check(call: &Replay<'_>, outcome: &Outcome) -> Result<(), Error> {
    let outputs = call.entry.outputs.iter().map(|name| format!("output {name:?}"));
    let updates = outcome.updates.iter().map(|(id, value)| {
        (format!("the new value of state {:?}", call.program.state(*id).path), value)
    });
    for (what, array) in outputs.zip(&outcome.outputs).chain(updates) {
        if let Some((index, number)) = Range::of(array).first {
            return Err(explain(call, &Found { what, index, number })?);
        }
    }
    Ok(())
}

fn explain(call: &Replay<'_>, found: &Found) -> Result<Error, Error> {
    let graph = &call.entry.graph;
    let mut ranges: Vec<Range> = Vec::with_capacity(graph.value_count());
    let mut note = |trace: Trace<'_>| {
        if !trace.nested {
            ranges.push(Range::of(trace.array));
        }
    };
    let Replay { program, entry, inputs, states, cancel } = *call;
    eval_entry_until(cancel, program, entry, inputs, states, &mut note)?;
    // Values are traced in the order of their definition, arguments first.
    let order = graph.arguments().iter().chain(graph.nodes().flat_map(|(_, node)| &node.results));
    let mut by_value = vec![Range::default(); graph.value_count()];
    for (value, range) in order.zip(ranges) {
        by_value[value.index()] = range;
    }
    let search = Search { call, ranges: by_value };
    Ok(Error::new(ErrorKind::NotFinite, search.diagnostic(found).to_string()))
}

/// The elements of a value as numbers.
#[derive(Debug, Clone, Default)]
struct Range {
    /// Least and greatest of the finite ones.
    finite: Option<(Literal, Literal)>,
    count: usize,
    nan: usize,
    inf: usize,
    negative_inf: usize,
    /// The first that is not finite, and its index.
    first: Option<(Vec<usize>, f64)>,
}

impl Range {
    fn of(array: &Array) -> Range {
        let mut range = Range { count: array.len(), ..Range::default() };
        for (position, element) in array.iter().enumerate() {
            let number = element.to_f64();
            if number.is_finite() {
                let (low, high) = range.finite.unwrap_or((element, element));
                let low = if number < low.to_f64() { element } else { low };
                let high = if number > high.to_f64() { element } else { high };
                range.finite = Some((low, high));
                continue;
            }
            let counter = match (number.is_nan(), number > 0.0) {
                (true, _) => &mut range.nan,
                (false, true) => &mut range.inf,
                (false, false) => &mut range.negative_inf,
            };
            *counter += 1;
            if range.first.is_none() {
                range.first = Some((unravelled(position, array.shape()), number));
            }
        }
        range
    }

    fn is_finite(&self) -> bool {
        self.first.is_none()
    }
}

/// `-1.0 to 3.5, 2 of 6 nan`; a single element as it is.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match self.finite {
            Some((low, high)) if low == high => parts.push(format!("{low}")),
            Some((low, high)) => parts.push(format!("{low} to {high}")),
            None if self.count == 0 => parts.push("no elements".to_owned()),
            None => {}
        }
        for (count, what) in [(self.nan, "nan"), (self.inf, "inf"), (self.negative_inf, "-inf")] {
            match (count, self.count) {
                (0, _) => {}
                (1, 1) => parts.push(what.to_owned()),
                (count, all) => parts.push(format!("{count} of {all} {what}")),
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// The index of the element at a position in row-major order.
fn unravelled(position: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = position;
    let mut index = vec![0; shape.len()];
    for (place, length) in index.iter_mut().zip(shape).rev() {
        (*place, rest) = (rest % length, rest / length);
    }
    index
}

/// What is looked for in a call that was run again.
struct Search<'a> {
    call: &'a Replay<'a>,
    ranges: Vec<Range>,
}

impl Search<'_> {
    fn graph(&self) -> &Graph {
        &self.call.entry.graph
    }

    fn range(&self, value: Value) -> &Range {
        &self.ranges[value.index()]
    }

    /// Whether each value leads to a root over values that are not finite, and is not finite.
    fn guilty(&self) -> Vec<bool> {
        let graph = self.graph();
        let mut guilty = vec![false; graph.value_count()];
        for root in self.call.entry.roots() {
            guilty[root.index()] = !self.range(root).is_finite();
        }
        for (_, node) in graph.nodes().rev() {
            if node.results.iter().any(|result| guilty[result.index()]) {
                for operand in &node.operands {
                    guilty[operand.index()] |= !self.range(*operand).is_finite();
                }
            }
        }
        guilty
    }

    /// Whether a value is a number that the program states, moved about at most.
    fn is_stated(&self, value: Value) -> bool {
        let mut value = value;
        while let Some(node) = self.graph().defining_node(value) {
            if !matches!(node.op, Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. }) {
                return matches!(node.op, Op::Constant(_));
            }
            value = node.operands[0];
        }
        false
    }

    fn operands(&self, value: Value) -> &[Value] {
        self.graph().defining_node(value).map_or(&[], |node| &node.operands)
    }

    /// Whether what is not finite begins at a value: it is fed or held so, or computed so from what
    /// is finite.
    fn begins(&self, value: Value) -> bool {
        self.operands(value).iter().all(|operand| self.range(*operand).is_finite())
    }

    /// Whether a value is the first on its way to hold NaN, or the first to take one that the
    /// program states.
    fn turns_nan(&self, value: Value) -> bool {
        let mut computed = self.operands(value).iter().filter(|operand| !self.is_stated(**operand));
        self.range(value).nan > 0 && computed.all(|operand| self.range(*operand).nan == 0)
    }

    /// The value to name; none if in the interpreter all results are finite.
    fn culprit(&self) -> Option<Value> {
        let guilty = self.guilty();
        let graph = self.graph();
        let arguments = graph.arguments().iter();
        let order = arguments.chain(graph.nodes().flat_map(|(_, node)| &node.results));
        let order: Vec<Value> = order.copied().filter(|value| guilty[value.index()]).collect();
        let computed = || order.iter().copied().filter(|value| !self.is_stated(*value));
        computed()
            .find(|value| self.begins(*value))
            .or_else(|| computed().find(|value| self.turns_nan(*value)))
            .or_else(|| computed().next())
            .or_else(|| order.first().copied())
    }

    fn diagnostic(&self, found: &Found) -> Diagnostic {
        let Some(value) = self.culprit() else {
            let message = format!("expected finite numbers, found {found}");
            return Diagnostic::new("finite_x2", message).help(
                "the interpreter, which adds in f64, computes finite numbers: a sum or product \
                 overflows on its way",
            );
        };
        let graph = self.graph();
        let (index, number) = match &self.range(value).first {
            Some((index, number)) => (index.clone(), *number),
            None => (Vec::new(), f64::NAN),
        };
        let reached = format!("it reaches {}", found.what);
        let found = Found { what: self.what(value), index, number };
        let message = format!("expected finite numbers, found {found}");
        let mut diagnostic =
            Diagnostic::new("finite_x1", message).at(graph.origin(value).site().cloned());
        if let Some(node) = graph.defining_node(value) {
            for operand in distinct(node) {
                let (name, ty) = (graph.name(operand), graph.ty(operand));
                let shown = format!("operand {name}: {ty}, {}", self.range(operand));
                diagnostic = diagnostic.related(shown, graph.origin(operand).site().cloned());
            }
        }
        diagnostic.related(reached, None).related("no state has changed", None)
    }

    /// A value in the user's terms.
    fn what(&self, value: Value) -> String {
        let graph = self.graph();
        let (name, ty) = (graph.name(value), graph.ty(value));
        // Of a single element the number itself is said already.
        let range = match self.range(value) {
            Range { count: 1, .. } => String::new(),
            range => format!(", {range}"),
        };
        let node = match graph.value(value).def {
            Def::Argument(_) => return format!("input {name}: {ty}, as it was fed{range}"),
            Def::Result { node, .. } => graph.node(node),
        };
        if let Op::State(id) = node.op {
            let path = &self.call.program.state(id).path;
            return format!("state {path:?}, before the call{range}");
        }
        let mut what = format!("{name}: {ty} = {}{range}", node.op.name());
        if let Some(of) = node.origin.cotangent_of() {
            what += &format!(", the cotangent of {of}");
        }
        if !node.origin.scope().is_empty() {
            what += &format!(", in {:?}", node.origin.scope());
        }
        what
    }
}

/// The operands of a node, each once.
fn distinct(node: &Node) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for &operand in &node.operands {
        if !seen.contains(&operand) {
            seen.push(operand);
        }
    }
    seen
}
