//! By how much another evaluation may differ: running error bounds.
//!
//! Native code adds in another order, fuses multiplications into additions and has its own `exp`,
//! so it differs from the reference by roundings. How far they may carry depends on the terms, not
//! on the result: `1e9 + 1 − 1e9` is 1 with an error of 1e9 roundings. Each value is evaluated here
//! together with its *magnitude* `m`, such that another evaluation whose every operation errs by
//! at most `unit` relative to its result differs by at most `unit · m`, to first order:
//!
//! ```text
//! operands             0: both evaluations are given the same ones
//! y = f(x)             |y| + |f′(x)|·m(x), without |y| where f is exact
//! y = Σ x              Σ |x| + Σ m(x)
//! y = Σ a·b            Σ |a·b| + Σ |a|·m(b) + Σ m(a)·|b|
//! ```
//!
//! (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.3.) A truth value or
//! integer is the same in both evaluations, with magnitude 0, or may jump, with magnitude infinity:
//! a comparison of numbers that are closer than their errors, say, and all that is chosen by it.

use std::borrow::Cow;

use kilngrad_ir::op::{
    ArgReduceOp, Axes, BinaryDerivative, BinaryOp, Cond, DotAxes, Emit, ReduceOp, Scan,
    UnaryDerivative, UnaryOp, While,
};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Bindings, DType, Graph, Literal, Node, NodeId, Op, Origin, Type, Value};
use ndarray::{ArrayD, Axis, IxDyn, Zip};
use smallvec::SmallVec;

use crate::array::Array;
use crate::bind::bound_op;
use crate::error::InterpError;
use crate::eval::{Env, broken_rule, eval_results, is_true};
use crate::example::program_example;
use crate::ops;
use crate::repeat::repeat;
use crate::scan::{Iterated, bound_lengths, iterate, slice, stack, stack_magnitudes};
use crate::states::States;

/// A value with its magnitude.
///
/// ```
/// use kilngrad_interp::Measured;
///
/// let exact = |x: &Measured| x.magnitude.iter().all(|magnitude| *magnitude == 0.0);
/// let x = Measured { array: 3f32.into(), magnitude: ndarray::arr0(3.0).into_dyn() };
/// assert!(!exact(&x));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The elements, as the reference gives them.
    pub array: Array,
    /// The magnitude of each, of the same shape: not negative, and infinite where another
    /// evaluation may give anything.
    pub magnitude: ArrayD<f64>,
}

impl Measured {
    /// A value that every evaluation is given alike.
    fn exact(array: Array) -> Measured {
        let magnitude = ArrayD::zeros(IxDyn(array.shape()));
        Measured { array, magnitude }
    }

    /// Whether every evaluation gives these elements.
    fn is_exact(&self) -> bool {
        self.magnitude.iter().all(|magnitude| *magnitude == 0.0)
    }

    /// The absolute values of the elements.
    fn absolute(&self) -> ArrayD<f64> {
        self.numbers().mapv_into(f64::abs)
    }

    fn numbers(&self) -> ArrayD<f64> {
        numbers(&self.array)
    }

    fn is_float(&self) -> bool {
        self.array.dtype().is_float()
    }
}

/// The results of one node, a fused kernel say, on given operands, with their magnitudes. `unit`
/// is the relative error of an operation of the other evaluation; it decides which comparisons are
/// too close to call.
///
/// # Errors
///
/// As [`eval_node`](crate::eval_node).
///
/// # Panics
///
/// As [`eval_node`](crate::eval_node).
///
/// # Examples
#[doc = program_example!(
    "let (graph, states) = (&program.entries[0].graph, States::initial(&program, 0)?);"
    "let (id, x) = (NodeId::from_index(1), [Array::from(3i64), Array::from(4i64)]);"
    "let sum = eval_node_measured(graph, id, &x, &Bindings::new(), &states, 1e-12)?;"
    "assert_eq!(sum[0].array, Array::from(7i64));"
    "assert_eq!(sum[0].magnitude, ndarray::arr0(0.0).into_dyn()); // integers err nowhere"
)]
pub fn eval_node_measured(
    graph: &Graph,
    id: NodeId,
    operands: &[Array],
    bindings: &Bindings,
    states: &States,
    unit: f64,
) -> Result<Vec<Measured>, InterpError> {
    let operands: Vec<Measured> =
        operands.iter().map(|array| Measured::exact(array.clone().into_row_major())).collect();
    let operands: SmallVec<[&Measured; 3]> = operands.iter().collect();
    eval_measured(Env::new(bindings, states), graph, graph.node(id), &operands, unit)
}

