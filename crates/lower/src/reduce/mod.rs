//! Reductions with what is fused before, between and after them.
//!
//! All reductions of a kernel reduce the same axes of one index space. Those that depend on no
//! other are the first phase, those that depend on the first the second, and so on: softmax has
//! two, the maximum and the sum. There are three ways through the space:
//!
//! - by *rows* ([`row`]), where the vector axis is reduced: for each kept index all phases in
//!   order, each a loop over the row with accumulators in registers;
//! - by *columns* ([`column`]), where the vector axis is kept: for a block of columns all phases
//!   in order, each a loop over rows with accumulators in memory;
//! - in *stages* ([`staged`]): for each phase kernels of their own, whose results are stored. This
//!   is how reductions over few kept elements run in several chunks: each chunk reduces its part,
//!   and a second kernel combines the parts. It is also the way for a body that reads reductions
//!   at other indices than its own.
//!
//! Values of the whole space that a later phase needs again are computed again, unless that is
//! expensive and a row fits scratch memory.
//!
//! Empty and single elements need no loop: the identity, and the element itself.

mod column;
mod combine;
mod row;
mod staged;

use std::collections::BTreeMap;

use kilngrad_ir::op::{Axes, BinaryOp, Op};
use kilngrad_ir::{DType, Graph, Literal, Node, Value};
use kilngrad_loops::Scalar;

use crate::expr::{AccessKind, Coords, Expr, Source, axis_coords, axis_strides, row_major};
use crate::lanes::memory_scalar;
use crate::map::map_results;
use crate::space::{Space, Split, Strided};
use crate::stage::Stages;
use crate::{Context, LowerError};

use combine::Combine;

/// Lowers a reduce kernel.
///
/// # Errors
///
/// If the body holds what a reduce kernel may not.
pub(crate) fn lower_reduce(ctx: &Context<'_>) -> Result<Stages, LowerError> {
    let graph = &ctx.kernel.body;
    let mut problem = Problem::new(graph)?;
    let reduced: usize = problem.lengths(true).product();
    let elements: usize = problem.shape.iter().product();
    if reduced == 1 {
        // Expressions see through reductions of single elements.
        return mapped(ctx, &mut problem);
    }
    problem.bind_identities();
    if elements == 0 {
        return mapped(ctx, &mut problem);
    }
    let accesses = problem.accesses()?;
    let target = problem.target(ctx);
    let space = Space::new(&problem.shape, &problem.reduced, &accesses.merging);
    let vector = space.vector_group(target.lanes, &accesses.costing);
    let work = elements.saturating_mul(problem.cost()?.max(1));
    let wanted = Split::wanted(ctx.machine, work);
    let split = space.split(
        wanted,
        |group| !space.groups[group].label,
        |group| column::unit(Some(group) == vector),
    );
    let serial = wanted >= 8 && split.chunks * 4 <= wanted;
    if serial || !problem.is_local()? {
        return staged::lower(ctx, &mut problem);
    }
    let by_columns = vector.is_some_and(|group| !space.groups[group].label);
    let plan = Plan { space, vector, split, target };
    if by_columns {
        column::lower(ctx, &mut problem, &plan)
    } else {
        row::lower(ctx, &mut problem, &plan)
    }
}

/// The loops of a kernel.
struct Plan {
    space: Space,
    vector: Option<usize>,
    split: Split,
    target: crate::code::Target,
}

impl Plan {
    /// The kept groups but one, in order.
    fn kept_groups(&self, but: Option<usize>) -> Vec<usize> {
        let kept = |group: &usize| !self.space.groups[*group].label && Some(*group) != but;
        (0..self.space.groups.len()).filter(kept).collect()
    }

    /// The reduced groups in order, with `last` at the end if it is one.
    fn reduced_groups(&self, last: Option<usize>) -> Vec<usize> {
        let reduced = |group: &usize| self.space.groups[*group].label;
        let mut groups: Vec<usize> = (0..self.space.groups.len()).filter(reduced).collect();
        if let Some(at) = groups.iter().position(|group| Some(*group) == last) {
            let last = groups.remove(at);
            groups.push(last);
        }
        groups
    }
}

/// A reduction of the body.
#[derive(Debug, Clone)]
struct Reduction {
    value: Value,
    operand: Value,
    /// The factors, where the sum is of a product that nothing else needs.
    factors: Option<[Value; 2]>,
    combine: Combine,
    /// Of the elements.
    dtype: DType,
    /// The axis whose index is wanted.
    axis: Option<usize>,
    phase: usize,
}

/// A result of the kernel.
#[derive(Debug, Clone, Copy)]
struct Output {
    /// Position among the results.
    at: usize,
    value: Value,
    /// Whether it has the shape of the whole space; else it is kept.
    full: bool,
    /// The first phase whose predecessors compute all it needs.
    phase: usize,
}

/// What a reduce kernel computes.
struct Problem<'a> {
    expr: Expr<'a>,
    /// The whole index space.
    shape: Vec<usize>,
    /// Whether each axis is reduced.
    reduced: Vec<bool>,
    reductions: Vec<Reduction>,
    outputs: Vec<Output>,
    phases: usize,
}

