//! Any bytes as a fused entry, whose memory plan is held against a model that knows no intervals.
//!
//! The entry is made of kernels as fusion leaves them: elementwise ones, ones that read an operand
//! at other indices, reductions; over arguments, constants, states and views. `copies`, `schedule`
//! and `plan` make a plan of it. Then every block of the arena is moved, one at a time, to where it
//! may be in the way of another, and the checker must say of each such plan what the model says.

use kilngrad_ir::op::{Axes, BinaryOp, Kernel, KernelKind, ReduceOp};
use kilngrad_ir::{
    Bindings, Constant, DType, Dense, Entry, Graph, Init, Literal, Machine, Mode, Op, Origin,
    Place, Program, Role, State, StateId, Type, Value, ValueName, verify,
};
use kilngrad_passes::check::{ARENA_ALIGN, check};
use kilngrad_passes::copies::Copies;
use kilngrad_passes::plan::plan_entry;
use kilngrad_passes::schedule::Schedule;
use kilngrad_passes::{Context, run_pass};

use super::hold;
use super::memory::{Model, contents};
use crate::recipe::Picks;

/// Bytes that a kernel is spelt by.
const STEP: usize = 6;

/// Kernels of an entry.
const MAX_KERNELS: usize = 24;

/// Shapes of values. Squares may be transposed, so that equal shapes are not equal indices.
const SHAPES: [&[usize]; 8] = [&[4, 4], &[16], &[2, 8], &[3], &[8, 8], &[64], &[], &[0, 4]];

/// A plan of the entry that the bytes spell holds, is within its bounds, and is refused by the
/// checker once a block of it is in the way of another.
///
/// # Panics
///
/// If a promise is broken.
pub fn plan(bytes: &[u8]) {
    let program = Fused::new(bytes).program;
    hold(verify(&program).map_err(|error| error.to_string()), &program);
    let (machine, bindings) = (Machine::BASELINE, Bindings::new());
    let mut context = Context::new(&machine, &bindings);
    let mut ready = program;
    for pass in [&Copies as &dyn kilngrad_passes::Pass, &Schedule] {
        let next = run_pass(pass, &ready, &mut context, &mut |_| {});
        ready = hold(next.map_err(|error| error.to_string()), &ready);
    }
    let (entry, report) = plan_entry(&ready.entries[0]);
    let planned = Program { entries: vec![entry], ..ready };
    hold(holds(&planned), &planned);
    let bound = Model::new(&planned).least_bytes();
    let plan = planned.entries[0].plan.expect("a planned entry has a plan");
    assert!(bound <= plan.lower_bound_bytes && plan.lower_bound_bytes <= plan.arena_bytes);
    assert!(
        (plan.arena_bytes, plan.lower_bound_bytes) == (report.peak_bytes, report.lower_bound_bytes)
    );
    hold(moved_plans(&planned), &planned);
}

/// The model and the checker accept a plan.
fn holds(planned: &Program) -> Result<(), String> {
    check(planned, &planned.entries[0]).map_err(|error| error.to_string())?;
    Model::new(planned).run()
}

/// Moves each block to wherever another one begins, and a line up and down; cuts the arena short.
fn moved_plans(planned: &Program) -> Result<(), String> {
    let graph = &planned.entries[0].graph;
    let contents = contents(graph);
    let mut offsets = vec![];
    for (value, data) in graph.values() {
        if let Some(Place::Arena(offset)) = data.place
            && contents[value.index()] == value
        {
            offsets.push((value, offset));
        }
    }
    for &(block, from) in &offsets {
        let near = [from + ARENA_ALIGN, from.saturating_sub(ARENA_ALIGN), from + ARENA_ALIGN / 2];
        let others = offsets.iter().map(|(_, offset)| *offset);
        for to in near.into_iter().chain(others).filter(|to| *to != from) {
            let mut moved = planned.clone();
            for (value, _) in graph.values().filter(|(it, _)| contents[it.index()] == block) {
                moved.entries[0].graph.set_place(value, Some(Place::Arena(to)));
            }
            agree(&moved).map_err(|error| format!("moved from {from} to {to}: {error}"))?;
        }
    }
    let mut short = planned.clone();
    if let Some(plan) = &mut short.entries[0].plan
        && plan.arena_bytes > 0
    {
        plan.arena_bytes -= 1;
        plan.lower_bound_bytes = plan.lower_bound_bytes.min(plan.arena_bytes);
        agree(&short).map_err(|error| format!("in a shorter arena: {error}"))?;
    }
    Ok(())
}

