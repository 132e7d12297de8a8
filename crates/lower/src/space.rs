//! Iteration spaces: which axes become one loop, which is vectorised, how chunks split them.
//!
//! Neighbouring axes are one [`Group`] where every access steps through them as through one axis,
//! so a tensor whose uses are all dense is one long loop. One group is the vector group, chosen by
//! what its accesses cost. Its loop is innermost. One group is split over the kernel's chunks, by
//! shape alone: a chunk is an equal part of the group, so the number of chunks divides its length.

use kilngrad_ir::Machine;
use kilngrad_loops::{Affine, Kernel, KernelBuilder, Reg};
use smallvec::{SmallVec, smallvec};

use crate::LowerError;
use crate::code::Target;
use crate::expr::{AccessKind, Coords};
use crate::lanes::{LANE, packs};

/// Additions of a lane in a cycle: two vectors of four.
const LANES_A_CYCLE: usize = 8;

/// Most chunks of a kernel.
const MAX_CHUNKS: usize = 64;

/// Indices of each group in a tile: a cache line of `f32`.
const TILE: usize = 16;

/// What an access costs that is not one vector instruction, relative to one.
const LANE_BY_LANE: usize = 9;

/// Axes that are walked by one loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The axis whose index the loop counts; those merged into it have index 0.
    pub(crate) axis: usize,
    /// Product of the lengths.
    pub(crate) extent: usize,
    /// What the axes are labelled, such as kept or reduced.
    pub(crate) label: bool,
}

/// An access as a space sees it: its stride along each axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strided {
    pub(crate) kind: AccessKind,
    pub(crate) strides: SmallVec<[i64; 4]>,
}

/// The loops over an index space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Space {
    rank: usize,
    /// Outermost first.
    pub(crate) groups: Vec<Group>,
}

impl Space {
    /// The space of this shape, walked by accesses with these strides. Axes of different labels
    /// stay apart. No length is zero.
    pub(crate) fn new(shape: &[usize], labels: &[bool], accesses: &[Strided]) -> Space {
        let mut groups: Vec<Group> = Vec::new();
        // The stride that continues the innermost group outward, for each access.
        let mut expected: Vec<i64> = Vec::new();
        for axis in (0..shape.len()).rev().filter(|axis| shape[*axis] != 1) {
            let label = labels[axis];
            let strides = || accesses.iter().map(|access| access.strides[axis]);
            let extends = groups.last().is_some_and(|group| group.label == label)
                && strides().eq(expected.iter().copied());
            if extends {
                groups.last_mut().expect("there is a group to extend").extent *= shape[axis];
            } else {
                groups.push(Group { axis, extent: shape[axis], label });
            }
            expected = strides().map(|stride| stride * shape[axis] as i64).collect();
        }
        groups.reverse();
        Space { rank: shape.len(), groups }
    }

    /// The coordinates of the axes, given the index of each group.
    pub(crate) fn coords(&self, indices: &[Affine]) -> Coords {
        let mut coords = Coords::from_elem(Affine::default(), self.rank);
        for (group, index) in self.groups.iter().zip(indices) {
            coords[group.axis] = index.clone();
        }
        coords
    }

    /// Loops over groups in order; `body` gets the indices of all, of which these are set.
    /// Recursion is as deep as there are groups.
    ///
    /// # Errors
    ///
    /// Those of the body.
    pub(crate) fn walk(
        &self,
        b: &mut KernelBuilder,
        split: Split,
        order: &[usize],
        mut indices: Vec<Affine>,
        body: IndexBody<'_>,
    ) -> Result<(), LowerError> {
        let Some((&group, rest)) = order.split_first() else { return body(b, indices) };
        let (start, extent) = split.part(group, self.groups[group].extent);
        repeat(b, extent, |b, var| {
            indices[group] = start.add(&var);
            self.walk(b, split, rest, indices, body)
        })?;
        Ok(())
    }

    /// The group that accesses are cheapest to vectorise along, the innermost of equals; `None`
    /// where none is as long as a vector or nothing fills vectors.
    pub(crate) fn vector_group(&self, lanes: usize, accesses: &[Strided]) -> Option<usize> {
        if lanes == 1 {
            return None;
        }
        let candidates = (0..self.groups.len()).rev();
        let long = candidates.filter(|group| self.groups[*group].extent >= lanes);
        long.min_by_key(|group| {
            let axis = self.groups[*group].axis;
            accesses.iter().map(|access| access_cost(access, axis)).sum::<usize>()
        })
    }

