//! Loops as a user writes them: compiled once whatever their length, with draws and assertions of
//! each iteration, and learning.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::Array;
use kilngrad::check::{GradientCheck, check_gradients};
use kilngrad::internals::ir::text::Limits;
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
        Item::Branch(_) | Item::While(_) => panic!("expected calls and repeats"),
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

/// A draw of the entry around a body is the iteration's, as one of the body's own tensors is, also
/// within loops in the body.
#[test]
fn a_body_draws_by_the_entry_around_it() {
    let b = Builder::new("draws_around");
    let e = b.entry("train", Mode::Train);
    let (w, zero) = (e.ones(F32, (64,)), e.zeros(F32, (64,)));
    let (_, draws) = e.repeat(4, (), |()| {
        let own = (e.uniform("u", (64,)), e.normal("z", (64,)), w.dropout("d", 0.5));
        let coin = e.bernoulli("c", 0.5, (64,)).cast(F32);
        let (walk, steps) = e.repeat(3, zero, |x| {
            let step = e.normal("step", (64,));
            (x + step, step)
        });
        ((), [own.0, own.1, own.2, coin, walk, steps.index(0, 0), steps.index(0, 2)])
    });
    e.output("draws", e.stack(draws, 0));
    let program = b.finish().unwrap();
    let mut exe = program.clone().compile(&Options::new().seed(3)).unwrap();
    let mut interpreted = program.interpret(&Options::new().seed(3)).unwrap();
    let native = exe.call("train").run().unwrap();
    let meant = interpreted.call("train").run().unwrap();
    let rows = native.view::<f32>("draws").unwrap().into_shape_with_order((28, 64)).unwrap();
    for (at, one) in rows.outer_iter().enumerate() {
        let same = rows.outer_iter().skip(at + 1).position(|other| one == other);
        assert!(same.is_none(), "row {at} and row {} after it", same.unwrap_or(0));
    }
    let found = output(&native, "draws").unwrap();
    let far = far(&found, meant.array("draws").unwrap(), Reference::F32);
    assert!(far.is_none(), "{far:?}");
}

/// A way back around a tensor of the entry lies where it is written: in the body, whose draws it uses.
#[test]
fn a_way_back_in_a_body_uses_its_draws() {
    let b = Builder::new("noisy_ways_back");
    let e = b.entry("train", Mode::Train);
    let x = e.input("x", F32, (8,));
    let (_, (ys, noise)) = e.repeat(3, (), |()| {
        let noise = e.uniform("u", (8,));
        ((), (x.custom_gradient(|x| x.sin(), |_, _, dy| dy * noise), noise))
    });
    let [gradient] = ys.sum(..).gradient([x]);
    e.output("gradient", gradient);
    e.output("noise", noise.sum(0));
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let zeros = ndarray::Array1::<f32>::zeros(8);
    let out = exe.call("train").feed("x", &zeros).run().unwrap();
    let [gradient, noise] = ["gradient", "noise"].map(|name| output(&out, name).unwrap());
    let far = far(&gradient, &noise, Reference::F32);
    assert!(far.is_none(), "{far:?}");
}

/// With no iterations the last of what goes around is the first, and so is its gradient.
#[test]
fn no_iterations_hand_gradients_on() {
    for length in [Some(0), None] {
        let b = Builder::new("none").with_float(F64);
        let e = b.entry("train", Mode::Train);
        let (h0, k) = (e.input("h0", F64, (3,)), e.input("k", F64, (3,)));
        let xs = match length {
            Some(length) => e.input("xs", F64, (length, 3)),
            None => e.input("xs", F64, (b.dim("time"), 3)),
        };
        let ((h, g), ()) = xs.scan((h0, k), |(h, _), x| ((x * k, h), ()));
        let [by_h, by_k] = (h.square() * g).sum(..).gradient([h0, k]);
        e.output("by_h", by_h);
        e.output("by_k", by_k);
        let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
        let (h0, k) = (ndarray::array![1.0, 2.0, 3.0], ndarray::array![0.5, -1.0, 2.0]);
        let none = ndarray::Array2::<f64>::zeros((0, 3));
        let out = exe.call("train").feed("h0", &h0).feed("k", &k).feed("xs", &none).run().unwrap();
        assert_eq!(output(&out, "by_h").unwrap().to_f64_vec(), [1.0, -4.0, 12.0]);
        assert_eq!(output(&out, "by_k").unwrap().to_f64_vec(), [1.0, 4.0, 9.0]);
    }
}

/// What is read again on the way back is a factor of a gradient too.
#[test]
fn factors_that_are_made_again_are_differentiated() {
    let text = include_str!("scans/factors.kg");
    let program = Program::parse(text, &Limits::default()).unwrap();
    for entry in ["reshaped", "broadcast", "transposed"] {
        let report = check_gradients(&program, entry, &GradientCheck::new().outputs(&["loss"]));
        let report = report.unwrap();
        assert!(report.passed(), "{entry}: {report}");
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
