//! Bodies of the fuzz targets: what must hold whatever the bytes are.
//!
//! Each takes any bytes and panics where a promise is broken, so that a fuzzer, a test over the
//! committed corpus and a test over random bytes run the same code. The targets in `fuzz/` are
//! nothing but calls of these.

mod compile;
mod data;
mod load;
mod loops;
mod memory;
mod plan;
mod text;

pub use compile::compile;
pub use data::{csv, idx, npy, npz};
pub use load::{load, weights};
pub use loops::loops_text;
pub use plan::plan;
pub use text::text;

/// A target's name, which its corpus is called by too, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("text", text),
    ("compile", compile),
    ("loops_text", loops_text),
    ("csv", csv),
    ("idx", idx),
    ("npy", npy),
    ("npz", npz),
];

/// Ends a body whose promise is broken.
fn hold<T>(result: Result<T, String>, case: &dyn std::fmt::Debug) -> T {
    result.unwrap_or_else(|error| panic!("{error}\nof\n{case:?}"))
}
