//! Training steps: forward, backward and update.

use kilngrad::prelude::*;
use ndarray::ArrayD;

use super::{Workload, classes, normal, uniform};

pub(super) fn regression(
    rows: usize,
    columns: usize,
    loss: impl for<'b> Fn(Tensor<'b>, Tensor<'b>) -> Tensor<'b>,
    targets: fn(&str, &[usize]) -> ArrayD<f32>,
) -> Result<Workload> {
    let b = Builder::new("regression");
    let model = Dense::new(&b.scope("model"), "linear", columns, 1);
    let step = b.entry("step", Mode::Train);
    let (x, t) = (step.input("x", F32, (rows, columns)), step.input("t", F32, (rows, 1)));
    let loss = loss(model.forward(x), t);
    step.minimize(loss, b.params("model"), Sgd::new(0.01));
    step.output("loss", loss);
    let floats = vec![("x", normal("x", &[rows, columns])), ("t", targets("t", &[rows, 1]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

/// How a classifier is updated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Adam,
    Sgd,
}

pub(super) fn classifier(
    batch: usize,
    dims: &[usize],
    activation: impl for<'b> Fn(Tensor<'b>) -> Tensor<'b>,
    optimizer: Rule,
) -> Result<Workload> {
    let b = Builder::new("classifier");
    let scope = b.scope("model");
    let layers: Vec<Dense> = dims
        .windows(2)
        .enumerate()
        .map(|(index, pair)| Dense::new(&scope, &format!("fc{index}"), pair[0], pair[1]))
        .collect();
    let step = b.entry("step", Mode::Train);
    let (inputs, classes) = (dims[0], dims[dims.len() - 1]);
    let x = step.input("x", F32, (batch, inputs));
    let y = step.input("y", I64, (batch,));
    let mut hidden = x;
    for (index, layer) in layers.iter().enumerate() {
        hidden = layer.forward(hidden);
        if index + 1 < layers.len() {
            hidden = activation(hidden);
        }
    }
    let loss = hidden.cross_entropy(y);
    match optimizer {
        Rule::Adam => step.minimize(loss, b.params("model"), Adam::new(1e-3)),
        Rule::Sgd => step.minimize(loss, b.params("model"), Sgd::new(0.01)),
    }
    step.output("loss", loss);
    Ok(Workload {
        program: b.finish()?,
        floats: vec![("x", normal("x", &[batch, inputs]))],
        classes: vec![("y", super::classes("y", &[batch], classes))],
    })
}

pub(super) fn autoencoder(batch: usize, pixels: usize, code: usize) -> Result<Workload> {
    let b = Builder::new("autoencoder");
    let scope = b.scope("model");
    let encoder = Dense::new(&scope, "encoder", pixels, code);
    let decoder = Dense::new(&scope, "decoder", code, pixels);
    let step = b.entry("step", Mode::Train);
    let x = step.input("x", F32, (batch, pixels));
    let loss = decoder.forward(encoder.forward(x).relu()).sigmoid().mse_loss(x);
    step.minimize(loss, b.params("model"), Adam::new(1e-3));
    step.output("loss", loss);
    let floats = vec![("x", uniform("x", &[batch, pixels]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

/// Two layers over sequences, of which a dense layer reads the last step.
pub(super) fn recurrent(
    batch: usize,
    steps: usize,
    [features, hidden]: [usize; 2],
) -> Result<Workload> {
    let b = Builder::new("recurrent");
    let scope = b.scope("model");
    let options = RecurrentOptions::new().layers(2);
    let lstm = Lstm::with(&scope, "lstm", features, hidden, &options);
    let head = Dense::new(&scope, "head", hidden, 1);
    let step = b.entry("step", Mode::Train);
    let (x, t) = (step.input("x", F32, (batch, steps, features)), step.input("t", F32, (batch, 1)));
    let (_, lasts) = lstm.forward(x);
    let loss = head.forward(lasts[1].0).mse_loss(t);
    step.minimize(loss, b.params("model"), Adam::new(1e-3));
    step.output("loss", loss);
    let floats =
        vec![("x", normal("x", &[batch, steps, features])), ("t", normal("t", &[batch, 1]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

pub(super) fn convolutional(batch: usize) -> Result<Workload> {
    let b = Builder::new("convolutional");
    let scope = b.scope("model");
    let first = Conv2d::new(&scope, "conv0", 1, 32, 3, Conv::new());
    let second = Conv2d::new(&scope, "conv1", 32, 64, 3, Conv::new());
    let hidden = Dense::new(&scope, "hidden", 1600, 128);
    let head = Dense::new(&scope, "head", 128, 10);
    let step = b.entry("step", Mode::Train);
    let x = step.input("x", F32, (batch, 1, 28, 28));
    let y = step.input("y", I64, (batch,));
    let maps = first.forward(x).relu().max_pool2d(2, Pool::new());
    let maps = second.forward(maps).relu().max_pool2d(2, Pool::new());
    let loss = head.forward(hidden.forward(maps.flatten(1, -1)).relu()).cross_entropy(y);
    step.minimize(loss, b.params("model"), Adam::new(1e-3));
    step.output("loss", loss);
    Ok(Workload {
        program: b.finish()?,
        floats: vec![("x", normal("x", &[batch, 1, 28, 28]))],
        classes: vec![("y", classes("y", &[batch], 10))],
    })
}

/// Both networks' steps in one entry: the generator meets the discriminator that has just stepped.
pub(super) fn gan(batch: usize) -> Result<Workload> {
    const CODE: usize = 100;
    let b = Builder::new("gan");
    let (g, d) = (b.scope("g"), b.scope("d"));
    let g =
        [("hidden", CODE, 256), ("out", 256, 784)].map(|(name, i, o)| Dense::new(&g, name, i, o));
    let d = [("hidden", 784, 256), ("out", 256, 1)].map(|(name, i, o)| Dense::new(&d, name, i, o));
    let step = b.entry("step", Mode::Train);
    let (x, z) = (step.input("x", F32, (batch, 784)), step.input("z", F32, (batch, CODE)));
    let judged = |x| d[1].forward(d[0].forward(x).leaky_relu(0.2));
    let fake = g[1].forward(g[0].forward(z).relu()).sigmoid();
    let real = judged(x).bce_with_logits(1.0);
    let loss = real + judged(fake.stop_gradient()).bce_with_logits(0.0);
    step.minimize(loss, b.params("d"), Adam::new(1e-3));
    let loss = judged(fake).bce_with_logits(1.0);
    step.minimize(loss, b.params("g"), Adam::new(1e-3));
    step.output("loss", loss);
    let floats = vec![("x", uniform("x", &[batch, 784])), ("z", normal("z", &[batch, CODE]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

pub(super) fn vae(batch: usize) -> Result<Workload> {
    const CODE: usize = 20;
    let b = Builder::new("vae");
    let scope = b.scope("model");
    let dense = |name, inputs, outputs| Dense::new(&scope, name, inputs, outputs);
    let encoder = dense("encoder", 784, 400);
    let (mean, log_var) = (dense("mean", 400, CODE), dense("log_var", 400, CODE));
    let decoder = [dense("hidden", CODE, 400), dense("out", 400, 784)];
    let step = b.entry("step", Mode::Train);
    let (x, eps) = (step.input("x", F32, (batch, 784)), step.input("eps", F32, (batch, CODE)));
    let hidden = encoder.forward(x).relu();
    let (mean, log_var) = (mean.forward(hidden), log_var.forward(hidden));
    let code = mean + eps * (log_var * 0.5).exp();
    let logits = decoder[1].forward(decoder[0].forward(code).relu());
    let divergence = (1.0 + log_var - mean.square() - log_var.exp()).sum(..) * -0.5;
    let loss = logits.bce_with_logits_with(x, Reduction::Sum) + divergence;
    step.minimize(loss, b.params("model"), Adam::new(1e-3));
    step.output("loss", loss);
    let floats = vec![("x", uniform("x", &[batch, 784])), ("eps", normal("eps", &[batch, CODE]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}
