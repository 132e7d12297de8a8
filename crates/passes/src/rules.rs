//! The engine under `simplify`, `stabilise` and `strength`: local rules applied while a graph is
//! copied.
//!
//! A rule looks at one proposed node, whose operands are already rewritten, and says what stands
//! for it: a value that exists, or another node. What a rule proposes is looked at again, a
//! bounded number of times, so that rules compose within a sweep; a pass makes a fixed number of
//! sweeps. Hence the work is linear in the graph, and termination does not depend on the rules.
//!
//! Rules see the definition of an operand through [`Context::def`], which hides the definitions of
//! values that pending gradient requests differentiate by (see [`crate::pins`]); a pinned node
//! itself is copied as it is.

use kilngrad_ir::op::UnaryOp;
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Constant, Entry, Graph, Literal, Node, Op, Origin, Type, Value};
use smallvec::SmallVec;

use crate::pins::Pins;
use crate::regions::with_regions;

/// Operands of a node.
pub(crate) type Operands = SmallVec<[Value; 3]>;

/// A concatenation is not grown beyond this many pieces, so that growing it stays cheap.
pub(crate) const MAX_PIECES: usize = 1024;

/// How often a proposed node is looked at again before it is taken as it is.
const MAX_STEPS: usize = 16;

/// How deep rules may build nodes that are looked at themselves.
const MAX_DEPTH: usize = 6;

/// A node that is about to be appended.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) op: Op,
    pub(crate) operands: Operands,
    pub(crate) ty: Type,
}

/// What stands for a proposed node.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives for one step, and mostly is the large one")]
pub(crate) enum Step {
    /// This value.
    Value(Value),
    /// A node of the same type, to be looked at again.
    Node(Op, Operands),
}

/// A family of rules.
pub(crate) type Rule = fn(&mut Context<'_>, &Proposal) -> Option<Step>;

/// What rules see and append to.
#[derive(Debug)]
pub(crate) struct Context<'c> {
    graph: &'c mut Graph,
    facts: &'c mut Facts,
    rules: &'c [Rule],
    origin: Origin,
    depth: usize,
}

/// What is known of the values of the new graph.
#[derive(Debug, Default)]
struct Facts {
    pinned: Vec<bool>,
    uses: Vec<u32>,
    requests: bool,
}

/// The entry after up to `sweeps` sweeps of `rules`; fewer where nothing changes any more.
pub(crate) fn sweep(entry: &Entry, rules: &[Rule], sweeps: usize) -> Entry {
    sweep_within(entry, rules, sweeps, false)
}

/// As [`sweep`], for a region too: `requests` says whether a gradient request is pending around it.
fn sweep_within(entry: &Entry, rules: &[Rule], sweeps: usize, requests: bool) -> Entry {
    let requests = requests || Pins::of(&entry.graph).any_request();
    let entry = with_regions(entry, |region| sweep_within(region, rules, sweeps, requests));
    let (mut entry, mut changed) = sweep_once(&entry, rules, requests);
    for _ in 1..sweeps {
        if !changed {
            break;
        }
        (entry, changed) = sweep_once(&crate::dce::drop_dead(&entry), rules, requests);
    }
    entry
}

fn sweep_once(entry: &Entry, rules: &[Rule], requests: bool) -> (Entry, bool) {
    let graph = &entry.graph;
    let pins = Pins::of(graph);
    let mut uses = graph.use_counts();
    // The graph counts its results.
    for value in entry.roots().skip(graph.results().len()) {
        uses[value.index()] += 1;
    }
    let mut facts = Facts { requests, ..Facts::default() };
    let mut rewriter = Rewriter::new(graph);
    for &argument in graph.arguments() {
        facts.map(argument, rewriter.get(argument), &uses, &pins);
    }
    let mut changed = false;
    for (id, node) in graph.nodes() {
        let pinned = node.results.iter().any(|value| pins.contains(*value));
        let outcome = match node.results.as_slice() {
            [result] if !pinned => {
                let proposal = Proposal {
                    op: node.op.clone(),
                    operands: rewriter.operands(node),
                    ty: graph.ty(*result).clone(),
                };
                let mut context = Context {
                    graph: rewriter.target_mut(),
                    facts: &mut facts,
                    rules,
                    origin: node.origin.replacing([graph.name(*result)]),
                    depth: 0,
                };
                context.resolve(proposal)
            }
            _ => Outcome::Same,
        };
        match outcome {
            Outcome::Same => {
                rewriter.copy(id);
            }
            Outcome::Node(op, operands) => {
                changed = true;
                rewriter.copy_with(id, op, &operands);
            }
            Outcome::Value(value) => {
                changed = true;
                rewriter.replace(node.result(), value);
            }
        }
        for &result in &node.results {
            facts.map(result, rewriter.get(result), &uses, &pins);
        }
    }
    (rewriter.finish_entry(entry), changed)
}

