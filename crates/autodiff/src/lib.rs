//! Differentiation: expands `gradient` requests into primitive operations.
//!
//! A request `gradient %loss wrt (%a, %b)` asks for the derivatives of a scalar by values of its
//! graph. [`differentiate`] replaces each by the nodes that compute them, in reverse mode: the
//! loss's cotangent is 1, and walking back from it, each node turns the cotangent of its result
//! into contributions to its operands' cotangents, by the rule of its family. The
//! rules are vector-Jacobian products written as graphs of the same primitives, so the result can
//! be differentiated again: derivatives are closed under themselves, at any order (Griewank and
//! Walther, "Evaluating Derivatives", 2008, chapter 3).
//!
//! # Order
//!
//! Requests are expanded in the order of the graph. What a request depends on, earlier requests
//! included, is then already made of primitives, so the innermost is expanded first and nothing
//! is differentiated twice.
//!
//! # By that very value
//!
//! A derivative is by a value, not by an expression: two values that are computed alike are two
//! variables. A result of a request that a later request differentiates by therefore becomes a
//! value of its own, an identity `reshape`, though its cotangent may be a value that already has
//! other uses (`d(x·c)/dx` is `c`).
//!
//! # Nothing is dropped in silence
//!
//! Where the loss does not depend on a value, or does so only through operations that have no
//! derivative, the request is refused with a [`Diagnostic`] that names the value, the request's
//! line and what is in the way. Operations that are piecewise constant have the derivative zero,
//! as their rows state. `gradient_or_zero` asks for zeros instead of a refusal.
//!
//! # Derivatives of the user's own
//!
//! `custom_gradient` has its rule in a region, which is written out wherever a cotangent reaches its
//! results. It stays an operation until the last request of its entry is expanded, so that a
//! request of higher order finds it too, and then gives way to the values that it was for.
//!
//! # Loops
//!
//! A `scan` is differentiated to a scan the other way round (`rules/scan/mod.rs`). What its region needs of
//! the way forward, the forward scan then stacks too: it is extended in place, since its results are
//! used by then. Derivatives are closed under scans as under everything else.
//!
//! # Work
//!
//! Only nodes between the values asked for and the loss get cotangents. A request costs time
//! linear in the nodes before it, whatever their depth: nothing recurses.
//!
//! # Examples
//!
//! ```
//! use kilngrad_autodiff::differentiate;
//! use kilngrad_interp::{Array, Interpreter};
//! use kilngrad_ir::{Program, text::Limits};
//!
//! let program = Program::parse(r#"kilngrad 1
//! program "square"
//! entry @slope(%x: f32[]) eval {
//!   %y: f32[] = mul %x, %x
//!   %g: f32[] = gradient %y wrt (%x)
//!   return g = %g
//! }"#, &Limits::default())?;
//! let expanded = differentiate(&program).expect("squares have slopes");
//! let outputs = Interpreter::new(expanded, 0)?.call("slope", [("x", Array::from(3f32))])?;
//! assert_eq!(outputs["g"], Array::from(6f32));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod backward;
mod paths;
mod refusal;
mod rules;

use std::collections::HashSet;

use kilngrad_ir::rewrite::{Emitter, Rewriter};
use kilngrad_ir::{Diagnostic, Entry, Graph, Node, Op, Program, Value};

use crate::paths::Paths;
use crate::refusal::Refusal;

