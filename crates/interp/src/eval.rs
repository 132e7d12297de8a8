//! The walk over a graph.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use kilngrad_ir::infer::{RuleError, Types, infer};
use kilngrad_ir::{
    Bindings, Check, Entry, Graph, Node, NodeId, Op, Origin, Program, StateId, Type, Value,
    ValueName,
};
use smallvec::SmallVec;

use crate::array::Array;
use crate::bind::{bind_inputs, bound_op, bound_type};
use crate::error::InterpError;
use crate::example::program_example;
use crate::ops;
use crate::repeat::repeat;
use crate::scan::{Iterated, bound_lengths, iterate, slice, stack};
use crate::states::States;

/// What a call of an entry gives.
#[doc = program_example!(
    "let states = States::initial(&program, 0)?;"
    "let outcome = eval_entry(&program, &program.entries[0], &[Array::from(2i64)], &states)?;"
    "assert_eq!(outcome.outputs, [Array::from(40i64)]);"
    "assert_eq!(outcome.updates, [(StateId::from_index(0), Array::from(42i64))]);"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The outputs, in order.
    pub outputs: Vec<Array>,
    /// New values of states, in the order of the entry's updates; not applied yet.
    pub updates: Vec<(StateId, Array)>,
}

/// A value that has just been computed.
#[doc = program_example!(
    "let states = States::initial(&program, 0)?;"
    "let mut seen = Vec::new();"
    "let mut observe = |trace: Trace<'_>| seen.push(format!(\"{}: {}\", trace.name, trace.ty));"
    "eval_entry_traced(&program, &program.entries[0], &[2i64.into()], &states, &mut observe)?;"
    "assert_eq!(seen, [\"%x: i64[]\", \"%before: i64[]\", \"%after: i64[]\"]);"
)]
#[derive(Debug)]
#[non_exhaustive]
pub struct Trace<'t> {
    /// The name of the fused kernel in whose body it is, if it is in one.
    pub kernel: Option<&'t str>,
    /// The index of the iteration, if it is in the region of a loop: of the innermost one.
    pub iteration: Option<usize>,
    /// Whether it is in a region, where names are the region's own.
    pub nested: bool,
    /// What it is called there.
    pub name: &'t ValueName,
    /// Its type as the graph states it, symbols included.
    pub ty: &'t Type,
    /// Its elements.
    pub array: &'t Array,
    /// Where it comes from; unknown for arguments.
    pub origin: Origin,
}

/// Evaluates one call of an entry of a program that the verifier accepts. `inputs` are the entry's
/// inputs in order, `states` what the program's states hold on entry.
///
/// # Errors
///
/// An input that does not fit ([`bind_inputs`]), a rule that is broken once symbols are bound, or
/// a gradient request that is not expanded; [`InterpError::Check`] if a condition is false.
///
/// # Panics
///
/// If the program breaks a rule of [`kilngrad_ir::verify`], or `states` are another program's.
///
/// # Examples
#[doc = program_example!(
    "let states = States::initial(&program, 0)?;"
    "let outcome = eval_entry(&program, &program.entries[0], &[Array::from(2i64)], &states)?;"
    "assert_eq!(outcome.outputs, [Array::from(40i64)]);"
)]
pub fn eval_entry(
    program: &Program,
    entry: &Entry,
    inputs: &[Array],
    states: &States,
) -> Result<Outcome, InterpError> {
    eval_entry_traced(program, entry, inputs, states, &mut |_| {})
}

