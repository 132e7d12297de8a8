//! What must hold of every program: the bodies of the properties, for tests and for fuzzers.
//!
//! Each takes a case and gives what it has seen, so that a caller can tell that it saw enough, or
//! the reason why the case is a bug.

use kilngrad_interp::{Array, States, eval_entry};
use kilngrad_ir::op::While;
use kilngrad_ir::text::{ParseOptions, PrintOptions, parse, print};
use kilngrad_ir::{Bindings, Graph, Op, Program, Source, Type, Value};
use kilngrad_loops::ChunkOrder;
use kilngrad_passes::{Exactness, Stage};
use kilngrad_tiles::Features;

use crate::bound::{Bounded, BoundedOutcome, Seen, eval_entry_bounded, eval_node_bounded, iterate};
use crate::compile::{Compiled, Ran};
use crate::generate::{Case, Differentiable};
use crate::gradients::{Checked, check_gradients};
use crate::recipe::Regime;

/// A program's text reads back as that program and prints as that text, with every array in the
/// text and with large ones beside it.
///
/// # Errors
///
/// What differs.
pub fn text_round_trips(program: &Program) -> Result<(), String> {
    for (external_above, external_states) in [(usize::MAX, false), (6, false), (6, true)] {
        let options = PrintOptions { external_above, external_states };
        let printed = print(program, &options);
        let text = &printed.text;
        let mut beside = |key: &str, ty: &Type| printed.array(key, ty);
        let again = parse(text, &ParseOptions::new("random.kg"), &mut beside);
        let again = again.map_err(|errors| errors.render(&Source { file: "random.kg", text }))?;
        if again != *program {
            return Err(format!("the text reads as another program:\n{again}\nfrom\n{text}"));
        }
        let once_more = print(&again, &options);
        if once_more != printed {
            return Err(format!("expected the text\n{text}\nagain, found\n{}", once_more.text));
        }
    }
    Ok(())
}

/// The text round-trips, of the program and of what every pass makes of it.
///
/// # Errors
///
/// What differs after which pass.
pub fn text_round_trips_at_every_stage(case: &Case, features: Features) -> Result<(), String> {
    text_round_trips(&case.program)?;
    for stage in stages(case, features)? {
        text_round_trips(&stage.program)
            .map_err(|error| format!("after {}: {error}", stage.name))?;
    }
    Ok(())
}

/// Gradients of first and second order are what difference quotients of the losses are.
///
/// # Errors
///
/// What differs.
pub fn gradients_are_derivatives(case: &Differentiable) -> Result<Checked, String> {
    let expanded = expand(&case.case.program)?;
    kilngrad_ir::verify(&expanded).map_err(|error| error.to_string())?;
    check_gradients(case, &expanded)
}

fn expand(program: &Program) -> Result<Program, String> {
    kilngrad_autodiff::differentiate(program).map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        format!("differentiation: {}", lines.join("\n"))
    })
}

/// The program at every stage of the pipeline for each entry, the declared one first.
///
/// # Errors
///
/// What keeps the program from being compiled.
pub fn stages(case: &Case, features: Features) -> Result<Vec<StageProgram>, String> {
    let mut stages = Vec::new();
    for entry in 0..case.program.entries.len() {
        let mut observe = |stage: &Stage<'_>| {
            let Stage { name, exactness, program, .. } = stage;
            let (exactness, program) = (*exactness, (*program).clone());
            stages.push(StageProgram { name, exactness, entry, program });
        };
        Compiled::new(&case.program, entry, &case.bindings, features, &mut observe)?;
    }
    Ok(stages)
}

/// A program after a pass.
#[derive(Debug, Clone)]
pub struct StageProgram {
    /// The pass, or `input`.
    pub name: &'static str,
    /// What it promises.
    pub exactness: Exactness,
    /// Which entry of the declared program the only one of this is.
    pub entry: usize,
    /// The program.
    pub program: Program,
}

