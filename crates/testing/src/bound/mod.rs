//! How far another way to compute a program may be from the interpreter: running error bounds.
//!
//! Beside every element stands a number: how far from it the same element may be if each operation
//! rounds as it likes within its promise, sums are taken in any order, and products may be fused
//! with sums. It is the *running error analysis* of Wilkinson ("Error Analysis of Floating-Point
//! Computation", 1960), with the nonlinear operations evaluated at the ends of the interval that
//! their operand may be in, so discontinuities need no special case: near the edge of `floor` the
//! bound is 1 by itself. Where nothing can be promised (a comparison too close to call, say) the
//! bound is infinite.
//!
//! The unit is the promise of the compiler: additions, multiplications, divisions and square roots
//! are rounded correctly; other functions are within [`ULPS_F64`] or [`ULPS_F32`] units in the last
//! place; a sum of `n` terms is within `n` roundings of their magnitudes, and in `f64` within
//! [`SUM_F64`] of them whatever `n` is. The interpreter itself rounds too, so a bound counts each
//! rounding twice.

mod elementwise;
mod structural;

use std::ops::Range;

use kilngrad_interp::{Array, InterpError, States, bind_inputs, eval_node};
use kilngrad_ir::op::Scan;
use kilngrad_ir::{
    Bindings, DType, Entry, Graph, Literal, NodeId, Op, Program, StateId, Type, Value,
};

/// Units in the last place that a function of `f64` may be off.
pub const ULPS_F64: f64 = 4.0;

/// Units in the last place that a function of `f32` may be off.
pub const ULPS_F32: f64 = 2.0;

/// How far a sum in `f64` may be off, relative to the sum of its terms' magnitudes.
pub const SUM_F64: f64 = 1e-12;

/// An array with a bound for each element, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounded {
    /// The interpreter's elements.
    pub value: Array,
    /// How far from each another way to compute it may be; infinite where nothing is promised, and
    /// 0 where it must be the same.
    pub error: Vec<f64>,
}

/// What a call gives, with bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundedOutcome {
    /// The outputs, in order.
    pub outputs: Vec<Bounded>,
    /// New values of states, in the order of the entry's updates.
    pub updates: Vec<(StateId, Bounded)>,
}

/// What a comparison within bounds has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Elements that were compared.
    pub elements: usize,
    /// Those of them that nothing was promised of, or next to nothing: bounds above a hundredth of
    /// the magnitude.
    pub unpromised: usize,
}

impl Bounded {
    /// Elements that are known exactly.
    pub fn exact(value: Array) -> Bounded {
        let error = vec![0.0; value.len()];
        Bounded { value, error }
    }

    /// Compares elements that were computed another way, whose own bounds, if they have any, are
    /// `more`.
    ///
    /// # Errors
    ///
    /// The first element that is out of bounds.
    pub fn check(&self, found: &Array, more: Option<&[f64]>) -> Result<Seen, String> {
        if self.value.ty() != found.ty() {
            return Err(format!("expected type {}, found {}", self.value.ty(), found.ty()));
        }
        let mut seen = Seen::default();
        let pairs = self.value.iter().zip(found.iter()).enumerate();
        for (index, (expected, found)) in pairs {
            let bound = self.error[index] + more.map_or(0.0, |more| more[index]);
            seen.elements += 1;
            seen.unpromised += usize::from(bound > 0.01 * expected.to_f64().abs().max(1e-3));
            if !within(expected, found, bound) {
                return Err(format!(
                    "element {index}: expected {expected} within {bound:e}, found {found}"
                ));
            }
        }
        Ok(seen)
    }
}

/// Whether `found` is `expected` within a bound. A sum of zeros may have either sign.
fn within(expected: Literal, found: Literal, bound: f64) -> bool {
    let (e, f) = (expected.to_f64(), found.to_f64());
    let same =
        expected == found || e == f && expected.dtype().is_float() || e.is_nan() && f.is_nan();
    // Nothing is promised of an infinite bound, and NaN is within no other.
    same || bound == f64::INFINITY || (e - f).abs() <= bound
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.elements += other.elements;
        self.unpromised += other.unpromised;
    }
}

/// Evaluates a call of an entry as [`kilngrad_interp::eval_entry`] does, with bounds. Inputs and
/// states are exact.
///
/// # Errors
///
/// As the interpreter.
pub fn eval_entry_bounded(
    program: &Program,
    entry: &Entry,
    inputs: &[Array],
    states: &States,
) -> Result<BoundedOutcome, InterpError> {
    let bindings = bind_inputs(&entry.graph, inputs)?;
    let env = Env { bindings: &bindings, states };
    let arguments = inputs.iter().cloned().map(Bounded::exact).collect();
    let roots: Vec<Value> = entry.roots().collect();
    let mut outputs = eval_graph(env, &entry.graph, arguments, &roots)?;
    let mut conditions = outputs.split_off(entry.graph.results().len());
    let updated = conditions.split_off(entry.checks.len());
    let updates = entry.updates.iter().map(|(id, _)| *id).zip(updated).collect();
    debug_assert_eq!(states.values().len(), program.states.len(), "the states are the program's");
    Ok(BoundedOutcome { outputs, updates })
}

