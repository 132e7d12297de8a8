//! Batch normalisation, which behaves differently in training and in use.

use kilngrad_ir::{DType, Mode};

use crate::builder::Param;
use crate::init::Init;
use crate::scope::Scope;
use crate::tensor::Tensor;

/// Batch normalisation of each channel, along axis 1, with a learned scale `w` (ones) and shift `b`
/// (zeros): see [`Tensor::batch_norm`].
///
/// In an entry of [`Mode::Train`] the statistics are the batch's, and the states `mean` (zeros) and
/// `var` (ones) move towards them, by the part [`momentum`](Self::momentum) of the way; elsewhere they
/// are these states. The variance that is kept is the unbiased one, as PyTorch's.
///
/// ```
/// use kilngrad_builder::{BatchNorm, Builder, F32, Mode};
///
/// let b = Builder::new("network");
/// let norm = BatchNorm::new(&b.root(), "norm", 8, 1e-5);
/// for (name, mode) in [("train", Mode::Train), ("predict", Mode::Eval)] {
///     let e = b.entry(name, mode);
///     let x = e.input("x", F32, (b.dim("n"), 8, 28, 28));
///     assert_eq!(norm.forward(x).ty(), x.ty());
/// }
/// assert_eq!(b.params("norm").iter().len(), 2); // the statistics are not trained
/// ```
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    /// The scale, one number a channel.
    pub weight: Param,
    /// The shift, one number a channel.
    pub bias: Param,
    /// The running mean, one number a channel.
    pub mean: Param,
    /// The running variance, one number a channel.
    pub var: Param,
    momentum: f64,
    eps: f64,
}

impl BatchNorm {
    /// Declares a layer called `name` for so many channels, with momentum 0.1. PyTorch's `eps` is
    /// 1e-5.
    ///
    /// ```
    /// use kilngrad_builder::{BatchNorm, Builder};
    ///
    /// let b = Builder::new("norm");
    /// BatchNorm::new(&b.root(), "norm", 8, 1e-5);
    /// let paths: Vec<_> = b.finish()?.states.iter().map(|state| state.path.to_string()).collect();
    /// assert_eq!(paths, ["norm.w", "norm.b", "norm.mean", "norm.var"]);
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, channels: usize, eps: f64) -> BatchNorm {
        let scope = scope.scope(name);
        let weight = scope.param("w", (channels,), Init::Ones);
        if weight.is_failed() {
            // What is wrong with the weight, such as its path, is wrong with the others.
            return BatchNorm {
                weight,
                bias: weight,
                mean: weight,
                var: weight,
                momentum: 0.1,
                eps,
            };
        }
        BatchNorm {
            weight,
            bias: scope.param("b", (channels,), Init::Zeros),
            mean: scope.state("mean", DType::F32, (channels,), Init::Zeros),
            var: scope.state("var", DType::F32, (channels,), Init::Ones),
            momentum: 0.1,
            eps,
        }
    }

    /// Which part of the way to a batch's statistics the running ones go.
    ///
    /// ```
    /// use kilngrad_builder::{BatchNorm, Builder, F32, Mode};
    /// # use kilngrad_interp::{Array, Interpreter};
    ///
    /// let b = Builder::new("norm");
    /// let norm = BatchNorm::new(&b.root(), "norm", 1, 1e-5).momentum(0.5);
    /// let e = b.entry("train", Mode::Train);
    /// e.output("y", norm.forward(e.constant([2, 1], &[2f32, 6.0])));
    /// # let mut run = Interpreter::new(b.finish()?, 0)?;
    /// # run.call("train", [])?;
    /// // Half of the way from 0 to the mean of 4, and from 1 to the variance of 8.
    /// assert_eq!(run.state("norm.mean"), Some(&Array::from(vec![2f32])));
    /// assert_eq!(run.state("norm.var"), Some(&Array::from(vec![4.5f32])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn momentum(self, momentum: f64) -> BatchNorm {
        BatchNorm { momentum, ..self }
    }

    /// The layer applied to samples `[n, channels, …]`.
    ///
    /// ```
    /// use kilngrad_builder::{BatchNorm, Builder, Mode};
    /// # use kilngrad_interp::{Array, Interpreter};
    /// # use ndarray::array;
    ///
    /// let b = Builder::new("norm");
    /// let norm = BatchNorm::new(&b.root(), "norm", 1, 0.0);
    /// let e = b.entry("train", Mode::Train);
    /// e.output("y", norm.forward(e.constant([2, 1], &[2f32, 6.0])));
    /// # let mut run = Interpreter::new(b.finish()?, 0)?;
    /// # let y = run.call("train", [])?["y"].clone();
    /// assert_eq!(y, Array::from(array![[-1f32], [1.0]]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let _scope = x.entry.enter_scope_of(self.weight);
        let entry = x.entry();
        let normal = match entry.mode() {
            Mode::Eval => x.batch_norm_with(self.mean, self.var, self.eps),
            Mode::Train => {
                let normal = x.batch_norm(self.eps);
                let rank = x.ty().map_or(0, |ty| ty.rank());
                let axes = (0..rank).filter(|axis| *axis != 1).map(|axis| axis as isize);
                let axes: Vec<isize> = axes.collect();
                let statistics = [(self.mean, x.mean(&*axes)), (self.var, x.var(&*axes, 1))];
                for (state, found) in statistics {
                    let found = found.stop_gradient();
                    entry.update(state, entry.read(state).lerp(found, self.momentum));
                }
                normal
            }
        };
        normal * normal.a_channel(self.weight) + normal.a_channel(self.bias)
    }
}
