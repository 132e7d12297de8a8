//! How elements are combined: one accumulator, and accumulators with each other.
//!
//! An accumulator is one register, scalar or vector; of `argmax` and `argmin` two, the extreme and
//! its index. Combining is associative and commutative save for rounding, so the loops are free to
//! keep several accumulators; the order in which they are combined is fixed by the shape.

use kilngrad_ir::DType;
use kilngrad_ir::op::{ArgReduceOp, ReduceOp};
use kilngrad_loops::math::Arithmetic;
use kilngrad_loops::{Affine, CompareInst, MaskInst, Reg, RegType, Scalar};
use smallvec::SmallVec;

use crate::code::Code;
use crate::lanes::{Lanes, memory_scalar};
use crate::math;

/// What a reduction does with its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Combine {
    /// `reduce_*`.
    Fold(ReduceOp),
    /// `argmax`, `argmin`: the index is of this type.
    Extreme(ArgReduceOp, Scalar),
}

/// The registers of one accumulator: the value, and the index if there is one.
pub(crate) type Parts = SmallVec<[Reg; 2]>;

impl Combine {
    /// The scalars of an accumulator's registers, for elements of `dtype`.
    pub(crate) fn scalars(self, dtype: DType) -> SmallVec<[Scalar; 2]> {
        let value = memory_scalar(dtype);
        match self {
            Combine::Fold(_) => SmallVec::from_slice(&[value]),
            Combine::Extreme(_, index) => SmallVec::from_slice(&[value, index]),
        }
    }

    /// What an accumulator holds before the first element, as bits. An extreme that no element
    /// beats has index 0, which is right: then all elements equal it.
    pub(crate) fn identity(self, dtype: DType) -> SmallVec<[u64; 2]> {
        match self {
            Combine::Fold(ReduceOp::Sum) => SmallVec::from_slice(&[0]),
            Combine::Fold(ReduceOp::Prod) => {
                SmallVec::from_slice(&[kilngrad_ir::Literal::from_i64(dtype, 1).bits()])
            }
            Combine::Fold(ReduceOp::Max) => SmallVec::from_slice(&[lowest(dtype)]),
            Combine::Fold(ReduceOp::Min) => SmallVec::from_slice(&[highest(dtype)]),
            Combine::Extreme(ArgReduceOp::Max, _) => SmallVec::from_slice(&[lowest(dtype), 0]),
            Combine::Extreme(ArgReduceOp::Min, _) => SmallVec::from_slice(&[highest(dtype), 0]),
        }
    }
}

fn lowest(dtype: DType) -> u64 {
    match dtype {
        DType::F32 => u64::from(f32::NEG_INFINITY.to_bits()),
        DType::F64 => f64::NEG_INFINITY.to_bits(),
        DType::I32 => u64::from(i32::MIN as u32),
        DType::I64 => i64::MIN as u64,
        DType::U8 | DType::Bool => 0,
    }
}

fn highest(dtype: DType) -> u64 {
    match dtype {
        DType::F32 => u64::from(f32::INFINITY.to_bits()),
        DType::F64 => f64::INFINITY.to_bits(),
        DType::I32 => i32::MAX as u64,
        DType::I64 => i64::MAX as u64,
        DType::U8 => u64::from(u8::MAX),
        DType::Bool => 1,
    }
}

