//! Normalisation.

use kilngrad::prelude::*;

use super::{Call, One, lengths_of};

pub(super) const ROWS: &[(&str, One)] = &[
    ("layer_norm", |c| {
        // Along the axes that the weight has.
        let rank = lengths_of(c.named("weight").unwrap()).len() as isize;
        let axes: Vec<isize> = (-rank..0).collect();
        affine(c, c.x(0).layer_norm(&axes[..], c.number("eps")))
    }),
    ("group_norm", |c| {
        let groups = usize::try_from(c.integer("num_groups")).unwrap();
        channelwise(c, c.x(0).group_norm(groups, c.number("eps")))
    }),
    ("instance_norm", |c| channelwise(c, c.x(0).instance_norm(c.number("eps")))),
    ("batch_norm", |c| {
        let normal = match (c.named("mean"), c.named("var")) {
            (Some(mean), Some(var)) if !c.flag("training") => {
                c.x(0).batch_norm_with(mean, var, c.number("eps"))
            }
            _ => c.x(0).batch_norm(c.number("eps")),
        };
        channelwise(c, normal)
    }),
    ("cosine_similarity", |c| {
        c.x(0).cosine_similarity(c.x(1), c.integer("dim"), c.number_or("eps", 1e-8))
    }),
    ("rms_norm", |c| affine(c, c.x(0).rms_norm(-1, c.number("eps")))),
];

/// Times the weight, plus the bias, where the call has them.
fn affine<'b>(call: &Call<'_, 'b>, x: Tensor<'b>) -> Tensor<'b> {
    let scaled = call.named("weight").map_or(x, |weight| x * weight);
    call.named("bias").map_or(scaled, |bias| scaled + bias)
}

/// Times the weight of each channel, plus its bias, where the call has them.
fn channelwise<'b>(call: &Call<'_, 'b>, x: Tensor<'b>) -> Tensor<'b> {
    let scaled = call.named("weight").map_or(x, |weight| x * x.a_channel(weight));
    call.named("bias").map_or(scaled, |bias| scaled + x.a_channel(bias))
}
