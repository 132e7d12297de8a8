//! Any bytes as the text of a loop program.

use std::sync::{Arc, Mutex};

use kilngrad_codegen::{CodegenError, CodegenOptions, Module};
use kilngrad_interp::Array;
use kilngrad_ir::{
    Bindings, DType, Entry, Error, Graph, Init, Mode, Program, Role, State, StateId, Type,
};
use kilngrad_loops::{
    ChunkOrder, EvalError, Inst, Item, Kernel, Memory, Place, Program as LoopProgram, Scalar, Stmt,
    parse_program, run_program_in_order, verify_program,
};
use kilngrad_runtime::{Code, Compile, Executable, External};
use kilngrad_tiles::Features;

use super::hold;

/// Statements and terms of tiles that an evaluation may take.
const MAX_WORK: usize = 1 << 16;

/// Bytes of memory that a program may have, to be run.
const MAX_BYTES: usize = 1 << 20;

/// Bytes are refused, or are a loop program whose text reads back. What the verifier accepts of
/// those stays in its buffers and does not depend on the order of chunks in the evaluator, and
/// code generation takes it or says why not; where the evaluator could run it, machine code
/// computes the same.
///
/// # Panics
///
/// If a promise is broken.
pub fn loops_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(program) = parse_program(text) else { return };
    let again = parse_program(&program.to_string());
    assert!(again.as_ref() == Ok(&program), "the text reads as {again:?}\nfrom\n{program}");
    if verify_program(&program).is_ok() {
        hold(runs(&program), &text);
    }
}

