#![forbid(unsafe_code)]
//! The loop IR: what a fused kernel is lowered to and what code is generated from.
//!
//! There are two levels. A [`Program`] binds buffers to memory and calls kernels in order; a
//! [`Kernel`] is a nest of counted loops over affine buffers, with vectors of 128 bits and calls
//! of contraction tiles and of elementary functions. A kernel runs once for each of its chunks,
//! which may run at once.
//!
//! Around the data are four tools. [`KernelBuilder`] writes kernels. The verifier ([`verify`])
//! proves that what it accepts needs no checks as it runs. The text form ([`mod@text`]) prints by
//! `Display` and parses back to an equal value. The evaluator ([`eval`]) defines what native code
//! must compute. And [`math`] has the elementary functions, over whatever a register is.
//!
//! # Examples
//!
//! ```
//! use kilngrad_loops::{
//!     Access, Affine, BinaryInst, ChunkOrder, KernelBuilder, Scalar, bytes_of, parse_kernel,
//!     run_kernel, values_of, verify_kernel,
//! };
//!
//! // The sum of eight numbers, four lanes at a time.
//! let mut b = KernelBuilder::new("sum", 1);
//! let x = b.buffer("x", Scalar::F32, 8, Access::Read);
//! let y = b.buffer("y", Scalar::F32, 4, Access::Write);
//! let zero = b.const_f32(0.0, 4);
//! let sums = b.for_carry(2, &[zero], |b, i, sums| {
//!     let value = b.load(x, Affine::constant(0).plus(i, 4), 4);
//!     vec![b.binary(BinaryInst::Add, sums[0], value)]
//! });
//! b.store(y, Affine::constant(0), sums[0]);
//! let kernel = b.finish();
//!
//! verify_kernel(&kernel)?;
//! assert_eq!(parse_kernel(&kernel.to_string())?, kernel);
//!
//! let x = bytes_of(&[1.0f32, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0]);
//! let mut params = [x, vec![0; 16]];
//! run_kernel(&kernel, &mut params, ChunkOrder::Ascending)?;
//! assert_eq!(values_of::<f32>(&params[1]), [11.0, 22.0, 33.0, 44.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod builder;
pub mod eval;
mod kernel;
pub mod math;
mod number;
mod program;
pub mod text;
pub mod verify;

pub use address::{Address, Overlap, Space};
pub use builder::KernelBuilder;
pub use eval::{
    ChunkOrder, Element, EvalError, Memory, SCRATCH_FILL, bytes_of, run_kernel, run_program,
    run_program_in_order, values_of,
};
pub use kernel::{
    Access, Affine, Apply, BinaryInst, Buffer, BufferDecl, Carry, CompareInst, Half, Inst, Kernel,
    Loop, LoopVar, MaskInst, Panel, Reg, RegType, Scalar, Stmt, TileCall, TileShape, UnaryInst,
};
pub use program::{
    Branch, BufferPlace, Call, Gate, Item, KernelId, Place, Program, Repeat, Slot, While,
};
pub use text::{ParseError, parse_kernel, parse_program};
pub use verify::{
    MAX_LOOP_VARS, MAX_NESTING, MAX_REPEATS, Rule, VerifyError, verify_kernel, verify_program,
};
