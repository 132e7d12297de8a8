//! Loops as a user writes them: compiled once whatever their length, with draws and assertions of
//! each iteration, and learning.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::Array;
use kilngrad::check::{GradientCheck, check_gradients};
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

/// A loop whose body sorts, looks through windows, contracts, and has a derivative of the user's own.
fn of_every_kind(length: Option<usize>) -> Program {
    let b = Builder::new("bodies").with_float(F64);
    let w = b.scope("net").param("w", (1, 1, 3), Init::Values(vec![0.5, -0.25, 0.75]));
    let e = b.entry("train", Mode::Train);
    let xs = match length {
        Some(length) => e.input("x", F64, (length, 2, 6)),
        None => e.input("x", F64, (b.dim("time"), 2, 6)),
    };
    let (last, all) = xs.scan(e.zeros(F64, (2, 6)), |h, x| {
        let (sorted, order) = x.sort(-1);
        let mixed = h.unsqueeze(1).conv1d(w, Conv::new().padding(1)).squeeze(1);
        let pooled = x.unsqueeze(1).max_pool1d(3, Pool::new().stride(1).padding(1)).squeeze(1);
        let own = (sorted * h).custom_gradient(|x| x.tanh(), |_, y, dy| dy * (1.0 - y * y));
        let h = (mixed + pooled * 0.25 + own + order.cast(F64) * 0.125).sin();
        (h, h.gather(-1, order) + sorted.cumsum(-1))
    });
    let loss = all.square().sum(..) + last.sum(..);
    let [by_x, by_w] = loss.gradient([xs, e.read(w)]);
    e.output("loss", loss);
    e.output("by_x", by_x);
    e.output("by_w", by_w);
    b.finish().unwrap()
}

#[test]
fn bodies_hold_every_kind_of_operation() {
    for length in [0, 1, 3, 8] {
        let case = Case::of(of_every_kind(None), Regime::Reals, length);
        properties::text_round_trips(&case.program).unwrap();
        properties::passes_keep_values(&case, features()).unwrap();
        properties::loops_and_native_agree(&case, features()).unwrap();
        properties::kernels_compute_what_is_meant(&case, features()).unwrap();
        properties::native_computes_what_is_meant(&case, features()).unwrap();
    }
}

#[test]
fn their_gradients_are_derivatives() {
    let program = of_every_kind(Some(3));
    let report = check_gradients(&program, "train", &GradientCheck::new().outputs(&["loss"]));
    let report = report.unwrap();
    assert!(report.passed(), "{report}");
}

/// The product of what stands before has a derivative by a factor of zero, and a second one.
#[test]
fn cumulative_products_are_differentiated_at_zeros() {
    let b = Builder::new("products").with_float(F64);
    let e = b.entry("train", Mode::Train);
    let x = e.input("x", F64, (4,));
    let loss = (x.cumprod(0) * e.constant([4], &[1.0, 2.0, 3.0, 4.0])).sum(..);
    let [slope] = loss.gradient([x]);
    let [second] = slope.index(0, 1).gradient([x]);
    e.output("slope", slope);
    e.output("second", second);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let x = ndarray::array![2.0, 0.0, 5.0, 0.0];
    let out = exe.call("train").feed("x", &x).run().unwrap();
    // Of a + 2ab + 3abc + 4abcd.
    let slope: Vec<f64> = out.view("slope").unwrap().iter().copied().collect();
    assert_eq!(slope, [1.0, 2.0 * 2.0 + 3.0 * 2.0 * 5.0, 0.0, 0.0]);
    let second: Vec<f64> = out.view("second").unwrap().iter().copied().collect();
    assert_eq!(second, [2.0 + 3.0 * 5.0, 0.0, 3.0 * 2.0, 4.0 * 2.0 * 5.0]);
}

/// A layer whose weights are constants, some of its work before the loop and some in it.
#[test]
fn a_frozen_loop_gives_the_same() {
    let b = Builder::new("frozen");
    let net = b.scope("net");
    let gru = Gru::with(&net, "gru", 3, 5, &RecurrentOptions::new().layers(2));
    let scale = net.param("scale", (5,), Init::Uniform { low: 0.5, high: 1.5 });
    let e = b.entry("run", Mode::Eval);
    let (all, _) = gru.forward(e.input("x", F32, (b.dim("n"), b.dim("time"), 3)));
    let (sum, ()) = all
        .transpose([1, 0, 2])
        .scan(e.zeros(F32, (b.dim("n"), 5)), |sum, h| (sum + h * (e.read(scale).exp() + 1.0), ()));
    e.output("all", all);
    e.output("sum", sum);
    let mut exe = b.finish().unwrap().compile(&Options::new().features(features())).unwrap();
    let frozen = exe.freeze().unwrap();
    for (n, time) in [(2, 7), (1, 1), (3, 0)] {
        let x = ndarray::Array3::from_shape_fn((n, time, 3), |(i, j, k)| {
            ((i * 31 + j * 7 + k) as f32).sin()
        });
        let expected = exe.call("run").feed("x", &x).run().unwrap();
        let mut session = frozen.session();
        let found = session.call("run").feed("x", &x).run().unwrap();
        for name in ["all", "sum"] {
            let [found, expected] = [&found, &expected].map(|it| output(it, name).unwrap());
            let far = far(&found, &expected, Reference::F32);
            assert!(far.is_none(), "{name} of {n}×{time}: {far:?}");
        }
    }
}

/// What is not finite is told of the loop, and what an iteration computes has no value to fetch.
#[test]
fn what_is_within_a_body_is_told_of_the_loop() {
    let b = Builder::new("within");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F32, (3,));
    let line = line!() + 1;
    let (sum, all) = x.scan(e.scalar(F32, 0), |sum, x| {
        let inside = x.log().named("inside");
        (sum + inside, sum)
    });
    e.output("sum", sum);
    let _ = all.named("all");
    let program = b.finish().unwrap();
    let options = Options::new().check_nan(true);
    let (mut exe, mut slow) =
        (program.clone().compile(&options).unwrap(), program.interpret(&options).unwrap());
    let (good, bad) = (ndarray::array![1f32, 1.0, 1.0], ndarray::array![1f32, -2.0, 1.0]);
    let native = exe.call("run").feed("x", &bad).run().unwrap_err();
    let interpreted = slow.call("run").feed("x", &bad).run().unwrap_err();
    for error in [native, interpreted] {
        assert_eq!(error.kind(), ErrorKind::NotFinite, "{error}");
        for word in ["scan", &format!("scans.rs:{line}")] {
            assert!(error.to_string().contains(word), "expected {word} in: {error}");
        }
    }
    let native = exe.call("run").feed("x", &good).fetch("inside").run().unwrap_err();
    let interpreted = slow.call("run").feed("x", &good).fetch("inside").run().unwrap_err();
    for error in [native, interpreted] {
        assert_eq!(error.kind(), ErrorKind::Name, "{error}");
    }
    let out = exe.call("run").feed("x", &good).fetch("all").run().unwrap();
    assert_eq!(output(&out, "all").unwrap().to_f64_vec(), [0.0; 3]);
}

#[test]
fn training_steps_are_meant() {
    let case = Case::of(training(7), Regime::Reals, 1);
    properties::loops_and_native_agree(&case, features()).unwrap();
    properties::native_computes_what_is_meant(&case, features()).unwrap();
}
