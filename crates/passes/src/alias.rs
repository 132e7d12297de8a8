//! Which results of a kernel may lie where one of its operands lies.
//!
//! Lowering reads element `i` of such an operand before it writes element `i` of the result,
//! vector by vector. So the operand must be read at the index that is computed and at no other:
//! in a `map` or in the epilogue of a `contraction` through elementwise operations alone. A
//! `reduce` reads elements after it has written others, and an `indexed` kernel reads any, so there it
//! is never allowed.

use kilngrad_ir::op::{Kernel, KernelKind};
use kilngrad_ir::{Graph, Op, Value};

/// Whether result `result` of a kernel may be written over operand `operand`, if nothing reads
/// the operand afterwards. Other operands in the same memory must be asked for as well.
pub fn may_overwrite(kernel: &Kernel, result: usize, operand: usize) -> bool {
    let body = &kernel.body;
    let (from, to) = (body.ty(body.arguments()[operand]), body.ty(body.results()[result]));
    let alike = from.shape == to.shape && from.dtype.size() == to.dtype.size();
    match kernel.kind {
        KernelKind::Map | KernelKind::Contraction => {
            alike && !read_elsewhere(body)[body.arguments()[operand].index()]
        }
        KernelKind::Reduce | KernelKind::Indexed => false,
    }
}

/// The values of a body that are read at another index than the one that is computed.
fn read_elsewhere(body: &Graph) -> Vec<bool> {
    let mut elsewhere = vec![false; body.value_count()];
    for (_, node) in body.nodes().rev() {
        let moved = !is_elementwise(&node.op)
            || node.results.iter().any(|value: &Value| elsewhere[value.index()]);
        if moved {
            for operand in &node.operands {
                elsewhere[operand.index()] = true;
            }
        }
    }
    elsewhere
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast)
}
