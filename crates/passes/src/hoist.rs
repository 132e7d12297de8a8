//! `hoist`: what a scan need not compute in each iteration is computed before it, and arrays that
//! a region states are stated around it. Exact.
//!
//! Assumes bound symbols. Guarantees values of the same bits: operations move, none changes.
//!
//! - What depends on constants of the scan alone is computed once, and arrays that the region states
//!   are stated around it. Other sources, broadcasts and ways to read a value stay, as kernels read
//!   through them for nothing.
//! - A contraction of what depends on slices alone with what is constant is computed of all slices
//!   at once, since one large product is faster than many small ones: the input projection of a
//!   recurrent layer becomes one product over time and batch. What it is computed from moves with it
//!   if it works element by element or moves elements.
//!
//! A region's operations leave it one level a pass, the innermost scan's first. The work is linear
//! in the nodes.

mod arrays;

use kilngrad_ir::op::{Axes, DotAxes, Scan, SliceAxis};
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Constant, Dim, Entry, Node, NodeId, Op, Program, Type, Value};
use smallvec::SmallVec;

use crate::pass::{Context, Exactness, Pass, PassError, each_entry};
use crate::regions::with_regions;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Hoist;

impl Pass for Hoist {
    fn name(&self) -> &'static str {
        "hoist"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| Ok(hoist(entry)))
    }
}

/// The entry with as much as can be moved out of the regions of its scans.
pub fn hoist(entry: &Entry) -> Entry {
    let entry = with_regions(entry, hoist);
    let mut rewriter = Rewriter::new(&entry.graph);
    for (id, node) in entry.graph.nodes() {
        if let Op::Scan(scan) = &node.op {
            Hoisting::new(scan, node, &mut rewriter).run(id);
        } else if let Some(regions) = arrays::regions(&node.op) {
            arrays::hoist(&mut rewriter, (id, node), regions);
        } else {
            rewriter.copy(id);
        }
    }
    rewriter.finish_entry(&entry)
}

/// What a value of a region depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depends {
    /// On constants of the scan alone.
    Constants,
    /// On slices, and constants.
    Slices,
    /// On the iterations before.
    Carries,
}

struct Hoisting<'h, 's> {
    scan: &'s Scan,
    node: &'s Node,
    rewriter: &'h mut Rewriter<'s>,
    depends: Vec<Depends>,
    /// By value of the region: what stands for it around the scan, once it is there.
    outside: Vec<Option<Value>>,
    /// By value: what stands for all its slices around the scan.
    stacked: Vec<Option<Value>>,
    /// By node: whether it moves.
    moves: Vec<bool>,
}

impl<'h, 's> Hoisting<'h, 's> {
    fn new(scan: &'s Scan, node: &'s Node, rewriter: &'h mut Rewriter<'s>) -> Hoisting<'h, 's> {
        let body = &scan.body;
        let mut outside = vec![None; body.value_count()];
        let mut stacked = vec![None; body.value_count()];
        for at in scan.const_operands() {
            outside[body.arguments()[at].index()] = Some(rewriter.get(node.operands[at]));
        }
        for at in scan.scanned_operands() {
            stacked[body.arguments()[at].index()] = Some(rewriter.get(node.operands[at]));
        }
        let depends = depends(scan);
        let moves = vec![false; body.node_count()];
        Hoisting { scan, node, rewriter, depends, outside, stacked, moves }
    }

