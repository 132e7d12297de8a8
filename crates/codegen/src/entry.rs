//! The entry: the program's calls in order, its blocks, and its gate between them.
//!
//! A program may have a hundred thousand calls, and register allocation of one long block costs
//! more than its length, so the calls are divided into *segments* of bounded length, each a
//! function of the entry's own signature, and the entry calls the segments. A segment writes the
//! argument table of each call into one slot of its frame. The gate is a function of the same
//! signature, and so is each block. All of these are the *parts*, and whoever calls one goes on only
//! if it returned [`RAN`], or else returns what it returned.
//!
//! A branch looks at its condition and calls the parts of one list. A while looks at the host's flag,
//! calls the parts of its test, looks at its condition and calls the parts of its body, again and
//! again.
//!
//! A repeat is a function that calls the parts of its body again and again. Where there are repeats,
//! every part has one argument more: a table of the iterations of the repeats around it, by level,
//! which lies in the entry's frame. A repeat writes its own; a segment reads where it makes the
//! pointer of a buffer that moves.

use std::collections::HashMap;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData,
    SigRef, Signature, StackSlot, StackSlotData, StackSlotKind, UserExternalName, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::FuncId;
use kilngrad_loops::{Branch, Call, Gate, Item, MAX_REPEATS, Place, Program, Repeat, Slot, While};

use crate::abi::{CANCELLED, Host, RAN};
use crate::kernel::kernel_signature;

/// Calls in a segment, and segments that the entry calls.
pub(crate) const SEGMENT: usize = 256;

/// The signature of [`EntryFn`](crate::abi::EntryFn).
pub(crate) fn entry_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend([AbiParam::new(types::I64); 4]);
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// The signature of parts: [`EntryFn`](crate::abi::EntryFn)'s, and the iterations if there are any.
fn part_signature(isa: &dyn TargetIsa, repeats: bool) -> Signature {
    let mut signature = entry_signature(isa);
    if repeats {
        signature.params.push(AbiParam::new(types::I64));
    }
    signature
}

/// A function that the entry, or a block, calls.
#[derive(Debug, Clone)]
pub(crate) enum Part<'p> {
    /// Some of the program's calls, one after the other.
    Calls(Vec<&'p Call>),
    /// The program's gate.
    Gate(&'p Gate),
    /// A repeat.
    Repeat {
        /// How many iterations there are.
        count: usize,
        /// How many repeats it is in.
        level: usize,
        /// The parts of its body, in order, by position.
        body: Vec<usize>,
    },
    /// A branch.
    Branch {
        /// What it looks at.
        condition: Slot,
        /// The parts that run where the condition holds, in order, by position.
        then: Vec<usize>,
        /// Those that run where it does not.
        otherwise: Vec<usize>,
    },
    /// A while.
    While {
        /// The parts that run before each look at the condition, in order, by position.
        test: Vec<usize>,
        /// What it looks at.
        condition: Slot,
        /// The parts of its body, in order, by position.
        body: Vec<usize>,
    },
}

/// The parts of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts<'p> {
    /// All of them; those that a block calls come before it.
    pub(crate) all: Vec<Part<'p>>,
    /// Those that the entry calls, in order, by position.
    pub(crate) top: Vec<usize>,
    /// Whether there are repeats.
    pub(crate) repeats: bool,
}

