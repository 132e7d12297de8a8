//! Composite functions: built from primitives under a scope of their own name, which passes turn
//! back into single kernels.

mod activation;
mod arrange;
mod attention;
mod einsum;
mod loss;
mod metrics;
mod normalise;
mod quantile;

pub use arrange::PadMode;
pub use attention::Attention;
pub use loss::{CrossEntropy, Reduction};

pub(crate) use quantile::normal_quantile;
