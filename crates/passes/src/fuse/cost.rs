//! What is computed again where it is read, and what is computed only there.
//!
//! Two steps weigh work against memory:
//!
//! - *Recompute*: a value that other kernels read, and that follows cheaply from values that lie in
//!   memory anyway, is computed by each reader. It becomes inline. No cycle can arise: whatever
//!   the value is computed from comes before its own kernel, which comes before its readers.
//! - *Absorb*: a map over another index space, all of whose uses are in one kernel, is computed
//!   there: a transposed or sliced chain, a scalar schedule that a tensor is multiplied with.
//!   No cycle can arise: every path from the map leads into that kernel first.

use kilngrad_ir::{Machine, Op, Value};

use super::cluster::{Clusters, Kind, MAX_MEMBERS};
use super::flow::{Alignment, Flow, Role};
use super::merge::Refusals;
use super::report::Reason;
use crate::shapes::{bytes, elements};

/// Cost of an element that may be computed again, relative to an addition.
const CHEAP: u32 = 8;

/// How many operations may be computed again for one value.
const MAX_TREE: usize = 6;

/// Cost of one element of a node, relative to an addition.
pub(super) fn cost(op: &Op) -> u32 {
    match op {
        Op::Unary(op) => op.row().cost,
        Op::Binary(op) => op.row().cost,
        Op::Compare(_) | Op::Select | Op::Cast | Op::Reduce { .. } | Op::Fold(_) => 1,
        Op::ArgReduce { .. } => 4,
        // Twenty rounds of additions, rotations and exclusive-ors.
        Op::Random { .. } => 100,
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Argsort { .. }
        | Op::Windows(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => 0,
    }
}

/// How many additions take as long as moving a byte: a vector unit adds faster than even the
/// nearest cache delivers, and memory behind the last cache is several times slower.
fn additions_per_byte(machine: &Machine, size: usize) -> usize {
    if size <= machine.l2_bytes { 1 } else { 3 }
}

/// Makes values inline that their readers compute again. Two rounds: what the first takes out of a
/// kernel may be all that kept another value's operands there.
pub(super) fn recompute(
    flow: &mut Flow<'_>,
    clusters: &mut Clusters,
    machine: &Machine,
    refusals: &mut Refusals,
) {
    for _ in 0..2 {
        recompute_once(flow, clusters, machine, refusals);
        flow.connect();
    }
}

fn recompute_once(
    flow: &mut Flow<'_>,
    clusters: &mut Clusters,
    machine: &Machine,
    refusals: &mut Refusals,
) {
    for node in 0..flow.roles.len() as u32 {
        if flow.roles[node as usize] != Role::Map || flow.inline[node as usize] {
            continue;
        }
        let outside = readers_outside(flow, clusters, node, flow.node(node).result());
        if outside.is_empty() {
            continue;
        }
        let tree = Tree::of(flow, clusters, node);
        match tree.filter(|tree| tree.pays(flow, clusters, machine, node, &outside)) {
            Some(tree) => {
                for node in tree.nodes {
                    flow.inline[node as usize] = true;
                }
            }
            None => {
                for reader in outside {
                    refusals.entry((node, reader)).or_insert(Reason::Recompute);
                }
            }
        }
    }
}

/// The readers of a value in other clusters than its own.
fn readers_outside(flow: &Flow<'_>, clusters: &mut Clusters, node: u32, value: Value) -> Vec<u32> {
    let own = clusters.of(node);
    let readers = &flow.readers[value.index()];
    readers.iter().copied().filter(|reader| clusters.of(*reader) != own).collect()
}

/// What a value is computed from, back to values that lie in memory anyway.
struct Tree {
    nodes: Vec<u32>,
    leaves: Vec<Value>,
    cost: u32,
}

impl Tree {
    /// The tree of a node, if it is small and cheap.
    fn of(flow: &Flow<'_>, clusters: &mut Clusters, root: u32) -> Option<Tree> {
        let mut tree = Tree { nodes: vec![root], leaves: Vec::new(), cost: 0 };
        let mut next = 0;
        while let Some(&node) = tree.nodes.get(next) {
            next += 1;
            let op = &flow.node(node).op;
            let needed = flow.in_memory[flow.node(node).result().index()];
            tree.cost += cost(op);
            if needed || !is_elementwise(op) || tree.cost > CHEAP || next > MAX_TREE {
                return None;
            }
            for edge in &flow.into[node as usize] {
                if lies_in_memory(flow, clusters, edge.value) {
                    if !tree.leaves.contains(&edge.value) {
                        tree.leaves.push(edge.value);
                    }
                } else if let Some(producer) = edge.producer
                    && !tree.nodes.contains(&producer)
                {
                    tree.nodes.push(producer);
                }
            }
        }
        Some(tree)
    }

    /// Whether it saves memory traffic if every reader outside computes the value itself.
    fn pays(
        &self,
        flow: &Flow<'_>,
        clusters: &mut Clusters,
        machine: &Machine,
        node: u32,
        outside: &[u32],
    ) -> bool {
        let value = flow.node(node).result();
        let size = bytes(flow.graph.ty(value));
        let work = elements(flow.graph.ty(value)) * self.cost as usize;
        let mut groups: Vec<u32> = outside.iter().map(|reader| clusters.of(*reader)).collect();
        groups.sort_unstable();
        groups.dedup();
        // The write is saved once, and a read in every group.
        let (mut saved, mut added) = (size, 0);
        for group in groups {
            let members = &clusters.get(group).members;
            let edges: Vec<_> =
                members.iter().flat_map(|member| flow.into[*member as usize].iter()).collect();
            let mut read_here = edges.iter().filter(|edge| edge.value == value);
            if !read_here.all(|edge| edge.alignment == Alignment::Direct) {
                return false;
            }
            let fresh =
                self.leaves.iter().filter(|leaf| !edges.iter().any(|edge| edge.value == **leaf));
            saved += size;
            added += fresh.map(|leaf| bytes(flow.graph.ty(*leaf))).sum::<usize>();
            // A vector of additions takes as long as one.
            let lanes = machine.lanes(flow.graph.ty(value).dtype);
            added += work / lanes / additions_per_byte(machine, size);
        }
        saved += self.freed(flow, clusters, node);
        saved > added
    }

    /// The bytes of leaves that the root's own cluster no longer reads if it computes the root no
    /// more.
    fn freed(&self, flow: &Flow<'_>, clusters: &mut Clusters, root: u32) -> usize {
        let own = clusters.of(root);
        let value = flow.node(root).result();
        if flow.readers[value.index()].iter().any(|reader| clusters.of(*reader) == own) {
            return 0;
        }
        let members = clusters.get(own).members.clone();
        let mut freed = 0;
        for &leaf in &self.leaves {
            let computed_here = flow
                .node_of(leaf)
                .is_some_and(|node| flow.is_real(node) && clusters.of(node) == own);
            let others = members.iter().filter(|member| !self.nodes.contains(member));
            let mut edges = others.flat_map(|member| &flow.into[*member as usize]);
            if !computed_here && !edges.any(|edge| edge.value == leaf) {
                freed += bytes(flow.graph.ty(leaf));
            }
        }
        freed
    }
}

/// Whether a value lies in memory whether or not one more kernel reads it. What other clusters
/// read does.
fn lies_in_memory(flow: &Flow<'_>, clusters: &mut Clusters, value: Value) -> bool {
    let Some(node) = flow.node_of(value).filter(|node| flow.is_real(*node)) else { return true };
    if flow.inline[node as usize] {
        return flow.in_memory[value.index()];
    }
    let own = clusters.of(node);
    flow.in_memory[value.index()]
        || matches!(flow.roles[node as usize], Role::View | Role::Kernel | Role::Piece)
        || flow.readers[value.index()].iter().any(|reader| clusters.of(*reader) != own)
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast)
}