/// The checker refuses what the model refuses, and nothing else.
fn agree(program: &Program) -> Result<(), String> {
    let checked = check(program, &program.entries[0]).map_err(|error| error.to_string());
    let modelled = Model::new(program).run();
    if checked.is_ok() == modelled.is_ok() {
        return Ok(());
    }
    Err(format!("the checker says {checked:?}, the model {modelled:?}\n{program}"))
}

/// A fused entry under construction.
struct Fused {
    program: Program,
    graph: Graph,
    kernels: usize,
}

impl Fused {
    fn new(bytes: &[u8]) -> Fused {
        let mut fused = Fused { program: Program::new("fused"), graph: Graph::new(), kernels: 0 };
        fused.argument(&mut Picks::new(&[0]));
        for step in bytes.chunks(STEP).take(MAX_KERNELS) {
            let mut picks = Picks::new(step);
            match picks.below(16) {
                0..=5 => fused.elementwise(&mut picks),
                6 | 7 => fused.moving(&mut picks),
                8 | 9 => fused.reduction(&mut picks),
                10 | 11 => fused.view(&mut picks),
                12 | 13 => fused.state(&mut picks),
                14 => fused.constant(&mut picks),
                _ => fused.argument(&mut picks),
            }
        }
        fused.finish(bytes.last().copied().unwrap_or(0))
    }

    /// Returns and updates what nothing has read, and a few others.
    fn finish(mut self, choice: u8) -> Fused {
        let mut graph = std::mem::take(&mut self.graph);
        let uses = graph.use_counts();
        let last = graph.value_count() - 1;
        let unread = graph.values().map(|(value, _)| value).filter(|it| uses[it.index()] == 0);
        let mut results: Vec<Value> = unread.take(3).collect();
        results.push(Value::from_index(last));
        results.push(Value::from_index(usize::from(choice) % (last + 1)));
        let mut updates = Vec::new();
        for (index, state) in self.program.states.iter().enumerate() {
            let same = |(value, data): (Value, &kilngrad_ir::ValueData)| {
                (data.ty == state.ty && value.index() % 3 != usize::from(choice) % 3)
                    .then_some(value)
            };
            let last = graph.values().filter_map(same).last();
            updates.extend(last.map(|value| (StateId::from_index(index), value)));
        }
        let outputs = (0..results.len()).map(|at| format!("y{at}").into()).collect();
        graph.set_results(results);
        let mut entry = Entry::new("step", Mode::Train, graph);
        entry.outputs = outputs;
        entry.updates = updates;
        self.program.entries.push(entry);
        self
    }

    /// The last values first.
    fn pick(&self, picks: &mut Picks<'_>) -> Value {
        let count = self.graph.value_count();
        Value::from_index(count - 1 - picks.below(count.min(8)))
    }

    fn argument(&mut self, picks: &mut Picks<'_>) {
        let name = ValueName::word(&format!("x{}", self.graph.arguments().len()));
        let name = name.expect("a letter with a number is a word");
        let ty = Type::new(DType::F32, picks.of(&SHAPES).iter().copied().collect());
        self.graph.add_argument(name, ty);
    }

    fn append(&mut self, op: Op, operands: &[Value], ty: Type) {
        let node = self.graph.append(op, operands, &[ty], Origin::unknown());
        node.unwrap_or_else(|error| panic!("expected a valid node, found {error}"));
    }

    fn state(&mut self, picks: &mut Picks<'_>) {
        let id = StateId::from_index(self.program.states.len());
        let ty = self.graph.ty(self.pick(picks)).clone();
        self.program.states.push(State {
            path: format!("w{}", id.index()).into(),
            ty: ty.clone(),
            init: Init::Splat(Literal::from_f64(ty.dtype, 0.0)),
            role: Role::Parameter,
        });
        self.append(Op::State(id), &[], ty);
    }

    fn constant(&mut self, picks: &mut Picks<'_>) {
        let ty = self.graph.ty(self.pick(picks)).clone();
        let count = ty.element_count().expect("no symbols");
        let elements = (0..count).map(|at| Literal::from_f64(ty.dtype, at as f64));
        let dense = Dense::new(ty.dtype, elements).expect("elements of the dtype");
        self.append(Op::Constant(Constant::Dense(dense)), &[], ty);
    }

    /// A view of the value as one axis.
    fn view(&mut self, picks: &mut Picks<'_>) {
        let value = self.pick(picks);
        let ty = self.graph.ty(value);
        let count = ty.element_count().expect("no symbols");
        let line = Type::new(ty.dtype, [count].into_iter().collect());
        self.append(Op::Reshape, &[value], line);
    }

