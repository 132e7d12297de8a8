//! Native code against the interpreter, by workload: a step of each that `kilngrad bench`
//! knows.
//!
//! `cargo bench --bench workloads`; `cargo run --example bench_plot` draws the results.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kilngrad::Input;
use kilngrad::prelude::*;

// The command's own, so that a name stands for one workload.
#[path = "../crates/cli/src/workloads/mod.rs"]
mod workloads;

use workloads::{WORKLOADS, workload};

fn steps(criterion: &mut Criterion) {
    let options = Options::new().threads(1);
    for (name, _) in WORKLOADS {
        let workload = workload(name).unwrap();
        let floats = workload.floats.iter().map(|(name, array)| (*name, array as &dyn Input));
        let classes = workload.classes.iter().map(|(name, array)| (*name, array as &dyn Input));
        let feeds: Vec<(&str, &dyn Input)> = floats.chain(classes).collect();
        let mut group = criterion.benchmark_group(name);
        let mut native = workload.program.clone().compile(&options).unwrap();
        group.bench_function(BenchmarkId::from_parameter("native"), |bencher| {
            bencher.iter(|| {
                let call = feeds.iter().fold(native.call("step"), |call, (k, v)| call.feed(k, *v));
                black_box(call.run().unwrap());
            });
        });
        let mut interpreted = workload.program.clone().interpret(&options).unwrap();
        group.bench_function(BenchmarkId::from_parameter("interpreter"), |bencher| {
            bencher.iter(|| {
                let call = interpreted.call("step");
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
    targets = steps
}
criterion_main!(benches);
