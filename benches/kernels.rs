//! Native code against the interpreter, by class of kernel: an entry each whose work is one class.
//!
//! `cargo bench --bench kernels`; `cargo run --example bench_plot` draws the results.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kilngrad::Input;
use kilngrad::prelude::*;
use ndarray::{Array1, Array2};

/// Rows and columns of what is fed: a few megabytes, more than the inner caches hold.
const ROWS: usize = 1024;
const COLUMNS: usize = 768;

/// What an entry computes of `x: f32[1024,768]` and `i: i64[1024]`, indices of rows.
type Compute = for<'b> fn(Entry<'b>, Tensor<'b>, Tensor<'b>) -> Tensor<'b>;

/// A class of kernels with one of its kind.
const CLASSES: [(&str, Compute); 9] = [
    ("map: x·σ(x)", |_, x, _| x * x.sigmoid()),
    ("map: gelu", |_, x, _| x.gelu()),
    ("map: transpose", |_, x, _| x.t() + 1.0),
    ("map: dropout", |_, x, _| x.dropout("drop", 0.5)),
    ("reduce: softmax of rows", |_, x, _| x.softmax(-1)),
    ("reduce: sums of columns", |_, x, _| x.sum(0)),
    ("reduce: norm of all", |_, x, _| x.square().sum(..).sqrt()),
    ("contraction: x·xᵀ", |_, x, _| x.matmul(x.t())),
    ("indexed: rows by index", |_, x, i| x.index_select(0, i)),
];

fn program(compute: Compute) -> Program {
    let b = Builder::new("kernel");
    let e = b.entry("run", Mode::Train);
    let (x, i) = (e.input("x", F32, (ROWS, COLUMNS)), e.input("i", I64, (ROWS,)));
    e.output("y", compute(e, x, i));
    b.finish().unwrap()
}

fn kernels(criterion: &mut Criterion) {
    let x = Array2::from_shape_fn((ROWS, COLUMNS), |(i, j)| ((i * COLUMNS + j) as f32).sin());
    let i = Array1::from_shape_fn(ROWS, |row| (row * 37 % ROWS) as i64);
    let feeds: [(&str, &dyn Input); 2] = [("x", &x), ("i", &i)];
    let options = Options::new().threads(1);
    for (name, compute) in CLASSES {
        let mut group = criterion.benchmark_group(name);
        let mut native = program(compute).compile(&options).unwrap();
        group.bench_function(BenchmarkId::from_parameter("native"), |bencher| {
            bencher.iter(|| {
                let call = feeds.iter().fold(native.call("run"), |call, (k, v)| call.feed(k, *v));
                black_box(call.run().unwrap());
            });
        });
        let mut interpreted = program(compute).interpret(&options).unwrap();
        group.bench_function(BenchmarkId::from_parameter("interpreter"), |bencher| {
            bencher.iter(|| {
                let call = interpreted.call("run");
                let call = feeds.iter().fold(call, |call, (k, v)| call.feed(k, *v));
                black_box(call.run().unwrap());
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = kernels
}
criterion_main!(benches);
