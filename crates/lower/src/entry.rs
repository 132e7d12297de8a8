//! Entries: memory of values, calls in order, equal kernels shared.

use std::collections::HashMap;

use kilngrad_ir::op::{KernelKind, Op};
use kilngrad_ir::{self as ir, Constant, Def, Entry, Machine, Node, Program, StateId, Value};
use kilngrad_loops::{self as loops, Access, BufferPlace, Call, Gate, KernelId, Slot};

use crate::contraction::lower_contraction;
use crate::indexed::lower_indexed;
use crate::lanes::memory_scalar;
use crate::map::lower_map;
use crate::reduce::lower_reduce;
use crate::sort;
use crate::stage::{PackedOperand, Param, Stage, Stages};
use crate::{Context, LowerError};

/// An entry as loop IR.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The program, which [`kilngrad_loops::verify_program`] accepts.
    pub program: loops::Program,
    /// What the program's externals are, by index.
    pub externals: Vec<External>,
    /// What is made, once, of memory that no call changes, before the program runs.
    pub packings: Vec<Packing>,
}

/// A constant in another order of elements, for kernels to read instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Packing {
    /// What is packed: a constant, or a state of a frozen entry.
    pub source: External,
    /// Reads the source, its external 0, and writes what kernels read, its external 1. What it does
    /// not write is zero. Verified like the entry's program.
    pub program: loops::Program,
}

/// Memory outside the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum External {
    /// The caller's buffer of the argument at this position.
    Argument(usize),
    /// The caller's buffer of the output at this position.
    Output(usize),
    /// A state's memory.
    State(StateId),
    /// What lies so many bytes from the start of the constants that the executable keeps.
    Constant {
        /// Bytes from their start, as in [`kilngrad_ir::Place::Constant`].
        offset: usize,
    },
    /// What the packing at this position made.
    Packed(usize),
}

/// Lowers an entry for a machine. The result depends on nothing else, and is verified.
///
/// Temporaries between the parts of one kernel come after the plan's bytes in the arena.
///
/// # Errors
///
/// If the entry is not bound, fused and planned, or a kernel's body is not one of its kind.
///
/// # Panics
///
/// If the entry belongs to another program.
pub fn lower_entry(
    program: &Program,
    entry: &Entry,
    machine: &Machine,
) -> Result<Lowered, LowerError> {
    lower(program, entry, machine, false)
}

/// Lowers an entry, like [`lower_entry`], whose states no call changes, so that they are constants.
///
/// # Errors
///
/// As [`lower_entry`].
///
/// # Panics
///
/// If the entry belongs to another program or updates a state.
pub fn lower_frozen(
    program: &Program,
    entry: &Entry,
    machine: &Machine,
) -> Result<Lowered, LowerError> {
    assert!(entry.updates.is_empty(), "a frozen entry updates no state");
    lower(program, entry, machine, true)
}

fn lower(
    program: &Program,
    entry: &Entry,
    machine: &Machine,
    frozen: bool,
) -> Result<Lowered, LowerError> {
    let plan =
        entry.plan.ok_or_else(|| LowerError::NotPlanned { entry: entry.name.to_string() })?;
    let mut writer = Writer {
        entry,
        frozen,
        lowered: Lowered {
            program: loops::Program {
                name: entry.name.to_string(),
                arena_bytes: plan.arena_bytes,
                externals: 0,
                buffers: Vec::new(),
                kernels: Vec::new(),
                body: Vec::new(),
                gate: None,
            },
            externals: Vec::new(),
            packings: Vec::new(),
        },
        planned_bytes: plan.arena_bytes,
        slots: HashMap::new(),
        kernels: HashMap::new(),
    };
    let decided = entry.decided_after();
    if decided.is_none() {
        writer.gate(program)?;
    }
    for (id, node) in entry.graph.nodes() {
        writer.node(program, node, machine)?;
        if Some(id) == decided {
            writer.gate(program)?;
        }
    }
    loops::verify_program(&writer.lowered.program)?;
    for packing in &writer.lowered.packings {
        loops::verify_program(&packing.program)?;
    }
    Ok(writer.lowered)
}

struct Writer<'a> {
    entry: &'a Entry,
    /// Whether states are constants.
    frozen: bool,
    lowered: Lowered,
    planned_bytes: usize,
    /// Buffers by place, scalar and length.
    slots: HashMap<(loops::Place, loops::Scalar, usize), Slot>,
    /// Kernels by themselves without names.
    kernels: HashMap<loops::Kernel, KernelId>,
}

