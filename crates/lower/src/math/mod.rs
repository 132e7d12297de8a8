//! Functions that are an instruction or a few, and what is done lane by lane.
//!
//! The elementary functions are in [`kilngrad_loops::math`]; these are no longer than a comparison
//! and a choice, or need what vectors have not.

mod rem;
#[cfg(test)]
mod tests;

use kilngrad_loops::math::{Arithmetic, Compound};
use kilngrad_loops::{BinaryInst, CompareInst, Reg, Scalar, UnaryInst};

use crate::code::Code;

pub(crate) use rem::rem;

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

/// An integer of 53 bits without sign as `f64`, from its words: 2⁸⁴ + 2³²·high and 2⁵² + low.
pub(crate) fn u53_to_f64(code: &mut Code<'_>, value: Reg) -> Reg {
    let low_half = code.int_like(value, 0xffff_ffff);
    let low = code.binary(BinaryInst::And, value, low_half);
    let low = code.index_to_f64(low);
    let high = code.shift(BinaryInst::ShrU, value, 32);
    let two_84 = code.bits_like(high, 0x4530_0000_0000_0000);
    let high = code.binary(BinaryInst::Or, high, two_84);
    let high = code.bitcast(Scalar::F64, high);
    let high = code.offset(high, -19_342_813_113_834_066_795_298_816.0);
    code.add(high, low)
}
