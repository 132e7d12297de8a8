//! Broadcasting: NumPy's rule over symbolic lengths.
//!
//! Axes are aligned at the last. Two lengths agree if they are the same polynomial or one is the
//! constant 1. A symbol is never taken for 1: that it may be bound to 1 says nothing about the
//! other bindings.

use kilngrad_ir::op::{Axes, Op};
use kilngrad_ir::{Diagnostic, Dim, Shape, Type};

use crate::example::example;
use crate::operand::Operand;
use crate::shape::IntoShape;
use crate::tensor::Tensor;

/// The shape that both broadcast to, if they do.
pub(crate) fn joined(lhs: &Shape, rhs: &Shape) -> Option<Shape> {
    let rank = lhs.rank().max(rhs.rank());
    let from_last = |shape: &Shape, position: usize| -> Option<Dim> {
        shape.dims().iter().rev().nth(position).cloned()
    };
    let one = Dim::constant(1);
    let dims: Option<Vec<Dim>> = (0..rank)
        .rev()
        .map(|position| match (from_last(lhs, position), from_last(rhs, position)) {
            (Some(left), Some(right)) if left == right || right == one => Some(left),
            (Some(left), Some(right)) if left == one => Some(right),
            (Some(_), Some(_)) | (None, None) => None,
            (Some(only), None) | (None, Some(only)) => Some(only),
        })
        .collect();
    Some(Shape::new(dims?))
}

impl<'b> Tensor<'b> {
    /// The tensor repeated to a shape that it broadcasts to.
    #[doc = example!(x.expand([2, 3]) => array![[0i64, 1, 2], [0, 1, 2]]; x = e.arange(I64, 3))]
    #[track_caller]
    pub fn expand(self, shape: impl IntoShape) -> Tensor<'b> {
        let Some((ty, shape)) = self.ty().zip(self.entry.shape(shape)) else {
            return self.entry.poisoned();
        };
        if joined(&ty.shape, &shape).as_ref() != Some(&shape) {
            let message = format!("expected a shape that {ty} broadcasts to, found {shape}");
            return self.entry.fail_on("broadcast_b1", message, &[self]);
        }
        self.stretch(&shape)
    }

    /// Both tensors, of one dtype, in the shape that they broadcast to; `None` after an error.
    #[track_caller]
    pub(crate) fn broadcast_with(self, other: Tensor<'b>) -> Option<(Tensor<'b>, Tensor<'b>)> {
        let (lhs, rhs) = self.ty().zip(other.ty())?;
        self.entry.home(&[self, other])?;
        if !self.same_dtype(&[other]) {
            return None;
        }
        let Some(shape) = joined(&lhs.shape, &rhs.shape) else {
            let message = format!("expected shapes that broadcast, found {lhs} and {rhs}");
            self.entry.fail_on("broadcast_b1", message, &[self, other]);
            return None;
        };
        Some((self.stretch(&shape), other.stretch(&shape)))
    }

    /// An operand in this tensor's shape, which it must broadcast to; `None` after an error.
    #[track_caller]
    pub(crate) fn broadcast_to_self(self, operand: impl Operand<'b>) -> Option<Tensor<'b>> {
        let other = self.operand(operand);
        let (_, other) = self.broadcast_with(other)?;
        let (own, ty) = (self.ty()?, other.ty()?);
        if own.shape != ty.shape {
            let message = format!("expected a tensor that broadcasts to {own}, found {ty}");
            self.entry.fail_on("broadcast_b1", message, &[self, other]);
            return None;
        }
        Some(other)
    }

    /// Whether all have this tensor's dtype; records an error where not.
    #[track_caller]
    pub(crate) fn same_dtype(self, others: &[Tensor<'b>]) -> bool {
        let Some(own) = self.ty() else { return false };
        let stranger =
            others.iter().find_map(|other| other.ty().filter(|ty| ty.dtype != own.dtype));
        let Some(stranger) = stranger else { return true };
        let message = format!("expected operands of one dtype, found {own} and {stranger}");
        let operands: Vec<Tensor<'b>> = [&[self], others].concat();
        let diagnostic = self.entry.with_operands(Diagnostic::new("dtype_b1", message), &operands);
        let help = format!(
            "there is no silent promotion: convert one with `.cast({})` or `.cast({})`",
            own.dtype.name().to_ascii_uppercase(),
            stranger.dtype.name().to_ascii_uppercase()
        );
        self.entry.fail(diagnostic.help(help));
        false
    }

    /// The tensor repeated to a shape that it is known to broadcast to.
    ///
    /// A `broadcast` only adds axes, so those of length 1 that grow are reshaped away first.
    #[track_caller]
    pub(crate) fn stretch(self, shape: &Shape) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        if ty.shape == *shape {
            return self;
        }
        let offset = shape.rank() - ty.rank();
        let kept = |axis: &usize| ty.shape.dims()[*axis] == shape.dims()[axis + offset];
        let (kept, grown): (Vec<usize>, Vec<usize>) = (0..ty.rank()).partition(kept);
        let dims: Axes = kept.iter().map(|axis| axis + offset).collect();
        let squeezed = if grown.is_empty() {
            self
        } else {
            let narrow = Type::new(ty.dtype, ty.shape.without(&grown));
            self.entry.emit(Op::Reshape, &[self], &[narrow])
        };
        let wide = Type::new(ty.dtype, shape.clone());
        self.entry.emit(Op::Broadcast { dims }, &[squeezed], &[wide])
    }
}

#[cfg(test)]
mod tests {
    use kilngrad_ir::Symbol;

    use super::*;

    #[test]
    fn shapes_join_as_numpy_does() {
        let n = || Dim::symbol(Symbol::new("n"));
        let c = Dim::constant;
        let join = |lhs: Vec<Dim>, rhs: Vec<Dim>| {
            joined(&Shape::new(lhs), &Shape::new(rhs)).map(|shape| shape.to_string())
        };
        assert_eq!(join(vec![n(), c(8)], vec![c(8)]).as_deref(), Some("[n,8]"));
        assert_eq!(join(vec![c(2), c(1), c(5)], vec![c(3), c(1)]).as_deref(), Some("[2,3,5]"));
        assert_eq!(join(vec![n(), c(1)], vec![c(1), n()]).as_deref(), Some("[n,n]"));
        assert_eq!(join(vec![], vec![n()]).as_deref(), Some("[n]"));
        assert_eq!(join(vec![c(0)], vec![c(1)]).as_deref(), Some("[0]"));
        assert_eq!(join(vec![n()], vec![c(8)]), None);
        assert_eq!(join(vec![c(2)], vec![c(3)]), None);
    }
}
