//! Whole training steps: what they become, and that they compute what was declared.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use kilngrad_builder::*;
use kilngrad_interp::Array;
use kilngrad_ir::{Machine, Op};
use kilngrad_passes::{Compiled, Context, Pass, bind};

use common::{Differentiate, bindings, compile, evaluate};

fn mlp(widths: [usize; 4]) -> Program {
    let b = Builder::new("mlp").with_float(F64);
    let n = b.dim("n");
    let s = b.scope("net");
    let [first, second, third, last] = widths;
    let layers = [
        Dense::new(&s, "a", first, second),
        Dense::new(&s, "b", second, third),
        Dense::new(&s, "c", third, last),
    ];
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (n, first));
    // Any number that is drawn, as a class.
    let y = train.input("y", I64, (n,)).remainder(last as i64);
    let h = layers[0].forward(x).relu();
    let h = layers[1].forward(h).relu().dropout("drop", 0.25);
    let loss = layers[2].forward(h).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);
    b.finish().unwrap()
}

/// A pre-norm transformer block with a causal mask.
fn transformer(steps: usize, width: usize, heads: usize) -> Program {
    let b = Builder::new("transformer").with_float(F64);
    let n = b.dim("n");
    let s = b.scope("net");
    let norms =
        [LayerNorm::new(&s, "ln1", (width,), 1e-5), LayerNorm::new(&s, "ln2", (width,), 1e-5)];
    let qkv = Dense::new(&s, "qkv", width, 3 * width);
    let out = Dense::new(&s, "out", width, width);
    let (up, down) =
        (Dense::new(&s, "up", width, 4 * width), Dense::new(&s, "down", 4 * width, width));
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (n, steps, width));
    let t = train.input("t", F32, (n, steps, width));
    let each = width / heads;
    let [q, k, v] = qkv.forward(norms[0].forward(x)).split(-1, [width; 3]);
    let split = |z| Tensor::transpose(Tensor::reshape(z, (n, steps, heads, each)), [0, 2, 1, 3]);
    let scores = split(q).matmul(split(k).swap_axes(-1, -2)) / (each as f64).sqrt();
    let causal = train.iota(I64, (steps, steps), 0).ge(train.iota(I64, (steps, steps), 1));
    let scores = causal.select(scores, f64::NEG_INFINITY);
    let mixed = scores.softmax(-1).matmul(split(v));
    let mixed = mixed.transpose([0, 2, 1, 3]).reshape((n, steps, width));
    let x = x + out.forward(mixed);
    let y = x + down.forward(up.forward(norms[1].forward(x)).gelu());
    let loss = y.mse_loss(t);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);
    b.finish().unwrap()
}

/// An LSTM cell unrolled over time.
fn lstm(steps: usize, features: usize, hidden: usize) -> Program {
    let b = Builder::new("lstm").with_float(F64);
    let n = b.dim("n");
    let s = b.scope("net");
    let input = Dense::new(&s, "input", features, 4 * hidden);
    let recur = Dense::new(&s, "recur", hidden, 4 * hidden);
    let head = Dense::new(&s, "head", hidden, 1);
    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (n, steps, features));
    let t = train.input("t", F32, (n, 1));
    let mut h = x.slice(1, 0..1).sum(1).sum_keepdim(-1).repeat([1, hidden]) * 0.0;
    let mut c = h;
    for step in 0..steps {
        let gates = input.forward(x.index(1, step as isize)) + recur.forward(h);
        let [i, f, g, o] = gates.split(-1, [hidden; 4]);
        c = f.sigmoid() * c + i.sigmoid() * g.tanh();
        h = o.sigmoid() * c.tanh();
    }
    let loss = head.forward(h).mse_loss(t);
    train.minimize(loss, b.params("net"), Sgd::new(1e-2));
    train.output("loss", loss);
    b.finish().unwrap()
}

fn assert_close(what: &str, expected: &Array, found: &Array) {
    let (expected, found) = (expected.to_f64_vec(), found.to_f64_vec());
    assert_eq!(expected.len(), found.len(), "{what}");
    let scale =
        expected.iter().fold(1e-30f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { m });
    for (e, f) in expected.iter().zip(&found) {
        let close = e == f || (e - f).abs() <= 1e-8 * scale || (e.is_nan() && f.is_nan());
        assert!(close, "{what}: expected {e}, found {f}");
    }
}

