//! Data: tables of named columns, the files that they come from, and real sets inside the binary.
//!
//! A [`Table`] is what a [`Trainer`](crate::trainer::Trainer) takes its rows from. It comes from
//! arrays, from a set of this module, or from a file: CSV ([`read_csv`]), NumPy ([`read_npy`],
//! [`read_npz`]), MNIST's format ([`read_idx`]) and safetensors ([`load_arrays`](crate::load_arrays)).
//!
//! CSV, IDX, `.npz` and the sets need the feature `data`.
//!
//! ```
//! use kilngrad::data::{Table, iris};
//!
//! let (train, test) = Table::from(iris()?).split(0.8, 1);
//! assert_eq!((train.rows(), test.rows()), (120, 30));
//! assert_eq!(train.names().collect::<Vec<_>>(), ["x", "y"]);
//! # Ok::<(), kilngrad::Error>(())
//! ```
//!
//! Files are untrusted. Every reader takes [`Limits`](crate::Limits), allocates in proportion to
//! bytes that are there, never to a number that they state, and says what was expected, what was
//! found and where. A length beside a zero counts as elements do, so that rows with nothing in them
//! are within the limits too.

#[cfg(feature = "data")]
mod csv;
#[cfg(feature = "data")]
mod idx;
mod npy;
mod order;
#[cfg(feature = "data")]
mod sets;
mod table;
#[cfg(feature = "data")]
mod zip;

use std::path::Path;

use kilngrad_ir::{Error, ErrorKind};

#[cfg(feature = "data")]
pub use self::csv::{parse_csv, read_csv};
#[cfg(feature = "data")]
pub use self::idx::{parse_idx, read_idx};
pub use self::npy::{parse_npy, read_npy};
#[cfg(feature = "data")]
pub use self::npy::{parse_npz, read_npz};
pub(crate) use order::permute;
#[cfg(feature = "data")]
pub use sets::{Batch, Dataset, breast_cancer, diabetes, digits, iris};
pub use table::Table;
pub(crate) use table::{for_array, gather};

/// What was made of a file's bytes; an error names the file.
fn named<T>(path: &Path, parsed: Result<T, Error>) -> Result<T, Error> {
    parsed.map_err(|error| Error::new(ErrorKind::Format, format!("{path:?}: {error}")))
}
