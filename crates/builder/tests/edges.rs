//! What functions give at the edges that their documentation names, and what training does.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::interpreter;
use kilngrad_builder::*;
use kilngrad_interp::Array;
use kilngrad_ir::{DType, Role};

/// The output of `build` on a vector, and its gradient by it, of the sum.
#[track_caller]
fn eval(x: &[f64], build: impl for<'b> Fn(Tensor<'b>) -> Tensor<'b>) -> (Vec<f64>, Vec<f64>) {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let input = e.input("x", F64, (b.dim("n"),));
    let output = build(input);
    e.output("y", output);
    e.output("g", output.sum(..).gradient_or_zero([input])[0]);
    let outputs = interpreter(&b.finish().unwrap()).call("run", [("x", x.to_vec().into())]);
    let outputs = outputs.unwrap();
    (outputs["y"].to_f64_vec(), outputs["g"].to_f64_vec())
}

const INF: f64 = f64::INFINITY;

#[test]
fn kinks_have_the_derivatives_that_are_documented() {
    let (_, g) = eval(&[0.0], |x| x.bce_with_logits_with(0.0, Reduction::None));
    assert_eq!(g, [0.5]);
    assert_eq!(eval(&[0.0], |x| x.softplus()).1, [0.5]);
    assert_eq!(eval(&[0.0], |x| x.leaky_relu(0.2)).1, [0.2]);
    assert_eq!(eval(&[-1.0, 1.0], |x| x.clamp(-1.0, 1.0)).1, [1.0, 1.0]);
    assert_eq!(eval(&[-1.0, 1.0], |x| x.hardtanh(-1.0, 1.0)).1, [0.0, 0.0]);
    assert_eq!(eval(&[0.0, 0.0], |x| x.l2_norm(..)), (vec![0.0], vec![0.0, 0.0]));
    assert_eq!(eval(&[2.0, 2.0], |x| x.std(.., 1)), (vec![0.0], vec![0.0, 0.0]));
    // The second derivative of softplus at 0 is ¼.
    let (_, second) = eval(&[0.0], |x| x.softplus().sum(..).gradient([x])[0]);
    assert_eq!(second, [0.25]);
}

#[test]
fn infinities_and_nan_stay_where_they_belong() {
    let (y, g) = eval(&[-1e4, 1e4, INF], |x| x.softplus());
    assert_eq!((y, g), (vec![0.0, 1e4, INF], vec![0.0, 1.0, 1.0]));
    let (y, g) = eval(&[1e4, -1e4], |x| x.elu(1.0));
    assert_eq!((y, g), (vec![1e4, -1.0], vec![1.0, 0.0]));
    assert_eq!(eval(&[-INF, -INF], |x| x.logsumexp(..)).0, [-INF]);
    assert_eq!(eval(&[0.0, INF], |x| x.logsumexp(..)).0, [INF]);
    assert_eq!(eval(&[1000.0, 1000.0], |x| x.softmax(0)).0, [0.5, 0.5]);
    assert!(eval(&[f64::NAN], |x| x.clamp(0.0, 1.0)).0[0].is_nan());
    assert!(eval(&[f64::NAN], |x| x.hardtanh(0.0, 1.0)).0[0].is_nan());
    assert!(eval(&[f64::NAN], |x| x.softplus()).0[0].is_nan());
    // Logarithms of probabilities of 0 are cut at −100, and no gradient is NaN.
    for target in [0.0, 1.0] {
        let (y, g) = eval(&[0.0, 1.0], |x| x.bce_loss_with(target, Reduction::None));
        assert_eq!(y, [100.0 * target, 100.0 * (1.0 - target)]);
        assert!(g.iter().all(|g| g.is_finite()), "{g:?}");
    }
}

#[test]
fn statistics_along_a_symbolic_axis_divide_by_its_length() {
    assert_eq!(eval(&[1.0, 2.0, 6.0], |x| x.mean(..)).0, [3.0]);
    assert_eq!(eval(&[1.0, 2.0, 6.0], |x| x.var(.., 1)).0, [7.0]);
    assert_eq!(eval(&[1.0, 3.0], |x| x.var(.., 0)).0, [1.0]);
    assert!(eval(&[1.0], |x| x.var(.., 1)).0[0].is_nan());
    assert!(eval(&[], |x| x.mean(..)).0[0].is_nan());
}