/// Moves maps into the only cluster that reads them, where that saves more than it costs.
pub(super) fn absorb(
    flow: &Flow<'_>,
    clusters: &mut Clusters,
    machine: &Machine,
    refusals: &mut Refusals,
) {
    // Readers first: what a map is computed from may follow it.
    for group in clusters.by_rank().into_iter().rev() {
        if clusters.get(group).kind != Kind::Map {
            continue;
        }
        let Some(target) = only_reader(flow, clusters, group) else { continue };
        if clusters.get(target).members.len() + clusters.get(group).members.len() > MAX_MEMBERS {
            continue;
        }
        let evaluations = evaluations(flow, clusters, group);
        if worth_absorbing(flow, clusters, machine, group, evaluations) {
            clusters.absorb(group, target, evaluations);
        } else {
            let members = clusters.get(group).members.clone();
            for edge in edges_out(flow, clusters, &members, group) {
                if let Some(producer) = edge.producer {
                    refusals.insert((producer, edge.consumer), Reason::Recompute);
                }
            }
        }
    }
}

/// The only cluster that reads what a cluster computes, if it can compute it itself.
fn only_reader(flow: &Flow<'_>, clusters: &mut Clusters, group: u32) -> Option<u32> {
    let members = clusters.get(group).members.clone();
    let mut target = None;
    for &member in &members {
        let value = flow.node(member).result();
        if flow.in_memory[value.index()] {
            return None;
        }
        for &reader in &flow.readers[value.index()] {
            let other = clusters.of(reader);
            if other != group && *target.get_or_insert(other) != other {
                return None;
            }
        }
    }
    let target = target?;
    (clusters.get(target).kind != Kind::Fixed).then_some(target)
}