/// Every pass keeps the interpreter's values by what it promises: an exact one each bit, NaN
/// payloads aside, any other within the bounds of both programs. Whole numbers stay as they are in
/// any case. Stages with gradient requests cannot be interpreted and are passed over.
///
/// # Errors
///
/// What differs after which pass.
pub fn passes_keep_values(case: &Case, features: Features) -> Result<Seen, String> {
    let states = case.states();
    let mut seen = Seen::default();
    let mut before: Option<Vec<Bounded>> = None;
    for stage in stages(case, features)? {
        let inputs = &case.inputs[stage.entry];
        let entry = &stage.program.entries[0];
        if entry.graph.nodes().any(|(_, node)| matches!(node.op, Op::Gradient { .. })) {
            before = None;
            continue;
        }
        let after = eval_entry_bounded(&stage.program, entry, inputs, &states);
        let after = after.map_err(|error| format!("after {}: {error}", stage.name))?;
        let after = everything(after, &states);
        if let Some(before) = before.filter(|_| stage.name != "input") {
            let found = compare_stages(case.regime, stage.exactness, &before, &after);
            seen += found.map_err(|error| {
                format!("{} ({:?}): {error}\n{}", stage.name, stage.exactness, stage.program)
            })?;
        }
        before = Some(after);
    }
    Ok(seen)
}

fn compare_stages(
    regime: Regime,
    exactness: Exactness,
    before: &[Bounded],
    after: &[Bounded],
) -> Result<Seen, String> {
    let mut seen = Seen::default();
    if before.len() != after.len() {
        return Err(format!("expected {} outputs and states, found {}", before.len(), after.len()));
    }
    for (at, (before, after)) in before.iter().zip(after).enumerate() {
        if exactness == Exactness::Exact {
            let same = same_array(&before.value, &after.value);
            same.map_err(|error| format!("output or state {at}: {error}"))?;
        }
        let found = match regime {
            Regime::Integers => Bounded::exact(before.value.clone()).check(&after.value, None),
            Regime::Reals => before.check(&after.value, Some(&after.error)),
            // Bounds say nothing of numbers that are not; such programs are for exact passes.
            Regime::Wild => Ok(Seen::default()),
        };
        seen += found.map_err(|error| format!("output or state {at}: {error}"))?;
    }
    Ok(seen)
}

/// The outputs, then every state as the call leaves it: a pass may drop an update that changes
/// nothing.
fn everything(outcome: BoundedOutcome, states: &States) -> Vec<Bounded> {
    let mut after: Vec<Bounded> = states.values().iter().cloned().map(Bounded::exact).collect();
    for (id, value) in outcome.updates {
        after[id.index()] = value;
    }
    outcome.outputs.into_iter().chain(after).collect()
}

/// Loops and machine code compute the same bits, chunks in any order and on any number of threads,
/// and whether or not the states are constants.
///
/// # Errors
///
/// What differs.
pub fn loops_and_native_agree(case: &Case, features: Features) -> Result<(), String> {
    let states = case.states();
    for entry in 0..case.program.entries.len() {
        let compiled = compile(case, entry, features)?;
        let inputs = &case.inputs[entry];
        let up = compiled.evaluate(inputs, &states, ChunkOrder::Ascending)?;
        let down = compiled.evaluate(inputs, &states, ChunkOrder::Descending)?;
        same_bits(&up, &down).map_err(|error| format!("chunks in descending order: {error}"))?;
        for threads in [1, 3] {
            let native = compiled.native(inputs, &states, threads)?;
            same_bits(&up, &native).map_err(|error| {
                format!("native code on {threads} threads: {error}\n{}", compiled.lowered.program)
            })?;
        }
        if let Some(frozen) = compiled.frozen()? {
            let constant = frozen.evaluate(inputs, &states, ChunkOrder::Ascending)?;
            same_bits(&up, &constant)
                .map_err(|error| format!("with states as constants: {error}"))?;
            let native = frozen.native(inputs, &states, 1)?;
            same_bits(&up, &native)
                .map_err(|error| format!("native code with states as constants: {error}"))?;
        }
    }
    Ok(())
}

/// Machine code computes what the interpreter computes once gradients are expanded: whole numbers
/// exactly, real ones within their bounds, outputs and states. Simplifying, stabilising and fusing
/// around the expansion change nothing but roundings.
///
/// # Errors
///
/// What differs.
pub fn native_computes_what_is_meant(case: &Case, features: Features) -> Result<Seen, String> {
    let states = case.states();
    let mut seen = Seen::default();
    let expanded = expand(&case.program)?;
    for (at, entry) in expanded.entries.iter().enumerate() {
        let inputs = &case.inputs[at];
        let compiled = compile(case, at, features)?;
        let native = compiled.native(inputs, &states, 1)?;
        let meant = if case.regime == Regime::Integers {
            // Every operation on them is exact, so nothing may be off.
            let outcome = eval_entry(&expanded, entry, inputs, &states);
            let outcome = outcome.map_err(|error| error.to_string())?;
            BoundedOutcome {
                outputs: outcome.outputs.into_iter().map(Bounded::exact).collect(),
                updates: outcome
                    .updates
                    .into_iter()
                    .map(|(id, x)| (id, Bounded::exact(x)))
                    .collect(),
            }
        } else {
            let outcome = eval_entry_bounded(&expanded, entry, inputs, &states);
            outcome.map_err(|error| error.to_string())?
        };
        seen += compare_with_native(&meant, &native, &states)
            .map_err(|error| format!("entry {}: {error}\n{}", entry.name, compiled.planned))?;
    }
    Ok(seen)
}

