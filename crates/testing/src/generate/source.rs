//! Values from nothing: inputs, states, constants, indices, random numbers.

use kilngrad_interp::Array;
use kilngrad_ir::{
    Constant, DType, Dense, Dim, Init, Literal, Op, Role, State, StateId, Type, Value, ValueName,
};

use super::Generator;
use super::range::Range;
use crate::recipe::{Picks, Regime};

/// Paths of states; an index follows.
const PATHS: [&str; 4] = ["net.w", "net.hidden.b", "a \"quoted\" path", "größe"];

/// Names of inputs and values; an index follows.
pub(super) const WORDS: [&str; 6] = ["x", "h", "_", "net.hidden", "loss.1.", "nan"];

impl Generator {
    pub(super) fn input_step(&mut self, picks: &mut Picks<'_>) {
        let ty = self.fresh_type(picks, &DType::ALL);
        self.input(ty, picks);
    }

    /// A new input with elements to feed; `None` where it would be too large.
    pub(super) fn input(&mut self, ty: Type, picks: &mut Picks<'_>) -> Option<Value> {
        let elements = self.elements(&ty)?;
        let shape = self.shape(&ty);
        let (array, range) = self.array(ty.dtype, elements, picks);
        let array = Array::from_dense(&array, &shape).expect("an element for each index");
        let word = picks.of(&WORDS);
        let name = format!("{word}{}", self.inputs.len());
        let name = ValueName::word(&name).expect("a word with a number is a word");
        let value = self.graph.add_argument(name, ty);
        self.inputs.push(array);
        self.ranges.push(range);
        Some(value)
    }

    pub(super) fn splat_step(&mut self, picks: &mut Picks<'_>) {
        let ty = self.fresh_type(picks, &DType::ALL);
        self.splat(ty, picks);
    }

    pub(super) fn splat(&mut self, ty: Type, picks: &mut Picks<'_>) -> Option<Value> {
        let literal = self.literal(ty.dtype, picks);
        self.constant(ty, literal)
    }

    /// A constant whose every element is `literal`.
    pub(super) fn constant(&mut self, ty: Type, literal: Literal) -> Option<Value> {
        let range = Range::point(literal.to_f64());
        self.emit(Op::Constant(Constant::Splat(literal)), &[], &[ty], range)
    }

    pub(super) fn dense_step(&mut self, picks: &mut Picks<'_>) {
        let ty = self.fresh_type(picks, &DType::ALL);
        self.dense(ty, picks);
    }

    /// An array as a constant; a splat where its length is a symbol.
    pub(super) fn dense(&mut self, ty: Type, picks: &mut Picks<'_>) -> Option<Value> {
        if ty.shape.as_constant().is_none() {
            return self.splat(ty, picks);
        }
        // Text is where constants end up, so they are short.
        let elements = self.elements(&ty).filter(|elements| *elements <= 1 << 12)?;
        let (dense, range) = self.array(ty.dtype, elements, picks);
        self.emit(Op::Constant(Constant::Dense(dense)), &[], &[ty], range)
    }

    pub(super) fn state_step(&mut self, picks: &mut Picks<'_>) {
        let known = self.case.program.states.len();
        if known > 0 && picks.rarely(3) {
            let id = StateId::from_index(picks.below(known));
            self.read(id);
            return;
        }
        let ty = self.fresh_type(picks, &DType::ALL);
        if let Some(id) = self.new_state(ty, picks) {
            self.read(id);
        }
    }

    /// A new state; `None` where its type has a symbol or would be too large.
    pub(super) fn new_state(&mut self, ty: Type, picks: &mut Picks<'_>) -> Option<StateId> {
        ty.shape.as_constant()?;
        let known = self.case.program.states.len();
        let elements = self.elements(&ty)?;
        let init = self.initialiser(ty.dtype, elements, picks);
        let path = format!("{}{known}", picks.of(&PATHS)).into();
        let role = picks.of(&Role::ALL).0;
        self.case.program.states.push(State { path, ty, init, role });
        Some(StateId::from_index(known))
    }

