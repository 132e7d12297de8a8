//! Training runs against PyTorch's, step by step: natively in `f64` and `f32`, and interpreted.
//!
//! The reference is tests/reference, or the folder that KILNGRAD_REFERENCE names. A run fails when
//! it is wrong, never because of its name. What is not declared in `models` is listed, and none of the
//! project's own.

#![allow(missing_docs, clippy::unwrap_used)]

mod models;

use kilngrad::Array;
use kilngrad::prelude::*;
use kilngrad_testing::reference::{Reference, rounded};
use kilngrad_testing::{features, input};
use serde_json::Value as Json;

use models::{Weights, declare};

/// How a run is executed, and how far it may be from the reference.
struct Mode {
    float: DType,
    interpret: bool,
    /// Of every loss, relative and absolute.
    loss: f64,
    /// Of the final parameters, relative and absolute.
    parameter: f64,
}

const NATIVE_F64: Mode = Mode { float: F64, interpret: false, loss: 1e-9, parameter: 1e-8 };
const NATIVE_F32: Mode = Mode { float: F32, interpret: false, loss: 1e-3, parameter: 1e-3 };
const INTERPRETED: Mode = Mode { float: F64, interpret: true, loss: 1e-9, parameter: 1e-8 };

#[test]
fn native_f64_follows_the_reference() {
    check(&NATIVE_F64);
}

#[test]
fn native_f32_follows_the_reference() {
    check(&NATIVE_F32);
}

#[test]
fn the_interpreter_follows_the_reference() {
    check(&INTERPRETED);
}

fn check(mode: &Mode) {
    let reference = Reference::open("traces");
    let traces = reference.json["traces"].as_array().unwrap();
    let (mut run, mut missing, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for trace in traces {
        let name = trace["name"].as_str().unwrap();
        let ran = follow(trace, &reference, mode, &mut failures);
        if ran { run.push(name) } else { missing.push(name) }
    }
    println!("traces: {} of {}; not declared: {}", run.len(), traces.len(), missing.join(", "));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        missing.is_empty() || std::env::var_os("KILNGRAD_REFERENCE").is_some(),
        "not declared: {missing:?}"
    );
}

/// Runs a trace; whether its model is declared.
fn follow(trace: &Json, reference: &Reference, mode: &Mode, failures: &mut Vec<String>) -> bool {
    let name = trace["name"].as_str().unwrap();
    let steps = usize::try_from(trace["steps"].as_u64().unwrap()).unwrap();
    let b = Builder::new(name).with_float(mode.float);
    let mut weights = Weights(Vec::new());
    for key in trace["params"].as_object().unwrap().keys() {
        let init = reference.array(&format!("{name}/init/{key}"));
        let values = Init::Values(init.to_f64_vec());
        weights.0.push((key.clone(), b.root().param(&format!("p_{key}"), init.shape(), values)));
    }
    let data: Vec<(String, Array)> = trace["data"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| {
            (key.clone(), reference.array(value["tensor"].as_str().unwrap()).clone())
        })
        .collect();
    let batch = data.iter().all(|(_, array)| array.shape()[0] == 20);
    if !declare(trace, b.entry("step", kilngrad::prelude::Mode::Train), &weights, &data, batch) {
        return false;
    }
    let program = b.finish().unwrap_or_else(|errors| panic!("{name}\n{errors}"));
    let options = Options::new().features(features());
    let mut engine = if mode.interpret {
        Engine::Interpreted(program.interpret(&options).unwrap())
    } else {
        Engine::Native(program.compile(&options).unwrap())
    };
    let outputs: Vec<(&str, &str)> = [("loss", "losses"), ("generator_loss", "generator_losses")]
        .into_iter()
        .filter(|(_, losses)| trace[losses].is_array())
        .collect();
    for step in 0..steps {
        let feeds: Vec<(&str, Array)> = data
            .iter()
            .map(|(key, array)| {
                let array = if batch { row(array, step) } else { array.clone() };
                (key.as_str(), rounded(&array, mode.float))
            })
            .collect();
        let names: Vec<&str> = outputs.iter().map(|(output, _)| *output).collect();
        for (found, (output, losses)) in engine.step(&feeds, &names).into_iter().zip(&outputs) {
            let expected = trace[losses][step].as_f64().unwrap();
            if far(found, expected, mode.loss) {
                let at = format!("{name} {output} of step {step}");
                failures.push(format!("{at}: expected {expected}, found {found}"));
            }
        }
    }
    for (key, _) in &weights.0 {
        // The true gradient of the keys' bias is zero: Adam turns what rounding leaves of it into
        // steps of full size, so in f32 there is nothing to compare.
        if name == "transformer" && key == "qkv_bias" && mode.float == F32 {
            continue;
        }
        let expected = reference.array(&format!("{name}/final/{key}")).to_f64_vec();
        let found = engine.parameter(&format!("p_{key}"), mode.float);
        assert_eq!(found.len(), expected.len());
        let wrong = found.iter().zip(&expected).find(|(f, e)| far(**f, **e, mode.parameter));
        failures.extend(wrong.map(|(f, e)| format!("{name} {key}: expected {e}, found {f}")));
    }
    true
}

enum Engine {
    Native(Executable),
    Interpreted(Interpreted),
}

impl Engine {
    fn step(&mut self, feeds: &[(&str, Array)], outputs: &[&str]) -> Vec<f64> {
        match self {
            Engine::Native(executable) => {
                let call = executable.call("step");
                let call =
                    feeds.iter().fold(call, |call, (key, value)| call.feed(key, input(value)));
                let results = call.run().unwrap();
                let scalar = |name: &&str| match results.scalar::<f32>(name) {
                    Ok(number) => f64::from(number),
                    Err(_) => results.scalar::<f64>(name).unwrap(),
                };
                outputs.iter().map(scalar).collect()
            }
            Engine::Interpreted(program) => {
                let call = program.call("step");
                let call =
                    feeds.iter().fold(call, |call, (key, value)| call.feed(key, input(value)));
                let results = call.run().unwrap();
                outputs.iter().map(|name| results.number(name).unwrap()).collect()
            }
        }
    }

    fn parameter(&self, path: &str, float: DType) -> Vec<f64> {
        match self {
            Engine::Interpreted(program) => program.state(path).unwrap().to_f64_vec(),
            Engine::Native(executable) if float == F32 => {
                executable.state::<f32>(path).unwrap().iter().map(|x| f64::from(*x)).collect()
            }
            Engine::Native(executable) => {
                executable.state::<f64>(path).unwrap().iter().copied().collect()
            }
        }
    }
}

/// Relative to the reference above 1, absolute below.
fn far(found: f64, expected: f64, bound: f64) -> bool {
    let near = (found - expected).abs() <= bound * expected.abs().max(1.0);
    !near
}

/// Row `index` of an array's first axis.
fn row(array: &Array, index: usize) -> Array {
    let (first, rest) = array.shape().split_first().unwrap();
    let bytes = array.to_bytes();
    let size = bytes.len() / first;
    Array::from_bytes(array.dtype(), rest, &bytes[index * size..(index + 1) * size]).unwrap()
}
