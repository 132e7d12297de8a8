//! Functions with a derivative of their own, compiled: every stage is a program that runs.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use kilngrad::internals::interp::Interpreter;
use kilngrad::prelude::*;
use kilngrad::{Array, Features};
use ndarray::{Array2, array};

/// A step that trains through a rounding, with clipped cotangents, and gives a second derivative.
fn declare() -> Program {
    let b = Builder::new("custom");
    let layer = Dense::new(&b.scope("net"), "layer", 3, 2);
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (b.dim("n"), 3));
    let hidden = layer.forward(x).custom_gradient(|y| y, |_, _, dy| dy.clamp(-0.25, 0.25));
    let rounded = (hidden * 4.0).custom_gradient(|y| y.round(), |_, _, dy| dy).named("rounded");
    let smooth = hidden
        .custom_gradient(|y| (y.exp() + 1.0).log(), |y, value, dy| dy * y.sigmoid() + value * 0.0);
    let loss = (rounded.square() * 0.5 + smooth).mean(..);
    let [slope] = loss.gradient([x]);
    let [curvature] = (slope * 3.0).sum(..).gradient([x]);
    train.minimize(loss, b.params("net"), Sgd::new(0.1));
    train.output("loss", loss);
    train.output("slope", slope);
    train.output("curvature", curvature);
    b.finish().unwrap()
}

fn x() -> Array2<f32> {
    array![[0.3, -0.7, 1.1], [2.0, 0.4, -0.2], [-1.0, 0.9, 0.6], [0.1, 0.2, -1.7]]
}

fn outputs(program: Program) -> BTreeMap<String, Vec<f64>> {
    let x = Array::from_elements(&[4, 3], x().into_iter().collect::<Vec<f32>>()).unwrap();
    let mut interpreter = Interpreter::new(program, 3).unwrap();
    let found = interpreter.call("train", [("x", x)]).unwrap();
    let mut found: BTreeMap<String, Vec<f64>> =
        found.into_iter().map(|(name, array)| (name.to_string(), array.to_f64_vec())).collect();
    for path in ["net.layer.w", "net.layer.b"] {
        found.insert(path.into(), interpreter.state(path).unwrap().to_f64_vec());
    }
    found
}

#[track_caller]
fn near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{what}: expected {expected}, found {found}");
    }
}

#[test]
fn every_stage_parses_and_runs_alike() {
    let reference = outputs(declare().interpret(&Options::new()).unwrap().program().clone());
    let options = Options::new().seed(3).features(Features::baseline()).specialise("n", &[4]);
    let mut exe = declare().compile(&options).unwrap();
    let stages = exe.stages("train").unwrap();
    let mut ran = 0;
    for stage in stages.iter().filter(|stage| stage.text.starts_with("kilngrad ")) {
        let program = Program::parse(&stage.text, &Default::default()).unwrap();
        assert_eq!(program.to_string(), stage.text, "{}", stage.name);
        let custom = stage.text.contains(" = custom_gradient(");
        let pending = stage.text.contains(" = gradient ");
        assert_eq!(custom, pending, "{}", stage.name);
        // Requests are for compiling; the interpreter takes them expanded.
        let expanded = kilngrad::internals::autodiff::differentiate(&program).unwrap();
        let found = outputs(expanded);
        for (name, expected) in &reference {
            near(&found[name], expected, &format!("{name} after {}", stage.name));
        }
        ran += 1;
    }
    assert!(ran > 10, "stages were run: {ran}");

    let x = x();
    let found = exe.call("train").feed("x", &x).run().unwrap();
    near(&[f64::from(found.scalar::<f32>("loss").unwrap())], &reference["loss"], "loss");
    for name in ["slope", "curvature"] {
        let found: Vec<f64> =
            found.view::<f32>(name).unwrap().iter().map(|element| f64::from(*element)).collect();
        near(&found, &reference[name], name);
    }
    for path in ["net.layer.w", "net.layer.b"] {
        let found: Vec<f64> =
            exe.state::<f32>(path).unwrap().iter().map(|element| f64::from(*element)).collect();
        near(&found, &reference[path], path);
    }
    assert!(reference["curvature"].iter().any(|curvature| *curvature != 0.0));
}
