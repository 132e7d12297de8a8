//! Each mistake gives one diagnostic, at the line where it was made.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad_builder::*;

/// Checks that building gives exactly one diagnostic: this rule at this line, these words in it,
/// and these lines among the related places.
#[track_caller]
fn check(b: Builder, rule: &str, line: u32, words: &[&str], related: &[u32]) {
    let errors = b.finish().expect_err("a mistake was made");
    let text = errors.to_string();
    assert_eq!(errors.diagnostics().len(), 1, "{text}");
    let diagnostic = &errors.diagnostics()[0];
    assert_eq!(diagnostic.rule, rule, "{text}");
    let site = diagnostic.site.as_ref().expect("the place is known");
    assert!(site.file.ends_with("diagnostics.rs"), "{text}");
    assert_eq!(site.line, line, "{text}");
    for word in words {
        assert!(text.contains(word), "expected {word:?} in\n{text}");
    }
    let places: Vec<u32> =
        diagnostic.related.iter().filter_map(|r| Some(r.site.as_ref()?.line)).collect();
    assert_eq!(places, related, "{text}");
    let message = &diagnostic.message;
    assert!(message.starts_with("expected ") && !message.ends_with('.'), "{message}");
    assert!(message.contains("found"), "{message}");
}

#[test]
fn shapes_that_do_not_broadcast() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 8));
    let y = e.input("y", F32, (7,));
    let z = (x + y).relu().sum(..); // here, and nothing of what follows
    e.output("z", z);
    let l = line!();
    check(b, "broadcast_b1", l - 2, &["f32[n,8]", "f32[7]"], &[l - 4, l - 3]);
}

#[test]
fn dtypes_that_differ() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (8,));
    let y = e.input("y", F64, (8,));
    let _ = x * y;
    let l = line!();
    check(b, "dtype_b1", l - 1, &["f32[8]", "f64[8]", ".cast(F64)"], &[l - 3, l - 2]);
}

#[test]
fn an_integer_times_a_half() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", I64, (8,));
    let _ = 0.5 * x;
    let l = line!();
    check(b, "dtype_b2", l - 1, &["i64 holds", "the float 0.5"], &[l - 2]);
}

#[test]
fn an_integer_that_does_not_fit() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", U8, (8,));
    let _ = x + 256;
    let l = line!();
    check(b, "dtype_b2", l - 1, &["u8 holds", "256"], &[l - 2]);
}

#[test]
fn inner_lengths_of_a_product() {
    let b = Builder::new("t");
    let layer = Dense::new(&b.scope("net"), "head", 32, 10);
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 64));
    let _ = layer.forward(x).softmax(-1);
    let l = line!();
    check(b, "matmul_b2", l - 1, &["f32[n,64]", "f32[32,10]"], &[l - 2, l - 1]);
}

#[test]
fn kernels_that_do_not_fit() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 6, 4, b.dim("w")));
    let w = e.input("w", F32, (8, 3, 7, 3));
    let _ = x.conv2d(w, Conv::new().padding(1).groups(2));
    let _ = x.conv2d(w, Conv::new().padding(2));
    let _ = x.conv2d(w, Conv::new().padding(2).groups(2).stride([1, 2]));
    let _ = x.conv1d(w, Conv::new());
    let _ = x.max_pool2d([2, 2], Pool::new().stride([1, 2, 3]));
    let l = line!();
    let errors = b.finish().unwrap_err();
    let found: Vec<(&str, u32)> =
        errors.diagnostics().iter().map(|d| (d.rule, d.site.as_ref().unwrap().line)).collect();
    let expected = ["windows_c3", "conv_b2", "windows_c4", "spatial_b1", "spatial_b2"];
    let lines = [l - 5, l - 4, l - 3, l - 2, l - 1];
    assert_eq!(found, expected.into_iter().zip(lines).collect::<Vec<_>>(), "{errors}");
    let text = errors.to_string();
    for part in ["axis 2 of f32[n,6,4,w]", "7 elements 1 apart", "[1, 2, 3]"] {
        assert!(text.contains(part), "expected {part:?} in {text}");
    }
}

