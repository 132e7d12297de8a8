//! Elementwise operations: methods and operators.

use std::ops;

use kilngrad_ir::op::{BinaryOp, CompareOp, Op, UnaryOp};
use kilngrad_ir::{DType, Diagnostic, Type};

use crate::builder::Param;
use crate::example::example;
use crate::operand::{Argument, Number, Operand};
use crate::tensor::Tensor;

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $method:ident $op:ident;)*) => {
        impl<'b> Tensor<'b> {$(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            pub fn $method(self) -> Tensor<'b> {
                self.unary(UnaryOp::$op)
            }
        )*}
    };
}

unary_methods! {
    /// `|x|`, of numbers; the derivative at 0 is 0.
    #[doc = example!(x.abs() => vec![2.0, 0.0, 0.5]; x = e.constant([3], &[-2.0, -0.0, 0.5]))]
    abs Abs;
    /// −1, 0 or 1, of numbers; NaN stays NaN. The derivative is 0.
    #[doc = example!(x.sign() => vec![-1.0, 0.0, 1.0]; x = e.constant([3], &[-2.0, 0.0, 0.5]))]
    sign Sign;
    /// `eˣ`, of floats.
    #[doc = example!(x.exp() => about vec![1.0, 2.7183]; x = e.constant([2], &[0.0, 1.0]))]
    exp Exp;
    /// `eˣ − 1`, of floats, exact for small `x`.
    #[doc = example!(x.expm1() => vec![0.0, 1e-20]; x = e.constant([2], &[0.0, 1e-20]))]
    expm1 Expm1;
    /// Natural logarithm, of floats; −inf of 0, NaN below.
    #[doc = example!(x.log() => vec![0.0, f64::NEG_INFINITY]; x = e.constant([2], &[1.0, 0.0]))]
    log Log;
    /// `ln(1 + x)`, of floats, exact for small `x`; −inf of −1, NaN below.
    #[doc = example!(x.log1p() => vec![0.0, 1e-20]; x = e.constant([2], &[0.0, 1e-20]))]
    log1p Log1p;
    /// Square root, of floats; NaN below 0. The derivative at 0 is infinite.
    #[doc = example!(x.sqrt() => vec![3.0, 0.5]; x = e.constant([2], &[9.0, 0.25]))]
    sqrt Sqrt;
    /// `1/√x`, of floats; inf of 0, NaN below.
    #[doc = example!(x.rsqrt() => vec![0.5, f64::INFINITY]; x = e.constant([2], &[4.0, 0.0]))]
    rsqrt Rsqrt;
    /// Hyperbolic tangent, of floats.
    #[doc = example!(x.tanh() => about vec![0.0, 0.7616]; x = e.constant([2], &[0.0, 1.0]))]
    tanh Tanh;
    /// `1/(1 + e⁻ˣ)`, of floats.
    #[doc = example!(x.sigmoid() => about vec![0.5, 0.75]; x = e.constant([2], &[0.0, 3f64.ln()]))]
    sigmoid Sigmoid;
    /// `max(x, 0)`, of numbers; NaN stays NaN. The derivative at 0 is 0.
    #[doc = example!(x.relu() => vec![0.0, 0.0, 2.0]; x = e.constant([3], &[-1.0, 0.0, 2.0]))]
    relu Relu;
    /// Error function, of floats.
    #[doc = example!(x.erf() => about vec![0.0, 0.8427]; x = e.constant([2], &[0.0, 1.0]))]
    erf Erf;
    /// `1 − erf x`, of floats, exact where that is small.
    #[doc = example!(x.erfc() => about vec![1.0, 0.1573]; x = e.constant([2], &[0.0, 1.0]))]
    erfc Erfc;
    /// `2ˣ`, of floats.
    #[doc = example!(x.exp2() => vec![8.0, 0.5]; x = e.constant([2], &[3.0, -1.0]))]
    exp2 Exp2;
    /// Binary logarithm, of floats; −inf of 0, NaN below.
    #[doc = example!(x.log2() => vec![3.0, f64::NEG_INFINITY]; x = e.constant([2], &[8.0, 0.0]))]
    log2 Log2;
    /// Sine of radians of any size, of floats; NaN of infinity.
    #[doc = example!(x.sin() => about vec![0.8415, -0.8522]; x = e.constant([2], &[1.0, 1e22]))]
    sin Sin;
    /// Cosine of radians of any size, of floats; NaN of infinity.
    #[doc = example!(x.cos() => about vec![0.5403, 0.5232]; x = e.constant([2], &[1.0, 1e22]))]
    cos Cos;
    /// Tangent of radians of any size, of floats; NaN of infinity.
    #[doc = example!(x.tan() => about vec![1.5574, -1.6288]; x = e.constant([2], &[1.0, 1e22]))]
    tan Tan;
    /// Inverse sine, of floats from −1 to 1; NaN of others. The derivative at the ends is infinite.
    #[doc = example!(x.asin() => about vec![0.5236, f64::NAN]; x = e.constant([2], &[0.5, 2.0]))]
    asin Asin;
    /// Inverse cosine, of floats from −1 to 1; NaN of others. The derivative at the ends is
    /// infinite.
    #[doc = example!(x.acos() => about vec![1.0472, f64::NAN]; x = e.constant([2], &[0.5, 2.0]))]
    acos Acos;
    /// Inverse tangent, of floats.
    #[doc = example!(
        x.atan() => about vec![0.7854, 1.5708];
        x = e.constant([2], &[1.0, f64::INFINITY])
    )]
    atan Atan;
    /// Hyperbolic sine, of floats.
    #[doc = example!(x.sinh() => about vec![0.0, 0.75]; x = e.constant([2], &[0.0, 2f64.ln()]))]
    sinh Sinh;
    /// Hyperbolic cosine, of floats.
    #[doc = example!(x.cosh() => about vec![1.0, 1.25]; x = e.constant([2], &[0.0, 2f64.ln()]))]
    cosh Cosh;
    /// Inverse hyperbolic sine, of floats.
    #[doc = example!(x.asinh() => about vec![0.0, 0.6931]; x = e.constant([2], &[0.0, 0.75]))]
    asinh Asinh;
    /// Inverse hyperbolic cosine, of floats from 1; NaN below. The derivative at 1 is infinite.
    #[doc = example!(x.acosh() => about vec![0.6931, f64::NAN]; x = e.constant([2], &[1.25, 0.5]))]
    acosh Acosh;
    /// Inverse hyperbolic tangent, of floats; infinite of ±1, NaN beyond.
    #[doc = example!(
        x.atanh() => about vec![0.5493, f64::INFINITY];
        x = e.constant([2], &[0.5, 1.0])
    )]
    atanh Atanh;
    /// Rounded toward minus infinity, of floats. The derivative is 0, as of each rounding.
    #[doc = example!(x.floor() => vec![-2.0, 1.0]; x = e.constant([2], &[-1.5, 1.5]))]
    floor Floor;
    /// Rounded toward plus infinity, of floats.
    #[doc = example!(x.ceil() => vec![-1.0, 2.0]; x = e.constant([2], &[-1.5, 1.5]))]
    ceil Ceil;
    /// Rounded to nearest, ties to even, of floats.
    #[doc = example!(x.round() => vec![0.0, 2.0, 2.0]; x = e.constant([3], &[0.5, 1.5, 2.5]))]
    round Round;
    /// Rounded toward zero, of floats.
    #[doc = example!(x.trunc() => vec![-1.0, 1.0]; x = e.constant([2], &[-1.5, 1.5]))]
    trunc Trunc;
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $method:ident $op:ident;)*) => {
        impl<'b> Tensor<'b> {$(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            pub fn $method(self, other: impl Operand<'b>) -> Tensor<'b> {
                self.binary(BinaryOp::$op, other)
            }
        )*}
    };
}

