//! The reference: a plain evaluator of the graph IR on [`ndarray`], written to be read.
//!
//! What a program means is what this crate computes. It is not fast and takes no liberty: each
//! node is evaluated once, in the order of the graph, by the rule that its operation states. Every
//! other way to run a program (the loop evaluator, native code) is compared with it.
//!
//! # Choices that the language leaves open
//!
//! - The sum of a reduction or contraction is accumulated one term after the other in row-major
//!   order. Terms of `f32` are multiplied and added in `f64` and rounded once at the end, so an
//!   `f32` result is the nearest number to the exact one in all but contrived cases: the reference
//!   is the more exact reading, and another evaluator differs from it by its own rounding alone.
//!   Products of a reduction likewise.
//! - Of equal extremes `reduce_max` and `reduce_min` keep the last, which is seen only in the sign
//!   of a zero.
//!
//! # Invariants
//!
//! - A call that fails changes nothing: updates are handed back ([`Outcome::updates`]) and applied
//!   by the caller, or by [`Interpreter::call`] once everything has succeeded.
//! - A value is freed after its last use, so a long chain needs the memory of its widest place.
//! - Nothing recurses over the length of a graph; regions recurse, as deep as they nest.
//! - Shape rules that depend on symbols are checked again, by [`kilngrad_ir::infer`], once the
//!   symbols are bound and before memory is taken.
//!
//! # Examples
//!
//! ```
//! use kilngrad_interp::{Array, Interpreter};
//! use kilngrad_ir::op::BinaryOp;
//! use kilngrad_ir::{DType, Entry, Graph, Mode, Op, Origin, Program, Symbol, Type, ValueName};
//!
//! let mut graph = Graph::new();
//! let ty = Type::new(DType::F32, [Symbol::new("n")].into_iter().collect());
//! let x = graph.add_argument(ValueName::word("x").expect("a word"), ty);
//! let square = graph.append(Op::Binary(BinaryOp::Mul), &[x, x], &[], Origin::unknown())?;
//! graph.set_results(vec![graph.node(square).result()]);
//! let mut entry = Entry::new("square", Mode::Eval, graph);
//! entry.outputs = vec!["y".into()];
//! let mut program = Program::new("example");
//! program.entries.push(entry);
//!
//! let mut interpreter = Interpreter::new(program, 0)?;
//! let outputs = interpreter.call("square", [("x", Array::from(vec![1f32, 2.0, 3.0]))])?;
//! assert_eq!(outputs["y"], Array::from(vec![1f32, 4.0, 9.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod array;
mod bind;
mod element;
mod error;
mod eval;
mod example;
mod interpreter;
mod magnitude;
mod ops;
mod repeat;
mod scan;
mod states;

pub use array::{Array, Difference};
pub use bind::bind_inputs;
pub use element::Element;
pub use error::InterpError;
pub use eval::{Outcome, Trace, eval_entry, eval_entry_traced, eval_entry_until, eval_node};
pub use interpreter::{Interpreter, order_inputs};
pub use magnitude::{Measured, eval_node_measured};
pub use states::States;