impl<'p> Parts<'p> {
    /// Divides a program.
    pub(crate) fn new(program: &'p Program) -> Parts<'p> {
        let split = program.gate.as_ref().map_or(program.body.len(), |gate| gate.after);
        let (before, after) = program.body.split_at(split);
        let mut parts = Parts::default();
        let mut top = parts.items(before, 0);
        if let Some(gate) = &program.gate {
            top.push(parts.add(Part::Gate(gate)));
        }
        top.extend(parts.items(after, 0));
        Parts { top, ..parts }
    }

    fn add(&mut self, part: Part<'p>) -> usize {
        self.all.push(part);
        self.all.len() - 1
    }

    /// Recurses once a block; `level` repeats are around.
    fn items(&mut self, items: &'p [Item], level: usize) -> Vec<usize> {
        let mut parts = Vec::new();
        let mut calls: Vec<&Call> = Vec::new();
        for item in items {
            let is_block = !matches!(item, Item::Call(_));
            if calls.len() == SEGMENT || is_block && !calls.is_empty() {
                parts.push(self.add(Part::Calls(std::mem::take(&mut calls))));
            }
            let block = match item {
                Item::Call(call) => {
                    calls.push(call);
                    continue;
                }
                Item::Repeat(Repeat { count, body }) => {
                    self.repeats = true;
                    Part::Repeat { count: *count, level, body: self.items(body, level + 1) }
                }
                Item::Branch(Branch { condition, then, otherwise }) => Part::Branch {
                    condition: *condition,
                    then: self.items(then, level),
                    otherwise: self.items(otherwise, level),
                },
                Item::While(While { test, condition, body }) => Part::While {
                    test: self.items(test, level),
                    condition: *condition,
                    body: self.items(body, level),
                },
            };
            parts.push(self.add(block));
        }
        if !calls.is_empty() {
            parts.push(self.add(Part::Calls(calls)));
        }
        parts
    }
}

/// Writes the function that decides a gate into `function`, which is overwritten: it returns
/// [`RAN`], or one more than the position of the first condition that does not hold.
pub(crate) fn gate(
    program: &Program,
    gate: &Gate,
    repeats: bool,
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    let (block, args) = begin(function, part_signature(isa, repeats));
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    let mut pointers = Pointers::new(program, &args);
    let mut result = cursor.ins().iconst(types::I64, RAN as i64);
    // From the last to the first, so that the first one that fails is what remains.
    for (position, slot) in gate.conditions.iter().enumerate().rev() {
        let at = pointers.pointer(&mut cursor, *slot);
        let holds = cursor.ins().load(types::I8, MemFlagsData::trusted(), at, 0);
        let failed = cursor.ins().iconst(types::I64, position as i64 + 1);
        result = cursor.ins().select(holds, result, failed);
    }
    cursor.ins().return_(&[result]);
}

/// Overwrites a function: its first block, and the arguments there.
fn begin(function: &mut Function, signature: Signature) -> (Block, Vec<Value>) {
    function.clear();
    let count = signature.params.len();
    function.signature = signature;
    let block = function.dfg.make_block();
    let args = (0..count).map(|_| function.dfg.append_block_param(block, types::I64));
    (block, args.collect())
}

/// Writes the function that runs `calls` into `function`, which is overwritten.
pub(crate) fn segment(
    program: &Program,
    calls: &[&Call],
    kernels: &[FuncId],
    repeats: bool,
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    let (block, entry_args) = begin(function, part_signature(isa, repeats));
    let args = calls.iter().map(|call| call.args.len()).max().unwrap_or(0);
    let bytes = u32::try_from(8 * args).expect("few arguments");
    let table = function.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        bytes.max(8),
        3,
    ));
    let kernel_type = function.import_signature(kernel_signature(isa));
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    let mut segment = Segment {
        program,
        kernels,
        runner_type: run_chunks_signature(isa, &mut cursor),
        cursor,
        kernel_type,
        references: vec![None; kernels.len()],
        table,
        pointers: Pointers::new(program, &entry_args),
        scratch: entry_args[2],
        host: entry_args[3],
    };
    for call in calls {
        segment.call(call);
    }
    let ran = segment.cursor.ins().iconst(types::I64, RAN as i64);
    segment.cursor.ins().return_(&[ran]);
}

/// What calls parts: with these arguments, and it returns at once what one of them returns that has
/// not run to its end.
struct Caller {
    signature: SigRef,
    args: Vec<Value>,
    stopped: Block,
}

