//! Loops over a region: the derivative of a scan is a scan the other way round.
//!
//! Its region is the region's own vector-Jacobian product, made by the same walk back that
//! differentiates an entry. Its carries are the cotangents of the forward carries, its stacks the
//! cotangents of what was scanned. Cotangents of constants are sums over the iterations: what can
//! be summed after the loop, as one contraction, leaves it (`sums`); the rest are carries.
//!
//! The region needs values of the way forward. Constants and slices it is given again; constants
//! of the language and other shapes of a value it makes again; every other value the forward scan
//! stacks too, one slice an iteration.

mod parts;
mod sums;

use kilngrad_ir::op::{Axes, BinaryOp, Scan};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Def, Graph, Node, NodeId, Op, Origin, Type, Value};

use super::region::{self, active_values};
use super::{Contributions, Flow};
use crate::backward::{cotangent_origin, pull_back};
use parts::Needs;
use sums::{Around, Sum, Sums};

/// By argument and result of a scan's region: how a derivative flows over any number of iterations.
pub(super) fn flows(scan: &Scan) -> Vec<Vec<Flow>> {
    let mut flows = region::flows(&scan.body);
    if scan.length.as_constant().is_none_or(|length| length == 0) {
        region::keep_carries(&mut flows, &scan.body, scan.consts, scan.carries);
    }
    region::go_around(&mut flows, scan.consts, scan.carries);
    flows
}

/// The cotangents of a scan's operands. The node is extended by the stacks that they need.
pub(super) fn contributions(
    graph: &mut Graph,
    node: &Node,
    scan: &Scan,
    cotangents: &[Option<Value>],
    wanted: &[bool],
) -> Contributions {
    let mut back = Back::new(scan, cotangents, wanted);
    let mut sums = Sums::new(&back.graph, back.forward_nodes, scan);
    let consts = scan.const_operands();
    let consts = consts.map(|at| Some(sums.plan(back.cotangent_of(at).filter(|_| wanted[at])?)));
    let consts: Vec<Option<Sum>> = consts.collect();
    let (accumulated, factors) = sums.finish();
    let carries = back.carries(graph, node, cotangents, &accumulated);
    let slices = scan.scanned_operands();
    let slices = slices.map(|at| back.cotangent_of(at).filter(|_| wanted[at]));
    let slices: Vec<Option<Value>> = slices.collect();

    let wanted_stacks: Vec<Value> = slices.iter().flatten().chain(&factors).copied().collect();
    let mut stacks: Vec<Value> = Vec::new();
    for &value in wanted_stacks.iter().filter(|value| !back.is_around(**value)) {
        if !stacks.contains(&value) {
            stacks.push(value);
        }
    }
    let results: Vec<Value> =
        carries.iter().map(|carry| carry.next).chain(stacks.iter().copied()).collect();
    let needs = Needs::of(&back, &results, &wanted_stacks);
    let residuals = parts::stacked(graph, node, &back, &needs.residuals);
    let made = match results.is_empty() {
        true => Vec::new(),
        false => {
            let consts = needs.consts.iter().map(|at| node.operands[*at]);
            let firsts = carries.iter().map(|carry| carry.first);
            let given = needs.cotangents.iter().filter_map(|at| cotangents[back.stacks[*at].0]);
            let slices = needs.slices.iter().map(|at| node.operands[*at]);
            let operands = consts.chain(firsts).chain(given).chain(slices);
            let operands: Vec<Value> = operands.chain(residuals.iter().copied()).collect();
            let arguments: Vec<Value> = carries.iter().map(|carry| carry.argument).collect();
            let op = Op::Scan(Box::new(Scan {
                body: needs.body(&back, &arguments, &results),
                consts: needs.consts.len(),
                carries: carries.len(),
                length: scan.length.clone(),
                reverse: !scan.reverse,
                workspace: None,
            }));
            let origin = cotangent_origin(graph, node.results[0], &node.origin);
            let made = graph.append(op, &operands, &[], origin);
            let made = made.expect("the region was made for these operands");
            graph.node(made).results.to_vec()
        }
    };

    let around = AroundScan {
        node,
        cotangents,
        back: &back,
        residuals: &needs.residuals,
        residual_stacks: &residuals,
        stacks: &stacks,
        made: &made,
        carries: carries.len(),
    };
    let mut contributions = Contributions::from_elem(None, node.operands.len());
    for (at, sum) in consts.into_iter().enumerate() {
        let Some(sum) = sum else { continue };
        let origin = cotangent_origin(graph, node.operands[at], &node.origin);
        contributions[at] = Some(sum.emit(&mut Emitter::new(graph, origin), &around));
    }
    for (index, (carry, _)) in back.carries.iter().enumerate() {
        let at = scan.consts + carry;
        contributions[at] = wanted[at].then(|| made[index]);
    }
    for (at, slice) in scan.scanned_operands().zip(slices) {
        contributions[at] = slice.map(|value| {
            let origin = cotangent_origin(graph, node.operands[at], &node.origin);
            around.stack(&mut Emitter::new(graph, origin), value)
        });
    }
    contributions
}

