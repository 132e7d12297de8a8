//! Operations that move elements: shapes, orders, parts, joins, and index patterns.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use kilngrad_ir::op::{Axes, CompareOp, Op, PadAxis, SliceAxis};
use kilngrad_ir::{DType, Dim, Shape, Type};
use smallvec::SmallVec;

use crate::entry::Entry;
use crate::example::example;
use crate::operand::{IntoTensor, Operand};
use crate::ops::IntoAxes;
use crate::shape::{IntoLength, IntoShape, Length, sealed::Length as _, sealed::Resolved};
use crate::tensor::Tensor;

/// A part of an axis: `a..b`, `a..`, `..b` or `..` over `isize`, where negative bounds count from
/// the end, or over [`Length`].
#[doc = example!(x.slice(0, n - 3..n) => vec![2i64, 3, 4]; x = e.arange(I64, 5); n = x.length(0))]
pub trait IntoRange: sealed::Range {}

mod sealed {
    use crate::shape::sealed::Resolved;

    /// A bound on its way into a builder.
    #[derive(Debug, Clone)]
    pub enum Bound {
        /// Counted from the beginning, or negative from the end.
        Number(isize),
        Length(Resolved),
    }

    pub trait IntoBound {
        fn bound(self) -> Bound;
    }

    pub trait Range {
        /// First index and exclusive limit, where they are given.
        fn bounds(self) -> (Option<Bound>, Option<Bound>);
    }
}

use sealed::{Bound, IntoBound};

impl IntoBound for isize {
    fn bound(self) -> Bound {
        Bound::Number(self)
    }
}

impl IntoBound for Length<'_> {
    fn bound(self) -> Bound {
        Bound::Length(self.resolve())
    }
}

impl<T: IntoBound> IntoRange for Range<T> {}
impl<T: IntoBound> sealed::Range for Range<T> {
    fn bounds(self) -> (Option<Bound>, Option<Bound>) {
        (Some(self.start.bound()), Some(self.end.bound()))
    }
}

impl<T: IntoBound> IntoRange for RangeFrom<T> {}
impl<T: IntoBound> sealed::Range for RangeFrom<T> {
    fn bounds(self) -> (Option<Bound>, Option<Bound>) {
        (Some(self.start.bound()), None)
    }
}

impl<T: IntoBound> IntoRange for RangeTo<T> {}
impl<T: IntoBound> sealed::Range for RangeTo<T> {
    fn bounds(self) -> (Option<Bound>, Option<Bound>) {
        (None, Some(self.end.bound()))
    }
}

impl IntoRange for RangeFull {}
impl sealed::Range for RangeFull {
    fn bounds(self) -> (Option<Bound>, Option<Bound>) {
        (None, None)
    }
}

