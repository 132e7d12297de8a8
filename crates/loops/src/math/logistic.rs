//! The logistic function and the hyperbolic tangent.
//!
//! Of a magnitude `a = n·ln 2 + r` both need `eᵃ = 2ⁿ·(1 + s)` with `s = eʳ − 1`, and both are quotients
//! in which a factor `2ⁿ` cancels, so that nothing overflows and `eᵃ` itself is never rounded:
//!
//! ```text
//! 1/(1 + eᵃ) = 2⁻ⁿ/((1 + 2⁻ⁿ) + s)        tanh(a/2) = ((1 − 2⁻ⁿ) + s)/((1 + 2⁻ⁿ) + s)
//! ```
//!
//! What the sums round away is known exactly (Dekker's sum) and put into the quotient with the
//! quotient's own remainder. So one rounding is left, and those of `r` and of `s`'s polynomial.

use super::arithmetic::Arithmetic;
use super::compound::{Compound, format};
use super::double::{Double, DoubleArithmetic};
use super::exp::{Reduced, power_factors, reduce};
use crate::kernel::{BinaryInst, CompareInst};

/// `1/(1 + e⁻ˣ)`.
#[inline(always)]
pub(super) fn sigmoid<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    // Beyond these the result is 0 or 1.
    let most = if code.is_f32(x) { 104.0 } else { 746.0 };
    let magnitude = magnitude(code, x, most);
    let Reduced { exponent, tail, rest } = reduce(code, magnitude, None);
    let zero = code.int_like(exponent, 0);
    let exponent = code.sub(zero, exponent);
    let (first, second) = power_factors(code, x, exponent);
    let power = code.mul(first, second);
    let one = code.float_like(x, 1.0);
    let whole = code.fast_two_sum(one, power);
    let grown = code.add(tail, rest);
    let sum = code.fast_two_sum(whole.0, grown);
    let divisor = Double(sum.0, code.add(sum.1, whole.1));
    let one_exactly = Double(one, code.float_like(x, 0.0));
    let below = quotient(code, one_exactly, divisor);
    // In two steps, so that a subnormal result is rounded once.
    let below = code.mul(below, first);
    let below = code.mul(below, second);
    let above = code.sub(one, below);
    let negative = code.test(CompareInst::Lt, x, 0.0);
    code.select(negative, below, above)
}

/// `tanh x`.
#[inline(always)]
pub(super) fn tanh<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let twice = code.add(x, x);
    // Beyond these the result is ±1.
    let most = if code.is_f32(x) { 20.0 } else { 40.0 };
    let twice = magnitude(code, twice, most);
    let Reduced { exponent, tail, rest } = reduce(code, twice, None);
    let scalar = code.scalar(x);
    let bias = code.int_like(exponent, format(code, x).bias);
    let exponent = code.sub(bias, exponent);
    let power = code.power_of_two(scalar, exponent);
    let one = code.float_like(x, 1.0);
    let grown = code.fast_two_sum(rest, tail);
    // The part of 2⁻ⁿ that changes 1 by addition changes it exactly by subtraction.
    let more = code.add(one, power);
    let part = code.sub(more, one);
    let small = code.sub(power, part);
    let less = code.sub(one, part);
    let numerator = code.fast_two_sum(less, grown.0);
    let divisor = code.fast_two_sum(more, grown.0);
    let below = code.sub(grown.1, small);
    let above = code.add(grown.1, small);
    let numerator = Double(numerator.0, code.add(numerator.1, below));
    let divisor = Double(divisor.0, code.add(divisor.1, above));
    let result = quotient(code, numerator, divisor);
    code.with_sign(result, x)
}

/// `|x|`, but at most `most`; NaN stays.
#[inline(always)]
fn magnitude<A: Arithmetic>(code: &mut A, x: A::Reg, most: f64) -> A::Reg {
    let magnitude = code.abs(x);
    let most = code.float_like(x, most);
    code.binary(BinaryInst::MinSelect, most, magnitude)
}

/// `x/y`: a quotient, and its remainder times the divisor's reciprocal.
#[inline(always)]
fn quotient<A: Arithmetic>(code: &mut A, x: Double<A::Reg>, y: Double<A::Reg>) -> A::Reg {
    let one = code.float_like(x.0, 1.0);
    let reciprocal = code.div(one, y.0);
    let quotient = code.mul(x.0, reciprocal);
    if code.has_fma() {
        let minus = code.neg(quotient);
        let remainder = code.mul_add(minus, y.0, x.0);
        let lost = code.mul_add(minus, y.1, x.1);
        let remainder = code.add(remainder, lost);
        return code.mul_add(remainder, reciprocal, quotient);
    }
    // Without its lower half the quotient's products with the divisor's halves are exact, and so
    // is what they leave of the numerator.
    let (quotient, _) = code.halves(quotient);
    let (high, rest) = code.halves(y.0);
    let (high, rest) = (code.mul(quotient, high), code.mul(quotient, rest));
    let remainder = code.sub(x.0, high);
    let remainder = code.sub(remainder, rest);
    let low = code.mul(quotient, y.1);
    let lost = code.sub(x.1, low);
    let remainder = code.add(remainder, lost);
    code.mul_add(remainder, reciprocal, quotient)
}
