//! Layers: plain structs of parameter ids. They borrow no builder, so models are plain structs too,
//! and sharing a layer is applying it again.

mod batch_norm;
mod convolution;
mod recurrent;

use crate::builder::Param;
use crate::example::example;
use crate::init::Init;
use crate::scope::Scope;
use crate::shape::IntoShape;
use crate::tensor::Tensor;

pub use batch_norm::BatchNorm;
pub use convolution::{
    Conv1d, Conv2d, Conv3d, ConvInit, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d,
};
pub use recurrent::{CellWeights, Gru, Lstm, RecurrentOptions, Rnn};

/// `x·w + b`: a dense layer.
///
/// The weight is `[inputs, outputs]` at the path `name.w`, the bias `[outputs]` at `name.b`. Unless
/// options say otherwise both begin uniform in `±1/√inputs`, as PyTorch's `Linear`.
///
/// ```
/// use kilngrad_builder::{Builder, Dense, DenseOptions, F32, Init, Mode};
///
/// let b = Builder::new("dense");
/// let scope = b.scope("net");
/// let hidden = Dense::new(&scope, "hidden", 64, 32);
/// let options = DenseOptions::new().weight(Init::Xavier).bias(None);
/// let head = Dense::with(&scope, "head", 32, 10, options);
/// let e = b.entry("run", Mode::Eval);
/// let logits = head.forward(hidden.forward(e.input("x", F32, (b.dim("n"), 64))).relu());
/// assert_eq!(logits.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,10]"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// The weight, `[inputs, outputs]`.
    pub weight: Param,
    /// The bias, `[outputs]`.
    pub bias: Option<Param>,
}

/// Options of [`Dense::with`].
#[doc = example!(
    layer.forward(x) => vec![3f32];
    options = DenseOptions::new().weight(Init::Ones).bias(None);
    layer = Dense::with(&b.root(), "sum", 2, 1, options);
    x = e.constant([2], &[1f32, 2.0])
)]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DenseOptions {
    weight: Option<Init>,
    bias: Bias,
}

/// The bias that is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
enum Bias {
    /// By the number of inputs.
    #[default]
    Default,
    Init(Init),
    None,
}

impl DenseOptions {
    /// PyTorch's initial values.
    ///
    /// ```
    /// use kilngrad_builder::DenseOptions;
    ///
    /// assert_eq!(DenseOptions::new(), DenseOptions::default());
    /// ```
    pub fn new() -> DenseOptions {
        DenseOptions::default()
    }

    /// Another initialiser of the weight.
    #[doc = example!(
        layer.forward(x) => vec![6f32];
        options = DenseOptions::new().weight(Init::Constant(2.0)).bias(None);
        layer = Dense::with(&b.root(), "sum", 2, 1, options);
        x = e.constant([2], &[1f32, 2.0])
    )]
    #[must_use]
    pub fn weight(self, init: Init) -> DenseOptions {
        DenseOptions { weight: Some(init), ..self }
    }

    /// Another initialiser of the bias, or no bias.
    #[doc = example!(
        layer.forward(x) => vec![3.5f32];
        options = DenseOptions::new().weight(Init::Ones).bias(Init::Constant(0.5));
        layer = Dense::with(&b.root(), "sum", 2, 1, options);
        x = e.constant([2], &[1f32, 2.0])
    )]
    #[must_use]
    pub fn bias(self, init: impl Into<Option<Init>>) -> DenseOptions {
        let bias = init.into().map_or(Bias::None, Bias::Init);
        DenseOptions { bias, ..self }
    }
}

impl Dense {
    /// Declares a layer called `name` in a scope.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Dense};
    ///
    /// let b = Builder::new("dense");
    /// Dense::new(&b.root(), "head", 64, 10);
    /// let [w, b] = b.finish()?.states.try_into().expect("two states");
    /// assert_eq!((w.ty.to_string(), b.ty.to_string()), ("f32[64,10]".into(), "f32[10]".into()));
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, inputs: usize, outputs: usize) -> Dense {
        Dense::with(scope, name, inputs, outputs, DenseOptions::new())
    }

    /// Declares a layer with options.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Dense, DenseOptions};
    ///
    /// let b = Builder::new("dense");
    /// let head = Dense::with(&b.root(), "head", 64, 10, DenseOptions::new().bias(None));
    /// assert!(head.bias.is_none());
    /// ```
    #[track_caller]
    pub fn with(
        scope: &Scope<'_>,
        name: &str,
        inputs: usize,
        outputs: usize,
        options: DenseOptions,
    ) -> Dense {
        let scope = scope.scope(name);
        let weight = options.weight.unwrap_or_else(|| Init::by_inputs(inputs));
        let weight = scope.param("w", (inputs, outputs), weight);
        let bias = match options.bias {
            // What is wrong with the weight, such as its path, is wrong with the bias.
            Bias::Default | Bias::Init(_) if weight.is_failed() => Some(weight),
            Bias::Default => Some(scope.param("b", (outputs,), Init::by_inputs(inputs))),
            Bias::Init(init) => Some(scope.param("b", (outputs,), init)),
            Bias::None => None,
        };
        Dense { weight, bias }
    }

    /// The layer applied to the last axis of `x`, of length `inputs`.
    #[doc = example!(
        layer.forward(x) => array![[3f32], [7.0]];
        options = DenseOptions::new().weight(Init::Ones).bias(None);
        layer = Dense::with(&b.root(), "sum", 2, 1, options);
        x = e.constant([2, 2], &[1f32, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    pub fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let _scope = x.entry.enter_scope_of(self.weight);
        let product = x.matmul(self.weight);
        match self.bias {
            Some(bias) => product + bias,
            None => product,
        }
    }
}

