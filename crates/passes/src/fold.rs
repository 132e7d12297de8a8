//! `fold`: operations on constants are computed now. Exact.
//!
//! Assumes nothing. Guarantees that an operation on constants is a constant where its elements
//! are few (at most [`MAX_ELEMENTS`]) or all equal, and where it can be computed with the
//! interpreter's bits: elementwise operations through the rows, layout, and reductions whose order
//! does not matter. A broadcast of an array stays: repeating it in a kernel reads less memory
//! than its result would.

use kilngrad_ir::op::{PadAxis, SliceAxis};
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Constant, DType, Dense, Entry, Graph, Literal, Node, Op, Program, Type, Value};
use smallvec::SmallVec;

use crate::element;
use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::pins::Pins;
use crate::regions::with_regions;
use crate::shapes::{Cursor, lengths, strides};

/// No folding makes or reads a constant of more elements, so folding a graph is linear in its
/// nodes.
pub const MAX_ELEMENTS: usize = 4096;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Fold;

impl Pass for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(fold_constants(entry)))
    }
}

/// The entry with operations on constants computed.
pub fn fold_constants(entry: &Entry) -> Entry {
    let entry = &*with_regions(entry, fold_constants);
    let graph = &entry.graph;
    let pins = Pins::of(graph);
    let mut rewriter = Rewriter::new(graph);
    // Which values of the new graph are pinned: their definitions may not be looked through.
    let mut opaque: Vec<bool> = Vec::new();
    for (id, node) in graph.nodes() {
        let pinned = node.results.iter().any(|value| pins.contains(*value));
        let folded = if pinned { None } else { fold_node(&rewriter, &opaque, node) };
        let copy = match folded {
            Some(constant) => rewriter.copy_with(id, Op::Constant(constant), &[]),
            None => rewriter.copy(id),
        };
        if pinned {
            opaque.resize(rewriter.target().value_count(), false);
            for result in &rewriter.target().node(copy).results {
                opaque[result.index()] = true;
            }
        }
    }
    rewriter.finish_entry(entry)
}

fn fold_node(rewriter: &Rewriter<'_>, opaque: &[bool], node: &Node) -> Option<Constant> {
    let target = rewriter.target();
    let operands: SmallVec<[Known<'_>; 3]> = node
        .operands
        .iter()
        .map(|value| {
            let value = rewriter.get(*value);
            let pinned = opaque.get(value.index()).copied().unwrap_or(false);
            known(target, value).filter(|_| !pinned)
        })
        .collect::<Option<_>>()?;
    evaluate(&node.op, &operands, rewriter.source().ty(node.results[0]))
}

/// A constant operand with its type.
#[derive(Clone, Copy)]
struct Known<'g> {
    constant: &'g Constant,
    ty: &'g Type,
}

impl Known<'_> {
    fn splat(self) -> Option<Literal> {
        match self.constant {
            Constant::Splat(literal) => Some(*literal),
            Constant::Dense(_) => None,
        }
    }

    /// The elements in row-major order, if they are few.
    fn elements(self) -> Option<Vec<Literal>> {
        let count = self.ty.element_count().filter(|count| *count <= MAX_ELEMENTS)?;
        Some(match self.constant {
            Constant::Splat(literal) => vec![*literal; count],
            Constant::Dense(dense) => dense.iter().collect(),
        })
    }
}

fn known(graph: &Graph, value: Value) -> Option<Known<'_>> {
    let Op::Constant(constant) = &graph.defining_node(value)?.op else { return None };
    Some(Known { constant, ty: graph.ty(value) })
}

