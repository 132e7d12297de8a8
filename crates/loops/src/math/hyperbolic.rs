//! Hyperbolic functions and their inverses, but `tanh`.
//!
//! Exponentials and logarithms of expressions that neither cancel nor overflow, after fdlibm (Sun
//! Microsystems, `e_sinh.c`, `e_cosh.c`, `s_asinh.c`, `e_acosh.c`, `s_atanh.c`). `f32` is computed
//! in `f64`.

use std::f64::consts::LN_2;

use super::arithmetic::Arithmetic;
use super::compound::Compound;
use super::wide::in_f64;
use super::{exp, expm1, log1p};
use crate::kernel::{BinaryInst, CompareInst, UnaryInst};

/// Beyond this `eˣ` may be infinite where `eˣ/2` is not.
const LARGE: f64 = 709.0;

/// `sinh x`, as `(t + t/(t + 1))/2` with `t = eˣ − 1`.
#[inline(always)]
pub(super) fn sinh<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(sinh_f64, code, x)
}

#[inline(always)]
fn sinh_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let t = expm1(code, magnitude);
    let more = code.offset(t, 1.0);
    let ratio = code.div(t, more);
    let sum = code.add(t, ratio);
    let result = code.scale(sum, 0.5);
    let result = unless_large(code, magnitude, result);
    code.with_sign(result, x)
}

/// `cosh x`, as `eˣ/2 + 1/(2·eˣ)`.
#[inline(always)]
pub(super) fn cosh<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(cosh_f64, code, x)
}

#[inline(always)]
fn cosh_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let power = exp(code, magnitude);
    let half = code.scale(power, 0.5);
    let numerator = code.float_like(x, 0.5);
    let inverse = code.div(numerator, power);
    let result = code.add(half, inverse);
    unless_large(code, magnitude, result)
}

/// The result, but `eˣ/2` without overflow where `x` is large: there both functions are it.
#[inline(always)]
fn unless_large<A: Arithmetic>(code: &mut A, x: A::Reg, result: A::Reg) -> A::Reg {
    let half = code.scale(x, 0.5);
    let root = exp(code, half);
    let half = code.scale(root, 0.5);
    let large = code.mul(half, root);
    let is_large = code.test(CompareInst::Gt, x, LARGE);
    code.select(is_large, large, result)
}

/// Beyond this the inverses of `sinh` and `cosh` are `ln 2x`, and squares stay finite below.
const HUGE: f64 = 18_014_398_509_481_984.0;

/// `asinh x`, as `ln(1 + x + x²/(1 + √(1 + x²)))`.
#[inline(always)]
pub(super) fn asinh<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(asinh_f64, code, x)
}

#[inline(always)]
fn asinh_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let bounded = bounded(code, magnitude);
    let square = code.mul(bounded, bounded);
    let root = code.offset(square, 1.0);
    let root = code.unary(UnaryInst::Sqrt, root);
    let divisor = code.offset(root, 1.0);
    let ratio = code.div(square, divisor);
    let sum = code.add(bounded, ratio);
    let result = log_of_sum(code, magnitude, sum);
    code.with_sign(result, x)
}

/// `acosh x`, as `ln(1 + t + √(t² + 2t))` with `t = x − 1`.
#[inline(always)]
pub(super) fn acosh<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(acosh_f64, code, x)
}

#[inline(always)]
fn acosh_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let bounded = bounded(code, x);
    let t = code.offset(bounded, -1.0);
    let more = code.offset(t, 2.0);
    let product = code.mul(t, more);
    let root = code.unary(UnaryInst::Sqrt, product);
    let sum = code.add(t, root);
    let result = log_of_sum(code, x, sum);
    let inside = code.test(CompareInst::Ge, x, 1.0);
    let outside = code.mask_not(inside);
    code.replace(outside, f64::NAN, result)
}

/// `x`, but at most [`HUGE`]; NaN stays.
#[inline(always)]
fn bounded<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let most = code.float_like(x, HUGE);
    code.binary(BinaryInst::MinSelect, most, x)
}

/// `ln(1 + sum)`, or `ln 2x` where `x` is huge.
#[inline(always)]
fn log_of_sum<A: Arithmetic>(code: &mut A, x: A::Reg, sum: A::Reg) -> A::Reg {
    let huge = code.test(CompareInst::Gt, x, HUGE);
    let argument = code.select(huge, x, sum);
    let log = log1p(code, argument);
    let doubled = code.offset(log, LN_2);
    code.select(huge, doubled, log)
}

/// `atanh x`, as `ln(1 + 2x + 2x²/(1 − x))/2`.
#[inline(always)]
pub(super) fn atanh<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    in_f64!(atanh_f64, code, x)
}

#[inline(always)]
fn atanh_f64<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let magnitude = code.abs(x);
    let one = code.float_like(x, 1.0);
    let rest = code.sub(one, magnitude);
    let twice = code.add(magnitude, magnitude);
    // Near 0 the sum keeps bits that the quotient 2x/(1 − x) rounds away.
    let product = code.mul(twice, magnitude);
    let ratio = code.div(product, rest);
    let near = code.add(twice, ratio);
    let far = code.div(twice, rest);
    let is_near = code.test(CompareInst::Lt, magnitude, 0.5);
    let argument = code.select(is_near, near, far);
    let log = log1p(code, argument);
    let result = code.scale(log, 0.5);
    let result = code.with_sign(result, x);
    let inside = code.test(CompareInst::Le, magnitude, 1.0);
    let outside = code.mask_not(inside);
    code.replace(outside, f64::NAN, result)
}
