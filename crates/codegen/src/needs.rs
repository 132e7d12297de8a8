//! What a compiled program needs of its caller's memory.

use kilngrad_loops::{Place, Program};

/// What the program does with the memory behind one external pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExternalNeed {
    /// Bytes that it reaches, from the pointer on.
    pub bytes: usize,
    /// Whether it writes them.
    pub writable: bool,
}

/// Sizes of the memory that each call of a program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) arena_bytes: usize,
    pub(crate) scratch_bytes: usize,
    pub(crate) externals: Vec<ExternalNeed>,
}

impl Needs {
    pub(crate) fn of(program: &Program) -> Needs {
        let mut externals = vec![ExternalNeed::default(); program.externals];
        for buffer in &program.buffers {
            match buffer.place {
                // What is part of another buffer is inside it.
                Place::Arena { .. } | Place::Part { .. } | Place::Turn { .. } => {}
                Place::External { index } => {
                    let need = &mut externals[index];
                    need.bytes = need.bytes.max(buffer.len * buffer.scalar.size());
                    need.writable |= buffer.writable;
                }
            }
        }
        Needs {
            arena_bytes: program.arena_bytes,
            scratch_bytes: program.scratch_bytes(),
            externals,
        }
    }
}
