//! Maps: every element of one index space, computed alone.
//!
//! All results are computed in one nest of loops. In each iteration every result is evaluated
//! before any is stored, so a result may share memory with an argument that is read at the same
//! index only.
//!
//! `concat` and `pad` are written piece by piece. A piece is an index space with a value and the
//! place of its elements in the result. What `fold` adds up has a module of its own.

use kilngrad_ir::op::{Op, PadAxis};
use kilngrad_ir::{Graph, Value};
use kilngrad_loops::{Affine, Buffer, KernelBuilder};
use smallvec::SmallVec;

use crate::code::{Code, Target};
use crate::expr::{AccessKind, Coords, Expr, Memory, axis_coords, axis_strides, row_major};
use crate::space::{Block, Nest, Space, Span, Split, Strided, unroll};
use crate::stage::{Stage, StageBuilder, Stages, Stored};
use crate::strip::{self, Lines, Strips};
use crate::{Context, LowerError, fold};

/// Lowers a map kernel.
///
/// # Errors
///
/// If the body holds what a map may not.
pub(crate) fn lower_map(ctx: &Context<'_>) -> Result<Stages, LowerError> {
    let graph = &ctx.kernel.body;
    let mut expr = Expr::new(graph)?;
    let shape: Vec<usize> = expr.shape(graph.results()[0]).to_vec();
    if shape.contains(&0) {
        return Ok(Stages::default());
    }
    if let Some(node) = graph.defining_node(graph.results()[0])
        && let Op::Fold(windows) = &node.op
    {
        return Ok(Stages::one(fold::stage(ctx, &mut expr, node, windows)?));
    }
    if let Some(pieces) = pieces_of(&expr, graph)? {
        return lower_pieces(ctx, &mut expr, &pieces);
    }
    let values: Vec<(usize, Value)> = graph.results().iter().copied().enumerate().collect();
    Ok(Stages::one(map_results(ctx, &mut expr, ctx.name, &[], &values)?))
}

/// A stage that computes results of one shape, which is not empty, given with their positions.
///
/// # Errors
///
/// If the body holds what a map may not.
pub(crate) fn map_results(
    ctx: &Context<'_>,
    expr: &mut Expr<'_>,
    name: &str,
    stored: &[Stored],
    results: &[(usize, Value)],
) -> Result<Stage, LowerError> {
    let shape = expr.shape(results[0].1).to_vec();
    let outputs = results.iter().map(|&(result, value)| Output {
        value,
        scalar: false,
        result,
        offset: 0,
        strides: row_major(&shape),
    });
    let outputs: Vec<Output> = outputs.collect();
    map_stage(ctx, expr, name, stored, &shape, &outputs)
}

/// A value over an index space, and where its elements go.
#[derive(Debug, Clone)]
struct Output {
    value: Value,
    /// Whether the value is a scalar that fills the space.
    scalar: bool,
    /// Which result of the kernel.
    result: usize,
    offset: i64,
    strides: SmallVec<[i64; 4]>,
}

impl Output {
    fn coords(&self, coords: &Coords) -> Coords {
        if self.scalar { Coords::new() } else { coords.clone() }
    }

    fn memory(&self, buffer: Buffer) -> Memory {
        let offset = Affine::constant(self.offset);
        Memory { buffer, offset, strides: self.strides.clone() }
    }
}

/// A stage that computes outputs over one index space.
fn map_stage(
    ctx: &Context<'_>,
    expr: &mut Expr<'_>,
    name: &str,
    stored: &[Stored],
    shape: &[usize],
    outputs: &[Output],
) -> Result<Stage, LowerError> {
    expr.next_stage(stored);
    let plan = Plan::new(ctx, expr, shape, outputs, true)?;
    let mut stage = StageBuilder::new(name, plan.split.chunks);
    stage.inputs(expr, stored, |value| plan.used.contains(&value));
    let memories: Vec<Memory> = outputs
        .iter()
        .map(|output| output.memory(stage.result(expr, output.result).buffer))
        .collect();
    plan.write(ctx, &mut stage.b, expr, outputs, &memories)?;
    Ok(stage.finish())
}

/// How the loops of one index space are made.
struct Plan {
    shape: Vec<usize>,
    space: Space,
    vector: Option<usize>,
    tiled: Option<usize>,
    split: Split,
    target: Target,
    used: Vec<Value>,
}

