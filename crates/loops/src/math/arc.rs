//! Inverse trigonometric functions.
//!
//! All are fdlibm's (Sun Microsystems, `s_atan.c`, `e_atan2.c`, `e_asin.c`, `e_acos.c`), with their
//! intervals chosen by selection. `f32` is computed in `f64`.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use super::arithmetic::Arithmetic;
use super::compound::Compound;
use super::wide::in_f64;
use crate::kernel::{BinaryInst, CompareInst, MaskInst, Scalar, UnaryInst};

/// `π/2 − FRAC_PI_2`.
const HALF_PI_LOW: f64 = 6.123_233_995_736_766_035_87e-17;

/// `atan x`.
#[inline(always)]
pub(super) fn atan<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(atan_f64, code, x)
}

#[inline(always)]
fn atan_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let result = positive_atan(code, magnitude);
    code.with_sign(result, x)
}

/// `atan x` of `x ≥ 0`: that of a known number and of `(x − c)/(1 + c·x)`, which is near 0.
#[inline(always)]
fn positive_atan<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let one = code.float_like(x, 1.0);
    let zero = code.float_like(x, 0.0);
    let (mut top, mut bottom) = (x, one);
    let (mut high, mut low) = (zero, zero);
    for (from, centre, value, rest) in [
        (0.4375, 0.5, 4.636_476_090_008_060_935_15e-1, 2.269_877_745_296_168_709_24e-17),
        (0.6875, 1.0, FRAC_PI_4, 3.061_616_997_868_383_017_93e-17),
        (1.1875, 1.5, 9.827_937_232_473_290_540_82e-1, 1.390_331_103_123_099_845_16e-17),
    ] {
        let beyond = code.test(CompareInst::Ge, x, from);
        let difference = code.offset(x, -centre);
        let centre = code.float_like(x, centre);
        let sum = code.mul_add(x, centre, one);
        top = code.select(beyond, difference, top);
        bottom = code.select(beyond, sum, bottom);
        let (value, rest) = (code.float_like(x, value), code.float_like(x, rest));
        high = code.select(beyond, value, high);
        low = code.select(beyond, rest, low);
    }
    let far = code.test(CompareInst::Ge, x, 2.4375);
    let minus_one = code.float_like(x, -1.0);
    top = code.select(far, minus_one, top);
    bottom = code.select(far, x, bottom);
    high = code.replace(far, FRAC_PI_2, high);
    low = code.replace(far, HALF_PI_LOW, low);

    let t = code.div(top, bottom);
    let square = code.mul(t, t);
    let polynomial = code.polynomial(
        square,
        &[
            1.628_582_011_536_578_236_23e-2,
            -3.653_157_274_421_691_552_70e-2,
            4.976_877_994_615_932_360_17e-2,
            -5.833_570_133_790_573_486_45e-2,
            6.661_073_137_387_531_206_69e-2,
            -7.691_876_205_044_829_994_95e-2,
            9.090_887_133_436_506_561_96e-2,
            -1.111_111_040_546_235_578_80e-1,
            1.428_571_427_250_346_637_11e-1,
            -1.999_999_999_987_648_324_76e-1,
            3.333_333_333_333_293_180_27e-1,
        ],
    );
    let polynomial = code.mul(square, polynomial);
    // high − ((t·p − low) − t)
    let minus = code.neg(low);
    let rest = code.mul_add(t, polynomial, minus);
    let rest = code.sub(rest, t);
    let result = code.sub(high, rest);
    // Near 0 nothing is added that would lose bits.
    let nan = code.is_nan(x);
    code.select(nan, x, result)
}

/// The angle of the point `(x, y)`, where `y` comes first.
#[inline(always)]
pub fn atan2<A: Arithmetic>(code: &mut A, y: A::Reg, x: A::Reg) -> A::Reg {
    in_f64!(atan2_f64, code, y, x)
}

#[inline(always)]
fn atan2_f64<A: Arithmetic>(code: &mut A, y: A::Reg, x: A::Reg) -> A::Reg {
    let (height, width) = (code.abs(y), code.abs(x));
    let ratio = code.div(height, width);
    // Neither 0/0 nor ∞/∞ is NaN here.
    let equal = code.compare(CompareInst::Eq, height, width);
    let ratio = code.replace(equal, 1.0, ratio);
    let nothing = code.test(CompareInst::Eq, height, 0.0);
    let ratio = code.replace(nothing, 0.0, ratio);
    let angle = positive_atan(code, ratio);
    let less = code.offset(angle, -2.0 * HALF_PI_LOW);
    let pi = code.float_like(x, PI);
    let behind = code.sub(pi, less);
    // By its sign bit: −0 is behind too.
    let bits = code.bits(x);
    let zero = code.int_like(bits, 0);
    let negative = code.compare(CompareInst::Lt, bits, zero);
    let angle = code.select(negative, behind, angle);
    let result = code.with_sign(angle, y);
    let (x_nan, y_nan) = (code.is_nan(x), code.is_nan(y));
    let nan = code.mask(MaskInst::Or, x_nan, y_nan);
    code.replace(nan, f64::NAN, result)
}

