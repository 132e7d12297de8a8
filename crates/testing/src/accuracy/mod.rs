//! How accurate the elementary functions are, measured.
//!
//! A function of one `f32` has 2³² operands, so its largest error can be known rather than
//! estimated: [`every_f32`] runs them all through the compiler's machine code. For `f64` and for
//! functions of two operands [`samples`] draws from all bit patterns and from where a function
//! varies or is computed in another way.
//!
//! The reference of `f32` is the `libm` crate's function in `f64`, which errs by less than three
//! units in the last place of a double: a measured error is exact to 10⁻⁸ units, and where that
//! leaves open which number is nearest, a double-double decides. The reference of
//! `f64` is the double-double. Tests hold both against arithmetic of any precision.
//!
//! `cargo run --release -p kilngrad-testing --example accuracy` prints the tables of
//! docs/accuracy.md, and a test reads them back: what they state as the largest error is found
//! there again, and nowhere exceeded.

mod angle;
mod double;
mod error;
mod exact;
mod functions;
mod native;
mod sample;
mod scan;
mod table;
mod tally;

pub use double::{Double, Exact};
pub use error::ulps_f64;
pub use functions::{
    Direction, FUNCTIONS, Function, Interpreted, Operands, function, of_binary, of_unary,
};
pub use native::{BATCH, Engine, Float};
pub use sample::{Sample, Stream, draw};
pub use scan::{Effort, Tallies, every_f32, samples, these};
pub use table::{Row, Stated, read_table, table};
pub use tally::{Tally, Worst};
