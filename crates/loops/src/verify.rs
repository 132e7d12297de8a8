//! The verifier: what it accepts can run without a bounds check, a trap or a race.
//!
//! Later stages index without fear after it, and generated code contains no checks, so each rule
//! here is a fact that their `unsafe` names. All ranges are exact: extents are constants, and
//! intervals are computed in checked 128-bit arithmetic.
//!
//! # Rules of a kernel
//!
//! - **kernel_k1 sizes**: there is at least one chunk; counts fit `i64`; every buffer's bytes, and
//!   all scratch together, fit `isize`.
//! - **kernel_k2 register types**: a number has one lane or fills 128 bits, `U8` has one lane; a
//!   mask is 8×1, 32×4 or 64×2.
//! - **kernel_k3 definitions**: a register exists in the table and is defined once.
//! - **kernel_k4 scope**: a register is used after its definition and inside the body that defines
//!   it. A carry's parameter belongs to the loop's body, its result to what surrounds the loop.
//! - **kernel_k5 types**: operands and results have the types that [`Inst`](crate::Inst) states;
//!   the four registers of a carry have one type; what picks an iteration is an `I64` scalar.
//! - **kernel_k6 vector shifts**: in a vector the amount is a constant or a splat.
//! - **kernel_k7 variables**: a loop variable is not `i0`, belongs to one loop, is below
//!   [`MAX_LOOP_VARS`], and is used inside its loop; affine terms are sorted and nonzero.
//! - **kernel_k8 nesting**: loops nest at most [`MAX_NESTING`] deep. This bounds every recursion
//!   over bodies, here and in later stages.
//! - **kernel_k9 addresses**: every element that a statement touches, at every value of the
//!   variables around it, is in its buffer. Bodies of loops with extent zero are exempt, as they
//!   never run, and so are the operands of a tile with depth zero and a function of no elements.
//! - **kernel_k10 access**: a buffer exists; one that is `Read` is not written.
//! - **kernel_k11 tiles**: the scalar is a float and that of all three buffers; the block is
//!   within the shape and not empty; `b` and `c` have unit column stride; rows of `c` do not
//!   overlap; `c` is not in the buffer of `a` or `b`.
//! - **kernel_k12 indices**: an index's values fit `i64`; its step is zero for one lane.
//! - **kernel_k13 chunks**: where there are several chunks, what one stores to a parameter no
//!   other touches. The argument that is searched for is below; what it cannot prove is refused.
//! - **kernel_k14 functions**: a function is applied to floats, as many as fit `i64`.
//!
//! # Rules of a program
//!
//! - **program_p1 memory**: sizes fit `isize`; an arena buffer is writable, aligned to
//!   [`Kernel::SCRATCH_ALIGN`](crate::Kernel::SCRATCH_ALIGN) and inside the arena; an external is
//!   in the table, which is no longer than there are buffers, and buffers that share one agree
//!   whether it is writable.
//! - **program_p2 arguments**: a call names a kernel, and passes one existing buffer for each
//!   parameter, of its scalar and length.
//! - **program_p3 permission**: a parameter that is written is bound to a writable buffer.
//! - **program_p4 overlap**: two arguments of a call overlap only where both are read, or where a
//!   `Read` and a `Write` one are the same elements at the same place. In the second case no tile
//!   may read the former, and rule kernel_k13 is applied to both as if they were one buffer. That
//!   each element is read before it is written is the lowering's promise; statements of a chunk
//!   take effect in order, so that breaking it gives a wrong result and nothing worse.
//! - **program_p5 gate**: a gate stands among the calls and names at least one condition, each an
//!   existing buffer of one `u8`.
//! - **program_p6 repeats**: repeats, branches and whiles together nest at most [`MAX_REPEATS`] deep,
//!   which bounds every recursion over items, here and in later stages. A buffer that is part of others
//!   comes after them, has their scalar, and is writable as they are; of two that it is in turn it has
//!   the length; at most [`MAX_REPEATS`] buffers lie between it and its memory. A call that passes it,
//!   or a block of which it is the condition, is inside the repeats that it names, in every iteration
//!   of which it is inside the whole.
//! - **program_p7 conditions**: the condition of a branch or while is an existing buffer of one `u8`.
//!
//! Rules program_p4 holds of every iteration: where two arguments are is compared by intervals over
//! the iterations of the repeats around the call.
//!
//! # The argument for chunks
//!
//! An address is `c·p + Σ dᵥ·xᵥ + k` for the chunk `p`, variables `xᵥ` of known extents (lanes,
//! rows and columns of tiles among them) and constants. All accesses of a buffer must agree on
//! `c`, and `c ≠ 0`. Pick a modulus `M`, or none. Each access splits into a high part, a multiple
//! of `M` (terms whose coefficient `M` divides, and as many multiples of `M` from the constant as
//! needed), and a low part `c·p + l`. If every low part lies in `[0, M)`, an address determines
//! its low part, as its remainder by `M`; if moreover the values of `l` over all accesses span
//! less than `|c|`, the low part determines `p`. So no address belongs to two chunks.
//!
//! With no modulus this is the plain block `c·p + l`; with the row stride as modulus, a matrix
//! whose columns are split. Candidates for `M` are common divisors of the larger coefficients
//! and of jumps between constants, which unrolled rows leave behind. A bad candidate costs
//! a refusal, never soundness.

