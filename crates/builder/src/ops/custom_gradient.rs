//! Functions with a derivative of their own.

use std::panic::Location;

use kilngrad_ir::op::{CustomGradient, Op};
use kilngrad_ir::{Def, Diagnostic, Graph, NodeId, Value};

use crate::entry::Entry;
use crate::operand::IntoTensor;
use crate::region::RegionKind;
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// `forward` of this tensor, with the derivative that `backward` says: from the tensor, the
    /// value, and the loss's derivative by the value it makes that by the tensor, of its type.
    ///
    /// Both write graph, once, here; nothing of them runs in a call. `forward` uses no other
    /// tensor that a gradient passes, or that gradient would be lost: see
    /// [`Entry::custom_gradient`] for functions of several. `backward` may use any. A second
    /// derivative differentiates what `backward` wrote.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Mode};
    /// # let b = Builder::new("custom");
    /// # let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (b.dim("n"),));
    /// // The straight-through estimator: Bengio, Léonard and Courville (2013).
    /// let rounded = x.custom_gradient(|x| x.round(), |_, _, dy| dy);
    /// // Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation" (2015).
    /// let reversed = x.custom_gradient(|x| x, |_, _, dy| -dy);
    /// # assert!(rounded.ty().is_some() && reversed.ty().is_some());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn custom_gradient(
        self,
        forward: impl FnOnce(Tensor<'b>) -> Tensor<'b>,
        backward: impl FnOnce(Tensor<'b>, Tensor<'b>, Tensor<'b>) -> Tensor<'b>,
    ) -> Tensor<'b> {
        let [y] = self.entry.custom_gradient(
            [self],
            |[x]| [forward(x)],
            |[x], [y], [dy]| [backward(x, y, dy)],
        );
        y
    }
}

