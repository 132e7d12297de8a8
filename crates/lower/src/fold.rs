//! `fold`: elements added to where windows show them.
//!
//! The loops run over the elements, which are an expression of any kind, and add each to the sum
//! that it belongs to. Both addresses are affine: a window's first element and the index within it
//! move along one axis of the sums. Windows that are apart show each sum at most once, so there is
//! nothing to add to; windows that also leave no gap leave no zero either.
//!
//! Chunks split the axes without windows alone, so no sum is two chunks' and the order in which
//! elements are added depends on shapes alone. The loops over these axes are outermost, so that what
//! is added to again and again stays near.

use kilngrad_ir::op::Window;
use kilngrad_ir::{Literal, Node, Value};
use kilngrad_loops::{Affine, KernelBuilder, RegType};
use smallvec::SmallVec;

use crate::code::{Code, Target};
use crate::expr::{AccessKind, Expr, Memory, axis_coords, axis_strides, row_major};
use crate::lanes::{Lanes, memory_scalar};
use crate::space::{Line, Space, Split, Strided, repeat, unroll};
use crate::stage::{Stage, StageBuilder};
use crate::{Context, LowerError};

/// The stage of a fold, which is the kernel's only result and not empty.
///
/// # Errors
///
/// If the body holds what a map may not.
pub(crate) fn stage(
    ctx: &Context<'_>,
    expr: &mut Expr<'_>,
    node: &Node,
    windows: &[Window],
) -> Result<Stage, LowerError> {
    let (elements, sums) = (node.operands[0], node.result());
    let (shape, lengths) = (expr.shape(elements).to_vec(), expr.shape(sums).to_vec());
    let roots = [(elements, axis_coords(&shape))];
    let accesses = expr.accesses(&roots)?;
    let strides = shown(windows, &row_major(&lengths));
    let kind = AccessKind::Store(expr.dtype(sums));
    let mut strided = vec![Strided { kind, strides: strides.clone() }];
    strided.extend(accesses.iter().map(|access| Strided {
        kind: access.kind,
        strides: axis_strides(&access.at, shape.len()),
    }));
    let slides =
        |axis: usize| axis >= lengths.len() || windows.iter().any(|window| window.axis == axis);
    let labels: Vec<bool> = (0..shape.len()).map(slides).collect();
    let space = Space::new(&shape, &labels, &strided);
    let target = ctx.target(expr.graph());
    // What is added to is read as well as written.
    strided.push(strided[0].clone());
    let vector = space.vector_group(target.lanes, &strided);
    let cost = expr.cost(&roots)? + 2;
    let work = shape.iter().product::<usize>().saturating_mul(cost);
    let may_split = |group: usize| !space.groups[group].label;
    let wanted = Split::wanted(ctx.machine, work);
    let split = space.split(wanted, may_split, |group| match Some(group) == vector {
        true => target.lanes * unroll(cost),
        false => 1,
    });
    let used: Vec<Value> = accesses.iter().map(|access| access.value).collect();
    let mut stage = StageBuilder::new(ctx.name, split.chunks);
    stage.inputs(expr, &[], |value| used.contains(&value));
    let memory = stage.result(expr, 0);
    let apart = windows.iter().all(|window| {
        window
            .span()
            .is_some_and(|span| usize::try_from(span).is_ok_and(|span| span <= window.stride))
    });
    let covers = apart
        && windows.iter().all(|window| {
            let positions = shape[window.axis];
            window.dilation == 1 && positions * window.size == lengths[window.axis]
        });
    let plan = Plan {
        planes: planes(windows, &lengths, &memory.strides),
        space,
        strides,
        vector,
        split,
        target,
        unroll: unroll(cost),
        apart,
        covers,
    };
    plan.write(&mut stage.b, expr, elements, &memory)?;
    Ok(stage.finish())
}

/// The strides along the windows' axes, from those of what they show.
fn shown(windows: &[Window], sums: &[i64]) -> SmallVec<[i64; 4]> {
    let mut strides: SmallVec<[i64; 4]> = sums.into();
    for window in windows {
        strides.push(sums[window.axis].saturating_mul(window.dilation as i64));
    }
    for window in windows {
        strides[window.axis] = sums[window.axis].saturating_mul(window.stride as i64);
    }
    strides
}

/// An axis of the sums: its length and stride.
type Plane = (usize, i64);

/// The axes along which windows lie, neighbours as one where they are dense.
fn planes(windows: &[Window], lengths: &[usize], strides: &[i64]) -> Vec<Plane> {
    let mut planes: Vec<Plane> = Vec::new();
    for window in windows {
        let (length, stride) = (lengths[window.axis], strides[window.axis]);
        match planes.last_mut() {
            Some(outer) if outer.1 == stride * length as i64 => *outer = (outer.0 * length, stride),
            Some(_) | None => planes.push((length, stride)),
        }
    }
    planes
}