    /// `x op y`, and `x` in other elements as a second result now and then.
    fn elementwise(&mut self, picks: &mut Picks<'_>) {
        let [x, y] = self.alike(picks);
        let mut body = Body::new(&self.graph, &[x, y]);
        let sum = body.add(Op::Binary(BinaryOp::Add), &[0, 1], None);
        let mut results = vec![sum];
        if picks.rarely(4) {
            let wide = [DType::F64, DType::F32, DType::I32][picks.below(3)];
            let ty = body.graph.ty(body.values[0]).with_dtype(wide);
            if ty.dtype != body.graph.ty(body.values[0]).dtype {
                results.push(body.add(Op::Cast, &[0], Some(ty)));
            }
        }
        self.kernel(KernelKind::Map, body, &results, &[x, y]);
    }

    /// `x + yᵀ`, or `x + y` with `y` sliced to be so long.
    fn moving(&mut self, picks: &mut Picks<'_>) {
        let [x, y] = self.alike(picks);
        let mut body = Body::new(&self.graph, &[x, y]);
        let shape = body.graph.ty(body.values[0]).shape.as_constant().expect("no symbols");
        let order: Axes = match shape.as_slice() {
            [rows, cols] if rows == cols => [1, 0].into_iter().collect(),
            other => (0..other.len()).collect(),
        };
        let moved = body.add(Op::Transpose { permutation: order }, &[1], None);
        let sum = body.add(Op::Binary(BinaryOp::Add), &[0, moved], None);
        self.kernel(KernelKind::Map, body, &[sum], &[x, y]);
    }

    /// `x + Σ x`, for which every element is read before the first is written, and `Σ x`.
    fn reduction(&mut self, picks: &mut Picks<'_>) {
        let [x, y] = self.alike(picks);
        let mut body = Body::new(&self.graph, &[x, y]);
        let ty = body.graph.ty(body.values[0]).clone();
        let axes: Axes = (0..ty.rank()).collect();
        let sum = body.add(Op::Reduce { op: ReduceOp::Sum, axes }, &[0], None);
        let back = body.add(Op::Broadcast { dims: Axes::new() }, &[sum], Some(ty));
        let total = body.add(Op::Binary(BinaryOp::Add), &[1, back], None);
        let results = if picks.rarely(3) { vec![total, sum] } else { vec![total] };
        self.kernel(KernelKind::Reduce, body, &results, &[x, y]);
    }

    /// Two values of one number type, which may be one.
    fn alike(&self, picks: &mut Picks<'_>) -> [Value; 2] {
        let x = self.pick(picks);
        let ty = self.graph.ty(x);
        let all = (0..self.graph.value_count()).rev().map(Value::from_index);
        let same: Vec<Value> = all.filter(|it| self.graph.ty(*it) == ty).take(6).collect();
        [x, picks.of(&same)]
    }

    fn kernel(&mut self, kind: KernelKind, body: Body, results: &[usize], operands: &[Value]) {
        let Body { mut graph, values } = body;
        let results: Vec<Value> = results.iter().map(|at| values[*at]).collect();
        let types: Vec<Type> = results.iter().map(|value| graph.ty(*value).clone()).collect();
        graph.set_results(results);
        let name = format!("k{}", self.kernels).into();
        self.kernels += 1;
        let op = Op::Kernel(Box::new(Kernel { name, kind, body: graph }));
        let node = self.graph.append(op, operands, &types, Origin::unknown());
        node.unwrap_or_else(|error| panic!("expected a valid kernel, found {error}"));
    }
}

/// A kernel's body under construction, and its values in order.
struct Body {
    graph: Graph,
    values: Vec<Value>,
}

impl Body {
    fn new(outer: &Graph, operands: &[Value]) -> Body {
        let mut graph = Graph::new();
        let types = operands.iter().map(|value| outer.ty(*value).clone());
        let values = types.map(|ty| graph.add_numbered_argument(ty)).collect();
        Body { graph, values }
    }

    fn add(&mut self, op: Op, operands: &[usize], ty: Option<Type>) -> usize {
        let operands: Vec<Value> = operands.iter().map(|at| self.values[*at]).collect();
        let declared: Vec<Type> = ty.into_iter().collect();
        let node = self.graph.append(op, &operands, &declared, Origin::unknown());
        let node = node.unwrap_or_else(|error| panic!("expected a valid node, found {error}"));
        self.values.push(self.graph.node(node).result());
        self.values.len() - 1
    }
}
