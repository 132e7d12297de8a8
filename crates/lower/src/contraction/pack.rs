//! Packing: panels of an operand made dense, in the order in which tiles read them.
//!
//! A panel of width `w` holds for each term the `w` neighbours that a tile reads together: rows of
//! the left operand, columns of the right one. Panels of a block follow one another; the last may
//! be narrower, and takes only the room it needs.
//!
//! Where neighbours are side by side in memory a panel is copied by vectors. Where terms are, squares
//! of as many columns as terms are transposed in registers.

use std::ops::Range;

use kilngrad_loops::{Affine, Buffer, Half, KernelBuilder, Reg, RegType, Scalar};

use crate::LowerError;

use super::nest::blocks;

/// Columns that are read together where their elements are not side by side: few enough that their
/// lines stay in the first-level cache however they collide, and many enough to fill half a line.
const TOGETHER: usize = 16;

/// A block of an operand in memory.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) buffer: Buffer,
    pub(crate) at: Affine,
    /// Elements from a row or column to the next.
    pub(crate) across: i64,
    /// Elements from a term to the next.
    pub(crate) along: i64,
}

/// A panel under construction: element `column` of term `k` goes to `at + k·row + column`.
struct Panel<'s> {
    from: &'s Source,
    to: Buffer,
    at: Affine,
    width: usize,
    row: usize,
}

/// Packs `extent × depth` elements in panels of width `width`, one after the other from the start
/// of `to`. The panel that begins at column `j` begins at element `j · depth`.
pub(crate) fn pack(
    b: &mut KernelBuilder,
    from: &Source,
    to: Buffer,
    extent: usize,
    width: usize,
    depth: usize,
) -> Result<(), LowerError> {
    blocks(b, extent, width, |b, start, width| {
        let at = start.scaled(depth as i64);
        Panel { from: &from.moved(start), to, at, width, row: width }.write(b, depth);
        Ok(())
    })
}

/// Packs like [`pack`], from an element of `to` on, but every panel takes the room of a whole one.
pub(crate) fn pack_padded(
    b: &mut KernelBuilder,
    from: &Source,
    (to, first): (Buffer, &Affine),
    extent: usize,
    row: usize,
    depth: usize,
) -> Result<(), LowerError> {
    blocks(b, extent, row, |b, start, width| {
        let at = first.add(&start.scaled(depth as i64));
        Panel { from: &from.moved(start), to, at, width, row }.write(b, depth);
        Ok(())
    })
}

impl Source {
    /// The same block, `across` rows or columns further.
    pub(crate) fn moved(&self, across: &Affine) -> Source {
        Source { at: self.at.add(&across.scaled(self.across)), ..self.clone() }
    }

    /// The element of a column at a term.
    fn element(&self, column: usize, term: &Affine) -> Affine {
        self.at.add(&term.scaled(self.along)).offset(column as i64 * self.across)
    }
}

