//! Slices and elements that indices from data pick.
//!
//! Each function lets a call fail where an index is out of range, before any state is written: see
//! [`Entry::check`](crate::Entry::check).

use kilngrad_ir::op::Op;
use kilngrad_ir::{DType, Dim, Literal, Shape, Type};

use crate::example::example;
use crate::operand::{IntoTensor, Operand};
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// The slices along `axis` that `indices` name: the axes of the indices, integers, take the
    /// place of that axis. A call with an index outside the axis fails.
    ///
    /// The rows of a table are an embedding: `table.index_select(0, tokens)`.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("words");
    /// let table = b.scope("words").param("table", (50, 8), Init::Xavier);
    /// let e = b.entry("embed", Mode::Eval);
    /// let tokens = e.input("tokens", I64, (b.dim("n"), 12));
    /// let embedded = e.read(table).index_select(0, tokens);
    /// assert_eq!(embedded.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,12,8]"));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn index_select(self, axis: isize, indices: impl IntoTensor<'b>) -> Tensor<'b> {
        let Some((axis, indices)) = self.indices("index_select", axis, indices) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("index_select");
        self.check_range(axis, indices);
        self.entry.emit(Op::Gather { axis }, &[self, indices], &[])
    }

    /// The tensor with slices of `source` added to those along `axis` that `indices` name: the
    /// transpose of [`index_select`](Self::index_select), whose result the source is shaped like.
    /// Slices with one index are all added. A call with an index outside the axis fails.
    #[doc = example!(
        x.index_add(0, rows, y) => vec![31.0, 2.0, 3.0];
        x = e.constant([3], &[1.0, 2.0, 3.0]);
        rows = e.constant([2], &[0, 0]);
        y = e.constant([2], &[10.0, 20.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn index_add(
        self,
        axis: isize,
        indices: impl IntoTensor<'b>,
        source: impl Operand<'b>,
    ) -> Tensor<'b> {
        let Some((axis, indices)) = self.indices("index_add", axis, indices) else {
            return self.entry.poisoned();
        };
        let source = self.operand(source);
        let _scope = self.entry.enter("index_add");
        self.check_range(axis, indices);
        self.entry.emit(Op::ScatterAdd { axis }, &[self, indices, source], &[])
    }

    /// For each index the element that has it along `axis` and the index's own position along the
    /// others: `y[i][j] = x[indices[i][j]][j]` for axis 0. Indices are integers of this tensor's
    /// rank, and their other axes no longer than its. A call with an index outside the axis fails.
    #[doc = example!(
        x.gather(0, rows) => array![[3.0, 2.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0]);
        rows = e.constant([1, 2], &[1, 0])
    )]
    #[track_caller]
    #[must_use]
    pub fn gather(self, axis: isize, indices: impl IntoTensor<'b>) -> Tensor<'b> {
        let Some((axis, indices)) = self.aligned("gather", axis, indices) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("gather");
        self.check_range(axis, indices);
        self.gather_at(axis, indices)
    }

    /// As [`gather`](Self::gather), of indices that are in range whatever the data.
    #[track_caller]
    pub(super) fn gather_known(self, axis: isize, indices: Tensor<'b>) -> Tensor<'b> {
        match self.aligned("gather", axis, indices) {
            Some((axis, indices)) => self.gather_at(axis, indices),
            None => self.entry.poisoned(),
        }
    }

    #[track_caller]
    fn gather_at(self, axis: usize, indices: Tensor<'b>) -> Tensor<'b> {
        match (self.flat(), self.positions(axis, indices)) {
            (Some(flat), Some(positions)) => {
                self.entry.emit(Op::Gather { axis: 0 }, &[flat, positions], &[])
            }
            _ => self.entry.poisoned(),
        }
    }

    /// The tensor with each element of `source` added where [`gather`](Self::gather) would take it
    /// from, whose transpose this is. The source is shaped like the indices. Elements with one
    /// place are all added. A call with an index outside the axis fails.
    #[doc = example!(
        x.scatter_add(0, rows, y) => array![[0.0, 6.0], [5.0, 0.0]];
        x = e.zeros(F64, (2, 2));
        rows = e.constant([1, 2], &[1, 0]);
        y = e.constant([1, 2], &[5.0, 6.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn scatter_add(
        self,
        axis: isize,
        indices: impl IntoTensor<'b>,
        source: impl Operand<'b>,
    ) -> Tensor<'b> {
        let Some((axis, indices)) = self.aligned("scatter_add", axis, indices) else {
            return self.entry.poisoned();
        };
        let source = self.operand(source);
        let _scope = self.entry.enter("scatter_add");
        self.check_range(axis, indices);
        let (Some(ty), Some(flat), Some(positions)) =
            (self.ty(), self.flat(), self.positions(axis, indices))
        else {
            return self.entry.poisoned();
        };
        let operands = [flat, positions, source];
        let sums = self.entry.emit(Op::ScatterAdd { axis: 0 }, &operands, &[]);
        self.entry.emit(Op::Reshape, &[sums], &[ty])
    }

    /// The axis and the indices as `i64`; `None` after an error.
    #[track_caller]
    fn indices(
        self,
        name: &str,
        axis: isize,
        indices: impl IntoTensor<'b>,
    ) -> Option<(usize, Tensor<'b>)> {
        let indices = self.entry.adopt(indices);
        let axis = self.axis(axis)?;
        let ty = indices.ty()?;
        if !ty.dtype.is_integer() {
            let message = format!("expected integers as indices of {name}, found {ty}");
            self.entry.fail_on("dtype_b3", message, &[self, indices]);
            return None;
        }
        Some((axis, indices.cast_exactly(DType::I64)))
    }

    /// As [`indices`](Self::indices), and each axis of them fits into this tensor's.
    #[track_caller]
    fn aligned(
        self,
        name: &str,
        axis: isize,
        indices: impl IntoTensor<'b>,
    ) -> Option<(usize, Tensor<'b>)> {
        let (axis, indices) = self.indices(name, axis, indices)?;
        let (own, found) = self.ty().zip(indices.ty())?;
        let fits = |(at, (length, index)): (usize, (&Dim, &Dim))| {
            let short = length.checked_sub(index).and_then(|rest| rest.as_constant());
            at == axis || length == index || short.is_some_and(|rest| rest >= 0)
        };
        let lengths = own.shape.dims().iter().zip(found.shape.dims());
        if own.rank() == found.rank() && lengths.enumerate().all(fits) {
            return Some((axis, indices));
        }
        let message = format!(
            "expected indices of the rank of {own}, no longer than it but along axis {axis}, \
             found {found}"
        );
        self.entry.fail_on("index_b1", message, &[self, indices]);
        None
    }

    #[track_caller]
    fn check_range(self, axis: usize, indices: Tensor<'b>) {
        let Some(ty) = self.ty() else { return };
        let (least, greatest) = (indices.min(..), indices.max(..));
        let inside = least.ge(0) & greatest.lt(self.count(&[axis], greatest, 0));
        let length = &ty.shape.dims()[axis];
        self.entry.check(inside, &format!("indices from 0 to below {length}"));
    }

    /// The elements along one axis.
    #[track_caller]
    fn flat(self) -> Option<Tensor<'b>> {
        let ty = self.ty()?;
        let flat = Type::new(ty.dtype, Shape::new([ty.shape.elements()?]));
        Some(self.entry.emit(Op::Reshape, &[self], &[flat]))
    }

    /// Where the element that each index names stands among all, in row-major order.
    #[track_caller]
    fn positions(self, axis: usize, indices: Tensor<'b>) -> Option<Tensor<'b>> {
        let (own, ty) = self.ty().zip(indices.ty())?;
        let mut sum: Option<Tensor<'b>> = None;
        for at in 0..own.rank() {
            let index = match at == axis {
                true => indices,
                false => self.entry.emit(Op::Iota { axis: at }, &[], std::slice::from_ref(&ty)),
            };
            let stride: Shape = own.shape.dims()[at + 1..].iter().cloned().collect();
            let stride = stride.elements()?;
            let stride = match stride.as_constant() {
                Some(stride) => {
                    self.entry.splat(Literal::from_i64(DType::I64, stride), ty.shape.clone())
                }
                None => {
                    let scalar = Type::scalar(DType::I64);
                    let stride = self.entry.emit(Op::Dimension(stride), &[], &[scalar]);
                    stride.stretch(&ty.shape)
                }
            };
            let part = index * stride;
            // No closure, which would be the line that the sum comes from.
            sum = match sum {
                None => Some(part),
                Some(sum) => Some(sum + part),
            };
        }
        sum
    }
}
