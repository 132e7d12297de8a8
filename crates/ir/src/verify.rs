//! The verifier: whether a program keeps the rules of the language.
//!
//! It runs after building, after parsing and after every pass. Later stages index without fear
//! because of it. Besides the type rules of [`crate::infer`], each under its label:
//!
//! - `program_v1`: paths of states are unique.
//! - `program_v2`: a state's type has no symbol and its size fits memory.
//! - `program_v3`: an initialiser fits the state's type.
//! - `program_v4`: names of entries are words, and unique.
//! - `entry_v1`: arguments of entries are called by words.
//! - `entry_v2`: outputs have unique names, one for each result.
//! - `entry_v3`: updates are in the order of the states, at most one a state.
//! - `entry_v4`: an update has the state's type.
//! - `entry_v5`: a check's condition is `bool[]`.
//! - `graph_v1`: names of values are unique, and those that are words are words.
//! - `graph_v2`: operands are defined before they are used.
//! - `graph_v3`: a node's results have the types that its operation gives.
//! - `graph_v4`: lengths are not negative, and sizes without symbols fit memory.
//! - `graph_v5`: a read state exists and has the declared type.
//! - `graph_v6`: regions neither read states nor request gradients, and nest at most
//!   [`MAX_NESTING`] deep, control flow at most [`MAX_CONTROL`].

use std::collections::HashSet;
use std::fmt;

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::example::graph_example;
use crate::graph::{Def, Graph, NodeId, Value, ValueName, is_word};
use crate::infer::{RuleError, infer};
use crate::op::Op;
use crate::program::{Entry, Init, Program, State, StateId};
use crate::types::Type;

/// How deep regions may nest. Walks over regions recurse this far and no further.
pub const MAX_NESTING: usize = 16;

/// How deep control flow (`scan`, `cond`, `while`) may nest, through regions of other kinds too. Where
/// a buffer of a loop lies is told by whether the iterations around it are even or odd, of every
/// combination apart.
pub const MAX_CONTROL: usize = 8;

/// A rule that a program breaks, and where.
#[doc = graph_example!(
    "let mut broken = program.clone();"
    "broken.entries[0].outputs.clear();"
    "let error = verify(&broken).expect_err(\"an output has lost its name\");"
    "assert_eq!((error.error.rule, error.entry.as_deref()), (\"entry_v2\", Some(\"run\")));"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyError {
    /// The broken rule.
    pub error: RuleError,
    /// The state, if it is one.
    pub state: Option<StateId>,
    /// The entry, if it is in one.
    pub entry: Option<String>,
    /// The value whose definition breaks it, if it is one.
    pub value: Option<ValueName>,
    /// The user's line, if known.
    pub origin: crate::origin::Origin,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        if let Some(value) = &self.value {
            write!(f, " at {value}")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, " in entry {entry}")?;
        }
        if let Some(site) = self.origin.site() {
            write!(f, ", built at {site}")?;
        }
        Ok(())
    }
}

impl std::error::Error for VerifyError {}

/// Checks a whole program.
///
/// # Errors
///
/// The first broken rule, in the order of the program.
///
/// # Examples
#[doc = graph_example!(
    "assert!(verify(&program).is_ok());"
    "let mut broken = program.clone();"
    "broken.entries.push(program.entries[0].clone());"
    "assert_eq!(verify(&broken).map_err(|error| error.error.rule), Err(\"program_v4\"));"
)]
pub fn verify(program: &Program) -> Result<(), VerifyError> {
    let mut paths = HashSet::new();
    for (index, state) in program.states.iter().enumerate() {
        verify_state(state, &mut paths).map_err(|error| VerifyError {
            error,
            state: Some(StateId::from_index(index)),
            entry: None,
            value: None,
            origin: crate::origin::Origin::unknown(),
        })?;
    }
    let mut names = HashSet::new();
    for entry in &program.entries {
        let word = ValueName::word(&entry.name).is_some();
        let fresh = names.insert(&entry.name);
        Checker::new(program, entry).check(word && fresh, "program_v4", None, || {
            format!("expected a word that names no other entry, found {:?}", entry.name)
        })?;
        verify_entry(program, entry)?;
    }
    Ok(())
}

