//! Clusters: groups of nodes that become one kernel, and which of them may be merged.
//!
//! Legality is a table. `S` is the index space of a cluster, `K` the space `S` without the reduced
//! axes; an edge is *direct*, *spread* (through one broadcast), *moved* (read at another index) or
//! *memory* (see [`Alignment`]).
//!
//! | clusters | merged | edges between them |
//! |---|---|---|
//! | map `S`, map `S` | map `S` | direct |
//! | map `S` or map `K`, reduce `S` over `R` | reduce | direct; spread from `K` along the kept axes |
//! | reduce `S` over `R`, the same | reduce | direct; spread from `K` along the kept axes |
//! | map `S`, contraction of result `S` | contraction | direct, into the epilogue only |
//! | map `T` all of whose uses are in one cluster | that cluster | all but memory: the map is computed where it is read |
//!
//! A reduction is not merged with what lies between the read of a state and its update: it writes
//! no result over an operand, so the new value would have to be copied.
//!
//! In every case no path may lead from one cluster to the other through a third, and the sum
//! of their nodes is bounded. Whatever these rules form is checked by [`super::contract`] against
//! the contract with lowering, which is stated independently.

use kilngrad_ir::Value;
use kilngrad_ir::op::Axes;

use super::contract::reduced;
use super::flow::{Alignment, Edge, Flow, Role};
use super::order::{Order, Refusal};
use super::report::Reason;
use crate::shapes::{Lengths, lengths};

/// Nodes of a cluster, at most; inline nodes come on top.
pub(super) const MAX_MEMBERS: usize = 128;

/// What a cluster becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A `map` kernel.
    Map,
    /// A `reduce` kernel over these axes.
    Reduce(Axes),
    /// A `contraction` kernel.
    Contraction,
    /// A `map` kernel whose result is put together from pieces.
    Piece,
    /// An `indexed` kernel.
    Indexed,
    /// No kernel, or one already: a view, a source.
    Fixed,
}

/// A group of nodes.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) kind: Kind,
    /// The index space `S`.
    pub(super) space: Lengths,
    pub(super) members: Vec<u32>,
    /// Whether it holds a node between the read of a state and its update.
    pub(super) in_place: bool,
}

impl Cluster {
    /// The space without the reduced axes.
    fn kept(&self, axes: &Axes) -> Lengths {
        let kept = self.space.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        kept.map(|(_, length)| *length).collect()
    }
}

/// The clusters of an entry.
#[derive(Debug)]
pub(super) struct Clusters {
    pub(super) order: Order,
    /// By the name of the group; empty where a group has another name now.
    pub(super) groups: Vec<Option<Cluster>>,
    /// Of nodes that are computed where they are read, at indices that are not their own: how many
    /// elements of them are, each as often as it is read.
    pub(super) displaced: Vec<Option<usize>>,
}

impl Clusters {
    /// Every node of the dataflow alone.
    pub(super) fn new(flow: &Flow<'_>) -> Clusters {
        let edges = flow.into.iter().flatten();
        let edges = edges.filter_map(|edge| Some((edge.producer?, edge.consumer)));
        let count = flow.roles.len();
        let group = |node: u32| flow.is_real(node).then(|| alone(flow, node));
        Clusters {
            order: Order::new(count, edges),
            groups: (0..count as u32).map(group).collect(),
            displaced: vec![None; count],
        }
    }

    /// The cluster of a node.
    pub(super) fn of(&mut self, node: u32) -> u32 {
        self.order.find(node)
    }

    /// A cluster by the name of its group.
    pub(super) fn get(&self, group: u32) -> &Cluster {
        self.groups[group as usize].as_ref().expect("names of groups are current")
    }

    /// Merges two clusters if the table and the order allow it.
    pub(super) fn try_merge(&mut self, flow: &Flow<'_>, a: u32, b: u32) -> Result<u32, Reason> {
        let merged = self.merged_kind(flow, a, b)?;
        let name = self.order.merge(a, b).map_err(|refusal| match refusal {
            Refusal::Cycle(group) => {
                let through = self.get(group).members[0];
                let result = flow.node(through).results[0];
                Reason::Cycle { through: flow.graph.name(result).to_string() }
            }
            Refusal::Budget => Reason::SearchLimit,
        })?;
        let (kept, gone) = if name == a { (a, b) } else { (b, a) };
        let gone = self.groups[gone as usize].take().expect("names of groups are current");
        let kept = self.groups[kept as usize].as_mut().expect("names of groups are current");
        kept.members.extend(gone.members);
        kept.in_place |= gone.in_place;
        (kept.kind, kept.space) = merged;
        Ok(name)
    }

