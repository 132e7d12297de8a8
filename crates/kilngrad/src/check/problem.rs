//! An entry made into a loss with its gradients, and the point that they are taken at.

use kilngrad_interp::{Array, States, bind_inputs, eval_entry};
use kilngrad_ir::op::{Axes, BinaryOp, ReduceOp, UnaryOp};
use kilngrad_ir::{
    Bindings, Constant, DType, Dense, Entry, Error, ErrorKind, Graph, Literal, Op, Origin, Program,
    Role, Site, StateId, Type, Value, ValueName, random,
};

use super::GradientCheck;
use crate::compiler::pass_error;
use crate::executable::expanded;

/// What is evaluated at one point after another.
#[derive(Debug)]
pub(super) struct Problem {
    /// One entry, whose outputs are [`Evaluated`].
    program: Program,
    /// The same with the conditions that a call of the entry depends on. They hold at the point
    /// itself; a point beside it may be where they do not.
    checked: Program,
    inputs: Vec<Array>,
    states: States,
    /// What is moved.
    pub(super) subjects: Vec<Subject>,
    /// 1, or 2 with second derivatives.
    pub(super) orders: usize,
}

/// An input or state that is moved, and differentiated by.
#[derive(Debug)]
pub(super) struct Subject {
    /// The input's name or the state's path.
    pub(super) name: String,
    /// Where it is read first.
    pub(super) site: Option<Site>,
    /// Its elements at the point.
    pub(super) elements: Vec<f64>,
    shape: Vec<usize>,
    place: Place,
    /// The values of the graph that are it: a state may be read more than once.
    reads: Vec<Value>,
    /// The position of its first gradient among those of an order.
    first: usize,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Input(usize),
    State(StateId),
}

/// The outputs at a point: for each order a loss, the sum of the sizes of its terms, and a
/// gradient for each read of each subject.
#[derive(Debug)]
pub(super) struct Evaluated {
    outputs: Vec<Array>,
    orders: usize,
}

impl Problem {
    pub(super) fn new(
        program: &Program,
        entry: &str,
        check: &GradientCheck,
    ) -> Result<Problem, Error> {
        kilngrad_ir::verify(program)
            .map_err(|error| Error::caused(ErrorKind::Build, "invalid program", error))?;
        let found = program.entry(entry).ok_or_else(|| {
            unknown("an entry", entry, program.entries.iter().map(|entry| &*entry.name))
        })?;
        let states = States::initial(program, check.seed)?;
        let (bindings, inputs) = inputs(found, check)?;
        let mut entry = kilngrad_passes::bind::bind_entry(found, &bindings).map_err(pass_error)?;
        let outputs = outputs(&entry, check)?;
        let subjects = subjects(program, &entry, check, &inputs, &states)?;

        let wanted: Vec<Value> =
            subjects.iter().flat_map(|subject| subject.reads.iter().copied()).collect();
        let orders = if check.second_order { 2 } else { 1 };
        let mut results = Vec::new();
        let mut terms = outputs;
        for order in 0..orders {
            let [loss, magnitude] = weighted(&mut entry.graph, &terms, check.seed, order);
            terms = gradients(&mut entry.graph, loss, &wanted);
            results.extend([loss, magnitude]);
            results.extend(&terms);
        }
        entry.outputs = (0..results.len()).map(|index| format!("r{index}").into()).collect();
        entry.graph.set_results(results);
        entry.updates.clear();
        // Requests of the entry's own that no loss needs may ask for what does not exist.
        let entry = kilngrad_passes::dce::drop_dead(&entry);
        let alone = Program {
            name: program.name.clone(),
            states: program.states.clone(),
            entries: vec![entry],
        };
        let checked = expanded(&alone)?;
        let mut program = checked.clone();
        program.entries[0].checks.clear();
        Ok(Problem { program, checked, inputs, states, subjects, orders })
    }

