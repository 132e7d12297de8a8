//! Losses.

use kilngrad::prelude::*;

use super::{Call, One};

pub(super) const ROWS: &[(&str, One)] = &[
    ("mse_loss", |c| c.x(0).mse_loss_with(c.x(1), reduction(c))),
    ("l1_loss", |c| c.x(0).l1_loss_with(c.x(1), reduction(c))),
    ("huber_loss", |c| c.x(0).huber_loss_with(c.x(1), c.number("delta"), reduction(c))),
    ("binary_cross_entropy", |c| c.x(0).bce_loss_with(c.x(1), reduction(c))),
    ("binary_cross_entropy_with_logits", |c| c.x(0).bce_with_logits_with(c.x(1), reduction(c))),
    ("nll_loss", |c| c.x(0).nll_loss_with(c.x(1), reduction(c))),
    ("kl_div", |c| c.x(0).kl_div_with(c.x(1), reduction(c))),
    ("hinge_embedding_loss", |c| {
        c.x(0).hinge_embedding_loss_with(c.x(1), c.number_or("margin", 1.0), reduction(c))
    }),
    ("cross_entropy", |c| {
        let smoothing = c.number_or("label_smoothing", 0.0);
        let options = CrossEntropy::new().label_smoothing(smoothing).reduction(reduction(c));
        c.x(0).cross_entropy_with(c.x(1), options)
    }),
];

fn reduction(call: &Call<'_, '_>) -> Reduction {
    match call.text("reduction") {
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        "mean" | "" => Reduction::Mean,
        other => panic!("expected a reduction, found {other:?}"),
    }
}
