//! The entry: the program's calls in order, and its gate between them.
//!
//! A program may have a hundred thousand calls, and register allocation of one long block costs
//! more than its length, so the calls are divided into *segments* of bounded length, each a
//! function of the entry's own signature, and the entry calls the segments. A segment writes the
//! argument table of each call into one slot of its frame. The gate is a function of the same
//! signature, after which the entry goes on only if it returned [`RAN`].

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, SigRef,
    Signature, StackSlot, StackSlotData, StackSlotKind, UserExternalName, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::FuncId;
use kilngrad_loops::{Call, Gate, Place, Program};

use crate::abi::{Host, RAN};
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

/// A function that the entry calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'p> {
    /// Some of the program's calls.
    Calls(&'p [Call]),
    /// The program's gate.
    Gate(&'p Gate),
}

/// The parts of a program, in order.
pub(crate) fn parts(program: &Program) -> Vec<Part<'_>> {
    let split = program.gate.as_ref().map_or(program.body.len(), |gate| gate.after);
    let (before, after) = program.body.split_at(split);
    let mut parts: Vec<Part<'_>> = before.chunks(SEGMENT).map(Part::Calls).collect();
    parts.extend(program.gate.as_ref().map(Part::Gate));
    parts.extend(after.chunks(SEGMENT).map(Part::Calls));
    parts
}

/// Writes the function that decides a gate into `function`, which is overwritten: it returns
/// [`RAN`], or one more than the position of the first condition that does not hold.
pub(crate) fn gate(program: &Program, gate: &Gate, isa: &dyn TargetIsa, function: &mut Function) {
    function.clear();
    function.signature = entry_signature(isa);
    let block = function.dfg.make_block();
    let [arena, externals, _, _] =
        [(); 4].map(|()| function.dfg.append_block_param(block, types::I64));
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    let mut result = cursor.ins().iconst(types::I64, RAN as i64);
    // From the last to the first, so that the first one that fails is what remains.
    for (position, slot) in gate.conditions.iter().enumerate().rev() {
        let place = program.buffers[slot.0 as usize].place;
        let at = pointer(&mut cursor, place, arena, externals);
        let holds = cursor.ins().load(types::I8, MemFlagsData::trusted(), at, 0);
        let failed = cursor.ins().iconst(types::I64, position as i64 + 1);
        result = cursor.ins().select(holds, result, failed);
    }
    cursor.ins().return_(&[result]);
}

/// Writes the function that runs `calls` into `function`, which is overwritten.
pub(crate) fn segment(
    program: &Program,
    calls: &[Call],
    kernels: &[FuncId],
    isa: &dyn TargetIsa,
    function: &mut Function,
) {
    function.clear();
    function.signature = entry_signature(isa);
    let args = calls.iter().map(|call| call.args.len()).max().unwrap_or(0);
    let bytes = u32::try_from(8 * args).expect("few arguments");
    let table = function.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        bytes.max(8),
        3,
    ));
    let block = function.dfg.make_block();
    let [arena, externals, scratch, host] =
        [(); 4].map(|()| function.dfg.append_block_param(block, types::I64));
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
        arena,
        externals,
        scratch,
        host,
    };
    for call in calls {
        segment.call(call);
    }
    let ran = segment.cursor.ins().iconst(types::I64, RAN as i64);
    segment.cursor.ins().return_(&[ran]);
}

/// Writes the function that runs each of `parts`, functions of its own signature, in order, and
/// returns what a gate among them returns unless it is [`RAN`].
pub(crate) fn sequence(parts: &[(FuncId, Part<'_>)], isa: &dyn TargetIsa, function: &mut Function) {
    function.clear();
    function.signature = entry_signature(isa);
    let block = function.dfg.make_block();
    let args = [(); 4].map(|()| function.dfg.append_block_param(block, types::I64));
    let signature = function.import_signature(entry_signature(isa));
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    for &(id, part) in parts {
        let callee = reference(cursor.func, id, signature);
        let call = cursor.ins().call(callee, &args);
        if let Part::Gate(_) = part {
            let result = cursor.func.dfg.first_result(call);
            let [ended, on] = [(); 2].map(|()| cursor.func.dfg.make_block());
            cursor.ins().brif(result, ended, &[], on, &[]);
            cursor.insert_block(ended);
            cursor.ins().return_(&[result]);
            cursor.insert_block(on);
        }
    }
    let ran = cursor.ins().iconst(types::I64, RAN as i64);
    cursor.ins().return_(&[ran]);
}

struct Segment<'a> {
    program: &'a Program,
    kernels: &'a [FuncId],
    cursor: FuncCursor<'a>,
    kernel_type: SigRef,
    runner_type: SigRef,
    references: Vec<Option<FuncRef>>,
    table: StackSlot,
    arena: Value,
    externals: Value,
    scratch: Value,
    host: Value,
}

impl Segment<'_> {
    fn call(&mut self, call: &Call) {
        for (position, slot) in call.args.iter().enumerate() {
            let place = self.program.buffers[slot.0 as usize].place;
            let pointer = pointer(&mut self.cursor, place, self.arena, self.externals);
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

/// Where a buffer begins.
fn pointer(cursor: &mut FuncCursor<'_>, place: Place, arena: Value, externals: Value) -> Value {
    match place {
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
