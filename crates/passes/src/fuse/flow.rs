//! The dataflow that fusion decides on: what each node is to a kernel, and how values travel
//! between nodes.
//!
//! Some nodes cost nothing inside a kernel: constants, `iota`, and operations that only say at
//! which index an operand is read. They are *inline*: every kernel that uses one has its own copy,
//! so they are no nodes of the dataflow but part of its edges.

use kilngrad_ir::op::Axes;
use kilngrad_ir::{Constant, Def, Entry, Graph, Node, NodeId, Op, StateId, Value};
use smallvec::SmallVec;

use super::contract::places;
use crate::shapes::{Lengths, elements, lengths};

/// How many inline nodes may follow one another.
const MAX_INLINE: u8 = 8;

/// How many nodes between a state and its update are looked at.
const MAX_CHAIN: usize = 64;

/// What a node is to fusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// In memory before any kernel runs.
    Source,
    /// Another shape for a value in memory.
    View,
    /// Copied into every kernel that uses it.
    Inline,
    /// Computed element by element.
    Map,
    /// A reduction.
    Reduce,
    /// A contraction.
    Contraction,
    /// A gather or scatter.
    Indexed,
    /// Put together from pieces: `concat`, `pad` and `fold`.
    Piece,
    /// A kernel already, or a scan, whose region has kernels of its own.
    Kernel,
}

/// At which index a value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Alignment {
    /// At the index that is computed.
    Direct,
    /// At that index without some axes: through one broadcast, whose `dims` these are.
    Spread(Axes),
    /// At another index.
    Moved,
    /// At any: it must lie in memory.
    Memory,
}

/// A value on its way from one node to another.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    /// The value as it is produced.
    pub(super) value: Value,
    /// The node that computes it, unless it is a source, inline, or an argument.
    pub(super) producer: Option<u32>,
    /// The node that reads it.
    pub(super) consumer: u32,
    /// At which index.
    pub(super) alignment: Alignment,
    /// How many elements of it are computed if the consumer computes them itself.
    pub(super) evaluations: usize,
}

/// The dataflow of an entry.
#[derive(Debug)]
pub(super) struct Flow<'g> {
    pub(super) graph: &'g Graph,
    pub(super) roles: Vec<Role>,
    /// Inline nodes, which may have another role besides where their value must be in memory.
    pub(super) inline: Vec<bool>,
    /// Values that must lie in memory whatever is fused.
    pub(super) in_memory: Vec<bool>,
    /// Contractions whose result is only transposed, and these transposes: they are one node.
    placed: Vec<bool>,
    /// Windows that contractions read through, unless they lie in memory themselves. What they are
    /// of does, and whoever else reads through them finds it there.
    viewed: Vec<bool>,
    /// Nodes between the read of a state and its update, which may write over what they read.
    pub(super) in_place: Vec<bool>,
    /// Edges into each node.
    pub(super) into: Vec<SmallVec<[Edge; 3]>>,
    /// Nodes that read each value along an edge, ascending.
    pub(super) readers: Vec<Vec<u32>>,
}

impl<'g> Flow<'g> {
    /// The dataflow of an entry, or the first node that no kernel may hold.
    pub(super) fn new(entry: &'g Entry) -> Result<Flow<'g>, NodeId> {
        let graph = &entry.graph;
        let (in_memory, viewed) = values_in_memory(entry);
        let mut flow = Flow {
            graph,
            roles: vec![Role::Source; graph.node_count()],
            inline: vec![false; graph.node_count()],
            placed: placed(graph, &in_memory),
            in_memory,
            viewed,
            in_place: vec![false; graph.node_count()],
            into: Vec::new(),
            readers: Vec::new(),
        };
        let mut depth = vec![0u8; graph.node_count()];
        for (id, node) in graph.nodes() {
            let role = flow.role(id, node, &mut depth).ok_or(id)?;
            flow.roles[id.index()] = role;
        }
        flow.connect();
        for (state, value) in &entry.updates {
            flow.mark_in_place(*state, *value);
        }
        Ok(flow)
    }

    /// Marks the elementwise nodes on the way from reads of a state to its update. A reduction
    /// writes no result over an operand, so a kernel with one that held them would leave the new
    /// value beside the old, to be copied over it later.
    fn mark_in_place(&mut self, state: StateId, update: Value) {
        let Some(root) = self.node_of(update).filter(|root| self.is_map(*root)) else { return };
        let lengths = self.lengths(root);
        let mut chain = vec![root];
        let mut next = 0;
        while let Some(&node) = chain.get(next) {
            next += 1;
            for edge in &self.into[node as usize] {
                if let Some(producer) = edge.producer
                    && edge.alignment == Alignment::Direct
                    && self.is_map(producer)
                    && self.lengths(producer) == lengths
                    && !chain.contains(&producer)
                    && chain.len() < MAX_CHAIN
                {
                    chain.push(producer);
                }
            }
        }
        chain.sort_unstable();
        for node in chain {
            let reads = |edge: &Edge| {
                let from = self.graph.defining_node(edge.value);
                let read = from.is_some_and(|from| from.op == Op::State(state));
                let on_the_way = edge.producer.is_some_and(|from| self.in_place[from as usize]);
                edge.alignment == Alignment::Direct && (read || on_the_way)
            };
            self.in_place[node as usize] = self.into[node as usize].iter().any(reads);
        }
    }

    fn is_map(&self, node: u32) -> bool {
        self.roles[node as usize] == Role::Map
    }

    /// The node that computes a value.
    pub(super) fn node_of(&self, value: Value) -> Option<u32> {
        match self.graph.value(value).def {
            Def::Argument(_) => None,
            Def::Result { node, .. } => Some(node.index() as u32),
        }
    }

    /// A node by its number.
    pub(super) fn node(&self, node: u32) -> &'g Node {
        self.graph.node(NodeId::from_index(node as usize))
    }

