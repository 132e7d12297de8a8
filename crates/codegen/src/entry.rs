//! The entry: the program's calls, in order.
//!
//! A program may have a hundred thousand calls, and register allocation of one long block costs
//! more than its length, so the calls are divided into *segments* of bounded length, each a
//! function of the entry's own signature, and the entry calls the segments. A segment writes the
//! argument table of each call into one slot of its frame.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, SigRef,
    Signature, StackSlot, StackSlotData, StackSlotKind, UserExternalName, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::FuncId;
use kilngrad_loops::{Call, Place, Program};

use crate::abi::Host;
use crate::kernel::kernel_signature;

/// Calls in a segment, and segments that the entry calls.
pub(crate) const SEGMENT: usize = 256;

/// The signature of [`EntryFn`](crate::abi::EntryFn).
pub(crate) fn entry_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend([AbiParam::new(types::I64); 4]);
    signature
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
    segment.cursor.ins().return_(&[]);
}

/// Writes the function that runs each of `parts`, functions of its own signature, in order.
pub(crate) fn sequence(parts: &[FuncId], isa: &dyn TargetIsa, function: &mut Function) {
    function.clear();
    function.signature = entry_signature(isa);
    let block = function.dfg.make_block();
    let args = [(); 4].map(|()| function.dfg.append_block_param(block, types::I64));
    let signature = function.import_signature(entry_signature(isa));
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(block);
    for &part in parts {
        let part = reference(cursor.func, part, signature);
        cursor.ins().call(part, &args);
    }
    cursor.ins().return_(&[]);
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
            let pointer = self.pointer(self.program.buffers[slot.0 as usize].place);
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

    fn pointer(&mut self, place: Place) -> Value {
        match place {
            Place::Arena { offset: 0 } => self.arena,
            Place::Arena { offset } => {
                let offset = self.cursor.ins().iconst(types::I64, offset as i64);
                self.cursor.ins().iadd(self.arena, offset)
            }
            Place::External { index } => {
                let offset = 8 * index as i64;
                let flags = MemFlagsData::trusted();
                match i32::try_from(offset) {
                    Ok(offset) => self.cursor.ins().load(types::I64, flags, self.externals, offset),
                    Err(_) => {
                        let offset = self.cursor.ins().iconst(types::I64, offset);
                        let at = self.cursor.ins().iadd(self.externals, offset);
                        self.cursor.ins().load(types::I64, flags, at, 0)
                    }
                }
            }
        }
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
