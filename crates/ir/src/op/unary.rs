//! Unary elementwise operations, each stated once as a row.
//!
//! The reference functions are those of the `libm` crate, not of the platform's C library, so that
//! the interpreter gives, and passes fold to, the same bits on every machine, the payload of NaN
//! aside. (`pow` is the exception: the crate's is hundreds of units off where the exponent is beyond
//! 2³¹.)

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LOG2_E};

use crate::graph::Value;
use crate::op::elementwise::{Domain, Emit};
use crate::op::{CompareOp, UnaryOp as U};

/// One element in, one element of the same dtype out.
///
/// ```
/// use kilngrad_ir::op::UnaryOp;
///
/// assert_eq!(UnaryOp::from_name("relu"), Some(UnaryOp::Relu));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnaryOp {
    /// `−x`.
    Neg,
    /// `|x|`.
    Abs,
    /// −1, 0 or 1.
    Sign,
    /// Complement.
    Not,
    /// `eˣ`.
    Exp,
    /// `eˣ − 1`.
    Expm1,
    /// Natural logarithm.
    Log,
    /// `ln(1 + x)`.
    Log1p,
    /// Square root.
    Sqrt,
    /// `1/√x`.
    Rsqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// `1/(1 + e⁻ˣ)`.
    Sigmoid,
    /// `max(x, 0)`.
    Relu,
    /// Error function.
    Erf,
    /// Complement of the error function, `1 − erf x`.
    Erfc,
    /// `2ˣ`.
    Exp2,
    /// Binary logarithm.
    Log2,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Tangent.
    Tan,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// Round toward minus infinity.
    Floor,
    /// Round toward plus infinity.
    Ceil,
    /// Round to nearest, ties to even.
    Round,
    /// Round toward zero.
    Trunc,
}

/// How an elementwise operation of one operand is differentiated.
///
/// ```
/// use kilngrad_ir::op::{UnaryDerivative, UnaryOp};
///
/// assert!(matches!(UnaryOp::Floor.row().derivative, UnaryDerivative::Zero));
/// assert!(matches!(UnaryOp::Exp.row().derivative, UnaryDerivative::Of(_)));
/// ```
#[derive(Debug, Clone, Copy)]
pub enum UnaryDerivative {
    /// Piecewise constant: zero wherever it exists, and taken as zero elsewhere.
    Zero,
    /// Not a function of real numbers: no gradient passes, and none can be asked for.
    None,
    /// `dy/dx` from `x` and `y = op(x)`.
    Of(fn(&mut dyn Emit, x: Value, y: Value) -> Value),
}

/// All that is to know of a unary operation.
///
/// ```
/// use kilngrad_ir::op::UnaryOp;
///
/// let row = UnaryOp::Sqrt.row();
/// assert_eq!((row.name, (row.f32)(9.0)), ("sqrt", 3.0));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct UnaryRow {
    /// The operation.
    pub op: UnaryOp,
    /// Its word in the text form.
    pub name: &'static str,
    /// Which dtypes it takes.
    pub domain: Domain,
    /// What it gives at the edges of its domain, for NaN and infinity.
    pub edges: &'static str,
    /// Cost of a lane relative to an addition.
    pub cost: u32,
    /// The reference in `f32`: the `f64` result rounded, where no exact operation exists.
    pub f32: fn(f32) -> f32,
    /// The reference in `f64`.
    pub f64: fn(f64) -> f64,
    /// The reference for integers and truth values, before wrapping to the dtype.
    pub integer: fn(i64) -> i64,
    /// Its derivative.
    pub derivative: UnaryDerivative,
}

