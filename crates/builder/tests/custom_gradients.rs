//! Functions with a derivative of their own.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::interpreter;
use kilngrad_builder::*;
use kilngrad_interp::Array;

/// The outputs of entry `run`, fed `x`, by name.
fn run(b: Builder, x: &[f64]) -> impl Fn(&str) -> Vec<f64> {
    let program = b.finish().unwrap();
    let text = program.to_string();
    assert_eq!(Program::parse(&text, &Default::default()).unwrap(), program, "{text}");
    let x = Array::from_elements(&[x.len()], x.to_vec()).unwrap();
    let outputs = interpreter(&program).call("run", [("x", x)]).unwrap();
    move |name| outputs[name].to_f64_vec()
}

#[test]
fn straight_through_and_reversal() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    let rounded = x.custom_gradient(|x| x.round(), |_, _, dy| dy);
    let [g] = rounded.square().sum(..).gradient([x]);
    e.output("y", rounded);
    e.output("g", g);
    let reversed = x.custom_gradient(|x| x, |_, _, dy| -dy);
    let [r] = (reversed.square() + x * 3.0).sum(..).gradient([x]);
    e.output("r", r);
    let found = run(b, &[0.4, 1.6, -2.7]);
    assert_eq!(found("y"), [0.0, 2.0, -3.0]);
    assert_eq!(found("g"), [0.0, 4.0, -6.0]);
    assert_eq!(found("r"), [3.0 - 0.8, 3.0 - 3.2, 3.0 + 5.4]);
}

/// The way back sees the sum of what every use contributes: it clips once, and two calls of one
/// function clip on their own.
#[test]
fn clipping_is_not_linear() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    fn clip(x: Tensor<'_>) -> Tensor<'_> {
        x.custom_gradient(|x| x, |_, _, dy| dy.clamp(-1.0, 1.0)).named("c")
    }
    let one = clip(x);
    let [g] = (one * 0.75 + one * 0.5).sum(..).gradient([x]);
    e.output("once", g);
    let [g] = (clip(x) * 0.75 + clip(x) * 0.5).sum(..).gradient([x]);
    e.output("twice", g);
    let found = run(b, &[7.0]);
    assert_eq!(found("once"), [1.0]);
    assert_eq!(found("twice"), [1.25]);
}

/// Stable where the formula that it is declared by is not.
#[test]
fn a_better_softplus() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    let y = x.custom_gradient(
        |x| x.gt(30.0).select(x, (x.exp() + 1.0).log()),
        |x, _, dy| dy * x.sigmoid(),
    );
    let [g] = y.sum(..).gradient([x]);
    let [h] = g.sum(..).gradient([x]);
    e.output("g", g);
    e.output("h", h);
    let points = [-3.0, 0.0, 0.5, 2.0, 800.0];
    let found = run(b, &points);
    for (index, x) in points.into_iter().enumerate() {
        let sigmoid = 1.0 / (1.0 + f64::exp(-x));
        assert!((found("g")[index] - sigmoid).abs() < 1e-15, "{x}");
        assert!((found("h")[index] - sigmoid * (1.0 - sigmoid)).abs() < 1e-15, "{x}");
    }
}

/// What the way back calls the value is the function's result, whose derivative is again the way
/// back's, at every order: here nothing of what is computed forward has a derivative.
#[test]
fn derivatives_of_every_order_follow_the_way_back() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    let y = x.custom_gradient(|x| x.stop_gradient().exp(), |_, y, dy| dy * y);
    let [first] = y.sum(..).gradient([x]);
    let [second] = first.sum(..).gradient([x]);
    let [third] = (second * 2.0).sum(..).gradient([x]);
    for (name, tensor) in [("y", y), ("first", first), ("second", second)] {
        e.output(name, tensor);
    }
    e.output("third", third / 2.0);
    let found = run(b, &[-1.0, 0.3]);
    for name in ["y", "first", "second", "third"] {
        assert_eq!(found(name), [f64::exp(-1.0), f64::exp(0.3)], "{name}");
    }
}

