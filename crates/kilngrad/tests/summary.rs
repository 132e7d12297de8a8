//! The summary as it is printed. `INSTA_UPDATE=always cargo test -p kilngrad --test summary` writes
//! the snapshots anew.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use kilngrad::prelude::*;
use kilngrad::{Features, Summary};

/// The summary with the one figure that differs from run to run set.
fn summary(program: Program, options: &Options) -> Summary {
    let mut summary = program.compile(options).unwrap().summary();
    for compiled in summary.entries.iter_mut().filter_map(|entry| entry.compiled.as_mut()) {
        compiled.time = Duration::from_millis(12);
    }
    summary
}

fn options() -> Options {
    Options::new().features(Features::baseline()).specialise("n", &[32])
}

/// Two layers and a normalisation, one parameter that is not trained and one without a scope.
fn small() -> Program {
    let b = Builder::new("digits");
    let n = b.dim("n");
    let net = b.scope("net");
    let hidden = Dense::new(&net, "hidden", 64, 32);
    let norm = LayerNorm::new(&net, "norm", (32,), 1e-5);
    let head = Dense::new(&net, "head", 32, 10);
    let scale = b.param("scale", (1, 10), Init::Ones);
    let seen = net.scope("seen").state("count", I64, (), Init::Zeros);
    let forward = |x| head.forward(norm.forward(hidden.forward(x).relu())) * scale;
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
    let loss = forward(x).cross_entropy(y);
    train.update(seen, train.read(seen) + 1);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);
    let predict = b.entry("predict", Mode::Eval);
    predict.output("probs", forward(predict.input("x", F32, (n, 64))).softmax(-1));
    b.finish().unwrap()
}

#[test]
fn a_small_model() {
    insta::assert_snapshot!("small", summary(small(), &options().entries(&["train"])));
}

#[test]
fn a_model_of_many_layers_is_shown_by_its_blocks() {
    let b = Builder::new("tower");
    let n = b.dim("n");
    let net = b.scope("net");
    let blocks: Vec<[Dense; 3]> = (0..20)
        .map(|index| {
            let block = net.scope(&format!("block{index}"));
            ["a", "b", "c"].map(|name| Dense::new(&block, name, 8, 8))
        })
        .collect();
    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, 8));
    let y = blocks.iter().flatten().fold(x, |x, layer| layer.forward(x).relu());
    predict.output("y", y);
    let summary = summary(b.finish().unwrap(), &options().entries(&[]));
    assert_eq!(summary.layers.len(), 60);
    assert_eq!(summary.frozen.elements, 60 * (64 + 8));
    insta::assert_snapshot!("tower", summary);
}

#[test]
fn a_program_without_parameters() {
    let b = Builder::new("plain\u{1b}[31m");
    let run = b.entry("run", Mode::Eval);
    run.output("y", run.input("x", F32, (4,)).exp());
    let options = Options::new().features(Features::baseline());
    insta::assert_snapshot!("plain", summary(b.finish().unwrap(), &options));
}

/// Layers of images and of sequences: what a layer gives is what leaves its scope.
#[test]
fn layers_are_called_what_they_are() {
    let b = Builder::new("zoo");
    let (n, time) = (b.dim("n"), b.dim("time"));
    let net = b.scope("net");
    let line = Conv1d::new(&net, "line", 2, 3, 2, Conv::new());
    let image = Conv2d::new(&net, "image", 3, 4, 3, Conv::new().stride(2));
    let volume = Conv3d::with(&net, "volume", 1, 2, 1, Conv::new(), ConvInit::new().bias(None));
    let wider = ConvTranspose2d::new(&net, "wider", 4, 3, 2, ConvTranspose::new());
    let norm = BatchNorm::new(&net, "norm", 3, 1e-5);
    let rms = RmsNorm::new(&net, "rms", (16,), 1e-6);
    let two = RecurrentOptions::new().layers(2);
    let (rnn, gru) = (Rnn::new(&net, "rnn", 8, 16), Gru::with(&net, "gru", 16, 16, &two));
    let lstm = Lstm::new(&net, "lstm", 16, 16);
    let encoder = Lstm::new(&net, "encoder", 8, 6);
    let head = Dense::new(&net, "head", 16, 5);
    let words = net.scope("words").param("table", (50, 8), Init::Xavier);

    for (name, mode) in [("train", Mode::Train), ("predict", Mode::Eval)] {
        let e = b.entry(name, mode);
        let y = line.forward(e.input("line", F32, (n, 2, 9))).mean(..);
        e.output("line", y);
        let y = norm.forward(wider.forward(image.forward(e.input("image", F32, (n, 3, 9, 9)))));
        e.output("image", y.relu().mean(..));
        e.output("volume", volume.forward(e.input("volume", F32, (n, 1, 2, 2, 2))).mean(..));
        let xs = e.read(words).index_select(0, e.input("words", I64, (n, time)));
        e.output("code", encoder.forward(xs).1[0].0);
        let (xs, _) = rnn.forward(xs);
        let (xs, _) = gru.forward(xs);
        let (xs, lasts) = lstm.forward(rms.forward(xs));
        e.output("last", lasts[0].0);
        e.output("all", head.forward(xs));
        e.output("loss", xs.mean(..) + y.mean(..));
    }
    let program = b.finish().unwrap();
    let options = Options::new().features(Features::baseline());
    insta::assert_snapshot!("zoo", summary(program, &options));
}
