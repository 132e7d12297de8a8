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
//! | [`gather`] | windows as dense blocks, a few of them at a time |
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
mod gather;
mod gemm;
mod generic;
mod nest;
mod pack;
mod panels;
mod problem;
mod vector;

use kilngrad_ir::op::{Axes, DotAxes, Op};
use kilngrad_ir::{DType, Graph, Machine, Node, TileSize, Value};
use kilngrad_loops::{Access, Buffer, TileShape};

use smallvec::SmallVec;

use crate::expr::{Expr, Memory, Source, argument_of, axis_coords, axis_strides};
use crate::lanes::memory_scalar;
use crate::space::unroll;
use crate::stage::{StageBuilder, Stages};
use crate::{Context, LowerError};

use blocking::{Blocking, Costs, Share};
use epilogue::Epilogue;
use gather::{Gathered, Side};
use nest::Nest;
use panels::Panels;
use problem::{Problem, View};

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
    let steps = result_steps(&mut expr, &dot)?;
    let may_merge = |outer: usize, inner: usize, extent: usize| {
        steps.iter().all(|steps| steps[outer] == steps[inner] * extent as i64)
    };
    let problem = problem(&mut expr, &dot, may_merge)?;
    if problem.is_empty() {
        return Ok(Stages::default());
    }
    let gathered = dot.viewed().filter(|_| ctx.machine.tile(dtype).is_some());
    let gathered = gathered
        .and_then(|side| Gathered::new(&problem, side, dtype.size(), ctx.machine, may_merge));
    let (mut nest, operands) = match gathered {
        Some(Gathered { nest, swapped }) => {
            let [lhs, rhs] = dot.operands;
            (nest, if swapped { [rhs, lhs] } else { [lhs, rhs] })
        }
        None => {
            let (problem, operands) = orient(problem, dot.operands);
            (Nest::new(problem), operands)
        }
    };
    let way = match nest.gathered {
        Some(_) => Way::tiles(dtype, ctx.machine),
        None => Way::of(&nest, dtype, ctx.machine),
    };
    let panels = match way {
        Way::Tiles(shape) if ctx.constant[operands[1]] && !dot.views(operands[1]) => {
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
    costs.epilogue = graph.results() != [dot.value] || !nest.is_dense();
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
    let epilogue = &mut Epilogue { ctx, expr, dot: dot.value, results, target, unroll };
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
    graph: &'g Graph,
    /// Its result, or the transpose of it that alone is used.
    value: Value,
    /// Which axis of the contraction's result each axis of the value is.
    order: Axes,
    axes: &'g DotAxes,
    /// The factors: arguments, or windows of them.
    factors: [Value; 2],
    /// Positions among the body's arguments of what lies in memory.
    operands: [usize; 2],
}

impl<'g> Dot<'g> {
    /// Whether a factor is windows of the argument at this position, which as panels would be many
    /// times as large.
    fn views(&self, argument: usize) -> bool {
        let pairs = self.factors.iter().zip(self.operands);
        pairs
            .filter(|(_, at)| *at == argument)
            .any(|(factor, _)| *factor != self.graph.arguments()[argument])
    }

    /// The side of the product that is windows; of two the right one.
    fn viewed(&self) -> Option<Side> {
        [Side::Rhs, Side::Lhs].into_iter().find(|side| self.views(self.operands[*side as usize]))
    }

    fn find(graph: &'g Graph) -> Result<Dot<'g>, LowerError> {
        for (_, node) in graph.nodes() {
            if let Op::Dot(axes) = &node.op {
                let factors = [node.operands[0], node.operands[1]];
                let argument = |factor: Value| {
                    let memory = match graph.defining_node(factor) {
                        Some(Node { op: Op::Windows(_), operands, .. }) => operands[0],
                        Some(_) | None => factor,
                    };
                    let error = LowerError::Body { op: "dot of computed operands" };
                    argument_of(graph, memory).ok_or(error)
                };
                let operands = [argument(factors[0])?, argument(factors[1])?];
                let (value, order) = placed(graph, node);
                return Ok(Dot { graph, value, order, axes, factors, operands });
            }
        }
        Err(LowerError::Body { op: "contraction without dot" })
    }
}

/// Where a contraction's sums belong: in its result, or in the transpose of it that alone is used.
fn placed(graph: &Graph, dot: &Node) -> (Value, Axes) {
    let value = dot.result();
    if graph.use_counts()[value.index()] == 1
        && let Some((_, node)) = graph.nodes().find(|(_, node)| node.operands.contains(&value))
        && let Op::Transpose { permutation } = &node.op
    {
        return (node.result(), permutation.clone());
    }
    (value, (0..graph.ty(value).rank()).collect())
}

/// How everything that the results are computed from moves along each of their axes: two axes may be
/// walked as one where all of it moves along them as along one.
fn result_steps(expr: &mut Expr<'_>, dot: &Dot<'_>) -> Result<Vec<SmallVec<[i64; 4]>>, LowerError> {
    let shape = expr.shape(dot.value).to_vec();
    // Analysis alone: where the sums will be is not known yet.
    expr.bind(dot.value, Source::Memory(Memory::dense(Buffer(u32::MAX), &shape)));
    let coords = axis_coords(&shape);
    let results = expr.graph().results().iter().map(|value| (*value, coords.clone()));
    let roots: Vec<_> = results.collect();
    let accesses = expr.accesses(&roots)?;
    Ok(accesses.iter().map(|access| axis_strides(&access.at, shape.len())).collect())
}

/// The axes of the contraction, collapsed as far as its epilogue allows.
fn problem(
    expr: &mut Expr<'_>,
    dot: &Dot<'_>,
    may_merge: impl Fn(usize, usize, usize) -> bool,
) -> Result<Problem, LowerError> {
    let lhs = view(expr, dot.factors[0])?;
    let rhs = view(expr, dot.factors[1])?;
    Ok(Problem::new(dot.axes, &lhs, &rhs, &dot.order, may_merge))
}

/// How a factor, which is an argument or its windows, lies in memory.
fn view(expr: &mut Expr<'_>, factor: Value) -> Result<View, LowerError> {
    let shape = expr.shape(factor).to_vec();
    let accesses = expr.accesses(&[(factor, axis_coords(&shape))])?;
    let [access] = accesses.as_slice() else { return Err(LowerError::Unbound) };
    let strides = axis_strides(&access.at, shape.len()).to_vec();
    Ok(View { shape, strides })
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
            Way::InnerProducts
        } else {
            Way::by_tile(dtype, tile, machine.fma)
        }
    }

    /// By tiles, of a dtype that has them.
    fn tiles(dtype: DType, machine: &Machine) -> Way {
        machine.tile(dtype).map_or(Way::Plain, |tile| Way::by_tile(dtype, tile, machine.fma))
    }

    fn by_tile(dtype: DType, tile: TileSize, fma: bool) -> Way {
        let (rows, cols) = (tile.rows as u8, tile.cols as u8);
        Way::Tiles(TileShape { scalar: memory_scalar(dtype), rows, cols, fma })
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
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
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
