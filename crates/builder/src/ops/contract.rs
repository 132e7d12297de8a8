//! Contractions: matrix products and what generalises them.

use kilngrad_ir::op::{Axes, DotAxes, Op};
use kilngrad_ir::{Shape, Type};

use crate::broadcast::joined;
use crate::example::example;
use crate::operand::IntoTensor;
use crate::ops::IntoAxes;
use crate::tensor::Tensor;

/// Paired axes of two operands: the left one's and the right one's, in the same order.
#[doc = example!(
    x.dot_general(y, (0, 1), ([], [])) => array![[10.0]];
    x = e.constant([2, 1], &[1.0, 2.0]);
    y = e.constant([1, 2], &[2.0, 4.0])
)]
pub trait IntoDotAxes: sealed::DotAxes {}

mod sealed {
    use crate::ops::axes::sealed::{Axes, Written};

    pub trait DotAxes {
        fn pair(self) -> (Written, Written);
    }

    impl<L: Axes, R: Axes> DotAxes for (L, R) {
        fn pair(self) -> (Written, Written) {
            (self.0.written(), self.1.written())
        }
    }
}

impl<L: IntoAxes, R: IntoAxes> IntoDotAxes for (L, R) {}

impl<'b> Tensor<'b> {
    /// The matrix product, of numbers, as PyTorch's: of two vectors a scalar; of matrices
    /// `[m,k]·[k,n]` a matrix; of more axes the product of the last two, while the others
    /// broadcast; a vector on either side loses its axis.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Mode};
    /// # let b = Builder::new("matmul");
    /// # let e = b.entry("run", Mode::Eval);
    /// let x = e.zeros(F32, (7, 1, 4, 3)).matmul(e.zeros(F32, (5, 3, 2)));
    /// assert_eq!(x.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[7,5,4,2]"));
    /// ```
    #[doc = example!(
        x.matmul(y) => vec![3.0, 7.0];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0]);
        y = e.constant([2], &[1.0, 1.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn matmul(self, other: impl IntoTensor<'b>) -> Tensor<'b> {
        let other = self.entry.adopt(other);
        let Some((lhs, rhs)) = self.ty().zip(other.ty()) else { return self.entry.poisoned() };
        if self.entry.home(&[self, other]).is_none() || !self.same_dtype(&[other]) {
            return self.entry.poisoned();
        }
        if lhs.rank() == 0 || rhs.rank() == 0 {
            let message = format!("expected operands of at least one axis, found {lhs} and {rhs}");
            return self.entry.fail_on("matmul_b1", message, &[self, other]);
        }
        let left_inner = lhs.rank() - 1;
        let right_inner = rhs.rank().saturating_sub(2);
        if lhs.shape.dims()[left_inner] != rhs.shape.dims()[right_inner] {
            let message = format!(
                "expected axis {left_inner} of the left operand as long as axis {right_inner} of \
                 the right one, found {lhs} and {rhs}"
            );
            return self.entry.fail_on("matmul_b2", message, &[self, other]);
        }
        if lhs.rank() >= 2 && rhs.rank() > 2 {
            return self.batched_matmul(other, &lhs, &rhs);
        }
        // One side has no batch: the result's axes are in order without any transposition.
        let axes = DotAxes {
            lhs_contract: [left_inner].into_iter().collect(),
            rhs_contract: [right_inner].into_iter().collect(),
            ..DotAxes::default()
        };
        self.entry.emit(Op::Dot(axes), &[self, other], &[])
    }

    /// The product of two stacks of matrices, whose leading axes broadcast.
    #[track_caller]
    fn batched_matmul(self, other: Tensor<'b>, lhs: &Type, rhs: &Type) -> Tensor<'b> {
        let split = |ty: &Type| {
            let (batch, matrix) = ty.shape.dims().split_at(ty.rank() - 2);
            (Shape::new(batch), matrix.to_vec())
        };
        let ((left_batch, left), (right_batch, right)) = (split(lhs), split(rhs));
        let Some(batch) = joined(&left_batch, &right_batch) else {
            let message = format!(
                "expected shapes that broadcast before the last two axes, found {lhs} and {rhs}"
            );
            return self.entry.fail_on("broadcast_b1", message, &[self, other]);
        };
        let with = |matrix: Vec<kilngrad_ir::Dim>| -> Shape {
            batch.dims().iter().cloned().chain(matrix).collect()
        };
        let rank = batch.rank();
        let leading: Axes = (0..rank).collect();
        let axes = DotAxes {
            lhs_batch: leading.clone(),
            rhs_batch: leading,
            lhs_contract: [rank + 1].into_iter().collect(),
            rhs_contract: [rank].into_iter().collect(),
        };
        let operands = [self.stretch(&with(left)), other.stretch(&with(right))];
        self.entry.emit(Op::Dot(axes), &operands, &[])
    }

    /// `beta·x + alpha·(a·b)` with the product of [`matmul`](Self::matmul): PyTorch's `baddbmm`, of
    /// any ranks.
    #[doc = example!(
        x.baddbmm(row, matrix, 0.5, 2.0) => array![[19.0, 30.0]];
        x = e.constant([1, 2], &[10.0, 20.0]);
        row = e.constant([1, 2], &[1.0, 2.0]);
        matrix = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn baddbmm(
        self,
        a: impl IntoTensor<'b>,
        b: impl IntoTensor<'b>,
        beta: f64,
        alpha: f64,
    ) -> Tensor<'b> {
        let a = self.entry.adopt(a);
        let _scope = self.entry.enter("baddbmm");
        self * beta + a.matmul(b) * alpha
    }

    /// Any contraction, of numbers: sums of products over paired axes. `contract` pairs the axes
    /// that are summed over, `batch` those that stay side by side, each as the left operand's and
    /// the right one's. The result has the batch axes, then the other ones of the left operand,
    /// then those of the right.
    #[doc = example!(
        q.dot_general(k, (-1, -1), (0, 0)) => array![[[3.0]], [[4.0]]];
        q = e.constant([2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        k = e.constant([2, 1, 2], &[1.0, 1.0, 0.0, 1.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn dot_general(
        self,
        other: impl IntoTensor<'b>,
        contract: impl IntoDotAxes,
        batch: impl IntoDotAxes,
    ) -> Tensor<'b> {
        let other = self.entry.adopt(other);
        let (contract, batch) = (contract.pair(), batch.pair());
        if self.ty().is_none() || other.ty().is_none() || !self.same_dtype(&[other]) {
            return self.entry.poisoned();
        }
        let (Some(lhs_contract), Some(lhs_batch)) =
            (self.axes_in_order(contract.0), self.axes_in_order(batch.0))
        else {
            return self.entry.poisoned();
        };
        let (Some(rhs_contract), Some(rhs_batch)) =
            (other.axes_in_order(contract.1), other.axes_in_order(batch.1))
        else {
            return self.entry.poisoned();
        };
        let axes = DotAxes { lhs_batch, rhs_batch, lhs_contract, rhs_contract };
        self.entry.emit(Op::Dot(axes), &[self, other], &[])
    }
}
