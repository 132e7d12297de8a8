//! A vector times a matrix whose rows are dense along the depth: each sum is the inner product of
//! the vector with a row.
//!
//! Tiles want columns side by side, which here would cost a transposition of everything that is
//! read. Instead each row is read once, in the order of memory and by vectors, which is as fast as
//! memory allows: several rows together, so that the vector is read less often, and two registers
//! of partial sums a row, so that additions overlap.
//!
//! Lane `l` of register `r` of the partial sums adds the terms whose number is `l` modulo the lanes
//! in the vectors whose number is `r` modulo 2. At the end the registers are added, then their
//! halves, then the lanes; the terms left over, fewer than a vector, follow one by one. The order
//! is the same for every row, wherever it is among the others.

use kilngrad_loops::{Access, Affine, BinaryInst, Buffer, KernelBuilder, Reg, RegType, Scalar};

use crate::LowerError;

use super::epilogue::{Epilogue, Sums};
use super::nest::{Nest, blocks, loops};
use super::pack::vector_lanes;
use super::problem::{Axis, Position};

/// Rows that are read together: with their vectors and partial sums they fill the registers.
const ROWS: usize = 4;

/// Registers of partial sums of a row.
const PARTIAL: usize = 2;

/// Sums that wait in scratch for the epilogue.
const HELD: usize = 512;

/// An inner-product kernel that is being written.
struct InnerProducts<'e, 'g> {
    chunk: Nest,
    scalar: Scalar,
    fma: bool,
    vector: Buffer,
    matrix: Buffer,
    /// Where the vector is copied if its elements are apart.
    dense: Option<Buffer>,
    /// Where sums are put; `None` is the output itself.
    sums: Option<Buffer>,
    epilogue: &'e mut Epilogue<'g>,
}

/// Whether this way applies: one row in the result, and both sides of the product run along one
/// axis of depth, the matrix densely.
pub(crate) fn applies(nest: &Nest) -> bool {
    nest.rows.extent == 1
        && nest.outer_depth.is_empty()
        && nest.depth.extent > 1
        && nest.depth.rhs == 1
        && (nest.cols.extent == 1 || nest.cols.rhs != 1)
}

/// Writes the inner products of the vector `lhs` with the rows of `rhs`; `chunk` is one chunk's
/// part.
pub(crate) fn write(
    b: &mut KernelBuilder,
    chunk: Nest,
    scalar: Scalar,
    fma: bool,
    [vector, matrix]: [Buffer; 2],
    epilogue: &mut Epilogue<'_>,
    start: &Position,
) -> Result<(), LowerError> {
    let dense = (chunk.depth.lhs != 1)
        .then(|| b.buffer("vector", scalar, chunk.depth.extent, Access::Scratch));
    let sums = epilogue
        .output()
        .is_none()
        .then(|| b.buffer("sums", scalar, chunk.cols.extent.min(HELD), Access::Scratch));
    let outer = chunk.outer.clone();
    let mut products = InnerProducts { chunk, scalar, fma, vector, matrix, dense, sums, epilogue };
    loops(b, &outer, start, &mut |b, position| products.product(b, position))
}

impl InnerProducts<'_, '_> {
    fn product(&mut self, b: &mut KernelBuilder, start: &Position) -> Result<(), LowerError> {
        let Nest { cols, depth, .. } = self.chunk;
        if let Some(dense) = self.dense {
            b.for_(depth.extent, |b, k| {
                let element = b.load(self.vector, start.lhs.clone().plus(k, depth.lhs), 1);
                b.store(dense, Affine::var(k), element);
            });
        }
        blocks(b, cols.extent, HELD, |b, first, held| {
            let position = start.along(&cols, first);
            let (buffer, at) = match (self.sums, self.epilogue.output()) {
                (Some(sums), _) => (sums, Affine::constant(0)),
                (None, output) => {
                    let output = output.expect("without scratch for sums there is an output");
                    (output, position.out.clone())
                }
            };
            blocks(b, held, ROWS, |b, row, rows| {
                let sums = self.rows(b, &position.along(&cols, row), start, rows);
                for (offset, sum) in sums.into_iter().enumerate() {
                    b.store(buffer, at.add(row).offset(offset as i64), sum);
                }
                Ok(())
            })?;
            if self.sums.is_none() {
                return Ok(());
            }
            let cols = Axis { extent: held, ..cols };
            let rows = self.chunk.rows;
            let row_stride = held as i64;
            let position = &position;
            self.epilogue.finish(b, &Sums { position, rows, cols, buffer, at, row_stride })
        })
    }