/// Several inputs and values; a value that the loss does not reach counts as zero.
#[test]
fn several_inputs_and_values() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    let w = b.root().param_of("w", F64, (), Init::Constant(3.0));
    let [sum, product] = e.custom_gradient(
        [x, e.read(w).expand((b.dim("n"),))],
        |[x, w]| [x + w, x * w],
        |[x, w], [sum, _], [ds, dp]| [ds + dp * w, ds * 10.0 + dp * x + sum * 0.0],
    );
    let [gx, gw] = product.sum(..).gradient([x, e.read(w)]);
    e.output("gx", gx);
    e.output("gw", gw);
    let [hx, hw] = (sum * 2.0 + product).sum(..).gradient([x, e.read(w)]);
    e.output("hx", hx);
    e.output("hw", hw);
    let found = run(b, &[1.0, 5.0]);
    assert_eq!((found("gx"), found("gw")), (vec![3.0, 3.0], vec![6.0]));
    assert_eq!((found("hx"), found("hw")), (vec![5.0, 5.0], vec![40.0 + 6.0]));
}

/// The way back may use what lies around it in any place of an operation, parameters, layers,
/// random draws and functions of this kind.
#[test]
fn the_way_back_uses_what_lies_around() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    let twice = x * 2.0;
    let w = b.root().param_of("w", F64, (), Init::Constant(3.0));
    let y = x.custom_gradient(
        |x| x,
        |_, _, dy| {
            let reversed = dy.custom_gradient(|dy| dy + 0.0, |_, _, ddy| ddy * twice * w);
            twice - dy + dy * w + reversed * e.ones(F64, ()) + e.zeros(F64, ()) * dy
        },
    );
    let c = e.input("c", F64, ());
    let [g] = (y * c).sum(..).gradient([x]);
    e.output("g", g);
    // By `c` once more: each element of `dy` is `c`.
    let [h] = g.sum(..).gradient([c]);
    e.output("h", h);
    let program = b.finish().unwrap();
    let array = |x: &[f64]| Array::from_elements(&[x.len()], x.to_vec()).unwrap();
    let c = Array::from_elements(&[], vec![0.5]).unwrap();
    let found = interpreter(&program).call("run", [("x", array(&[1.0, 4.0])), ("c", c)]).unwrap();
    assert_eq!(found["g"].to_f64_vec(), [2.0 + 1.5, 8.0 + 1.5]);
    // −1 + 3 of what is linear, and 2x·3 of the inner function's way back.
    assert_eq!(found["h"].to_f64_vec(), [2.0 + 6.0 + 2.0 + 24.0]);
}

#[test]
fn draws_of_the_way_back_have_their_own_streams() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, (b.dim("n"),));
    let y = x.custom_gradient(
        |x| x,
        |x, _, dy| dy * x.entry().uniform("noise", (b.dim("n"),)).cast(F64),
    );
    let [g] = y.sum(..).gradient([x]);
    e.output("g", g);
    e.output("other", e.uniform("noise", (b.dim("n"),)));
    let found = run(b, &[1.0; 4]);
    assert!(found("g").iter().all(|noise| (0.0..1.0).contains(noise)));
    assert_ne!(found("g"), found("other"));
}

/// An entry without requests computes the values and nothing else.
#[test]
fn without_requests_it_is_its_value() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Eval);
    let x = e.input("x", F64, (b.dim("n"),));
    e.output("y", x.custom_gradient(|x| x.round(), |_, _, dy| dy.exp()));
    let program = b.finish().unwrap();
    let expanded = kilngrad_autodiff::differentiate(&program).unwrap();
    assert_eq!(expanded.entries[0].graph.node_count(), 1, "{expanded}");
}

/// The paths to what is computed forward are not the function's.
#[test]
fn no_gradient_passes_to_the_value_itself() {
    let b = Builder::new("t");
    let e = b.entry("run", Mode::Train);
    let x = e.input("x", F64, ());
    let stopped = (x * 2.0).stop_gradient();
    let y = stopped.custom_gradient(|s| s.exp(), |_, y, dy| y * dy);
    let [g] = y.gradient([x]);
    e.output("g", g);
    let l = line!() - 2;
    let diagnostics = kilngrad_autodiff::differentiate(&b.finish().unwrap()).unwrap_err();
    assert_eq!(diagnostics[0].rule, "gradient_d2");
    assert_eq!(diagnostics[0].site.as_ref().unwrap().line, l);
}
