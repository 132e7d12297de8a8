//! Binary elementwise operations and comparisons, each stated once as a row.

use crate::graph::Value;
use crate::op::BinaryOp as B;
use crate::op::elementwise::{Domain, Emit};
use crate::op::unary::UnaryOp;

/// Two elements in, one element of the same dtype out.
///
/// ```
/// use kilngrad_ir::op::BinaryOp;
///
/// assert_eq!(BinaryOp::from_name("add"), Some(BinaryOp::Add));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BinaryOp {
    /// `x + y`.
    Add,
    /// `x − y`.
    Sub,
    /// `x · y`.
    Mul,
    /// `x / y`.
    Div,
    /// Remainder of the truncated quotient.
    Rem,
    /// `xʸ`.
    Pow,
    /// The angle of the point `(y, x)`: `atan(x/y)` where `y > 0`.
    Atan2,
    /// The larger.
    Max,
    /// The smaller.
    Min,
    /// Bitwise or logical and.
    And,
    /// Bitwise or logical or.
    Or,
    /// Bitwise or logical exclusive or.
    Xor,
    /// Shift left.
    Shl,
    /// Shift right.
    Shr,
}

/// How an elementwise operation of two operands is differentiated.
///
/// ```
/// use kilngrad_ir::op::{BinaryDerivative, BinaryOp};
///
/// assert!(matches!(BinaryOp::Mul.row().derivative, BinaryDerivative::Of(_)));
/// assert!(matches!(BinaryOp::Xor.row().derivative, BinaryDerivative::None));
/// ```
#[derive(Debug, Clone, Copy)]
pub enum BinaryDerivative {
    /// Not a function of real numbers: no gradient passes, and none can be asked for.
    None,
    /// `dz/dx` and `dz/dy` from `x`, `y` and `z = op(x, y)`.
    Of([BinaryPartial; 2]),
}

/// One partial derivative of `z = op(x, y)`.
///
/// ```
/// use kilngrad_ir::{Value, op::{BinaryPartial, Emit}};
///
/// // Of `x·y` by `x`.
/// let partial: BinaryPartial = |_: &mut dyn Emit, _x: Value, y: Value, _z: Value| y;
/// # let _ = partial;
/// assert_eq!(size_of::<BinaryPartial>(), size_of::<usize>());
/// ```
pub type BinaryPartial = fn(&mut dyn Emit, x: Value, y: Value, z: Value) -> Value;

/// All that is to know of a binary operation.
///
/// ```
/// use kilngrad_ir::op::BinaryOp;
///
/// let row = BinaryOp::Div.row();
/// assert_eq!(((row.f64)(1.0, 4.0), (row.integer)(7, 0, 32)), (0.25, -1));
/// assert!(!row.commutes);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct BinaryRow {
    /// The operation.
    pub op: BinaryOp,
    /// Its word in the text form.
    pub name: &'static str,
    /// Which dtypes it takes.
    pub domain: Domain,
    /// What it gives for ties, NaN and at the edges of its domain.
    pub edges: &'static str,
    /// Cost of a lane relative to an addition.
    pub cost: u32,
    /// Whether `op(x, y)` and `op(y, x)` are equal bit for bit, NaN payloads aside.
    pub commutes: bool,
    /// The reference in `f32`.
    pub f32: fn(f32, f32) -> f32,
    /// The reference in `f64`.
    pub f64: fn(f64, f64) -> f64,
    /// The reference for integers and truth values, given sign- or zero-extended operands and the
    /// dtype's width in bits, before wrapping to the dtype.
    pub integer: fn(i64, i64, u32) -> i64,
    /// Its derivative.
    pub derivative: BinaryDerivative,
}

