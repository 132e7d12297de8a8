//! From CLIF functions to bytes, on as many threads as pay off.
//!
//! Each function compiles alone and the results are placed in the order of the program, so the
//! code does not depend on the number of threads or on which of them was first.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::{FuncId, ModuleReloc};

use crate::CodegenError;
use crate::isa::{Effort, Targets};
use crate::module::FunctionText;

/// Functions that are worth another thread: 100 µs or more each, against about 50 µs for starting
/// the thread.
const FUNCTIONS_PER_THREAD: usize = 4;

/// Alignment of every function: a cache line, so that timing does not depend on the functions
/// before.
const ALIGNMENT: u64 = 64;

/// Bytes of a function, not placed yet.
pub(crate) struct Compiled {
    pub(crate) code: Vec<u8>,
    pub(crate) alignment: u64,
    pub(crate) relocations: Vec<ModuleReloc>,
    pub(crate) text: Option<FunctionText>,
}

impl Compiled {
    /// Bytes that placing the function takes, with padding and, on architectures of short calls,
    /// the veneers that [`cranelift_jit`] reserves.
    pub(crate) fn bytes_at_most(&self) -> usize {
        self.code.len() + 32 * self.relocations.len() + ALIGNMENT as usize
    }
}

/// A thread's reusable memory.
pub(crate) struct Compiler<'a> {
    targets: &'a Targets,
    keep_text: bool,
    context: Context,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(targets: &'a Targets, keep_text: bool) -> Compiler<'a> {
        Compiler { targets, keep_text, context: Context::new() }
    }

    /// Compiles what `build` writes as function `id` of the module.
    pub(crate) fn compile(
        &mut self,
        id: FuncId,
        name: &str,
        effort: Effort,
        build: impl FnOnce(&dyn TargetIsa, &mut Function) -> Result<(), CodegenError>,
    ) -> Result<Compiled, CodegenError> {
        let isa = self.targets.with(effort).as_ref();
        self.context.clear();
        build(isa, &mut self.context.func)?;
        let clif = self.keep_text.then(|| self.context.func.display().to_string());
        self.context.set_disasm(self.keep_text);
        let failed = |message: String| CodegenError::Backend { function: name.into(), message };
        self.context
            .compile(isa, &mut ControlPlane::default())
            .map_err(|error| failed(error.inner.to_string()))?;
        let compiled = self.context.take_compiled_code().expect("compilation has just succeeded");
        let text = clif.map(|clif| FunctionText {
            name: name.into(),
            clif,
            disassembly: compiled.vcode.clone().unwrap_or_default(),
        });
        let relocations = compiled.buffer.relocs().iter();
        Ok(Compiled {
            code: compiled.code_buffer().to_vec(),
            alignment: u64::from(compiled.buffer.alignment).max(ALIGNMENT),
            relocations: relocations
                .map(|reloc| ModuleReloc::from_mach_reloc(reloc, &self.context.func, id))
                .collect(),
            text,
        })
    }
}

/// Runs `job` for each index below `count`, each thread with a compiler of its own, and returns the
/// results in order, or the error of the lowest index.
pub(crate) fn compile_all(
    count: usize,
    targets: &Targets,
    keep_text: bool,
    job: impl Fn(&mut Compiler<'_>, usize) -> Result<Compiled, CodegenError> + Sync,
) -> Result<Vec<Compiled>, CodegenError> {
    let results: Vec<OnceLock<_>> = (0..count).map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut compiler = Compiler::new(targets, keep_text);
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            let Some(result) = results.get(idx) else { break };
            assert!(result.set(job(&mut compiler, idx)).is_ok(), "each index is drawn once");
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(count / FUNCTIONS_PER_THREAD).max(1);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, those there are do the work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    results
        .into_iter()
        .map(|result| result.into_inner().expect("the threads drew every index"))
        .collect()
}
