//! The error function and its complement.
//!
//! For `f64`, fdlibm (Sun Microsystems, `s_erf.c`): rational approximations on four intervals, all
//! evaluated and one chosen; the outer two are factors of `e^(−x²)`, whose exponent is taken of
//! `x` cut to half its bits so that its square is exact. For `f32`, N. Juffa's approximation
//! ("erff", published on Stack Overflow, question 35148198): a polynomial near zero, elsewhere
//! `1 − e^p(x)`.

use super::arithmetic::Arithmetic;
use super::compound::Compound;
use super::double::DoubleArithmetic;
use super::exp::exp_of_sum;
use super::wide::in_f64;
use crate::kernel::{BinaryInst, CompareInst, Scalar};

/// `erf x`.
#[inline(always)]
pub(super) fn erf<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    if code.is_f32(x) { erf_f32(code, x) } else { erf_f64(code, x) }
}

#[inline(always)]
fn erf_f32<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    // Beyond 4 the result rounds to 1, and the exponent must not turn back.
    let t = code.clamp(magnitude, 0.0, 4.0);
    let exponent = code.polynomial(
        t,
        &[
            -1.728_534_70e-5,
            3.831_971_26e-4,
            -3.883_964_38e-3,
            2.425_462_19e-2,
            -1.067_778_77e-1,
            -6.348_466_87e-1,
            -1.287_175_12e-1,
        ],
    );
    let power = exp_of_product(code, exponent, t);
    let one = code.float_like(x, 1.0);
    let far = code.sub(one, power);
    let far = code.with_sign(far, x);
    let square = code.mul(x, x);
    let polynomial = code.polynomial(
        square,
        &[
            -5.967_617_03e-4,
            4.991_194_23e-3,
            -2.676_813_49e-2,
            1.128_199_25e-1,
            -3.761_253_36e-1,
            1.283_791_66e-1,
        ],
    );
    let near = code.mul_add(polynomial, x, x);
    let is_near = code.test(CompareInst::Le, magnitude, 0.927_734_375);
    code.select(is_near, near, far)
}

/// `e^(p·t − t)` for `p` above −1, whose exponent is kept as a sum: near −2 its rounding would be a
/// quarter of a unit of the result.
#[inline(always)]
fn exp_of_product<A: Arithmetic>(code: &mut A, p: A::Reg, t: A::Reg) -> A::Reg {
    let minus = code.neg(t);
    let product = code.mul(p, t);
    let exponent = code.add(product, minus);
    let kept = code.sub(minus, exponent);
    let lost = code.mul_add(p, t, kept);
    exp_of_sum(code, exponent, Some(lost))
}

/// Numerator and denominator, highest power first.
struct Rational<'c>(&'c [f64], &'c [f64]);

/// Below 0.84375, in `x²`: `(erf x − x)/x`.
const NEAR: Rational<'_> = Rational(
    &[
        -2.376_301_665_665_016_260_84e-5,
        -5.770_270_296_489_441_591_57e-3,
        -2.848_174_957_559_851_047_66e-2,
        -3.250_421_072_470_014_993_70e-1,
        1.283_791_670_955_125_585_61e-1,
    ],
    &[
        -3.960_228_278_775_368_123_20e-6,
        1.324_947_380_043_216_445_26e-4,
        5.081_306_281_875_765_627_76e-3,
        6.502_224_998_876_729_444_85e-2,
        3.979_172_239_591_553_528_19e-1,
        1.0,
    ],
);

/// Below 1.25, in `|x| − 1`: `erf x − MIDDLE_VALUE`.
const MIDDLE: Rational<'_> = Rational(
    &[
        -2.166_375_594_868_790_843_00e-3,
        3.547_830_432_561_823_593_71e-2,
        -1.108_946_942_823_966_774_76e-1,
        3.183_466_199_011_617_536_74e-1,
        -3.722_078_760_357_013_238_47e-1,
        4.148_561_186_837_483_316_66e-1,
        -2.362_118_560_752_659_440_77e-3,
    ],
    &[
        1.198_449_984_679_910_741_70e-2,
        1.363_708_391_202_905_073_62e-2,
        1.261_712_198_087_616_421_12e-1,
        7.182_865_441_419_626_628_68e-2,
        5.403_979_177_021_710_489_37e-1,
        1.064_208_804_008_442_282_86e-1,
        1.0,
    ],
);

const MIDDLE_VALUE: f64 = 8.450_629_115_104_675_292_97e-1;

/// Below 1/0.35, in `1/x²`: `ln(x·erfc x) + x² + 0.5625`.
const FAR: Rational<'_> = Rational(
    &[
        -9.814_329_344_169_145_485_92e0,
        -8.128_743_550_630_659_342_46e1,
        -1.846_050_929_067_110_359_94e2,
        -1.623_966_694_625_734_703_55e2,
        -6.237_533_245_032_600_603_96e1,
        -1.055_862_622_532_329_098_14e1,
        -6.938_585_727_071_817_643_72e-1,
        -9.864_944_034_847_148_227_05e-3,
    ],
    &[
        -6.042_441_521_485_809_874_38e-2,
        6.570_249_770_319_281_701_35e0,
        1.086_350_055_417_794_351_34e2,
        4.290_081_400_275_678_333_86e2,
        6.453_872_717_332_678_803_36e2,
        4.345_658_774_752_292_288_21e2,
        1.376_577_541_435_190_426_00e2,
        1.965_127_166_743_925_712_92e1,
        1.0,
    ],
);

