//! A thousand programs compiled and dropped leave nothing behind.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::prelude::*;
use kilngrad_testing::features;
use ndarray::arr1;

/// What the process holds: mappings, kilobytes of address space and resident, threads.
#[derive(Debug, Clone, Copy)]
struct Held {
    mappings: usize,
    virtual_kb: usize,
    resident_kb: usize,
    threads: usize,
}

fn held() -> Held {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Held {
        mappings: std::fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
        virtual_kb: number("VmSize:"),
        resident_kb: number("VmRSS:"),
        threads: number("Threads:"),
    }
}

fn round(program: &Program) {
    let options = Options::new().features(features()).threads(2);
    let mut exe = program.clone().compile(&options).unwrap();
    let x = arr1(&[1f32, 2.0, 3.0, 4.0]);
    let y: f32 = exe.call("step").feed("x", &x).run().unwrap().scalar("y").unwrap();
    assert_eq!(y, 10.0);
}

#[test]
fn a_thousand_rounds_stay_level() {
    let b = Builder::new("small");
    let w = b.scope("model").param("w", (4,), Init::Ones);
    let step = b.entry("step", Mode::Train);
    let y = (step.input("x", F32, (4,)) * step.read(w)).sum(..);
    step.minimize(y, b.params("model"), Sgd::new(0.1));
    step.output("y", y);
    let program = b.finish().unwrap();

    (0..100).for_each(|_| round(&program));
    let before = held();
    (0..1000).for_each(|_| round(&program));
    let after = held();
    println!("before {before:?}\nafter  {after:?}");
    assert_eq!(after.threads, before.threads);
    assert!(after.mappings <= before.mappings + 8, "{before:?} {after:?}");
    // A leak of one page a round would be 4,000.
    assert!(after.resident_kb <= before.resident_kb + 2_000, "{before:?} {after:?}");
    assert!(after.virtual_kb <= before.virtual_kb + 3_000, "{before:?} {after:?}");
}