/// As [`eval_entry`], with `observe` called for every value as soon as it is computed: arguments
/// first, then each node's results in order, values in a kernel's body before its results.
///
/// # Errors
///
/// As [`eval_entry`].
///
/// # Panics
///
/// As [`eval_entry`].
///
/// # Examples
#[doc = program_example!(
    "let states = States::initial(&program, 0)?;"
    "let mut count = 0;"
    "let observe = &mut |_: Trace<'_>| count += 1;"
    "eval_entry_traced(&program, &program.entries[0], &[Array::from(2i64)], &states, observe)?;"
    "assert_eq!(count, 3);"
)]
pub fn eval_entry_traced(
    program: &Program,
    entry: &Entry,
    inputs: &[Array],
    states: &States,
    observe: &mut dyn FnMut(Trace<'_>),
) -> Result<Outcome, InterpError> {
    eval_entry_until(&AtomicBool::new(false), program, entry, inputs, states, observe)
}

/// As [`eval_entry_traced`], until a flag is set: each iteration of a `while` looks at it.
///
/// # Errors
///
/// As [`eval_entry`]; [`InterpError::Cancelled`] once the flag is seen.
///
/// # Panics
///
/// As [`eval_entry`].
///
/// # Examples
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use kilngrad_interp::{Array, InterpError, States, eval_entry_until};
/// use kilngrad_ir::{Program, text::Limits};
///
/// let program = Program::parse(r#"kilngrad 1
/// program "example"
/// entry @doubled(%x: f32[]) eval {
///   %y: f32[] = while () carry (%h = %x) {
///     %bound: f32[] = constant 100.0
///     %more: bool[] = lt %h, %bound
///     yield %more
///   } do () carry (%h) {
///     %twice: f32[] = add %h, %h
///     yield %twice
///   }
///   return y = %y
/// }"#, &Limits::default())?;
/// let (states, entry) = (States::initial(&program, 0)?, &program.entries[0]);
/// let run = |cancelled: bool| {
///     let flag = AtomicBool::new(cancelled);
///     eval_entry_until(&flag, &program, entry, &[Array::from(3f32)], &states, &mut |_| {})
/// };
/// assert_eq!(run(false)?.outputs, [Array::from(192f32)]);
/// assert!(matches!(run(true), Err(InterpError::Cancelled { iteration: 0, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn eval_entry_until(
    cancel: &AtomicBool,
    program: &Program,
    entry: &Entry,
    inputs: &[Array],
    states: &States,
    observe: &mut dyn FnMut(Trace<'_>),
) -> Result<Outcome, InterpError> {
    assert_eq!(states.values().len(), program.states.len(), "the states are the program's");
    let bindings = bind_inputs(&entry.graph, inputs)?;
    let env = Env { cancel: Some(cancel), ..Env::new(&bindings, states) };
    let arguments = inputs.iter().map(row_major).collect();
    let roots: Vec<Value> = entry.roots().collect();
    let mut outputs = eval_graph(env, &entry.graph, arguments, &roots, observe)?;
    let mut conditions = outputs.split_off(entry.graph.results().len());
    let updated = conditions.split_off(entry.checks.len());
    for (check, condition) in entry.checks.iter().zip(conditions) {
        if condition.scalar().is_none_or(|literal| literal.to_f64() == 0.0) {
            let mut message = check.failure(&entry.name);
            if let Some(at) = entry.subject(check) {
                let name = entry.graph.name(entry.graph.arguments()[at]).to_string();
                message += &Check::found(name.trim_start_matches('%'), inputs[at].iter());
            }
            return Err(InterpError::Check(message));
        }
    }
    let updates = entry.updates.iter().map(|(id, _)| *id).zip(updated).collect();
    Ok(Outcome { outputs, updates })
}

/// The results of one node of a graph on given operands: what one kernel is compared by.
///
/// # Errors
///
/// As [`eval_entry`].
///
/// # Panics
///
/// As [`eval_entry`], and if `operands` have not the types of the node's operands.
///
/// # Examples
#[doc = program_example!(
    "let (graph, states) = (&program.entries[0].graph, States::initial(&program, 0)?);"
    "let operands = [Array::from(3i64), Array::from(4i64)];"
    "let sum = eval_node(graph, NodeId::from_index(1), &operands, &Bindings::new(), &states)?;"
    "assert_eq!(sum, [Array::from(7i64)]);"
)]
pub fn eval_node(
    graph: &Graph,
    id: NodeId,
    operands: &[Array],
    bindings: &Bindings,
    states: &States,
) -> Result<Vec<Array>, InterpError> {
    let env = Env::new(bindings, states);
    let operands: Vec<Cow<'_, Array>> = operands.iter().map(row_major).collect();
    let operands: SmallVec<[&Array; 3]> = operands.iter().map(AsRef::as_ref).collect();
    let node = graph.node(id);
    assert_eq!(operands.len(), node.operands.len(), "an array for each operand");
    let results = eval_results(env, graph, node, &operands, &mut |_| {})?;
    Ok(results.into_iter().map(Cow::into_owned).collect())
}

