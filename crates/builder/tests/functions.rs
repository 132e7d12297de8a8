//! What composite functions compute where the reference has no case.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad_builder::*;
use kilngrad_interp::{Array, Interpreter};

/// Shape and elements of what is built of tensors that count 1, 2, 3, … in these shapes.
#[track_caller]
fn eval<const N: usize>(
    shapes: [&[usize]; N],
    build: impl for<'b> Fn(Entry<'b>, [Tensor<'b>; N]) -> Tensor<'b>,
) -> (Vec<usize>, Vec<f64>) {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Eval);
    let tensors = shapes.map(|shape| {
        let elements: Vec<f64> = (1..=shape.iter().product()).map(|n: usize| n as f64).collect();
        e.constant(shape, &elements)
    });
    e.output("y", build(e, tensors));
    let program = b.finish().unwrap_or_else(|errors| panic!("{errors}"));
    let outputs = Interpreter::new(program, 0).unwrap().call("run", []).unwrap();
    let found: &Array = &outputs["y"];
    (found.shape().to_vec(), found.to_f64_vec())
}

#[test]
fn einsum_sums_what_the_result_lacks() {
    let check = |equation: &str, shapes: [&[usize]; 2], shape: &[usize], elements: &[f64]| {
        let found = eval(shapes, |e, tensors| e.einsum(equation, tensors));
        assert_eq!(found, (shape.to_vec(), elements.to_vec()), "{equation}");
    };
    // [[1,2],[3,4]] and [[1,2,3],[4,5,6]].
    check("ij,jk", [&[2, 2], &[2, 3]], &[2, 3], &[9.0, 12.0, 15.0, 19.0, 26.0, 33.0]);
    check("ij,jk->k", [&[2, 2], &[2, 3]], &[3], &[28.0, 38.0, 48.0]);
    check("ij,jk->", [&[2, 2], &[2, 3]], &[], &[114.0]);
    check("ii,ij->ji", [&[2, 2], &[2, 3]], &[3, 2], &[1.0, 16.0, 2.0, 20.0, 3.0, 24.0]);
    check("ii,ij->j", [&[2, 2], &[2, 3]], &[3], &[17.0, 22.0, 27.0]);
    // Ellipses broadcast, and so does an axis of length 1.
    check("...j,kj->...k", [&[2, 1, 2], &[1, 2]], &[2, 1, 1], &[5.0, 11.0]);
    check("...i,...i->...", [&[2, 1, 2], &[3, 2]], &[2, 3], &[5.0, 11.0, 17.0, 11.0, 25.0, 39.0]);
    check("ij,ij->ij", [&[2, 1], &[2, 3]], &[2, 3], &[1.0, 2.0, 3.0, 8.0, 10.0, 12.0]);
}

