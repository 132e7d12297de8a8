//! What a user writes: a model as a symbolic graph.
//!
//! A [`Builder`] collects states and entries; [`Builder::finish`] gives the [`Program`] or every
//! mistake at once. An [`Entry`] makes inputs, constants and random tensors; a [`Tensor`] has the
//! operations, which are few primitives and the functions over them (softmax, losses, norms) that
//! are built from primitives under a scope of their own name. Layers and models are plain structs
//! of [`Param`]s. Optimizers are graph too: [`Entry::minimize`] requests gradients and appends
//! updates.
//!
//! Invariants:
//!
//! - No public call panics on a user's mistake or returns `Result`, [`Builder::finish`] excepted.
//! - Every diagnostic and every node names the user's line: public functions, operators included,
//!   are `#[track_caller]`.
//! - A call is O(1) in the size of the graph so far; nothing recurses over its depth.
//! - The program depends on the sequence of calls alone.
//!
//! # Examples
//!
//! ```
//! use kilngrad_builder::*;
//! # use kilngrad_interp::{Array, Interpreter};
//!
//! let b = Builder::new("line");
//! let (slope, offset) = (b.param("slope", (), Init::Ones), b.param("offset", (), Init::Zeros));
//! let e = b.entry("train", Mode::Train);
//! let (x, y) = (e.input("x", F32, (b.dim("n"),)), e.input("y", F32, (b.dim("n"),)));
//! let loss = (x * slope + offset).mse_loss(y);
//! e.minimize(loss, b.params(""), Sgd::new(0.5));
//! e.output("loss", loss);
//! # let program = kilngrad_autodiff::differentiate(&b.finish()?)
//! #     .map_err(|found| found[0].to_string())?;
//! # let mut run = Interpreter::new(program, 0)?;
//! # let [x, y] = [vec![1f32, -1.0], vec![3f32, 1.0]].map(Array::from);
//! let outputs = run.call("train", [("x", x), ("y", y)])?;
//! assert_eq!(outputs["loss"], Array::from(4f32)); // both predictions are 2 too low
//! assert_eq!(run.state("offset"), Some(&Array::from(2f32)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod broadcast;
mod builder;
mod entry;
mod error;
mod example;
mod functions;
mod init;
mod layers;
mod operand;
mod ops;
mod optimizers;
mod region;
mod scope;
mod shape;
mod tensor;

pub use builder::{Builder, Param, Params};
pub use entry::Entry;
pub use error::BuildErrors;
pub use functions::{
    Attention, Conv, ConvTranspose, CrossEntropy, Interpolation, IntoSpatial, PadMode, Pool,
    Reduction,
};
pub use init::Init;
pub use kilngrad_ir::DType::{self, Bool, F32, F64, I32, I64, U8};
pub use kilngrad_ir::{Diagnostic, Mode, Program, Related, Site};
pub use layers::{
    BatchNorm, CellWeights, Conv1d, Conv2d, Conv3d, ConvInit, ConvTranspose1d, ConvTranspose2d,
    ConvTranspose3d, Dense, DenseOptions, Gru, LayerNorm, Lstm, RecurrentOptions, RmsNorm, Rnn,
};
pub use operand::{IntoTensor, Operand};
pub use ops::{IntoAxes, IntoDotAxes, IntoRange, Tensors};
pub use optimizers::{
    Accumulator, Adadelta, Adagrad, Adam, AdamW, LearningRate, Optimizer, RmsProp, Sgd,
};
pub use scope::Scope;
pub use shape::{IntoLength, IntoShape, Length};
pub use tensor::{Element, Fill, Tensor};
