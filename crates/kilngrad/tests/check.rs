//! `check_gradients`: it passes what is right and finds what is wrong.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::check::{GradientCheck, GradientReport, check_gradients};
use kilngrad::prelude::*;
use ndarray::{Array1, array};

/// The report of an entry `run` of one input `x` of shape `[3,4]`.
fn report(
    check: &GradientCheck,
    body: impl for<'b> FnOnce(&'b Builder, Entry<'b>, Tensor<'b>) -> Tensor<'b>,
) -> GradientReport {
    let b = Builder::new("check").with_float(F64);
    let run = b.entry("run", Mode::Train);
    let x = run.input("x", F32, (b.dim("n"), 4));
    run.output("y", body(&b, run, x));
    check_gradients(&b.finish().unwrap(), "run", &check.clone().bind("n", 3)).unwrap()
}

fn second() -> GradientCheck {
    GradientCheck::new().second_order(true)
}

/// Every function of the builder, at first and second order.
#[test]
fn the_builder_s_functions_are_differentiated_rightly() {
    type Case = (&'static str, for<'b> fn(Tensor<'b>) -> Tensor<'b>);
    let cases: &[Case] = &[
        ("abs", |x| x.abs()),
        ("exp", |x| x.exp()),
        ("expm1", |x| x.expm1()),
        ("log", |x| (x.square() + 0.5).log()),
        ("log1p", |x| x.square().log1p()),
        ("sqrt", |x| (x.square() + 0.5).sqrt()),
        ("rsqrt", |x| (x.square() + 0.5).rsqrt()),
        ("tanh", |x| x.tanh()),
        ("sigmoid", |x| x.sigmoid()),
        ("relu", |x| x.relu()),
        ("erf", |x| x.erf()),
        ("round", |x| x.round() * x),
        ("pow", |x| (x.square() + 0.5).pow(x)),
        ("maximum", |x| x.maximum(0.25) * x),
        ("minimum", |x| x.minimum(x * 2.0 + 0.1)),
        ("fmod", |x| x.fmod(0.7) * x),
        ("remainder", |x| x.remainder(0.7) * x),
        ("div", |x| x / (x.square() + 1.0)),
        ("clamp", |x| x.clamp(-0.5, 0.5) * x),
        ("reciprocal", |x| (x.square() + 1.0).reciprocal()),
        ("leaky_relu", |x| x.leaky_relu(0.1)),
        ("elu", |x| x.elu(1.3)),
        ("celu", |x| x.celu(0.7)),
        ("selu", |x| x.selu()),
        ("gelu", |x| x.gelu()),
        ("gelu_tanh", |x| x.gelu_tanh()),
        ("silu", |x| x.silu()),
        ("mish", |x| x.mish()),
        ("softplus", |x| x.softplus()),
        ("logsigmoid", |x| x.logsigmoid()),
        ("hardtanh", |x| x.hardtanh(-1.0, 1.0)),
        ("hardsigmoid", |x| (x * 4.0).hardsigmoid()),
        ("hardswish", |x| (x * 4.0).hardswish()),
        ("softsign", |x| x.softsign()),
        ("glu", |x| x.glu(-1)),
        ("softmax", |x| x.softmax(-1)),
        ("log_softmax", |x| x.log_softmax(0)),
        ("layer_norm", |x| x.layer_norm(-1, 1e-5)),
        ("rms_norm", |x| x.rms_norm(-1, 1e-5)),
        ("sum", |x| x.sum(0)),
        ("prod", |x| x.prod(-1)),
        ("max", |x| x.max(0) * x),
        ("min", |x| x.min_keepdim(-1) * x),
        ("mean", |x| x.mean(..).tanh()),
        ("var", |x| x.var(-1, 1)),
        ("std", |x| x.std(0, 0)),
        ("l1_norm", |x| x.l1_norm(1)),
        ("l2_norm", |x| x.l2_norm(1)),
        ("matmul", |x| x.matmul(x.t())),
        ("dot_general", |x| x.dot_general(x, (1, 1), (0, 0))),
        ("transpose", |x| x.transpose([1, 0]).exp()),
        ("reshape", |x| x.flatten(0, 1).square()),
        ("slice", |x| x.slice(1, ..-2) * x.slice(1, 2..)),
        ("slice_step", |x| x.slice_step(1, .., 2).exp()),
        ("index", |x| x.index(-1, 2).square()),
        ("pad", |x| x.pad(0, 1, 2, 0.5).square()),
        ("dilate", |x| x.dilate(1, 2, 1.0).exp()),
        ("roll", |x| x.roll(1, 1) * x),
        ("repeat", |x| x.repeat([2, 1]).square()),
        ("cat", |x| x.entry().cat([x, x * 2.0], 0).square()),
        ("select", |x| x.gt(0.2).select(x.exp(), x.square())),
        ("expand", |x| x.unsqueeze(0).expand((5, x.length(0), 4)).square()),
        ("dropout", |x| x.square().dropout("drop", 0.5)),
        ("mse_loss", |x| x.mse_loss(0.3)),
        ("l1_loss", |x| x.l1_loss(0.3)),
        ("huber_loss", |x| x.huber_loss(0.3, 0.8)),
        ("bce_loss", |x| x.sigmoid().bce_loss(0.25)),
        ("bce_with_logits", |x| x.bce_with_logits(0.25)),
        ("kl_div", |x| x.log_softmax(1).kl_div((x * 2.0).softmax(1))),
        ("cross_entropy", |x| x.cross_entropy(x.sin_like().softmax(1))),
    ];
    for (name, function) in cases {
        let report = report(&second(), |_, _, x| function(x));
        assert!(report.passed(), "{name}: {report}");
        assert!(report.compared() > 4 * report.skipped(), "{name}: {report}");
    }
}

/// A smooth function that the builder has no name for.
trait SinLike {
    fn sin_like(self) -> Self;
}

impl SinLike for Tensor<'_> {
    fn sin_like(self) -> Self {
        self - self.square() * self * (1.0 / 6.0)
    }
}