/// The result of `op` on constants as a constant, where the rules of this pass allow it.
fn evaluate(op: &Op, operands: &[Known<'_>], ty: &Type) -> Option<Constant> {
    match op {
        Op::Unary(op) => elementwise(operands, ty, |x| element::unary(*op, x[0])),
        Op::Binary(op) => elementwise(operands, ty, |x| element::binary(*op, x[0], x[1])),
        Op::Compare(op) => elementwise(operands, ty, |x| element::compare(*op, x[0], x[1])),
        Op::Select => elementwise(operands, ty, |x| if x[0].bits() != 0 { x[1] } else { x[2] }),
        Op::Cast => elementwise(operands, ty, |x| element::cast(ty.dtype, x[0])),
        Op::Reshape => Some(operands[0].constant.clone()),
        Op::Broadcast { .. } => operands[0].splat().map(Constant::Splat),
        Op::Transpose { permutation } => {
            let from = strides(operands[0].ty);
            let steps: Vec<usize> = permutation.iter().map(|axis| from[*axis]).collect();
            moved(operands[0], ty, 0, &steps)
        }
        Op::Slice(axes) => slice(operands[0], axes, ty),
        Op::Pad(axes) => pad(operands, axes, ty),
        Op::Windows(windows) => {
            let mut steps = strides(operands[0].ty);
            for window in windows {
                steps.push(steps[window.axis].saturating_mul(window.dilation));
            }
            for window in windows {
                steps[window.axis] = steps[window.axis].saturating_mul(window.stride);
            }
            moved(operands[0], ty, 0, &steps)
        }
        Op::Concat { axis } => concat(operands, *axis, ty),
        Op::Gather { .. } => operands[0].splat().map(Constant::Splat),
        Op::Reduce { op, axes } => {
            let count: usize = axes.iter().map(|axis| lengths(operands[0].ty)[*axis]).product();
            if count == 0 {
                return Some(Constant::Splat(element::identity(*op, ty.dtype)));
            }
            if !element::order_is_free(*op, ty.dtype) {
                return None;
            }
            reduce(operands[0], ty, axes, |x, y| element::binary(element::combiner(*op), x, y))
        }
        Op::Iota { axis } => {
            let zero = Literal::from_i64(ty.dtype, 0);
            (lengths(ty)[*axis] == 1).then_some(Constant::Splat(zero))
        }
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Random { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::ScatterAdd { .. }
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => None,
    }
}

fn elementwise(
    operands: &[Known<'_>],
    ty: &Type,
    apply: impl Fn(&[Literal]) -> Literal,
) -> Option<Constant> {
    let splats: Option<SmallVec<[Literal; 3]>> =
        operands.iter().map(|operand| operand.splat()).collect();
    if let Some(splats) = splats {
        return Some(Constant::Splat(apply(&splats)));
    }
    let columns: Vec<Vec<Literal>> =
        operands.iter().map(|operand| operand.elements()).collect::<Option<_>>()?;
    let row = |index: usize| -> SmallVec<[Literal; 3]> {
        columns.iter().map(|column| column[index]).collect()
    };
    dense(ty.dtype, (0..columns[0].len()).map(|index| apply(&row(index))).collect())
}

/// Elements read at `base + Σ index·step`.
fn moved(operand: Known<'_>, ty: &Type, base: usize, steps: &[usize]) -> Option<Constant> {
    if let Some(literal) = operand.splat() {
        return Some(Constant::Splat(literal));
    }
    ty.element_count().filter(|count| *count <= MAX_ELEMENTS)?;
    let elements = operand.elements()?;
    let cursor = Cursor::new(&lengths(ty));
    let read = cursor.map(|index| {
        let offset: usize = index.iter().zip(steps).map(|(i, step)| i * step).sum();
        elements[base + offset]
    });
    dense(ty.dtype, read.collect())
}

fn slice(operand: Known<'_>, axes: &[SliceAxis], ty: &Type) -> Option<Constant> {
    let from = strides(operand.ty);
    let mut base = 0;
    let mut steps = Vec::with_capacity(axes.len());
    for (axis, stride) in axes.iter().zip(&from) {
        base += usize::try_from(axis.start.as_constant()?).ok()? * stride;
        steps.push(axis.stride * stride);
    }
    moved(operand, ty, base, &steps)
}

fn pad(operands: &[Known<'_>], axes: &[PadAxis], ty: &Type) -> Option<Constant> {
    let fill = operands[1].elements()?[0];
    if operands[0].splat() == Some(fill) {
        return Some(Constant::Splat(fill));
    }
    let count = ty.element_count().filter(|count| *count <= MAX_ELEMENTS)?;
    let elements = operands[0].elements()?;
    let to = strides(ty);
    let mut result = vec![fill; count];
    for (index, element) in Cursor::new(&lengths(operands[0].ty)).zip(elements) {
        let mut offset = 0;
        for ((position, axis), stride) in index.iter().zip(axes).zip(&to) {
            let low = usize::try_from(axis.low.as_constant()?).ok()?;
            offset += (low + position * (axis.interior + 1)) * stride;
        }
        result[offset] = element;
    }
    dense(ty.dtype, result)
}

fn concat(operands: &[Known<'_>], axis: usize, ty: &Type) -> Option<Constant> {
    let first = operands[0].splat();
    if first.is_some() && operands.iter().all(|operand| operand.splat() == first) {
        return first.map(Constant::Splat);
    }
    // Of no elements there may be any number of rows.
    let count = ty.element_count().filter(|count| (1..=MAX_ELEMENTS).contains(count))?;
    let outer: usize = lengths(ty)[..axis].iter().product();
    let mut pieces = Vec::with_capacity(operands.len());
    for operand in operands {
        let row: usize = lengths(operand.ty)[axis..].iter().product();
        pieces.push((row, operand.elements()?));
    }
    let mut result = Vec::with_capacity(count);
    for index in 0..outer {
        for (row, elements) in &pieces {
            result.extend_from_slice(&elements[index * row..(index + 1) * row]);
        }
    }
    dense(ty.dtype, result)
}

fn reduce(
    operand: Known<'_>,
    ty: &Type,
    axes: &[usize],
    combine: impl Fn(Literal, Literal) -> Literal,
) -> Option<Constant> {
    let elements = operand.elements()?;
    let to = strides(ty);
    let mut result: Vec<Option<Literal>> = vec![None; ty.element_count()?];
    for (index, element) in Cursor::new(&lengths(operand.ty)).zip(elements) {
        let kept = index.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        let offset: usize = kept.zip(&to).map(|((_, position), stride)| position * stride).sum();
        result[offset] = Some(result[offset].map_or(element, |sum| combine(sum, element)));
    }
    dense(ty.dtype, result.into_iter().collect::<Option<_>>()?)
}

/// The elements as a constant: a splat where they are all equal.
fn dense(dtype: DType, elements: Vec<Literal>) -> Option<Constant> {
    let first = elements.first().copied()?;
    if elements.iter().all(|element| *element == first) {
        return Some(Constant::Splat(first));
    }
    Dense::new(dtype, elements).map(Constant::Dense)
}
