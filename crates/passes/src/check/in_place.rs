//! When a kernel may write a result over an operand, as its body shows it.
//!
//! A kernel computes results element by element over one index space and reads element `i` of an
//! operand before it writes element `i` of any result. So an operand may be written over if nothing
//! reads it at another index than the one that is written: where its shape is the result's and it is
//! reached through elementwise operations only. A reduction reads its operands more than once, and a
//! contraction reads those of its `dot` for many elements; `concat`, `pad` and what moves elements
//! read at other indices.

use kilngrad_ir::op::KernelKind;
use kilngrad_ir::{Graph, Op, ValueData};

/// By position: whether a body reads the argument through elementwise operations only.
pub(super) fn elementwise_arguments(body: &Graph) -> Vec<bool> {
    let mut elsewhere = vec![false; body.value_count()];
    for (_, node) in body.nodes().rev() {
        let spreads = node.results.iter().any(|result| elsewhere[result.index()]);
        if spreads || !is_elementwise(&node.op) {
            node.operands.iter().for_each(|operand| elsewhere[operand.index()] = true);
        }
    }
    body.arguments().iter().map(|argument| !elsewhere[argument.index()]).collect()
}

/// Why a result may not be written over an operand with which it shares bytes; `None` if it may.
pub(super) fn refusal(
    kind: KernelKind,
    elementwise: bool,
    operand: &ValueData,
    result: &ValueData,
) -> Option<&'static str> {
    if operand.place != result.place {
        return Some("which begins elsewhere");
    }
    if operand.ty.shape != result.ty.shape {
        return Some("which has another shape");
    }
    if operand.ty.dtype.size() != result.ty.dtype.size() {
        return Some("whose elements have another size");
    }
    match kind {
        KernelKind::Reduce => Some("which a reduction reads more than once"),
        KernelKind::Indexed => Some("which is read at indices that data pick"),
        KernelKind::Map | KernelKind::Contraction if elementwise => None,
        KernelKind::Map | KernelKind::Contraction => {
            Some("which is read by an operation that is not elementwise")
        }
    }
}

fn is_elementwise(op: &Op) -> bool {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast => true,
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
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
        | Op::Kernel(_) => false,
    }
}