mod chunks;
mod inst;
mod kernel;
mod program;
mod range;

use std::fmt;

pub use kernel::verify_kernel;
pub use program::verify_program;

/// How deep loops may nest in a kernel.
pub const MAX_NESTING: usize = 32;

/// How deep blocks, be they repeats, branches or whiles, may nest in a program, and how many buffers,
/// each part of the next, may be between one and its memory.
pub const MAX_REPEATS: usize = 32;

/// Loop variables of a kernel are below this number, so that tables indexed by them are small.
pub const MAX_LOOP_VARS: u32 = 1 << 16;

/// A rule of the loop IR; the [module](self) lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// kernel_k1
    Sizes,
    /// kernel_k2
    RegisterTypes,
    /// kernel_k3
    Definitions,
    /// kernel_k4
    Scope,
    /// kernel_k5
    Types,
    /// kernel_k6
    VectorShifts,
    /// kernel_k7
    Variables,
    /// kernel_k8
    Nesting,
    /// kernel_k9
    Addresses,
    /// kernel_k10
    Access,
    /// kernel_k11
    Tiles,
    /// kernel_k14
    Functions,
    /// kernel_k12
    Indices,
    /// kernel_k13
    Chunks,
    /// program_p1
    Memory,
    /// program_p2
    Arguments,
    /// program_p3
    Permission,
    /// program_p4
    Overlap,
    /// program_p5
    Gate,
    /// program_p6
    Repeats,
    /// program_p7
    Conditions,
}

impl Rule {
    /// The label by which documentation and tests name the rule.
    pub const fn label(self) -> &'static str {
        match self {
            Rule::Sizes => "kernel_k1",
            Rule::RegisterTypes => "kernel_k2",
            Rule::Definitions => "kernel_k3",
            Rule::Scope => "kernel_k4",
            Rule::Types => "kernel_k5",
            Rule::VectorShifts => "kernel_k6",
            Rule::Variables => "kernel_k7",
            Rule::Nesting => "kernel_k8",
            Rule::Addresses => "kernel_k9",
            Rule::Access => "kernel_k10",
            Rule::Tiles => "kernel_k11",
            Rule::Functions => "kernel_k14",
            Rule::Indices => "kernel_k12",
            Rule::Chunks => "kernel_k13",
            Rule::Memory => "program_p1",
            Rule::Arguments => "program_p2",
            Rule::Permission => "program_p3",
            Rule::Overlap => "program_p4",
            Rule::Gate => "program_p5",
            Rule::Repeats => "program_p6",
            Rule::Conditions => "program_p7",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A kernel or program that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: in {place}: {problem}")]
pub struct VerifyError {
    rule: Rule,
    place: String,
    problem: String,
}

impl VerifyError {
    fn new(rule: Rule, place: impl Into<String>, problem: impl Into<String>) -> VerifyError {
        VerifyError { rule, place: place.into(), problem: problem.into() }
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The kernel or program, and the statement if it is one that breaks the rule.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What was expected and what was found.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// What a check inside a statement reports; the caller adds the place.
type Problem = (Rule, String);
