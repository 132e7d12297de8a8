//! Elementary functions as straight-line code on one register, scalar or vector.
//!
//! One file a family of functions; each names its source. Results are within 2 ULP for `f32` and 3
//! ULP for `f64` of the exact value, with and without fused multiply-add, over the whole range:
//! subnormals are results and operands like any other, overflow and underflow happen where the
//! exact value's do, and angles may be of any size. docs/accuracy.md has each function's largest
//! error. Signs of zeros, infinities and NaNs are as the rows of [`kilngrad_ir::op`] state. There
//! is no table, no branch and no call.
//!
//! Two habits recur. Operands are clamped by `MinSelect(bound, x)`, which keeps NaN, so that
//! exponents stay in range. And `x + magic`, with 1.5 times the power of two whose last place is
//! 1, rounds `x` to a whole number that is then in the low bits: cheaper than a conversion, which
//! vectors of `f64` do not have.

#![expect(
    clippy::excessive_precision,
    reason = "coefficients are written as their sources print them"
)]

mod arc;
mod double;
mod erf;
mod exp;
mod hyperbolic;
mod log;
mod logistic;
mod pow;
mod quadrant;
mod rem;
#[cfg(test)]
mod tests;
mod trigonometric;
mod wide;

use kilngrad_loops::{BinaryInst, CompareInst, MaskInst, Reg, Scalar, UnaryInst};

use crate::code::Code;

pub(crate) use arc::{acos, asin, atan, atan2};
pub(crate) use erf::{erf, erfc};
pub(crate) use exp::{exp, exp2, expm1};
pub(crate) use hyperbolic::{acosh, asinh, atanh, cosh, sinh};
pub(crate) use log::{log, log1p, log2};
pub(crate) use logistic::{sigmoid, tanh};
pub(crate) use pow::pow;
pub(crate) use rem::rem;
pub(crate) use trigonometric::{cos, sin, tan};

/// Facts of a float format.
#[derive(Debug, Clone, Copy)]
struct Format {
    /// The integer of its width.
    integer: Scalar,
    /// Bits of the mantissa that are stored.
    mantissa: u32,
    /// Bias of the exponent.
    bias: i64,
    /// 1.5 times the power of two whose last place is 1.
    magic: f64,
    /// Bits of the magic number.
    magic_bits: i64,
}

impl Format {
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
            Scalar::I32 | Scalar::I64 | Scalar::U8 => {
                panic!("expected a float, found {scalar}")
            }
        }
    }
}

impl Code<'_> {
    fn format(&self, x: Reg) -> Format {
        Format::of(self.scalar(x))
    }

    /// Whether `x` holds lanes of `f32`; else of `f64`.
    fn is_f32(&self, x: Reg) -> bool {
        self.scalar(x) == Scalar::F32
    }

    /// The bits of a float as an integer.
    fn bits(&mut self, x: Reg) -> Reg {
        let integer = self.format(x).integer;
        self.bitcast(integer, x)
    }

    /// `Σ coefficients[i]·xⁿ⁻ⁱ`, highest power first, by Horner's rule.
    fn polynomial(&mut self, x: Reg, coefficients: &[f64]) -> Reg {
        let mut sum = self.float_like(x, coefficients[0]);
        for &coefficient in &coefficients[1..] {
            let coefficient = self.float_like(x, coefficient);
            sum = self.mul_add(sum, x, coefficient);
        }
        sum
    }

    /// `x` times a constant.
    fn scale(&mut self, x: Reg, factor: f64) -> Reg {
        let factor = self.float_like(x, factor);
        self.mul(x, factor)
    }

    /// `x` plus a constant.
    fn offset(&mut self, x: Reg, term: f64) -> Reg {
        let term = self.float_like(x, term);
        self.add(x, term)
    }

    /// `x`, but at least `low` and at most `high`; NaN stays.
    fn clamp(&mut self, x: Reg, low: f64, high: f64) -> Reg {
        let (low, high) = (self.float_like(x, low), self.float_like(x, high));
        let x = self.binary(BinaryInst::MaxSelect, low, x);
        self.binary(BinaryInst::MinSelect, high, x)
    }

    /// Whether `x` compares so with a constant.
    fn test(&mut self, op: CompareInst, x: Reg, number: f64) -> Reg {
        let number = self.float_like(x, number);
        self.compare(op, x, number)
    }

    /// The magnitude of `x`, which is not negative, with the sign of `sign`.
    fn with_sign(&mut self, x: Reg, sign: Reg) -> Reg {
        let scalar = self.scalar(x);
        let format = Format::of(scalar);
        let (bits, sign) = (self.bits(x), self.bits(sign));
        let top = self.bits_like(bits, 1 << (8 * format.integer.size() - 1));
        let sign = self.binary(BinaryInst::And, sign, top);
        let joined = self.binary(BinaryInst::Or, bits, sign);
        self.bitcast(scalar, joined)
    }

    /// The power of two whose biased exponent is the integer `exponent`.
    fn power_of_two(&mut self, scalar: Scalar, exponent: Reg) -> Reg {
        let bits = self.shift(BinaryInst::Shl, exponent, Format::of(scalar).mantissa);
        self.bitcast(scalar, bits)
    }
}

