//! Reductions along columns: the vector axis is kept.
//!
//! The accumulators of a block of columns are rows in memory, which the first-level cache holds.
//! Several rows of the operand are combined pairwise before their sum is added to the accumulator,
//! so that loading and storing it costs little, memory is read along rows, and additions do not
//! wait for each other.

use kilngrad_ir::{DType, Value};
use kilngrad_loops::{Access, Affine, KernelBuilder, Reg, RegType, Scalar};
use smallvec::SmallVec;

use super::combine::{Combine, Parts};
use super::row::Elements;
use super::{Plan, Problem, Reduction};
use crate::code::{Code, Target};
use crate::expr::{Coords, Expr, Memory, Source, axis_coords};
use crate::lanes::{Lanes, memory_scalar};
use crate::space::{Line, Span, repeat, unroll};
use crate::stage::{StageBuilder, Stages};
use crate::strip::{Lines, Strips};
use crate::{Context, LowerError};

/// Columns of a block at most: accumulators of as many fit the first-level cache.
const BLOCK: usize = 2048;

/// Columns that stay in one chunk if possible: a few cache lines.
const CHUNK_COLUMNS: usize = 64;

/// How many indices of a kept group stay together when it is split over chunks.
pub(super) fn unit(vectorised: bool) -> usize {
    if vectorised { CHUNK_COLUMNS } else { 1 }
}

/// One kernel that reduces each block of columns in all phases.
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
    let cost = problem.cost()?;
    problem.expr.next_stage(&[]);
    let mut stage = StageBuilder::new(ctx.name, plan.split.chunks);
    stage.inputs(&mut problem.expr, &[], |value| used.contains(&value));
    let results: Vec<Memory> =
        problem.outputs.iter().map(|output| stage.result(&problem.expr, output.at)).collect();

    let vector = plan.vector.expect("columns are walked along the vector axis");
    let (start, extent) = plan.split.part(vector, plan.space.groups[vector].extent);
    let width = block_width(ctx, problem, extent);
    let scratch = Scratch::new(&mut stage.b, problem, width);
    let columns = Columns { ctx, plan, vector, rows: rows(cost), unroll: unroll(cost) };
    let groups = plan.kept_groups(plan.vector);
    let indices = vec![Affine::constant(0); plan.space.groups.len()];
    plan.space.walk(&mut stage.b, plan.split, &groups, indices, &mut |b, indices| {
        let blocks = extent / width;
        repeat(b, blocks, |b, var| {
            let start = start.add(&var.scaled(width as i64));
            let block = Block { columns: &columns, indices: &indices, start, width };
            block.write(b, problem, &scratch, &results)
        })?;
        let start = start.clone().offset((blocks * width) as i64);
        let block = Block { columns: &columns, indices: &indices, start, width: extent % width };
        if block.width > 0 { block.write(b, problem, &scratch, &results) } else { Ok(()) }
    })?;
    Ok(Stages::one(stage.finish()))
}

/// Rows that are combined before they are added to the accumulator.
pub(super) fn rows(cost: usize) -> usize {
    match cost {
        0..=6 => 8,
        7..=16 => 4,
        17..=40 => 2,
        _ => 1,
    }
}

/// Columns of a block: if there are several passes over it, what they read should stay in the
/// second-level cache.
fn block_width(ctx: &Context<'_>, problem: &Problem<'_>, extent: usize) -> usize {
    let passes = problem.phases + usize::from(problem.outputs.iter().any(|output| output.full));
    let most = if passes > 1 {
        let column: usize = problem.lengths(true).product::<usize>() * size_of::<f32>();
        (ctx.machine.l2_bytes / 2 / column.max(1) / CHUNK_COLUMNS * CHUNK_COLUMNS)
            .clamp(CHUNK_COLUMNS, BLOCK)
    } else {
        BLOCK
    };
    extent.min(most)
}

/// Accumulators of a block of columns, and the indices of extremes as the results hold them.
struct Scratch {
    accumulators: Vec<SmallVec<[kilngrad_loops::Buffer; 2]>>,
    indices: Vec<Option<kilngrad_loops::Buffer>>,
}