/// Checks one entry against its program's states.
///
/// # Errors
///
/// The first broken rule, in the order of the entry.
///
/// # Examples
#[doc = graph_example!("assert!(verify_entry(&program, &program.entries[0]).is_ok());")]
pub fn verify_entry(program: &Program, entry: &Entry) -> Result<(), VerifyError> {
    let checker = Checker::new(program, entry);
    checker.graph(&entry.graph, Depth::default())?;
    for &argument in entry.graph.arguments() {
        let name = entry.graph.name(argument);
        checker.check(matches!(name, ValueName::Word(_)), "entry_v1", Some(name), || {
            format!("expected an argument that is called by a word, found {name}")
        })?;
    }
    let names: HashSet<_> = entry.outputs.iter().collect();
    let named = names.len() == entry.outputs.len();
    checker.check(
        named && entry.outputs.len() == entry.graph.results().len(),
        "entry_v2",
        None,
        || format!("expected a unique name for each output, found {:?}", entry.outputs),
    )?;
    for check in &entry.checks {
        let known = check.condition.index() < entry.graph.value_count();
        let name = known.then(|| entry.graph.name(check.condition));
        let fits = known && *entry.graph.ty(check.condition) == Type::scalar(DType::Bool);
        checker.check(fits, "entry_v5", name, || "expected a condition of type bool[]".into())?;
    }
    let sorted = entry.updates.windows(2).all(|pair| pair[0].0 < pair[1].0);
    checker.check(sorted, "entry_v3", None, || {
        "expected at most one update a state, in the order of the states".into()
    })?;
    for &(id, value) in &entry.updates {
        let state = program.states.get(id.index());
        let name = (value.index() < entry.graph.value_count()).then(|| entry.graph.name(value));
        let fits = name.is_some() && state.is_some_and(|s| s.ty == *entry.graph.ty(value));
        checker.check(fits, "entry_v4", name, || match state {
            Some(state) => format!("expected an update of {:?} of type {}", state.path, state.ty),
            None => "expected an update of a state of the program".into(),
        })?;
    }
    Ok(())
}

fn verify_state<'p>(state: &'p State, paths: &mut HashSet<&'p str>) -> Result<(), RuleError> {
    let error = |rule, message| Err(RuleError { rule, message });
    if !paths.insert(&state.path) {
        return error("program_v1", format!("expected unique paths, found {:?} twice", state.path));
    }
    if state.ty.byte_count().is_none() {
        let message = format!(
            "expected a type without symbols whose size fits memory, found {} of {:?}",
            state.ty, state.path
        );
        return error("program_v2", message);
    }
    let fits = match &state.init {
        Init::Splat(literal) => literal.dtype() == state.ty.dtype,
        Init::Dense(dense) => {
            dense.dtype() == state.ty.dtype && Some(dense.len()) == state.ty.element_count()
        }
        Init::Uniform { low, high, .. } => {
            state.ty.dtype.is_float() && low.is_finite() && high.is_finite()
        }
        Init::Normal { mean, std, .. } => {
            state.ty.dtype.is_float() && mean.is_finite() && std.is_finite()
        }
        Init::Seed => state.ty == Type::scalar(DType::I64),
    };
    if !fits {
        let message = format!("expected an initialiser for {} of {:?}", state.ty, state.path);
        return error("program_v3", message);
    }
    Ok(())
}

struct Checker<'p> {
    program: &'p Program,
    entry: &'p Entry,
}

