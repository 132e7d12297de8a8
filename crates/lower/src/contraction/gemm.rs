//! The matrix product: loops over cache blocks, packing, and tiles.
//!
//! ```text
//! gather the operand that is windows     -- where there is one; within blocks of depth if it has those
//! for a block of columns
//!   for a block of depth                 -- the first one starts the sums, the others add to them
//!     pack the right operand's block     -- panels one tile wide
//!     for a block of rows
//!       pack the left operand's block    -- panels one tile high
//!       for each panel of columns
//!         for each panel of rows
//!           tile
//!         epilogue of these sums         -- after the last block of depth
//! ```
//!
//! Every sum adds its terms in one order: blocks of depth one after the other, terms in order
//! inside them, by the tile's arithmetic. It does not depend on how rows and columns are cut.

use kilngrad_loops::{Access, Affine, Buffer, KernelBuilder, Panel, Scalar, TileCall, TileShape};

use crate::LowerError;

use super::blocking::Blocking;
use super::epilogue::{Epilogue, Sums};
use super::gather::{Block, Side};
use super::nest::{Nest, blocks, loops};
use super::pack::{Source, pack, zero};
use super::problem::{Axis, Position};

/// Bytes between rows of sums in scratch that are avoided: they compete for one place of the
/// first-level cache.
const COLLISION_BYTES: usize = 1024;

/// A matrix product that is being written.
pub(crate) struct Gemm<'e, 'g> {
    /// What one chunk computes.
    chunk: Nest,
    blocking: Blocking,
    shape: TileShape,
    lhs: Buffer,
    rhs: Buffer,
    packed_lhs: Option<Buffer>,
    packed_rhs: Option<Buffer>,
    sums: SumsBuffer,
    gather: Option<Block>,
    epilogue: &'e mut Epilogue<'g>,
}

/// Where the sums are.
#[derive(Debug, Clone, Copy)]
enum SumsBuffer {
    /// In the output.
    Output(Buffer),
    /// In scratch, for all rows of the chunk and one block of columns: they wait for more terms.
    All { buffer: Buffer, row_stride: i64 },
    /// In scratch, for one block of rows and one panel of columns.
    Panel { buffer: Buffer, row_stride: i64 },
}

/// A block of depth: the position of its first term, its length, and its place among the blocks.
struct Terms<'p> {
    position: &'p Position,
    depth: usize,
    accumulate: bool,
    last: bool,
}

/// Writes the product of `lhs` and `rhs`, cut as `blocking` says, of which `chunk` is one chunk's
/// part.
pub(crate) fn write(
    b: &mut KernelBuilder,
    chunk: Nest,
    blocking: Blocking,
    shape: TileShape,
    [mut lhs, mut rhs]: [Buffer; 2],
    epilogue: &mut Epilogue<'_>,
    start: &Position,
) -> Result<(), LowerError> {
    let gather = chunk.gathered.clone().map(|gather| {
        let operand = match gather.side {
            Side::Lhs => &mut lhs,
            Side::Rhs => &mut rhs,
        };
        let block = gather.block(b, shape.scalar, *operand);
        *operand = block.to;
        block
    });
    let outer = chunk.outer.clone();
    let block = blocking.depth.max(1);
    let mut packed = |wanted: bool, name: &str, extent: usize| {
        wanted.then(|| b.buffer(name, shape.scalar, extent * block, Access::Scratch))
    };
    let packed_lhs = packed(blocking.pack_lhs, "packed.lhs", blocking.rows);
    let packed_rhs = packed(blocking.pack_rhs, "packed.rhs", blocking.cols);
    let sums = match epilogue.output().filter(|_| chunk.is_dense()) {
        Some(output) => SumsBuffer::Output(output),
        None => SumsBuffer::scratch(b, &chunk, &blocking, shape),
    };
    let mut gemm =
        Gemm { chunk, blocking, shape, lhs, rhs, packed_lhs, packed_rhs, sums, gather, epilogue };
    loops(b, &outer, start, &mut |b, position| gemm.product(b, position))
}

