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

use crate::code::{Code, Target};
use crate::expr::{Coords, Expr, Memory, Source, axis_coords};
use crate::space::{Line, Span, in_parts, repeat, unroll};
use crate::strip::{self, Lines, Strips};
use crate::{Context, LowerError};

use super::problem::{Axis, Position};

/// A block of sums: `rows × cols` of them from `position` on.
#[derive(Debug, Clone)]
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
    pub(crate) ctx: &'g Context<'g>,
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
        match self.strips(b, sums)? {
            None => self.block(b, sums, sums.rows.extent, sums.position, self.unroll),
            Some((strips, together)) => {
                for (count, rows, done) in in_parts(sums.rows.extent, together) {
                    repeat(b, count, |b, block| {
                        let first = block.scaled(rows as i64).offset(done as i64);
                        let position = sums.position.along(&sums.rows, &first);
                        self.strip(b, sums, &strips, rows, &position)
                    })?;
                }
                strips.release(&mut self.expr);
                Ok(())
            }
        }
    }

    /// The functions that are applied to strips of a block, and how many rows a strip takes.
    fn strips(
        &mut self,
        b: &mut KernelBuilder,
        sums: &Sums<'_>,
    ) -> Result<Option<(Strips, usize)>, LowerError> {
        let Some(axis) = sums.cols.result.filter(|_| self.target.lanes > 1) else {
            return Ok(None);
        };
        let shape = self.expr.shape(self.dot).to_vec();
        let roots = self.roots();
        let rows = sums.rows.result.map_or(1, |_| sums.rows.extent);
        let line = Span { axis, extent: sums.cols.extent };
        let rows = strip::rows(self.ctx, line.extent, rows);
        let lines = Lines { roots: &roots, shape: &shape, line, rows, kept: &[] };
        let strips = Strips::plan(self.ctx, b, &mut self.expr, &lines)?;
        Ok(strips.map(|strips| (strips, rows)))
    }

    /// What is evaluated for each element.
    fn roots(&self) -> Vec<(Value, Coords)> {
        let whole = axis_coords(self.expr.shape(self.dot));
        self.results.iter().map(|(value, _)| (*value, whole.clone())).collect()
    }

    /// The results of some rows from a position on, whose functions are applied to strips.
    fn strip(
        &mut self,
        b: &mut KernelBuilder,
        sums: &Sums<'_>,
        strips: &Strips,
        rows: usize,
        position: &Position,
    ) -> Result<(), LowerError> {
        let (target, rest) = (self.target, unroll(self.expr.cost(&self.roots())?));
        strips.each(b, &Affine::constant(0), sums.cols.extent, &mut |b, start, extent| {
            let corner = position.along(&sums.cols, &start);
            let (start, lanes, unroll) = (Affine::constant(0), target.lanes, strips.unroll);
            let line = Line { start, extent, lanes, unroll };
            let span = |axis: &Axis, extent| axis.result.map(|axis| Span { axis, extent });
            let spans: SmallVec<[Span; 2]> =
                span(&sums.rows, rows).into_iter().chain(span(&sums.cols, extent)).collect();
            strips.fill(b, &mut self.expr, &coords(&corner), &spans, &mut |b, body| {
                repeat(b, rows, |b, row| {
                    let row = corner.along(&sums.rows, &row);
                    line.write(b, &mut |b, lanes, col| {
                        let mut code = Code::new(b, Target { lanes, ..target });
                        body(&mut code, &coords(&row.along(&sums.cols, &col)))
                    })
                })?;
                Ok(())
            })?;
            let block = Sums { cols: Axis { extent, ..sums.cols }, ..sums.clone() };
            self.block(b, &block, rows, &corner, rest)
        })
    }

    /// The results of some rows from a position on, so many vectors at a time.
    fn block(
        &mut self,
        b: &mut KernelBuilder,
        sums: &Sums<'_>,
        rows: usize,
        position: &Position,
        unroll: usize,
    ) -> Result<(), LowerError> {
        let line = Line {
            start: Affine::constant(0),
            extent: sums.cols.extent,
            lanes: self.target.lanes,
            unroll,
        };
        repeat(b, rows, |b, row| {
            let row = position.along(&sums.rows, &row);
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
        let coords = coords(position);
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

fn coords(position: &Position) -> Coords {
    position.index.iter().cloned().collect()
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