    /// The lengths of a node's result.
    pub(super) fn lengths(&self, node: u32) -> Lengths {
        lengths(self.graph.ty(self.node(node).results[0]))
    }

    /// Whether a node is part of the dataflow: not a source and not merely inline.
    pub(super) fn is_real(&self, node: u32) -> bool {
        !matches!(self.roles[node as usize], Role::Source | Role::Inline)
    }

    /// Whether a node reads an operand from memory even where it could be computed beside it.
    pub(super) fn reads_memory(&self, node: u32, operand: usize) -> bool {
        if self.is_view(node) {
            return true;
        }
        let (node, from) = (self.node(node), self.node_of(self.node(node).operands[operand]));
        reads_memory(&node.op)
            && !starts_from_splat(self.graph, node, operand)
            && !(matches!(node.op, Op::Dot(_)) && from.is_some_and(|from| self.is_view(from)))
    }

    /// Whether a node only says at which addresses a contraction finds its operand.
    fn is_view(&self, node: u32) -> bool {
        self.viewed[node as usize] && self.inline[node as usize]
    }

    /// Makes the edges anew, after nodes have become inline.
    pub(super) fn connect(&mut self) {
        self.into = vec![SmallVec::new(); self.graph.node_count()];
        self.readers = vec![Vec::new(); self.graph.value_count()];
        for (id, node) in self.graph.nodes() {
            let consumer = id.index() as u32;
            // What every reader computes for itself reads through them.
            if !self.is_real(consumer) || self.inline[id.index()] {
                continue;
            }
            let mut edges = SmallVec::new();
            for &operand in &node.operands {
                self.edges(consumer, node, operand, &mut edges);
            }
            for edge in &edges {
                let readers = &mut self.readers[edge.value.index()];
                if readers.last() != Some(&consumer) {
                    readers.push(consumer);
                }
            }
            self.into[id.index()] = edges;
        }
    }