/// A carry of the backward scan.
struct Carry {
    /// Its first value, around the scan.
    first: Value,
    /// What the region calls it.
    argument: Value,
    /// Its next value in the region.
    next: Value,
}

/// Values around the scans that hold what their regions' values were in each iteration.
struct AroundScan<'a> {
    node: &'a Node,
    cotangents: &'a [Option<Value>],
    back: &'a Back<'a>,
    residuals: &'a [Value],
    residual_stacks: &'a [Value],
    /// What the backward scan stacks.
    stacks: &'a [Value],
    /// The results of the backward scan: its carries, then the stacks.
    made: &'a [Value],
    carries: usize,
}

impl Around for AroundScan<'_> {
    fn stack(&self, e: &mut Emitter<'_>, value: Value) -> Value {
        if let Some(at) = self.stacks.iter().position(|stack| *stack == value) {
            return self.made[self.carries + at];
        }
        if let Some(at) = self.residuals.iter().position(|residual| *residual == value) {
            return self.residual_stacks[at];
        }
        let arguments = self.back.scan.body.arguments();
        if let Some(at) = self.back.scan.const_operands().find(|at| arguments[*at] == value) {
            let ty = self.back.scan.stacked(self.back.graph.ty(value));
            let dims: Axes = (1..ty.rank()).collect();
            return e.emit(Op::Broadcast { dims }, &[self.node.operands[at]], &[ty]);
        }
        let scanned = self.back.scan.scanned_operands().find(|at| arguments[*at] == value);
        let given = self.back.stacks.iter().find(|(_, argument)| *argument == value);
        let scanned = scanned.map(|at| self.node.operands[at]);
        let found = scanned.or_else(|| given.and_then(|(result, _)| self.cotangents[*result]));
        found.expect("what a sum needs is stacked or was")
    }

    fn accumulated(&self, index: usize) -> Value {
        self.made[self.back.carries.len() + index]
    }

    fn operand(&self, position: usize) -> Value {
        self.node.operands[position]
    }
}

fn zeros(graph: &mut Graph, ty: &Type, origin: &Origin) -> Value {
    Emitter::new(graph, origin.clone()).splat(ty, 0.0)
}

/// The region with its way back behind it.
struct Back<'s> {
    scan: &'s Scan,
    /// The region, then what the walk back appended. New arguments are cotangents.
    graph: Graph,
    /// How many nodes are the region's own.
    forward_nodes: usize,
    /// The carries that have cotangents, with the arguments that stand for those of their next
    /// values.
    carries: Vec<(usize, Value)>,
    /// The stacks that have cotangents, as results of the node, with the arguments that stand for
    /// slices of them.
    stacks: Vec<(usize, Value)>,
    cotangents: Vec<Option<Value>>,
}

