//! Networks that read the digits row by row: what those of all cells have.

use kilngrad::prelude::*;

use crate::models::sequences::{ROW, sequences};
use crate::models::{Column, Common, Model};

/// Arguments of recurrent networks.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Size {
    /// Numbers of a state.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = least(4096))]
    pub(super) hidden: usize,
}

/// A whole number from 1.
pub(super) fn least(most: u64) -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=most)
}

/// A classifier of sequences `[n, t, 8]` by what a network makes of the last step, `[n, hidden]`, for
/// any `n` and `t`.
pub(super) fn classifier<F>(
    common: &Common,
    description: String,
    hidden: usize,
    declare: impl FnOnce(&Scope<'_>) -> F,
) -> Result<Model>
where
    F: for<'b> Fn(Tensor<'b>) -> Tensor<'b>,
{
    let b = common.builder("recurrent");
    let (n, t) = (b.dim("n"), b.dim("t"));
    let net = b.scope("net");
    let read = declare(&net);
    let head = Dense::new(&net, "head", hidden, 10);

    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, t, ROW)), train.input("y", I64, (n,)));
    let loss = head.forward(read(x)).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(3e-3));
    train.output("loss", loss);

    let evaluate = b.entry("evaluate", Mode::Eval);
    let (x, y) = (evaluate.input("x", F32, (n, t, ROW)), evaluate.input("y", I64, (n,)));
    let logits = head.forward(read(x));
    evaluate.output("loss", logits.cross_entropy(y));
    evaluate.output("accuracy", logits.accuracy(y));

    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, t, ROW));
    predict.output("probs", head.forward(read(x)).softmax(-1));
    let rows = sequences(&common.digits()?)?;
    let model = Model::new(b.finish()?, description, &rows, Column::ACCURACY);
    Ok(Model { epochs: 30, lengths: vec![("t", 8)], ..model })
}