impl Panel<'_> {
    fn write(&self, b: &mut KernelBuilder, depth: usize) {
        let lanes = vector_lanes(b.buffer_decl(self.to).scalar);
        if self.from.across == 1 {
            b.for_(depth, |b, k| self.copy(b, &Affine::var(k), lanes));
        } else if self.from.along == 1 && lanes > 1 {
            let (columns, terms) = (self.width / lanes * lanes, depth / lanes * lanes);
            for first in (0..columns).step_by(TOGETHER) {
                let squares = (first..columns.min(first + TOGETHER)).step_by(lanes);
                b.for_(depth / lanes, |b, step| {
                    let term = Affine::constant(0).plus(step, lanes as i64);
                    squares.for_each(|column| self.square(b, column, &term, lanes));
                });
            }
            self.one_by_one(b, 0..columns, terms..depth);
            self.one_by_one(b, columns..self.width, 0..depth);
        } else {
            self.one_by_one(b, 0..self.width, 0..depth);
        }
    }

    /// Where the element of a column at a term goes.
    fn target(&self, column: usize, term: &Affine) -> Affine {
        self.at.add(&term.scaled(self.row as i64)).offset(column as i64)
    }

    /// The neighbours at one term, by vectors and then one by one.
    fn copy(&self, b: &mut KernelBuilder, term: &Affine, lanes: usize) {
        let mut column = 0;
        while column < self.width {
            let lanes = if self.width - column >= lanes { lanes } else { 1 };
            let value = b.load(self.from.buffer, self.from.element(column, term), lanes as u8);
            b.store(self.to, self.target(column, term), value);
            column += lanes;
        }
    }

    /// As many columns as terms, transposed.
    fn square(&self, b: &mut KernelBuilder, column: usize, term: &Affine, lanes: usize) {
        let columns: Vec<Reg> = (column..column + lanes)
            .map(|column| b.load(self.from.buffer, self.from.element(column, term), lanes as u8))
            .collect();
        for (offset, neighbours) in transposed(b, &columns).into_iter().enumerate() {
            let term = term.clone().offset(offset as i64);
            b.store(self.to, self.target(column, &term), neighbours);
        }
    }

    fn one_by_one(&self, b: &mut KernelBuilder, columns: Range<usize>, terms: Range<usize>) {
        // Constant columns, so that the addresses of one iteration differ by constants alone.
        for first in columns.clone().step_by(TOGETHER) {
            let together = first..columns.end.min(first + TOGETHER);
            b.for_(terms.len(), |b, k| {
                let term = Affine::var(k).offset(terms.start as i64);
                let values: Vec<Reg> = together
                    .clone()
                    .map(|column| b.load(self.from.buffer, self.from.element(column, &term), 1))
                    .collect();
                for (column, value) in together.zip(values) {
                    b.store(self.to, self.target(column, &term), value);
                }
            });
        }
    }
}

/// The transpose of a square of vectors of two or four lanes.
fn transposed(b: &mut KernelBuilder, rows: &[Reg]) -> Vec<Reg> {
    let [first, second, third, fourth] = *rows else {
        return [Half::Low, Half::High].map(|half| b.interleave(half, rows[0], rows[1])).to_vec();
    };
    // Pairs of lanes of 32 bits move as lanes of 64.
    let (narrow, wide) = (b.reg_type(first), RegType::vector(Scalar::F64));
    let mut columns = Vec::with_capacity(4);
    for half in [Half::Low, Half::High] {
        let pairs = [(first, second), (third, fourth)].map(|(lhs, rhs)| {
            let pair = b.interleave(half, lhs, rhs);
            b.bitcast(wide, pair)
        });
        for half in [Half::Low, Half::High] {
            let column = b.interleave(half, pairs[0], pairs[1]);
            columns.push(b.bitcast(narrow, column));
        }
    }
    columns
}

/// Writes zeros to `rows` rows of `cols` elements, `row_stride` apart.
pub(crate) fn zero(
    b: &mut KernelBuilder,
    buffer: Buffer,
    at: &Affine,
    rows: usize,
    cols: usize,
    row_stride: i64,
) {
    let scalar = b.buffer_decl(buffer).scalar;
    let lanes = vector_lanes(scalar);
    b.for_(rows, |b, row| {
        let at = at.clone().plus(row, row_stride);
        let zeros = b.constant(RegType::vector(scalar), 0);
        b.for_(cols / lanes, |b, col| b.store(buffer, at.clone().plus(col, lanes as i64), zeros));
        let zero = b.constant(RegType::scalar(scalar), 0);
        let rest = at.clone().offset((cols / lanes * lanes) as i64);
        b.for_(cols % lanes, |b, col| b.store(buffer, rest.clone().plus(col, 1), zero));
    });
}

/// Lanes of a register; 1 for bytes, which have no vector form.
pub(crate) fn vector_lanes(scalar: Scalar) -> usize {
    match scalar {
        Scalar::F32 | Scalar::F64 | Scalar::I32 | Scalar::I64 => {
            usize::from(RegType::vector(scalar).lanes())
        }
        Scalar::U8 => 1,
    }
}