/// What a graph is evaluated in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Env<'e> {
    pub(crate) bindings: &'e Bindings,
    pub(crate) states: &'e States,
    /// The name of the fused kernel whose body it is, if it is one's.
    pub(crate) kernel: Option<&'e str>,
    /// The index of the iteration, if it is a loop's.
    pub(crate) iteration: Option<usize>,
    /// Whether it is a region.
    pub(crate) nested: bool,
    /// What ends a `while` once it is set.
    pub(crate) cancel: Option<&'e AtomicBool>,
}

impl<'e> Env<'e> {
    pub(crate) fn new(bindings: &'e Bindings, states: &'e States) -> Env<'e> {
        Env { bindings, states, kernel: None, iteration: None, nested: false, cancel: None }
    }

    /// Fails once the flag is set, before an iteration of the `while` that a node is.
    pub(crate) fn check_cancelled(
        self,
        graph: &Graph,
        node: &Node,
        iteration: usize,
    ) -> Result<(), InterpError> {
        match self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            false => Ok(()),
            true => Err(InterpError::Cancelled {
                value: graph.name(node.result()).to_string(),
                iteration,
                site: node.origin.site().cloned(),
            }),
        }
    }
}

/// Evaluates the nodes in order and gives the values of `roots`. A value is kept while a node or
/// root that uses it is ahead.
fn eval_graph<'v>(
    env: Env<'v>,
    graph: &Graph,
    arguments: Vec<Cow<'v, Array>>,
    roots: &[Value],
    observe: &mut dyn FnMut(Trace<'_>),
) -> Result<Vec<Array>, InterpError> {
    let mut ahead = uses(graph, roots);
    let mut values: Vec<Option<Cow<'v, Array>>> = vec![None; graph.value_count()];
    for (&argument, array) in graph.arguments().iter().zip(arguments) {
        report(env, graph, argument, &array, observe);
        values[argument.index()] = Some(array);
    }
    for (_, node) in graph.nodes() {
        let operands: SmallVec<[&Array; 3]> =
            node.operands.iter().map(|value| computed(&values, *value)).collect();
        let results = eval_results(env, graph, node, &operands, observe)?;
        drop(operands);
        for operand in &node.operands {
            ahead[operand.index()] -= 1;
            if ahead[operand.index()] == 0 {
                values[operand.index()] = None;
            }
        }
        for (&result, array) in node.results.iter().zip(results) {
            report(env, graph, result, &array, observe);
            if ahead[result.index()] > 0 {
                values[result.index()] = Some(array);
            }
        }
    }
    let taken = roots.iter().map(|root| {
        ahead[root.index()] -= 1;
        if ahead[root.index()] > 0 {
            return computed(&values, *root).clone();
        }
        values[root.index()].take().expect("a root is kept until it is taken").into_owned()
    });
    Ok(taken.collect())
}

/// Whether a predicate holds.
pub(crate) fn is_true(predicate: &Array) -> bool {
    predicate.scalar().is_some_and(|literal| literal.to_f64() != 0.0)
}

fn uses(graph: &Graph, roots: &[Value]) -> Vec<usize> {
    let mut counts = vec![0; graph.value_count()];
    for value in graph.nodes().flat_map(|(_, node)| &node.operands).chain(roots) {
        counts[value.index()] += 1;
    }
    counts
}

