//! A model at a glance: its layers, what it learns, and what a call of each entry takes.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use kilngrad_ir::{Bindings, Entry, Mode, Node, Op, Program, Role, Shape, State, StateId, Type};

use crate::example::program_example;
use crate::report::Report;
use crate::units::{bytes, flops, grouped, time};

/// Of more layers than this, those that share the beginning of their path are shown as one.
const MOST_LAYERS: usize = 40;

/// Functions that make a layer of the scope that calls them.
const FUNCTIONS: [&str; 9] = [
    "layer_norm",
    "rms_norm",
    "batch_norm",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
];

/// What a program holds and what its entries take: see
/// [`Executable::summary`](crate::Executable::summary).
#[doc = program_example!(
    "let summary = program.compile(&Options::new())?.summary();"
    "assert_eq!((&*summary.program, summary.entries.len()), (\"doubles\", 1));"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The program's name.
    pub program: String,
    /// Every scope that declares parameters or buffers of its own, in the order of declaration.
    pub layers: Vec<Layer>,
    /// Parameters that some entry updates.
    pub trainable: Size,
    /// Parameters that no entry updates.
    pub frozen: Size,
    /// What layers remember beside their parameters, such as running statistics.
    pub buffers: Size,
    /// Moments and counters of optimizers.
    pub optimizer: Size,
    /// The entries, in the order of declaration.
    pub entries: Vec<EntrySummary>,
}

/// A scope with parameters.
///
/// ```
/// use kilngrad::prelude::*;
///
/// let b = Builder::new("one layer");
/// let layer = Dense::new(&b.root(), "fit", 2, 3);
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", layer.forward(e.input("x", F32, (b.dim("n"), 2))));
/// let summary = b.finish()?.compile(&Options::new())?.summary();
/// assert_eq!((&*summary.layers[0].name, summary.layers[0].parameters), ("fit", 9));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its path.
    pub name: String,
    /// What it computes, if that is a layer known to this library: `dense`, `rnn`, `gru`, `lstm`, or
    /// the function that it calls, such as `conv2d`, `conv_transpose2d`, `batch_norm`, `layer_norm`,
    /// `rms_norm`.
    pub kind: Option<&'static str>,
    /// The type of what leaves it in the first entry that uses it, symbols included.
    pub output: Option<Type>,
    /// Parameters that it declares itself.
    pub parameters: usize,
}

/// How much some states are.
#[doc = program_example!(
    "let trainable = program.compile(&Options::new())?.summary().trainable;"
    "assert_eq!((trainable.tensors, trainable.elements, trainable.bytes), (1, 1, 4));"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// How many states.
    pub tensors: usize,
    /// Numbers in them.
    pub elements: usize,
    /// Bytes of them.
    pub bytes: usize,
}

/// What a call of an entry takes.
#[doc = program_example!(
    "let entries = program.compile(&Options::new())?.summary().entries;"
    "assert!(entries[0].name == \"run\" && entries[0].compiled.is_none());"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct EntrySummary {
    /// Its name.
    pub name: String,
    /// What it was built for.
    pub mode: Mode,
    /// As it was last used; `None` before it is compiled.
    pub compiled: Option<CompiledSummary>,
}

/// What a call of a compiled entry takes.
#[doc = program_example!(
    "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
    "let compiled = exe.summary().entries[0].compiled.clone().expect(\"it is compiled ahead\");"
    "assert_eq!(compiled.flops, exe.report(\"run\")?.flops);"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledSummary {
    /// What the symbols are bound to.
    pub bindings: Bindings,
    /// Floating-point operations: see [`Report::flops`].
    pub flops: u64,
    /// How many kernels run.
    pub kernels: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes that any plan of this order needs.
    pub lower_bound_bytes: usize,
    /// How long it took to compile.
    pub time: Duration,
}

