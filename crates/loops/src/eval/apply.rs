//! Functions, on one element after the other.

use crate::kernel::{Apply, Scalar};

use super::EvalError;
use super::element::Element;
use super::machine::Machine;

/// Applies a function in place.
pub(super) fn run(machine: &mut Machine<'_>, apply: &Apply) -> Result<(), EvalError> {
    if apply.count == 0 {
        return Ok(());
    }
    let (function, first) = (apply.function, machine.value(&apply.at));
    let scalar = machine.scalar(apply.buffer);
    let elements = machine.elements(apply.buffer, first, apply.count)?;
    for place in elements.chunks_exact_mut(scalar.size()) {
        match scalar {
            Scalar::F32 => function.of_f32(f32::read(place)).write(place),
            Scalar::F64 => function.of_f64(f64::read(place)).write(place),
            Scalar::I32 | Scalar::I64 | Scalar::U8 => {
                unreachable!("verified functions are of floats")
            }
        }
    }
    Ok(())
}
