//! Compiling a program, and the compiled program.

use std::marker::PhantomData;

use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Module as _, ModuleError};
use kilngrad_loops::{Access, Branch, Item, Overlap, Program, Repeat, Slot, While};
use kilngrad_tiles::Features;

use crate::abi::{CANCELLED, EntryFn, Host, RAN, Stopped};
use crate::backend::{Compiled, Compiler, compile_all};
use crate::entry::{
    Part, Parts, branch, entry_signature, gate, repeat, segment, sequence, while_loop,
};
use crate::isa::{Effort, Targets};
use crate::kernel::translate;
use crate::memory::{CodeMemory, CodeProvider, Finished};
use crate::needs::{ExternalNeed, Needs};
use crate::{CodegenError, effort};

/// Buffers that a kernel may have.
pub const MAX_BUFFERS: usize = 4096;

/// How to compile.
#[derive(Debug, Clone, Copy)]
pub struct CodegenOptions {
    /// Which instructions may be used; all of them must be this processor's.
    pub features: Features,
    /// Whether the module keeps each function's CLIF and disassembly.
    pub keep_text: bool,
    /// For all kernels, or `None` to choose for each what measured best on its like.
    pub effort: Option<Effort>,
}

impl CodegenOptions {
    /// For these features, keeping no text.
    pub const fn new(features: Features) -> CodegenOptions {
        CodegenOptions { features, keep_text: false, effort: None }
    }
}

/// A function of a module in readable form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionText {
    /// The kernel's name, or `entry` and `entry.N`.
    pub name: String,
    /// As it was handed to Cranelift, before any optimisation.
    pub clif: String,
    /// The machine code, before it was placed.
    pub disassembly: String,
}

/// A compiled program. It owns its code, which is freed when it is dropped, and holds no other
/// state, so threads may share it.
#[derive(Debug)]
pub struct Module {
    code: CodeMemory,
    entry: EntryFn,
    needs: Needs,
    texts: Vec<FunctionText>,
}

impl Module {
    /// The program's entry, for as long as the module lives.
    pub fn entry(&self) -> Entry<'_> {
        Entry { function: self.entry, module: PhantomData }
    }

    /// Bytes of the arena that a call is given.
    pub fn arena_bytes(&self) -> usize {
        self.needs.arena_bytes
    }

    /// Bytes of the scratch that a call is given, and that each thread of its host has.
    pub fn scratch_bytes(&self) -> usize {
        self.needs.scratch_bytes
    }

    /// What the program does with the memory behind each pointer of the table, in order.
    pub fn externals(&self) -> &[ExternalNeed] {
        &self.needs.externals
    }

    /// The text of every function: kernels in the program's order, then the entry's. Empty unless
    /// the options asked for it.
    pub fn texts(&self) -> &[FunctionText] {
        &self.texts
    }

    /// Bytes of memory that the code occupies.
    pub fn code_bytes(&self) -> usize {
        self.code.len()
    }

    /// Whether an address lies in the code.
    pub fn contains(&self, address: *const u8) -> bool {
        self.code.contains(address)
    }
}

/// A compiled program's function. Copies are cheap; the module outlives them.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    function: EntryFn,
    module: PhantomData<&'a Module>,
}

impl Entry<'_> {
    /// Runs the program once.
    ///
    /// # Errors
    ///
    /// [`Stopped::Gate`] if a condition of the program's gate does not hold; what comes after the
    /// gate has not run. [`Stopped::Cancelled`] if a while of the program found
    /// [`Host::cancel`] set; what it has written until then is written.
    ///
    /// # Safety
    ///
    /// During the call:
    ///
    /// 1. `arena` points to the module's [`arena_bytes`](Module::arena_bytes), `scratch` to its
    ///    [`scratch_bytes`](Module::scratch_bytes); both are initialised, with whatever bytes, and
    ///    aligned to [`Kernel::SCRATCH_ALIGN`](kilngrad_loops::Kernel::SCRATCH_ALIGN), and either
    ///    may be dangling where the number is 0;
    /// 2. `externals` points to one pointer for each of the module's
    ///    [`externals`](Module::externals), to as many bytes as that says, aligned to the type of
    ///    the elements, initialised likewise, and writable if it says so;
    /// 3. none of this memory overlaps, but that two externals which are only read may, and nothing
    ///    else writes it, or reads what the program writes;
    /// 4. `host` points to a host that keeps the contract of [`RunChunks`](crate::RunChunks), of
    ///    which each thread that runs chunks, the calling one included, is in the floating-point
    ///    mode of [`FloatMode`](kilngrad_tiles::FloatMode), and whose [`Host::cancel`] is valid.
    pub unsafe fn call(
        self,
        arena: *mut u8,
        externals: *const *mut u8,
        scratch: *mut u8,
        host: *const Host,
    ) -> Result<(), Stopped> {
        // SAFETY: the module that the lifetime refers to keeps the code mapped. The program was
        // verified, so by the caller's promises every address that the code computes is memory it
        // may touch, and no two threads touch what one of them writes.
        match unsafe { (self.function)(arena, externals, scratch, host) } {
            RAN => Ok(()),
            CANCELLED => Err(Stopped::Cancelled),
            failed => Err(Stopped::Gate(failed - 1)),
        }
    }
}

