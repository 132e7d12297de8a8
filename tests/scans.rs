//! Loops as a user writes them: compiled once whatever their length, with draws and assertions of
//! each iteration, and learning.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::Array;
use kilngrad::internals::loops::Item;
use kilngrad::prelude::*;
use kilngrad_testing::reference::{Reference, far};
use kilngrad_testing::{Case, Compiled, Regime, features, input, output, properties};

/// A layer and its training step over sequences of a length.
fn training(length: usize) -> Program {
    let b = Builder::new("sequences");
    let lstm = Lstm::new(&b.scope("net"), "lstm", 3, 4);
    let e = b.entry("train", Mode::Train);
    let (all, _) = lstm.forward(e.input("x", F32, (2, length, 3)));
    let loss = all.square().mean(..);
    e.minimize(loss, b.params("net"), Sgd::new(0.125));
    e.output("loss", loss);
    b.finish().unwrap()
}

fn calls(item: &Item) -> usize {
    match item {
        Item::Call(_) => 0,
        Item::Repeat(repeat) => repeat.body.len(),
    }
}

/// Neither the graph nor the code of a loop knows how long it is.
#[test]
fn size_does_not_depend_on_the_length() {
    let sizes = [4usize, 4096].map(|length| {
        let case = Case::of(training(length), Regime::Reals, 1);
        let bindings = &case.bindings;
        let compiled = Compiled::new(&case.program, 0, bindings, features(), &mut |_| {}).unwrap();
        let kernels = compiled.planned.to_string().matches("kernel @").count();
        let repeated: Vec<usize> = compiled.lowered.program.body.iter().map(calls).collect();
        (kernels, repeated.iter().max().copied(), repeated.len())
    });
    let [(short, in_short, items), (long, in_long, more)] = sizes;
    assert_eq!((short, in_short), (long, in_long));
    // A sum of more terms may take more stages, once for all.
    assert!(more <= items + 8, "{more} in place of {items}");
}

/// Each iteration draws anew, and the gradient meets the masks of the way forward.
#[test]
fn iterations_draw_apart_and_gradients_see_the_same() {
    let b = Builder::new("draws");
    let e = b.entry("train", Mode::Train);
    let w = b.param("w", (64,), Init::Ones);
    let (_, masks) = e.input("x", F32, (5, 64)).scan((), |(), x| ((), (x * w).dropout("d", 0.5)));
    let loss = masks.sum(..);
    let [gradient] = loss.gradient([w]);
    e.output("masks", masks);
    e.output("gradient", gradient);
    let program = b.finish().unwrap();
    let ones = ndarray::Array2::<f32>::ones((5, 64));
    let mut exe = program.clone().compile(&Options::new().seed(3)).unwrap();
    let mut interpreted = program.interpret(&Options::new().seed(3)).unwrap();
    for _ in 0..2 {
        let native = exe.call("train").feed("x", &ones).run().unwrap();
        let meant = interpreted.call("train").feed("x", &ones).run().unwrap();
        let masks = native.view::<f32>("masks").unwrap();
        let numbers: Vec<f64> = masks.iter().map(|x| f64::from(*x)).collect();
        assert_eq!(numbers, meant.array("masks").unwrap().to_f64_vec());
        let rows: Vec<_> = masks.outer_iter().collect();
        for (at, one) in rows.iter().enumerate() {
            assert!(rows[at + 1..].iter().all(|other| one != other), "{masks}");
        }
        // Of `Σ w·m` the derivative by `w` is `Σ m`, over the iterations.
        let gradient = native.view::<f32>("gradient").unwrap();
        assert_eq!(gradient, masks.sum_axis(ndarray::Axis(0)));
    }
}

