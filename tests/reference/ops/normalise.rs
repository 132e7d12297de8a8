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
    ("rms_norm", |c| affine(c, c.x(0).rms_norm(-1, c.number("eps")))),
];

/// Times the weight, plus the bias, where the call has them.
fn affine<'b>(call: &Call<'_, 'b>, x: Tensor<'b>) -> Tensor<'b> {
    let scaled = call.named("weight").map_or(x, |weight| x * weight);
    call.named("bias").map_or(scaled, |bias| scaled + bias)
}
