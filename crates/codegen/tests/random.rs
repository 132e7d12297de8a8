//! Kernels drawn at random: native code and the loop evaluator must leave the same bits.
//!
//! A drawn kernel nests loops, carries values, uses every instruction at every type, and addresses
//! its buffers by whatever expressions stay in range. What it writes it divides by chunk, as the
//! verifier asks.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Random, bytes_of_bits, check, check_with, feature_sets, program_of, special_values};
use kilngrad_loops::{
    Access, Affine, BinaryInst, Buffer, CompareInst, Kernel, KernelBuilder, LoopVar, MaskInst,
    Memory, Reg, RegType, Scalar, UnaryInst,
};

const KERNELS: u64 = 400;
/// Elements of each input.
const LEN: usize = 600;
/// Elements of an output that belong to a chunk.
const SHARE: usize = 64;

const SCALARS: [Scalar; 5] = [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64, Scalar::U8];

struct Generator {
    random: Random,
    b: KernelBuilder,
    inputs: Vec<(Scalar, Buffer)>,
    outputs: Vec<(Scalar, Buffer)>,
    scratch: Vec<(Scalar, Buffer)>,
    /// Loops around the point of writing, and their extents; the chunk is the first.
    vars: Vec<(LoopVar, usize)>,
    /// Whether products may be fused with sums, which the least processor cannot.
    fma: bool,
    /// Registers in scope.
    registers: Vec<(RegType, Reg)>,
}

#[test]
fn drawn_kernels() {
    for seed in 0..KERNELS {
        let [detected, _] = feature_sets();
        let fma = seed % 2 == 0 && detected.fma;
        let kernel = Generator::new(seed, fma).kernel();
        let program = program_of(kernel);
        let mut random = Random(!seed);
        let mut memory = Memory::zeroed(&program);
        for (buffer, bytes) in program.buffers.iter().zip(&mut memory.externals) {
            let special = special_values(buffer.scalar);
            let bits: Vec<u64> = (0..buffer.len).map(|_| random.pick(&special)).collect();
            *bytes = bytes_of_bits(buffer.scalar, &bits);
        }
        if fma {
            check_with(&program, &memory, detected);
        } else {
            check(&program, &memory);
        }
    }
}

impl Generator {
    fn new(seed: u64, fma: bool) -> Generator {
        let mut random = Random(seed);
        let chunks = 1 + random.below(3);
        let mut b = KernelBuilder::new(format!("drawn {seed}"), chunks);
        let inputs = SCALARS.map(|x| (x, b.buffer("x", x, LEN, Access::Read))).to_vec();
        let outputs =
            SCALARS.map(|x| (x, b.buffer("y", x, SHARE * chunks, Access::ReadWrite))).to_vec();
        let scratch = SCALARS.map(|x| (x, b.buffer("s", x, SHARE, Access::Scratch))).to_vec();
        let vars = vec![(Kernel::CHUNK, chunks)];
        Generator { random, b, inputs, outputs, scratch, vars, fma, registers: Vec::new() }
    }

    fn kernel(mut self) -> Kernel {
        self.fill_scratch();
        self.body(2 + self.random.0 as usize % 2);
        self.b.finish()
    }

    /// Scratch holds nothing on entry, so all of it is written first.
    fn fill_scratch(&mut self) {
        for (scalar, buffer) in self.scratch.clone() {
            let bits = self.random.pick(&special_values(scalar));
            let value = self.b.constant(RegType::scalar(scalar), bits);
            self.b.for_(SHARE, |b, i| b.store(buffer, Affine::var(i), value));
        }
    }

    fn body(&mut self, depth: usize) {
        let known = self.registers.len();
        for _ in 0..3 + self.random.below(10) {
            match self.random.below(8) {
                0 if depth > 0 => self.for_loop(depth - 1),
                0 | 1 => self.store(),
                _ => {
                    let ty = self.any_type();
                    let reg = self.compute(ty);
                    self.registers.push((ty, reg));
                }
            }
        }
        self.store();
        self.registers.truncate(known);
    }

    fn for_loop(&mut self, depth: usize) {
        let extent = self.random.pick(&[0, 1, 2, 3, 5, 7]);
        let types: Vec<RegType> = (0..self.random.below(4)).map(|_| self.any_type()).collect();
        let init: Vec<Reg> = types.iter().map(|&ty| self.operand(ty)).collect();
        // The builder lends itself to the closure, which needs the generator too.
        let mut outer = std::mem::replace(&mut self.b, KernelBuilder::new("", 1));
        let results = outer.for_carry(extent, &init, |b, var, params| {
            std::mem::swap(&mut self.b, b);
            let known = self.registers.len();
            self.vars.push((var, extent.max(1)));
            self.registers.extend(types.iter().copied().zip(params.iter().copied()));
            self.body(depth);
            // Any register of the type: one of the body, a parameter or one from outside.
            let next = types.iter().map(|&ty| self.operand(ty)).collect();
            self.vars.pop();
            self.registers.truncate(known);
            std::mem::swap(&mut self.b, b);
            next
        });
        self.b = outer;
        self.registers.extend(types.into_iter().zip(results));
    }

