//! Programs: a table of states and named entries over them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::dim::Symbol;
use crate::example::graph_example;
use crate::graph::{Def, Graph, NodeId, Value};
use crate::literal::{Dense, Literal};
use crate::op::Op;
use crate::origin::Origin;
use crate::text::shown;
use crate::types::Type;

/// A state of a program: an index into its table.
///
/// ```
/// use kilngrad_ir::{Init, Program, Role, State, StateId, Type, DType};
///
/// let mut program = Program::new("counter");
/// let ty = Type::scalar(DType::I64);
/// program.states.push(State { path: "calls".into(), ty, init: Init::Seed, role: Role::Buffer });
/// assert_eq!(program.find_state("calls"), Some(StateId::from_index(0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(u32);

impl StateId {
    /// Position in the table.
    ///
    /// ```
    /// use kilngrad_ir::StateId;
    ///
    /// assert_eq!(StateId::from_index(3).index(), 3);
    /// ```
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The state at a position of the table.
    ///
    /// # Panics
    ///
    /// If the position does not fit 32 bits.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_ir::StateId;
    ///
    /// assert!(StateId::from_index(0) < StateId::from_index(1));
    /// ```
    pub fn from_index(index: usize) -> StateId {
        StateId(u32::try_from(index).expect("a program has fewer than 2³² states"))
    }
}

/// What a state holds before the first call.
///
/// ```
/// use kilngrad_ir::{DType, Init, Literal, Type, random};
///
/// let init = Init::Splat(Literal::from_f64(DType::F32, 0.5));
/// let value = random::initial(&init, &Type::scalar(DType::F32), 0).expect("it fits");
/// assert!(value.iter().map(|element| element.to_f64()).eq([0.5]));
/// ```
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
///
/// ```
/// use kilngrad_ir::Role;
///
/// assert!(Role::ALL.contains(&(Role::Parameter, "parameter")));
/// ```
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
    ///
    /// ```
    /// use kilngrad_ir::Role;
    ///
    /// assert_eq!(Role::Parameter.name(), "parameter");
    /// ```
    pub const fn name(self) -> &'static str {
        Role::ALL[self as usize].1
    }
}

/// What lives from call to call.
///
/// ```
/// use kilngrad_ir::{Program, text::Limits};
///
/// let text = "kilngrad 1\nprogram \"p\"\nstate \"net.b\": f32[10] = 0.0 parameter\n";
/// let program = Program::parse(text, &Limits::default())?;
/// assert_eq!(program.states[0].ty.to_string(), "f32[10]");
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
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
#[doc = graph_example!("assert_eq!(program.entries[0].mode, Mode::Eval);")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Masks are drawn and statistics are the batch's.
    Train,
    /// Neither.
    Eval,
}

impl Mode {
    /// Its word in the text form.
    ///
    /// ```
    /// use kilngrad_ir::Mode;
    ///
    /// assert_eq!((Mode::Train.name(), Mode::Eval.name()), ("train", "eval"));
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Train => "train",
            Mode::Eval => "eval",
        }
    }
}

/// Where a value lies in memory.
#[doc = graph_example!(
    "let mut graph = graph.clone();"
    "graph.set_place(x, Some(Place::Argument(0)));"
    "assert_eq!(graph.value(x).place, Some(Place::Argument(0)));"
)]
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
///
/// ```
/// use kilngrad_ir::Plan;
///
/// let plan = Plan { arena_bytes: 192, lower_bound_bytes: 128 };
/// assert!(plan.lower_bound_bytes <= plan.arena_bytes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Bytes of the arena: the plan's peak.
    pub arena_bytes: usize,
    /// Bytes that any plan of this order needs: the most that is live at once.
    pub lower_bound_bytes: usize,
}

/// A condition on which a call fails: indices that come from data are in range, a user's own
/// assertion holds.
#[doc = graph_example!(
    "let mut entry = program.entries[0].clone();"
    "let expected = \"positive numbers\".into();"
    "entry.checks.push(Check { condition: y, expected, origin: Origin::unknown() });"
    "assert!(entry.roots().eq([y, y])); // an output and a condition"
)]
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
    #[doc = graph_example!(
        "let expected = \"positive numbers\".into();"
        "let check = Check { condition: y, expected, origin: Origin::unknown() };"
        "assert_eq!(check.failure(\"run\"), \"expected positive numbers in entry run\");"
    )]
    pub fn failure(&self, entry: &str) -> String {
        let built =
            self.origin.site().map_or_else(String::new, |site| format!(", built at {site}"));
        let scope = self.origin.scope();
        let scope = if scope.is_empty() { String::new() } else { format!(" in {}", shown(scope)) };
        format!("expected {} in entry {entry}{scope}{built}", shown(&self.expected))
    }

    /// What an input that the condition is [computed from](Entry::subject) was fed with, to follow
    /// the message.
    #[doc = graph_example!(
        "let fed = [3, 1, 2].map(|number| Literal::from_i64(DType::I64, number));"
        "assert_eq!(Check::found(\"y\", fed), \", found 1 to 3 in input \\\"y\\\"\");"
    )]
    pub fn found(input: &str, fed: impl IntoIterator<Item = Literal>) -> String {
        let mut fed = fed.into_iter();
        let Some(first) = fed.next() else {
            return format!(", found nothing in input \"{}\"", shown(input));
        };
        let [least, most] = fed.fold([first; 2], |[least, most], number| {
            let value = |literal: Literal| literal.to_f64();
            let least = if value(number) < value(least) { number } else { least };
            [least, if value(number) > value(most) { number } else { most }]
        });
        let text = |literal: Literal| match literal.dtype().is_float() {
            true => literal.to_f64().to_string(),
            false => literal.to_i64().to_string(),
        };
        format!(", found {} to {} in input \"{}\"", text(least), text(most), shown(input))
    }
}

