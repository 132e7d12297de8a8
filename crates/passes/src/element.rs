//! Elements: the rows' own references applied to literals.
//!
//! Constant folding computes through these, so a folded constant has the bits that the
//! interpreter would compute.

use kilngrad_ir::op::{BinaryOp, CompareOp, ReduceOp, UnaryOp};
use kilngrad_ir::{DType, Literal};

/// `op x`.
pub(crate) fn unary(op: UnaryOp, x: Literal) -> Literal {
    let row = op.row();
    match x.dtype() {
        DType::F32 => f32_literal((row.f32)(as_f32(x))),
        DType::F64 => f64_literal((row.f64)(as_f64(x))),
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => {
            wrap(x.dtype(), (row.integer)(x.to_i64()))
        }
    }
}

/// `op x, y`.
pub(crate) fn binary(op: BinaryOp, x: Literal, y: Literal) -> Literal {
    let row = op.row();
    match x.dtype() {
        DType::F32 => f32_literal((row.f32)(as_f32(x), as_f32(y))),
        DType::F64 => f64_literal((row.f64)(as_f64(x), as_f64(y))),
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => {
            let width = 8 * x.dtype().size() as u32;
            wrap(x.dtype(), (row.integer)(x.to_i64(), y.to_i64(), width))
        }
    }
}

/// Whether the comparison holds.
pub(crate) fn compare(op: CompareOp, x: Literal, y: Literal) -> Literal {
    let holds = if x.dtype().is_float() {
        op.holds(x.to_f64(), y.to_f64())
    } else {
        op.holds(x.to_i64(), y.to_i64())
    };
    Literal::from_bits(DType::Bool, u64::from(holds))
}

/// The same number in another dtype.
pub(crate) fn cast(dtype: DType, x: Literal) -> Literal {
    if x.dtype() == dtype {
        x
    } else if x.dtype().is_float() {
        Literal::from_f64(dtype, x.to_f64())
    } else {
        Literal::from_i64(dtype, x.to_i64())
    }
}

/// What a reduction of nothing gives.
pub(crate) fn identity(op: ReduceOp, dtype: DType) -> Literal {
    let (low, high) = match dtype {
        DType::F32 | DType::F64 => {
            let of = |x| Literal::from_f64(dtype, x);
            (of(f64::NEG_INFINITY), of(f64::INFINITY))
        }
        DType::I32 => range(dtype, i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I64 => range(dtype, i64::MIN, i64::MAX),
        DType::U8 => range(dtype, 0, i64::from(u8::MAX)),
        DType::Bool => range(dtype, 0, 1),
    };
    match op {
        ReduceOp::Sum => Literal::from_i64(dtype, 0),
        ReduceOp::Prod => Literal::from_i64(dtype, 1),
        ReduceOp::Max => low,
        ReduceOp::Min => high,
    }
}

/// The elementwise operation that combines two elements of a reduction.
pub(crate) fn combiner(op: ReduceOp) -> BinaryOp {
    match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    }
}

/// Whether every order of combining gives the same bits.
pub(crate) fn order_is_free(op: ReduceOp, dtype: DType) -> bool {
    match op {
        ReduceOp::Sum | ReduceOp::Prod => !dtype.is_float(),
        // −0 and +0 are equal, so which of them a float maximum gives depends on the order.
        ReduceOp::Max | ReduceOp::Min => !dtype.is_float(),
    }
}

fn range(dtype: DType, low: i64, high: i64) -> (Literal, Literal) {
    (Literal::from_i64(dtype, low), Literal::from_i64(dtype, high))
}

fn as_f32(x: Literal) -> f32 {
    f32::from_bits(x.bits() as u32)
}

fn as_f64(x: Literal) -> f64 {
    f64::from_bits(x.bits())
}

fn f32_literal(x: f32) -> Literal {
    Literal::from_bits(DType::F32, u64::from(x.to_bits()))
}

fn f64_literal(x: f64) -> Literal {
    Literal::from_bits(DType::F64, x.to_bits())
}

/// Wraps to the dtype; of a truth value the lowest bit counts.
fn wrap(dtype: DType, x: i64) -> Literal {
    match dtype {
        DType::Bool => Literal::from_bits(dtype, x as u64 & 1),
        DType::F32 | DType::F64 | DType::I32 | DType::I64 | DType::U8 => {
            Literal::from_i64(dtype, x)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_values_complement() {
        for (x, expected) in [(0, 1), (1, 0)] {
            let not = unary(UnaryOp::Not, Literal::from_bits(DType::Bool, x));
            assert_eq!(not, Literal::from_bits(DType::Bool, expected));
        }
    }

    #[test]
    fn integers_wrap_to_their_width() {
        let of = |x| Literal::from_i64(DType::U8, x);
        assert_eq!(binary(BinaryOp::Add, of(200), of(100)), of(44));
        assert_eq!(binary(BinaryOp::Shr, of(200), of(9)), of(100));
        let big = Literal::from_i64(DType::I32, i64::from(i32::MAX));
        assert_eq!(unary(UnaryOp::Neg, unary(UnaryOp::Not, big)), unary(UnaryOp::Not, big));
    }
}
