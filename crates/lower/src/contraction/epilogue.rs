//! What happens to the sums: they are the result, or an epilogue makes the results of them.
//!
//! Without an epilogue tiles write into the output. With one they write into scratch, and as soon
//! as a block of sums is complete, hence still in cache, the epilogue's expressions are computed
//! from it, element by element of the result, vectors along its innermost axis.
//!
//! All results of an element are computed before the first is written: a result may have the
//! memory of an argument that another result reads at the same element.

use kilngrad_ir::Value;
use kilngrad_loops::{Affine, Buffer, KernelBuilder};
use smallvec::SmallVec;

use crate::LowerError;
use crate::code::{Code, Target};
use crate::expr::{Coords, Expr, Memory, Source};
use crate::space::{Line, repeat};

use super::problem::{Axis, Position};

/// A block of sums: `rows × cols` of them from `position` on.
#[derive(Debug)]
pub(crate) struct Sums<'p> {
    /// The first one's.
    pub(crate) position: &'p Position,
    pub(crate) rows: Axis,
    pub(crate) cols: Axis,
    pub(crate) buffer: Buffer,
    /// The first sum in the buffer.
    pub(crate) at: Affine,
    /// Elements from a row to the next; columns are dense.
    pub(crate) row_stride: i64,
}

/// The results of a contraction.
#[derive(Debug)]
pub(crate) struct Epilogue<'g> {
    pub(crate) expr: Expr<'g>,
    /// The contraction's value.
    pub(crate) dot: Value,
    /// The kernel's results and where they go.
    pub(crate) results: Vec<(Value, Memory)>,
    /// What vector bodies are written for.
    pub(crate) target: Target,
    /// Vectors that a loop's body computes.
    pub(crate) unroll: usize,
}

impl Epilogue<'_> {
    /// The output that is the contraction's value itself, if that is all there is to do.
    pub(crate) fn output(&self) -> Option<Buffer> {
        match self.results.as_slice() {
            [(value, memory)] if *value == self.dot => Some(memory.buffer),
            _ => None,
        }
    }

    /// Computes and writes the results of a block of sums.
    pub(crate) fn finish(
        &mut self,
        b: &mut KernelBuilder,
        sums: &Sums<'_>,
    ) -> Result<(), LowerError> {
        let rank = sums.position.index.len();
        self.expr.bind(self.dot, Source::Memory(sums.memory(rank)));
        let line = Line {
            start: Affine::constant(0),
            extent: sums.cols.extent,
            lanes: self.target.lanes,
            unroll: self.unroll,
        };
        repeat(b, sums.rows.extent, |b, row| {
            let row = sums.position.along(&sums.rows, &row);
            line.write(b, &mut |b, lanes, col| {
                let target = Target { lanes, ..self.target };
                self.element(b, target, &row.along(&sums.cols, &col))
            })
        })?;
        Ok(())
    }

    /// The results of one element, or of one for each lane.
    fn element(
        &mut self,
        b: &mut KernelBuilder,
        target: Target,
        position: &Position,
    ) -> Result<(), LowerError> {
        let coords: Coords = position.index.iter().cloned().collect();
        let mut code = Code::new(b, target);
        let mut values = Vec::with_capacity(self.results.len());
        for (value, _) in &self.results {
            values.push(self.expr.eval(&mut code, *value, &coords)?);
        }
        for ((value, memory), lanes) in self.results.iter().zip(&values) {
            let dtype = self.expr.dtype(*value);
            code.store(dtype, memory.buffer, &memory.at(&coords), lanes);
        }
        Ok(())
    }
}

impl Sums<'_> {
    /// Where the sum of an index of the result is, for the indices of this block.
    fn memory(&self, rank: usize) -> Memory {
        let mut strides: SmallVec<[i64; 4]> = SmallVec::from_elem(0, rank);
        let mut offset = self.at.clone();
        for (axis, stride) in [(&self.rows, self.row_stride), (&self.cols, 1)] {
            if let Some(at) = axis.result {
                strides[at] = stride;
                offset = offset.add(&self.position.index[at].scaled(-stride));
            }
        }
        Memory { buffer: self.buffer, offset, strides }
    }
}
