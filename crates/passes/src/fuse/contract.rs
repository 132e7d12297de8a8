//! What lowering relies on, checked for every kernel that fusion forms.
//!
//! The rules are those of docs/ir.md, stated on bodies and not on how bodies came to be:
//!
//! - bodies hold splat constants, `iota`, `random`, elementwise operations, `broadcast`,
//!   `transpose`, `slice` and `windows`, and what their kind adds;
//! - `map`: all results have one shape; a `concat`, `pad` or `fold` only as the node of the only
//!   result;
//! - `reduce`: all reductions take values of one full shape `S` along the same axes; a value that
//!   depends on a reduction is read at its own index alone, or spread from the kept axes along
//!   exactly those; results have the shape `S` or that of the kept axes;
//! - `contraction`: one `dot`, of arguments or their windows, which a transpose may follow that keeps the
//!   last axis last, one of the right operand's, as if both were one operation; a value that depends on it is read at its own index
//!   alone; results have its shape;
//! - `indexed`: one `gather` or `scatter_add`, which is the result, of arguments; what a scatter adds
//!   to may be a constant.

use kilngrad_ir::op::{Axes, KernelKind};
use kilngrad_ir::{Constant, Graph, Node, Op, Shape, Value};
use smallvec::SmallVec;

/// Whether a body keeps the contract of its kind; what it breaks.
///
/// # Errors
///
/// What was expected and what was found.
pub fn check(kind: KernelKind, body: &Graph) -> Result<(), String> {
    for (_, node) in body.nodes() {
        allowed(kind, body, node)?;
    }
    match kind {
        KernelKind::Map => check_map(body),
        KernelKind::Reduce => check_reduce(body),
        KernelKind::Contraction => check_contraction(body),
        KernelKind::Indexed => check_indexed(body),
    }
}

fn allowed(kind: KernelKind, body: &Graph, node: &Node) -> Result<(), String> {
    let fits = match &node.op {
        Op::Constant(Constant::Splat(_))
        | Op::Iota { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Broadcast { .. }
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Windows(_) => true,
        Op::Random { .. } => node.operands.iter().all(|value| is_argument(body, *value)),
        Op::Pad(_) | Op::Concat { .. } | Op::Fold(_) => {
            kind == KernelKind::Map
                && body.results() == [node.result()]
                && body.use_counts()[node.result().index()] == 1
        }
        Op::Reduce { .. } | Op::ArgReduce { .. } => kind == KernelKind::Reduce,
        Op::Dot(_) => {
            let lies = |value: &Value| match body.defining_node(*value) {
                None => true,
                Some(from) => {
                    matches!(from.op, Op::Windows(_)) && is_argument(body, from.operands[0])
                }
            };
            kind == KernelKind::Contraction && node.operands.iter().all(lies)
        }
        Op::Gather { .. } | Op::ScatterAdd { .. } | Op::Argsort { .. } => {
            let is_splat = |value: &Value| {
                let from = body.defining_node(*value);
                from.is_some_and(|from| matches!(from.op, Op::Constant(Constant::Splat(_))))
            };
            let mut operands = node.operands.iter().enumerate();
            let scatters = matches!(node.op, Op::ScatterAdd { .. });
            kind == KernelKind::Indexed
                && operands.all(|(position, value)| {
                    is_argument(body, *value) || (scatters && position == 0 && is_splat(value))
                })
        }
        Op::Constant(Constant::Dense(_))
        | Op::State(_)
        | Op::Dimension(_)
        | Op::Reshape
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => false,
    };
    let name = body.name(node.results[0]);
    fits.then_some(()).ok_or_else(|| {
        format!("expected no such {} in a {}, found {name}", node.op.name(), kind.name())
    })
}

fn is_argument(body: &Graph, value: Value) -> bool {
    body.defining_node(value).is_none()
}

fn check_map(body: &Graph) -> Result<(), String> {
    let shape = &body.ty(body.results()[0]).shape;
    results_have(body, |found| found == shape, shape)
}

fn results_have(
    body: &Graph,
    fits: impl Fn(&Shape) -> bool,
    expected: &Shape,
) -> Result<(), String> {
    for &result in body.results() {
        let ty = body.ty(result);
        if !fits(&ty.shape) {
            let name = body.name(result);
            return Err(format!("expected a result of shape {expected}, found {name} of {ty}"));
        }
    }
    Ok(())
}

/// Where a value that depends on a reduction or contraction lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Full,
    Kept,
}

