//! What a measurement finds.

use super::double::Exact;
use super::error;
use super::functions::{Direction, Function};

/// Operands and the error there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Units in the last place.
    pub ulps: f64,
    /// The operands; the second is 1 of a function of one.
    pub at: (f64, f64),
}

/// What was found over some operands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Operands seen.
    pub count: u64,
    /// Results that are not the number nearest to the exact value.
    pub wrongly_rounded: u64,
    /// Neighbours whose results go the wrong way.
    pub steps_back: u64,
    /// Operands whose result breaks a rule: a NaN, an infinity, a zero or its sign.
    pub broken: u64,
    /// The first of them.
    pub first_broken: Option<(f64, f64)>,
    /// Where the error is largest.
    pub worst: Option<Worst>,
}

impl Tally {
    /// Counts the result `found` of `f32`, given the reference.
    #[inline]
    pub(super) fn add_f32(
        &mut self,
        function: &Function,
        operands: (f64, f64),
        found: f32,
        reference: f64,
    ) {
        self.count += 1;
        if !(reference.is_finite() && reference != 0.0) {
            self.follow_rule(operands, f64::from(found), reference);
        } else if found.is_nan() || found.is_sign_negative() != reference.is_sign_negative() {
            self.break_rule(operands);
        } else {
            let error = error::of_f32(found, reference);
            let error = error.unwrap_or_else(|| in_doubt(function, operands, found, reference));
            self.add_error(operands, error);
        }
    }

    /// Counts the result `found` of `f64`, given the exact value, if there is one.
    pub(super) fn add_f64(
        &mut self,
        function: &Function,
        operands: (f64, f64),
        found: f64,
        exact: Option<&Exact>,
    ) {
        self.count += 1;
        let Some(exact) = exact else {
            let reference = (function.reference)(operands.0, operands.1);
            return self.follow_rule(operands, found, reference);
        };
        let negative = exact.value.high.is_sign_negative();
        if found.is_nan() || found.is_sign_negative() != negative {
            self.break_rule(operands);
        } else {
            self.add_error(operands, error::of(error::F64, found, exact));
        }
    }

    /// Counts a pair of neighbours, in order of their bits.
    #[inline]
    pub(super) fn compare(&mut self, direction: Direction, at: f64, before: f64, after: f64) {
        // Bits grow with the magnitude, so that negative numbers are met backwards.
        let falls = (direction == Direction::Falling) != at.is_sign_negative();
        let back = if falls { after > before } else { after < before };
        self.steps_back += u64::from(back);
    }

    fn follow_rule(&mut self, at: (f64, f64), found: f64, rule: f64) {
        let same = if rule.is_nan() {
            found.is_nan()
        } else {
            found == rule && found.is_sign_negative() == rule.is_sign_negative()
        };
        if !same {
            self.break_rule(at);
        }
    }

    fn break_rule(&mut self, at: (f64, f64)) {
        self.broken += 1;
        self.first_broken.get_or_insert(at);
    }

    #[inline]
    fn add_error(&mut self, at: (f64, f64), ulps: f64) {
        self.wrongly_rounded += u64::from(ulps > 0.5);
        if self.worst.is_none_or(|worst| ulps > worst.ulps) {
            self.worst = Some(Worst { ulps, at });
        }
    }

    /// What both found; of equal errors the earlier operand.
    pub(super) fn merge(&mut self, other: &Tally) {
        self.count += other.count;
        self.wrongly_rounded += other.wrongly_rounded;
        self.steps_back += other.steps_back;
        self.broken += other.broken;
        self.first_broken = least(self.first_broken, other.first_broken);
        let Some(theirs) = other.worst else { return };
        let ours = self.worst.get_or_insert(theirs);
        let earlier = order(theirs.at) < order(ours.at);
        if theirs.ulps > ours.ulps || (theirs.ulps == ours.ulps && earlier) {
            *ours = theirs;
        }
    }

    /// Share of results that are not the nearest number.
    pub fn wrong_share(&self) -> f64 {
        self.wrongly_rounded as f64 / self.count.max(1) as f64
    }
}

/// The error where a double does not say which number is nearest.
#[cold]
fn in_doubt(function: &Function, at: (f64, f64), found: f32, reference: f64) -> f64 {
    let exact = (function.exact)(at.0, at.1).unwrap_or_else(|| Exact::of(reference));
    error::of(error::F32, f64::from(found), &exact)
}

fn least(x: Option<(f64, f64)>, y: Option<(f64, f64)>) -> Option<(f64, f64)> {
    x.into_iter().chain(y).min_by_key(|at| order(*at))
}

/// An order of operands that does not depend on who met them first.
fn order(at: (f64, f64)) -> (u64, u64) {
    (at.0.to_bits(), at.1.to_bits())
}