fn eval_measured(
    env: Env<'_>,
    graph: &Graph,
    node: &Node,
    operands: &[&Measured],
    unit: f64,
) -> Result<Vec<Measured>, InterpError> {
    assert_eq!(operands.len(), node.operands.len(), "an array for each operand");
    if let Op::Kernel(kernel) = &node.op {
        return eval_body(env, &kernel.body, operands, unit);
    }
    if let Op::CustomGradient(custom) = &node.op {
        let values = &operands[..custom.value_count(operands.len())];
        return Ok(values.iter().map(|value| (*value).clone()).collect());
    }
    if let Op::Scan(scan) = &node.op {
        return eval_scan(env, graph, node, scan, operands, unit);
    }
    if let Op::Cond(cond) = &node.op {
        return eval_cond(env, cond, operands, unit);
    }
    if let Op::While(repeat) = &node.op {
        return eval_while(env, repeat, operands, unit);
    }
    let arrays: SmallVec<[&Array; 3]> = operands.iter().map(|operand| &operand.array).collect();
    let mut results = eval_results(env, graph, node, &arrays, &mut |_| {})?;
    let array = results.pop().expect("all other operations have one result").into_owned();
    let op = bound_op(&node.op, env.bindings).map_err(|error| broken_rule(graph, node, error))?;
    let magnitude = magnitude(&op, operands, &array, unit);
    // 0·inf: nothing is known of the product of an exact zero and what may be anything.
    let magnitude = magnitude.mapv_into(|m| if m.is_nan() { f64::INFINITY } else { m });
    Ok(vec![Measured { array, magnitude }])
}

fn eval_scan(
    env: Env<'_>,
    graph: &Graph,
    node: &Node,
    scan: &Scan,
    operands: &[&Measured],
    unit: f64,
) -> Result<Vec<Measured>, InterpError> {
    let (length, shapes) = bound_lengths(env, graph, node, scan)?;
    let slice = |stack: &Measured, index: usize| Measured {
        array: slice(&stack.array, index),
        magnitude: stack.magnitude.index_axis(Axis(0), index).to_owned(),
    };
    let Iterated { mut carries, slices } =
        iterate(scan, length, operands, slice, |_, arguments| {
            let arguments: Vec<&Measured> = arguments.iter().map(Cow::as_ref).collect();
            eval_body(env, &scan.body, &arguments, unit)
        })?;
    for ((slices, shape), at) in slices.into_iter().zip(&shapes).zip(scan.stacked_results()) {
        let (arrays, magnitudes): (Vec<Array>, Vec<ArrayD<f64>>) =
            slices.into_iter().map(|slice| (slice.array, slice.magnitude)).unzip();
        let array = stack(&arrays, graph.ty(node.results[at]).dtype, shape);
        let magnitude = stack_magnitudes(magnitudes, shape);
        carries.push(Measured { array, magnitude });
    }
    Ok(carries)
}

/// Where another evaluation may choose the other region, it may give anything.
fn eval_cond(
    env: Env<'_>,
    cond: &Cond,
    operands: &[&Measured],
    unit: f64,
) -> Result<Vec<Measured>, InterpError> {
    let (body, positions) = cond.branch(is_true(&operands[0].array));
    let results = eval_body(env, body, &operands[positions], unit)?;
    Ok(if operands[0].is_exact() { results } else { unknown(results) })
}

