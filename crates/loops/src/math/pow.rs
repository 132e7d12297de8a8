//! Powers: `x^y = e^(y·ln |x|)`, with the sign and the special cases of IEEE 754.
//!
//! The logarithm must be exact to as many bits more as the exponent of the result has. For `f32`
//! it is taken in `f64`. For `f64` it is the sum of two numbers, after SLEEF (Shibata and
//! Petrogalli, `xpow`, whose `logk` and `expk` these are).

use super::arithmetic::Arithmetic;
use super::compound::{Compound, format};
use super::double::{Double, DoubleArithmetic};
use super::exp::scale_by_power;
use super::log::{Parts, split_subnormal};
use super::wide::in_f64;
use super::{exp, log};
use crate::kernel::{CompareInst, MaskInst, UnaryInst};

/// `xʸ`.
#[inline(always)]
pub fn pow<A: Arithmetic>(code: &mut A, x: A::Reg, y: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let power = if code.is_f32(x) {
        in_f64!(simple_power, code, magnitude, y)
    } else {
        power_f64(code, magnitude, y)
    };
    signed(code, x, y, power)
}

/// The power of `x` from that of its magnitude.
#[inline(always)]
fn signed<A: Arithmetic>(code: &mut A, x: A::Reg, y: A::Reg, power: A::Reg) -> A::Reg {
    let is_whole = {
        let whole = code.unary(UnaryInst::Trunc, y);
        code.compare(CompareInst::Eq, y, whole)
    };
    let is_odd = {
        let half = code.scale(y, 0.5);
        let whole = code.unary(UnaryInst::Trunc, half);
        let uneven = code.compare(CompareInst::Ne, half, whole);
        code.both(is_whole, uneven)
    };
    let with_sign = code.with_sign(power, x);
    let result = code.select(is_odd, with_sign, power);
    // A root of a negative number; minus infinity has powers.
    let negative = code.test(CompareInst::Lt, x, 0.0);
    let finite = code.test(CompareInst::Gt, x, f64::NEG_INFINITY);
    let undefined = code.both(negative, finite);
    let not_whole = code.mask_not(is_whole);
    let undefined = code.both(undefined, not_whole);
    let result = code.replace(undefined, f64::NAN, result);
    // 1^y and x^0 are 1 whatever the other is, and so is (−1)^±∞.
    let one = code.test(CompareInst::Eq, x, 1.0);
    let zeroth = code.test(CompareInst::Eq, y, 0.0);
    let is_one = code.mask(MaskInst::Or, one, zeroth);
    let minus_one = code.test(CompareInst::Eq, x, -1.0);
    let size = code.abs(y);
    let infinite = code.test(CompareInst::Eq, size, f64::INFINITY);
    let turning = code.both(minus_one, infinite);
    let is_one = code.mask(MaskInst::Or, is_one, turning);
    code.replace(is_one, 1.0, result)
}

/// In `f64` for `f32`, so that every product of `y` and a logarithm keeps 20 bits more than needed.
#[inline(always)]
fn simple_power<A: Arithmetic>(code: &mut A, magnitude: A::Reg, y: A::Reg) -> A::Reg {
    let log = log(code, magnitude);
    let exponent = code.mul(y, log);
    exp(code, exponent)
}

#[inline(always)]
fn power_f64<A: Arithmetic>(code: &mut A, magnitude: A::Reg, y: A::Reg) -> A::Reg {
    let log = log_double(code, magnitude);
    let product = code.double_scaled(log, y);
    let power = exp_double(code, product);
    let size = code.mul(log.0, y);
    let power = bounded(code, magnitude, y, size, power);
    let (base_nan, exponent_nan) = (code.is_nan(magnitude), code.is_nan(y));
    let nan = code.mask(MaskInst::Or, base_nan, exponent_nan);
    code.replace(nan, f64::NAN, power)
}

/// The power where operands are finite and the result is in the range of exponents. Elsewhere the
/// arithmetic may have met an infinity, and the signs of `ln x` and `y` decide.
#[inline(always)]
fn bounded<A: Arithmetic>(
    code: &mut A,
    magnitude: A::Reg,
    y: A::Reg,
    exponent: A::Reg,
    power: A::Reg,
) -> A::Reg {
    let zero = code.test(CompareInst::Eq, magnitude, 0.0);
    let above = code.test(CompareInst::Gt, magnitude, 1.0);
    let one = code.float_like(magnitude, 1.0);
    let below = code.float_like(magnitude, -1.0);
    let direction = code.select(above, one, below);
    let exact = code.test(CompareInst::Eq, magnitude, 1.0);
    let direction = code.replace(exact, 0.0, direction);
    let upward = code.mul(direction, y);
    let grows = code.test(CompareInst::Gt, upward, 0.0);
    let infinity = code.float_like(magnitude, f64::INFINITY);
    let nothing = code.float_like(magnitude, 0.0);
    let rough = code.select(grows, infinity, nothing);
    let size = code.abs(y);
    let huge = code.test(CompareInst::Eq, size, f64::INFINITY);
    let endless = code.test(CompareInst::Eq, magnitude, f64::INFINITY);
    let special = code.mask(MaskInst::Or, zero, huge);
    let special = code.mask(MaskInst::Or, special, endless);
    // Far beyond the range of exponents correction terms are infinite minus infinite.
    let far = code.abs(exponent);
    let far = code.test(CompareInst::Gt, far, 1000.0);
    let special = code.mask(MaskInst::Or, special, far);
    code.select(special, rough, power)
}