impl SumsBuffer {
    /// Scratch for as many sums as wait for their epilogue at once.
    fn scratch(
        b: &mut KernelBuilder,
        chunk: &Nest,
        blocking: &Blocking,
        shape: TileShape,
    ) -> SumsBuffer {
        let wait = !chunk.outer_depth.is_empty() || chunk.depth.extent > blocking.depth;
        let (rows, row_stride) = if wait {
            (chunk.rows.extent, apart(blocking.cols, shape.scalar))
        } else {
            (blocking.rows, blocking.cols.min(usize::from(shape.cols)))
        };
        let buffer = b.buffer("sums", shape.scalar, rows * row_stride, Access::Scratch);
        let row_stride = row_stride as i64;
        if wait {
            SumsBuffer::All { buffer, row_stride }
        } else {
            SumsBuffer::Panel { buffer, row_stride }
        }
    }
}

/// The distance of rows of `cols` sums.
fn apart(cols: usize, scalar: Scalar) -> usize {
    let line = 64 / scalar.size();
    if (cols * scalar.size()).is_multiple_of(COLLISION_BYTES) { cols + line } else { cols }
}

impl Gemm<'_, '_> {
    /// The product of the innermost axes, and its epilogue.
    fn product(&mut self, b: &mut KernelBuilder, start: &Position) -> Result<(), LowerError> {
        let cols = self.chunk.cols;
        // What is gathered depends on the depth where that is walked in blocks.
        let start = match self.chunk.outer_depth.is_empty() {
            true => &self.gathered(b, start),
            false => start,
        };
        blocks(b, cols.extent, self.blocking.cols, |b, first, count| {
            let position = start.along(&cols, first);
            if self.chunk.outer_depth.is_empty() {
                self.in_order(b, &position, count)
            } else {
                self.accumulated(b, &position, count)
            }
        })
    }

    /// Fills the block that begins at a position of memory; the position within the block.
    fn gathered(&self, b: &mut KernelBuilder, position: &Position) -> Position {
        match &self.gather {
            Some(block) => block.fill(b, position),
            None => position.clone(),
        }
    }

    /// One axis of depth: the first block starts the sums, the last one is followed by the epilogue.
    fn in_order(
        &mut self,
        b: &mut KernelBuilder,
        start: &Position,
        cols: usize,
    ) -> Result<(), LowerError> {
        let depth = self.chunk.depth;
        let block = self.blocking.depth;
        let count = depth.extent.div_ceil(block.max(1)).max(1);
        let mut terms = |b: &mut KernelBuilder, at: &Affine, accumulate: bool, last: bool| {
            let length = if last { depth.extent - (count - 1) * block } else { block };
            let position = &start.along(&depth, at);
            self.terms(b, &Terms { position, depth: length, accumulate, last }, cols)
        };
        terms(b, &Affine::constant(0), false, count == 1)?;
        if count > 2 {
            b.for_(count - 2, |b, var| {
                let at = Affine::constant(block as i64).plus(var, block as i64);
                terms(b, &at, true, false)
            })?;
        }
        if count > 1 {
            terms(b, &Affine::constant(((count - 1) * block) as i64), true, true)?;
        }
        Ok(())
    }

    /// Several axes of depth: the sums start at zero, and the epilogue follows all of them.
    fn accumulated(
        &mut self,
        b: &mut KernelBuilder,
        start: &Position,
        cols: usize,
    ) -> Result<(), LowerError> {
        let (rows, depth) = (self.chunk.rows.extent, self.chunk.depth);
        let none = Affine::constant(0);
        let (buffer, at, row_stride) = self.sums_at(start, &none, &none);
        zero(b, buffer, &at, rows, cols, row_stride);
        let outer = self.chunk.outer_depth.clone();
        loops(b, &outer, start, &mut |b, position| {
            let position = &self.gathered(b, position);
            blocks(b, depth.extent, self.blocking.depth, |b, first, length| {
                let position = &position.along(&depth, first);
                let terms = Terms { position, depth: length, accumulate: true, last: false };
                self.terms(b, &terms, cols)
            })
        })?;
        self.finish(b, start, (&none, rows), (&none, cols))
    }