impl Plan {
    fn new(
        ctx: &Context<'_>,
        expr: &mut Expr<'_>,
        shape: &[usize],
        outputs: &[Output],
        chunked: bool,
    ) -> Result<Plan, LowerError> {
        let roots = roots(shape, outputs);
        let accesses = expr.accesses(&roots)?;
        let loads = accesses.iter().map(|access| Strided {
            kind: access.kind,
            strides: axis_strides(&access.at, shape.len()),
        });
        let stores = outputs.iter().map(|output| Strided {
            kind: AccessKind::Store(expr.dtype(output.value)),
            strides: output.strides.clone(),
        });
        let strided: Vec<Strided> = loads.chain(stores).collect();
        let space = Space::new(shape, &vec![false; shape.len()], &strided);
        let target = ctx.target(expr.graph());
        let vector = space.vector_group(target.lanes, &strided);
        let tiled = vector.and_then(|vector| space.tile_group(vector, &strided));
        let cost = expr.cost(&roots)? + outputs.len();
        let unroll = unroll(cost);
        let split = if chunked {
            let work = shape.iter().product::<usize>().saturating_mul(cost);
            space.split(
                Split::wanted(ctx.machine, work),
                |_| true,
                |group| match vector {
                    Some(vector) if vector == group => target.lanes * unroll,
                    Some(_) | None => 1,
                },
            )
        } else {
            Split::WHOLE
        };
        let used = accesses.iter().map(|access| access.value).collect();
        Ok(Plan { shape: shape.to_vec(), space, vector, tiled, split, target, used })
    }

    fn write(
        &self,
        ctx: &Context<'_>,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        outputs: &[Output],
        memories: &[Memory],
    ) -> Result<(), LowerError> {
        let Plan { space, split, target, .. } = self;
        let nest =
            Nest { space, vector: self.vector, tiled: self.tiled, split: *split, target: *target };
        let roots = roots(&self.shape, outputs);
        let (lines, length) = nest.lines();
        let rows = strip::rows(ctx, length, lines);
        let strips = match self.vector.filter(|_| self.tiled.is_none()) {
            Some(vector) => {
                let line = Span { axis: space.groups[vector].axis, extent: length };
                let lines = Lines { roots: &roots, shape: &self.shape, line, rows, kept: &[] };
                Strips::plan(ctx, b, expr, &lines)?
            }
            None => None,
        };
        let unroll = unroll(expr.cost(&roots)? + outputs.len());
        let results = Results { outputs, memories, unroll };
        let Some(strips) = strips else {
            return nest.write(b, 1, &mut |b, block| results.write(b, expr, &block));
        };
        nest.write(b, rows, &mut |b, block| {
            let line = block.line().expect("strips are along a line");
            strips.each(b, &line.start, line.extent, &mut |b, start, extent| {
                let block = block.at(start, extent);
                strips.fill(b, expr, &block.first(), &block.spans(), &mut |b, body| {
                    block.write(b, strips.unroll, &mut |b, target, coords| {
                        body(&mut Code::new(b, target), coords)
                    })
                })?;
                results.write(b, expr, &block)
            })
        })?;
        strips.release(expr);
        Ok(())
    }
}

/// What is evaluated for each element.
fn roots(shape: &[usize], outputs: &[Output]) -> Vec<(Value, Coords)> {
    let coords = axis_coords(shape);
    outputs.iter().map(|output| (output.value, output.coords(&coords))).collect()
}

/// Outputs with their memory, and how many vectors of them are computed at a time.
struct Results<'r> {
    outputs: &'r [Output],
    memories: &'r [Memory],
    unroll: usize,
}

impl Results<'_> {
    /// Computes all elements of a block; of an index every output before any is stored.
    fn write(
        &self,
        b: &mut KernelBuilder,
        expr: &mut Expr<'_>,
        block: &Block<'_>,
    ) -> Result<(), LowerError> {
        block.write(b, self.unroll, &mut |b, target, coords| {
            let code = &mut Code::new(b, target);
            let values = self
                .outputs
                .iter()
                .map(|output| expr.eval(code, output.value, &output.coords(coords)))
                .collect::<Result<Vec<_>, _>>()?;
            for ((output, memory), value) in self.outputs.iter().zip(self.memories).zip(&values) {
                let at = memory.at(coords);
                code.store(expr.dtype(output.value), memory.buffer, &at, value);
            }
            Ok(())
        })
    }
}

/// An index space with its only output.
struct Piece {
    shape: Vec<usize>,
    output: Output,
}