fn check_reduce(body: &Graph) -> Result<(), String> {
    let mut reductions = body.nodes().filter_map(|(_, node)| {
        reduced(node).map(|axes| (body.ty(node.operands[0]).shape.clone(), axes))
    });
    let Some((full, axes)) = reductions.next() else {
        return Err("expected a reduction, found none".into());
    };
    if let Some((shape, other)) = reductions.find(|(shape, other)| *shape != full || *other != axes)
    {
        return Err(format!(
            "expected reductions of {full} along {axes:?}, found one of {shape} along {other:?}"
        ));
    }
    let kept: Axes = (0..full.rank()).filter(|axis| !axes.contains(axis)).collect();
    let small = full.without(&axes);
    dependents(body, |node, operands| {
        if reduced(node).is_some() {
            let fits = operands.iter().all(|space| space.is_none_or(|space| space == Space::Full));
            return fits.then_some(Space::Kept);
        }
        if let Op::Broadcast { dims } = &node.op {
            let spread = *dims == kept && body.ty(node.result()).shape == full;
            return (spread && operands[0] == Some(Space::Kept)).then_some(Space::Full);
        }
        at_one_index(node, operands)
    })?;
    results_have(body, |found| *found == full || *found == small, &full)
}

/// The axes that a node reduces, if it is a reduction.
pub(super) fn reduced(node: &Node) -> Option<Axes> {
    if let Op::Reduce { axes, .. } = &node.op {
        return Some(axes.clone());
    }
    let Op::ArgReduce { axis, .. } = &node.op else { return None };
    Some(SmallVec::from_slice(&[*axis]))
}

fn check_indexed(body: &Graph) -> Result<(), String> {
    let is_indexed =
        |op: &Op| matches!(op, Op::Gather { .. } | Op::ScatterAdd { .. } | Op::Argsort { .. });
    let mut picks = body.nodes().filter(|(_, node)| is_indexed(&node.op));
    let alone = body.nodes().filter(|(_, node)| !matches!(node.op, Op::Constant(_))).count() == 1;
    match (picks.next(), body.results()) {
        (Some((_, node)), [result]) if alone && node.result() == *result => Ok(()),
        _ => Err("expected one gather, scatter_add or argsort, which is the result".into()),
    }
}

fn check_contraction(body: &Graph) -> Result<(), String> {
    let mut dots = body.nodes().filter(|(_, node)| matches!(node.op, Op::Dot(_)));
    let (Some((_, dot)), None) = (dots.next(), dots.next()) else {
        return Err("expected one dot".into());
    };
    let mut placed = dot.result();
    if body.use_counts()[placed.index()] == 1
        && let Some((_, node)) = body.nodes().find(|(_, node)| node.operands.contains(&placed))
        && places(body, node)
    {
        placed = node.result();
    }
    dependents(body, |node, operands| {
        let begins = matches!(node.op, Op::Dot(_)) || node.results.contains(&placed);
        if begins { Some(Space::Full) } else { at_one_index(node, operands) }
    })?;
    let shape = &body.ty(placed).shape;
    results_have(body, |found| found == shape, shape)
}

/// Whether a node transposes a contraction such that columns, axes of the right operand, stay side
/// by side: its kernel may write the sums where they belong.
pub(super) fn places(graph: &Graph, node: &Node) -> bool {
    let Op::Transpose { permutation } = &node.op else { return false };
    let Some(Node { op: Op::Dot(axes), operands, .. }) = graph.defining_node(node.operands[0])
    else {
        return false;
    };
    let Some(last) = permutation.len().checked_sub(1) else { return false };
    permutation[last] == last
        && !axes.rhs_free(graph.ty(operands[1]).rank()).is_empty()
        && graph.ty(node.result()).shape.dims()[last].as_constant() != Some(1)
}

/// The space of an elementwise operation on dependent operands, which must agree; `None` for
/// operations that read at another index.
fn at_one_index(node: &Node, operands: &[Option<Space>]) -> Option<Space> {
    let elementwise =
        matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast);
    let mut spaces = operands.iter().flatten();
    let first = *spaces.next()?;
    (elementwise && spaces.all(|space| *space == first)).then_some(first)
}

/// Walks the body with the spaces of values that depend on its reductions or contraction.
/// `space_of` is asked for those, and for the reductions and the contraction themselves.
fn dependents(
    body: &Graph,
    space_of: impl Fn(&Node, &[Option<Space>]) -> Option<Space>,
) -> Result<(), String> {
    let mut spaces: Vec<Option<Space>> = vec![None; body.value_count()];
    for (_, node) in body.nodes() {
        let operands: SmallVec<[Option<Space>; 3]> =
            node.operands.iter().map(|value| spaces[value.index()]).collect();
        let begins = reduced(node).is_some() || matches!(node.op, Op::Dot(_));
        if !begins && operands.iter().all(Option::is_none) {
            continue;
        }
        let Some(space) = space_of(node, &operands) else {
            let name = body.name(node.result());
            return Err(format!(
                "expected values that depend on a reduction or contraction to be read at their \
                 own index, found {} at {name}",
                node.op.name()
            ));
        };
        spaces[node.result().index()] = Some(space);
    }
    Ok(())
}
