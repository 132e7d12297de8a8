//! The elementary functions as double-doubles.
//!
//! Every result is within 2⁻⁸⁶ of the exact value, relatively, which tests hold against arithmetic
//! of any precision. `None` is what no finite nonzero number is: poles, zeros, NaN, and operands
//! outside of the domain, where any reference says the same.
//!
//! One idea serves them all. `expm1` is a Taylor series of an operand made small by subtracting
//! multiples of `ln 2` and halving, which lose nothing. A logarithm is an approximate one, corrected by
//! what `expm1` of it leaves over. The rest is arithmetic, but for [`super::angle`].

use super::double::{Double, Exact, power_of_two};

/// `ln 2` in three parts.
const LN_2: Double = Double { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };
const LN_2_REST: f64 = 5.707_708_438_416_212e-34;

/// `2/√π`.
const TWO_OVER_ROOT_PI: Double =
    Double { high: std::f64::consts::FRAC_2_SQRT_PI, low: 1.533_545_961_316_588e-17 };

/// `1/√π`.
const ROOT_OF_PI_INVERSE: Double =
    Double { high: 0.564_189_583_547_756_3, low: 7.667_729_806_582_94e-18 };

/// Below this magnitude functions with `f(x) = x + O(x²)` are `x` as far as can be seen.
pub(super) const TINY: f64 = 1e-33;

/// What is not finite and nonzero has no exact value here.
pub(super) fn ordinary(x: f64) -> Option<f64> {
    (x.is_finite() && x != 0.0).then_some(x)
}

/// `eˣ`.
pub(super) fn exp(x: f64) -> Option<Exact> {
    ordinary(x).map(|x| exp_of(Double::from(x)))
}

/// `eˣ − 1`.
pub(super) fn expm1(x: f64) -> Option<Exact> {
    let x = ordinary(x)?;
    Some(if x.abs() < TINY { Exact::of(x) } else { expm1_of(x) })
}

/// `ln x`.
pub(super) fn log(x: f64) -> Option<Exact> {
    if x == 1.0 || x < 0.0 {
        return None;
    }
    let x = Exact::of(ordinary(x)?);
    Some(Exact::from(log_of(x)))
}

/// `ln(1 + x)`.
pub(super) fn log1p(x: f64) -> Option<Exact> {
    let x = ordinary(x)?;
    if x <= -1.0 {
        return None;
    }
    Some(if x.abs() < TINY { Exact::of(x) } else { log_of(Double::sum(1.0, x).into()).into() })
}

/// `√x`.
pub(super) fn sqrt(x: f64) -> Option<Exact> {
    let (mantissa, half_exponent) = even_parts(x)?;
    Some(Exact { value: Double::from(mantissa).root(), exponent: half_exponent })
}

/// `1/√x`.
pub(super) fn rsqrt(x: f64) -> Option<Exact> {
    let (mantissa, half_exponent) = even_parts(x)?;
    Some(Exact { value: Double::ONE / Double::from(mantissa).root(), exponent: -half_exponent })
}

/// `1/x`.
pub(super) fn reciprocal(x: f64) -> Option<Exact> {
    let (mantissa, exponent) = parts(Exact::of(ordinary(x)?.abs()));
    Some(Exact { value: Double::ONE / mantissa, exponent: -exponent }.with_sign(x))
}

/// `tanh x`, as `t/(t + 2)` with `t = e²ˣ − 1`.
pub(super) fn tanh(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size < TINY {
        return Some(Exact::of(x));
    }
    // Beyond 40 it differs from 1 by less than 2⁻¹¹⁴.
    let value = if size > 40.0 {
        Double::ONE
    } else {
        let t = expm1_of(2.0 * size).to_double();
        t / (t + 2.0)
    };
    Some(Exact::from(value).with_sign(x))
}

/// `1/(1 + e⁻ˣ)`.
pub(super) fn sigmoid(x: f64) -> Option<Exact> {
    let power = exp_of(Double::from(-ordinary(x)?.abs()));
    let sum = Double::ONE + power.to_double();
    Some(if x > 0.0 {
        (Double::ONE / sum).into()
    } else {
        Exact { value: power.value / sum, exponent: power.exponent }
    })
}

/// `ln(1 + eˣ)`.
pub(super) fn softplus(x: f64) -> Option<Exact> {
    let power = exp_of(Double::from(-ordinary(x)?.abs()));
    let small = power.to_double();
    let log = if small.high < TINY { power } else { log1p_of(small).into() };
    Some(if x > 0.0 { (log.to_double() + x).into() } else { log })
}

/// `x·sigmoid(x)`.
pub(super) fn silu(x: f64) -> Option<Exact> {
    let sigmoid = sigmoid(x)?;
    let (mantissa, exponent) = parts(Exact::of(x.abs()));
    let exact = Exact { value: sigmoid.value * mantissa, exponent: sigmoid.exponent + exponent };
    Some(exact.with_sign(x))
}

