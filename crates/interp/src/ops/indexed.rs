//! Slices that indices pick: gather and scatter-add.

use ndarray::{ArrayD, Axis};

use super::reduce::{Number, for_number};
use crate::array::{Array, for_any};
use crate::element::Element;

/// The slices of `x` along an axis, in the order of the indices.
pub(super) fn gather(axis: usize, x: &Array, indices: &Array, shape: &[usize]) -> Array {
    fn of<T: Element>(axis: usize, x: &ArrayD<T>, picked: &[usize], shape: &[usize]) -> Array {
        let slices = x.select(Axis(axis), picked);
        let elements = slices.as_standard_layout().iter().copied().collect();
        Array::from_elements(shape, elements).expect("as many elements")
    }
    let picked = nearest(indices, x.shape()[axis]);
    for_any!(x, x => of(axis, x, &picked, shape))
}

/// `x` with slices added to it, in the type that sums are accumulated in.
pub(super) fn scatter_add(axis: usize, x: &Array, indices: &Array, slices: &Array) -> Array {
    fn of<T: Number>(axis: usize, x: &ArrayD<T>, picked: &[usize], slices: &Array) -> Array {
        let mut sums = x.mapv(T::widen);
        let slices = T::view(slices).expect("both have one dtype");
        // The axes of the indices as one, so that each of them has one slice.
        let mut shape = x.shape().to_vec();
        shape[axis] = picked.len();
        let slices = slices.to_shape(shape).expect("as many elements");
        for (position, &index) in picked.iter().enumerate() {
            let mut into = sums.index_axis_mut(Axis(axis), index);
            into.zip_mut_with(&slices.index_axis(Axis(axis), position), |sum, slice| {
                *sum = *sum + slice.widen();
            });
        }
        sums.mapv(T::narrow).into()
    }
    let picked = nearest(indices, x.shape()[axis]);
    for_number!(x, x => of(axis, x, &picked, slices))
}

/// The indices, each the nearest that there is.
fn nearest(indices: &Array, length: usize) -> Vec<usize> {
    let last = length.saturating_sub(1);
    let indices = i64::view(indices).expect("indices are i64");
    indices.iter().map(|&i| usize::try_from(i.max(0)).map_or(last, |i| i.min(last))).collect()
}
