//! Resizing: elements of another grid over the same extent.

use kilngrad_ir::Type;
use kilngrad_ir::op::{Axes, Op};

use super::spatial::{BEFORE, IntoSpatial};
use crate::example::example;
use crate::tensor::Tensor;

/// How [`Tensor::interpolate`] finds elements between those that are there.
#[doc = example!(
    x.interpolate(3, Interpolation::LinearCorners) => array![[[1.0, 2.0, 3.0]]];
    x = e.constant([1, 1, 2], &[1.0, 3.0])
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest before: element `i` is that at `⌊i·length/new⌋`.
    Nearest,
    /// Linear along each axis (bilinear of two), where elements are the middles of equal cells:
    /// element `i` is at `(i + ½)·length/new − ½`, within the axis.
    Linear,
    /// Linear along each axis, where the first and the last elements stay: element `i` is at
    /// `i·(length − 1)/(new − 1)`. PyTorch's `align_corners`.
    LinearCorners,
}

impl<'b> Tensor<'b> {
    /// Samples `[n, channels, …]` resized to these spatial lengths; the old ones have no symbols. A
    /// number for all axes or an array.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Interpolation, Mode};
    /// # let b = Builder::new("interpolate");
    /// # let e = b.entry("run", Mode::Eval);
    /// let maps = e.input("maps", F32, (b.dim("n"), 16, 7, 7));
    /// let larger = maps.interpolate([14, 20], Interpolation::Linear);
    /// assert_eq!(larger.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16,14,20]"));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn interpolate(self, lengths: impl IntoSpatial, how: Interpolation) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let count = ty.rank().saturating_sub(BEFORE);
        if !self.has_spatial(count.clamp(1, 3)) {
            return self.entry.poisoned();
        }
        let lengths = self.spatial("length", lengths.numbers(), count, 1);
        let Some(lengths) = lengths else { return self.entry.poisoned() };
        if how != Interpolation::Nearest && !self.is_real("linear interpolation") {
            return self.entry.poisoned();
        }
        let _scope = self.entry.enter("interpolate");
        let mut resized = self;
        for (at, &new) in lengths.iter().enumerate() {
            let old = ty.shape.dims()[BEFORE + at].as_constant();
            let Some(old) = old.and_then(|old| usize::try_from(old).ok()).filter(|old| *old > 0)
            else {
                let message = format!(
                    "expected a length of at least 1 without symbols, found axis {} of {ty}",
                    BEFORE + at
                );
                return self.entry.fail_on("interpolate_b1", message, &[self]);
            };
            if old != new {
                resized = resized.resampled(BEFORE + at, old, new, how);
            }
        }
        resized
    }

    /// One axis resized.
    #[track_caller]
    fn resampled(self, axis: usize, old: usize, new: usize, how: Interpolation) -> Tensor<'b> {
        let place = |index: usize| -> f64 {
            let (index, old, new) = (index as f64, old as f64, new as f64);
            match how {
                Interpolation::Nearest => unreachable!("found without fractions"),
                Interpolation::Linear => ((index + 0.5) * old / new - 0.5).clamp(0.0, old - 1.0),
                Interpolation::LinearCorners => index * (old - 1.0) / (new - 1.0).max(1.0),
            }
        };
        if how == Interpolation::Nearest {
            let nearest: Vec<i64> = (0..new).map(|index| (index * old / new) as i64).collect();
            return self.picked(axis, &nearest);
        }
        let places: Vec<f64> = (0..new).map(place).collect();
        let before: Vec<i64> = places.iter().map(|place| place.floor() as i64).collect();
        let last = old as i64 - 1;
        let after: Vec<i64> = before.iter().map(|index| (index + 1).min(last)).collect();
        let shares: Vec<f64> = places.iter().map(|place| place - place.floor()).collect();
        let (before, after) = (self.picked(axis, &before), self.picked(axis, &after));
        let Some(ty) = before.ty() else { return before };
        let share = self.entry.constant((new,), &shares).cast_exactly(ty.dtype);
        let share = self.entry.emit(
            Op::Broadcast { dims: Axes::from_slice(&[axis]) },
            &[share],
            &[Type::new(ty.dtype, ty.shape)],
        );
        before * (share.like(1.0) - share) + after * share
    }

    /// The elements at these indices of an axis, all of which there are.
    #[track_caller]
    fn picked(self, axis: usize, indices: &[i64]) -> Tensor<'b> {
        let indices = self.entry.constant((indices.len(),), indices);
        self.entry.emit(Op::Gather { axis }, &[self, indices], &[])
    }
}
