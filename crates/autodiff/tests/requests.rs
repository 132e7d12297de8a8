//! What a request means: by which value, what is refused, what it costs, and stated edges.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, array, eval, expanded, run, symbolic, ty};
use kilngrad_autodiff::differentiate;
use kilngrad_ir::op::{BinaryOp, CompareOp, Kernel, KernelKind, ReduceOp, UnaryOp};
use kilngrad_ir::{
    DType, Graph, Init, Literal, Op, Origin, Program, Role, State, StateId, Type, Value, ValueName,
};

fn scalars(outputs: &[kilngrad_interp::Array]) -> Vec<f64> {
    outputs.iter().map(|output| output.scalar().unwrap().to_f64()).collect()
}

#[test]
fn a_derivative_is_by_that_very_value() {
    let mut b = Build::new();
    let x = b.scalar("x");
    let square = b.mul(x, x);
    let again = b.mul(x, x);
    let cube = b.mul(square, x);
    let loss = b.mul(cube, again);
    let by = b.gradient(loss, &[x, square, again, cube, loss, x]);
    // loss = square·x·again with square = again = x².
    let found = scalars(&run(b, &by, &[2.0.into()]));
    assert_eq!(found, [80.0, 8.0, 8.0, 4.0, 1.0, 80.0]);
}

#[test]
fn a_loss_that_is_an_input_has_the_derivative_one() {
    let mut b = Build::new();
    let x = b.scalar("x");
    let by = b.gradient(x, &[x]);
    assert_eq!(scalars(&run(b, &by, &[7.0.into()])), [1.0]);
}

/// `d(x·c)/dx` is `c`, yet differentiating by it must not mean differentiating by `c`, nor may two
/// derivatives that are equal be one variable.
#[test]
fn a_derivative_is_a_variable_of_its_own() {
    let mut b = Build::new();
    let (x, y, c) = (b.scalar("x"), b.scalar("y"), b.scalar("c"));
    let sum = b.add(x, y);
    let loss = b.mul(sum, c);
    let by = b.gradient(loss, &[x, y]);
    let product = b.mul(by[0], by[1]);
    let second = b.mul(product, c);
    let again = b.gradient(second, &[by[0], by[1], c]);
    // second = gx·gy·c, with gx = gy = c.
    let found = scalars(&run(b, &again, &[2.0.into(), 3.0.into(), 5.0.into()]));
    assert_eq!(found, [25.0, 25.0, 75.0]);
}

#[test]
fn requests_nest_to_any_order() {
    let mut b = Build::new();
    let x = b.scalar("x");
    let mut value = b.unary(UnaryOp::Sigmoid, x);
    let mut results = vec![value];
    for _ in 0..5 {
        value = b.gradient(value, &[x])[0];
        results.push(value);
    }
    let found = scalars(&run(b, &results, &[0.0.into()]));
    let expected = [0.5, 0.25, 0.0, -0.125, 0.0, 0.25];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-14, "{found} {expected}");
    }
}

#[test]
fn ties_and_edges_are_as_the_rows_state() {
    let derivative = |build: &dyn Fn(&mut Build, Value) -> Value, x: &[f64]| {
        let mut b = Build::new();
        let input = b.vector("x", x.len());
        let y = build(&mut b, input);
        let loss = b.total(y);
        let by = b.gradient(loss, &[input]);
        run(b, &by, &[array(&[x.len()], x)])[0].to_f64_vec()
    };
    let unary = |op| move |b: &mut Build, x: Value| b.unary(op, x);
    assert_eq!(derivative(&unary(UnaryOp::Relu), &[-1.0, 0.0, 2.0]), [0.0, 0.0, 1.0]);
    assert_eq!(derivative(&unary(UnaryOp::Abs), &[-1.0, 0.0, 2.0]), [-1.0, 0.0, 1.0]);
    assert_eq!(derivative(&unary(UnaryOp::Floor), &[-1.5, 0.0, 2.0]), [0.0; 3]);
    assert_eq!(derivative(&unary(UnaryOp::Sign), &[-1.5, 0.0, 2.0]), [0.0; 3]);
    let with_one = |op| {
        move |b: &mut Build, x: Value| {
            let one = b.splat(b.graph.ty(x).clone(), 1.0);
            b.binary(op, x, one)
        }
    };
    assert_eq!(derivative(&with_one(BinaryOp::Max), &[0.0, 1.0, 2.0]), [0.0, 0.5, 1.0]);
    assert_eq!(derivative(&with_one(BinaryOp::Min), &[0.0, 1.0, 2.0]), [1.0, 0.5, 0.0]);
    let extreme = |op| move |b: &mut Build, x: Value| b.reduce(op, &[0], x);
    let x = [3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0];
    let quarter = [0.25, 0.0, 0.25, 0.0, 0.25, 0.0, 0.25];
    assert_eq!(derivative(&extreme(ReduceOp::Max), &x), quarter);
    assert_eq!(derivative(&extreme(ReduceOp::Min), &x[..4]), [0.0, 0.5, 0.0, 0.5]);
    // What was not selected does not come back, though its derivative is infinite.
    let guarded = |b: &mut Build, x: Value| {
        let zero = b.splat(b.graph.ty(x).clone(), 0.0);
        let positive = b.op(Op::Compare(CompareOp::Gt), &[x, zero]);
        let one = b.splat(b.graph.ty(x).clone(), 1.0);
        let safe = b.op(Op::Select, &[positive, x, one]);
        let root = b.unary(UnaryOp::Sqrt, safe);
        b.op(Op::Select, &[positive, root, zero])
    };
    assert_eq!(derivative(&guarded, &[0.0, 4.0, -1.0]), [0.0, 0.25, 0.0]);
    // A product is differentiated with one division, and a sum without any multiplication.
    assert_eq!(derivative(&unary(UnaryOp::Log), &[3.0, 7.0]), [1.0 / 3.0, 1.0 / 7.0]);
}

