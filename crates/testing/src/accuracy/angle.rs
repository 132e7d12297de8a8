//! The trigonometric functions and their inverses as double-doubles, like [`super::exact`].
//!
//! An angle is reduced to a rest within `π/4` of 0 by integers, which round nothing, and there sine
//! and cosine are Taylor series. An inverse is an approximate angle, corrected by the sine of what
//! turning the point back by it leaves over.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use super::double::{Double, Exact, power_of_two};
use super::exact::{TINY, ordinary, parts};

/// `π/2`.
const HALF_PI: Double = Double { high: FRAC_PI_2, low: 6.123_233_995_736_766e-17 };

/// `2/π`, of which word `i` counts `2^(−64·(i + 1))`.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
    0xf0cf_bc20_9af4_361d,
];

/// `sin x`.
pub(super) fn sin(x: f64) -> Option<Exact> {
    let x = ordinary(x)?;
    Some(if x.abs() < TINY { Exact::of(x) } else { of_angle(x).sin.into() })
}

/// `cos x`.
pub(super) fn cos(x: f64) -> Option<Exact> {
    Some(of_angle(ordinary(x)?).cos.into())
}

/// `tan x`.
pub(super) fn tan(x: f64) -> Option<Exact> {
    let x = ordinary(x)?;
    if x.abs() < TINY {
        return Some(Exact::of(x));
    }
    let Turn { sin, cos } = of_angle(x);
    Some((sin / cos).into())
}

/// `asin x`: the angle of the point of the unit circle at that height.
pub(super) fn asin(x: f64) -> Option<Exact> {
    let size = ordinary(x)?.abs();
    if size > 1.0 {
        return None;
    }
    let angle = if size < TINY { Exact::of(size) } else { angle(size.into(), leg(x)).into() };
    Some(angle.with_sign(x))
}

/// `acos x`.
pub(super) fn acos(x: f64) -> Option<Exact> {
    (-1.0..1.0).contains(&x).then(|| angle(leg(x), x.into()).into())
}

/// `atan x`.
pub(super) fn atan(x: f64) -> Option<Exact> {
    atan2(x, 1.0)
}

/// The angle of the point `(width, height)`.
pub(super) fn atan2(height: f64, width: f64) -> Option<Exact> {
    if height.is_nan() || width.is_nan() {
        return None;
    }
    let limit = |x: f64, other: f64| match (x.is_infinite(), other.is_infinite()) {
        (true, _) => 1f64.copysign(x),
        (false, true) => 0f64.copysign(x),
        (false, false) => x,
    };
    let (up, right) = (limit(height, width), limit(width, height));
    let behind = right.is_sign_negative();
    if up == 0.0 {
        return behind.then(|| Exact::from(HALF_PI.scaled(1)).with_sign(height));
    }
    if right == 0.0 {
        return Some(Exact::from(HALF_PI).with_sign(height));
    }
    let (rise, rise_exponent) = parts(Exact::of(up.abs()));
    let (run, run_exponent) = parts(Exact::of(right.abs()));
    let exponent = rise_exponent - run_exponent;
    // Beyond 2¹²⁰ one of them adds nothing to the angle, unless it is itself the angle.
    if exponent < -120 && !behind {
        return Some(Exact { value: rise / run, exponent }.with_sign(height));
    }
    let rise = rise.scaled(exponent.clamp(-120, 120));
    Some(Exact::from(angle(rise, if behind { -run } else { run })).with_sign(height))
}

/// `√(1 − x²)`.
fn leg(x: f64) -> Double {
    (Double::sum(1.0, -x) * Double::sum(1.0, x)).root()
}

/// The angle of a point that is not below the axis: by turning it back by an approximate one.
fn angle(height: Double, width: Double) -> Double {
    let rough = libm::atan2(height.high, width.high);
    let Turn { sin, cos } = of_angle(rough);
    (height * cos - width * sin) / (width * cos + height * sin) + rough
}

