//! Writing programs.
//!
//! A broken program is written as far as it goes: what is missing shows as `?`, which does not
//! parse.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::ops::Range;

use crate::graph::{Graph, Node, Value};
use crate::literal::{Constant, Dense, Literal};
use crate::op::{
    Axes, Cond, CustomGradient, DotAxes, Kernel, Op, PadAxis, Scan, SliceAxis, While, Window,
    Workspace,
};
use crate::origin::Origin;
use crate::program::{Entry, Init, Place, Program, State, StateId};
use crate::text::{CONSTANT_KEY, NamedArray, PrintOptions, VERSION, quoted, word_or_quoted};
use crate::types::Type;

/// Elements of an array in one line.
const ROW: usize = 16;

/// Which arrays are left out of the text, and where they go, under keys.
pub(super) struct Beside<'a> {
    options: &'a PrintOptions,
    arrays: &'a mut Vec<NamedArray>,
    /// Keys that only a state's array may have.
    paths: HashSet<&'a str>,
    /// Numbers the keys of other arrays.
    next: usize,
}

impl<'a> Beside<'a> {
    pub(super) fn new(
        program: &'a Program,
        options: &'a PrintOptions,
        arrays: &'a mut Vec<NamedArray>,
    ) -> Beside<'a> {
        let paths = program.states.iter().map(|state| &*state.path).collect();
        Beside { options, arrays, paths, next: 0 }
    }

    /// The key under which an array goes beside the text; `path` is that of the state which begins
    /// with it. `None` where the array stays in the text.
    fn take(&mut self, elements: &Dense, ty: &Type, path: Option<&str>) -> Option<String> {
        let state = path.is_some() && self.options.external_states;
        if elements.len() <= self.options.external_above && !state {
            return None;
        }
        let key = match path {
            Some(path) => path.to_owned(),
            None => loop {
                let key = format!("{CONSTANT_KEY}{}", self.next);
                self.next += 1;
                if !self.paths.contains(&*key) {
                    break key;
                }
            },
        };
        let (ty, elements) = (ty.clone(), elements.clone());
        self.arrays.push(NamedArray { key: key.clone(), ty, elements });
        Some(key)
    }
}

/// Writes `program` to `out`.
pub(super) fn write(
    program: &Program,
    out: &mut dyn Write,
    beside: Option<Beside<'_>>,
) -> fmt::Result {
    Printer { program, out, beside, indent: 0 }.program()
}

struct Printer<'p, 'o> {
    program: &'p Program,
    out: &'o mut dyn Write,
    beside: Option<Beside<'o>>,
    indent: usize,
}