/// The results of one node on operands with bounds; of a kernel, through its body.
///
/// # Errors
///
/// As [`kilngrad_interp::eval_node`].
pub fn eval_node_bounded(
    graph: &Graph,
    id: NodeId,
    operands: &[&Bounded],
    bindings: &Bindings,
    states: &States,
) -> Result<Vec<Bounded>, InterpError> {
    eval_results(Env { bindings, states }, graph, id, operands)
}

#[derive(Debug, Clone, Copy)]
struct Env<'e> {
    bindings: &'e Bindings,
    states: &'e States,
}

/// Evaluates the nodes in order. Recurses once a region.
fn eval_graph(
    env: Env<'_>,
    graph: &Graph,
    arguments: Vec<Bounded>,
    roots: &[Value],
) -> Result<Vec<Bounded>, InterpError> {
    let mut values: Vec<Option<Bounded>> = vec![None; graph.value_count()];
    for (&argument, array) in graph.arguments().iter().zip(arguments) {
        values[argument.index()] = Some(array);
    }
    let known = |values: &[Option<Bounded>], value: Value| -> Bounded {
        values[value.index()].clone().expect("a value is computed before it is used")
    };
    for (id, node) in graph.nodes() {
        let operands: Vec<&Bounded> = node
            .operands
            .iter()
            .map(|value| values[value.index()].as_ref().expect("computed before it is used"))
            .collect();
        let results = eval_results(env, graph, id, &operands)?;
        for (&result, array) in node.results.iter().zip(results) {
            values[result.index()] = Some(array);
        }
    }
    Ok(roots.iter().map(|root| known(&values, *root)).collect())
}

