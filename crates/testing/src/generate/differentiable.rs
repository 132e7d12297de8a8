//! Random programs that ask for gradients.

use std::fmt;

use kilngrad_ir::op::{Axes, BinaryOp, ReduceOp, UnaryDerivative};
use kilngrad_ir::{
    DType, Dense, Entry, Literal, Mode, Node, Op, Origin, Type, Value, ValueName, verify,
};

use super::range::Range;
use super::{Case, Generator, Kind};
use crate::recipe::{Picks, Recipe, Regime};

/// Lengths of axes: a difference quotient needs two calls an element.
const SHORT: [usize; 8] = [2, 3, 1, 4, 5, 2, 3, 0];

/// What such programs are made of. There is no `stop_gradient`, which difference quotients do not
/// stop at.
const SMOOTH_KINDS: [Kind; 44] = [
    Generator::unary_step,
    Generator::binary_step,
    Generator::reduce_step,
    Generator::dot_step,
    Generator::broadcast_step,
    Generator::float_input_step,
    Generator::probe_step,
    Generator::dense_step,
    Generator::iota_step,
    Generator::select_step,
    Generator::reshape_step,
    Generator::transpose_step,
    Generator::slice_step,
    Generator::pad_step,
    Generator::concat_step,
    Generator::unary_step,
    Generator::normalise_step,
    Generator::custom_gradient_step,
    Generator::scan_step,
    Generator::cond_step,
    Generator::unary_step,
    Generator::unary_step,
    Generator::unary_step,
    Generator::binary_step,
    Generator::binary_step,
    Generator::binary_step,
    Generator::reduce_step,
    Generator::dot_step,
    Generator::dot_step,
    Generator::probe_step,
    Generator::slice_step,
    Generator::pad_step,
    Generator::concat_step,
    Generator::gather_step,
    Generator::scatter_step,
    Generator::gather_step,
    Generator::scatter_step,
    Generator::windows_step,
    Generator::fold_step,
    Generator::windows_step,
    Generator::fold_step,
    Generator::formula_step,
    Generator::formula_step,
    Generator::scan_step,
];

/// A program of `f64` with a scalar loss and its gradients, of first and second order.
///
/// Its one entry has the outputs `loss`, `loss2`, and for the wanted value `k` the gradients `g<k>`
/// of `loss` and `h<k>` of `loss2`. The loss is `Σ c·f(x)` over several values `f(x)`, and `loss2`
/// is `Σ c·g`, with constants `c` that are never 1, so a dropped factor is seen.
///
/// A wanted value is an input, or an intermediate value `v + p` for an input `p`: moving `p` moves
/// that very value, which is how its gradient can be checked.
#[derive(Clone)]
pub struct Differentiable {
    /// The program and its inputs. It has gradient requests.
    pub case: Case,
    /// For each wanted value, the input that moves it.
    pub moved_by: Vec<usize>,
}

impl Differentiable {
    /// The program that a recipe gives, whose regime is not looked at.
    ///
    /// # Panics
    ///
    /// If the program does not verify: a bug of the generator.
    pub fn new(recipe: &Recipe) -> Differentiable {
        let recipe = Recipe { regime: Regime::Reals, ..recipe.clone() };
        let mut generator = Generator::new(&recipe);
        generator.smooth = true;
        for (index, length) in generator.lengths.iter_mut().enumerate() {
            let short = SHORT[usize::from(recipe.header[index]) % SHORT.len()];
            match length.as_symbol() {
                Some(symbol) => *generator.case.bindings.entry(symbol.clone()).or_default() = short,
                None => *length = short.into(),
            }
        }
        for axis in 0..generator.lengths.len() {
            let dims = [generator.lengths[axis].clone()];
            let ty = Type::new(DType::F64, dims.into_iter().collect());
            if axis == 0 || generator.lengths[axis].as_symbol().is_some() {
                generator.input(ty, &mut Picks::new(&recipe.header));
            }
        }
        for step in &recipe.steps {
            let mut picks = Picks::new(step);
            let kind = picks.of(&SMOOTH_KINDS);
            kind(&mut generator, &mut picks);
        }
        let mut picks = Picks::new(&recipe.header[9..]);
        let moved_by = generator.ask(&mut picks);
        let case = generator.case;
        if let Err(error) = verify(&case.program) {
            panic!("the generator made an invalid program: {error}\n{}", case.program);
        }
        Differentiable { case, moved_by }
    }
}

impl fmt::Debug for Differentiable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}moved by inputs {:?}", self.case, self.moved_by)
    }
}

impl Generator {
    fn float_input_step(&mut self, picks: &mut Picks<'_>) {
        let ty = self.fresh_type(picks, &[DType::F64]);
        self.input(ty, picks);
    }

    /// `v + p` for a new input `p`.
    fn probe_step(&mut self, picks: &mut Picks<'_>) {
        let float = |value: Value| self.dtype(value) == DType::F64;
        let Some(x) = self.pick_where(picks, float) else { return };
        let Some(probe) = self.input(self.ty(x), picks) else { return };
        let name = ValueName::word(&format!("p{}", self.inputs.len()));
        self.graph.rename(probe, name.expect("a letter with a number is a word"));
        self.binary(BinaryOp::Add, x, probe);
    }

