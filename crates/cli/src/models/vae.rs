//! A variational autoencoder, after Kingma and Welling (2014): an image is encoded as a normal
//! distribution of codes, and codes that are normal decode to digits.

use std::path::PathBuf;

use kilngrad::prelude::*;
use ndarray::Array2;

use crate::models::model::Show;
use crate::models::{Column, Common, Declare, Model, pictures};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Numbers that an image becomes.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = pictures::code())]
    code: usize,
    /// The picture of samples.
    #[arg(long, value_name = "FILE.png", default_value = "vae.png")]
    samples: PathBuf,
    /// The picture of the plane of the first two numbers of a code.
    #[arg(long, value_name = "FILE.png", default_value = "vae-plane.png")]
    plane: PathBuf,
}

const HIDDEN: usize = 256;

struct Vae {
    encoder: Dense,
    mean: Dense,
    log_var: Dense,
    hidden: Dense,
    out: Dense,
}

impl Vae {
    fn new(scope: &Scope, code: usize) -> Vae {
        Vae {
            encoder: Dense::new(scope, "encoder", 64, HIDDEN),
            mean: Dense::new(scope, "mean", HIDDEN, code),
            log_var: Dense::new(scope, "log_var", HIDDEN, code),
            hidden: Dense::new(scope, "hidden", code, HIDDEN),
            out: Dense::new(scope, "out", HIDDEN, 64),
        }
    }

    /// Mean and logarithm of the variance of an image's codes.
    fn encode<'b>(&self, x: Tensor<'b>) -> (Tensor<'b>, Tensor<'b>) {
        let hidden = self.encoder.forward(x).relu();
        (self.mean.forward(hidden), self.log_var.forward(hidden))
    }

    /// Logits of the pixels.
    fn decode<'b>(&self, code: Tensor<'b>) -> Tensor<'b> {
        self.out.forward(self.hidden.forward(code).relu())
    }

    /// Minus the evidence lower bound, an image, with codes drawn by way of normal numbers.
    fn loss<'b>(&self, x: Tensor<'b>, normal: Tensor<'b>) -> Tensor<'b> {
        let (mean, log_var) = self.encode(x);
        let logits = self.decode(mean + (log_var * 0.5).exp() * normal);
        let reconstruction = logits.bce_with_logits_with(x, Reduction::None).sum(-1);
        let divergence = (mean.square() + log_var.exp() - log_var - 1.0).sum(-1) * 0.5;
        (reconstruction + divergence).mean(..)
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let b = common.builder("vae");
        let n = b.dim("n");
        let vae = Vae::new(&b.scope("vae"), self.code);

        let e = b.entry("train", Mode::Train);
        let loss = vae.loss(e.input("x", F32, (n, 64)), e.normal("code", (n, self.code)));
        e.minimize(loss, b.params("vae"), Adam::new(2e-3));
        e.output("loss", loss);

        let e = b.entry("evaluate", Mode::Eval);
        e.output("loss", vae.loss(e.input("x", F32, (n, 64)), e.input("z", F32, (n, self.code))));

        let e = b.entry("sample", Mode::Eval);
        e.output("images", vae.decode(e.input("z", F32, (n, self.code))).sigmoid());
        let e = b.entry("encode", Mode::Eval);
        e.output("code", vae.encode(e.input("x", F32, (n, 64))).0);

        let description = format!(
            "digits 64-{HIDDEN}-({code},{code})-{HIDDEN}-64, relu, cross-entropy and divergence, Adam",
            code = self.code
        );
        let bound = Column::test("test −ELBO", "loss");
        let model = Model::new(b.finish()?, description, &common.digits()?, bound);
        let z = pictures::normal("test", (model.test.rows(), self.code));
        let z = pictures::codes(z, common.float())?;
        let test = model.test.with("z", z.column("z")?.clone())?;
        Ok(Model {
            test,
            epochs: 150,
            columns: vec![Column { title: "train −ELBO", ..Column::TRAIN_LOSS }, bound],
            show: Some(self.show(common.float())?),
            ..model
        })
    }
}

impl Args {
    fn show(&self, float: DType) -> Result<Show> {
        const SIDE: usize = 15;
        let samples = pictures::samples(&self.samples, self.code, float)?;
        // Places of equal probability from left to right and from top to bottom.
        let place = |at: usize| quantile((at as f64 + 0.5) / SIDE as f64) as f32;
        let plane =
            Array2::from_shape_fn((SIDE * SIDE, self.code), |(image, number)| match number {
                0 => place(image % SIDE),
                1 => place(image / SIDE),
                _ => 0.0,
            });
        let (plane, path) = (pictures::codes(plane, float)?, self.plane.clone());
        Ok(Box::new(move |predict| {
            let mut lines = samples(predict)?;
            let images = pictures::rows(&predict("sample", &plane)?["images"])?;
            pictures::write(&path, &images)?;
            lines.push(format!("{path:?} has the plane of the first two numbers of a code"));
            Ok(lines)
        }))
    }
}

/// Nearly where a standard normal number is less with probability `p`: the logistic distribution's, which
/// a picture does not tell from it.
fn quantile(p: f64) -> f64 {
    (p / (1.0 - p)).ln() / 1.702
}
