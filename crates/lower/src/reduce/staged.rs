//! Reductions in stages: each phase stores its results for the next.
//!
//! A phase whose kept elements are few is split along a reduced axis. Each chunk reduces its part
//! into memory of its own, and a second kernel combines the parts in order, so the result depends
//! on the number of chunks, which the shape fixes, and not on who ran them.

use kilngrad_ir::{DType, Value};
use kilngrad_loops::{Access, Affine, Scalar};
use smallvec::SmallVec;

use super::column::{Block, Columns, Summed, rows, unit};
use super::combine::{Combine, Parts};
use super::row::{Row, RowWork, Visit};
use super::{Plan, Problem, Reduction, results_by_shape};
use crate::code::{Code, Target};
use crate::expr::{Coords, Memory, axis_coords, row_major};
use crate::lanes::{Lanes, memory_scalar};
use crate::space::{Line, Space, Split, carry, unroll};
use crate::stage::{Param, StageBuilder, Stages, Stored};
use crate::{Context, LowerError};

/// Stages for each phase, and for the results.
///
/// # Errors
///
/// If the body holds what a reduce kernel may not.
pub(super) fn lower(ctx: &Context<'_>, problem: &mut Problem<'_>) -> Result<Stages, LowerError> {
    let mut stages = Stages::default();
    let mut stored: Vec<Stored> = Vec::new();
    let mut direct: Vec<usize> = Vec::new();
    for phase in 0..problem.phases {
        let of_phase = problem.reductions.iter().filter(|reduction| reduction.phase == phase);
        let reductions: Vec<Reduction> = of_phase.cloned().collect();
        let mut params = Vec::new();
        for reduction in &reductions {
            let output = problem.outputs.iter().find(|output| output.value == reduction.value);
            params.push(match output {
                Some(output) => {
                    direct.push(output.at);
                    Param::Result(output.at)
                }
                None => {
                    let kept = problem.lengths(false).product();
                    let dtype = problem.expr.dtype(reduction.value);
                    stages.temporary(memory_scalar(dtype), kept)
                }
            });
        }
        write_phase(ctx, problem, &mut stages, &stored, &reductions, &params)?;
        stored.extend(reductions.iter().map(|reduction| reduction.value).zip(params));
    }
    results_by_shape(ctx, problem, &stored, |output| !direct.contains(&output.at), &mut stages)?;
    Ok(stages)
}

/// The stages of one phase's reductions.
fn write_phase(
    ctx: &Context<'_>,
    problem: &mut Problem<'_>,
    stages: &mut Stages,
    stored: &[Stored],
    reductions: &[Reduction],
    params: &[Param],
) -> Result<(), LowerError> {
    problem.bind_identities();
    problem.expr.next_stage(stored);
    let roots: Vec<_> = {
        let coords = crate::expr::axis_coords(&problem.shape);
        reductions.iter().map(|reduction| (reduction.operand, coords.clone())).collect()
    };
    let cost = problem.expr.cost(&roots)? + reductions.len();
    let (plan, used) = plan_phase(ctx, problem, &roots, cost)?;
    let in_parts = plan.split.chunks > 1 && plan.space.groups[plan.split.group].label;
    let kept: usize = problem.lengths(false).product();
    let chunks = if in_parts { plan.split.chunks } else { 1 };

    let name = ctx.stage_name(stages.stages.len());
    let mut stage = StageBuilder::new(&name, plan.split.chunks);
    stage.inputs(&mut problem.expr, stored, |value| used.contains(&value));
    let mut partials: Vec<SmallVec<[Param; 2]>> = Vec::new();
    let mut memories: Vec<SmallVec<[Memory; 2]>> = Vec::new();
    let kept_shape: Vec<usize> = problem.lengths(false).collect();
    for (reduction, param) in reductions.iter().zip(params) {
        let scalars = reduction.combine.scalars(reduction.dtype);
        let whole = chunks == 1 && matches!(reduction.combine, Combine::Fold(_));
        let of: SmallVec<[Param; 2]> = match whole {
            true => SmallVec::from_slice(&[*param]),
            false => scalars.iter().map(|s| stages.temporary(*s, chunks * kept)).collect(),
        };
        let memory = |(param, scalar): (&Param, &Scalar)| {
            let buffer = stage.param(*param, *scalar, chunks * kept, Access::Write);
            let stride = if in_parts { kept as i64 } else { 0 };
            let offset = Affine::constant(0).plus(kilngrad_loops::Kernel::CHUNK, stride);
            Memory { buffer, offset, strides: row_major(&kept_shape) }
        };
        memories.push(of.iter().zip(&scalars).map(memory).collect());
        partials.push(of);
    }
    write_parts(ctx, problem, &plan, &mut stage, reductions, &memories, cost)?;
    stages.stages.push(stage.finish());

    let split: Vec<usize> =
        (0..reductions.len()).filter(|at| partials[*at].as_slice() != [params[*at]]).collect();
    if !split.is_empty() {
        let name = ctx.stage_name(stages.stages.len());
        let mut stage = StageBuilder::new(&name, 1);
        for at in split {
            let ends = (partials[at].as_slice(), params[at]);
            combine_parts(&mut stage, plan.target, &reductions[at], ends, chunks, kept)?;
        }
        stages.stages.push(stage.finish());
    }
    Ok(())
}

