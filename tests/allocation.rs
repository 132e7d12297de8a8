//! A call in steady state allocates nothing.

#![allow(missing_docs, clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use kilngrad::data::Table;
use kilngrad::prelude::*;
use kilngrad::trainer::Trainer;
use kilngrad_testing::features;
use ndarray::{Array1, Array2};

/// The system's allocator, counting.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn program() -> Program {
    let b = Builder::new("classifier");
    let n = b.dim("n");
    let scope = b.scope("net");
    let hidden = Dense::new(&scope, "hidden", 16, 32);
    let head = Dense::new(&scope, "head", 32, 4);
    let step = b.entry("step", Mode::Train);
    let x = step.input("x", F32, (n, 16));
    let drop = hidden.forward(x).relu().dropout("drop", 0.25);
    let loss = head.forward(drop).cross_entropy(step.input("y", I64, (n,)));
    step.minimize(loss, b.params("net"), Adam::new(1e-3));
    step.output("loss", loss);
    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, 16));
    predict.output("probs", head.forward(hidden.forward(x).relu()).softmax(-1));
    b.finish().unwrap()
}

/// The only test of this program, so that nothing else allocates meanwhile.
#[test]
fn a_call_in_steady_state_allocates_nothing() {
    for threads in [1, 2] {
        let options = Options::new().features(features()).threads(threads);
        let mut exe = program().compile(&options).unwrap();
        let batches = [64, 16].map(|rows| {
            let x = Array2::from_shape_fn((rows, 16), |(i, j)| (i * 16 + j) as f32 * 0.01);
            (x, Array1::from_shape_fn(rows, |row| row as i64 % 4))
        });
        let mut step = |index: usize| {
            let (x, y) = &batches[index % 2];
            let outputs = exe.call("step").feed("x", x).feed("y", y).run().unwrap();
            outputs.scalar::<f32>("loss").unwrap()
        };
        let first: f32 = (0..4).map(&mut step).sum();
        let before = COUNT.load(Ordering::SeqCst);
        let later: f32 = (0..100).map(&mut step).sum();
        assert_eq!(COUNT.load(Ordering::SeqCst) - before, 0, "{threads} threads");
        assert!(first.is_finite() && later.is_finite());

        let mut session = exe.freeze().unwrap().session();
        let mut predict = |index: usize| {
            let outputs = session.call("predict").feed("x", &batches[index % 2].0).run().unwrap();
            outputs.view::<f32>("probs").unwrap()[[0, 0]]
        };
        let first: f32 = (0..4).map(&mut predict).sum();
        let before = COUNT.load(Ordering::SeqCst);
        let later: f32 = (0..100).map(&mut predict).sum();
        assert_eq!(COUNT.load(Ordering::SeqCst) - before, 0, "a session, {threads} threads");
        assert!(first.is_finite() && later.is_finite());
    }

    // A trainer's step: from the second epoch on, all sizes are known.
    let x = Array2::from_shape_fn((100, 16), |(i, j)| (i * 16 + j) as f32 * 0.01);
    let rows = Table::new().with("x", x).unwrap();
    let rows = rows.with("y", Array1::from_shape_fn(100, |row| row as i64 % 4)).unwrap();
    let mut exe = program().compile(&Options::new().features(features())).unwrap();
    let mut counts = [0; 7];
    let trainer = Trainer::new(&mut exe, "step").epochs(3).batch(16).on_step(|step| {
        counts[step.batch - 1] = COUNT.load(Ordering::SeqCst);
        ControlFlow::Continue(())
    });
    trainer.run(&rows).unwrap();
    assert_eq!(counts[6] - counts[0], 0, "six steps of a trainer, the last a short one");
}