    /// The outputs where one subject has these elements, or at the point itself.
    pub(super) fn evaluate(&self, moved: Option<(&Subject, &[f64])>) -> Result<Evaluated, Error> {
        let (mut inputs, mut states) = (self.inputs.clone(), self.states.clone());
        if let Some((subject, elements)) = moved {
            let array = Array::from_elements(&subject.shape, elements.to_vec())
                .expect("a moved subject has as many elements");
            match subject.place {
                Place::Input(index) => inputs[index] = array,
                Place::State(id) => states.set(&self.program, id, array)?,
            }
        }
        let program = if moved.is_some() { &self.program } else { &self.checked };
        let outcome = eval_entry(program, &program.entries[0], &inputs, &states)?;
        Ok(Evaluated { outputs: outcome.outputs, orders: self.orders })
    }
}

impl Subject {
    /// The indices of an element along each axis.
    pub(super) fn indices(&self, element: usize) -> Vec<usize> {
        let mut rest = element;
        let mut indices: Vec<usize> = self
            .shape
            .iter()
            .rev()
            .map(|length| {
                let index = rest % length;
                rest /= length;
                index
            })
            .collect();
        indices.reverse();
        indices
    }
}

impl Evaluated {
    fn of_order(&self, order: usize) -> &[Array] {
        let each = self.outputs.len() / self.orders;
        &self.outputs[order * each..(order + 1) * each]
    }

    /// The loss of an order, counted from 0.
    pub(super) fn loss(&self, order: usize) -> f64 {
        self.of_order(order)[0].scalar().map_or(f64::NAN, Literal::to_f64)
    }

    /// The sum of the sizes of the terms of the loss of an order.
    pub(super) fn magnitude(&self, order: usize) -> f64 {
        self.of_order(order)[1].scalar().map_or(f64::NAN, Literal::to_f64)
    }

    /// The gradient of an order by a subject: the sum of those by its reads.
    pub(super) fn gradient(&self, subject: &Subject, order: usize) -> Vec<f64> {
        let first = 2 + subject.first;
        let mut sum = vec![0.0; subject.elements.len()];
        for array in &self.of_order(order)[first..first + subject.reads.len()] {
            for (sum, term) in sum.iter_mut().zip(array.to_f64_vec()) {
                *sum += term;
            }
        }
        sum
    }
}

