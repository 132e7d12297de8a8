//! The models of `kilngrad train`, as a user would declare them.

use kilngrad::prelude::*;

/// What `kilngrad train` accepts.
pub(crate) const NAMES: [&str; 1] = ["mlp"];

/// A dense network for the handwritten digits.
struct Mlp {
    hidden: Dense,
    head: Dense,
}

impl Mlp {
    const DESCRIPTION: &str = "digits 64-64-10, relu, Adam with learning rate 0.003";

    fn new(scope: &Scope) -> Mlp {
        Mlp { hidden: Dense::new(scope, "hidden", 64, 64), head: Dense::new(scope, "head", 64, 10) }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.head.forward(self.hidden.forward(x).relu())
    }
}

/// A model ready to be trained: a program with the entries `train` (a step: inputs `x` and `y`,
/// output `loss`) and `evaluate` (the same inputs, outputs `loss` and `accuracy`).
pub(crate) struct Model {
    pub(crate) program: Program,
    pub(crate) description: &'static str,
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
}

/// The model called `name`, which is one of [`NAMES`].
pub(crate) fn model(name: &str, float: DType) -> Result<Model> {
    match name {
        "mlp" => mlp(float),
        _ => Err(Error::new(ErrorKind::Name, format!("no model is called {name:?}"))),
    }
}

/// The dense network on the digits.
fn mlp(float: DType) -> Result<Model> {
    let b = Builder::new("digits").with_float(float);
    let n = b.dim("n");
    let net = Mlp::new(&b.scope("net"));

    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
    let loss = net.forward(x).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(3e-3));
    train.output("loss", loss);

    let evaluate = b.entry("evaluate", Mode::Eval);
    let (x, y) = (evaluate.input("x", F32, (n, 64)), evaluate.input("y", I64, (n,)));
    let logits = net.forward(x);
    evaluate.output("loss", logits.cross_entropy(y));
    evaluate.output("accuracy", logits.argmax(-1).eq(y).cast(F32).mean(..));
    Ok(Model { program: b.finish()?, description: Mlp::DESCRIPTION, batch: 32, epochs: 30 })
}