fn eval_results(
    env: Env<'_>,
    graph: &Graph,
    id: NodeId,
    operands: &[&Bounded],
) -> Result<Vec<Bounded>, InterpError> {
    let node = graph.node(id);
    if let Op::Kernel(kernel) = &node.op {
        let arguments = operands.iter().map(|operand| (*operand).clone()).collect();
        return eval_graph(env, &kernel.body, arguments, kernel.body.results());
    }
    if let Op::CustomGradient(custom) = &node.op {
        let values = &operands[..custom.value_count(operands.len())];
        return Ok(values.iter().map(|value| (*value).clone()).collect());
    }
    if let Op::Scan(scan) = &node.op {
        let mut failed = None;
        let results = iterate(graph, id, scan, env.bindings, operands, |arguments| {
            eval_graph(env, &scan.body, arguments, scan.body.results()).map_err(|error| {
                let message = error.to_string();
                failed = Some(error);
                message
            })
        });
        return results.map_err(|_| failed.expect("only what an iteration computes may fail"));
    }
    if let Op::Cond(cond) = &node.op {
        let (body, positions) = cond.branch(is_true(&operands[0].value));
        let arguments = operands[positions].iter().map(|operand| (*operand).clone()).collect();
        let results = eval_graph(env, body, arguments, body.results())?;
        return Ok(if is_sure(operands[0]) { results } else { unknown(results) });
    }
    if let Op::While(repeat) = &node.op {
        let mut carries: Vec<Bounded> =
            operands[repeat.carry_operands()].iter().map(|operand| (*operand).clone()).collect();
        let mut sure = true;
        loop {
            let run = |body: &Graph, consts: Range<usize>, carries: &[Bounded]| {
                let consts = operands[consts].iter().map(|operand| (*operand).clone());
                let arguments = consts.chain(carries.iter().cloned()).collect();
                eval_graph(env, body, arguments, body.results())
            };
            let more = run(&repeat.test, repeat.test_operands(), &carries)?;
            sure &= is_sure(&more[0]);
            if !is_true(&more[0].value) {
                return Ok(if sure { carries } else { unknown(carries) });
            }
            carries = run(&repeat.body, repeat.body_operands(), &carries)?;
        }
    }
    let arrays: Vec<Array> = operands.iter().map(|operand| operand.value.clone()).collect();
    let mut values = eval_node(graph, id, &arrays, env.bindings, env.states)?;
    let value = values.pop().expect("one result, of all but operations with regions and requests");
    let context = structural::Node { graph, id, bindings: env.bindings, states: env.states };
    let error = match &node.op {
        Op::State(_) | Op::Constant(_) | Op::Dimension(_) | Op::Iota { .. } | Op::Random { .. } => {
            vec![0.0; value.len()]
        }
        Op::StopGradient => operands[0].error.clone(),
        Op::Unary(op) => elementwise::unary(*op, operands[0], &value),
        Op::Binary(op) => elementwise::binary(*op, operands[0], operands[1], &value),
        Op::Compare(_) => elementwise::compare(operands[0], operands[1]),
        Op::Select => elementwise::select(operands[0], operands[1], operands[2]),
        Op::Cast => elementwise::cast(operands[0], &value),
        Op::Reduce { op, axes } => structural::reduce(&context, *op, axes, operands[0], &value)?,
        // Which element is first is not known where any of them is not.
        Op::ArgReduce { .. } | Op::Argsort { .. } => {
            let sure = operands[0].error.iter().all(|error| *error == 0.0);
            vec![if sure { 0.0 } else { f64::INFINITY }; value.len()]
        }
        Op::Dot(axes) => structural::dot(&context, axes, operands[0], operands[1], &value)?,
        Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Windows(_) => structural::moved(&context, operands)?,
        Op::Gather { .. } => structural::gather(&context, operands[0], operands[1])?,
        Op::Fold(windows) => structural::fold(&context, windows, operands[0], &value)?,
        Op::ScatterAdd { .. } => {
            let operands = [operands[0], operands[1], operands[2]];
            structural::scatter_add(&context, operands, &value)?
        }
        Op::CustomGradient(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => {
            unreachable!("requests are refused by the interpreter, and regions are met above")
        }
    };
    // A product of nothing promised and zero is nothing promised.
    let error = error.into_iter().map(|error| if error.is_nan() { f64::INFINITY } else { error });
    Ok(vec![Bounded { value, error: error.collect() }])
}

fn is_true(predicate: &Array) -> bool {
    predicate.scalar().is_some_and(|literal| literal.to_f64() != 0.0)
}

/// Whether every evaluation gives these elements.
fn is_sure(value: &Bounded) -> bool {
    value.error.iter().all(|error| *error == 0.0)
}

/// What another evaluation may give by another region, or after another iteration.
fn unknown(mut results: Vec<Bounded>) -> Vec<Bounded> {
    results.iter_mut().for_each(|result| result.error.fill(f64::INFINITY));
    results
}

/// Iterations in order, as they are said to run in docs/ir.md, each by `run`.
pub(crate) fn iterate(
    graph: &Graph,
    id: NodeId,
    scan: &Scan,
    bindings: &Bindings,
    operands: &[&Bounded],
    mut run: impl FnMut(Vec<Bounded>) -> Result<Vec<Bounded>, String>,
) -> Result<Vec<Bounded>, String> {
    let node = graph.node(id);
    let length = scan.length.evaluate(bindings).and_then(|it| usize::try_from(it).ok());
    let length = length.expect("lengths are bound");
    let whole = |at: usize| operands[at].clone();
    let mut carries: Vec<Bounded> = scan.carry_operands().map(whole).collect();
    let mut slices: Vec<Vec<Bounded>> = vec![Vec::new(); scan.stacked_results().len()];
    for step in 0..length {
        let index = if scan.reverse { length - 1 - step } else { step };
        let mut arguments: Vec<Bounded> = scan.const_operands().map(whole).collect();
        arguments.append(&mut carries);
        arguments.extend(scan.scanned_operands().map(|at| slice(operands[at], length, index)));
        let mut results = run(arguments)?;
        for (stack, slice) in slices.iter_mut().zip(results.drain(scan.carries..)) {
            stack.push(slice);
        }
        carries = results;
    }
    for (mut slices, at) in slices.into_iter().zip(scan.stacked_results()) {
        if scan.reverse {
            slices.reverse();
        }
        let ty = graph.ty(node.results[at]);
        let shape = ty.shape.bind(bindings).and_then(|shape| shape.as_constant());
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.value.to_bytes()).collect();
        let value = Array::from_bytes(ty.dtype, &shape.expect("shapes are bound"), &bytes);
        let value = value.expect("slices fill the stack");
        let error = slices.into_iter().flat_map(|slice| slice.error).collect();
        carries.push(Bounded { value, error });
    }
    Ok(carries)
}

/// What is at an index of the first axis, of which there are `length`.
fn slice(stack: &Bounded, length: usize, index: usize) -> Bounded {
    let size = stack.value.len() / length;
    let range = index * size..(index + 1) * size;
    let width = stack.value.dtype().size();
    let bytes = &stack.value.to_bytes()[range.start * width..range.end * width];
    let value = Array::from_bytes(stack.value.dtype(), &stack.value.shape()[1..], bytes);
    let value = value.expect("a slice is a part of the stack");
    Bounded { value, error: stack.error[range].to_vec() }
}

/// Relative error of one rounding; 0 for dtypes that do not round.
fn unit(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::EPSILON) / 2.0,
        DType::F64 => f64::EPSILON / 2.0,
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => 0.0,
    }
}

/// What a result that underflows may be off.
fn underflow(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::MIN_POSITIVE) * f64::from(f32::EPSILON),
        DType::F64 => f64::MIN_POSITIVE * f64::EPSILON,
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => 0.0,
    }
}

/// The type with another dtype that errors are computed in.
fn as_f64(ty: &Type) -> Type {
    ty.with_dtype(DType::F64)
}