/// The rows, in the order of the enum.
pub const BINARY: [BinaryRow; 14] = [
    BinaryRow {
        op: B::Add,
        name: "add",
        domain: Domain::Number,
        edges: "IEEE 754; integers wrap",
        cost: 1,
        commutes: true,
        f32: |x, y| x + y,
        f64: |x, y| x + y,
        integer: |x, y, _| x.wrapping_add(y),
        derivative: BinaryDerivative::Of([
            |e, x, _, _| e.constant_like(x, 1.0),
            |e, x, _, _| e.constant_like(x, 1.0),
        ]),
    },
    BinaryRow {
        op: B::Sub,
        name: "sub",
        domain: Domain::Number,
        edges: "IEEE 754; integers wrap",
        cost: 1,
        commutes: false,
        f32: |x, y| x - y,
        f64: |x, y| x - y,
        integer: |x, y, _| x.wrapping_sub(y),
        derivative: BinaryDerivative::Of([
            |e, x, _, _| e.constant_like(x, 1.0),
            |e, x, _, _| e.constant_like(x, -1.0),
        ]),
    },
    BinaryRow {
        op: B::Mul,
        name: "mul",
        domain: Domain::Number,
        edges: "IEEE 754; integers wrap",
        cost: 1,
        commutes: true,
        f32: |x, y| x * y,
        f64: |x, y| x * y,
        integer: |x, y, _| x.wrapping_mul(y),
        derivative: BinaryDerivative::Of([|_, _, y, _| y, |_, x, _, _| x]),
    },
    BinaryRow {
        op: B::Div,
        name: "div",
        domain: Domain::Number,
        edges: "IEEE 754; integers truncate, x/0 = −1 (all bits set), MIN/−1 = MIN",
        cost: 5,
        commutes: false,
        f32: |x, y| x / y,
        f64: |x, y| x / y,
        integer: |x, y, _| if y == 0 { -1 } else { x.wrapping_div(y) },
        derivative: BinaryDerivative::Of([
            |e, _, y, _| e.recip(y),
            |e, _, y, z| {
                let slope = e.div(z, y);
                e.neg(slope)
            },
        ]),
    },
    BinaryRow {
        op: B::Rem,
        name: "rem",
        domain: Domain::Number,
        edges: "the sign of x; floats: rem(inf, y) = rem(x, 0) = NaN, rem(x, inf) = x, exact; \
                integers: x%0 = x, MIN%−1 = 0",
        cost: 20,
        commutes: false,
        f32: |x, y| x % y,
        f64: |x, y| x % y,
        integer: |x, y, _| if y == 0 { x } else { x.wrapping_rem(y) },
        derivative: BinaryDerivative::Of([
            |e, x, _, _| e.constant_like(x, 1.0),
            |e, x, y, _| {
                let quotient = e.div(x, y);
                let whole = e.unary(UnaryOp::Trunc, quotient);
                e.neg(whole)
            },
        ]),
    },
    BinaryRow {
        op: B::Pow,
        name: "pow",
        domain: Domain::Float,
        edges: "as IEEE 754 pow: pow(x, 0) = 1 and pow(1, y) = 1 even for NaN, pow(x < 0, y) = NaN \
                unless y is whole; dz/dx = 0 where y = 0, dz/dy = 0 where x = 0 and y ≥ 0",
        cost: 50,
        commutes: false,
        f32: |x, y| f64::from(x).powf(f64::from(y)) as f32,
        f64: f64::powf,
        integer: |x, _, _| x,
        derivative: BinaryDerivative::Of([pow_by_base, pow_by_exponent]),
    },
    BinaryRow {
        op: B::Atan2,
        name: "atan2",
        domain: Domain::Float,
        edges: "as IEEE 754 atan2: signs of zeros count, atan2(±0, y ≥ +0) = ±0, atan2(±0, y ≤ −0) = \
                ±π, infinities make multiples of π/4; both derivatives 0 at the origin",
        cost: 60,
        commutes: false,
        f32: |x, y| libm::atan2(f64::from(x), f64::from(y)) as f32,
        f64: libm::atan2,
        integer: |x, _, _| x,
        derivative: BinaryDerivative::Of([
            |e, x, y, _| {
                let size = square_distance(e, x, y);
                e.div(y, size)
            },
            |e, x, y, _| {
                let size = square_distance(e, x, y);
                let slope = e.div(x, size);
                e.neg(slope)
            },
        ]),
    },
    BinaryRow {
        op: B::Max,
        name: "max",
        domain: Domain::Number,
        edges: "NaN if either is; y where they are equal (so of −0 and +0 the second); each \
                partial derivative is ½ at a tie",
        cost: 3,
        commutes: false,
        f32: |x, y| if x > y || x.is_nan() { x } else { y },
        f64: |x, y| if x > y || x.is_nan() { x } else { y },
        integer: |x, y, _| x.max(y),
        derivative: BinaryDerivative::Of([|e, x, y, _| step(e, x, y), |e, x, y, _| step(e, y, x)]),
    },
    BinaryRow {
        op: B::Min,
        name: "min",
        domain: Domain::Number,
        edges: "NaN if either is; y where they are equal (so of −0 and +0 the second); each \
                partial derivative is ½ at a tie",
        cost: 3,
        commutes: false,
        f32: |x, y| if x < y || x.is_nan() { x } else { y },
        f64: |x, y| if x < y || x.is_nan() { x } else { y },
        integer: |x, y, _| x.min(y),
        derivative: BinaryDerivative::Of([|e, x, y, _| step(e, y, x), |e, x, y, _| step(e, x, y)]),
    },
    bits(B::And, "and", "", |x, y, _| x & y, true),
    bits(B::Or, "or", "", |x, y, _| x | y, true),
    bits(B::Xor, "xor", "", |x, y, _| x ^ y, true),
    BinaryRow {
        domain: Domain::Integer,
        ..bits(B::Shl, "shl", SHIFT, |x, y, width| x.wrapping_shl(y as u32 & (width - 1)), false)
    },
    BinaryRow {
        domain: Domain::Integer,
        ..bits(B::Shr, "shr", SHIFT, |x, y, width| x.wrapping_shr(y as u32 & (width - 1)), false)
    },
];

