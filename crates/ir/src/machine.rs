//! The machine model: all that passes and lowering may know of the processor.
//!
//! It is an input of a compile, printed in dumps and fixed in tests: the same program for the same
//! machine gives the same dumps, plan and code, whatever processor compiles it.

use std::fmt;

use crate::dtype::DType;

/// Rows and columns of a contraction's register block.
///
/// ```
/// use kilngrad_ir::{DType, Machine, TileSize};
///
/// let tile = Machine::BASELINE.tile(DType::F32);
/// assert_eq!(tile, Some(TileSize { rows: 4, cols: 8 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TileSize {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

/// A model of one core and its caches.
///
/// ```
/// use kilngrad_ir::Machine;
///
/// let wide = Machine { vector_bytes: 64, ..Machine::BASELINE };
/// assert!(wide.to_string().starts_with("vectors of 64 B, no fma"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Bytes of a vector in generated loops.
    pub vector_bytes: usize,
    /// Whether one instruction multiplies and adds with one rounding.
    pub fma: bool,
    /// From how many elements on a leaf function, whose vectors are wider than those of generated
    /// loops, is faster than they are; `None` where there are no leaf functions.
    pub leaf_elements: Option<usize>,
    /// The contraction tile for `f32`.
    pub tile_f32: TileSize,
    /// The contraction tile for `f64`.
    pub tile_f64: TileSize,
    /// Bytes of a core's first-level data cache.
    pub l1_bytes: usize,
    /// Bytes of a core's second-level cache.
    pub l2_bytes: usize,
    /// Bytes of the last-level cache that one core may count on.
    pub l3_bytes: usize,
    /// Cycles of work below which waking a worker for a chunk costs more than it helps.
    pub chunk_cycles: usize,
}

impl Machine {
    /// A processor without AVX and FMA: what the portable tiles run on. Tests fix it.
    pub const BASELINE: Machine = Machine {
        vector_bytes: 16,
        fma: false,
        leaf_elements: None,
        tile_f32: TileSize { rows: 4, cols: 8 },
        tile_f64: TileSize { rows: 4, cols: 4 },
        l1_bytes: 32 << 10,
        l2_bytes: 256 << 10,
        l3_bytes: 2 << 20,
        chunk_cycles: 16_000,
    };

    /// Elements of a vector; 1 for dtypes that generated loops handle one at a time.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Machine};
    ///
    /// assert_eq!(Machine::BASELINE.lanes(DType::F32), 4);
    /// assert_eq!(Machine::BASELINE.lanes(DType::U8), 1);
    /// ```
    pub fn lanes(&self, dtype: DType) -> usize {
        match dtype {
            DType::F32 | DType::I32 | DType::F64 | DType::I64 => self.vector_bytes / dtype.size(),
            DType::U8 | DType::Bool => 1,
        }
    }

    /// The contraction tile for a float dtype; `None` for others.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Machine};
    ///
    /// assert!(Machine::BASELINE.tile(DType::F64).is_some());
    /// assert_eq!(Machine::BASELINE.tile(DType::I32), None);
    /// ```
    pub fn tile(&self, dtype: DType) -> Option<TileSize> {
        match dtype {
            DType::F32 => Some(self.tile_f32),
            DType::F64 => Some(self.tile_f64),
            DType::I32 | DType::I64 | DType::U8 | DType::Bool => None,
        }
    }
}

/// One line, as dumps show it.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaves = match self.leaf_elements {
            Some(least) => format!("leaf functions from {least}"),
            None => "no leaf functions".to_owned(),
        };
        write!(
            f,
            "vectors of {} B, {}, {}, tiles {}x{} f32 and {}x{} f64, caches {} KiB, {} KiB, {} KiB, \
             chunks of {} cycles",
            self.vector_bytes,
            if self.fma { "fma" } else { "no fma" },
            leaves,
            self.tile_f32.rows,
            self.tile_f32.cols,
            self.tile_f64.rows,
            self.tile_f64.cols,
            self.l1_bytes >> 10,
            self.l2_bytes >> 10,
            self.l3_bytes >> 10,
            self.chunk_cycles,
        )
    }
}