#[test]
fn casts_between_floats_pass_and_others_stop() {
    let mut b = Build::new();
    let x = b.vector("x", 2);
    let half = b.op_as(Op::Cast, &[x], Type::new(DType::F32, [2usize].into_iter().collect()));
    let square = b.mul(half, half);
    let back = b.op_as(Op::Cast, &[square], ty(&[2]));
    let whole = b.op_as(Op::Cast, &[x], Type::new(DType::I32, [2usize].into_iter().collect()));
    let whole = b.op_as(Op::Cast, &[whole], ty(&[2]));
    let product = b.mul(back, whole);
    let loss = b.total(product);
    let by = b.gradient(loss, &[x]);
    let found = run(b, &by, &[vec![1.5, 2.5].into()]);
    assert_eq!(found[0].to_f64_vec(), [3.0, 10.0]);
}

fn messages(program: &Program) -> Vec<String> {
    differentiate(program).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn what_the_loss_does_not_depend_on_is_refused_by_name() {
    let mut b = Build::new();
    let (x, y) = (b.scalar("x"), b.scalar("y"));
    let w = b.op_as(Op::State(StateId::from_index(0)), &[], ty(&[]));
    let loss = b.mul(x, x);
    let by = b.gradient(loss, &[x, y, w]);
    // What comes of a refused derivative is not complained about again.
    let next = b.mul(by[1], by[1]);
    let again = b.gradient(next, &[y]);
    b.graph.set_results(vec![by[0], again[0]]);
    let mut entry = kilngrad_ir::Entry::new("main", kilngrad_ir::Mode::Train, b.graph);
    entry.outputs = vec!["a".into(), "b".into()];
    let program = Program {
        name: "test".into(),
        states: vec![State {
            path: "net.w".into(),
            ty: ty(&[]),
            init: Init::Splat(Literal::from_f64(DType::F64, 1.0)),
            role: Role::Parameter,
        }],
        entries: vec![entry],
    };
    let expected = [
        "error[gradient_d1]: expected a loss that depends on %y, found %1\n  \
         --> model.rs:2:1\n   = by: %y\n   = of: %1, from model.rs:1:1\n   \
         = help: ask for gradient_or_zero where a derivative of zero is what is meant",
        "error[gradient_d1]: expected a loss that depends on \"net.w\", found %1\n  \
         --> model.rs:2:1\n   = by: \"net.w\", from model.rs:0:1\n   = of: %1, from \
         model.rs:1:1\n   = help: ask for gradient_or_zero where a derivative of zero is what is \
         meant",
    ];
    assert_eq!(messages(&program), expected);
}

/// A request for `d loss/dx` where `block` hides `x`.
fn blocked(block: impl Fn(&mut Build, Value) -> Value, or_zero: bool) -> Program {
    let mut b = Build::new();
    let x = b.vector("x", 2);
    let square = b.mul(x, x);
    let hidden = block(&mut b, square);
    let loss = b.total(hidden);
    let by = b.request(loss, &[x], or_zero);
    b.program(&by)
}

#[test]
fn what_is_in_the_way_is_named() {
    type Block = fn(&mut Build, Value) -> Value;
    let cases: [(&str, Block); 4] = [
        ("stop_gradient", |b, x| b.op(Op::StopGradient, &[x])),
        ("cast", |b, x| {
            let whole =
                b.op_as(Op::Cast, &[x], Type::new(DType::I32, [2usize].into_iter().collect()));
            b.op_as(Op::Cast, &[whole], ty(&[2]))
        }),
        ("gt", |b, x| {
            let (zero, one) = (b.splat(ty(&[2]), 0.0), b.splat(ty(&[2]), 1.0));
            let positive = b.op(Op::Compare(CompareOp::Gt), &[x, zero]);
            b.op(Op::Select, &[positive, one, zero])
        }),
        ("argmax", |b, x| {
            let first =
                b.op(Op::ArgReduce { op: kilngrad_ir::op::ArgReduceOp::Max, axis: 0 }, &[x]);
            let first = b.op_as(Op::Cast, &[first], ty(&[]));
            b.op_as(Op::Broadcast { dims: [].as_slice().into() }, &[first], ty(&[2]))
        }),
    ];
    for (name, block) in cases {
        let found = messages(&blocked(block, false));
        assert_eq!(found.len(), 1);
        let expected = format!("found none but through {name}\n");
        assert!(found[0].contains(&expected), "{}", found[0]);
        assert!(found[0].contains("in the way: %"), "{}", found[0]);
        assert!(found[0].contains(&format!(" {name}, from model.rs:")), "{}", found[0]);
        let zero = expanded(&blocked(block, true));
        assert_eq!(eval(&zero, &[vec![1.0, 2.0].into()])[0].to_f64_vec(), [0.0, 0.0]);
    }
}

#[test]
fn piecewise_constant_operations_have_the_derivative_zero() {
    let program = expanded(&blocked(|b, x| b.unary(UnaryOp::Floor, x), false));
    assert_eq!(eval(&program, &[vec![1.5, 2.5].into()])[0].to_f64_vec(), [0.0, 0.0]);
}

#[test]
fn one_open_path_is_enough() {
    let program = expanded(&blocked(
        |b, x| {
            let held = b.op(Op::StopGradient, &[x]);
            b.mul(held, x)
        },
        false,
    ));
    // loss = s·x² with s = x² held.
    assert_eq!(eval(&program, &[vec![1.0, 2.0].into()])[0].to_f64_vec(), [2.0, 16.0]);
}

#[test]
fn a_kernel_on_a_path_is_refused_even_beside_an_open_one() {
    let kernel = |b: &mut Build, x: Value| {
        let mut body = Graph::new();
        let inside = body.add_argument(ValueName::word("a").unwrap(), ty(&[2]));
        let exp = Op::Unary(UnaryOp::Exp);
        let node = body.append(exp, &[inside], &[], Origin::unknown()).unwrap();
        body.set_results(vec![body.node(node).result()]);
        let kernel = Kernel { name: "k0".into(), kind: KernelKind::Map, body };
        let fused = b.op(Op::Kernel(Box::new(kernel)), &[x]);
        b.add(fused, x)
    };
    for or_zero in [false, true] {
        let found = messages(&blocked(kernel, or_zero));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("error[gradient_d3]"), "{}", found[0]);
        assert!(found[0].contains("found kernel \"k0\""), "{}", found[0]);
    }
}