/// The rows, in the order of the enum.
pub const UNARY: [UnaryRow; 32] = [
    UnaryRow {
        op: U::Neg,
        name: "neg",
        domain: Domain::Number,
        edges: "flips the sign bit, of NaN too; integers wrap",
        cost: 1,
        f32: |x| -x,
        f64: |x| -x,
        integer: i64::wrapping_neg,
        derivative: UnaryDerivative::Of(|e, x, _| e.constant_like(x, -1.0)),
    },
    UnaryRow {
        op: U::Abs,
        name: "abs",
        domain: Domain::Number,
        edges: "clears the sign bit; integers wrap; derivative 0 at 0",
        cost: 1,
        f32: f32::abs,
        f64: f64::abs,
        integer: i64::wrapping_abs,
        derivative: UnaryDerivative::Of(|e, x, _| e.unary(U::Sign, x)),
    },
    UnaryRow {
        op: U::Sign,
        name: "sign",
        domain: Domain::Number,
        edges: "NaN stays NaN; ±0 stays as it is",
        cost: 3,
        f32: |x| if x == 0.0 || x.is_nan() { x } else { 1f32.copysign(x) },
        f64: |x| if x == 0.0 || x.is_nan() { x } else { 1f64.copysign(x) },
        integer: i64::signum,
        derivative: UnaryDerivative::Zero,
    },
    UnaryRow {
        op: U::Not,
        name: "not",
        domain: Domain::Bits,
        edges: "complements every bit of an integer",
        cost: 1,
        f32: |x| x,
        f64: |x| x,
        integer: |x| !x,
        derivative: UnaryDerivative::None,
    },
    UnaryRow {
        op: U::Exp,
        name: "exp",
        domain: Domain::Float,
        edges: "exp(−inf) = 0, exp(inf) = inf, NaN stays NaN",
        cost: 16,
        f32: |x| libm::exp(f64::from(x)) as f32,
        f64: libm::exp,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|_, _, y| y),
    },
    UnaryRow {
        op: U::Expm1,
        name: "expm1",
        domain: Domain::Float,
        edges: "expm1(−inf) = −1, expm1(±0) = ±0, NaN stays NaN",
        cost: 20,
        f32: |x| libm::expm1(f64::from(x)) as f32,
        f64: libm::expm1,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| e.unary(U::Exp, x)),
    },
    UnaryRow {
        op: U::Log,
        name: "log",
        domain: Domain::Float,
        edges: "log(±0) = −inf, log(x < 0) = NaN, log(inf) = inf",
        cost: 18,
        f32: |x| libm::log(f64::from(x)) as f32,
        f64: libm::log,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| e.recip(x)),
    },
    UnaryRow {
        op: U::Log1p,
        name: "log1p",
        domain: Domain::Float,
        edges: "log1p(−1) = −inf, log1p(x < −1) = NaN, log1p(±0) = ±0",
        cost: 22,
        f32: |x| libm::log1p(f64::from(x)) as f32,
        f64: libm::log1p,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let one = e.constant_like(x, 1.0);
            let sum = e.add(one, x);
            e.recip(sum)
        }),
    },
    UnaryRow {
        op: U::Sqrt,
        name: "sqrt",
        domain: Domain::Float,
        edges: "correctly rounded; sqrt(x < 0) = NaN, sqrt(±0) = ±0",
        cost: 6,
        f32: f32::sqrt,
        f64: f64::sqrt,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, _, y| {
            let half = e.constant_like(y, 0.5);
            e.div(half, y)
        }),
    },
    UnaryRow {
        op: U::Rsqrt,
        name: "rsqrt",
        domain: Domain::Float,
        edges: "rsqrt(±0) = ±inf, rsqrt(x < 0) = NaN, rsqrt(inf) = 0",
        cost: 10,
        f32: |x| (1.0 / f64::from(x).sqrt()) as f32,
        f64: |x| 1.0 / x.sqrt(),
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, y| {
            let slope = e.scale(-0.5, y);
            e.div(slope, x)
        }),
    },
    UnaryRow {
        op: U::Tanh,
        name: "tanh",
        domain: Domain::Float,
        edges: "tanh(±inf) = ±1, tanh(±0) = ±0, NaN stays NaN",
        cost: 20,
        f32: |x| libm::tanh(f64::from(x)) as f32,
        f64: libm::tanh,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, _, y| {
            let one = e.constant_like(y, 1.0);
            let square = e.mul(y, y);
            e.sub(one, square)
        }),
    },
    UnaryRow {
        op: U::Sigmoid,
        name: "sigmoid",
        domain: Domain::Float,
        edges: "sigmoid(−inf) = 0, sigmoid(inf) = 1, NaN stays NaN",
        cost: 20,
        f32: |x| sigmoid(f64::from(x)) as f32,
        f64: sigmoid,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, _, y| {
            let one = e.constant_like(y, 1.0);
            let complement = e.sub(one, y);
            e.mul(y, complement)
        }),
    },
    UnaryRow {
        op: U::Relu,
        name: "relu",
        domain: Domain::Number,
        edges: "x where x > 0 or x is NaN, else +0; derivative 0 at 0",
        cost: 1,
        f32: |x| if x > 0.0 || x.is_nan() { x } else { 0.0 },
        f64: |x| if x > 0.0 || x.is_nan() { x } else { 0.0 },
        integer: |x| x.max(0),
        derivative: UnaryDerivative::Of(|e, _, y| {
            let zero = e.constant_like(y, 0.0);
            e.indicator(CompareOp::Gt, y, zero)
        }),
    },
    UnaryRow {
        op: U::Erf,
        name: "erf",
        domain: Domain::Float,
        edges: "erf(±inf) = ±1, erf(±0) = ±0, NaN stays NaN",
        cost: 24,
        f32: |x| libm::erf(f64::from(x)) as f32,
        f64: libm::erf,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let bell = gauss(e, x);
            e.scale(FRAC_2_SQRT_PI, bell)
        }),
    },
    UnaryRow {
        op: U::Erfc,
        name: "erfc",
        domain: Domain::Float,
        edges: "erfc(−inf) = 2, erfc(inf) = 0, NaN stays NaN",
        cost: 48,
        f32: |x| libm::erfc(f64::from(x)) as f32,
        f64: libm::erfc,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let bell = gauss(e, x);
            e.scale(-FRAC_2_SQRT_PI, bell)
        }),
    },
    UnaryRow {
        op: U::Exp2,
        name: "exp2",
        domain: Domain::Float,
        edges: "exp2(−inf) = 0, exp2(inf) = inf, exact of whole numbers, NaN stays NaN",
        cost: 24,
        f32: |x| libm::exp2(f64::from(x)) as f32,
        f64: libm::exp2,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, _, y| e.scale(LN_2, y)),
    },
    UnaryRow {
        op: U::Log2,
        name: "log2",
        domain: Domain::Float,
        edges: "log2(±0) = −inf, log2(x < 0) = NaN, log2(inf) = inf, exact of powers of two",
        cost: 30,
        f32: |x| libm::log2(f64::from(x)) as f32,
        f64: libm::log2,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let slope = e.recip(x);
            e.scale(LOG2_E, slope)
        }),
    },
    UnaryRow {
        op: U::Sin,
        name: "sin",
        domain: Domain::Float,
        edges: "radians of any size; sin(±inf) = NaN, sin(±0) = ±0",
        cost: 160,
        f32: |x| libm::sin(f64::from(x)) as f32,
        f64: libm::sin,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| e.unary(U::Cos, x)),
    },
    UnaryRow {
        op: U::Cos,
        name: "cos",
        domain: Domain::Float,
        edges: "radians of any size; cos(±inf) = NaN",
        cost: 160,
        f32: |x| libm::cos(f64::from(x)) as f32,
        f64: libm::cos,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let sine = e.unary(U::Sin, x);
            e.neg(sine)
        }),
    },
    UnaryRow {
        op: U::Tan,
        name: "tan",
        domain: Domain::Float,
        edges: "radians of any size; tan(±inf) = NaN, tan(±0) = ±0",
        cost: 170,
        f32: |x| libm::tan(f64::from(x)) as f32,
        f64: libm::tan,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, _, y| {
            let one = e.constant_like(y, 1.0);
            let square = e.mul(y, y);
            e.add(one, square)
        }),
    },
    UnaryRow {
        op: U::Asin,
        name: "asin",
        domain: Domain::Float,
        edges: "NaN outside −1 ≤ x ≤ 1, asin(±0) = ±0",
        cost: 60,
        f32: |x| libm::asin(f64::from(x)) as f32,
        f64: libm::asin,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let rest = one_minus_square(e, x);
            e.unary(U::Rsqrt, rest)
        }),
    },
    UnaryRow {
        op: U::Acos,
        name: "acos",
        domain: Domain::Float,
        edges: "NaN outside −1 ≤ x ≤ 1, acos(1) = 0",
        cost: 60,
        f32: |x| libm::acos(f64::from(x)) as f32,
        f64: libm::acos,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let rest = one_minus_square(e, x);
            let slope = e.unary(U::Rsqrt, rest);
            e.neg(slope)
        }),
    },
    UnaryRow {
        op: U::Atan,
        name: "atan",
        domain: Domain::Float,
        edges: "atan(±inf) = ±π/2, atan(±0) = ±0, NaN stays NaN",
        cost: 40,
        f32: |x| libm::atan(f64::from(x)) as f32,
        f64: libm::atan,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let sum = one_plus_square(e, x);
            e.recip(sum)
        }),
    },
    UnaryRow {
        op: U::Sinh,
        name: "sinh",
        domain: Domain::Float,
        edges: "sinh(±inf) = ±inf, sinh(±0) = ±0, NaN stays NaN",
        cost: 50,
        f32: |x| libm::sinh(f64::from(x)) as f32,
        f64: libm::sinh,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| e.unary(U::Cosh, x)),
    },
    UnaryRow {
        op: U::Cosh,
        name: "cosh",
        domain: Domain::Float,
        edges: "cosh(±inf) = inf, NaN stays NaN",
        cost: 50,
        f32: |x| libm::cosh(f64::from(x)) as f32,
        f64: libm::cosh,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| e.unary(U::Sinh, x)),
    },
    UnaryRow {
        op: U::Asinh,
        name: "asinh",
        domain: Domain::Float,
        edges: "asinh(±inf) = ±inf, asinh(±0) = ±0, NaN stays NaN",
        cost: 60,
        f32: |x| libm::asinh(f64::from(x)) as f32,
        f64: libm::asinh,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let sum = one_plus_square(e, x);
            e.unary(U::Rsqrt, sum)
        }),
    },
    UnaryRow {
        op: U::Acosh,
        name: "acosh",
        domain: Domain::Float,
        edges: "acosh(1) = 0, acosh(x < 1) = NaN, acosh(inf) = inf",
        cost: 60,
        f32: |x| acosh(f64::from(x)) as f32,
        f64: acosh,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let one = e.constant_like(x, 1.0);
            let square = e.mul(x, x);
            let rest = e.sub(square, one);
            e.unary(U::Rsqrt, rest)
        }),
    },
    UnaryRow {
        op: U::Atanh,
        name: "atanh",
        domain: Domain::Float,
        edges: "atanh(±1) = ±inf, NaN outside −1 ≤ x ≤ 1, atanh(±0) = ±0",
        cost: 60,
        f32: |x| libm::atanh(f64::from(x)) as f32,
        f64: libm::atanh,
        integer: |x| x,
        derivative: UnaryDerivative::Of(|e, x, _| {
            let rest = one_minus_square(e, x);
            e.recip(rest)
        }),
    },
    UnaryRow {
        op: U::Floor,
        name: "floor",
        domain: Domain::Float,
        edges: "exact; NaN, infinity and ±0 stay as they are",
        cost: 1,
        f32: f32::floor,
        f64: f64::floor,
        integer: |x| x,
        derivative: UnaryDerivative::Zero,
    },
    UnaryRow {
        op: U::Ceil,
        name: "ceil",
        domain: Domain::Float,
        edges: "exact; NaN, infinity and ±0 stay as they are",
        cost: 1,
        f32: f32::ceil,
        f64: f64::ceil,
        integer: |x| x,
        derivative: UnaryDerivative::Zero,
    },
    UnaryRow {
        op: U::Round,
        name: "round",
        domain: Domain::Float,
        edges: "exact, ties to even; NaN, infinity and ±0 stay as they are",
        cost: 1,
        f32: f32::round_ties_even,
        f64: f64::round_ties_even,
        integer: |x| x,
        derivative: UnaryDerivative::Zero,
    },
    UnaryRow {
        op: U::Trunc,
        name: "trunc",
        domain: Domain::Float,
        edges: "exact; NaN, infinity and ±0 stay as they are",
        cost: 1,
        f32: f32::trunc,
        f64: f64::trunc,
        integer: |x| x,
        derivative: UnaryDerivative::Zero,
    },
];

