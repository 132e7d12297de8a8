//! Gradient requests.

use kilngrad_ir::Diagnostic;
use kilngrad_ir::op::Op;
use smallvec::SmallVec;

use crate::example::example;
use crate::operand::IntoTensor;
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// The derivatives of this tensor, a float scalar, by each of `wrt`: tensors or parameters of
    /// the same dtype. Each has the type of what it is by.
    ///
    /// It is a request, which compiling expands, and a value like any other: it may be
    /// differentiated again. A gradient by what the loss does not depend on is an error then, at
    /// this line; [`gradient_or_zero`](Self::gradient_or_zero) gives zeros.
    #[doc = example!(
        x.square().sum(..).gradient([x])[0] => vec![2.0, 4.0];
        x = e.constant([2], &[1.0, 2.0])
    )]
    #[track_caller]
    pub fn gradient<const N: usize>(self, wrt: [impl IntoTensor<'b>; N]) -> [Tensor<'b>; N] {
        self.request(wrt, false)
    }

    /// The derivatives, and zeros where the loss does not depend on a tensor or a derivative does
    /// not exist.
    #[doc = example!(
        x.sum(..).gradient_or_zero([y])[0] => vec![0.0, 0.0];
        x = e.constant([1], &[1.0]);
        y = e.constant([2], &[1.0, 2.0])
    )]
    #[track_caller]
    pub fn gradient_or_zero<const N: usize>(
        self,
        wrt: [impl IntoTensor<'b>; N],
    ) -> [Tensor<'b>; N] {
        self.request(wrt, true)
    }

    #[track_caller]
    fn request<const N: usize>(
        self,
        wrt: [impl IntoTensor<'b>; N],
        or_zero: bool,
    ) -> [Tensor<'b>; N] {
        let mut operands = Vec::with_capacity(N);
        for tensor in wrt {
            operands.push(self.entry.adopt(tensor));
        }
        let gradients = self.gradients(&operands, or_zero);
        std::array::from_fn(|index| gradients[index])
    }

    /// One request for all; as many tensors as `wrt` has.
    #[track_caller]
    pub(crate) fn gradients(self, wrt: &[Tensor<'b>], or_zero: bool) -> Vec<Tensor<'b>> {
        let failed = vec![self.entry.poisoned(); wrt.len()];
        let Some(ty) = self.ty() else { return failed };
        if wrt.is_empty() {
            return failed;
        }
        if ty.rank() != 0 || !ty.dtype.is_float() {
            let message = format!("expected a loss that is a scalar of a float dtype, found {ty}");
            let diagnostic = Diagnostic::new("gradient_c2", message);
            let diagnostic = self.entry.with_operands(diagnostic, &[self]);
            self.entry.fail(diagnostic.help("reduce it with `.mean(..)` or `.sum(..)`"));
            return failed;
        }
        let operands: Vec<Tensor<'b>> = [&[self], wrt].concat();
        let Some(home) = self.entry.home(&operands) else { return failed };
        if !home.is_outermost("gradients") {
            return failed;
        }
        let gradients = home.emit_all(Op::Gradient { or_zero }, &operands, &[]);
        gradients.map_or(failed, SmallVec::into_vec)
    }

    /// The same tensor, which no gradient passes.
    #[doc = example!((x * x.stop_gradient()).gradient([x])[0] => 3.0; x = e.scalar(F64, 3.0))]
    #[track_caller]
    #[must_use]
    pub fn stop_gradient(self) -> Tensor<'b> {
        self.entry.emit(Op::StopGradient, &[self], &[])
    }
}
