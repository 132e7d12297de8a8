//! `exp`, `exp2` and `expm1`.
//!
//! The operand is `n·ln 2 + r` with `|r| ≤ ½ ln 2`, and `eˣ = 2ⁿ·eʳ`. For `f32` the constants and
//! the polynomial are those of Cephes (Moshier, `expf.c`); for `f64` those of SLEEF (Shibata and
//! Petrogalli, "SLEEF: A Portable Vectorized Library of C Standard Mathematical Functions", IEEE
//! TPDS 2020; `xexp`). Multiplying by 2ⁿ in two steps rounds once, and so underflow is gradual.

use super::arithmetic::Arithmetic;
use super::compound::{Compound, format};
use crate::kernel::{BinaryInst, CompareInst};

/// What the reduction leaves.
pub(super) struct Reduced<R> {
    /// `n` as an integer.
    pub(super) exponent: R,
    /// `eʳ − 1 − r`, rounded.
    pub(super) tail: R,
    /// `r`.
    pub(super) rest: R,
}

/// `eˣ`.
#[inline(always)]
pub(super) fn exp<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    exp_of_sum(code, x, None)
}

/// `eˣ` where `more`, which is below the last place of `x`, belongs to `x`.
#[inline(always)]
pub(super) fn exp_of_sum<A: Arithmetic>(code: &mut A, x: A::Reg, more: Option<A::Reg>) -> A::Reg {
    // Beyond these the result is 0 or infinite, and n stays small enough to halve.
    let (low, high) = if code.is_f32(x) { (-104.0, 89.0) } else { (-746.0, 710.0) };
    let clamped = code.clamp(x, low, high);
    let Reduced { exponent, tail, rest } = reduce(code, clamped, more);
    let sum = code.add(tail, rest);
    let sum = code.offset(sum, 1.0);
    scale_by_power(code, sum, exponent)
}

/// `2ˣ`, as `2ⁿ·e^(r·ln 2)` with `x = n + r` and `|r| ≤ ½`: exact where `x` is whole.
#[inline(always)]
pub(super) fn exp2<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    // Beyond these the result is 0 or infinite.
    let (low, high) = if code.is_f32(x) { (-151.0, 129.0) } else { (-1076.0, 1025.0) };
    let clamped = code.clamp(x, low, high);
    let format = format(code, x);
    let rounded = code.offset(clamped, format.magic);
    let whole = code.offset(rounded, -format.magic);
    let rest = code.sub(clamped, whole);
    let rest = code.scale(rest, std::f64::consts::LN_2);
    let power = exp(code, rest);
    let bits = code.bits(rounded);
    let magic_bits = code.int_like(bits, format.magic_bits);
    let exponent = code.sub(bits, magic_bits);
    scale_by_power(code, power, exponent)
}

/// `eˣ − 1`: `2·(2ⁿ⁻¹(eʳ − 1) + (2ⁿ⁻¹ − ½))`, where the second term is exact unless it is far
/// larger than the rounding.
#[inline(always)]
pub(super) fn expm1<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let (low, high, tiny) =
        if code.is_f32(x) { (-20.0, 89.0, 2f64.powi(-26)) } else { (-42.0, 710.0, 2f64.powi(-55)) };
    let clamped = code.clamp(x, low, high);
    let Reduced { exponent, tail, rest } = reduce(code, clamped, None);
    let sum = code.add(tail, rest);
    let format = format(code, x);
    let half_exponent = code.int_like(exponent, format.bias - 1);
    let half_exponent = code.add(exponent, half_exponent);
    let scalar = code.scalar(x);
    let power = code.power_of_two(scalar, half_exponent);
    let rest = code.offset(power, -0.5);
    let half = code.mul_add(sum, power, rest);
    let result = code.add(half, half);
    // Near zero eˣ − 1 = x, whose sign and smallest bits the above loses.
    let magnitude = code.abs(x);
    let is_tiny = code.test(CompareInst::Lt, magnitude, tiny);
    code.select(is_tiny, x, result)
}

/// What is left of an operand of moderate size, to which `more` belongs that is below its last
/// place.
#[inline(always)]
pub(super) fn reduce<A: Arithmetic>(
    code: &mut A,
    x: A::Reg,
    more: Option<A::Reg>,
) -> Reduced<A::Reg> {
    let format = format(code, x);
    let magic = code.float_like(x, format.magic);
    let log2_e = code.float_like(x, std::f64::consts::LOG2_E);
    let rounded = code.mul_add(x, log2_e, magic);
    let count = code.sub(rounded, magic);
    let bits = code.bits(rounded);
    let offset = code.int_like(bits, format.magic_bits);
    let exponent = code.sub(bits, offset);
    // The high part of ln 2 has so few bits that its product with n is exact.
    let (high, low) = if code.is_f32(x) {
        (0.693_359_375, -2.121_944_4e-4)
    } else {
        (0.693_147_180_559_662_956_511_601_805_686_950_683_593_75, 2.823_529_056_303_157_7e-13)
    };
    let high = code.float_like(x, -high);
    let rest = code.mul_add(count, high, x);
    let low = code.float_like(x, -low);
    let rest = match more {
        None => code.mul_add(count, low, rest),
        Some(more) => {
            let small = code.mul_add(count, low, more);
            code.add(rest, small)
        }
    };
    let coefficients: &[f64] = if code.is_f32(x) {
        &[
            1.987_569_15e-4,
            1.398_199_950_7e-3,
            8.333_451_907_3e-3,
            4.166_579_589_4e-2,
            1.666_666_545_9e-1,
            5.000_000_120_1e-1,
        ]
    } else {
        &[
            2.081_276_378_237_164_457e-9,
            2.511_210_703_042_288_022e-8,
            2.755_762_628_169_491_192e-7,
            2.755_723_402_025_388_239e-6,
            2.480_158_687_479_686_264e-5,
            1.984_126_989_855_865_850e-4,
            1.388_888_888_914_497_797e-3,
            8.333_333_333_314_938_210e-3,
            4.166_666_666_666_602_598e-2,
            1.666_666_666_666_669_072e-1,
            0.5,
        ]
    };
    let polynomial = code.polynomial(rest, coefficients);
    let square = code.mul(rest, rest);
    let tail = code.mul(polynomial, square);
    Reduced { exponent, tail, rest }
}

/// `x·2ⁿ` for `n` of twice the range of exponents, rounded once.
#[inline(always)]
pub(super) fn scale_by_power<A: Arithmetic>(code: &mut A, x: A::Reg, exponent: A::Reg) -> A::Reg {
    let (first, second) = power_factors(code, x, exponent);
    let x = code.mul(x, first);
    code.mul(x, second)
}

/// Two powers of two whose product is `2ⁿ`, in the format of `like`, for `n` of twice the range of
/// exponents.
#[inline(always)]
pub(super) fn power_factors<A: Arithmetic>(
    code: &mut A,
    like: A::Reg,
    exponent: A::Reg,
) -> (A::Reg, A::Reg) {
    let scalar = code.scalar(like);
    let bias = format(code, like).bias;
    // With twice the bias added, the sum is not negative, so the shift need not keep a sign; and
    // half of it is the biased exponent of the first factor.
    let twice = code.int_like(exponent, 2 * bias);
    let both = code.add(exponent, twice);
    let first = code.shift(BinaryInst::ShrU, both, 1);
    let second = code.sub(both, first);
    (code.power_of_two(scalar, first), code.power_of_two(scalar, second))
}