#[test]
fn remainders_follow_pythons_signs() {
    let (y, _) = eval(&[7.0, -7.0, 6.0, -6.0], |x| x.remainder(3.0));
    assert_eq!(y, [1.0, 2.0, 0.0, 0.0]);
    let (y, _) = eval(&[7.0, -7.0, 6.0, -6.0], |x| x.remainder(-3.0));
    assert_eq!(y, [-2.0, -1.0, 0.0, 0.0]);
    assert_eq!(eval(&[7.0, -7.0], |x| x % 3.0).0, [1.0, -1.0]);
}

#[test]
fn a_class_out_of_range_fails_the_call() {
    for dtype in [I64, I32, U8] {
        let b = Builder::new("t");
        let e = b.entry("run", Mode::Eval);
        // 300 classes: an index of `u8` must not meet class 256 + itself.
        let logits = e.iota(F32, (3, 300), 1) * 0.01;
        let target = e.input("t", I64, (3,)).cast(dtype);
        let options = CrossEntropy::new().reduction(Reduction::None);
        e.output("loss", logits.cross_entropy_with(target, options));
        e.output("sum", logits.nll_loss_with(target, Reduction::None));
        let program = b.finish().unwrap();
        let feed = |t: Vec<i64>| interpreter(&program).call("run", [("t", t.into())]);
        let outputs = feed(vec![44, 0, 200]).unwrap();
        let picked = outputs["sum"].to_f64_vec();
        assert!((picked[0] + 0.44).abs() < 1e-6 && (picked[2] + 2.0).abs() < 1e-6, "{picked:?}");
        if dtype != U8 {
            for outside in [vec![-1, 0, 299], vec![0, 300, 1]] {
                let error = feed(outside).unwrap_err().to_string();
                assert!(error.starts_with("expected class indices from 0 to below 300"), "{error}");
            }
            feed(vec![0, 299, 1]).unwrap();
        }
    }
}

#[test]
fn dropout_keeps_the_mean_and_draws_anew_each_call() {
    let b = Builder::new("t");
    let (train, eval) = (b.entry("train", Mode::Train), b.entry("eval", Mode::Eval));
    for e in [train, eval] {
        let x = e.ones(F32, (10_000,));
        e.output("y", x.dropout("drop", 0.25));
        e.output("all", x.dropout("gone", 1.0));
    }
    let mut interpreter = interpreter(&b.finish().unwrap());
    let mut call = |entry: &str| interpreter.call(entry, []).unwrap();
    let (first, second) = (call("train"), call("train"));
    let y = first["y"].to_f64_vec();
    assert_ne!(y, second["y"].to_f64_vec());
    assert!(y.iter().all(|y| *y == 0.0 || (y - 4.0 / 3.0).abs() < 1e-6));
    let mean = y.iter().sum::<f64>() / 1e4;
    // Four standard deviations of the mean.
    assert!((mean - 1.0).abs() < 0.024, "{mean}");
    assert!(first["all"].to_f64_vec().iter().all(|y| *y == 0.0));
    assert!(call("eval")["y"].to_f64_vec().iter().all(|y| *y == 1.0));
}

#[test]
fn a_fed_learning_rate_is_the_step() {
    let b = Builder::new("t");
    let w = b.param("w", (), Init::Constant(3.0));
    let e = b.entry("train", Mode::Train);
    e.minimize(e.read(w) * 2, w, Sgd::new(e.input("lr", F32, ())));
    let mut interpreter = interpreter(&b.finish().unwrap());
    interpreter.call("train", [("lr", Array::from(0.25f32))]).unwrap();
    assert_eq!(interpreter.state("w").unwrap().to_f64_vec(), [2.5]);
}

/// PyTorch's first velocity is the gradient itself, whatever the dampening.
#[test]
fn dampening_begins_at_the_second_step() {
    let b = Builder::new("t");
    let w = b.param("w", (), Init::Constant(8.0));
    let e = b.entry("train", Mode::Train);
    e.minimize(e.read(w) * 1, w, Sgd::new(1.0).momentum(0.5).dampening(0.5));
    let mut interpreter = interpreter(&b.finish().unwrap());
    let mut seen = Vec::new();
    for _ in 0..3 {
        interpreter.call("train", []).unwrap();
        seen.extend(interpreter.state("w").unwrap().to_f64_vec());
    }
    // Velocities 1, then 0.5 + 0.5 = 1, then 1 again.
    assert_eq!(seen, [7.0, 6.0, 5.0]);
}

