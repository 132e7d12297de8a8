//! The leaf kernels that generated loops call: contraction tiles and elementary functions in
//! several instruction sets, of which the best that the processor has is chosen when a program is
//! compiled.
//!
//! The code generator stops at 128-bit vectors, so a contraction written as one of its loops runs
//! at half the speed of the machine or less. A [`Tile`] is the innermost register block of a
//! contraction, written here with wider vectors; packing, blocking, prologue and epilogue are loop
//! IR around it. What a tile computes is the meaning of [`kilngrad_loops::TileCall`], to the bit:
//! each element of the result is one chain of rounded terms in the order of `k`, so that tiles of
//! different sizes agree with each other, and with the loop evaluator.
//!
//! ```
//! use kilngrad_loops::Scalar;
//! use kilngrad_tiles::{Block, Features};
//!
//! let tile = kilngrad_tiles::best(Features::detect(), Scalar::F32);
//! let (left, right) = ([1.0f32, 2.0, 3.0], [10.0f32, 100.0, 1000.0]);
//! let mut dot = [0.0f32];
//! let block = Block { rows: 1, cols: 1, accumulate: false };
//! // SAFETY: `left` is 1 × 3, `right` is 3 × 1, `dot` is 1 × 1 with the strides given, and this
//! // processor has the features that were detected.
//! unsafe {
//!     (tile.function)(
//!         left.as_ptr().cast(),
//!         right.as_ptr().cast(),
//!         dot.as_mut_ptr().cast(),
//!         3,
//!         3,
//!         1,
//!         1,
//!         1,
//!         block.pack(),
//!     );
//! }
//! assert_eq!(dot, [3210.0]);
//! ```
//!
//! A function replaces each of some elements by its value, with the bits that straight-line code of
//! generated loops gives ([`find_function`]).
//!
//! Invariants of every tile and function, each held by a test of this crate:
//!
//! - no byte outside the rows × cols × depth rectangle of an operand, or the elements of a
//!   function, is read or written;
//! - nothing panics, unwinds or traps, whatever the numbers are;
//! - no state is kept and none is shared, so tiles may run on any number of threads at once.

mod block;
mod denormals;
mod features;
mod function;
mod portable;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use denormals::FloatMode;
pub use features::Features;
pub use function::{ElementsFn, find_function, has_functions};
pub use tile::{Block, Tile, TileFn, available, best, find};
