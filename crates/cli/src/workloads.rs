//! The workloads of `kilngrad bench`: one training step each, on fixed random data.
//!
//! Shapes, losses and optimizers are those that the same names stand for in the benchmark scripts of
//! other frameworks, so that rows can be put side by side: see docs/performance.md.

use kilngrad::prelude::*;
use kilngrad::random;
use ndarray::{ArrayD, IxDyn};

/// What `kilngrad bench` accepts, with a line each.
pub(crate) const WORKLOADS: [(&str, &str); 8] = [
    ("linreg", "linear regression, 4096×128 full batch, MSE, SGD"),
    ("logreg", "logistic regression, 4096×64 full batch, BCE with logits, SGD"),
    ("mlp", "784-512-256-10, relu, batch 128, softmax cross-entropy, Adam"),
    ("mlp_small", "16-32-32-4, tanh, batch 16, softmax cross-entropy, SGD"),
    ("autoencoder", "784-256-784, relu then sigmoid, batch 128, MSE, Adam"),
    ("lstm", "LSTM(50)-LSTM(50)-Dense(1), 64 steps of 16 features, batch 32, MSE, Adam"),
    (
        "cnn",
        "conv 32 3×3, pool 2, conv 64 3×3, pool 2, dense 128, dense 10 on 1×28×28, relu, batch 32, Adam",
    ),
    ("conv3x3_grad", "conv 64 3×3, padding 1, on 64×28×28, batch 8, and both its gradients"),
];

/// A workload: a program whose entry `step` outputs `loss`, and what to feed it.
pub(crate) struct Workload {
    pub(crate) program: Program,
    pub(crate) floats: Vec<(&'static str, ArrayD<f32>)>,
    pub(crate) classes: Vec<(&'static str, ArrayD<i64>)>,
}

/// The workload called `name`, which is one of [`WORKLOADS`].
pub(crate) fn workload(name: &str) -> Result<Workload> {
    match name {
        "linreg" => regression(4096, 128, |z, t| z.mse_loss(t), normal),
        "logreg" => regression(4096, 64, |z, t| z.bce_with_logits(t), coin),
        "mlp" => classifier(128, &[784, 512, 256, 10], |x| x.relu(), Rule::Adam),
        "mlp_small" => classifier(16, &[16, 32, 32, 4], |x| x.tanh(), Rule::Sgd),
        "lstm" => recurrent(32, 64, [16, 50]),
        "autoencoder" => autoencoder(128, 784, 256),
        "cnn" => convolutional(32),
        _ => convolution(8, 64, 28),
    }
}

fn regression(
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
enum Rule {
    Adam,
    Sgd,
}

fn classifier(
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
    let labels = uniform("y", &[batch]).mapv(|unit| (unit * classes as f32) as i64);
    Ok(Workload {
        program: b.finish()?,
        floats: vec![("x", normal("x", &[batch, inputs]))],
        classes: vec![("y", labels)],
    })
}

fn autoencoder(batch: usize, pixels: usize, code: usize) -> Result<Workload> {
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
fn recurrent(batch: usize, steps: usize, [features, hidden]: [usize; 2]) -> Result<Workload> {
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

fn convolutional(batch: usize) -> Result<Workload> {
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
    let labels = uniform("y", &[batch]).mapv(|unit| (unit * 10.0) as i64);
    Ok(Workload {
        program: b.finish()?,
        floats: vec![("x", normal("x", &[batch, 1, 28, 28]))],
        classes: vec![("y", labels)],
    })
}

/// A convolution with the gradients by what is convolved and by the kernels.
fn convolution(batch: usize, channels: usize, side: usize) -> Result<Workload> {
    let b = Builder::new("convolution");
    let step = b.entry("step", Mode::Train);
    let images = [batch, channels, side, side];
    let x = step.input("x", F32, images);
    let w = step.input("w", F32, (channels, channels, 3, 3));
    let weights = step.input("weights", F32, images);
    let loss = (x.conv2d(w, Conv::new().padding(1)) * weights).sum(..);
    let [by_x, by_w] = loss.gradient([x, w]);
    step.output("loss", loss);
    step.output("by_x", by_x);
    step.output("by_w", by_w);
    let floats = vec![
        ("x", normal("x", &images)),
        ("w", normal("w", &[channels, channels, 3, 3])),
        ("weights", normal("weights", &images)),
    ];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

/// Uniform in 0…1, the same in every run.
fn uniform(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let key = random::key(0, random::stream_of(name), 0);
    let count = shape.iter().product::<usize>() as u64;
    let draw = |index| random::element(key, index, DType::F32).to_f64() as f32;
    ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(draw).collect())
        .expect("as many numbers as the shape has elements")
}

/// Normal with mean 0 and standard deviation 1, by the sum of twelve uniform numbers.
fn normal(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let mut sum = ArrayD::from_elem(IxDyn(shape), -6.0f32);
    for term in 0..12 {
        sum += &uniform(&format!("{name}.{term}"), shape);
    }
    sum
}

/// Zeros and ones.
fn coin(name: &str, shape: &[usize]) -> ArrayD<f32> {
    uniform(name, shape).mapv(f32::round)
}