fn runs(program: &LoopProgram) -> Result<(), String> {
    let Some(module) = compiled(program)? else { return Ok(()) };
    if work(program) > MAX_WORK || bytes(program) > MAX_BYTES {
        return Ok(());
    }
    let mut memory = Memory::zeroed(program);
    for (at, byte) in memory.externals.iter_mut().flatten().enumerate() {
        *byte = (at as u8).wrapping_mul(37) >> (at % 5);
    }
    let run = |order| {
        let mut memory = memory.clone();
        match run_program_in_order(program, &mut memory, order) {
            Ok(()) => Ok(Some(memory.externals)),
            Err(EvalError::Gate { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    };
    let up = run(ChunkOrder::Ascending)?;
    if up != run(ChunkOrder::Descending)? {
        return Err("chunks in descending order leave other bytes".into());
    }
    let conditions = program.gate.as_ref().map_or(0, |gate| gate.conditions.len());
    let found = native(module, conditions, &memory.externals);
    match (up, found) {
        _ if !is_determined(program) => Ok(()),
        (Some(expected), Ok(found)) => same_numbers(program, &expected, &found),
        (None, Err(_)) => Ok(()),
        (Some(_), Err(error)) => Err(format!("native code: {error}")),
        (None, Ok(_)) => Err("native code passes a gate that is shut".into()),
    }
}

/// The compiled program; nothing where it asks for what this processor lacks.
fn compiled(program: &LoopProgram) -> Result<Option<Module>, String> {
    match kilngrad_codegen::compile(program, &CodegenOptions::new(Features::detect())) {
        Ok(module) => Ok(Some(module)),
        Err(
            CodegenError::Unsupported { .. }
            | CodegenError::Tile { .. }
            | CodegenError::Function { .. },
        ) => Ok(None),
        Err(error @ (CodegenError::Verify(_) | CodegenError::Backend { .. })) => {
            Err(format!("code generation: {error}"))
        }
        // Programs may ask for more memory than there is, but for no code to speak of.
        Err(CodegenError::Memory(error)) => Err(format!("memory for code: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Statements, terms of tiles and iterations that a run takes at most, or `usize::MAX` if that is
/// less or, as with a while, nothing tells.
fn work(program: &LoopProgram) -> usize {
    items_work(program, &program.body)
}

/// Recurses once a block, whose depth the parser bounds.
fn items_work(program: &LoopProgram, items: &[Item]) -> usize {
    let of = |call: &kilngrad_loops::Call| {
        let kernel = &program.kernels[call.kernel.0 as usize];
        kernel.chunks.saturating_mul(1 + body_work(&kernel.body))
    };
    let item = |item: &Item| match item {
        Item::Call(call) => of(call),
        Item::Repeat(repeat) => {
            items_work(program, &repeat.body).saturating_add(1).saturating_mul(repeat.count)
        }
        Item::Branch(branch) => {
            items_work(program, &branch.then).max(items_work(program, &branch.otherwise))
        }
        Item::While(_) => usize::MAX,
    };
    items.iter().map(item).fold(0, usize::saturating_add)
}

/// Recurses over the nest, whose depth the parser bounds.
fn body_work(body: &[Stmt]) -> usize {
    let of = |stmt: &Stmt| match stmt {
        Stmt::Let { .. } | Stmt::Store { .. } => 1,
        Stmt::For(inner) => inner.extent.saturating_mul(body_work(&inner.body).saturating_add(1)),
        Stmt::Tile(tile) => {
            tile.depth.saturating_add(1).saturating_mul(usize::from(tile.rows) * 64)
        }
        Stmt::Apply(apply) => apply.count.saturating_mul(64),
    };
    body.iter().map(of).fold(0, usize::saturating_add)
}

/// Bytes of all memory that a run takes.
fn bytes(program: &LoopProgram) -> usize {
    let buffers = program.buffers.iter().map(|buffer| buffer.len * buffer.scalar.size());
    buffers.fold(program.arena_bytes + program.scratch_bytes(), usize::saturating_add)
}

/// Whether what a program computes is the same wherever it runs: it reads nothing that nothing has
/// written, and no number's bits, since those of NaN are not promised.
fn is_determined(program: &LoopProgram) -> bool {
    let scratch = |kernel: &Kernel| {
        kernel.buffers.iter().any(|buffer| buffer.access == kilngrad_loops::Access::Scratch)
    };
    let one_scalar = program.buffers.iter().all(|buffer| {
        program.buffers.iter().all(|other| {
            other.place != buffer.place || (other.scalar, other.len) == (buffer.scalar, buffer.len)
        })
    });
    let casts = program.kernels.iter().any(|kernel| casts_bits(&kernel.body));
    program.arena_bytes == 0 && one_scalar && !casts && !program.kernels.iter().any(scratch)
}

fn casts_bits(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Let { inst, .. } => matches!(inst, Inst::Bitcast(_)),
        Stmt::For(inner) => casts_bits(&inner.body),
        Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => false,
    })
}

/// The same bits, or NaN in both.
fn same_numbers(
    program: &LoopProgram,
    expected: &[Vec<u8>],
    found: &[Vec<u8>],
) -> Result<(), String> {
    for buffer in &program.buffers {
        let Place::External { index } = buffer.place else { continue };
        let dtype = match buffer.scalar {
            Scalar::F32 => DType::F32,
            Scalar::F64 => DType::F64,
            Scalar::I32 => DType::I32,
            Scalar::I64 => DType::I64,
            Scalar::U8 => DType::U8,
        };
        let array = |bytes: &[u8]| {
            let bytes = &bytes[..buffer.len * buffer.scalar.size()];
            Array::from_bytes(dtype, &[buffer.len], bytes).expect("as many bytes")
        };
        let (expected, found) = (array(&expected[index]), array(&found[index]));
        if let Some(difference) = expected.first_difference(&found) {
            return Err(format!("buffer {}: native code: {difference:?}", buffer.name));
        }
    }
    Ok(())
}

/// Runs the module on copies of these externals, each a state of bytes; gives what it leaves.
fn native(module: Module, conditions: usize, externals: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    let mut program = Program::new("loops");
    for (at, bytes) in externals.iter().enumerate() {
        let shape = [bytes.len()].into_iter().collect();
        let init = Init::Splat(kilngrad_ir::Literal::from_i64(DType::U8, 0));
        let ty = Type::new(DType::U8, shape);
        program.states.push(State {
            path: format!("external{at}").into(),
            ty,
            init,
            role: Role::Parameter,
        });
    }
    program.entries.push(Entry::new("run", Mode::Eval, Graph::new()));
    let externals_of = (0..externals.len()).map(|at| External::State(StateId::from_index(at)));
    let checks = vec!["a condition".to_owned().into(); conditions];
    let code = Code::new(module, Vec::new(), Vec::new(), externals_of.collect(), checks, ())?;
    let once = Once(Mutex::new(Some(code)));
    let mut executable = Executable::new(Arc::new(program), Box::new(once), 0, 1)?;
    for (at, bytes) in externals.iter().enumerate() {
        executable.set_state_bytes(&format!("external{at}"), bytes)?;
    }
    executable.call("run").run()?;
    Ok(executable.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect())
}

/// Gives away code that is there already.
struct Once(Mutex<Option<Code<()>>>);

impl Compile<()> for Once {
    fn compile(&self, _: usize, _: &Bindings) -> Result<Code<()>, Error> {
        let code = self.0.lock().ok().and_then(|mut code| code.take());
        Ok(code.expect("an entry without symbols is compiled once"))
    }
}