#[test]
fn a_wrong_custom_gradient_is_found_where_it_is() {
    let wrong = report(&second(), |_, _, x| {
        x.custom_gradient(|x| x.exp(), |x, _, dy| x.gt(1.0).select(dy, dy * x.exp()))
    });
    assert!(!wrong.passed(), "{wrong}");
    let value = wrong.values.iter().find(|value| value.order == 1).unwrap();
    let worst = value.worst.as_ref().unwrap();
    assert_eq!((value.name.as_str(), worst.index.as_ref().unwrap().len()), ("x", 2), "{wrong}");
    assert!(value.site.as_ref().unwrap().file.ends_with("check.rs"), "{wrong}");
    let weight = worst.numeric / worst.analytic;
    assert!(weight > 1f64.exp(), "the derivative is e^x times what it says: {wrong}");
    assert!(wrong.to_string().contains("do not agree"), "{wrong}");
}

/// A factor, a sign, a term, a path: at first order, or only at second.
#[test]
fn what_is_dropped_is_found() {
    let half = report(&GradientCheck::new(), |_, _, x| {
        x.square().custom_gradient(|y| y, |_, _, dy| dy * 0.5)
    });
    assert!(!half.passed(), "{half}");
    // Half of it is (1 − ½)/(1 + ½) off.
    let error = half.worst().unwrap().worst.as_ref().unwrap().error;
    assert!((error - 1.0 / 3.0).abs() < 0.01, "{half}");
    let stopped = report(&GradientCheck::new(), |_, _, x| x * x.stop_gradient());
    assert!(!stopped.passed(), "{stopped}");
    let path = report(&GradientCheck::new(), |_, _, x| x.stop_gradient().exp());
    assert!(!path.passed(), "{path}");
    let one = report(&GradientCheck::new(), |_, _, x| {
        x.custom_gradient(|x| x.square(), |x, _, dy| dy * x * 2.0 * (1.0 + 1e-5))
    });
    assert!(!one.passed(), "{one}");

    fn constant_slope<'b>(_: &'b Builder, _: Entry<'b>, x: Tensor<'b>) -> Tensor<'b> {
        x.custom_gradient(|x| x.square(), |x, _, dy| dy * x.stop_gradient() * 2.0)
    }
    let first = report(&GradientCheck::new(), constant_slope);
    assert!(first.passed(), "{first}");
    let both = report(&second(), constant_slope);
    assert!(!both.passed(), "{both}");
    assert!(
        both.values
            .iter()
            .all(|value| (value.worst.as_ref().unwrap().error < 1e-6) == (value.order == 1))
    );
}

/// One element of many: its own probe or a direction finds it.
#[test]
fn one_wrong_element_among_many_is_found() {
    let b = Builder::new("many").with_float(F64);
    let run = b.entry("run", Mode::Train);
    let x = run.input("x", F32, (1000,));
    let y = x.custom_gradient(
        |x| x.square(),
        |x, _, dy| {
            let counts = x.entry().iota(I64, (1000,), 0);
            counts.eq(617).select(dy, dy * x * 2.0)
        },
    );
    run.output("y", y.sum(..));
    let program = b.finish().unwrap();
    let report = check_gradients(&program, "run", &GradientCheck::new().effort(0, 4)).unwrap();
    assert!(!report.passed(), "{report}");
    assert_eq!(report.worst().unwrap().worst.as_ref().unwrap().index, None);
}