/// `erf x`: below 3 the series of positive terms `2/√π·e^(−x²)·Σ 2ⁿ·x²ⁿ⁺¹/(2n + 1)!!`, and beyond
/// it by the complement.
pub(super) fn erf(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size >= 3.0 {
        return Some(Exact::from(-erfc_of(size).to_double() + 1.0).with_sign(x));
    }
    if size < TINY {
        let (mantissa, exponent) = parts(Exact::of(size));
        return Some(Exact { value: TWO_OVER_ROOT_PI * mantissa, exponent }.with_sign(x));
    }
    Some(Exact::from(erf_of(size)).with_sign(x))
}

/// `1 − erf x`.
pub(super) fn erfc(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size >= 3.0 {
        let complement = erfc_of(size);
        return Some(if x > 0.0 { complement } else { (-complement.to_double() + 2.0).into() });
    }
    let erf = if size < TINY { Double::from(0.0) } else { erf_of(size) };
    Some((if x > 0.0 { -erf + 1.0 } else { erf + 1.0 }).into())
}

fn erf_of(size: f64) -> Double {
    let square = Double::product(size, size);
    let twice = square * 2.0;
    let (mut term, mut sum) = (Double::from(size), Double::from(size));
    let mut odd = 3.0;
    while term.high > sum.high * 1e-33 {
        term = term * twice / odd;
        sum = sum + term;
        odd += 2.0;
    }
    let bell = exp_of(-square).to_double();
    TWO_OVER_ROOT_PI * bell * sum
}

/// `e^(−x²)/√π` over the continued fraction `x + ½/(x + 1/(x + 1½/(x + …)))`, for `x` from 3 on.
fn erfc_of(size: f64) -> Exact {
    // Beyond this even the smallest number is too large.
    let size = size.min(60.0);
    let terms = (720.0 / (size * size)) as u32 + 16;
    let fraction = (1..=terms)
        .rev()
        .fold(Double::from(size), |rest, k| Double::from(0.5 * f64::from(k)) / rest + size);
    let bell = exp_of(-Double::product(size, size));
    Exact { value: bell.value * ROOT_OF_PI_INVERSE / fraction, exponent: bell.exponent }
}

/// `2ˣ`.
pub(super) fn exp2(x: f64) -> Option<Exact> {
    let x = ordinary(x)?.clamp(-4000.0, 4000.0);
    let count = x.round_ties_even();
    let Exact { value, exponent } = exp_of(LN_2 * (x - count));
    Some(Exact { value, exponent: exponent + count as i32 })
}

/// `log₂ x`.
pub(super) fn log2(x: f64) -> Option<Exact> {
    if x == 1.0 || x < 0.0 {
        return None;
    }
    let (mantissa, exponent) = parts(Exact::of(ordinary(x)?));
    Some((log_of(mantissa.into()) / LN_2 + f64::from(exponent)).into())
}

/// `sinh x`, as `(t + t/(t + 1))/2` with `t = eˣ − 1`.
pub(super) fn sinh(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size < TINY {
        return Some(Exact::of(x));
    }
    if size > 50.0 {
        return Some(half_power(size).with_sign(x));
    }
    let t = expm1_of(size).to_double();
    Some(Exact::from((t + t / (t + 1.0)).scaled(-1)).with_sign(x))
}

/// `cosh x`.
pub(super) fn cosh(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size > 50.0 {
        return Some(half_power(size));
    }
    let power = exp_of(size.into()).to_double();
    Some((power + Double::ONE / power).scaled(-1).into())
}

/// `eˣ/2`.
fn half_power(x: f64) -> Exact {
    let Exact { value, exponent } = exp_of(x.into());
    Exact { value, exponent: exponent - 1 }
}

/// Beyond this the squares of the inverses below add nothing, and may overflow.
const HUGE: f64 = 1e100;

/// `asinh x`, as `ln(1 + x + x²/(1 + √(1 + x²)))`.
pub(super) fn asinh(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size < TINY {
        return Some(Exact::of(x));
    }
    let log = if size > HUGE {
        log_of_double(size)
    } else {
        let square = Double::product(size, size);
        log_from_1(square / ((square + 1.0).root() + 1.0) + size)
    };
    Some(Exact::from(log).with_sign(x))
}

/// `acosh x`, as `ln(1 + t + √(t² + 2t))` with `t = x − 1`.
pub(super) fn acosh(x: f64) -> Option<Exact> {
    let x = ordinary(x).filter(|x| *x > 1.0)?;
    if x > HUGE {
        return Some(log_of_double(x).into());
    }
    let t = Double::sum(x, -1.0);
    Some(log_from_1(t + (t * (t + 2.0)).root()).into())
}

/// `atanh x`, as `ln(1 + 2x/(1 − x))/2`.
pub(super) fn atanh(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size < TINY {
        return Some(Exact::of(x));
    }
    let rest = Double::sum(1.0, -size);
    let log = (size < 1.0).then(|| log_from_1(Double::from(2.0 * size) / rest));
    log.map(|log| Exact::from(log.scaled(-1)).with_sign(x))
}

