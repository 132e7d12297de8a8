//! Strips: elementary functions of many elements at a time.
//!
//! Generated code has vectors of 128 bits, leaf functions the widest of the processor. So a loop
//! along the vector axis whose body needs exponentials and the like is cut into strips. For each
//! strip a loop before it writes the functions' operands to scratch, leaf functions replace them
//! by their values there ([`Apply`]), and the loop itself reads these. A function of what another
//! function gives takes a loop of its own, after that one.
//!
//! Leaf functions fuse multiply-adds, so there are strips only where straight-line code does too;
//! then values are the same bit for bit, and where strips are used is a question of speed alone.

use kilngrad_ir::Value;
use kilngrad_ir::op::Op;
use kilngrad_loops::math::Function;
use kilngrad_loops::{Access, Affine, Apply, Buffer, KernelBuilder};
use smallvec::SmallVec;

use crate::code::Code;
use crate::elementwise::function_of;
use crate::expr::{Coords, Expr, Memory, Source, UNBOUND, axis_coords, axis_strides};
use crate::lanes::memory_scalar;
use crate::space::{Span, in_parts, repeat, unroll};
use crate::{Context, LowerError};

/// Lengths of strips are multiples of this many elements, where the line is longer: all but the
/// last are whole vectors.
const UNIT: usize = 16;

/// As `f32`, a strip takes at most one part in this many of the first-level cache: several
/// functions have strips of their own, and operands are read beside them.
const CACHE_PARTS: usize = 16;

/// Functions of one body that are applied to strips at most.
const MAX_APPLIED: usize = 8;

/// A function that is applied to strips.
#[derive(Debug, Clone)]
struct Applied {
    value: Value,
    operand: Value,
    function: Function,
    place: Place,
    /// One more than that of any applied function that the operand needs.
    level: usize,
}

/// Where a function's strip is.
#[derive(Debug, Clone)]
enum Place {
    /// In scratch of its own.
    Own(Buffer),
    /// In memory that keeps the value of a whole line.
    Kept(Memory),
}

/// The functions of a body that are applied to strips, with the scratch of each.
#[derive(Debug)]
pub(crate) struct Strips {
    applied: Vec<Applied>,
    /// Elements of each strip of a line but the last.
    length: usize,
    /// How often the loops that fill strips repeat their bodies.
    pub(crate) unroll: usize,
}

/// What is computed along lines of an index space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'l> {
    /// What each element needs, at index maps over axis variables.
    pub(crate) roots: &'l [(Value, Coords)],
    /// Of the index space.
    pub(crate) shape: &'l [usize],
    /// A whole line: its axis and its length.
    pub(crate) line: Span,
    /// Lines that a strip takes together.
    pub(crate) rows: usize,
    /// Values that are to be in memory of whole lines anyway: that is where they are made.
    pub(crate) kept: &'l [(Value, &'l Memory)],
}

