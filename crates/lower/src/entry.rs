//! Entries: memory of values, calls in order, equal kernels shared.
//!
//! Control flow becomes the items of loop IR. A `while`'s carries are in its results; what an
//! iteration makes of them lies in the workspace until it is copied there. A scan becomes a repeat.
//! Slices are parts of their stacks. A carry that is not written over itself
//! has two buffers that take turns, chosen so that the last iteration writes the scan's result; before
//! the first, the carry's first value is copied to where that iteration reads it.

use std::collections::HashMap;
use std::ops::Range;

use kilngrad_ir::op::{self, Cond, KernelKind, Op, Scan, While};
use kilngrad_ir::{
    self as ir, Constant, Def, Entry, Graph, Machine, Node, Program, StateId, Type, Value,
};
use kilngrad_loops::{
    self as loops, Access, Branch, BufferPlace, Call, Gate, Item, KernelId, Repeat, Slot,
};

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
        program,
        entry,
        machine,
        frames: Vec::new(),
        level: 0,
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
        writer.gate()?;
    }
    for (id, node) in entry.graph.nodes() {
        writer.node(node)?;
        if Some(id) == decided {
            writer.gate()?;
        }
    }
    loops::verify_program(&writer.lowered.program)?;
    for packing in &writer.lowered.packings {
        loops::verify_program(&packing.program)?;
    }
    Ok(writer.lowered)
}

/// A region of control flow that is being written.
struct Frame<'a> {
    body: &'a Graph,
    /// Where its arena begins in the entry's, in bytes.
    start: usize,
    /// What stands for the region's arguments and results.
    arguments: Vec<Slot>,
    results: Vec<Slot>,
    /// By argument, as many as are the same in every iteration and come first: the value around the
    /// region.
    constants: Vec<Value>,
}

struct Writer<'a> {
    program: &'a Program,
    entry: &'a Entry,
    machine: &'a Machine,
    /// The regions that are being written, from the outside in.
    frames: Vec<Frame<'a>>,
    /// How many of them are a repeat's.
    level: usize,
    /// Whether states are constants.
    frozen: bool,
    lowered: Lowered,
    planned_bytes: usize,
    /// Buffers by place, scalar and length.
    slots: HashMap<(loops::Place, loops::Scalar, usize), Slot>,
    /// Kernels by themselves without names.
    kernels: HashMap<loops::Kernel, KernelId>,
}

