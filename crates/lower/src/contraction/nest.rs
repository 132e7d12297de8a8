//! A contraction as one matrix product inside outer loops.

use kilngrad_loops::{Affine, Kernel, KernelBuilder};

use crate::LowerError;

use super::gather::{Gather, Side};
use super::problem::{Axis, Position, Problem};

/// A matrix product of the innermost row, column and depth axis, inside loops over the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nest {
    /// Batch axes, then rows and columns that did not collapse into one axis.
    pub(crate) outer: Vec<Axis>,
    pub(crate) rows: Axis,
    pub(crate) cols: Axis,
    /// Depth axes that did not collapse: the sum is accumulated over them.
    pub(crate) outer_depth: Vec<Axis>,
    pub(crate) depth: Axis,
    /// What is gathered: the strides of that operand within the product are those of the block, along
    /// outer loops those of memory.
    pub(crate) gathered: Option<Gather>,
}

/// An axis of a nest along which the result can be shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// An outer loop.
    Outer(usize),
    /// Rows of the product.
    Rows,
    /// Columns of the product.
    Cols,
}

/// An axis divided evenly over chunks; the number of chunks divides its extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// `None` where there is one chunk.
    pub(crate) which: Option<Which>,
    pub(crate) chunks: usize,
}

impl Share {
    /// One chunk.
    pub(crate) const WHOLE: Share = Share { which: None, chunks: 1 };
}

impl Nest {
    /// The columns are the innermost column axis, which is dense in the result; the depth is the
    /// longest depth axis.
    pub(crate) fn new(problem: Problem) -> Nest {
        let Problem { batch, mut rows, mut cols, mut depth } = problem;
        let innermost_row = rows.pop();
        // Without columns the result is dense along the rows, and one column wide.
        let innermost_col = cols.pop();
        let longest = (0..depth.len()).max_by_key(|&at| (depth[at].extent, at));
        let innermost_depth = longest.map(|at| depth.remove(at));
        let outer = batch.into_iter().chain(rows).chain(cols).collect();
        Nest {
            outer,
            rows: innermost_row.unwrap_or(Axis::UNIT),
            cols: innermost_col.unwrap_or(Axis { rhs: 1, out: 1, ..Axis::UNIT }),
            outer_depth: depth,
            depth: innermost_depth.unwrap_or(Axis::UNIT),
            gathered: None,
        }
    }

    /// The axes that chunks may share out, outermost first. What is gathered begins where the outer
    /// loops say, so it is whole in every chunk.
    pub(crate) fn splittable(&self) -> impl Iterator<Item = Which> {
        let whole = self.gathered.as_ref().map(|gather| gather.side);
        let within = [(Which::Rows, Side::Lhs), (Which::Cols, Side::Rhs)];
        let within = within.into_iter().filter(move |(_, side)| whole != Some(*side));
        (0..self.outer.len()).map(Which::Outer).chain(within.map(|(which, _)| which))
    }

    /// Whether columns are side by side in the result, so that it may hold the sums.
    pub(crate) fn is_dense(&self) -> bool {
        self.cols.out == 1 || self.cols.extent == 1
    }

    pub(crate) fn axis(&self, which: Which) -> &Axis {
        match which {
            Which::Outer(at) => &self.outer[at],
            Which::Rows => &self.rows,
            Which::Cols => &self.cols,
        }
    }

    /// One chunk's part.
    pub(crate) fn part(&self, share: Share) -> Nest {
        let mut part = self.clone();
        if let Some(which) = share.which {
            let axis = match which {
                Which::Outer(at) => &mut part.outer[at],
                Which::Rows => &mut part.rows,
                Which::Cols => &mut part.cols,
            };
            axis.extent /= share.chunks;
        }
        part
    }

    /// How often the matrix product runs.
    pub(crate) fn repeats(&self) -> usize {
        self.outer.iter().chain(&self.outer_depth).map(|axis| axis.extent).product()
    }

    /// Terms of all sums.
    pub(crate) fn terms(&self) -> f64 {
        let product = [self.rows, self.cols, self.depth];
        let product: f64 = product.iter().map(|axis| axis.extent as f64).product();
        self.repeats() as f64 * product
    }

    /// Where the chunk that runs begins, this being its part.
    pub(crate) fn start(&self, rank: usize, share: Share) -> Position {
        let origin = Position::origin(rank);
        match share.which.map(|which| self.axis(which)) {
            Some(axis) => {
                let steps = Affine::constant(0).plus(Kernel::CHUNK, axis.extent as i64);
                origin.along(axis, &steps)
            }
            None => origin,
        }
    }
}

/// Runs `body` in loops over `axes`, the first outermost.
pub(crate) fn loops(
    b: &mut KernelBuilder,
    axes: &[Axis],
    position: &Position,
    body: &mut dyn FnMut(&mut KernelBuilder, &Position) -> Result<(), LowerError>,
) -> Result<(), LowerError> {
    match axes {
        [] => body(b, position),
        // The rank of a tensor bounds the recursion.
        [axis, inner @ ..] => {
            b.for_(axis.extent, |b, var| loops(b, inner, &position.along_var(axis, var), body))
        }
    }
}

/// Runs `body` for each block of `extent` with the block's start and length: once in a loop for
/// those of length `block`, and once more for the rest.
pub(crate) fn blocks(
    b: &mut KernelBuilder,
    extent: usize,
    block: usize,
    mut body: impl FnMut(&mut KernelBuilder, &Affine, usize) -> Result<(), LowerError>,
) -> Result<(), LowerError> {
    let Some(count) = extent.checked_div(block) else { return Ok(()) };
    match count {
        0 => {}
        1 => body(b, &Affine::constant(0), block)?,
        _ => {
            b.for_(count, |b, var| body(b, &Affine::constant(0).plus(var, block as i64), block))?
        }
    }
    let rest = extent - count * block;
    if rest > 0 {
        body(b, &Affine::constant((count * block) as i64), rest)?;
    }
    Ok(())
}
