//! Reductions along axes, and what is computed of them.

use kilngrad::prelude::*;

use super::{Call, One};

pub(super) const ROWS: &[(&str, One)] = &[
    ("sum", |c| along(c, |x, axes| x.sum(axes), |x, axes| x.sum_keepdim(axes))),
    ("mean", |c| along(c, |x, axes| x.mean(axes), |x, axes| x.mean_keepdim(axes))),
    ("prod", |c| along(c, |x, axes| x.prod(axes), |x, axes| x.prod_keepdim(axes))),
    ("amax", |c| along(c, |x, axes| x.max(axes), |x, axes| x.max_keepdim(axes))),
    ("amin", |c| along(c, |x, axes| x.min(axes), |x, axes| x.min_keepdim(axes))),
    ("cumsum", |c| c.x(0).cumsum(c.integer("dim"))),
    ("cumprod", |c| c.x(0).cumprod(c.integer("dim"))),
    ("logsumexp", |c| along(c, |x, axes| x.logsumexp(axes), |x, axes| x.logsumexp_keepdim(axes))),
    ("norm", |c| match c.integer("ord") {
        1 => along(c, |x, axes| x.l1_norm(axes), |x, axes| x.l1_norm_keepdim(axes)),
        2 => along(c, |x, axes| x.l2_norm(axes), |x, axes| x.l2_norm_keepdim(axes)),
        ord => panic!("expected an order of 1 or 2, found {ord}"),
    }),
    ("var", |c| {
        let (axes, correction) = (c.axes("dim"), c.integer("correction") as i64);
        match c.flag("keepdim") {
            true => c.x(0).var_keepdim(&axes[..], correction),
            false => c.x(0).var(&axes[..], correction),
        }
    }),
    ("std", |c| {
        let (axes, correction) = (c.axes("dim"), c.integer("correction") as i64);
        match c.flag("keepdim") {
            true => c.x(0).std_keepdim(&axes[..], correction),
            false => c.x(0).std(&axes[..], correction),
        }
    }),
    ("argmax", |c| kept(c, c.x(0).argmax(c.integer("dim")))),
    ("argmin", |c| kept(c, c.x(0).argmin(c.integer("dim")))),
    ("softmax", |c| c.x(0).softmax(c.integer("dim"))),
    ("log_softmax", |c| c.x(0).log_softmax(c.integer("dim"))),
];

/// A reduction, whose axes disappear or stay.
type Reduce = for<'b> fn(Tensor<'b>, &[isize]) -> Tensor<'b>;

fn along<'b>(call: &Call<'_, 'b>, plain: Reduce, keepdim: Reduce) -> Tensor<'b> {
    let reduce = if call.flag("keepdim") { keepdim } else { plain };
    reduce(call.x(0), &call.axes("dim"))
}

/// The indices with the axis that they are along, where it is kept.
fn kept<'b>(call: &Call<'_, 'b>, indices: Tensor<'b>) -> Tensor<'b> {
    if call.flag("keepdim") { indices.unsqueeze(call.integer("dim")) } else { indices }
}
