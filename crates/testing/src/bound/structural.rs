//! Bounds of operations that move and combine elements: the same operations on the bounds.

use kilngrad_interp::{Array, InterpError, States, eval_node};
use kilngrad_ir::op::{Axes, DotAxes, ReduceOp, Window};
use kilngrad_ir::{Bindings, Graph, Literal, NodeId, Op, Origin, Type};

use super::{Bounded, SUM_F64, as_f64, underflow, unit};

/// A node and what it is evaluated in.
pub(super) struct Node<'n> {
    pub(super) graph: &'n Graph,
    pub(super) id: NodeId,
    pub(super) bindings: &'n Bindings,
    pub(super) states: &'n States,
}

impl Node<'_> {
    fn op(&self) -> &Op {
        &self.graph.node(self.id).op
    }

    /// The node's operands and result, but with `op` on these arrays, giving `f64`.
    fn eval(&self, op: Op, operands: &[Array]) -> Result<Vec<f64>, InterpError> {
        let node = self.graph.node(self.id);
        let mut graph = Graph::new();
        let arguments: Vec<_> = node
            .operands
            .iter()
            .zip(operands)
            .map(|(operand, array)| self.graph.ty(*operand).with_dtype(array.dtype()))
            .map(|ty| graph.add_numbered_argument(ty))
            .collect();
        let ty: Type = as_f64(self.graph.ty(node.result()));
        let id = graph.append_unchecked(op, &arguments, &[ty], Origin::unknown());
        let result = eval_node(&graph, id, operands, self.bindings, self.states)?;
        Ok(result[0].to_f64_vec())
    }
}

/// Bounds move as the elements do.
pub(super) fn moved(node: &Node<'_>, operands: &[&Bounded]) -> Result<Vec<f64>, InterpError> {
    let errors: Vec<Array> = operands
        .iter()
        .map(|operand| like(&operand.value, operand.error.iter().copied()))
        .collect();
    node.eval(node.op().clone(), &errors)
}

/// Bounds go where indices send the elements, and nothing is promised where an index may be
/// another.
pub(super) fn gather(
    node: &Node<'_>,
    x: &Bounded,
    indices: &Bounded,
) -> Result<Vec<f64>, InterpError> {
    let errors = like(&x.value, x.error.iter().copied());
    let bounds = node.eval(node.op().clone(), &[errors, indices.value.clone()])?;
    Ok(if sure(indices) { bounds } else { vec![f64::INFINITY; bounds.len()] })
}

/// A sum of as many terms as there are indices, for each element.
pub(super) fn scatter_add(
    node: &Node<'_>,
    [x, indices, slices]: [&Bounded; 3],
    result: &Array,
) -> Result<Vec<f64>, InterpError> {
    let with = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = |terms: &Bounded| {
            let pairs = terms.value.iter().zip(&terms.error);
            like(&terms.value, pairs.map(|(x, error)| of(x.to_f64().abs(), *error)))
        };
        node.eval(node.op().clone(), &[terms(x), indices.value.clone(), terms(slices)])
    };
    if !sure(indices) {
        return Ok(vec![f64::INFINITY; result.len()]);
    }
    let errors = with(&|_, error| error)?;
    let sizes = with(&|size, error| size + error)?;
    let relative = sum(indices.value.len() + 1, unit(result.dtype()));
    let bounds = errors.iter().zip(sizes).map(|(error, size)| error + relative * size).collect();
    let exact = x.error.iter().chain(&slices.error).all(|error| *error == 0.0);
    Ok(special(result, bounds, exact))
}

/// A sum of at most as many terms as a window has elements, for each element.
pub(super) fn fold(
    node: &Node<'_>,
    windows: &[Window],
    x: &Bounded,
    result: &Array,
) -> Result<Vec<f64>, InterpError> {
    let with = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = x.value.iter().zip(&x.error).map(|(x, error)| of(x.to_f64().abs(), *error));
        node.eval(node.op().clone(), &[like(&x.value, terms)])
    };
    let terms = windows.iter().map(|window| window.size).product();
    let relative = sum(terms, unit(result.dtype()));
    let (errors, sizes) = (with(&|_, error| error)?, with(&|size, error| size + error)?);
    let bounds = errors.iter().zip(sizes).map(|(error, size)| error + relative * size).collect();
    Ok(special(result, bounds, x.error.iter().all(|error| *error == 0.0)))
}

fn sure(indices: &Bounded) -> bool {
    indices.error.iter().all(|error| *error == 0.0)
}