#[test]
fn kinks_are_skipped_and_a_check_of_kinks_alone_fails() {
    let zeros = GradientCheck::new().feed("x", &array![[0.0, 0.5, -0.5, 1.0]]);
    let b = Builder::new("kinks").with_float(F64);
    let run = b.entry("run", Mode::Eval);
    run.output("y", run.input("x", F32, (b.dim("n"), 4)).relu());
    let program = b.finish().unwrap();
    let report = check_gradients(&program, "run", &zeros).unwrap();
    // The element, and every direction through it.
    assert!(report.passed(), "{report}");
    assert_eq!((report.compared(), report.skipped()), (3, 5), "{report}");
    let zeros = GradientCheck::new().feed("x", &array![[0.0, 0.0, 0.0, 0.0]]);
    let report = check_gradients(&program, "run", &zeros).unwrap();
    assert!(!report.passed(), "{report}");
    assert_eq!(report.compared(), 0);
    assert!(report.to_string().contains("nothing was compared"), "{report}");
}

/// A training entry: parameters, integers that are fed, a mask, and requests of its own.
#[test]
fn a_training_entry_is_checked_by_its_parameters() {
    let b = Builder::new("train").with_float(F64);
    let net = b.scope("net");
    let (hidden, head) = (Dense::new(&net, "hidden", 4, 6), Dense::new(&net, "head", 6, 3));
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (b.dim("n"), 4));
    let t = train.input("t", I64, (b.dim("n"),));
    let loss = head.forward(hidden.forward(x).gelu().dropout("drop", 0.3)).cross_entropy(t);
    train.minimize(loss, b.params("net"), Adam::new(1e-2));
    train.output("loss", loss);
    let program = b.finish().unwrap();
    let targets: Array1<i64> = array![2, 0, 1, 1];
    let check = second().feed("t", &targets);
    let report = check_gradients(&program, "train", &check).unwrap();
    assert!(report.passed(), "{report}");
    let names: Vec<&str> =
        report.values.iter().filter(|v| v.order == 1).map(|value| &*value.name).collect();
    assert_eq!(names, ["x", "net.hidden.w", "net.hidden.b", "net.head.w", "net.head.b"]);
    let only = check_gradients(&program, "train", &check.wrt(&["net.head.b"])).unwrap();
    assert_eq!(only.values.len(), 2);
}

#[test]
fn empty_values_are_no_obstacle() {
    let b = Builder::new("empty").with_float(F64);
    let run = b.entry("run", Mode::Eval);
    let (x, y) = (run.input("x", F32, (b.dim("n"), 4)), run.input("y", F32, ()));
    run.output("z", x.exp().sum(..) + y.square());
    let report = check_gradients(&b.finish().unwrap(), "run", &second().bind("n", 0)).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn what_cannot_be_checked_is_said() {
    let build = |float| {
        let b = Builder::new("wrong").with_float(float);
        let run = b.entry("run", Mode::Eval);
        let x = run.input("x", F32, (b.dim("n"), 4));
        let k = run.input("k", I64, (b.dim("n"),));
        run.output("y", x.sum(1) * k.cast(F32));
        b.finish().unwrap()
    };
    let program = build(F64);
    let k: Array1<i64> = array![1, 2];
    let fed = || GradientCheck::new().feed("k", &k);
    let expect = |program: &Program, entry: &str, check: GradientCheck, words: &str| {
        let error = check_gradients(program, entry, &check).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    assert!(check_gradients(&program, "run", &fed()).unwrap().passed());
    expect(&build(F32), "run", fed(), "with_float(F64)");
    expect(&program, "walk", fed(), "walk");
    expect(&program, "run", fed().outputs(&["z"]), "\"z\"");
    expect(&program, "run", fed().wrt(&["w"]), "\"w\"");
    expect(&program, "run", fed().feed("z", &k), "\"z\"");
    expect(&program, "run", GradientCheck::new(), "symbols");
    expect(&program, "run", GradientCheck::new().bind("n", 2), "only floats are drawn");
    expect(&program, "run", fed().bind("n", 3), "expected");
    expect(&program, "run", fed().step(0.0), "a step");
    expect(&program, "run", fed().wrt(&["k"]), "expected f64");
}

/// A derivative at a point that a call refuses is no derivative.
#[test]
fn conditions_of_the_entry_hold_at_the_point() {
    let b = Builder::new("classes").with_float(F64);
    let run = b.entry("run", Mode::Train);
    let logits = run.input("logits", F32, (2, 3));
    let class = run.input("class", I64, (2,));
    run.output("loss", logits.cross_entropy(class));
    let program = b.finish().unwrap();
    let check = |class: &[i64]| {
        let class = Array1::from(class.to_vec());
        check_gradients(&program, "run", &GradientCheck::new().feed("class", &class))
    };
    assert!(check(&[0, 2]).unwrap().passed());
    let error = check(&[0, 7]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Check);
    assert!(error.to_string().contains("0 to 7"), "{error}");

    // At the border of a condition there is a point, though not all around it.
    let b = Builder::new("border").with_float(F64);
    let run = b.entry("run", Mode::Train);
    let x = run.input("x", F32, ());
    run.check(x.ge(1.0), "expected at least 1");
    run.output("y", x.square());
    let check = GradientCheck::new().feed("x", &1.0f64);
    assert!(check_gradients(&b.finish().unwrap(), "run", &check).unwrap().passed());
}
