//! Bounds of elementwise operations.

use kilngrad_interp::Array;
use kilngrad_ir::op::{BinaryOp, UnaryOp};
use kilngrad_ir::{DType, Literal};

use super::{Bounded, ULPS_F32, ULPS_F64, underflow, unit};

pub(super) fn unary(op: UnaryOp, x: &Bounded, result: &Array) -> Vec<f64> {
    let dtype = result.dtype();
    let elements = x.value.iter().zip(&x.error).zip(result.iter());
    elements
        .map(|((x, error), y)| {
            let (x, y) = (x.to_f64(), y.to_f64());
            if !dtype.is_float() || !x.is_finite() || !y.is_finite() {
                return if *error == 0.0 { 0.0 } else { f64::INFINITY };
            }
            unary_element(op, x, *error, y, dtype)
        })
        .collect()
}

fn unary_element(op: UnaryOp, x: f64, error: f64, y: f64, dtype: DType) -> f64 {
    let f = op.row().f64;
    let ends = [f(x - error), f(x + error)];
    let spread = ends.iter().map(|end| (end - y).abs()).fold(0.0, f64::max);
    let promise = match op {
        // Not monotonic, or never further apart than its operands.
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu => return error,
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => {
            return if error == 0.0 { 0.0 } else { nan_is_infinite(spread) };
        }
        UnaryOp::Not => return if error == 0.0 { 0.0 } else { f64::INFINITY },
        UnaryOp::Sqrt => 2.0 * unit(dtype),
        UnaryOp::Exp
        | UnaryOp::Expm1
        | UnaryOp::Log
        | UnaryOp::Log1p
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
        | UnaryOp::Cosh
        | UnaryOp::Asinh
        | UnaryOp::Acosh
        | UnaryOp::Atanh => function(dtype),
        // Never further apart than their operands, which may lie around a turning point.
        UnaryOp::Sin | UnaryOp::Cos => return error + function(dtype) + underflow(dtype),
        UnaryOp::Tan => {
            let branch = |x: f64| (x / std::f64::consts::PI).round();
            if branch(x - error) != branch(x + error) {
                return f64::INFINITY;
            }
            function(dtype)
        }
    };
    let size = ends.iter().fold(y.abs(), |size, end| size.max(end.abs()));
    nan_is_infinite(spread + promise * size + underflow(dtype))
}

/// Relative error of a function that is not rounded correctly: a unit in the last place is up to
/// two roundings, and the interpreter rounds as well.
fn function(dtype: DType) -> f64 {
    let ulps = if dtype == DType::F32 { ULPS_F32 } else { ULPS_F64 };
    2.0 * (ulps + 1.0) * unit(dtype)
}

fn nan_is_infinite(bound: f64) -> f64 {
    if bound.is_nan() { f64::INFINITY } else { bound }
}

pub(super) fn binary(op: BinaryOp, x: &Bounded, y: &Bounded, result: &Array) -> Vec<f64> {
    let dtype = result.dtype();
    let left = x.value.iter().zip(&x.error);
    let right = y.value.iter().zip(&y.error);
    left.zip(right)
        .zip(result.iter())
        .map(|(((x, ex), (y, ey)), z)| {
            let (x, y, z) = (x.to_f64(), y.to_f64(), z.to_f64());
            let finite = x.is_finite() && y.is_finite() && z.is_finite();
            if !dtype.is_float() || !finite {
                return if *ex == 0.0 && *ey == 0.0 { 0.0 } else { f64::INFINITY };
            }
            nan_is_infinite(binary_element(op, (x, *ex), (y, *ey), z, dtype))
        })
        .collect()
}

