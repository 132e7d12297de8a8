//! Reductions along rows: the vector axis is reduced.
//!
//! Each sum has several vector accumulators, as many as registers allow, so that additions do not
//! wait for each other; what vectors leave over has a scalar one. At the end of a row the vectors
//! are combined pairwise, then their lanes pairwise, then the scalar: an order fixed by the shape.

use kilngrad_ir::{DType, Value};
use kilngrad_loops::math::Arithmetic;
use kilngrad_loops::{Access, Affine, KernelBuilder, Reg};
use smallvec::SmallVec;

use super::combine::{Combine, Parts};
use super::{Plan, Problem, Reduction};
use crate::code::{Code, Target};
use crate::expr::{Coords, Expr, Memory, Source, axis_coords};
use crate::lanes::memory_scalar;
use crate::space::{Group, Line, Span, carry, lane_index, unroll};
use crate::stage::{StageBuilder, Stages};
use crate::strip::{Lines, Strips};
use crate::{Context, LowerError};

/// Accumulator registers in use at once, of the sixteen that there are.
const ACCUMULATORS: usize = 12;

/// Cost from which a value that several phases need is kept in scratch memory.
const KEEPING_COST: usize = 12;

/// Values of one kernel that are kept in scratch memory at most.
const MAX_KEPT: usize = 4;

/// One kernel that reduces each row in all phases.
///
/// # Errors
///
/// If the body holds what a reduce kernel may not.
pub(super) fn lower(
    ctx: &Context<'_>,
    problem: &mut Problem<'_>,
    plan: &Plan,
) -> Result<Stages, LowerError> {
    let used = problem.accesses()?.used;
    let kept = kept_values(ctx, problem)?;
    problem.expr.next_stage(&[]);
    let mut stage = StageBuilder::new(ctx.name, plan.split.chunks);
    stage.inputs(&mut problem.expr, &[], |value| used.contains(&value));
    let results: Vec<Memory> =
        problem.outputs.iter().map(|output| stage.result(&problem.expr, output.at)).collect();
    let kept: Vec<Kept> = kept
        .into_iter()
        .map(|(value, phase)| Kept {
            value,
            phase,
            memory: scratch_row(&mut stage.b, problem, value),
        })
        .collect();

    let row = Row { ctx, plan };
    let groups = plan.kept_groups(None);
    let indices = vec![Affine::constant(0); plan.space.groups.len()];
    plan.space.walk(&mut stage.b, plan.split, &groups, indices, &mut |b, indices| {
        write_row(b, problem, &row, &indices, &results, &kept)
    })?;
    Ok(Stages::one(stage.finish()))
}

/// A value of the whole space that is computed in one phase and read in later ones.
struct Kept {
    value: Value,
    phase: usize,
    memory: Memory,
}

fn scratch_row(b: &mut KernelBuilder, problem: &Problem<'_>, value: Value) -> Memory {
    let lengths: Vec<usize> = problem.lengths(true).collect();
    let dense = crate::expr::row_major(&lengths);
    let mut dense = dense.iter();
    let strides = problem.reduced.iter().map(|reduced| match reduced {
        true => *dense.next().expect("a stride for each reduced axis"),
        false => 0,
    });
    let strides = strides.collect();
    let scalar = memory_scalar(problem.expr.dtype(value));
    let buffer = b.buffer("row", scalar, lengths.iter().product(), Access::Scratch);
    Memory { buffer, offset: Affine::constant(0), strides }
}