/// The program with every gradient request of every entry expanded. A program that the verifier
/// accepts gives one that it accepts.
///
/// # Errors
///
/// A diagnostic for each value that a request cannot be answered for.
///
/// # Examples
///
/// ```
/// use kilngrad_autodiff::differentiate;
/// use kilngrad_ir::{Op, Program, text::Limits};
///
/// let program = Program::parse(r#"kilngrad 1
/// program "square"
/// entry @slope(%x: f32[]) eval {
///   %y: f32[] = mul %x, %x
///   %g: f32[] = gradient %y wrt (%x)
///   return g = %g
/// }"#, &Limits::default())?;
/// let expanded = differentiate(&program).expect("squares have slopes");
/// let requests = |(_, node): (_, &kilngrad_ir::Node)| matches!(node.op, Op::Gradient { .. });
/// assert!(program.entries[0].graph.nodes().any(requests));
/// assert!(!expanded.entries[0].graph.nodes().any(requests));
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
pub fn differentiate(program: &Program) -> Result<Program, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let mut entries = Vec::with_capacity(program.entries.len());
    for entry in &program.entries {
        match differentiate_entry(program, entry) {
            Ok(entry) => entries.push(entry),
            Err(more) => diagnostics.extend(more),
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    Ok(Program { name: program.name.clone(), states: program.states.clone(), entries })
}

/// An entry of `program` with every gradient request expanded.
///
/// # Errors
///
/// As [`differentiate`].
///
/// # Examples
///
/// ```
/// use kilngrad_autodiff::differentiate_entry;
/// use kilngrad_ir::{Program, text::Limits};
///
/// let program = Program::parse(r#"kilngrad 1
/// program "apart"
/// entry @slope(%x: f32[], %y: f32[]) eval {
///   %g: f32[] = gradient %y wrt (%x)
///   return g = %g
/// }"#, &Limits::default())?;
/// let refused = differentiate_entry(&program, &program.entries[0]);
/// assert_eq!(refused.expect_err("y does not depend on x").len(), 1);
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
pub fn differentiate_entry(program: &Program, entry: &Entry) -> Result<Entry, Vec<Diagnostic>> {
    let source = &entry.graph;
    let mut expansion = Expansion {
        program,
        rewriter: Rewriter::new(source),
        wanted_later: wanted(source),
        refused: Vec::new(),
        diagnostics: Vec::new(),
    };
    for (id, node) in source.nodes() {
        match &node.op {
            Op::Gradient { or_zero } => expansion.expand(node, *or_zero),
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
            | Op::Kernel(_) => {
                expansion.rewriter.copy(id);
            }
        }
    }
    if expansion.diagnostics.is_empty() {
        let entry = expansion.rewriter.finish_entry(entry);
        Ok(if has_custom_gradients(&entry.graph) {
            without_custom_gradients(&entry)
        } else {
            entry
        })
    } else {
        Err(expansion.diagnostics)
    }
}

/// The entry with the values of functions with a derivative of their own in place of the
/// functions: once no request is pending they are no more than that.
fn without_custom_gradients(entry: &Entry) -> Entry {
    let mut rewriter = Rewriter::new(&entry.graph);
    replace_custom_gradients(&mut rewriter);
    rewriter.finish_entry(entry)
}

/// Recurses once a region.
fn replace_custom_gradients(rewriter: &mut Rewriter<'_>) {
    let source = rewriter.source();
    for (id, node) in source.nodes() {
        if let Op::CustomGradient(_) = node.op {
            for (&result, &value) in node.results.iter().zip(&node.operands) {
                rewriter.replace(result, rewriter.get(value));
            }
        } else if node.op.bodies().iter().any(|body| has_custom_gradients(body)) {
            let bodies = node.op.bodies().into_iter().map(|body| {
                let mut inner = Rewriter::new(body);
                replace_custom_gradients(&mut inner);
                inner.finish().0
            });
            let (op, operands) = (node.op.with_bodies(bodies), rewriter.operands(node));
            rewriter.copy_with(id, op, &operands);
        } else {
            rewriter.copy(id);
        }
    }
}

/// Whether a function with a derivative of its own is in a graph or in a region of it.
fn has_custom_gradients(graph: &Graph) -> bool {
    graph.nodes().any(|(_, node)| {
        matches!(node.op, Op::CustomGradient(_))
            || node.op.bodies().iter().any(|body| has_custom_gradients(body))
    })
}

/// An entry while its requests are expanded.
struct Expansion<'e> {
    program: &'e Program,
    rewriter: Rewriter<'e>,
    /// Values of the source that a request differentiates by.
    wanted_later: HashSet<Value>,
    /// Values of the target that stand for results that could not be given; complaints about what
    /// depends on them would only repeat the first.
    refused: Vec<Value>,
    diagnostics: Vec<Diagnostic>,
}

impl Expansion<'_> {
    fn expand(&mut self, request: &Node, or_zero: bool) {
        let operands = self.rewriter.operands(request);
        let (loss, wanted) = (operands[0], &operands[1..]);
        let paths = Paths::find(self.rewriter.target(), loss, wanted);
        let refused = self.refuse(request, &paths, loss, wanted, or_zero);

        let cotangents = backward::cotangents(self.rewriter.target_mut(), loss, &paths);
        for (position, &value) in wanted.iter().enumerate() {
            let ty = self.rewriter.target().ty(value).clone();
            let mut emitter = Emitter::new(self.rewriter.target_mut(), request.origin.clone());
            let mut derivative = match cotangents[value.index()] {
                Some(cotangent) => cotangent,
                None => emitter.splat(&ty, 0.0),
            };
            let result = request.results[position];
            if self.wanted_later.contains(&result) {
                derivative = emitter.emit(Op::Reshape, &[derivative], &[ty]);
            }
            if refused {
                self.refused.push(derivative);
            }
            self.rewriter.replace(result, derivative);
        }
    }

    /// Reports each value that a derivative cannot be given by; whether there is any.
    fn refuse(
        &mut self,
        request: &Node,
        paths: &Paths,
        loss: Value,
        wanted: &[Value],
        or_zero: bool,
    ) -> bool {
        let graph = self.rewriter.target();
        let refusals: Vec<(usize, Refusal)> = wanted
            .iter()
            .enumerate()
            .filter_map(|(position, &value)| {
                Some((position, Refusal::find(graph, paths, loss, value, or_zero)?))
            })
            .collect();
        if refusals.is_empty() {
            return false;
        }
        if !paths::depends_on_any(graph, loss, &self.refused) {
            let source = self.rewriter.source();
            for (position, refusal) in &refusals {
                let value = request.operands[position + 1];
                let found = refusal.diagnostic(self.program, source, request, value, graph);
                self.diagnostics.push(found);
            }
        }
        true
    }
}

/// The values that requests differentiate by.
fn wanted(graph: &Graph) -> HashSet<Value> {
    let requests = graph.nodes().filter(|(_, node)| matches!(node.op, Op::Gradient { .. }));
    requests.flat_map(|(_, node)| node.operands[1..].iter().copied()).collect()
}
