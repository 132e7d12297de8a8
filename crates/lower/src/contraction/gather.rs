//! Windows as dense blocks.
//!
//! A factor that is windows of an argument has an axis for each position and each place within a
//! window, and no two of them walk as one: as a matrix its rows and columns are not apart by any one
//! stride. A product over it would be one of many small ones. So some of the positions are copied
//! into scratch, as the dense matrix that they are, and multiplied as such: an image becomes columns a
//! few rows at a time (Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks
//! for Document Processing", 2006), which stay in the second-level cache.
//!
//! Along positions memory is dense, or nearly, so they are side by side in the block, and copied by
//! vectors. Where positions are columns (a convolution, or the derivative by what is convolved) the
//! block is the right operand, a term a row, and an outer loop walks blocks of columns:
//!
//! ```text
//! out[o, positions] = Σ_{c,k} weights[o, (c,k)] · block[(c,k), positions]
//! ```
//!
//! Where they are the depth (the derivative by the weights) it is the left operand, a sum a row,
//! and sums are accumulated over blocks of depth:
//!
//! ```text
//! out[(c,k), o] = Σ_positions block[(c,k), positions] · cotangent[positions, o]
//! ```
//!
//! The other factor must walk its side of the block with one stride, as dense weights and
//! cotangents do.

use kilngrad_ir::Machine;
use kilngrad_loops::{Access, Affine, Buffer, KernelBuilder, Scalar};

use super::nest::Nest;
use super::pack::vector_lanes;
use super::problem::{Axis, Position, Problem};

/// Elements that are copied without a loop between them.
const UNROLL: usize = 64;

/// A factor of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Lhs = 0,
    Rhs = 1,
}

/// A product over a gathered block.
pub(crate) struct Gathered {
    pub(crate) nest: Nest,
    /// Whether the operands of the contraction are exchanged.
    pub(crate) swapped: bool,
}

/// What is copied, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gather {
    /// Which operand of the nest.
    pub(crate) side: Side,
    /// Outermost first; the last one is dense in the block.
    moves: Vec<Move>,
    /// Elements of the block.
    len: usize,
}

/// An axis of the block: elements from one index to the next in memory and in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Move {
    extent: usize,
    from: i64,
    to: i64,
}

impl Gathered {
    /// The product of `problem`, whose operand on `side` is windows; `None` where it is one matrix
    /// already, or the other operand would not walk the block with one stride.
    pub(crate) fn new(
        problem: &Problem,
        side: Side,
        size: usize,
        machine: &Machine,
        may_merge: impl Fn(usize, usize, usize) -> bool,
    ) -> Option<Gathered> {
        let swap = side == Side::Lhs;
        let problem = if swap { problem.clone().swapped() } else { problem.clone() };
        let count = |axes: &[Axis]| axes.iter().map(|axis| axis.extent).product::<usize>();
        if problem.cols.len() < 2 && problem.depth.len() < 2 || count(&problem.depth) == 0 {
            return None;
        }
        let room = (machine.l2_bytes / 2 / size).max(1);
        if count(&problem.cols) >= count(&problem.depth) {
            Some(Gathered { nest: columns(problem, room, may_merge)?, swapped: swap })
        } else {
            Some(Gathered { nest: depths(problem.swapped(), room, may_merge)?, swapped: !swap })
        }
    }
}

/// Positions are columns.
fn columns(
    problem: Problem,
    room: usize,
    may_merge: impl Fn(usize, usize, usize) -> bool,
) -> Option<Nest> {
    let Problem { batch, mut rows, cols, mut depth } = problem;
    if rows.len() > 1 {
        return None;
    }
    depth.sort_by_key(|axis| -axis.lhs);
    let (terms, term) =
        walked(&depth, |outer, inner| outer.lhs == inner.lhs * inner.extent as i64)?;
    let merges = |outer: &Axis, inner: &Axis, extent: usize| {
        outer.out == inner.out * extent as i64
            && outer.result.zip(inner.result).is_some_and(|(o, i)| may_merge(o, i, extent))
    };
    let (outer, block, count) = blocked(&cols, room / terms.max(1), merges)?;
    let mut moves = moves(&depth, |axis| axis.rhs, count as i64);
    moves.extend(self::moves(&block, |axis| axis.rhs, 1));
    let position = *block.last()?;
    let len = terms.checked_mul(count)?;
    Some(Nest {
        outer: batch.into_iter().chain(outer).collect(),
        rows: rows.pop().unwrap_or(Axis::UNIT),
        cols: Axis { extent: count, rhs: 1, ..position },
        outer_depth: Vec::new(),
        depth: Axis { extent: terms, lhs: term.lhs, rhs: count as i64, ..Axis::UNIT },
        gathered: Some(Gather { side: Side::Rhs, moves, len }),
    })
}

/// Positions are terms. The windows are the left operand here.
fn depths(
    problem: Problem,
    room: usize,
    may_merge: impl Fn(usize, usize, usize) -> bool,
) -> Option<Nest> {
    let Problem { batch, rows, mut cols, mut depth } = problem;
    if cols.len() > 1 {
        return None;
    }
    let (sums, sum) = walked(&rows, |outer, inner| {
        let results = outer.result.zip(inner.result);
        outer.out == inner.out * inner.extent as i64
            && results.is_some_and(|(o, i)| may_merge(o, i, inner.extent))
    })?;
    depth.sort_by_key(|axis| -axis.lhs);
    let merges = |outer: &Axis, inner: &Axis, extent: usize| outer.rhs == inner.rhs * extent as i64;
    let (outer, block, count) = blocked(&depth, room / sums.max(1), merges)?;
    // Rows a power of two apart would compete for few places of the cache.
    let apart = if count.is_multiple_of(64) { count + 16 } else { count };
    let mut moves = moves(&rows, |axis| axis.lhs, apart as i64);
    moves.extend(self::moves(&block, |axis| axis.lhs, 1));
    let position = *block.last()?;
    let len = sums.checked_mul(apart)?;
    Some(Nest {
        outer: batch,
        rows: Axis { extent: sums, lhs: apart as i64, ..sum },
        cols: cols.pop().unwrap_or(Axis { rhs: 1, out: 1, ..Axis::UNIT }),
        outer_depth: outer,
        depth: Axis { extent: count, lhs: 1, rhs: position.rhs, ..Axis::UNIT },
        gathered: Some(Gather { side: Side::Lhs, moves, len }),
    })
}

