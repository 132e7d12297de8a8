//! The same elements elsewhere: broadcast, reshape, transpose, slice, pad, concatenate.

use kilngrad_ir::Dim;
use kilngrad_ir::op::{PadAxis, SliceAxis};
use ndarray::{ArrayD, Axis, IxDyn, Slice};

use crate::array::{Array, for_any};
use crate::element::Element;

pub(super) fn broadcast(dims: &[usize], x: &Array, shape: &[usize]) -> Array {
    fn of<T: Element>(dims: &[usize], x: &ArrayD<T>, shape: &[usize]) -> Array {
        // Axes that the operand has not are put in with length 1, which `ndarray` repeats.
        let mut view = x.view();
        for axis in (0..shape.len()).filter(|axis| !dims.contains(axis)) {
            view = view.insert_axis(Axis(axis));
        }
        let repeated = view.broadcast(IxDyn(shape)).expect("other axes have equal lengths");
        repeated.as_standard_layout().into_owned().into()
    }
    for_any!(x, x => of(dims, x, shape))
}

pub(super) fn reshape(x: &Array, shape: &[usize]) -> Array {
    fn of<T: Element>(x: &ArrayD<T>, shape: &[usize]) -> Array {
        Array::from_elements(shape, x.iter().copied().collect()).expect("as many elements")
    }
    for_any!(x, x => of(x, shape))
}

pub(super) fn transpose(permutation: &[usize], x: &Array) -> Array {
    fn of<T: Element>(permutation: &[usize], x: &ArrayD<T>) -> Array {
        x.view().permuted_axes(IxDyn(permutation)).as_standard_layout().into_owned().into()
    }
    for_any!(x, x => of(permutation, x))
}

pub(super) fn slice(axes: &[SliceAxis], x: &Array) -> Array {
    fn of<T: Element>(axes: &[SliceAxis], x: &ArrayD<T>) -> Array {
        let kept = x.slice_each_axis(|axis| {
            let range = &axes[axis.axis.index()];
            Slice::new(signed(&range.start), Some(signed(&range.limit)), step(range.stride))
        });
        kept.as_standard_layout().into_owned().into()
    }
    for_any!(x, x => of(axes, x))
}

pub(super) fn pad(axes: &[PadAxis], x: &Array, value: &Array, shape: &[usize]) -> Array {
    fn of<T: Element>(axes: &[PadAxis], x: &ArrayD<T>, value: &Array, shape: &[usize]) -> Array {
        let value = T::from_literal(value.scalar().expect("the padding is a scalar"));
        let mut padded = ArrayD::from_elem(IxDyn(shape), value);
        let mut inside = padded.slice_each_axis_mut(|axis| {
            let axis = axis.axis.index();
            let low = signed(&axes[axis].low);
            let step = step(axes[axis].interior).saturating_add(1);
            let end = match x.shape()[axis] as isize {
                0 => low,
                length => low + (length - 1) * step + 1,
            };
            Slice::new(low, Some(end), step)
        });
        inside.assign(x);
        padded.into()
    }
    for_any!(x, x => of(axes, x, value, shape))
}

pub(super) fn concat(axis: usize, pieces: &[&Array]) -> Array {
    fn of<T: Element>(axis: usize, _: &ArrayD<T>, pieces: &[&Array]) -> Array {
        let view = |piece| T::view(piece).expect("pieces have one dtype").view();
        let views: Vec<_> = pieces.iter().map(|piece| view(piece)).collect();
        let joined = ndarray::concatenate(Axis(axis), &views).expect("pieces differ in one axis");
        joined.as_standard_layout().into_owned().into()
    }
    for_any!(pieces[0], first => of(axis, first, pieces))
}

fn signed(dim: &Dim) -> isize {
    let value = dim.as_constant().expect("symbols are bound");
    isize::try_from(value).expect("bounds of an array in memory fit")
}

/// A distance between indices; one that no axis is long enough for may be any other such.
fn step(distance: usize) -> isize {
    isize::try_from(distance).unwrap_or(isize::MAX)
}
