//! The models of the traces, declared with the builder.
//!
//! They are declared in `f32`; [`Builder::with_float`] makes them `f64`.

use kilngrad::Array;
use kilngrad::prelude::*;
use serde_json::Value as Json;

/// The parameters of a trace by name, declared in the order of the file.
pub(crate) struct Weights(pub(crate) Vec<(String, Param)>);

impl Weights {
    fn get(&self, name: &str) -> Param {
        self.0.iter().find(|(key, _)| key == name).unwrap().1
    }

    /// `x·weightᵀ + bias`, as PyTorch keeps dense layers.
    fn linear<'b>(&self, x: Tensor<'b>, name: &str) -> Tensor<'b> {
        let weight = x.entry().read(self.get(&format!("{name}_weight")));
        x.matmul(weight.t()) + self.get(&format!("{name}_bias"))
    }

    /// What the last of the recurrent layers gives in the last step, from zeros.
    fn recurrent<'b>(&self, model: &str, xs: Tensor<'b>) -> Tensor<'b> {
        let (mut ys, mut last) = (xs, xs);
        for layer in 0.. {
            let of = |name: &str| {
                let name = format!("r_{name}_l{layer}");
                self.0.iter().find(|(key, _)| *key == name).map(|(_, param)| *param)
            };
            let Some(input) = of("weight_ih") else { break };
            let biases = of("bias_ih").zip(of("bias_hh")).map(<[Param; 2]>::from);
            let weights = CellWeights { input, recurrent: of("weight_hh").unwrap(), biases };
            let hidden = xs.entry().read(weights.recurrent).length(1);
            let zeros = xs.entry().zeros(F32, (xs.length(1), hidden));
            let ([h, _], all) = ys.scan([zeros, zeros], |[h, c], x| {
                let (h, c) = match model {
                    "simple_rnn" => (x.rnn_cell(h, &weights), c),
                    "gru" => (x.gru_cell(h, &weights), c),
                    _ => x.lstm_cell((h, c), &weights),
                };
                ([h, c], h)
            });
            (ys, last) = (all, h);
        }
        last
    }

    fn conv<'b>(&self, x: Tensor<'b>, name: &str, options: Conv) -> Tensor<'b> {
        let maps = x.conv2d(self.get(&format!("{name}_weight")), options);
        maps + maps.a_channel(self.get(&format!("{name}_bias")))
    }

    fn norm<'b>(&self, x: Tensor<'b>, name: &str) -> Tensor<'b> {
        let normal = x.layer_norm(-1, 1e-5) * self.get(&format!("{name}_weight"));
        normal + self.get(&format!("{name}_bias"))
    }
}

fn optimizer<'b>(json: &Json) -> Optimizer<'b> {
    let number = |name: &str| json[name].as_f64().unwrap();
    let lr = number("lr");
    match json["kind"].as_str().unwrap() {
        "sgd" => {
            let sgd = Sgd::new(lr).momentum(json["momentum"].as_f64().unwrap_or(0.0));
            match json["nesterov"].as_bool() {
                Some(true) => sgd.nesterov().into(),
                _ => sgd.into(),
            }
        }
        "adagrad" => Adagrad::new(lr).eps(number("eps")).into(),
        "rmsprop" => RmsProp::new(lr).alpha(number("alpha")).eps(number("eps")).into(),
        "adadelta" => Adadelta::new(lr).rho(number("rho")).eps(number("eps")).into(),
        kind @ ("adam" | "adamw") => {
            let beta = |index: usize| json["betas"][index].as_f64().unwrap();
            let (beta1, beta2, eps) = (beta(0), beta(1), number("eps"));
            if kind == "adamw" {
                let decay = number("weight_decay");
                AdamW::new(lr).betas(beta1, beta2).eps(eps).weight_decay(decay).into()
            } else {
                Adam::new(lr).betas(beta1, beta2).eps(eps).into()
            }
        }
        other => panic!("unexpected optimizer {other}"),
    }
}