/// What an iteration asserts is the call's to keep, and a failed call changes nothing.
#[test]
fn an_assertion_of_one_iteration_fails_the_call() {
    let b = Builder::new("checks");
    let e = b.entry("train", Mode::Train);
    let count = b.state("count", I64, (), Init::Zeros);
    let (sum, ()) = e.input("x", I64, (4,)).scan(e.scalar(I64, 0), |sum, x| {
        x.entry().check(x.ge(0), "numbers that are not negative");
        (sum + x, ())
    });
    e.update(count, e.read(count) + sum);
    e.output("sum", sum);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let good = ndarray::array![1i64, 2, 3, 4];
    assert_eq!(exe.call("train").feed("x", &good).run().unwrap().scalar::<i64>("sum").unwrap(), 10);
    for at in 0..4 {
        let mut bad = good.clone();
        bad[at] = -1;
        let error = exe.call("train").feed("x", &bad).run().unwrap_err();
        assert!(error.to_string().contains("numbers that are not negative"), "{error}");
    }
    assert_eq!(exe.call("train").feed("x", &good).run().unwrap().scalar::<i64>("sum").unwrap(), 10);
}

/// The layers are PyTorch's, their parameters by its names, all at once and from states on the way.
#[test]
fn layers_are_the_references() {
    let reference = Reference::own("ops");
    for (op, case) in [("rnn_tanh", "rnn_tanh_1"), ("gru", "gru_1"), ("lstm", "lstm_1")] {
        let b = Builder::new(case).with_float(F64);
        let (net, e) = (b.scope("net"), b.entry("run", Mode::Eval));
        let xs = e.input("x", F64, (b.dim("time"), b.dim("n"), 4)).transpose([1, 0, 2]);
        let [start, rest] = [xs.slice(1, ..2), xs.slice(1, 2..)];
        let options = RecurrentOptions::new().layers(2);
        let mut outputs = Vec::new();
        match op {
            "rnn_tanh" => {
                let layer = Rnn::with(&net, "r", 4, 3, &options);
                let (all, last) = layer.forward(xs);
                let (_, half) = layer.forward(start);
                outputs.extend([all, e.stack(last, 0)]);
                outputs.push(layer.forward_from(rest, &half).0);
            }
            "gru" => {
                let layer = Gru::with(&net, "r", 4, 3, &options);
                let (all, last) = layer.forward(xs);
                let (_, half) = layer.forward(start);
                outputs.extend([all, e.stack(last, 0)]);
                outputs.push(layer.forward_from(rest, &half).0);
            }
            _ => {
                let layer = Lstm::with(&net, "r", 4, 3, &options);
                let (all, last) = layer.forward(xs);
                let (_, half) = layer.forward(start);
                outputs.extend([all, e.stack(last.iter().map(|state| state.0), 0)]);
                outputs.push(layer.forward_from(rest, &half).0);
                e.output("memory", e.stack(last.iter().map(|state| state.1), 0));
            }
        }
        e.output("all", outputs[0].transpose([1, 0, 2]));
        e.output("last", outputs[1]);
        e.output("rest", outputs[2].transpose([1, 0, 2]));
        let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
        for kind in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
            for layer in 0..2 {
                let name = format!("{kind}_l{layer}");
                let array = reference.array(&format!("{case}/in/{name}"));
                exe.set_state(&format!("net.r.{name}"), input(array)).unwrap();
            }
        }
        let x = reference.array(&format!("{case}/in/x"));
        let found = exe.call("run").feed("x", input(x)).run().unwrap();
        let all = reference.array(&format!("{case}/out/0"));
        let tail = Array::from_elements(&[3, 3, 3], all.to_f64_vec()[2 * 9..].to_vec()).unwrap();
        let mut expected = vec![("all", all), ("rest", &tail)];
        expected.push(("last", reference.array(&format!("{case}/out/1"))));
        if op == "lstm" {
            expected.push(("memory", reference.array(&format!("{case}/out/2"))));
        }
        for (name, expected) in expected {
            let far = far(&output(&found, name).unwrap(), expected, Reference::F64);
            assert!(far.is_none(), "{case} {name}: {far:?}");
        }
    }
}

#[test]
fn training_steps_are_meant() {
    let case = Case::of(training(7), Regime::Reals, 1);
    properties::loops_and_native_agree(&case, features()).unwrap();
    properties::native_computes_what_is_meant(&case, features()).unwrap();
}