#[test]
fn einsum_takes_any_number_of_operands() {
    let chain = eval([&[2, 2], &[2, 2], &[2, 2]], |e, tensors| e.einsum("ij,jk,kl->il", tensors));
    assert_eq!(chain, (vec![2, 2], vec![37.0, 54.0, 81.0, 118.0]));
    // An index of three operands stays until the last of them.
    let three = eval([&[2], &[2], &[2]], |e, tensors| e.einsum("i,i,i->", tensors));
    assert_eq!(three, (vec![], vec![9.0]));
    let one = eval([&[2, 3]], |e, tensors| e.einsum("ij->ji", tensors));
    assert_eq!(one, (vec![3, 2], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let trace = eval([&[3, 3]], |e, tensors| e.einsum("ii", tensors));
    assert_eq!(trace, (vec![], vec![15.0]));
}

#[test]
fn padding_takes_elements_of_the_tensor() {
    let pad = |mode, low, high| eval([&[3]], move |_, [x]| x.pad_with(0, low, high, mode)).1;
    assert_eq!(pad(PadMode::Reflect, 2, 1), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(pad(PadMode::Reflect, 0, 2), [1.0, 2.0, 3.0, 2.0, 1.0]);
    assert_eq!(pad(PadMode::Replicate, 2, 1), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    assert_eq!(pad(PadMode::Circular, 2, 1), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    assert_eq!(pad(PadMode::Circular, 3, 0), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    assert_eq!(pad(PadMode::Replicate, 0, 0), [1.0, 2.0, 3.0]);
    assert_eq!(pad(PadMode::Replicate, 0, 1 << 20).len(), 3 + (1 << 20));
}

#[test]
fn axes_are_flipped() {
    let both = eval([&[2, 3]], |_, [x]| x.flip(..));
    assert_eq!(both, (vec![2, 3], vec![6.0, 5.0, 4.0, 3.0, 2.0, 1.0]));
    assert_eq!(eval([&[2, 3]], |_, [x]| x.flip(-1)).1, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    assert_eq!(eval([&[0, 3]], |_, [x]| x.flip(0)), (vec![0, 3], vec![]));
}

#[test]
fn diagonals_are_found_off_the_middle_too() {
    // 1 2 3 4 / 5 6 7 8.
    let diagonal = |n| eval([&[2, 4]], move |_, [x]| x.diagonal(n, 0, 1)).1;
    assert_eq!(diagonal(0), [1.0, 6.0]);
    assert_eq!(diagonal(2), [3.0, 8.0]);
    assert_eq!(diagonal(3), [4.0]);
    assert_eq!(diagonal(-1), [5.0]);
    assert_eq!(diagonal(4), []);
    assert_eq!(diagonal(-2), []);
    assert_eq!(diagonal(i64::MIN), []);
    assert_eq!(diagonal(i64::MAX), []);
    let swapped = eval([&[2, 4]], |_, [x]| x.diagonal(1, 1, 0)).1;
    assert_eq!(swapped, [5.0]);
    let stacked = eval([&[2, 3, 2]], |_, [x]| x.diagonal(0, 0, -1));
    assert_eq!(stacked, (vec![3, 2], vec![1.0, 8.0, 3.0, 10.0, 5.0, 12.0]));
}

#[test]
fn pixels_are_shuffled_in_every_image() {
    let shuffled = eval([&[1, 4, 1, 2]], |_, [x]| x.pixel_shuffle(2));
    assert_eq!(shuffled, (vec![1, 1, 2, 4], vec![1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]));
    let same = eval([&[3, 1, 2]], |_, [x]| x.pixel_shuffle(1));
    assert_eq!(same, (vec![3, 1, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
}

#[test]
fn a_query_that_attends_to_nothing_gives_zeros_and_no_gradient() {
    let b = Builder::new("attention");
    let e = b.entry("run", Mode::Eval);
    let n = b.dim("n");
    let q = e.input("q", F64, (n, 2));
    let mask = e.constant((2, 1), &[true, false]).expand((2, n));
    let mixed = q.slice(0, ..2).attention_with(q, q, Attention::new().mask(mask));
    e.output("y", mixed);
    e.output("g", mixed.sum(..).gradient([q])[0]);
    let program = kilngrad_autodiff::differentiate(&b.finish().unwrap()).unwrap();
    let x = Array::from_elements(&[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let outputs = Interpreter::new(program, 0).unwrap().call("run", [("q", x)]).unwrap();
    let (y, g) = (outputs["y"].to_f64_vec(), outputs["g"].to_f64_vec());
    assert_eq!(y[2..], [0.0, 0.0]);
    assert!(y[0] > 4.9 && g.iter().all(|slope| slope.is_finite()), "{y:?} {g:?}");
}

#[test]
fn mistakes_are_reported() {
    let check = |rule: &str, build: for<'b> fn(Entry<'b>, Tensor<'b>) -> Tensor<'b>| {
        let b = Builder::new("t");
        let e = b.entry("run", Mode::Eval);
        e.output("y", build(e, e.zeros(F32, (2, 3))));
        let errors = b.finish().unwrap_err();
        let rules: Vec<&str> = errors.diagnostics().iter().map(|one| one.rule).collect();
        assert_eq!(rules, [rule], "{errors}");
    };
    check("einsum_b1", |e, x| e.einsum("ijk->k", [x]));
    check("einsum_b2", |e, x| e.einsum("ij,ji->", [x, x]));
    // A diagonal is of one length, and nothing is repeated for it.
    check("einsum_b2", |e, x| e.einsum("ii->i", [x.slice(0, ..1)]));
    check("shape_b1", |_, x| x.pad_with(0, 2, 0, PadMode::Reflect));
    check("shape_b1", |_, x| x.pad_with(0, 0, 3, PadMode::Circular));
    check("size_b1", |_, x| x.pad_with(0, usize::MAX, 3, PadMode::Replicate));
    check("shape_b1", |_, x| x.diagonal(0, 1, -1));
    check("shape_b1", |_, x| x.pixel_shuffle(1));
    check("shape_b1", |_, x| x.group_norm(2, 1e-5));
    check("shape_b1", |_, x| x.a_channel(x));
    check("shape_b1", |_, x| x.sum(..).attention(x, x));
}

#[test]
fn metrics_count_what_they_say() {
    let shares = |logits: &[f64], classes: &[i64], k: usize| {
        let b = Builder::new("t");
        let e = b.entry("run", Mode::Eval);
        let x = e.constant((classes.len(), logits.len() / classes.len()), logits);
        let y = e.constant((classes.len(),), classes);
        e.output("accuracy", x.accuracy(y));
        e.output("top", x.top_k_accuracy(y, k));
        let outputs = Interpreter::new(b.finish().unwrap(), 0).unwrap().call("run", []).unwrap();
        [outputs["accuracy"].to_f64_vec()[0], outputs["top"].to_f64_vec()[0]]
    };
    let logits = [0.1, 0.7, 0.2, 3.0, 1.0, 2.0, 1.0, 2.0, 3.0, 5.0, 5.0, 4.0];
    assert_eq!(shares(&logits, &[1, 0, 0, 1], 1), [0.5, 0.75]);
    assert_eq!(shares(&logits, &[2, 2, 0, 2], 2), [0.0, 0.5]);
    assert_eq!(shares(&logits, &[2, 2, 0, 2], 3), [0.0, 1.0]);
    // A class whose logit is NaN is not among the greatest.
    assert_eq!(shares(&[f64::NAN, 1.0, 2.0], &[0], 1)[1], 0.0);

    let found = eval([&[4], &[4]], |_, [x, t]| (x + 1.0).r2_score(t));
    assert_eq!(found.1, [1.0 - 4.0 / 5.0]);
    let exact = eval([&[4], &[4]], |_, [x, t]| x.r2_score(t));
    assert_eq!(exact.1, [1.0]);
    assert_eq!(eval([&[3]], |_, [x]| (x - 2.0).mae(0.0)).1, [2.0 / 3.0]);
    assert_eq!(eval([&[3]], |_, [x]| (x - 2.0).mse(0.0)).1, [2.0 / 3.0]);
}

#[test]
fn penalties_groups_and_accumulation_are_their_formulas() {
    let program = || {
        let b = Builder::new("t");
        let w = b.param("net.w", (2,), Init::Constant(2.0));
        let v = b.param("net.v", (), Init::Constant(-3.0));
        let all = b.params("net");
        let e = b.entry("penalty", Mode::Train);
        e.output("l1", e.l1_penalty(all.clone()));
        e.output("l2", e.l2_penalty(all.clone()));
        let big = e.constant((3,), &[-9f32, 0.5, 9.0]);
        e.output("clipped", e.clip_grad_value(&[big], 1.0)[0]);
        let e = b.entry("groups", Mode::Train);
        let loss = e.read(w).sum(..) * e.read(v);
        e.minimize_groups(
            loss,
            [(w.into(), Sgd::new(1.0).into()), (v.into(), Sgd::new(0.5).into())],
        );
        let sums = Accumulator::new(&b.scope("sums"), all.clone());
        let e = b.entry("add", Mode::Train);
        let x = e.input("x", F32, (b.dim("n"),));
        sums.add((e.read(w).sum(..) + e.read(v)) * x.mean(..), x);
        let e = b.entry("step", Mode::Train);
        let means = sums.take(e);
        e.apply_gradients(all.clone(), &means, Sgd::new(1.0).named("accumulated"));
        assert_eq!(all.except(&b.params("net.w")), v.into());
        b.finish().unwrap_or_else(|errors| panic!("{errors}"))
    };
    let mut run =
        Interpreter::new(kilngrad_autodiff::differentiate(&program()).unwrap(), 0).unwrap();
    let outputs = run.call("penalty", []).unwrap();
    assert_eq!(outputs["l1"].to_f64_vec(), [7.0]);
    assert_eq!(outputs["l2"].to_f64_vec(), [17.0]);
    assert_eq!(outputs["clipped"].to_f64_vec(), [-1.0, 0.5, 1.0]);
    // Both gradients are by what the call began with.
    run.call("groups", []).unwrap();
    let states =
        |run: &Interpreter| ["net.w", "net.v"].map(|path| run.state(path).unwrap().to_f64_vec());
    assert_eq!(states(&run), [vec![5.0, 5.0], vec![-5.0]]);
    for batch in [vec![1f32, 2.0, 3.0], vec![7.0]] {
        run.call("add", [("x", Array::from(batch))]).unwrap();
    }
    run.call("step", []).unwrap();
    // The mean of 1, 2, 3 and 7.
    assert_eq!(states(&run), [vec![1.75, 1.75], vec![-8.25]]);
    assert_eq!(run.state("sums.rows").unwrap().to_f64_vec(), [0.0]);
    assert_eq!(run.state("sums.sum.net.w").unwrap().to_f64_vec(), [0.0, 0.0]);
}
