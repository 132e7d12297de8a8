//! Operands that no call changes, packed once.
//!
//! The right operand of a product is read in panels as wide as a tile, over and over: by every call
//! and by every block of rows. Where it is a constant it is laid out in these panels before the
//! first call, and the product reads them in place:
//!
//! ```text
//! [axes of outer loops][axes of outer depth][panel][term][column in the panel]
//! ```
//!
//! A panel has all terms, so its place does not depend on how the depth is cut, and a narrow last
//! panel takes the room of a whole one, so every axis has one stride. Hence the product needs no
//! case of its own: to it, the panels are an operand whose columns are as many elements as there are
//! terms apart from one panel to the next and side by side within. Blocks of columns and chunks begin at
//! panels, which the blocking sees to. Nor does the layout depend on rows, so products of any
//! number of rows share it.

use kilngrad_loops::{Access, Kernel, KernelBuilder, Scalar};

use crate::LowerError;

use super::nest::{Nest, loops};
use super::pack::{Source, pack_padded};
use super::problem::{Axis, Position};

/// A product over panels.
pub(crate) struct Panels {
    /// The nest, the right operand's strides being those of the panels.
    pub(crate) nest: Nest,
    /// Elements of all panels.
    pub(crate) len: usize,
    /// Reads the operand and writes the panels.
    pub(crate) kernel: Kernel,
}

impl Panels {
    /// The right operand of `nest`, of `operand_len` elements, in panels of `width` columns; `None`
    /// where it lies like that already, or the panels would not fit memory.
    ///
    /// # Errors
    ///
    /// Those of writing loops.
    pub(crate) fn new(
        nest: &Nest,
        scalar: Scalar,
        width: usize,
        operand_len: usize,
    ) -> Result<Option<Panels>, LowerError> {
        let (cols, depth) = (nest.cols, nest.depth);
        let width = width.min(cols.extent);
        let dense = cols.rhs == 1 && depth.rhs.unsigned_abs() <= width as u64;
        let Some((panelled, len)) = panelled(nest, width).filter(|_| !dense && depth.extent > 0)
        else {
            return Ok(None);
        };
        if len.checked_mul(scalar.size()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            return Ok(None);
        }
        let mut b = KernelBuilder::new("pack", 1);
        let from = b.buffer("operand", scalar, operand_len, Access::Read);
        let to = b.buffer("panels", scalar, len, Access::Write);
        // Along these axes `rhs` moves in the operand and `out` in the panels.
        let both = |(old, new): (&Axis, &Axis)| Axis { out: new.rhs, result: None, ..*old };
        let outer = nest.outer.iter().zip(&panelled.outer);
        let outer = outer.chain(nest.outer_depth.iter().zip(&panelled.outer_depth));
        let outer: Vec<Axis> = outer.filter(|(old, _)| old.rhs != 0).map(both).collect();
        loops(&mut b, &outer, &Position::origin(0), &mut |b, position| {
            let at = position.rhs.clone();
            let from = Source { buffer: from, at, across: cols.rhs, along: depth.rhs };
            pack_padded(b, &from, (to, &position.out), cols.extent, width, depth.extent)
        })?;
        Ok(Some(Panels { nest: panelled, len, kernel: b.finish() }))
    }
}

/// The nest over panels, and their elements.
fn panelled(nest: &Nest, width: usize) -> Option<(Nest, usize)> {
    let mut panelled = nest.clone();
    let terms = nest.depth.extent;
    panelled.depth.rhs = i64::try_from(width).ok()?;
    panelled.cols.rhs = i64::try_from(terms).ok()?;
    let mut len = nest.cols.extent.checked_next_multiple_of(width)?.checked_mul(terms)?;
    let outer = panelled.outer.iter_mut().chain(&mut panelled.outer_depth);
    for axis in outer.rev().filter(|axis| axis.rhs != 0) {
        axis.rhs = i64::try_from(len).ok()?;
        len = len.checked_mul(axis.extent)?;
    }
    Some((panelled, len))
}