/// Beyond 1/0.35, likewise.
const FARTHEST: Rational<'_> = Rational(
    &[
        -4.835_191_916_086_513_970_19e2,
        -1.025_095_131_611_077_249_54e3,
        -6.375_664_433_683_896_277_22e2,
        -1.606_363_848_558_219_160_62e2,
        -1.775_795_491_775_475_198_89e1,
        -7.992_832_376_805_230_065_74e-1,
        -9.864_942_924_700_099_285_97e-3,
    ],
    &[
        -2.244_095_244_658_581_833_62e1,
        4.745_285_412_069_553_672_15e2,
        2.553_050_406_433_164_425_83e3,
        3.199_858_219_508_595_539_08e3,
        1.536_729_586_084_436_959_94e3,
        3.257_925_129_965_739_188_26e2,
        3.033_806_074_348_245_829_24e1,
        1.0,
    ],
);

#[inline(always)]
fn erf_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let square = code.mul(x, x);
    let near = quotient(code, square, &NEAR);
    let near = code.mul_add(x, near, x);

    let past_one = code.offset(magnitude, -1.0);
    let middle = quotient(code, past_one, &MIDDLE);
    let middle = code.offset(middle, MIDDLE_VALUE);
    // Beyond 6 the result rounds to 1.
    let t = code.clamp(magnitude, 1.0, 6.0);
    let complement = tail(code, t);
    let one = code.float_like(x, 1.0);
    let far = code.sub(one, complement);
    let is_middle = code.test(CompareInst::Lt, magnitude, 1.25);
    let outside = code.select(is_middle, middle, far);
    let outside = code.with_sign(outside, x);
    let is_near = code.test(CompareInst::Lt, magnitude, 0.84375);
    code.select(is_near, near, outside)
}

/// `1 − erf x`, which keeps its bits where `erf x` is close to 1.
#[inline(always)]
pub(super) fn erfc<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(erfc_f64, code, x)
}

#[inline(always)]
fn erfc_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let square = code.mul(x, x);
    let near = quotient(code, square, &NEAR);
    let excess = code.mul(x, near);
    let erf = code.add(x, excess);
    let one = code.float_like(x, 1.0);
    let small = code.sub(one, erf);
    // Where ½ is nearer to the result than 1, x − ½ is exact.
    let less = code.offset(x, -0.5);
    let rest = code.add(less, excess);
    let half = code.float_like(x, 0.5);
    let medium = code.sub(half, rest);
    let is_small = code.test(CompareInst::Lt, x, 0.25);
    let near = code.select(is_small, small, medium);

    let past_one = code.offset(magnitude, -1.0);
    let middle = quotient(code, past_one, &MIDDLE);
    // Beyond 28 the result rounds to 0.
    let t = code.clamp(magnitude, 1.0, 28.0);
    let far = tail(code, t);
    let positive = code.test(CompareInst::Gt, x, 0.0);
    let is_middle = code.test(CompareInst::Lt, magnitude, 1.25);
    let above = code.float_like(x, 1.0 - MIDDLE_VALUE);
    let above = code.sub(above, middle);
    let above = code.select(is_middle, above, far);
    let below = code.offset(middle, MIDDLE_VALUE);
    let below = code.offset(below, 1.0);
    let two = code.float_like(x, 2.0);
    let reflected = code.sub(two, far);
    let below = code.select(is_middle, below, reflected);
    let outside = code.select(positive, above, below);
    let is_near = code.test(CompareInst::Lt, magnitude, 0.84375);
    let result = code.select(is_near, near, outside);
    let nan = code.is_nan(x);
    code.select(nan, x, result)
}

/// `1 − erf t` for `t` from 1.25 on: `e^((−z² − 0.5625) + ((z − t)(z + t) + R/S))/t`, where `z` is
/// `t` without its low bits, so that the first term is exact; the sum is kept exact too.
#[inline(always)]
fn tail<A: Arithmetic>(code: &mut A, t: A::Reg) -> A::Reg {
    let one = code.float_like(t, 1.0);
    let square = code.mul(t, t);
    let s = code.div(one, square);
    let is_far = code.test(CompareInst::Lt, t, 1.0 / 0.35);
    let (far, farthest) = (code.polynomial(s, FAR.0), code.polynomial(s, FARTHEST.0));
    let numerator = code.select(is_far, far, farthest);
    let (far, farthest) = (code.polynomial(s, FAR.1), code.polynomial(s, FARTHEST.1));
    let denominator = code.select(is_far, far, farthest);
    let ratio = code.div(numerator, denominator);

    let bits = code.bits(t);
    let high_half = code.bits_like(bits, 0xffff_ffff_0000_0000);
    let bits = code.binary(BinaryInst::And, bits, high_half);
    let z = code.bitcast(Scalar::F64, bits);
    let minus = code.neg(z);
    let exponent = code.mul(minus, z);
    let exponent = code.offset(exponent, -0.5625);
    let less = code.sub(z, t);
    let more = code.add(z, t);
    let correction = code.mul_add(less, more, ratio);
    let exponent = code.fast_two_sum(exponent, correction);
    let power = exp_of_sum(code, exponent.0, Some(exponent.1));
    code.div(power, t)
}

#[inline(always)]
fn quotient<A: Arithmetic>(code: &mut A, x: A::Reg, rational: &Rational<'_>) -> A::Reg {
    let numerator = code.polynomial(x, rational.0);
    let denominator = code.polynomial(x, rational.1);
    code.div(numerator, denominator)
}