impl UnaryOp {
    /// The operation's row.
    ///
    /// ```
    /// use kilngrad_ir::op::UnaryOp;
    ///
    /// assert_eq!((UnaryOp::Round.row().f64)(2.5), 2.0);
    /// ```
    pub const fn row(self) -> &'static UnaryRow {
        &UNARY[self as usize]
    }

    /// The operation whose word in the text form is `name`.
    ///
    /// ```
    /// use kilngrad_ir::op::UnaryOp;
    ///
    /// assert_eq!(UnaryOp::from_name("tanh"), Some(UnaryOp::Tanh));
    /// assert_eq!(UnaryOp::from_name("sine"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<UnaryOp> {
        UNARY.iter().find(|row| row.name == name).map(|row| row.op)
    }
}

/// `e^(−x²)`.
fn gauss(e: &mut dyn Emit, x: Value) -> Value {
    let square = e.mul(x, x);
    let exponent = e.neg(square);
    e.unary(U::Exp, exponent)
}

/// `1 + x²`.
fn one_plus_square(e: &mut dyn Emit, x: Value) -> Value {
    let one = e.constant_like(x, 1.0);
    let square = e.mul(x, x);
    e.add(one, square)
}

/// `1 − x²`.
fn one_minus_square(e: &mut dyn Emit, x: Value) -> Value {
    let one = e.constant_like(x, 1.0);
    let square = e.mul(x, x);
    e.sub(one, square)
}

/// Not a number below 1, where `libm` may give infinity.
fn acosh(x: f64) -> f64 {
    if x < 1.0 { f64::NAN } else { libm::acosh(x) }
}

/// Written so that neither branch overflows: `e` of a positive argument is never taken.
fn sigmoid(x: f64) -> f64 {
    let power = libm::exp(-x.abs());
    if x < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_enum() {
        for (index, row) in UNARY.iter().enumerate() {
            assert_eq!(row.op as usize, index, "{}", row.name);
            assert_eq!(UnaryOp::from_name(row.name), Some(row.op));
        }
    }
}
