//! Sums and products of what stands before: loops over an axis.

use std::panic::Location;

use kilngrad_ir::Literal;

use crate::example::example;
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// At each index of an axis the sum of the elements up to it.
    #[doc = example!(
        x.cumsum(-1) => array![[1, 3, 6], [4, 9, 15]];
        x = e.constant([2, 3], &[1, 2, 3, 4, 5, 6])
    )]
    #[track_caller]
    #[must_use]
    pub fn cumsum(self, axis: isize) -> Tensor<'b> {
        let _attribution = self.entry.builder.attribute(Location::caller());
        self.cumulated(axis, 0.0, |sum, x| sum + x)
    }

    /// At each index of an axis the product of the elements up to it. Its derivative divides by
    /// nothing, so it is right where elements are zero.
    #[doc = example!(
        x.cumprod(0) => vec![2.0, 0.0, 0.0];
        x = e.constant([3], &[2.0, 0.0, 5.0])
    )]
    #[doc = example!(
        x.cumprod(0).sum(..).gradient([x])[0] => vec![1.0, 12.0, 0.0];
        x = e.constant([3], &[2.0, 0.0, 5.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn cumprod(self, axis: isize) -> Tensor<'b> {
        let _attribution = self.entry.builder.attribute(Location::caller());
        self.cumulated(axis, 1.0, |product, x| product * x)
    }

    /// What `next` makes of what stands before, `first` before the first element, and an element.
    #[track_caller]
    fn cumulated(
        self,
        axis: isize,
        first: f64,
        next: impl FnOnce(Tensor<'b>, Tensor<'b>) -> Tensor<'b>,
    ) -> Tensor<'b> {
        let stack = self.swap_axes(0, axis);
        let Some(ty) = stack.ty() else { return stack };
        let first = Literal::from_f64(ty.dtype, first);
        let first = self.entry.splat(first, ty.shape.without(&[0]));
        let (_, all) = stack.scan(first, |sum, x| {
            let sum = next(sum, x);
            (sum, sum)
        });
        all.swap_axes(0, axis)
    }
}
