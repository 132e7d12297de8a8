//! Axes as a user writes them: from the first, or negative from the last.

use std::ops::RangeFull;

use kilngrad_ir::Diagnostic;
use kilngrad_ir::op::Axes;
use smallvec::SmallVec;

use crate::example::example;
use crate::tensor::Tensor;

/// Some axes: one, an array or slice of them, or `..` for all.
#[doc = example!(
    x.sum([0, -1]) => vec![4.0, 6.0];
    x = e.constant([1, 2, 2], &[1.0, 3.0, 2.0, 4.0])
)]
pub trait IntoAxes: sealed::Axes {}

pub(crate) mod sealed {
    use smallvec::SmallVec;

    /// What a user may write for axes.
    #[derive(Debug, Clone)]
    pub enum Written {
        /// Every axis.
        All,
        /// These axes.
        Some(SmallVec<[isize; 4]>),
    }

    pub trait Axes {
        fn written(self) -> Written;
    }
}

use sealed::Written;

impl IntoAxes for isize {}
impl sealed::Axes for isize {
    fn written(self) -> Written {
        Written::Some(SmallVec::from_slice(&[self]))
    }
}

impl<const N: usize> IntoAxes for [isize; N] {}
impl<const N: usize> sealed::Axes for [isize; N] {
    fn written(self) -> Written {
        Written::Some(SmallVec::from_slice(&self))
    }
}

impl IntoAxes for &[isize] {}
impl sealed::Axes for &[isize] {
    fn written(self) -> Written {
        Written::Some(SmallVec::from_slice(self))
    }
}

impl IntoAxes for RangeFull {}
impl sealed::Axes for RangeFull {
    fn written(self) -> Written {
        Written::All
    }
}

impl IntoAxes for Written {}
impl sealed::Axes for Written {
    fn written(self) -> Written {
        self
    }
}

impl<'b> Tensor<'b> {
    /// The axis, counted from the first; `None` after an error.
    #[track_caller]
    pub(crate) fn axis(self, axis: isize) -> Option<usize> {
        let rank = self.ty()?.rank();
        self.axis_below(axis, rank)
    }

    /// The axis among `rank` ones, which may be more than the tensor has where one is inserted.
    #[track_caller]
    pub(crate) fn axis_below(self, axis: isize, rank: usize) -> Option<usize> {
        let ty = self.ty()?;
        let signed = isize::try_from(rank).ok()?;
        let from_first = if axis < 0 { axis.checked_add(signed)? } else { axis };
        if (0..signed).contains(&from_first) {
            return from_first.try_into().ok();
        }
        let message = match signed {
            0 => format!("expected no axis of the scalar {ty}, found {axis}"),
            _ => format!(
                "expected an axis from {} to {} for {ty}, found {axis}",
                -signed,
                signed - 1
            ),
        };
        self.entry.fail_on("axis_b1", message, &[self]);
        None
    }

    /// The axes in the order written, each once, counted from the first; `None` after an error.
    #[track_caller]
    pub(crate) fn axes_in_order(self, axes: impl IntoAxes) -> Option<Axes> {
        let rank = self.ty()?.rank();
        let written = match axes.written() {
            Written::All => return Some((0..rank).collect()),
            Written::Some(written) => written,
        };
        let mut found = Axes::new();
        for axis in written {
            let axis = self.axis(axis)?;
            if found.contains(&axis) {
                let message = format!("expected each axis once, found axis {axis} again");
                let diagnostic = Diagnostic::new("axis_b2", message);
                self.entry.fail(self.entry.with_operands(diagnostic, &[self]));
                return None;
            }
            found.push(axis);
        }
        Some(found)
    }

    /// The axes, ascending; `None` after an error.
    #[track_caller]
    pub(crate) fn axes(self, axes: impl IntoAxes) -> Option<Axes> {
        let mut axes = self.axes_in_order(axes)?;
        axes.sort_unstable();
        Some(axes)
    }
}
