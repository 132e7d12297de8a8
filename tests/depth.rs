//! A chain of 100,000 operations through every stage, on a small stack.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Instant;

use kilngrad::internals::ir::text::Limits;
use kilngrad::prelude::*;
use kilngrad_testing::features;
use ndarray::arr1;

const LENGTH: usize = 100_000;

/// `x` multiplied and shifted over and over, and its gradient by a parameter.
fn declare() -> Program {
    let b = Builder::new("chain");
    let w = b.scope("model").param("w", (4,), Init::Constant(0.5));
    let step = b.entry("step", Mode::Train);
    let w = step.read(w);
    let mut x = step.input("x", F32, (4,));
    for index in 0..LENGTH / 2 {
        x = if index % 2 == 0 { (x + w).tanh() } else { (x * w).relu() };
    }
    let loss = x.sum(..);
    step.minimize(loss, b.params("model"), Sgd::new(0.1));
    step.output("loss", loss);
    b.finish().unwrap()
}

fn run() {
    let mut clock = Instant::now();
    let mut lap = |what: &str| {
        println!("{what:<12}{:>8.2?}", clock.elapsed());
        clock = Instant::now();
    };
    let program = declare();
    assert!(program.entries[0].graph.node_count() >= LENGTH);
    lap("built");
    kilngrad::internals::ir::verify(&program).unwrap();
    lap("verified");
    let text = program.to_string();
    lap("printed");
    let parsed = Program::parse(&text, &Limits::default()).unwrap();
    assert_eq!(parsed, program);
    lap("parsed");
    drop(parsed);
    let options = Options::new().features(features());
    let mut slow = program.clone().interpret(&options).unwrap();
    lap("differentiated");
    let mut exe = program.compile(&options).unwrap();
    lap("compiled");
    let x = arr1(&[0.1f32, 0.2, -0.3, 0.4]);
    for _ in 0..2 {
        let native: f32 = exe.call("step").feed("x", &x).run().unwrap().scalar("loss").unwrap();
        let reference = slow.call("step").feed("x", &x).run().unwrap().number("loss").unwrap();
        assert!((f64::from(native) - reference).abs() < 1e-4, "{native} {reference}");
    }
    lap("run");
    drop((exe, slow, text));
    lap("dropped");
}

#[test]
fn a_hundred_thousand_operations_need_no_stack() {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}