impl Scratch {
    fn new(b: &mut KernelBuilder, problem: &Problem<'_>, width: usize) -> Scratch {
        let mut accumulators = Vec::new();
        let mut indices = Vec::new();
        for reduction in &problem.reductions {
            let scalars = reduction.combine.scalars(reduction.dtype);
            let buffer = |scalar: &Scalar| b.buffer("sums", *scalar, width, Access::Scratch);
            accumulators.push(scalars.iter().map(buffer).collect());
            indices.push(match reduction.combine {
                Combine::Fold(_) | Combine::Extreme(_, Scalar::I64) => None,
                Combine::Extreme(..) => {
                    Some(b.buffer("indices", Scalar::I64, width, Access::Scratch))
                }
            });
        }
        Scratch { accumulators, indices }
    }
}

/// The loops over columns and rows.
pub(super) struct Columns<'p> {
    pub(super) ctx: &'p Context<'p>,
    pub(super) plan: &'p Plan,
    /// The group of the vector axis.
    pub(super) vector: usize,
    /// Rows at a time.
    pub(super) rows: usize,
    /// Vectors at a time where there is one row.
    pub(super) unroll: usize,
}

/// Neighbouring columns, at given indices of the other kept groups.
pub(super) struct Block<'p> {
    pub(super) columns: &'p Columns<'p>,
    pub(super) indices: &'p [Affine],
    pub(super) start: Affine,
    pub(super) width: usize,
}

/// A body at a column's coordinates.
type ColumnBody<'f> = &'f mut dyn FnMut(&mut Code<'_>, Vec<Affine>) -> Result<(), LowerError>;

/// A reduction with the memory of its accumulator, by kept index.
pub(super) type Summed<'r> = (&'r Reduction, SmallVec<[Memory; 2]>);