    /// One block of depth of one block of columns.
    fn terms(
        &mut self,
        b: &mut KernelBuilder,
        terms: &Terms<'_>,
        cols: usize,
    ) -> Result<(), LowerError> {
        let chunk = &self.chunk;
        let tile_cols = usize::from(self.shape.cols);
        let (across, along) = (chunk.cols.rhs, chunk.depth.rhs);
        let rhs = Source { buffer: self.rhs, at: terms.position.rhs.clone(), across, along };
        if let Some(packed) = self.packed_rhs {
            pack(b, &rhs, packed, cols, tile_cols, terms.depth)?;
        }
        let rows = chunk.rows;
        blocks(b, rows.extent, self.blocking.rows, |b, first, count| {
            let position = terms.position.along(&rows, first);
            let (across, along) = (rows.lhs, self.chunk.depth.lhs);
            let lhs = Source { buffer: self.lhs, at: position.lhs.clone(), across, along };
            if let Some(packed) = self.packed_lhs {
                pack(b, &lhs, packed, count, self.blocking.tile_rows, terms.depth)?;
            }
            self.tiles(b, terms, &position, first, (&lhs, count), (&rhs, cols))
        })
    }

    /// The tiles of one block of rows and columns, and the epilogue of each panel of columns.
    fn tiles(
        &mut self,
        b: &mut KernelBuilder,
        terms: &Terms<'_>,
        position: &Position,
        first: &Affine,
        (lhs, rows): (&Source, usize),
        (rhs, cols): (&Source, usize),
    ) -> Result<(), LowerError> {
        let axis = self.chunk.cols;
        blocks(b, cols, usize::from(self.shape.cols), |b, first_col, cols| {
            let right = panel(rhs, self.packed_rhs, first_col, cols, terms.depth);
            let position = position.along(&axis, first_col);
            let (buffer, at, row_stride) = self.sums_at(&position, first, first_col);
            blocks(b, rows, self.blocking.tile_rows, |b, first_row, rows| {
                let left = panel(lhs, self.packed_lhs, first_row, rows, terms.depth);
                let at = at.add(&first_row.scaled(row_stride));
                b.tile(TileCall {
                    shape: self.shape,
                    a: Panel {
                        buffer: left.buffer,
                        at: left.at,
                        row_stride: left.across,
                        col_stride: left.along,
                    },
                    b: Panel {
                        buffer: right.buffer,
                        at: right.at.clone(),
                        row_stride: right.along,
                        col_stride: 1,
                    },
                    c: Panel { buffer, at, row_stride, col_stride: 1 },
                    rows: rows as u8,
                    cols: cols as u8,
                    depth: terms.depth,
                    accumulate: terms.accumulate,
                });
                Ok(())
            })?;
            if terms.last {
                self.finish(b, &position, (first, rows), (first_col, cols))
            } else {
                Ok(())
            }
        })
    }

    /// The buffer, first element and row stride of the sums from `position` on, which are those
    /// from row `row` of the chunk and column `col` of the block on.
    fn sums_at(&self, position: &Position, row: &Affine, col: &Affine) -> (Buffer, Affine, i64) {
        match self.sums {
            SumsBuffer::Output(buffer) => (buffer, position.out.clone(), row_stride(&self.chunk)),
            SumsBuffer::All { buffer, row_stride } => {
                (buffer, row.scaled(row_stride).add(col), row_stride)
            }
            SumsBuffer::Panel { buffer, row_stride } => (buffer, Affine::constant(0), row_stride),
        }
    }

    /// The epilogue of sums that are complete: so many from a row and a column on.
    fn finish(
        &mut self,
        b: &mut KernelBuilder,
        position: &Position,
        (row, rows): (&Affine, usize),
        (col, cols): (&Affine, usize),
    ) -> Result<(), LowerError> {
        if let SumsBuffer::Output(_) = self.sums {
            return Ok(());
        }
        let (buffer, at, row_stride) = self.sums_at(position, row, col);
        let rows = Axis { extent: rows, ..self.chunk.rows };
        let cols = Axis { extent: cols, ..self.chunk.cols };
        self.epilogue.finish(b, &Sums { position, rows, cols, buffer, at, row_stride })
    }
}

/// The stride of rows of the output. A single row has none of its own.
fn row_stride(chunk: &Nest) -> i64 {
    if chunk.rows.out == 0 { chunk.cols.extent as i64 } else { chunk.rows.out }
}

/// A tile's part of an operand: in the packed block, or where it is.
fn panel(
    source: &Source,
    packed: Option<Buffer>,
    first: &Affine,
    width: usize,
    depth: usize,
) -> Source {
    match packed {
        Some(buffer) => {
            Source { buffer, at: first.scaled(depth as i64), across: 1, along: width as i64 }
        }
        None => source.moved(first),
    }
}
