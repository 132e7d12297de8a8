//! The interface between generated code and the tiles, and the list of tiles there are.

use kilngrad_loops::{Scalar, TileShape};

use crate::Features;
use crate::portable;
#[cfg(target_arch = "x86_64")]
use crate::x86;

/// A tile as machine code calls it: `(a, b, c, depth, a_row, a_col, b_row, c_row, block)`.
///
/// It computes `c[i,j] = start + Σ_k a[i,k]·b[k,j]` for `i < rows`, `j < cols`, `k < depth`, where
/// `start` is `c[i,j]` if the block accumulates and `+0` if not. Terms are added one by one in the
/// order of `k`: by fused multiply-add if the tile's shape says `fma`, else by a product and a sum
/// that round each. The element `a[i,k]` is `a_row·i + a_col·k` elements after `a`, `b[k,j]` is
/// `b_row·k + j` after `b`, and `c[i,j]` is `c_row·i + j` after `c`; strides may be zero or
/// negative, in `c` as far as the contract allows. `block` is [`Block::pack`] of rows, columns and
/// whether to accumulate.
///
/// Arithmetic is in the thread's floating-point mode, which the caller sets; see
/// [`FloatMode`](crate::FloatMode).
///
/// # Safety
///
/// The contract of every tile, written here once:
///
/// 1. the processor has the features that the tile was listed under by [`available`];
/// 2. `rows` and `cols` are at least 1 and at most the shape's;
/// 3. for each `i`, `j` and `k` in range the elements `a[i,k]` and `b[k,j]` are initialised, aligned
///    to their type and may be read, and `c[i,j]` is aligned, may be written, and if the block
///    accumulates is initialised;
/// 4. distinct `(i, j)` are distinct elements of `c`, and none of them overlaps an element of `a`
///    or `b`;
/// 5. nothing else writes those elements, or reads those of `c`, during the call.
///
/// With `depth` zero, `a` and `b` may be any pointers. The function reads and writes nothing else,
/// keeps no pointer, and returns whatever the numbers are.
pub type TileFn = unsafe extern "C" fn(
    a: *const u8,
    b: *const u8,
    c: *mut u8,
    depth: usize,
    a_row: isize,
    a_col: isize,
    b_row: isize,
    c_row: isize,
    block: u64,
);

/// The part of a register block that a call computes, and what its sums start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// At least 1, at most the rows of the tile's shape.
    pub rows: u8,
    /// At least 1, at most the columns of the tile's shape.
    pub cols: u8,
    /// Whether the sums start from what `c` holds.
    pub accumulate: bool,
}

impl Block {
    /// The `block` argument of a [`TileFn`]: rows in bits 0 to 7, columns in bits 8 to 15,
    /// accumulate in bit 16, the rest zero.
    pub const fn pack(self) -> u64 {
        self.rows as u64 | (self.cols as u64) << 8 | (self.accumulate as u64) << 16
    }

    /// The inverse of [`Block::pack`]; bits above 16 are ignored.
    pub const fn unpack(block: u64) -> Block {
        Block { rows: block as u8, cols: (block >> 8) as u8, accumulate: block >> 16 & 1 != 0 }
    }
}

/// A contraction tile.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// Its register block and how it multiplies.
    pub shape: TileShape,
    /// Its code.
    pub function: TileFn,
}

