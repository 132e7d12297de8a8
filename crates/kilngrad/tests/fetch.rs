//! Fetching values inside an entry: what they are, and that nothing else notices.

#![allow(clippy::unwrap_used)]

use kilngrad::prelude::*;
use ndarray::{Array1, Array2};

/// A classifier with dropout, so that a call draws random numbers too.
fn declare() -> Program {
    let b = Builder::new("classifier");
    let n = b.dim("n");
    let net = b.scope("net");
    let (hidden, head) = (Dense::new(&net, "hidden", 12, 16), Dense::new(&net, "head", 16, 4));
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 12)), train.input("y", I64, (n,)));
    let h = hidden.forward(x).relu().named("h").dropout("drop", 0.3).named("dropped");
    let logits = head.forward(h).named("logits");
    let loss = logits.cross_entropy(y);
    let [slope] = loss.gradient([head.weight]);
    let _ = slope.named("slope");
    train.minimize(loss, b.params("net"), Adam::new(1e-2));
    train.output("loss", loss);
    b.finish().unwrap()
}

fn batch(rows: usize, step: usize) -> (Array2<f32>, Array1<i64>) {
    let x = Array2::from_shape_fn((rows, 12), |(i, j)| ((i * 12 + j + 31 * step) as f32).sin());
    (x, Array1::from_iter((0..rows).map(|i| ((i + step) % 4) as i64)))
}

fn states(exe: &Executable) -> Vec<Vec<u8>> {
    exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
}

#[test]
fn a_fetch_changes_no_bit_of_losses_and_states() {
    for threads in [1, 2] {
        let options = Options::new().seed(3).threads(threads);
        let (mut plain, mut fetched) =
            (declare().compile(&options).unwrap(), declare().compile(&options).unwrap());
        for step in 0..12 {
            let (x, y) = batch(5 + step % 3, step);
            let call = plain.call("train").feed("x", &x).feed("y", &y);
            let expected: f32 = call.run().unwrap().scalar("loss").unwrap();
            let call = fetched.call("train").feed("x", &x).feed("y", &y);
            let call = if step % 2 == 0 { call.fetch("h").fetch("slope") } else { call };
            let found: f32 = call.run().unwrap().scalar("loss").unwrap();
            assert_eq!(found.to_bits(), expected.to_bits(), "step {step}");
            assert_eq!(states(&plain), states(&fetched), "step {step}");
        }
    }
}

#[test]
fn what_is_fetched_is_what_the_interpreter_computes() {
    let options = Options::new().seed(5);
    let mut native = declare().compile(&options).unwrap();
    let mut slow = declare().interpret(&options).unwrap();
    let names = ["h", "%dropped", "logits", "slope", "net.head.w", "net.head.w.next", "loss", "x"];
    for step in 0..3 {
        let (x, y) = batch(6, step);
        slow.copy_state(&native).unwrap();
        let before: Array2<f32> =
            native.state::<f32>("net.head.w").unwrap().to_owned().into_dimensionality().unwrap();
        let call = slow.call("train").feed("x", &x).feed("y", &y);
        let expected = names.iter().fold(call, |call, name| call.fetch(name)).run().unwrap();
        let call = native.call("train").feed("x", &x).feed("y", &y);
        let found = names.iter().fold(call, |call, name| call.fetch(name)).run().unwrap();
        let listed: Vec<&str> = found.names().collect();
        assert_eq!(listed[0], "loss");
        for name in names {
            let (found, expected) =
                (found.view::<f32>(name).unwrap(), expected.array(name).unwrap());
            assert_eq!(found.shape(), expected.shape(), "{name}");
            for (found, expected) in found.iter().zip(expected.to_f64_vec()) {
                let distance = (f64::from(*found) - expected).abs();
                assert!(distance <= 1e-5 * (1.0 + expected.abs()), "{name}: {found}, {expected}");
            }
        }
        // A state is fetched as the call found it, and dropout's mask is the call's own.
        assert_eq!(found.view::<f32>("net.head.w").unwrap(), before.view().into_dyn());
        let (h, dropped) =
            (found.view::<f32>("h").unwrap(), found.view::<f32>("%dropped").unwrap());
        assert!(h.iter().zip(&dropped).any(|(h, dropped)| *h > 0.0 && *dropped == 0.0));
    }
}

#[test]
fn an_unknown_value_lists_near_names_and_changes_nothing() {
    let mut exe = declare().compile(&Options::new()).unwrap();
    let mut slow = declare().interpret(&Options::new()).unwrap();
    let (x, y) = batch(4, 0);
    let before = states(&exe);
    let native = exe.call("train").feed("x", &x).feed("y", &y).fetch("logit").run().unwrap_err();
    let interpreted =
        slow.call("train").feed("x", &x).feed("y", &y).fetch("logit").run().unwrap_err();
    for error in [native, interpreted] {
        assert_eq!(error.kind(), ErrorKind::Name);
        let text = error.to_string();
        assert!(text.contains("\"logit\": nearest are \"logits\","), "{text}");
    }
    let error = exe.call("train").feed("x", &x).feed("y", &y).fetch("%99999").run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Name);
    assert_eq!(states(&exe), before);
}

#[test]
fn more_lists_of_names_than_are_kept() {
    let mut exe = declare().compile(&Options::new()).unwrap();
    let mut other = declare().compile(&Options::new()).unwrap();
    let names = ["h", "dropped", "logits", "slope", "net.hidden.w"];
    for (step, subset) in (1usize..24).enumerate() {
        let (x, y) = batch(3, step);
        let call = exe.call("train").feed("x", &x).feed("y", &y);
        let chosen = names.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1);
        let call = chosen.fold(call, |call, (_, name)| call.fetch(name));
        let fetched: f32 = call.run().unwrap().scalar("loss").unwrap();
        let call = other.call("train").feed("x", &x).feed("y", &y);
        assert_eq!(fetched, call.run().unwrap().scalar::<f32>("loss").unwrap());
    }
    // Reports are of the entry itself and not of what was fetched beside it.
    assert_eq!(&*exe.report("train").unwrap().entry, "train");
}
