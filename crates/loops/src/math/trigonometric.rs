//! Sine, cosine and tangent.
//!
//! The argument is reduced to `|r| ≤ π/4` with its quadrant ([`super::quadrant`]), where the
//! polynomials are those of fdlibm (Sun Microsystems, `k_sin.c`, `k_cos.c`); the quadrant says
//! which of the two, and its sign. The tangent is their quotient. `f32` is computed in `f64`.

use super::arithmetic::Arithmetic;
use super::compound::Compound;
use super::double::Double;
use super::quadrant::{Quadrant, reduce, reduce_f32};
use super::wide::in_f64;
use crate::kernel::CompareInst;

/// `sin x`.
#[inline(always)]
pub(super) fn sin<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    if code.is_f32(x) { in_f64!(sin_of::<A, true>, code, x) } else { sin_of::<A, false>(code, x) }
}

/// `cos x`.
#[inline(always)]
pub(super) fn cos<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    if code.is_f32(x) { in_f64!(cos_of::<A, true>, code, x) } else { cos_of::<A, false>(code, x) }
}

/// `tan x`.
#[inline(always)]
pub(super) fn tan<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    if code.is_f32(x) { in_f64!(tan_of::<A, true>, code, x) } else { tan_of::<A, false>(code, x) }
}

/// `sin x` in `f64`. `SINGLE`, here and below, says that an `f32` holds `x`.
#[inline(always)]
fn sin_of<A: Arithmetic, const SINGLE: bool>(code: &mut A, x: A::Reg) -> A::Reg {
    let angle = Angle::of::<A, SINGLE>(code, x);
    let result = angle.sine(code, 0);
    // The smallest arguments are their own sines, −0 too.
    let zero = code.test(CompareInst::Eq, x, 0.0);
    let result = code.select(zero, x, result);
    unless_endless(code, x, result)
}

/// `cos x` in `f64`.
#[inline(always)]
fn cos_of<A: Arithmetic, const SINGLE: bool>(code: &mut A, x: A::Reg) -> A::Reg {
    let angle = Angle::of::<A, SINGLE>(code, x);
    let result = angle.sine(code, 1);
    unless_endless(code, x, result)
}

/// `tan x` in `f64`.
#[inline(always)]
fn tan_of<A: Arithmetic, const SINGLE: bool>(code: &mut A, x: A::Reg) -> A::Reg {
    let angle = Angle::of::<A, SINGLE>(code, x);
    let sine = angle.sine(code, 0);
    let cosine = angle.sine(code, 1);
    let result = code.div(sine, cosine);
    let zero = code.test(CompareInst::Eq, x, 0.0);
    let result = code.select(zero, x, result);
    unless_endless(code, x, result)
}

/// The result, but NaN where the angle is infinite or NaN.
#[inline(always)]
fn unless_endless<A: Arithmetic>(code: &mut A, x: A::Reg, result: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let finite = code.test(CompareInst::Lt, magnitude, f64::INFINITY);
    let not_finite = code.mask_not(finite);
    code.replace(not_finite, f64::NAN, result)
}

/// An angle with the sine and cosine of its rest.
struct Angle<R> {
    quadrant: Quadrant<R>,
    sin: R,
    cos: R,
}

impl<R: Copy> Angle<R> {
    #[inline(always)]
    fn of<A: Arithmetic<Reg = R>, const SINGLE: bool>(code: &mut A, x: R) -> Angle<R> {
        let quadrant = if SINGLE { reduce_f32(code, x) } else { reduce(code, x) };
        let (sin, cos) = (sine(code, quadrant.rest), cosine(code, quadrant.rest));
        Angle { quadrant, sin, cos }
    }

    /// The sine of the angle and `more` quarter turns.
    #[inline(always)]
    fn sine<A: Arithmetic<Reg = R>>(&self, code: &mut A, more: i64) -> R {
        let odd = self.quadrant.has(code, 1, more);
        let size = code.select(odd, self.cos, self.sin);
        let turned = self.quadrant.has(code, 2, more);
        let minus = code.neg(size);
        code.select(turned, minus, size)
    }
}

/// `sin r` for `|r| ≤ π/4`.
#[inline(always)]
fn sine<A: Arithmetic>(code: &mut A, Double(r, low): Double<A::Reg>) -> A::Reg {
    let square = code.mul(r, r);
    let polynomial = code.polynomial(
        square,
        &[
            1.589_690_995_211_550_102_21e-10,
            -2.505_076_025_340_686_341_95e-8,
            2.755_731_370_707_006_767_89e-6,
            -1.984_126_982_985_794_931_34e-4,
            8.333_333_333_322_489_461_24e-3,
        ],
    );
    let cube = code.mul(square, r);
    // r − ((z·(low/2 − r³·p) − low) + r³/6)
    let half = code.scale(low, 0.5);
    let product = code.mul(cube, polynomial);
    let difference = code.sub(half, product);
    let minus_low = code.neg(low);
    let correction = code.mul_add(square, difference, minus_low);
    let sixth = code.float_like(r, 1.666_666_666_666_663_243_48e-1);
    let correction = code.mul_add(cube, sixth, correction);
    code.sub(r, correction)
}

/// `cos r` for `|r| ≤ π/4`.
#[inline(always)]
fn cosine<A: Arithmetic>(code: &mut A, Double(r, low): Double<A::Reg>) -> A::Reg {
    let square = code.mul(r, r);
    let polynomial = code.polynomial(
        square,
        &[
            -1.135_964_755_778_819_482_65e-11,
            2.087_572_321_298_174_827_90e-9,
            -2.755_731_435_139_066_330_35e-7,
            2.480_158_728_947_672_941_78e-5,
            -1.388_888_888_887_410_957_49e-3,
            4.166_666_666_666_660_190_37e-2,
        ],
    );
    let half = code.scale(square, 0.5);
    let one = code.float_like(r, 1.0);
    let head = code.sub(one, half);
    // What the difference rounded away.
    let back = code.sub(one, head);
    let lost = code.sub(back, half);
    let fourth = code.mul(square, square);
    let product = code.mul(r, low);
    let minus = code.neg(product);
    let tail = code.mul_add(fourth, polynomial, minus);
    let tail = code.add(lost, tail);
    code.add(head, tail)
}