/// A window is told with the input that it does not fit and the padding, not with what was made of them.
#[test]
fn a_window_larger_than_its_padded_input() {
    let b = Builder::new("t");
    let conv = Conv2d::new(&b.root(), "conv", 1, 8, 7, Conv::new().padding(1));
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 1, 9, 4));
    let _ = conv.forward(x).relu();
    let l = line!();
    let words = ["axis 3 of f32[n,1,9,4]", "6 long with its padding of 1 and 1", "spans 7"];
    check(b, "windows_c3", l - 1, &words, &[l - 2]);

    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 1, 9, 4));
    let _ = x.avg_pool2d(5, Pool::new());
    let l = line!();
    let words = ["axis 3 of f32[n,1,9,4]", "4 long with its padding of 0 and 0", "spans 5"];
    check(b, "windows_c3", l - 1, &words, &[l - 2]);
}

#[test]
fn channels_that_groups_do_not_divide() {
    let b = Builder::new("t");
    let conv = Conv2d::new(&b.root(), "conv", 6, 8, 3, Conv::new().groups(4));
    let l = line!();
    let e = b.entry("e", Mode::Eval);
    let _ = conv.forward(e.input("x", F32, (b.dim("n"), 6, 9, 9))); // a consequence
    check(b, "conv_b2", l - 1, &["4 groups", "6 inputs", "8 outputs"], &[]);

    let b = Builder::new("t");
    let spread = ConvTranspose::new().groups(4);
    let _ = ConvTranspose2d::new(&b.root(), "conv", 8, 6, 3, spread);
    let l = line!();
    check(b, "conv_b2", l - 1, &["4 groups", "8 inputs", "6 outputs"], &[]);

    for (groups, words) in [
        (4, ["4 groups divide", "6 channels in f32[n,6,9,9]", "8 kernels in f32[8,3,3,3]"]),
        (1, ["3 channels for each of 1 groups", "f32[8,3,3,3]", "6 channels in f32[n,6,9,9]"]),
    ] {
        let b = Builder::new("t");
        let e = b.entry("e", Mode::Eval);
        let (x, w) = (e.input("x", F32, (b.dim("n"), 6, 9, 9)), e.input("w", F32, (8, 3, 3, 3)));
        let _ = x.conv2d(w, Conv::new().groups(groups));
        let l = line!();
        check(b, "conv_b2", l - 1, &words, &[l - 2, l - 2]);
    }

    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (b.dim("n"), 6, 9, 9));
    let _ = x.group_norm(4, 1e-5);
    let l = line!();
    check(b, "shape_b1", l - 1, &["a multiple of 4", "f32[n,6,9,9]"], &[l - 2]);
}

#[test]
fn an_axis_that_is_not_there() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (4, 8));
    let _ = x.softmax(2);
    let l = line!();
    check(b, "axis_b1", l - 1, &["from -2 to 1", "f32[4,8]", "found 2"], &[l - 2]);
}

#[test]
fn an_axis_twice() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, (4, 8));
    let _ = x.sum([1, -1]);
    let l = line!();
    check(b, "axis_b2", l - 1, &["axis 1 again"], &[l - 2]);
}

#[test]
fn a_path_twice() {
    let b = Builder::new("t");
    let scope = b.scope("net");
    let _ = Dense::new(&scope, "a", 2, 2);
    let _ = scope.param("a.w", (2, 2), Init::Zeros);
    let l = line!();
    check(b, "param_b2", l - 1, &["\"net.a.w\""], &[l - 2]);
}

#[test]
fn a_layer_twice_is_one_mistake() {
    let b = Builder::new("t");
    let scope = b.scope("net");
    let _ = Dense::new(&scope, "a", 2, 2);
    let _ = Dense::new(&scope, "a", 2, 2);
    let l = line!();
    check(b, "param_b2", l - 1, &["\"net.a.w\"", "use the same layer"], &[l - 2]);
}

#[test]
fn nothing_to_minimize() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    e.minimize(e.zeros(F32, ()), Vec::new(), Sgd::new(0.1));
    check(b, "optimizer_b2", line!() - 1, &["found none"], &[]);
}

#[test]
fn names_twice() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let _ = e.input("x", F32, ());
    let _ = e.input("x", F32, ());
    let l = line!();
    check(b, "entry_b4", l - 1, &["\"x\" again"], &[l - 2]);
}

