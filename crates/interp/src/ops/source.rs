//! Operations without array operands: constants, dimensions, indices, random numbers.

use kilngrad_ir::{Constant, DType, Dim, Literal, random};
use ndarray::{ArrayD, IxDyn};

use crate::array::{Array, for_dtype};
use crate::element::Element;

pub(super) fn constant(constant: &Constant, shape: &[usize]) -> Array {
    match constant {
        Constant::Splat(literal) => Array::splat(*literal, shape),
        Constant::Dense(dense) => {
            Array::from_dense(dense, shape).expect("a constant has an element for each index")
        }
    }
}

pub(super) fn dimension(dim: &Dim, dtype: DType) -> Array {
    let value = dim.as_constant().expect("symbols are bound");
    Array::splat(Literal::from_i64(dtype, value), &[])
}

/// Indices wrap in narrow integers and round to nearest in floats, as `cast` from `i64` does.
pub(super) fn iota(axis: usize, dtype: DType, shape: &[usize]) -> Array {
    for_dtype!(dtype, T => {
        T::wrap(ArrayD::from_shape_fn(IxDyn(shape), |index| {
            T::from_literal(Literal::from_i64(dtype, index[axis] as i64))
        }))
    })
}

/// Element `i` in row-major order is element `i` of the draw, whatever the shape.
pub(super) fn random(
    seed: &Array,
    counter: &Array,
    stream: u64,
    dtype: DType,
    shape: &[usize],
) -> Array {
    let scalar = |array: &Array| array.scalar().expect("a seed or counter is a scalar").to_i64();
    let key = random::key(scalar(seed), stream, scalar(counter));
    let count: usize = shape.iter().product();
    for_dtype!(dtype, T => {
        let elements = (0..count as u64)
            .map(|index| T::from_literal(random::element(key, index, dtype)))
            .collect::<Vec<T>>();
        Array::from_elements(shape, elements).expect("an element for each index")
    })
}