#[test]
fn cotangents_say_what_they_are_of() {
    let mut b = Build::new();
    let x = b.vector("x", 2);
    let hidden = b.mul(x, x);
    let exp = b.unary(UnaryOp::Exp, hidden);
    let loss = b.total(exp);
    let by = b.gradient(loss, &[x]);
    let name = b.graph.name(hidden).clone();
    let program = expanded(&b.program(&by));
    let graph = &program.entries[0].graph;
    let of_hidden: Vec<&Origin> = graph
        .nodes()
        .map(|(_, node)| &node.origin)
        .filter(|origin| origin.cotangent_of() == Some(&name))
        .collect();
    assert!(!of_hidden.is_empty());
    for origin in of_hidden {
        assert_eq!(origin.site().unwrap().line, 0);
        assert_eq!(origin.scope(), "net");
    }
}

#[test]
fn only_what_lies_between_is_differentiated() {
    let mut b = Build::new();
    let (x, w) = (b.scalar("x"), b.scalar("w"));
    let mut far = x;
    for _ in 0..1000 {
        far = b.unary(UnaryOp::Tanh, far);
    }
    let loss = b.mul(far, w);
    let by = b.gradient(loss, &[w]);
    let before = b.graph.node_count();
    let program = expanded(&b.program(&by));
    let added = program.entries[0].graph.node_count() - before;
    assert!(added < 5, "{added} nodes for one product");
}

#[test]
fn types_with_symbols_stay_so() {
    let mut b = Build::new();
    let x = b.input("x", symbolic(&["n", "2"]));
    let square = b.mul(x, x);
    let loss = b.total(square);
    let by = b.gradient(loss, &[x]);
    let program = expanded(&b.program(&by));
    let graph = &program.entries[0].graph;
    assert_eq!(graph.ty(graph.results()[0]).to_string(), "f64[n,2]");
}

#[test]
fn a_long_chain_is_differentiated_on_a_small_stack() {
    let run = || {
        let mut b = Build::new();
        let x = b.scalar("x");
        let half = b.splat(ty(&[]), 0.5);
        let mut y = x;
        for _ in 0..50_000 {
            let sum = b.add(y, x);
            y = b.mul(sum, half);
        }
        let by = b.gradient(y, &[x]);
        let before = b.graph.node_count();
        let program = expanded(&b.program(&by));
        assert!(program.entries[0].graph.node_count() < 4 * before);
        scalars(&eval(&program, &[3.0.into()]))
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), [1.0]);
}
