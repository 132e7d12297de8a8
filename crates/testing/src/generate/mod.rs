//! Random programs, valid by construction.
//!
//! A program grows node by node, as NNSmith grows models (Liu et al.: "NNSmith: Generating Diverse
//! and Valid Test Cases for Deep Learning Compilers", ASPLOS 2023): each step of a [`Recipe`]
//! picks operands from the values that are there and an operation that their types admit, and the
//! shapes are solved forward, so nothing is ever rejected. Recent values are picked first, so that
//! programs are deep, and what no root reaches stays, so that there is dead code to remove.
//!
//! Beside each value stands a [`Range`](range::Range) of its elements. It is what the regimes of
//! numbers are kept by: where an operation would leave its domain, or whole numbers the ones that
//! are exact in `f32`, its operands are clamped first.

mod cond;
mod custom;
mod differentiable;
mod elementwise;
mod finish;
mod formula;
mod indexed;
mod layout;
pub(crate) mod range;
mod reduce;
mod repeat;
mod scan;
mod source;
mod training;
mod windows;

use std::fmt;

use kilngrad_interp::{Array, States};
use kilngrad_ir::{
    Bindings, Check, DType, Dim, Graph, Literal, Op, Origin, Program, StateId, Symbol, Type, Value,
    verify,
};

use crate::recipe::{HEADER, Picks, Random, Recipe, Regime, STEP};
pub use differentiable::Differentiable;
use range::Range;

/// The seed that the states of generated programs are initialised from.
pub const SEED: i64 = 7;

/// Elements that a generated value may have.
const MAX_ELEMENTS: usize = 1 << 16;

/// Elements that the values of an entry may have together, and terms of its contractions.
const MAX_WORK: usize = 1 << 20;

/// How large floats may grow before they are clamped: whole numbers stay exact in `f32` then, also
/// when a few are added up on the way.
const MAX_WHOLE: f64 = (1u32 << 20) as f64;
const MAX_REAL: f64 = 1e3;
const MAX_SMOOTH: f64 = 12.0;

/// Lengths of axes; simple ones first.
const LENGTHS: [usize; 26] =
    [2, 1, 3, 0, 4, 5, 6, 7, 8, 9, 1, 3, 2, 4, 5, 8, 12, 16, 17, 31, 33, 64, 65, 130, 256, 1031];