const SHIFT: &str = "by y modulo the width; right shifts fill with the sign, which u8 has not";

/// A row of an operation on bits.
const fn bits(
    op: BinaryOp,
    name: &'static str,
    edges: &'static str,
    integer: fn(i64, i64, u32) -> i64,
    commutes: bool,
) -> BinaryRow {
    BinaryRow {
        op,
        name,
        domain: Domain::Bits,
        edges,
        cost: 1,
        commutes,
        f32: |x, _| x,
        f64: |x, _| x,
        integer,
        derivative: BinaryDerivative::None,
    }
}

/// `1` where `x > y`, `½` where they are equal, `0` elsewhere.
fn step(e: &mut dyn Emit, x: Value, y: Value) -> Value {
    let above = e.indicator(CompareOp::Gt, x, y);
    let half = e.constant_like(x, 0.5);
    let equal = e.compare(CompareOp::Eq, x, y);
    e.select(equal, half, above)
}

/// `x² + y²`, and 1 at the origin, where nothing is to be divided by 0.
fn square_distance(e: &mut dyn Emit, x: Value, y: Value) -> Value {
    let (zero, one) = (e.constant_like(x, 0.0), e.constant_like(x, 1.0));
    let (first, second) = (e.mul(x, x), e.mul(y, y));
    let sum = e.add(first, second);
    let origin = e.compare(CompareOp::Eq, sum, zero);
    e.select(origin, one, sum)
}

/// `y·x^(y−1)`, and 0 where `y = 0`, where `x^(y−1)` may be infinite.
fn pow_by_base(e: &mut dyn Emit, x: Value, y: Value, _: Value) -> Value {
    let (zero, one) = (e.constant_like(x, 0.0), e.constant_like(x, 1.0));
    let less = e.sub(y, one);
    let power = e.binary(B::Pow, x, less);
    let slope = e.mul(y, power);
    let flat = e.compare(CompareOp::Eq, y, zero);
    e.select(flat, zero, slope)
}

/// `z·ln x`, and 0 where `x = 0` and `y ≥ 0`, where `ln x` is infinite but `z` is constant. The
/// logarithm is taken of 1 there, so that no further derivative meets an infinity.
fn pow_by_exponent(e: &mut dyn Emit, x: Value, y: Value, z: Value) -> Value {
    let (zero, one) = (e.constant_like(x, 0.0), e.constant_like(x, 1.0));
    let at_zero = e.compare(CompareOp::Eq, x, zero);
    let not_negative = e.compare(CompareOp::Ge, y, zero);
    let flat = e.binary(B::And, at_zero, not_negative);
    let base = e.select(flat, one, x);
    let log = e.unary(UnaryOp::Log, base);
    e.mul(z, log)
}

