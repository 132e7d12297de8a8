//! How much arithmetic a graph does.

use kilngrad_ir::{Graph, Node, Op};

/// Floating-point operations of one evaluation of a graph whose shapes are constant: two for each
/// term of a contraction, one for each element that an elementwise operation gives and that a
/// reduction or `fold` reads. Integers, comparisons and moves count nothing.
pub(crate) fn flops(graph: &Graph) -> u64 {
    graph.nodes().map(|(_, node)| of(graph, node)).fold(0, u64::saturating_add)
}

fn of(graph: &Graph, node: &Node) -> u64 {
    let count = |value| graph.ty(value).element_count().unwrap_or(0) as u64;
    if !graph.ty(node.result()).dtype.is_float() {
        return 0;
    }
    match &node.op {
        Op::Unary(_) | Op::Binary(_) => count(node.result()),
        Op::Reduce { .. } | Op::Fold(_) => count(node.operands[0]),
        Op::Dot(axes) => {
            let dims = graph.ty(node.operands[0]).shape.dims();
            let depth = axes.lhs_contract.iter().map(|axis| dims[*axis].as_constant().unwrap_or(0));
            count(node.result()).saturating_mul(2).saturating_mul(depth.product::<i64>() as u64)
        }
        Op::Kernel(kernel) => flops(&kernel.body),
        Op::Scan(scan) => {
            let count = scan.length.as_constant().and_then(|length| u64::try_from(length).ok());
            flops(&scan.body).saturating_mul(count.unwrap_or(0))
        }
        // The dearer of two, and what is tested and computed once.
        Op::Cond(cond) => flops(&cond.then).max(flops(&cond.otherwise)),
        Op::While(repeat) => flops(&repeat.test).saturating_add(flops(&repeat.body)),
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Gradient { .. } => 0,
    }
}