#[test]
fn output_names_twice() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.input("x", F32, ());
    e.output("y", x);
    e.output("y", x);
    let l = line!();
    check(b, "entry_b5", l - 1, &["\"y\" again"], &[l - 2]);
}

#[test]
fn entry_names_twice() {
    let b = Builder::new("t");
    let _ = b.entry("e", Mode::Eval);
    let _ = b.entry("e", Mode::Train);
    let l = line!();
    check(b, "entry_b3", l - 1, &["\"e\" again"], &[l - 2]);
}

#[test]
fn names_that_are_no_words() {
    let b = Builder::new("t");
    let _ = b.entry("a b", Mode::Eval);
    check(b, "entry_b2", line!() - 1, &["\"a b\""], &[]);
    let b = Builder::new("t");
    let _ = b.dim("n.m");
    check(b, "entry_b2", line!() - 1, &["\"n.m\""], &[]);
    let b = Builder::new("t");
    let _ = b.scope("a..b");
    check(b, "entry_b2", line!() - 1, &["\"a..b\""], &[]);
    let b = Builder::new("t");
    let _ = b.entry("e", Mode::Eval).input("1x", F32, ());
    check(b, "entry_b2", line!() - 1, &["\"1x\""], &[]);
    let b = Builder::new("t");
    let _ = b.entry("e", Mode::Eval).zeros(F32, ()).named("a-b");
    check(b, "entry_b2", line!() - 1, &["\"a-b\""], &[]);
}

#[test]
fn a_tensor_of_another_entry() {
    let b = Builder::new("t");
    let (e, f) = (b.entry("e", Mode::Eval), b.entry("f", Mode::Eval));
    let x = e.input("x", F32, ());
    let y = f.input("y", F32, ());
    let _ = x + y;
    let l = line!();
    check(b, "entry_b1", l - 1, &["entry \"e\"", "entry \"f\""], &[l - 2]);
}

#[test]
fn a_tensor_of_another_builder() {
    let (b, c) = (Builder::new("b"), Builder::new("c"));
    let x = b.entry("e", Mode::Eval).input("x", F32, ());
    let y = c.entry("e", Mode::Eval).input("y", F32, ());
    let _ = x.maximum(y);
    let l = line!();
    check(b, "entry_b1", l - 1, &["another builder"], &[l - 2]);
    assert!(c.finish().is_ok());
}

#[test]
fn a_parameter_of_another_builder() {
    let (b, c) = (Builder::new("b"), Builder::new("c"));
    let w = c.param("w", (), Init::Zeros);
    let x = b.entry("e", Mode::Eval).input("x", F32, ());
    let _ = x * w;
    let l = line!();
    check(b, "param_b1", l - 1, &["another builder"], &[l - 3]);
}

#[test]
fn a_length_of_another_builder() {
    let (b, c) = (Builder::new("b"), Builder::new("c"));
    let n = c.dim("n");
    let _ = b.entry("e", Mode::Eval).input("x", F32, (n, 2));
    check(b, "length_b1", line!() - 1, &["found n"], &[]);
}

#[test]
fn a_prefix_without_parameters() {
    let b = Builder::new("t");
    let w = b.scope("net").param("w", (), Init::Ones);
    let e = b.entry("e", Mode::Train);
    let loss = e.read(w).square();
    e.minimize(loss, b.params("nett"), Sgd::new(0.1));
    check(b, "param_b4", line!() - 1, &["\"nett\"", "declared are net.w"], &[]);
}

#[test]
fn symbols_in_a_parameter() {
    let b = Builder::new("t");
    let _ = b.param("w", (b.dim("n"), 2), Init::Zeros);
    check(b, "param_b3", line!() - 1, &["f32[n,2]"], &[]);
}

#[test]
fn fans_of_a_vector() {
    let b = Builder::new("t");
    let _ = b.param("w", (3,), Init::Xavier);
    check(b, "init_b1", line!() - 1, &["f32[3]"], &[]);
}

#[test]
fn a_loss_that_is_no_scalar() {
    let b = Builder::new("t");
    let layer = Dense::new(&b.root(), "layer", 2, 2);
    let e = b.entry("e", Mode::Train);
    let y = layer.forward(e.input("x", F32, (3, 2)));
    e.minimize(y, b.params(""), Adam::new(1e-3));
    let l = line!();
    check(b, "gradient_c2", l - 1, &["f32[3,2]", ".mean(..)"], &[l - 2]);
}

