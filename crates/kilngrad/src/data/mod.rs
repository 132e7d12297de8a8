//! Data: tables of named columns, the files that they come from, and real sets inside the binary.
//!
//! A [`Table`] is what a [`Trainer`](crate::trainer::Trainer) takes its rows from. It comes from
//! arrays, from a set of this module, or from a file: CSV ([`read_csv`]), NumPy ([`read_npy`],
//! [`read_npz`]), MNIST's format ([`read_idx`]) and safetensors ([`load_arrays`](crate::load_arrays)).
//!
//! Files are untrusted. Every reader takes [`Limits`](crate::Limits), allocates in proportion to
//! bytes that are there, never to a number that they state, and says what was expected, what was
//! found and where.

mod order;
#[cfg(feature = "data")]
mod sets;
mod table;

pub(crate) use order::permute;
#[cfg(feature = "data")]
pub use sets::{Batch, Dataset, breast_cancer, diabetes, digits, iris};
pub use table::Table;
pub(crate) use table::{for_array, gather};