/// The loops of a phase: its chunks split a kept axis, or a reduced one if that gives more.
fn plan_phase(
    ctx: &Context<'_>,
    problem: &mut Problem<'_>,
    roots: &[(kilngrad_ir::Value, crate::expr::Coords)],
    cost: usize,
) -> Result<(Plan, Vec<kilngrad_ir::Value>), LowerError> {
    let accesses = problem.accesses_of(roots)?;
    let target = problem.target(ctx);
    let space = Space::new(&problem.shape, &problem.reduced, &accesses.merging);
    let vector = space.vector_group(target.lanes, &accesses.costing);
    let work = problem.shape.iter().product::<usize>().saturating_mul(cost);
    let unit = |group: usize| unit(Some(group) == vector);
    let wanted = Split::wanted(ctx.machine, work);
    let kept = space.split(wanted, |group| !space.groups[group].label, unit);
    let parts = space.split(wanted, |group| space.groups[group].label, unit);
    let split = if parts.chunks > 2 * kept.chunks { parts } else { kept };
    Ok((Plan { space, vector, split, target }, accesses.used))
}

/// The kernel that reduces each chunk's part.
fn write_parts(
    ctx: &Context<'_>,
    problem: &mut Problem<'_>,
    plan: &Plan,
    stage: &mut StageBuilder,
    reductions: &[Reduction],
    memories: &[SmallVec<[Memory; 2]>],
    cost: usize,
) -> Result<(), LowerError> {
    let indices = vec![Affine::constant(0); plan.space.groups.len()];
    let vector = plan.vector.filter(|group| !plan.space.groups[*group].label);
    let groups = plan.kept_groups(vector);
    let Some(vector) = vector else {
        let row = Row { ctx, plan };
        let coords = axis_coords(&problem.shape);
        let roots = reductions.iter().map(|reduction| (reduction.operand, coords.clone()));
        let roots: Vec<(Value, Coords)> = roots.collect();
        return plan.space.walk(&mut stage.b, plan.split, &groups, indices, &mut |b, indices| {
            let unroll = row.unroll(&mut problem.expr, reductions)?;
            let strips = row.strips(b, problem, &roots, &[])?;
            let visit: Visit<'_> = &mut |_, _, _| Ok(());
            let work = RowWork { reductions, unroll, strips: strips.as_ref(), visit };
            let sums = row.reduce(b, &mut problem.expr, &indices, work)?;
            let coords = problem.kept(&plan.space.coords(&indices));
            for (sum, memories) in sums.iter().zip(memories) {
                for (reg, memory) in sum.iter().zip(memories) {
                    b.store(memory.buffer, memory.at(&coords), *reg);
                }
            }
            Ok(())
        });
    };
    let (start, width) = plan.split.part(vector, plan.space.groups[vector].extent);
    let columns = Columns { ctx, plan, vector, rows: rows(cost), unroll: unroll(cost) };
    let sums: Vec<Summed<'_>> = reductions.iter().zip(memories.iter().cloned()).collect();
    plan.space.walk(&mut stage.b, plan.split, &groups, indices, &mut |b, indices| {
        let block = Block { columns: &columns, indices: &indices, start: start.clone(), width };
        block.reduce(b, problem, &sums, &[])
    })
}

/// Loops that combine the parts of one reduction, stored one after the other, into its result.
fn combine_parts(
    stage: &mut StageBuilder,
    target: Target,
    reduction: &Reduction,
    (partials, result): (&[Param], Param),
    chunks: usize,
    kept: usize,
) -> Result<(), LowerError> {
    let scalars = reduction.combine.scalars(reduction.dtype);
    let inputs: Vec<_> = partials
        .iter()
        .zip(&scalars)
        .map(|(param, scalar)| stage.param(*param, *scalar, chunks * kept, Access::Read))
        .collect();
    let scalar = match reduction.combine {
        Combine::Fold(_) => scalars[0],
        Combine::Extreme(..) => Scalar::I64,
    };
    let output = stage.param(result, scalar, kept, Access::Write);
    let line = Line { start: Affine::constant(0), extent: kept, lanes: target.lanes, unroll: 1 };
    line.write(&mut stage.b, &mut |b, lanes, at| {
        let target = Target { lanes, ..target };
        let dtypes: Vec<DType> = scalars.iter().map(|scalar| dtype_of(*scalar)).collect();
        let mut code = Code::new(b, target);
        let identity = code.identity(reduction.combine, reduction.dtype);
        let parts = (lanes * reduction.dtype.size()).div_ceil(16);
        let init: Vec<_> = identity.iter().copied().cycle().take(identity.len() * parts).collect();
        let accs = carry(b, chunks, init, |b, chunk, accs| {
            let mut code = Code::new(b, target);
            let at = at.add(&chunk.scaled(kept as i64));
            let loaded: Vec<SmallVec<[_; 2]>> = inputs
                .iter()
                .zip(&dtypes)
                .map(|(buffer, dtype)| {
                    let value = code.load(*dtype, *buffer, &at);
                    code.elements(*dtype, &value)
                })
                .collect();
            let mut next = Vec::new();
            for (part, acc) in accs.chunks(identity.len()).enumerate() {
                let element: Parts = loaded.iter().map(|regs| regs[part]).collect();
                next.extend(code.merge(reduction.combine, acc, &element));
            }
            Ok(next)
        })?;
        let mut code = Code::new(b, target);
        let last = accs.chunks(identity.len()).map(|acc| acc[acc.len() - 1]);
        let value = match lanes {
            1 => Lanes::Uniform(accs[identity.len() - 1]),
            _ => Lanes::Packed(last.collect()),
        };
        let from = dtypes[dtypes.len() - 1];
        let to = dtype_of(scalar);
        let value = code.cast(from, to, &value);
        code.store(to, output, &at, &value);
        Ok(())
    })
}

/// A number dtype that is this scalar in memory.
fn dtype_of(scalar: Scalar) -> DType {
    match scalar {
        Scalar::F32 => DType::F32,
        Scalar::F64 => DType::F64,
        Scalar::I32 => DType::I32,
        Scalar::I64 => DType::I64,
        Scalar::U8 => DType::U8,
    }
}
