//! Calls: binding, states, kernels, traces, errors.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, array, call, dim, symbolic, ty};
use kilngrad_interp::{Array, InterpError, Interpreter, States, eval_entry_traced, eval_node};
use kilngrad_ir::op::{BinaryOp, Kernel, KernelKind, ReduceOp, Scan, SliceAxis, UnaryOp};
use kilngrad_ir::{
    Bindings, DType, Dim, Entry, Graph, Init, Literal, Mode, NodeId, Op, Origin, Program, Role,
    State, StateId, Type, ValueName,
};

const ADD: Op = Op::Binary(BinaryOp::Add);
const MUL: Op = Op::Binary(BinaryOp::Mul);

fn message(result: Result<impl std::fmt::Debug, InterpError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn symbols_are_bound_by_what_is_fed() {
    let mut build = Build::new();
    let x = build.input("x", symbolic(DType::F32, &["n", "2"]));
    let twice = Dim::from(2usize).checked_mul(&dim("n")).unwrap();
    let y = build.input("y", Type::new(DType::F32, [twice].into_iter().collect()));
    let n = build.op_as(Op::Dimension(dim("n")), &[], ty(DType::F32, &[]));
    let sum = build.op(Op::Reduce { op: ReduceOp::Sum, axes: [0, 1].as_slice().into() }, &[x]);
    let mean = build.op(Op::Binary(BinaryOp::Div), &[sum, n]);
    let flat = build.op_as(Op::Reshape, &[y], symbolic(DType::F32, &["2", "n"]));
    let program = build.program(&[mean, flat]);

    let x = array(&[3, 2], &[1f32; 6]);
    let y = array(&[6], &[0f32, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let outputs = call(&program, &[x.clone(), y]).unwrap().outputs;
    assert_eq!(outputs[0], 2f32.into());
    assert_eq!(outputs[1].shape(), [2, 3]);

    let wrong = call(&program, &[x.clone(), array(&[5], &[0f32; 5])]);
    assert_eq!(message(wrong), "expected axis 0 of input %y to have length 2*n = 6, found 5");
    let wrong = call(&program, &[array(&[3, 4], &[0f32; 12]), array(&[6], &[0f32; 6])]);
    assert_eq!(message(wrong), "expected axis 1 of input %x to have length 2, found 4");
    let wrong = call(&program, &[x.clone(), array(&[6], &[0f64; 6])]);
    assert_eq!(message(wrong), "expected input %y of type f32[2*n], found f64[6]");
    assert_eq!(message(call(&program, &[x])), "expected 2 inputs, found 1");
}

#[test]
fn rules_are_checked_again_once_symbols_are_bound() {
    let mut build = Build::new();
    let x = build.input("x", symbolic(DType::F32, &["n"]));
    let limit = Dim::from(4usize);
    let range = SliceAxis { start: Dim::from(1usize), limit, stride: 1 };
    let part = build.op(Op::Slice([range].into_iter().collect()), &[x]);
    let program = build.program(&[part]);
    let outputs = call(&program, &[vec![0f32, 1.0, 2.0, 3.0].into()]).unwrap().outputs;
    assert_eq!(outputs[0], vec![1f32, 2.0, 3.0].into());
    let short = message(call(&program, &[vec![0f32].into()]));
    assert!(short.contains("expected 0 ≤ start ≤ limit ≤ 1"), "{short}");

    let mut build = Build::new();
    let free = build.op_as(Op::Iota { axis: 0 }, &[], symbolic(DType::I32, &["m"]));
    let unbound = message(call(&build.program(&[free]), &[]));
    assert!(unbound.contains("found m which is none's (symbol_c1) at %0"), "{unbound}");

    let mut build = Build::new();
    build.input("x", symbolic(DType::I32, &["n"]));
    let cube = [dim("n"), Dim::from(1usize << 40), Dim::from(1usize << 30)];
    let huge = Type::new(DType::I32, cube.into_iter().collect());
    let huge = build.op_as(Op::Iota { axis: 0 }, &[], huge);
    let refused = message(call(&build.program(&[huge]), &[vec![1, 2].into()]));
    assert!(refused.contains("whose size fits memory"), "{refused}");
}

/// The length of a loop is a number that a file states: nothing is set aside for it.
#[test]
fn a_stated_length_sets_nothing_aside() {
    for length in [1usize << 50, 1 << 60] {
        let mut body = Graph::new();
        let row = body.add_numbered_argument(symbolic(DType::F32, &["n"]));
        // No row has that place, so that the first iteration fails: the others would take for ever.
        let range = SliceAxis { start: Dim::from(2usize), limit: Dim::from(2usize), stride: 1 };
        let part = Op::Slice([range].into_iter().collect());
        let part = body.append(part, &[row], &[], Origin::unknown()).unwrap();
        body.set_results(vec![body.node(part).result()]);
        let mut build = Build::new();
        let x = build.input("x", symbolic(DType::F32, &["n"]));
        let scan = Scan {
            body,
            consts: 1,
            carries: 0,
            length: length.into(),
            reverse: false,
            workspace: None,
        };
        let stack = build.op(Op::Scan(Box::new(scan)), &[x]);
        let short = message(call(&build.program(&[stack]), &[vec![1f32].into()]));
        assert!(short.contains("expected 0 ≤ start ≤ limit ≤ 1"), "{short}");
    }
}

#[test]
fn gradient_requests_are_refused() {
    let mut build = Build::new();
    let x = build.input("x", ty(DType::F32, &[]));
    let y = build.op(MUL, &[x, x]);
    let gradient = build.op(Op::Gradient { or_zero: false }, &[y, x]);
    let refused = call(&build.program(&[gradient]), &[1f32.into()]);
    assert!(matches!(refused, Err(InterpError::Gradient { .. })), "{refused:?}");
    assert!(message(refused).contains("expanded by autodiff"));
}

/// `count += 1; scale := scale · x` and the old count as output.
fn counter() -> Program {
    let scalar = ty(DType::F32, &[]);
    let state = |path: &str, init| State {
        path: path.into(),
        ty: ty(DType::F32, &[]),
        init: Init::Splat(Literal::from_f64(DType::F32, init)),
        role: Role::Buffer,
    };
    let mut build = Build::new();
    let x = build.input("x", scalar.clone());
    let count = build.op_as(Op::State(StateId::from_index(0)), &[], scalar.clone());
    let scale = build.op_as(Op::State(StateId::from_index(1)), &[], scalar.clone());
    let one = build.splat(scalar, 1.0);
    let next = build.op(ADD, &[count, one]);
    let scaled = build.op(MUL, &[scale, x]);
    build.graph.set_results(vec![count]);
    let mut entry = Entry::new("step", Mode::Train, build.graph);
    entry.outputs = vec!["count".into()];
    entry.updates = vec![(StateId::from_index(0), next), (StateId::from_index(1), scaled)];
    Program {
        name: "counter".into(),
        states: vec![state("count", 0.0), state("scale", 3.0)],
        entries: vec![entry],
    }
}

#[test]
fn reads_precede_writes_and_a_failed_call_changes_nothing() {
    let mut interpreter = Interpreter::new(counter(), 0).unwrap();
    let outputs = interpreter.call("step", [("x", 2f32.into())]).unwrap();
    assert_eq!(outputs["count"], 0f32.into());
    assert_eq!(interpreter.state("count"), Some(&1f32.into()));
    assert_eq!(interpreter.state("scale"), Some(&6f32.into()));

    let before = interpreter.states().clone();
    let x = || ("x", Array::from(1f32));
    let failures = [
        message(interpreter.call("step", [])),
        message(interpreter.call("step", [x(), x()])),
        message(interpreter.call("step", [x(), ("y", 1f32.into())])),
        message(interpreter.call("step", [("x", 1f64.into())])),
        message(interpreter.call("stop", [x()])),
    ];
    assert_eq!(
        failures,
        [
            "expected input \"x\" of f32[], found no feed",
            "expected one feed of input \"x\", found two",
            "expected an input of entry \"step\", found \"y\"",
            "expected input %x of type f32[], found f64[]",
            "expected the name of an entry, found \"stop\"",
        ]
    );
    assert_eq!(interpreter.states(), &before);

    interpreter.set_state("scale", 5f32.into()).unwrap();
    assert_eq!(interpreter.state("scale"), Some(&5f32.into()));
    let wrong = message(interpreter.set_state("scale", vec![5f32].into()));
    assert_eq!(wrong, "expected a value of type f32[] for state \"scale\", found f32[1]");
    assert_eq!(
        message(interpreter.set_state("scales", 5f32.into())),
        "expected the path of a state, found \"scales\""
    );
}

#[test]
fn states_begin_as_initialised_by_the_seed() {
    let mut program = counter();
    program.states.push(State {
        path: "seed".into(),
        ty: ty(DType::I64, &[]),
        init: Init::Seed,
        role: Role::Random,
    });
    let uniform = Init::Uniform { low: -1.0, high: 1.0, stream: 4 };
    program.states.push(State {
        path: "w".into(),
        ty: ty(DType::F32, &[2, 2]),
        init: uniform.clone(),
        role: Role::Parameter,
    });
    let interpreter = Interpreter::new(program.clone(), 11).unwrap();
    assert_eq!(interpreter.state("seed"), Some(&11i64.into()));
    let dense = kilngrad_ir::random::initial(&uniform, &ty(DType::F32, &[2, 2]), 11).unwrap();
    assert_eq!(interpreter.state("w"), Array::from_dense(&dense, &[2, 2]).as_ref());
    assert_ne!(
        States::initial(&program, 12).unwrap().get(StateId::from_index(3)),
        interpreter.state("w").unwrap()
    );
    assert!(matches!(States::new(&program, vec![]), Err(InterpError::StateCount { .. })));
}

/// `y = sum(exp(x))`, its exponentials in a kernel.
fn with_kernel() -> Program {
    let mut body = Graph::new();
    let inside = body.add_argument(ValueName::word("a").unwrap(), ty(DType::F64, &[2]));
    let node = body.append(Op::Unary(UnaryOp::Exp), &[inside], &[], Origin::unknown()).unwrap();
    let exp = body.node(node).result();
    let node = body.append(ADD, &[exp, inside], &[], Origin::unknown()).unwrap();
    let sum = body.node(node).result();
    body.set_results(vec![exp, sum]);
    let kernel = Kernel { name: "k0".into(), kind: KernelKind::Map, body };

    let mut build = Build::new();
    let x = build.input("x", ty(DType::F64, &[2]));
    let node =
        build.graph.append(Op::Kernel(Box::new(kernel)), &[x], &[], Origin::unknown()).unwrap();
    let results = build.graph.node(node).results.to_vec();
    let y = build.op(MUL, &results);
    build.program(&[y, results[0]])
}

#[test]
fn kernels_evaluate_their_bodies_and_traces_see_every_value() {
    let program = with_kernel();
    let (a, b) = (0.5f64, -1.0f64);
    let x = Array::from(vec![a, b]);
    let mut seen = Vec::new();
    let states = States::initial(&program, 0).unwrap();
    let inputs = [x.clone()];
    let outcome =
        eval_entry_traced(&program, &program.entries[0], &inputs, &states, &mut |trace| {
            seen.push(format!("{} {} {}", trace.kernel.unwrap_or("-"), trace.name, trace.ty));
            assert_eq!(trace.array.shape(), [2]);
        })
        .unwrap();
    let expected = vec![a.exp() * (a.exp() + a), b.exp() * (b.exp() + b)];
    assert_eq!(outcome.outputs[0], expected.into());
    assert_eq!(
        seen,
        [
            "- %x f64[2]",
            "k0 %a f64[2]",
            "k0 %0 f64[2]",
            "k0 %1 f64[2]",
            "- %0 f64[2]",
            "- %1 f64[2]",
            "- %2 f64[2]",
        ]
    );
    let graph = &program.entries[0].graph;
    let results = eval_node(graph, NodeId::from_index(0), &[x], &Bindings::new(), &states);
    assert_eq!(results.unwrap()[0], outcome.outputs[1]);
}

#[test]
fn a_value_may_be_an_input_and_several_results_at_once() {
    let mut build = Build::new();
    let x = build.input("x", ty(DType::U8, &[1]));
    let outcome = call(&build.program(&[x, x]), &[vec![7u8].into()]).unwrap();
    assert_eq!(outcome.outputs, [vec![7u8].into(), vec![7u8].into()]);
}

#[test]
fn a_long_chain_runs_on_a_small_stack() {
    let run = || {
        let mut build = Build::new();
        let mut x = build.input("x", ty(DType::F64, &[]));
        let one = build.splat(ty(DType::F64, &[]), 1.0);
        for _ in 0..100_000 {
            x = build.op(ADD, &[x, one]);
        }
        call(&build.program(&[x]), &[0.0.into()]).unwrap().outputs.remove(0)
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), 100_000.0.into());
}