fn compare_with_native(
    meant: &BoundedOutcome,
    native: &Ran,
    states: &States,
) -> Result<Seen, String> {
    let mut seen = Seen::default();
    if !native.held {
        return Err("expected every check to hold, found that one fails".into());
    }
    for (at, (meant, found)) in meant.outputs.iter().zip(&native.outputs).enumerate() {
        seen += meant.check(found, None).map_err(|error| format!("output {at}: {error}"))?;
    }
    for (at, (old, found)) in states.values().iter().zip(&native.states).enumerate() {
        let update = meant.updates.iter().find(|(id, _)| id.index() == at);
        match update {
            Some((_, new)) => {
                seen += new.check(found, None).map_err(|error| format!("state {at}: {error}"))?;
            }
            None => same_array(old, found)
                .map_err(|error| format!("state {at}, which nothing updates: {error}"))?,
        }
    }
    Ok(seen)
}

/// Kernel by kernel, on what the kernels before computed: loops are within the bounds of the
/// kernel's own operations, and the kernels one after the other in memory of their own compute the
/// bits that the whole computes in its planned memory.
///
/// # Errors
///
/// What differs in which kernel.
pub fn kernels_compute_what_is_meant(case: &Case, features: Features) -> Result<Seen, String> {
    let states = case.states();
    let mut seen = Seen::default();
    for entry in 0..case.program.entries.len() {
        let compiled = compile(case, entry, features)?;
        let inputs = &case.inputs[entry];
        let whole = compiled.evaluate(inputs, &states, ChunkOrder::Ascending)?;
        let (alone, found) = kernel_by_kernel(&compiled, inputs, &states, case.regime)?;
        seen += found;
        same_bits(&whole, &alone).map_err(|error| {
            format!("the whole and its kernels one by one: {error}\n{}", compiled.planned)
        })?;
    }
    Ok(seen)
}

fn kernel_by_kernel(
    compiled: &Compiled,
    inputs: &[Array],
    states: &States,
    regime: Regime,
) -> Result<(Ran, Seen), String> {
    let entry = compiled.entry();
    let mut alone = Alone { compiled, states, regime, seen: Seen::default() };
    let values = alone.graph(&entry.graph, inputs.to_vec())?;
    let outputs = entry.graph.results().iter().map(|value| known(&values, *value)).collect();
    let mut after = states.values().to_vec();
    for (id, value) in &entry.updates {
        after[id.index()] = known(&values, *value);
    }
    Ok((Ran { held: true, outputs, states: after }, alone.seen))
}

/// Kernels that run one after the other, each in memory of its own.
struct Alone<'a> {
    compiled: &'a Compiled,
    states: &'a States,
    regime: Regime,
    seen: Seen,
}