/// Where another evaluation may end after another iteration, it may give anything.
fn eval_while(
    env: Env<'_>,
    loops: &While,
    operands: &[&Measured],
    unit: f64,
) -> Result<Vec<Measured>, InterpError> {
    let mut sure = true;
    let run = |_: usize, body: &Graph, arguments: Vec<Cow<'_, Measured>>| {
        let arguments: Vec<&Measured> = arguments.iter().map(AsRef::as_ref).collect();
        eval_body(env, body, &arguments, unit)
    };
    let carries = repeat(loops, operands, run, |tested| {
        sure &= tested.is_exact();
        is_true(&tested.array)
    })?;
    Ok(if sure { carries } else { unknown(carries) })
}

fn unknown(mut results: Vec<Measured>) -> Vec<Measured> {
    results.iter_mut().for_each(|result| result.magnitude.fill(f64::INFINITY));
    results
}

fn eval_body(
    env: Env<'_>,
    body: &Graph,
    arguments: &[&Measured],
    unit: f64,
) -> Result<Vec<Measured>, InterpError> {
    let mut values: Vec<Option<Measured>> = vec![None; body.value_count()];
    for (argument, measured) in body.arguments().iter().zip(arguments) {
        values[argument.index()] = Some((*measured).clone());
    }
    for (_, node) in body.nodes() {
        let operands: SmallVec<[&Measured; 3]> =
            node.operands.iter().map(|value| computed(&values, *value)).collect();
        let results = eval_measured(env, body, node, &operands, unit)?;
        drop(operands);
        for (value, result) in node.results.iter().zip(results) {
            values[value.index()] = Some(result);
        }
    }
    Ok(body.results().iter().map(|value| computed(&values, *value).clone()).collect())
}

fn computed<T>(values: &[Option<T>], value: Value) -> &T {
    values[value.index()].as_ref().expect("a value is computed before it is used")
}

/// The magnitude of the result `y` of an operation without symbols.
fn magnitude(op: &Op, operands: &[&Measured], y: &Array, unit: f64) -> ArrayD<f64> {
    match op {
        Op::State(_) | Op::Constant(_) | Op::Dimension(_) | Op::Iota { .. } | Op::Random { .. } => {
            ArrayD::zeros(IxDyn(y.shape()))
        }
        Op::Unary(op) => unary(*op, operands[0], y, unit),
        Op::Binary(op) => binary(*op, operands[0], operands[1], y, unit),
        Op::Compare(_) => compare(operands[0], operands[1], unit),
        Op::Select => select(operands[0], operands[1], operands[2]),
        Op::Cast => cast(operands[0], y, unit),
        Op::Reduce { op, axes } => reduce(*op, axes, operands[0], y),
        Op::ArgReduce { op, axis } => arg_reduce(*op, *axis, operands[0], unit),
        Op::Argsort { axis, .. } => argsort(*axis, operands[0], unit),
        Op::Dot(axes) => dot(axes, operands[0], operands[1], y),
        Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Windows(_)
        | Op::StopGradient => {
            let magnitudes: Vec<Array> =
                operands.iter().map(|operand| operand.magnitude.clone().into()).collect();
            eval_f64(op, &magnitudes.iter().collect::<Vec<_>>(), y.shape())
        }
        Op::Gather { .. } => {
            let magnitudes = Array::from(operands[0].magnitude.clone());
            indexed(op, &[&magnitudes, &operands[1].array], operands[1], y.shape())
        }
        // Of sums the magnitude is that of their terms.
        Op::Fold(_) => {
            let sizes = Array::from(operands[0].absolute() + &operands[0].magnitude);
            eval_f64(op, &[&sizes], y.shape())
        }
        Op::ScatterAdd { .. } => {
            let sizes = [operands[0], operands[2]]
                .map(|terms| Array::from(terms.absolute() + &terms.magnitude));
            indexed(op, &[&sizes[0], &operands[1].array, &sizes[1]], operands[1], y.shape())
        }
        Op::CustomGradient(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => {
            unreachable!("{} is not evaluated here", op.name())
        }
    }
}

/// Magnitudes that go where the elements go; anywhere, if an index may be another.
fn indexed(op: &Op, operands: &[&Array], indices: &Measured, shape: &[usize]) -> ArrayD<f64> {
    let unsure = indices.magnitude.iter().any(|magnitude| *magnitude > 0.0);
    if unsure { ArrayD::from_elem(shape, f64::INFINITY) } else { eval_f64(op, operands, shape) }
}

fn unary(op: UnaryOp, x: &Measured, y: &Array, unit: f64) -> ArrayD<f64> {
    if !x.is_float() {
        return x.magnitude.mapv(jump);
    }
    // Exact, and no steeper than 1 anywhere, even where it has no derivative.
    if matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu) {
        return x.magnitude.clone();
    }
    match op.row().derivative {
        UnaryDerivative::Of(derivative) => {
            let slopes =
                slopes(&[x.numbers(), numbers(y)], |e, values| derivative(e, values[0], values[1]));
            numbers(y).mapv_into(f64::abs) + carried(&slopes, &x.magnitude)
        }
        // Monotone and piecewise constant: what it gives at the ends it gives between.
        UnaryDerivative::Zero | UnaryDerivative::None => {
            let f = op.row().f64;
            Zip::from(&x.numbers()).and(&x.magnitude).map_collect(|x, m| {
                let (low, high) = (f(x - unit * m), f(x + unit * m));
                if *m == 0.0 || low == high { 0.0 } else { f64::INFINITY }
            })
        }
    }
}

