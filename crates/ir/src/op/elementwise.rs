//! What an elementwise row may use: the emitter that derivatives are written against, and the
//! domains over dtypes.

use crate::dtype::DType;
use crate::example::graph_example;
use crate::graph::Value;
use crate::op::{BinaryOp, CompareOp, UnaryOp};

/// Which dtypes an elementwise operation takes.
///
/// ```
/// use kilngrad_ir::{DType, op::UnaryOp};
///
/// assert!(!UnaryOp::Exp.row().domain.contains(DType::I32));
/// ```
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
    ///
    /// ```
    /// use kilngrad_ir::{DType, op::Domain};
    ///
    /// assert!(Domain::Bits.contains(DType::Bool) && !Domain::Bits.contains(DType::F32));
    /// ```
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
    ///
    /// ```
    /// use kilngrad_ir::op::Domain;
    ///
    /// assert_eq!(Domain::Float.describe(), "a float dtype (f32, f64)");
    /// ```
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
#[doc = graph_example!(
    "let mut graph = graph.clone();"
    "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
    "let e: &mut dyn Emit = &mut emitter;"
    "let slope = e.indicator(CompareOp::Gt, x, y);"
    "assert_eq!(graph.defining_node(slope).map(|node| node.op.name()), Some(\"select\"));"
)]
pub trait Emit {
    /// `op x`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.unary(UnaryOp::Exp, x);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"exp\"));"
    )]
    fn unary(&mut self, op: UnaryOp, x: Value) -> Value;
    /// `op lhs, rhs`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.binary(BinaryOp::Pow, x, y);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"pow\"));"
    )]
    fn binary(&mut self, op: BinaryOp, lhs: Value, rhs: Value) -> Value;
    /// A truth value an element.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.compare(CompareOp::Lt, x, y);"
        "assert_eq!(graph.ty(z).dtype, DType::Bool);"
    )]
    fn compare(&mut self, op: CompareOp, lhs: Value, rhs: Value) -> Value;
    /// `on_true` where `condition`, else `on_false`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let less = e.compare(CompareOp::Lt, x, y);"
        "let smaller = e.select(less, x, y);"
        "assert_eq!(graph.ty(smaller), graph.ty(x));"
    )]
    fn select(&mut self, condition: Value, on_true: Value, on_false: Value) -> Value;
    /// The constant nearest to `number`, of the type of `like`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let half = e.constant_like(x, 0.5);"
        "assert_eq!(graph.ty(half), graph.ty(x));"
    )]
    fn constant_like(&mut self, like: Value, number: f64) -> Value;
}

impl dyn Emit + '_ {
    /// `lhs + rhs`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.add(x, y);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"add\"));"
    )]
    pub fn add(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Add, lhs, rhs)
    }

    /// `lhs − rhs`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.sub(x, y);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"sub\"));"
    )]
    pub fn sub(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Sub, lhs, rhs)
    }

    /// `lhs · rhs`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.mul(x, y);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"mul\"));"
    )]
    pub fn mul(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Mul, lhs, rhs)
    }

    /// `lhs / rhs`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.div(x, y);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"div\"));"
    )]
    pub fn div(&mut self, lhs: Value, rhs: Value) -> Value {
        self.binary(BinaryOp::Div, lhs, rhs)
    }

    /// `−x`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.neg(x);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"neg\"));"
    )]
    pub fn neg(&mut self, x: Value) -> Value {
        self.unary(UnaryOp::Neg, x)
    }

    /// `1/x`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.recip(x);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"div\"));"
    )]
    pub fn recip(&mut self, x: Value) -> Value {
        let one = self.constant_like(x, 1.0);
        self.div(one, x)
    }

    /// `number · x`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.scale(0.5, x);"
        "assert_eq!(graph.defining_node(z).map(|node| node.op.name()), Some(\"mul\"));"
    )]
    pub fn scale(&mut self, number: f64, x: Value) -> Value {
        let number = self.constant_like(x, number);
        self.mul(number, x)
    }

    /// `1` where the comparison holds, `0` elsewhere, of the operands' type.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let e: &mut dyn Emit = &mut emitter;"
        "let z = e.indicator(CompareOp::Gt, x, y);"
        "assert_eq!(graph.ty(z).to_string(), \"f32[3]\");"
    )]
    pub fn indicator(&mut self, op: CompareOp, lhs: Value, rhs: Value) -> Value {
        let condition = self.compare(op, lhs, rhs);
        let one = self.constant_like(lhs, 1.0);
        let zero = self.constant_like(lhs, 0.0);
        self.select(condition, one, zero)
    }
}
