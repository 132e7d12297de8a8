//! Memory that a program is evaluated on.

use crate::program::{Place, Program};

use super::{Element, EvalError};

/// The arena and the externals of a program, as owned bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The arena's bytes.
    pub arena: Vec<u8>,
    /// The bytes of each external, by index.
    pub externals: Vec<Vec<u8>>,
}

impl Memory {
    /// Zeros, as many as the program's arena and the largest buffer on each external need.
    ///
    /// # Panics
    ///
    /// If the program is not verified and an external is not in its table, or sizes overflow.
    pub fn zeroed(program: &Program) -> Memory {
        let mut externals = vec![Vec::new(); program.externals];
        for buffer in &program.buffers {
            if let Place::External { index } = buffer.place {
                let bytes = buffer.len * buffer.scalar.size();
                if externals[index].len() < bytes {
                    externals[index].resize(bytes, 0);
                }
            }
        }
        Memory { arena: vec![0; program.arena_bytes], externals }
    }

    /// Checks that a verified program fits.
    pub(super) fn check(&self, program: &Program) -> Result<(), EvalError> {
        let expected = program.arena_bytes;
        if self.arena.len() < expected {
            let found = self.arena.len();
            return Err(EvalError::Size { what: "arena".into(), expected, found });
        }
        if self.externals.len() != program.externals {
            let (expected, found) = (program.externals, self.externals.len());
            return Err(EvalError::Count { expected, found });
        }
        for buffer in &program.buffers {
            if let Place::External { index } = buffer.place {
                let expected = buffer.len * buffer.scalar.size();
                let found = self.externals[index].len();
                if found < expected {
                    return Err(EvalError::Size { what: buffer.name.clone(), expected, found });
                }
            }
        }
        Ok(())
    }
}

/// The bytes of `values`, as a buffer holds them.
pub fn bytes_of<T: Element>(values: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(values)];
    for (value, place) in values.iter().zip(bytes.chunks_exact_mut(size_of::<T>())) {
        value.write(place);
    }
    bytes
}

/// The values that a buffer of whole elements holds.
pub fn values_of<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::read).collect()
}
