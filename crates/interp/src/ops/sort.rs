//! The order of elements.

use ndarray::{ArrayD, Axis};

use super::reduce::{Number, for_number};
use crate::array::Array;

/// The indices that bring each lane along `axis` into order.
pub(super) fn argsort(axis: usize, descending: bool, x: &Array) -> Array {
    fn of<T: Number>(axis: usize, descending: bool, x: &ArrayD<T>) -> Array {
        // NaN is above every number.
        let order = |a: &T, b: &T| match a.partial_cmp(b) {
            Some(order) => order,
            None => a.is_nan().cmp(&b.is_nan()),
        };
        let mut indices = ArrayD::<i64>::zeros(x.raw_dim());
        for (lane, mut to) in x.lanes(Axis(axis)).into_iter().zip(indices.lanes_mut(Axis(axis))) {
            let mut sorted: Vec<usize> = (0..lane.len()).collect();
            sorted.sort_by(|&a, &b| {
                let order = order(&lane[a], &lane[b]);
                if descending { order.reverse() } else { order }
            });
            to.iter_mut().zip(sorted).for_each(|(to, index)| *to = index as i64);
        }
        indices.into()
    }
    for_number!(x, x => of(axis, descending, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_stay_and_nan_is_above() {
        let nan = f32::NAN;
        let x = Array::from(vec![2.0f32, nan, -0.0, f32::INFINITY, 0.0, 2.0, nan]);
        assert_eq!(argsort(0, false, &x), Array::from(vec![2i64, 4, 0, 5, 3, 1, 6]));
        assert_eq!(argsort(0, true, &x), Array::from(vec![1i64, 6, 3, 0, 5, 2, 4]));
    }
}
