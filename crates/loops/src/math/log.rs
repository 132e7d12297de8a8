//! `log`, `log2` and `log1p`.
//!
//! The operand is `2ᵉ·(1 + f)` with `1 + f` between `√½` and `√2`. For `f32` the polynomial is
//! that of Cephes (Moshier, `logf.c`); for `f64` the series in `s = f/(2 + f)` is fdlibm's
//! (Sun Microsystems, `e_log.c`), and so is the correction of `log1p` for the bits that `1 + x`
//! rounds away (`s_log1p.c`).

use super::arithmetic::Arithmetic;
use super::compound::{Compound, format};
use super::double::DoubleArithmetic;
use super::wide::in_f64;
use crate::kernel::{BinaryInst, CompareInst, Scalar};

/// The parts of `2ᵉ·m`.
pub(super) struct Parts<R> {
    /// `e`, a whole number.
    pub(super) exponent: R,
    /// `m`.
    pub(super) mantissa: R,
}

/// Natural logarithm.
#[inline(always)]
pub(super) fn log<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let Parts { exponent, mantissa } = split_subnormal(code, x);
    let f = code.offset(mantissa, -1.0);
    let zero = code.float_like(x, 0.0);
    let result = series(code, exponent, f, zero);
    edges(code, x, x, result)
}

/// Binary logarithm, as `e + log₂ m`: exact where the operand is a power of two.
#[inline(always)]
pub(super) fn log2<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(log2_f64, code, x)
}

#[inline(always)]
fn log2_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let Parts { exponent, mantissa } = split_subnormal(code, x);
    let f = code.offset(mantissa, -1.0);
    let zero = code.float_like(x, 0.0);
    let log = series(code, zero, f, zero);
    let scaled = code.scale(log, LOG2_E_LOW);
    let log2_e = code.float_like(x, std::f64::consts::LOG2_E);
    let product = code.two_product(log, log2_e);
    let low = code.add(product.1, scaled);
    let sum = code.two_sum(exponent, product.0);
    let low = code.add(sum.1, low);
    let result = code.add(sum.0, low);
    edges(code, x, x, result)
}

/// What `1/ln 2` is more than its nearest `f64`.
const LOG2_E_LOW: f64 = 2.035_527_374_093_103_2e-17;

/// `ln(1 + x)`.
#[inline(always)]
pub(super) fn log1p<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let u = code.offset(x, 1.0);
    let Parts { exponent, mantissa } = split(code, u);
    // ln(1 + x) − ln u = (1 + x − u)/u, where the difference is exact in one of two orders.
    let less = code.offset(u, -1.0);
    let small = code.sub(x, less);
    let less = code.sub(u, x);
    let one = code.float_like(x, 1.0);
    let large = code.sub(one, less);
    let is_large = code.test(CompareInst::Ge, exponent, 2.0);
    let lost = code.select(is_large, large, small);
    let lost = code.div(lost, u);
    // Where u needs no reduction f is x itself, and nothing is lost.
    let whole = code.test(CompareInst::Eq, exponent, 0.0);
    let f = code.offset(mantissa, -1.0);
    let f = code.select(whole, x, f);
    let zero = code.float_like(x, 0.0);
    let lost = code.select(whole, zero, lost);
    let result = series(code, exponent, f, lost);
    let magnitude = code.abs(x);
    let tiny = if code.is_f32(x) { 2f64.powi(-26) } else { 2f64.powi(-55) };
    let is_tiny = code.test(CompareInst::Lt, magnitude, tiny);
    let result = code.select(is_tiny, x, result);
    edges(code, x, u, result)
}

/// What a logarithm is where its operand `u` is not a positive finite number: `x` for infinity and
/// NaN, which `u` is with it.
#[inline(always)]
fn edges<A: Arithmetic>(code: &mut A, x: A::Reg, u: A::Reg, result: A::Reg) -> A::Reg {
    let finite = code.test(CompareInst::Lt, u, f64::INFINITY);
    let result = code.select(finite, result, x);
    let zero = code.test(CompareInst::Eq, u, 0.0);
    let result = code.replace(zero, f64::NEG_INFINITY, result);
    let negative = code.test(CompareInst::Lt, u, 0.0);
    code.replace(negative, f64::NAN, result)
}

/// `e·ln 2 + ln(1 + f) + lost`.
#[inline(always)]
fn series<A: Arithmetic>(code: &mut A, exponent: A::Reg, f: A::Reg, lost: A::Reg) -> A::Reg {
    if code.is_f32(f) {
        series_f32(code, exponent, f, lost)
    } else {
        series_f64(code, exponent, f, lost)
    }
}

