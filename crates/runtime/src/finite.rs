//! Watching calls for numbers that are not finite.
//!
//! States are written by the generated code itself, so a call that is watched begins with a copy of
//! those that it updates; where something is not finite afterwards, the copy goes back.

use std::fmt;
use std::sync::atomic::AtomicBool;

use kilngrad_ir::{Bindings, DType, Error, StateId};

use crate::code::Slot;
use crate::element::{Element, Input, elements_of};
use crate::memory::AlignedBytes;
use crate::states::States;

/// A call that computed a number that is not finite. The states are again what they were before.
pub struct NotFinite<'a> {
    /// Position of the entry in the program.
    pub entry: usize,
    /// What its symbols were bound to.
    pub bindings: Bindings,
    /// What was fed, in the order of the entry's inputs.
    pub inputs: &'a [&'a dyn Input],
    /// What the states hold, in the order of the program; none where they are constants.
    pub states: Vec<&'a [u8]>,
    /// What ends the call's loops, if it was given one.
    pub cancel: Option<&'a AtomicBool>,
    /// The first such number, of outputs before states.
    pub found: Found,
}

impl fmt::Debug for NotFinite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotFinite").field("found", &self.found).finish_non_exhaustive()
    }
}

/// A number that is not finite, and where it was met.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The output or state.
    pub what: String,
    /// Position in each axis.
    pub index: Vec<usize>,
    /// NaN or an infinity.
    pub number: f64,
}

/// `nan in output "loss"`, `inf at [3, 1] of state "net.w"`.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.to_string().to_lowercase();
        match self.index.is_empty() {
            true => write!(f, "{number} in {}", self.what),
            false => write!(f, "{number} at {:?} of {}", self.index, self.what),
        }
    }
}

/// Copies of the states that a call updates; their memory is kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    values: Vec<(StateId, AlignedBytes)>,
    used: usize,
}

impl Copies {
    /// Copies these states.
    pub(crate) fn take(
        &mut self,
        states: &States,
        ids: impl Iterator<Item = StateId>,
    ) -> Result<(), Error> {
        self.used = 0;
        for id in ids {
            let bytes = states.bytes(id);
            if self.used == self.values.len() {
                self.values.push((id, AlignedBytes::EMPTY));
            }
            let (copied, copy) = &mut self.values[self.used];
            *copied = id;
            copy.reserve(bytes.len())?;
            copy.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
            self.used += 1;
        }
        Ok(())
    }

    /// Puts back what was copied.
    pub(crate) fn restore(&self, states: &mut States) {
        for (id, copy) in &self.values[..self.used] {
            let length = states.bytes(*id).len();
            states.set_bytes(*id, &copy.as_slice()[..length]);
        }
    }
}

/// The first number that is not finite in an output.
pub(crate) fn in_output(slot: &Slot, bytes: &[u8]) -> Result<Option<Found>, Error> {
    let what = || format!("output {:?}", slot.name);
    find(slot.dtype, &bytes[..slot.bytes()], &slot.shape, what)
}

/// The first number that is not finite among elements, which are as many as `shape` says.
pub(crate) fn find(
    dtype: DType,
    bytes: &[u8],
    shape: &[usize],
    what: impl FnOnce() -> String,
) -> Result<Option<Found>, Error> {
    let found = match dtype {
        DType::F32 => first(bytes, |x: &f32| f64::from(*x))?,
        DType::F64 => first(bytes, |x: &f64| *x)?,
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => None,
    };
    Ok(found.map(|(position, number)| Found {
        what: what(),
        index: unravelled(position, shape),
        number,
    }))
}

fn first<T: Element>(
    bytes: &[u8],
    number: impl Fn(&T) -> f64,
) -> Result<Option<(usize, f64)>, Error> {
    let numbers = elements_of::<T>(bytes)?.iter().map(number);
    Ok(numbers.enumerate().find(|(_, number)| !number.is_finite()))
}

/// The index of the element at a position in row-major order.
fn unravelled(position: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = position;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|length| {
            let along = rest % length;
            rest /= length;
            along
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_not_finite_is_found_by_its_index() {
        let mut memory = AlignedBytes::zeroed(24).unwrap();
        let found = |memory: &AlignedBytes| {
            find(DType::F32, memory.as_slice(), &[2, 3], || "x".into()).unwrap()
        };
        assert_eq!(found(&memory), None);
        for (position, number, shown) in
            [(5, f32::NAN, "nan at [1, 2] of x"), (3, f32::NEG_INFINITY, "-inf at [1, 0] of x")]
        {
            let place = &mut memory.as_mut_slice()[4 * position..4 * position + 4];
            place.copy_from_slice(&number.to_le_bytes());
            assert_eq!(found(&memory).unwrap().to_string(), shown);
        }
        let integers = find(DType::I32, memory.as_slice(), &[6], || "x".into());
        assert_eq!(integers.unwrap(), None);
    }
}