impl Caller {
    fn new(
        function: &mut Function,
        args: Vec<Value>,
        repeats: bool,
        isa: &dyn TargetIsa,
    ) -> Caller {
        let signature = function.import_signature(part_signature(isa, repeats));
        Caller { signature, args, stopped: function.dfg.make_block() }
    }

    /// Calls parts, in order; what is written next runs if all of them have run.
    fn run(&self, cursor: &mut FuncCursor<'_>, parts: &[FuncId]) {
        for id in parts {
            let callee = reference(cursor.func, *id, self.signature);
            let call = cursor.ins().call(callee, &self.args);
            let result = cursor.func.dfg.first_result(call);
            let on = cursor.func.dfg.make_block();
            cursor.ins().brif(result, self.stopped, &[result.into()], on, &[]);
            cursor.insert_block(on);
        }
    }

    /// Ends the function: what was written last has run everything.
    fn finish(self, cursor: &mut FuncCursor<'_>) {
        let ran = cursor.ins().iconst(types::I64, RAN as i64);
        cursor.ins().return_(&[ran]);
        let result = cursor.func.dfg.append_block_param(self.stopped, types::I64);
        cursor.insert_block(self.stopped);
        cursor.ins().return_(&[result]);
    }
}

/// Writes the function that runs `body`, functions of its own signature, in each iteration.
pub(crate) fn repeat(
    count: usize,
    level: usize,
    body: &[FuncId],
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    let (block, args) = begin(function, part_signature(isa, true));
    let iterations = args[4];
    let caller = Caller::new(function, args, true, isa);
    let [head, again, end] = [(); 3].map(|()| function.dfg.make_block());
    let iteration = function.dfg.append_block_param(head, types::I64);
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    let first = cursor.ins().iconst(types::I64, 0);
    // Any bits, as they are compared without a sign.
    let limit = cursor.ins().iconst(types::I64, count as i64);
    cursor.ins().jump(head, &[first.into()]);
    cursor.insert_block(head);
    let goes_on = cursor.ins().icmp(IntCC::UnsignedLessThan, iteration, limit);
    cursor.ins().brif(goes_on, again, &[], end, &[]);
    cursor.insert_block(again);
    let at = i32::try_from(8 * level).expect("repeats nest a bounded number of times");
    cursor.ins().store(MemFlagsData::trusted(), iteration, iterations, at);
    caller.run(&mut cursor, body);
    let next = cursor.ins().iadd_imm_s(iteration, 1);
    cursor.ins().jump(head, &[next.into()]);
    cursor.insert_block(end);
    caller.finish(&mut cursor);
}

/// Writes the function that runs the first of two `lists` of parts where the condition holds, and
/// the second where it does not.
pub(crate) fn branch(
    program: &Program,
    condition: Slot,
    lists: &[Vec<FuncId>; 2],
    repeats: bool,
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    let (block, args) = begin(function, part_signature(isa, repeats));
    let mut pointers = Pointers::new(program, &args);
    let caller = Caller::new(function, args, repeats, isa);
    let [then, otherwise, end] = [(); 3].map(|()| function.dfg.make_block());
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    let at = pointers.pointer(&mut cursor, condition);
    let holds = cursor.ins().load(types::I8, MemFlagsData::trusted(), at, 0);
    cursor.ins().brif(holds, then, &[], otherwise, &[]);
    for (start, parts) in [then, otherwise].into_iter().zip(lists) {
        cursor.insert_block(start);
        caller.run(&mut cursor, parts);
        cursor.ins().jump(end, &[]);
    }
    cursor.insert_block(end);
    caller.finish(&mut cursor);
}

