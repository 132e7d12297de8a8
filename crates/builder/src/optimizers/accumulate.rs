//! Gradients summed over several calls, for a step of more rows than memory takes at once.

use kilngrad_ir::{DType, Init, Literal, Role, Shape, State, Type};

use crate::builder::{Param, Params, join};
use crate::entry::Entry;
use crate::scope::Scope;
use crate::tensor::Tensor;

/// States that sum up gradients over calls: one entry [adds](Self::add), another
/// [takes the mean](Self::take) and steps.
///
/// Each batch counts by its rows, so that batches of any sizes give the gradient of one batch with
/// all their rows, where the loss is a mean over rows.
///
/// ```
/// use kilngrad_builder::*;
///
/// let b = Builder::new("large batches");
/// let layer = Dense::new(&b.root(), "layer", 8, 1);
/// let sums = Accumulator::new(&b.scope("sums"), b.params("layer"));
///
/// let add = b.entry("add", Mode::Train);
/// let x = add.input("x", F32, (b.dim("n"), 8));
/// let loss = layer.forward(x).mse_loss(1.0);
/// sums.add(loss, x);
/// add.output("loss", loss);
///
/// let step = b.entry("step", Mode::Train);
/// let gradients = step.clip_grad_norm(&sums.take(step), 1.0);
/// step.apply_gradients(b.params("layer"), &gradients, Adam::new(1e-3));
/// assert!(b.finish()?.find_state("sums.rows").is_some());
/// # Ok::<(), BuildErrors>(())
/// ```
#[derive(Debug, Clone)]
pub struct Accumulator {
    params: Params,
    /// One of each parameter's type.
    sums: Vec<Param>,
    /// Rows that were added: a scalar of `f64`.
    rows: Param,
}

impl Accumulator {
    /// Declares the states in `scope`: `rows`, and `sum.PATH` for each parameter.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("states");
    /// let w = b.param("w", (3,), Init::Zeros);
    /// let sums = Accumulator::new(&b.scope("sums"), w);
    /// # let _ = sums;
    /// assert!(b.finish()?.find_state("sums.sum.w").is_some());
    /// # Ok::<(), BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn new(scope: &Scope<'_>, params: impl Into<Params>) -> Accumulator {
        let (params, site) = (params.into(), std::panic::Location::caller());
        let declare = |name: &str, ty: Type| {
            let init = Init::Splat(Literal::from_i64(ty.dtype, 0));
            let state = State { path: join(scope.path(), name), ty, init, role: Role::Optimizer };
            scope.builder().declare(state, scope.path().into(), site)
        };
        let rows = declare("rows", Type::scalar(DType::F64));
        let mut sums = Vec::with_capacity(params.list.len());
        for param in &params.list {
            let Some(id) = param.state.filter(|_| param.builder == scope.builder().id) else {
                // Who uses it says that it is of another builder.
                sums.push(*param);
                continue;
            };
            let (path, ty) = {
                let state = &scope.builder().inner.borrow().states[id.index()];
                (state.path.clone(), state.ty.clone())
            };
            sums.push(declare(&format!("sum.{path}"), ty));
        }
        Accumulator { params, sums, rows }
    }

    /// Lets each call of the loss's entry add the gradients of `loss`, times the length of the first
    /// axis of `batch`.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("add");
    /// let w = b.param("w", (3,), Init::Zeros);
    /// let sums = Accumulator::new(&b.scope("sums"), w);
    /// let e = b.entry("add", Mode::Train);
    /// let x = e.input("x", F32, (b.dim("n"), 3));
    /// sums.add((x * w).mean(..), x);
    /// assert_eq!(b.finish()?.entries[0].updates.len(), 2);
    /// # Ok::<(), BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn add<'b>(&self, loss: Tensor<'b>, batch: Tensor<'b>) {
        let entry = loss.entry();
        if batch.ty().is_some_and(|ty| ty.rank() == 0) {
            let message = "expected a batch whose first axis counts rows, found a scalar";
            entry.fail_on("shape_b1", message, &[batch]);
            return;
        }
        let gradients = entry.gradients(loss, self.params.clone());
        let _scope = entry.enter("accumulate");
        let before = entry.read(self.rows);
        let rows = batch.count(&[0], before, 0);
        entry.update(self.rows, before + rows);
        for (sum, gradient) in self.sums.iter().zip(gradients) {
            let Some(ty) = gradient.ty() else { return };
            entry.update(*sum, entry.read(*sum) + gradient * rows.cast_exactly(ty.dtype));
        }
    }

    /// The mean gradients, one a parameter in order, for
    /// [`apply_gradients`](Entry::apply_gradients); each call of `entry` begins the sums anew. NaN
    /// where nothing was added.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("take");
    /// let w = b.param("w", (3,), Init::Zeros);
    /// let sums = Accumulator::new(&b.scope("sums"), w);
    /// let e = b.entry("step", Mode::Train);
    /// let gradients = sums.take(e);
    /// assert_eq!(gradients.len(), 1);
    /// e.apply_gradients(w, &gradients, Sgd::new(0.1));
    /// assert!(b.finish().is_ok());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn take<'b>(&self, entry: Entry<'b>) -> Vec<Tensor<'b>> {
        let _scope = entry.enter("accumulate");
        let rows = entry.read(self.rows);
        entry.update(self.rows, entry.splat(Literal::from_i64(DType::F64, 0), Shape::scalar()));
        let mut means = Vec::with_capacity(self.sums.len());
        for sum in &self.sums {
            let total = entry.read(*sum);
            let Some(ty) = total.ty() else { return vec![entry.poisoned(); self.sums.len()] };
            means.push(total / rows.cast_exactly(ty.dtype));
            entry.update(*sum, total.like(0.0));
        }
        means
    }
}
