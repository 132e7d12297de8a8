//! Deep graphs compile on a small stack, in time that grows with their length.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::compile_observed;
use kilngrad_ir::op::{BinaryOp, DotAxes, UnaryOp};
use kilngrad_ir::{
    DType, Entry, Graph, Init, Literal, Mode, Op, Origin, Program, Role, State, StateId, Type,
    Value, ValueName,
};

/// What the default stack of a thread holds.
const STACK: usize = 2 << 20;

struct Chain {
    graph: Graph,
    last: Value,
}

impl Chain {
    fn new(ty: &Type) -> Chain {
        let mut graph = Graph::new();
        let last = graph.add_argument(ValueName::word("x").unwrap(), ty.clone());
        Chain { graph, last }
    }

    fn push(&mut self, op: Op, operands: &[Value], declared: &[Type]) -> Value {
        let node = self.graph.append(op, operands, declared, Origin::unknown()).unwrap();
        self.graph.node(node).result()
    }

    fn program(mut self, outputs: Vec<Value>) -> Program {
        let mut program = Program::new("chain");
        let count = outputs.len();
        self.graph.set_results(outputs);
        let mut entry = Entry::new("run", Mode::Eval, self.graph);
        entry.outputs = (0..count).map(|index| format!("o{index}").into()).collect();
        program.entries.push(entry);
        program
    }
}

fn matrix() -> Type {
    Type::new(DType::F32, [4usize, 4].into_iter().collect())
}

/// `tanh` after `tanh`.
fn elementwise(length: usize) -> Program {
    let mut chain = Chain::new(&matrix());
    for _ in 0..length {
        chain.last = chain.push(Op::Unary(UnaryOp::Tanh), &[chain.last], &[]);
    }
    let last = chain.last;
    chain.program(vec![last])
}

/// Contractions with a state, and back again over every value of the way out: all of them are
/// live in the middle.
fn there_and_back(length: usize) -> Program {
    let mut chain = Chain::new(&matrix());
    let ty = matrix();
    let weight = chain.push(Op::State(StateId::from_index(0)), &[], std::slice::from_ref(&ty));
    let axes = DotAxes {
        lhs_contract: [1usize].into_iter().collect(),
        rhs_contract: [0usize].into_iter().collect(),
        ..DotAxes::default()
    };
    let mut values = vec![chain.last];
    for _ in 0..length {
        let dot = chain.push(Op::Dot(axes.clone()), &[chain.last, weight], &[]);
        chain.last = chain.push(Op::Unary(UnaryOp::Tanh), &[dot], &[]);
        values.push(chain.last);
    }
    let mut gradient = chain.last;
    let mut total = chain.last;
    for value in values.into_iter().rev() {
        let dot = chain.push(Op::Dot(axes.clone()), &[gradient, weight], &[]);
        gradient = chain.push(Op::Binary(BinaryOp::Mul), &[dot, value], &[]);
        let part = chain.push(Op::Dot(axes.clone()), &[value, gradient], &[]);
        total = chain.push(Op::Binary(BinaryOp::Add), &[total, part], &[]);
    }
    let mut program = chain.program(vec![gradient]);
    program.entries[0].updates = vec![(StateId::from_index(0), total)];
    let init = Init::Splat(Literal::from_f64(DType::F32, 0.5));
    program.states.push(State { path: "w".into(), ty, init, role: Role::Parameter });
    program
}

/// A scalar that every one of many tensors is multiplied with, and sums of neighbours.
fn wide(width: usize) -> Program {
    let mut chain = Chain::new(&matrix());
    let scalar = Type::scalar(DType::F32);
    let axes = [0usize, 1].into_iter().collect();
    let reduce = Op::Reduce { op: kilngrad_ir::op::ReduceOp::Sum, axes };
    let sum = chain.push(reduce, &[chain.last], &[scalar]);
    let mut rows = vec![chain.last];
    for _ in 0..width {
        let dims = smallvec::SmallVec::new();
        let spread = chain.push(Op::Broadcast { dims }, &[sum], &[matrix()]);
        let row = chain.push(Op::Binary(BinaryOp::Mul), &[spread, rows[rows.len() / 2]], &[]);
        let last = rows[rows.len() - 1];
        rows.push(chain.push(Op::Binary(BinaryOp::Sub), &[row, last], &[]));
    }
    let last = rows[rows.len() - 1];
    chain.program(vec![last, rows[width / 2]])
}

/// Concatenations of the one before with itself, of rows without elements.
fn doubled(length: usize) -> Program {
    let mut chain = Chain::new(&Type::new(DType::F32, [1usize, 0].into_iter().collect()));
    for _ in 0..length {
        chain.last = chain.push(Op::Concat { axis: 0 }, &[chain.last, chain.last], &[]);
    }
    let last = chain.last;
    chain.program(vec![last])
}

/// Processor time of this thread where the system tells, so that a busy machine does not count;
/// else the time that passed.
fn busy(since: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

fn compile_on_small_stack(name: &'static str, program: Program) {
    let run = move || {
        let start = Instant::now();
        let mut verifying = Duration::ZERO;
        let mut stages = Vec::new();
        let compiled = compile_observed(&program, &[], &mut |stage| {
            verifying += stage.verify_time;
            stages.push((stage.name, stage.time));
        });
        let total = busy(start);
        stages.sort_by_key(|stage| std::cmp::Reverse(stage.1));
        println!(
            "{name}: {} nodes in {total:?}, verifier {verifying:?}, {} kernels, arena {} of {}; {:?}",
            program.entries[0].graph.node_count(),
            compiled.fusion[0].kernels.len(),
            compiled.plans[0].peak_bytes,
            compiled.plans[0].lower_bound_bytes,
            &stages[..4]
        );
        // Far above what it takes on a slow machine, far below anything quadratic.
        assert!(total < Duration::from_secs(60), "{name} took {total:?}");
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap();
    thread.join().unwrap();
}

#[test]
fn an_elementwise_chain() {
    compile_on_small_stack("elementwise", elementwise(100_000));
}

#[test]
fn contractions_there_and_back() {
    compile_on_small_stack("there and back", there_and_back(20_000));
}

#[test]
fn many_readers_of_one_scalar() {
    compile_on_small_stack("wide", wide(50_000));
}

#[test]
fn concatenations_of_concatenations() {
    compile_on_small_stack("doubled", doubled(40));
}