    /// The edges that end at one operand: one, unless inline nodes with several operands lie
    /// between.
    fn edges(&self, consumer: u32, node: &Node, operand: Value, out: &mut SmallVec<[Edge; 3]>) {
        let start = match &node.op {
            Op::Dot(_)
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Argsort { .. }
            | Op::Reshape
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Kernel(_)
            | Op::Random { .. } => Alignment::Memory,
            Op::Broadcast { dims } => Alignment::Spread(dims.clone()),
            Op::Transpose { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Windows(_)
            | Op::Fold(_) => Alignment::Moved,
            Op::State(_)
            | Op::Constant(_)
            | Op::Dimension(_)
            | Op::Iota { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Cast
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. } => Alignment::Direct,
        };
        let asked = elements(self.graph.ty(node.results[0]));
        let mut stack = vec![(operand, start, evaluations(self.graph, node, operand, asked))];
        while let Some((value, alignment, asked)) = stack.pop() {
            let inline = self.node_of(value).filter(|node| self.inline[*node as usize]);
            let through = |node: &u32| alignment != Alignment::Memory || self.is_view(*node);
            let Some(inline) = inline.filter(through) else {
                let producer = self.node_of(value).filter(|node| self.is_real(*node));
                out.push(Edge { value, producer, consumer, alignment, evaluations: asked });
                continue;
            };
            let through = self.node(inline);
            for &operand in through.operands.iter().rev() {
                let memory = self.is_view(inline) || matches!(through.op, Op::Dot(_));
                let alignment = match memory {
                    true => Alignment::Memory,
                    false => after(&alignment, &through.op),
                };
                let count = evaluations(self.graph, through, operand, asked);
                stack.push((operand, alignment, count));
            }
        }
    }

    fn role(&mut self, id: NodeId, node: &Node, depth: &mut [u8]) -> Option<Role> {
        let needed = node.results.iter().any(|value| self.in_memory[value.index()]);
        let below = node.operands.iter().filter_map(|value| self.node_of(*value));
        let below = below.filter(|node| self.inline[*node as usize]);
        let below = below.map(|node| depth[node as usize]).max().unwrap_or(0);
        Some(match &node.op {
            Op::State(_) | Op::Constant(Constant::Dense(_)) => Role::Source,
            Op::Reshape => Role::View,
            Op::Constant(Constant::Splat(_)) | Op::Iota { .. } => {
                self.inline[id.index()] = true;
                depth[id.index()] = 1;
                if needed { Role::Map } else { Role::Inline }
            }
            Op::Transpose { .. } if self.placed[id.index()] => Role::Contraction,
            Op::Dot(_) if self.placed[id.index()] => {
                self.inline[id.index()] = true;
                depth[id.index()] = 1;
                Role::Inline
            }
            Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice(_) | Op::Windows(_) => {
                if needed || below >= MAX_INLINE {
                    Role::Map
                } else {
                    self.inline[id.index()] = true;
                    depth[id.index()] = below + 1;
                    Role::Inline
                }
            }
            Op::Random { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Cast => Role::Map,
            Op::Reduce { .. } | Op::ArgReduce { .. } => Role::Reduce,
            Op::Dot(_) => Role::Contraction,
            Op::Gather { .. } | Op::ScatterAdd { .. } | Op::Argsort { .. } => Role::Indexed,
            Op::Pad(_) | Op::Concat { .. } | Op::Fold(_) => Role::Piece,
            Op::Kernel(_) | Op::Scan(_) | Op::Cond(_) | Op::While(_) => Role::Kernel,
            Op::Dimension(_) | Op::StopGradient | Op::CustomGradient(_) | Op::Gradient { .. } => {
                return None;
            }
        })
    }
}

/// The alignment of what an inline node reads, given its own.
fn after(alignment: &Alignment, op: &Op) -> Alignment {
    let Op::Broadcast { dims } = op else {
        let moves = matches!(op, Op::Transpose { .. } | Op::Slice(_) | Op::Windows(_));
        return if moves { Alignment::Moved } else { alignment.clone() };
    };
    if *alignment == Alignment::Direct { Alignment::Spread(dims.clone()) } else { Alignment::Moved }
}

/// How many elements of `operand` are asked for by a node of which `asked` are. A broadcast that
/// repeats along the last axes asks once for each element: lowering computes outside of an inner
/// loop what that loop does not change.
fn evaluations(graph: &Graph, node: &Node, operand: Value, asked: usize) -> usize {
    let operand = elements(graph.ty(operand));
    if let Op::Broadcast { dims } = &node.op
        && dims.iter().copied().eq(0..dims.len())
    {
        let repeats = elements(graph.ty(node.results[0])) / operand.max(1);
        return asked / repeats.max(1);
    }
    if matches!(
        node.op,
        Op::Reduce { .. } | Op::ArgReduce { .. } | Op::Pad(_) | Op::Concat { .. } | Op::Fold(_)
    ) {
        return operand;
    }
    asked
}

/// Contractions pack their operands, indices pick any element, views share their memory, and the
/// key of random numbers is made before the loop.
fn reads_memory(op: &Op) -> bool {
    matches!(
        op,
        Op::Dot(_)
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Argsort { .. }
            | Op::Reshape
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Kernel(_)
            | Op::Random { .. }
    )
}

/// Contractions whose result a transpose alone reads, and those transposes.
fn placed(graph: &Graph, in_memory: &[bool]) -> Vec<bool> {
    let uses = graph.use_counts();
    let mut placed = vec![false; graph.node_count()];
    for (id, node) in graph.nodes() {
        let Some(operand) = node.operands.first().filter(|_| places(graph, node)) else { continue };
        let Def::Result { node: dot, .. } = graph.value(*operand).def else { continue };
        if uses[operand.index()] == 1 && !in_memory[operand.index()] {
            placed[id.index()] = true;
            placed[dot.index()] = true;
        }
    }
    placed
}

/// Values that roots, views, contractions, kernels and random numbers read from memory, and the nodes
/// that contractions read through: of windows it is their operand that lies in memory.
fn values_in_memory(entry: &Entry) -> (Vec<bool>, Vec<bool>) {
    let graph = &entry.graph;
    let mut needed = vec![false; graph.value_count()];
    let mut viewed = vec![false; graph.node_count()];
    for root in entry.roots() {
        needed[root.index()] = true;
    }
    for (_, node) in graph.nodes() {
        if !reads_memory(&node.op) {
            continue;
        }
        for (position, &operand) in node.operands.iter().enumerate() {
            match graph.value(operand).def {
                Def::Result { node: from, .. }
                    if matches!((&node.op, &graph.node(from).op), (Op::Dot(_), Op::Windows(_))) =>
                {
                    viewed[from.index()] = true;
                    needed[graph.node(from).operands[0].index()] = true;
                }
                Def::Argument(_) | Def::Result { .. } => {
                    needed[operand.index()] |= !starts_from_splat(graph, node, position);
                }
            }
        }
    }
    (needed, viewed)
}

/// Whether an operand is the constant that a scatter adds to, which its kernel writes itself.
fn starts_from_splat(graph: &Graph, node: &Node, operand: usize) -> bool {
    let from = graph.defining_node(node.operands[operand]);
    let splat = from.is_some_and(|from| matches!(from.op, Op::Constant(Constant::Splat(_))));
    operand == 0 && splat && matches!(node.op, Op::ScatterAdd { .. })
}