    /// The split into the most equal parts, up to as many as are wanted; of equals that of the
    /// outermost group. `least` is the shortest part that a group may have. Parts that are
    /// multiples of it are preferred to up to twice as many that are not.
    pub(crate) fn split(
        &self,
        wanted: usize,
        may_split: impl Fn(usize) -> bool,
        least: impl Fn(usize) -> usize,
    ) -> Split {
        let mut best = Split::WHOLE;
        for group in (0..self.groups.len()).filter(|group| may_split(*group)) {
            let (extent, least) = (self.groups[group].extent, least(group));
            let most = wanted.min(extent / least).max(1);
            let parts = |is: &dyn Fn(usize) -> bool| {
                let divides = |chunks: &usize| extent.is_multiple_of(*chunks);
                (1..=most).rev().filter(divides).find(|chunks| is(extent / chunks)).unwrap_or(1)
            };
            let even = parts(&|part| part.is_multiple_of(least));
            let any = parts(&|_| true);
            let chunks = if even * 2 >= any { even } else { any };
            if chunks > best.chunks {
                best = Split { group, chunks };
            }
        }
        best
    }

    /// The group to walk in small tiles with the vector group: that in which a tensor is dense
    /// whose elements along the vector axis are far apart, as in a transposition. In tiles each
    /// cache line that is fetched is used whole while it is there.
    pub(crate) fn tile_group(&self, vector: usize, accesses: &[Strided]) -> Option<usize> {
        let axis = self.groups[vector].axis;
        let far = accesses.iter().find(|access| match access.kind {
            AccessKind::Index => false,
            AccessKind::Load(_) | AccessKind::Store(_) => access.strides[axis].abs() > TILE as i64,
        })?;
        let nearer = |group: &usize| {
            let stride = far.strides[self.groups[*group].axis].abs();
            *group != vector && stride != 0 && stride < far.strides[axis].abs()
        };
        let stride = |group: &usize| far.strides[self.groups[*group].axis].abs();
        (0..self.groups.len()).filter(nearer).min_by_key(stride)
    }
}

/// A group divided evenly over chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) group: usize,
    pub(crate) chunks: usize,
}

impl Split {
    /// Nothing is split.
    pub(crate) const WHOLE: Split = Split { group: 0, chunks: 1 };

    /// The number of chunks that an amount of work, in additions of a lane, justifies.
    pub(crate) fn wanted(machine: &Machine, work: usize) -> usize {
        (work / LANES_A_CYCLE / machine.chunk_cycles.max(1)).clamp(1, MAX_CHUNKS)
    }

    /// The part of a group that a chunk walks: its first index and its length.
    pub(crate) fn part(self, group: usize, extent: usize) -> (Affine, usize) {
        if self.chunks > 1 && group == self.group {
            let length = extent / self.chunks;
            (Affine::constant(0).plus(Kernel::CHUNK, length as i64), length)
        } else {
            (Affine::constant(0), extent)
        }
    }
}

/// Cost of an access in a body that is vectorised along an axis.
fn access_cost(access: &Strided, axis: usize) -> usize {
    let stride = access.strides[axis];
    match access.kind {
        AccessKind::Index => 1,
        AccessKind::Load(_) if stride == 0 => 0,
        AccessKind::Load(dtype) | AccessKind::Store(dtype) => {
            if stride == 1 && packs(dtype) {
                1
            } else {
                LANE_BY_LANE
            }
        }
    }
}

/// How often a body of this cost (in additions) is repeated in a loop's body: small bodies are,
/// so that counting and addressing do not outweigh them. An optimizer's update, which reads and
/// writes some six arrays, is among those that are repeated once.
pub(crate) fn unroll(cost: usize) -> usize {
    match cost {
        0..=8 => 4,
        9..=48 => 2,
        _ => 1,
    }
}

/// Runs `body` for each index; without a loop where there is only one.
pub(crate) fn repeat<T>(
    b: &mut KernelBuilder,
    extent: usize,
    body: impl FnOnce(&mut KernelBuilder, Affine) -> Result<T, LowerError>,
) -> Result<Option<T>, LowerError> {
    match extent {
        0 => Ok(None),
        1 => body(b, Affine::constant(0)).map(Some),
        _ => b.for_(extent, |b, var| body(b, Affine::var(var))).map(Some),
    }
}

/// Runs `body` for each index with the registers that the last one returned; without a loop where
/// there is only one index.
///
/// # Errors
///
/// Those of the body.
pub(crate) fn carry(
    b: &mut KernelBuilder,
    extent: usize,
    init: Vec<Reg>,
    body: impl FnOnce(&mut KernelBuilder, Affine, Vec<Reg>) -> Result<Vec<Reg>, LowerError>,
) -> Result<Vec<Reg>, LowerError> {
    match extent {
        0 => Ok(init),
        1 => body(b, Affine::constant(0), init),
        _ => {
            let mut failure = None;
            let results = b.for_carry(extent, &init, |b, var, params| {
                body(b, Affine::var(var), params.to_vec()).unwrap_or_else(|error| {
                    failure = Some(error);
                    params.to_vec()
                })
            });
            failure.map_or(Ok(results), Err)
        }
    }
}