/// Uniform numbers from 0 to below 1, by a seed and a name.
pub(super) fn units(seed: i64, name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let key = random::key(seed, random::stream_of(name), 0);
    (0..count as u64).map(move |index| random::element(key, index, DType::F64).to_f64())
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Error {
    let known: Vec<&str> = known.collect();
    let message = format!("expected {what} of {known:?}, found {name:?}");
    Error::new(ErrorKind::Name, message)
}

fn needs_f64(what: &str, found: &Type) -> Error {
    let message = format!(
        "expected f64 to take differences of, found {found} for {what}: declare the program with \
         `Builder::with_float(F64)`"
    );
    Error::new(ErrorKind::DType, message)
}

/// What an argument of an entry is called: a word, as the verifier asks.
fn input_name(graph: &Graph, argument: Value) -> &str {
    match graph.name(argument) {
        ValueName::Word(word) => word,
        ValueName::Number(_) => "",
    }
}

/// The inputs, as they are fed or drawn, and what the symbols then stand for.
fn inputs(entry: &Entry, check: &GradientCheck) -> Result<(Bindings, Vec<Array>), Error> {
    let graph = &entry.graph;
    let arguments = || {
        graph.arguments().iter().map(|argument| (input_name(graph, *argument), graph.ty(*argument)))
    };
    let fed = |name: &str| check.feeds.iter().find(|feed| feed.0 == name).map(|feed| &feed.1);
    if let Some((name, _)) =
        check.feeds.iter().find(|feed| arguments().all(|known| known.0 != feed.0))
    {
        return Err(unknown("an input", name, arguments().map(|(name, _)| name)));
    }
    let mut bindings = check.bindings.clone();
    for (name, ty) in arguments() {
        let lengths = fed(name).map(Array::shape).unwrap_or_default();
        for (dim, length) in ty.shape.dims().iter().zip(lengths) {
            if let Some(symbol) = dim.as_symbol() {
                bindings.entry(symbol.clone()).or_insert(*length);
            }
        }
    }
    let inputs = arguments().map(|(name, ty)| match fed(name) {
        Some(array) => Ok(array.clone()),
        None => drawn(name, ty, &bindings, check),
    });
    let inputs = inputs.collect::<Result<Vec<_>, Error>>()?;
    bindings.extend(bind_inputs(graph, &inputs)?);
    Ok((bindings, inputs))
}

fn drawn(
    name: &str,
    ty: &Type,
    bindings: &Bindings,
    check: &GradientCheck,
) -> Result<Array, Error> {
    let shape = ty.shape.bind(bindings).and_then(|shape| shape.as_constant()).ok_or_else(|| {
        let message = format!(
            "expected lengths for the symbols of input {name:?}, found {ty}: bind or feed them"
        );
        Error::new(ErrorKind::Shape, message)
    })?;
    if !ty.dtype.is_float() {
        let message = format!(
            "expected input {name:?} to be fed, found nothing for {ty}: only floats are drawn"
        );
        return Err(Error::new(ErrorKind::Name, message));
    }
    let bound = Type::new(ty.dtype, shape.iter().copied().collect());
    let count = bound.element_count().ok_or_else(|| {
        Error::new(ErrorKind::Memory, format!("expected a size that fits memory, found {bound}"))
    })?;
    let (low, high) = check.range;
    let elements = units(check.seed, &format!("check.input.{name}"), count)
        .map(|unit| Literal::from_f64(ty.dtype, low + (high - low) * unit));
    let dense = Dense::new(ty.dtype, elements).expect("every element has the dtype");
    Ok(Array::from_dense(&dense, &shape).expect("there are as many elements as drawn"))
}

/// The outputs that make the loss.
fn outputs(entry: &Entry, check: &GradientCheck) -> Result<Vec<Value>, Error> {
    let known = || entry.outputs.iter().map(|name| &**name);
    let find = |name: &str| known().position(|known| known == name);
    let mut found = Vec::new();
    match &check.outputs {
        Some(names) => {
            for name in names {
                let index = find(name).ok_or_else(|| unknown("an output", name, known()))?;
                found.push((name.as_str(), entry.graph.results()[index]));
            }
        }
        None => {
            let all = known().zip(entry.graph.results().iter().copied());
            found.extend(all.filter(|(_, value)| entry.graph.ty(*value).dtype.is_float()));
        }
    }
    if let Some((name, value)) =
        found.iter().find(|(_, value)| entry.graph.ty(*value).dtype != DType::F64)
    {
        return Err(needs_f64(&format!("output {name:?}"), entry.graph.ty(*value)));
    }
    if found.is_empty() {
        let message = format!("expected a float output of entry {:?}, found none", entry.name);
        return Err(Error::new(ErrorKind::Name, message));
    }
    Ok(found.into_iter().map(|(_, value)| value).collect())
}

/// What is moved: inputs in order, then states in order.
fn subjects(
    program: &Program,
    entry: &Entry,
    check: &GradientCheck,
    inputs: &[Array],
    states: &States,
) -> Result<Vec<Subject>, Error> {
    let graph = &entry.graph;
    let mut all = Vec::new();
    for (index, &argument) in graph.arguments().iter().enumerate() {
        let name = input_name(graph, argument);
        let site = graph.nodes().find(|(_, node)| node.operands.contains(&argument));
        let site = site.and_then(|(_, node)| node.origin.site().cloned());
        let by_default = graph.ty(argument).dtype.is_float();
        all.push((name, by_default, Place::Input(index), vec![argument], site));
    }
    for (index, state) in program.states.iter().enumerate() {
        let id = StateId::from_index(index);
        let reads: Vec<_> = graph.nodes().filter(|(_, node)| node.op == Op::State(id)).collect();
        let Some((_, first)) = reads.first() else { continue };
        let site = first.origin.site().cloned();
        let values = reads.iter().map(|(_, node)| node.result()).collect();
        all.push((&*state.path, state.role == Role::Parameter, Place::State(id), values, site));
    }
    if let Some(names) = &check.wrt
        && let Some(name) = names.iter().find(|name| all.iter().all(|known| known.0 != **name))
    {
        return Err(unknown(
            "an input or a state that is read",
            name,
            all.iter().map(|known| known.0),
        ));
    }
    let mut subjects = Vec::new();
    let mut first = 0;
    for (name, by_default, place, reads, site) in all {
        let asked = check.wrt.as_ref().map(|names| names.iter().any(|known| known == name));
        if !asked.unwrap_or(by_default) {
            continue;
        }
        let ty = graph.ty(reads[0]);
        if ty.dtype != DType::F64 {
            return Err(needs_f64(&format!("{name:?}"), ty));
        }
        let array = match place {
            Place::Input(index) => &inputs[index],
            Place::State(id) => states.get(id),
        };
        let (elements, shape) = (array.to_f64_vec(), array.shape().to_vec());
        let count = reads.len();
        subjects.push(Subject {
            name: name.to_owned(),
            site,
            elements,
            shape,
            place,
            reads,
            first,
        });
        first += count;
    }
    if subjects.is_empty() {
        let message =
            format!("expected a float input or a parameter of entry {:?}, found none", entry.name);
        return Err(Error::new(ErrorKind::Name, message));
    }
    Ok(subjects)
}

/// `Σ c·y` over every element of the values, with drawn numbers `c` from 0.5 to 1.5, and `Σ|c·y|`.
fn weighted(graph: &mut Graph, values: &[Value], seed: i64, order: usize) -> [Value; 2] {
    let zero = Constant::Splat(Literal::from_f64(DType::F64, 0.0));
    let zero = append(graph, Op::Constant(zero), &[], &[Type::scalar(DType::F64)])[0];
    let mut totals = [zero, zero];
    for (index, &value) in values.iter().enumerate() {
        let ty = graph.ty(value).clone();
        let count = ty.element_count().expect("shapes are bound and fit memory");
        let stream = format!("check.weight.{order}.{index}");
        let weights =
            units(seed, &stream, count).map(|unit| Literal::from_f64(DType::F64, 0.5 + unit));
        let weights = Dense::new(DType::F64, weights).expect("every weight has the dtype");
        let weights = Op::Constant(Constant::Dense(weights));
        let weights = append(graph, weights, &[], std::slice::from_ref(&ty))[0];
        let terms = append(graph, Op::Binary(BinaryOp::Mul), &[value, weights], &[])[0];
        let sizes = append(graph, Op::Unary(UnaryOp::Abs), &[terms], &[])[0];
        let axes: Axes = (0..ty.rank()).collect();
        for (total, terms) in totals.iter_mut().zip([terms, sizes]) {
            let sum = Op::Reduce { op: ReduceOp::Sum, axes: axes.clone() };
            let sum = append(graph, sum, &[terms], &[])[0];
            *total = append(graph, Op::Binary(BinaryOp::Add), &[*total, sum], &[])[0];
        }
    }
    totals
}

/// The gradients of a loss. Where one says that it is zero, since no path leads to the loss, the
/// quotient tells whether that is so.
fn gradients(graph: &mut Graph, loss: Value, wanted: &[Value]) -> Vec<Value> {
    let operands: Vec<Value> = [loss].into_iter().chain(wanted.iter().copied()).collect();
    append(graph, Op::Gradient { or_zero: true }, &operands, &[])
}

fn append(graph: &mut Graph, op: Op, operands: &[Value], declared: &[Type]) -> Vec<Value> {
    let node = graph
        .append(op, operands, declared, Origin::unknown())
        .expect("operands of f64 and bound shapes fit");
    graph.node(node).results.to_vec()
}
