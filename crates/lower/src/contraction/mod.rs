//! Contractions: one `dot` with an elementwise epilogue.
//!
//! | file | what |
//! |---|---|
//! | [`problem`] | the axes in four roles, collapsed where tensors and epilogue allow |
//! | [`nest`] | one matrix product inside outer loops |
//! | [`blocking`] | how the product is cut, by a model of its cost |
//! | [`panels`] | a constant operand, packed once |
//! | [`gemm`], [`pack`] | the product: cache blocks, packing, tiles |
//! | [`vector`] | inner products of a vector with dense rows |
//! | [`generic`] | integers, which have no tiles |
//! | [`epilogue`] | from sums to results |
//!
//! Invariants:
//!
//! - The order in which a sum adds its terms depends on the shapes and the machine model alone.
//! - A result is written by one chunk, once, after every argument at its index was read; arguments
//!   that the contraction itself reads never share memory with a result.
//! - Scratch is a chunk's own, so chunks repeat the packing of what they share; the blocking weighs
//!   that.

mod blocking;
mod epilogue;
mod gemm;
mod generic;
mod nest;
mod pack;
mod panels;
mod problem;
mod vector;

use kilngrad_ir::op::{DotAxes, Op};
use kilngrad_ir::{DType, Graph, Machine, Value};
use kilngrad_loops::{Access, Buffer, TileShape};

use crate::expr::{Expr, Memory, Source, argument_of, axis_coords, axis_strides};
use crate::lanes::memory_scalar;
use crate::space::unroll;
use crate::stage::{StageBuilder, Stages};
use crate::{Context, LowerError};

use blocking::{Blocking, Costs, Share};
use epilogue::Epilogue;
use nest::Nest;
use panels::Panels;
use problem::Problem;

/// Lowers a contraction kernel.
///
/// # Errors
///
/// If a shape depends on a symbol, or the body holds what a contraction may not.
pub(crate) fn lower_contraction(ctx: &Context<'_>) -> Result<Stages, LowerError> {
    let graph = &ctx.kernel.body;
    let dot = Dot::find(graph)?;
    let mut expr = Expr::new(graph)?;
    let dtype = expr.dtype(dot.value);
    let (problem, operands) = orient(problem(&mut expr, &dot)?, dot.operands);
    if problem.is_empty() {
        return Ok(Stages::default());
    }
    let mut nest = Nest::new(problem);
    let way = Way::of(&nest, dtype, ctx.machine);
    let panels = match way {
        Way::Tiles(shape) if ctx.constant[operands[1]] => {
            let rhs = graph.arguments()[operands[1]];
            let len = expr.shape(rhs).iter().product();
            Panels::new(&nest, shape.scalar, usize::from(shape.cols), len)?
        }
        Way::Tiles(_) | Way::InnerProducts | Way::Plain => None,
    };
    if let Some(panels) = &panels {
        nest.clone_from(&panels.nest);
    }
    let mut costs = Costs::new(ctx.machine, dtype);
    costs.epilogue = graph.results() != [dot.value];
    costs.panels = panels.is_some();
    let plan = Plan::new(way, &nest, &costs);
    let share = plan.share();
    let mut stages = Stages::default();
    let mut stage = StageBuilder::new(ctx.name, share.chunks);
    let operands = declare(&mut expr, &mut stages, &mut stage, operands, panels)?;
    let results = graph.results().iter().enumerate();
    let results = results.map(|(at, &value)| (value, stage.result(&expr, at))).collect();
    let chunk = nest.part(share);
    let start = &chunk.start(expr.shape(dot.value).len(), share);
    let fma = ctx.machine.fma;
    let target = ctx.target(graph);
    let unroll = unroll(cost(graph));
    let epilogue = &mut Epilogue { expr, dot: dot.value, results, target, unroll };
    let b = &mut stage.b;
    match plan {
        Plan::Tiles(blocking, shape) => {
            gemm::write(b, chunk, blocking, shape, operands, epilogue, start)?;
        }
        Plan::InnerProducts(_) => {
            vector::write(b, chunk, memory_scalar(dtype), fma, operands, epilogue, start)?;
        }
        Plan::Plain(_) => {
            generic::write(b, &chunk, memory_scalar(dtype), operands, epilogue, start)?;
        }
    }
    stages.stages.push(stage.finish());
    Ok(stages)
}

/// Declares the arguments, and gives the buffers of the operands: the panels in place of the right
/// one, which is then declared only if something else reads it too.
fn declare(
    expr: &mut Expr<'_>,
    stages: &mut Stages,
    stage: &mut StageBuilder,
    operands: [usize; 2],
    panels: Option<Panels>,
) -> Result<[Buffer; 2], LowerError> {
    let [lhs, rhs] = operands.map(|at| expr.graph().arguments()[at]);
    let replaced = panels.is_some() && expr.graph().use_counts()[rhs.index()] == 1;
    stage.inputs(expr, &[], |value| !(replaced && value == rhs));
    let right = match panels {
        Some(Panels { kernel, len, .. }) => {
            let scalar = memory_scalar(expr.dtype(rhs));
            stage.param(stages.packed(operands[1], kernel), scalar, len, Access::Read)
        }
        None => expr.buffer(rhs)?,
    };
    Ok([expr.buffer(lhs)?, right])
}

