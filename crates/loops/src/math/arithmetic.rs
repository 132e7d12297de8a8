//! What an elementary function is computed with.

use crate::kernel::{BinaryInst, CompareInst, MaskInst, Scalar, UnaryInst};

/// Arithmetic on registers of any number of lanes, each operation as the instruction of the loop IR
/// of the same name.
///
/// A register holds numbers of one scalar type, floats or integers of their width; what has it
/// says which. A function over this trait is one algorithm with as many readings as there are
/// implementors: an implementor that does every operation as its instruction says gives the same
/// bits as every other with the same [`has_fma`](Arithmetic::has_fma).
pub trait Arithmetic: Sized {
    /// Lanes of numbers.
    type Reg: Copy;
    /// Lanes of truth values.
    type Mask: Copy;

    /// The scalar type of a register's lanes.
    fn scalar(&self, x: Self::Reg) -> Scalar;

    /// Whether [`mul_add`](Arithmetic::mul_add) rounds once.
    fn has_fma(&self) -> bool;

    /// The bit pattern in every lane of a register of the type of `like`.
    fn bits_like(&mut self, like: Self::Reg, bits: u64) -> Self::Reg;

    /// Lane by lane; see [`UnaryInst`] for what each means.
    fn unary(&mut self, op: UnaryInst, x: Self::Reg) -> Self::Reg;

    /// Lane by lane, on two registers of one type; see [`BinaryInst`] for what each means.
    fn binary(&mut self, op: BinaryInst, x: Self::Reg, y: Self::Reg) -> Self::Reg;

    /// `x·y + z`, rounded once where [`has_fma`](Arithmetic::has_fma) and twice elsewhere.
    fn mul_add(&mut self, x: Self::Reg, y: Self::Reg, z: Self::Reg) -> Self::Reg;

    /// Lane by lane, into a mask.
    fn compare(&mut self, op: CompareInst, x: Self::Reg, y: Self::Reg) -> Self::Mask;

    /// Lane by lane.
    fn mask(&mut self, op: MaskInst, x: Self::Mask, y: Self::Mask) -> Self::Mask;

    /// The opposite mask.
    fn mask_not(&mut self, mask: Self::Mask) -> Self::Mask;

    /// `then` where the mask is set, else `otherwise`.
    fn select(&mut self, mask: Self::Mask, then: Self::Reg, otherwise: Self::Reg) -> Self::Reg;

    /// The same bits as lanes of another scalar type of equal size.
    fn bitcast(&mut self, scalar: Scalar, x: Self::Reg) -> Self::Reg;

    /// Lanes of `i32` as the nearest `f32`.
    fn to_f32(&mut self, x: Self::Reg) -> Self::Reg;

    /// Lanes of `f32` as `f64`, in one register or in two of half as many lanes.
    fn widened(&mut self, x: Self::Reg) -> Widened<Self::Reg>;

    /// Lanes of `f64` as the nearest `f32`: the inverse of [`widened`](Arithmetic::widened).
    fn narrowed(&mut self, x: Widened<Self::Reg>) -> Self::Reg;

    /// `x + y`.
    #[inline(always)]
    fn add(&mut self, x: Self::Reg, y: Self::Reg) -> Self::Reg {
        self.binary(BinaryInst::Add, x, y)
    }

    /// `x − y`.
    #[inline(always)]
    fn sub(&mut self, x: Self::Reg, y: Self::Reg) -> Self::Reg {
        self.binary(BinaryInst::Sub, x, y)
    }

    /// `x·y`.
    #[inline(always)]
    fn mul(&mut self, x: Self::Reg, y: Self::Reg) -> Self::Reg {
        self.binary(BinaryInst::Mul, x, y)
    }

    /// `x/y`.
    #[inline(always)]
    fn div(&mut self, x: Self::Reg, y: Self::Reg) -> Self::Reg {
        self.binary(BinaryInst::Div, x, y)
    }

    /// `−x`.
    #[inline(always)]
    fn neg(&mut self, x: Self::Reg) -> Self::Reg {
        self.unary(UnaryInst::Neg, x)
    }

    /// `|x|`.
    #[inline(always)]
    fn abs(&mut self, x: Self::Reg) -> Self::Reg {
        self.unary(UnaryInst::Abs, x)
    }

    /// Whether `x` is NaN, lane by lane.
    #[inline(always)]
    fn is_nan(&mut self, x: Self::Reg) -> Self::Mask {
        self.compare(CompareInst::Ne, x, x)
    }

    /// Shift by a constant amount.
    #[inline(always)]
    fn shift(&mut self, op: BinaryInst, x: Self::Reg, amount: u32) -> Self::Reg {
        let amount = self.int_like(x, i64::from(amount));
        self.binary(op, x, amount)
    }

    /// The float nearest to `value` in every lane of a register of the type of `like`.
    #[inline(always)]
    fn float_like(&mut self, like: Self::Reg, value: f64) -> Self::Reg {
        let bits = match self.scalar(like) {
            Scalar::F32 => u64::from((value as f32).to_bits()),
            Scalar::F64 => value.to_bits(),
            Scalar::I32 | Scalar::I64 | Scalar::U8 => {
                unreachable!("a float in a register of integers")
            }
        };
        self.bits_like(like, bits)
    }

    /// The integer in every lane of a register of the type of `like`.
    #[inline(always)]
    fn int_like(&mut self, like: Self::Reg, value: i64) -> Self::Reg {
        let bits = match self.scalar(like) {
            Scalar::U8 => u64::from(value as u8),
            Scalar::I32 => u64::from(value as u32),
            Scalar::I64 => value as u64,
            Scalar::F32 | Scalar::F64 => unreachable!("an integer in a register of floats"),
        };
        self.bits_like(like, bits)
    }
}

/// Lanes of `f64`, as many as a register of `f32` has.
#[derive(Debug, Clone, Copy)]
pub struct Widened<R> {
    /// All of them, or the first half.
    pub low: R,
    /// The second half, where one register does not hold all.
    pub high: Option<R>,
}
