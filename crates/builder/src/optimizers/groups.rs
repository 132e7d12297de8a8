//! Several optimizers in one step: groups of parameters with a rate, a decay or a rule of their own.

use std::collections::HashSet;

use kilngrad_ir::Diagnostic;

use crate::builder::Params;
use crate::entry::Entry;
use crate::optimizers::Optimizer;
use crate::tensor::Tensor;

impl<'b> Entry<'b> {
    /// [`minimize`](Self::minimize) with an optimizer for each group of parameters: their own
    /// learning rate, weight decay or rule. No parameter is in two groups; one that is in none is
    /// frozen.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("fine tuning");
    /// let net = b.scope("net");
    /// let (body, head) = (Dense::new(&net, "body", 8, 8), Dense::new(&net, "head", 8, 1));
    /// let e = b.entry("train", Mode::Train);
    /// let x = e.input("x", F32, (b.dim("n"), 8));
    /// let loss = head.forward(body.forward(x).relu()).mse_loss(1.0);
    /// e.minimize_groups(
    ///     loss,
    ///     [
    ///         (b.params("net.body"), AdamW::new(1e-4).weight_decay(0.1).into()),
    ///         (b.params("net.head"), Sgd::new(0.1).into()),
    ///     ],
    /// );
    /// assert!(b.finish()?.find_state("net.body.w.adamw.m").is_some());
    /// # Ok::<(), BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn minimize_groups(
        self,
        loss: Tensor<'b>,
        groups: impl IntoIterator<Item = (Params, Optimizer<'b>)>,
    ) {
        let groups: Vec<(Params, Optimizer<'b>)> = groups.into_iter().collect();
        let failed = groups.iter().any(|(params, _)| params.failed);
        let list = groups.iter().flat_map(|(params, _)| params.iter()).collect();
        let all = Params { list, failed };
        let mut seen = HashSet::new();
        if let Some(id) = all.iter().filter_map(|param| param.state).find(|id| !seen.insert(*id)) {
            let path = self.builder.inner.borrow().states[id.index()].path.clone();
            let message = format!("expected each parameter in one group, found {path:?} again");
            self.fail(Diagnostic::new("optimizer_b2", message));
            return;
        }
        let gradients = self.gradients(loss, all);
        let mut rest = gradients.as_slice();
        for (params, optimizer) in groups {
            let (own, others) = rest.split_at(params.list.len().min(rest.len()));
            rest = others;
            self.apply_gradients(params, own, optimizer);
        }
    }
}