    fn store(&mut self) {
        let from = self.random.below(3) > 0;
        let buffers = if from { self.outputs.clone() } else { self.scratch.clone() };
        let (scalar, buffer) = self.random.pick(&buffers);
        let lanes = self.lanes(scalar);
        let value = self.operand(RegType::Number { scalar, lanes });
        let at = self.share(lanes, from);
        self.b.store(buffer, at, value);
    }

    /// An expression over some of the loops' variables with values from 0 to below `len`.
    fn expression(&mut self, len: usize, first: usize) -> Affine {
        let (mut at, mut low, mut high) = (Affine::constant(0), 0i64, 0i64);
        for position in first..self.vars.len() {
            let (var, extent) = self.vars[position];
            let room = (len as i64 - 1 - (high - low)) / (extent as i64 - 1).max(1);
            let coefficient: i64 = self.random.pick(&[0, 0, 1, 1, 2, 4, -1, -3, 8, 16, -4, 29]);
            if coefficient != 0 && coefficient.abs() <= room {
                at = at.plus(var, coefficient);
                let reach = coefficient * (extent as i64 - 1);
                low += reach.min(0);
                high += reach.max(0);
            }
        }
        let slack = len as i64 - (high - low);
        at.offset(self.random.below(slack as usize) as i64 - low)
    }

    /// Elements of scratch, or of an output those that belong to the chunk.
    fn share(&mut self, lanes: u8, output: bool) -> Affine {
        let at = self.expression(SHARE + 1 - usize::from(lanes), 1);
        if output && self.vars[0].1 > 1 { at.plus(Kernel::CHUNK, SHARE as i64) } else { at }
    }

    fn load(&mut self, scalar: Scalar, lanes: u8) -> Reg {
        let of = |buffers: &[(Scalar, Buffer)]| {
            buffers.iter().find(|buffer| buffer.0 == scalar).unwrap().1
        };
        match self.random.below(4) {
            0 => {
                let at = self.share(lanes, true);
                self.b.load(of(&self.outputs), at, lanes)
            }
            1 => {
                let at = self.share(lanes, false);
                self.b.load(of(&self.scratch), at, lanes)
            }
            _ => {
                let at = self.expression(LEN + 1 - usize::from(lanes), 0);
                self.b.load(of(&self.inputs), at, lanes)
            }
        }
    }

    fn lanes(&mut self, scalar: Scalar) -> u8 {
        let vector = RegType::vector(scalar).lanes();
        if scalar == Scalar::U8 { 1 } else { self.random.pick(&[1, vector]) }
    }

    fn any_type(&mut self) -> RegType {
        let scalar = self.random.pick(&SCALARS);
        let number = RegType::Number { scalar, lanes: self.lanes(scalar) };
        if self.random.below(5) == 0 { number.mask() } else { number }
    }

    /// A register of the type: one in scope if there is one, as a rule a late one.
    fn operand(&mut self, ty: RegType) -> Reg {
        let known: Vec<Reg> =
            self.registers.iter().filter(|reg| reg.0 == ty).map(|reg| reg.1).collect();
        if known.is_empty() || self.random.below(6) == 0 {
            return self.leaf(ty);
        }
        let late = if self.random.below(2) == 0 { known.len().saturating_sub(3) } else { 0 };
        self.random.pick(&known[late..])
    }

    fn leaf(&mut self, ty: RegType) -> Reg {
        match ty {
            RegType::Mask { .. } => {
                let bits = self.random.bits() & 1;
                self.b.constant(ty, bits)
            }
            RegType::Number { scalar, lanes } => match self.random.below(4) {
                0 => {
                    let bits = self.random.pick(&special_values(scalar));
                    self.b.constant(ty, bits)
                }
                1 if matches!(scalar, Scalar::I32 | Scalar::I64) => {
                    let at = self.expression(1 << 20, 0);
                    let step = if lanes == 1 { 0 } else { self.random.below(9) as i64 - 4 };
                    self.b.index(scalar, lanes, at, step)
                }
                _ => self.load(scalar, lanes),
            },
        }
    }

    fn compute(&mut self, ty: RegType) -> Reg {
        match ty {
            RegType::Mask { .. } => self.compute_mask(ty),
            RegType::Number { scalar, .. } if scalar.is_float() => self.compute_float(ty),
            RegType::Number { .. } => self.compute_integer(ty),
        }
    }

