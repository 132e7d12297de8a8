//! Elements in order.
//!
//! NaN is above every number, and equal elements stay in their order, in either direction. The
//! derivative of a sorted element is that of the element that it was.

use kilngrad_ir::op::Op;

use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// The indices (`i64`) that bring the elements along `axis` into ascending order.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("order");
    /// let e = b.entry("run", Mode::Eval);
    /// let x = e.input("x", F32, (b.dim("n"), 5));
    /// assert_eq!(x.argsort(-1).ty().map(|ty| ty.to_string()).as_deref(), Some("i64[n,5]"));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn argsort(self, axis: isize) -> Tensor<'b> {
        self.ordered(axis, false)
    }

    /// The indices (`i64`) that bring the elements along `axis` into descending order, NaN first.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("order");
    /// let e = b.entry("run", Mode::Eval);
    /// let best = e.input("x", F32, (3, 5)).argsort_descending(1);
    /// assert_eq!(best.ty().map(|ty| ty.to_string()).as_deref(), Some("i64[3,5]"));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn argsort_descending(self, axis: isize) -> Tensor<'b> {
        self.ordered(axis, true)
    }

    /// The elements along `axis` in ascending order, and their indices: see
    /// [`argsort`](Self::argsort).
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("order");
    /// let e = b.entry("run", Mode::Eval);
    /// let (sorted, indices) = e.input("x", F32, (b.dim("n"),)).sort(0);
    /// let types = [sorted, indices].map(|tensor| tensor.ty().map(|ty| ty.to_string()));
    /// assert_eq!(types, [Some("f32[n]".to_owned()), Some("i64[n]".to_owned())]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sort(self, axis: isize) -> (Tensor<'b>, Tensor<'b>) {
        let _scope = self.entry.enter("sort");
        let indices = self.ordered(axis, false);
        (self.gather_known(axis, indices), indices)
    }

    /// As [`sort`](Self::sort), in descending order.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("order");
    /// let e = b.entry("run", Mode::Eval);
    /// let (sorted, _) = e.input("x", I32, (4, 2)).sort_descending(0);
    /// assert_eq!(sorted.ty().map(|ty| ty.to_string()).as_deref(), Some("i32[4,2]"));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sort_descending(self, axis: isize) -> (Tensor<'b>, Tensor<'b>) {
        let _scope = self.entry.enter("sort_descending");
        let indices = self.ordered(axis, true);
        (self.gather_known(axis, indices), indices)
    }

    /// The `k` largest elements along `axis`, the largest first, and their indices. `k` is no more
    /// than the axis has.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("best");
    /// let e = b.entry("run", Mode::Eval);
    /// let (values, classes) = e.input("scores", F32, (b.dim("n"), 10)).topk(3, -1);
    /// let types = [values, classes].map(|tensor| tensor.ty().map(|ty| ty.to_string()));
    /// assert_eq!(types, [Some("f32[n,3]".to_owned()), Some("i64[n,3]".to_owned())]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn topk(self, k: usize, axis: isize) -> (Tensor<'b>, Tensor<'b>) {
        let poisoned = (self.entry.poisoned(), self.entry.poisoned());
        let Some((at, ty)) = self.axis(axis).zip(self.ty()) else { return poisoned };
        let length = &ty.shape.dims()[at];
        if length.as_constant().is_some_and(|length| length < k as i64) {
            let message = format!("expected at least {k} elements along axis {axis}, found {ty}");
            self.entry.fail_on("topk_b1", message, &[self]);
            return poisoned;
        }
        let _scope = self.entry.enter("topk");
        let indices = self.ordered(axis, true).slice(axis, ..k as isize);
        (self.gather_known(axis, indices), indices)
    }

    #[track_caller]
    fn ordered(self, axis: isize, descending: bool) -> Tensor<'b> {
        let Some(axis) = self.axis(axis) else { return self.entry.poisoned() };
        self.entry.emit(Op::Argsort { axis, descending }, &[self], &[])
    }
}
