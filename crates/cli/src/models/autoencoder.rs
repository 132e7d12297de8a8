//! An autoencoder of the handwritten digits: few numbers that the image is made of again.

use std::path::PathBuf;

use kilngrad::prelude::*;
use ndarray::{Axis, concatenate};

use crate::models::model::Show;
use crate::models::{Column, Common, Declare, Model, Part, pictures};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Numbers that an image becomes.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = pictures::code())]
    code: usize,
    /// One dense layer each way and nothing between: principal components.
    #[arg(long)]
    linear: bool,
    /// The picture: test images, and below each its reconstruction.
    #[arg(long, value_name = "FILE.png", default_value = "autoencoder.png")]
    samples: PathBuf,
}

/// Numbers of the hidden layers.
const HIDDEN: usize = 64;

/// Dense layers with relu between them.
struct Dense2 {
    first: Dense,
    /// None in a linear network.
    second: Option<Dense>,
}

impl Dense2 {
    fn new(scope: &Scope, inputs: usize, outputs: usize, linear: bool) -> Dense2 {
        if linear {
            return Dense2 { first: Dense::new(scope, "only", inputs, outputs), second: None };
        }
        let first = Dense::new(scope, "hidden", inputs, HIDDEN);
        Dense2 { first, second: Some(Dense::new(scope, "out", HIDDEN, outputs)) }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let first = self.first.forward(x);
        self.second.map_or(first, |second| second.forward(first.relu()))
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let b = common.builder("autoencoder");
        let n = b.dim("n");
        let encoder = Dense2::new(&b.scope("net.encoder"), 64, self.code, self.linear);
        let decoder = Dense2::new(&b.scope("net.decoder"), self.code, 64, self.linear);
        for (name, mode) in [("train", Mode::Train), ("evaluate", Mode::Eval)] {
            let e = b.entry(name, mode);
            let x = e.input("x", F32, (n, 64));
            let loss = decoder.forward(encoder.forward(x)).mse_loss(x);
            e.output("mse", loss);
            if mode == Mode::Train {
                e.minimize(loss, b.params("net"), Adam::new(2e-3));
            }
        }
        let e = b.entry("reconstruct", Mode::Eval);
        let code = encoder.forward(e.input("x", F32, (n, 64)));
        e.output("code", code);
        e.output("images", decoder.forward(code));

        let code = self.code;
        let description = match self.linear {
            true => format!("digits 64-{code}-64, linear, mean square error, Adam"),
            false => {
                format!("digits 64-{HIDDEN}-{code}-{HIDDEN}-64, relu, mean square error, Adam")
            }
        };
        let test = Column::test("test MSE", "mse");
        let model = Model::new(b.finish()?, description, &common.digits()?, test);
        let columns = vec![Column { title: "train MSE", part: Part::Training, ..test }, test];
        let show = self.show(&model)?;
        Ok(Model { epochs: 60, columns, show: Some(show), ..model })
    }
}

impl Args {
    /// Rows of ten images, and under each row what is made of its codes.
    fn show(&self, model: &Model) -> Result<Show> {
        let (path, count) = (self.samples.clone(), model.test.rows().min(50));
        let table = model.test.select(&(0..count).collect::<Vec<_>>());
        let originals = pictures::rows(table.column("x")?)?;
        let order: Vec<usize> = (0..count)
            .step_by(10)
            .map(|first| first..(first + 10).min(count))
            .flat_map(|row| row.clone().chain(row.start + count..row.end + count))
            .collect();
        Ok(Box::new(move |predict| {
            let reconstructed = pictures::rows(&predict("reconstruct", &table)?["images"])?;
            let images = concatenate![Axis(0), originals, reconstructed];
            pictures::write(&path, &images.select(Axis(0), &order))?;
            Ok(vec![format!("{path:?} has test images, and below each what its code gives")])
        }))
    }
}