impl Summary {
    /// A program, with what is known of each entry, in order.
    pub(crate) fn new(program: &Program, reports: &[Option<&Report>]) -> Summary {
        let updated: BTreeSet<StateId> =
            program.entries.iter().flat_map(|entry| &entry.updates).map(|(id, _)| *id).collect();
        let trained = |id: StateId| updated.contains(&id);
        let size = |keep: &dyn Fn(StateId, Role) -> bool| {
            let states = program.states.iter().enumerate();
            let kept = states.filter(|(at, state)| keep(StateId::from_index(*at), state.role));
            kept.fold(Size::default(), |size, (_, state)| size.with(&state.ty))
        };
        Summary {
            program: program.name.to_string(),
            layers: layers(program),
            trainable: size(&|id, role| role == Role::Parameter && trained(id)),
            frozen: size(&|id, role| role == Role::Parameter && !trained(id)),
            buffers: size(&|_, role| role == Role::Buffer),
            optimizer: size(&|_, role| role == Role::Optimizer),
            entries: program
                .entries
                .iter()
                .zip(reports)
                .map(|(entry, report)| EntrySummary {
                    name: entry.name.to_string(),
                    mode: entry.mode,
                    compiled: report.map(compiled),
                })
                .collect(),
        }
    }
}

impl Size {
    fn with(self, ty: &Type) -> Size {
        Size {
            tensors: self.tensors + 1,
            elements: self.elements + ty.element_count().unwrap_or(0),
            bytes: self.bytes + ty.byte_count().unwrap_or(0),
        }
    }
}

fn compiled(report: &Report) -> CompiledSummary {
    CompiledSummary {
        bindings: report.bindings.clone(),
        flops: report.flops,
        kernels: report.kernels.len(),
        arena_bytes: report.arena_bytes,
        lower_bound_bytes: report.plan.lower_bound_bytes,
        time: report.time,
    }
}

fn layers(program: &Program) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let entries: Vec<_> = program.entries.iter().map(|entry| (entry, live(entry))).collect();
    let own = |state: &&State| matches!(state.role, Role::Parameter | Role::Buffer);
    for state in program.states.iter().filter(own) {
        let scope = state.path.rsplit_once('.').map_or("", |(scope, _)| scope);
        let at = layers.iter().position(|layer| layer.name == *scope).unwrap_or_else(|| {
            layers.push(layer(program, &entries, scope));
            layers.len() - 1
        });
        if state.role == Role::Parameter {
            layers[at].parameters += state.ty.element_count().unwrap_or(0);
        }
    }
    layers
}

/// A scope in the first entry that computes something in it, of entries with their [`live`] nodes.
/// What is outside any scope is no layer.
fn layer(program: &Program, entries: &[(&Entry, Vec<&Node>)], scope: &str) -> Layer {
    let used = entries.iter().filter(|_| !scope.is_empty());
    let mut found = used.map(|(entry, live)| (entry, live, forward(entry, scope)));
    let found = found.find(|(_, _, nodes)| !nodes.is_empty());
    let (kind, output) = found.map_or((None, None), |(entry, live, nodes)| {
        (kind(program, scope, &nodes), output(entry, live, scope, &nodes))
    });
    Layer { name: scope.to_owned(), kind, output, parameters: 0 }
}

/// Whether a path is a scope's or of something in it.
fn within(path: &str, scope: &str) -> bool {
    let rest = path.strip_prefix(scope);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The nodes of a scope and of the scopes in it, up to the first gradient: what comes after is the
/// optimizer's.
fn forward<'e>(entry: &'e Entry, scope: &str) -> Vec<&'e Node> {
    let nodes = entry.graph.nodes().map(|(_, node)| node);
    nodes
        .take_while(|node| !matches!(node.op, Op::Gradient { .. }))
        .filter(|node| !matches!(node.op, Op::State(_)))
        .filter(|node| within(node.origin.scope(), scope))
        .collect()
}