/// Compiles a program for this processor.
///
/// # Errors
///
/// If the program does not verify, if the processor or the features lack what it needs, or if
/// there is no executable memory. A [`CodegenError::Backend`] is a defect of this compiler.
pub fn compile(program: &Program, options: &CodegenOptions) -> Result<Module, CodegenError> {
    kilngrad_loops::verify_program(program)?;
    check_limits(program)?;
    let targets = Targets::for_host(options.features)?;
    let shared = shared_buffers(program);
    let count = program.kernels.len();
    let kernels = compile_all(count, &targets, options.keep_text, |compiler, idx| {
        let kernel = &program.kernels[idx];
        let effort = options.effort.unwrap_or_else(|| effort::of(kernel));
        let compiled = compiler.compile(id(idx), &kernel.name, effort, |isa, function| {
            translate(kernel, &shared[idx], options.features, isa, function)
        })?;
        // A kernel calls tiles and functions, by address, and never a library.
        match compiled.relocations.first() {
            None => Ok(compiled),
            Some(reloc) => Err(CodegenError::Backend {
                function: kernel.name.clone(),
                message: format!("expected no imported functions, found {}", reloc.name),
            }),
        }
    })?;
    let functions = with_entry(program, &targets, options.keep_text, kernels)?;
    place(&targets, functions, Needs::of(program))
}

/// Refuses kernels of so many buffers that argument tables outgrow a frame, or Cranelift its table
/// of memory flags.
fn check_limits(program: &Program) -> Result<(), CodegenError> {
    match program.kernels.iter().find(|kernel| kernel.buffers.len() > MAX_BUFFERS) {
        None => Ok(()),
        Some(kernel) => Err(CodegenError::Unsupported {
            what: format!(
                "kernel {}: expected at most {MAX_BUFFERS} buffers, found {}",
                kernel.name,
                kernel.buffers.len()
            ),
        }),
    }
}

/// Adds the entry to the kernels, as the last function.
fn with_entry(
    program: &Program,
    targets: &Targets,
    keep_text: bool,
    kernels: Vec<Compiled>,
) -> Result<Vec<Compiled>, CodegenError> {
    let kernel_ids: Vec<FuncId> = (0..kernels.len()).map(id).collect();
    let Parts { all: parts, top, repeats } = &Parts::new(program);
    let part_id = |idx: &usize| id(kernel_ids.len() + idx);
    let ids = |parts: &[usize]| parts.iter().map(part_id).collect::<Vec<FuncId>>();
    let compiled = compile_all(parts.len(), targets, keep_text, |compiler, idx| {
        let name = format!("entry.{idx}");
        compiler.compile(part_id(&idx), &name, Effort::Ordered, |isa, function| {
            match &parts[idx] {
                Part::Calls(calls) => {
                    segment(program, calls, &kernel_ids, *repeats, isa, function);
                }
                Part::Gate(part) => gate(program, part, *repeats, isa, function),
                Part::Repeat { count, level, body } => {
                    repeat(*count, *level, &ids(body), isa, function);
                }
                Part::Branch { condition, then, otherwise } => {
                    let lists = [ids(then), ids(otherwise)];
                    branch(program, *condition, &lists, *repeats, isa, function);
                }
                Part::While { test, condition, body } => {
                    let lists = [ids(test), ids(body)];
                    while_loop(program, *condition, &lists, *repeats, isa, function);
                }
            }
            Ok(())
        })
    })?;
    let mut functions = kernels;
    functions.extend(compiled);
    // One part is the entry itself.
    if parts.len() != 1 || *repeats {
        let top = ids(top);
        let mut compiler = Compiler::new(targets, keep_text);
        functions.push(compiler.compile(
            part_id(&parts.len()),
            "entry",
            Effort::Ordered,
            |isa, function| {
                sequence(&top, *repeats, isa, function);
                Ok(())
            },
        )?);
    }
    Ok(functions)
}

