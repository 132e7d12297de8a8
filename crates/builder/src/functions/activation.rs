//! Activations, in PyTorch's definitions.
//!
//! Where a definition has two branches, the one that is not taken is computed of a harmless
//! number, so that no derivative of any order meets an infinity or a NaN that is not the value's
//! own. Kinks have the derivative that PyTorch gives them, which each function states.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use crate::example::example;
use crate::operand::Operand;
use crate::tensor::Tensor;

/// Runs the body under a scope if the tensor is one of floats, and fails or passes on an error
/// otherwise.
macro_rules! real_function {
    ($tensor:ident, $name:literal, $body:expr) => {{
        if !$tensor.is_real($name) {
            return $tensor.entry.poisoned();
        }
        let _scope = $tensor.entry.enter($name);
        $body
    }};
}

impl<'b> Tensor<'b> {
    /// `x` where `x > 0`, else `slope·x`; the derivative at 0 is `slope`.
    #[doc = example!(x.leaky_relu(0.5) => vec![-1.0, 2.0]; x = e.constant([2], &[-2.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn leaky_relu(self, slope: f64) -> Tensor<'b> {
        real_function!(self, "leaky_relu", self.gt(0.0).select(self, self * slope))
    }

    /// `x` where `x > 0`, else `weight·x` with a learned weight that broadcasts to the tensor; the
    /// derivative at 0 is the weight.
    #[doc = example!(
        x.prelu(w) => vec![-0.5, -1.0];
        x = e.constant([2], &[-2.0, -2.0]);
        w = e.constant([2], &[0.25, 0.5])
    )]
    #[track_caller]
    #[must_use]
    pub fn prelu(self, weight: impl Operand<'b>) -> Tensor<'b> {
        real_function!(self, "prelu", {
            match self.broadcast_to_self(weight) {
                Some(weight) => self.gt(0.0).select(self, self * weight),
                None => self.entry.poisoned(),
            }
        })
    }

    /// `x` where `x > 0`, else `alpha·(eˣ − 1)`: Clevert, Unterthiner and Hochreiter (2016).
    #[doc = example!(x.elu(1.0) => about vec![-0.6321, 2.0]; x = e.constant([2], &[-1.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn elu(self, alpha: f64) -> Tensor<'b> {
        real_function!(self, "elu", self.exponential_unit(1.0, alpha, 1.0))
    }

    /// `x` where `x > 0`, else `alpha·(exp(x/alpha) − 1)`: Barron (2017). `alpha` is not 0.
    #[doc = example!(x.celu(2.0) => about vec![-1.2642, 2.0]; x = e.constant([2], &[-2.0, 2.0]))]
    #[track_caller]
    #[must_use]
    pub fn celu(self, alpha: f64) -> Tensor<'b> {
        if alpha == 0.0 || !alpha.is_finite() {
            let message = format!("expected an alpha that is finite and not 0, found {alpha}");
            return self.entry.fail_on("loss_b2", message, &[self]);
        }
        real_function!(self, "celu", self.exponential_unit(1.0, alpha, alpha))
    }

    /// `scale·x` where `x > 0`, else `scale·alpha·(eˣ − 1)`, with the constants of Klambauer,
    /// Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks" (2017).
    #[doc = example!(x.selu() => about vec![-1.1113, 1.0507]; x = e.constant([2], &[-1.0, 1.0]))]
    #[track_caller]
    #[must_use]
    pub fn selu(self) -> Tensor<'b> {
        const ALPHA: f64 = 1.673_263_242_354_377_2;
        const SCALE: f64 = 1.050_700_987_355_480_5;
        real_function!(self, "selu", self.exponential_unit(SCALE, SCALE * ALPHA, 1.0))
    }

    /// `above·x` where `x > 0`, else `below·(exp(x/width) − 1)`.
    #[track_caller]
    fn exponential_unit(self, above: f64, below: f64, width: f64) -> Tensor<'b> {
        let positive = self.gt(0.0);
        // Not of the positive ones, whose exponentials overflow.
        let negative = positive.select(0.0, self);
        let scaled = if width == 1.0 { negative } else { negative / width };
        let linear = if above == 1.0 { self } else { self * above };
        positive.select(linear, scaled.expm1() * below)
    }

    /// `x·Φ(x)` with the normal distribution function: `x/2·(1 + erf(x/√2))`. Hendrycks and Gimpel
    /// (2016).
    #[doc = example!(x.gelu() => about vec![-0.1587, 0.8413]; x = e.constant([2], &[-1.0, 1.0]))]
    #[track_caller]
    #[must_use]
    pub fn gelu(self) -> Tensor<'b> {
        real_function!(self, "gelu", (self * 0.5) * ((self * FRAC_1_SQRT_2).erf() + 1.0))
    }

    /// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`: PyTorch's `gelu` with `approximate="tanh"`.
    #[doc = example!(
        x.gelu_tanh() => about vec![-0.1588, 0.8412];
        x = e.constant([2], &[-1.0, 1.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn gelu_tanh(self) -> Tensor<'b> {
        // √(2/π) is √2 times half of 2/√π.
        const SCALE: f64 = SQRT_2 * FRAC_2_SQRT_PI / 2.0;
        real_function!(self, "gelu_tanh", {
            let cubic = self + self * self * self * 0.044_715;
            (self * 0.5) * ((cubic * SCALE).tanh() + 1.0)
        })
    }

    /// `x·sigmoid(x)`.
    #[doc = example!(x.silu() => about vec![-0.2689, 0.7311]; x = e.constant([2], &[-1.0, 1.0]))]
    #[track_caller]
    #[must_use]
    pub fn silu(self) -> Tensor<'b> {
        real_function!(self, "silu", self * self.sigmoid())
    }

    /// `x·tanh(softplus(x))`: Misra (2019).
    #[doc = example!(x.mish() => about vec![-0.3034, 0.8651]; x = e.constant([2], &[-1.0, 1.0]))]
    #[track_caller]
    #[must_use]
    pub fn mish(self) -> Tensor<'b> {
        real_function!(self, "mish", self * self.softplus().tanh())
    }

    /// `ln(1 + eˣ)`, as `max(x, 0) + ln(1 + e^−|x|)`, which overflows nowhere. Derivatives of every
    /// order are exact at 0 too.
    #[doc = example!(
        x.softplus() => about vec![0.6931, 1000.0];
        x = e.constant([2], &[0.0, 1000.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn softplus(self) -> Tensor<'b> {
        real_function!(self, "softplus", {
            // Selections stand for `max` and `|·|`: at 0, where those have kinks, one branch holds
            // and its derivatives are the function's.
            let positive = self.gt(0.0);
            let negative_size = positive.select(-self, self);
            positive.select(self, 0.0) + negative_size.exp().log1p()
        })
    }

    /// `ln sigmoid(x)`, as `−softplus(−x)`.
    #[doc = example!(
        x.logsigmoid() => about vec![-0.6931, -1000.0];
        x = e.constant([2], &[0.0, -1000.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn logsigmoid(self) -> Tensor<'b> {
        real_function!(self, "logsigmoid", -(-self).softplus())
    }

    /// The operand between `low` and `high`, in this order; the derivative is 0 at the bounds.
    #[doc = example!(
        x.hardtanh(-1.0, 1.0) => vec![-1.0, 0.5, 1.0];
        x = e.constant([3], &[-3.0, 0.5, 2.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn hardtanh(self, low: f64, high: f64) -> Tensor<'b> {
        if low > high || low.is_nan() || high.is_nan() {
            let message = format!("expected bounds in order, found {low} and {high}");
            return self.entry.fail_on("loss_b2", message, &[self]);
        }
        real_function!(self, "hardtanh", {
            let raised = self.le(low).select(low, self);
            raised.ge(high).select(high, raised)
        })
    }

    /// The operand between 0 and 6; the derivative is 0 at the bounds.
    #[doc = example!(x.relu6() => vec![0.0, 3.0, 6.0]; x = e.constant([3], &[-1.0, 3.0, 9.0]))]
    #[track_caller]
    #[must_use]
    pub fn relu6(self) -> Tensor<'b> {
        self.hardtanh(0.0, 6.0)
    }

    /// `x/6 + ½` between 0 and 1; the derivative is 0 at the bounds.
    #[doc = example!(
        x.hardsigmoid() => vec![0.0, 0.5, 1.0];
        x = e.constant([3], &[-3.0, 0.0, 3.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn hardsigmoid(self) -> Tensor<'b> {
        real_function!(self, "hardsigmoid", (self + 3.0).relu6() / 6.0)
    }

    /// `x·hardsigmoid(x)`.
    #[doc = example!(
        x.hardswish() => about vec![0.0, 0.6667, 3.0];
        x = e.constant([3], &[-3.0, 1.0, 3.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn hardswish(self) -> Tensor<'b> {
        real_function!(self, "hardswish", self * self.hardsigmoid())
    }

    /// `x/(1 + |x|)`.
    #[doc = example!(x.softsign() => vec![-0.5, 0.75]; x = e.constant([2], &[-1.0, 3.0]))]
    #[track_caller]
    #[must_use]
    pub fn softsign(self) -> Tensor<'b> {
        real_function!(self, "softsign", self / (self.abs() + 1.0))
    }

    /// The first half of an axis times the sigmoid of the second; its length is even and has no
    /// symbol.
    #[doc = example!(x.glu(0) => vec![1.0, 2.0]; x = e.constant([4], &[2.0, 4.0, 0.0, 0.0]))]
    #[track_caller]
    #[must_use]
    pub fn glu(self, axis: isize) -> Tensor<'b> {
        real_function!(self, "glu", {
            let Some((ty, from_first)) = self.ty().zip(self.axis(axis)) else {
                return self.entry.poisoned();
            };
            let half = ty.shape.dims()[from_first].exact_div(2).and_then(|half| half.as_constant());
            let Some(half) = half.and_then(|half| isize::try_from(half).ok()) else {
                let message = format!("expected axis {from_first} of even length, found {ty}");
                return self.entry.fail_on("shape_b1", message, &[self]);
            };
            self.slice(axis, ..half) * self.slice(axis, half..).sigmoid()
        })
    }
}
