//! Functions, their gradients and second derivatives against PyTorch's, in `f64`.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Reference, array, far, interpreter};
use kilngrad_builder::*;
use kilngrad_interp::Array;
use serde_json::Value as Json;

/// What a case computes; `None` for operations that the builder does not have.
#[expect(clippy::too_many_lines, reason = "one arm an operation")]
fn apply<'b>(op: &str, attrs: &Json, x: &[Tensor<'b>]) -> Option<Vec<Tensor<'b>>> {
    let number = |name: &str| attrs[name].as_f64().unwrap();
    let integer = |name: &str| isize::try_from(attrs[name].as_i64().unwrap()).unwrap();
    let integers = |name: &str| -> Vec<isize> {
        let list = attrs[name].as_array().unwrap();
        list.iter().map(|n| isize::try_from(n.as_i64().unwrap()).unwrap()).collect()
    };
    let lengths = |name: &str| -> Vec<usize> {
        integers(name).into_iter().map(|n| usize::try_from(n).unwrap()).collect()
    };
    let keep = attrs["keepdim"].as_bool().unwrap_or(false);
    let reduction = || match attrs["reduction"].as_str() {
        Some("sum") => Reduction::Sum,
        Some("none") => Reduction::None,
        _ => Reduction::Mean,
    };
    let a = x[0];
    let e = a.entry();
    let one = match op {
        "neg" => -a,
        "exp" => a.exp(),
        "expm1" => a.expm1(),
        "log" => a.log(),
        "log1p" => a.log1p(),
        "sqrt" => a.sqrt(),
        "rsqrt" => a.rsqrt(),
        "reciprocal" => a.reciprocal(),
        "square" => a.square(),
        "tanh" => a.tanh(),
        "sigmoid" => a.sigmoid(),
        "softplus" => a.softplus(),
        "silu" => a.silu(),
        "mish" => a.mish(),
        "logsigmoid" => a.logsigmoid(),
        "erf" => a.erf(),
        "abs" => a.abs(),
        "sign" => a.sign(),
        "relu" => a.relu(),
        "hardtanh" => a.hardtanh(-1.0, 1.0),
        "hardsigmoid" => a.hardsigmoid(),
        "hardswish" => a.hardswish(),
        "softsign" => a.softsign(),
        "relu6" => a.relu6(),
        "floor" => a.floor(),
        "ceil" => a.ceil(),
        "round" => a.round(),
        "trunc" => a.trunc(),
        "leaky_relu" => a.leaky_relu(number("negative_slope")),
        "elu" => a.elu(number("alpha")),
        "celu" => a.celu(number("alpha")),
        "selu" => a.selu(),
        "gelu" if attrs["approximate"] == "tanh" => a.gelu_tanh(),
        "gelu" => a.gelu(),
        "clamp" => a.clamp(number("min"), number("max")),
        "prelu" => a.prelu(x[1].reshape((3, 1))),
        "glu" => a.glu(integer("dim")),
        "add" => a + x[1],
        "sub" => a - x[1],
        "mul" => a * x[1],
        "div" => a / x[1],
        "pow" => a.pow(x[1]),
        "maximum" => a.maximum(x[1]),
        "minimum" => a.minimum(x[1]),
        "eq" => a.eq(x[1]),
        "ne" => a.ne(x[1]),
        "lt" => a.lt(x[1]),
        "le" => a.le(x[1]),
        "gt" => a.gt(x[1]),
        "ge" => a.ge(x[1]),
        "remainder" => a.remainder(x[1]),
        "fmod" => a.fmod(x[1]),
        "where" => a.select(x[1], x[2]),
        "sum" if keep => a.sum_keepdim(&integers("dim")[..]),
        "sum" => a.sum(&integers("dim")[..]),
        "mean" if keep => a.mean_keepdim(&integers("dim")[..]),
        "mean" => a.mean(&integers("dim")[..]),
        "amax" if keep => a.max_keepdim(&integers("dim")[..]),
        "amax" => a.max(&integers("dim")[..]),
        "amin" if keep => a.min_keepdim(&integers("dim")[..]),
        "amin" => a.min(&integers("dim")[..]),
        "logsumexp" if keep => a.logsumexp_keepdim(&integers("dim")[..]),
        "logsumexp" => a.logsumexp(&integers("dim")[..]),
        "var" if keep => a.var_keepdim(&integers("dim")[..], integer("correction") as i64),
        "var" => a.var(&integers("dim")[..], integer("correction") as i64),
        "std" if keep => a.std_keepdim(&integers("dim")[..], integer("correction") as i64),
        "std" => a.std(&integers("dim")[..], integer("correction") as i64),
        "norm" if integer("ord") == 1 && keep => a.l1_norm_keepdim(&integers("dim")[..]),
        "norm" if keep => a.l2_norm_keepdim(&integers("dim")[..]),
        "norm" if integer("ord") == 1 => a.l1_norm(&integers("dim")[..]),
        "norm" => a.l2_norm(&integers("dim")[..]),
        "prod" => a.prod(integer("dim")),
        "argmax" if keep => a.argmax(integer("dim")).unsqueeze(integer("dim")),
        "argmin" if keep => a.argmin(integer("dim")).unsqueeze(integer("dim")),
        "argmax" => a.argmax(integer("dim")),
        "argmin" => a.argmin(integer("dim")),
        "softmax" => a.softmax(integer("dim")),
        "log_softmax" => a.log_softmax(integer("dim")),
        "reshape" => a.reshape(lengths("shape")),
        "permute" => a.transpose(&integers("dims")[..]),
        "transpose" => a.swap_axes(integer("dim0"), integer("dim1")),
        "expand" => a.expand(lengths("shape")),
        "roll" => a.roll(integers("dims")[0], lengths("shifts")[0]),
        "slice" => {
            let step = usize::try_from(integer("step")).unwrap();
            a.slice_step(integer("dim"), integer("start")..integer("end"), step)
        }
        "cat" => e.cat(x.iter().copied(), integer("dim")),
        "stack" => e.stack(x.iter().copied(), integer("dim")),
        "split" => {
            let lengths: [usize; 2] = lengths("sizes").try_into().unwrap();
            return Some(a.split(integer("dim"), lengths).to_vec());
        }
        "pad" if attrs["mode"] == "constant" && lengths("pad").len() == 2 => {
            let amounts = lengths("pad");
            a.pad(-1, amounts[0], amounts[1], number("value"))
        }
        "repeat" => {
            let counts = lengths("repeats");
            let missing = counts.len() - a.ty().unwrap().rank();
            let padded = (0..missing).fold(a, |a, _| a.unsqueeze(0));
            padded.repeat::<3>(counts.try_into().unwrap())
        }
        "tril" => a.tril(integer("diagonal") as i64),
        "triu" => a.triu(integer("diagonal") as i64),
        "one_hot" => a.one_hot(usize::try_from(integer("num_classes")).unwrap(), I64),
        "matmul" => a.matmul(x[1]),
        "linear" => a.matmul(x[1].t()) + x[2],
        "mse_loss" => a.mse_loss_with(x[1], reduction()),
        "l1_loss" => a.l1_loss_with(x[1], reduction()),
        "huber_loss" => a.huber_loss_with(x[1], number("delta"), reduction()),
        "binary_cross_entropy" => a.bce_loss_with(x[1], reduction()),
        "binary_cross_entropy_with_logits" => a.bce_with_logits_with(x[1], reduction()),
        "cross_entropy" => {
            let smoothing = attrs["label_smoothing"].as_f64().unwrap_or(0.0);
            let options = CrossEntropy::new().label_smoothing(smoothing).reduction(reduction());
            a.cross_entropy_with(x[1], options)
        }
        "nll_loss" => a.nll_loss_with(x[1], reduction()),
        "kl_div" => a.kl_div_with(x[1], reduction()),
        "layer_norm" => {
            let axes: Vec<isize> = (1..=x[1].ty().unwrap().rank() as isize).map(|n| -n).collect();
            a.layer_norm(&axes[..], number("eps")) * x[1] + x[2]
        }
        "rms_norm" => a.rms_norm(-1, number("eps")) * x[1],
        _ => return None,
    };
    Some(vec![one])
}

