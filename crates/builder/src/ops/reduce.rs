//! Reductions, and the statistics that are quotients of them.

use kilngrad_ir::op::{ArgReduceOp, Axes, Op, ReduceOp};
use kilngrad_ir::{DType, Dim, Literal, Shape, Type};

use crate::example::example;
use crate::ops::{IntoAxes, axes_sealed::Written};
use crate::tensor::Tensor;

macro_rules! reduce_methods {
    ($($(#[$doc:meta])* $method:ident, $(#[$kept:meta])* $keepdim:ident: $op:ident;)*) => {
        impl<'b> Tensor<'b> {$(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            pub fn $method(self, axes: impl IntoAxes) -> Tensor<'b> {
                match self.axes(axes) {
                    Some(axes) => self.reduce(ReduceOp::$op, axes),
                    None => self.entry.poisoned(),
                }
            }

            #[doc = concat!("As [`", stringify!($method), "`](Self::", stringify!($method), "),")]
            /// but `axes` stay with length 1.
            $(#[$kept])*
            #[track_caller]
            #[must_use]
            pub fn $keepdim(self, axes: impl IntoAxes) -> Tensor<'b> {
                match self.axes(axes) {
                    Some(axes) => self.reduce(ReduceOp::$op, axes.clone()).keepdim(self, &axes),
                    None => self.entry.poisoned(),
                }
            }
        )*}
    };
}

reduce_methods! {
    /// The sum of numbers along axes, which disappear (`..` means all of them); 0 of nothing.
    #[doc = example!(
        x.sum(0) => vec![4.0, 6.0];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    sum,
    #[doc = example!(
        x.sum_keepdim(1) => array![[3.0], [7.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    sum_keepdim: Sum;
    /// The product of numbers along axes, which disappear; 1 of nothing.
    #[doc = example!(
        x.prod(..) => 24.0;
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    prod,
    #[doc = example!(
        x.prod_keepdim(1) => array![[2.0], [12.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    prod_keepdim: Prod;
    /// The largest number along axes, which disappear; NaN if any is, the lowest of the dtype of
    /// nothing.
    #[doc = example!(
        x.max(1) => vec![2.0, 4.0];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    max,
    #[doc = example!(
        x.max_keepdim(0) => array![[3.0, 4.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    max_keepdim: Max;
    /// The smallest number along axes, which disappear; NaN if any is, the highest of the dtype of
    /// nothing.
    #[doc = example!(
        x.min(0) => vec![1.0, 2.0];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    min,
    #[doc = example!(
        x.min_keepdim(1) => array![[1.0], [3.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    min_keepdim: Min;
}

impl<'b> Tensor<'b> {
    /// Whether every element along axes, of a `bool` tensor, is true; so of nothing.
    ///
    /// `axes` disappear; `..` means all of them.
    #[doc = example!(x.gt(1.0).all(..) => false; x = e.constant([2], &[1.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn all(self, axes: impl IntoAxes) -> Tensor<'b> {
        self.truths(axes, ReduceOp::Min)
    }

    /// Whether an element along axes, of a `bool` tensor, is true; not so of nothing.
    ///
    /// `axes` disappear; `..` means all of them.
    #[doc = example!(x.gt(1.0).any(..) => true; x = e.constant([2], &[1.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn any(self, axes: impl IntoAxes) -> Tensor<'b> {
        self.truths(axes, ReduceOp::Max)
    }

    /// Reduces truths as the numbers 0 and 1.
    #[track_caller]
    fn truths(self, axes: impl IntoAxes, op: ReduceOp) -> Tensor<'b> {
        let (Some(ty), Some(axes)) = (self.ty(), self.axes(axes)) else {
            return self.entry.poisoned();
        };
        if ty.dtype != DType::Bool {
            let message = format!("expected truth values, found {ty}");
            return self.entry.fail_on("dtype_b3", message, &[self]);
        }
        if axes.is_empty() {
            return self;
        }
        self.cast(DType::U8).reduce(op, axes).cast(DType::Bool)
    }
}

macro_rules! arg_methods {
    ($($(#[$doc:meta])* $method:ident $op:ident;)*) => {
        impl<'b> Tensor<'b> {$(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            pub fn $method(self, axis: isize) -> Tensor<'b> {
                let Some(axis) = self.axis(axis) else { return self.entry.poisoned() };
                let op = ArgReduceOp::$op;
                self.entry.emit(Op::ArgReduce { op, axis }, &[self], &[])
            }
        )*}
    };
}

arg_methods! {
    /// Index (`i64`) of the first largest along an axis, which disappears; of the first NaN if
    /// there is one. The axis is not empty.
    #[doc = example!(x.argmax(0) => 1i64; x = e.constant([3], &[1.0, 5.0, 5.0]))]
    argmax Max;
    /// Index (`i64`) of the first smallest along an axis, which disappears; of the first NaN if
    /// there is one. The axis is not empty.
    #[doc = example!(x.argmin(0) => 1i64; x = e.constant([2], &[3.0, f64::NAN]))]
    argmin Min;
}

impl<'b> Tensor<'b> {
    /// The mean along axes, which disappear, of floats; NaN of nothing.
    #[doc = example!(x.mean(1) => vec![1.5, 3.5]; x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0]))]
    #[track_caller]
    #[must_use]
    pub fn mean(self, axes: impl IntoAxes) -> Tensor<'b> {
        let Some(axes) = self.real_axes("mean", axes) else { return self.entry.poisoned() };
        let sum = self.reduce(ReduceOp::Sum, axes.clone());
        sum / self.count(&axes, sum, 0)
    }

    /// The mean along axes, which stay with length 1.
    #[doc = example!(
        x.mean_keepdim(0) => array![[2.0, 3.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn mean_keepdim(self, axes: impl IntoAxes) -> Tensor<'b> {
        let Some(axes) = self.real_axes("mean", axes) else { return self.entry.poisoned() };
        self.mean(written(&axes)).keepdim(self, &axes)
    }

    /// The variance along axes, which disappear, of floats:
    /// `Σ(x − mean)² / max(0, count − correction)`. PyTorch's correction is 1 if none is given.
    #[doc = example!(x.var(.., 1) => 2.0; x = e.constant([2], &[1.0, 3.0]))]
    #[track_caller]
    #[must_use]
    pub fn var(self, axes: impl IntoAxes, correction: i64) -> Tensor<'b> {
        let Some(axes) = self.real_axes("var", axes) else { return self.entry.poisoned() };
        let _scope = self.entry.enter("var");
        let centred = self - self.mean_keepdim(written(&axes));
        let sum = centred.square().reduce(ReduceOp::Sum, axes.clone());
        sum / self.count(&axes, sum, correction)
    }

    /// The variance along axes, which stay with length 1: see [`var`](Self::var).
    #[doc = example!(x.var_keepdim(0, 0) => vec![1.0]; x = e.constant([2], &[1.0, 3.0]))]
    #[track_caller]
    #[must_use]
    pub fn var_keepdim(self, axes: impl IntoAxes, correction: i64) -> Tensor<'b> {
        let Some(axes) = self.axes(axes) else { return self.entry.poisoned() };
        self.var(written(&axes), correction).keepdim(self, &axes)
    }

    /// The standard deviation along axes, which disappear: the root of [`var`](Self::var). Its
    /// derivative is 0 where it is 0, as PyTorch's.
    #[doc = example!(x.std(.., 0) => 2.0; x = e.constant([2], &[1.0, 5.0]))]
    #[track_caller]
    #[must_use]
    pub fn std(self, axes: impl IntoAxes, correction: i64) -> Tensor<'b> {
        let _scope = self.entry.enter("std");
        self.var(axes, correction).flat_sqrt()
    }

    /// The standard deviation along axes, which stay with length 1: see [`std`](Self::std).
    #[doc = example!(x.std_keepdim(0, 0) => vec![2.0]; x = e.constant([2], &[1.0, 5.0]))]
    #[track_caller]
    #[must_use]
    pub fn std_keepdim(self, axes: impl IntoAxes, correction: i64) -> Tensor<'b> {
        let Some(axes) = self.axes(axes) else { return self.entry.poisoned() };
        self.std(written(&axes), correction).keepdim(self, &axes)
    }

    /// `Σ|x|` along axes, which disappear.
    #[doc = example!(x.l1_norm(..) => 7.0; x = e.constant([2], &[3.0, -4.0]))]
    #[track_caller]
    #[must_use]
    pub fn l1_norm(self, axes: impl IntoAxes) -> Tensor<'b> {
        let _scope = self.entry.enter("l1_norm");
        self.abs().sum(axes)
    }

    /// `Σ|x|` along axes, which stay with length 1.
    #[doc = example!(x.l1_norm_keepdim(0) => vec![7.0]; x = e.constant([2], &[3.0, -4.0]))]
    #[track_caller]
    #[must_use]
    pub fn l1_norm_keepdim(self, axes: impl IntoAxes) -> Tensor<'b> {
        let _scope = self.entry.enter("l1_norm");
        self.abs().sum_keepdim(axes)
    }

    /// `√Σx²` along axes, which disappear, of floats. Its derivative is 0 where it is 0, as
    /// PyTorch's. The squares may overflow where the norm does not.
    #[doc = example!(x.l2_norm(..) => 5.0; x = e.constant([2], &[3.0, -4.0]))]
    #[track_caller]
    #[must_use]
    pub fn l2_norm(self, axes: impl IntoAxes) -> Tensor<'b> {
        let _scope = self.entry.enter("l2_norm");
        self.square().sum(axes).flat_sqrt()
    }

    /// `√Σx²` along axes, which stay with length 1: see [`l2_norm`](Self::l2_norm).
    #[doc = example!(x.l2_norm_keepdim(0) => vec![5.0]; x = e.constant([2], &[3.0, -4.0]))]
    #[track_caller]
    #[must_use]
    pub fn l2_norm_keepdim(self, axes: impl IntoAxes) -> Tensor<'b> {
        let _scope = self.entry.enter("l2_norm");
        self.square().sum_keepdim(axes).flat_sqrt()
    }

    /// The square root with derivative 0 at 0: of 1 where the operand is 0, then 0 selected, so
    /// that no derivative of any order meets an infinity.
    #[track_caller]
    pub(crate) fn flat_sqrt(self) -> Tensor<'b> {
        let zero = self.like(0.0);
        let flat = self.eq(zero);
        flat.select(zero, flat.select(1.0, self).sqrt())
    }

    #[track_caller]
    pub(crate) fn reduce(self, op: ReduceOp, axes: Axes) -> Tensor<'b> {
        self.entry.emit(Op::Reduce { op, axes }, &[self], &[])
    }

    /// A reduction of `original` along `axes` with these axes back, at length 1.
    #[track_caller]
    pub(crate) fn keepdim(self, original: Tensor<'b>, axes: &[usize]) -> Tensor<'b> {
        let Some((ty, own)) = original.ty().zip(self.ty()) else { return self };
        let dims = ty.shape.dims().iter().enumerate();
        let kept = dims.map(|(axis, dim)| match axes.contains(&axis) {
            true => Dim::constant(1),
            false => dim.clone(),
        });
        let shape: Shape = kept.collect();
        if shape == own.shape {
            return self;
        }
        self.entry.emit(Op::Reshape, &[self], &[Type::new(own.dtype, shape)])
    }

    /// How many elements lie along `axes`, less `correction` and not below 0, in the type of
    /// `like`.
    #[track_caller]
    pub(crate) fn count(self, axes: &[usize], like: Tensor<'b>, correction: i64) -> Tensor<'b> {
        let Some((ty, like)) = self.ty().zip(like.ty()) else { return self.entry.poisoned() };
        let reduced: Shape = axes.iter().map(|axis| &ty.shape.dims()[*axis]).collect();
        let entry = self.entry;
        let Some(count) = reduced.elements() else {
            let message = format!("expected a size that fits memory, found {ty}");
            return entry.fail_on("size_b1", message, &[self]);
        };
        if let Some(count) = count.as_constant() {
            let count = count.saturating_sub(correction).max(0);
            return entry.splat(Literal::from_i64(like.dtype, count), like.shape);
        }
        let count = entry.emit(Op::Dimension(count), &[], &[Type::scalar(DType::I64)]);
        let count = match correction {
            0 => count,
            _ => (count - correction).maximum(0),
        };
        count.cast_exactly(like.dtype).stretch(&like.shape)
    }

    #[track_caller]
    fn real_axes(self, name: &str, axes: impl IntoAxes) -> Option<Axes> {
        if self.is_real(name) { self.axes(axes) } else { None }
    }
}

/// Axes that are known to exist, as an argument.
pub(crate) fn written(axes: &[usize]) -> Written {
    Written::Some(axes.iter().map(|axis| isize::try_from(*axis).unwrap_or(isize::MAX)).collect())
}