impl BinaryOp {
    /// The operation's row.
    ///
    /// ```
    /// use kilngrad_ir::op::BinaryOp;
    ///
    /// assert_eq!((BinaryOp::Max.row().f32)(1.0, 2.0), 2.0);
    /// ```
    pub const fn row(self) -> &'static BinaryRow {
        &BINARY[self as usize]
    }

    /// The operation whose word in the text form is `name`.
    ///
    /// ```
    /// use kilngrad_ir::op::BinaryOp;
    ///
    /// assert_eq!(BinaryOp::from_name("mul"), Some(BinaryOp::Mul));
    /// assert_eq!(BinaryOp::from_name("times"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<BinaryOp> {
        BINARY.iter().find(|row| row.name == name).map(|row| row.op)
    }
}

/// A comparison: two elements of any dtype in, a truth value out. For floats every one but `Ne` is
/// false where either is NaN; −0 equals +0; `false < true`.
///
/// ```
/// use kilngrad_ir::op::CompareOp;
///
/// assert_eq!(CompareOp::ALL.map(|(_, word)| word).join(" "), "eq ne lt le gt ge");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompareOp {
    /// `x = y`.
    Eq,
    /// `x ≠ y`; true where either is NaN.
    Ne,
    /// `x < y`.
    Lt,
    /// `x ≤ y`.
    Le,
    /// `x > y`.
    Gt,
    /// `x ≥ y`.
    Ge,
}

impl CompareOp {
    /// Every comparison with its word in the text form.
    pub const ALL: [(CompareOp, &'static str); 6] = [
        (CompareOp::Eq, "eq"),
        (CompareOp::Ne, "ne"),
        (CompareOp::Lt, "lt"),
        (CompareOp::Le, "le"),
        (CompareOp::Gt, "gt"),
        (CompareOp::Ge, "ge"),
    ];

    /// Its word in the text form.
    ///
    /// ```
    /// use kilngrad_ir::op::CompareOp;
    ///
    /// assert_eq!(CompareOp::Le.name(), "le");
    /// ```
    pub const fn name(self) -> &'static str {
        CompareOp::ALL[self as usize].1
    }

    /// The comparison whose word in the text form is `name`.
    ///
    /// ```
    /// use kilngrad_ir::op::CompareOp;
    ///
    /// assert_eq!(CompareOp::from_name("ge"), Some(CompareOp::Ge));
    /// ```
    pub fn from_name(name: &str) -> Option<CompareOp> {
        CompareOp::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// Whether it holds between two elements of an ordered type, NaN being unordered.
    ///
    /// ```
    /// use kilngrad_ir::op::CompareOp;
    ///
    /// assert!(CompareOp::Lt.holds(1.0, 2.0));
    /// assert!(!CompareOp::Eq.holds(f32::NAN, f32::NAN));
    /// assert!(CompareOp::Ne.holds(f32::NAN, f32::NAN));
    /// ```
    pub fn holds<T: PartialOrd>(self, x: T, y: T) -> bool {
        match self {
            CompareOp::Eq => x == y,
            CompareOp::Ne => x != y,
            CompareOp::Lt => x < y,
            CompareOp::Le => x <= y,
            CompareOp::Gt => x > y,
            CompareOp::Ge => x >= y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_enum() {
        for (index, row) in BINARY.iter().enumerate() {
            assert_eq!(row.op as usize, index, "{}", row.name);
            assert_eq!(BinaryOp::from_name(row.name), Some(row.op));
        }
        for (index, (op, name)) in CompareOp::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, index, "{name}");
        }
    }

    #[test]
    fn integer_rules() {
        let eval = |op: BinaryOp, x, y| (op.row().integer)(x, y, 32) as i32;
        assert_eq!(eval(B::Div, 7, 0), -1);
        assert_eq!(eval(B::Div, i64::from(i32::MIN), -1), i32::MIN);
        assert_eq!(eval(B::Rem, 7, 0), 7);
        assert_eq!(eval(B::Rem, -7, 3), -1);
        assert_eq!(eval(B::Shl, 1, 33), 2);
        assert_eq!(eval(B::Shr, -8, 1), -4);
    }
}