/// The compiled program computes in the interpreter what the declared one does.
fn assert_same(program: &Program, symbols: &[(&str, usize)]) -> Compiled {
    let (machine, bound) = (Machine::BASELINE, bindings(symbols));
    let mut context = Context::new(&machine, &bound);
    let reference = bind::Bind.run(&mut context, program).unwrap();
    let reference = Differentiate.run(&mut context, &reference).unwrap();
    let compiled = compile(program, symbols);
    for (entry, fused) in reference.entries.iter().zip(&compiled.program.entries) {
        for seed in 0..2 {
            let expected = evaluate(&reference, entry, seed, false);
            let found = evaluate(&compiled.program, fused, seed, false);
            for (index, (e, f)) in expected.outputs.iter().zip(&found.outputs).enumerate() {
                assert_close(&entry.outputs[index], e, f);
            }
            assert_eq!(expected.updates.len(), found.updates.len());
            for ((id, e), (_, f)) in expected.updates.iter().zip(&found.updates) {
                assert_close(&reference.state(*id).path, e, f);
            }
        }
    }
    compiled
}

/// `contraction 7 -> 3 dot`: kind, operands, results, and what its loops are built around.
fn kernels(compiled: &Compiled) -> Vec<String> {
    let nodes = compiled.program.entries[0].graph.nodes();
    let kernels = nodes.filter_map(|(_, node)| {
        let Op::Kernel(kernel) = &node.op else { return None };
        let (from, to) = (node.operands.len(), node.results.len());
        Some(format!("{} {from} -> {to}", kernel.kind.name()))
    });
    kernels.collect()
}

fn count(compiled: &Compiled, kind: &str) -> usize {
    kernels(compiled).iter().filter(|kernel| kernel.starts_with(kind)).count()
}

/// No kernel of an entry does nothing but copy.
fn assert_no_copies(compiled: &Compiled) {
    for (_, node) in compiled.program.entries[0].graph.nodes() {
        let Op::Kernel(kernel) = &node.op else { continue };
        assert!(kernel.body.node_count() > 0, "{} copies", kernel.name);
    }
}

#[test]
fn an_mlp_step_is_a_kernel_for_each_layer_and_direction() {
    let compiled = assert_same(&mlp([6, 8, 5, 3]), &[("n", 7)]);
    assert_no_copies(&compiled);
    // Forward, backward and the gradients of weights: 3 + 2 + 3, with bias, activation, mask,
    // dropout and Adam as epilogues.
    assert_eq!(count(&compiled, "contraction"), 8);
    // The check of the classes, the loss with its gradient, the mean, and a sum for each bias.
    assert_eq!(count(&compiled, "reduce"), 6);
    // Adam for each bias, its step with the schedule, and the counter of random numbers.
    assert_eq!(count(&compiled, "map"), 5);
    let weights = kernels(&compiled).iter().filter(|k| *k == "contraction 7 -> 3").count();
    assert_eq!(weights, 3, "{:?}", kernels(&compiled));
    let plan = &compiled.plans[0];
    assert_eq!(plan.peak_bytes, plan.lower_bound_bytes);
}

#[test]
fn a_transformer_step_fuses_norms_softmax_and_updates() {
    let compiled = assert_same(&transformer(5, 8, 2), &[("n", 3)]);
    assert_no_copies(&compiled);
    // Six forward, twelve backward.
    assert_eq!(count(&compiled, "contraction"), 18);
    // Two norms and a softmax forward, a norm and the softmax backward (nobody asks for the
    // gradient of the input), the loss, and sums for four biases and two norms, a norm's at once.
    assert_eq!(count(&compiled, "reduce"), 3 + 2 + 1 + 4 + 2, "{}", compiled.fusion[0]);
}

#[test]
fn an_lstm_step_computes_its_gates_in_one_map() {
    let steps = 4;
    let compiled = assert_same(&lstm(steps, 3, 5), &[("n", 2)]);
    assert_no_copies(&compiled);
    // Gates are sliced out of one contraction, and their gradients are one concatenation.
    let concats = compiled.fusion[0].kernels.iter().filter(|k| k.name.ends_with("concat"));
    assert_eq!(concats.count(), steps);
}

#[test]
fn a_program_compiles_to_the_same_text_again() {
    let program = transformer(5, 8, 2);
    let compile = || compile(&program, &[("n", 3)]);
    let (first, second) = (compile(), compile());
    assert_eq!(first.program.to_string(), second.program.to_string());
    assert_eq!(first.fusion, second.fusion);
    assert_eq!(first.plans, second.plans);
}