/// Writes a loop over all elements of a strip.
pub(crate) type StripLoop<'f> = &'f mut dyn FnMut(
    &mut KernelBuilder,
    &mut dyn FnMut(&mut Code<'_>, &Coords) -> Result<(), LowerError>,
) -> Result<(), LowerError>;

impl Strips {
    /// The functions that are applied to strips, or `None`: those whose operands vary along lines
    /// that are long enough, and that are read at the index of their strip alone. Until strips are
    /// filled their values count as read from memory.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(crate) fn plan(
        ctx: &Context<'_>,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        lines: &Lines<'_>,
    ) -> Result<Option<Strips>, LowerError> {
        let Lines { roots, shape, line, rows, kept } = *lines;
        let least = ctx.machine.leaf_elements.filter(|_| ctx.machine.fma);
        if least.is_none_or(|least| rows * line.extent < least) {
            return Ok(None);
        }
        let length = length(most(ctx) / rows, line.extent);
        let whole = axis_coords(shape);
        let reads = expr.reads(roots)?;
        let mut applied: Vec<Applied> = Vec::new();
        let mut values: Vec<Value> = reads.iter().map(|(value, _)| *value).collect();
        values.sort();
        values.dedup();
        // Values are in an order in which operands come before what needs them.
        for value in values {
            let Some((function, operand)) = leaf_function(expr, value) else { continue };
            let everywhere = reads.iter().all(|(read, at)| *read != value || *at == whole);
            let root = [(operand, whole.clone())];
            if !everywhere {
                continue;
            }
            let varies = |at: &Affine| axis_strides(at, shape.len())[line.axis] != 0;
            if !expr.accesses(&root)?.iter().any(|access| varies(&access.at)) {
                continue;
            }
            if applied.len() == MAX_APPLIED {
                break;
            }
            let needed = expr.reads(&root)?;
            let below = applied.iter().filter(|a| needed.iter().any(|(read, _)| *read == a.value));
            let level = below.map(|applied| applied.level + 1).max().unwrap_or(0);
            let kept = kept.iter().find(|(kept, _)| *kept == value).map(|(_, memory)| *memory);
            let place = match kept {
                Some(memory) if memory.strides[line.axis] == 1 => Place::Kept(memory.clone()),
                Some(_) | None => {
                    let scalar = memory_scalar(expr.dtype(value));
                    Place::Own(b.buffer("strip", scalar, rows * length, Access::Scratch))
                }
            };
            applied.push(Applied { value, operand, function, place, level });
        }
        if applied.is_empty() {
            return Ok(None);
        }
        for applied in &applied {
            let memory = Memory::dense(UNBOUND, expr.shape(applied.value));
            expr.bind(applied.value, Source::Memory(memory));
        }
        let operands: Vec<(Value, Coords)> =
            applied.iter().map(|applied| (applied.operand, whole.clone())).collect();
        let unroll = unroll(expr.cost(&operands)?);
        Ok(Some(Strips { applied, length, unroll }))
    }

    /// Applies the functions to one strip, which goes along spans of some axes from an index on,
    /// the last of which is the vector axis; afterwards their values are read from memory there.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(crate) fn fill(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        first: &Coords,
        spans: &[Span],
        strip: StripLoop<'_>,
    ) -> Result<(), LowerError> {
        let levels = self.applied.iter().map(|applied| applied.level + 1).max().unwrap_or(0);
        for level in 0..levels {
            let of_level = self.applied.iter().filter(|applied| applied.level == level);
            let filled: Vec<(&Applied, Memory)> =
                of_level.map(|applied| (applied, applied.place.memory(first, spans))).collect();
            strip(b, &mut |code, coords| {
                for (applied, memory) in &filled {
                    expr.eval_store(code, applied.operand, coords, memory)?;
                }
                Ok(())
            })?;
            for (applied, memory) in filled {
                let (function, buffer, at) = (applied.function, memory.buffer, memory.at(first));
                let count = spans.iter().map(|span| span.extent).product();
                b.apply(Apply { function, buffer, at, count });
                expr.bind(applied.value, Source::Memory(memory));
            }
        }
        Ok(())
    }

    /// The strips of a line, as [`in_parts`] gives them.
    pub(crate) fn of_line(&self, extent: usize) -> [(usize, usize, usize); 2] {
        in_parts(extent, self.length)
    }

    /// Calls `body` for each strip of a line with its first index and its length.
    ///
    /// # Errors
    ///
    /// Those of the body.
    pub(crate) fn each(
        &self,
        b: &mut KernelBuilder,
        start: &Affine,
        extent: usize,
        body: &mut dyn FnMut(&mut KernelBuilder, Affine, usize) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        for (count, length, done) in self.of_line(extent) {
            let start = start.clone().offset(done as i64);
            repeat(b, count, |b, var| body(b, start.add(&var.scaled(length as i64)), length))?;
        }
        Ok(())
    }

    /// Forgets the strips: the values are computed where they are needed again.
    pub(crate) fn release(&self, expr: &mut Expr<'_>) {
        for applied in &self.applied {
            expr.bind(applied.value, Source::Body);
        }
    }

    /// Whether a value is made in the memory that keeps it.
    pub(crate) fn makes(&self, value: Value) -> bool {
        let mut applied = self.applied.iter();
        applied.any(|applied| applied.value == value && matches!(applied.place, Place::Kept(_)))
    }
}

impl Place {
    /// By index of the whole space.
    fn memory(&self, first: &Coords, spans: &[Span]) -> Memory {
        let buffer = match self {
            Place::Own(buffer) => *buffer,
            Place::Kept(memory) => return memory.clone(),
        };
        let mut strides = SmallVec::from_elem(0, first.len());
        let mut offset = Affine::constant(0);
        let mut stride = 1;
        for span in spans.iter().rev() {
            strides[span.axis] = stride;
            offset = offset.add(&first[span.axis].scaled(-stride));
            stride *= span.extent as i64;
        }
        Memory { buffer, offset, strides }
    }
}

/// The function that a value is of its operand, if there is a leaf function for it.
fn leaf_function(expr: &Expr<'_>, value: Value) -> Option<(Function, Value)> {
    if !expr.is_computed(value) {
        return None;
    }
    let node = expr.graph().defining_node(value)?;
    let Op::Unary(op) = &node.op else { return None };
    let function = function_of(*op)?;
    memory_scalar(expr.dtype(value)).is_float().then(|| (function, node.operands[0]))
}

/// How many lines of this length a strip takes of so many.
pub(crate) fn rows(ctx: &Context<'_>, line: usize, lines: usize) -> usize {
    (most(ctx) / line.max(1)).clamp(1, lines.max(1))
}

/// Elements of a strip at most.
fn most(ctx: &Context<'_>) -> usize {
    (ctx.machine.l1_bytes / CACHE_PARTS / size_of::<f32>()).max(UNIT)
}

/// Elements of each strip of a line but the last, of about `most` of them: as many in each as whole
/// vectors allow.
fn length(most: usize, extent: usize) -> usize {
    let count = extent.div_ceil(most.max(UNIT)).max(1);
    extent.div_ceil(count).next_multiple_of(UNIT).min(extent)
}
