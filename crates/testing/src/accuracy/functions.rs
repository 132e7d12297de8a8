//! The functions whose accuracy is measured.

use kilngrad::prelude::Tensor;
use kilngrad_ir::op::{BinaryOp, UnaryOp};

use super::double::Exact;
use super::{angle, exact};

/// A function of one or two reals, as the compiler computes it and as it is.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// What it is called in the tables.
    pub name: &'static str,
    /// What it takes: a second operand is ignored where it takes one.
    pub operands: Operands,
    /// The graph.
    pub build: for<'b> fn(Tensor<'b>, Tensor<'b>) -> Tensor<'b>,
    /// The interpreter's functions, of operations.
    pub interpreted: Option<Interpreted>,
    /// In double precision, within three units in the last place; right at zeros, poles, infinities
    /// and NaN.
    pub reference: fn(f64, f64) -> f64,
    /// To more than 86 bits, where it is finite and not zero.
    pub exact: fn(f64, f64) -> Option<Exact>,
    /// Whether it rises or falls, on each side of 0.
    pub direction: Option<Direction>,
}

/// What samples are drawn of.
#[derive(Debug, Clone, Copy)]
pub enum Operands {
    /// One, between these often: where the function varies or is computed in another way.
    One(&'static [(f64, f64)]),
    /// A base and an exponent.
    Power,
    /// The coordinates of a point, its height first.
    Point,
}

impl Function {
    /// Whether it takes two operands.
    pub const fn is_binary(&self) -> bool {
        match self.operands {
            Operands::One(_) => false,
            Operands::Power | Operands::Point => true,
        }
    }
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
    ($name:ident, $op:ident, $reference:expr, $direction:expr, $ranges:expr) => {
        operation!($name, $op, $reference, exact::$name, $direction, $ranges)
    };
    ($name:ident, $op:ident, $reference:expr, $exact:path, $direction:expr, $ranges:expr) => {
        Function {
            name: stringify!($name),
            operands: Operands::One($ranges),
            build: |x, _| x.$name(),
            interpreted: Some(Interpreted {
                f32: |x, _| (UnaryOp::$op.row().f32)(x),
                f64: |x, _| (UnaryOp::$op.row().f64)(x),
            }),
            reference: |x, _| $reference(x),
            exact: |x, _| $exact(x),
            direction: $direction,
        }
    };
}

/// A function of one operand that the builder composes of several.
macro_rules! composition {
    ($name:ident, $reference:expr, $direction:expr, $ranges:expr) => {
        Function {
            name: stringify!($name),
            operands: Operands::One($ranges),
            build: |x, _| x.$name(),
            interpreted: None,
            reference: |x, _| $reference(x),
            exact: |x, _| exact::$name(x),
            direction: $direction,
        }
    };
}

const RISING: Option<Direction> = Some(Direction::Rising);
const FALLING: Option<Direction> = Some(Direction::Falling);

/// Angles: between the first zeros, and where the reduction subtracts small and large multiples.
const ANGLES: &[(f64, f64)] = &[(-1.6, 1.6), (-10.0, 10.0), (-1e5, 1e5), (-1e19, 1e19)];

/// Every function, in the order of the tables.
pub const FUNCTIONS: [Function; 28] = [
    operation!(exp, Exp, libm::exp, RISING, &[(-745.2, 709.8), (-104.0, 88.8), (-1.0, 1.0)]),
    operation!(exp2, Exp2, libm::exp2, RISING, &[(-1075.0, 1024.0), (-150.0, 128.0), (-1.0, 1.0)]),
    operation!(expm1, Expm1, libm::expm1, RISING, &[(-45.0, 709.8), (-4.0, 4.0), (-0.5, 0.5)]),
    operation!(log, Log, libm::log, RISING, &[(0.0, 10.0), (0.5, 2.0), (0.9, 1.1)]),
    operation!(log2, Log2, libm::log2, RISING, &[(0.0, 10.0), (0.5, 2.0), (0.9, 1.1)]),
    operation!(log1p, Log1p, libm::log1p, RISING, &[(-1.0, 1e5), (-1.0, 4.0), (-0.5, 0.5)]),
    operation!(sqrt, Sqrt, libm::sqrt, RISING, &[(1.0, 4.0)]),
    operation!(rsqrt, Rsqrt, rsqrt, FALLING, &[(1.0, 4.0)]),
    operation!(tanh, Tanh, libm::tanh, RISING, &[(-20.0, 20.0), (-1.0, 1.0)]),
    operation!(sigmoid, Sigmoid, sigmoid, RISING, &[(-745.0, 40.0), (-8.0, 8.0)]),
    operation!(erf, Erf, libm::erf, RISING, &[(-6.0, 6.0), (-1.3, 1.3)]),
    operation!(erfc, Erfc, libm::erfc, FALLING, &[(-6.0, 27.3), (-1.3, 1.3), (0.0, 10.1)]),
    operation!(sin, Sin, libm::sin, angle::sin, None, ANGLES),
    operation!(cos, Cos, libm::cos, angle::cos, None, ANGLES),
    operation!(tan, Tan, libm::tan, angle::tan, None, ANGLES),
    operation!(asin, Asin, libm::asin, angle::asin, RISING, &[(-1.0, 1.0), (-0.6, 0.6)]),
    operation!(acos, Acos, libm::acos, angle::acos, FALLING, &[(-1.0, 1.0), (-0.6, 0.6)]),
    operation!(atan, Atan, libm::atan, angle::atan, RISING, &[(-3.0, 3.0), (-100.0, 100.0)]),
    operation!(sinh, Sinh, libm::sinh, RISING, &[(-710.5, 710.5), (-90.0, 90.0), (-2.0, 2.0)]),
    operation!(cosh, Cosh, libm::cosh, None, &[(-710.5, 710.5), (-90.0, 90.0), (-2.0, 2.0)]),
    operation!(asinh, Asinh, libm::asinh, RISING, &[(-1e5, 1e5), (-10.0, 10.0), (-1.0, 1.0)]),
    operation!(acosh, Acosh, acosh, RISING, &[(1.0, 1e5), (1.0, 10.0), (1.0, 1.1)]),
    operation!(atanh, Atanh, libm::atanh, RISING, &[(-1.0, 1.0), (-0.5, 0.5)]),
    composition!(reciprocal, |x: f64| 1.0 / x, FALLING, &[(1.0, 2.0)]),
    composition!(softplus, softplus, RISING, &[(-745.0, 40.0), (-8.0, 8.0)]),
    composition!(silu, silu, None, &[(-745.0, 40.0), (-8.0, 8.0)]),
    Function {
        name: "pow",
        operands: Operands::Power,
        build: |x, y| x.pow(y),
        // Its row calls the platform's function, whose figures no table can state.
        interpreted: None,
        reference: pow,
        exact: exact::pow,
        direction: None,
    },
    Function {
        name: "atan2",
        operands: Operands::Point,
        build: |x, y| x.atan2(y),
        interpreted: Some(Interpreted {
            f32: |x, y| (BinaryOp::Atan2.row().f32)(x, y),
            f64: |x, y| (BinaryOp::Atan2.row().f64)(x, y),
        }),
        reference: libm::atan2,
        exact: angle::atan2,
        direction: None,
    },
];

/// The function called `name`.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The function that an operation is; `None` for those that are exact.
///
/// Adding an operation to the language asks here whether its accuracy is measured.
pub fn of_unary(op: UnaryOp) -> Option<&'static Function> {
    match op {
        UnaryOp::Exp
        | UnaryOp::Expm1
        | UnaryOp::Log
        | UnaryOp::Log1p
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Tanh
        | UnaryOp::Sigmoid
        | UnaryOp::Erf
        | UnaryOp::Erfc
        | UnaryOp::Exp2
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tan
        | UnaryOp::Asin
        | UnaryOp::Acos
        | UnaryOp::Atan
        | UnaryOp::Sinh
        | UnaryOp::Cosh
        | UnaryOp::Asinh
        | UnaryOp::Acosh
        | UnaryOp::Atanh => function(op.row().name),
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

/// The same of two operands.
pub fn of_binary(op: BinaryOp) -> Option<&'static Function> {
    match op {
        BinaryOp::Pow | BinaryOp::Atan2 => function(op.row().name),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Max
        | BinaryOp::Min
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr => None,
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

/// Not a number below 1, where the crate's function may give infinity.
fn acosh(x: f64) -> f64 {
    if x < 1.0 { f64::NAN } else { libm::acosh(x) }
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