pub(super) fn reduce(
    node: &Node<'_>,
    op: ReduceOp,
    axes: &Axes,
    x: &Bounded,
    result: &Array,
) -> Result<Vec<f64>, InterpError> {
    let dtype = result.dtype();
    let terms: usize = axes.iter().map(|axis| x.value.shape()[*axis]).product();
    let with = |op, array| node.eval(Op::Reduce { op, axes: axes.clone() }, &[array]);
    let sizes = || like(&x.value, x.value.iter().map(|x| x.to_f64().abs()));
    let reach = || {
        let sums = x.value.iter().zip(&x.error).map(|(x, error)| x.to_f64().abs() + error);
        like(&x.value, sums)
    };
    let errors = like(&x.value, x.error.iter().copied());
    let bounds = match op {
        ReduceOp::Sum => {
            let (errors, sizes) = (with(op, errors)?, with(op, reach())?);
            let relative = sum(terms, unit(dtype));
            errors.iter().zip(sizes).map(|(error, size)| error + relative * size).collect()
        }
        ReduceOp::Prod => {
            let (most, least) = (with(op, reach())?, with(op, sizes())?);
            let relative = 4.0 * (terms as f64 + 1.0) * unit(dtype);
            // A product of many may underflow on the way and grow again.
            let floor = underflow(dtype) * 1e8;
            let pairs = most.iter().zip(least);
            pairs.map(|(most, least)| (most - least).max(0.0) + relative * most + floor).collect()
        }
        ReduceOp::Max | ReduceOp::Min => {
            let errors = with(ReduceOp::Max, errors)?;
            errors.into_iter().map(|error| error.max(0.0)).collect()
        }
    };
    Ok(special(result, bounds, x.error.iter().all(|error| *error == 0.0)))
}

pub(super) fn dot(
    node: &Node<'_>,
    axes: &DotAxes,
    lhs: &Bounded,
    rhs: &Bounded,
    result: &Array,
) -> Result<Vec<f64>, InterpError> {
    let dtype = result.dtype();
    let terms: usize = axes.lhs_contract.iter().map(|axis| lhs.value.shape()[*axis]).product();
    let with = |lhs: Array, rhs: Array| node.eval(Op::Dot(axes.clone()), &[lhs, rhs]);
    let sizes = |x: &Bounded| like(&x.value, x.value.iter().map(|x| x.to_f64().abs()));
    let errors = |x: &Bounded| like(&x.value, x.error.iter().copied());
    let relative = sum(terms, unit(dtype));
    // |a|·e(b) + e(a)·|b| + e(a)·e(b), and the roundings of the sum itself.
    let parts = [
        with(sizes(lhs), errors(rhs))?,
        with(errors(lhs), sizes(rhs))?,
        with(errors(lhs), errors(rhs))?,
    ];
    let size = with(sizes(lhs), sizes(rhs))?;
    let bounds = (0..size.len()).map(|index| {
        let propagated: f64 = parts.iter().map(|part| part[index]).sum();
        (1.0 + relative) * propagated + relative * size[index] + underflow(dtype) * terms as f64
    });
    let exact = lhs.error.iter().chain(&rhs.error).all(|error| *error == 0.0);
    Ok(special(result, bounds.collect(), exact))
}

/// Relative to the terms' magnitudes: a rounding for each term and two for products, by both ways
/// of computing.
fn sum(terms: usize, unit: f64) -> f64 {
    let bound = 2.0 * (terms as f64 + 2.0) * unit;
    if unit == f64::EPSILON / 2.0 { bound.min(SUM_F64) } else { bound }
}

/// Nothing is promised of a result that is not finite, unless its operands are exact and it is not
/// by overflow, which the interpreter's wider sums may avoid.
fn special(result: &Array, bounds: Vec<f64>, exact: bool) -> Vec<f64> {
    let finite = |x: Literal| x.to_f64().is_finite();
    let each = result.iter().zip(bounds);
    let mend = |(x, bound): (Literal, f64)| match (finite(x), exact && x.to_f64().is_nan()) {
        (true, _) => bound,
        (false, true) => 0.0,
        (false, false) => f64::INFINITY,
    };
    each.map(mend).collect()
}

/// An `f64` array of another's shape.
fn like(array: &Array, elements: impl Iterator<Item = f64>) -> Array {
    Array::from_elements(array.shape(), elements.collect()).expect("an element for each element")
}