/// The type of what a scope gives: of the last of its values that is read outside it or returned,
/// or where there is none, as in a loss that is only differentiated, of the last of all.
fn output(entry: &Entry, live: &[&Node], scope: &str, nodes: &[&Node]) -> Option<Type> {
    let graph = &entry.graph;
    let outside = |node: &&&Node| !within(node.origin.scope(), scope);
    let readers: Vec<&Node> = live.iter().filter(outside).copied().collect();
    let mut leaving = vec![false; graph.value_count()];
    let read = readers.iter().flat_map(|node| &node.operands);
    graph.results().iter().chain(read).for_each(|value| leaving[value.index()] = true);
    let mut values = nodes.iter().rev().flat_map(|node| node.results.iter().rev().copied());
    let Some(value) = values.find(|value| leaving[value.index()]) else {
        return nodes.last().map(|node| graph.ty(node.result()).clone());
    };
    // What a scan stacks has time first, and a layer's caller is given its own axes back.
    let stacked = graph.defining_node(value).is_some_and(
        |node| matches!(&node.op, Op::Scan(scan) if !node.results[..scan.carries].contains(&value)),
    );
    let swapped = readers.iter().find(|node| {
        stacked && node.operands.contains(&value) && matches!(node.op, Op::Transpose { .. })
    });
    Some(graph.ty(swapped.map_or(value, |node| node.result())).clone())
}

/// The nodes that an entry's outputs and updates are computed from, but for gradients, which read
/// what they are taken by. The rest is what layers give and nobody uses.
fn live(entry: &Entry) -> Vec<&Node> {
    let mut needed = vec![false; entry.graph.value_count()];
    let updates = entry.updates.iter().map(|(_, value)| value);
    entry.graph.results().iter().chain(updates).for_each(|value| needed[value.index()] = true);
    let mut live = Vec::new();
    for (_, node) in entry.graph.nodes().rev() {
        if node.results.iter().any(|result| needed[result.index()]) {
            node.operands.iter().for_each(|operand| needed[operand.index()] = true);
            live.push(node);
        }
    }
    live.retain(|node| !matches!(node.op, Op::Gradient { .. }));
    live
}

/// A layer is known by the one function that it calls, which has a scope of its name in the layer's,
/// a recurrent one by its scan and the gates of its weights, and a dense one by its one contraction.
fn kind(program: &Program, scope: &str, nodes: &[&Node]) -> Option<&'static str> {
    let calls = |function: &&&str| {
        // With states of its own it is a layer inside, whatever it is called.
        let inner = format!("{scope}.{function}");
        let declares = |state: &State| within(&state.path, &inner);
        nodes.iter().any(|node| within(node.origin.scope(), &inner))
            && !program.states.iter().any(declares)
    };
    let mut called = FUNCTIONS.iter().filter(calls);
    match (called.next(), called.next()) {
        (Some(function), None) => return Some(function),
        // A scope around several is a layer of the user's own.
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    let own =
        |is: fn(&Op) -> bool| nodes.iter().any(|node| node.origin.scope() == scope && is(&node.op));
    if own(|op| matches!(op, Op::Scan(_))) {
        return recurrent(program, scope);
    }
    let is_own = |state: &&State| state.path.rsplit_once('.').is_some_and(|path| path.0 == scope);
    let matrices = program.states.iter().filter(is_own).filter(|state| state.ty.rank() == 2);
    (matrices.count() == 1 && own(|op| matches!(op, Op::Dot(_)))).then_some("dense")
}

/// Which recurrent layer has the weights of a scope: they have a row for each gate of each hidden
/// number.
fn recurrent(program: &Program, scope: &str) -> Option<&'static str> {
    let path = format!("{scope}.weight_hh_l0");
    let weight = program.states.iter().find(|state| *state.path == *path)?;
    let shape = weight.ty.shape.as_constant()?;
    let [rows, hidden] = shape[..] else { return None };
    match rows.checked_div(hidden)? {
        1 => Some("rnn"),
        3 => Some("gru"),
        4 => Some("lstm"),
        _ => None,
    }
}

/// Layers as they are shown: at most [`MOST_LAYERS`], unless more begin differently.
fn folded(layers: &[Layer]) -> Vec<Layer> {
    let deepest = layers.iter().map(|layer| layer.name.split('.').count()).max().unwrap_or(0);
    let mut shown = layers.to_vec();
    for depth in (1..deepest).rev() {
        if shown.len() <= MOST_LAYERS {
            break;
        }
        shown = cut(layers, depth);
    }
    shown
}