binary_methods! {
    /// `xʸ`, of floats, as IEEE 754: `x⁰ = 1`, and NaN below 0 unless `y` is whole.
    #[doc = example!(x.pow(3.0) => vec![8.0, -27.0]; x = e.constant([2], &[2.0, -3.0]))]
    pow Pow;
    /// The angle of points whose second coordinates the tensor has and whose first the other: of
    /// floats, from −π to π. The derivatives at the origin are 0.
    #[doc = example!(
        y.atan2(x) => about vec![0.7854, 2.3562];
        y = e.constant([2], &[1.0, 1.0]);
        x = e.constant([2], &[1.0, -1.0])
    )]
    atan2 Atan2;
    /// The larger, of numbers; NaN if either is. At a tie each derivative is ½.
    #[doc = example!(
        x.maximum(2.0) => vec![2.0, 5.0, f64::NAN];
        x = e.constant([3], &[1.0, 5.0, f64::NAN])
    )]
    maximum Max;
    /// The smaller, of numbers; NaN if either is. At a tie each derivative is ½.
    #[doc = example!(
        x.minimum(y) => vec![1.0, 2.0];
        x = e.constant([2], &[1.0, 5.0]);
        y = e.constant([2], &[3.0, 2.0])
    )]
    minimum Min;
    /// The remainder with the sign of the dividend, of numbers: `%` under PyTorch's name.
    #[doc = example!(x.fmod(3.0) => vec![-1.0, 1.0]; x = e.constant([2], &[-7.0, 7.0]))]
    fmod Rem;
}