/// All axes as one, if neighbours walk as one: how many indices, and the innermost axis.
fn walked(axes: &[Axis], merges: impl Fn(&Axis, &Axis) -> bool) -> Option<(usize, Axis)> {
    let innermost = *axes.last().unwrap_or(&Axis::UNIT);
    let mut whole = innermost;
    for outer in axes.iter().rev().skip(1) {
        if !merges(outer, &whole) {
            return None;
        }
        whole.extent = whole.extent.checked_mul(outer.extent)?;
    }
    Some((whole.extent, innermost))
}

/// The innermost axes as one block of at most `room` indices, the last of them perhaps in part: the
/// axes around it, those of the block, and how many indices it has.
fn blocked(
    axes: &[Axis],
    room: usize,
    merges: impl Fn(&Axis, &Axis, usize) -> bool,
) -> Option<(Vec<Axis>, Vec<Axis>, usize)> {
    let (innermost, around) = axes.split_last()?;
    let (mut outer, mut block) = (around.to_vec(), vec![*innermost]);
    let mut count = innermost.extent;
    while let Some(axis) = outer.last().copied().filter(|axis| merges(axis, innermost, count)) {
        let fits = |part: &usize| axis.extent.is_multiple_of(*part) && count * part <= room;
        let part = (1..=axis.extent).rev().find(fits).unwrap_or(1);
        outer.pop();
        if part > 1 {
            block.insert(0, Axis { extent: part, ..axis });
        }
        if part < axis.extent {
            let scale = |stride: i64| stride * part as i64;
            outer.push(Axis {
                extent: axis.extent / part,
                lhs: scale(axis.lhs),
                rhs: scale(axis.rhs),
                out: scale(axis.out),
                step: scale(axis.step),
                ..axis
            });
            count *= part;
            break;
        }
        count *= part;
    }
    Some((outer, block, count))
}

/// The axes of a dense part of the block, whose elements are `unit` apart.
fn moves(axes: &[Axis], from: impl Fn(&Axis) -> i64, unit: i64) -> Vec<Move> {
    let mut moves: Vec<Move> = Vec::with_capacity(axes.len());
    let mut to = unit;
    for axis in axes.iter().rev() {
        moves.push(Move { extent: axis.extent, from: from(axis), to });
        to *= axis.extent as i64;
    }
    moves.reverse();
    moves
}

impl Gather {
    /// The block, of elements of `from`.
    pub(crate) fn block(self, b: &mut KernelBuilder, scalar: Scalar, from: Buffer) -> Block {
        let to = b.buffer("gathered", scalar, self.len, Access::Scratch);
        Block { gather: self, from, to }
    }
}

/// A block in scratch.
pub(crate) struct Block {
    gather: Gather,
    from: Buffer,
    /// The scratch.
    pub(crate) to: Buffer,
}

impl Block {
    /// Copies what begins at a position of memory, and gives the position in the block.
    pub(crate) fn fill(&self, b: &mut KernelBuilder, position: &Position) -> Position {
        let mut inside = position.clone();
        let begin = match self.gather.side {
            Side::Lhs => &mut inside.lhs,
            Side::Rhs => &mut inside.rhs,
        };
        let from = std::mem::replace(begin, Affine::constant(0));
        self.copy(b, &self.gather.moves, from, Affine::constant(0));
        inside
    }

    /// Recursion is as deep as there are axes.
    fn copy(&self, b: &mut KernelBuilder, moves: &[Move], from: Affine, to: Affine) {
        match moves {
            [] => self.line(b, Move { extent: 1, from: 1, to: 1 }, &from, &to),
            [line] => self.line(b, *line, &from, &to),
            [outer, inner @ ..] => b.for_(outer.extent, |b, var| {
                self.copy(b, inner, from.plus(var, outer.from), to.plus(var, outer.to));
            }),
        }
    }

    /// Neighbours in the block: by vectors where they are in memory too.
    fn line(&self, b: &mut KernelBuilder, line: Move, from: &Affine, to: &Affine) {
        let dense = line.from == 1 && line.to == 1;
        let lanes = if dense { vector_lanes(b.buffer_decl(self.to).scalar) } else { 1 };
        let mut done = 0;
        for (lanes, copies) in [(lanes, UNROLL / lanes), (lanes, 1), (1, 1)] {
            let step = lanes * copies;
            let count = (line.extent - done) / step;
            let part = |b: &mut KernelBuilder, first: &Affine| {
                for copy in 0..copies {
                    let at = first.clone().offset((done + copy * lanes) as i64);
                    let value = b.load(self.from, from.add(&at.scaled(line.from)), lanes as u8);
                    b.store(self.to, to.add(&at.scaled(line.to)), value);
                }
            };
            match count {
                0 => {}
                1 => part(b, &Affine::constant(0)),
                _ => b.for_(count, |b, var| part(b, &Affine::constant(0).plus(var, step as i64))),
            }
            done += count * step;
        }
    }
}
