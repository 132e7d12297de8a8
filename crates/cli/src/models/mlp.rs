//! A dense network for the handwritten digits.

use clap::ValueEnum;
use kilngrad::prelude::*;

use crate::models::{Column, Common, Declare, Model};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What updates the weights.
    #[arg(long, value_enum, default_value_t = Rule::Adam)]
    optimizer: Rule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// Gradient descent.
    Sgd,
    /// With momentum 0.9.
    Momentum,
    /// With Nesterov's momentum 0.9.
    Nesterov,
    Adagrad,
    Adadelta,
    Rmsprop,
    Adam,
    /// Adam with decay of weights 0.01.
    Adamw,
}

impl Rule {
    /// Its name, and a rate that suits the digits.
    fn called(self) -> (&'static str, f64) {
        match self {
            Rule::Sgd => ("SGD", 0.3),
            Rule::Momentum => ("SGD with momentum", 0.05),
            Rule::Nesterov => ("SGD with Nesterov's momentum", 0.05),
            Rule::Adagrad => ("AdaGrad", 0.05),
            Rule::Adadelta => ("AdaDelta", 1.0),
            Rule::Rmsprop => ("RMSprop", 0.002),
            Rule::Adam => ("Adam", 0.003),
            Rule::Adamw => ("AdamW", 0.003),
        }
    }

    fn optimizer<'b>(self) -> Optimizer<'b> {
        let (_, rate) = self.called();
        match self {
            Rule::Sgd => Sgd::new(rate).into(),
            Rule::Momentum => Sgd::new(rate).momentum(0.9).into(),
            Rule::Nesterov => Sgd::new(rate).momentum(0.9).nesterov().into(),
            Rule::Adagrad => Adagrad::new(rate).into(),
            Rule::Adadelta => Adadelta::new(rate).into(),
            Rule::Rmsprop => RmsProp::new(rate).into(),
            Rule::Adam => Adam::new(rate).into(),
            Rule::Adamw => AdamW::new(rate).into(),
        }
    }
}

struct Mlp {
    hidden: Dense,
    head: Dense,
}

impl Mlp {
    fn new(scope: &Scope) -> Mlp {
        Mlp { hidden: Dense::new(scope, "hidden", 64, 64), head: Dense::new(scope, "head", 64, 10) }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.head.forward(self.hidden.forward(x).relu())
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let b = common.builder("digits");
        let n = b.dim("n");
        let net = Mlp::new(&b.scope("net"));

        let train = b.entry("train", Mode::Train);
        let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
        let loss = net.forward(x).cross_entropy(y);
        train.minimize(loss, b.params("net"), self.optimizer.optimizer());
        train.output("loss", loss);

        let evaluate = b.entry("evaluate", Mode::Eval);
        let (x, y) = (evaluate.input("x", F32, (n, 64)), evaluate.input("y", I64, (n,)));
        let logits = net.forward(x);
        evaluate.output("loss", logits.cross_entropy(y));
        evaluate.output("accuracy", logits.accuracy(y));

        let predict = b.entry("predict", Mode::Eval);
        predict.output("probs", net.forward(predict.input("x", F32, (n, 64))).softmax(-1));
        let (rule, rate) = self.optimizer.called();
        let description = format!("digits 64-64-10, relu, {rule} with learning rate {rate}");
        Ok(Model::new(b.finish()?, description, &common.digits()?, Column::ACCURACY))
    }
}