macro_rules! compare_methods {
    ($($(#[$doc:meta])* $method:ident $op:ident;)*) => {
        impl<'b> Tensor<'b> {$(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            pub fn $method(self, other: impl Operand<'b>) -> Tensor<'b> {
                self.compare(CompareOp::$op, other)
            }
        )*}
    };
}

compare_methods! {
    /// Where `x = y`; false where either is NaN.
    #[doc = example!(
        x.eq(2.0) => vec![false, true, false];
        x = e.constant([3], &[1.0, 2.0, f64::NAN])
    )]
    eq Eq;
    /// Where `x ≠ y`; true where either is NaN.
    #[doc = example!(
        x.ne(2.0) => vec![true, false, true];
        x = e.constant([3], &[1.0, 2.0, f64::NAN])
    )]
    ne Ne;
    /// Where `x < y`; false where either is NaN.
    #[doc = example!(x.lt(2.0) => vec![true, false, false]; x = e.constant([3], &[1.0, 2.0, 3.0]))]
    lt Lt;
    /// Where `x ≤ y`; false where either is NaN.
    #[doc = example!(x.le(2.0) => vec![true, true, false]; x = e.constant([3], &[1.0, 2.0, 3.0]))]
    le Le;
    /// Where `x > y`; false where either is NaN.
    #[doc = example!(x.gt(2.0) => vec![false, false, true]; x = e.constant([3], &[1.0, 2.0, 3.0]))]
    gt Gt;
    /// Where `x ≥ y`; false where either is NaN.
    #[doc = example!(x.ge(2.0) => vec![false, true, true]; x = e.constant([3], &[1.0, 2.0, 3.0]))]
    ge Ge;
}

