//! Combining the elements along axes.

use std::ops::{Add, Mul};

use kilngrad_ir::op::{ArgReduceOp, BinaryOp, ReduceOp};
use ndarray::{ArrayD, Axis, IxDyn};

use super::elementwise::Arithmetic;
use crate::array::Array;
use crate::element::Element;

/// A number, with the type that its sums and products are accumulated in: exact for terms of
/// `f32`, and for integers wide enough that wrapping at the end wraps as if at each step.
pub(super) trait Number: Arithmetic {
    type Wide: Copy + Add<Output = Self::Wide> + Mul<Output = Self::Wide>;
    const ZERO: Self::Wide;
    const ONE: Self::Wide;
    /// What the maximum of nothing is.
    const LOWEST: Self;
    /// What the minimum of nothing is.
    const HIGHEST: Self;
    fn widen(self) -> Self::Wide;
    fn narrow(wide: Self::Wide) -> Self;
    fn is_nan(self) -> bool;
}

macro_rules! float {
    ($($ty:ident),*) => {$(
        impl Number for $ty {
            type Wide = f64;
            const ZERO: f64 = 0.0;
            const ONE: f64 = 1.0;
            const LOWEST: $ty = $ty::NEG_INFINITY;
            const HIGHEST: $ty = $ty::INFINITY;

            fn widen(self) -> f64 {
                f64::from(self)
            }

            fn narrow(wide: f64) -> $ty {
                wide as $ty
            }

            fn is_nan(self) -> bool {
                self != self
            }
        }
    )*};
}

macro_rules! integer {
    ($($ty:ident),*) => {$(
        impl Number for $ty {
            type Wide = std::num::Wrapping<i64>;
            const ZERO: Self::Wide = std::num::Wrapping(0);
            const ONE: Self::Wide = std::num::Wrapping(1);
            const LOWEST: $ty = $ty::MIN;
            const HIGHEST: $ty = $ty::MAX;

            fn widen(self) -> Self::Wide {
                std::num::Wrapping(i64::from(self))
            }

            fn narrow(wide: Self::Wide) -> $ty {
                wide.0 as $ty
            }

            fn is_nan(self) -> bool {
                false
            }
        }
    )*};
}

float!(f32, f64);
integer!(i32, i64, u8);

/// Evaluates an expression for the `ndarray` inside an array of numbers.
macro_rules! for_number {
    ($array:expr, $inner:ident => $body:expr) => {
        match $array {
            $crate::Array::F32($inner) => $body,
            $crate::Array::F64($inner) => $body,
            $crate::Array::I32($inner) => $body,
            $crate::Array::I64($inner) => $body,
            $crate::Array::U8($inner) => $body,
            $crate::Array::Bool(_) => unreachable!("the type rules ask for a number dtype"),
        }
    };
}

pub(super) use for_number;

pub(super) fn reduce(op: ReduceOp, axes: &[usize], x: &Array, shape: &[usize]) -> Array {
    fn of<T: Number>(op: ReduceOp, axes: &[usize], x: &ArrayD<T>, shape: &[usize]) -> Array {
        let combine = |terms: &[T]| -> T {
            match op {
                ReduceOp::Sum => {
                    T::narrow(terms.iter().fold(T::ZERO, |sum, term| sum + term.widen()))
                }
                ReduceOp::Prod => {
                    T::narrow(terms.iter().fold(T::ONE, |product, term| product * term.widen()))
                }
                ReduceOp::Max => extreme(BinaryOp::Max, T::LOWEST, terms),
                ReduceOp::Min => extreme(BinaryOp::Min, T::HIGHEST, terms),
            }
        };
        let terms = last(x, axes);
        let count = axes.iter().map(|axis| x.shape()[*axis]).product();
        let results: usize = shape.iter().product();
        let combined: Vec<T> =
            (0..results).map(|index| combine(&terms[index * count..][..count])).collect();
        Array::from_elements(shape, combined).expect("an element for each kept index")
    }
    for_number!(x, x => of(op, axes, x, shape))
}

pub(super) fn arg_reduce(op: ArgReduceOp, axis: usize, x: &Array, shape: &[usize]) -> Array {
    fn of<T: Number>(op: ArgReduceOp, axis: usize, x: &ArrayD<T>, shape: &[usize]) -> Array {
        let beats = |x: T, best: T| match op {
            _ if best.is_nan() => false,
            _ if x.is_nan() => true,
            ArgReduceOp::Max => x > best,
            ArgReduceOp::Min => x < best,
        };
        let first = x.lanes(Axis(axis)).into_iter().map(|lane| {
            let best = (0..lane.len())
                .reduce(|best, index| if beats(lane[index], lane[best]) { index } else { best });
            best.expect("the type rules refuse an empty axis") as i64
        });
        Array::from_elements(shape, first.collect()).expect("an element for each kept index")
    }
    for_number!(x, x => of(op, axis, x, shape))
}

fn extreme<T: Number>(op: BinaryOp, of_nothing: T, terms: &[T]) -> T {
    let row = op.row();
    terms.iter().fold(of_nothing, |best, term| T::binary(row, best, *term))
}

/// The elements in row-major order once the axes `axes` are moved behind the others, so that each
/// result's terms are side by side.
fn last<T: Element>(x: &ArrayD<T>, axes: &[usize]) -> Vec<T> {
    let kept = (0..x.ndim()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    x.view().permuted_axes(IxDyn(&order)).iter().copied().collect()
}