/// −1, 0 or 1; of floats, ±0 and NaN as they are.
pub(crate) fn sign(code: &mut Code<'_>, x: Reg) -> Reg {
    let scalar = code.scalar(x);
    if scalar.is_float() {
        let one = code.float_like(x, 1.0);
        let one = code.with_sign(one, x);
        let magnitude = code.abs(x);
        let nonzero = code.test(CompareInst::Gt, magnitude, 0.0);
        return code.select(nonzero, one, x);
    }
    let one = code.int_like(x, 1);
    let x = code.binary(BinaryInst::MinSelect, x, one);
    if scalar == Scalar::U8 {
        return x;
    }
    let minus_one = code.int_like(x, -1);
    code.binary(BinaryInst::MaxSelect, x, minus_one)
}

/// `x` where `x > 0` or `x` is NaN, else +0.
pub(crate) fn relu(code: &mut Code<'_>, x: Reg) -> Reg {
    let zero = code.bits_like(x, 0);
    let x = code.binary(BinaryInst::MaxSelect, zero, x);
    // 0 > −0 is false, so −0 comes through; a sum turns it into +0.
    if code.scalar(x).is_float() { code.add(x, zero) } else { x }
}

/// `1/√x`, of two operations that round correctly.
pub(crate) fn rsqrt(code: &mut Code<'_>, x: Reg) -> Reg {
    let root = code.unary(UnaryInst::Sqrt, x);
    let one = code.float_like(x, 1.0);
    code.div(one, root)
}

/// The larger; NaN if either is, `y` where they are equal.
pub(crate) fn max(code: &mut Code<'_>, x: Reg, y: Reg) -> Reg {
    let larger = code.binary(BinaryInst::MaxSelect, x, y);
    keep_nan(code, x, larger)
}

/// The smaller; NaN if either is, `y` where they are equal.
pub(crate) fn min(code: &mut Code<'_>, x: Reg, y: Reg) -> Reg {
    let smaller = code.binary(BinaryInst::MinSelect, x, y);
    keep_nan(code, x, smaller)
}

/// `x` where it is NaN, else `otherwise`.
fn keep_nan(code: &mut Code<'_>, x: Reg, otherwise: Reg) -> Reg {
    if !code.scalar(x).is_float() {
        return otherwise;
    }
    let nan = code.is_nan(x);
    code.select(nan, x, otherwise)
}

/// An index, below 2⁵², as `f64`: it is put into the mantissa of 2⁵².
pub(crate) fn index_to_f64(code: &mut Code<'_>, index: Reg) -> Reg {
    let two_52 = code.bits_like(index, 0x4330_0000_0000_0000);
    let bits = code.binary(BinaryInst::Or, index, two_52);
    let sum = code.bitcast(Scalar::F64, bits);
    code.offset(sum, -4_503_599_627_370_496.0)
}

/// An integer of 53 bits without sign as `f64`, from its words: 2⁸⁴ + 2³²·high and 2⁵² + low.
pub(crate) fn u53_to_f64(code: &mut Code<'_>, value: Reg) -> Reg {
    let low_half = code.int_like(value, 0xffff_ffff);
    let low = code.binary(BinaryInst::And, value, low_half);
    let low = index_to_f64(code, low);
    let high = code.shift(BinaryInst::ShrU, value, 32);
    let two_84 = code.bits_like(high, 0x4530_0000_0000_0000);
    let high = code.binary(BinaryInst::Or, high, two_84);
    let high = code.bitcast(Scalar::F64, high);
    let high = code.offset(high, -19_342_813_113_834_066_795_298_816.0);
    code.add(high, low)
}

/// Sets NaN or an infinity where an operand is outside a function's domain.
fn replace(code: &mut Code<'_>, condition: Reg, with: f64, otherwise: Reg) -> Reg {
    let special = code.float_like(otherwise, with);
    code.select(condition, special, otherwise)
}

/// Both masks.
fn both(code: &mut Code<'_>, x: Reg, y: Reg) -> Reg {
    code.mask(MaskInst::And, x, y)
}