/// The phases of one row, and its results.
fn write_row(
    b: &mut KernelBuilder,
    problem: &mut Problem<'_>,
    row: &Row<'_>,
    indices: &[Affine],
    results: &[Memory],
    kept: &[Kept],
) -> Result<(), LowerError> {
    for phase in 0..=problem.phases {
        let reductions: Vec<Reduction> = problem
            .reductions
            .iter()
            .filter(|reduction| reduction.phase == phase)
            .cloned()
            .collect();
        let outputs: Vec<(Value, &Memory)> = problem
            .outputs
            .iter()
            .zip(results)
            .filter(|(output, _)| output.full && output.phase == phase)
            .map(|(output, memory)| (output.value, memory))
            .collect();
        if reductions.is_empty() && outputs.is_empty() {
            continue;
        }
        let keeping: Vec<&Kept> = kept.iter().filter(|kept| kept.phase == phase).collect();
        let coords = axis_coords(&problem.shape);
        let roots = reductions.iter().map(|reduction| reduction.operand);
        let roots = roots.chain(outputs.iter().map(|output| output.0));
        let roots = roots.chain(keeping.iter().map(|kept| kept.value));
        let roots: Vec<(Value, Coords)> = roots.map(|value| (value, coords.clone())).collect();
        let made: Vec<(Value, &Memory)> =
            keeping.iter().map(|kept| (kept.value, &kept.memory)).collect();
        let unroll = row.unroll(&mut problem.expr, &reductions)?;
        let strips = row.strips(b, problem, &roots, &made)?;
        let is_made = |value: Value| strips.as_ref().is_some_and(|strips| strips.makes(value));
        let mut visit = |code: &mut Code<'_>, expr: &mut Expr<'_>, coords: &Coords| {
            for (value, memory) in &outputs {
                expr.eval_store(code, *value, coords, memory)?;
            }
            for kept in keeping.iter().filter(|kept| !is_made(kept.value)) {
                expr.eval_store(code, kept.value, coords, &kept.memory)?;
            }
            Ok(())
        };
        let (reductions, strips) = (&reductions, strips.as_ref());
        let work = RowWork { reductions, unroll, strips, visit: &mut visit };
        let sums = row.reduce(b, &mut problem.expr, indices, work)?;
        for (reduction, sum) in reductions.iter().zip(sums) {
            let value = *sum.last().expect("an accumulator has a register");
            let mut code = Code::new(b, row.plan.target.scalar());
            let value = match reduction.combine {
                Combine::Fold(_) => value,
                Combine::Extreme(..) => code.convert(kilngrad_loops::Scalar::I64, value),
            };
            problem.expr.bind(reduction.value, Source::Scalar(value));
        }
        for kept in keeping {
            problem.expr.bind(kept.value, Source::Memory(kept.memory.clone()));
        }
    }
    let coords = problem.kept(&row.plan.space.coords(indices));
    let mut code = Code::new(b, row.plan.target.scalar());
    for (output, memory) in problem.outputs.iter().zip(results) {
        if !output.full {
            problem.expr.eval_store(&mut code, output.value, &coords, memory)?;
        }
    }
    Ok(())
}

/// The loops along a row.
pub(super) struct Row<'p> {
    pub(super) ctx: &'p Context<'p>,
    pub(super) plan: &'p Plan,
}

/// What is done at each element of a row besides reducing it.
pub(super) type Visit<'f> =
    &'f mut dyn FnMut(&mut Code<'_>, &mut Expr<'_>, &Coords) -> Result<(), LowerError>;

/// What is computed along a row.
pub(super) struct RowWork<'f, 'v> {
    pub(super) reductions: &'f [Reduction],
    /// Vectors at a time: [`Row::unroll`] before there are strips, so that the order of sums, hence
    /// their bits, is the same without them.
    pub(super) unroll: usize,
    pub(super) strips: Option<&'f Strips>,
    pub(super) visit: Visit<'v>,
}

/// How the innermost loop along a row is cut.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    lanes: usize,
    /// Vectors in a pass of the main loop, each with accumulators of its own.
    copies: usize,
    /// Passes of the main loop, single vectors after it, elements after those.
    passes: usize,
    vectors: usize,
    elements: usize,
}

impl Cut {
    fn new(extent: usize, lanes: usize, copies: usize) -> Cut {
        let copies = if extent < lanes * copies { 1 } else { copies };
        Cut { lanes, copies, ..Cut::default() }.of(extent)
    }

    /// Of another extent, with the same accumulators.
    fn of(self, extent: usize) -> Cut {
        let Cut { lanes, copies, .. } = self;
        let passes = extent / (lanes * copies);
        let left = extent - passes * lanes * copies;
        Cut { passes, vectors: left / lanes, elements: left % lanes, ..self }
    }
}