impl Writer<'_> {
    fn node(
        &mut self,
        program: &Program,
        node: &Node,
        machine: &Machine,
    ) -> Result<(), LowerError> {
        match &node.op {
            Op::Kernel(kernel) => {
                let name = &kernel.name;
                let constant = node.operands.iter().map(|value| self.is_constant(*value));
                let constant = &constant.collect::<Result<Vec<bool>, _>>()?;
                let stages = lower_kernel(&Context { kernel, name, machine, constant })?;
                self.stages(program, node, stages)
            }
            // They are where the plan says, and no code computes them.
            Op::State(_) | Op::Constant(Constant::Dense(_)) | Op::Reshape => Ok(()),
            Op::Constant(Constant::Splat(_))
            | Op::Dimension(_)
            | Op::Iota { .. }
            | Op::Random { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Cast
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Argsort { .. }
            | Op::Dot(_)
            | Op::Broadcast { .. }
            | Op::Transpose { .. }
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Windows(_)
            | Op::Fold(_)
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. } => Err(LowerError::NotFused { op: node.op.name() }),
        }
    }

    fn stages(&mut self, program: &Program, node: &Node, stages: Stages) -> Result<(), LowerError> {
        let temporaries = self.temporaries(&stages);
        let packed = stages.packed.into_iter();
        let packed = packed.map(|packed| self.packed(node, packed));
        let packed = packed.collect::<Result<Vec<Slot>, _>>()?;
        for Stage { kernel, params } in stages.stages {
            let args = params
                .iter()
                .map(|param| match *param {
                    Param::Argument(at) => self.slot(program, node.operands[at]),
                    Param::Result(at) => self.slot(program, node.results[at]),
                    Param::Temporary(at) => Ok(temporaries[at]),
                    Param::Packed(at) => Ok(packed[at]),
                })
                .collect::<Result<Vec<Slot>, _>>()?;
            let kernel = self.kernel(kernel);
            self.lowered.program.body.push(Call { kernel, args });
        }
        Ok(())
    }

    /// Here every check is decided.
    fn gate(&mut self, program: &Program) -> Result<(), LowerError> {
        let checks = &self.entry.checks;
        if checks.is_empty() {
            return Ok(());
        }
        let conditions = checks.iter().map(|check| self.slot(program, check.condition));
        let conditions = conditions.collect::<Result<_, _>>()?;
        let after = self.lowered.program.body.len();
        self.lowered.program.gate = Some(Gate { after, conditions });
        Ok(())
    }

    /// Memory after the plan's, which the next kernel takes again.
    fn temporaries(&mut self, stages: &Stages) -> Vec<Slot> {
        let align = loops::Kernel::SCRATCH_ALIGN;
        let mut end = self.planned_bytes;
        let mut slots = Vec::new();
        for temporary in &stages.temporaries {
            let offset = end.next_multiple_of(align);
            end = offset + temporary.len * temporary.scalar.size();
            let place = loops::Place::Arena { offset };
            slots.push(self.buffer("temporary", place, temporary.scalar, temporary.len, true));
        }
        let arena_bytes = &mut self.lowered.program.arena_bytes;
        *arena_bytes = (*arena_bytes).max(end);
        slots
    }

    /// Whether no call changes a value.
    fn is_constant(&self, value: Value) -> Result<bool, LowerError> {
        Ok(match place_of(self.entry, value)? {
            ir::Place::Constant(_) => true,
            ir::Place::State(_) => self.frozen,
            ir::Place::Arena(_) | ir::Place::Argument(_) | ir::Place::Output(_) => false,
        })
    }

    /// What an operand of a node is packed into; once, however many kernels read it.
    fn packed(&mut self, node: &Node, packed: PackedOperand) -> Result<Slot, LowerError> {
        let value = node.operands[packed.operand];
        let source = match place_of(self.entry, value)? {
            ir::Place::State(id) => External::State(id),
            ir::Place::Constant(offset) => External::Constant { offset },
            place @ (ir::Place::Arena(_) | ir::Place::Argument(_) | ir::Place::Output(_)) => {
                return Err(LowerError::Place {
                    value: self.entry.graph.name(value).to_string(),
                    expected: "a constant",
                    found: format!("{place:?}"),
                });
            }
        };
        let packing = Packing { source, program: packing_program(packed.kernel) };
        let panels = &packing.program.buffers[1];
        let (scalar, len) = (panels.scalar, panels.len);
        let packings = &mut self.lowered.packings;
        let at = packings.iter().position(|known| *known == packing).unwrap_or_else(|| {
            packings.push(packing);
            packings.len() - 1
        });
        let place = self.external(External::Packed(at));
        Ok(self.buffer("packed", place, scalar, len, false))
    }

    /// The kernel, or an equal one that is there already.
    fn kernel(&mut self, kernel: loops::Kernel) -> KernelId {
        let mut unnamed = kernel.clone();
        unnamed.name.clear();
        unnamed.buffers.iter_mut().for_each(|buffer| buffer.name.clear());
        *self.kernels.entry(unnamed).or_insert_with(|| {
            self.lowered.program.kernels.push(kernel);
            KernelId(self.lowered.program.kernels.len() as u32 - 1)
        })
    }

    /// The buffer that holds a value.
    fn slot(&mut self, program: &Program, value: Value) -> Result<Slot, LowerError> {
        let graph = &self.entry.graph;
        let data = graph.value(value);
        let shape_error = || LowerError::Shape { ty: data.ty.to_string() };
        let len = data.ty.element_count().ok_or_else(shape_error)?;
        let scalar = memory_scalar(data.ty.dtype);
        let place = place_of(self.entry, value)?;
        let (place, writable, name) = match place {
            ir::Place::Arena(offset) => {
                (loops::Place::Arena { offset }, true, data.name.to_string())
            }
            ir::Place::Argument(at) => {
                let name = graph.arguments().get(at).map(|argument| graph.name(*argument));
                let name = name.map_or_else(String::new, ToString::to_string);
                (self.external(External::Argument(at)), false, name)
            }
            ir::Place::Output(at) => {
                let name = self.entry.outputs.get(at).map_or("", |name| name);
                (self.external(External::Output(at)), true, name.to_owned())
            }
            ir::Place::State(id) => {
                let name = program.state(id).path.to_string();
                (self.external(External::State(id)), !self.frozen, name)
            }
            ir::Place::Constant(offset) => {
                (self.external(External::Constant { offset }), false, "constant".to_owned())
            }
        };
        Ok(self.buffer(name.trim_start_matches('%'), place, scalar, len, writable))
    }

    fn buffer(
        &mut self,
        name: &str,
        place: loops::Place,
        scalar: loops::Scalar,
        len: usize,
        writable: bool,
    ) -> Slot {
        let buffers = &mut self.lowered.program.buffers;
        *self.slots.entry((place, scalar, len)).or_insert_with(|| {
            buffers.push(BufferPlace { name: name.to_owned(), scalar, len, place, writable });
            Slot(buffers.len() as u32 - 1)
        })
    }

    fn external(&mut self, external: External) -> loops::Place {
        let externals = &mut self.lowered.externals;
        let index = externals.iter().position(|known| *known == external).unwrap_or_else(|| {
            externals.push(external);
            externals.len() - 1
        });
        self.lowered.program.externals = externals.len();
        loops::Place::External { index }
    }
}