    /// The inner products of `rows` neighbours.
    fn rows(
        &self,
        b: &mut KernelBuilder,
        position: &Position,
        start: &Position,
        rows: usize,
    ) -> Vec<Reg> {
        let lanes = vector_lanes(self.scalar);
        let depth = self.chunk.depth.extent;
        let vectors = depth / lanes;
        let zero = b.constant(RegType::vector(self.scalar), 0);
        let mut partial = vec![zero; rows * PARTIAL];
        partial = b.for_carry(vectors / PARTIAL, &partial, |b, k, partial| {
            let mut next = partial.to_vec();
            for part in 0..PARTIAL {
                let at = Affine::constant((part * lanes) as i64).plus(k, (PARTIAL * lanes) as i64);
                self.add_terms(b, position, start, &at, lanes, &mut next[part * rows..][..rows]);
            }
            next
        });
        for left in vectors / PARTIAL * PARTIAL..vectors {
            let at = Affine::constant((left * lanes) as i64);
            self.add_terms(b, position, start, &at, lanes, &mut partial[..rows]);
        }
        let (first, second) = partial.split_at(rows);
        let sums: Vec<Reg> =
            first.iter().zip(second).map(|(&x, &y)| self.across(b, x, y)).collect();
        b.for_carry(depth - vectors * lanes, &sums, |b, k, sums| {
            let mut next = sums.to_vec();
            let at = Affine::var(k).offset((vectors * lanes) as i64);
            self.add_terms(b, position, start, &at, 1, &mut next);
            next
        })
    }

    /// Adds the terms from `at` on, one a lane, to a register for each row.
    fn add_terms(
        &self,
        b: &mut KernelBuilder,
        position: &Position,
        start: &Position,
        at: &Affine,
        lanes: usize,
        sums: &mut [Reg],
    ) {
        let (buffer, first) = match self.dense {
            Some(dense) => (dense, Affine::constant(0)),
            None => (self.vector, start.lhs.clone()),
        };
        let vector = b.load(buffer, first.add(at), lanes as u8);
        for (row, sum) in sums.iter_mut().enumerate() {
            let offset = row as i64 * self.chunk.cols.rhs;
            let matrix = position.rhs.add(at).offset(offset);
            let matrix = b.load(self.matrix, matrix, lanes as u8);
            *sum = multiply_add(b, self.fma, matrix, vector, *sum);
        }
    }

    /// The sum of all lanes of both registers.
    fn across(&self, b: &mut KernelBuilder, first: Reg, second: Reg) -> Reg {
        let both = b.binary(BinaryInst::Add, first, second);
        let lanes = vector_lanes(self.scalar) as u8;
        let mut sums: Vec<Reg> = (0..lanes).map(|lane| b.lane(both, lane)).collect();
        while sums.len() > 1 {
            let upper = sums.split_off(sums.len() / 2);
            for (sum, upper) in sums.iter_mut().zip(upper) {
                *sum = b.binary(BinaryInst::Add, *sum, upper);
            }
        }
        sums[0]
    }
}

/// `x·y + z`, rounded once where the machine can.
pub(crate) fn multiply_add(b: &mut KernelBuilder, fma: bool, x: Reg, y: Reg, z: Reg) -> Reg {
    if fma {
        b.fma(x, y, z)
    } else {
        let product = b.binary(BinaryInst::Mul, x, y);
        b.binary(BinaryInst::Add, product, z)
    }
}