impl<'p> Printer<'p, '_> {
    fn program(&mut self) -> fmt::Result {
        let program = self.program;
        writeln!(self.out, "kilngrad {VERSION}")?;
        writeln!(self.out, "program {}", quoted(&program.name))?;
        for (index, state) in program.states.iter().enumerate() {
            if index == 0 {
                self.out.write_str("\n")?;
            }
            self.state(state)?;
        }
        for entry in &program.entries {
            self.out.write_str("\n")?;
            self.entry(entry)?;
        }
        Ok(())
    }

    fn state(&mut self, state: &State) -> fmt::Result {
        write!(self.out, "state {}: {} = ", quoted(&state.path), state.ty)?;
        match &state.init {
            Init::Splat(literal) => write!(self.out, "{literal}")?,
            Init::Dense(dense) => self.dense(dense, Some(&state.ty), Some(&state.path))?,
            Init::Uniform { low, high, stream } => {
                self.random_init("uniform", *low, *high, *stream)?;
            }
            Init::Normal { mean, std, stream } => {
                self.random_init("normal", *mean, *std, *stream)?;
            }
            Init::Seed => self.out.write_str("seed")?,
        }
        writeln!(self.out, " {}", state.role.name())
    }

    fn random_init(&mut self, kind: &str, first: f64, second: f64, stream: u64) -> fmt::Result {
        let float = |value: f64| Literal::from_f64(crate::dtype::DType::F64, value);
        let (first, second) = (float(first), float(second));
        write!(self.out, "{kind}({first}, {second}, stream={stream:#x})")
    }

    fn entry(&mut self, entry: &Entry) -> fmt::Result {
        let graph = &entry.graph;
        write!(self.out, "entry @{}(", word_or_quoted(&entry.name))?;
        for (index, &argument) in graph.arguments().iter().enumerate() {
            self.comma(index)?;
            self.declaration(graph, argument)?;
        }
        write!(self.out, ") {}", entry.mode.name())?;
        if let Some(plan) = &entry.plan {
            write!(self.out, " arena={} bound={}", plan.arena_bytes, plan.lower_bound_bytes)?;
        }
        self.open()?;
        self.nodes(graph)?;
        for check in &entry.checks {
            self.line()?;
            let condition = name(graph, check.condition);
            write!(self.out, "check {condition}, {}", quoted(&check.expected))?;
            self.origin(&check.origin)?;
            self.out.write_str("\n")?;
        }
        for (state, value) in &entry.updates {
            let path = self.path(*state);
            self.line()?;
            writeln!(self.out, "update {path} := {}", name(graph, *value))?;
        }
        if !graph.results().is_empty() || !entry.outputs.is_empty() {
            self.line()?;
            self.out.write_str("return ")?;
            for index in 0..graph.results().len().max(entry.outputs.len()) {
                self.comma(index)?;
                let output = entry.outputs.get(index);
                let output = output.map_or("?".to_owned(), |output| word_or_quoted(output));
                let value = graph.results().get(index);
                let value = value.map_or("%?".to_owned(), |value| name(graph, *value));
                write!(self.out, "{output} = {value}")?;
            }
            self.out.write_str("\n")?;
        }
        self.close()?;
        self.out.write_str("\n")
    }

    /// Recurses once a region, over its depth only.
    fn nodes(&mut self, graph: &Graph) -> fmt::Result {
        for (_, node) in graph.nodes() {
            self.line()?;
            for (index, &result) in node.results.iter().enumerate() {
                self.comma(index)?;
                self.declaration(graph, result)?;
            }
            write!(self.out, " = {}", node.op.name())?;
            self.operation(graph, node)?;
            self.origin(&node.origin)?;
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    fn origin(&mut self, origin: &Origin) -> fmt::Result {
        match *origin == Origin::unknown() {
            true => Ok(()),
            false => write!(self.out, "  {origin}"),
        }
    }

    /// What follows the word of the operation.
    fn operation(&mut self, graph: &Graph, node: &Node) -> fmt::Result {
        match &node.op {
            Op::Gradient { .. } => return self.gradient(graph, node),
            Op::CustomGradient(custom) => return self.custom_gradient(graph, node, custom),
            Op::Scan(scan) => return self.scan(graph, node, scan),
            Op::Cond(cond) => return self.cond(graph, node, cond),
            Op::While(repeat) => return self.repeat(graph, node, repeat),
            Op::Kernel(kernel) => return self.kernel(graph, node, kernel),
            Op::State(_)
            | Op::Constant(_)
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
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Windows(_)
            | Op::Fold(_)
            | Op::StopGradient => {}
        }
        for (index, &operand) in node.operands.iter().enumerate() {
            let gap = if index == 0 { " " } else { ", " };
            write!(self.out, "{gap}{}", name(graph, operand))?;
        }
        let result = node.results.first().and_then(|value| graph.try_value(*value));
        self.attributes(&node.op, result.map(|data| &data.ty))
    }

    fn attributes(&mut self, op: &Op, ty: Option<&Type>) -> fmt::Result {
        match op {
            Op::State(id) => {
                let path = self.path(*id);
                write!(self.out, " {path}")
            }
            Op::Constant(Constant::Splat(literal)) => write!(self.out, " {literal}"),
            Op::Constant(Constant::Dense(dense)) => {
                self.out.write_str(" ")?;
                self.dense(dense, ty, None)
            }
            Op::Dimension(dim) => write!(self.out, " {dim}"),
            Op::Iota { axis }
            | Op::ArgReduce { axis, .. }
            | Op::Argsort { axis, .. }
            | Op::Concat { axis }
            | Op::Gather { axis }
            | Op::ScatterAdd { axis } => {
                write!(self.out, " axis={axis}")
            }
            Op::Random { stream } => write!(self.out, " stream={stream:#x}"),
            Op::Reduce { axes, .. } => write!(self.out, " axes={}", list(axes)),
            Op::Dot(axes) => self.dot_axes(axes),
            Op::Broadcast { dims } => write!(self.out, " dims={}", list(dims)),
            Op::Transpose { permutation } => {
                write!(self.out, " permutation={}", list(permutation))
            }
            Op::Slice(ranges) => {
                let range = |range: &SliceAxis| match range.stride {
                    1 => format!("{}:{}", range.start, range.limit),
                    stride => format!("{}:{}:{stride}", range.start, range.limit),
                };
                write!(self.out, " ranges=[{}]", join(ranges, range))
            }
            Op::Pad(amounts) => {
                let amount = |amount: &PadAxis| match amount.interior {
                    0 => format!("{}:{}", amount.low, amount.high),
                    interior => format!("{}:{}:{interior}", amount.low, amount.high),
                };
                write!(self.out, " amounts=[{}]", join(amounts, amount))
            }
            Op::Windows(windows) | Op::Fold(windows) => self.windows(windows),
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Cast
            | Op::Reshape
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. }
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Kernel(_) => Ok(()),
        }
    }

    fn dot_axes(&mut self, axes: &DotAxes) -> fmt::Result {
        for (key, lhs, rhs) in [
            ("batch", &axes.lhs_batch, &axes.rhs_batch),
            ("contract", &axes.lhs_contract, &axes.rhs_contract),
        ] {
            if !lhs.is_empty() || !rhs.is_empty() {
                write!(self.out, " {key}={}x{}", list(lhs), list(rhs))?;
            }
        }
        Ok(())
    }

    /// `axes=[2,3] sizes=[3,3] strides=[2,2]`; strides and dilations that are all 1 are left out.
    fn windows(&mut self, windows: &[Window]) -> fmt::Result {
        let each = |of: fn(&Window) -> usize| -> Axes { windows.iter().map(of).collect() };
        write!(self.out, " axes={}", list(&each(|window| window.axis)))?;
        write!(self.out, " sizes={}", list(&each(|window| window.size)))?;
        for (key, numbers) in [
            ("strides", each(|window| window.stride)),
            ("dilations", each(|window| window.dilation)),
        ] {
            if numbers.iter().any(|number| *number != 1) {
                write!(self.out, " {key}={}", list(&numbers))?;
            }
        }
        Ok(())
    }

    fn gradient(&mut self, graph: &Graph, node: &Node) -> fmt::Result {
        let mut operands = node.operands.iter();
        let loss = operands.next().map_or("%?".to_owned(), |loss| name(graph, *loss));
        let by = join(operands.as_slice(), |value| name(graph, *value));
        write!(self.out, " {loss} wrt ({by})")
    }

    fn kernel(&mut self, graph: &Graph, node: &Node, kernel: &Kernel) -> fmt::Result {
        let body = &kernel.body;
        write!(self.out, " @{}(", word_or_quoted(&kernel.name))?;
        for index in 0..node.operands.len().max(body.arguments().len()) {
            self.comma(index)?;
            self.argument(body, index)?;
            self.operand(graph, node, index)?;
        }
        write!(self.out, ") {}", kernel.kind.name())?;
        self.region(body)
    }

    /// `(%dy of %v = %0) wrt (%a = %x) with (%b = %w) { … }`.
    fn custom_gradient(
        &mut self,
        graph: &Graph,
        node: &Node,
        custom: &CustomGradient,
    ) -> fmt::Result {
        let (body, operands) = (&custom.backward, node.operands.len());
        let (values, inputs) = (custom.value_count(operands), custom.inputs(operands));
        self.out.write_str("(")?;
        for index in 0..values {
            self.comma(index)?;
            self.argument(body, index)?;
            self.out.write_str(" of ")?;
            self.argument(body, values + index)?;
            self.operand(graph, node, index)?;
        }
        self.out.write_str(")")?;
        for (word, part) in [("wrt", inputs.clone()), ("with", inputs.end..operands)] {
            if word == "with" && part.is_empty() {
                continue;
            }
            write!(self.out, " {word} (")?;
            for (position, index) in part.enumerate() {
                self.comma(position)?;
                self.argument(body, values + index)?;
                self.operand(graph, node, index)?;
            }
            self.out.write_str(")")?;
        }
        self.region(body)
    }

    /// `(%a = %w) carry (%h = %h0) over (%x = %xs) length=n reverse { … }`.
    fn scan(&mut self, graph: &Graph, node: &Node, scan: &Scan) -> fmt::Result {
        let body = &scan.body;
        let end = node.operands.len().max(body.arguments().len());
        let carries = scan.carry_operands();
        let parts =
            [("", 0..carries.start), ("carry ", carries.clone()), ("over ", carries.end..end)];
        for (word, part) in parts {
            if !word.is_empty() && part.is_empty() {
                continue;
            }
            let gap = if word.is_empty() { "" } else { " " };
            write!(self.out, "{gap}{word}")?;
            self.standing(body, part.clone(), graph, node, part)?;
        }
        write!(self.out, " length={}", scan.length)?;
        if scan.reverse {
            self.out.write_str(" reverse")?;
        }
        self.workspace(scan.workspace.as_ref())?;
        self.region(body)
    }

    /// `%p (%a = %x) { … } else (%b = %z) { … }`.
    fn cond(&mut self, graph: &Graph, node: &Node, cond: &Cond) -> fmt::Result {
        let predicate = node.operands.first();
        let predicate = predicate.map_or("%?".to_owned(), |value| name(graph, *value));
        let [(then, then_operands), (otherwise, otherwise_operands)] = cond.branches();
        write!(self.out, " {predicate} ")?;
        self.standing(then, 0..then_operands.len(), graph, node, then_operands)?;
        self.workspace(cond.workspace.as_ref())?;
        self.region(then)?;
        self.out.write_str(" else ")?;
        self.standing(otherwise, 0..otherwise_operands.len(), graph, node, otherwise_operands)?;
        self.region(otherwise)
    }

    /// `(%k = %n) carry (%i = %zero) { … } do (%s = %one) carry (%i) { … }`.
    fn repeat(&mut self, graph: &Graph, node: &Node, repeat: &While) -> fmt::Result {
        let While { test, body, carries, workspace } = repeat;
        let (consts, carried) = (repeat.test_operands(), repeat.carry_operands());
        let first = consts.len();
        self.out.write_str(" ")?;
        self.standing(test, 0..first, graph, node, consts)?;
        self.out.write_str(" carry ")?;
        self.standing(test, first..first + carries, graph, node, carried)?;
        self.workspace(workspace.as_ref())?;
        self.region(test)?;
        let consts = repeat.body_operands();
        let first = consts.len();
        self.out.write_str(" do ")?;
        self.standing(body, 0..first, graph, node, consts)?;
        self.out.write_str(" carry (")?;
        for position in 0..*carries {
            self.comma(position)?;
            self.argument(body, first + position)?;
        }
        self.out.write_str(")")?;
        self.region(body)
    }

    /// `(%a = %x, %b = %z)`: what a region calls some operands.
    fn standing(
        &mut self,
        body: &Graph,
        arguments: Range<usize>,
        graph: &Graph,
        node: &Node,
        operands: Range<usize>,
    ) -> fmt::Result {
        self.out.write_str("(")?;
        for (position, (argument, operand)) in arguments.zip(operands).enumerate() {
            self.comma(position)?;
            self.argument(body, argument)?;
            self.operand(graph, node, operand)?;
        }
        self.out.write_str(")")
    }

    fn workspace(&mut self, workspace: Option<&Workspace>) -> fmt::Result {
        let Some(workspace) = workspace else { return Ok(()) };
        write!(self.out, " workspace={}", workspace.bytes)?;
        self.at(workspace.place)
    }

    /// What a region calls an operand.
    fn argument(&mut self, body: &Graph, index: usize) -> fmt::Result {
        let Some(&argument) = body.arguments().get(index) else {
            return self.out.write_str("%?");
        };
        write!(self.out, "{}", name(body, argument))?;
        self.place(body, argument)
    }

    /// ` = %x`.
    fn operand(&mut self, graph: &Graph, node: &Node, index: usize) -> fmt::Result {
        let operand = node.operands.get(index);
        let operand = operand.map_or("%?".to_owned(), |value| name(graph, *value));
        write!(self.out, " = {operand}")
    }

    fn region(&mut self, body: &Graph) -> fmt::Result {
        self.open()?;
        self.nodes(body)?;
        if !body.results().is_empty() {
            self.line()?;
            writeln!(self.out, "yield {}", join(body.results(), |value| name(body, *value)))?;
        }
        self.close()
    }

    /// `%4: f32[n,16] at arena+64`.
    fn declaration(&mut self, graph: &Graph, value: Value) -> fmt::Result {
        match graph.try_value(value) {
            Some(data) => {
                write!(self.out, "{}: {}", data.name, data.ty)?;
                self.place(graph, value)
            }
            None => self.out.write_str("%?"),
        }
    }

    fn place(&mut self, graph: &Graph, value: Value) -> fmt::Result {
        let place = graph.try_value(value).and_then(|data| data.place);
        place.map_or(Ok(()), |place| self.at(place))
    }

    fn at(&mut self, place: Place) -> fmt::Result {
        match place {
            Place::Arena(offset) => write!(self.out, " at arena+{offset}"),
            Place::Argument(index) => write!(self.out, " at argument {index}"),
            Place::Output(index) => write!(self.out, " at output {index}"),
            Place::State(id) => {
                let path = self.path(id);
                write!(self.out, " at state {path}")
            }
            Place::Constant(offset) => write!(self.out, " at constants+{offset}"),
        }
    }

    fn path(&self, id: StateId) -> String {
        let state = self.program.states.get(id.index());
        state.map_or("?".to_owned(), |state| quoted(&state.path))
    }

    /// `[1.0, 2.0]`, or the key under which the elements are beside the text; `path` is that of the
    /// state which begins with them.
    fn dense(&mut self, dense: &Dense, ty: Option<&Type>, path: Option<&str>) -> fmt::Result {
        if let (Some(beside), Some(ty)) = (&mut self.beside, ty)
            && let Some(key) = beside.take(dense, ty, path)
        {
            return write!(self.out, "external {}", quoted(&key));
        }
        self.out.write_str("[")?;
        let rows = dense.len() > ROW;
        for (index, element) in dense.iter().enumerate() {
            if index > 0 {
                self.out.write_str(",")?;
            }
            if rows && index % ROW == 0 {
                self.out.write_str("\n")?;
                self.line()?;
                self.out.write_str("  ")?;
            } else if index > 0 {
                self.out.write_str(" ")?;
            }
            write!(self.out, "{element}")?;
        }
        if rows {
            self.out.write_str("\n")?;
            self.line()?;
        }
        self.out.write_str("]")
    }

    fn comma(&mut self, index: usize) -> fmt::Result {
        self.out.write_str(if index == 0 { "" } else { ", " })
    }

    /// Begins a line.
    fn line(&mut self) -> fmt::Result {
        (0..self.indent).try_for_each(|_| self.out.write_str("  "))
    }

    fn open(&mut self) -> fmt::Result {
        self.indent += 1;
        self.out.write_str(" {\n")
    }

    fn close(&mut self) -> fmt::Result {
        self.indent -= 1;
        self.line()?;
        self.out.write_str("}")
    }
}

fn name(graph: &Graph, value: Value) -> String {
    graph.try_value(value).map_or("%?".to_owned(), |data| data.name.to_string())
}

/// `[0,1]`.
fn list(axes: &[usize]) -> String {
    let axes: Vec<String> = axes.iter().map(usize::to_string).collect();
    format!("[{}]", axes.join(","))
}

fn join<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(show).collect();
    items.join(", ")
}