impl<'b> Tensor<'b> {
    /// The same elements, in row-major order, in another shape of as many.
    #[doc = example!(x.reshape([2, 2]) => array![[0i64, 1], [2, 3]]; x = e.arange(I64, 4))]
    #[track_caller]
    #[must_use]
    pub fn reshape(self, shape: impl IntoShape) -> Tensor<'b> {
        let Some((ty, shape)) = self.ty().zip(self.entry.shape(shape)) else {
            return self.entry.poisoned();
        };
        if ty.shape == shape {
            return self;
        }
        if ty.shape.elements().is_none() || ty.shape.elements() != shape.elements() {
            let message = format!("expected a shape with as many elements as {ty}, found {shape}");
            return self.entry.fail_on("reshape_b1", message, &[self]);
        }
        self.entry.emit(Op::Reshape, &[self], &[Type::new(ty.dtype, shape)])
    }

    /// The axes from `first` to `last`, both included, as one: `flatten(1, -1)` makes rows.
    #[doc = example!(
        x.flatten(1, -1) => array![[1.0, 2.0, 3.0, 4.0]];
        x = e.constant([1, 2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn flatten(self, first: isize, last: isize) -> Tensor<'b> {
        let (Some(ty), Some(first), Some(last)) = (self.ty(), self.axis(first), self.axis(last))
        else {
            return self.entry.poisoned();
        };
        if first > last {
            let message = format!("expected axes in order of {ty}, found {first} and {last}");
            return self.entry.fail_on("axis_b1", message, &[self]);
        }
        let dims = ty.shape.dims();
        let merged: Shape = dims[first..=last].iter().collect();
        let Some(merged) = merged.elements() else {
            let message = format!("expected a size that fits memory, found {ty}");
            return self.entry.fail_on("size_b1", message, &[self]);
        };
        let before = dims[..first].iter().cloned();
        let shape: Shape = before.chain([merged]).chain(dims[last + 1..].iter().cloned()).collect();
        self.reshape(shape)
    }

    /// The tensor with an axis of length 1 put where `axis` is to be.
    #[doc = example!(x.unsqueeze(-1) => array![[0i64], [1], [2]]; x = e.arange(I64, 3))]
    #[track_caller]
    #[must_use]
    pub fn unsqueeze(self, axis: isize) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let Some(axis) = self.axis_below(axis, ty.rank() + 1) else {
            return self.entry.poisoned();
        };
        let mut dims = ty.shape.dims().to_vec();
        dims.insert(axis, Dim::constant(1));
        self.reshape(dims)
    }

    /// The tensor without these axes, which have length 1.
    #[doc = example!(x.squeeze(0) => vec![1.0, 2.0]; x = e.constant([1, 2], &[1.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn squeeze(self, axes: impl IntoAxes) -> Tensor<'b> {
        let Some((ty, axes)) = self.ty().zip(self.axes(axes)) else {
            return self.entry.poisoned();
        };
        let longer = axes.iter().find(|axis| ty.shape.dims()[**axis] != Dim::constant(1));
        if let Some(axis) = longer {
            let message = format!("expected axes of length 1, found axis {axis} of {ty}");
            return self.entry.fail_on("shape_b1", message, &[self]);
        }
        self.reshape(ty.shape.without(&axes))
    }

    /// The axes in another order: axis `i` of the result is axis `permutation[i]` of the tensor.
    #[doc = example!(
        x.transpose([1, 0]) => array![[1.0, 3.0], [2.0, 4.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn transpose(self, permutation: impl IntoAxes) -> Tensor<'b> {
        let Some((ty, permutation)) = self.ty().zip(self.axes_in_order(permutation)) else {
            return self.entry.poisoned();
        };
        if permutation.iter().copied().eq(0..ty.rank()) {
            return self;
        }
        self.entry.emit(Op::Transpose { permutation }, &[self], &[])
    }

    /// Two axes exchanged: PyTorch's `transpose`.
    #[doc = example!(
        x.swap_axes(0, -1) => array![[1.0], [2.0]];
        x = e.constant([1, 2], &[1.0, 2.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn swap_axes(self, first: isize, second: isize) -> Tensor<'b> {
        let (Some(ty), Some(first), Some(second)) =
            (self.ty(), self.axis(first), self.axis(second))
        else {
            return self.entry.poisoned();
        };
        let mut permutation: Axes = (0..ty.rank()).collect();
        permutation.swap(first, second);
        self.transpose(crate::ops::reduce::written(&permutation))
    }

    /// The last two axes exchanged.
    #[doc = example!(
        x.t() => array![[1.0, 3.0], [2.0, 4.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn t(self) -> Tensor<'b> {
        self.swap_axes(-2, -1)
    }

    /// A part of an axis. Bounds that depend on symbols are checked when these are bound.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Mode};
    /// # let b = Builder::new("slice");
    /// # let e = b.entry("run", Mode::Eval);
    /// let x = e.zeros(F32, (b.dim("n"), 8)).slice(1, 2..-1).slice(0, ..-1);
    /// assert_eq!(x.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n - 1,5]"));
    /// ```
    #[doc = example!(x.slice(0, 1..-1) => vec![1i64, 2, 3]; x = e.arange(I64, 5))]
    #[track_caller]
    #[must_use]
    pub fn slice(self, axis: isize, range: impl IntoRange) -> Tensor<'b> {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th index of a part of an axis; `step` is at least 1, and 1 where the length of
    /// the part depends on a symbol.
    #[doc = example!(x.slice_step(0, .., 2) => vec![0i64, 2, 4]; x = e.arange(I64, 5))]
    #[track_caller]
    #[must_use]
    pub fn slice_step(self, axis: isize, range: impl IntoRange, step: usize) -> Tensor<'b> {
        let (start, limit) = range.bounds();
        let Some((ty, axis)) = self.ty().zip(self.axis(axis)) else {
            return self.entry.poisoned();
        };
        let length = ty.shape.dims()[axis].clone();
        let start = self.bound(start, Dim::constant(0), &length);
        let limit = self.bound(limit, length.clone(), &length);
        let Some((start, limit)) = start.zip(limit) else { return self.entry.poisoned() };
        let whole =
            |length: &Dim| SliceAxis { start: Dim::constant(0), limit: length.clone(), stride: 1 };
        let mut ranges: SmallVec<[SliceAxis; 2]> = ty.shape.dims().iter().map(whole).collect();
        ranges[axis] = SliceAxis { start, limit, stride: step };
        self.entry.emit(Op::Slice(ranges), &[self], &[])
    }

    #[track_caller]
    fn bound(self, bound: Option<Bound>, default: Dim, length: &Dim) -> Option<Dim> {
        match bound {
            None => Some(default),
            Some(Bound::Number(number)) => {
                let number = Dim::constant(i64::try_from(number).ok()?);
                match number.as_constant() {
                    Some(value) if value < 0 => length.checked_add(&number),
                    _ => Some(number),
                }
            }
            Some(Bound::Length(length)) => {
                self.entry.builder.resolve_length(length, std::panic::Location::caller())
            }
        }
    }

    /// One index of an axis, which disappears; negative from the end.
    #[doc = example!(x.index(0, -1) => 4i64; x = e.arange(I64, 5))]
    #[track_caller]
    #[must_use]
    pub fn index(self, axis: isize, index: isize) -> Tensor<'b> {
        let Some((ty, axis)) = self.ty().zip(self.axis(axis)) else {
            return self.entry.poisoned();
        };
        let length = &ty.shape.dims()[axis];
        let outside = length.as_constant().is_some_and(|length| {
            let index = index as i64;
            index >= length || index < -length
        });
        if outside {
            let message = format!("expected an index of axis {axis} of {ty}, found {index}");
            return self.entry.fail_on("slice_b1", message, &[self]);
        }
        let signed = axis as isize;
        // Of −1 there is no limit to write, and after the largest there is none.
        let part = match index.checked_add(1) {
            Some(0) | None => self.slice(signed, index..),
            Some(limit) => self.slice(signed, index..limit),
        };
        part.squeeze(signed)
    }

    /// Parts of an axis one after the other, of these lengths, which add up to the axis's.
    #[doc = example!(x.split(0, [3, 2])[1] => vec![3i64, 4]; x = e.arange(I64, 5))]
    #[track_caller]
    #[must_use]
    pub fn split<const N: usize>(self, axis: isize, lengths: [usize; N]) -> [Tensor<'b>; N] {
        let failed = [self.entry.poisoned(); N];
        let Some((ty, axis)) = self.ty().zip(self.axis(axis)) else { return failed };
        let total = lengths.iter().try_fold(0usize, |sum, length| sum.checked_add(*length));
        let length = &ty.shape.dims()[axis];
        if total.and_then(|total| i64::try_from(total).ok()) != length.as_constant() {
            let message =
                format!("expected lengths that add up to axis {axis} of {ty}, found {lengths:?}");
            self.entry.fail_on("slice_b1", message, &[self]);
            return failed;
        }
        let mut start = 0;
        let mut parts = failed;
        for (part, length) in parts.iter_mut().zip(lengths) {
            let end = start + length as isize;
            *part = self.slice(axis as isize, start..end);
            start = end;
        }
        parts
    }

    /// The tensor with `low` elements `value` before an axis's first and `high` after its last.
    #[doc = example!(x.pad(0, 1, 2, 9) => vec![9i64, 0, 1, 9, 9]; x = e.arange(I64, 2))]
    #[track_caller]
    #[must_use]
    pub fn pad(
        self,
        axis: isize,
        low: impl IntoLength,
        high: impl IntoLength,
        value: impl Operand<'b>,
    ) -> Tensor<'b> {
        self.pad_axis(axis, low.resolve(), high.resolve(), 0, value)
    }

    /// The tensor with `interior` elements `value` between neighbours along an axis, whose length
    /// has no symbol.
    #[doc = example!(x.dilate(0, 1, 9) => vec![0i64, 9, 1, 9, 2]; x = e.arange(I64, 3))]
    #[track_caller]
    #[must_use]
    pub fn dilate(self, axis: isize, interior: usize, value: impl Operand<'b>) -> Tensor<'b> {
        self.pad_axis(axis, 0usize.resolve(), 0usize.resolve(), interior, value)
    }

    #[track_caller]
    fn pad_axis(
        self,
        axis: isize,
        low: Resolved,
        high: Resolved,
        interior: usize,
        value: impl Operand<'b>,
    ) -> Tensor<'b> {
        let site = std::panic::Location::caller();
        let value = self.operand(value);
        let (low, high) = (
            self.entry.builder.resolve_length(low, site),
            self.entry.builder.resolve_length(high, site),
        );
        let (Some(ty), Some(axis), Some(low), Some(high)) = (self.ty(), self.axis(axis), low, high)
        else {
            return self.entry.poisoned();
        };
        if value.ty().is_some() && !self.same_dtype(&[value]) {
            return self.entry.poisoned();
        }
        let none = PadAxis { low: Dim::constant(0), high: Dim::constant(0), interior: 0 };
        let mut amounts: SmallVec<[PadAxis; 2]> = (0..ty.rank()).map(|_| none.clone()).collect();
        amounts[axis] = PadAxis { low, high, interior };
        self.entry.emit(Op::Pad(amounts), &[self, value], &[])
    }

    /// The elements shifted along an axis, those that leave it coming back at its beginning:
    /// `shift` is from 0 to the axis's length.
    #[doc = example!(x.roll(0, 1) => vec![2i64, 0, 1]; x = e.arange(I64, 3))]
    #[track_caller]
    #[must_use]
    pub fn roll(self, axis: isize, shift: usize) -> Tensor<'b> {
        let _scope = self.entry.enter("roll");
        if shift == 0 {
            return self;
        }
        let shift = isize::try_from(shift).unwrap_or(isize::MAX);
        let parts = [self.slice(axis, -shift..), self.slice(axis, ..-shift)];
        self.entry.cat(parts, axis)
    }

    /// The tensor repeated `counts[i]` times along axis `i`, whole copies one after the other.
    #[doc = example!(x.repeat([2]) => vec![0i64, 1, 2, 0, 1, 2]; x = e.arange(I64, 3))]
    #[track_caller]
    #[must_use]
    pub fn repeat(self, counts: impl AsRef<[usize]>) -> Tensor<'b> {
        let counts = counts.as_ref();
        let Some(ty) = self.ty() else { return self };
        if ty.rank() != counts.len() {
            let message = format!("expected a count for each axis of {ty}, found {counts:?}");
            return self.entry.fail_on("shape_b1", message, &[self]);
        }
        let _scope = self.entry.enter("repeat");
        let (mut wide, mut result) = (Vec::new(), Vec::new());
        for (count, dim) in counts.iter().zip(ty.shape.dims()) {
            let count = Dim::constant(i64::try_from(*count).unwrap_or(i64::MAX));
            let Some(product) = count.checked_mul(dim) else {
                let message = format!("expected a size that fits memory, found {ty} repeated");
                return self.entry.fail_on("size_b1", message, &[self]);
            };
            wide.extend([count, dim.clone()]);
            result.push(product);
        }
        let dims: Axes = (0..counts.len()).map(|axis| 2 * axis + 1).collect();
        let wide = Type::new(ty.dtype, Shape::new(wide));
        self.entry.emit(Op::Broadcast { dims }, &[self], &[wide]).reshape(result)
    }

    /// One where the last, new axis counts to the element, zero elsewhere, in `dtype`, a number
    /// one or `bool`. An integer outside `0..classes` gives zeros only.
    #[doc = example!(
        x.one_hot(3, F64) => array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
        x = e.constant([2], &[2, 0])
    )]
    #[track_caller]
    #[must_use]
    pub fn one_hot(self, classes: impl IntoLength, dtype: DType) -> Tensor<'b> {
        let site = std::panic::Location::caller();
        let classes = self.entry.builder.resolve_length(classes.resolve(), site);
        let Some((ty, classes)) = self.ty().zip(classes) else { return self.entry.poisoned() };
        if !ty.dtype.is_integer() {
            let message = format!("expected integers, found {ty}");
            return self.entry.fail_on("dtype_b3", message, &[self]);
        }
        let _scope = self.entry.enter("one_hot");
        let wide: Shape = ty.shape.dims().iter().cloned().chain([classes]).collect();
        // In `i64`, which no number of classes overflows.
        let counts = self.entry.iota(DType::I64, &wide, -1);
        self.cast(DType::I64).unsqueeze(-1).eq(counts).cast(dtype)
    }

    /// The elements of the last two axes on and below a diagonal, zeros above. Diagonal 0 is the
    /// main one, 1 the one above it.
    #[doc = example!(
        x.tril(0) => array![[1.0, 0.0], [3.0, 4.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn tril(self, diagonal: i64) -> Tensor<'b> {
        self.triangle("tril", diagonal, CompareOp::Le)
    }

    /// The elements of the last two axes on and above a diagonal, zeros below. Diagonal 0 is the
    /// main one, 1 the one above it.
    #[doc = example!(
        x.triu(0) => array![[1.0, 2.0], [0.0, 4.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn triu(self, diagonal: i64) -> Tensor<'b> {
        self.triangle("triu", diagonal, CompareOp::Ge)
    }

    /// The elements whose column, less the diagonal, is so related to their row; zeros elsewhere.
    #[track_caller]
    fn triangle(self, name: &str, diagonal: i64, kept: CompareOp) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        if ty.rank() < 2 {
            let message = format!("expected at least two axes, found {ty}");
            return self.entry.fail_on("shape_b1", message, &[self]);
        }
        let _scope = self.entry.enter(name);
        let matrix: Shape = ty.shape.dims()[ty.rank() - 2..].iter().collect();
        // Farther than any element is away, and not so far that a sum wraps.
        let diagonal = diagonal.clamp(-(1 << 62), 1 << 62);
        let row = self.entry.iota(DType::I64, &matrix, -2) + diagonal;
        let column = self.entry.iota(DType::I64, &matrix, -1);
        column.compare(kept, row).select(self, self.like(0.0))
    }
}