    /// Reads a state, once more if it was read before.
    pub(super) fn read(&mut self, id: StateId) -> Option<Value> {
        let State { ty, init, .. } = self.case.program.state(id);
        let range = match init {
            Init::Splat(literal) => Range::point(literal.to_f64()),
            Init::Dense(dense) => range_of(dense),
            Init::Uniform { low, high, .. } => Range::new(*low, *high, false),
            // No normal number that is made of 53 random bits is further out.
            Init::Normal { mean, std, .. } => Range::new(mean - 9.0 * std, mean + 9.0 * std, false),
            Init::Seed => Range::all(DType::I64),
        };
        let ty = ty.clone();
        self.emit(Op::State(id), &[], &[ty], range)
    }

    fn initialiser(&mut self, dtype: DType, elements: usize, picks: &mut Picks<'_>) -> Init {
        let stream = u64::from(picks.byte()) << 40 | u64::from(picks.byte());
        let real = dtype.is_float() && self.case.regime == Regime::Reals;
        match picks.below(4) {
            0 => Init::Splat(self.literal(dtype, picks)),
            1 if real => Init::Uniform { low: -1.5, high: 2.25, stream },
            2 if real => Init::Normal { mean: 0.5, std: 0.75, stream },
            _ => {
                let (dense, _) = self.array(dtype, elements, picks);
                if dense.len() <= 1 << 12 {
                    Init::Dense(dense)
                } else {
                    Init::Splat(self.literal(dtype, picks))
                }
            }
        }
    }

    pub(super) fn iota_step(&mut self, picks: &mut Picks<'_>) {
        let ty = self.fresh_type(picks, &NUMBERS);
        if ty.rank() == 0 {
            return;
        }
        let axis = picks.below(ty.rank());
        let length = self.shape(&ty)[axis];
        let range = Range::new(0.0, length.saturating_sub(1) as f64, true).within(ty.dtype);
        self.emit(Op::Iota { axis }, &[], &[ty], range);
    }

    pub(super) fn dimension_step(&mut self, picks: &mut Picks<'_>) {
        let dtype = picks.of(&NUMBERS);
        let mut dim = picks.of(&self.lengths);
        if picks.rarely(2) {
            let other = &picks.of(&self.lengths) + &Dim::constant(1);
            dim = &dim * &other;
        }
        let value = dim.evaluate(&self.case.bindings).expect("every symbol is bound");
        let range = Range::point(value as f64).within(dtype);
        self.emit(Op::Dimension(dim), &[], &[Type::scalar(dtype)], range);
    }

    pub(super) fn random_step(&mut self, picks: &mut Picks<'_>) {
        let ty = self.fresh_type(picks, &[DType::F32, DType::F64, DType::I32, DType::I64]);
        let key = [self.key(picks), self.key(picks)];
        let [Some(seed), Some(counter)] = key else { return };
        let stream = u64::from(picks.byte()) * 0x0101_0001_0001_0001;
        let float = ty.dtype.is_float();
        let range = if float { Range::new(0.0, 1.0, false) } else { Range::all(ty.dtype) };
        let Some(value) = self.emit(Op::Random { stream }, &[seed, counter], &[ty], range) else {
            return;
        };
        if float && self.case.regime == Regime::Integers {
            self.octave(value);
        }
    }

    /// A seed or counter: an `i64` scalar that is there, or one that is made.
    fn key(&mut self, picks: &mut Picks<'_>) -> Option<Value> {
        let ty = Type::scalar(DType::I64);
        let same = |value: Value| *self.graph.ty(value) == ty;
        if let Some(value) = self.pick_where(picks, same) {
            return Some(value);
        }
        if !self.case.program.states.iter().any(|state| state.init == Init::Seed) {
            let id = StateId::from_index(self.case.program.states.len());
            let path = "random.seed".into();
            let state = State { path, ty, init: Init::Seed, role: Role::Random };
            self.case.program.states.push(state);
            return self.read(id);
        }
        self.splat(ty, picks)
    }

