//! Runs the statements of one chunk.

use crate::kernel::{Affine, Buffer, Inst, Kernel, Loop, RegType, Scalar, Stmt};

use super::element::{Bits, Element};
use super::{EvalError, Memory, SCRATCH_FILL, apply, inst, tile};

/// Which memory a buffer is in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Region {
    Arena,
    External(usize),
    Scratch,
}

/// A buffer as it is bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) region: Region,
    /// Bytes from the region's start.
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) scalar: Scalar,
}

/// The state of a running kernel. The kernel is verified and the memory large enough.
#[derive(Debug)]
pub(super) struct Machine<'m> {
    kernel: &'m Kernel,
    views: &'m [View],
    memory: &'m mut Memory,
    scratch: &'m mut [u8],
    registers: Vec<Bits>,
    variables: Vec<i64>,
}

impl<'m> Machine<'m> {
    pub(super) fn new(
        kernel: &'m Kernel,
        views: &'m [View],
        memory: &'m mut Memory,
        scratch: &'m mut [u8],
    ) -> Machine<'m> {
        let variables = vec![0; last_variable(&kernel.body) + 1];
        let registers = vec![[0; 16]; kernel.registers.len()];
        Machine { kernel, views, memory, scratch, registers, variables }
    }

    pub(super) fn run_chunk(&mut self, chunk: usize) -> Result<(), EvalError> {
        self.scratch.fill(SCRATCH_FILL);
        self.variables[Kernel::CHUNK.0 as usize] = chunk as i64;
        self.body(&self.kernel.body)
    }

    fn body(&mut self, body: &'m [Stmt]) -> Result<(), EvalError> {
        for stmt in body {
            match stmt {
                Stmt::Let { reg, inst } => {
                    let ty = self.kernel.reg_type(*reg);
                    self.registers[reg.0 as usize] = self.inst(ty, inst)?;
                }
                Stmt::Store { buffer, at, value } => {
                    let lanes = usize::from(self.kernel.reg_type(*value).lanes());
                    let bits = self.registers[value.0 as usize];
                    let bytes = self.elements(*buffer, self.value(at), lanes)?;
                    bytes.copy_from_slice(&bits[..bytes.len()]);
                }
                Stmt::For(inner) => self.run_loop(inner)?,
                Stmt::Tile(call) => tile::run(self, call)?,
                Stmt::Apply(call) => apply::run(self, call)?,
            }
        }
        Ok(())
    }

    fn run_loop(&mut self, inner: &'m Loop) -> Result<(), EvalError> {
        let mut carried: Vec<Bits> =
            inner.carries.iter().map(|carry| self.registers[carry.init.0 as usize]).collect();
        for step in self.iterations(inner) {
            self.variables[inner.var.0 as usize] = step as i64;
            for (carry, bits) in inner.carries.iter().zip(&carried) {
                self.registers[carry.param.0 as usize] = *bits;
            }
            self.body(&inner.body)?;
            // All are read before any is written: one's next may be another's parameter.
            for (carry, bits) in inner.carries.iter().zip(&mut carried) {
                *bits = self.registers[carry.next.0 as usize];
            }
        }
        for (carry, bits) in inner.carries.iter().zip(&carried) {
            self.registers[carry.result.0 as usize] = *bits;
        }
        Ok(())
    }

    /// The values of a loop's variable.
    fn iterations(&self, inner: &Loop) -> std::ops::Range<usize> {
        let Some(pick) = inner.pick else { return 0..inner.extent };
        let Some(last) = inner.extent.checked_sub(1) else { return 0..0 };
        let index = i64::read(&self.registers[pick.0 as usize][..8]);
        let nearest = usize::try_from(index.max(0)).map_or(last, |index| index.min(last));
        nearest..nearest + 1
    }

    fn inst(&mut self, ty: RegType, inst: &Inst) -> Result<Bits, EvalError> {
        match inst {
            Inst::Load { buffer, at } => {
                let first = self.value(at);
                let bytes = self.elements(*buffer, first, usize::from(ty.lanes()))?;
                let mut bits = [0; 16];
                bits[..bytes.len()].copy_from_slice(bytes);
                Ok(bits)
            }
            Inst::Index { at, step } => Ok(inst::index(ty, self.value(at), *step)),
            Inst::Const { .. }
            | Inst::Splat(_)
            | Inst::Lane { .. }
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Fma(..)
            | Inst::Compare(..)
            | Inst::Mask(..)
            | Inst::MaskNot(_)
            | Inst::Select(..)
            | Inst::Convert(_)
            | Inst::Bitcast(_)
            | Inst::Interleave(..) => Ok(inst::pure(self.kernel, ty, inst, &self.registers)),
        }
    }

    /// The value of an expression. Sums wrap on the way, where large parts cancel.
    pub(super) fn value(&self, at: &Affine) -> i64 {
        at.terms.iter().fold(at.constant, |sum, &(var, coefficient)| {
            sum.wrapping_add(coefficient.wrapping_mul(self.variables[var.0 as usize]))
        })
    }

    /// The type of a buffer's elements.
    pub(super) fn scalar(&self, buffer: Buffer) -> Scalar {
        self.views[buffer.0 as usize].scalar
    }

    /// The bytes of `count` elements from `first` on.
    pub(super) fn elements(
        &mut self,
        buffer: Buffer,
        first: i64,
        count: usize,
    ) -> Result<&mut [u8], EvalError> {
        let view = self.views[buffer.0 as usize];
        let end = usize::try_from(first).ok().and_then(|first| first.checked_add(count));
        let Some(end) = end.filter(|&end| end <= view.len) else {
            return Err(EvalError::Address {
                kernel: self.kernel.name.clone(),
                buffer: self.kernel.buffers[buffer.0 as usize].name.clone(),
                element: first,
            });
        };
        let bytes = match view.region {
            Region::Arena => &mut self.memory.arena[..],
            Region::External(index) => &mut self.memory.externals[index][..],
            Region::Scratch => &mut self.scratch[..],
        };
        let size = view.scalar.size();
        Ok(&mut bytes[view.offset + (end - count) * size..view.offset + end * size])
    }
}

fn last_variable(body: &[Stmt]) -> usize {
    let last = body.iter().map(|stmt| match stmt {
        Stmt::For(inner) => last_variable(&inner.body).max(inner.var.0 as usize),
        Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => 0,
    });
    last.max().unwrap_or(0)
}