/// One function of a program: what a call computes, returns and updates.
///
/// Inputs are the graph's arguments, called by words. All reads of states precede all writes.
#[doc = graph_example!(
    "let entry = &program.entries[0];"
    "assert_eq!((&*entry.name, entry.mode, &*entry.outputs[0]), (\"run\", Mode::Eval, \"y\"));"
)]
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
    /// The position of the argument that a check's condition is computed from, if it is one, and no
    /// state or random number is among what it is computed from.
    #[doc = graph_example!(
        "let expected = \"positive numbers\".into();"
        "let check = Check { condition: y, expected, origin: Origin::unknown() };"
        "assert_eq!(program.entries[0].subject(&check), Some(0));"
    )]
    pub fn subject(&self, check: &Check) -> Option<usize> {
        let mut seen = vec![false; self.graph.value_count()];
        let (mut left, mut subject) = (vec![check.condition], None);
        while let Some(value) = left.pop() {
            if std::mem::replace(&mut seen[value.index()], true) {
                continue;
            }
            match (self.graph.value(value).def, self.graph.defining_node(value)) {
                (Def::Argument(at), _) if subject.is_none_or(|known| known == at) => {
                    subject = Some(at);
                }
                (Def::Argument(_), _) => return None,
                (Def::Result { .. }, Some(node))
                    if !matches!(node.op, Op::State(_) | Op::Random { .. }) =>
                {
                    left.extend(node.operands.iter().copied());
                }
                (Def::Result { .. }, _) => return None,
            }
        }
        subject
    }

    /// An entry without outputs, checks or updates.
    ///
    /// ```
    /// use kilngrad_ir::{Entry, Graph, Mode};
    ///
    /// assert!(Entry::new("run", Mode::Eval, Graph::new()).outputs.is_empty());
    /// ```
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
    #[doc = graph_example!("assert!(program.entries[0].roots().eq([y]));")]
    pub fn roots(&self) -> impl Iterator<Item = Value> + '_ {
        let conditions = self.checks.iter().map(|check| check.condition);
        let updated = self.updates.iter().map(|(_, value)| *value);
        self.graph.results().iter().copied().chain(conditions).chain(updated)
    }

    /// The last node that defines a condition: when it has run, every check is decided. `None`
    /// where no node has to run for that.
    #[doc = graph_example!(
        "let mut entry = program.entries[0].clone();"
        "assert_eq!(entry.decided_after(), None);"
        "let expected = \"positive numbers\".into();"
        "entry.checks.push(Check { condition: y, expected, origin: Origin::unknown() });"
        "assert_eq!(entry.decided_after(), Some(NodeId::from_index(1)));"
    )]
    pub fn decided_after(&self) -> Option<NodeId> {
        let defined =
            self.checks.iter().filter_map(|check| match self.graph.value(check.condition).def {
                Def::Argument(_) => None,
                Def::Result { node, .. } => Some(node),
            });
        defined.max()
    }

    /// Every symbol that occurs in a type, in order of name.
    ///
    /// ```
    /// use kilngrad_ir::{Program, Symbol, text::Limits};
    ///
    /// let text = "kilngrad 1\nprogram \"p\"\nentry @run(%x: f32[n]) eval {\n  return x = %x\n}\n";
    /// let program = Program::parse(text, &Limits::default())?;
    /// assert!(program.entries[0].symbols().into_iter().eq([Symbol::new("n")]));
    /// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
    /// ```
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
#[doc = graph_example!(
    "assert_eq!(Program::parse(&program.to_string(), &Limits::default())?, program);"
)]
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
    ///
    /// ```
    /// use kilngrad_ir::Program;
    ///
    /// assert!(Program::new("empty").entries.is_empty());
    /// ```
    pub fn new(name: &str) -> Program {
        Program { name: name.into(), states: Vec::new(), entries: Vec::new() }
    }

    /// A state.
    ///
    /// # Panics
    ///
    /// If the program has no such state.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_ir::{Program, Role, text::Limits};
    ///
    /// let text = "kilngrad 1\nprogram \"p\"\nstate \"net.b\": f32[10] = 0.0 parameter\n";
    /// let program = Program::parse(text, &Limits::default())?;
    /// let id = program.find_state("net.b").expect("it is declared");
    /// assert_eq!(program.state(id).role, Role::Parameter);
    /// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
    /// ```
    pub fn state(&self, id: StateId) -> &State {
        &self.states[id.index()]
    }

    /// The state at `path`.
    ///
    /// ```
    /// use kilngrad_ir::{Program, text::Limits};
    ///
    /// let text = "kilngrad 1\nprogram \"p\"\nstate \"net.b\": f32[10] = 0.0 parameter\n";
    /// let program = Program::parse(text, &Limits::default())?;
    /// assert_eq!(program.find_state("net.b").map(|id| id.index()), Some(0));
    /// assert_eq!(program.find_state("net.w"), None);
    /// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
    /// ```
    pub fn find_state(&self, path: &str) -> Option<StateId> {
        let found = self.states.iter().position(|state| *state.path == *path);
        found.map(StateId::from_index)
    }

    /// The entry called `name`.
    #[doc = graph_example!(
        "assert_eq!(program.entry(\"run\"), Some(&program.entries[0]));"
        "assert_eq!(program.entry(\"train\"), None);"
    )]
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
