//! What a tile must compute, element by element, and the panels to compute it on.

#![allow(dead_code, reason = "each of the tests that include this module uses a part of it")]

use std::fmt::Debug;

use kilngrad_loops::Scalar;
use kilngrad_tiles::{Block, Features, Tile};

/// A floating-point element.
pub(crate) trait Float: Copy + Debug {
    /// Its type in a tile's shape.
    const SCALAR: Scalar;
    /// Positive zero.
    const ZERO: Self;
    /// A quiet NaN that no arithmetic here yields.
    const CANARY: Self;

    /// The bits, with all NaNs alike: their payload is not part of a tile's meaning.
    fn key(self) -> u64;
    /// The bits.
    fn bits(self) -> u64;
    /// `self + left · right`, rounded once or twice.
    fn add_product(self, left: Self, right: Self, fma: bool) -> Self;
    /// An ordinary number, positive or negative, with a full significand.
    fn ordinary(random: u64) -> Self;
    /// Mostly numbers at which arithmetic is delicate.
    fn delicate(random: u64) -> Self;
}

macro_rules! float {
    ($float:ident, $bits:ident, $scalar:ident, $canary:literal) => {
        impl Float for $float {
            const SCALAR: Scalar = Scalar::$scalar;
            const ZERO: $float = 0.0;
            const CANARY: $float = $float::from_bits($canary);

            fn key(self) -> u64 {
                if self.is_nan() { u64::MAX } else { self.bits() }
            }

            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }

            fn add_product(self, left: $float, right: $float, fma: bool) -> $float {
                if fma { left.mul_add(right, self) } else { self + left * right }
            }

            fn ordinary(random: u64) -> $float {
                let shift = u64::BITS - $float::MANTISSA_DIGITS;
                let unit = (random >> shift) as $float * $float::EPSILON;
                (unit - 1.0) * [0.25, 1.0, 8.0, 1024.0][random as usize % 4]
            }

            fn delicate(random: u64) -> $float {
                let tiny = $float::from_bits((random >> 40) as $bits + 1);
                match random % 13 {
                    0 => 0.0,
                    1 => -0.0,
                    2 => tiny,
                    3 => -tiny,
                    4 => $float::MIN_POSITIVE,
                    5 if random >> 60 == 0 => $float::INFINITY,
                    6 if random >> 60 == 0 => $float::NEG_INFINITY,
                    7 if random >> 60 == 0 => $float::MAX,
                    8 => 1.0 + $float::EPSILON,
                    9 => -1.0,
                    _ => $float::ordinary(random),
                }
            }
        }
    };
}

float!(f32, u32, F32, 0x7fd5_aa55);
float!(f64, u64, F64, 0x7ffd_5aa5_55aa_a55a);

/// Sebastiano Vigna's SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// A rectangle of `rows × cols` elements with any strides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rectangle {
    /// Extent along `row_stride`.
    pub(crate) rows: usize,
    /// Extent along `col_stride`.
    pub(crate) cols: usize,
    /// Elements from a row to the next.
    pub(crate) row_stride: isize,
    /// Elements from a column to the next.
    pub(crate) col_stride: isize,
}

impl Rectangle {
    /// Elements from element (0, 0) to element (row, col).
    pub(crate) fn offset(self, row: usize, col: usize) -> isize {
        row as isize * self.row_stride + col as isize * self.col_stride
    }

    /// All positions.
    pub(crate) fn positions(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.rows).flat_map(move |row| (0..self.cols).map(move |col| (row, col)))
    }

    /// The least offset and one more than the greatest; equal if there are no elements.
    pub(crate) fn span(self) -> (isize, isize) {
        if self.rows == 0 || self.cols == 0 {
            return (0, 0);
        }
        let row = self.offset(self.rows - 1, 0);
        let col = self.offset(0, self.cols - 1);
        (row.min(0) + col.min(0), row.max(0) + col.max(0) + 1)
    }

    /// Number of elements from the least offset to the greatest.
    pub(crate) fn len(self) -> usize {
        let (least, end) = self.span();
        (end - least) as usize
    }
}

/// The three rectangles of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    /// `rows × depth`.
    pub(crate) a: Rectangle,
    /// `depth × cols`.
    pub(crate) b: Rectangle,
    /// `rows × cols`.
    pub(crate) c: Rectangle,
}

/// Calls the tile.
///
/// # Safety
///
/// The pointers are those of elements (0, 0), and the contract of `TileFn` holds.
pub(crate) unsafe fn call<F: Float>(
    tile: Tile,
    operands: Operands,
    block: Block,
    [a, b]: [*const F; 2],
    c: *mut F,
) {
    // SAFETY: as the caller says.
    unsafe {
        (tile.function)(
            a.cast(),
            b.cast(),
            c.cast(),
            operands.a.cols,
            operands.a.row_stride,
            operands.a.col_stride,
            operands.b.row_stride,
            operands.c.row_stride,
            block.pack(),
        );
    }
}

/// Every block that a tile can compute.
pub(crate) fn blocks(tile: Tile) -> impl Iterator<Item = Block> {
    (1..=tile.shape.rows).flat_map(move |rows| {
        (1..=tile.shape.cols)
            .flat_map(move |cols| [false, true].map(|accumulate| Block { rows, cols, accumulate }))
    })
}

/// The tiles of this machine for one type of element.
pub(crate) fn tiles<F: Float>() -> impl Iterator<Item = Tile> {
    kilngrad_tiles::available(Features::detect())
        .into_iter()
        .filter(|tile| tile.shape.scalar == F::SCALAR)
}
