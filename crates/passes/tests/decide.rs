//! Conds whose predicate is known, and what of control flow nobody reads.

#![allow(clippy::unwrap_used)]

use kilngrad_interp::{Array, States, eval_entry};
use kilngrad_ir::{Bindings, Machine, Program, text::Limits, verify};
use kilngrad_passes::dce::Dce;
use kilngrad_passes::decide::Decide;
use kilngrad_passes::{Context, Pass};

fn program(body: &str) -> Program {
    let text = format!("kilngrad 1\nprogram \"p\"\n{body}");
    let program = Program::parse(&text, &Limits::default()).unwrap();
    verify(&program).unwrap();
    program
}

fn run(pass: impl Pass, program: &Program) -> Program {
    let (machine, bindings) = (Machine::BASELINE, Bindings::new());
    let result = pass.run(&mut Context::new(&machine, &bindings), program).unwrap();
    verify(&result).unwrap();
    result
}

fn call(program: &Program, inputs: &[Array]) -> Vec<Array> {
    let states = States::initial(program, 0).unwrap();
    eval_entry(program, &program.entries[0], inputs, &states).unwrap().outputs
}

fn words(program: &Program) -> Vec<&'static str> {
    program.entries[0].graph.nodes().map(|(_, node)| node.op.name()).collect()
}

const NESTED: &str = "entry @main(%p: bool[], %x: f64[2], %z: f64[2]) eval {
  %y: f64[2], %n: i64[] = cond %p (%a = %x, %q = %p) {
    %0: f64[2] = exp %a
    %1: i64[] = cond %q () {
      %0: i64[] = constant 1
      yield %0
    } else () {
      %0: i64[] = constant 3
      yield %0
    }
    yield %0, %1
  } else (%a = %z, %b = %x) {
    %0: f64[2] = sub %a, %b
    %1: i64[] = constant 2
    yield %0, %1
  }
  return y = %y, n = %n
}
";

#[test]
fn of_a_constant_predicate_one_side_stays() {
    for holds in [false, true] {
        let body = NESTED
            .replace("entry @main(%p: bool[], ", "entry @main(")
            .replace("eval {\n", &format!("eval {{\n  %p: bool[] = constant {holds}\n"));
        let before = program(&body);
        let after = run(Dce, &run(Decide, &before));
        let mut found = words(&after);
        found.sort_unstable();
        // The inner one's predicate stands for the same constant.
        assert_eq!(found, if holds { ["constant", "exp"] } else { ["constant", "sub"] }, "{after}");
        let inputs = [vec![f64::NAN, -0.0], vec![1.0, f64::INFINITY]].map(Array::from);
        assert_eq!(call(&before, &inputs), call(&after, &inputs));
    }
}

#[test]
fn a_predicate_of_the_caller_stays() {
    let before = program(NESTED);
    assert_eq!(run(Decide, &before), before);
}

#[test]
fn what_nobody_reads_of_a_cond_is_dropped() {
    let body = NESTED.replace("return y = %y, n = %n", "return y = %y");
    let after = run(Dce, &program(&body));
    let node = after.entries[0].graph.nodes().next().unwrap().1;
    assert_eq!((node.operands.len(), node.results.len()), (4, 1), "{after}");
}

const LOOP: &str = "entry @main(%x: f64[], %k: f64[], %l: f64[]) eval {
  %0: i64[] = constant 0
  %y: f64[], %i: i64[], %z: f64[] = while (%b = %k, %c = %l) carry (%h = %x, %i = %0, %z = %x) {
    %more: bool[] = lt %h, %b
    yield %more
  } do (%b = %k, %c = %k) carry (%h, %i, %z) {
    %0: f64[] = mul %h, %b
    %1: f64[] = add %0, %c
    %2: i64[] = constant 1
    %3: i64[] = add %i, %2
    %4: f64[] = add %z, %h
    yield %1, %3, %4
  }
  return y = %y
}
";

#[test]
fn what_leads_to_no_result_does_not_go_around() {
    let before = program(LOOP);
    let after = run(Dce, &before);
    // A constant of the test, one of the body that stands for two, and the carry.
    let node = after.entries[0].graph.nodes().last().unwrap().1;
    assert_eq!((node.operands.len(), node.results.len()), (3, 1), "{after}");
    let inputs = [Array::from(1.5), Array::from(10.0), Array::from(7.0)];
    assert_eq!(call(&before, &inputs), call(&after, &inputs));
}