impl<'b> Entry<'b> {
    /// `forward` of several inputs, of several values, with the derivatives that `backward` says:
    /// from the inputs, the values, and the loss's derivatives by the values it makes those by the
    /// inputs, each of its input's type. Inputs and values are floats.
    ///
    /// See [`Tensor::custom_gradient`]. A value that the loss does not depend on has derivatives
    /// of zero.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Mode};
    /// # let b = Builder::new("custom");
    /// # let e = b.entry("run", Mode::Train);
    /// let (x, y) = (e.input("x", F32, (8,)), e.input("y", F32, (8,)));
    /// let [length] = e.custom_gradient(
    ///     [x, y],
    ///     |[x, y]| [(x.square() + y.square()).sqrt()],
    ///     |[x, y], [length], [d]| {
    ///         let scale = length.gt(0.0).select(d / length, 0.0);
    ///         [x * scale, y * scale]
    ///     },
    /// );
    /// # assert!(length.ty().is_some());
    /// ```
    #[track_caller]
    pub fn custom_gradient<const N: usize, const M: usize>(
        self,
        inputs: [impl IntoTensor<'b>; N],
        forward: impl FnOnce([Tensor<'b>; N]) -> [Tensor<'b>; M],
        backward: impl FnOnce([Tensor<'b>; N], [Tensor<'b>; M], [Tensor<'b>; M]) -> [Tensor<'b>; N],
    ) -> [Tensor<'b>; M] {
        let site = Location::caller();
        let failed = [self.poisoned(); M];
        let mut adopted = [self.poisoned(); N];
        for (adopted, input) in adopted.iter_mut().zip(inputs) {
            *adopted = self.adopt(input);
        }
        let inputs = adopted;
        let Some(home) = self.innermost().home(&inputs) else { return failed };
        let Some(inputs) = home.bring_in(inputs) else { return failed };
        let before = home.with(|record| record.graph.node_count());
        let values = forward(inputs);
        let Some(values) = home.bring_in(values) else { return failed };
        if !are_real(&inputs) || !are_real(&values) || !home.uses_only(&inputs, &values, before) {
            return failed;
        }

        let region = home.begin_region(site, RegionKind::WayBack);
        let cotangents = values.map(|value| region.stand_in(value, site));
        let results = values.map(|value| region.stand_in(value, site));
        let arguments = inputs.map(|input| region.stand_in_for(input, site));
        let gradients = backward(arguments, results, cotangents);
        if !region.are_cotangents_of(&gradients, &inputs) {
            return failed;
        }
        let Some((backward, others)) = region.end_region(gradients) else { return failed };
        let op = Op::CustomGradient(Box::new(CustomGradient { backward }));
        let operands: Vec<Tensor<'b>> = [&values[..], &inputs, &others].concat();
        let results = home.emit_all(op, &operands, &[]);
        results.map_or(failed, |results| std::array::from_fn(|index| results[index]))
    }

    /// Whether what was computed from node `first` on, and the values, use no other tensor that a
    /// gradient passes than the inputs; records an error where they do.
    #[track_caller]
    fn uses_only(self, inputs: &[Tensor<'b>], values: &[Tensor<'b>], first: usize) -> bool {
        let ids = |tensors: &[Tensor<'b>]| -> Vec<Value> {
            tensors.iter().filter_map(|tensor| tensor.value).collect()
        };
        let (inputs, values) = (ids(inputs), ids(values));
        let other = self.with(|record| other_source(&record.graph, &inputs, &values, first));
        let Some(other) = other else { return true };
        let other = Tensor { entry: self, value: Some(other) };
        let found = other.ty().map_or_else(String::new, |ty| ty.to_string());
        let message =
            format!("expected a function of its inputs alone, found that it uses a {found}");
        let mut diagnostic = Diagnostic::new("custom_gradient_b1", message);
        diagnostic = diagnostic.related(format!("it uses: {found}"), other.site());
        let help = "list it among the inputs, or use its `.stop_gradient()`: its gradient is lost";
        self.fail(diagnostic.help(help));
        false
    }

    /// Whether these have the types of the inputs; records an error where not. Of a tensor that
    /// failed that is known already.
    #[track_caller]
    fn are_cotangents_of(self, gradients: &[Tensor<'b>], inputs: &[Tensor<'b>]) -> bool {
        for (gradient, input) in gradients.iter().zip(inputs) {
            let (Some(found), Some(expected)) = (gradient.ty(), input.ty()) else { return false };
            if found != expected {
                let message = format!("expected a derivative of type {expected}, found {found}");
                let diagnostic = Diagnostic::new("custom_gradient_b2", message)
                    .related(format!("the derivative: {found}"), gradient.site())
                    .related(format!("the input: {expected}"), input.site());
                self.fail(diagnostic);
                return false;
            }
        }
        true
    }
}

/// Whether all are floats; records an error where one is not.
#[track_caller]
fn are_real(tensors: &[Tensor<'_>]) -> bool {
    for tensor in tensors {
        if !tensor.is_real("custom_gradient") {
            return false;
        }
    }
    true
}

/// A float that `values` and what computes them from node `first` on use, that is neither one of
/// `inputs` nor computed by these nodes, and that a gradient passes.
fn other_source(graph: &Graph, inputs: &[Value], values: &[Value], first: usize) -> Option<Value> {
    let nodes = (first..graph.node_count()).map(|index| graph.node(NodeId::from_index(index)));
    let used = nodes.filter(|node| {
        !matches!(node.op, Op::StopGradient | Op::Compare(_) | Op::ArgReduce { .. })
    });
    let used = used.flat_map(|node| &node.operands).chain(values).copied();
    let mut outside = used.filter(|value| match graph.value(*value).def {
        Def::Argument(_) => true,
        Def::Result { node, .. } => {
            node.index() < first || matches!(graph.node(node).op, Op::State(_))
        }
    });
    outside.find(|value| {
        let constant = graph.defining_node(*value).is_some_and(|node| {
            matches!(
                node.op,
                Op::Constant(_)
                    | Op::Dimension(_)
                    | Op::Iota { .. }
                    | Op::Random { .. }
                    | Op::StopGradient
            )
        });
        graph.ty(*value).dtype.is_float() && !constant && !inputs.contains(value)
    })
}