/// How the loops are made.
struct Plan {
    space: Space,
    /// Of the sums, along each axis of the elements.
    strides: SmallVec<[i64; 4]>,
    planes: Vec<Plane>,
    vector: Option<usize>,
    split: Split,
    unroll: usize,
    target: Target,
    /// Whether no sum has two terms.
    apart: bool,
    /// Whether every sum has one term.
    covers: bool,
}

impl Plan {
    fn write(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        elements: Value,
        sums: &Memory,
    ) -> Result<(), LowerError> {
        let groups = || (0..self.space.groups.len()).filter(|group| Some(*group) != self.vector);
        let outer: Vec<usize> = groups().filter(|group| !self.space.groups[*group].label).collect();
        let start = vec![Affine::constant(0); self.space.groups.len()];
        self.space.walk(b, self.split, &outer, start, &mut |b, indices| {
            if !self.covers {
                self.zeros(b, expr, elements, sums, &indices)?;
            }
            // Indices within windows outside, so that neighbouring sums are added to in turn.
            let mut inner: Vec<usize> =
                groups().filter(|group| self.space.groups[*group].label).collect();
            let within = |group: &usize| self.space.groups[*group].axis < sums.strides.len();
            inner.sort_by_key(within);
            self.space.walk(b, self.split, &inner, indices, &mut |b, mut indices| {
                let Some(vector) = self.vector else {
                    return self.add(b, self.target.scalar(), expr, elements, sums, &indices);
                };
                let (start, extent) = self.split.part(vector, self.space.groups[vector].extent);
                self.line(start, extent).write(b, &mut |b, lanes, at| {
                    indices[vector] = at;
                    let target = Target { lanes, ..self.target };
                    self.add(b, target, expr, elements, sums, &indices)
                })
            })
        })
    }

    fn line(&self, start: Affine, extent: usize) -> Line {
        Line { start, extent, lanes: self.target.lanes, unroll: self.unroll }
    }

    /// Adds one element, or one for each lane.
    fn add(
        &self,
        b: &mut KernelBuilder,
        target: Target,
        expr: &mut Expr<'_>,
        elements: Value,
        sums: &Memory,
        indices: &[Affine],
    ) -> Result<(), LowerError> {
        let mut code = Code::new(b, target);
        let coords = self.space.coords(indices);
        let term = expr.eval(&mut code, elements, &coords)?;
        let dtype = expr.dtype(elements);
        let moved = coords.iter().zip(&self.strides).map(|(at, stride)| at.scaled(*stride));
        let at = moved.fold(Affine::constant(0), |sum, term| sum.add(&term));
        let sum = match self.apart {
            true => term,
            false => {
                let sum = code.load(dtype, sums.buffer, &at);
                code.binary_op(kilngrad_ir::op::BinaryOp::Add, dtype, &sum, &term)
            }
        };
        code.store(dtype, sums.buffer, &at, &sum);
        Ok(())
    }

    /// Writes the zeros that elements are added to: all sums at these indices of the axes without
    /// windows, of which the vector group may be one.
    fn zeros(
        &self,
        b: &mut KernelBuilder,
        expr: &Expr<'_>,
        elements: Value,
        sums: &Memory,
        indices: &[Affine],
    ) -> Result<(), LowerError> {
        let dtype = expr.dtype(elements);
        let zero = Literal::from_i64(dtype, 0);
        let zero = b.constant(RegType::scalar(memory_scalar(dtype)), zero.bits());
        let coords = self.space.coords(indices);
        let moved = coords.iter().zip(&self.strides).map(|(at, stride)| at.scaled(*stride));
        let mut at = moved.fold(Affine::constant(0), |sum, term| sum.add(&term));
        let mut planes = self.planes.clone();
        if let Some(vector) = self.vector.filter(|vector| !self.space.groups[*vector].label) {
            let (start, extent) = self.split.part(vector, self.space.groups[vector].extent);
            let stride = self.strides[self.space.groups[vector].axis];
            at = at.add(&start.scaled(stride));
            planes.push((extent, stride));
        }
        let Some((extent, stride)) = planes.pop() else {
            Code::new(b, self.target.scalar()).store(
                dtype,
                sums.buffer,
                &at,
                &Lanes::Uniform(zero),
            );
            return Ok(());
        };
        along(b, &planes, at, &mut |b, at| {
            self.line(Affine::constant(0), extent).write(b, &mut |b, lanes, step| {
                let mut code = Code::new(b, Target { lanes, ..self.target });
                let at = at.add(&step.scaled(stride));
                code.store(dtype, sums.buffer, &at, &Lanes::Uniform(zero));
                Ok(())
            })
        })
    }
}

/// Runs `body` for each index of the planes, the first outermost, with the address it leads to.
/// Recursion is as deep as there are planes.
fn along(
    b: &mut KernelBuilder,
    planes: &[Plane],
    at: Affine,
    body: &mut dyn FnMut(&mut KernelBuilder, &Affine) -> Result<(), LowerError>,
) -> Result<(), LowerError> {
    let Some(((extent, stride), rest)) = planes.split_first() else { return body(b, &at) };
    repeat(b, *extent, |b, index| along(b, rest, at.add(&index.scaled(*stride)), body))?;
    Ok(())
}