impl Code<'_> {
    /// An accumulator before the first element; of vectors where the body has lanes.
    pub(crate) fn identity(&mut self, combine: Combine, dtype: DType) -> Parts {
        let (scalars, bits) = (combine.scalars(dtype), combine.identity(dtype));
        let vector = self.target.lanes > 1;
        scalars
            .iter()
            .zip(bits)
            .map(|(&scalar, bits)| {
                let ty = if vector { RegType::vector(scalar) } else { RegType::scalar(scalar) };
                self.b.constant(ty, bits)
            })
            .collect()
    }

    /// The accumulator with one more element. Indices must come in ascending order.
    pub(crate) fn accumulate(
        &mut self,
        combine: Combine,
        acc: &[Reg],
        x: Reg,
        index: Option<Reg>,
    ) -> Parts {
        match combine {
            Combine::Fold(op) => SmallVec::from_slice(&[self.fold(op, acc[0], x)]),
            Combine::Extreme(op, _) => {
                let index = index.expect("an extreme is accumulated with its index");
                let beats = self.compare(beats(op), x, acc[0]);
                let beats = if self.scalar(x).is_float() {
                    // The first NaN beats whatever is not NaN.
                    let nan = self.is_nan(x);
                    let number = self.compare(CompareInst::Eq, acc[0], acc[0]);
                    let first_nan = self.mask(MaskInst::And, nan, number);
                    self.mask(MaskInst::Or, beats, first_nan)
                } else {
                    beats
                };
                SmallVec::from_slice(&[
                    self.select(beats, x, acc[0]),
                    self.select(beats, index, acc[1]),
                ])
            }
        }
    }

    /// Two accumulators as one.
    pub(crate) fn merge(&mut self, combine: Combine, a: &[Reg], b: &[Reg]) -> Parts {
        match combine {
            Combine::Fold(op) => SmallVec::from_slice(&[self.fold(op, a[0], b[0])]),
            Combine::Extreme(op, _) => {
                let better = self.compare(beats(op), b[0], a[0]);
                let mut equal = self.compare(CompareInst::Eq, b[0], a[0]);
                let mut take = better;
                if self.scalar(a[0]).is_float() {
                    let (a_nan, b_nan) = (self.is_nan(a[0]), self.is_nan(b[0]));
                    let both = self.mask(MaskInst::And, a_nan, b_nan);
                    equal = self.mask(MaskInst::Or, equal, both);
                    let a_number = self.mask_not(a_nan);
                    let only_b = self.mask(MaskInst::And, b_nan, a_number);
                    take = self.mask(MaskInst::Or, take, only_b);
                }
                let earlier = self.compare(CompareInst::Lt, b[1], a[1]);
                let tie = self.mask(MaskInst::And, equal, earlier);
                let take = self.mask(MaskInst::Or, take, tie);
                SmallVec::from_slice(&[
                    self.select(take, b[0], a[0]),
                    self.select(take, b[1], a[1]),
                ])
            }
        }
    }

    fn fold(&mut self, op: ReduceOp, acc: Reg, x: Reg) -> Reg {
        match op {
            ReduceOp::Sum => self.add(acc, x),
            ReduceOp::Prod => self.mul(acc, x),
            // An accumulator that is NaN stays, since no comparison with it holds.
            ReduceOp::Max => math::max(self, x, acc),
            ReduceOp::Min => math::min(self, x, acc),
        }
    }

    /// Accumulators as one, by pairs of neighbours.
    pub(crate) fn merge_all(&mut self, combine: Combine, mut accs: Vec<Parts>) -> Parts {
        while accs.len() > 1 {
            let merged = accs.chunks(2).map(|pair| match pair {
                [a, b] => self.merge(combine, a, b),
                other => other[0].clone(),
            });
            accs = merged.collect();
        }
        accs.pop().expect("there is at least one accumulator")
    }

    /// The accumulator of each lane of a vector accumulator.
    pub(crate) fn split_lanes(&mut self, acc: &[Reg]) -> Vec<Parts> {
        let lanes = usize::from(self.ty(acc[0]).lanes());
        (0..lanes).map(|lane| acc.iter().map(|reg| self.lane(*reg, lane)).collect()).collect()
    }

    /// The indices of each register of a packed element.
    pub(crate) fn index_parts(&mut self, scalar: Scalar, at: &Affine) -> SmallVec<[Reg; 2]> {
        let dtype = if scalar == Scalar::I32 { DType::I32 } else { DType::I64 };
        let index = self.index(scalar, at);
        self.elements(dtype, &index)
    }

    /// The registers of an element of a reduction: vectors where the body has lanes.
    pub(crate) fn elements(&mut self, dtype: DType, value: &Lanes) -> SmallVec<[Reg; 2]> {
        match (self.target.lanes, value) {
            (1, value) => SmallVec::from_slice(&value.regs()[..1]),
            (_, value) => self.packed(dtype, value),
        }
    }
}

fn beats(op: ArgReduceOp) -> CompareInst {
    match op {
        ArgReduceOp::Max => CompareInst::Gt,
        ArgReduceOp::Min => CompareInst::Lt,
    }
}