fn binary(op: BinaryOp, x: &Measured, y: &Measured, z: &Array, unit: f64) -> ArrayD<f64> {
    if !x.is_float() {
        return (&x.magnitude + &y.magnitude).mapv_into(jump);
    }
    if matches!(op, BinaryOp::Max | BinaryOp::Min) {
        // Exact, and it errs by no more than one of its operands.
        return Zip::from(&x.magnitude).and(&y.magnitude).map_collect(|x, y| x.max(*y));
    }
    let BinaryDerivative::Of(partials) = op.row().derivative else {
        unreachable!("{} takes no floats", op.row().name)
    };
    let values = [x.numbers(), y.numbers(), numbers(z)];
    let mut magnitude = values[2].mapv(f64::abs);
    for (partial, operand) in partials.iter().zip([x, y]) {
        let slopes = slopes(&values, |e, values| partial(e, values[0], values[1], values[2]));
        magnitude = magnitude + carried(&slopes, &operand.magnitude);
    }
    if op == BinaryOp::Rem {
        // The remainder jumps where the whole quotient does.
        Zip::from(&mut magnitude)
            .and(&values[0])
            .and(&values[1])
            .and(&x.magnitude)
            .and(&y.magnitude)
            .for_each(|magnitude, x, y, mx, my| {
                let error = unit * (mx / x.abs() + my / y.abs());
                let whole = |factor: f64| (x / y * factor).trunc();
                if mx + my > 0.0 && whole(1.0 - error) != whole(1.0 + error) {
                    *magnitude = f64::INFINITY;
                }
            });
    }
    magnitude
}

fn compare(x: &Measured, y: &Measured, unit: f64) -> ArrayD<f64> {
    if !x.is_float() {
        return (&x.magnitude + &y.magnitude).mapv_into(jump);
    }
    let (left, right) = (x.numbers(), y.numbers());
    let error = &x.magnitude + &y.magnitude;
    Zip::from(&left).and(&right).and(&error).map_collect(|x, y, m| too_close(*x, *y, *m, unit))
}

