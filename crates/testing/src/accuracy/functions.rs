//! The functions whose accuracy is measured.

use kilngrad::prelude::Tensor;
use kilngrad_ir::op::UnaryOp;

use super::double::Exact;
use super::exact;

/// A function of one or two reals, as the compiler computes it and as it is.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// What it is called in the tables.
    pub name: &'static str,
    /// Whether it takes two operands; the second is ignored where it does not.
    pub binary: bool,
    /// The graph.
    pub build: for<'b> fn(Tensor<'b>, Tensor<'b>) -> Tensor<'b>,
    /// The interpreter's functions, of operations.
    pub interpreted: Option<Interpreted>,
    /// In double precision, within two units in the last place; right at zeros, poles, infinities
    /// and NaN.
    pub reference: fn(f64, f64) -> f64,
    /// To more than 66 bits, where it is finite and not zero.
    pub exact: fn(f64, f64) -> Option<Exact>,
    /// Whether it rises or falls, on each side of 0.
    pub direction: Option<Direction>,
    /// Where it varies or is computed in another way: samples are drawn between these.
    pub ranges: &'static [(f64, f64)],
}

/// The functions in an operation's row.
#[derive(Debug, Clone, Copy)]
pub struct Interpreted {
    /// In single precision.
    pub f32: fn(f32, f32) -> f32,
    /// In double precision.
    pub f64: fn(f64, f64) -> f64,
}

/// Which way a function goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Greater operands have results that are not less.
    Rising,
    /// Greater operands have results that are not greater.
    Falling,
}

/// A function of one operand that is an operation.
macro_rules! operation {
    ($name:ident, $op:ident, $reference:expr, $direction:ident, $ranges:expr) => {
        Function {
            name: stringify!($name),
            binary: false,
            build: |x, _| x.$name(),
            interpreted: Some(Interpreted {
                f32: |x, _| (UnaryOp::$op.row().f32)(x),
                f64: |x, _| (UnaryOp::$op.row().f64)(x),
            }),
            reference: |x, _| $reference(x),
            exact: |x, _| exact::$name(x),
            direction: Some(Direction::$direction),
            ranges: $ranges,
        }
    };
}

/// A function of one operand that the builder composes of several.
macro_rules! composition {
    ($name:ident, $reference:expr, $direction:expr, $ranges:expr) => {
        Function {
            name: stringify!($name),
            binary: false,
            build: |x, _| x.$name(),
            interpreted: None,
            reference: |x, _| $reference(x),
            exact: |x, _| exact::$name(x),
            direction: $direction,
            ranges: $ranges,
        }
    };
}

/// Every function, in the order of the tables.
pub const FUNCTIONS: [Function; 13] = [
    operation!(exp, Exp, libm::exp, Rising, &[(-745.2, 709.8), (-104.0, 88.8), (-1.0, 1.0)]),
    operation!(expm1, Expm1, libm::expm1, Rising, &[(-45.0, 709.8), (-4.0, 4.0), (-0.5, 0.5)]),
    operation!(log, Log, libm::log, Rising, &[(0.0, 10.0), (0.5, 2.0), (0.9, 1.1)]),
    operation!(log1p, Log1p, libm::log1p, Rising, &[(-1.0, 1e5), (-1.0, 4.0), (-0.5, 0.5)]),
    operation!(sqrt, Sqrt, libm::sqrt, Rising, &[(1.0, 4.0)]),
    operation!(rsqrt, Rsqrt, rsqrt, Falling, &[(1.0, 4.0)]),
    operation!(tanh, Tanh, libm::tanh, Rising, &[(-20.0, 20.0), (-1.0, 1.0)]),
    operation!(sigmoid, Sigmoid, sigmoid, Rising, &[(-745.0, 40.0), (-8.0, 8.0)]),
    operation!(erf, Erf, libm::erf, Rising, &[(-6.0, 6.0), (-1.3, 1.3)]),
    composition!(reciprocal, |x: f64| 1.0 / x, Some(Direction::Falling), &[(1.0, 2.0)]),
    composition!(softplus, softplus, Some(Direction::Rising), &[(-745.0, 40.0), (-8.0, 8.0)]),
    composition!(silu, silu, None, &[(-745.0, 40.0), (-8.0, 8.0)]),
    Function {
        name: "pow",
        binary: true,
        build: |x, y| x.pow(y),
        // Its row calls the platform's function, whose figures no table can state.
        interpreted: None,
        reference: pow,
        exact: exact::pow,
        direction: None,
        ranges: &[],
    },
];

/// The function called `name`.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The function that an operation is; `None` for those that are exact.
///
/// Adding an operation to the language asks here whether its accuracy is measured.
pub fn of_operation(op: UnaryOp) -> Option<&'static Function> {
    match op {
        UnaryOp::Exp
        | UnaryOp::Expm1
        | UnaryOp::Log
        | UnaryOp::Log1p
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Tanh
        | UnaryOp::Sigmoid
        | UnaryOp::Erf => function(op.row().name),
        UnaryOp::Neg
        | UnaryOp::Abs
        | UnaryOp::Sign
        | UnaryOp::Not
        | UnaryOp::Relu
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc => None,
    }
}

fn rsqrt(x: f64) -> f64 {
    1.0 / x.sqrt()
}

/// Of the negative magnitude, so that small results keep their bits.
fn sigmoid(x: f64) -> f64 {
    let power = libm::exp(-x.abs());
    if x < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

fn softplus(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + libm::log1p(libm::exp(-x.abs())) }
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// The exact one rounded: the crate's function is far off for exponents beyond 2³¹.
fn pow(x: f64, y: f64) -> f64 {
    exact::pow(x, y).map_or_else(|| libm::pow(x, y), |exact| exact.to_double().high)
}