impl Row<'_> {
    /// Reduces over all reduced groups at given indices of the kept ones; returns the scalars of
    /// each reduction's accumulator.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(super) fn reduce(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        indices: &[Affine],
        work: RowWork<'_, '_>,
    ) -> Result<Vec<Parts>, LowerError> {
        let RowWork { reductions, unroll, strips, visit } = work;
        let groups = self.plan.reduced_groups(self.plan.vector);
        let (&inner, outer) = groups.split_last().expect("some axis is reduced");
        let lanes = if self.plan.vector == Some(inner) { self.plan.target.lanes } else { 1 };
        let (_, extent) = self.plan.split.part(inner, self.plan.space.groups[inner].extent);
        let target = Target { lanes, ..self.plan.target };
        let registers: usize =
            reductions.iter().map(|reduction| registers(reduction, target)).sum();
        let room = (ACCUMULATORS / registers.max(1)).clamp(1, 4);
        let cut = Cut::new(extent, lanes, room.min(unroll));
        let scalars = lanes > 1 && cut.elements > 0;
        let layout = Layout { reductions, target, copies: cut.copies, scalars };

        let init = layout.identities(b);
        let inner = Inner { row: self, group: inner, cut, layout: &layout, strips };
        let accs = inner.outer_loops(b, expr, outer, indices.to_vec(), init, visit)?;
        if let Some(strips) = strips {
            strips.release(expr);
        }
        Ok(layout.combine(b, &accs))
    }

    /// The functions that are applied to strips along the innermost loop.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(super) fn strips(
        &self,
        b: &mut KernelBuilder,
        problem: &mut Problem<'_>,
        roots: &[(Value, Coords)],
        kept: &[(Value, &Memory)],
    ) -> Result<Option<Strips>, LowerError> {
        let Some(vector) = self.plan.vector else { return Ok(None) };
        let group = &self.plan.space.groups[vector];
        let (_, extent) = self.plan.split.part(vector, group.extent);
        let line = Span { axis: group.axis, extent };
        let lines = Lines { roots, shape: &problem.shape, line, rows: 1, kept };
        Strips::plan(self.ctx, b, &mut problem.expr, &lines)
    }

    /// How many vectors the loop takes at a time, as far as there are registers.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(super) fn unroll(
        &self,
        expr: &mut Expr<'_>,
        reductions: &[Reduction],
    ) -> Result<usize, LowerError> {
        let shape: Vec<usize> = reductions
            .first()
            .map_or_else(Vec::new, |reduction| expr.shape(reduction.operand).to_vec());
        let coords = axis_coords(&shape);
        let roots: Vec<(Value, Coords)> =
            reductions.iter().map(|reduction| (reduction.operand, coords.clone())).collect();
        Ok(unroll(expr.cost(&roots)?))
    }
}

/// Registers of an accumulator of all lanes of a body.
fn registers(reduction: &Reduction, target: Target) -> usize {
    parts(reduction.dtype, target) * reduction.combine.scalars(reduction.dtype).len()
}

/// Registers of an element in a body.
fn parts(dtype: DType, target: Target) -> usize {
    (target.lanes * memory_scalar(dtype).size()).div_ceil(16)
}

/// The accumulators of a loop as one list of registers: for each reduction those of each copy and
/// part, and then scalar ones for the elements that vectors leave.
struct Layout<'r> {
    reductions: &'r [Reduction],
    target: Target,
    copies: usize,
    scalars: bool,
}

impl Layout<'_> {
    fn identities(&self, b: &mut KernelBuilder) -> Vec<Reg> {
        let mut accs = Vec::new();
        for reduction in self.reductions {
            let mut code = Code::new(b, self.target);
            let vector = code.identity(reduction.combine, reduction.dtype);
            for _ in 0..self.copies * parts(reduction.dtype, self.target) {
                accs.extend_from_slice(&vector);
            }
            if self.scalars {
                let mut code = Code::new(b, self.target.scalar());
                accs.extend(code.identity(reduction.combine, reduction.dtype));
            }
        }
        accs
    }

    /// Where the accumulator of a reduction begins: of a copy, or the scalar one.
    fn start(&self, at: usize, copy: Option<usize>) -> usize {
        let size = |reduction: &Reduction| {
            let scalars = if self.scalars { width(reduction) } else { 0 };
            self.copies * registers(reduction, self.target) + scalars
        };
        let before: usize = self.reductions[..at].iter().map(size).sum();
        let copies = copy.unwrap_or(self.copies);
        before + copies * registers(&self.reductions[at], self.target)
    }

    /// Each reduction's accumulators as one of scalars.
    fn combine(&self, b: &mut KernelBuilder, accs: &[Reg]) -> Vec<Parts> {
        let mut code = Code::new(b, self.target.scalar());
        let combine = |(at, reduction): (usize, &Reduction)| {
            let (first, last) = (self.start(at, Some(0)), self.start(at, None));
            let vectors: Vec<Parts> =
                accs[first..last].chunks(width(reduction)).map(SmallVec::from_slice).collect();
            let vector = code.merge_all(reduction.combine, vectors);
            let lanes = code.split_lanes(&vector);
            let sum = code.merge_all(reduction.combine, lanes);
            if self.scalars {
                let rest = &accs[last..last + width(reduction)];
                code.merge(reduction.combine, &sum, rest)
            } else {
                sum
            }
        };
        self.reductions.iter().enumerate().map(combine).collect()
    }
}

