//! Steps that recur in elementary functions.

use super::arithmetic::Arithmetic;
use crate::kernel::{BinaryInst, CompareInst, MaskInst, Scalar};

/// Facts of a float format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// The integer of its width.
    pub(super) integer: Scalar,
    /// Bits of the mantissa that are stored.
    pub(super) mantissa: u32,
    /// Bias of the exponent.
    pub(super) bias: i64,
    /// 1.5 times the power of two whose last place is 1.
    pub(super) magic: f64,
    /// Bits of the magic number.
    pub(super) magic_bits: i64,
}

impl Format {
    #[inline(always)]
    fn of(scalar: Scalar) -> Format {
        match scalar {
            Scalar::F32 => Format {
                integer: Scalar::I32,
                mantissa: 23,
                bias: 127,
                magic: 12_582_912.0,
                magic_bits: 0x4b40_0000,
            },
            Scalar::F64 => Format {
                integer: Scalar::I64,
                mantissa: 52,
                bias: 1023,
                magic: 6_755_399_441_055_744.0,
                magic_bits: 0x4338_0000_0000_0000,
            },
            Scalar::I32 | Scalar::I64 | Scalar::U8 => unreachable!("functions are of floats"),
        }
    }
}

/// The format of a register of floats.
#[inline(always)]
pub(super) fn format<A: Arithmetic>(code: &A, x: A::Reg) -> Format {
    Format::of(code.scalar(x))
}

/// Several operations in one word.
pub trait Compound: Arithmetic {
    /// Whether `x` holds lanes of `f32`; else of `f64`.
    #[inline(always)]
    fn is_f32(&self, x: Self::Reg) -> bool {
        self.scalar(x) == Scalar::F32
    }

    /// The bits of a float as an integer.
    #[inline(always)]
    fn bits(&mut self, x: Self::Reg) -> Self::Reg {
        let integer = format(self, x).integer;
        self.bitcast(integer, x)
    }

    /// `Σ coefficients[i]·xⁿ⁻ⁱ`, highest power first, by Horner's rule.
    #[inline(always)]
    fn polynomial(&mut self, x: Self::Reg, coefficients: &[f64]) -> Self::Reg {
        let mut sum = self.float_like(x, coefficients[0]);
        for &coefficient in &coefficients[1..] {
            let coefficient = self.float_like(x, coefficient);
            sum = self.mul_add(sum, x, coefficient);
        }
        sum
    }

    /// `x` times a constant.
    #[inline(always)]
    fn scale(&mut self, x: Self::Reg, factor: f64) -> Self::Reg {
        let factor = self.float_like(x, factor);
        self.mul(x, factor)
    }

    /// `x` plus a constant.
    #[inline(always)]
    fn offset(&mut self, x: Self::Reg, term: f64) -> Self::Reg {
        let term = self.float_like(x, term);
        self.add(x, term)
    }

    /// `x`, but at least `low` and at most `high`; NaN stays.
    #[inline(always)]
    fn clamp(&mut self, x: Self::Reg, low: f64, high: f64) -> Self::Reg {
        let (low, high) = (self.float_like(x, low), self.float_like(x, high));
        let x = self.binary(BinaryInst::MaxSelect, low, x);
        self.binary(BinaryInst::MinSelect, high, x)
    }

    /// Whether `x` compares so with a constant.
    #[inline(always)]
    fn test(&mut self, op: CompareInst, x: Self::Reg, number: f64) -> Self::Mask {
        let number = self.float_like(x, number);
        self.compare(op, x, number)
    }

    /// Both masks.
    #[inline(always)]
    fn both(&mut self, x: Self::Mask, y: Self::Mask) -> Self::Mask {
        self.mask(MaskInst::And, x, y)
    }

    /// The number where the condition is set, such as NaN outside a function's domain.
    #[inline(always)]
    fn replace(&mut self, condition: Self::Mask, with: f64, otherwise: Self::Reg) -> Self::Reg {
        let special = self.float_like(otherwise, with);
        self.select(condition, special, otherwise)
    }

    /// The magnitude of `x`, which is not negative, with the sign of `sign`.
    #[inline(always)]
    fn with_sign(&mut self, x: Self::Reg, sign: Self::Reg) -> Self::Reg {
        let scalar = self.scalar(x);
        let size = scalar.size();
        let (bits, sign) = (self.bits(x), self.bits(sign));
        let top = self.bits_like(bits, 1 << (8 * size - 1));
        let sign = self.binary(BinaryInst::And, sign, top);
        let joined = self.binary(BinaryInst::Or, bits, sign);
        self.bitcast(scalar, joined)
    }

    /// The power of two whose biased exponent is the integer `exponent`.
    #[inline(always)]
    fn power_of_two(&mut self, scalar: Scalar, exponent: Self::Reg) -> Self::Reg {
        let bits = self.shift(BinaryInst::Shl, exponent, Format::of(scalar).mantissa);
        self.bitcast(scalar, bits)
    }

    /// An integer below 2⁵², in `i64`, as `f64`: it is put into the mantissa of 2⁵².
    #[inline(always)]
    fn index_to_f64(&mut self, index: Self::Reg) -> Self::Reg {
        let two_52 = self.bits_like(index, 0x4330_0000_0000_0000);
        let bits = self.binary(BinaryInst::Or, index, two_52);
        let sum = self.bitcast(Scalar::F64, bits);
        self.offset(sum, -4_503_599_627_370_496.0)
    }
}

impl<A: Arithmetic> Compound for A {}
