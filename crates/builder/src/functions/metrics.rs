//! How good predictions are: scalars for people to read, which nothing is trained by.
//!
//! A metric of a data set that is fed in parts is the mean of the parts' by their rows, save for
//! [`r2_score`](Tensor::r2_score), which is of what one call sees.

use kilngrad_ir::Diagnostic;

use crate::operand::Operand;
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// The share of samples whose greatest logit is the class, the first of equals. Classes and
    /// indices are as for [`cross_entropy`](Self::cross_entropy).
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("metrics");
    /// let e = b.entry("evaluate", Mode::Eval);
    /// let (logits, y) = (e.input("logits", F32, (b.dim("n"), 3)), e.input("y", I64, (b.dim("n"),)));
    /// let accuracy = logits.accuracy(y);
    /// assert_eq!(accuracy.ty().map(|ty| ty.rank()), Some(0));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn accuracy(self, target: impl Operand<'b>) -> Tensor<'b> {
        let Some((axis, target)) = self.classes("accuracy", target, false) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("accuracy");
        self.argmax(axis).eq(self.indices_inside(axis, target)).share_like(self)
    }

    /// The share of samples whose class is among the `k` greatest logits; of equals all count as
    /// among them. Classes and indices are as for [`cross_entropy`](Self::cross_entropy).
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("metrics");
    /// let e = b.entry("evaluate", Mode::Eval);
    /// let (logits, y) = (e.input("logits", F32, (b.dim("n"), 9)), e.input("y", I64, (b.dim("n"),)));
    /// e.output("top 5", logits.top_k_accuracy(y, 5));
    /// assert_eq!(b.finish()?.entries[0].outputs.len(), 1);
    /// # Ok::<(), BuildErrors>(())
    /// ```
    #[track_caller]
    #[must_use]
    pub fn top_k_accuracy(self, target: impl Operand<'b>, k: usize) -> Tensor<'b> {
        let Some((axis, target)) = self.classes("top_k_accuracy", target, false) else {
            return self.entry.poisoned();
        };
        let most = i64::try_from(k).ok().filter(|k| *k > 0);
        let Some(most) = most else {
            let message = format!("expected a number of classes of at least 1, found {k}");
            return self.entry.fail_on("loss_b2", message, &[self]);
        };
        let _scope = self.entry.enter("top_k_accuracy");
        let own = self.pick(axis, target).unsqueeze(axis);
        // A NaN is not at most anything, so a class whose logit is NaN is behind all others.
        let before = (!self.le(own)).cast(crate::I64).sum(axis);
        before.lt(most).share_like(self)
    }

    /// The mean of `(x − target)²`, as [`mse_loss`](Self::mse_loss).
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("metrics");
    /// let e = b.entry("evaluate", Mode::Eval);
    /// let (x, t) = (e.input("x", F32, (b.dim("n"),)), e.input("t", F32, (b.dim("n"),)));
    /// assert_eq!(x.mse(t).ty(), x.mae(t).ty());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn mse(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.mse_loss(target)
    }

    /// The mean of `|x − target|`, as [`l1_loss`](Self::l1_loss).
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("metrics");
    /// let e = b.entry("evaluate", Mode::Eval);
    /// let x = e.input("x", F32, (b.dim("n"),));
    /// assert_eq!(x.mae(1.0).ty().map(|ty| ty.rank()), Some(0));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn mae(self, target: impl Operand<'b>) -> Tensor<'b> {
        self.l1_loss(target)
    }

    /// The coefficient of determination over all elements, `1 − Σ(t − x)²/Σ(t − mean t)²`: 1 where
    /// the prediction is exact, 0 where it is no better than the targets' mean. Of targets that are
    /// all equal it is NaN or −∞.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("metrics");
    /// let e = b.entry("evaluate", Mode::Eval);
    /// let (x, t) = (e.input("x", F32, (b.dim("n"),)), e.input("t", F32, (b.dim("n"),)));
    /// assert_eq!(x.r2_score(t).ty().map(|ty| ty.rank()), Some(0));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn r2_score(self, target: impl Operand<'b>) -> Tensor<'b> {
        let Some(target) = self.target("r2_score", target) else { return self.entry.poisoned() };
        if target.ty().is_some_and(|ty| ty.rank() == 0) {
            let message = "expected several targets for r2_score, found one number";
            let diagnostic = Diagnostic::new("loss_b1", message);
            return self.entry.fail(self.entry.with_operands(diagnostic, &[self, target]));
        }
        let _scope = self.entry.enter("r2_score");
        let left = (target - self).square().sum(..);
        let whole = (target - target.mean(..)).square().sum(..);
        1.0 - left / whole
    }

    /// The share of truth values that are true, in the dtype of `like`.
    #[track_caller]
    fn share_like(self, like: Tensor<'b>) -> Tensor<'b> {
        match like.ty() {
            Some(ty) => self.cast_exactly(ty.dtype).mean(..),
            None => self.entry.poisoned(),
        }
    }
}
