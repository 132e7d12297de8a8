//! Composite functions: built from primitives under a scope of their own name, which passes turn
//! back into single kernels.

mod activation;
mod loss;
mod normalise;
mod quantile;

pub use loss::{CrossEntropy, Reduction};

pub(crate) use quantile::normal_quantile;
