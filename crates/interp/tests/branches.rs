//! What `cond` and `while` compute, and what ends a loop.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use kilngrad_interp::{Array, InterpError, Outcome, States, Trace, eval_entry, eval_entry_until};
use kilngrad_ir::{Program, text::Limits, verify};

fn program(body: &str) -> Program {
    let text = format!("kilngrad 1\nprogram \"p\"\n{body}");
    let program = Program::parse(&text, &Limits::default()).unwrap();
    verify(&program).unwrap();
    program
}

fn call(program: &Program, inputs: &[Array]) -> Outcome {
    let states = States::initial(program, 0).unwrap();
    eval_entry(program, &program.entries[0], inputs, &states).unwrap()
}

const EITHER: &str = "entry @main(%p: bool[], %x: f64[2], %z: f64[2]) eval {
  %y: f64[2], %n: i64[] = cond %p (%a = %x) {
    %0: f64[2] = exp %a
    %1: i64[] = constant 1
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
fn the_predicate_chooses() {
    let program = program(EITHER);
    let x = Array::from(vec![0.0, 0.0]);
    let z = Array::from(vec![3.0, 4.0]);
    let then = call(&program, &[true.into(), x.clone(), z.clone()]);
    assert_eq!(then.outputs, [vec![1.0, 1.0].into(), 1i64.into()]);
    let otherwise = call(&program, &[false.into(), x, z]);
    assert_eq!(otherwise.outputs, [vec![3.0, 4.0].into(), 2i64.into()]);
}

#[test]
fn the_other_side_is_not_computed() {
    let program = program(EITHER);
    let states = States::initial(&program, 0).unwrap();
    let mut seen = Vec::new();
    let mut note = |trace: Trace<'_>| {
        if trace.nested {
            seen.push(trace.name.to_string());
        }
    };
    let inputs = [true.into(), Array::from(vec![0.0, 0.0]), Array::from(vec![0.0, 0.0])];
    let never = AtomicBool::new(false);
    eval_entry_until(&never, &program, &program.entries[0], &inputs, &states, &mut note).unwrap();
    assert_eq!(seen, ["%a", "%0", "%1"]);
}

/// Steps of the Collatz sequence.
const STEPS: &str = "state \"calls\": i64[] = 0 buffer
entry @main(%n: i64[]) eval {
  %calls: i64[] = state \"calls\"
  %one: i64[] = constant 1
  %next: i64[] = add %calls, %one
  %none: i64[] = constant 0
  %last: i64[], %steps: i64[] = while (%k = %one) carry (%n = %n, %i = %none) {
    %0: bool[] = gt %n, %k
    yield %0
  } do (%k = %one) carry (%n, %i) {
    %0: i64[] = constant 2
    %1: i64[] = rem %n, %0
    %2: bool[] = eq %1, %k
    %m: i64[] = cond %2 (%n = %n, %k = %k) {
      %0: i64[] = constant 3
      %1: i64[] = mul %n, %0
      %2: i64[] = add %1, %k
      yield %2
    } else (%n = %n) {
      %0: i64[] = constant 2
      %1: i64[] = div %n, %0
      yield %1
    }
    %next: i64[] = add %i, %k
    yield %m, %next
  }
  update \"calls\" := %next
  return last = %last, steps = %steps
}
";

#[test]
fn a_while_runs_until_its_test_fails() {
    let program = program(STEPS);
    for (n, steps) in [(1i64, 0i64), (2, 1), (27, 111)] {
        assert_eq!(call(&program, &[n.into()]).outputs, [1i64.into(), steps.into()]);
    }
}

#[test]
fn a_flag_ends_a_while_where_it_is() {
    let program = program(STEPS);
    let states = States::initial(&program, 0).unwrap();
    let flag = AtomicBool::new(false);
    // Set within the sixth iteration, which ends: the seventh is not begun.
    let mut set = |trace: Trace<'_>| {
        if trace.iteration == Some(5) {
            flag.store(true, Ordering::Relaxed);
        }
    };
    let entry = &program.entries[0];
    let found = eval_entry_until(&flag, &program, entry, &[27i64.into()], &states, &mut set);
    let Err(InterpError::Cancelled { value, iteration, site: _ }) = &found else {
        panic!("expected a cancelled call, found {found:?}");
    };
    assert_eq!((value.as_str(), *iteration), ("%last", 6));
}