    /// A type of up to three axes of the program's lengths.
    pub(super) fn fresh_type(&self, picks: &mut Picks<'_>, dtypes: &[DType]) -> Type {
        // Half of the values are of the first dtype.
        let dtype = match picks.below(4) {
            _ if self.smooth => DType::F64,
            0 | 2 => dtypes[0],
            _ => picks.of(dtypes),
        };
        let rank = [1, 2, 0, 2, 3, 2, 1, 2][picks.below(8)];
        let dims = (0..rank).map(|_| picks.of(&self.lengths));
        Type::new(dtype, dims.collect())
    }

    /// One element as the regime has them.
    pub(super) fn literal(&mut self, dtype: DType, picks: &mut Picks<'_>) -> Literal {
        let choice = picks.byte();
        match (self.case.regime, dtype.is_float()) {
            (Regime::Wild, _) => wild(dtype, u64::from(choice), self.random.bits()),
            (Regime::Reals, true) => Literal::from_f64(dtype, f64::from(choice) / 64.0 - 1.875),
            (Regime::Integers | Regime::Reals, _) => {
                Literal::from_i64(dtype, i64::from(choice % 8) - 3 + 4 * i64::from(choice / 250))
            }
        }
    }

    /// Elements as the regime has them, with their range.
    pub(super) fn array(
        &mut self,
        dtype: DType,
        elements: usize,
        picks: &mut Picks<'_>,
    ) -> (Dense, Range) {
        let kind = picks.below(4);
        let random = &mut self.random;
        let mut draw = |_| match (self.case.regime, dtype) {
            (Regime::Wild, _) => wild(dtype, random.bits(), random.bits()),
            (Regime::Reals, DType::F32 | DType::F64) => match kind {
                0 | 1 => Literal::from_f64(dtype, 4.0 * random.unit() - 2.0),
                2 => Literal::from_f64(dtype, 0.5 + 2.0 * random.unit()),
                _ => Literal::from_f64(dtype, 20.0 * random.unit() - 10.0),
            },
            // Integers wrap, so any of them is exact.
            (_, DType::I32 | DType::I64 | DType::U8) if kind == 3 => {
                wild(dtype, random.bits(), random.bits())
            }
            (_, DType::Bool | DType::U8) => Literal::from_i64(dtype, random.below(6) as i64 / 3),
            (_, DType::F32 | DType::F64 | DType::I32 | DType::I64) => {
                Literal::from_i64(dtype, random.below(9) as i64 - 4)
            }
        };
        let dense = Dense::new(dtype, (0..elements).map(&mut draw));
        let dense = dense.expect("elements of the dtype");
        let range = range_of(&dense);
        (dense, range)
    }
}

/// The dtypes that arithmetic is on.
pub(super) const NUMBERS: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8];

/// Any element: an edge of the dtype, a small number, or random bits.
fn wild(dtype: DType, choice: u64, bits: u64) -> Literal {
    const EDGES: [f64; 14] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        -5e-324,
        1e-45,
        0.5,
        -2.5,
        1e30,
    ];
    match choice % 4 {
        0 if dtype.is_float() => Literal::from_f64(dtype, EDGES[bits as usize % EDGES.len()]),
        0 => Literal::from_bits(
            dtype,
            [0, 1, u64::MAX, 1 << 63, 1 << 31, 0x7fff_ffff][bits as usize % 6],
        ),
        1 | 2 => Literal::from_f64(dtype, (bits % 33) as f64 / 4.0 - 4.0),
        _ => Literal::from_bits(dtype, bits),
    }
}

/// The range of stated elements; everything where one is not a number.
fn range_of(dense: &Dense) -> Range {
    let numbers = dense.iter().map(Literal::to_f64);
    let range = numbers.map(Range::point).reduce(Range::union);
    let range = range.unwrap_or(Range::point(0.0));
    let nan = dense.iter().any(|element| element.to_f64().is_nan());
    if nan { Range::all(dense.dtype()) } else { range }
}
