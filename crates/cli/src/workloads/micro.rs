//! Single kernels: forward alone, unless the name says that gradients are taken.

use kilngrad::prelude::*;

use super::{Workload, normal, uniform};

pub(super) fn gelu_chain(count: usize) -> Result<Workload> {
    let b = Builder::new("gelu_chain");
    let step = b.entry("step", Mode::Eval);
    let [x, a, shift] = ["x", "a", "b"].map(|name| step.input(name, F32, (count,)));
    step.output("y", (a * x + shift).gelu_tanh() * x + x.tanh());
    let floats = ["x", "a", "b"].map(|name| (name, normal(name, &[count])));
    Ok(Workload { program: b.finish()?, floats: floats.into(), classes: Vec::new() })
}

pub(super) fn softmax(rows: usize, columns: usize) -> Result<Workload> {
    of_matrix("softmax", rows, columns, |x| x.softmax(-1))
}

pub(super) fn sum_rows(rows: usize, columns: usize) -> Result<Workload> {
    of_matrix("sum_rows", rows, columns, |x| x.sum(-1))
}

/// A function of one matrix.
fn of_matrix(
    name: &str,
    rows: usize,
    columns: usize,
    function: impl for<'b> Fn(Tensor<'b>) -> Tensor<'b>,
) -> Result<Workload> {
    let b = Builder::new(name);
    let step = b.entry("step", Mode::Eval);
    step.output("y", function(step.input("x", F32, (rows, columns))));
    let floats = vec![("x", normal("x", &[rows, columns]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

pub(super) fn product(length: usize) -> Result<Workload> {
    let b = Builder::new("product");
    let step = b.entry("step", Mode::Eval);
    let [lhs, rhs] = ["lhs", "rhs"].map(|name| step.input(name, F32, (length, length)));
    step.output("product", lhs.matmul(rhs));
    let floats = ["lhs", "rhs"].map(|name| (name, normal(name, &[length, length])));
    Ok(Workload { program: b.finish()?, floats: floats.into(), classes: Vec::new() })
}

/// Layer norm with the gradients by what is normalised, the scale and the shift.
pub(super) fn layer_norm(rows: usize, columns: usize) -> Result<Workload> {
    let b = Builder::new("layer_norm");
    let norm = LayerNorm::new(&b.root(), "norm", (columns,), 1e-5);
    let step = b.entry("step", Mode::Train);
    let [x, weights] = ["x", "weights"].map(|name| step.input(name, F32, (rows, columns)));
    let loss = (norm.forward(x) * weights).sum(..);
    let [by_x] = loss.gradient([x]);
    let [by_scale, by_shift] = loss.gradient([norm.weight, norm.bias]);
    step.output("loss", loss);
    step.output("by_x", by_x);
    step.output("by_scale", by_scale);
    step.output("by_shift", by_shift);
    let floats = ["x", "weights"].map(|name| (name, normal(name, &[rows, columns])));
    Ok(Workload { program: b.finish()?, floats: floats.into(), classes: Vec::new() })
}

/// Adam without the correction of its first steps, in place.
pub(super) fn adam_update(count: usize) -> Result<Workload> {
    let b = Builder::new("adam_update");
    let unit = || Init::Uniform { low: 0.0, high: 1.0 };
    let [parameter, first, second] =
        ["parameter", "first", "second"].map(|name| b.state(name, F32, (count,), unit()));
    let step = b.entry("step", Mode::Train);
    let gradient = step.input("gradient", F32, (count,));
    let first_moment = step.read(first) * 0.9 + gradient * 0.1;
    let second_moment = step.read(second) * 0.999 + gradient.square() * 0.001;
    step.update(
        parameter,
        step.read(parameter) - first_moment * 1e-3 / (second_moment.sqrt() + 1e-8),
    );
    step.update(first, first_moment);
    step.update(second, second_moment);
    let floats = vec![("gradient", uniform("gradient", &[count]))];
    Ok(Workload { program: b.finish()?, floats, classes: Vec::new() })
}

/// A convolution with the gradients by what is convolved and by the kernels.
pub(super) fn convolution(batch: usize, channels: usize, side: usize) -> Result<Workload> {
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
