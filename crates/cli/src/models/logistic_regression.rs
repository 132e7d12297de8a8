//! Logistic regression: `p = 1/(1 + e^−(x·w + b))` with the least cross-entropy.

use clap::ValueEnum;
use kilngrad::data::{self, Table};
use kilngrad::prelude::*;

use crate::models::standardise::Standardise;
use crate::models::{Column, Common, Declare, Model};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What is added to the loss: a norm of the weights [default: nothing].
    #[arg(long, value_enum)]
    penalty: Option<Penalty>,
    /// What the penalty is multiplied by.
    #[arg(long, value_name = "X", default_value_t = 0.01, requires = "penalty")]
    strength: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Penalty {
    /// The sum of absolute values.
    L1,
    /// The sum of squares.
    L2,
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let rows = common.rows(|| Ok(Table::from(data::breast_cancer()?)), common.float())?;
        let b = common.builder("logistic regression");
        let n = b.dim("n");
        let scale = Standardise::new(&b.scope("scale"), &rows)?;
        let line = Dense::new(&b.scope("model"), "line", scale.columns, 1);
        let logits = |x| line.forward(scale.forward(x)).squeeze(-1);

        let train = b.entry("train", Mode::Train);
        let (x, t) = (train.input("x", F32, (n, scale.columns)), train.input("y", F32, (n,)));
        let loss = logits(x).bce_with_logits(t);
        let penalised = match self.penalty {
            None => loss,
            Some(Penalty::L1) => loss + train.l1_penalty(line.weight) * self.strength,
            Some(Penalty::L2) => loss + train.l2_penalty(line.weight) * self.strength,
        };
        train.minimize(penalised, b.params("model"), Sgd::new(0.1).momentum(0.9));
        train.output("loss", loss);

        let evaluate = b.entry("evaluate", Mode::Eval);
        let (x, t) = (evaluate.input("x", F32, (n, scale.columns)), evaluate.input("y", F32, (n,)));
        let found = logits(x);
        evaluate.output("loss", found.bce_with_logits(t));
        evaluate.output("accuracy", found.gt(0.0).eq(t.gt(0.5)).cast(F32).mean(..));

        let predict = b.entry("predict", Mode::Eval);
        let x = predict.input("x", F32, (n, scale.columns));
        predict.output("probability", logits(x).sigmoid());
        let penalty = match self.penalty {
            None => String::new(),
            Some(Penalty::L1) => format!(" + {}·Σ|w|", self.strength),
            Some(Penalty::L2) => format!(" + {}·Σw²", self.strength),
        };
        let description =
            format!("p = sigmoid(x·w + b), cross-entropy{penalty}, gradient descent with momentum");
        Ok(Model::new(b.finish()?, description, &rows, Column::ACCURACY))
    }
}