/// Registers of one accumulator.
fn width(reduction: &Reduction) -> usize {
    reduction.combine.scalars(reduction.dtype).len()
}

/// The innermost loop.
struct Inner<'p> {
    row: &'p Row<'p>,
    group: usize,
    cut: Cut,
    layout: &'p Layout<'p>,
    strips: Option<&'p Strips>,
}

impl Inner<'_> {
    fn outer_loops(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        groups: &[usize],
        mut indices: Vec<Affine>,
        accs: Vec<Reg>,
        visit: Visit<'_>,
    ) -> Result<Vec<Reg>, LowerError> {
        let Some((&group, rest)) = groups.split_first() else {
            return self.line(b, expr, &mut indices, accs, visit);
        };
        let plan = self.row.plan;
        let (start, extent) = plan.split.part(group, plan.space.groups[group].extent);
        carry(b, extent, accs, |b, var, accs| {
            indices[group] = start.add(&var);
            self.outer_loops(b, expr, rest, indices, accs, visit)
        })
    }

    fn line(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        indices: &mut [Affine],
        mut accs: Vec<Reg>,
        visit: Visit<'_>,
    ) -> Result<Vec<Reg>, LowerError> {
        let plan = self.row.plan;
        let group: &Group = &plan.space.groups[self.group];
        let (start, extent) = plan.split.part(self.group, group.extent);
        let Some(strips) = self.strips else {
            return self.part(b, expr, indices, (start, extent), accs, visit);
        };
        for (count, length, done) in strips.of_line(extent) {
            accs = carry(b, count, accs, |b, var, accs| {
                let start = start.add(&var.scaled(length as i64)).offset(done as i64);
                indices[self.group] = start.clone();
                let first = plan.space.coords(indices);
                let span = Span { axis: group.axis, extent: length };
                let line = Line {
                    start: start.clone(),
                    extent: length,
                    lanes: self.cut.lanes,
                    unroll: strips.unroll,
                };
                strips.fill(b, expr, &first, &[span], &mut |b, body| {
                    line.write(b, &mut |b, lanes, at| {
                        indices[self.group] = at;
                        let mut code = Code::new(b, Target { lanes, ..plan.target });
                        body(&mut code, &plan.space.coords(indices))
                    })
                })?;
                self.part(b, expr, indices, (start, length), accs, visit)
            })?;
        }
        Ok(accs)
    }

    /// Reduces part of the line, from an index on so many elements.
    fn part(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        indices: &mut [Affine],
        (start, extent): (Affine, usize),
        mut accs: Vec<Reg>,
        visit: Visit<'_>,
    ) -> Result<Vec<Reg>, LowerError> {
        let plan = self.row.plan;
        let Cut { lanes, copies, passes, vectors, elements } = self.cut.of(extent);
        let mut done = 0;
        for (lanes, copies, count) in
            [(lanes, copies, passes), (lanes, 1, vectors), (1, 1, elements)]
        {
            let step = lanes * copies;
            let first = start.clone().offset(done as i64);
            accs = carry(b, count, accs, |b, var, mut accs| {
                let first = first.add(&var.scaled(step as i64));
                for copy in 0..copies {
                    let at = first.clone().offset((copy * lanes) as i64);
                    indices[self.group] = lane_index(at, lanes);
                    let coords = plan.space.coords(indices);
                    let mut code = Code::new(b, Target { lanes, ..plan.target });
                    let scalar = lanes < self.cut.lanes;
                    self.element(&mut code, expr, &coords, (!scalar).then_some(copy), &mut accs)?;
                    visit(&mut code, expr, &coords)?;
                }
                Ok(accs)
            })?;
            done += count * step;
        }
        Ok(accs)
    }

    /// Adds the elements at `coords` to the accumulators of a copy, or to the scalar ones.
    fn element(
        &self,
        code: &mut Code<'_>,
        expr: &mut Expr<'_>,
        coords: &Coords,
        copy: Option<usize>,
        accs: &mut [Reg],
    ) -> Result<(), LowerError> {
        for (at, reduction) in self.layout.reductions.iter().enumerate() {
            let start = self.layout.start(at, copy);
            let width = width(reduction);
            let elements = Elements::eval(code, expr, reduction, coords)?;
            for part in 0..elements.count() {
                let slot = start + part * width;
                let acc: Parts = SmallVec::from_slice(&accs[slot..slot + width]);
                let acc = elements.accumulate(code, reduction, &acc, part);
                accs[slot..slot + width].copy_from_slice(&acc);
            }
        }
        Ok(())
    }
}