    fn run(mut self, id: NodeId) {
        let body = &self.scan.body;
        // Of no iterations nothing is computed; what would not end must not even begin.
        let runs = self.scan.length.as_constant() != Some(0);
        for (id, node) in body.nodes() {
            self.moves[id.index()] = match self.class(node) {
                Depends::Constants => is_work(node) && (runs || arrays::is_array(node)),
                Depends::Slices => runs && self.is_projection(node),
                Depends::Carries => false,
            };
        }
        if !self.moves.contains(&true) {
            self.rewriter.copy(id);
            return;
        }
        let moving: Vec<NodeId> =
            body.nodes().map(|(id, _)| id).filter(|id| self.moves[id.index()]).collect();
        let mut consts = Vec::new();
        let mut slices = Vec::new();
        for id in moving {
            let node = body.node(id);
            for &result in &node.results {
                match self.class(node) {
                    Depends::Constants => consts.push((result, self.computed_outside(result))),
                    Depends::Slices => slices.push((result, self.computed_of_all(result))),
                    Depends::Carries => {}
                }
            }
        }
        self.finish(id, &consts, &slices);
    }

    fn class(&self, node: &Node) -> Depends {
        let depends = node.operands.iter().map(|value| self.depends[value.index()]);
        depends.max().unwrap_or(Depends::Constants)
    }

    /// Whether a node is a contraction that is worth computing of all slices at once, and can be.
    fn is_projection(&self, node: &Node) -> bool {
        let Op::Dot(axes) = &node.op else { return false };
        let of = |at: usize| self.depends[node.operands[at].index()];
        let one_is_constant = of(0) == Depends::Constants || of(1) == Depends::Constants;
        one_is_constant && axes.lhs_batch.is_empty() && {
            let sliced = node.operands[usize::from(of(0) == Depends::Constants)];
            self.can_be_stacked(sliced)
        }
    }

    /// Whether all that a value of slices is computed from can be computed of all slices at once.
    fn can_be_stacked(&self, value: Value) -> bool {
        let body = &self.scan.body;
        let mut pending = vec![value];
        let mut seen = Vec::new();
        while let Some(value) = pending.pop() {
            if self.depends[value.index()] != Depends::Slices || seen.contains(&value) {
                continue;
            }
            seen.push(value);
            let Some(node) = body.defining_node(value) else { continue };
            let stackable = stacked_op(&node.op, &self.scan.length).is_some();
            if seen.len() > MAX_PATH || !(stackable || self.is_stackable_dot(node)) {
                return false;
            }
            pending.extend(&node.operands);
        }
        true
    }

    fn is_stackable_dot(&self, node: &Node) -> bool {
        let Op::Dot(axes) = &node.op else { return false };
        let constant = |value: &Value| self.depends[value.index()] == Depends::Constants;
        axes.lhs_batch.is_empty() && node.operands.iter().any(constant)
    }

    /// The value around the scan that a value of constants is there. What it is computed from is
    /// computed first; nothing recurses.
    fn computed_outside(&mut self, value: Value) -> Value {
        self.ready(value, |this, value| this.outside[value.index()].is_some(), Self::move_node);
        self.outside[value.index()].expect("it has just been computed")
    }

    /// The stack around the scan of a value of slices.
    fn computed_of_all(&mut self, value: Value) -> Value {
        let there = |this: &Self, value: Value| match this.depends[value.index()] {
            Depends::Constants => this.outside[value.index()].is_some(),
            Depends::Slices | Depends::Carries => this.stacked[value.index()].is_some(),
        };
        self.ready(value, there, |this, node| match this.class(node) {
            Depends::Constants => this.move_node(node),
            Depends::Slices | Depends::Carries => this.stack_node(node),
        });
        self.stacked[value.index()].expect("it has just been computed")
    }

