//! Distance of a computed number from the exact one.
//!
//! A unit in the last place is the distance of the format's numbers around the exact value: at and
//! above a power of two that of the numbers above it, below the smallest normal number that of the
//! subnormals. A result is rounded correctly if it is within half a unit. Infinity stands for the
//! first power of two that overflows, so that exceeding the largest number early is an error of
//! some units too.

use super::double::{Double, Exact, power_of_two, times_power};

/// A float format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// Exponent of the last place of the smallest normal number.
    least_place: i32,
    /// Bits of a significand, the implicit one left out.
    stored: i32,
    /// Exponent of the first power of two that overflows.
    overflow: i32,
}

pub(super) const F32: Format = Format { least_place: -149, stored: 23, overflow: 128 };
pub(super) const F64: Format = Format { least_place: -1074, stored: 52, overflow: 1024 };

/// Closer to half a unit than this, a double says not whether the nearest was found: it is some
/// units of 2⁻²⁹ off.
const DOUBT: f64 = 1e-7;

/// Units in the last place of an `f32` between `found` and a value that a double is within three
/// units of its own; `None` where that leaves in doubt whether it was rounded correctly.
///
/// Neither is zero, infinite or NaN by the function's rules; `exact` is within the range of doubles,
/// and may be beyond that of `f32`.
pub(super) fn of_f32(found: f32, exact: f64) -> Option<f64> {
    let limit = power_of_two(F32.overflow);
    let exact = exact.clamp(-limit, limit);
    let found = f64::from(found).clamp(-limit, limit);
    let place = F32.place(exponent_of(exact));
    let error = (found - exact).abs() * power_of_two(-place);
    ((error - 0.5).abs() > DOUBT).then_some(error)
}

/// Units in the last place of an `f64` between `found` and `exact`.
pub fn ulps_f64(found: f64, exact: &Exact) -> f64 {
    of(F64, found, exact)
}

/// Units in the last place between `found` and `exact`.
pub(super) fn of(format: Format, found: f64, exact: &Exact) -> f64 {
    // The value between 1 and 2, so that nothing below leaves the range of doubles by accident.
    let shift = exponent_of(exact.value.high);
    let part = |x| times_power(x, -shift);
    let mut value = Double { high: part(exact.value.high), low: part(exact.value.low) };
    let mut exponent = exact.exponent + shift;
    let mut binade = exponent;
    // A power of two that was rounded up belongs to the binade below.
    let is_power = value.high.to_bits() << 12 == 0;
    if is_power && value.low * value.high < 0.0 {
        binade -= 1;
    }
    if binade >= format.overflow {
        // Nothing is between this and infinity.
        value = 1f64.copysign(value.high).into();
        (exponent, binade) = (format.overflow, format.overflow);
    }
    if binade < format.least_place - 64 {
        return times_power(found.abs(), -format.least_place);
    }
    // In units of 2^exponent from here.
    let infinity = times_power(1f64.copysign(value.high), format.overflow - exponent);
    let found = if found == f64::INFINITY.copysign(infinity) {
        infinity
    } else {
        times_power(found, -exponent)
    };
    let difference = ((found - value.high) - value.low).abs();
    times_power(difference, exponent - format.place(binade))
}

impl Format {
    /// Exponent of the last place of numbers of a binade.
    fn place(self, binade: i32) -> i32 {
        (binade.min(self.overflow - 1) - self.stored).max(self.least_place)
    }
}

/// Exponent of a normal number.
fn exponent_of(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(found: f64, value: Double, exponent: i32) -> f64 {
        of(F64, found, &Exact { value, exponent })
    }

    #[test]
    fn units_are_those_of_the_exact_value() {
        let last = f64::EPSILON;
        assert_eq!(ulps(1.0 + last, 1.0.into(), 0), 1.0);
        assert_eq!(ulps(1.0 - last / 2.0, 1.0.into(), 0), 0.5);
        assert_eq!(ulps(1.0, Double { high: 1.0, low: -last / 8.0 }, 0), 0.25);
        assert_eq!(ulps(-3.0, Double { high: -1.5, low: 0.0 }, 1), 0.0);
        assert_eq!(ulps(5e-324, 1.0.into(), -1075), 0.5);
        assert_eq!(ulps(f64::MIN_POSITIVE, 1.0.into(), -4000), 2f64.powi(52));
        assert_eq!(ulps(0.0, 1.0.into(), -4000), 0.0);
    }

    #[test]
    fn infinity_is_the_first_power_of_two_that_overflows() {
        assert_eq!(ulps(f64::INFINITY, 1.0.into(), 4000), 0.0);
        assert_eq!(ulps(f64::MAX, 1.0.into(), 4000), 1.0);
        assert_eq!(ulps(f64::INFINITY, f64::MAX.into(), 0), 1.0);
        assert_eq!(ulps(f64::NEG_INFINITY, 1.0.into(), 4000), f64::INFINITY);
        assert_eq!(of_f32(f32::INFINITY, 3.5e38), Some(0.0));
        assert_eq!(of_f32(f32::MAX, f64::MAX), Some(1.0));
        assert_eq!(of_f32(f32::INFINITY, f64::from(f32::MAX)), Some(1.0));
    }

    #[test]
    fn halves_of_a_unit_are_in_doubt() {
        assert_eq!(of_f32(1.0, 1.0 + 2f64.powi(-24)), None);
        assert_eq!(of_f32(1.0, 1.0 + 2f64.powi(-25)), Some(0.25));
    }
}
