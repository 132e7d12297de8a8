//! Gradients against difference quotients.

use kilngrad_interp::{Array, eval_entry};
use kilngrad_ir::{Literal, Program};

use crate::generate::Differentiable;
use crate::recipe::Random;

/// Elements of each wanted value that are moved.
const MOVED: usize = 5;

/// The step of the difference quotients.
const STEP: f64 = 1e-3;

/// How far a gradient may be from the quotient, relative to its own size or 1.
const TOLERANCE: f64 = 1e-5;

/// What a check has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Derivatives that were compared, of first and second order.
    pub compared: [usize; 2],
    /// Derivatives that have no difference quotient to compare with: at a kink or a jump.
    pub skipped: usize,
    /// Compared derivatives that are not zero.
    pub nonzero: usize,
}

impl std::ops::AddAssign for Checked {
    fn add_assign(&mut self, other: Checked) {
        self.compared[0] += other.compared[0];
        self.compared[1] += other.compared[1];
        self.skipped += other.skipped;
        self.nonzero += other.nonzero;
    }
}

/// Compares the gradients of a program with central differences of its losses, extrapolated once
/// (Richardson); `program` is the case's with its requests expanded, at whatever stage the
/// interpreter is to run it.
///
/// # Errors
///
/// The first derivative that differs, or what the interpreter says.
pub fn check_gradients(case: &Differentiable, program: &Program) -> Result<Checked, String> {
    let inputs = &case.case.inputs[0];
    let here = run(case, program, inputs)?;
    let count = case.moved_by.len();
    let mut checked = Checked::default();
    let mut random = Random::new(count as u64);
    for (wanted, &moved) in case.moved_by.iter().enumerate() {
        let length = inputs[moved].len();
        for _ in 0..MOVED.min(length) {
            let element = random.below(length);
            let at = |offset: f64| -> Result<[f64; 2], String> {
                let mut inputs = inputs.clone();
                inputs[moved] = nudged(&inputs[moved], element, offset);
                let there = run(case, program, &inputs)?;
                Ok([scalar(&there[0]), scalar(&there[1])])
            };
            let around = [at(-STEP)?, at(-STEP / 2.0)?, at(STEP / 2.0)?, at(STEP)?];
            for order in 0..2 {
                let center = scalar(&here[order]);
                let quotient = quotient(around.map(|losses| losses[order]), center);
                let gradient = &here[2 + order * count + wanted];
                let found = gradient.iter().nth(element).map_or(f64::NAN, Literal::to_f64);
                let Some(expected) = quotient else {
                    checked.skipped += 1;
                    continue;
                };
                checked.compared[order] += 1;
                checked.nonzero += usize::from(found != 0.0);
                let size = expected.abs().max(found.abs()).max(1.0).max(1e-3 * center.abs());
                let close = (found - expected).abs() <= TOLERANCE * size;
                if !close {
                    return Err(format!(
                        "derivative of order {} by element {element} of wanted value {wanted} \
                         (input {moved}): expected {expected}, found {found}",
                        order + 1
                    ));
                }
            }
        }
    }
    Ok(checked)
}

/// The derivative from losses at −s, −s/2, s/2 and s around the one in the middle; `None` where the
/// loss has a kink or a jump nearby, or bends too much to tell.
fn quotient(around: [f64; 4], center: f64) -> Option<f64> {
    let [far_left, left, right, far_right] = around;
    let wide = (far_right - far_left) / (2.0 * STEP);
    let narrow = (right - left) / STEP;
    if !(wide.is_finite() && narrow.is_finite()) {
        return None;
    }
    let size = wide.abs().max(1.0);
    // The two quotients of a smooth loss differ in their second order, the one-sided quotients in
    // their first, so that half the step halves their distance.
    let bend_wide = (far_right - 2.0 * center + far_left) / STEP;
    let bend_narrow = (right - 2.0 * center + left) / (STEP / 2.0);
    let smooth = (wide - narrow).abs() <= 1e-3 * size
        && bend_narrow.abs() <= 0.6 * bend_wide.abs() + 1e-6 * size.max(center.abs());
    smooth.then_some((4.0 * narrow - wide) / 3.0)
}

fn run(case: &Differentiable, program: &Program, inputs: &[Array]) -> Result<Vec<Array>, String> {
    let states = case.case.states();
    let outcome = eval_entry(program, &program.entries[0], inputs, &states);
    Ok(outcome.map_err(|error| error.to_string())?.outputs)
}

fn scalar(array: &Array) -> f64 {
    array.scalar().map_or(f64::NAN, Literal::to_f64)
}

/// The array with one element moved.
fn nudged(array: &Array, element: usize, offset: f64) -> Array {
    let mut elements = array.to_f64_vec();
    elements[element] += offset;
    Array::from_elements(array.shape(), elements).expect("as many elements")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn around(f: impl Fn(f64) -> f64, x: f64) -> Option<f64> {
        quotient([f(x - STEP), f(x - STEP / 2.0), f(x + STEP / 2.0), f(x + STEP)], f(x))
    }

    #[test]
    fn quotients_are_derivatives_where_there_are_some() {
        assert!((around(f64::exp, 0.5).unwrap() - 0.5f64.exp()).abs() < 1e-10);
        assert!((around(|x| x * x * x, 2.0).unwrap() - 12.0).abs() < 1e-9);
        assert_eq!(around(|_| 3.0, 2.0), Some(0.0));
        assert!((around(f64::abs, 0.1).unwrap() - 1.0).abs() < 1e-10);
        assert_eq!(around(f64::abs, 0.0), None);
        assert_eq!(around(f64::abs, STEP / 4.0), None);
        assert_eq!(around(f64::abs, STEP * 0.75), None);
        assert_eq!(around(f64::floor, 1.0), None);
        assert_eq!(around(f64::ln, 0.0), None);
    }
}