/// Sums of products with the tensors under `prefix`, added up.
fn weighted<'b>(tensors: &[Tensor<'b>], weights: &[Tensor<'b>]) -> Tensor<'b> {
    let products = tensors.iter().zip(weights).map(|(tensor, weight)| (*tensor * *weight).sum(..));
    products.reduce(|sum, product| sum + product).unwrap()
}

/// Builds a case with its gradients, and gives the inputs that it is fed with the expected outputs.
fn run(case: &Json, tensors: &safetensors::SafeTensors<'_>, failures: &mut Vec<String>) -> bool {
    let name = case["name"].as_str().unwrap();
    let b = Builder::new(name);
    let e = b.entry("run", Mode::Eval);
    let mut feeds: Vec<(String, Array)> = Vec::new();
    let mut expected: Vec<(String, Array)> = Vec::new();
    let feed = |word: String, key: String, feeds: &mut Vec<(String, Array)>| {
        let array = array(tensors, &format!("{name}/{key}"));
        let input = e.input(&word, array.dtype(), array.shape());
        feeds.push((word, array));
        input
    };
    let (mut inputs, mut sources, mut source_names) = (Vec::new(), Vec::new(), Vec::new());
    for input in case["inputs"].as_array().unwrap() {
        let input_name = input["name"].as_str().unwrap();
        let tensor = feed(format!("in_{input_name}"), format!("in/{input_name}"), &mut feeds);
        inputs.push(tensor);
        if input["grad"].as_bool().unwrap_or(false) {
            sources.push(tensor);
            source_names.push(input_name);
        }
    }
    let Some(outputs) = apply(case["op"].as_str().unwrap(), &case["attrs"], &inputs) else {
        return false;
    };
    for (index, output) in outputs.iter().enumerate() {
        e.output(&format!("out_{index}"), *output);
        expected.push((format!("out_{index}"), array(tensors, &format!("{name}/out/{index}"))));
    }
    if case["grad"].as_bool().unwrap() {
        let cotangents: Vec<Tensor<'_>> = (0..outputs.len())
            .map(|index| feed(format!("ct_{index}"), format!("cotangent/{index}"), &mut feeds))
            .collect();
        let gradients = differentiate(weighted(&outputs, &cotangents), &sources, false);
        for (gradient, source) in gradients.iter().zip(&source_names) {
            e.output(&format!("grad_{source}"), *gradient);
            let array = array(tensors, &format!("{name}/grad/{source}"));
            expected.push((format!("grad_{source}"), array));
        }
        if case["hvp"].as_bool().unwrap() {
            let mut directions = Vec::new();
            for source in &source_names {
                let key = format!("hvp_direction/{source}");
                directions.push(feed(format!("dir_{source}"), key, &mut feeds));
            }
            let seconds = differentiate(weighted(&gradients, &directions), &sources, true);
            for (second, source) in seconds.iter().zip(&source_names) {
                e.output(&format!("hvp_{source}"), *second);
                let array = array(tensors, &format!("{name}/hvp/{source}"));
                expected.push((format!("hvp_{source}"), array));
            }
        }
    }
    let program = b.finish().unwrap_or_else(|errors| panic!("{name}\n{errors}"));
    let mut interpreter = interpreter(&program);
    let feeds = feeds.iter().map(|(word, array)| (word.as_str(), array.clone()));
    let found = interpreter.call("run", feeds).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (key, expected) in expected {
        // PyTorch's gradient of hardsigmoid multiplies by 1/6 rounded to `f32`, whatever the dtype:
        // its results are off by a factor of 1 + 2.98e-8.
        let rounded = name.starts_with("hardsigmoid") && key.starts_with("grad");
        let rtol = if rounded { 3e-8 } else { 1e-9 };
        let far = far(&found[key.as_str()], &expected, rtol, 1e-10);
        failures.extend(far.map(|far| format!("{name} {key}: {far}")));
    }
    true
}

/// Gradients by a number of sources that is not known to the compiler.
fn differentiate<'b>(loss: Tensor<'b>, sources: &[Tensor<'b>], or_zero: bool) -> Vec<Tensor<'b>> {
    // Each source is asked for by itself: an array's length is part of its type.
    let one = |source: &Tensor<'b>| match or_zero {
        true => loss.gradient_or_zero([*source])[0],
        false => loss.gradient([*source])[0],
    };
    sources.iter().map(one).collect()
}

#[test]
fn functions_agree_with_the_reference() {
    let reference = Reference::open("ops");
    let tensors = reference.tensors();
    let cases = reference.json["cases"].as_array().unwrap();
    let mut failures = Vec::new();
    let count = cases.iter().filter(|case| run(case, &tensors, &mut failures)).count();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{count} of {} cases", cases.len());
    assert!(count > 150 || std::env::var_os("KILNGRAD_REFERENCE").is_some());
}