#[test]
fn a_target_of_another_shape() {
    let b = Builder::new("t");
    let n = b.dim("n");
    let e = b.entry("e", Mode::Train);
    let (x, t) = (e.input("x", F32, (n, 1)), e.input("t", F32, (n,)));
    let _ = x.mse_loss(t);
    let l = line!();
    check(b, "loss_b1", l - 1, &["[n,1]", "f32[n]"], &[l - 2, l - 2]);
}

#[test]
fn classes_of_the_wrong_dtype() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let (x, t) = (e.input("x", F32, (4, 3)), e.input("t", F32, (4,)));
    let _ = x.cross_entropy(t);
    let l = line!();
    check(b, "loss_b1", l - 1, &["shape [4]", "found f32[4]"], &[l - 2, l - 2]);
}

#[test]
fn options_out_of_range() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (4,));
    let _ = x.dropout("drop", 1.5);
    let l = line!();
    check(b, "loss_b2", l - 1, &["found 1.5"], &[l - 2]);
    let b = Builder::new("t");
    let w = b.param("w", (), Init::Ones);
    let e = b.entry("e", Mode::Train);
    e.minimize(e.read(w).square(), w, Adam::new(0.1).betas(0.9, 1.0));
    check(b, "optimizer_b3", line!() - 1, &["second beta", "found 1"], &[]);
}

#[test]
fn optimizers_that_share_state() {
    let b = Builder::new("t");
    let (v, w) = (b.param("v", (), Init::Ones), b.param("w", (), Init::Ones));
    let e = b.entry("e", Mode::Train);
    e.minimize(e.read(w).square(), w, Adam::new(0.1));
    let f = b.entry("f", Mode::Train);
    f.minimize(f.read(w) * f.read(v), [v, w], Adam::new(0.1));
    let l = line!();
    check(b, "optimizer_b1", l - 1, &["the parameters of the earlier \"adam\""], &[l - 3]);
    let b = Builder::new("t");
    let w = b.param("w", (), Init::Ones);
    let (e, f) = (b.entry("e", Mode::Train), b.entry("f", Mode::Train));
    e.minimize(e.read(w).square(), w, Adam::new(0.1));
    f.minimize(f.read(w).square(), w, Adam::new(0.1).eps(1e-4));
    let l = line!();
    check(b, "optimizer_b1", l - 1, &["the options of the earlier", ".named(..)"], &[l - 2]);
}

#[test]
fn a_path_that_an_optimizer_needs() {
    let b = Builder::new("t");
    let w = b.param("w", (), Init::Ones);
    let _ = b.param("w.adam.m", (), Init::Ones);
    let e = b.entry("e", Mode::Train);
    e.minimize(e.read(w).square(), w, Adam::new(0.1));
    let l = line!();
    check(b, "param_b2", l - 1, &["\"w.adam.m\" again"], &[l - 3]);
}

#[test]
fn a_parameter_twice_in_a_group() {
    let b = Builder::new("t");
    let w = b.param("w", (), Init::Ones);
    let e = b.entry("e", Mode::Train);
    e.minimize(e.read(w).square(), [w, w], Sgd::new(0.1));
    check(b, "optimizer_b2", line!() - 1, &["\"w\" again"], &[]);
}

#[test]
fn a_lost_update() {
    let b = Builder::new("t");
    let w = b.state("w", F32, (), Init::Ones);
    let e = b.entry("e", Mode::Train);
    let x = e.read(w);
    e.update(w, x + 1);
    e.update(w, x + 2);
    let l = line!();
    check(b, "update_b1", l - 1, &["the first is lost"], &[l - 2]);
}

#[test]
fn an_update_of_another_type() {
    let b = Builder::new("t");
    let w = b.state("w", F32, (2,), Init::Ones);
    let e = b.entry("e", Mode::Train);
    let x = e.zeros(F32, (3,));
    e.update(w, x);
    let l = line!();
    check(b, "update_b2", l - 1, &["f32[2]", "f32[3]"], &[l - 2, l - 4]);
}

