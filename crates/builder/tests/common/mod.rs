//! Programs of tests, evaluated.

#![allow(missing_docs, unreachable_pub)]

use kilngrad_autodiff::differentiate;
use kilngrad_builder::Program;
use kilngrad_interp::Interpreter;

/// The program with its gradients expanded, ready to be called.
///
/// Every node must name a line of the test, none one of the library.
pub fn interpreter(program: &Program) -> Interpreter {
    for (_, node) in program.entries.iter().flat_map(|entry| entry.graph.nodes()) {
        let site = node.origin.site().expect("a node names its call");
        assert!(site.file.contains("tests/"), "{} of {site}", node.op.name());
    }
    let expanded = differentiate(program).unwrap_or_else(|errors| panic!("{errors:#?}"));
    Interpreter::new(expanded, 1).expect("differentiated programs are interpreted")
}
