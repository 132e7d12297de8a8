//! Unevaluated sums of two doubles: some 104 bits.
//!
//! Dekker's and Knuth's error-free transformations, as in Hida, Li and Bailey, "Library for
//! Double-Double and Quad-Double Arithmetic" (2007). Products are split by Veltkamp's constant
//! rather than taken by a fused multiply-add, which is a call where the target is not known to
//! have it. Each operation is within a few units of 2⁻¹⁰⁴ of its result; operands stay well inside
//! the range of exponents ([`Exact`] carries what does not).

use std::ops::{Add, Div, Mul, Neg, Sub};

/// `high + low`, where `high` is the sum rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Double {
    /// The sum rounded.
    pub high: f64,
    /// What the rounding lost.
    pub low: f64,
}

/// `value · 2^exponent`: a number that may be beyond the range of doubles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exact {
    /// The significant part, not zero.
    pub value: Double,
    /// The power of two.
    pub exponent: i32,
}

impl Double {
    /// 1.
    pub const ONE: Double = Double { high: 1.0, low: 0.0 };

    /// The exact sum.
    pub fn sum(x: f64, y: f64) -> Double {
        let high = x + y;
        let part = high - x;
        Double { high, low: (x - (high - part)) + (y - part) }
    }

    /// The exact sum where `|x| ≥ |y|`, or `x` is 0.
    fn ordered_sum(x: f64, y: f64) -> Double {
        let high = x + y;
        Double { high, low: y - (high - x) }
    }

    /// The exact product.
    pub fn product(x: f64, y: f64) -> Double {
        let high = x * y;
        let ((xh, xl), (yh, yl)) = (halves(x), halves(y));
        Double { high, low: ((xh * yh - high) + xh * yl + xl * yh) + xl * yl }
    }

    /// The square root of a number that is not negative.
    #[must_use]
    pub fn root(self) -> Double {
        let root = self.high.sqrt();
        if root == 0.0 {
            return self;
        }
        let rest = self - Double::product(root, root);
        Double::ordered_sum(root, rest.high / (2.0 * root))
    }

    /// `value · 2^exponent` with an exponent that leaves it in range.
    #[must_use]
    pub fn scaled(self, exponent: i32) -> Double {
        let power = power_of_two(exponent);
        Double { high: self.high * power, low: self.low * power }
    }
}

/// `2^exponent`, of a normal number.
pub(super) fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent), "2^{exponent} is no normal number");
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// `x · 2^exponent`, which may overflow or be subnormal.
pub(super) fn times_power(x: f64, exponent: i32) -> f64 {
    let exponent = exponent.clamp(-2044, 2044);
    let half = exponent / 2;
    x * power_of_two(half) * power_of_two(exponent - half)
}

/// A number as the sum of two of half as many bits.
fn halves(x: f64) -> (f64, f64) {
    let spread = 134_217_729.0 * x;
    let high = spread - (spread - x);
    (high, x - high)
}

impl From<f64> for Double {
    fn from(high: f64) -> Double {
        Double { high, low: 0.0 }
    }
}

impl Exact {
    /// A number other than zero; subnormals are scaled.
    pub fn of(x: f64) -> Exact {
        if x.abs() < f64::MIN_POSITIVE {
            return Exact { value: Double::from(x * power_of_two(600)), exponent: -600 };
        }
        Exact { value: Double::from(x), exponent: 0 }
    }

    /// The number rounded, where it is in range; as a double-double where that is so too.
    pub fn to_double(self) -> Double {
        match self.exponent {
            0 => self.value,
            exponent @ -300..=300 => self.value.scaled(exponent),
            exponent => Double::from(times_power(self.value.high, exponent)),
        }
    }

    /// The number, negated if `sign` is negative.
    #[must_use]
    pub fn with_sign(self, sign: f64) -> Exact {
        if self.value.high.is_sign_negative() == sign.is_sign_negative() {
            self
        } else {
            Exact { value: -self.value, exponent: self.exponent }
        }
    }
}

impl From<Double> for Exact {
    fn from(value: Double) -> Exact {
        Exact { value, exponent: 0 }
    }
}

impl Neg for Double {
    type Output = Double;

    fn neg(self) -> Double {
        Double { high: -self.high, low: -self.low }
    }
}

impl Add for Double {
    type Output = Double;

    fn add(self, other: Double) -> Double {
        let (high, low) = (Double::sum(self.high, other.high), Double::sum(self.low, other.low));
        let sum = Double::ordered_sum(high.high, high.low + low.high);
        Double::ordered_sum(sum.high, sum.low + low.low)
    }
}

impl Add<f64> for Double {
    type Output = Double;

    fn add(self, other: f64) -> Double {
        let sum = Double::sum(self.high, other);
        Double::ordered_sum(sum.high, sum.low + self.low)
    }
}

impl Sub for Double {
    type Output = Double;

    fn sub(self, other: Double) -> Double {
        self + -other
    }
}

impl Mul for Double {
    type Output = Double;

    fn mul(self, other: Double) -> Double {
        let product = Double::product(self.high, other.high);
        let low = product.low + (self.high * other.low + self.low * other.high);
        Double::ordered_sum(product.high, low)
    }
}

impl Mul<f64> for Double {
    type Output = Double;

    fn mul(self, other: f64) -> Double {
        let product = Double::product(self.high, other);
        Double::ordered_sum(product.high, product.low + self.low * other)
    }
}

impl Div for Double {
    type Output = Double;

    fn div(self, other: Double) -> Double {
        let first = self.high / other.high;
        let rest = self - other * first;
        let second = rest.high / other.high;
        let rest = rest - other * second;
        Double::ordered_sum(first, second) + rest.high / other.high
    }
}

impl Div<f64> for Double {
    type Output = Double;

    fn div(self, other: f64) -> Double {
        let first = self.high / other;
        let rest = self - Double::product(first, other);
        Double::ordered_sum(first, rest.high / other)
    }
}