fn edges_out(
    flow: &Flow<'_>,
    clusters: &mut Clusters,
    members: &[u32],
    group: u32,
) -> Vec<super::flow::Edge> {
    let mut edges = Vec::new();
    for &member in members {
        let value = flow.node(member).result();
        for &reader in &flow.readers[value.index()] {
            if clusters.of(reader) != group {
                let into = flow.into[reader as usize].iter();
                edges.extend(into.filter(|edge| edge.value == value).cloned());
            }
        }
    }
    edges
}

/// How many elements of each member are computed if the readers compute a map: what they ask for,
/// as often as they are computed themselves where they are displaced already.
fn evaluations(flow: &Flow<'_>, clusters: &mut Clusters, group: u32) -> usize {
    let members = clusters.get(group).members.clone();
    let edges = edges_out(flow, clusters, &members, group);
    let asked = edges.iter().map(|edge| {
        let once = elements(flow.graph.ty(flow.node(edge.consumer).results[0])).max(1);
        let computed = clusters.displaced[edge.consumer as usize].unwrap_or(once);
        edge.evaluations.saturating_mul(computed.div_ceil(once))
    });
    asked.fold(0, usize::saturating_add)
}

fn worth_absorbing(
    flow: &Flow<'_>,
    clusters: &mut Clusters,
    machine: &Machine,
    group: u32,
    evaluations: usize,
) -> bool {
    let members = clusters.get(group).members.clone();
    let per_element: u32 = members.iter().map(|member| cost(&flow.node(*member).op)).sum();
    let mut leaving: Vec<Value> = Vec::new();
    for edge in edges_out(flow, clusters, &members, group) {
        if !leaving.contains(&edge.value) {
            leaving.push(edge.value);
        }
    }
    let (mut saved, mut once) = (0, 0);
    for ty in leaving.iter().map(|value| flow.graph.ty(*value)) {
        saved += 2 * bytes(ty) * additions_per_byte(machine, bytes(ty));
        once += elements(ty);
    }
    evaluations.saturating_sub(once).saturating_mul(per_element as usize) <= saved
}