/// Accesses of a body, as spaces see them.
struct Accesses {
    /// All of them: axes are merged where they allow it.
    merging: Vec<Strided>,
    /// Those that happen for each element, which decide the vector axis.
    costing: Vec<Strided>,
    /// What is read.
    used: Vec<Value>,
}

impl<'a> Problem<'a> {
    fn new(graph: &'a Graph) -> Result<Problem<'a>, LowerError> {
        let expr = Expr::new(graph)?;
        let mut levels = vec![0; graph.value_count()];
        let mut reductions: Vec<Reduction> = Vec::new();
        let mut space: Option<(Vec<usize>, Axes)> = None;
        for (_, node) in graph.nodes() {
            let level = node.operands.iter().map(|value| levels[value.index()]).max().unwrap_or(0);
            let reduction = reduction_of(&expr, node, level);
            let above = usize::from(reduction.is_some());
            node.results.iter().for_each(|value| levels[value.index()] = level + above);
            let Some((reduction, axes)) = reduction else { continue };
            let this = (expr.shape(reduction.operand).to_vec(), axes);
            if space.get_or_insert_with(|| this.clone()) != &this {
                return Err(LowerError::Body { op: "reductions over different spaces" });
            }
            reductions.push(reduction);
        }
        let (shape, axes) = space.ok_or(LowerError::Body { op: "no reduction" })?;
        let phases = 1 + reductions.iter().map(|reduction| reduction.phase).max().unwrap_or(0);
        let outputs = graph.results().iter().enumerate().map(|(at, &value)| Output {
            at,
            value,
            full: expr.shape(value) == shape,
            phase: levels[value.index()],
        });
        let outputs = outputs.collect();
        let reduced = (0..shape.len()).map(|axis| axes.contains(&axis)).collect();
        Ok(Problem { expr, shape, reduced, reductions, outputs, phases })
    }

    /// Lengths of the reduced axes, or of the kept ones.
    fn lengths(&self, reduced: bool) -> impl Iterator<Item = usize> + '_ {
        let lengths = self.shape.iter().zip(&self.reduced);
        lengths.filter(move |(_, is)| **is == reduced).map(|(length, _)| *length)
    }

    /// The kept axes of an index of the whole space.
    fn kept(&self, coords: &Coords) -> Coords {
        let axes = coords.iter().zip(&self.reduced);
        axes.filter(|(_, reduced)| !**reduced).map(|(at, _)| at.clone()).collect()
    }

    /// Strides along all axes from those along the kept ones.
    fn spread(&self, kept: &[i64]) -> smallvec::SmallVec<[i64; 4]> {
        let mut kept = kept.iter();
        let stride = |reduced: &bool| match reduced {
            true => 0,
            false => *kept.next().expect("a stride for each kept axis"),
        };
        self.reduced.iter().map(stride).collect()
    }

    /// Analysis looks at one phase at a time: reductions end an expression.
    fn bind_identities(&mut self) {
        for reduction in &self.reductions {
            let dtype = self.expr.dtype(reduction.value);
            let bits = match reduction.combine {
                Combine::Fold(_) => reduction.combine.identity(dtype)[0],
                Combine::Extreme(..) => 0,
            };
            self.expr.bind(reduction.value, Source::Literal(Literal::from_bits(dtype, bits)));
        }
    }

    /// What one phase evaluates for each element, or all do: operands of reductions, results.
    fn roots(&self, phase: Option<usize>) -> Vec<(Value, Coords)> {
        let full = axis_coords(&self.shape);
        let kept = self.kept(&full);
        let in_phase = |at: usize| phase.is_none_or(|phase| phase == at);
        let reductions = self.reductions.iter().filter(|reduction| in_phase(reduction.phase));
        let mut roots: Vec<(Value, Coords)> =
            reductions.map(|reduction| (reduction.operand, full.clone())).collect();
        for output in self.outputs.iter().filter(|output| in_phase(output.phase)) {
            roots.push((output.value, if output.full { full.clone() } else { kept.clone() }));
        }
        roots
    }

    /// Accesses of all phases and of storing results.
    fn accesses(&mut self) -> Result<Accesses, LowerError> {
        let roots = self.roots(None);
        let mut accesses = self.accesses_of(&roots)?;
        for output in &self.outputs {
            let kind = AccessKind::Store(self.expr.dtype(output.value));
            if output.full {
                let strided = Strided { kind, strides: row_major(&self.shape) };
                accesses.costing.push(strided.clone());
                accesses.merging.push(strided);
            } else {
                let strides = self.spread(&row_major(self.expr.shape(output.value)));
                accesses.merging.push(Strided { kind, strides });
            }
        }
        Ok(accesses)
    }

