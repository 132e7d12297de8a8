//! What a kernel of the graph becomes: one kernel of the loop IR or several in order.

use kilngrad_ir::Value;
use kilngrad_loops::{Access, Kernel, KernelBuilder, Scalar};

use crate::expr::{Expr, Memory, Source};
use crate::lanes::memory_scalar;

/// What a parameter of a stage is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Param {
    /// The graph kernel's operand at this position.
    Argument(usize),
    /// The graph kernel's result at this position.
    Result(usize),
    /// Memory that lives from stage to stage.
    Temporary(usize),
    /// What a packing made, once, of an operand that no call changes.
    Packed(usize),
}

/// A kernel of the loop IR with what its parameters are bound to, in order.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) kernel: Kernel,
    pub(crate) params: Vec<Param>,
}

/// Memory between stages: type and number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Temporary {
    pub(crate) scalar: Scalar,
    pub(crate) len: usize,
}

/// How an operand that no call changes is packed: by a kernel that reads it and writes the panels.
#[derive(Debug, Clone)]
pub(crate) struct PackedOperand {
    /// The operand's position.
    pub(crate) operand: usize,
    pub(crate) kernel: Kernel,
}

/// A value that an earlier stage stored, dense, and where.
pub(crate) type Stored = (Value, Param);

/// A kernel of the graph, lowered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stages {
    /// In the order in which they run.
    pub(crate) stages: Vec<Stage>,
    pub(crate) temporaries: Vec<Temporary>,
    /// What is packed before the first call.
    pub(crate) packed: Vec<PackedOperand>,
}

impl Stages {
    /// One stage and nothing between.
    pub(crate) fn one(stage: Stage) -> Stages {
        Stages { stages: vec![stage], ..Stages::default() }
    }

    /// Adds memory between stages.
    pub(crate) fn temporary(&mut self, scalar: Scalar, len: usize) -> Param {
        self.temporaries.push(Temporary { scalar, len });
        Param::Temporary(self.temporaries.len() - 1)
    }

    /// Adds an operand that `kernel` packs.
    pub(crate) fn packed(&mut self, operand: usize, kernel: Kernel) -> Param {
        self.packed.push(PackedOperand { operand, kernel });
        Param::Packed(self.packed.len() - 1)
    }
}

/// A stage under construction: its buffers in step with what they are bound to.
///
/// Buffers are called by their positions, so that equal stages of different kernels are equal.
#[derive(Debug)]
pub(crate) struct StageBuilder {
    pub(crate) b: KernelBuilder,
    params: Vec<Param>,
}

impl StageBuilder {
    pub(crate) fn new(name: &str, chunks: usize) -> StageBuilder {
        StageBuilder { b: KernelBuilder::new(name, chunks), params: Vec::new() }
    }

    /// Declares the next parameter.
    pub(crate) fn param(
        &mut self,
        param: Param,
        scalar: Scalar,
        len: usize,
        access: Access,
    ) -> kilngrad_loops::Buffer {
        let name = match param {
            Param::Argument(at) => format!("a{at}"),
            Param::Result(at) => format!("r{at}"),
            Param::Temporary(at) => format!("t{at}"),
            Param::Packed(at) => format!("p{at}"),
        };
        self.params.push(param);
        self.b.buffer(name, scalar, len, access)
    }

    /// Declares those body arguments and stored values that `used` says, and binds them in `expr`.
    pub(crate) fn inputs(
        &mut self,
        expr: &mut Expr<'_>,
        stored: &[Stored],
        used: impl Fn(Value) -> bool,
    ) {
        let arguments = expr.graph().arguments().iter().enumerate();
        let arguments = arguments.map(|(at, value)| (*value, Param::Argument(at)));
        for (value, param) in arguments.chain(stored.iter().copied()) {
            if used(value) {
                let shape = expr.shape(value);
                let scalar = memory_scalar(expr.dtype(value));
                let buffer = self.param(param, scalar, shape.iter().product(), Access::Read);
                let memory = Memory::dense(buffer, shape);
                expr.bind(value, Source::Memory(memory));
            }
        }
    }

    /// Declares the parameter of the result at a position.
    pub(crate) fn result(&mut self, expr: &Expr<'_>, at: usize) -> Memory {
        let value = expr.graph().results()[at];
        let shape = expr.shape(value);
        let scalar = memory_scalar(expr.dtype(value));
        let buffer = self.param(Param::Result(at), scalar, shape.iter().product(), Access::Write);
        Memory::dense(buffer, shape)
    }

    /// The finished stage.
    pub(crate) fn finish(self) -> Stage {
        Stage { kernel: self.b.finish(), params: self.params }
    }
}