/// Layers whose paths begin with the same `depth` names, as one: with the output of the last.
fn cut(layers: &[Layer], depth: usize) -> Vec<Layer> {
    let mut shown: Vec<(Layer, usize)> = Vec::new();
    for layer in layers {
        let name: Vec<&str> = layer.name.split('.').take(depth).collect();
        let name = name.join(".");
        match shown.iter_mut().find(|(known, _)| known.name == name) {
            Some((known, count)) => {
                known.parameters += layer.parameters;
                known.output.clone_from(&layer.output);
                known.kind = None;
                *count += 1;
            }
            None => shown.push((Layer { name, ..layer.clone() }, 1)),
        }
    }
    let named = shown.into_iter().map(|(mut layer, count)| {
        if count > 1 {
            layer.name += &format!(" ({count} layers)");
        }
        layer
    });
    named.collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", kilngrad_ir::text::shown(&self.program))?;
        table(f, &folded(&self.layers))?;
        writeln!(f)?;
        let sizes = [
            ("trainable", "parameter", self.trainable),
            ("frozen", "parameter", self.frozen),
            ("buffers", "number", self.buffers),
            ("optimizer", "number", self.optimizer),
        ];
        for (label, what, size) in sizes {
            // A model without parameters says so; of the rest only what is there is shown.
            if size.tensors > 0 || label == "trainable" {
                let (numbers, tensors) =
                    (plural(size.elements, what), plural(size.tensors, "tensor"));
                writeln!(f, "{label:<10} {numbers} in {tensors}, {}", bytes(size.bytes))?;
            }
        }
        for entry in &self.entries {
            writeln!(f)?;
            write!(f, "entry {} ({})", entry.name, entry.mode.name())?;
            match &entry.compiled {
                None => f.write_str(": compiled when it is first called")?,
                Some(compiled) => write!(f, "{compiled}")?,
            }
        }
        Ok(())
    }
}

/// What follows an entry's name.
impl fmt::Display for CompiledSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (symbol, length)) in self.bindings.iter().enumerate() {
            write!(f, "{} {symbol} = {length}", if index == 0 { " for" } else { "," })?;
        }
        write!(
            f,
            ": {} a call in {}, arena {} (no plan of this order needs less than {}), \
             compiled in {}",
            flops(self.flops),
            plural(self.kernels, "kernel"),
            bytes(self.arena_bytes),
            bytes(self.lower_bound_bytes),
            time(self.time)
        )
    }
}

/// `1 tensor`, `2 tensors`.
fn plural(count: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Columns as wide as their widest cell; numbers are flush right.
fn table(f: &mut fmt::Formatter<'_>, layers: &[Layer]) -> fmt::Result {
    let row = |layer: &Layer| {
        let name = if layer.name.is_empty() { "(no scope)".to_owned() } else { layer.name.clone() };
        let output = layer.output.as_ref().map(|ty| lengths(&ty.shape));
        let kind = layer.kind.unwrap_or("-").to_owned();
        [name, kind, output.unwrap_or_else(|| "-".to_owned()), grouped(layer.parameters)]
    };
    let header = ["layer", "kind", "output", "parameters"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(layers.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [name, kind, output, parameters] = [0, 1, 2, 3].map(width);
    for (index, row) in rows.iter().enumerate() {
        let [a, b, c, d] = row;
        writeln!(f, "  {a:<name$}  {b:<kind$}  {c:<output$}  {d:>parameters$}")?;
        if index == 0 {
            writeln!(f, "  {}", "-".repeat(name + kind + output + parameters + 6))?;
        }
    }
    Ok(())
}

/// `(n, 64)`.
fn lengths(shape: &Shape) -> String {
    let dims: Vec<String> = shape.dims().iter().map(ToString::to_string).collect();
    format!("({})", dims.join(", "))
}