#[test]
fn parts_and_shapes_that_do_not_fit() {
    let b = Builder::new("t");
    let x = b.entry("e", Mode::Eval).input("x", F32, (4, 8));
    let _ = x.slice(0, 2..6);
    let l = line!();
    check(b, "slice_c3", l - 1, &["2:6"], &[l - 2]);
    let b = Builder::new("t");
    let x = b.entry("e", Mode::Eval).input("x", F32, (4, 8));
    let _ = x.reshape((5, 6));
    let l = line!();
    check(b, "reshape_b1", l - 1, &["f32[4,8]", "[5,6]"], &[l - 2]);
    let b = Builder::new("t");
    let x = b.entry("e", Mode::Eval).input("x", F32, (4, 8));
    let _ = x.index(1, -9);
    let l = line!();
    check(b, "slice_b1", l - 1, &["found -9"], &[l - 2]);
}

#[test]
fn a_size_that_no_memory_holds() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let x = e.zeros(F32, (usize::MAX,));
    e.output("x", x + 1);
    check(b, "size_b1", line!() - 2, &["f32[9223372036854775807]"], &[]);
    let b = Builder::new("t");
    let n = b.dim("n") * (1 << 62);
    let _ = n * 4;
    check(b, "length_b2", line!() - 1, &["4611686018427387904*n"], &[]);
}

#[test]
fn a_float_function_of_integers() {
    let b = Builder::new("t");
    let x = b.entry("e", Mode::Eval).input("x", I32, (4,));
    let _ = x.mean(..);
    let l = line!();
    check(b, "dtype_b3", l - 1, &["for mean", "i32[4]", ".cast(F32)"], &[l - 2]);
}

#[test]
fn a_condition_that_is_none() {
    let b = Builder::new("t");
    let x = b.entry("e", Mode::Eval).input("x", F32, (4,));
    let _ = x.select(x, 0.0);
    let l = line!();
    check(b, "select_c1", l - 1, &["dtype bool", "f32[4]"], &[l - 2, l - 2, l - 1]);
}

#[test]
fn a_float_dtype_that_is_none() {
    let b = Builder::new("t").with_float(I64);
    check(b, "cast_b1", line!() - 1, &["found i64"], &[]);
}

#[test]
fn every_mistake_is_listed_and_none_is_a_consequence() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (4, 8));
    let bad = x.matmul(x); // one
    let worse = bad.softmax(-1).cross_entropy(bad) + x.sum(5); // two: `sum`
    let w = b.param("w", (b.dim("n"),), Init::Zeros); // three
    e.minimize(worse * e.read(w).sum(..), w, Sgd::new(0.1));
    e.output("loss", worse);
    let errors = b.finish().unwrap_err();
    let rules: Vec<&str> = errors.diagnostics().iter().map(|d| d.rule).collect();
    assert_eq!(rules, ["matmul_b2", "axis_b1", "param_b3"], "{errors}");
    let text = kilngrad_ir::Error::from(errors).to_string();
    assert!(text.starts_with("the program is declared wrongly in 3 places:\nerror[matmul_b2]"));
}

#[test]
fn a_custom_gradient_of_another_type() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (b.dim("n"), 3));
    let _ = x.custom_gradient(
        |x| x.exp(),
        |_, y, dy| (dy * y).sum(0), // the related line
    );
    let l = line!();
    check(b, "custom_gradient_b2", l - 4, &["f32[n,3]", "f32[3]"], &[l - 2, l - 5]);

    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (3,));
    let _ = x.custom_gradient(|x| x.exp(), |_, y, dy| (dy * y).cast(F64));
    let l = line!();
    check(b, "custom_gradient_b2", l - 1, &["f32[3]", "f64[3]"], &[l - 1, l - 2]);
}

#[test]
fn a_custom_gradient_of_what_is_no_input() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let (x, w) = (e.input("x", F32, (3,)), e.input("w", F32, (3,)));
    let _ = x.custom_gradient(|x| x * w, |_, _, dy| dy * w);
    let l = line!();
    check(b, "custom_gradient_b1", l - 1, &["f32[3]", ".stop_gradient()"], &[l - 2]);

    let b = Builder::new("t");
    let w = b.param("w", (3,), Init::Ones);
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (3,));
    let _ = x.custom_gradient(
        |x| x * w, // reads the parameter
        |_, _, dy| dy * w,
    );
    let l = line!();
    check(b, "custom_gradient_b1", l - 4, &["f32[3]"], &[l - 3]);

    // What no gradient passes may be used.
    let b = Builder::new("t");
    let w = b.param("w", (3,), Init::Ones);
    let e = b.entry("e", Mode::Train);
    let (x, v) = (e.input("x", F32, (3,)), e.input("v", F32, (3,)));
    let y = x.custom_gradient(
        |x| x.gt(v).select(x * e.read(w).stop_gradient(), e.ones(F32, (3,)) * 2.0),
        |_, _, dy| dy,
    );
    e.output("y", y);
    assert!(b.finish().is_ok());
}