    /// What two clusters would become, by the table and their sizes alone.
    pub(super) fn merged_kind(
        &mut self,
        flow: &Flow<'_>,
        a: u32,
        b: u32,
    ) -> Result<(Kind, Lengths), Reason> {
        let (left, right) = (self.get(a), self.get(b));
        let merged = kinds(left, right)?;
        if (left.in_place || right.in_place) && matches!(merged.0, Kind::Reduce(_)) {
            return Err(Reason::InPlace);
        }
        if left.members.len() + right.members.len() > MAX_MEMBERS {
            return Err(Reason::Size);
        }
        let (few, many) = if left.members.len() <= right.members.len() { (a, b) } else { (b, a) };
        for edge in self.between(flow, few, many) {
            if self.displaced[edge.consumer as usize].is_some() {
                return Err(Reason::Moved);
            }
            allowed(flow, &edge, &merged.0, &merged.1)?;
        }
        Ok(merged)
    }

    /// The edges between two clusters.
    fn between(&mut self, flow: &Flow<'_>, few: u32, many: u32) -> Vec<Edge> {
        let mut edges = self.edges_from(flow, many, few);
        // A value may have more readers than the other cluster has members.
        let results = |node: &u32| flow.node(*node).results.iter();
        let members = &self.get(few).members;
        let values: Vec<Value> = members.iter().flat_map(results).copied().collect();
        let readers = |value: &Value| flow.readers[value.index()].len();
        if values.iter().map(readers).sum::<usize>() > self.get(many).members.len() {
            edges.extend(self.edges_from(flow, few, many));
            return edges;
        }
        for value in values {
            for &reader in &flow.readers[value.index()] {
                if self.of(reader) == many {
                    let into = flow.into[reader as usize].iter();
                    edges.extend(into.filter(|edge| edge.value == value).cloned());
                }
            }
        }
        edges
    }

    /// The edges from one cluster into another, found from the latter.
    fn edges_from(&mut self, flow: &Flow<'_>, from: u32, into: u32) -> Vec<Edge> {
        let members = self.get(into).members.clone();
        let edges = members.iter().flat_map(|member| &flow.into[*member as usize]);
        let inside = |edge: &&Edge| edge.producer.is_some_and(|node| self.of(node) == from);
        edges.filter(inside).cloned().collect()
    }

    /// Computes the nodes of a map where one other cluster reads them, so many elements of each.
    pub(super) fn absorb(&mut self, group: u32, into: u32, evaluations: usize) {
        let gone = self.groups[group as usize].take().expect("names of groups are current");
        for member in &gone.members {
            self.displaced[*member as usize] = Some(evaluations);
        }
        self.order.absorb(group, into);
        let kept = self.groups[into as usize].as_mut().expect("names of groups are current");
        kept.members.extend(gone.members);
    }

    /// The current groups, by rank.
    pub(super) fn by_rank(&self) -> Vec<u32> {
        let count = self.groups.len() as u32;
        let mut groups: Vec<u32> =
            (0..count).filter(|group| self.groups[*group as usize].is_some()).collect();
        groups.sort_unstable_by_key(|group| self.order.rank(*group));
        groups
    }
}

fn alone(flow: &Flow<'_>, node: u32) -> Cluster {
    let operand = || lengths(flow.graph.ty(flow.node(node).operands[0]));
    let (kind, space) = match flow.roles[node as usize] {
        Role::Map => (Kind::Map, flow.lengths(node)),
        Role::Reduce => {
            let axes = reduced(flow.node(node)).expect("reductions have this role alone");
            (Kind::Reduce(axes), operand())
        }
        Role::Contraction => (Kind::Contraction, flow.lengths(node)),
        Role::Indexed => (Kind::Indexed, flow.lengths(node)),
        Role::Piece => (Kind::Piece, flow.lengths(node)),
        Role::View | Role::Kernel | Role::Source | Role::Inline => {
            (Kind::Fixed, flow.lengths(node))
        }
    };
    Cluster { kind, space, members: vec![node], in_place: flow.in_place[node as usize] }
}

