//! Difference quotients that know how good they are.

/// Where a function is looked at, in steps.
pub(super) const OFFSETS: [f64; 6] = [-1.0, -0.5, -0.25, 0.25, 0.5, 1.0];

/// A derivative from differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quotient {
    /// The derivative.
    pub(super) value: f64,
    /// How far it may be off: far where the function has a kink or a jump, or bends much.
    pub(super) uncertainty: f64,
}

impl Quotient {
    /// From the values at [`OFFSETS`] times `step` and the one in the middle; `None` where one is
    /// not finite.
    ///
    /// Central quotients err by the square of the step, so two of them, one of half the step, give
    /// one that errs by its fourth power (Richardson), and two such agree where the function is
    /// smooth. At a kink right in the middle all central quotients agree on the mean of the two slopes;
    /// there the difference of the one-sided quotients does not halve with the step.
    pub(super) fn of(around: &[f64], middle: f64, step: f64) -> Option<Quotient> {
        let &[far_left, left, near_left, near_right, right, far_right] = around else {
            return None;
        };
        let wide = (far_right - far_left) / (2.0 * step);
        let half = (right - left) / step;
        let quarter = (near_right - near_left) / (0.5 * step);
        let (coarse, fine) = ((4.0 * half - wide) / 3.0, (4.0 * quarter - half) / 3.0);
        let bend = (far_right - 2.0 * middle + far_left) / step;
        let half_bend = (right - 2.0 * middle + left) / (0.5 * step);
        let quarter_bend = (near_right - 2.0 * middle + near_left) / (0.25 * step);
        let kinks = (half_bend - 0.5 * bend).abs().max((quarter_bend - 0.5 * half_bend).abs());
        let uncertainty = (coarse - fine).abs().max(kinks);
        let finite = fine.is_finite() && uncertainty.is_finite();
        finite.then_some(Quotient { value: fine, uncertainty })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STEP: f64 = 1e-3;

    fn around(f: impl Fn(f64) -> f64, x: f64) -> Option<Quotient> {
        let around = OFFSETS.map(|offset| f(x + offset * STEP));
        Quotient::of(&around, f(x), STEP)
    }

    #[test]
    fn smooth_functions_have_sure_quotients() {
        for (quotient, slope) in [
            (around(f64::exp, 0.5), 0.5f64.exp()),
            (around(|x| x * x * x, 2.0), 12.0),
            (around(|_| 3.0, 2.0), 0.0),
            (around(f64::abs, 0.1), 1.0),
            (around(|x| (5.0 * x).sin(), 0.3), 5.0 * 1.5f64.cos()),
        ] {
            let quotient = quotient.unwrap();
            assert!((quotient.value - slope).abs() < 1e-10, "{quotient:?} {slope}");
            assert!(quotient.uncertainty < 1e-7, "{quotient:?}");
        }
    }

    #[test]
    fn kinks_and_jumps_are_seen_wherever_they_are() {
        for at in [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.9, -0.01, -0.3, -0.7, -0.99] {
            // A kink that is small against the slope, too.
            let kink = |x: f64| 5.0 * x + 1e-3 * f64::max(x, 0.0);
            let quotient = around(kink, at * STEP).unwrap();
            assert!(quotient.uncertainty > 1e-6, "{at}: {quotient:?}");
            let jump = around(|x| f64::from(x > 0.0), at * STEP).unwrap();
            assert!(jump.uncertainty > 1.0, "{at}: {jump:?}");
        }
        assert_eq!(around(f64::ln, 0.0), None);
    }
}
