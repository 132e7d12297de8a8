//! Which clusters are merged: along the dataflow first, then side by side.
//!
//! Nodes are visited in order, and each joins the clusters of its producers, the one with most
//! bytes between them first and the nearest of equals: an epilogue closes up with the contraction
//! or reduction that it follows, and what feeds a reduction with the reduction. Then clusters that
//! read the same array at the same indices are merged, so that it is read once: the sums of `g`
//! and of `g·x̂`, say.

use std::collections::BTreeMap;

use kilngrad_ir::Value;

use super::cluster::{Clusters, Kind};
use super::flow::{Alignment, Flow, Role};
use super::report::Reason;
use crate::shapes::{bytes, lengths};

/// How many readers of one value are looked at as siblings.
const MAX_SIBLINGS: usize = 16;

/// Why nodes that were tried did not merge: by producer and consumer.
pub(super) type Refusals = BTreeMap<(u32, u32), Reason>;

/// Merges along the dataflow.
pub(super) fn merge_chains(flow: &Flow<'_>, clusters: &mut Clusters, refusals: &mut Refusals) {
    for node in 0..flow.roles.len() as u32 {
        match flow.roles[node as usize] {
            Role::Map | Role::Reduce => join_producers(flow, clusters, node, refusals),
            Role::Source | Role::View | Role::Inline | Role::Contraction => {}
            Role::Indexed | Role::Piece | Role::Kernel => {}
        }
    }
}

fn join_producers(flow: &Flow<'_>, clusters: &mut Clusters, node: u32, refusals: &mut Refusals) {
    let mut producers: Vec<(usize, u32, u32)> = Vec::new();
    for edge in &flow.into[node as usize] {
        let Some(producer) = edge.producer else { continue };
        let group = clusters.of(producer);
        let size = bytes(flow.graph.ty(edge.value));
        producers.push((size, clusters.order.rank(group), producer));
    }
    producers.sort_unstable_by(|a, b| b.cmp(a));
    producers.dedup();
    for (_, _, producer) in producers {
        let (own, other) = (clusters.of(node), clusters.of(producer));
        if own == other {
            continue;
        }
        if let Err(reason) = clusters.try_merge(flow, other, own) {
            refusals.insert((producer, node), reason);
        }
    }
}

/// Merges clusters that read the same array in the same index space.
pub(super) fn merge_siblings(flow: &Flow<'_>, clusters: &mut Clusters) {
    for index in 0..flow.graph.value_count() {
        let value = Value::from_index(index);
        let readers = &flow.readers[index];
        if readers.len() < 2 {
            continue;
        }
        let mut groups: Vec<(u32, u32)> = Vec::new();
        for &reader in readers.iter().take(MAX_SIBLINGS) {
            let group = clusters.of(reader);
            if reads_whole(flow, clusters, reader, group, value) {
                groups.push((clusters.order.rank(group), group));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        let mut groups = groups.into_iter().map(|(_, group)| group);
        let Some(mut last) = groups.next() else { continue };
        for group in groups {
            let group = clusters.of(group);
            if group != last {
                last = clusters.try_merge(flow, last, group).unwrap_or(group);
            }
        }
    }
}

/// Whether a cluster reads each element of `value` once, at the index of its own space, so that
/// another cluster's read of it can be saved. A contraction's epilogue stays as it is: what is
/// read beside it is small against the contraction, and its kernel can wait for less.
fn reads_whole(
    flow: &Flow<'_>,
    clusters: &Clusters,
    reader: u32,
    group: u32,
    value: Value,
) -> bool {
    let cluster = clusters.get(group);
    let mergeable = match cluster.kind {
        Kind::Map | Kind::Reduce(_) => true,
        Kind::Contraction | Kind::Indexed | Kind::Piece | Kind::Fixed => false,
    };
    mergeable
        && lengths(flow.graph.ty(value)) == cluster.space
        && flow.into[reader as usize]
            .iter()
            .any(|edge| edge.value == value && edge.alignment == Alignment::Direct)
}