/// The first two columns of the table. Where no axis is reduced, `S` and `K` are one, and it could
/// not be told what follows a reduction and what precedes it: such a reduction stays alone.
fn kinds(a: &Cluster, b: &Cluster) -> Result<(Kind, Lengths), Reason> {
    for cluster in [a, b] {
        if let Kind::Reduce(axes) = &cluster.kind
            && axes.is_empty()
        {
            return Err(Reason::spaces(&a.space, &b.space));
        }
    }
    match (&a.kind, &b.kind) {
        (Kind::Map, Kind::Map) => {
            if a.space == b.space {
                Ok((Kind::Map, a.space.clone()))
            } else {
                Err(Reason::spaces(&a.space, &b.space))
            }
        }
        (Kind::Map, Kind::Reduce(axes)) => map_and_reduce(a, b, axes),
        (Kind::Reduce(axes), Kind::Map) => map_and_reduce(b, a, axes),
        (Kind::Reduce(left), Kind::Reduce(right)) => {
            if a.space != b.space {
                Err(Reason::spaces(&a.space, &b.space))
            } else if left != right {
                Err(Reason::Axes { producer: left.to_vec(), consumer: right.to_vec() })
            } else {
                Ok((a.kind.clone(), a.space.clone()))
            }
        }
        (Kind::Map, Kind::Contraction) | (Kind::Contraction, Kind::Map) => {
            if a.space == b.space {
                Ok((Kind::Contraction, a.space.clone()))
            } else {
                Err(Reason::spaces(&a.space, &b.space))
            }
        }
        (Kind::Contraction, Kind::Contraction | Kind::Reduce(_))
        | (Kind::Reduce(_), Kind::Contraction) => Err(Reason::Contraction),
        (Kind::Piece, _) | (_, Kind::Piece) => Err(Reason::Pieces),
        (Kind::Indexed | Kind::Fixed, _) | (_, Kind::Indexed | Kind::Fixed) => Err(Reason::Memory),
    }
}

fn map_and_reduce(map: &Cluster, reduce: &Cluster, axes: &Axes) -> Result<(Kind, Lengths), Reason> {
    if map.space == reduce.space || map.space == reduce.kept(axes) {
        Ok((reduce.kind.clone(), reduce.space.clone()))
    } else {
        Err(Reason::spaces(&map.space, &reduce.space))
    }
}

/// The last column of the table: an edge within a cluster of this kind and space.
fn allowed(flow: &Flow<'_>, edge: &Edge, kind: &Kind, space: &Lengths) -> Result<(), Reason> {
    match &edge.alignment {
        Alignment::Direct => Ok(()),
        Alignment::Memory => Err(Reason::Memory),
        Alignment::Moved => Err(Reason::Moved),
        Alignment::Spread(dims) => {
            let Kind::Reduce(axes) = kind else { return Err(Reason::Moved) };
            let kept = (0..space.len()).filter(|axis| !axes.contains(axis));
            // The broadcast's own lengths tell that it leads to the full space: the producer's
            // lengths are those of the kept axes, and its consumer's those of the space.
            let from = lengths(flow.graph.ty(edge.value));
            let same = kept.clone().map(|axis| space[axis]).eq(from.iter().copied());
            let full = reads_full(flow, edge, space);
            if same && full && dims.iter().copied().eq(kept) { Ok(()) } else { Err(Reason::Moved) }
        }
    }
}

/// Whether the consumer reads along the edge in the full space.
fn reads_full(flow: &Flow<'_>, edge: &Edge, space: &Lengths) -> bool {
    let node = flow.node(edge.consumer);
    match flow.roles[edge.consumer as usize] {
        Role::Reduce => lengths(flow.graph.ty(node.operands[0])) == *space,
        Role::Map | Role::Contraction | Role::Piece => flow.lengths(edge.consumer) == *space,
        Role::Source | Role::View | Role::Inline | Role::Indexed | Role::Kernel => false,
    }
}