fn binary_element(
    op: BinaryOp,
    (x, ex): (f64, f64),
    (y, ey): (f64, f64),
    z: f64,
    dtype: DType,
) -> f64 {
    let rounding = 2.0 * unit(dtype) * z.abs();
    let corners = |f: fn(f64, f64) -> f64| {
        let ends = [(x - ex, y - ey), (x - ex, y + ey), (x + ex, y - ey), (x + ex, y + ey)];
        ends.into_iter()
            .map(|(x, y)| (f(x, y) - z).abs())
            .fold(0.0, |a: f64, b| if b.is_nan() { f64::INFINITY } else { a.max(b) })
    };
    let exact = ex == 0.0 && ey == 0.0;
    match op {
        BinaryOp::Atan2 => {
            // Around the origin, and across the negative half of the axis, the angle jumps.
            if !exact && x.abs() <= ex && y <= ey {
                return f64::INFINITY;
            }
            corners(f64::atan2) + function(dtype) * z.abs() + underflow(dtype)
        }
        BinaryOp::Add | BinaryOp::Sub => ex + ey + rounding,
        BinaryOp::Mul => x.abs() * ey + y.abs() * ex + ex * ey + rounding + underflow(dtype),
        BinaryOp::Max | BinaryOp::Min => ex.max(ey),
        BinaryOp::Div => {
            if y.abs() <= ey {
                return if exact { 0.0 } else { f64::INFINITY };
            }
            corners(|x, y| x / y) + rounding + underflow(dtype)
        }
        BinaryOp::Rem => {
            // The remainder jumps where the quotient passes a whole number.
            let quotients = [
                (x - ex) / (y - ey),
                (x - ex) / (y + ey),
                (x + ex) / (y - ey),
                (x + ex) / (y + ey),
            ];
            let steady = y.abs() > ey && quotients.iter().all(|q| q.trunc() == (x / y).trunc());
            match (exact, steady) {
                (true, _) => 0.0,
                (false, true) => ex + ey * (x / y).abs().ceil(),
                (false, false) => f64::INFINITY,
            }
        }
        BinaryOp::Pow => {
            if x <= ex && !exact {
                return f64::INFINITY;
            }
            corners(f64::powf) + function(dtype) * z.abs() + underflow(dtype)
        }
        // Not operations on floats.
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => {
            if exact {
                0.0
            } else {
                f64::INFINITY
            }
        }
    }
}

/// Sure where the operands are exact, or further apart than they may be off.
pub(super) fn compare(x: &Bounded, y: &Bounded) -> Vec<f64> {
    let left = x.value.iter().zip(&x.error);
    let right = y.value.iter().zip(&y.error);
    left.zip(right)
        .map(|((x, ex), (y, ey))| {
            let apart = (x.to_f64() - y.to_f64()).abs() > ex + ey;
            if (*ex == 0.0 && *ey == 0.0) || apart { 0.0 } else { f64::INFINITY }
        })
        .collect()
}

pub(super) fn select(condition: &Bounded, x: &Bounded, y: &Bounded) -> Vec<f64> {
    let chosen = condition.value.iter().zip(&condition.error);
    let pairs = (x.value.iter().zip(&x.error)).zip(y.value.iter().zip(&y.error));
    chosen
        .zip(pairs)
        .map(|((condition, doubt), ((x, ex), (y, ey)))| match (*doubt == 0.0, condition.to_i64()) {
            (true, 0) => *ey,
            (true, _) => *ex,
            // Either may be taken.
            (false, _) if x.dtype().is_float() => {
                nan_is_infinite((x.to_f64() - y.to_f64()).abs() + ex.max(*ey))
            }
            (false, _) if x == y && *ex == 0.0 && *ey == 0.0 => 0.0,
            (false, _) => f64::INFINITY,
        })
        .collect()
}

pub(super) fn cast(x: &Bounded, result: &Array) -> Vec<f64> {
    let dtype = result.dtype();
    let elements = x.value.iter().zip(&x.error).zip(result.iter());
    elements
        .map(|((x, error), y)| {
            if *error == 0.0 {
                return 0.0;
            }
            let x = x.to_f64();
            if dtype.is_float() {
                return error + 2.0 * unit(dtype) * (x.abs() + error);
            }
            let ends = [x - error, x + error].map(|end| Literal::from_f64(dtype, end));
            if ends.iter().all(|end| *end == y) { 0.0 } else { f64::INFINITY }
        })
        .collect()
}