impl<'s> Back<'s> {
    fn new(scan: &'s Scan, cotangents: &[Option<Value>], wanted: &[bool]) -> Back<'s> {
        let mut graph = scan.body.clone();
        let flows = flows(scan);
        let leads = |from: usize, to: usize| flows[from][to] == Flow::Derivative;
        let active: Vec<bool> = (0..wanted.len())
            .map(|at| {
                let carry = at.checked_sub(scan.consts).filter(|carry| *carry < scan.carries);
                let mut wanted_ones = (0..wanted.len()).filter(|from| wanted[*from]);
                wanted[at] || carry.is_some_and(|carry| wanted_ones.any(|from| leads(from, carry)))
            })
            .collect();
        let given = |result: &usize| cotangents[*result].is_some();
        let has_cotangent = |carry: &usize| {
            let mut results = (0..cotangents.len()).filter(given);
            let argument = scan.consts + carry;
            active[argument] && (given(carry) || results.any(|to| leads(argument, to)))
        };
        let mut stand_in = |result: usize| {
            let ty = graph.ty(scan.body.results()[result]).clone();
            (result, graph.add_numbered_argument(ty))
        };
        let carries: Vec<(usize, Value)> =
            scan.carry_results().filter(has_cotangent).map(&mut stand_in).collect();
        let stacks: Vec<(usize, Value)> =
            scan.stacked_results().filter(given).map(&mut stand_in).collect();

        let forward_nodes = scan.body.node_count();
        let active = active_values(&scan.body, &active);
        let mut found: Vec<Option<Value>> = vec![None; graph.value_count()];
        for &(result, cotangent) in carries.iter().chain(&stacks) {
            let value = scan.body.results()[result];
            if !active[value.index()] {
                continue;
            }
            found[value.index()] = Some(match found[value.index()] {
                None => cotangent,
                Some(sum) => {
                    let origin = cotangent_origin(&graph, value, &graph.origin(value));
                    let add = Op::Binary(BinaryOp::Add);
                    Emitter::new(&mut graph, origin).emit(add, &[sum, cotangent], &[])
                }
            });
        }
        pull_back(&mut graph, forward_nodes, &mut found, |value| active[value.index()]);
        Back { scan, graph, forward_nodes, carries, stacks, cotangents: found }
    }

    /// The cotangent of the region's argument at a position.
    fn cotangent_of(&self, argument: usize) -> Option<Value> {
        self.cotangents[self.scan.body.arguments()[argument].index()]
    }

    /// The carries of the backward scan: the cotangents of the forward ones, then sums of the
    /// values that are accumulated.
    fn carries(
        &mut self,
        graph: &mut Graph,
        node: &Node,
        cotangents: &[Option<Value>],
        accumulated: &[Value],
    ) -> Vec<Carry> {
        let mut carries = Vec::new();
        for (carry, argument) in self.carries.clone() {
            let ty = self.graph.ty(argument).clone();
            let first = cotangents[carry].unwrap_or_else(|| zeros(graph, &ty, &node.origin));
            let next = self.cotangent_of(self.scan.consts + carry);
            let next = next.unwrap_or_else(|| zeros(&mut self.graph, &ty, &node.origin));
            carries.push(Carry { first, argument, next });
        }
        for &value in accumulated {
            let ty = self.graph.ty(value).clone();
            let first = zeros(graph, &ty, &node.origin);
            let argument = self.graph.add_numbered_argument(ty);
            let origin = self.graph.origin(value);
            let add = Op::Binary(BinaryOp::Add);
            let next = Emitter::new(&mut self.graph, origin).emit(add, &[argument, value], &[]);
            carries.push(Carry { first, argument, next });
        }
        carries
    }

    /// Whether the stack of a value is around the backward scan without its doing: what was scanned,
    /// cotangents of stacks, what the forward scan stacks, and constants over and over.
    fn is_around(&self, value: Value) -> bool {
        self.is_forward(value) || self.stacks.iter().any(|(_, argument)| *argument == value)
    }

    /// Whether a value is one of the scan's constants.
    fn is_constant(&self, value: Value) -> bool {
        self.scan.body.arguments()[..self.scan.consts].contains(&value)
    }

    /// Whether a value is of the way forward: an argument of the region or computed from them.
    fn is_forward(&self, value: Value) -> bool {
        match self.graph.value(value).def {
            Def::Argument(at) => at < self.scan.body.arguments().len(),
            Def::Result { node, .. } => node.index() < self.forward_nodes,
        }
    }
}

/// The node that defines a value of a graph.
fn node_of(graph: &Graph, value: Value) -> Option<NodeId> {
    match graph.value(value).def {
        Def::Argument(_) => None,
        Def::Result { node, .. } => Some(node),
    }
}