#[expect(clippy::large_enum_variant, reason = "lives for one node")]
enum Outcome {
    Same,
    Node(Op, Operands),
    Value(Value),
}

impl Facts {
    /// Notes what stands for `old`. A value that stands for several is used as often as they all.
    fn map(&mut self, old: Value, new: Value, uses: &[u32], pins: &Pins) {
        let size = self.uses.len().max(new.index() + 1);
        self.uses.resize(size, 0);
        self.pinned.resize(size, false);
        self.uses[new.index()] += uses[old.index()];
        self.pinned[new.index()] |= pins.contains(old);
    }
}

impl Context<'_> {
    /// The node that defines a value, unless the value is an argument or pinned.
    pub(crate) fn def(&self, value: Value) -> Option<&Node> {
        let pinned = self.facts.pinned.get(value.index()).copied().unwrap_or(false);
        if pinned { None } else { self.graph.defining_node(value) }
    }

    /// The type of a value.
    pub(crate) fn ty(&self, value: Value) -> &Type {
        self.graph.ty(value)
    }

    /// The element of a constant whose elements are all equal.
    pub(crate) fn splat(&self, value: Value) -> Option<Literal> {
        let Op::Constant(Constant::Splat(literal)) = self.def(value)?.op else { return None };
        Some(literal)
    }

    /// The element of such a constant, as a number; truth values have none.
    pub(crate) fn number(&self, value: Value) -> Option<f64> {
        let literal = self.splat(value)?;
        (literal.dtype() != kilngrad_ir::DType::Bool).then(|| literal.to_f64())
    }

    /// The operand of the unary operation that defines `value`.
    pub(crate) fn unary_of(&self, op: UnaryOp, value: Value) -> Option<Value> {
        let node = self.def(value)?;
        (node.op == Op::Unary(op)).then(|| node.operands[0])
    }

    /// Whether nothing but one node uses the value.
    pub(crate) fn single_use(&self, value: Value) -> bool {
        self.facts.uses.get(value.index()).is_none_or(|uses| *uses <= 1)
    }

    /// Whether a rule may let an operand go unused, or put what has another derivative in a node's
    /// place. While a gradient request is pending it may not: a loss that no longer reaches what it
    /// is differentiated by is an error.
    pub(crate) fn may_drop(&self) -> bool {
        !self.facts.requests
    }

    /// A constant of the given type.
    pub(crate) fn constant(&mut self, ty: &Type, literal: Literal) -> Value {
        self.append(Op::Constant(Constant::Splat(literal)), &[], ty)
    }

    /// The constant nearest to `number` of the given type.
    pub(crate) fn number_constant(&mut self, ty: &Type, number: f64) -> Value {
        self.constant(ty, Literal::from_f64(ty.dtype, number))
    }

    /// Appends a node of the type `ty`, or what rules make of it.
    pub(crate) fn build(&mut self, op: Op, operands: &[Value], ty: &Type) -> Value {
        if self.depth >= MAX_DEPTH {
            return self.append(op, operands, ty);
        }
        self.depth += 1;
        let proposal = Proposal { op, operands: operands.into(), ty: ty.clone() };
        let (op, operands) = match self.resolve(proposal.clone()) {
            Outcome::Same => (proposal.op, proposal.operands),
            Outcome::Node(op, operands) => (op, operands),
            Outcome::Value(value) => {
                self.depth -= 1;
                return value;
            }
        };
        self.depth -= 1;
        self.append(op, &operands, ty)
    }

    fn append(&mut self, op: Op, operands: &[Value], ty: &Type) -> Value {
        let types = std::slice::from_ref(ty);
        let node = self.graph.append_unchecked(op, operands, types, self.origin.clone());
        self.graph.node(node).result()
    }

    fn resolve(&mut self, mut proposal: Proposal) -> Outcome {
        let mut changed = false;
        for _ in 0..MAX_STEPS {
            let rules = self.rules;
            let step = rules.iter().find_map(|rule| rule(self, &proposal));
            match step {
                None => break,
                Some(Step::Value(value)) => return Outcome::Value(value),
                Some(Step::Node(op, operands)) => {
                    changed = true;
                    proposal.op = op;
                    proposal.operands = operands;
                }
            }
        }
        if changed { Outcome::Node(proposal.op, proposal.operands) } else { Outcome::Same }
    }
}
