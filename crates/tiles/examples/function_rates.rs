//! Prints how long a leaf function takes for an element, with the elements in the first-level
//! cache:
//! `cargo run --release -p kilngrad-tiles --example function_rates`.

use std::hint::black_box;
use std::time::Instant;

use kilngrad_loops::Scalar;
use kilngrad_loops::math::Function;
use kilngrad_tiles::{ElementsFn, Features, find_function};

/// Elements of a call: 4 or 8 KiB.
const COUNT: usize = 1024;

/// Calls of a run.
const CALLS: usize = 100;

/// Runs of which the fastest is printed.
const RUNS: usize = 15;

fn main() {
    let detected = Features::detect();
    let narrower = Features { avx512: false, ..detected };
    println!("nanoseconds an element, fastest of {RUNS} runs over {COUNT} elements");
    println!("{:<10}{:>12}{:>10}{:>12}{:>10}", "", "AVX-512 f32", "f64", "AVX2 f32", "f64");
    for &function in Function::ALL {
        print!("{:<10}", function.name());
        for (features, scalar, width) in [
            (detected, Scalar::F32, 12),
            (detected, Scalar::F64, 10),
            (narrower, Scalar::F32, 12),
            (narrower, Scalar::F64, 10),
        ] {
            let present = features.avx512 || features == narrower;
            match find_function(features, function, scalar).filter(|_| present) {
                None => print!("{:>width$}", "–"),
                Some(code) if scalar == Scalar::F32 => print!("{:>width$.2}", time_of::<f32>(code)),
                Some(code) => print!("{:>width$.2}", time_of::<f64>(code)),
            }
        }
        println!();
    }
}

/// Nanoseconds an element. Operands are between 0 and 1, where every function has values.
fn time_of<E: From<f32> + Copy>(code: ElementsFn) -> f64 {
    let operands: Vec<E> = (0..COUNT).map(|at| E::from(at as f32 / COUNT as f32)).collect();
    let mut elements = operands.clone();
    let run = |elements: &mut Vec<E>| {
        let start = Instant::now();
        for _ in 0..CALLS {
            elements.copy_from_slice(black_box(&operands));
            // SAFETY: these are as many floats of the type, and this processor has the features for
            // which the code was found.
            unsafe { code(elements.as_mut_ptr().cast(), COUNT) };
        }
        start.elapsed().as_nanos() as f64 / (CALLS * COUNT) as f64
    };
    (0..RUNS).map(|_| run(&mut elements)).fold(f64::INFINITY, f64::min)
}
