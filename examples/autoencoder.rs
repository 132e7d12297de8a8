//! An autoencoder on handwritten digits: 64 pixels in 16 numbers, and back.
//!
//! `cargo run --release --example autoencoder` writes `pairs.png`: a row of test images above a row
//! of what their codes give, twice.

#![allow(clippy::print_stdout)]

use kilngrad::data::{self, Table};
use kilngrad::prelude::*;
use kilngrad::{plot, trainer::Trainer};
use ndarray::{Axis, concatenate};

const CODE: usize = 16;

fn declare() -> Result<Program> {
    let b = Builder::new("autoencoder");
    let (n, net) = (b.dim("n"), b.scope("net"));
    let dense = |name, inputs, outputs| Dense::new(&net, name, inputs, outputs);
    let encoder = [dense("e0", 64, 64), dense("e1", 64, CODE)];
    let decoder = [dense("d0", CODE, 64), dense("d1", 64, 64)];
    for (name, mode) in [("train", Mode::Train), ("reconstruct", Mode::Eval)] {
        let e = b.entry(name, mode);
        let x = e.input("x", F32, (n, 64));
        let code = encoder[1].forward(encoder[0].forward(x).relu());
        let again = decoder[1].forward(decoder[0].forward(code).relu());
        let loss = again.mse_loss(x);
        e.output("loss", loss);
        match mode {
            Mode::Train => e.minimize(loss, b.params("net"), Adam::new(2e-3)),
            Mode::Eval => e.output("images", again),
        }
    }
    Ok(b.finish()?)
}

fn main() -> Result<()> {
    let (train, test) = data::digits()?.split_every(5);
    let mut exe = declare()?.compile(&Options::new().seed(1))?;
    Trainer::new(&mut exe, "train").epochs(60).run(&Table::from(train))?;

    let outputs = exe.call("reconstruct").feed("x", &test.x).run()?;
    println!("mean square error of test images: {:.4}", outputs.scalar::<f32>("loss")?);
    let again = outputs.view::<f32>("images")?.into_dimensionality().expect("rows of pixels");
    let all = concatenate![Axis(0), test.x, again];
    let rows: Vec<usize> = [0, test.len(), 10, test.len() + 10]
        .into_iter()
        .flat_map(|first| first..first + 10)
        .collect();
    plot::image_grid("pairs.png", all.select(Axis(0), &rows).view(), (8, 8))?;
    println!("pairs.png has test images beside their reconstructions");
    Ok(())
}
