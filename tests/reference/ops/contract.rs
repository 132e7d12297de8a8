//! Matrix products and their kin.

use kilngrad::prelude::*;

use super::One;

pub(super) const ROWS: &[(&str, One)] = &[
    ("matmul", |c| c.x(0).matmul(c.x(1))),
    ("einsum", |c| {
        let operands = c.inputs.iter().map(|input| input.1);
        c.x(0).entry().einsum(c.text("equation"), operands)
    }),
    ("baddbmm", |c| {
        c.x(0).baddbmm(c.x(1), c.x(2), c.number_or("beta", 1.0), c.number_or("alpha", 1.0))
    }),
    ("scaled_dot_product_attention", |c| {
        let mut options = Attention::new().causal(c.flag("is_causal"));
        if let Some(mask) = c.named("mask") {
            options = options.mask(mask);
        }
        c.x(0).attention_with(c.x(1), c.x(2), options)
    }),
    ("linear", |c| {
        let product = c.x(0).matmul(c.x(1).t());
        c.named("bias").map_or(product, |bias| product + bias)
    }),
];