#[test]
fn matrix_products_of_every_rank() {
    let shape = |lhs: &[usize], rhs: &[usize]| -> String {
        let b = Builder::new("t");
        let e = b.entry("run", Mode::Eval);
        let product = e.zeros(F32, lhs).matmul(e.zeros(F32, rhs));
        product.ty().unwrap().shape.to_string()
    };
    assert_eq!(shape(&[3], &[3]), "[]");
    assert_eq!(shape(&[2, 3], &[3]), "[2]");
    assert_eq!(shape(&[3], &[3, 2]), "[2]");
    assert_eq!(shape(&[5, 2, 3], &[3]), "[5,2]");
    assert_eq!(shape(&[3], &[5, 3, 2]), "[5,2]");
    assert_eq!(shape(&[5, 4, 3], &[3, 2]), "[5,4,2]");
    assert_eq!(shape(&[4, 3], &[5, 3, 2]), "[5,4,2]");
    assert_eq!(shape(&[7, 1, 4, 3], &[5, 3, 2]), "[7,5,4,2]");
    assert_eq!(shape(&[4, 0], &[0, 2]), "[4,2]");
}

#[test]
fn diagonals_and_indices_far_out() {
    let all = |x: Tensor<'_>| -> usize { x.ty().map_or(0, |ty| ty.rank()) };
    let matrix = |x: &[f64], diagonal: i64, lower: bool| {
        let b = Builder::new("t");
        let e = b.entry("run", Mode::Eval);
        let square = e.input("x", F64, (4,)).reshape((2, 2));
        assert_eq!(all(square), 2);
        e.output("y", if lower { square.tril(diagonal) } else { square.triu(diagonal) });
        let outputs = interpreter(&b.finish().unwrap()).call("run", [("x", x.to_vec().into())]);
        outputs.unwrap()["y"].to_f64_vec()
    };
    let x = [1.0, 2.0, 3.0, 4.0];
    for far in [i64::MAX, 1 << 40, 2] {
        assert_eq!(matrix(&x, far, true), x, "{far}");
        assert_eq!(matrix(&x, far, false), [0.0; 4], "{far}");
        assert_eq!(matrix(&x, -far, true), [0.0; 4], "{far}");
        assert_eq!(matrix(&x, -far, false), x, "{far}");
    }
    assert_eq!(matrix(&x, i64::MIN, false), x);
    assert_eq!(eval(&x, |x| x.index(0, -1)).0, [4.0]);
    assert_eq!(eval(&x, |x| x.index(0, 3)).0, [4.0]);
    // Beyond any length: a mistake, found once the symbol is bound, and no panic.
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Eval);
    let _ = e.input("x", F64, (b.dim("n"),)).index(0, isize::MAX);
    let _ = b.finish();
}

/// The deviation of a gradient that stays the same is 0, and its square no less.
#[test]
fn centred_rmsprop_of_a_constant_gradient_stays_finite() {
    let b = Builder::new("t");
    let w = b.param("w", (4,), Init::Zeros);
    let e = b.entry("run", Mode::Train);
    let slopes = e.constant((4,), &[0.1f32, 0.7, -1.3, 3e-3]);
    e.minimize((e.read(w) * slopes).sum(..), w, RmsProp::new(1e-3).centred().alpha(0.5).eps(0.1));
    let mut interpreter = interpreter(&b.finish().unwrap());
    for step in 0..400 {
        interpreter.call("run", []).unwrap();
        let found = interpreter.state("w").unwrap().to_f64_vec();
        assert!(found.iter().all(|w| w.is_finite()), "step {step}: {found:?}");
    }
}