    /// Applies `make` to the nodes that a value is computed from, operands first, where it is not
    /// there yet.
    fn ready(
        &mut self,
        value: Value,
        there: impl Fn(&Self, Value) -> bool,
        mut make: impl FnMut(&mut Self, &'s Node),
    ) {
        let body = &self.scan.body;
        let mut pending = vec![value];
        while let Some(&value) = pending.last() {
            let node = body.defining_node(value);
            let missing = node.and_then(|node| {
                node.operands.iter().copied().find(|operand| !there(self, *operand))
            });
            match (there(self, value), missing, node) {
                (false, Some(missing), _) => pending.push(missing),
                (false, None, Some(node)) => make(self, node),
                (true, _, _) | (false, None, None) => {
                    pending.pop();
                }
            }
        }
    }

    /// Computes a node of constants around the scan.
    fn move_node(&mut self, node: &'s Node) {
        let outside = |value: &Value| self.outside[value.index()].expect("operands come first");
        let operands: SmallVec<[Value; 3]> = node.operands.iter().map(outside).collect();
        let body = &self.scan.body;
        let types: SmallVec<[Type; 1]> =
            node.results.iter().map(|value| body.ty(*value).clone()).collect();
        let target = self.rewriter.target_mut();
        let origin = node.origin.replacing(node.results.iter().map(|value| body.name(*value)));
        let made = target.append_unchecked(node.op.clone(), &operands, &types, origin);
        for (at, result) in node.results.iter().enumerate() {
            self.outside[result.index()] = Some(self.rewriter.target().node(made).results[at]);
        }
    }

    /// Computes a node of all slices at once around the scan.
    fn stack_node(&mut self, node: &'s Node) {
        let body = &self.scan.body;
        let result = node.result();
        let ty = self.scan.stacked(body.ty(result));
        let sliced = |value: &Value| self.depends[value.index()] == Depends::Slices;
        let is_sliced: SmallVec<[bool; 3]> = node.operands.iter().map(sliced).collect();
        let origin = node.origin.replacing([body.name(result)]);
        let value = if let Op::Dot(axes) = &node.op {
            let operands = [0, 1].map(|at| self.around(node.operands[at], false));
            let op = Op::Dot(of_stack(axes, is_sliced[0]));
            let target = self.rewriter.target_mut();
            let made = target.append(op, &operands, &[], origin.clone());
            let made = made.expect("a verified contraction of slices is one of stacks");
            let made = target.node(made).result();
            let free = axes.lhs_free(body.ty(node.operands[0]).rank()).len();
            if is_sliced[0] || free == 0 {
                made
            } else {
                let to_front = (0..ty.rank()).map(|axis| match axis {
                    0 => free,
                    axis if axis <= free => axis - 1,
                    axis => axis,
                });
                let op = Op::Transpose { permutation: to_front.collect() };
                let types = std::slice::from_ref(&ty);
                let made = target.append_unchecked(op, &[made], types, origin);
                target.node(made).result()
            }
        } else {
            let operands: SmallVec<[Value; 3]> =
                node.operands.iter().map(|value| self.around(*value, true)).collect();
            let op = stacked_op(&node.op, &self.scan.length);
            let op = op.expect("a projection is made of operations on stacks");
            let target = self.rewriter.target_mut();
            let made = target.append_unchecked(op, &operands, std::slice::from_ref(&ty), origin);
            target.node(made).result()
        };
        self.stacked[result.index()] = Some(value);
    }

    /// What stands for a value around the scan; one of constants is repeated for each slice if it is
    /// to be stacked.
    fn around(&mut self, value: Value, repeated: bool) -> Value {
        if self.depends[value.index()] != Depends::Constants {
            return self.stacked[value.index()].expect("operands come first");
        }
        let whole = self.outside[value.index()].expect("operands come first");
        if !repeated {
            return whole;
        }
        let ty = self.scan.stacked(self.scan.body.ty(value));
        let op = Op::Broadcast { dims: (1..ty.rank()).collect() };
        let origin = self.node.origin.clone();
        let target = self.rewriter.target_mut();
        let made = target.append_unchecked(op, &[whole], &[ty], origin);
        target.node(made).result()
    }

    /// The scan, given what has moved.
    fn finish(self, id: NodeId, consts: &[(Value, Value)], slices: &[(Value, Value)]) {
        let (scan, source) = (self.scan, &self.scan.body);
        let of_consts = scan.const_operands().map(|at| source.arguments()[at]);
        let consts = of_consts
            .map(|value| (value, None))
            .chain(consts.iter().map(|(value, outside)| (*value, Some(*outside))));
        let rest = scan.carry_operands().start..scan.scanned_operands().end;
        let rest = rest.map(|at| (source.arguments()[at], None));
        let slices = slices.iter().map(|(value, outside)| (*value, Some(*outside)));
        let others = rest.len() + slices.len();
        let (arguments, outside): (Vec<Value>, Vec<Option<Value>>) =
            consts.chain(rest).chain(slices).unzip();
        let mut given = self.node.operands.iter().map(|value| self.rewriter.get(*value));
        let operands = outside
            .into_iter()
            .map(|outside| outside.or_else(|| given.next()).expect("an operand for each argument"));
        let operands: Vec<Value> = operands.collect();
        let mut part = Rewriter::part(source, &arguments);
        for (id, _) in source.nodes().filter(|(id, _)| !self.moves[id.index()]) {
            part.copy(id);
        }
        let body = part.finish_with(source.results());
        let scan = Scan { body, consts: arguments.len() - others, ..scan.clone() };
        self.rewriter.copy_with(id, Op::Scan(Box::new(scan)), &operands);
    }
}

/// Nodes between a contraction and slices, at most.
const MAX_PATH: usize = 32;

/// By value of a region.
fn depends(scan: &Scan) -> Vec<Depends> {
    let body = &scan.body;
    let mut depends = vec![Depends::Constants; body.value_count()];
    for at in scan.carry_operands() {
        depends[body.arguments()[at].index()] = Depends::Carries;
    }
    for at in scan.scanned_operands() {
        depends[body.arguments()[at].index()] = Depends::Slices;
    }
    for (_, node) in body.nodes() {
        let most = node.operands.iter().map(|value| depends[value.index()]).max();
        for result in &node.results {
            depends[result.index()] = most.unwrap_or(Depends::Constants);
        }
    }
    depends
}

/// Whether computing a node costs anything: sources but arrays are part of every kernel that reads
/// them, and so is what says at which index a value is read.
fn is_work(node: &Node) -> bool {
    match &node.op {
        Op::Constant(Constant::Splat(_))
        | Op::Iota { .. }
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Windows(_)
        | Op::State(_)
        | Op::Gradient { .. }
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Kernel(_) => false,
        Op::Constant(Constant::Dense(_))
        | Op::Dimension(_)
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Dot(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Argsort { .. }
        | Op::Fold(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_) => true,
    }
}

/// An operation on slices as one on their stacks, whose first axis is new; `None` where there is no
/// such operation.
fn stacked_op(op: &Op, length: &Dim) -> Option<Op> {
    let later = |axes: &Axes| axes.iter().map(|axis| axis + 1).collect::<Axes>();
    let with_first = |axes: &Axes| std::iter::once(0).chain(later(axes)).collect::<Axes>();
    Some(match op {
        Op::Reduce { op, axes } => Op::Reduce { op: *op, axes: later(axes) },
        Op::Broadcast { dims } => Op::Broadcast { dims: with_first(dims) },
        Op::Transpose { permutation } => Op::Transpose { permutation: with_first(permutation) },
        Op::Slice(ranges) => {
            let all = SliceAxis { start: Dim::constant(0), limit: length.clone(), stride: 1 };
            Op::Slice(std::iter::once(all).chain(ranges.iter().cloned()).collect())
        }
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Reshape => {
            op.clone()
        }
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::ArgReduce { .. }
        | Op::Dot(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Argsort { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => return None,
    })
}

/// The axes of a contraction one of whose operands has a new first axis, which is kept.
fn of_stack(axes: &DotAxes, left: bool) -> DotAxes {
    let later = |axes: &Axes| axes.iter().map(|axis| axis + 1).collect::<Axes>();
    match left {
        true => DotAxes { lhs_contract: later(&axes.lhs_contract), ..axes.clone() },
        false => DotAxes { rhs_contract: later(&axes.rhs_contract), ..axes.clone() },
    }
}
