//! The evaluator: what a kernel means, written to be read.
//!
//! Native code must agree with it bit for bit, payloads of NaNs aside. So it states every rounding:
//! [`f32::mul_add`] rounds once, a product and a sum round twice, tiles add in the order of `k`.
//! It proves nothing about addresses but checks each, and so checks the verifier as well.
//!
//! What holds nothing on entry is filled: the scratch area holds [`SCRATCH_FILL`] bytes before
//! each chunk, which reads as a large negative integer and as a tiny float, so that a result
//! made of it is noticed. Chunks run in either order, as [`ChunkOrder`] says; results that differ
//! betray a dependence.

mod apply;
mod element;
mod inst;
mod machine;
mod memory;
mod tile;

use crate::address::Space;
use crate::kernel::{Access, Kernel};
use crate::program::{Branch, Call, Gate, Item, Program, Repeat, Slot, While};
use crate::verify::{VerifyError, verify_kernel, verify_program};

pub use element::Element;
pub use memory::{Memory, bytes_of, values_of};

use machine::{Machine, Region, View};

/// The byte that fills scratch before each chunk.
pub const SCRATCH_FILL: u8 = 0xA5;

/// In which order chunks run. A correct kernel does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChunkOrder {
    /// From the first to the last.
    #[default]
    Ascending,
    /// From the last to the first.
    Descending,
}

/// Why a kernel or program was not evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The verifier refuses it.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The memory does not fit.
    #[error("{what}: expected at least {expected} bytes, found {found}")]
    Size {
        /// Which memory.
        what: String,
        /// Bytes that are needed.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// Not one entry for each external or parameter.
    #[error("expected {expected} buffers, found {found}")]
    Count {
        /// As the kernel or program says.
        expected: usize,
        /// As the caller passed.
        found: usize,
    },
    /// A condition of the program's gate does not hold; what comes after it has not run.
    #[error("condition {condition} does not hold")]
    Gate {
        /// The first that does not hold, by position.
        condition: usize,
    },
    /// A statement left its buffer: a mistake of the verifier.
    #[error("@{kernel}: element {element} is outside buffer {buffer}")]
    Address {
        /// The kernel.
        kernel: String,
        /// The buffer's name.
        buffer: String,
        /// The first element of the access.
        element: i64,
    },
}

/// Runs a program, its chunks in ascending order. Where a while of it never ends, neither does this.
///
/// # Errors
///
/// If the program is refused by [`verify_program`], the memory is smaller than it says, or a
/// condition of its gate does not hold.
pub fn run_program(program: &Program, memory: &mut Memory) -> Result<(), EvalError> {
    run_program_in_order(program, memory, ChunkOrder::Ascending)
}

/// Runs a program, its chunks in the given order.
///
/// # Errors
///
/// As [`run_program`].
pub fn run_program_in_order(
    program: &Program,
    memory: &mut Memory,
    order: ChunkOrder,
) -> Result<(), EvalError> {
    verify_program(program)?;
    memory.check(program)?;
    let mut scratch = vec![0; program.scratch_bytes()];
    let mut run = Run { program, memory, scratch: &mut scratch, order, iterations: Vec::new() };
    for at in 0..=program.body.len() {
        if let Some(gate) = program.gate.as_ref().filter(|gate| gate.after == at) {
            run.pass(gate)?;
        }
        run.items(program.body.get(at).map_or(&[], std::slice::from_ref))?;
    }
    Ok(())
}

/// A program that runs.
struct Run<'r> {
    program: &'r Program,
    memory: &'r mut Memory,
    scratch: &'r mut [u8],
    order: ChunkOrder,
    /// The iterations of the repeats around, from the outside in.
    iterations: Vec<usize>,
}