impl<'b> Entry<'b> {
    /// Each element is its index along `axis`, in a number dtype.
    #[doc = example!(e.iota(I64, (2, 3), 1) => array![[0i64, 1, 2], [0, 1, 2]])]
    #[track_caller]
    pub fn iota(self, dtype: DType, shape: impl IntoShape, axis: isize) -> Tensor<'b> {
        let dtype = self.builder.resolve_dtype(dtype);
        let Some(shape) = self.shape(shape) else { return self.poisoned() };
        let rank = isize::try_from(shape.rank()).unwrap_or(isize::MAX);
        let from_first = if axis < 0 { axis.saturating_add(rank) } else { axis };
        match usize::try_from(from_first) {
            Ok(axis) if axis < shape.rank() => {
                self.emit(Op::Iota { axis }, &[], &[Type::new(dtype, shape)])
            }
            _ => {
                let message = format!("expected an axis of {shape}, found {axis}");
                self.fail_on("axis_b1", message, &[])
            }
        }
    }

    /// 0, 1, 2, … below `length`, in a number dtype.
    #[doc = example!(e.arange(F64, 3) => vec![0.0, 1.0, 2.0])]
    #[track_caller]
    pub fn arange(self, dtype: DType, length: impl IntoLength) -> Tensor<'b> {
        self.iota(dtype, [Unsized(length.resolve())], 0)
    }

    /// The square matrix with ones on the main diagonal, in a number dtype or `bool`.
    #[doc = example!(e.eye(F64, 2) => array![[1.0, 0.0], [0.0, 1.0]])]
    #[track_caller]
    pub fn eye(self, dtype: DType, length: impl IntoLength) -> Tensor<'b> {
        let length = length.resolve();
        let shape = || [Unsized(length.clone()), Unsized(length.clone())];
        let _scope = self.enter("eye");
        let (row, column) = (self.iota(DType::I64, shape(), 0), self.iota(DType::I64, shape(), 1));
        row.eq(column).cast(dtype)
    }

    /// The tensors one after the other along `axis`; their other axes are equally long.
    #[doc = example!(
        e.cat([x, y], 0) => vec![0i64, 1, 0, 1, 2];
        x = e.arange(I64, 2);
        y = e.arange(I64, 3)
    )]
    #[track_caller]
    pub fn cat<T: IntoTensor<'b>>(
        self,
        tensors: impl IntoIterator<Item = T>,
        axis: isize,
    ) -> Tensor<'b> {
        let mut operands = Vec::new();
        for tensor in tensors {
            operands.push(self.adopt(tensor));
        }
        let Some(first) = operands.first() else {
            return self.fail_on("concat_c1", "expected at least one tensor, found none", &[]);
        };
        let Some(axis) = first.axis(axis) else { return self.poisoned() };
        if operands.iter().any(|operand| operand.value.is_none())
            || !first.same_dtype(&operands[1..])
        {
            return self.poisoned();
        }
        self.emit(Op::Concat { axis }, &operands, &[])
    }

    /// The tensors, of one type, side by side along a new axis.
    #[doc = example!(
        e.stack([x, y], 0) => array![[0.0, 1.0], [1.0, 1.0]];
        x = e.arange(F64, 2);
        y = e.ones(F64, (2,))
    )]
    #[track_caller]
    pub fn stack<T: IntoTensor<'b>>(
        self,
        tensors: impl IntoIterator<Item = T>,
        axis: isize,
    ) -> Tensor<'b> {
        let _scope = self.enter("stack");
        let mut operands = Vec::new();
        for tensor in tensors {
            operands.push(self.adopt(tensor).unsqueeze(axis));
        }
        self.cat(operands, axis)
    }
}

/// A length that is resolved already, as part of a shape.
#[derive(Clone)]
struct Unsized(Resolved);

impl IntoLength for Unsized {}
impl crate::shape::sealed::Length for Unsized {
    fn resolve(self) -> Resolved {
        self.0
    }
}