/// Writes the function that runs the first of two `lists` of parts, and if the condition holds then
/// the second and all of it again. It returns [`CANCELLED`] if the host says so before a run of the
/// first.
pub(crate) fn while_loop(
    program: &Program,
    condition: Slot,
    lists: &[Vec<FuncId>; 2],
    repeats: bool,
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    let (block, args) = begin(function, part_signature(isa, repeats));
    let host = args[3];
    let mut pointers = Pointers::new(program, &args);
    let caller = Caller::new(function, args, repeats, isa);
    let [head, test, body, end] = [(); 4].map(|()| function.dfg.make_block());
    let [test_parts, body_parts] = lists;
    let flags = MemFlagsData::trusted();
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    // No part inside changes the iterations of the repeats around, so this is the place throughout.
    let at = pointers.pointer(&mut cursor, condition);
    let offset = i32::try_from(std::mem::offset_of!(Host, cancel)).expect("a small struct");
    let flag = cursor.ins().load(types::I64, flags, host, offset);
    cursor.ins().jump(head, &[]);
    cursor.insert_block(head);
    let cancelled = cursor.ins().atomic_load(types::I8, flags, flag);
    let code = cursor.ins().iconst(types::I64, CANCELLED as i64);
    cursor.ins().brif(cancelled, caller.stopped, &[code.into()], test, &[]);
    cursor.insert_block(test);
    caller.run(&mut cursor, test_parts);
    let holds = cursor.ins().load(types::I8, flags, at, 0);
    cursor.ins().brif(holds, body, &[], end, &[]);
    cursor.insert_block(body);
    caller.run(&mut cursor, body_parts);
    cursor.ins().jump(head, &[]);
    cursor.insert_block(end);
    caller.finish(&mut cursor);
}

/// Writes the entry, which runs each of `parts` in order.
pub(crate) fn sequence(
    parts: &[FuncId],
    repeats: bool,
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    let (block, mut args) = begin(function, entry_signature(isa));
    let table = repeats.then(|| {
        let bytes = u32::try_from(8 * MAX_REPEATS).expect("a small table");
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
        function.create_sized_stack_slot(data)
    });
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    args.extend(table.map(|table| cursor.ins().stack_addr(types::I64, table, 0)));
    let caller = Caller::new(cursor.func, args, repeats, isa);
    caller.run(&mut cursor, parts);
    caller.finish(&mut cursor);
}

struct Segment<'a> {
    program: &'a Program,
    kernels: &'a [FuncId],
    cursor: FuncCursor<'a>,
    kernel_type: SigRef,
    runner_type: SigRef,
    references: Vec<Option<FuncRef>>,
    table: StackSlot,
    pointers: Pointers<'a>,
    scratch: Value,
    host: Value,
}

impl Segment<'_> {
    fn call(&mut self, call: &Call) {
        for (position, slot) in call.args.iter().enumerate() {
            let pointer = self.pointers.pointer(&mut self.cursor, *slot);
            let at = i32::try_from(8 * position).expect("few arguments");
            self.cursor.ins().stack_store(types::I64, pointer, self.table, at);
        }
        let kernel = call.kernel.0 as usize;
        let chunks = self.program.kernels[kernel].chunks;
        let kernel = self.kernel(kernel);
        let table = self.cursor.ins().stack_addr(types::I64, self.table, 0);
        if chunks == 1 {
            let chunk = self.cursor.ins().iconst(types::I64, 0);
            self.cursor.ins().call(kernel, &[table, self.scratch, chunk]);
            return;
        }
        let offset = i32::try_from(std::mem::offset_of!(Host, run_chunks)).expect("a small struct");
        let flags = MemFlagsData::trusted();
        let runner = self.cursor.ins().load(types::I64, flags, self.host, offset);
        let kernel = self.cursor.ins().func_addr(types::I64, kernel);
        let chunks = self.cursor.ins().iconst(types::I64, chunks as i64);
        let args = [self.host, kernel, table, self.scratch, chunks];
        self.cursor.ins().call_indirect(self.runner_type, runner, &args);
    }

    fn kernel(&mut self, kernel: usize) -> FuncRef {
        if let Some(known) = self.references[kernel] {
            return known;
        }
        let made = reference(self.cursor.func, self.kernels[kernel], self.kernel_type);
        self.references[kernel] = Some(made);
        made
    }
}

