//! What an elementwise row may use: the emitter that derivatives are written against, and the
//! domains over dtypes.

use crate::dtype::DType;
use crate::graph::Value;
use crate::op::{BinaryOp, CompareOp, UnaryOp};

/// Which dtypes an elementwise operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// `f32`, `f64`.
    Float,
    /// Floats and integers.
    Number,
    /// Integers.
    Integer,
    /// Integers and truth values.
    Bits,
    /// Every dtype.
    Any,
}

impl Domain {
    /// Whether `dtype` is one of them.
    pub const fn contains(self, dtype: DType) -> bool {
        match self {
            Domain::Float => dtype.is_float(),
            Domain::Number => dtype.is_float() || dtype.is_integer(),
            Domain::Integer => dtype.is_integer(),
            Domain::Bits => !dtype.is_float(),
            Domain::Any => true,
        }
    }

    /// As error messages say it.
    pub const fn describe(self) -> &'static str {
        match self {
            Domain::Float => "a float dtype (f32, f64)",
            Domain::Number => "a number dtype (f32, f64, i32, i64, u8)",
            Domain::Integer => "an integer dtype (i32, i64, u8)",
            Domain::Bits => "an integer dtype or bool",
            Domain::Any => "any dtype",
        }
    }
}

/// Appends elementwise operations to a graph: what the derivatives in the rows are written
/// against, so that a row states its derivative without knowing who differentiates.
pub trait Emit {
    /// `op x`.
    fn unary(&mut self, op: UnaryOp, x: Value) -> Value;
    /// `op lhs, rhs`.
    fn binary(&mut self, op: BinaryOp, lhs: Value, rhs: Value) -> Value;
    /// A truth value an element.
    fn compare(&mut self, op: CompareOp, lhs: Value, rhs: Value) -> Value;
    /// `on_true` where `condition`, else `on_false`.
    fn select(&mut self, condition: Value, on_true: Value, on_false: Value) -> Value;
    /// The constant nearest to `number`, of the type of `like`.
    fn constant_like(&mut self, like: Value, number: f64) -> Value;
}

impl dyn Emit + '_ {
    /// `lhs + rhs`.
    pub fn add(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Add, lhs, rhs)
    }

    /// `lhs − rhs`.
    pub fn sub(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Sub, lhs, rhs)
    }

    /// `lhs · rhs`.
    pub fn mul(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Mul, lhs, rhs)
    }

    /// `lhs / rhs`.
    pub fn div(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Div, lhs, rhs)
    }

    /// `−x`.
    pub fn neg(&mut self, x: Value) -> Value {
        self.unary(UnaryOp::Neg, x)
    }

    /// `1/x`.
    pub fn recip(&mut self, x: Value) -> Value {
        let one = self.constant_like(x, 1.0);
        self.div(one, x)
    }

    /// `number · x`.
    pub fn scale(&mut self, number: f64, x: Value) -> Value {
        let number = self.constant_like(x, number);
        self.mul(number, x)
    }

    /// `1` where the comparison holds, `0` elsewhere, of the operands' type.
    pub fn indicator(&mut self, op: CompareOp, lhs: Value, rhs: Value) -> Value {
        let condition = self.compare(op, lhs, rhs);
        let one = self.constant_like(lhs, 1.0);
        let zero = self.constant_like(lhs, 0.0);
        self.select(condition, one, zero)
    }
}
