//! Indexed kernels: slices of a tensor that indices pick, read (`gather`) or added to
//! (`scatter_add`).
//!
//! A tensor is seen as `outer × length × inner` around the axis that is picked along, the picked
//! slices as `outer × count × inner`. For each index one iteration over `length` is picked, which
//! the loop IR clamps, so every address is proved whatever the indices are; within it, a row of
//! `inner` elements is copied or added.
//!
//! Chunks split what no index reaches across: `outer` or, of a gather, the indices, of a scatter,
//! the rows' elements. So the order in which slices are added to an element is that of the indices
//! with any number of chunks.

use kilngrad_ir::{Constant, DType, Graph, Literal, Node, Op, Value};
use kilngrad_loops::{Access, Affine, BinaryInst, Buffer, KernelBuilder, RegType, Scalar};

use crate::lanes::{memory_scalar, packs};
use crate::space::{Split, repeat};
use crate::stage::{Param, StageBuilder, Stages};
use crate::{Context, LowerError};

/// Vectors of a row that are written without a loop between them.
const UNROLL: usize = 4;

/// Lowers an indexed kernel.
///
/// # Errors
///
/// If the body holds what an indexed kernel may not.
pub(crate) fn lower_indexed(ctx: &Context<'_>) -> Result<Stages, LowerError> {
    let graph = &ctx.kernel.body;
    let pick = graph
        .nodes()
        .map(|(_, node)| node)
        .find(|node| matches!(node.op, Op::Gather { .. } | Op::ScatterAdd { .. }));
    let node = pick.ok_or(LowerError::Body { op: "no gather or scatter_add" })?;
    let (Op::Gather { axis } | Op::ScatterAdd { axis }) = node.op else {
        return Err(LowerError::Body { op: node.op.name() });
    };
    let scatters = matches!(node.op, Op::ScatterAdd { .. });
    let problem = Problem::new(ctx, graph, node, axis, scatters)?;
    if problem.result_elements() == 0 {
        return Ok(Stages::default());
    }
    Ok(Stages::one(if scatters { problem.scatter(ctx)? } else { problem.gather(ctx)? }))
}

/// What is picked from what.
struct Problem<'g> {
    graph: &'g Graph,
    node: &'g Node,
    dtype: DType,
    outer: usize,
    length: usize,
    inner: usize,
    count: usize,
    split: Split,
    lanes: u8,
}

/// The loops that chunks may split.
const OUTER: usize = 0;
const COUNT: usize = 1;
const INNER: usize = 2;