impl<'b> Tensor<'b> {
    /// `x²`, of numbers.
    #[doc = example!(x.square() => vec![9.0, 4.0]; x = e.constant([2], &[-3.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn square(self) -> Tensor<'b> {
        self * self
    }

    /// `1/x`, of floats.
    #[doc = example!(x.reciprocal() => vec![0.5, -0.25]; x = e.constant([2], &[2.0, -4.0]))]
    #[track_caller]
    #[must_use]
    pub fn reciprocal(self) -> Tensor<'b> {
        if !self.is_real("reciprocal") {
            return self.entry.poisoned();
        }
        self.like(1.0) / self
    }

    /// The remainder with the sign of the divisor, of numbers, as PyTorch's and Python's; NaN for
    /// a float divisor of 0.
    #[doc = example!(x.remainder(3.0) => vec![2.0, 1.0]; x = e.constant([2], &[-7.0, 7.0]))]
    #[track_caller]
    #[must_use]
    pub fn remainder(self, divisor: impl Operand<'b>) -> Tensor<'b> {
        let divisor = self.operand(divisor);
        let Some((lhs, rhs)) = self.broadcast_with(divisor) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("remainder");
        let rest = lhs % rhs;
        let zero = rest.like(0.0);
        let astray = rest.ne(zero) & (rest.lt(zero) ^ rhs.lt(zero));
        astray.select(rest + rhs, rest)
    }

    /// Between this tensor and another: `x + weight·(end − x)`.
    #[doc = example!(x.lerp(10.0, 0.25) => vec![4.0, 7.0]; x = e.constant([2], &[2.0, 6.0]))]
    #[track_caller]
    #[must_use]
    pub fn lerp(self, end: impl Operand<'b>, weight: impl Operand<'b>) -> Tensor<'b> {
        let (end, weight) = (self.operand(end), self.operand(weight));
        let _scope = self.entry.enter("lerp");
        self + weight * (end - self)
    }

    /// `x + factor·a·b`.
    #[doc = example!(
        x.addcmul(y, z, 0.5) => vec![4.0, -1.0];
        x = e.constant([2], &[1.0, 1.0]);
        y = e.constant([2], &[2.0, 4.0]);
        z = e.constant([2], &[3.0, -1.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn addcmul(self, a: impl Operand<'b>, b: impl Operand<'b>, factor: f64) -> Tensor<'b> {
        let (a, b) = (self.operand(a), self.operand(b));
        let _scope = self.entry.enter("addcmul");
        self + a * b * factor
    }

    /// The operand between two bounds; NaN stays NaN. Where `low > high` it is `high`. The
    /// derivative is 1 from bound to bound, the bounds included.
    #[doc = example!(
        x.clamp(0.0, 1.0) => vec![0.0, 0.5, 1.0];
        x = e.constant([3], &[-1.0, 0.5, 7.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn clamp(self, low: impl Operand<'b>, high: impl Operand<'b>) -> Tensor<'b> {
        let (low, high) = (self.operand(low), self.operand(high));
        let _scope = self.entry.enter("clamp");
        let raised = self.lt(low).select(low, self);
        raised.gt(high).select(high, raised)
    }

    /// `on_true` where this tensor, a `bool` one, is true, else `on_false`. All three broadcast;
    /// at least one of the two is a tensor. No gradient passes by the condition, and none by what
    /// is not selected, even if it is NaN.
    #[doc = example!(
        x.gt(0.0).select(x, 0.0) => vec![0.0, 5.0];
        x = e.constant([2], &[-10.0, 5.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn select(self, on_true: impl Operand<'b>, on_false: impl Operand<'b>) -> Tensor<'b> {
        let (on_true, on_false) = (on_true.argument(), on_false.argument());
        let guide = match (on_true, on_false) {
            (Argument::Number(_), Argument::Number(_)) => {
                let message = "expected a tensor to select from, found two bare numbers";
                let diagnostic = Diagnostic::new("dtype_b2", message);
                return self.entry.fail(diagnostic.help("make one a tensor with `Entry::scalar`"));
            }
            (Argument::Number(_), other) | (other, _) => other,
        };
        let guide = self.resolve(guide, self);
        let (on_true, on_false) = (self.resolve(on_true, guide), self.resolve(on_false, guide));
        let Some((on_true, on_false)) = on_true.broadcast_with(on_false) else {
            return self.entry.poisoned();
        };
        let Some((condition, ty)) = self.ty().zip(on_true.ty()) else {
            return self.entry.poisoned();
        };
        let operands = [self, on_true, on_false];
        if condition.dtype != DType::Bool {
            let message = format!("expected a condition of dtype bool, found {condition}");
            return self.entry.fail_on("select_c1", message, &operands);
        }
        let Some(shape) = crate::broadcast::joined(&condition.shape, &ty.shape) else {
            let message = format!("expected shapes that broadcast, found {condition} and {ty}");
            return self.entry.fail_on("broadcast_b1", message, &operands);
        };
        let operands = [self.stretch(&shape), on_true.stretch(&shape), on_false.stretch(&shape)];
        self.entry.emit(Op::Select, &operands, &[])
    }

    /// The same numbers in another dtype: floats round to nearest or truncate toward integers,
    /// saturating, NaN to 0; integers wrap; to `bool`, `x ≠ 0`. The derivative of a cast from float
    /// to float is the cast back.
    #[doc = example!(x.cast(I32) => vec![2, -2, 0]; x = e.constant([3], &[2.9, -2.9, f64::NAN]))]
    #[track_caller]
    #[must_use]
    pub fn cast(self, dtype: DType) -> Tensor<'b> {
        self.cast_exactly(self.entry.builder.resolve_dtype(dtype))
    }

    /// The same numbers in a dtype of the program, of which `F32` is one even under
    /// [`with_float`](crate::Builder::with_float).
    #[track_caller]
    pub(crate) fn cast_exactly(self, dtype: DType) -> Tensor<'b> {
        match self.ty() {
            Some(ty) if ty.dtype != dtype => {
                self.entry.emit(Op::Cast, &[self], &[ty.with_dtype(dtype)])
            }
            Some(_) | None => self,
        }
    }

    #[track_caller]
    pub(crate) fn unary(self, op: UnaryOp) -> Tensor<'b> {
        self.entry.emit(Op::Unary(op), &[self], &[])
    }

    #[track_caller]
    pub(crate) fn binary(self, op: BinaryOp, other: impl Operand<'b>) -> Tensor<'b> {
        match self.meet(other) {
            Some((lhs, rhs)) => self.entry.emit(Op::Binary(op), &[lhs, rhs], &[]),
            None => self.entry.poisoned(),
        }
    }

    #[track_caller]
    pub(crate) fn compare(self, op: CompareOp, other: impl Operand<'b>) -> Tensor<'b> {
        match self.meet(other) {
            Some((lhs, rhs)) => self.entry.emit(Op::Compare(op), &[lhs, rhs], &[]),
            None => self.entry.poisoned(),
        }
    }

    /// Both operands in one shape; a bare number is made in this tensor's at once.
    #[track_caller]
    fn meet(self, other: impl Operand<'b>) -> Option<(Tensor<'b>, Tensor<'b>)> {
        let other = match other.argument() {
            Argument::Tensor(tensor) => tensor,
            Argument::Param(param) => self.entry.read(param),
            Argument::Number(number) => {
                let other = self.number(number, &self.ty()?);
                return other.value.map(|_| (self, other));
            }
        };
        self.broadcast_with(other)
    }

    /// A bare number before an operator.
    #[track_caller]
    fn binary_after(self, number: Number, op: BinaryOp) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let lhs = self.number(number, &ty);
        self.entry.emit(Op::Binary(op), &[lhs, self], &[])
    }

    /// What an argument stands for where `guide` tells bare numbers their dtype.
    #[track_caller]
    fn resolve(self, argument: Argument<'b>, guide: Tensor<'b>) -> Tensor<'b> {
        match argument {
            Argument::Tensor(tensor) => tensor,
            Argument::Param(param) => self.entry.read(param),
            Argument::Number(number) => match guide.ty() {
                Some(ty) => guide.number(number, &Type::scalar(ty.dtype)),
                None => guide,
            },
        }
    }

    /// Whether the dtype is a float one, which the function called `name` needs; records an error
    /// where not.
    #[track_caller]
    pub(crate) fn is_real(self, name: &str) -> bool {
        let Some(ty) = self.ty() else { return false };
        if !ty.dtype.is_float() {
            let message = format!("expected a float dtype (f32, f64) for {name}, found {ty}");
            let diagnostic = Diagnostic::new("dtype_b3", message);
            let diagnostic = self.entry.with_operands(diagnostic, &[self]);
            self.entry.fail(diagnostic.help("convert it with `.cast(F32)`"));
        }
        ty.dtype.is_float()
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident;)*) => {$(
        impl<'b, R: Operand<'b>> ops::$trait<R> for Tensor<'b> {
            type Output = Tensor<'b>;
            #[track_caller]
            fn $method(self, other: R) -> Tensor<'b> {
                self.binary(BinaryOp::$op, other)
            }
        }

        impl<'b> ops::$trait<Tensor<'b>> for Param {
            type Output = Tensor<'b>;
            #[track_caller]
            fn $method(self, other: Tensor<'b>) -> Tensor<'b> {
                other.entry.read(self).binary(BinaryOp::$op, other)
            }
        }
    )*};
}

operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
    Rem rem Rem;
    BitAnd bitand And;
    BitOr bitor Or;
    BitXor bitxor Xor;
    Shl shl Shl;
    Shr shr Shr;
}

/// A bare number before an operator is an `f64` or an `i64`: with one type of each kind the
/// literal of `1.0 - x` has a type at once, and methods may follow the operator.
macro_rules! operators_after_numbers {
    ($($ty:ty, $kind:ident: $($trait:ident $method:ident $op:ident),*;)*) => {$($(
        impl<'b> ops::$trait<Tensor<'b>> for $ty {
            type Output = Tensor<'b>;
            #[track_caller]
            fn $method(self, other: Tensor<'b>) -> Tensor<'b> {
                other.binary_after(Number::$kind(self), BinaryOp::$op)
            }
        }
    )*)*};
}

operators_after_numbers! {
    f64, Float: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    i64, Integer: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem,
        BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor, Shl shl Shl, Shr shr Shr;
}

impl<'b> ops::Neg for Tensor<'b> {
    type Output = Tensor<'b>;
    #[track_caller]
    fn neg(self) -> Tensor<'b> {
        self.unary(UnaryOp::Neg)
    }
}

/// Complements truth values, or every bit of integers.
impl<'b> ops::Not for Tensor<'b> {
    type Output = Tensor<'b>;
    #[track_caller]
    fn not(self) -> Tensor<'b> {
        self.unary(UnaryOp::Not)
    }
}
