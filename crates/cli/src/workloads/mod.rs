//! The workloads of `kilngrad bench`, on fixed random data: training steps, and single kernels.
//!
//! Shapes, losses and optimizers are those that the same names stand for in the benchmark scripts of
//! other frameworks, so that rows can be put side by side: see docs/performance.md.

mod micro;
mod training;
pub(crate) mod transformer;

use kilngrad::prelude::*;
use kilngrad::random;
use ndarray::{ArrayD, IxDyn};

/// What `kilngrad bench` accepts, with a line each.
pub(crate) const WORKLOADS: [(&str, &str); 18] = [
    ("linreg", "linear regression, 4096×128 full batch, MSE, SGD"),
    ("logreg", "logistic regression, 4096×64 full batch, BCE with logits, SGD"),
    ("mlp", "784-512-256-10, relu, batch 128, softmax cross-entropy, Adam"),
    ("mlp_small", "16-32-32-4, tanh, batch 16, softmax cross-entropy, SGD"),
    (
        "cnn",
        "conv 32 3×3, pool 2, conv 64 3×3, pool 2, dense 128, dense 10 on 1×28×28, relu, batch 32, Adam",
    ),
    ("lstm", "LSTM(50)-LSTM(50)-Dense(1), 64 steps of 16 features, batch 32, MSE, Adam"),
    ("autoencoder", "784-256-784, relu then sigmoid, batch 128, MSE, Adam"),
    ("gan", "100-256-784 against 784-256-1, batch 64, a step of each, BCE with logits, Adam"),
    ("vae", "784-400-(20,20)-400-784, relu, batch 128, BCE with logits and KL, Adam"),
    (
        "transformer",
        "2 pre-norm blocks of 128, 4 heads, 64 tokens of 65, causal, batch 8, cross-entropy, Adam",
    ),
    ("gelu_chain", "gelu(a·x + b)·x + tanh x of 2²⁰ numbers"),
    ("softmax", "softmax of the rows of 1024×1024"),
    ("layernorm_grad", "layer norm of the rows of 1024×1024, and its three gradients"),
    ("adam_update", "Adam's update of 2²⁰ numbers, uncorrected"),
    ("sum_rows", "sums of the rows of 2048×2048"),
    ("matmul_256", "256×256 by 256×256"),
    ("matmul_1024", "1024×1024 by 1024×1024"),
    ("conv3x3_grad", "conv 64 3×3, padding 1, on 64×28×28, batch 8, and both its gradients"),
];

/// A workload: a program, and what to feed its entry `step`.
pub(crate) struct Workload {
    pub(crate) program: Program,
    pub(crate) floats: Vec<(&'static str, ArrayD<f32>)>,
    pub(crate) classes: Vec<(&'static str, ArrayD<i64>)>,
}

/// The workload called `name`, which is one of [`WORKLOADS`].
pub(crate) fn workload(name: &str) -> Result<Workload> {
    match name {
        "linreg" => training::regression(4096, 128, |z, t| z.mse_loss(t), normal),
        "logreg" => training::regression(4096, 64, |z, t| z.bce_with_logits(t), coin),
        "mlp" => {
            training::classifier(128, &[784, 512, 256, 10], |x| x.relu(), training::Rule::Adam)
        }
        "mlp_small" => {
            training::classifier(16, &[16, 32, 32, 4], |x| x.tanh(), training::Rule::Sgd)
        }
        "cnn" => training::convolutional(32),
        "lstm" => training::recurrent(32, 64, [16, 50]),
        "autoencoder" => training::autoencoder(128, 784, 256),
        "gan" => training::gan(64),
        "vae" => training::vae(128),
        "transformer" => transformer::transformer(8, 64, 65),
        "gelu_chain" => micro::gelu_chain(1 << 20),
        "softmax" => micro::softmax(1024, 1024),
        "layernorm_grad" => micro::layer_norm(1024, 1024),
        "adam_update" => micro::adam_update(1 << 20),
        "sum_rows" => micro::sum_rows(2048, 2048),
        "matmul_256" => micro::product(256),
        "matmul_1024" => micro::product(1024),
        "conv3x3_grad" => micro::convolution(8, 64, 28),
        _ => Err(Error::new(ErrorKind::Name, format!("no workload is called {name:?}"))),
    }
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

/// Classes, `count` of them.
fn classes(name: &str, shape: &[usize], count: usize) -> ArrayD<i64> {
    uniform(name, shape).mapv(|unit| (unit * count as f32) as i64)
}

/// Zeros and ones.
fn coin(name: &str, shape: &[usize]) -> ArrayD<f32> {
    uniform(name, shape).mapv(f32::round)
}
