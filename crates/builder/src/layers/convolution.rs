//! Layers of convolutions.

use kilngrad_ir::Diagnostic;

use crate::builder::Param;
use crate::example::example;
use crate::functions::spatial::Numbers;
use crate::functions::{Conv, ConvTranspose, IntoSpatial};
use crate::init::Init;
use crate::layers::Bias;
use crate::scope::Scope;
use crate::tensor::Tensor;

/// Options of convolutional layers beside their geometry: initial values.
#[doc = example!(
    layer.forward(x) => array![[[3f32, 5.0]]];
    init = ConvInit::new().weight(Init::Ones).bias(None);
    layer = Conv1d::with(&b.root(), "c", 1, 1, 2, Conv::new(), init);
    x = e.constant([1, 1, 3], &[1f32, 2.0, 3.0])
)]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConvInit {
    weight: Option<Init>,
    bias: Bias,
}

impl ConvInit {
    /// PyTorch's initial values.
    #[doc = example!(
        layer.forward(x).square().sum(..).gt(0.0) => true;
        layer = Conv1d::with(&b.root(), "c", 1, 1, 2, Conv::new(), ConvInit::new());
        x = e.constant([1, 1, 3], &[1f32, 2.0, 3.0])
    )]
    pub fn new() -> ConvInit {
        ConvInit::default()
    }

    /// Another initialiser of the weight. Fans are those of a kernel: its elements times the channels
    /// that it takes or gives.
    #[doc = example!(
    layer.forward(x) => array![[[1f32, 1.0]]];
    init = ConvInit::new().weight(Init::Zeros).bias(Init::Ones);
    layer = Conv1d::with(&b.root(), "c", 1, 1, 2, Conv::new(), init);
    x = e.constant([1, 1, 3], &[1f32, 2.0, 3.0])
    )]
    #[must_use]
    pub fn weight(self, init: Init) -> ConvInit {
        ConvInit { weight: Some(init), ..self }
    }

    /// Another initialiser of the bias, or no bias.
    #[doc = example!(
    layer.forward(x) => array![[[4f32, 6.0]]];
    init = ConvInit::new().weight(Init::Ones).bias(Init::Ones);
    layer = Conv1d::with(&b.root(), "c", 1, 1, 2, Conv::new(), init);
    x = e.constant([1, 1, 3], &[1f32, 2.0, 3.0])
    )]
    #[must_use]
    pub fn bias(self, init: impl Into<Option<Init>>) -> ConvInit {
        let bias = init.into().map_or(Bias::None, Bias::Init);
        ConvInit { bias, ..self }
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $layer:ident $options:ident $forward:ident $axes:literal $transposed:literal
        $(#[$shape:meta])*;)*) => {$(
        /// A layer of convolution
        $(#[$doc])*
        #[doc = concat!("plus a bias: see [`Tensor::", stringify!($forward), "`].")]
        ///
        $(#[$shape])*
        /// The bias is `[outputs]` at `name.b`. Unless options say otherwise both begin uniform in
        /// `±1/√n`, where `n` is the number of elements of a kernel, as PyTorch's.
        #[derive(Debug, Clone, Copy)]
        pub struct $layer {
            /// The kernels.
            pub weight: Param,
            /// The bias, `[outputs]`.
            pub bias: Option<Param>,
            options: $options,
        }

        impl $layer {
            /// Declares a layer called `name` in a scope, with kernels of a size that is a number
            /// for all axes or an array.
            #[track_caller]
            pub fn new(
                scope: &Scope<'_>,
                name: &str,
                inputs: usize,
                outputs: usize,
                size: impl IntoSpatial,
                options: $options,
            ) -> $layer {
                $layer::with(scope, name, inputs, outputs, size, options, ConvInit::new())
            }

            /// Declares a layer with initial values.
            #[track_caller]
            pub fn with(
                scope: &Scope<'_>,
                name: &str,
                inputs: usize,
                outputs: usize,
                size: impl IntoSpatial,
                options: $options,
                init: ConvInit,
            ) -> $layer {
                let groups = options.group_count();
                let channels = match $transposed {
                    true => [inputs, outputs / groups.max(1)],
                    false => [outputs, inputs / groups.max(1)],
                };
                let kernels = Kernels { channels, size: size.numbers(), axes: $axes, outputs };
                let (weight, bias) = match groups > 0 && [inputs, outputs].iter().all(|n| n % groups == 0) {
                    true => kernels.declare(scope, name, init),
                    false => undivided(scope, inputs, outputs, groups),
                };
                $layer { weight, bias, options }
            }

            /// The layer applied to samples `[n, inputs, …]`.
            #[track_caller]
            pub fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
                let _scope = x.entry.enter_scope_of(self.weight);
                let maps = x.$forward(self.weight, self.options);
                match self.bias {
                    Some(bias) => maps + maps.a_channel(bias),
                    None => maps,
                }
            }
        }
    )*};
}