impl Alone<'_> {
    /// Every value of an entry or of one iteration. Recurses once a region.
    fn graph(&mut self, graph: &Graph, inputs: Vec<Array>) -> Result<Vec<Option<Array>>, String> {
        let bindings = Bindings::new();
        let mut values: Vec<Option<Array>> = vec![None; graph.value_count()];
        for (argument, input) in graph.arguments().iter().zip(inputs) {
            values[argument.index()] = Some(input);
        }
        for (id, node) in graph.nodes() {
            let operands: Vec<Bounded> =
                node.operands.iter().map(|value| Bounded::exact(known(&values, *value))).collect();
            let borrowed: Vec<&Bounded> = operands.iter().collect();
            let found: Vec<Array> = if let Op::Scan(scan) = &node.op {
                let results = iterate(graph, id, scan, &bindings, &borrowed, |arguments| {
                    let arguments = arguments.into_iter().map(|argument| argument.value).collect();
                    let results = self.region(&scan.body, arguments)?;
                    Ok(results.into_iter().map(Bounded::exact).collect())
                })?;
                results.into_iter().map(|bounded| bounded.value).collect()
            } else if let Op::Cond(cond) = &node.op {
                let (body, at) = cond.branch(holds(&operands[0].value));
                let arguments = operands[at].iter().map(|operand| operand.value.clone());
                self.region(body, arguments.collect())?
            } else if let Op::While(repeat) = &node.op {
                let operands: Vec<Array> = operands.into_iter().map(|x| x.value).collect();
                self.repeat_while(repeat, &operands)?
            } else {
                let meant = eval_node_bounded(graph, id, &borrowed, &bindings, self.states)
                    .map_err(|error| error.to_string())?;
                if let Op::Kernel(kernel) = &node.op {
                    let operands: Vec<Array> = operands.into_iter().map(|x| x.value).collect();
                    let alone = self.compiled.kernel(graph, id)?;
                    let (found, more) = kernel_alone(&alone, &operands, &meant, self.regime)
                        .map_err(|error| format!("kernel {}: {error}", kernel.name))?;
                    self.seen += more;
                    found
                } else {
                    meant.into_iter().map(|bounded| bounded.value).collect()
                }
            };
            for (result, array) in node.results.iter().zip(found) {
                values[result.index()] = Some(array);
            }
        }
        Ok(values)
    }

    /// The results of a region.
    fn region(&mut self, body: &Graph, arguments: Vec<Array>) -> Result<Vec<Array>, String> {
        let values = self.graph(body, arguments)?;
        Ok(body.results().iter().map(|value| known(&values, *value)).collect())
    }

    fn repeat_while(&mut self, repeat: &While, operands: &[Array]) -> Result<Vec<Array>, String> {
        let mut carries = operands[repeat.carry_operands()].to_vec();
        loop {
            let given = |at| [&operands[at], &carries[..]].concat();
            let (test, body) = (given(repeat.test_operands()), given(repeat.body_operands()));
            if !holds(&self.region(&repeat.test, test)?[0]) {
                return Ok(carries);
            }
            carries = self.region(&repeat.body, body)?;
        }
    }
}

/// Whether a scalar truth is true.
fn holds(truth: &Array) -> bool {
    truth.to_f64_vec() == [1.0]
}

/// Evaluates a kernel in memory of its own and compares its results.
fn kernel_alone(
    alone: &Compiled,
    operands: &[Array],
    meant: &[Bounded],
    regime: Regime,
) -> Result<(Vec<Array>, Seen), String> {
    let mut seen = Seen::default();
    let none = States::new(&Program::default(), Vec::new()).map_err(|error| error.to_string())?;
    let ran = alone.evaluate(operands, &none, ChunkOrder::Ascending)?;
    for (at, (meant, found)) in meant.iter().zip(&ran.outputs).enumerate() {
        // What is exact by regime must be equal, whatever a bound allows.
        let exact = Bounded::exact(meant.value.clone());
        let meant = if regime == Regime::Integers { &exact } else { meant };
        let checked = meant.check(found, None);
        seen += checked.map_err(|error| {
            format!("result {at}: {error}\n{}\n{}", alone.planned, alone.lowered.program)
        })?;
    }
    Ok((ran.outputs, seen))
}

fn known(values: &[Option<Array>], value: Value) -> Array {
    values[value.index()].clone().expect("a value is computed before it is used")
}

fn compile(case: &Case, entry: usize, features: Features) -> Result<Compiled, String> {
    Compiled::new(&case.program, entry, &case.bindings, features, &mut |_| {})
}

/// Equal bits, NaN payloads aside.
fn same_bits(left: &Ran, right: &Ran) -> Result<(), String> {
    if left.held != right.held {
        return Err(format!("checks hold: {}, and {}", left.held, right.held));
    }
    let named = |ran: &Ran| -> Vec<(String, Array)> {
        let outputs = ran.outputs.iter().enumerate().map(|(at, x)| (format!("output {at}"), x));
        let states = ran.states.iter().enumerate().map(|(at, x)| (format!("state {at}"), x));
        outputs.chain(states).map(|(name, array)| (name, array.clone())).collect()
    };
    let (left, right) = (named(left), named(right));
    if left.len() != right.len() {
        return Err(format!("expected {} arrays, found {}", left.len(), right.len()));
    }
    for ((name, left), (_, right)) in left.iter().zip(&right) {
        same_array(left, right).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn same_array(left: &Array, right: &Array) -> Result<(), String> {
    match left.first_difference(right) {
        None => Ok(()),
        Some(difference) => Err(format!("expected the same bits, found {difference:?}")),
    }
}
