//! `fuse`: nodes become kernels. Exact.
//!
//! Assumes bound symbols and no gradient request. Guarantees that an entry holds only states,
//! dense constants, reshapes, kernels and scans whose regions do in their turn, that every kernel keeps the contract with lowering
//! (checked by [`check_kernel`]), and that every value is computed by one kernel, save cheap ones
//! that several compute for themselves.
//!
//! The steps, one file each:
//!
//! - `flow`: what each node is to a kernel, and at which index values are read;
//! - `cluster`: which groups may be merged, as a table, over a topological order that is kept
//!   under merging (`order`);
//! - `merge`: which are, along the dataflow and side by side;
//! - `cost`: what is computed again instead of read, by the machine's costs;
//! - `body`: bodies, arguments and results.
//!
//! Every search is bounded, so the work is near linear in the graph.

mod body;
mod cluster;
mod contract;
mod cost;
mod flow;
mod merge;
mod order;
mod report;

pub use contract::check as check_kernel;
pub use report::{FusionReport, KernelReport, Reason, Rejection};

use std::collections::BTreeMap;

use kilngrad_ir::{Entry, Machine, Op, Program};

use crate::dce::drop_dead;
use crate::pass::{Context, Exactness, Pass, PassError, unexpanded};
use crate::regions::try_with_regions;
use crate::shapes::bytes;
use cluster::{Clusters, Kind};
use flow::{Alignment, Flow};
use merge::Refusals;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Fuse;

impl Pass for Fuse {
    fn name(&self) -> &'static str {
        "fuse"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, context: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        context.fusion.clear();
        crate::pass::each_entry(program, |entry| {
            let (entry, report) = fuse_entry(entry, context.machine)?;
            context.fusion.push(report);
            Ok(entry)
        })
    }
}

/// One entry as kernels, with what was fused and what was not.
///
/// # Errors
///
/// An operation that no kernel may hold and an earlier pass should have expanded.
pub fn fuse_entry(entry: &Entry, machine: &Machine) -> Result<(Entry, FusionReport), PassError> {
    fuse_within(entry, machine, "")
}

/// As [`fuse_entry`], for a region too. Names of kernels begin with `prefix`, which tells them apart.
fn fuse_within(
    entry: &Entry,
    machine: &Machine,
    prefix: &str,
) -> Result<(Entry, FusionReport), PassError> {
    let (mut regions, mut count) = (Vec::new(), 0);
    let entry = try_with_regions(entry, |region| {
        let (region, report) = fuse_within(region, machine, &format!("{prefix}s{count}."))?;
        count += 1;
        regions.extend(report.kernels);
        Ok(region)
    })?;
    let (fused, mut report) = fuse_nodes(&entry, machine, prefix)?;
    report.kernels.extend(regions);
    Ok((fused, report))
}

/// Fuses an entry's own nodes.
fn fuse_nodes(
    entry: &Entry,
    machine: &Machine,
    prefix: &str,
) -> Result<(Entry, FusionReport), PassError> {
    // What nothing needs would take part in decisions and then be missing from the bodies.
    let entry = &drop_dead(entry);
    let mut flow = Flow::new(entry).map_err(|id| {
        let node = entry.graph.node(id);
        unexpanded(entry, node, node.op.name())
    })?;
    let mut clusters = Clusters::new(&flow);
    let mut refusals = Refusals::new();
    merge::merge_chains(&flow, &mut clusters, &mut refusals);
    cost::recompute(&mut flow, &mut clusters, machine, &mut refusals);
    cost::absorb(&flow, &mut clusters, machine, &mut refusals);
    // Last, because a map that is one of several results can no longer move to its reader.
    merge::merge_siblings(&flow, &mut clusters);
    let (fused, made) = body::build(entry, &flow, &mut clusters, prefix)?;
    let report = report(&fused, &flow, &mut clusters, &refusals, made);
    Ok((fused, report))
}

fn report(
    fused: &Entry,
    flow: &Flow<'_>,
    clusters: &mut Clusters,
    refusals: &Refusals,
    made: Vec<body::Made>,
) -> FusionReport {
    let nodes: BTreeMap<String, Vec<u32>> = made.into_iter().collect();
    let mut kernels = Vec::new();
    for (_, node) in fused.graph.nodes() {
        let Op::Kernel(kernel) = &node.op else { continue };
        let Some(nodes) = nodes.get(&*kernel.name) else { continue };
        let touched = node.operands.iter().chain(&node.results);
        let mut report = KernelReport {
            name: kernel.name.to_string(),
            nodes: kernel.body.node_count(),
            bytes: touched.map(|value| bytes(fused.graph.ty(*value))).sum(),
            origins: Vec::new(),
            rejected: Vec::new(),
        };
        for &node in nodes {
            let origin = flow.node(node).origin.clone();
            let place = origin.site().map(ToString::to_string);
            let place = place.unwrap_or_else(|| origin.scope().to_owned());
            if !place.is_empty() && !report.origins.contains(&place) {
                report.origins.push(place);
            }
            if flow.is_real(node) {
                reject(flow, clusters, refusals, node, &mut report.rejected);
            }
        }
        kernels.push(report);
    }
    FusionReport { entry: fused.name.to_string(), kernels }
}

/// Notes the values of other kernels that a node reads, and why they are another kernel's.
fn reject(
    flow: &Flow<'_>,
    clusters: &mut Clusters,
    refusals: &Refusals,
    node: u32,
    rejected: &mut Vec<Rejection>,
) {
    for edge in &flow.into[node as usize] {
        let Some(producer) = edge.producer else { continue };
        let (own, other) = (clusters.of(node), clusters.of(producer));
        if own == other {
            continue;
        }
        let reason =
            if edge.alignment == Alignment::Memory || clusters.get(other).kind == Kind::Fixed {
                Reason::Memory
            } else if let Some(reason) = refusals.get(&(producer, node)) {
                reason.clone()
            } else {
                match clusters.merged_kind(flow, other, own) {
                    Err(reason) => reason,
                    Ok(_) => Reason::Recompute,
                }
            };
        rejected.push(Rejection {
            producer: flow.graph.name(edge.value).to_string(),
            consumer: flow.graph.name(flow.node(node).results[0]).to_string(),
            reason,
        });
    }
}
