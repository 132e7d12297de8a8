//! Matrix products and their kin.

use super::One;

pub(super) const ROWS: &[(&str, One)] = &[
    ("matmul", |c| c.x(0).matmul(c.x(1))),
    ("linear", |c| {
        let product = c.x(0).matmul(c.x(1).t());
        c.named("bias").map_or(product, |bias| product + bias)
    }),
];
