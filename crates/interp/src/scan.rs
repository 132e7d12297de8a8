//! Loops over a region: iterations in order, slices in and stacks out.

use std::borrow::Cow;

use kilngrad_ir::op::Scan;
use kilngrad_ir::{Dim, Graph, Node};
use ndarray::{ArrayD, Axis, IxDyn};

use crate::array::{Array, for_any};
use crate::bind::{bound_type, value};
use crate::element::Element;
use crate::error::InterpError;
use crate::eval::{Env, broken_rule};

/// What the iterations of a scan give: the carries' last values, and for each stack its slices by
/// index.
#[derive(Debug)]
pub(crate) struct Iterated<T> {
    pub(crate) carries: Vec<T>,
    pub(crate) slices: Vec<Vec<T>>,
}

/// Runs the iterations of a scan. `slice` takes what is at an index of an operand, `run` computes
/// the region of its arguments at an index.
pub(crate) fn iterate<'a, T: Clone>(
    scan: &Scan,
    length: usize,
    operands: &[&'a T],
    slice: impl Fn(&T, usize) -> T,
    mut run: impl FnMut(usize, Vec<Cow<'a, T>>) -> Result<Vec<T>, InterpError>,
) -> Result<Iterated<T>, InterpError> {
    let mut carries: Vec<T> = scan.carry_operands().map(|at| operands[at].clone()).collect();
    // They grow as iterations give slices: a length is no more than what a file states.
    let mut slices = vec![Vec::new(); scan.stacked_results().len()];
    for step in 0..length {
        let index = if scan.reverse { length - 1 - step } else { step };
        let constants = scan.const_operands().map(|at| Cow::Borrowed(operands[at]));
        let slices_in = scan.scanned_operands().map(|at| slice(operands[at], index));
        let own = carries.drain(..).chain(slices_in).map(Cow::Owned);
        let mut results = run(index, constants.chain(own).collect())?;
        for (stack, result) in slices.iter_mut().zip(results.drain(scan.carries..)) {
            stack.push(result);
        }
        carries = results;
    }
    if scan.reverse {
        slices.iter_mut().for_each(|stack| stack.reverse());
    }
    Ok(Iterated { carries, slices })
}

/// The number of iterations, checked against what is scanned, and the shapes of the stacks.
pub(crate) fn bound_lengths(
    env: Env<'_>,
    graph: &Graph,
    node: &Node,
    scan: &Scan,
) -> Result<(usize, Vec<Vec<usize>>), InterpError> {
    let broken = |error| broken_rule(graph, node, error);
    let length = value(&scan.length, env.bindings).map_err(broken)?;
    let mut shapes = Vec::new();
    for &result in &node.results {
        let ty = bound_type(graph.ty(result), env.bindings).map_err(broken)?;
        shapes.push(ty.shape.as_constant().expect("a bound type has no symbol"));
    }
    shapes.drain(..scan.carries);
    let length = usize::try_from(length).map_err(|_| {
        let message =
            format!("expected at least 0 iterations, found {}", shown(&scan.length, length));
        broken(kilngrad_ir::infer::RuleError { rule: "scan_c5", message })
    })?;
    Ok((length, shapes))
}

fn shown(dim: &Dim, value: i64) -> String {
    if dim.as_constant().is_some() { dim.to_string() } else { format!("{dim} = {value}") }
}

/// What is at an index of the first axis.
pub(crate) fn slice(array: &Array, index: usize) -> Array {
    fn of<T: Element>(array: &ArrayD<T>, index: usize) -> Array {
        array.index_axis(Axis(0), index).as_standard_layout().into_owned().into()
    }
    for_any!(array, array => of(array, index))
}

/// Slices one behind the other along a new first axis.
pub(crate) fn stack(slices: &[Array], dtype: kilngrad_ir::DType, shape: &[usize]) -> Array {
    let bytes: Vec<u8> = slices.iter().flat_map(Array::to_bytes).collect();
    Array::from_bytes(dtype, shape, &bytes).expect("slices fill the stack")
}

/// Magnitudes of slices along a new first axis.
pub(crate) fn stack_magnitudes(slices: Vec<ArrayD<f64>>, shape: &[usize]) -> ArrayD<f64> {
    let elements = slices.into_iter().flatten().collect();
    ArrayD::from_shape_vec(IxDyn(shape), elements).expect("slices fill the stack")
}
