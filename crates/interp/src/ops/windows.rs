//! Windows of a tensor, and the sums that are their transpose.

use kilngrad_ir::op::Window;
use ndarray::{ArrayD, AxisDescription, Dimension, IxDyn, Slice, SliceInfoElem};

use super::reduce::{Number, for_number};
use crate::array::{Array, for_any};
use crate::element::Element;

/// For each index within a window, the elements that all windows have there.
pub(super) fn windows(windows: &[Window], x: &Array, shape: &[usize]) -> Array {
    fn of<T: Element>(windows: &[Window], x: &ArrayD<T>, shape: &[usize]) -> Array {
        let Some(first) = x.first() else {
            return Array::from_elements::<T>(shape, Vec::new()).expect("windows of nothing");
        };
        let mut view = ArrayD::from_elem(IxDyn(shape), *first);
        for within in indices(windows) {
            let shown = x.slice_each_axis(|axis| shown(windows, &within, shape, &axis));
            view.slice_mut(&place(x.ndim(), &within)[..]).assign(&shown);
        }
        view.into()
    }
    for_any!(x, x => of(windows, x, shape))
}

/// Each element added, in the type that sums are accumulated in, to the one that it shows.
pub(super) fn fold(windows: &[Window], x: &Array, shape: &[usize]) -> Array {
    fn of<T: Number>(windows: &[Window], x: &ArrayD<T>, shape: &[usize]) -> Array {
        let mut sums = ArrayD::from_elem(IxDyn(shape), T::ZERO);
        for within in indices(windows) {
            let positions = x.shape();
            let mut shown =
                sums.slice_each_axis_mut(|axis| shown(windows, &within, positions, &axis));
            let terms = x.slice(&place(shape.len(), &within)[..]);
            shown.zip_mut_with(&terms, |sum, term| *sum = *sum + term.widen());
        }
        sums.mapv(T::narrow).into()
    }
    for_number!(x, x => of(windows, x, shape))
}

/// Every index within a window, in row-major order.
fn indices(windows: &[Window]) -> Vec<IxDyn> {
    let sizes: Vec<usize> = windows.iter().map(|window| window.size).collect();
    ndarray::indices(IxDyn(&sizes)).into_iter().collect()
}

/// The part of an axis that windows show at an index within them.
fn shown(windows: &[Window], within: &IxDyn, shape: &[usize], axis: &AxisDescription) -> Slice {
    let axis = axis.axis.index();
    let Some(at) = windows.iter().position(|window| window.axis == axis) else {
        return Slice::from(..);
    };
    let signed = |distance: usize| isize::try_from(distance).unwrap_or(isize::MAX);
    let Window { stride, dilation, .. } = windows[at];
    let start = signed(within[at] * dilation);
    // There is a window, and the last index of any is one of the axis.
    let last = start + signed((shape[axis] - 1) * stride);
    Slice::new(start, Some(last + 1), signed(stride))
}

/// The place of an index within windows: after so many axes, which are whole.
fn place(before: usize, within: &IxDyn) -> Vec<SliceInfoElem> {
    let whole = SliceInfoElem::Slice { start: 0, end: None, step: 1 };
    let indices = within.slice().iter().map(|index| SliceInfoElem::from(*index));
    std::iter::repeat_n(whole, before).chain(indices).collect()
}