impl<'g> Problem<'g> {
    fn new(
        ctx: &Context<'_>,
        graph: &'g Graph,
        node: &'g Node,
        axis: usize,
        scatters: bool,
    ) -> Result<Problem<'g>, LowerError> {
        let shape = |value: Value| {
            let ty = graph.ty(value);
            ty.shape.as_constant().ok_or_else(|| LowerError::Shape { ty: ty.to_string() })
        };
        let lengths = shape(node.operands[0])?;
        let dtype = graph.ty(node.operands[0]).dtype;
        let lanes = if packs(dtype) { ctx.machine.lanes(dtype).min(16 / dtype.size()) } else { 1 };
        let mut problem = Problem {
            graph,
            node,
            dtype,
            outer: lengths[..axis].iter().product(),
            length: lengths[axis],
            inner: lengths[axis + 1..].iter().product(),
            count: shape(node.operands[1])?.iter().product(),
            split: Split::WHOLE,
            lanes: lanes as u8,
        };
        let rows = if scatters { problem.length + problem.count } else { problem.count };
        let work = problem.outer.saturating_mul(rows).saturating_mul(problem.inner);
        let extents = [problem.outer, problem.count, problem.inner];
        let may_split: &[usize] = if scatters { &[OUTER, INNER] } else { &[OUTER, COUNT] };
        for &group in may_split {
            // Parts of rows are whole vectors, or rows are not split.
            let unit = if group == INNER { UNROLL * lanes } else { 1 };
            let parts = extents[group] / unit;
            let most = Split::wanted(ctx.machine, work).min(parts).max(1);
            let fits = |chunks: &usize| extents[group].is_multiple_of(chunks * unit);
            let chunks = (1..=most).rev().find(fits).unwrap_or(1);
            if chunks > problem.split.chunks {
                problem.split = Split { group, chunks };
            }
        }
        Ok(problem)
    }

    fn result_elements(&self) -> usize {
        let middle =
            if matches!(self.node.op, Op::Gather { .. }) { self.count } else { self.length };
        self.outer * middle * self.inner
    }

    fn gather(&self, ctx: &Context<'_>) -> Result<crate::stage::Stage, LowerError> {
        let mut stage = StageBuilder::new(ctx.name, self.split.chunks);
        let from = self.argument(&mut stage, 0)?;
        let indices = self.argument(&mut stage, 1)?;
        let to = self.result(&mut stage, self.count);
        self.picks(&mut stage.b, indices, |b, row, slice| {
            self.along_row(b, |b, at, lanes| {
                let value = b.load(from, row.add(at), lanes);
                b.store(to, slice.add(at), value);
            })
        })?;
        Ok(stage.finish())
    }

    fn scatter(&self, ctx: &Context<'_>) -> Result<crate::stage::Stage, LowerError> {
        let mut stage = StageBuilder::new(ctx.name, self.split.chunks);
        let start = match self.splat() {
            Some(literal) => Start::Splat(literal),
            None => Start::Memory(self.argument(&mut stage, 0)?),
        };
        let indices = self.argument(&mut stage, 1)?;
        let slices = self.argument(&mut stage, 2)?;
        let sums = self.result(&mut stage, self.length);
        let b = &mut stage.b;
        let (first, outer) = self.split.part(OUTER, self.outer);
        repeat(b, outer, |b, o| {
            repeat(b, self.length, |b, l| {
                let row = self.row(&first.add(&o), self.length, &l);
                self.along_row(b, |b, at, lanes| {
                    let value = start.value(b, self.dtype, row.add(at), lanes);
                    b.store(sums, row.add(at), value);
                })
            })
        })?;
        self.picks(b, indices, |b, row, slice| {
            self.along_row(b, |b, at, lanes| {
                let sum = b.load(sums, row.add(at), lanes);
                let value = b.load(slices, slice.add(at), lanes);
                let sum = b.binary(BinaryInst::Add, sum, value);
                b.store(sums, row.add(at), sum);
            })
        })?;
        Ok(stage.finish())
    }

    /// Loops over the indices. The body gets where the picked row begins in the tensor, and where
    /// the index's slice does.
    fn picks(
        &self,
        b: &mut KernelBuilder,
        indices: Buffer,
        mut body: impl FnMut(&mut KernelBuilder, &Affine, &Affine) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let (first_outer, outer) = self.split.part(OUTER, self.outer);
        let (first_index, count) = self.split.part(COUNT, self.count);
        repeat(b, outer, |b, o| {
            let o = first_outer.add(&o);
            repeat(b, count, |b, c| {
                let c = first_index.add(&c);
                let index = b.load(indices, c.clone(), 1);
                b.pick(index, self.length, |b, l| {
                    let row = self.row(&o, self.length, &Affine::var(l));
                    body(b, &row, &self.row(&o, self.count, &c))
                })
            })
        })?;
        Ok(())
    }

    /// Where row `middle` of `outer × extent × inner` begins, for the part of a row that is the
    /// chunk's.
    fn row(&self, outer: &Affine, extent: usize, middle: &Affine) -> Affine {
        let inner = self.inner as i64;
        let (start, _) = self.split.part(INNER, self.inner);
        outer.scaled(extent as i64 * inner).add(&middle.scaled(inner)).add(&start)
    }

    /// Runs `body` over the chunk's part of a row: vectors, several at a time, then what is left.
    fn along_row(
        &self,
        b: &mut KernelBuilder,
        mut body: impl FnMut(&mut KernelBuilder, &Affine, u8),
    ) -> Result<(), LowerError> {
        let (_, extent) = self.split.part(INNER, self.inner);
        let lanes = usize::from(self.lanes);
        let block = UNROLL * lanes;
        let blocks = extent / block;
        repeat(b, blocks, |b, i| {
            for vector in 0..UNROLL {
                let at = i.scaled(block as i64).offset((vector * lanes) as i64);
                body(b, &at, self.lanes);
            }
            Ok(())
        })?;
        let mut at = blocks * block;
        while at + lanes <= extent {
            body(b, &Affine::constant(at as i64), self.lanes);
            at += lanes;
        }
        for rest in at..extent {
            body(b, &Affine::constant(rest as i64), 1);
        }
        Ok(())
    }

    fn argument(&self, stage: &mut StageBuilder, operand: usize) -> Result<Buffer, LowerError> {
        let value = self.node.operands[operand];
        let at = self.graph.arguments().iter().position(|argument| *argument == value);
        let at = at.ok_or(LowerError::Unbound)?;
        let ty = self.graph.ty(value);
        let len = ty.element_count().ok_or_else(|| LowerError::Shape { ty: ty.to_string() })?;
        Ok(stage.param(Param::Argument(at), memory_scalar(ty.dtype), len, Access::Read))
    }

    fn result(&self, stage: &mut StageBuilder, middle: usize) -> Buffer {
        let len = self.outer * middle * self.inner;
        stage.param(Param::Result(0), memory_scalar(self.dtype), len, Access::Write)
    }

    /// The constant that a scatter adds to, if it is one.
    fn splat(&self) -> Option<Literal> {
        let node = self.graph.defining_node(self.node.operands[0])?;
        let Op::Constant(Constant::Splat(literal)) = node.op else { return None };
        Some(literal)
    }
}

/// What slices are added to.
enum Start {
    Memory(Buffer),
    Splat(Literal),
}

impl Start {
    fn value(
        &self,
        b: &mut KernelBuilder,
        dtype: DType,
        at: Affine,
        lanes: u8,
    ) -> kilngrad_loops::Reg {
        match self {
            Start::Memory(buffer) => b.load(*buffer, at, lanes),
            Start::Splat(literal) => {
                let scalar: Scalar = memory_scalar(dtype);
                b.constant(RegType::Number { scalar, lanes }, literal.bits())
            }
        }
    }
}