fn select(condition: &Measured, on_true: &Measured, on_false: &Measured) -> ArrayD<f64> {
    let branches = [on_true, on_false].map(|branch| Array::from(branch.magnitude.clone()));
    let operands = [&condition.array, &branches[0], &branches[1]];
    let chosen = eval_f64(&Op::Select, &operands, condition.array.shape());
    chosen + condition.magnitude.mapv(jump)
}

fn cast(x: &Measured, y: &Array, unit: f64) -> ArrayD<f64> {
    let (from, to) = (x.array.dtype(), y.dtype());
    match (from.is_float(), to.is_float()) {
        (true, true) if from == DType::F64 && to == DType::F32 => {
            numbers(y).mapv_into(f64::abs) + &x.magnitude
        }
        (true, true) => x.magnitude.clone(),
        // An integer that is known is converted alike everywhere.
        (false, _) => x.magnitude.mapv(jump),
        (true, false) if to == DType::Bool => Zip::from(&x.numbers())
            .and(&x.magnitude)
            .map_collect(|x, m| too_close(*x, 0.0, *m, unit)),
        (true, false) => Zip::from(&x.numbers()).and(&x.magnitude).map_collect(|x, m| {
            let whole = |x: f64| Literal::from_f64(to, x);
            let same = whole(x - unit * m) == whole(x + unit * m);
            if *m == 0.0 || same { 0.0 } else { f64::INFINITY }
        }),
    }
}

fn reduce(op: ReduceOp, axes: &Axes, x: &Measured, y: &Array) -> ArrayD<f64> {
    let over = |op: ReduceOp, terms: ArrayD<f64>| {
        eval_f64(&Op::Reduce { op, axes: axes.clone() }, &[&terms.into()], y.shape())
    };
    // The largest of nothing is −inf; the magnitude of nothing is 0.
    let largest = || over(ReduceOp::Max, x.magnitude.clone()).mapv_into(|m| m.max(0.0));
    match op {
        _ if !x.is_float() => largest(),
        ReduceOp::Max | ReduceOp::Min => largest(),
        ReduceOp::Sum => over(ReduceOp::Sum, x.absolute() + &x.magnitude),
        ReduceOp::Prod => {
            // Relative errors add up: one of each multiplication and those of the factors. A zero
            // that is not exact has none, so nothing is known of such a product.
            let ones = over(ReduceOp::Sum, ArrayD::ones(x.magnitude.raw_dim()));
            let product = numbers(y).mapv_into(f64::abs);
            let relative = Zip::from(&x.absolute())
                .and(&x.magnitude)
                .map_collect(|x, m| if *m == 0.0 { 0.0 } else { m / x });
            let factors = over(ReduceOp::Sum, relative);
            Zip::from(&ones)
                .and(&product)
                .and(&factors)
                .map_collect(|count, product, factors| (count + factors) * product)
        }
    }
}

fn arg_reduce(op: ArgReduceOp, axis: usize, x: &Measured, unit: f64) -> ArrayD<f64> {
    let sign = match op {
        ArgReduceOp::Max => 1.0,
        ArgReduceOp::Min => -1.0,
    };
    let values = x.numbers().mapv_into(|x| sign * x);
    Zip::from(values.lanes(Axis(axis))).and(x.magnitude.lanes(Axis(axis))).map_collect(
        |values, errors| {
            let best = (0..values.len())
                .fold(0, |best, index| if values[index] > values[best] { index } else { best });
            let close = (0..values.len()).filter(|index| *index != best).any(|index| {
                too_close(values[best], values[index], errors[best] + errors[index], unit) > 0.0
            });
            if close { f64::INFINITY } else { 0.0 }
        },
    )
}

/// An index may be another where elements of its lane are too close to tell their order.
fn argsort(axis: usize, x: &Measured, unit: f64) -> ArrayD<f64> {
    let values = x.numbers();
    let mut magnitude = ArrayD::zeros(values.raw_dim());
    let lanes = values.lanes(Axis(axis)).into_iter().zip(x.magnitude.lanes(Axis(axis)));
    for ((values, errors), mut to) in lanes.zip(magnitude.lanes_mut(Axis(axis))) {
        let close = (0..values.len()).any(|a| {
            (0..a).any(|b| too_close(values[a], values[b], errors[a] + errors[b], unit) > 0.0)
        });
        to.fill(if close { f64::INFINITY } else { 0.0 });
    }
    magnitude
}