layers! {
    /// over one axis
    Conv1d Conv conv1d 1 false
        /// The weight is `[outputs, inputs/groups, l]` at the path `name.w`.
        ;
    /// over two axes
    Conv2d Conv conv2d 2 false
        /// The weight is `[outputs, inputs/groups, h, w]` at the path `name.w`.
        ///
        /// ```
        /// use kilngrad_builder::{Builder, Conv, Conv2d, F32, Mode};
        ///
        /// let b = Builder::new("network");
        /// let conv = Conv2d::new(&b.scope("net"), "conv", 3, 16, 3, Conv::new().padding(1));
        /// let e = b.entry("run", Mode::Eval);
        /// let maps = conv.forward(e.input("images", F32, (b.dim("n"), 3, 28, 28)));
        /// assert_eq!(maps.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16,28,28]"));
        /// ```
        ///
        ;
    /// over three axes
    Conv3d Conv conv3d 3 false
        /// The weight is `[outputs, inputs/groups, d, h, w]` at the path `name.w`.
        ;
    /// transposed, over one axis,
    ConvTranspose1d ConvTranspose conv_transpose1d 1 true
        /// The weight is `[inputs, outputs/groups, l]` at the path `name.w`.
        ;
    /// transposed, over two axes,
    ConvTranspose2d ConvTranspose conv_transpose2d 2 true
        /// The weight is `[inputs, outputs/groups, h, w]` at the path `name.w`.
        ;
    /// transposed, over three axes,
    ConvTranspose3d ConvTranspose conv_transpose3d 3 true
        /// The weight is `[inputs, outputs/groups, d, h, w]` at the path `name.w`.
        ;
}

/// Reports channels that groups do not divide.
#[track_caller]
fn undivided(
    scope: &Scope<'_>,
    inputs: usize,
    outputs: usize,
    groups: usize,
) -> (Param, Option<Param>) {
    let message = format!(
        "expected inputs and outputs that {groups} groups divide, found {inputs} inputs and \
         {outputs} outputs"
    );
    let failed = scope.builder().failed_param(Diagnostic::new("conv_b2", message));
    (failed, Some(failed))
}

/// The weight of a layer.
struct Kernels {
    /// Its first two axes.
    channels: [usize; 2],
    size: Numbers,
    axes: usize,
    outputs: usize,
}

impl Kernels {
    #[track_caller]
    fn declare(self, scope: &Scope<'_>, name: &str, init: ConvInit) -> (Param, Option<Param>) {
        let scope = scope.scope(name);
        // A size for another number of axes makes a weight that the layer's call refuses.
        let size = self.size.for_axes(self.axes).unwrap_or_default();
        let elements: usize = size.iter().product();
        let [first, second] = self.channels;
        let weight = init.weight.unwrap_or_else(|| Init::by_inputs(second * elements));
        let weight = weight.with_fans(second * elements, first * elements);
        let shape: Vec<usize> = self.channels.into_iter().chain(size).collect();
        let weight = scope.param("w", shape, weight);
        let bias = match init.bias {
            // What is wrong with the weight, such as its path, is wrong with the bias.
            Bias::Default | Bias::Init(_) if weight.is_failed() => Some(weight),
            Bias::Default => {
                Some(scope.param("b", (self.outputs,), Init::by_inputs(second * elements)))
            }
            Bias::Init(init) => Some(scope.param("b", (self.outputs,), init)),
            Bias::None => None,
        };
        (weight, bias)
    }
}
