//! What a generator knows of the elements of a value, by interval arithmetic.
//!
//! A range contains every element that the value may have, in any call that the generator feeds.
//! It is what keeps programs inside the domains of operations and integers small enough for
//! floating-point arithmetic to be exact.

use kilngrad_ir::DType;
use kilngrad_ir::op::{BinaryOp, ReduceOp, UnaryOp};

/// Bounds of the elements of a value, and whether they are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) whole: bool,
}

impl Range {
    pub(crate) fn new(low: f64, high: f64, whole: bool) -> Range {
        Range { low, high, whole }
    }

    pub(crate) fn point(value: f64) -> Range {
        Range::new(value, value, value.fract() == 0.0)
    }

    /// Every value of a dtype.
    pub(crate) fn all(dtype: DType) -> Range {
        match dtype {
            DType::F32 | DType::F64 => Range::new(f64::NEG_INFINITY, f64::INFINITY, false),
            DType::I32 => Range::new(f64::from(i32::MIN), f64::from(i32::MAX), true),
            DType::I64 => Range::new(i64::MIN as f64, i64::MAX as f64, true),
            DType::U8 => Range::new(0.0, 255.0, true),
            DType::Bool => Range::new(0.0, 1.0, true),
        }
    }

    /// The largest magnitude.
    pub(crate) fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    pub(crate) fn union(self, other: Range) -> Range {
        Range {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            whole: self.whole && other.whole,
        }
    }

    /// The part within `[low, high]`, which elements are clamped to.
    pub(crate) fn clamp(self, low: f64, high: f64) -> Range {
        let (low, high) = (self.low.clamp(low, high), self.high.clamp(low, high));
        // A bound that some element takes may be a fraction.
        Range { low, high, whole: self.whole && low.fract() == 0.0 && high.fract() == 0.0 }
    }

    /// This range where it fits the dtype; every value of the dtype where a result of it wraps or
    /// is not a number.
    pub(crate) fn within(self, dtype: DType) -> Range {
        let all = Range::all(dtype);
        let fits = self.low >= all.low && self.high <= all.high && self.low <= self.high;
        let finite = self.low.is_finite() && self.high.is_finite();
        // The ends of `i64` are not told apart from what wraps in `f64`.
        let sure = dtype != DType::I64 || self.magnitude() < (1u64 << 62) as f64;
        if !fits || !finite || !sure {
            return all;
        }
        Range { whole: self.whole || !dtype.is_float(), ..self }
    }

    /// Elements after `cast`, which saturates floats and wraps integers.
    pub(crate) fn cast(self, from: DType, to: DType) -> Range {
        match to {
            DType::Bool => Range::all(DType::Bool),
            // Rounding keeps the order: what lies between the ends lies between the rounded ones.
            DType::F32 => {
                Range::new(f64::from(self.low as f32), f64::from(self.high as f32), self.whole)
            }
            DType::F64 => self,
            DType::I32 | DType::I64 | DType::U8 if from.is_float() => {
                let all = Range::all(to);
                let cut = Range::new(self.low.trunc(), self.high.trunc(), true);
                // NaN gives 0, which is in the range of every program but wild ones.
                if cut.low.is_nan() || cut.high.is_nan() {
                    all
                } else {
                    cut.clamp(all.low, all.high)
                }
            }
            DType::I32 | DType::I64 | DType::U8 => self.within(to),
        }
    }

    fn of_corners(corners: impl IntoIterator<Item = f64>, whole: bool) -> Range {
        let mut range = Range::new(f64::INFINITY, f64::NEG_INFINITY, whole);
        for corner in corners {
            if corner.is_nan() {
                return Range::new(f64::NEG_INFINITY, f64::INFINITY, false);
            }
            range.low = range.low.min(corner);
            range.high = range.high.max(corner);
        }
        range
    }
}