#[inline(always)]
fn series_f32<A: Arithmetic>(code: &mut A, exponent: A::Reg, f: A::Reg, lost: A::Reg) -> A::Reg {
    let polynomial = code.polynomial(
        f,
        &[
            7.037_683_629_2e-2,
            -1.151_461_031_0e-1,
            1.167_699_874_0e-1,
            -1.242_014_084_6e-1,
            1.424_932_278_7e-1,
            -1.666_805_766_5e-1,
            2.000_071_476_5e-1,
            -2.499_999_399_3e-1,
            3.333_333_117_4e-1,
        ],
    );
    let square = code.mul(f, f);
    let cube = code.mul(f, square);
    let low = code.float_like(f, -2.121_944_4e-4);
    let small = code.mul_add(exponent, low, lost);
    let tail = code.mul_add(cube, polynomial, small);
    let minus_half = code.float_like(f, -0.5);
    let tail = code.mul_add(square, minus_half, tail);
    let near = code.add(f, tail);
    let high = code.float_like(f, 0.693_359_375);
    code.mul_add(exponent, high, near)
}

#[inline(always)]
fn series_f64<A: Arithmetic>(code: &mut A, exponent: A::Reg, f: A::Reg, lost: A::Reg) -> A::Reg {
    let divisor = code.offset(f, 2.0);
    let s = code.div(f, divisor);
    let z = code.mul(s, s);
    let polynomial = code.polynomial(
        z,
        &[
            1.479_819_860_511_658_591e-1,
            1.531_383_769_920_937_332e-1,
            1.818_357_216_161_805_012e-1,
            2.222_219_843_214_978_396e-1,
            2.857_142_874_366_239_149e-1,
            3.999_999_999_940_941_908e-1,
            6.666_666_666_666_735_130e-1,
        ],
    );
    let rest = code.mul(z, polynomial);
    let square = code.mul(f, f);
    let half_square = code.scale(square, 0.5);
    let sum = code.add(half_square, rest);
    let low = code.float_like(f, 1.908_214_929_270_587_700_02e-10);
    let small = code.mul_add(exponent, low, lost);
    let tail = code.mul_add(s, sum, small);
    let minus = code.sub(half_square, tail);
    let near = code.sub(f, minus);
    let high = code.float_like(f, 6.931_471_803_691_238_164_90e-1);
    code.mul_add(exponent, high, near)
}

/// The parts of a positive number, `m` between `√½` and `√2`; subnormals are scaled first. What it
/// gives for other operands is a number, but none in particular.
#[inline(always)]
pub(super) fn split_subnormal<A: Arithmetic>(code: &mut A, x: A::Reg) -> Parts<A::Reg> {
    let (least, power) =
        if code.is_f32(x) { (f64::from(f32::MIN_POSITIVE), 24) } else { (f64::MIN_POSITIVE, 54) };
    let subnormal = code.test(CompareInst::Lt, x, least);
    let scaled = code.scale(x, 2f64.powi(power));
    let x = code.select(subnormal, scaled, x);
    let Parts { exponent, mantissa } = split(code, x);
    let less = code.offset(exponent, -f64::from(power));
    Parts { exponent: code.select(subnormal, less, exponent), mantissa }
}

/// The parts of a positive normal number.
#[inline(always)]
fn split<A: Arithmetic>(code: &mut A, x: A::Reg) -> Parts<A::Reg> {
    let scalar = code.scalar(x);
    let format = format(code, x);
    let bits = code.bits(x);
    // Subtracting the bits of √½ makes the exponent's field step where m would reach √2.
    let root_half = match scalar {
        Scalar::F32 => 0x3f35_04f3,
        Scalar::F64 | Scalar::I32 | Scalar::I64 | Scalar::U8 => 0x3fe6_a09e_667f_3bcd,
    };
    let root_half = code.int_like(bits, root_half);
    let above = code.sub(bits, root_half);
    let field = code.int_like(bits, !((1 << format.mantissa) - 1));
    let power = code.binary(BinaryInst::And, above, field);
    let mantissa = code.sub(bits, power);
    let mantissa = code.bitcast(scalar, mantissa);
    // A whole bias more, and the field is not negative.
    let biased = code.int_like(bits, format.bias << format.mantissa);
    let biased = code.add(above, biased);
    let biased = code.shift(BinaryInst::ShrU, biased, format.mantissa);
    let exponent =
        if scalar == Scalar::F32 { code.to_f32(biased) } else { code.index_to_f64(biased) };
    Parts { exponent: code.offset(exponent, -(format.bias as f64)), mantissa }
}
