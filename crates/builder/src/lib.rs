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

#![forbid(unsafe_code)]

mod broadcast;
mod builder;
mod entry;
mod error;
mod functions;
mod init;
mod layers;
mod operand;
mod ops;
mod optimizers;
mod recurrent;
mod region;
mod shape;
mod tensor;

pub use builder::{Builder, Param, Params, Scope};
pub use entry::Entry;
pub use error::BuildErrors;
pub use functions::{Attention, CrossEntropy, PadMode, Reduction};
pub use init::Init;
pub use kilngrad_ir::DType::{self, Bool, F32, F64, I32, I64, U8};
pub use kilngrad_ir::{Diagnostic, Mode, Program, Related, Site};
pub use layers::{Dense, DenseOptions, LayerNorm, RmsNorm};
pub use operand::{IntoTensor, Operand};
pub use ops::{IntoAxes, IntoDotAxes, IntoRange, Tensors};
pub use optimizers::{Adadelta, Adagrad, Adam, AdamW, LearningRate, Optimizer, RmsProp, Sgd};
pub use recurrent::{CellWeights, Gru, Lstm, RecurrentOptions, Rnn};
pub use shape::{IntoLength, IntoShape, Length};
pub use tensor::{Element, Fill, Tensor};