impl<'p> Checker<'p> {
    fn new(program: &'p Program, entry: &'p Entry) -> Checker<'p> {
        Checker { program, entry }
    }

    fn check(
        &self,
        holds: bool,
        rule: &'static str,
        value: Option<&ValueName>,
        message: impl FnOnce() -> String,
    ) -> Result<(), VerifyError> {
        if holds {
            return Ok(());
        }
        Err(VerifyError {
            error: RuleError { rule, message: message() },
            state: None,
            entry: Some(self.entry.name.to_string()),
            value: value.cloned(),
            origin: crate::origin::Origin::unknown(),
        })
    }

    /// Recurses once a region, [`MAX_NESTING`] deep at most; never over the length of a graph.
    fn graph(&self, graph: &Graph, depth: Depth) -> Result<(), VerifyError> {
        let mut names = HashSet::with_capacity(graph.value_count());
        for (_, data) in graph.values() {
            let name = &data.name;
            let word = match name {
                ValueName::Number(_) => true,
                ValueName::Word(word) => is_word(word),
            };
            self.check(word, "graph_v1", Some(name), || {
                format!("expected a name that is a word, found {:?}", name.to_string())
            })?;
            self.check(names.insert(name), "graph_v1", Some(name), || {
                format!("expected unique names, found {name} twice")
            })?;
            let lengths_fit = data
                .ty
                .shape
                .dims()
                .iter()
                .all(|dim| dim.as_constant().is_none_or(|length| length >= 0));
            let constant = data.ty.shape.symbols().next().is_none();
            let fits = lengths_fit && (!constant || data.ty.byte_count().is_some());
            self.check(fits, "graph_v4", Some(name), || {
                format!("expected a size that fits memory, found {}", data.ty)
            })?;
        }
        for (id, node) in graph.nodes() {
            self.node(graph, id, depth).map_err(|mut error| {
                error.origin = node.origin.clone();
                error.value = node.results.first().map(|value| graph.name(*value).clone());
                error
            })?;
        }
        let known = graph.results().iter().all(|value| value.index() < graph.value_count());
        self.check(known, "graph_v2", None, || "expected results that are defined".into())
    }

    fn node(&self, graph: &Graph, id: NodeId, depth: Depth) -> Result<(), VerifyError> {
        let node = graph.node(id);
        for &operand in &node.operands {
            self.check(defined_before(graph, operand, id), "graph_v2", None, || {
                format!("expected operands that are defined before {}", node.op.name())
            })?;
        }
        let operands: SmallVec<[&Type; 3]> =
            node.operands.iter().map(|value| graph.ty(*value)).collect();
        let types: SmallVec<[Type; 1]> =
            node.results.iter().map(|value| graph.ty(*value).clone()).collect();
        let inferred = infer(&node.op, &operands, &types);
        let inferred = inferred.map_err(|error| VerifyError {
            error,
            state: None,
            entry: Some(self.entry.name.to_string()),
            value: None,
            origin: node.origin.clone(),
        })?;
        self.check(inferred == types, "graph_v3", None, || {
            let types: Vec<String> = inferred.iter().map(Type::to_string).collect();
            format!("expected results of types {} from {}", types.join(" and "), node.op.name())
        })?;
        match &node.op {
            Op::State(id) => {
                let state = self.program.states.get(id.index());
                let fits = state.is_some_and(|state| state.ty == types[0]);
                self.check(fits, "graph_v5", None, || match state {
                    Some(state) => {
                        format!("expected {} of {:?}, found {}", state.ty, state.path, types[0])
                    }
                    None => "expected a state of the program".into(),
                })?;
                self.closed(depth)
            }
            Op::Gradient { .. } => self.closed(depth),
            Op::Kernel(kernel) => self.region(&kernel.body, depth),
            Op::Scan(scan) => self.region(&scan.body, self.deeper(depth)?),
            Op::Cond(cond) => {
                let depth = self.deeper(depth)?;
                self.region(&cond.then, depth)?;
                self.region(&cond.otherwise, depth)
            }
            Op::While(repeat) => {
                let depth = self.deeper(depth)?;
                self.region(&repeat.test, depth)?;
                self.region(&repeat.body, depth)
            }
            Op::CustomGradient(custom) => self.region(&custom.backward, depth),
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
            | Op::StopGradient => Ok(()),
        }
    }

    fn region(&self, body: &Graph, depth: Depth) -> Result<(), VerifyError> {
        self.check(depth.regions < MAX_NESTING, "graph_v6", None, || {
            format!("expected regions at most {MAX_NESTING} deep")
        })?;
        self.graph(body, Depth { regions: depth.regions + 1, ..depth })
    }

    /// How deep the regions of control flow are that is so deep itself.
    fn deeper(&self, depth: Depth) -> Result<Depth, VerifyError> {
        self.check(depth.control < MAX_CONTROL, "graph_v6", None, || {
            format!("expected control flow at most {MAX_CONTROL} deep")
        })?;
        Ok(Depth { control: depth.control + 1, ..depth })
    }

    fn closed(&self, depth: Depth) -> Result<(), VerifyError> {
        self.check(depth.regions == 0, "graph_v6", None, || {
            "expected a region without states and gradient requests".into()
        })
    }
}

/// How deep a graph lies.
#[derive(Debug, Clone, Copy, Default)]
struct Depth {
    regions: usize,
    /// How many of the regions are those of control flow.
    control: usize,
}

fn defined_before(graph: &Graph, value: Value, user: NodeId) -> bool {
    value.index() < graph.value_count()
        && match graph.value(value).def {
            Def::Argument(_) => true,
            Def::Result { node, .. } => node < user,
        }
}