/// Puts the functions where they will run. The last one is the entry.
fn place(
    targets: &Targets,
    functions: Vec<Compiled>,
    needs: Needs,
) -> Result<Module, CodegenError> {
    let isa = targets.with(Effort::Ordered);
    let bytes = functions.iter().map(Compiled::bytes_at_most).sum();
    let finished = Finished::default();
    let provider = CodeProvider::new(bytes, finished.clone()).map_err(CodegenError::Memory)?;
    let mut builder = JITBuilder::with_isa(isa.clone(), cranelift_module::default_libcall_names());
    builder.memory_provider(Box::new(provider));
    let mut jit = JITModule::new(builder);

    // Relative calls do not look at signatures, so one serves all.
    let signature = entry_signature(isa.as_ref());
    for idx in 0..functions.len() {
        let declared = jit.declare_anonymous_function(&signature).map_err(jit_error)?;
        assert_eq!(declared, id(idx), "functions are numbered in the order of declaration");
    }
    for (idx, function) in functions.iter().enumerate() {
        let Compiled { code, alignment, relocations, .. } = function;
        jit.define_function_bytes(id(idx), *alignment, code, relocations).map_err(jit_error)?;
    }
    jit.finalize_definitions().map_err(jit_error)?;
    let entry = jit.get_finalized_function(id(functions.len() - 1));
    drop(jit);
    let code = finished.take().expect("the module finalized its memory and is gone");
    // SAFETY: `entry` is the first instruction of a function of this signature and of the target's
    // default calling convention, which is that of `extern "C"`.
    let entry = unsafe { std::mem::transmute::<*const u8, EntryFn>(entry) };
    let texts = functions.into_iter().filter_map(|function| function.text).collect();
    Ok(Module { code, entry, needs, texts })
}

/// The number of a function: kernels, then segments, then the entry.
fn id(idx: usize) -> FuncId {
    FuncId::from_u32(u32::try_from(idx).expect("fewer functions than bytes of memory"))
}

fn jit_error(error: ModuleError) -> CodegenError {
    match error {
        ModuleError::Allocation { err } => CodegenError::Memory(err),
        ModuleError::Undeclared(_)
        | ModuleError::IncompatibleDeclaration(_)
        | ModuleError::IncompatibleSignature(..)
        | ModuleError::DuplicateDefinition(_)
        | ModuleError::InvalidImportDefinition(_)
        | ModuleError::Compilation(_)
        | ModuleError::Backend(_)
        | ModuleError::Flag(_) => {
            CodegenError::Backend { function: "entry".into(), message: error.to_string() }
        }
    }
}

/// For each kernel and each of its buffers, whether some call binds the buffer's memory to another
/// parameter of the same call too.
fn shared_buffers(program: &Program) -> Vec<Vec<bool>> {
    let mut shared: Vec<Vec<bool>> =
        program.kernels.iter().map(|kernel| vec![false; kernel.buffers.len()]).collect();
    share(program, &program.body, &mut Vec::new(), &mut shared);
    shared
}

/// Recurses once a block; `counts` are the iterations of the repeats around.
fn share(program: &Program, items: &[Item], counts: &mut Vec<usize>, shared: &mut [Vec<bool>]) {
    for item in items {
        let call = match item {
            Item::Call(call) => call,
            Item::Repeat(Repeat { count, body }) => {
                counts.push(*count);
                share(program, body, counts, shared);
                counts.pop();
                continue;
            }
            Item::Branch(Branch { condition: _, then: first, otherwise: second })
            | Item::While(While { test: first, condition: _, body: second }) => {
                share(program, first, counts, shared);
                share(program, second, counts, shared);
                continue;
            }
        };
        let kernel = call.kernel.0 as usize;
        let parameters = program.kernels[kernel]
            .buffers
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.access != Access::Scratch)
            .map(|(idx, _)| idx);
        let bound: Vec<(usize, Slot)> = parameters.zip(call.args.iter().copied()).collect();
        for (position, &(one, slot)) in bound.iter().enumerate() {
            for &(other, other_slot) in &bound[..position] {
                if program.overlap(slot, other_slot, counts) != Some(Overlap::Never) {
                    shared[kernel][one] = true;
                    shared[kernel][other] = true;
                }
            }
        }
    }
}
