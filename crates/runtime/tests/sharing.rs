//! Code that is shared: compiled once, bounded in number, and not displaced by what fails.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use kilngrad_codegen::{CodegenOptions, Features, Module};
use kilngrad_ir::text::Limits;
use kilngrad_ir::{Bindings, DType, Error, ErrorKind, Program, StateId, Symbol};
use kilngrad_loops::parse_program;
use kilngrad_runtime::{
    Code, Compile, Constant, Executable, External, Frozen, KEPT_BINDINGS, Session, Slot,
};
use ndarray::Array1;

/// Doubles its input. Lengths from 1000 on cannot be compiled; compiling takes a while.
#[derive(Debug, Clone, Default)]
struct Doubling {
    /// How often each length was compiled.
    compiled: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Compile<usize> for Doubling {
    fn compile(&self, entry: usize, bindings: &Bindings) -> Result<Code<usize>, Error> {
        assert_eq!(entry, 0);
        let length = bindings[&Symbol::new("n")];
        *self.compiled.lock().unwrap().entry(length).or_default() += 1;
        thread::sleep(Duration::from_millis(5));
        if length >= 1000 {
            return Err(Error::new(ErrorKind::Unsupported, "expected fewer than 1000"));
        }
        let externals = vec![External::Argument(0), External::Output(0)];
        let slot = |name: &str| Slot { name: name.into(), dtype: DType::F32, shape: vec![length] };
        Code::new(doubling(length), vec![slot("x")], vec![slot("y")], externals, vec![], length)
    }
}

fn module(text: &str) -> Module {
    let program = parse_program(text).unwrap();
    kilngrad_codegen::compile(&program, &CodegenOptions::new(Features::detect())).unwrap()
}

fn doubling(length: usize) -> Module {
    module(&format!(
        "program @double arena=0 externals=2 {{
           buffer x: f32[{length}] external 0 readonly
           buffer y: f32[{length}] external 1
           kernel @double chunks=1 {{
             buffer x: f32[{length}] read
             buffer y: f32[{length}] write
             for i1 in 0..{length} {{
               %0: f32 = load x[i1]
               %1: f32 = add %0, %0
               store y[i1] = %1
             }}
           }}
           call double(x, y)
         }}"
    ))
}

fn program() -> Arc<Program> {
    let text = r#"kilngrad 1
program "doubling"
entry @double(%x: f32[n]) eval {
  %y: f32[n] = add %x, %x
  return y = %y
}
"#;
    Arc::new(Program::parse(text, &Limits::default()).unwrap())
}

fn frozen() -> (Frozen<usize>, Doubling) {
    let compiler = Doubling::default();
    (Frozen::new(program(), Box::new(compiler.clone()), 1), compiler)
}

fn call(session: &mut Session<usize>, length: usize) -> Result<(), Error> {
    let x = Array1::from_iter((0..length).map(|i| i as f32));
    let outputs = session.call("double").feed("x", &x).run()?;
    assert_eq!(outputs.view::<f32>("y")?, (&x * 2.0).into_dyn());
    Ok(())
}

#[test]
fn threads_that_want_one_binding_compile_it_once() {
    const LENGTHS: usize = 12;
    let (frozen, compiler) = frozen();
    let together = Barrier::new(8);
    thread::scope(|scope| {
        for worker in 0..8 {
            let (frozen, together) = (frozen.clone(), &together);
            scope.spawn(move || {
                let mut session = frozen.session();
                together.wait();
                // Some in one order, some in the other.
                for step in 0..LENGTHS {
                    let length = if worker % 2 == 0 { step } else { LENGTHS - 1 - step };
                    call(&mut session, length).unwrap();
                }
            });
        }
    });
    let expected: BTreeMap<usize, usize> = (0..LENGTHS).map(|length| (length, 1)).collect();
    assert_eq!(*compiler.compiled.lock().unwrap(), expected);
}

#[test]
fn no_more_bindings_are_kept_than_stated() {
    let (frozen, compiler) = frozen();
    let times = |length: usize| compiler.compiled.lock().unwrap()[&length];
    let mut session = frozen.session();
    for length in 0..=KEPT_BINDINGS {
        call(&mut session, length).unwrap();
        // Used every time, so never the least recently used of the session.
        call(&mut session, 1).unwrap();
    }
    call(&mut session, 1).unwrap();
    assert_eq!(times(1), 1);
    call(&mut session, 0).unwrap();
    assert_eq!(times(0), 2, "the first was displaced everywhere");
    // Of the handle it was displaced, as who has met it asks no more.
    call(&mut frozen.session(), 1).unwrap();
    assert_eq!(times(1), 2);
}

#[test]
fn what_fails_displaces_nothing() {
    let (frozen, compiler) = frozen();
    for length in 0..KEPT_BINDINGS {
        call(&mut frozen.session(), length).unwrap();
    }
    let mut session = frozen.session();
    for length in 1000..1010 {
        assert_eq!(call(&mut session, length).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(call(&mut session, length).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    // All but the one in whose place each of the failures was tried.
    for length in 10..KEPT_BINDINGS {
        call(&mut session, length).unwrap();
        assert_eq!(compiler.compiled.lock().unwrap()[&length], 1);
    }
}

/// A session has no states, so code that wants one does not run in it.
#[test]
fn code_with_states_does_not_run_in_a_session() {
    struct Stateful;
    impl Compile<()> for Stateful {
        fn compile(&self, _: usize, _: &Bindings) -> Result<Code<()>, Error> {
            let slot = |name: &str| Slot { name: name.into(), dtype: DType::F32, shape: vec![4] };
            let state = External::State(StateId::from_index(0));
            // The state stands for the output of the doubling, which writes it.
            let externals = vec![External::Argument(0), state];
            Code::new(doubling(4), vec![slot("x")], vec![], externals, vec![], ())
        }
    }
    let mut session = Frozen::new(program(), Box::new(Stateful), 1).session();
    let x = Array1::<f32>::zeros(4);
    let error = session.call("double").feed("x", &x).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    // Nor in an executable whose program has none.
    let mut executable = Executable::new(program(), Box::new(Stateful), 0, 1).unwrap();
    let error = executable.call("double").feed("x", &x).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}

#[test]
fn constants_are_derived_by_programs_of_two_externals() {
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let constant = Constant::new(&bytes(&[1.0, 2.0, 3.0])).unwrap();
    let doubled = constant.derive(&doubling(3)).unwrap();
    assert_eq!(doubled.bytes(), bytes(&[2.0, 4.0, 6.0]));
    // It may be longer than what is read of it, but not shorter.
    assert_eq!(constant.derive(&doubling(2)).unwrap().bytes(), bytes(&[2.0, 4.0]));
    assert_eq!(constant.derive(&doubling(4)).unwrap_err().kind(), ErrorKind::Internal);
    let one = module("program @none arena=0 externals=0 { }");
    assert_eq!(constant.derive(&one).unwrap_err().kind(), ErrorKind::Internal);
    let weak = doubled.downgrade();
    assert_eq!(weak.upgrade(), Some(doubled.clone()));
    drop(doubled);
    assert_eq!(weak.upgrade(), None);
}
