//! The remainder of floats, exact.
//!
//! With `x = a·2ᵐ` and `y = b·2ⁿ` for integers `a` and `b` of 53 bits, the remainder is
//! `(a·2ᵐ⁻ⁿ mod b)·2ⁿ`. The power of two modulo `b` comes from its exponent's bits by squaring, so
//! there is no loop over the 2,000 binary places that may lie between `x` and `y`. Products modulo
//! `b` take their quotient from floats, which err by a few units, and the rest from 64-bit
//! integers, where wrapping does no harm (as in "Modern Computer Arithmetic", Brent and Zimmermann,
//! section 2.4). `f32` is widened first, which is exact both ways. Scalars only.

use kilngrad_loops::math::{Arithmetic, Compound};
use kilngrad_loops::{BinaryInst, CompareInst, MaskInst, Reg, RegType, Scalar};

use crate::code::Code;

/// `x − y·trunc(x/y)`.
pub(crate) fn rem(code: &mut Code<'_>, x: Reg, y: Reg) -> Reg {
    let scalar = code.scalar(x);
    debug_assert_eq!(code.ty(x), RegType::scalar(scalar), "remainders are taken lane by lane");
    let (wide_x, wide_y) = (code.convert(Scalar::F64, x), code.convert(Scalar::F64, y));
    let result = rem_f64(code, wide_x, wide_y);
    code.convert(scalar, result)
}

/// `mantissa·2^exponent` of a finite nonzero magnitude; both integers, the mantissa of 53 bits.
struct Whole {
    mantissa: Reg,
    exponent: Reg,
}

fn rem_f64(code: &mut Code<'_>, x: Reg, y: Reg) -> Reg {
    let (size_x, size_y) = (code.abs(x), code.abs(y));
    let (a, b) = (whole(code, size_x), whole(code, size_y));
    let distance = code.sub(a.exponent, b.exponent);
    let zero = code.int_like(distance, 0);
    let distance = code.binary(BinaryInst::MaxSelect, distance, zero);
    let power = power_of_two_modulo(code, distance, b.mantissa);
    // a < 2⁵³ ≤ 2b.
    let a = reduced(code, a.mantissa, b.mantissa);
    let rest = product_modulo(code, a, power, b.mantissa, None);
    let result = put_together(code, rest, b.exponent);
    let result = code.with_sign(result, x);

    let smaller = code.compare(CompareInst::Lt, size_x, size_y);
    let result = code.select(smaller, x, result);
    let x_infinite = code.test(CompareInst::Eq, size_x, f64::INFINITY);
    let y_zero = code.test(CompareInst::Eq, size_y, 0.0);
    let undefined = code.mask(MaskInst::Or, x_infinite, y_zero);
    let (x_nan, y_nan) = (code.is_nan(x), code.is_nan(y));
    let nan = code.mask(MaskInst::Or, x_nan, y_nan);
    let undefined = code.mask(MaskInst::Or, undefined, nan);
    code.replace(undefined, f64::NAN, result)
}

fn whole(code: &mut Code<'_>, size: Reg) -> Whole {
    let subnormal = code.test(CompareInst::Lt, size, f64::MIN_POSITIVE);
    let scaled = code.scale(size, 2f64.powi(54));
    let size = code.select(subnormal, scaled, size);
    let bits = code.bits(size);
    let exponent = code.shift(BinaryInst::ShrU, bits, 52);
    let moved = code.int_like(exponent, 54);
    let less = code.sub(exponent, moved);
    let exponent = code.select(subnormal, less, exponent);
    let fraction = code.int_like(bits, (1 << 52) - 1);
    let fraction = code.binary(BinaryInst::And, bits, fraction);
    let leading = code.int_like(bits, 1 << 52);
    Whole { mantissa: code.binary(BinaryInst::Or, fraction, leading), exponent }
}

/// `2^n mod b` for `n` below 2¹², `b` of 53 bits.
fn power_of_two_modulo(code: &mut Code<'_>, n: Reg, b: Reg) -> Reg {
    const SQUARINGS: u32 = 6;
    let one = code.int_like(n, 1);
    let top = code.shift(BinaryInst::ShrU, n, SQUARINGS);
    // At most 2³³, which is less than b.
    let mut power = code.binary(BinaryInst::Shl, one, top);
    for bit in (0..SQUARINGS).rev() {
        let digit = code.shift(BinaryInst::ShrU, n, bit);
        let digit = code.binary(BinaryInst::And, digit, one);
        power = product_modulo(code, power, power, b, Some(digit));
    }
    power
}

/// `x·y mod b`, doubled modulo `b` where `double` is 1; `x` and `y` are below `b`.
fn product_modulo(code: &mut Code<'_>, x: Reg, y: Reg, b: Reg, double: Option<Reg>) -> Reg {
    let [fx, fy, fb] = [x, y, b].map(|value| code.convert(Scalar::F64, value));
    let quotient = code.mul(fx, fy);
    let quotient = code.div(quotient, fb);
    let quotient = code.convert(Scalar::I64, quotient);
    let product = code.mul(x, y);
    let whole = code.mul(quotient, b);
    // Two roundings of a quotient below 2⁵³ err by less than 2, so the rest is in [−2b, 4b).
    let rest = code.sub(product, whole);
    let twice = code.add(b, b);
    let rest = reduced(code, rest, twice);
    let zero = code.int_like(rest, 0);
    let negative = code.compare(CompareInst::Lt, rest, zero);
    let raised = code.add(rest, twice);
    let rest = code.select(negative, raised, rest);
    let rest = reduced(code, rest, b);
    match double {
        None => rest,
        Some(double) => {
            let doubled = code.binary(BinaryInst::Shl, rest, double);
            reduced(code, doubled, b)
        }
    }
}

/// `x − b` where `x ≥ b`, else `x`.
fn reduced(code: &mut Code<'_>, x: Reg, b: Reg) -> Reg {
    let less = code.sub(x, b);
    let fits = code.compare(CompareInst::Lt, x, b);
    code.select(fits, x, less)
}

/// `rest·2^(exponent − 1075)`, where the biased exponent belongs to the divisor: at most two
/// factors are needed, and the result is exact because it is a multiple of the operands' places.
fn put_together(code: &mut Code<'_>, rest: Reg, exponent: Reg) -> Reg {
    let value = code.convert(Scalar::F64, rest);
    // 2^(e − 1075) as 2^(first)·2^(second) with both in the range of normal numbers.
    let shifted = code.int_like(exponent, 2 * 1023 - 1075);
    let both = code.add(exponent, shifted);
    let first = code.shift(BinaryInst::ShrS, both, 1);
    let second = code.sub(both, first);
    let first = code.power_of_two(Scalar::F64, first);
    let second = code.power_of_two(Scalar::F64, second);
    let value = code.mul(value, first);
    code.mul(value, second)
}