/// What each optimizer keeps after a gradient that is zero but in the first step, by step.
fn after_one_gradient(
    float: DType,
    steps: usize,
    slopes: &[f64],
    optimizer: Optimizer<'static>,
) -> Vec<Vec<f64>> {
    let b = Builder::new("t").with_float(float);
    let w = b.param("w", (slopes.len(),), Init::Ones);
    let e = b.entry("run", Mode::Train);
    let slope = e.input("slope", float, (slopes.len(),));
    e.minimize((e.read(w) * slope).sum(..), w, optimizer);
    let program = b.finish().unwrap();
    let kept: Vec<_> = program
        .states
        .iter()
        .filter(|state| state.role == Role::Optimizer && state.ty.dtype == float)
        .map(|state| state.path.clone())
        .collect();
    let mut interpreter = interpreter(&program);
    let mut seen = Vec::new();
    for step in 0..steps {
        let slopes = slopes.iter().map(|slope| if step == 0 { *slope } else { 0.0 });
        let slopes = if float == F32 {
            Array::from(slopes.map(|slope| slope as f32).collect::<Vec<f32>>())
        } else {
            Array::from(slopes.collect::<Vec<f64>>())
        };
        interpreter.call("run", [("slope", slopes)]).unwrap();
        let values = kept.iter().map(|path| interpreter.state(path).unwrap().to_f64_vec());
        seen.push(values.flatten().collect());
    }
    seen
}

/// `0.75·s` of the smallest subnormal `s` is `s`: without care a moment would stay there for ever.
#[test]
fn moments_decay_to_zero_and_are_never_subnormal() {
    let of_f32: [(&str, Optimizer<'_>); 6] = [
        ("adam", Adam::new(0.1).betas(0.75, 0.75).into()),
        ("adamw", AdamW::new(0.1).betas(0.75, 0.75).into()),
        ("momentum", Sgd::new(0.1).momentum(0.75).into()),
        ("nesterov", Sgd::new(0.1).momentum(0.75).nesterov().into()),
        ("rmsprop", RmsProp::new(0.1).alpha(0.75).momentum(0.75).centred().into()),
        ("adadelta", Adadelta::new(0.1).rho(0.75).into()),
    ];
    let of_f64 = [("adam of f64", Adam::new(0.1).betas(0.75, 0.75).into())];
    let cases = of_f32.map(|case| (F32, 450, f64::from(f32::MIN_POSITIVE), case));
    let cases = cases.into_iter().chain(of_f64.map(|case| (F64, 2700, f64::MIN_POSITIVE, case)));
    for (float, steps, least, (name, optimizer)) in cases {
        let seen = after_one_gradient(float, steps, &[1.0, -0.5, 1e-3, -30.0], optimizer);
        let (first, last) = (&seen[0], &seen[steps - 1]);
        assert!(!first.is_empty() && first.iter().all(|kept| *kept != 0.0), "{name}: {first:?}");
        assert!(last.iter().all(|kept| *kept == 0.0), "{name}: {last:?}");
        for kept in seen.iter().flatten() {
            assert!(*kept == 0.0 || kept.abs() >= least, "{name}: {kept:e}");
        }
    }
}

/// Where nothing is added to the root that a step is divided by, it must not become zero.
#[test]
fn a_step_without_eps_stays_finite_when_the_gradient_ends() {
    let optimizers: [(&str, Optimizer<'_>); 3] = [
        ("adam", Adam::new(0.1).betas(0.75, 0.75).eps(0.0).into()),
        ("adamw", AdamW::new(0.1).betas(0.75, 0.75).eps(1e-50).into()),
        ("rmsprop", RmsProp::new(0.1).alpha(0.75).eps(0.0).momentum(0.5).into()),
    ];
    for (name, optimizer) in optimizers {
        let seen = after_one_gradient(F32, 450, &[1.0, -1e-19], optimizer);
        assert!(seen.iter().flatten().all(|kept| kept.is_finite()), "{name}");
        let squares = seen[449].iter().filter(|kept| **kept > 0.0).count();
        assert_eq!(squares, 2, "{name}: {:?}", seen[449]);
    }
}

#[test]
fn moments_that_are_not_numbers_stay_so() {
    let seen = after_one_gradient(F32, 3, &[f64::NAN, 1.0], Adam::new(0.1).into());
    let is_nan = |kept: &Vec<f64>| kept.iter().map(|kept| kept.is_nan()).collect::<Vec<bool>>();
    assert!(seen.iter().all(|kept| is_nan(kept) == [true, false, true, false]), "{seen:?}");
}