impl<'a> Writer<'a> {
    fn node(&mut self, node: &'a Node) -> Result<(), LowerError> {
        match &node.op {
            Op::Kernel(kernel) => {
                let (name, machine) = (&kernel.name, self.machine);
                let constant = node.operands.iter().map(|value| self.is_constant(*value));
                let constant = &constant.collect::<Result<Vec<bool>, _>>()?;
                let stages = lower_kernel(&Context { kernel, name, machine, constant })?;
                self.stages(node, stages)
            }
            Op::Scan(scan) => self.scan(node, scan),
            Op::Cond(cond) => self.cond(node, cond),
            Op::While(repeat) => self.repeat_while(node, repeat),
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

    fn stages(&mut self, node: &Node, stages: Stages) -> Result<(), LowerError> {
        let temporaries = self.temporaries(&stages);
        let packed = stages.packed.into_iter();
        let packed = packed.map(|packed| self.packed(node, packed));
        let packed = packed.collect::<Result<Vec<Slot>, _>>()?;
        for Stage { kernel, params } in stages.stages {
            let args = params
                .iter()
                .map(|param| match *param {
                    Param::Argument(at) => self.slot(node.operands[at]),
                    Param::Result(at) => self.slot(node.results[at]),
                    Param::Temporary(at) => Ok(temporaries[at]),
                    Param::Packed(at) => Ok(packed[at]),
                })
                .collect::<Result<Vec<Slot>, _>>()?;
            let kernel = self.kernel(kernel);
            self.lowered.program.body.push(Item::Call(Call { kernel, args }));
        }
        Ok(())
    }

    /// Where control flow's workspace begins in the entry's arena, in bytes.
    fn workspace(&self, op: &Op) -> Result<usize, LowerError> {
        let Some(op::Workspace { place: ir::Place::Arena(offset), .. }) = op.workspace() else {
            return Err(self.not_planned());
        };
        Ok(self.frames.last().map_or(0, |frame| frame.start) + offset)
    }

    fn not_planned(&self) -> LowerError {
        LowerError::NotPlanned { entry: self.entry.name.to_string() }
    }

    /// What a region runs. Recurses once a region.
    fn region(&mut self, frame: Frame<'a>) -> Result<Vec<Item>, LowerError> {
        let body = frame.body;
        let around = std::mem::take(&mut self.lowered.program.body);
        self.frames.push(frame);
        let written = body.nodes().try_for_each(|(_, node)| self.node(node));
        self.frames.pop();
        let items = std::mem::replace(&mut self.lowered.program.body, around);
        written.map(|()| items)
    }

    fn slots(&mut self, values: &[Value]) -> Result<Vec<Slot>, LowerError> {
        values.iter().map(|value| self.slot(*value)).collect()
    }

    fn cond(&mut self, node: &'a Node, cond: &'a Cond) -> Result<(), LowerError> {
        let start = self.workspace(&node.op)?;
        let condition = self.slot(node.operands[0])?;
        let results = self.slots(&node.results)?;
        let region = |this: &mut Self, (body, operands): (&'a Graph, Range<usize>)| {
            let constants = node.operands[operands].to_vec();
            let arguments = this.slots(&constants)?;
            this.region(Frame { body, start, arguments, results: results.clone(), constants })
        };
        let [then, otherwise] = cond.branches();
        let (then, otherwise) = (region(self, then)?, region(self, otherwise)?);
        let branch = Branch { condition, then, otherwise };
        self.lowered.program.body.push(Item::Branch(branch));
        Ok(())
    }

    fn repeat_while(&mut self, node: &'a Node, repeat: &'a While) -> Result<(), LowerError> {
        let start = self.workspace(&node.op)?;
        let layout = repeat.layout();
        let layout = layout.ok_or_else(|| self.not_planned())?;
        let own = start + layout.last().copied().unwrap_or(0);
        let regions = [&repeat.test, &repeat.body];
        let types: Vec<&Type> = regions
            .into_iter()
            .flat_map(|region| region.results().iter().map(|result| region.ty(*result)))
            .collect();
        let mut made = Vec::new();
        for (at, (ty, offset)) in types.into_iter().zip(&layout).enumerate() {
            let len = ty.element_count().ok_or_else(|| shape_error(ty))?;
            let place = loops::Place::Arena { offset: start + offset };
            let name = if at == 0 { "more" } else { "next" };
            made.push(self.buffer(name, place, memory_scalar(ty.dtype), len, true));
        }
        let (condition, next) = (made[0], made.split_off(1));
        let carries = self.slots(&node.results)?;
        for (at, (&carry, result)) in repeat.carry_operands().zip(carries.iter().zip(&node.results))
        {
            let first = self.slot(node.operands[at])?;
            let ty = self.graph().ty(*result);
            self.copy(ty, first, carry)?;
        }
        let region = |this: &mut Self, body: &'a Graph, consts: Range<usize>, results| {
            let constants = node.operands[consts].to_vec();
            let mut arguments = this.slots(&constants)?;
            arguments.extend(&carries);
            this.region(Frame { body, start: own, arguments, results, constants })
        };
        let test = region(self, &repeat.test, repeat.test_operands(), vec![condition])?;
        let mut body = region(self, &repeat.body, repeat.body_operands(), next.clone())?;
        std::mem::swap(&mut self.lowered.program.body, &mut body);
        let copied =
            node.results.iter().zip(next).zip(&carries).try_for_each(|((result, next), carry)| {
                self.copy(self.graph().ty(*result), next, *carry)
            });
        std::mem::swap(&mut self.lowered.program.body, &mut body);
        copied?;
        self.lowered.program.body.push(Item::While(loops::While { test, condition, body }));
        Ok(())
    }

    fn scan(&mut self, node: &'a Node, scan: &'a Scan) -> Result<(), LowerError> {
        let start = self.workspace(&node.op)?;
        let length = scan.length.as_constant().and_then(|length| usize::try_from(length).ok());
        let count = length.ok_or_else(|| self.not_planned())?;
        let constants = node.operands[scan.const_operands()].to_vec();
        let mut arguments = self.slots(&constants)?;
        let mut results = Vec::new();
        for carry in scan.carry_results() {
            let [argument, result] = self.carry(node, scan, (carry, count, start))?;
            arguments.push(argument);
            results.push(result);
        }
        for at in scan.scanned_operands() {
            let ty = scan.body.ty(scan.body.arguments()[at]);
            arguments.push(self.slice(node.operands[at], ty, scan, count)?);
        }
        for at in scan.stacked_results() {
            let ty = scan.body.ty(scan.body.results()[at]);
            results.push(self.slice(node.results[at], ty, scan, count)?);
        }
        self.level += 1;
        let body = self.region(Frame { body: &scan.body, start, arguments, results, constants });
        self.level -= 1;
        self.lowered.program.body.push(Item::Repeat(Repeat { count, body: body? }));
        Ok(())
    }

    /// The buffers of a carry's present and next value. Its first value is copied there.
    fn carry(
        &mut self,
        node: &'a Node,
        scan: &Scan,
        (carry, count, start): (usize, usize, usize),
    ) -> Result<[Slot; 2], LowerError> {
        let argument = scan.body.arguments()[scan.consts + carry];
        let ty = scan.body.ty(argument);
        let last = self.slot(node.results[carry])?;
        let (first, slots) = match scan.body.value(argument).place {
            Some(ir::Place::Arena(offset)) => {
                let place = loops::Place::Arena { offset: start + offset };
                let len = ty.element_count().ok_or_else(|| shape_error(ty))?;
                let other = self.buffer("carry", place, memory_scalar(ty.dtype), len, true);
                // Iteration i reads the one and writes the other; the last one writes `last`.
                let turns = if count.is_multiple_of(2) { [last, other] } else { [other, last] };
                let slots = [turns, [turns[1], turns[0]]].map(|[even, odd]| {
                    let place = loops::Place::Turn { even, odd, level: self.level };
                    self.buffer("carry", place, memory_scalar(ty.dtype), len, true)
                });
                (turns[0], slots)
            }
            Some(_) | None => (last, [last, last]),
        };
        let value = self.slot(node.operands[scan.consts + carry])?;
        self.copy(ty, value, first)?;
        Ok(slots)
    }

    /// Copies a value of a type from one buffer to another.
    fn copy(&mut self, ty: &Type, from: Slot, to: Slot) -> Result<(), LowerError> {
        let mut body = Graph::new();
        let copied = body.add_numbered_argument(ty.clone());
        body.set_results(vec![copied]);
        let kernel = op::Kernel { name: "carry".into(), kind: KernelKind::Map, body };
        let (name, machine) = (&kernel.name, self.machine);
        let context = Context { kernel: &kernel, name, machine, constant: &[false] };
        for Stage { kernel, params } in lower_kernel(&context)?.stages {
            let args = params.iter().map(|param| match param {
                Param::Argument(_) => from,
                Param::Result(_) | Param::Temporary(_) | Param::Packed(_) => to,
            });
            let args = args.collect();
            let kernel = self.kernel(kernel);
            self.lowered.program.body.push(Item::Call(Call { kernel, args }));
        }
        Ok(())
    }

    /// The buffer of a slice of a stack that is around a scan.
    fn slice(
        &mut self,
        stack: Value,
        ty: &Type,
        scan: &Scan,
        count: usize,
    ) -> Result<Slot, LowerError> {
        let of = self.slot(stack)?;
        let len = ty.element_count().ok_or_else(|| shape_error(ty))?;
        let step = i64::try_from(len).map_err(|_| shape_error(ty))?;
        let (first, step) = match scan.reverse {
            true => (len * count.saturating_sub(1), -step),
            false => (0, step),
        };
        let whole = &self.lowered.program.buffers[of.0 as usize];
        let (name, scalar, writable) = (whole.name.clone(), whole.scalar, whole.writable);
        let place = loops::Place::Part { of, first, step, level: self.level };
        Ok(self.buffer(&name, place, scalar, len, writable))
    }

    /// Here every check is decided.
    fn gate(&mut self) -> Result<(), LowerError> {
        let checks = &self.entry.checks;
        if checks.is_empty() {
            return Ok(());
        }
        let conditions = checks.iter().map(|check| self.slot(check.condition));
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
        Ok(match self.source(value)? {
            ir::Place::Constant(_) => true,
            ir::Place::State(_) => self.frozen,
            ir::Place::Arena(_) | ir::Place::Argument(_) | ir::Place::Output(_) => false,
        })
    }

    /// What an operand of a node is packed into; once, however many kernels read it.
    fn packed(&mut self, node: &Node, packed: PackedOperand) -> Result<Slot, LowerError> {
        let value = node.operands[packed.operand];
        let source = match self.source(value)? {
            ir::Place::State(id) => External::State(id),
            ir::Place::Constant(offset) => External::Constant { offset },
            place @ (ir::Place::Arena(_) | ir::Place::Argument(_) | ir::Place::Output(_)) => {
                return Err(LowerError::Place {
                    value: self.graph().name(value).to_string(),
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

    /// The graph that is being written.
    fn graph(&self) -> &'a Graph {
        self.frames.last().map_or(&self.entry.graph, |frame| frame.body)
    }

    /// Where a value is, outside all regions if it is a constant of theirs.
    fn source(&self, value: Value) -> Result<ir::Place, LowerError> {
        let mut value = value;
        for (depth, frame) in self.frames.iter().enumerate().rev() {
            let base = base_of(frame.body, value);
            match frame.body.value(base).def {
                Def::Argument(at) => match frame.constants.get(at) {
                    Some(constant) => value = *constant,
                    // What an iteration has is no constant, wherever it is.
                    None => return Ok(ir::Place::Argument(depth)),
                },
                Def::Result { .. } => return place_of(frame.body, value),
            }
        }
        place_of(&self.entry.graph, value)
    }

    /// The buffer that holds a value.
    fn slot(&mut self, value: Value) -> Result<Slot, LowerError> {
        let (graph, program) = (self.graph(), self.program);
        let data = graph.value(value);
        let len = data.ty.element_count().ok_or_else(|| shape_error(&data.ty))?;
        let scalar = memory_scalar(data.ty.dtype);
        let place = match self.frames.last() {
            None => place_of(graph, value)?,
            Some(frame) => match (graph.value(base_of(graph, value)).def, place_of(graph, value)) {
                (Def::Argument(at), _) => return Ok(frame.arguments[at]),
                (Def::Result { .. }, Ok(ir::Place::Output(at))) => return Ok(frame.results[at]),
                (Def::Result { .. }, Ok(ir::Place::Arena(offset))) => {
                    ir::Place::Arena(frame.start + offset)
                }
                (Def::Result { .. }, place) => place?,
            },
        };
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
        body: vec![Item::Call(Call { kernel: KernelId(0), args })],
        gate: None,
    }
}

fn shape_error(ty: &Type) -> LowerError {
    LowerError::Shape { ty: ty.to_string() }
}

/// The value that a view is of, through other views; another value itself.
fn base_of(graph: &Graph, value: Value) -> Value {
    let mut at = value;
    while let Some(Node { op: Op::Reshape, operands, .. }) = graph.defining_node(at) {
        at = operands[0];
    }
    at
}

/// Where a value is. A view without a place of its own is where its operand is.
fn place_of(graph: &Graph, value: Value) -> Result<ir::Place, LowerError> {
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
