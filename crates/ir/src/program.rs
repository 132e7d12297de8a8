//! Programs: a table of states and named entries over them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::dim::Symbol;
use crate::graph::{Def, Graph, NodeId, Value};
use crate::literal::{Dense, Literal};
use crate::origin::Origin;
use crate::text::shown;
use crate::types::Type;

/// A state of a program: an index into its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(u32);

impl StateId {
    /// Position in the table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The state at a position of the table.
    pub fn from_index(index: usize) -> StateId {
        StateId(u32::try_from(index).expect("a program has fewer than 2³² states"))
    }
}

/// What a state holds before the first call.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// Every element is this one.
    Splat(Literal),
    /// These elements, in row-major order.
    Dense(Dense),
    /// Independent and uniform in `[low, high)`, from the program's seed and the stream.
    Uniform {
        /// Least value.
        low: f64,
        /// Bound of the values.
        high: f64,
        /// Tells the streams of one seed apart.
        stream: u64,
    },
    /// Independent and normal, from the program's seed and the stream.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
        /// Tells the streams of one seed apart.
        stream: u64,
    },
    /// The program's seed, as `i64[]`.
    Seed,
}

/// What a state is for. It says who writes it and what a summary counts it as, and nothing about
/// how it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Learned: what `minimize` may update.
    Parameter,
    /// An optimizer's: moments, step counters.
    Optimizer,
    /// What a layer remembers beside its parameters: running statistics.
    Buffer,
    /// The seed and the counters of random numbers.
    Random,
}

impl Role {
    /// Every role with its word in the text form.
    pub const ALL: [(Role, &'static str); 4] = [
        (Role::Parameter, "parameter"),
        (Role::Optimizer, "optimizer"),
        (Role::Buffer, "buffer"),
        (Role::Random, "random"),
    ];

    /// Its word in the text form.
    pub const fn name(self) -> &'static str {
        Role::ALL[self as usize].1
    }
}

/// What lives from call to call.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Its identity: unique in the program, names joined by dots.
    pub path: Arc<str>,
    /// Its type, without symbols.
    pub ty: Type,
    /// Its first value.
    pub init: Init,
    /// What it is for.
    pub role: Role,
}

/// Whether an entry was built for training or for use. It is a property of the entry's graph,
/// never a flag at run time: dropout and batch statistics are there or they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Masks are drawn and statistics are the batch's.
    Train,
    /// Neither.
    Eval,
}

impl Mode {
    /// Its word in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Train => "train",
            Mode::Eval => "eval",
        }
    }
}

/// Where a value lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the arena, this many bytes from its start.
    Arena(usize),
    /// In the caller's buffer of the argument at this position.
    Argument(usize),
    /// In the caller's buffer of the output at this position.
    Output(usize),
    /// In the state's own memory.
    State(StateId),
    /// Among the constants that the executable keeps, this many bytes from their start.
    Constant(usize),
}

/// What the memory plan decided for an entry; the places are beside the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Bytes of the arena: the plan's peak.
    pub arena_bytes: usize,
    /// Bytes that any plan of this order needs: the most that is live at once.
    pub lower_bound_bytes: usize,
}

/// A condition on which a call fails: indices that come from data are in range, a user's own
/// assertion holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Of type `bool[]`; the call fails if it is false.
    pub condition: Value,
    /// What was expected, for the error: "class indices from 0 to 9".
    pub expected: Arc<str>,
    /// Whose line it is.
    pub origin: Origin,
}

impl Check {
    /// The message of the error of a call in which the condition is false.
    pub fn failure(&self, entry: &str) -> String {
        let built =
            self.origin.site().map_or_else(String::new, |site| format!(", built at {site}"));
        let scope = self.origin.scope();
        let scope = if scope.is_empty() { String::new() } else { format!(" in {}", shown(scope)) };
        format!("expected {} in entry {entry}{scope}{built}", shown(&self.expected))
    }
}

/// One function of a program: what a call computes, returns and updates.
///
/// Inputs are the graph's arguments, called by words. All reads of states precede all writes.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Unique in the program; a word as in [`crate::graph::ValueName`].
    pub name: Arc<str>,
    /// What it was built for.
    pub mode: Mode,
    /// The body. Its results are the outputs.
    pub graph: Graph,
    /// Names of the results, unique and in order.
    pub outputs: Vec<Arc<str>>,
    /// Decided before the first write to a state; of several that fail the first is reported.
    pub checks: Vec<Check>,
    /// At most one update a state, in the order of the table of states.
    pub updates: Vec<(StateId, Value)>,
    /// What the memory plan decided.
    pub plan: Option<Plan>,
}

impl Entry {
    /// An entry without outputs, checks or updates.
    pub fn new(name: &str, mode: Mode, graph: Graph) -> Entry {
        Entry {
            name: name.into(),
            mode,
            graph,
            outputs: Vec::new(),
            checks: Vec::new(),
            updates: Vec::new(),
            plan: None,
        }
    }

    /// The values that the call is for: outputs, then conditions of checks, then updates.
    pub fn roots(&self) -> impl Iterator<Item = Value> + '_ {
        let conditions = self.checks.iter().map(|check| check.condition);
        let updated = self.updates.iter().map(|(_, value)| *value);
        self.graph.results().iter().copied().chain(conditions).chain(updated)
    }

    /// The last node that defines a condition: when it has run, every check is decided. `None`
    /// where no node has to run for that.
    pub fn decided_after(&self) -> Option<NodeId> {
        let defined =
            self.checks.iter().filter_map(|check| match self.graph.value(check.condition).def {
                Def::Argument(_) => None,
                Def::Result { node, .. } => Some(node),
            });
        defined.max()
    }

    /// Every symbol that occurs in a type, in order of name.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        self.graph.values().flat_map(|(_, data)| data.ty.shape.symbols()).cloned().collect()
    }
}

/// As graphs are compared: values by where they are defined, not by number.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        let Entry { name, mode, graph, outputs, checks, updates, plan } = self;
        let def = |entry: &Entry, value| entry.graph.try_value(value).map(|data| data.def);
        *name == other.name
            && *mode == other.mode
            && *outputs == other.outputs
            && *plan == other.plan
            && checks.len() == other.checks.len()
            && checks.iter().zip(&other.checks).all(|(lhs, rhs)| {
                def(self, lhs.condition) == def(other, rhs.condition)
                    && lhs.expected == rhs.expected
                    && lhs.origin == rhs.origin
            })
            && updates.len() == other.updates.len()
            && updates
                .iter()
                .zip(&other.updates)
                .all(|(lhs, rhs)| lhs.0 == rhs.0 && def(self, lhs.1) == def(other, rhs.1))
            && *graph == other.graph
    }
}

/// A program: states and the entries over them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// What it is called; any text.
    pub name: Arc<str>,
    /// The states, by [`StateId`].
    pub states: Vec<State>,
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Program {
    /// A program without states and entries.
    pub fn new(name: &str) -> Program {
        Program { name: name.into(), states: Vec::new(), entries: Vec::new() }
    }

    /// A state.
    pub fn state(&self, id: StateId) -> &State {
        &self.states[id.index()]
    }

    /// The state at `path`.
    pub fn find_state(&self, path: &str) -> Option<StateId> {
        let found = self.states.iter().position(|state| *state.path == *path);
        found.map(StateId::from_index)
    }

    /// The entry called `name`.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| *entry.name == *name)
    }
}

/// The text form: see docs/ir.md.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::print_program(self, f)
    }
}