/// Sine and cosine of an angle.
struct Turn {
    sin: Double,
    cos: Double,
}

fn of_angle(x: f64) -> Turn {
    let (quarters, rest) = reduced(x);
    let square = rest * rest;
    let (sin, cos) = (rest * series(square, 1), series(square, 0));
    match quarters % 4 {
        0 => Turn { sin, cos },
        1 => Turn { sin: cos, cos: -sin },
        2 => Turn { sin: -sin, cos: -cos },
        _ => Turn { sin: -cos, cos: sin },
    }
}

/// `1 − z/((n + 1)(n + 2)) + z²/((n + 1)…(n + 4)) − …` for `z` below ⅔.
fn series(z: Double, n: u32) -> Double {
    let divisor = |k: u32| f64::from((2 * k + n - 1) * (2 * k + n));
    // Terms from z⁸ on are below the others' last bits in double precision.
    let tail = (8..=15).rev().fold(1.0, |sum, k| 1.0 - z.high / divisor(k) * sum);
    (1..=7).rev().fold(Double::from(tail), |sum, k| -(z / divisor(k) * sum) + 1.0)
}

/// An angle as quarter turns, modulo 4, and a rest in radians (Payne and Hanek).
fn reduced(x: f64) -> (u32, Double) {
    let size = x.abs();
    if size <= FRAC_PI_4 {
        return (0, x.into());
    }
    // m·2ᵉ. Words of 2/π whose products with it are multiples of 4 do not count, and the fifth that
    // does is 2⁻²⁰² quarters; no double is closer than 2⁻⁶¹ to a multiple of π/2.
    let mantissa = size.to_bits() & ((1 << 52) - 1) | 1 << 52;
    let exponent = (size.to_bits() >> 52) as i32 - 1075;
    let first = (exponent - 2).max(0) / 64;
    let words = &TWO_OVER_PI[first as usize..first as usize + 5];
    let product = times(words, mantissa);
    let fraction_bits = 64 * (first + 5) - exponent;
    // The binary point to the third bit from the top; then the rest is the fraction, with a sign.
    let product = shifted(&product, (382 - fraction_bits) as u32);
    let whole = (product[0] >> 62) as u32;
    let fraction = shifted(&product, 2);
    let (quarters, fraction) = match fraction[0] >> 63 {
        0 => (whole, number(&fraction)),
        _ => (whole + 1, -number(&fraction.map(|word| !word))),
    };
    let rest = fraction * HALF_PI;
    if x < 0.0 { (4 - quarters % 4, -rest) } else { (quarters, rest) }
}

/// The product of a number of five words with one, the highest word first.
fn times(words: &[u64], factor: u64) -> [u64; 6] {
    let mut product = [0; 6];
    let mut carry = 0;
    for (at, word) in words.iter().enumerate().rev() {
        let sum = u128::from(*word) * u128::from(factor) + carry;
        product[at + 1] = sum as u64;
        carry = sum >> 64;
    }
    product[0] = carry as u64;
    product
}

/// Words shifted to the left; what leaves them is lost.
fn shifted(words: &[u64; 6], bits: u32) -> [u64; 6] {
    let (whole, rest) = ((bits / 64) as usize, bits % 64);
    let word = |at: usize| words.get(at).copied().unwrap_or(0);
    std::array::from_fn(|at| {
        let pair = u128::from(word(at + whole)) << 64 | u128::from(word(at + whole + 1));
        (pair << rest >> 64) as u64
    })
}

/// The words' value, of which the first counts `2⁻⁶⁴`, to twice the bits of a double.
fn number(words: &[u64; 6]) -> Double {
    let halves = (0i32..).zip(words).flat_map(|(at, word)| {
        let place = |half: i32| power_of_two(-64 * at - 32 * half);
        [(word >> 32) as f64 * place(1), (word & 0xffff_ffff) as f64 * place(2)]
    });
    let halves: Vec<f64> = halves.collect();
    halves.into_iter().rev().fold(Double::from(0.0), |sum, half| sum + half)
}