/// A body that is written at given indices of the groups.
pub(crate) type Body<'f> =
    &'f mut dyn FnMut(&mut KernelBuilder, Target, &Coords) -> Result<(), LowerError>;

/// A body that is written at given indices of some groups.
pub(crate) type IndexBody<'f> =
    &'f mut dyn FnMut(&mut KernelBuilder, Vec<Affine>) -> Result<(), LowerError>;

/// Consecutive indices of an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) axis: usize,
    pub(crate) extent: usize,
}

/// Loops over a whole space with an elementwise body.
#[derive(Debug, Clone)]
pub(crate) struct Nest<'s> {
    pub(crate) space: &'s Space,
    pub(crate) vector: Option<usize>,
    /// A group that is walked in tiles with the vector group.
    pub(crate) tiled: Option<usize>,
    pub(crate) split: Split,
    pub(crate) target: Target,
}

impl Nest<'_> {
    /// Writes the loops around the lines along the vector group, the others in order. A block is as
    /// many lines as stay `together`, or what is left of them.
    ///
    /// # Errors
    ///
    /// Those of the body.
    pub(crate) fn write(
        &self,
        b: &mut KernelBuilder,
        together: usize,
        body: BlockBody<'_>,
    ) -> Result<(), LowerError> {
        let Some(inner) = self.inner() else {
            return body(b, Block { nest: self, indices: Vec::new(), parts: SmallVec::new() });
        };
        let rows = self.rows();
        let outer: Vec<usize> = (0..self.space.groups.len())
            .filter(|group| ![Some(inner), self.tiled, rows].contains(&Some(*group)))
            .collect();
        let indices = vec![Affine::constant(0); self.space.groups.len()];
        let line = self.whole(inner);
        self.space.walk(b, self.split, &outer, indices, &mut |b, indices| {
            if let Some(tiled) = self.tiled {
                return self.tiles(b, tiled, &line, indices, body);
            }
            let block = |parts| Block { nest: self, indices: indices.clone(), parts };
            let Some(rows) = rows.map(|rows| self.whole(rows)) else {
                return body(b, block(smallvec![line.clone()]));
            };
            for (count, extent, done) in in_parts(rows.extent, together) {
                repeat(b, count, |b, var| {
                    let first = var.scaled(extent as i64).offset(done as i64);
                    let start = rows.start.add(&first);
                    body(b, block(smallvec![Part { start, extent, ..rows }, line.clone()]))
                })?;
            }
            Ok(())
        })
    }

    /// The innermost group.
    fn inner(&self) -> Option<usize> {
        self.vector.or_else(|| self.space.groups.len().checked_sub(1))
    }

    /// The group of neighbouring lines, where they are not walked in tiles.
    fn rows(&self) -> Option<usize> {
        let mut outer = (0..self.space.groups.len()).filter(|group| Some(*group) != self.inner());
        if self.tiled.is_some() { None } else { outer.next_back() }
    }

    /// How many lines there are beside each other, and the length of each.
    pub(crate) fn lines(&self) -> (usize, usize) {
        let extent = |group: Option<usize>| group.map_or(1, |group| self.whole(group).extent);
        (extent(self.rows()), extent(self.inner()))
    }

    /// What a chunk walks of a group.
    fn whole(&self, group: usize) -> Part {
        let (start, extent) = self.split.part(group, self.space.groups[group].extent);
        Part { group, start, extent }
    }

    /// Tiles of two groups, whose sizes divide the lengths.
    fn tiles(
        &self,
        b: &mut KernelBuilder,
        outer: usize,
        line: &Part,
        mut indices: Vec<Affine>,
        body: BlockBody<'_>,
    ) -> Result<(), LowerError> {
        let outer = self.whole(outer);
        let (rows, columns) = (tile_length(outer.extent), tile_length(line.extent));
        repeat(b, outer.extent / rows, |b, block| {
            let first = outer.start.add(&block.scaled(rows as i64));
            repeat(b, line.extent / columns, |b, block| {
                let start = line.start.add(&block.scaled(columns as i64));
                repeat(b, rows, |b, row| {
                    indices[outer.group] = first.add(&row);
                    let parts = smallvec![Part { start, extent: columns, ..*line }];
                    body(b, Block { nest: self, indices, parts })
                })
            })
        })?;
        Ok(())
    }
}

/// A body that is written for a block of a nest.
pub(crate) type BlockBody<'f> =
    &'f mut dyn FnMut(&mut KernelBuilder, Block<'_>) -> Result<(), LowerError>;

/// Consecutive indices of a group.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    group: usize,
    pub(crate) start: Affine,
    pub(crate) extent: usize,
}