/// `ln x` of a positive finite number.
#[inline(always)]
fn log_double<A: Arithmetic>(code: &mut A, x: A::Reg) -> Double<A::Reg> {
    let Parts { exponent, mantissa } = split_subnormal(code, x);
    let one = code.float_like(x, 1.0);
    // s = (m − 1)/(m + 1); the numerator is exact.
    let numerator = code.sub(mantissa, one);
    let denominator = code.two_sum(mantissa, one);
    let s = code.double_quotient(numerator, denominator);
    let square = code.double_square(s);
    let t = code.polynomial(
        square.0,
        &[
            0.116_255_524_079_935_043_668_677,
            0.103_239_680_901_072_952_701_192,
            0.117_754_809_412_463_995_466_069,
            0.133_329_810_868_462_739_215_09,
            0.153_846_227_114_512_262_845_736,
            0.181_818_180_850_050_775_676_507,
            0.222_222_222_230_083_560_345_903,
            0.285_714_285_714_249_172_087_875,
            0.400_000_000_000_000_077_715_612,
        ],
    );
    let two_thirds = Double(
        code.float_like(x, 0.666_666_666_666_666_629_659_233),
        code.float_like(x, 3.805_549_625_424_120_563_366_16e-17),
    );
    let ln_2 = Double(
        code.float_like(x, std::f64::consts::LN_2),
        code.float_like(x, 2.319_046_813_846_299_558_417_771e-17),
    );
    let whole = code.double_scaled(ln_2, exponent);
    let twice = Double(code.add(s.0, s.0), code.add(s.1, s.1));
    let sum = code.double_sum(whole, twice);
    let cube = code.double_product(square, s);
    let term = code.double_product(cube, two_thirds);
    let sum = code.double_sum(sum, term);
    let fifth = code.double_product(square, cube);
    let term = code.double_scaled(fifth, t);
    code.double_sum(sum, term)
}

/// `e^d`.
#[inline(always)]
fn exp_double<A: Arithmetic>(code: &mut A, d: Double<A::Reg>) -> A::Reg {
    let format = format(code, d.0);
    let bounded = code.clamp(d.0, -800.0, 800.0);
    let d = Double(bounded, d.1);
    let magic = code.float_like(d.0, format.magic);
    let log2_e = code.float_like(d.0, std::f64::consts::LOG2_E);
    let rounded = code.mul_add(d.0, log2_e, magic);
    let count = code.sub(rounded, magic);
    let bits = code.bits(rounded);
    let offset = code.int_like(bits, format.magic_bits);
    let exponent = code.sub(bits, offset);
    let minus = code.neg(count);
    let high = code.scale(minus, 0.693_147_180_559_662_956_511_601_805_686_950_683_593_75);
    let low = code.scale(minus, 2.823_529_056_303_157_712_258_844_817_5e-13);
    let rest = code.double_plus(d, high);
    let rest = code.double_plus(rest, low);
    let u = code.polynomial(
        rest.0,
        &[
            2.510_696_834_209_504_195_271_39e-8,
            2.762_861_667_702_706_491_168_55e-7,
            2.755_724_967_250_235_741_438_64e-6,
            2.480_149_739_898_197_941_141_53e-5,
            1.984_126_988_090_697_976_761_11e-4,
            1.388_888_893_997_712_896_052_9e-3,
            8.333_333_333_323_714_176_010_81e-3,
            4.166_666_666_654_095_241_284_49e-2,
            1.666_666_666_666_667_406_815_35e-1,
            0.500_000_000_000_000_999_200_722,
        ],
    );
    let square = code.double_square(rest);
    let tail = code.double_scaled(square, u);
    let sum = code.double_sum(rest, tail);
    let one = code.float_like(d.0, 1.0);
    let head = code.fast_two_sum(one, sum.0);
    let low = code.add(head.1, sum.1);
    let total = code.add(head.0, low);
    scale_by_power(code, total, exponent)
}
