//! Pins: values that pending gradient requests differentiate by.
//!
//! `gradient %loss wrt %x` is the derivative by that very value, along the paths that lead through
//! it. A pass that merged `%x` with an equal value, replaced it, or looked through its definition
//! would change the paths, and with them the derivative, so to such passes a pinned value is as
//! opaque as an argument.

use kilngrad_ir::{Graph, Op, Value};

/// The pinned values of a graph.
#[derive(Debug)]
pub(crate) struct Pins {
    pinned: Vec<bool>,
    requests: bool,
}

impl Pins {
    /// The values that a gradient request in `graph` differentiates by.
    pub(crate) fn of(graph: &Graph) -> Pins {
        let mut pins = Pins { pinned: vec![false; graph.value_count()], requests: false };
        for (_, node) in graph.nodes() {
            if let Op::Gradient { .. } = node.op {
                pins.requests = true;
                for wrt in &node.operands[1..] {
                    pins.pinned[wrt.index()] = true;
                }
            }
        }
        pins
    }

    /// Whether the value may be neither merged, replaced, nor looked through.
    pub(crate) fn contains(&self, value: Value) -> bool {
        self.pinned[value.index()]
    }

    /// Whether any request is pending.
    pub(crate) fn any_request(&self) -> bool {
        self.requests
    }
}
