//! Entries: where values are, kernels that are shared, and what is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::small_integers;
use common::{Body, Close, FUSING, Numbers, compare, inputs_of, lower, program, reference};
use kilngrad_interp::Array;
use kilngrad_ir::DType::F32;
use kilngrad_ir::op::{BinaryOp, Kernel, KernelKind, Op, UnaryOp};
use kilngrad_ir::{
    Constant, Dense, Entry, Graph, Init, Literal, Machine, Mode, Origin, Place, Plan, Program,
    Role, Shape, State, StateId, Type, Value, ValueName,
};
use kilngrad_loops::ChunkOrder;
use kilngrad_lower::{External, LowerError, lower_entry};

/// A result in the memory of an argument that is read at the same index only.
#[test]
fn results_in_the_memory_of_arguments() {
    let shape = [90, 1003];
    let build = |body: &mut Body| {
        let x = body.argument(F32, &shape);
        let y = body.argument(F32, &[1003]);
        let y = body.broadcast(y, &[1], &shape);
        let sum = body.binary(BinaryOp::Add, x, y);
        let product = body.binary(BinaryOp::Mul, x, sum);
        [sum, product]
    };
    let mut body = Body::default();
    let results = build(&mut body);
    let mut program = program(KernelKind::Map, body.results(&results));
    let inputs = inputs_of(&program.entries[0].graph, |ty| small_integers(&mut Numbers(3), ty));
    let expected = reference(&program, &inputs);

    // The kernel's first operand and its second result are the arena's first bytes.
    let graph = &mut program.entries[0].graph;
    let node = graph.nodes().next().unwrap().1;
    let (operands, results) = (node.operands.clone(), node.results.clone());
    graph.set_place(operands[0], Some(Place::Arena(0)));
    graph.set_place(results[1], Some(Place::Arena(0)));
    program.entries[0].plan = Some(Plan { arena_bytes: 90 * 1003 * 4, lower_bound_bytes: 0 });
    for machine in common::MACHINES {
        let lowered = lower(&program, machine);
        for order in [ChunkOrder::Ascending, ChunkOrder::Descending] {
            let mut memory = kilngrad_loops::Memory::zeroed(&lowered.program);
            memory.arena = inputs[0].to_bytes();
            for (bytes, external) in memory.externals.iter_mut().zip(&lowered.externals) {
                if *external == External::Argument(1) {
                    *bytes = inputs[1].to_bytes();
                }
            }
            kilngrad_loops::run_program_in_order(&lowered.program, &mut memory, order).unwrap();
            let found = Array::from_bytes(F32, &shape, &memory.arena).unwrap();
            compare(&expected[1], &found, Close::Exact).unwrap();
        }
    }
}

fn kernel_node(graph: &mut Graph, name: &str, body: Graph, operands: &[Value]) -> Vec<Value> {
    let types: Vec<Type> = body.results().iter().map(|value| body.ty(*value).clone()).collect();
    let kernel = Kernel { name: name.into(), kind: KernelKind::Map, body };
    let op = Op::Kernel(Box::new(kernel));
    let node = graph.append(op, operands, &types, Origin::unknown()).unwrap();
    graph.node(node).results.to_vec()
}

fn doubled() -> Graph {
    let mut body = Body::default();
    let x = body.argument(F32, &[6]);
    let y = body.binary(BinaryOp::Add, x, x);
    body.results(&[y])
}

/// States, constants and views have their own memory; equal kernels are one.
#[test]
fn entries_bind_memory_and_share_kernels() {
    let ty = Type::new(F32, Shape::new([6usize]));
    let flat = Type::new(F32, Shape::new([2usize, 3]));
    let mut program = Program::new("p");
    program.states.push(State {
        path: "w".into(),
        ty: ty.clone(),
        init: Init::Splat(Literal::from_f64(F32, 0.0)),
        role: Role::Parameter,
    });
    let id = StateId::from_index(0);
    let mut graph = Graph::new();
    let x = graph.add_argument(ValueName::word("x").unwrap(), flat.clone());
    graph.set_place(x, Some(Place::Argument(0)));
    let single = |graph: &mut Graph, op: Op, operands: &[Value], ty: &Type| {
        let node = graph.append(op, operands, std::slice::from_ref(ty), Origin::unknown()).unwrap();
        graph.node(node).result()
    };
    let view = single(&mut graph, Op::Reshape, &[x], &ty);
    let state = single(&mut graph, Op::State(id), &[], &ty);
    graph.set_place(state, Some(Place::State(id)));
    let elements = (0..6).map(|at| Literal::from_i64(F32, at));
    let dense = Constant::Dense(Dense::new(F32, elements).unwrap());
    let constant = single(&mut graph, Op::Constant(dense), &[], &ty);
    graph.set_place(constant, Some(Place::Constant(64)));
    let first = kernel_node(&mut graph, "first", doubled(), &[view])[0];
    graph.set_place(first, Some(Place::Output(0)));
    let second = kernel_node(&mut graph, "second", doubled(), &[constant])[0];
    graph.set_place(second, Some(Place::Arena(128)));
    let third = kernel_node(&mut graph, "third", doubled(), &[state])[0];
    graph.set_place(third, Some(Place::State(id)));
    graph.set_results(vec![first]);
    let mut entry = Entry::new("e", Mode::Train, graph);
    entry.outputs = vec!["y".into()];
    entry.updates = vec![(id, third)];
    entry.plan = Some(Plan { arena_bytes: 192, lower_bound_bytes: 24 });
    program.entries.push(entry);

    let lowered = lower(&program, &FUSING);
    assert_eq!(
        lowered.externals,
        [
            External::Argument(0),
            External::Output(0),
            External::Constant { offset: 64 },
            External::State(id)
        ]
    );
    assert_eq!(lowered.program.kernels.len(), 1);
    assert_eq!(lowered.program.kernels[0].name, "first");
    assert_eq!(lowered.program.body.len(), 3);
    assert_eq!(lowered.program.arena_bytes, 192);
}

#[test]
fn what_is_not_lowered_is_an_error() {
    let mut graph = Graph::new();
    let ty = Type::new(F32, Shape::new([6usize]));
    let x = graph.add_argument(ValueName::word("x").unwrap(), ty);
    let node = graph.append(Op::Unary(UnaryOp::Neg), &[x], &[], Origin::unknown()).unwrap();
    let result = graph.node(node).result();
    graph.set_results(vec![result]);
    let mut entry = Entry::new("e", Mode::Eval, graph);
    entry.outputs = vec!["y".into()];
    let mut program = Program::new("p");
    program.entries.push(entry);
    let lower = |program: &Program| lower_entry(program, &program.entries[0], &Machine::BASELINE);
    assert!(matches!(lower(&program), Err(LowerError::NotPlanned { .. })));
    program.entries[0].plan = Some(Plan { arena_bytes: 0, lower_bound_bytes: 0 });
    assert_eq!(lower(&program), Err(LowerError::NotFused { op: "neg" }));

    let mut body = Body::default();
    let x = body.argument(F32, &[6]);
    let y = body.declared(Op::Reshape, &[x], F32, &[2, 3]);
    let program = common::program(KernelKind::Map, body.results(&[y]));
    assert_eq!(lower(&program), Err(LowerError::Body { op: "reshape" }));
}