    fn compute_mask(&mut self, ty: RegType) -> Reg {
        match self.random.below(6) {
            3 => {
                let [mask, x, y] = [ty; 3].map(|ty| self.operand(ty));
                self.b.select(mask, x, y)
            }
            0 => {
                let op = self.random.pick(&[MaskInst::And, MaskInst::Or, MaskInst::Xor]);
                let (x, y) = (self.operand(ty), self.operand(ty));
                self.b.mask(op, x, y)
            }
            1 => {
                let x = self.operand(ty);
                self.b.mask_not(x)
            }
            2 if ty.lanes() > 1 => {
                let x = self.operand(RegType::Mask { bits: 8, lanes: 1 });
                self.b.splat(ty, x)
            }
            _ => {
                use CompareInst::{Eq, Ge, Gt, Le, Lt, Ne};
                let op = self.random.pick(&[Eq, Ge, Gt, Le, Lt, Ne]);
                let of: Vec<RegType> = SCALARS
                    .iter()
                    .flat_map(|&scalar| [RegType::scalar(scalar), RegType::vector(scalar)])
                    .filter(|number| number.mask() == ty && number.lanes() <= 4)
                    .collect();
                let of = self.random.pick(&of);
                let (x, y) = (self.operand(of), self.operand(of));
                self.b.compare(op, x, y)
            }
        }
    }

    fn compute_float(&mut self, ty: RegType) -> Reg {
        use BinaryInst::{Add, Div, MaxSelect, MinSelect, Mul, Sub};
        use UnaryInst::{Abs, Ceil, Floor, Nearest, Neg, Sqrt, Trunc};
        match self.random.below(6) {
            0 => {
                let op = self.random.pick(&[Abs, Ceil, Floor, Nearest, Neg, Sqrt, Trunc]);
                let x = self.operand(ty);
                self.b.unary(op, x)
            }
            3 if self.fma => {
                let [x, y, z] = [ty; 3].map(|ty| self.operand(ty));
                self.b.fma(x, y, z)
            }
            1 | 2 => {
                let op = self.random.pick(&[Add, Div, MaxSelect, MinSelect, Mul, Sub]);
                let (x, y) = (self.operand(ty), self.operand(ty));
                self.b.binary(op, x, y)
            }
            _ => self.reshape(ty),
        }
    }

    fn compute_integer(&mut self, ty: RegType) -> Reg {
        use BinaryInst::{
            Add, And, Div, MaxSelect, MinSelect, Mul, Or, Rem, Shl, ShrS, ShrU, Sub, Xor,
        };
        match self.random.below(6) {
            0 => {
                let abs =
                    if ty == RegType::scalar(Scalar::U8) { UnaryInst::Not } else { UnaryInst::Abs };
                let op = self.random.pick(&[abs, UnaryInst::Neg, UnaryInst::Not]);
                let x = self.operand(ty);
                self.b.unary(op, x)
            }
            1 | 2 => {
                let both = [Add, And, MaxSelect, MinSelect, Mul, Or, Sub, Xor];
                let op = self.random.pick(&both);
                let (x, y) = (self.operand(ty), self.operand(ty));
                self.b.binary(op, x, y)
            }
            3 if ty.lanes() == 1 => {
                let op = self.random.pick(&[Div, Rem, Shl, ShrS, ShrU]);
                let (x, y) = (self.operand(ty), self.operand(ty));
                self.b.binary(op, x, y)
            }
            3 => {
                let RegType::Number { scalar, .. } = ty else { unreachable!() };
                let op = self.random.pick(&[Shl, ShrS, ShrU]);
                let x = self.operand(ty);
                let amount = self.operand(RegType::scalar(scalar));
                let amount = self.b.splat(ty, amount);
                self.b.binary(op, x, amount)
            }
            _ => self.reshape(ty),
        }
    }

    /// What works on numbers of every type: select, splat, lane, conversion, bits.
    fn reshape(&mut self, ty: RegType) -> Reg {
        let RegType::Number { scalar, lanes } = ty else { unreachable!() };
        match self.random.below(4) {
            0 if lanes > 1 => {
                let x = self.operand(RegType::scalar(scalar));
                self.b.splat(ty, x)
            }
            0 if scalar != Scalar::U8 => {
                let vector = RegType::vector(scalar);
                let x = self.operand(vector);
                let lane = self.random.below(vector.lanes().into()) as u8;
                self.b.lane(x, lane)
            }
            1 if lanes == 1 => {
                let others: Vec<Scalar> =
                    SCALARS.into_iter().filter(|&other| other != scalar).collect();
                let from = self.random.pick(&others);
                let x = self.operand(RegType::scalar(from));
                self.b.convert(scalar, x)
            }
            1 if lanes == 4 => {
                let from = if scalar == Scalar::F32 { Scalar::I32 } else { Scalar::F32 };
                let x = self.operand(RegType::vector(from));
                self.b.convert(scalar, x)
            }
            // From integers only: the bits of a computed NaN are nobody's promise.
            2 if scalar.is_float() => {
                let from = if scalar == Scalar::F32 { Scalar::I32 } else { Scalar::I64 };
                let x = self.operand(RegType::Number { scalar: from, lanes });
                self.b.bitcast(ty, x)
            }
            _ => {
                let mask = self.operand(ty.mask());
                let (x, y) = (self.operand(ty), self.operand(ty));
                self.b.select(mask, x, y)
            }
        }
    }
}