impl Block<'_> {
    fn write(
        &self,
        b: &mut KernelBuilder,
        problem: &mut Problem<'_>,
        scratch: &Scratch,
        results: &[Memory],
    ) -> Result<(), LowerError> {
        let reductions = problem.reductions.clone();
        problem.bind_identities();
        for phase in 0..=problem.phases {
            let outputs: Vec<(Value, &Memory)> = problem
                .outputs
                .iter()
                .zip(results)
                .filter(|(output, _)| output.full && output.phase == phase)
                .map(|(output, memory)| (output.value, memory))
                .collect();
            let of_phase = reductions.iter().zip(&scratch.accumulators);
            let sums: Vec<Summed<'_>> = of_phase
                .filter(|(reduction, _)| reduction.phase == phase)
                .map(|(reduction, buffers)| {
                    (reduction, buffers.iter().map(|at| self.memory(problem, *at)).collect())
                })
                .collect();
            self.reduce(b, problem, &sums, &outputs)?;
            for (at, reduction) in reductions.iter().enumerate() {
                if reduction.phase == phase {
                    let memory = self.finished(b, problem, scratch, at)?;
                    problem.expr.bind(reduction.value, Source::Memory(memory));
                }
            }
        }
        let outputs = problem.outputs.clone();
        self.line(b, self.columns.unroll, &mut |code, indices| {
            let coords = problem.kept(&self.columns.plan.space.coords(&indices));
            for (output, memory) in outputs.iter().zip(results).filter(|(output, _)| !output.full) {
                problem.expr.eval_store(code, output.value, &coords, memory)?;
            }
            Ok(())
        })
    }

    /// Reduces all rows of the block into the accumulators, and stores results on the way.
    ///
    /// # Errors
    ///
    /// If the body holds what an expression may not.
    pub(super) fn reduce(
        &self,
        b: &mut KernelBuilder,
        problem: &mut Problem<'_>,
        sums: &[Summed<'_>],
        outputs: &[(Value, &Memory)],
    ) -> Result<(), LowerError> {
        if sums.is_empty() && outputs.is_empty() {
            return Ok(());
        }
        self.initialise(b, problem, sums)?;
        let plan = self.columns.plan;
        let groups = plan.reduced_groups(None);
        let (&inner, outer) = groups.split_last().expect("some axis is reduced");
        let (start, extent) = plan.split.part(inner, plan.space.groups[inner].extent);
        let rows = self.columns.rows.min(extent);
        let strips = self.strips(b, problem, sums, outputs, rows)?;
        let axis = |group: usize| plan.space.groups[group].axis;
        plan.space.walk(b, plan.split, outer, self.indices.to_vec(), &mut |b, indices| {
            let mut some_rows = |b: &mut KernelBuilder, first: Affine, rows: usize| {
                let unroll = if rows > 1 { 1 } else { self.columns.unroll };
                let coords = |mut indices: Vec<Affine>| -> Vec<Coords> {
                    let mut coords = Vec::new();
                    for row in 0..rows {
                        indices[inner] = first.clone().offset(row as i64);
                        coords.push(plan.space.coords(&indices));
                    }
                    coords
                };
                let mut part = |b: &mut KernelBuilder, start: Affine, width: usize| {
                    let at = Block { indices: &indices, start, width, ..*self };
                    if let Some(strips) = &strips {
                        let spans = [(inner, rows), (self.columns.vector, width)]
                            .map(|(group, extent)| Span { axis: axis(group), extent });
                        let fill = if rows > 1 { 1 } else { strips.unroll };
                        let mut corner = indices.clone();
                        corner[self.columns.vector] = at.start.clone();
                        let corner = coords(corner).swap_remove(0);
                        strips.fill(b, &mut problem.expr, &corner, &spans, &mut |b, body| {
                            at.line(b, fill, &mut |code, indices| {
                                coords(indices).iter().try_for_each(|coords| body(code, coords))
                            })
                        })?;
                    }
                    at.line(b, unroll, &mut |code, indices| {
                        self.rows(code, problem, sums, outputs, &coords(indices))
                    })
                };
                match &strips {
                    Some(strips) => strips.each(b, &self.start, self.width, &mut part),
                    None => part(b, self.start.clone(), self.width),
                }
            };
            repeat(b, extent / rows, |b, var| {
                some_rows(b, start.add(&var.scaled(rows as i64)), rows)
            })?;
            let left = extent % rows;
            let first = start.clone().offset((extent - left) as i64);
            if left > 0 { some_rows(b, first, left) } else { Ok(()) }
        })?;
        if let Some(strips) = strips {
            strips.release(&mut problem.expr);
        }
        Ok(())
    }

    /// The functions that are applied to strips of so many rows.
    fn strips(
        &self,
        b: &mut KernelBuilder,
        problem: &mut Problem<'_>,
        sums: &[Summed<'_>],
        outputs: &[(Value, &Memory)],
        rows: usize,
    ) -> Result<Option<Strips>, LowerError> {
        let Columns { ctx, plan, vector, .. } = self.columns;
        let coords = axis_coords(&problem.shape);
        let roots = sums.iter().map(|(reduction, _)| reduction.operand);
        let roots = roots.chain(outputs.iter().map(|output| output.0));
        let roots: Vec<(Value, Coords)> = roots.map(|value| (value, coords.clone())).collect();
        let line = Span { axis: plan.space.groups[*vector].axis, extent: self.width };
        let lines = Lines { roots: &roots, shape: &problem.shape, line, rows, kept: &[] };
        Strips::plan(ctx, b, &mut problem.expr, &lines)
    }

    fn initialise(
        &self,
        b: &mut KernelBuilder,
        problem: &Problem<'_>,
        sums: &[Summed<'_>],
    ) -> Result<(), LowerError> {
        if sums.is_empty() {
            return Ok(());
        }
        self.line(b, 1, &mut |code, indices| {
            let coords = problem.kept(&self.columns.plan.space.coords(&indices));
            for (reduction, memories) in sums {
                let identity = reduction.combine.identity(reduction.dtype);
                for (part, memory) in memories.iter().enumerate() {
                    let dtype = part_dtype(reduction, part);
                    let ty = RegType::scalar(memory_scalar(dtype));
                    let value = Lanes::Uniform(code.b.constant(ty, identity[part]));
                    code.store(dtype, memory.buffer, &memory.at(&coords), &value);
                }
            }
            Ok(())
        })
    }

    /// Adds some rows of a column to the accumulators.
    fn rows(
        &self,
        code: &mut Code<'_>,
        problem: &mut Problem<'_>,
        sums: &[Summed<'_>],
        outputs: &[(Value, &Memory)],
        coords: &[Coords],
    ) -> Result<(), LowerError> {
        let kept = problem.kept(&coords[0]);
        let expr = &mut problem.expr;
        for (reduction, memories) in sums {
            let mut acc = load(code, reduction, memories, &kept);
            add_rows(code, expr, reduction, coords, &mut acc)?;
            for (part, memory) in memories.iter().enumerate() {
                let regs: SmallVec<[Reg; 2]> = acc.iter().map(|acc| acc[part]).collect();
                let value = lanes(code, regs);
                code.store(part_dtype(reduction, part), memory.buffer, &memory.at(&kept), &value);
            }
        }
        for coords in coords {
            for (value, memory) in outputs {
                expr.eval_store(code, *value, coords, memory)?;
            }
        }
        Ok(())
    }

    /// The memory in which a reduction's result is, once its accumulators are complete.
    fn finished(
        &self,
        b: &mut KernelBuilder,
        problem: &Problem<'_>,
        scratch: &Scratch,
        at: usize,
    ) -> Result<Memory, LowerError> {
        let buffers = &scratch.accumulators[at];
        let last = *buffers.last().expect("an accumulator has a register");
        let sums = self.memory(problem, last);
        let Some(indices) = scratch.indices[at] else { return Ok(sums) };
        let wide = self.memory(problem, indices);
        self.line(b, 1, &mut |code, indices| {
            let coords = problem.kept(&self.columns.plan.space.coords(&indices));
            let index = code.load(DType::I32, sums.buffer, &sums.at(&coords));
            let index = code.cast(DType::I32, DType::I64, &index);
            code.store(DType::I64, wide.buffer, &wide.at(&coords), &index);
            Ok(())
        })?;
        Ok(wide)
    }

    /// A buffer that holds the block's columns, by kept index.
    fn memory(&self, problem: &Problem<'_>, buffer: kilngrad_loops::Buffer) -> Memory {
        let axis = self.columns.plan.space.groups[self.columns.vector].axis;
        let strides = (0..problem.shape.len())
            .filter(|at| !problem.reduced[*at])
            .map(|at| i64::from(at == axis))
            .collect();
        Memory { buffer, offset: self.start.scaled(-1), strides }
    }

    fn line(
        &self,
        b: &mut KernelBuilder,
        unroll: usize,
        body: ColumnBody<'_>,
    ) -> Result<(), LowerError> {
        let plan = self.columns.plan;
        let lanes = if plan.vector == Some(self.columns.vector) { plan.target.lanes } else { 1 };
        let line = Line { start: self.start.clone(), extent: self.width, lanes, unroll };
        line.write(b, &mut |b, lanes, at| {
            let mut indices = self.indices.to_vec();
            indices[self.columns.vector] = at;
            body(&mut Code::new(b, Target { lanes, ..plan.target }), indices)
        })
    }
}

/// The dtype of an accumulator's part in memory.
fn part_dtype(reduction: &Reduction, part: usize) -> DType {
    match (part, reduction.combine) {
        (0, _) | (_, Combine::Fold(_)) => reduction.dtype,
        (_, Combine::Extreme(_, Scalar::I32)) => DType::I32,
        (_, Combine::Extreme(..)) => DType::I64,
    }
}

/// The accumulators at a column: one for each register of an element.
fn load(
    code: &mut Code<'_>,
    reduction: &Reduction,
    memories: &[Memory],
    kept: &Coords,
) -> Vec<Parts> {
    let mut accs: Vec<Parts> = Vec::new();
    for (part, memory) in memories.iter().enumerate() {
        let dtype = part_dtype(reduction, part);
        let value = code.load(dtype, memory.buffer, &memory.at(kept));
        for (at, reg) in code.elements(dtype, &value).into_iter().enumerate() {
            if part == 0 {
                accs.push(Parts::new());
            }
            accs[at].push(reg);
        }
    }
    accs
}

fn lanes(code: &Code<'_>, regs: SmallVec<[Reg; 2]>) -> Lanes {
    if code.target.lanes == 1 { Lanes::Uniform(regs[0]) } else { Lanes::Packed(regs) }
}

/// Sums combine the rows pairwise first; extremes must see them in order.
fn add_rows(
    code: &mut Code<'_>,
    expr: &mut Expr<'_>,
    reduction: &Reduction,
    coords: &[Coords],
    accs: &mut [Parts],
) -> Result<(), LowerError> {
    let in_order = matches!(reduction.combine, Combine::Extreme(..));
    if in_order || reduction.factors.is_some() && code.target.fma {
        for coords in coords {
            let elements = Elements::eval(code, expr, reduction, coords)?;
            for (part, acc) in accs.iter_mut().enumerate() {
                *acc = elements.accumulate(code, reduction, acc, part);
            }
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for coords in coords {
        let value = expr.eval(code, reduction.operand, coords)?;
        rows.push(code.elements(reduction.dtype, &value));
    }
    for (part, acc) in accs.iter_mut().enumerate() {
        let parts = rows.iter().map(|row| Parts::from_slice(&[row[part]])).collect();
        let sum = code.merge_all(reduction.combine, parts);
        *acc = code.merge(reduction.combine, acc, &sum);
    }
    Ok(())
}