/// A way to add to a program.
type Kind = fn(&mut Generator, &mut Picks<'_>);

/// What steps may add, in order of simplicity; how often a kind stands here is how likely it is.
const KINDS: [Kind; 64] = [
    Generator::unary_step,
    Generator::binary_step,
    Generator::reduce_step,
    Generator::dot_step,
    Generator::broadcast_step,
    Generator::input_step,
    Generator::splat_step,
    Generator::dense_step,
    Generator::state_step,
    Generator::iota_step,
    Generator::dimension_step,
    Generator::random_step,
    Generator::compare_step,
    Generator::select_step,
    Generator::cast_step,
    Generator::arg_reduce_step,
    Generator::reshape_step,
    Generator::transpose_step,
    Generator::slice_step,
    Generator::pad_step,
    Generator::concat_step,
    Generator::stop_gradient_step,
    Generator::custom_gradient_step,
    Generator::normalise_step,
    Generator::unary_step,
    Generator::unary_step,
    Generator::binary_step,
    Generator::binary_step,
    Generator::binary_step,
    Generator::reduce_step,
    Generator::reduce_step,
    Generator::dot_step,
    Generator::dot_step,
    Generator::broadcast_step,
    Generator::input_step,
    Generator::state_step,
    Generator::select_step,
    Generator::reshape_step,
    Generator::transpose_step,
    Generator::normalise_step,
    Generator::cast_step,
    Generator::gather_step,
    Generator::scatter_step,
    Generator::check_step,
    Generator::argsort_step,
    Generator::gather_step,
    Generator::scatter_step,
    Generator::layer_step,
    Generator::layer_step,
    Generator::accumulate_step,
    Generator::accumulate_step,
    Generator::scan_step,
    Generator::scan_step,
    Generator::cond_step,
    Generator::while_step,
    Generator::windows_step,
    Generator::fold_step,
    Generator::windows_step,
    Generator::fold_step,
    Generator::fold_step,
    Generator::formula_step,
    Generator::formula_step,
    Generator::formula_step,
    Generator::formula_step,
];

/// A program with what it takes to run it.
#[derive(Clone)]
pub struct Case {
    /// What the program's numbers are like.
    pub regime: Regime,
    /// The program, verified.
    pub program: Program,
    /// What its symbols stand for.
    pub bindings: Bindings,
    /// Inputs for each entry, in order; their shapes bind the symbols.
    pub inputs: Vec<Vec<Array>>,
    /// What is known of the elements of each entry's values, by value.
    ranges: Vec<Vec<Range>>,
}

impl Case {
    /// The program that a recipe gives.
    ///
    /// # Panics
    ///
    /// If the program does not verify: a bug of the generator.
    pub fn new(recipe: &Recipe) -> Case {
        let mut generator = Generator::new(recipe);
        let cut = match recipe.header[8] % 4 {
            3 => recipe.steps.len() / 2,
            _ => recipe.steps.len(),
        };
        let (first, second) = recipe.steps.split_at(cut);
        generator.entry(first);
        if !second.is_empty() {
            generator.entry(second);
        }
        let case = generator.case;
        if let Err(error) = verify(&case.program) {
            panic!("the generator made an invalid program: {error}\n{}", case.program);
        }
        case
    }

    /// A program that was written rather than cooked, each of its symbols bound to `length`, with
    /// inputs as the regime has them.
    ///
    /// # Panics
    ///
    /// If the program does not verify, or not with this length.
    pub fn of(program: Program, regime: Regime, length: usize) -> Case {
        let recipe = Recipe { regime, header: [0; HEADER], steps: Vec::new() };
        let mut generator = Generator::new(&recipe);
        verify(&program).unwrap_or_else(|error| panic!("expected a valid program: {error}"));
        let symbols = program.entries.iter().flat_map(kilngrad_ir::Entry::symbols);
        let bindings: Bindings = symbols.map(|symbol| (symbol, length)).collect();
        let mut inputs = Vec::new();
        for entry in &program.entries {
            let types = entry.graph.arguments().iter().map(|value| entry.graph.ty(*value));
            let fed = types.map(|ty| {
                let shape = ty.shape.bind(&bindings).and_then(|shape| shape.as_constant());
                let shape = shape.expect("lengths are not negative");
                let count = shape.iter().product();
                let (dense, _) = generator.array(ty.dtype, count, &mut Picks::new(&[0]));
                Array::from_dense(&dense, &shape).expect("an element for each index")
            });
            inputs.push(fed.collect());
        }
        Case { regime, program, bindings, inputs, ranges: Vec::new() }
    }

    /// Whether the program keeps to the regime, which one that was written need not: of whole numbers
    /// an operation may make others.
    pub fn keeps_regime(&self) -> bool {
        let mut graphs = self.program.entries.iter().map(|entry| &entry.graph);
        self.regime != Regime::Integers || graphs.all(elementwise::is_of_whole_numbers)
    }

    /// The case with zeros in every input of floats that may hold them: where functions are put
    /// together of pieces, there is a seam.
    #[must_use]
    pub fn at_zero(mut self) -> Case {
        for (entry, (inputs, ranges)) in
            self.program.entries.iter().zip(self.inputs.iter_mut().zip(&self.ranges))
        {
            for (value, input) in entry.graph.arguments().iter().zip(inputs) {
                let range = ranges[value.index()];
                if input.dtype().is_float() && range.low <= 0.0 && range.high >= 0.0 {
                    *input = Array::splat(Literal::from_f64(input.dtype(), 0.0), input.shape());
                }
            }
        }
        self
    }

    /// Number of elements of a type under the bindings, if they fit memory.
    pub fn elements(&self, ty: &Type) -> Option<usize> {
        Type::new(ty.dtype, ty.shape.bind(&self.bindings)?).element_count()
    }

    /// What the program's states hold before a call.
    ///
    /// # Panics
    ///
    /// Never, for a program that verifies.
    pub fn states(&self) -> States {
        States::initial(&self.program, SEED).expect("a verified program's initialisers fit")
    }
}

/// The text of the program, and what is fed.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.program)?;
        for (entry, inputs) in self.program.entries.iter().zip(&self.inputs) {
            for (value, input) in entry.graph.arguments().iter().zip(inputs) {
                let shown: Vec<String> = input.iter().take(24).map(|x| x.to_string()).collect();
                let more = if input.len() > shown.len() { ", …" } else { "" };
                let (name, ty) = (entry.graph.name(*value), input.ty());
                writeln!(f, "@{} {name}: {ty} = [{}{more}]", entry.name, shown.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A program under construction.
pub(crate) struct Generator {
    header: [u8; HEADER],
    case: Case,
    /// The entry that is being built.
    graph: Graph,
    inputs: Vec<Array>,
    checks: Vec<Check>,
    /// For each value of the graph, in order.
    ranges: Vec<Range>,
    /// Lengths that sources take: constants and symbols.
    lengths: Vec<Dim>,
    random: Random,
    work: usize,
    /// Updates that steps asked for, at most one a state.
    updates: Vec<(StateId, Value)>,
    origin: Origin,
    /// Whether every value that matters is a smooth `f64` one: see [`Differentiable`].
    smooth: bool,
}

impl Generator {
    fn new(recipe: &Recipe) -> Generator {
        let mut bindings = Bindings::new();
        let mut lengths = Vec::new();
        for (index, name) in ["n", "m", "batch", "k-1"].into_iter().enumerate() {
            let length = LENGTHS[usize::from(recipe.header[index]) * LENGTHS.len() / 256];
            // Two of the four may be symbols, one of which is not called by a word.
            if recipe.header[4] >> index & 5 == 5 {
                bindings.insert(Symbol::new(name), length);
                lengths.push(Dim::symbol(Symbol::new(name)));
            } else {
                lengths.push(Dim::from(length));
            }
        }
        let name = ["", "random", "über \"alles\"\n", "a.b/c"][usize::from(recipe.header[5] % 4)];
        let case = Case {
            regime: recipe.regime,
            program: Program::new(name),
            bindings,
            inputs: Vec::new(),
            ranges: Vec::new(),
        };
        let seed = u64::from_le_bytes([recipe.header[6], recipe.header[7], 0, 0, 0, 0, 0, 0]);
        Generator {
            header: recipe.header,
            case,
            graph: Graph::new(),
            inputs: Vec::new(),
            checks: Vec::new(),
            ranges: Vec::new(),
            lengths,
            random: Random::new(seed),
            work: 0,
            updates: Vec::new(),
            origin: Origin::unknown(),
            smooth: false,
        }
    }

    /// Builds an entry from these steps.
    fn entry(&mut self, steps: &[[u8; STEP]]) {
        let header = self.header;
        let mut picks = Picks::new(&header);
        self.graph = Graph::new();
        self.inputs = Vec::new();
        self.ranges = Vec::new();
        self.work = 0;
        self.updates = Vec::new();
        // Whatever is symbolic is bound by an input, and there is always something to pick.
        for axis in 0..self.lengths.len() {
            if self.lengths[axis].as_constant().is_none() {
                let dims = [self.lengths[axis].clone()];
                let dtype = picks.of(&DType::ALL);
                self.input(Type::new(dtype, dims.into_iter().collect()), &mut picks);
            }
        }
        if self.graph.arguments().is_empty() {
            let ty = Type::new(DType::F32, [self.lengths[0].clone()].into_iter().collect());
            self.input(ty, &mut picks);
        }
        for step in steps {
            let mut picks = Picks::new(step);
            self.step(&mut picks);
        }
        self.finish();
    }

    /// Adds what a step asks for; nothing where the program would grow too large.
    fn step(&mut self, picks: &mut Picks<'_>) {
        let kind = picks.of(&KINDS);
        self.origin = finish::origin(picks, &self.graph);
        kind(self, picks);
        self.origin = Origin::unknown();
    }

    /// Appends a node with one result, unless it would be too large.
    fn emit(
        &mut self,
        op: Op,
        operands: &[Value],
        declared: &[Type],
        range: Range,
    ) -> Option<Value> {
        let types: Vec<&Type> = operands.iter().map(|value| self.graph.ty(*value)).collect();
        let inferred = match kilngrad_ir::infer::infer(&op, &types, declared) {
            Ok(inferred) => inferred,
            Err(error) => {
                panic!("the generator made an invalid node: {error}\n{}", self.case.program)
            }
        };
        let elements = self.elements(&inferred[0])?;
        if self.work + elements > MAX_WORK {
            return None;
        }
        self.work += elements;
        let node = self.graph.append_unchecked(op, operands, &inferred, self.origin.clone());
        let range = if self.wild() && inferred[0].dtype.is_float() {
            Range::all(inferred[0].dtype)
        } else {
            range
        };
        self.ranges.push(range);
        Some(self.graph.node(node).result())
    }

    fn wild(&self) -> bool {
        self.case.regime == Regime::Wild
    }

    fn range(&self, value: Value) -> Range {
        self.ranges[value.index()]
    }

    fn ty(&self, value: Value) -> Type {
        self.graph.ty(value).clone()
    }

    fn dtype(&self, value: Value) -> DType {
        self.graph.ty(value).dtype
    }

    /// The lengths of a type under the bindings.
    fn shape(&self, ty: &Type) -> Vec<usize> {
        let bound = ty.shape.bind(&self.case.bindings).expect("every symbol is bound");
        bound.as_constant().expect("a bound shape has no symbol")
    }

    /// Number of elements under the bindings; `None` where they are too many.
    fn elements(&self, ty: &Type) -> Option<usize> {
        let lengths = self.shape(ty);
        let count = lengths.iter().try_fold(1usize, |product, length| {
            product.checked_mul(*length.max(&1)).filter(|count| *count <= MAX_ELEMENTS)
        })?;
        Some(if lengths.contains(&0) { 0 } else { count })
    }

    /// A value, the last ones first.
    fn pick(&self, picks: &mut Picks<'_>) -> Value {
        self.pick_where(picks, |_| true).expect("there is always a value")
    }

    /// A value with a property, the last ones first.
    fn pick_where(&self, picks: &mut Picks<'_>, property: impl Fn(Value) -> bool) -> Option<Value> {
        let all = (0..self.graph.value_count()).rev().map(Value::from_index);
        // Fractions are only there to be rounded, where whole numbers are asked for.
        let usable =
            |value: &Value| self.case.regime != Regime::Integers || self.range(*value).whole;
        let fitting: Vec<Value> =
            all.filter(|value| usable(value) && property(*value)).take(64).collect();
        if fitting.is_empty() {
            return None;
        }
        // Squaring a uniform choice makes the first ones likely.
        let choice = usize::from(picks.byte());
        Some(fitting[choice * choice * fitting.len() / (256 * 256)])
    }

    /// Two values of one type, of a dtype with a property. The second may be the first, or is made
    /// where there is no other.
    fn pair(
        &mut self,
        picks: &mut Picks<'_>,
        property: impl Fn(DType) -> bool,
    ) -> Option<[Value; 2]> {
        let lhs = self.pick_where(picks, |value| property(self.dtype(value)))?;
        let rhs = self.like(lhs, picks)?;
        Some(if picks.rarely(3) { [rhs, lhs] } else { [lhs, rhs] })
    }

    /// A value of the type of another: one that is there, mostly, or a new constant or broadcast.
    fn like(&mut self, value: Value, picks: &mut Picks<'_>) -> Option<Value> {
        let ty = self.ty(value);
        let same = |other: Value| *self.graph.ty(other) == ty;
        let other = self.pick_where(picks, |other| other != value && same(other));
        match (picks.below(8), other) {
            (0..=3, Some(other)) => Some(other),
            (4, _) => Some(value),
            (5, _) => self.dense(ty, picks),
            (6 | 0..=3, _) => self.stretched(&ty, picks),
            _ => self.splat(ty, picks),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use kilngrad_interp::eval_entry_traced;

    use super::*;

    /// Every case of a few hundred seeds of each regime.
    fn cases() -> impl Iterator<Item = (u64, Case)> {
        let regimes = [Regime::Integers, Regime::Reals, Regime::Wild];
        (0..1200).map(move |seed| {
            let regime = regimes[seed as usize % 3];
            (seed, Case::new(&Recipe::sample(regime, seed, 24)))
        })
    }

    /// What the generator believes of elements is what the interpreter computes, so the regimes
    /// are what they say.
    #[test]
    fn elements_are_in_their_ranges() {
        for (seed, case) in cases() {
            let states = case.states();
            for (index, entry) in case.program.entries.iter().enumerate() {
                let values: BTreeMap<_, _> =
                    entry.graph.values().map(|(value, data)| (data.name.clone(), value)).collect();
                let mut check = |trace: kilngrad_interp::Trace<'_>| {
                    // Values of regions have names of their own.
                    if trace.nested {
                        return;
                    }
                    let range = case.ranges[index][values[trace.name].index()];
                    for element in trace.array.iter().map(kilngrad_ir::Literal::to_f64) {
                        // Ranges are those of exact arithmetic; whole numbers need no slack, as far
                        // as `f64` tells them apart.
                        let slack = match range.magnitude() {
                            small if range.whole && small < (1u64 << 53) as f64 => 0.0,
                            large if range.whole => 4.0 * f64::EPSILON * large,
                            any => 1e-5 * any,
                        };
                        let inside = range.low - slack <= element && element <= range.high + slack;
                        let whole = !range.whole || element.fract() == 0.0;
                        let wild = case.regime == Regime::Wild && trace.array.dtype().is_float();
                        assert!(
                            wild || (inside && whole),
                            "seed {seed}: {} has {element}, outside {range:?}\n{case:?}",
                            trace.name
                        );
                    }
                };
                let inputs = &case.inputs[index];
                eval_entry_traced(&case.program, entry, inputs, &states, &mut check).unwrap();
            }
        }
    }

    /// Nothing that a program can say is out of reach, but what only passes make.
    #[test]
    fn every_operation_and_feature_occurs() {
        let mut found = BTreeSet::new();
        let mut dtypes = BTreeSet::new();
        let mut nodes = 0;
        for (_, case) in cases() {
            for entry in &case.program.entries {
                nodes += entry.graph.node_count();
                for (_, node) in entry.graph.nodes() {
                    found.insert(node.op.name());
                    let ty = entry.graph.ty(node.results[0]);
                    dtypes.insert(ty.dtype);
                    found.extend((ty.rank() == 0).then_some("rank 0"));
                    found.extend((case.elements(ty) == Some(0)).then_some("empty"));
                    found.extend(ty.shape.symbols().next().map(|_| "symbols"));
                    if let Op::Slice(axes) = &node.op {
                        found.extend(axes.iter().any(|a| a.stride > 1).then_some("strides"));
                    }
                    if let Op::Pad(axes) = &node.op {
                        found.extend(axes.iter().any(|a| a.interior > 0).then_some("interior"));
                    }
                    if let Op::Dot(axes) = &node.op {
                        found.extend((!axes.lhs_batch.is_empty()).then_some("batch"));
                        found.extend((axes.lhs_contract.len() > 1).then_some("contract two"));
                    }
                }
                found.extend((!entry.checks.is_empty()).then_some("check"));
                found.extend((entry.updates.len() > 1).then_some("updates"));
                found.extend((entry.graph.results().len() > 1).then_some("outputs"));
            }
            found.extend((case.program.entries.len() > 1).then_some("entries"));
        }
        let rows = kilngrad_ir::op::UNARY.iter().map(|row| row.name);
        let rows = rows.chain(kilngrad_ir::op::BINARY.iter().map(|row| row.name));
        let rows = rows.chain(kilngrad_ir::op::CompareOp::ALL.iter().map(|entry| entry.1));
        let rows = rows.chain(kilngrad_ir::op::ReduceOp::ALL.iter().map(|entry| entry.1));
        let others = [
            "state",
            "constant",
            "dimension",
            "iota",
            "random",
            "select",
            "cast",
            "argmax",
            "argmin",
            "dot",
            "broadcast",
            "reshape",
            "transpose",
            "slice",
            "pad",
            "concat",
            "gather",
            "scatter_add",
            "argsort",
            "argsort_descending",
            "windows",
            "fold",
            "check",
            "stop_gradient",
            "custom_gradient",
            "scan",
            "cond",
            "while",
            "rank 0",
            "empty",
            "symbols",
            "strides",
            "interior",
            "batch",
            "contract two",
            "updates",
            "outputs",
            "entries",
        ];
        for name in rows.chain(others) {
            assert!(found.contains(name), "no program has {name}");
        }
        assert_eq!(dtypes.len(), DType::ALL.len());
        assert!(nodes > 6_000, "programs are worth running: {nodes} nodes");
    }

    #[test]
    fn recipes_of_zeros_and_of_any_bytes_are_valid() {
        for count in 0..64 {
            for byte in [0, 1, 127, 128, 255] {
                let bytes = vec![byte; count * 5];
                for regime in [Regime::Integers, Regime::Reals, Regime::Wild] {
                    Case::new(&Recipe::from_bytes(regime, &bytes));
                }
            }
        }
    }
}
