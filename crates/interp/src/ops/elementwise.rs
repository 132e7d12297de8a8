//! Element by element, by the reference functions in the operations' rows.

use kilngrad_ir::op::{BinaryOp, BinaryRow, CompareOp, UnaryOp, UnaryRow};
use kilngrad_ir::{DType, Literal};
use ndarray::{ArrayD, Zip};

use crate::array::{Array, for_any, for_dtype};
use crate::element::Element;

/// Which of a row's reference functions applies to a type of elements, and how its result wraps.
pub(super) trait Arithmetic: Element {
    fn unary(row: &UnaryRow, x: Self) -> Self;
    fn binary(row: &BinaryRow, x: Self, y: Self) -> Self;
}

macro_rules! float {
    ($($ty:ident),*) => {$(
        impl Arithmetic for $ty {
            fn unary(row: &UnaryRow, x: Self) -> Self {
                (row.$ty)(x)
            }

            fn binary(row: &BinaryRow, x: Self, y: Self) -> Self {
                (row.$ty)(x, y)
            }
        }
    )*};
}

macro_rules! integer {
    ($($ty:ident),*) => {$(
        impl Arithmetic for $ty {
            fn unary(row: &UnaryRow, x: Self) -> Self {
                (row.integer)(i64::from(x)) as $ty
            }

            fn binary(row: &BinaryRow, x: Self, y: Self) -> Self {
                (row.integer)(i64::from(x), i64::from(y), <$ty>::BITS) as $ty
            }
        }
    )*};
}

float!(f32, f64);
integer!(i32, i64, u8);

/// A truth value is an integer of one bit.
impl Arithmetic for bool {
    fn unary(row: &UnaryRow, x: Self) -> Self {
        (row.integer)(i64::from(x)) & 1 != 0
    }

    fn binary(row: &BinaryRow, x: Self, y: Self) -> Self {
        (row.integer)(i64::from(x), i64::from(y), 1) & 1 != 0
    }
}

pub(super) fn unary(op: UnaryOp, x: &Array) -> Array {
    let row = op.row();
    for_any!(x, x => Array::from(x.mapv(|x| Arithmetic::unary(row, x))))
}

pub(super) fn binary(op: BinaryOp, x: &Array, y: &Array) -> Array {
    fn of<T: Arithmetic>(row: &BinaryRow, x: &ArrayD<T>, y: &Array) -> Array {
        let y = same_dtype(y);
        Zip::from(x).and(y).map_collect(|x, y| T::binary(row, *x, *y)).into()
    }
    for_any!(x, x => of(op.row(), x, y))
}

pub(super) fn compare(op: CompareOp, x: &Array, y: &Array) -> Array {
    fn of<T: Element>(op: CompareOp, x: &ArrayD<T>, y: &Array) -> Array {
        Zip::from(x).and(same_dtype(y)).map_collect(|x, y| op.holds(*x, *y)).into()
    }
    for_any!(x, x => of(op, x, y))
}

pub(super) fn select(condition: &Array, on_true: &Array, on_false: &Array) -> Array {
    fn of<T: Element>(condition: &ArrayD<bool>, x: &ArrayD<T>, y: &Array) -> Array {
        Zip::from(condition)
            .and(x)
            .and(same_dtype(y))
            .map_collect(|condition, x, y| if *condition { *x } else { *y })
            .into()
    }
    let condition = same_dtype(condition);
    for_any!(on_true, x => of(condition, x, on_false))
}

/// Through the widest type of its kind, from which every conversion is one rounding, truncation or
/// wrapping.
pub(super) fn cast(x: &Array, dtype: DType) -> Array {
    fn of<T: Element, S: Element>(x: &ArrayD<S>) -> Array {
        let convert = |x: S| {
            if S::DTYPE.is_float() {
                Literal::from_f64(T::DTYPE, x.to_literal().to_f64())
            } else {
                Literal::from_i64(T::DTYPE, x.to_literal().to_i64())
            }
        };
        x.mapv(|x| T::from_literal(convert(x))).into()
    }
    for_any!(x, x => for_dtype!(dtype, T => of::<T, _>(x)))
}

fn same_dtype<T: Element>(array: &Array) -> &ArrayD<T> {
    T::view(array).expect("operands have the dtypes that the type rules ask for")
}