    /// Accesses of these values, and of reductions' own results and indices.
    fn accesses_of(&mut self, roots: &[(Value, Coords)]) -> Result<Accesses, LowerError> {
        let rank = self.shape.len();
        let loads = self.expr.accesses(roots)?;
        let used = loads.iter().map(|access| access.value).collect();
        let strided = loads
            .iter()
            .map(|access| Strided { kind: access.kind, strides: axis_strides(&access.at, rank) });
        let costing: Vec<Strided> = strided.collect();
        let mut merging = Vec::new();
        // The index of an extreme is an access along its axis.
        for reduction in &self.reductions {
            if let Some(axis) = reduction.axis {
                let strides = (0..rank).map(|at| i64::from(at == axis)).collect();
                merging.push(Strided { kind: AccessKind::Index, strides });
            }
        }
        let kept: Vec<usize> = self.lengths(false).collect();
        let strides = self.spread(&row_major(&kept));
        merging.push(Strided { kind: AccessKind::Index, strides });
        merging.extend(costing.iter().cloned());
        Ok(Accesses { merging, costing, used })
    }

    /// Cost of an element over all phases.
    fn cost(&mut self) -> Result<usize, LowerError> {
        let roots = self.roots(None);
        Ok(self.expr.cost(&roots)? + self.reductions.len())
    }

    /// The widest body in which every reduction has vectors.
    fn target(&self, ctx: &Context<'_>) -> crate::code::Target {
        let target = ctx.target(self.expr.graph());
        let vectors = self.reductions.iter().all(|reduction| match reduction.combine {
            Combine::Fold(_) => reduction.dtype != DType::U8,
            Combine::Extreme(_, index) => index.size() == memory_scalar(reduction.dtype).size(),
        });
        if vectors { target } else { target.scalar() }
    }

    /// Whether every reduction is read at the kept index that its row has.
    fn is_local(&mut self) -> Result<bool, LowerError> {
        let kept = self.kept(&axis_coords(&self.shape));
        let roots = self.roots(None);
        let reads = self.expr.reads(&roots)?;
        let is_reduction =
            |value: Value| self.reductions.iter().any(|reduction| reduction.value == value);
        Ok(reads.iter().all(|(value, coords)| !is_reduction(*value) || *coords == kept))
    }
}

/// The reduction that a node is, if it is one, and its axes.
fn reduction_of(expr: &Expr<'_>, node: &Node, phase: usize) -> Option<(Reduction, Axes)> {
    let (combine, axes, axis) = match &node.op {
        Op::Reduce { op, axes } => (Combine::Fold(*op), axes.clone(), None),
        Op::ArgReduce { op, axis } => {
            let operand = node.operands[0];
            let index = index_scalar(expr.dtype(operand), expr.shape(operand)[*axis]);
            (Combine::Extreme(*op, index), Axes::from_slice(&[*axis]), Some(*axis))
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
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Argsort { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => return None,
    };
    let operand = node.operands[0];
    let reduction = Reduction {
        value: node.result(),
        operand,
        factors: factors(expr.graph(), operand, combine),
        combine,
        dtype: expr.dtype(operand),
        axis,
        phase,
    };
    Some((reduction, axes))
}

/// The type of an extreme's index: as wide as the element if the axis allows it.
fn index_scalar(dtype: DType, length: usize) -> Scalar {
    if memory_scalar(dtype).size() == 4 && i32::try_from(length).is_ok() {
        Scalar::I32
    } else {
        Scalar::I64
    }
}

/// The factors of a product of floats that only a sum needs.
fn factors(graph: &Graph, operand: Value, combine: Combine) -> Option<[Value; 2]> {
    let sums = combine == Combine::Fold(kilngrad_ir::op::ReduceOp::Sum);
    if !sums || !graph.ty(operand).dtype.is_float() || graph.use_counts()[operand.index()] != 1 {
        return None;
    }
    let node = graph.defining_node(operand)?;
    let is_product = matches!(node.op, Op::Binary(BinaryOp::Mul));
    is_product.then(|| [node.operands[0], node.operands[1]])
}

/// Every result by maps, one for each shape.
fn mapped(ctx: &Context<'_>, problem: &mut Problem<'_>) -> Result<Stages, LowerError> {
    let mut stages = Stages::default();
    results_by_shape(ctx, problem, &[], |_| true, &mut stages)?;
    Ok(stages)
}

/// Stages for those results that are wanted, one for each shape, unless it is empty.
fn results_by_shape(
    ctx: &Context<'_>,
    problem: &mut Problem<'_>,
    stored: &[crate::stage::Stored],
    wanted: impl Fn(&Output) -> bool,
    stages: &mut Stages,
) -> Result<(), LowerError> {
    let mut shapes: BTreeMap<Vec<usize>, Vec<(usize, Value)>> = BTreeMap::new();
    for output in problem.outputs.iter().filter(|output| wanted(output)) {
        let shape = problem.expr.shape(output.value).to_vec();
        shapes.entry(shape).or_default().push((output.at, output.value));
    }
    for (shape, results) in shapes {
        if !shape.contains(&0) {
            let name = ctx.stage_name(stages.stages.len());
            let stage = map_results(ctx, &mut problem.expr, &name, stored, &results)?;
            stages.stages.push(stage);
        }
    }
    Ok(())
}