/// An element of a reduction as registers, and how it is added.
pub(super) struct Elements {
    /// The element, or the factors of a product that is to be added.
    values: SmallVec<[SmallVec<[Reg; 2]>; 2]>,
    indices: Option<SmallVec<[Reg; 2]>>,
}

impl Elements {
    /// The elements of a reduction at an index.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(super) fn eval(
        code: &mut Code<'_>,
        expr: &mut Expr<'_>,
        reduction: &Reduction,
        coords: &Coords,
    ) -> Result<Elements, LowerError> {
        let mut values = SmallVec::new();
        let operand = [reduction.operand];
        let operands = match &reduction.factors {
            Some(factors) if code.target.fma => factors.as_slice(),
            Some(_) | None => operand.as_slice(),
        };
        for &value in operands {
            let lanes = expr.eval(code, value, coords)?;
            values.push(code.elements(reduction.dtype, &lanes));
        }
        let indices = match (reduction.combine, reduction.axis) {
            (Combine::Extreme(_, scalar), Some(axis)) => {
                Some(code.index_parts(scalar, &coords[axis]))
            }
            (Combine::Extreme(..) | Combine::Fold(_), _) => None,
        };
        Ok(Elements { values, indices })
    }

    /// Registers of the element.
    pub(super) fn count(&self) -> usize {
        self.values[0].len()
    }

    /// The accumulator with one register of the element.
    pub(super) fn accumulate(
        &self,
        code: &mut Code<'_>,
        reduction: &Reduction,
        acc: &[Reg],
        part: usize,
    ) -> Parts {
        match self.values.as_slice() {
            [x, y] => SmallVec::from_slice(&[code.mul_add(x[part], y[part], acc[0])]),
            values => {
                let index = self.indices.as_ref().map(|indices| indices[part]);
                code.accumulate(reduction.combine, acc, values[0][part], index)
            }
        }
    }
}

/// The values that are kept in scratch memory, with the phase that computes them.
///
/// A value is worth it that two phases need, that is expensive, and whose rows together fit the
/// cache beside what else is read.
fn kept_values(
    ctx: &Context<'_>,
    problem: &mut Problem<'_>,
) -> Result<Vec<(Value, usize)>, LowerError> {
    let length: usize = problem.lengths(true).product();
    let full = crate::expr::axis_coords(&problem.shape);
    let mut seen: Vec<(Value, usize)> = Vec::new();
    let mut kept: Vec<(Value, usize)> = Vec::new();
    let mut bytes = 0;
    for phase in 0..=problem.phases {
        let roots: Vec<(Value, Coords)> =
            problem.roots(Some(phase)).into_iter().filter(|(_, coords)| *coords == full).collect();
        loop {
            let reads = problem.expr.reads(&roots)?;
            let mut again = None;
            for (value, coords) in &reads {
                let first = seen.iter().find(|seen| seen.0 == *value);
                let Some(&(_, first)) = first.filter(|first| first.1 < phase && *coords == full)
                else {
                    continue;
                };
                let size = length * problem.expr.dtype(*value).size();
                let fits = bytes + size <= ctx.machine.l2_bytes / 4;
                let computed = problem.expr.is_computed(*value);
                let cost = problem.expr.cost(&[(*value, full.clone())])?;
                if computed && fits && kept.len() < MAX_KEPT && cost >= KEEPING_COST {
                    again = Some((*value, first, size));
                    break;
                }
            }
            let Some((value, first, size)) = again else { break };
            bytes += size;
            kept.push((value, first));
            // What it is computed from is not needed again.
            let dense = Memory::dense(crate::expr::UNBOUND, &problem.shape);
            problem.expr.bind(value, Source::Memory(dense));
        }
        for (value, coords) in problem.expr.reads(&roots)? {
            if coords == full && seen.iter().all(|seen| seen.0 != value) {
                seen.push((value, phase));
            }
        }
    }
    for (value, _) in &kept {
        problem.expr.bind(*value, Source::Body);
    }
    Ok(kept)
}