/// Makes pointers to buffers within one part, of which the iterations around are the same.
struct Pointers<'p> {
    program: &'p Program,
    arena: Value,
    externals: Value,
    /// The table of iterations, where there are repeats.
    iterations: Option<Value>,
    /// Of buffers that are part of others: those are made once.
    known: HashMap<Slot, Value>,
}

impl<'p> Pointers<'p> {
    /// In a part with these arguments.
    fn new(program: &'p Program, args: &[Value]) -> Pointers<'p> {
        let iterations = args.get(4).copied();
        Pointers { program, arena: args[0], externals: args[1], iterations, known: HashMap::new() }
    }

    /// Where a buffer begins. Recurses from a part to its whole, which the verifier bounds.
    fn pointer(&mut self, cursor: &mut FuncCursor<'_>, slot: Slot) -> Value {
        if let Some(known) = self.known.get(&slot) {
            return *known;
        }
        let buffer = &self.program.buffers[slot.0 as usize];
        let made = match buffer.place {
            place @ (Place::Arena { .. } | Place::External { .. }) => {
                return pointer(cursor, place, self.arena, self.externals);
            }
            Place::Part { of, first, step, level } => {
                let whole = self.pointer(cursor, of);
                let iteration = self.iteration(cursor, level);
                let size = buffer.scalar.size() as i64;
                // Parts are inside their wholes, whose bytes fit `isize`.
                let stepped = cursor.ins().imul_imm_s(iteration, step.wrapping_mul(size));
                let start = cursor.ins().iadd_imm_s(stepped, (first as i64).wrapping_mul(size));
                cursor.ins().iadd(whole, start)
            }
            Place::Turn { even, odd, level } => {
                let both = [even, odd].map(|slot| self.pointer(cursor, slot));
                let iteration = self.iteration(cursor, level);
                let is_odd = cursor.ins().band_imm_s(iteration, 1);
                cursor.ins().select(is_odd, both[1], both[0])
            }
        };
        self.known.insert(slot, made);
        made
    }

    fn iteration(&self, cursor: &mut FuncCursor<'_>, level: usize) -> Value {
        let table = self.iterations.expect("only calls in repeats are passed what moves");
        let at = i32::try_from(8 * level).expect("repeats nest a bounded number of times");
        cursor.ins().load(types::I64, MemFlagsData::trusted(), table, at)
    }
}

/// Where a buffer begins that is part of no other.
fn pointer(cursor: &mut FuncCursor<'_>, place: Place, arena: Value, externals: Value) -> Value {
    match place {
        Place::Part { .. } | Place::Turn { .. } => unreachable!("it is part of another"),
        Place::Arena { offset: 0 } => arena,
        Place::Arena { offset } => {
            let offset = cursor.ins().iconst(types::I64, offset as i64);
            cursor.ins().iadd(arena, offset)
        }
        Place::External { index } => {
            let offset = 8 * index as i64;
            let flags = MemFlagsData::trusted();
            match i32::try_from(offset) {
                Ok(offset) => cursor.ins().load(types::I64, flags, externals, offset),
                Err(_) => {
                    let offset = cursor.ins().iconst(types::I64, offset);
                    let at = cursor.ins().iadd(externals, offset);
                    cursor.ins().load(types::I64, flags, at, 0)
                }
            }
        }
    }
}

/// The signature of [`RunChunks`](crate::RunChunks).
fn run_chunks_signature(isa: &dyn TargetIsa, cursor: &mut FuncCursor<'_>) -> SigRef {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend([AbiParam::new(types::I64); 5]);
    cursor.func.import_signature(signature)
}

/// A function of the same module. All of them lie in one mapping, within reach of a relative call.
fn reference(function: &mut Function, id: FuncId, signature: SigRef) -> FuncRef {
    let name = UserExternalName { namespace: 0, index: id.as_u32() };
    let name = function.declare_imported_user_function(name);
    function.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    })
}