/// The pieces of the kernel's only result, if `concat` or `pad` defines it.
fn pieces_of(expr: &Expr<'_>, graph: &Graph) -> Result<Option<Vec<Piece>>, LowerError> {
    let [result] = graph.results() else { return Ok(None) };
    let strides = row_major(expr.shape(*result));
    let Some(node) = graph.defining_node(*result) else { return Ok(None) };
    let piece = |value: Value, shape: Vec<usize>, offset: i64, strides: SmallVec<[i64; 4]>| {
        let scalar = expr.shape(value) != shape;
        Piece { shape, output: Output { value, scalar, result: 0, offset, strides } }
    };
    match &node.op {
        Op::Concat { axis } => {
            let mut start = 0;
            let mut pieces = Vec::new();
            for &operand in &node.operands {
                let shape = expr.shape(operand).to_vec();
                let offset = start as i64 * strides[*axis];
                start += shape[*axis];
                pieces.push(piece(operand, shape, offset, strides.clone()));
            }
            Ok(Some(pieces))
        }
        Op::Pad(axes) => {
            let (operand, padding) = (node.operands[0], node.operands[1]);
            let amounts = axes.iter().map(amounts).collect::<Result<Vec<Amounts>, _>>()?;
            let mut pieces = Vec::new();
            for (offsets, shape) in borders(expr.shape(*result), &amounts) {
                let offset = offsets.iter().zip(&strides).map(|(at, stride)| at * stride).sum();
                pieces.push(piece(padding, shape, offset, strides.clone()));
            }
            let lows = amounts.iter().zip(&strides);
            let offset = lows.map(|(amount, stride)| amount.low as i64 * stride).sum();
            let steps = amounts.iter().zip(&strides);
            let strides = steps.map(|(amount, stride)| amount.step as i64 * stride).collect();
            pieces.push(piece(operand, expr.shape(operand).to_vec(), offset, strides));
            Ok(Some(pieces))
        }
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
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
        | Op::Kernel(_) => Ok(None),
    }
}

/// Constant padding of an axis.
struct Amounts {
    low: usize,
    high: usize,
    /// Distance of neighbours in the result.
    step: usize,
}

fn amounts(axis: &PadAxis) -> Result<Amounts, LowerError> {
    let constant = |dim: &kilngrad_ir::Dim| {
        let value = dim.as_constant().and_then(|value| usize::try_from(value).ok());
        value.ok_or_else(|| LowerError::Shape { ty: format!("padding of {dim}") })
    };
    Ok(Amounts { low: constant(&axis.low)?, high: constant(&axis.high)?, step: axis.interior + 1 })
}

/// The boxes of a padded tensor that its operand does not fill: first index and shape of each.
///
/// Of each axis, what is below and above the operand's range, within that range of the axes
/// before. Gaps between neighbours are too many for boxes of their own: then all is one box, and
/// the operand is written over it.
fn borders(shape: &[usize], amounts: &[Amounts]) -> Vec<(Vec<i64>, Vec<usize>)> {
    if amounts.iter().any(|amount| amount.step > 1) {
        return vec![(vec![0; shape.len()], shape.to_vec())];
    }
    let mut boxes = Vec::new();
    let mut start = vec![0; shape.len()];
    let mut lengths = shape.to_vec();
    for (axis, amount) in amounts.iter().enumerate() {
        for (at, length) in [(0, amount.low), (shape[axis] - amount.high, amount.high)] {
            let (mut first, mut extent) = (start.clone(), lengths.clone());
            (first[axis], extent[axis]) = (at as i64, length);
            boxes.push((first, extent));
        }
        start[axis] = amount.low as i64;
        lengths[axis] = shape[axis] - amount.low - amount.high;
    }
    boxes
}

/// Pieces in order: small ones in one stage, large ones each in a stage with chunks of its own.
fn lower_pieces(
    ctx: &Context<'_>,
    expr: &mut Expr<'_>,
    pieces: &[Piece],
) -> Result<Stages, LowerError> {
    let mut stages = Stages::default();
    let mut small: Vec<&Piece> = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.shape.contains(&0)) {
        let outputs = std::slice::from_ref(&piece.output);
        if Plan::new(ctx, expr, &piece.shape, outputs, true)?.split.chunks == 1 {
            small.push(piece);
            continue;
        }
        write_small(ctx, expr, &mut stages, &mut small)?;
        let name = ctx.stage_name(stages.stages.len());
        stages.stages.push(map_stage(ctx, expr, &name, &[], &piece.shape, outputs)?);
    }
    write_small(ctx, expr, &mut stages, &mut small)?;
    Ok(stages)
}

/// One stage for the pieces that wait, if any.
fn write_small(
    ctx: &Context<'_>,
    expr: &mut Expr<'_>,
    stages: &mut Stages,
    small: &mut Vec<&Piece>,
) -> Result<(), LowerError> {
    if small.is_empty() {
        return Ok(());
    }
    expr.next_stage(&[]);
    let plans = small
        .iter()
        .map(|piece| {
            let outputs = std::slice::from_ref(&piece.output);
            Plan::new(ctx, expr, &piece.shape, outputs, false)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut stage = StageBuilder::new(&ctx.stage_name(stages.stages.len()), 1);
    stage.inputs(expr, &[], |value| plans.iter().any(|plan| plan.used.contains(&value)));
    let result = stage.result(expr, 0).buffer;
    for (piece, plan) in small.drain(..).zip(&plans) {
        let memory = piece.output.memory(result);
        plan.write(ctx, &mut stage.b, expr, std::slice::from_ref(&piece.output), &[memory])?;
    }
    stages.stages.push(stage.finish());
    Ok(())
}