impl Run<'_> {
    /// Recurses once a block.
    fn items(&mut self, items: &[Item]) -> Result<(), EvalError> {
        for item in items {
            match item {
                Item::Call(call) => self.call(call)?,
                Item::Repeat(Repeat { count, body }) => {
                    for iteration in 0..*count {
                        self.iterations.push(iteration);
                        self.items(body)?;
                        self.iterations.pop();
                    }
                }
                Item::Branch(Branch { condition, then, otherwise }) => {
                    self.items(if self.holds(*condition) { then } else { otherwise })?;
                }
                Item::While(While { test, condition, body }) => loop {
                    self.items(test)?;
                    if !self.holds(*condition) {
                        break;
                    }
                    self.items(body)?;
                },
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), EvalError> {
        let kernel = &self.program.kernels[call.kernel.0 as usize];
        let views =
            bind(kernel, call.args.iter().map(|slot| place(self.program, *slot, &self.iterations)));
        let scratch = &mut self.scratch[..kernel.scratch_bytes()];
        run_chunks(kernel, Machine::new(kernel, &views, self.memory, scratch), self.order)
    }

    /// Whether a condition holds here and now.
    fn holds(&self, condition: Slot) -> bool {
        let byte = match place(self.program, condition, &self.iterations) {
            (Region::External(index), offset) => self.memory.externals[index][offset],
            (Region::Arena | Region::Scratch, offset) => self.memory.arena[offset],
        };
        byte != 0
    }

    /// Whether every condition of a gate holds.
    fn pass(&self, gate: &Gate) -> Result<(), EvalError> {
        match gate.conditions.iter().position(|slot| !self.holds(*slot)) {
            None => Ok(()),
            Some(condition) => Err(EvalError::Gate { condition }),
        }
    }
}

/// Where a buffer is in these iterations.
fn place(program: &Program, slot: Slot, iterations: &[usize]) -> (Region, usize) {
    let address =
        program.address(slot, |level| iterations.get(level).is_some_and(|it| it % 2 == 1));
    let offset = usize::try_from(address.at(iterations));
    let offset = offset.expect("verified parts are inside their wholes");
    match address.space {
        Space::Arena => (Region::Arena, offset),
        Space::External(index) => (Region::External(index), offset),
    }
}

/// Runs a kernel on one byte vector for each of its parameters, in order.
///
/// # Errors
///
/// If the kernel is refused by [`verify_kernel`], or the parameters do not fit.
///
/// # Examples
///
/// ```
/// use kilngrad_loops::{ChunkOrder, bytes_of, parse_kernel, run_kernel, values_of};
///
/// let kernel = parse_kernel(
///     "kernel @double chunks=2 {
///        buffer x: f32[4] read
///        buffer y: f32[4] write
///        for i1 in 0..2 {
///          %0: f32 = load x[2*i0 + i1]
///          %1: f32 = add %0, %0
///          store y[2*i0 + i1] = %1
///        }
///      }",
/// )?;
/// let mut params = [bytes_of(&[1.0f32, 2.0, 3.0, 4.0]), vec![0; 16]];
/// run_kernel(&kernel, &mut params, ChunkOrder::Descending)?;
/// assert_eq!(values_of::<f32>(&params[1]), [2.0, 4.0, 6.0, 8.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_kernel(
    kernel: &Kernel,
    params: &mut [Vec<u8>],
    order: ChunkOrder,
) -> Result<(), EvalError> {
    verify_kernel(kernel)?;
    let declared: Vec<_> =
        kernel.buffers.iter().filter(|buffer| buffer.access != Access::Scratch).collect();
    if declared.len() != params.len() {
        return Err(EvalError::Count { expected: declared.len(), found: params.len() });
    }
    for (buffer, bytes) in declared.iter().zip(params.iter()) {
        let expected = buffer.len * buffer.scalar.size();
        if bytes.len() < expected {
            let (what, found) = (buffer.name.clone(), bytes.len());
            return Err(EvalError::Size { what, expected, found });
        }
    }
    let externals = params.iter_mut().map(std::mem::take).collect();
    let mut memory = Memory { arena: Vec::new(), externals };
    let mut scratch = vec![0; kernel.scratch_bytes()];
    let views = bind(kernel, (0..params.len()).map(|index| (Region::External(index), 0)));
    let result = run_chunks(kernel, Machine::new(kernel, &views, &mut memory, &mut scratch), order);
    for (param, bytes) in params.iter_mut().zip(memory.externals) {
        *param = bytes;
    }
    result
}

/// Where each buffer of the kernel is, given where its parameters are.
fn bind(kernel: &Kernel, mut params: impl Iterator<Item = (Region, usize)>) -> Vec<View> {
    let (scratch, _) = kernel.scratch_layout();
    let place = |(buffer, scratch): (&crate::kernel::BufferDecl, Option<usize>)| {
        let (region, offset) = match scratch {
            Some(offset) => (Region::Scratch, offset),
            None => params.next().expect("verified calls have an argument for each parameter"),
        };
        View { region, offset, len: buffer.len, scalar: buffer.scalar }
    };
    kernel.buffers.iter().zip(scratch).map(place).collect()
}

fn run_chunks(
    kernel: &Kernel,
    mut machine: Machine<'_>,
    order: ChunkOrder,
) -> Result<(), EvalError> {
    (0..kernel.chunks).try_for_each(|step| {
        machine.run_chunk(match order {
            ChunkOrder::Ascending => step,
            ChunkOrder::Descending => kernel.chunks - 1 - step,
        })
    })
}