/// The contraction in a body.
struct Dot<'g> {
    value: Value,
    axes: &'g DotAxes,
    /// Positions of the operands among the body's arguments.
    operands: [usize; 2],
}

impl<'g> Dot<'g> {
    fn find(graph: &'g Graph) -> Result<Dot<'g>, LowerError> {
        for (_, node) in graph.nodes() {
            if let Op::Dot(axes) = &node.op {
                let argument = |at: usize| {
                    let error = LowerError::Body { op: "dot of computed operands" };
                    argument_of(graph, node.operands[at]).ok_or(error)
                };
                let operands = [argument(0)?, argument(1)?];
                return Ok(Dot { value: node.result(), axes, operands });
            }
        }
        Err(LowerError::Body { op: "contraction without dot" })
    }
}

/// The axes of the contraction, collapsed as far as its epilogue allows: two axes of the result may
/// be walked as one where every element that the epilogue reads moves along them as along one.
fn problem(expr: &mut Expr<'_>, dot: &Dot<'_>) -> Result<Problem, LowerError> {
    let shape = expr.shape(dot.value).to_vec();
    // Analysis alone: where the sums will be is not known yet.
    expr.bind(dot.value, Source::Memory(Memory::dense(Buffer(u32::MAX), &shape)));
    let coords = axis_coords(&shape);
    let results = expr.graph().results().iter().map(|value| (*value, coords.clone()));
    let roots: Vec<_> = results.collect();
    let strides: Vec<_> =
        expr.accesses(&roots)?.iter().map(|access| axis_strides(&access.at, shape.len())).collect();
    let may_merge = |outer: usize, inner: usize, extent: usize| {
        strides.iter().all(|strides| strides[outer] == strides[inner] * extent as i64)
    };
    let [lhs, rhs] = dot.operands.map(|at| expr.graph().arguments()[at]);
    Ok(Problem::new(dot.axes, expr.shape(lhs), expr.shape(rhs), may_merge))
}

/// A matrix times a vector is written as the vector times the transposed matrix, so that there is
/// one case of the two: a result that has rows only gets columns instead.
fn orient(problem: Problem, [lhs, rhs]: [usize; 2]) -> (Problem, [usize; 2]) {
    if problem.cols.is_empty() && !problem.rows.is_empty() {
        (problem.swapped(), [rhs, lhs])
    } else {
        (problem, [lhs, rhs])
    }
}

/// The ways to compute a contraction.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// By tiles of a shape.
    Tiles(TileShape),
    /// By inner products along dense rows of the right operand.
    InnerProducts,
    /// Term by term.
    Plain,
}

impl Way {
    fn of(nest: &Nest, dtype: DType, machine: &Machine) -> Way {
        let Some(tile) = machine.tile(dtype) else { return Way::Plain };
        if vector::applies(nest) {
            return Way::InnerProducts;
        }
        Way::Tiles(TileShape {
            scalar: memory_scalar(dtype),
            rows: tile.rows as u8,
            cols: tile.cols as u8,
            fma: machine.fma,
        })
    }
}

/// How a contraction is computed, and shared out.
enum Plan {
    /// By tiles of a shape, cut like this.
    Tiles(Blocking, TileShape),
    /// By inner products along dense rows of the right operand.
    InnerProducts(Share),
    /// Term by term.
    Plain(Share),
}

impl Plan {
    fn new(way: Way, nest: &Nest, costs: &Costs) -> Plan {
        match way {
            Way::Plain => Plan::Plain(blocking::share(nest, costs, nest.terms() * PLAIN_CYCLES)),
            Way::InnerProducts => {
                let cycles = nest.terms() * VECTOR_CYCLES * costs.size as f64 / 16.0;
                Plan::InnerProducts(blocking::share(nest, costs, cycles))
            }
            Way::Tiles(shape) => Plan::Tiles(blocking::choose(nest, costs), shape),
        }
    }

    fn share(&self) -> Share {
        match self {
            Plan::Tiles(blocking, _) => blocking.share,
            Plan::InnerProducts(share) | Plan::Plain(share) => *share,
        }
    }
}

/// Cycles of a term that is loaded, multiplied and added by itself.
const PLAIN_CYCLES: f64 = 1.5;

/// Cycles of 16 bytes of a row in an inner product.
const VECTOR_CYCLES: f64 = 1.5;

/// The epilogue's work on an element, relative to an addition.
fn cost(graph: &Graph) -> usize {
    let of = |op: &Op| match op {
        Op::Unary(op) => op.row().cost as usize,
        Op::Binary(op) => op.row().cost as usize,
        Op::Random { .. } => RANDOM_COST,
        Op::Compare(_) | Op::Select | Op::Cast | Op::Iota { .. } => 1,
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => 0,
    };
    graph.nodes().map(|(_, node)| of(&node.op)).sum()
}

/// Additions that a random number costs.
const RANDOM_COST: usize = 40;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