    /// Ends the entry with a loss and requests for its gradients. Gives the inputs that move what
    /// was asked for.
    fn ask(&mut self, picks: &mut Picks<'_>) -> Vec<usize> {
        // The last value, so that programs are deep, and a few others.
        let mut terms = Vec::new();
        let float = |value: Value| self.dtype(value) == DType::F64;
        let last = (0..self.graph.value_count()).rev().map(Value::from_index).find(|v| float(*v));
        terms.extend(last);
        for _ in 0..picks.below(3) {
            terms.extend(self.pick_where(picks, float));
        }
        let loss = self.weighted(&terms);
        let (wanted, moved_by) = self.wanted(loss);
        let first = self.request(loss, &wanted, false);
        let second_loss = self.weighted(&first);
        // The first derivatives of what is linear do not depend on anything.
        let second = self.request(second_loss, &wanted, true);

        let mut graph = std::mem::take(&mut self.graph);
        let results = [loss, second_loss].into_iter().chain(first).chain(second);
        graph.set_results(results.collect());
        let mut entry = Entry::new("step", Mode::Train, graph);
        let each = |letter: &str| -> Vec<String> {
            (0..wanted.len()).map(|index| format!("{letter}{index}")).collect()
        };
        let names = ["loss".to_owned(), "loss2".to_owned()].into_iter().chain(each("g"));
        entry.outputs = names.chain(each("h")).map(Into::into).collect();
        self.case.program.entries.push(entry);
        self.case.inputs.push(std::mem::take(&mut self.inputs));
        self.case.ranges.push(std::mem::take(&mut self.ranges));
        moved_by
    }

    /// `Σ c·v` over every element of the values, with constants that are not 1.
    fn weighted(&mut self, values: &[Value]) -> Value {
        let mut total = self.must(
            Op::Constant(kilngrad_ir::Constant::Splat(Literal::from_f64(DType::F64, 0.25))),
            &[],
            Some(Type::scalar(DType::F64)),
        );
        for &value in values {
            let ty = self.ty(value);
            let weights = match ty.element_count() {
                Some(count) => {
                    let weight = |_| Literal::from_f64(DType::F64, 0.3 + 0.6 * self.random.unit());
                    let dense = Dense::new(DType::F64, (0..count).map(weight));
                    kilngrad_ir::Constant::Dense(dense.expect("elements of the dtype"))
                }
                None => kilngrad_ir::Constant::Splat(Literal::from_f64(DType::F64, 0.7)),
            };
            let weights = self.must(Op::Constant(weights), &[], Some(ty.clone()));
            let weighted = self.must(Op::Binary(BinaryOp::Mul), &[value, weights], None);
            let axes: Axes = (0..ty.rank()).collect();
            let sum = self.must(Op::Reduce { op: ReduceOp::Sum, axes }, &[weighted], None);
            total = self.must(Op::Binary(BinaryOp::Add), &[total, sum], None);
        }
        total
    }

    fn must(&mut self, op: Op, operands: &[Value], ty: Option<Type>) -> Value {
        let declared: Vec<Type> = ty.into_iter().collect();
        let node = self.graph.append(op, operands, &declared, Origin::unknown());
        let node =
            node.unwrap_or_else(|error| panic!("the generator made an invalid node: {error}"));
        self.ranges.push(Range::all(DType::F64));
        self.graph.node(node).result()
    }

    fn request(&mut self, loss: Value, wanted: &[Value], or_zero: bool) -> Vec<Value> {
        if wanted.is_empty() {
            return Vec::new();
        }
        let operands: Vec<Value> = [loss].into_iter().chain(wanted.iter().copied()).collect();
        let op = Op::Gradient { or_zero };
        let node = self.graph.append(op, &operands, &[], Origin::unknown());
        let node =
            node.unwrap_or_else(|error| panic!("the generator made an invalid node: {error}"));
        self.ranges.extend(wanted.iter().map(|_| Range::all(DType::F64)));
        self.graph.node(node).results.to_vec()
    }

    /// The inputs, and sums with probes, that the loss depends on through operations that have
    /// derivatives; with the inputs that move them.
    fn wanted(&self, loss: Value) -> (Vec<Value>, Vec<usize>) {
        let mut reached = vec![false; self.graph.value_count()];
        reached[loss.index()] = true;
        for (_, node) in self.graph.nodes().rev() {
            if !node.results.iter().any(|result| reached[result.index()]) {
                continue;
            }
            for operand in differentiable(node) {
                reached[operand.index()] = true;
            }
        }
        let arguments = self.graph.arguments();
        let position = |value: Value| arguments.iter().position(|argument| *argument == value);
        let mut wanted = Vec::new();
        let mut moved_by = Vec::new();
        for (at, argument) in arguments.iter().enumerate() {
            if self.dtype(*argument) == DType::F64 && reached[argument.index()] {
                wanted.push(*argument);
                moved_by.push(at);
            }
        }
        for (_, node) in self.graph.nodes() {
            let probed = match (&node.op, node.operands.as_slice()) {
                (Op::Binary(BinaryOp::Add), [_, probe]) => position(*probe),
                _ => None,
            };
            let Some(at) = probed.filter(|_| reached[node.results[0].index()]) else { continue };
            let probe = self.graph.name(arguments[at]).to_string();
            // Only where the probe moves nothing else.
            let uses = self.graph.use_counts()[arguments[at].index()];
            if probe.starts_with("%p") && uses == 1 {
                wanted.push(node.result());
                moved_by.push(at);
            }
        }
        (wanted, moved_by)
    }
}

/// The operands that derivatives pass to.
fn differentiable(node: &Node) -> &[Value] {
    match &node.op {
        Op::Select | Op::Cond(_) => &node.operands[1..],
        Op::Gather { .. } => &node.operands[..1],
        Op::Unary(op) => match op.row().derivative {
            UnaryDerivative::None => &[],
            UnaryDerivative::Zero | UnaryDerivative::Of(_) => &node.operands,
        },
        Op::CustomGradient(custom) => &node.operands[custom.inputs(node.operands.len())],
        Op::Compare(_)
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::StopGradient
        | Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. } => &[],
        Op::Binary(_)
        | Op::Cast
        | Op::Reduce { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::While(_)
        | Op::Kernel(_) => &node.operands,
    }
}