/// The loss of a model that the builder can express; `None` for the others.
fn loss<'b>(model: &str, w: &Weights, data: &[(String, Tensor<'b>)]) -> Option<Tensor<'b>> {
    let get = |name: &str| data.iter().find(|(key, _)| key == name).unwrap().1;
    let x = get("x");
    let affine = |x: Tensor<'b>, weight: &str, bias: &str| x.matmul(w.get(weight)) + w.get(bias);
    let e = x.entry();
    Some(match model {
        "linear_regression" => {
            (affine(x, "w", "b") - get("t")).square().sum(..) / e.length(x.length(0), F32) / 2
        }
        "logistic_regression" => affine(x, "w", "b").bce_with_logits(get("t")),
        "logistic_regression_l2" => {
            let penalty = e.read(w.get("w")).square().sum(..) * 0.01;
            affine(x, "w", "b").bce_with_logits(get("t")) + penalty
        }
        "logistic_regression_l1" => {
            let penalty = e.read(w.get("w")).l1_norm(..) * 0.01;
            affine(x, "w", "b").bce_with_logits(get("t")) + penalty
        }
        "mlp_clipped" => {
            let h = w.linear(w.linear(x, "0").tanh(), "2").sigmoid();
            w.linear(h, "4").cross_entropy(get("t"))
        }
        mlp if mlp.starts_with("mlp_") => {
            w.linear(w.linear(x, "0").relu(), "2").cross_entropy(get("t"))
        }
        "autoencoder_linear" => {
            let y = affine(affine(x, "we", "be"), "wd", "bd");
            (y - x).square().sum(..) / e.length(x.length(0), F32) / 2
        }
        "autoencoder" => affine(affine(x, "we", "be").relu(), "wd", "bd").sigmoid().mse_loss(x),
        "vae" => {
            let h = w.linear(x, "e").relu();
            let (mu, lv) = (w.linear(h, "m"), w.linear(h, "v"));
            let z = mu + get("eps") * (lv / 2).exp();
            let r = w.linear(w.linear(z, "d1").relu(), "d2");
            let fit = r.bce_with_logits_with(x, Reduction::Sum);
            let divergence = (1 + lv - mu.square() - lv.exp()).sum(..) * 0.5;
            (fit - divergence) / e.length(x.length(0), F32)
        }
        "cnn" => {
            let x = x.reshape((x.length(0), 1, 8, 8));
            let h = w.conv(x, "0", Conv::new()).relu().max_pool2d(2, Pool::new());
            let h = w.conv(h, "3", Conv::new()).relu().flatten(1, -1);
            w.linear(w.linear(h, "6").relu(), "8").cross_entropy(get("t"))
        }
        "cnn_batchnorm" => {
            let x = x.reshape((x.length(0), 1, 8, 8));
            let h = x.conv2d(w.get("0_weight"), Conv::new().padding(1)).batch_norm(1e-5);
            let [scale, shift] = ["1_weight", "1_bias"].map(|name| h.a_channel(w.get(name)));
            let h = (h * scale + shift).leaky_relu(0.2).avg_pool2d(2, Pool::new());
            let h = w.conv(h, "4", Conv::new().stride(2).padding(1)).relu().flatten(1, -1);
            w.linear(h, "7").cross_entropy(get("t"))
        }
        "transformer" => {
            let x = x.reshape((x.length(0), 8, 8));
            let mut h = w.linear(x, "i") + w.get("pos");
            let heads =
                |part: Tensor<'b>| part.reshape((part.length(0), 8, 2, 8)).transpose([0, 2, 1, 3]);
            let qkv = w.linear(w.norm(h, "n1"), "qkv");
            let [q, k, v] = qkv.split(-1, [16, 16, 16]).map(heads);
            let scores = q.matmul(k.t()) / 8f64.sqrt();
            let causal = e.ones(F32, (8, 8)).tril(0).gt(0.5);
            let weights = causal.select(scores, f64::NEG_INFINITY).softmax(-1);
            let mixed = weights.matmul(v).transpose([0, 2, 1, 3]);
            h = h + w.linear(mixed.reshape((mixed.length(0), 8, 16)), "o");
            let inner = w.linear(w.norm(h, "n2"), "f1").gelu();
            h = h + w.linear(inner, "f2");
            w.linear(w.norm(h, "nf").mean(1), "h").cross_entropy(get("t"))
        }
        "simple_rnn" | "gru" | "lstm_stack" | "lstm_stack3" => {
            let last = w.recurrent(model, steps(x));
            w.linear(last, "o").cross_entropy(get("t"))
        }
        "gated_rnn" => {
            let target = get("t").remainder(2).cast(F32).unsqueeze(-1);
            let zeros = e.zeros(F32, (x.length(0), 6));
            let (_, ys) = steps(x).scan(zeros, |h, x| {
                let e = h.entry();
                let hx = e.cat([h, x], -1);
                let g = affine(hx, "w1", "b1").sigmoid();
                let c = affine(hx, "w2", "b2").sigmoid();
                let h = affine(e.cat([g, c], -1), "w3", "b3").tanh();
                (h, affine(e.cat([h, c], -1), "wy", "by").sigmoid())
            });
            (ys - target).square().sum(..) / e.length(x.length(0), F32) / 2
        }
        _ => return None,
    })
}

