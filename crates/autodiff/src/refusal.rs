//! Why a derivative cannot be given.

use kilngrad_ir::{Diagnostic, Graph, Node, NodeId, Op, Program, Value};

use crate::paths::{Paths, first_barrier};
use crate::rules::Flow;

/// Why the derivative of a loss by a value cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The loss does not depend on the value.
    Independent,
    /// It does so only through operations without a derivative, of which this is the first.
    Blocked(NodeId),
    /// It does so through a fused kernel or a `while`, which have no rule.
    Opaque(NodeId),
}

impl Refusal {
    /// The refusal of a value, if its derivative cannot be given.
    pub(crate) fn find(
        graph: &Graph,
        paths: &Paths,
        loss: Value,
        value: Value,
        or_zero: bool,
    ) -> Option<Refusal> {
        if paths.meets_opaque()
            && let Some(kernel) = first_barrier(graph, loss, value, Flow::Opaque)
        {
            return Some(Refusal::Opaque(kernel));
        }
        if or_zero || paths.reached(value) {
            return None;
        }
        let barrier = first_barrier(graph, loss, value, Flow::None);
        Some(barrier.map_or(Refusal::Independent, Refusal::Blocked))
    }

    /// The refusal in words. `source` holds the request and `value`, `graph` the node in the way.
    pub(crate) fn diagnostic(
        &self,
        program: &Program,
        source: &Graph,
        request: &Node,
        value: Value,
        graph: &Graph,
    ) -> Diagnostic {
        let loss = request.operands[0];
        let value_name = described(program, source, value);
        let loss_name = source.name(loss);
        let diagnostic = match self {
            Refusal::Independent => Diagnostic::new(
                "gradient_d1",
                format!("expected a loss that depends on {value_name}, found {loss_name}"),
            ),
            Refusal::Blocked(node) => Diagnostic::new(
                "gradient_d2",
                format!(
                    "expected a path with derivatives from {value_name} to {loss_name}, found \
                     none but through {}",
                    graph.node(*node).op.name()
                ),
            ),
            Refusal::Opaque(node) => Diagnostic::new(
                "gradient_d3",
                format!(
                    "expected operations with derivatives between {value_name} and {loss_name}, \
                     found {}",
                    op_described(opaque_within(graph.node(*node)))
                ),
            ),
        };
        let mut diagnostic = diagnostic.at(request.origin.site().cloned());
        if let Refusal::Blocked(node) | Refusal::Opaque(node) = self {
            let node = graph.node(*node);
            diagnostic = diagnostic.related(
                format!("in the way: {} {}", graph.name(node.result()), op_described(node)),
                node.origin.site().cloned(),
            );
        }
        diagnostic = diagnostic
            .related(format!("by: {value_name}"), source.origin(value).site().cloned())
            .related(format!("of: {loss_name}"), source.origin(loss).site().cloned());
        match self {
            Refusal::Independent | Refusal::Blocked(_) => diagnostic
                .help("ask for gradient_or_zero where a derivative of zero is what is meant"),
            Refusal::Opaque(node)
                if matches!(opaque_within(graph.node(*node)).op, Op::While(_)) =>
            {
                diagnostic.help(
                    "`scan` has a derivative: a loop with a number of iterations that is known \
                     before",
                )
            }
            Refusal::Opaque(_) => diagnostic.help("differentiate before kernels are fused"),
        }
    }
}

/// What a node has no derivative for: itself, or the first `while` or kernel in its regions. Recurses
/// once a region.
fn opaque_within(node: &Node) -> &Node {
    if matches!(node.op, Op::While(_) | Op::Kernel(_)) {
        return node;
    }
    let mut inside = node.op.bodies().into_iter().flat_map(Graph::nodes);
    let found = inside.find_map(|(_, inner)| {
        let found = opaque_within(inner);
        matches!(found.op, Op::While(_) | Op::Kernel(_)).then_some(found)
    });
    found.unwrap_or(node)
}

/// A state's path, or a value's name.
fn described(program: &Program, graph: &Graph, value: Value) -> String {
    let state = graph.defining_node(value).and_then(|node| match &node.op {
        Op::State(id) => Some(program.state(*id)),
        Op::Constant(_)
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
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => None,
    });
    state.map_or_else(|| graph.name(value).to_string(), |state| format!("{:?}", state.path))
}

/// An operation's word, with a kernel's name.
fn op_described(node: &Node) -> String {
    if let Op::Kernel(kernel) = &node.op {
        return format!("kernel {:?}", kernel.name);
    }
    node.op.name().to_owned()
}