/// Elements of `op` applied to elements of `x`, whose dtype this is.
pub(crate) fn unary(op: UnaryOp, x: Range, dtype: DType) -> Range {
    let ends = |f: fn(f64) -> f64, whole| Range::of_corners([f(x.low), f(x.high)], whole);
    let result = match op {
        UnaryOp::Neg => ends(|x| -x, x.whole),
        UnaryOp::Abs => {
            let low =
                if x.low <= 0.0 && x.high >= 0.0 { 0.0 } else { x.low.abs().min(x.high.abs()) };
            Range::new(low, x.magnitude(), x.whole)
        }
        UnaryOp::Sign => Range::new(-1.0, 1.0, true),
        UnaryOp::Not => Range::all(dtype),
        UnaryOp::Relu => ends(|x| x.max(0.0), x.whole),
        UnaryOp::Floor => ends(f64::floor, true),
        UnaryOp::Ceil => ends(f64::ceil, true),
        UnaryOp::Round => ends(f64::round_ties_even, true),
        UnaryOp::Trunc => ends(f64::trunc, true),
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
        | UnaryOp::Asin
        | UnaryOp::Acos
        | UnaryOp::Atan
        | UnaryOp::Sinh
        | UnaryOp::Asinh
        | UnaryOp::Acosh
        | UnaryOp::Atanh => ends(op.row().f64, false),
        UnaryOp::Cosh => {
            let reach = x.magnitude().cosh();
            Range::new(1.0, reach, false)
        }
        UnaryOp::Sin | UnaryOp::Cos if x.magnitude().is_finite() => Range::new(-1.0, 1.0, false),
        UnaryOp::Tan if x.magnitude() < 1.5 => ends(f64::tan, false),
        UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tan => Range::all(dtype),
    };
    result.within(dtype)
}

/// Elements of `op` applied to elements of `x` and `y`, whose dtype this is.
pub(crate) fn binary(op: BinaryOp, x: Range, y: Range, dtype: DType) -> Range {
    let whole = x.whole && y.whole;
    let corners = |f: fn(f64, f64) -> f64| {
        let ends = [(x.low, y.low), (x.low, y.high), (x.high, y.low), (x.high, y.high)];
        Range::of_corners(ends.map(|(x, y)| f(x, y)), whole)
    };
    let result = match op {
        BinaryOp::Add => corners(|x, y| x + y),
        BinaryOp::Sub => corners(|x, y| x - y),
        BinaryOp::Mul => corners(|x, y| x * y),
        BinaryOp::Max => corners(f64::max),
        BinaryOp::Min => corners(f64::min),
        BinaryOp::Div if dtype.is_float() && (y.low > 0.0 || y.high < 0.0) => {
            Range { whole: false, ..corners(|x, y| x / y) }
        }
        BinaryOp::Rem if y.low > 0.0 || y.high < 0.0 => {
            let reach = x.magnitude().min(y.magnitude());
            Range::new(
                if x.low < 0.0 { -reach } else { 0.0 },
                if x.high > 0.0 { reach } else { 0.0 },
                whole,
            )
        }
        BinaryOp::Pow if x.low > 0.0 => Range { whole: false, ..corners(f64::powf) },
        BinaryOp::Atan2 if x.magnitude().is_finite() && y.magnitude().is_finite() => {
            Range::new(-4.0, 4.0, false)
        }
        BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Pow
        | BinaryOp::Atan2
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr => Range::all(dtype),
    };
    result.within(dtype)
}

/// Elements of the reduction of up to `count` elements of `x`, whose dtype this is.
pub(crate) fn reduce(op: ReduceOp, x: Range, count: usize, dtype: DType) -> Range {
    let count = count as f64;
    let result = match op {
        ReduceOp::Sum => Range::new((x.low * count).min(0.0), (x.high * count).max(0.0), x.whole),
        ReduceOp::Prod => {
            let reach = x.magnitude().max(1.0).powf(count);
            let low = if x.low < 0.0 { -reach } else { 0.0 };
            Range::new(low, reach, x.whole)
        }
        ReduceOp::Max | ReduceOp::Min if count > 0.0 => x,
        // Of nothing they are the ends of the dtype.
        ReduceOp::Max | ReduceOp::Min => Range::all(dtype),
    };
    result.within(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_wrap_are_everything() {
        let big = Range::new(0.0, 200.0, true);
        assert_eq!(binary(BinaryOp::Add, big, big, DType::U8), Range::all(DType::U8));
        assert_eq!(binary(BinaryOp::Add, big, big, DType::I32), Range::new(0.0, 400.0, true));
        assert_eq!(unary(UnaryOp::Neg, big, DType::U8), Range::all(DType::U8));
        let all = Range::all(DType::F64);
        assert_eq!(binary(BinaryOp::Mul, all, Range::point(0.0), DType::F64), all);
    }

    #[test]
    fn ranges_contain_what_operations_give() {
        let x = Range::new(-2.0, 3.0, true);
        assert_eq!(unary(UnaryOp::Abs, x, DType::F32), Range::new(0.0, 3.0, true));
        assert_eq!(binary(BinaryOp::Mul, x, x, DType::F32), Range::new(-6.0, 9.0, true));
        assert_eq!(reduce(ReduceOp::Sum, x, 4, DType::F32), Range::new(-8.0, 12.0, true));
        assert_eq!(x.cast(DType::F32, DType::U8), Range::new(0.0, 3.0, true));
    }
}