fn dot(axes: &DotAxes, lhs: &Measured, rhs: &Measured, y: &Array) -> ArrayD<f64> {
    let op = Op::Dot(axes.clone());
    let over =
        |lhs: ArrayD<f64>, rhs: ArrayD<f64>| eval_f64(&op, &[&lhs.into(), &rhs.into()], y.shape());
    if !lhs.is_float() {
        let ones = |operand: &Measured| ArrayD::ones(operand.magnitude.raw_dim());
        let left = over(lhs.magnitude.mapv(jump), ones(rhs));
        return left + over(ones(lhs), rhs.magnitude.mapv(jump));
    }
    let (left, right) = (lhs.absolute(), rhs.absolute());
    over(left.clone() + &lhs.magnitude, right.clone()) + over(left, rhs.magnitude.clone())
}

/// The derivative that a row states, on arrays: it is written as a graph, which is evaluated.
fn slopes(
    values: &[ArrayD<f64>],
    derivative: impl FnOnce(&mut dyn Emit, &[Value]) -> Value,
) -> ArrayD<f64> {
    let ty = Type::new(DType::F64, values[0].shape().iter().copied().collect());
    let mut graph = Graph::new();
    let arguments: Vec<Value> =
        values.iter().map(|_| graph.add_numbered_argument(ty.clone())).collect();
    let slope = derivative(&mut Emitter::new(&mut graph, Origin::unknown()), &arguments);
    let mut arrays: Vec<Option<Array>> = vec![None; graph.value_count()];
    for (argument, value) in arguments.iter().zip(values) {
        arrays[argument.index()] = Some(value.clone().into());
    }
    for (_, node) in graph.nodes() {
        let operands: Vec<&Array> =
            node.operands.iter().map(|value| computed(&arrays, *value)).collect();
        let dtype = graph.ty(node.result()).dtype;
        let result = ops::eval(&node.op, &operands, dtype, values[0].shape());
        arrays[node.result().index()] = Some(result);
    }
    let slope = arrays[slope.index()].take().expect("every node is evaluated");
    ArrayD::try_from(slope).expect("a derivative has the dtype of its operands")
}

/// What a slope makes of an error. What is exact stays so, however steep the slope.
fn carried(slopes: &ArrayD<f64>, magnitude: &ArrayD<f64>) -> ArrayD<f64> {
    Zip::from(slopes)
        .and(magnitude)
        .map_collect(|slope, m| if *m == 0.0 { 0.0 } else { slope.abs() * m })
}

/// Whether the order of two numbers may be another in another evaluation, `m` being the sum of
/// their magnitudes, as the magnitude of a truth value.
fn too_close(x: f64, y: f64, m: f64, unit: f64) -> f64 {
    // Of a NaN it is not known that they are apart.
    let apart = (x - y).abs() > unit * m;
    if m == 0.0 || apart { 0.0 } else { f64::INFINITY }
}

/// The magnitude of an integer or truth value that depends on one of magnitude `m`.
fn jump(m: f64) -> f64 {
    if m == 0.0 { 0.0 } else { f64::INFINITY }
}

fn numbers(array: &Array) -> ArrayD<f64> {
    let numbers = ops::eval(&Op::Cast, &[array], DType::F64, array.shape());
    ArrayD::try_from(numbers).expect("a cast gives the dtype that was asked for")
}

fn eval_f64(op: &Op, operands: &[&Array], shape: &[usize]) -> ArrayD<f64> {
    let result = ops::eval(op, operands, DType::F64, shape);
    ArrayD::try_from(result).expect("an operation on f64 gives f64")
}