/// Layer normalisation with a learned scale `w` (ones) and shift `b` (zeros): see
/// [`Tensor::layer_norm`].
#[doc = example!(
    norm.forward(x) => vec![-1f32, 1.0];
    norm = LayerNorm::new(&b.root(), "norm", (2,), 0.0);
    x = e.constant([2], &[1f32, 5.0])
)]
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// The scale, of the shape that is normalised.
    pub weight: Param,
    /// The shift, of the shape that is normalised.
    pub bias: Param,
    axes: usize,
    eps: f64,
}

impl LayerNorm {
    /// Declares a layer called `name` that normalises the last axes, which have this shape.
    /// PyTorch's `eps` is 1e-5.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, LayerNorm};
    ///
    /// let b = Builder::new("norm");
    /// LayerNorm::new(&b.root(), "norm", (8,), 1e-5);
    /// assert_eq!(b.params("norm").iter().len(), 2);
    /// ```
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, shape: impl IntoShape, eps: f64) -> LayerNorm {
        let scope = scope.scope(name);
        let shape = shape.resolve();
        let weight = scope.param("w", Lengths(shape.clone()), Init::Ones);
        let axes = shape.len();
        let bias = match weight.is_failed() {
            true => weight,
            false => scope.param("b", Lengths(shape), Init::Zeros),
        };
        LayerNorm { weight, bias, axes, eps }
    }

    /// The layer applied.
    #[doc = example!(
        norm.forward(x) => array![[-1f32, 1.0], [1.0, -1.0]];
        norm = LayerNorm::new(&b.root(), "norm", (2,), 0.0);
        x = e.constant([2, 2], &[1f32, 5.0, 9.0, 7.0])
    )]
    #[track_caller]
    pub fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let _scope = x.entry.enter_scope_of(self.weight);
        let normal = x.layer_norm(last_axes(self.axes).as_slice(), self.eps);
        let Some(weight) = normal.broadcast_to_self(self.weight) else {
            return x.entry.poisoned();
        };
        normal * weight + self.bias
    }
}

/// Root-mean-square normalisation with a learned scale `w` (ones): see [`Tensor::rms_norm`].
#[doc = example!(
    norm.forward(x) => about vec![0.2, 1.4];
    norm = RmsNorm::new(&b.root(), "norm", (2,), 0.0);
    x = e.constant([2], &[1f32, 7.0])
)]
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    /// The scale, of the shape that is normalised.
    pub weight: Param,
    axes: usize,
    eps: f64,
}

impl RmsNorm {
    /// Declares a layer called `name` that normalises the last axes, which have this shape.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, RmsNorm};
    ///
    /// let b = Builder::new("norm");
    /// RmsNorm::new(&b.root(), "norm", (8,), 1e-6);
    /// assert_eq!(b.params("norm").iter().len(), 1);
    /// ```
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, shape: impl IntoShape, eps: f64) -> RmsNorm {
        let scope = scope.scope(name);
        let shape = shape.resolve();
        let axes = shape.len();
        RmsNorm { weight: scope.param("w", Lengths(shape), Init::Ones), axes, eps }
    }

    /// The layer applied.
    #[doc = example!(
        norm.forward(x) => about vec![1.4, 0.2];
        norm = RmsNorm::new(&b.root(), "norm", (2,), 0.0);
        x = e.constant([2], &[7f32, 1.0])
    )]
    #[track_caller]
    pub fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let _scope = x.entry.enter_scope_of(self.weight);
        let normal = x.rms_norm(last_axes(self.axes).as_slice(), self.eps);
        match normal.broadcast_to_self(self.weight) {
            Some(weight) => normal * weight,
            None => x.entry.poisoned(),
        }
    }
}

/// The last `count` axes.
fn last_axes(count: usize) -> Vec<isize> {
    (1..=count).rev().map(|axis| -isize::try_from(axis).unwrap_or(isize::MAX)).collect()
}

/// A shape that is resolved already.
struct Lengths(smallvec::SmallVec<[crate::shape::sealed::Resolved; 4]>);

impl IntoShape for Lengths {}
impl crate::shape::sealed::Shape for Lengths {
    fn resolve(self) -> smallvec::SmallVec<[crate::shape::sealed::Resolved; 4]> {
        self.0
    }
}