/// Rows of digits as sequences of eight steps, time first.
fn steps(x: Tensor<'_>) -> Tensor<'_> {
    x.reshape((x.length(0), 8, 8)).transpose([1, 0, 2])
}

/// Builds the entry of a trace; whether the model is one that the builder can express.
pub(crate) fn declare(
    trace: &Json,
    e: Entry<'_>,
    w: &Weights,
    data: &[(String, Array)],
    batch: bool,
) -> bool {
    let model = trace["name"].as_str().unwrap();
    let inputs: Vec<(String, Tensor<'_>)> = data
        .iter()
        .map(|(name, array)| {
            let shape = &array.shape()[usize::from(batch)..];
            let dtype = if array.dtype().is_float() { F32 } else { array.dtype() };
            (name.clone(), e.input(name, dtype, shape))
        })
        .collect();
    let params = || Params::from(w.0.iter().map(|(_, param)| *param).collect::<Vec<Param>>());
    match model {
        "gan" => {
            gan(trace, e, w, &inputs, generated, judged);
            return true;
        }
        "gan_conv" => {
            gan(trace, e, w, &inputs, generated_images, judged_images);
            return true;
        }
        _ => {}
    }
    let Some(loss) = loss(model, w, &inputs) else { return false };
    e.output("loss", loss);
    if model == "mlp_clipped" {
        let gradients = e.gradients(loss, params());
        let clipped = e.clip_grad_norm(&gradients, 0.1);
        e.apply_gradients(params(), &clipped, optimizer(&trace["optimizer"]));
    } else {
        e.minimize(loss, params(), optimizer(&trace["optimizer"]));
    }
    true
}

/// A player: what the parameters make of a tensor.
type Player = for<'b> fn(&Weights, Tensor<'b>) -> Tensor<'b>;

fn generated<'b>(w: &Weights, z: Tensor<'b>) -> Tensor<'b> {
    w.linear(w.linear(z, "g_0").relu(), "g_2").sigmoid()
}

fn judged<'b>(w: &Weights, x: Tensor<'b>) -> Tensor<'b> {
    w.linear(w.linear(x, "d_0").leaky_relu(0.2), "d_2")
}

fn generated_images<'b>(w: &Weights, z: Tensor<'b>) -> Tensor<'b> {
    let up = |x: Tensor<'b>, name: &str| {
        let weight = w.get(&format!("{name}_weight"));
        let maps = x.conv_transpose2d(weight, ConvTranspose::new().stride(2).padding(1));
        maps + maps.a_channel(w.get(&format!("{name}_bias")))
    };
    let weight = z.entry().read(w.get("g_0_weight"));
    let h = z.matmul(weight.t()).reshape((z.length(0), 16, 2, 2)).leaky_relu(0.2);
    up(up(h, "g_3").leaky_relu(0.2), "g_5").sigmoid()
}

fn judged_images<'b>(w: &Weights, x: Tensor<'b>) -> Tensor<'b> {
    let x = x.reshape((x.length(0), 1, 8, 8));
    let h = w.conv(x, "d_1", Conv::new().stride(2).padding(1)).leaky_relu(0.2);
    w.linear(h.flatten(1, -1), "d_4")
}

/// Both players step in one entry, the generator against the discriminator's new parameters.
fn gan(
    trace: &Json,
    e: Entry<'_>,
    w: &Weights,
    inputs: &[(String, Tensor<'_>)],
    generate: Player,
    judge: Player,
) {
    let get = |name: &str| inputs.iter().find(|(key, _)| key == name).unwrap().1;
    let params = |prefix: &str| {
        let of = w.0.iter().filter(|(name, _)| name.starts_with(prefix));
        Params::from(of.map(|(_, param)| *param).collect::<Vec<Param>>())
    };
    let fake = generate(w, get("z"));
    let against_fake = judge(w, fake.stop_gradient()).bce_with_logits(0.0);
    let loss = judge(w, get("x")).bce_with_logits(1.0) + against_fake;
    e.minimize(loss, params("d_"), optimizer(&trace["optimizer"]));
    e.output("loss", loss);
    let loss = judge(w, fake).bce_with_logits(1.0);
    e.minimize(loss, params("g_"), optimizer(&trace["optimizer"]));
    e.output("generator_loss", loss);
}