/// `ln 2x`.
fn log_of_double(x: f64) -> Double {
    log_of(Exact { value: x.into(), exponent: 1 })
}

/// `ln(1 + p)` of a positive `p` of any size.
fn log_from_1(p: Double) -> Double {
    if p.high < 1.0 { log1p_of(p) } else { log_of((p + 1.0).into()) }
}

/// `|x|ʸ`, with the sign that the caller knows.
pub(super) fn pow(x: f64, y: f64) -> Option<Exact> {
    let (size, y) = (ordinary(x.abs())?, ordinary(y)?);
    let whole = y.trunc() == y;
    if size == 1.0 || (x < 0.0 && !whole) {
        return None;
    }
    let odd = whole && (y * 0.5).trunc() != y * 0.5;
    // Where the exponent is beyond any range, its size does not matter, and must not overflow.
    let log = log_of(Exact::of(size));
    let rough = log.high * y;
    let exponent = if rough.abs() > 3000.0 || y.abs() < 1e-200 { rough.into() } else { log * y };
    Some(exp_of(exponent).with_sign(if odd && x < 0.0 { -1.0 } else { 1.0 }))
}

/// What is left of an operand without the multiple of `ln 2` that is nearest, and that multiple.
fn reduced(x: Double) -> (Double, i32) {
    let count = (x.high * std::f64::consts::LOG2_E).round_ties_even();
    let rest = x - Double::product(LN_2.high, count) - Double::product(LN_2.low, count);
    (rest + -(LN_2_REST * count), count as i32)
}

/// `eˣ`, of magnitudes up to some thousands.
fn exp_of(x: Double) -> Exact {
    // Beyond these every format has overflowed or has nothing left, whatever it is multiplied by.
    if x.high.abs() > 3000.0 {
        return Exact { value: Double::ONE, exponent: if x.high > 0.0 { 4000 } else { -4000 } };
    }
    let (rest, exponent) = reduced(x);
    Exact { value: taylor(rest) + 1.0, exponent }
}

/// `eˣ − 1`.
fn expm1_of(x: f64) -> Exact {
    if x > 200.0 {
        return exp_of(Double::from(x));
    }
    let (rest, exponent) = reduced(Double::from(x.max(-200.0)));
    let power = taylor(rest);
    // 2ⁿ·(1 + p) − 1.
    let sum = if exponent == 0 {
        power
    } else {
        power.scaled(exponent) + Double::sum(power_of_two(exponent), -1.0)
    };
    sum.into()
}

/// `eʳ − 1` for `|r| ≤ ½ ln 2`: the series of `r/64`, and `(1 + e)² − 1 = 2e + e²` six times.
fn taylor(r: Double) -> Double {
    let y = r.scaled(-6);
    // Terms from y⁷ on are below the others' last bits in double precision.
    let tail = (1..=6).rev().fold(1.0, |sum, k| 1.0 + y.high / f64::from(7 + k) * sum);
    let sum = (2..=7).rev().fold(Double::from(tail), |sum, k| y / f64::from(k) * sum + 1.0);
    (0..6).fold(y * sum, |e, _| e.scaled(1) + e * e)
}

/// `ln x`: an approximation `a`, and the logarithm of `x·e⁻ᵃ`, which is nearly 1.
fn log_of(x: Exact) -> Double {
    let (mantissa, exponent) = parts(x);
    let a = libm::log(mantissa.high);
    let power = if a == 0.0 { Double::from(0.0) } else { expm1_of(-a).to_double() };
    let less = Double::sum(mantissa.high, -1.0) + mantissa.low;
    let u = less + mantissa * power;
    let near = u - u * u * 0.5 + a;
    if exponent == 0 {
        return near;
    }
    let count = f64::from(exponent);
    let whole = Double::product(LN_2.high, count) + Double::product(LN_2.low, count);
    whole + near
}

/// `ln(1 + p)` of `0 < p ≤ 1`, likewise.
fn log1p_of(p: Double) -> Double {
    let a = libm::log1p(p.high);
    let u = p + (p + 1.0) * expm1_of(-a).to_double();
    u - u * u * 0.5 + a
}

/// A positive number as `m·2ᵉ` with `m` between `√½` and `√2`.
pub(super) fn parts(x: Exact) -> (Double, i32) {
    let bits = x.value.high.to_bits() as i64;
    let above = bits - std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64;
    let exponent = (above >> 52) as i32;
    // Two steps, since the power may be beyond normal numbers though the result is not.
    let half = exponent / 2;
    (x.value.scaled(-half).scaled(half - exponent), exponent + x.exponent)
}

/// A positive number as `m·4ᵉ` with `m` between ½ and 4.
fn even_parts(x: f64) -> Option<(f64, i32)> {
    if x < 0.0 {
        return None;
    }
    let (mantissa, exponent) = parts(Exact::of(ordinary(x)?));
    let half = exponent.div_euclid(2);
    Some((mantissa.high * power_of_two(exponent - 2 * half), half))
}