fn computed<'a>(values: &'a [Option<Cow<'_, Array>>], value: Value) -> &'a Array {
    values[value.index()].as_ref().expect("a value is computed before and kept until its last use")
}

fn report(
    env: Env<'_>,
    graph: &Graph,
    value: Value,
    array: &Array,
    observe: &mut dyn FnMut(Trace<'_>),
) {
    observe(Trace {
        kernel: env.kernel,
        iteration: env.iteration,
        nested: env.nested,
        name: graph.name(value),
        ty: graph.ty(value),
        array,
        origin: graph.origin(value),
    });
}

/// Evaluates a node. Its shape rules are checked first, on types without symbols, so that what
/// evaluates an operation may rely on them.
pub(crate) fn eval_results<'v>(
    env: Env<'v>,
    graph: &Graph,
    node: &Node,
    operands: &[&Array],
    observe: &mut dyn FnMut(Trace<'_>),
) -> Result<SmallVec<[Cow<'v, Array>; 1]>, InterpError> {
    let broken = |error| broken_rule(graph, node, error);
    match &node.op {
        Op::State(id) => Ok(SmallVec::from_iter([Cow::Borrowed(env.states.get(*id))])),
        Op::Kernel(kernel) => {
            let inside = Env { kernel: Some(&kernel.name), nested: true, ..env };
            let arguments = operands.iter().map(|array| Cow::Borrowed(*array)).collect();
            let body = &kernel.body;
            let results = eval_graph(inside, body, arguments, body.results(), observe)?;
            Ok(results.into_iter().map(Cow::Owned).collect())
        }
        Op::CustomGradient(custom) => {
            let values = custom.value_count(operands.len());
            let values = operands[..values].iter().map(|array| Cow::Owned((*array).clone()));
            Ok(values.collect())
        }
        Op::Scan(scan) => {
            let (length, shapes) = bound_lengths(env, graph, node, scan)?;
            let body = &scan.body;
            let Iterated { carries, slices } =
                iterate(scan, length, operands, slice, |iteration, arguments| {
                    let inside = Env { iteration: Some(iteration), nested: true, ..env };
                    eval_graph(inside, body, arguments, body.results(), observe)
                })?;
            let stacked = scan.stacked_results().map(|at| graph.ty(node.results[at]).dtype);
            let stacks = slices.iter().zip(stacked).zip(&shapes);
            let stacks = stacks.map(|((slices, dtype), shape)| stack(slices, dtype, shape));
            Ok(carries.into_iter().chain(stacks).map(Cow::Owned).collect())
        }
        Op::Cond(cond) => {
            let inside = Env { nested: true, ..env };
            let (body, positions) = cond.branch(is_true(operands[0]));
            let arguments = operands[positions].iter().map(|array| Cow::Borrowed(*array));
            let results = eval_graph(inside, body, arguments.collect(), body.results(), observe)?;
            Ok(results.into_iter().map(Cow::Owned).collect())
        }
        Op::While(loops) => {
            let carries = repeat(
                loops,
                operands,
                |iteration, body, arguments| {
                    if std::ptr::eq(body, &raw const loops.test) {
                        env.check_cancelled(graph, node, iteration)?;
                    }
                    let inside = Env { iteration: Some(iteration), nested: true, ..env };
                    eval_graph(inside, body, arguments, body.results(), observe)
                },
                is_true,
            )?;
            Ok(carries.into_iter().map(Cow::Owned).collect())
        }
        Op::Gradient { .. } => Err(InterpError::Gradient {
            value: graph.name(node.result()).to_string(),
            site: node.origin.site().cloned(),
        }),
        Op::Constant(_)
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
        | Op::StopGradient => {
            let op = bound_op(&node.op, env.bindings).map_err(broken)?;
            let ty = bound_type(graph.ty(node.result()), env.bindings).map_err(broken)?;
            check_types(&op, operands, &ty).map_err(broken)?;
            let shape = ty.shape.as_constant().expect("a bound type has no symbol");
            let result = ops::eval(&op, operands, ty.dtype, &shape);
            debug_assert_eq!(result.ty(), ty, "{} gives the type it is inferred to", op.name());
            Ok(SmallVec::from_iter([Cow::Owned(result)]))
        }
    }
}

/// The error of a node that breaks a rule once symbols are bound.
pub(crate) fn broken_rule(graph: &Graph, node: &Node, error: RuleError) -> InterpError {
    InterpError::Rule {
        error,
        value: graph.name(node.result()).to_string(),
        site: node.origin.site().cloned(),
    }
}

fn check_types(op: &Op, operands: &[&Array], ty: &Type) -> Result<Types, RuleError> {
    let types: SmallVec<[Type; 3]> = operands.iter().map(|array| array.ty()).collect();
    let types: SmallVec<[&Type; 3]> = types.iter().collect();
    infer(op, &types, std::slice::from_ref(ty))
}

/// Evaluation reads elements fastest in row-major order.
fn row_major(array: &Array) -> Cow<'_, Array> {
    if array.is_row_major() {
        Cow::Borrowed(array)
    } else {
        Cow::Owned(array.clone().into_row_major())
    }
}
