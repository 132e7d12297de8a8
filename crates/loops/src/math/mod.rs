//! Elementary functions, each written once as straight-line arithmetic on one register.
//!
//! What a register is depends on the reader: to the lowering an operation is an instruction of a
//! kernel, to the evaluator a number, to a leaf function the lanes of the processor's widest
//! vectors. All get the same bits, as the trait [`Arithmetic`] says.
//!
//! One file a family of functions; each names its source. Results are within 2 ULP for `f32` and 3
//! ULP for `f64` of the exact value, with and without fused multiply-add, over the whole range:
//! subnormals are results and operands like any other, overflow and underflow happen where the
//! exact value's do, and angles may be of any size. docs/accuracy.md has each function's largest
//! error. Signs of zeros, infinities and NaNs are as docs/ir.md states of the operation. There is
//! no table, no branch and no call.
//!
//! Two habits recur. Operands are clamped by `MinSelect(bound, x)`, which keeps NaN, so that
//! exponents stay in range. And `x + magic`, with 1.5 times the power of two whose last place is
//! 1, rounds `x` to a whole number that is then in the low bits: cheaper than a conversion, which
//! vectors of `f64` do not have.
//!
//! Everything is inlined by force and called by its name, never as a closure or function value: a
//! leaf function is vectors of the processor only where all of it is in one function that is
//! compiled for that processor.

#![expect(
    clippy::excessive_precision,
    reason = "coefficients are written as their sources print them"
)]

mod arc;
mod arithmetic;
mod compound;
mod double;
mod erf;
mod exp;
mod function;
mod hyperbolic;
mod lane;
mod log;
mod logistic;
mod pow;
mod quadrant;
mod trigonometric;
mod wide;

pub use arc::atan2;
pub use arithmetic::{Arithmetic, Widened};
pub use compound::Compound;
pub use function::Function;
pub use pow::pow;

use arc::{acos, asin, atan};
use erf::{erf, erfc};
use exp::{exp, exp2, expm1};
use hyperbolic::{acosh, asinh, atanh, cosh, sinh};
use log::{log, log1p, log2};
use logistic::{sigmoid, tanh};
use trigonometric::{cos, sin, tan};