/// Lines along the innermost group of a nest beside each other, or the only element where there is
/// no group.
#[derive(Debug, Clone)]
pub(crate) struct Block<'n> {
    nest: &'n Nest<'n>,
    /// Of the groups that the block does not walk.
    indices: Vec<Affine>,
    /// The parts of groups that it walks: those of the lines, if any, and of each line.
    parts: SmallVec<[Part; 2]>,
}

impl Block<'_> {
    /// The part of the innermost group.
    pub(crate) fn line(&self) -> Option<&Part> {
        self.parts.last()
    }

    /// What the block walks.
    pub(crate) fn spans(&self) -> SmallVec<[Span; 2]> {
        let axis = |group: usize| self.nest.space.groups[group].axis;
        let span = |part: &Part| Span { axis: axis(part.group), extent: part.extent };
        self.parts.iter().map(span).collect()
    }

    /// The index of its first element.
    pub(crate) fn first(&self) -> Coords {
        let mut indices = self.indices.clone();
        for part in &self.parts {
            indices[part.group] = part.start.clone();
        }
        self.nest.space.coords(&indices)
    }

    /// Part of each line.
    pub(crate) fn at(&self, start: Affine, extent: usize) -> Self {
        let mut block = self.clone();
        if let Some(line) = block.parts.last_mut() {
            *line = Part { start, extent, ..*line };
        }
        block
    }

    /// Writes the loops over the block: along each line one of so many vectors at a time, one of
    /// the vectors that are left, and one of single elements.
    ///
    /// # Errors
    ///
    /// Those of the body.
    pub(crate) fn write(
        &self,
        b: &mut KernelBuilder,
        unroll: usize,
        body: Body<'_>,
    ) -> Result<(), LowerError> {
        let Nest { space, vector, target, .. } = self.nest;
        let Some((inner, outer)) = self.parts.split_last() else {
            return body(b, target.scalar(), &space.coords(&[]));
        };
        let lanes = if vector.is_some() { target.lanes } else { 1 };
        let line = Line { start: inner.start.clone(), extent: inner.extent, lanes, unroll };
        let mut indices = self.indices.clone();
        let mut write = |b: &mut KernelBuilder, indices: &mut [Affine]| {
            line.write(b, &mut |b, lanes, at| {
                indices[inner.group] = at;
                body(b, Target { lanes, ..*target }, &space.coords(indices))
            })
        };
        let Some(rows) = outer.first() else { return write(b, &mut indices) };
        repeat(b, rows.extent, |b, row| {
            indices[rows.group] = rows.start.add(&row);
            write(b, &mut indices)
        })?;
        Ok(())
    }
}

/// An extent in equal parts and a rest: how often there is one, its length, and what comes before
/// the first.
pub(crate) fn in_parts(extent: usize, length: usize) -> [(usize, usize, usize); 2] {
    let (whole, rest) = (extent / length, extent % length);
    [(whole, length, 0), (rest.min(1), rest, whole * length)]
}

/// A length near a tile's that divides `length`; all of it if there is none.
fn tile_length(length: usize) -> usize {
    let divides = |tile: &usize| length.is_multiple_of(*tile);
    let shorter = (TILE / 2..=TILE).rev().find(divides);
    shorter.or_else(|| (TILE..=2 * TILE).find(divides)).unwrap_or(length)
}

/// Consecutive indices, walked by vectors.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) start: Affine,
    pub(crate) extent: usize,
    pub(crate) lanes: usize,
    pub(crate) unroll: usize,
}

impl Line {
    /// Calls `body` with a number of lanes and the index, which contains [`LANE`] if there are
    /// several.
    ///
    /// # Errors
    ///
    /// Those of the body.
    pub(crate) fn write(
        &self,
        b: &mut KernelBuilder,
        body: &mut dyn FnMut(&mut KernelBuilder, usize, Affine) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let mut done = 0;
        for (lanes, copies) in self.passes() {
            let step = lanes * copies;
            let count = (self.extent - done) / step;
            let start = self.start.clone().offset(done as i64);
            repeat(b, count, |b, var| {
                let first = start.add(&var.scaled(step as i64));
                for copy in 0..copies {
                    body(b, lanes, lane_index(first.clone().offset((copy * lanes) as i64), lanes))?;
                }
                Ok(())
            })?;
            done += count * step;
        }
        Ok(())
    }

    /// Lanes and copies of the loops in order; each takes what the one before leaves.
    fn passes(&self) -> [(usize, usize); 3] {
        [(self.lanes, self.unroll), (self.lanes, 1), (1, 1)]
    }
}

/// The index of each lane from the first one's.
pub(crate) fn lane_index(first: Affine, lanes: usize) -> Affine {
    if lanes == 1 { first } else { first.plus(LANE, 1) }
}