/// The tiles that a processor with these features can run, the best first for each scalar type.
/// Shapes are distinct. There is one at least for `F32` and for `F64`, whatever the features.
pub fn available(features: Features) -> Vec<Tile> {
    let mut tiles = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if features.avx512 {
            tiles.extend(x86::AVX512);
        }
        if features.avx2 && features.fma {
            tiles.extend(x86::AVX2);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = features;
    tiles.extend(portable::TILES);
    tiles
}

/// The fastest tile for a floating-point type.
///
/// # Panics
///
/// If `scalar` is an integer type: there are no tiles for those.
pub fn best(features: Features, scalar: Scalar) -> Tile {
    assert!(scalar.is_float(), "tiles multiply floats, found {}", scalar.name());
    available(features)
        .into_iter()
        .find(|tile| tile.shape.scalar == scalar)
        .expect("the portable tiles cover both floating-point types")
}

/// The tile of exactly this shape, if the features allow it.
pub fn find(features: Features, shape: TileShape) -> Option<Tile> {
    available(features).into_iter().find(|tile| tile.shape == shape)
}

/// Defines a tile: its entry, which picks the code for the number of rows, and that code.
///
/// Each number of rows is a function of its own, into which the vector operations are inlined: the
/// features are enabled there, and registers are allocated for that many rows alone.
macro_rules! define_tile {
    (
        $name:ident = $register:ty, [$($rows:literal)+]
        $(, features $features:literal)?
    ) => {
        unsafe extern "C" fn $name(
            a: *const u8,
            b: *const u8,
            c: *mut u8,
            depth: usize,
            a_row: isize,
            a_col: isize,
            b_row: isize,
            c_row: isize,
            block: u64,
        ) {
            $(#[target_feature(enable = $features)])?
            unsafe extern "C" fn rows<const ROWS: usize>(
                a: *const u8,
                b: *const u8,
                c: *mut u8,
                depth: usize,
                a_row: isize,
                a_col: isize,
                b_row: isize,
                c_row: isize,
                block: u64,
            ) {
                let call = $crate::block::Call {
                    a: a.cast(),
                    b: b.cast(),
                    c: c.cast(),
                    depth,
                    a_row,
                    a_col,
                    b_row,
                    c_row,
                    block: $crate::Block::unpack(block),
                };
                // SAFETY: the entry passes its arguments on, so the contract of `TileFn` holds for
                // `call`; `ROWS` is the block's; this function has the features of the register.
                unsafe { $crate::block::two_registers::<$register, ROWS>(&call) }
            }
            match $crate::Block::unpack(block).rows {
                $(
                    // SAFETY: the caller upholds the contract of `TileFn`, the features included.
                    $rows => unsafe {
                        rows::<$rows>(a, b, c, depth, a_row, a_col, b_row, c_row, block)
                    },
                )+
                // Outside the contract, and harmless.
                _ => {}
            }
        }
    };
}
pub(crate) use define_tile;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_packing() {
        for rows in [1, 2, 14, 255] {
            for cols in [1, 7, 32, 255] {
                for accumulate in [false, true] {
                    let block = Block { rows, cols, accumulate };
                    assert_eq!(Block::unpack(block.pack()), block);
                }
            }
        }
        assert_eq!(Block { rows: 6, cols: 16, accumulate: true }.pack(), 0x1_1006);
    }

    #[test]
    fn every_feature_set_has_a_tile_for_each_float() {
        for features in [Features::default(), Features::baseline(), Features::detect()] {
            let tiles = available(features);
            for scalar in [Scalar::F32, Scalar::F64] {
                let first = tiles.iter().find(|tile| tile.shape.scalar == scalar);
                assert_eq!(first.map(|tile| tile.shape), Some(best(features, scalar).shape));
            }
            for (idx, tile) in tiles.iter().enumerate() {
                assert!(tiles[..idx].iter().all(|other| other.shape != tile.shape));
                assert_eq!(find(features, tile.shape).map(|found| found.shape), Some(tile.shape));
                assert!(features.fma || !tile.shape.fma);
            }
        }
    }

    #[test]
    fn a_shape_without_a_tile_is_not_found() {
        let shape = TileShape { scalar: Scalar::F32, rows: 3, cols: 5, fma: true };
        assert!(find(Features::detect(), shape).is_none());
        let wide = best(Features::detect(), Scalar::F32).shape;
        let portable = find(Features::baseline(), wide);
        assert!(portable.is_none_or(|tile| !tile.shape.fma));
    }

    #[test]
    #[should_panic(expected = "tiles multiply floats, found i32")]
    fn integers_have_no_best_tile() {
        best(Features::detect(), Scalar::I32);
    }
}