/// The program that calls a packing kernel: its parameters are the operand and the panels.
fn packing_program(kernel: loops::Kernel) -> loops::Program {
    let parameters = kernel.buffers.iter().filter(|buffer| buffer.access != Access::Scratch);
    let buffers: Vec<BufferPlace> = parameters
        .enumerate()
        .map(|(index, parameter)| BufferPlace {
            name: parameter.name.clone(),
            scalar: parameter.scalar,
            len: parameter.len,
            place: loops::Place::External { index },
            writable: parameter.access != Access::Read,
        })
        .collect();
    let args = (0..buffers.len() as u32).map(Slot).collect();
    loops::Program {
        name: kernel.name.clone(),
        arena_bytes: 0,
        externals: buffers.len(),
        buffers,
        kernels: vec![kernel],
        body: vec![Call { kernel: KernelId(0), args }],
        gate: None,
    }
}

/// Where a value is. A view without a place of its own is where its operand is.
fn place_of(entry: &Entry, value: Value) -> Result<ir::Place, LowerError> {
    let graph = &entry.graph;
    let mut at = value;
    loop {
        let data = graph.value(at);
        if let Some(place) = data.place {
            return Ok(place);
        }
        let node = match data.def {
            Def::Argument(_) => None,
            Def::Result { node, .. } => Some(graph.node(node)),
        };
        match node {
            Some(Node { op: Op::Reshape, operands, .. }) => at = operands[0],
            Some(_) | None => {
                return Err(LowerError::Place {
                    value: graph.name(value).to_string(),
                    expected: "a place",
                    found: "none".to_owned(),
                });
            }
        }
    }
}

fn lower_kernel(ctx: &Context<'_>) -> Result<Stages, LowerError> {
    match ctx.kernel.kind {
        KernelKind::Map => lower_map(ctx),
        KernelKind::Reduce => lower_reduce(ctx),
        KernelKind::Contraction => lower_contraction(ctx),
        KernelKind::Indexed if sort::is_sort(ctx) => sort::lower_argsort(ctx),
        KernelKind::Indexed => lower_indexed(ctx),
    }
}
