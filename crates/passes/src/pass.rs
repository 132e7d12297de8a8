//! What a pass is: a name, a promise, and a function from programs to programs.

use std::fmt;

use kilngrad_ir::{Bindings, Diagnostic, Entry, Machine, Program, Site, VerifyError};

use crate::check::CheckError;
use crate::fuse::FusionReport;
use crate::plan::PlanReport;

/// How far the values of a program may move in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exactness {
    /// The interpreter computes the same bits, NaN payloads aside.
    Exact,
    /// The interpreter computes the same numbers up to the rounding of a few operations; NaN and
    /// infinity stay where they are.
    Rounding,
    /// As `Rounding`, and NaN or infinity may turn finite where only the way of computing made
    /// them.
    Stabilising,
}

/// A function from programs to programs.
///
/// A pass may assume a verified program and leaves one: the pipeline verifies after every pass.
pub trait Pass: fmt::Debug {
    /// What it is called in dumps.
    fn name(&self) -> &'static str;

    /// What it promises about values.
    fn exactness(&self) -> Exactness;

    /// Transforms every entry.
    ///
    /// # Errors
    ///
    /// What in the program is beyond the pass, by the user's line where it is known.
    fn run(&self, context: &mut Context<'_>, program: &Program) -> Result<Program, PassError>;
}

/// What passes are given besides the program, and where they leave what they learned.
#[derive(Debug)]
pub struct Context<'a> {
    /// The processor to compile for.
    pub machine: &'a Machine,
    /// What symbols stand for.
    pub bindings: &'a Bindings,
    /// What fusion did, an entry each, in the order of the program.
    pub fusion: Vec<FusionReport>,
    /// What the memory plan decided, an entry each, in the order of the program.
    pub plans: Vec<PlanReport>,
}

impl<'a> Context<'a> {
    /// A context without reports.
    pub fn new(machine: &'a Machine, bindings: &'a Bindings) -> Context<'a> {
        Context { machine, bindings, fusion: Vec::new(), plans: Vec::new() }
    }
}

/// Why a program could not be compiled.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// A symbol has no binding.
    #[error("expected a length for symbol {symbol}, which {wherein} has{}", at(.site.as_ref()))]
    UnboundSymbol {
        /// The symbol's name.
        symbol: String,
        /// The value or attribute in which it occurs.
        wherein: String,
        /// The user's line.
        site: Option<Site>,
    },
    /// A length is negative under the bindings, or leaves the range of 64 bits.
    #[error("expected a length of at least 0 that fits 64 bits, found {dim}{} in {wherein}{}",
        equals(*.value), at(.site.as_ref()))]
    Length {
        /// The length as it is written.
        dim: String,
        /// What it evaluates to, if that fits 64 bits.
        value: Option<i64>,
        /// The value or attribute in which it occurs.
        wherein: String,
        /// The user's line.
        site: Option<Site>,
    },
    /// A tensor does not fit memory under the bindings.
    #[error("expected a size that fits memory, found {ty} for {wherein}{}", at(.site.as_ref()))]
    Size {
        /// The type under the bindings.
        ty: String,
        /// The value.
        wherein: String,
        /// The user's line.
        site: Option<Site>,
    },
    /// A rule of the language is broken under the bindings: a slice leaves its axis, say.
    #[error("{0}")]
    Rule(VerifyError),
    /// An operation that an earlier pass should have expanded or bound.
    #[error("expected no {op} at this stage, found {value} in entry {entry}{}", at(.site.as_ref()))]
    Unexpanded {
        /// The operation's word.
        op: &'static str,
        /// The value that it defines.
        value: String,
        /// The entry.
        entry: String,
        /// The user's line.
        site: Option<Site>,
    },
    /// What a pass of another crate reports.
    #[error("{}", list(.0))]
    Diagnostics(Vec<Diagnostic>),
    /// A pass left a program that breaks a rule: a bug of that pass.
    #[error("pass {pass} left an invalid program: {error}")]
    Invalid {
        /// The pass.
        pass: &'static str,
        /// The broken rule.
        error: VerifyError,
    },
    /// A kernel breaks the contract with lowering: one that the program came with, or by a bug of
    /// fusion.
    #[error("kernel {kernel} breaks the contract of kernels: {message}{}", at(.site.as_ref()))]
    Kernel {
        /// The kernel.
        kernel: String,
        /// What was expected and what was found.
        message: String,
        /// The user's line.
        site: Option<Site>,
    },
    /// The independent checker refuses a memory plan: a bug of the plan.
    #[error("{0}")]
    Plan(CheckError),
}

fn at(site: Option<&Site>) -> String {
    site.map_or_else(String::new, |site| format!(", built at {site}"))
}

fn equals(value: Option<i64>) -> String {
    value.map_or_else(String::new, |value| format!(" = {value}"))
}

fn list(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(Diagnostic::to_string).collect();
    lines.join("\n")
}

/// The program with every entry replaced by what `run` makes of it.
pub(crate) fn each_entry(
    program: &Program,
    mut run: impl FnMut(&Entry) -> Result<Entry, PassError>,
) -> Result<Program, PassError> {
    let entries = program.entries.iter().map(&mut run).collect::<Result<_, _>>()?;
    Ok(Program { name: program.name.clone(), states: program.states.clone(), entries })
}

/// A number that a pass counts in reports and errors is shown with its value's name.
pub(crate) fn unexpanded(entry: &Entry, node: &kilngrad_ir::Node, op: &'static str) -> PassError {
    PassError::Unexpanded {
        op,
        value: entry.graph.name(node.results[0]).to_string(),
        entry: entry.name.to_string(),
        site: node.origin.site().cloned(),
    }
}
