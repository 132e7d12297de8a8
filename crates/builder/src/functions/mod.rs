//! Composite functions: built from primitives under a scope of their own name, which passes turn
//! back into single kernels.

mod activation;
mod arrange;
mod attention;
mod convolution;
mod cumulative;
mod einsum;
mod interpolate;
mod loss;
mod metrics;
mod normalise;
mod pool;
mod quantile;
pub(crate) mod spatial;

pub use arrange::PadMode;
pub use attention::Attention;
pub use convolution::{Conv, ConvTranspose};
pub use interpolate::Interpolation;
pub use loss::{CrossEntropy, Reduction};
pub use pool::Pool;
pub use spatial::IntoSpatial;

pub(crate) use quantile::normal_quantile;
