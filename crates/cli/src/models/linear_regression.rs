//! Linear regression: `y = x·w + b` with the least mean square of errors.

use kilngrad::data::{self, Table};
use kilngrad::prelude::*;

use crate::models::standardise::Standardise;
use crate::models::{Column, Common, Declare, Model};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let rows = common.rows(|| Ok(Table::from(data::diabetes()?)), common.float())?;
        let b = common.builder("linear regression");
        let n = b.dim("n");
        let scale = Standardise::new(&b.scope("scale"), &rows)?;
        let line = Dense::new(&b.scope("model"), "line", scale.columns, 1);
        for (name, mode) in [("train", Mode::Train), ("evaluate", Mode::Eval)] {
            let e = b.entry(name, mode);
            let (x, t) = (e.input("x", F32, (n, scale.columns)), e.input("y", F32, (n,)));
            let y = line.forward(scale.forward(x)).squeeze(-1);
            let loss = y.mse_loss(t);
            e.output("loss", loss);
            match mode {
                Mode::Train => e.minimize(loss, b.params("model"), Sgd::new(0.1).momentum(0.9)),
                Mode::Eval => e.output("r2", y.r2_score(t)),
            }
        }
        let e = b.entry("predict", Mode::Eval);
        let x = e.input("x", F32, (n, scale.columns));
        e.output("y", line.forward(scale.forward(x)).squeeze(-1));
        let description = "y = x·w + b, mean square error, gradient descent with momentum 0.9";
        let model =
            Model::new(b.finish()?, description.into(), &rows, Column::test("test R²", "r2"));
        // Descent along the whole gradient: each step sees all rows.
        Ok(Model { batch: model.train.rows(), epochs: 300, ..model })
    }
}