/// `asin x`.
#[inline(always)]
pub(super) fn asin<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(asin_f64, code, x)
}

#[inline(always)]
fn asin_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let square = code.mul(x, x);
    let near = ratio(code, square);
    let near = code.mul_add(magnitude, near, magnitude);

    let half = halved_complement(code, magnitude);
    let Root { root, head, lost } = root_of(code, half);
    let r = ratio(code, half);
    // π/4 − ((2·√t·r − (low − 2·lost)) − (π/4 − 2·head))
    let twice = code.add(root, root);
    let product = code.mul(twice, r);
    let minus_two = code.float_like(x, -2.0);
    let low = code.float_like(x, HALF_PI_LOW);
    let low = code.mul_add(minus_two, lost, low);
    let product = code.sub(product, low);
    let quarter = code.float_like(x, FRAC_PI_4);
    let head = code.mul_add(minus_two, head, quarter);
    let rest = code.sub(product, head);
    let far = code.sub(quarter, rest);
    let is_near = code.test(CompareInst::Lt, magnitude, 0.5);
    let result = code.select(is_near, near, far);
    let result = code.with_sign(result, x);
    outside(code, magnitude, result)
}

/// `acos x`.
#[inline(always)]
pub(super) fn acos<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(acos_f64, code, x)
}

#[inline(always)]
fn acos_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let square = code.mul(x, x);
    let r = ratio(code, square);
    let low = code.float_like(x, HALF_PI_LOW);
    let product = code.mul(x, r);
    let rest = code.sub(low, product);
    let rest = code.sub(x, rest);
    let half_pi = code.float_like(x, FRAC_PI_2);
    let near = code.sub(half_pi, rest);

    let half = halved_complement(code, magnitude);
    let Root { root, head, lost } = root_of(code, half);
    let r = ratio(code, half);
    let above = code.mul_add(r, root, lost);
    let above = code.add(head, above);
    let above = code.add(above, above);
    let minus_low = code.neg(low);
    let below = code.mul_add(r, root, minus_low);
    let below = code.add(root, below);
    let minus_two = code.float_like(x, -2.0);
    let pi = code.float_like(x, PI);
    let below = code.mul_add(minus_two, below, pi);
    let positive = code.test(CompareInst::Gt, x, 0.0);
    let far = code.select(positive, above, below);
    let is_near = code.test(CompareInst::Lt, magnitude, 0.5);
    let result = code.select(is_near, near, far);
    let one = code.test(CompareInst::Eq, x, 1.0);
    let result = code.replace(one, 0.0, result);
    outside(code, magnitude, result)
}

/// `(1 − x)/2`, which is not negative, and not 0, which has no root to divide by.
#[inline(always)]
fn halved_complement<A: Arithmetic>(code: &mut A, magnitude: A::Reg) -> A::Reg {
    let minus_half = code.float_like(magnitude, -0.5);
    let half = code.float_like(magnitude, 0.5);
    let complement = code.mul_add(magnitude, minus_half, half);
    let least = code.float_like(magnitude, 1e-300);
    code.binary(BinaryInst::MaxSelect, complement, least)
}

/// A root as `head + lost`, where the square of `head` is exact.
struct Root<R> {
    root: R,
    head: R,
    lost: R,
}

#[inline(always)]
fn root_of<A: Arithmetic>(code: &mut A, x: A::Reg) -> Root<A::Reg> {
    let root = code.unary(UnaryInst::Sqrt, x);
    let bits = code.bits(root);
    let mask = code.bits_like(bits, 0xffff_ffff_0000_0000);
    let bits = code.binary(BinaryInst::And, bits, mask);
    let head = code.bitcast(Scalar::F64, bits);
    let square = code.mul(head, head);
    let rest = code.sub(x, square);
    let sum = code.add(root, head);
    Root { root, head, lost: code.div(rest, sum) }
}

/// `(asin √z − √z)/√z` for `z ≤ ¼`.
#[inline(always)]
fn ratio<A: Arithmetic>(code: &mut A, z: A::Reg) -> A::Reg {
    let top = code.polynomial(
        z,
        &[
            3.479_331_075_960_211_675_70e-5,
            7.915_349_942_898_145_321_76e-4,
            -4.005_553_450_067_941_140_27e-2,
            2.012_125_321_348_629_258_81e-1,
            -3.255_658_186_224_009_154_05e-1,
            1.666_666_666_666_666_574_15e-1,
        ],
    );
    let top = code.mul(z, top);
    let bottom = code.polynomial(
        z,
        &[
            7.703_815_055_590_193_527_91e-2,
            -6.882_839_716_054_532_930_30e-1,
            2.020_945_760_233_505_694_71,
            -2.403_394_911_734_414_218_78,
            1.0,
        ],
    );
    code.div(top, bottom)
}

/// NaN where the magnitude is above 1 or NaN.
#[inline(always)]
fn outside<A: Arithmetic>(code: &mut A, magnitude: A::Reg, result: A::Reg) -> A::Reg {
    let inside = code.test(CompareInst::Le, magnitude, 1.0);
    let outside = code.mask_not(inside);
    code.replace(outside, f64::NAN, result)
}
