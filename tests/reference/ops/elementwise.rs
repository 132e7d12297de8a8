//! Functions of single elements, activations among them.

use super::{One, lengths_of};

/// Functions of one operand without arguments.
pub(super) const UNARY: &[(&str, One)] = &[
    ("neg", |c| -c.x(0)),
    ("exp", |c| c.x(0).exp()),
    ("expm1", |c| c.x(0).expm1()),
    ("log", |c| c.x(0).log()),
    ("log1p", |c| c.x(0).log1p()),
    ("sqrt", |c| c.x(0).sqrt()),
    ("rsqrt", |c| c.x(0).rsqrt()),
    ("reciprocal", |c| c.x(0).reciprocal()),
    ("square", |c| c.x(0).square()),
    ("tanh", |c| c.x(0).tanh()),
    ("sigmoid", |c| c.x(0).sigmoid()),
    ("softplus", |c| c.x(0).softplus()),
    ("silu", |c| c.x(0).silu()),
    ("mish", |c| c.x(0).mish()),
    ("logsigmoid", |c| c.x(0).logsigmoid()),
    ("erf", |c| c.x(0).erf()),
    ("erfc", |c| c.x(0).erfc()),
    ("exp2", |c| c.x(0).exp2()),
    ("log2", |c| c.x(0).log2()),
    ("sin", |c| c.x(0).sin()),
    ("cos", |c| c.x(0).cos()),
    ("tan", |c| c.x(0).tan()),
    ("asin", |c| c.x(0).asin()),
    ("acos", |c| c.x(0).acos()),
    ("atan", |c| c.x(0).atan()),
    ("sinh", |c| c.x(0).sinh()),
    ("cosh", |c| c.x(0).cosh()),
    ("asinh", |c| c.x(0).asinh()),
    ("acosh", |c| c.x(0).acosh()),
    ("atanh", |c| c.x(0).atanh()),
    ("abs", |c| c.x(0).abs()),
    ("sign", |c| c.x(0).sign()),
    ("relu", |c| c.x(0).relu()),
    ("hardtanh", |c| c.x(0).hardtanh(-1.0, 1.0)),
    ("hardsigmoid", |c| c.x(0).hardsigmoid()),
    ("hardswish", |c| c.x(0).hardswish()),
    ("softsign", |c| c.x(0).softsign()),
    ("relu6", |c| c.x(0).relu6()),
    ("selu", |c| c.x(0).selu()),
    ("floor", |c| c.x(0).floor()),
    ("ceil", |c| c.x(0).ceil()),
    ("round", |c| c.x(0).round()),
    ("trunc", |c| c.x(0).trunc()),
];

/// Functions of two operands that broadcast.
pub(super) const BINARY: &[(&str, One)] = &[
    ("add", |c| c.x(0) + c.x(1)),
    ("sub", |c| c.x(0) - c.x(1)),
    ("mul", |c| c.x(0) * c.x(1)),
    ("div", |c| c.x(0) / c.x(1)),
    ("pow", |c| c.x(0).pow(c.x(1))),
    ("atan2", |c| c.x(0).atan2(c.x(1))),
    ("maximum", |c| c.x(0).maximum(c.x(1))),
    ("minimum", |c| c.x(0).minimum(c.x(1))),
    ("eq", |c| c.x(0).eq(c.x(1))),
    ("ne", |c| c.x(0).ne(c.x(1))),
    ("lt", |c| c.x(0).lt(c.x(1))),
    ("le", |c| c.x(0).le(c.x(1))),
    ("gt", |c| c.x(0).gt(c.x(1))),
    ("ge", |c| c.x(0).ge(c.x(1))),
    ("remainder", |c| c.x(0).remainder(c.x(1))),
    ("fmod", |c| c.x(0).fmod(c.x(1))),
];

/// Functions with arguments, and of three operands.
pub(super) const FUNCTIONS: &[(&str, One)] = &[
    ("leaky_relu", |c| c.x(0).leaky_relu(c.number("negative_slope"))),
    ("elu", |c| c.x(0).elu(c.number("alpha"))),
    ("celu", |c| c.x(0).celu(c.number("alpha"))),
    ("gelu", |c| match c.text("approximate") {
        "tanh" => c.x(0).gelu_tanh(),
        _ => c.x(0).gelu(),
    }),
    ("clamp", |c| {
        let low = c.number_or("min", f64::NEG_INFINITY);
        c.x(0).clamp(low, c.number_or("max", f64::INFINITY))
    }),
    ("prelu", |c| {
        // A weight a channel, along axis 1.
        let weight = c.x(1);
        let mut shape = vec![1; lengths_of(c.x(0)).len().saturating_sub(1).max(1)];
        shape[0] = lengths_of(weight).iter().product();
        c.x(0).prelu(weight.reshape(shape))
    }),
    ("glu", |c| c.x(0).glu(c.integer("dim"))),
    ("lerp", |c| c.x(0).lerp(c.x(1), c.x(2))),
    ("addcmul", |c| c.x(0).addcmul(c.x(1), c.x(2), c.number_or("value", 1.0))),
    ("where", |c| c.x(0).select(c.x(1), c.x(2))),
];