#[test]
fn a_custom_gradient_of_integers() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", I64, (3,));
    let _ = x.custom_gradient(|x| x, |_, _, dy| dy);
    let l = line!();
    check(b, "dtype_b3", l - 1, &["i64[3]", "custom_gradient"], &[l - 2]);
}

#[test]
fn a_custom_gradient_that_is_more_than_a_function() {
    type Back<'f> = &'f dyn for<'b> Fn(Entry<'b>, Tensor<'b>, Param);
    let checked = |what: &str, back: Back<'_>| {
        let b = Builder::new("t");
        let s = b.root().state("s", F32, (), Init::Zeros);
        let e = b.entry("e", Mode::Train);
        let x = e.input("x", F32, ());
        let _ = x.custom_gradient(
            |x| x,
            |_, _, dy| {
                back(dy.entry(), dy, s);
                dy
            },
        );
        let errors = b.finish().unwrap_err();
        assert_eq!(errors.diagnostics().len(), 1, "{errors}");
        let diagnostic = &errors.diagnostics()[0];
        assert_eq!(diagnostic.rule, "custom_gradient_b3");
        assert!(diagnostic.message.contains(what), "{errors}");
    };
    checked("gradients", &|_, dy, _| {
        let _ = dy.square().gradient([dy]);
    });
    checked("inputs", &|e, _, _| {
        let _ = e.input("z", F32, ());
    });
    checked("outputs", &|e, dy, _| e.output("z", dy));
    checked("checks", &|e, dy, _| e.check(dy.gt(0.0), "numbers above 0"));
    checked("updates", &|e, dy, s| e.update(s, dy));
}

#[test]
fn a_cotangent_that_leaves_its_function() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (3,));
    let mut kept = None;
    let y = x.custom_gradient(
        |x| x.exp(),
        |_, y, dy| {
            kept = Some(dy);
            dy * y // and so it goes on
        },
    );
    e.output("y", y);
    e.output("dy", kept.unwrap());
    let l = line!();
    check(b, "entry_b1", l - 1, &["no value outside", "f32[3]"], &[l - 9]);
}

#[test]
fn a_failed_way_back_is_one_diagnostic() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Train);
    let x = e.input("x", F32, (3,));
    let y = x.custom_gradient(|x| x, |_, _, dy| dy.sum(7));
    let l = line!();
    e.output("y", y.exp());
    check(b, "axis_b1", l - 1, &["axis"], &[l - 1]);
}

#[test]
fn options_of_activations() {
    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let _ = e.input("x", F32, (3,)).celu(0.0);
    let l = line!();
    check(b, "loss_b2", l - 1, &["alpha", "found 0"], &[l - 1]);

    let b = Builder::new("t");
    let e = b.entry("e", Mode::Eval);
    let _ = e.input("x", F32, (3,)).hardtanh(1.0, -1.0);
    let l = line!();
    check(b, "loss_b2", l - 1, &["in order", "1 and -1"], &[l - 1]);
}

#[test]
fn gradients_are_not_clipped_by_what_is_no_bound() {
    for (bound, found) in [(-1.0, "found -1"), (f64::NAN, "found NaN")] {
        for by_norm in [true, false] {
            let b = Builder::new("t");
            let e = b.entry("e", Mode::Eval);
            let x = e.input("x", F32, (8,));
            let clipped = match by_norm {
                true => e.clip_grad_norm(&[x], bound),
                false => e.clip_grad_value(&[x], bound),
            };
            let l = line!() - if by_norm { 3 } else { 2 };
            e.output("clipped", clipped[0]);
            check(b, "optimizer_b3", l, &["at least 0", found], &[l - if by_norm { 2 } else { 3 }]);
        }
    }
}
