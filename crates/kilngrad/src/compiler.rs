//! From an entry to code: the only place that sees every stage.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kilngrad_codegen::{CodegenOptions, FunctionText, Module};
use kilngrad_ir::{
    Bindings, Check, Constant, Entry, Error, ErrorKind, Init, Literal, Op, Place, Program, State,
    Value, ValueName,
};
use kilngrad_lower::{External as Lower, Lowered, Packing};
use kilngrad_passes::{Compiled, Context, Exactness, Pass, PassError, Stage as PassStage};
use kilngrad_runtime::{Code, Compile, Constant as Memory, External, Gate, NotFinite, Slot};

use crate::dump::Dump;
use crate::flops::flops;
use crate::frozen::Weights;
use crate::options::Options;
use crate::report::{self, Report, Stage};
use crate::{frozen, nan, values};

/// Compiles the entries of one program on demand.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    pub(crate) program: Arc<Program>,
    pub(crate) options: Options,
    /// The states' values where no call changes them.
    pub(crate) weights: Option<Arc<Weights>>,
}

/// What a step of compiling made, as it is observed.
struct Step<'a> {
    name: &'static str,
    time: Duration,
    made: Made<'a>,
}

enum Made<'a> {
    Graph(&'a Program),
    Loops(&'a kilngrad_loops::Program),
    Text(&'a kilngrad_loops::Program, String),
}

/// An entry that is compiled, and what it was compiled through.
struct Built {
    compiled: Compiled,
    lowered: Lowered,
    module: Module,
}

/// The expansion of gradient requests, as a pass.
#[derive(Debug)]
struct Differentiate;

impl Pass for Differentiate {
    fn name(&self) -> &'static str {
        "differentiate"
    }

    fn exactness(&self) -> Exactness {
        // There is nothing to compare with: the interpreter does not run requests.
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        kilngrad_autodiff::differentiate(program).map_err(PassError::Diagnostics)
    }
}

impl Compile<Report> for Compiler {
    fn compile(&self, entry: usize, bindings: &Bindings) -> Result<Code<Report>, Error> {
        self.check_callable(entry)?;
        self.code(&only(&self.program, entry), bindings)
    }

    fn compile_values(
        &self,
        entry: usize,
        bindings: &Bindings,
        names: &[&str],
    ) -> Result<Code<Report>, Error> {
        self.check_callable(entry)?;
        self.code(&values::only_values(&self.program, entry, names)?, bindings)
    }

    fn kept_bindings(&self) -> usize {
        self.options.bindings
    }

    fn explain(&self, call: &NotFinite<'_>) -> Error {
        let declared = only(&self.program, call.entry);
        let meaning = self.meaning(&declared, &call.bindings);
        let states = match &self.weights {
            Some(weights) => weights.all(&self.program),
            None => call.states.iter().map(|bytes| Cow::Borrowed(*bytes)).collect(),
        };
        match meaning.and_then(|program| nan::replay(&program, call, &states)) {
            Ok(error) | Err(error) => error,
        }
    }
}

impl Compiler {
    /// Refuses an entry that updates states where these are constants.
    fn check_callable(&self, entry: usize) -> Result<(), Error> {
        match self.weights {
            Some(_) => frozen::check_callable(&self.program, &self.program.entries[entry]),
            None => Ok(()),
        }
    }

    /// Every stage of the entry at position `entry` for which `keep` holds, with its text.
    ///
    /// # Errors
    ///
    /// Whatever keeps the entry from being compiled.
    pub(crate) fn stages(
        &self,
        entry: usize,
        bindings: &Bindings,
        keep: impl Fn(&str) -> bool,
    ) -> Result<Vec<Stage>, Error> {
        let mut stages = Vec::new();
        self.build(&only(&self.program, entry), bindings, true, &mut |step| {
            if keep(step.name) {
                stages.push(stage(step, bindings));
            }
        })?;
        Ok(stages)
    }

    /// Shows `observe` the entry at position `entry` after each pass, under the pass's name.
    ///
    /// # Errors
    ///
    /// What the first failing pass reports.
    pub(crate) fn history(
        &self,
        entry: usize,
        bindings: &Bindings,
        observe: &mut dyn FnMut(&'static str, &Program),
    ) -> Result<(), Error> {
        let program = only(&self.program, entry);
        self.passes(&program, bindings, &mut |stage| observe(stage.name, stage.program))?;
        Ok(())
    }

    /// The program of one entry as code computes it, up to rounding: its gradients expanded and its
    /// formulas stable, before a pass that rounds otherwise.
    fn meaning(&self, program: &Program, bindings: &Bindings) -> Result<Program, Error> {
        let (mut meaning, mut rounded) = (None, false);
        self.passes(program, bindings, &mut |stage| {
            rounded |= stage.exactness == Exactness::Rounding;
            if !rounded {
                meaning = Some(stage.program.clone());
            }
        })?;
        let missing = || Error::new(ErrorKind::Internal, "expected a stage before rounding passes");
        meaning.ok_or_else(missing)
    }

    fn passes(
        &self,
        program: &Program,
        bindings: &Bindings,
        observe: &mut dyn FnMut(&PassStage<'_>),
    ) -> Result<Compiled, Error> {
        let machine = self.options.machine();
        let options = kilngrad_passes::Options { machine, bindings: bindings.clone() };
        kilngrad_passes::run(program, &options, &[&Differentiate], observe).map_err(pass_error)
    }

    /// Takes a program of one entry all the way.
    fn build(
        &self,
        program: &Program,
        bindings: &Bindings,
        keep_text: bool,
        observe: &mut dyn FnMut(Step<'_>),
    ) -> Result<Built, Error> {
        let compiled = self.passes(program, bindings, &mut |stage| {
            let made = Made::Graph(stage.program);
            observe(Step { name: stage.name, time: stage.time, made });
        })?;
        let begun = Instant::now();
        let machine = self.options.machine();
        let lower = match self.weights {
            Some(_) => kilngrad_lower::lower_frozen,
            None => kilngrad_lower::lower_entry,
        };
        let lowered = lower(&compiled.program, &compiled.program.entries[0], &machine)
            .map_err(|error| caused(ErrorKind::Internal, "lowering failed", error))?;
        let (loops, time) = (&lowered.program, begun.elapsed());
        for Packing { program, .. } in &lowered.packings {
            observe(Step { name: "pack", time: Duration::ZERO, made: Made::Loops(program) });
        }
        observe(Step { name: "loops", time, made: Made::Loops(loops) });

        let begun = Instant::now();
        let generate = CodegenOptions { keep_text, ..CodegenOptions::new(self.options.features) };
        let module = kilngrad_codegen::compile(loops, &generate).map_err(codegen_error)?;
        let time = begun.elapsed();
        let text = |of: fn(&FunctionText) -> &str| {
            Made::Text(loops, module.texts().iter().map(of).collect::<Vec<_>>().join("\n"))
        };
        observe(Step { name: "clif", time, made: text(|function| &function.clif) });
        let made = text(|function| &function.disassembly);
        observe(Step { name: "assembly", time: Duration::ZERO, made });
        Ok(Built { compiled, lowered, module })
    }

    /// Compiles a program of one entry.
    fn code(&self, program: &Program, bindings: &Bindings) -> Result<Code<Report>, Error> {
        let started = Instant::now();
        let dumps = self.options.dump.is_some();
        let (mut stages, mut work) = (Vec::new(), 0);
        let built = self.build(program, bindings, dumps, &mut |step| {
            // The last stage before fusion is the one whose operations are the call's work.
            if let Made::Graph(program) = step.made
                && !has_kernels(&program.entries[0])
            {
                work = flops(&program.entries[0].graph);
            }
            if dumps {
                stages.push(stage(step, bindings));
            }
        })?;
        let Built { compiled, lowered, module } = built;
        if let Some(folder) = &self.options.dump {
            let name = &program.entries[0].name;
            Dump::new(folder, name, bindings).write(&stages, &compiled)?;
        }
        let planned = &compiled.program.entries[0];
        let plan = compiled.plans.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "expected a planned entry after the last pass")
        })?;
        let report = Report {
            entry: planned.name.clone(),
            bindings: bindings.clone(),
            arena_bytes: lowered.program.arena_bytes,
            plan,
            kernels: report::kernels(planned, &compiled.fusion),
            flops: work,
            time: started.elapsed(),
        };
        let (inputs, outputs) = slots(planned)?;
        let weights = self.weights.as_deref();
        let constants = Constants { entry: planned, lowered: &lowered, weights };
        let externals = lowered.externals.iter().map(|external| {
            constants.external(external, &|program| {
                kilngrad_codegen::compile(program, &CodegenOptions::new(self.options.features))
                    .map_err(codegen_error)
            })
        });
        let externals = externals.collect::<Result<_, _>>()?;
        // Kernels compute conditions together with other values: the entry before them tells more.
        let declared = &program.entries[0];
        let gate = |check: &Check| {
            let same =
                |other: &&Check| other.origin == check.origin && other.expected == check.expected;
            let subject = declared.checks.iter().find(same).and_then(|it| declared.subject(it));
            Gate { message: check.failure(&planned.name), subject }
        };
        let checks = planned.checks.iter().map(gate).collect();
        Code::new(module, inputs, outputs, externals, checks, report)
    }
}

fn has_kernels(entry: &Entry) -> bool {
    entry.graph.nodes().any(|(_, node)| matches!(node.op, Op::Kernel(_)))
}

/// A step with its text.
fn stage(step: Step<'_>, bindings: &Bindings) -> Stage {
    let (nodes, peak_bytes, text) = match step.made {
        Made::Graph(program) => {
            let entry = &program.entries[0];
            (entry.graph.node_count(), report::peak_bytes(entry, bindings), program.to_string())
        }
        Made::Loops(loops) => (loops.calls().len(), loops.arena_bytes, loops.to_string()),
        Made::Text(loops, text) => (loops.calls().len(), loops.arena_bytes, text),
    };
    Stage { name: step.name, nodes, peak_bytes, time: step.time, text }
}

/// Elements at most of an array that a state begins with and that the text of a stage repeats.
const SHORT: usize = 64;

/// The program with one entry, as it is compiled: without large weights that it may begin with. What
/// states hold is no part of how an entry is computed, and the text of every stage would repeat it.
fn only(program: &Program, entry: usize) -> Program {
    let states = program.states.iter().map(|state| {
        let init = match &state.init {
            Init::Dense(weights) if weights.len() > SHORT => {
                Init::Splat(Literal::from_bits(weights.dtype(), 0))
            }
            Init::Dense(_)
            | Init::Splat(_)
            | Init::Uniform { .. }
            | Init::Normal { .. }
            | Init::Seed => state.init.clone(),
        };
        State { init, ..state.clone() }
    });
    Program {
        name: program.name.clone(),
        states: states.collect(),
        entries: vec![program.entries[entry].clone()],
    }
}

fn slots(entry: &Entry) -> Result<(Vec<Slot>, Vec<Slot>), Error> {
    let slot = |name: &str, value: Value| {
        let ty = entry.graph.ty(value);
        let shape = ty.shape.as_constant().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("expected a bound shape, found {ty}"))
        })?;
        Ok(Slot { name: name.into(), dtype: ty.dtype, shape })
    };
    let inputs = entry.graph.arguments().iter().map(|&value| match entry.graph.name(value) {
        ValueName::Word(word) => slot(word, value),
        ValueName::Number(number) => slot(&number.to_string(), value),
    });
    let outputs =
        entry.outputs.iter().zip(entry.graph.results()).map(|(name, value)| slot(name, *value));
    Ok((inputs.collect::<Result<_, Error>>()?, outputs.collect::<Result<_, Error>>()?))
}

/// Compiles a loop program.
type Generate<'a> = dyn Fn(&kilngrad_loops::Program) -> Result<Module, Error> + 'a;

/// Where the memory that no call changes comes from.
struct Constants<'a> {
    entry: &'a Entry,
    lowered: &'a Lowered,
    weights: Option<&'a Weights>,
}

impl Constants<'_> {
    /// What an external of the loop program is to the runtime.
    fn external(&self, external: &Lower, generate: &Generate<'_>) -> Result<External, Error> {
        Ok(match (external, self.weights) {
            (Lower::Argument(index), _) => External::Argument(*index),
            (Lower::Output(index), _) => External::Output(*index),
            (Lower::State(id), None) => External::State(*id),
            (Lower::State(_) | Lower::Constant { .. }, _) => {
                External::Constant(self.memory(external)?)
            }
            (Lower::Packed(at), weights) => {
                let Packing { source, program } = &self.lowered.packings[*at];
                let pack = || self.memory(source)?.derive(&generate(program)?);
                External::Constant(match (source, weights) {
                    (Lower::State(id), Some(weights)) => weights.packed(*id, program, pack)?,
                    (
                        Lower::State(_)
                        | Lower::Constant { .. }
                        | Lower::Argument(_)
                        | Lower::Output(_)
                        | Lower::Packed(_),
                        _,
                    ) => pack()?,
                })
            }
        })
    }

    /// A state's or a stated array's. Stated arrays are found by their place.
    fn memory(&self, external: &Lower) -> Result<Memory, Error> {
        let found = match (external, self.weights) {
            (Lower::State(id), Some(weights)) => weights.value(*id).cloned(),
            (Lower::Constant { offset }, _) => {
                let here = Some(Place::Constant(*offset));
                let dense = self.entry.graph.nodes().find_map(|(_, node)| {
                    let Op::Constant(Constant::Dense(dense)) = &node.op else { return None };
                    (self.entry.graph.value(node.result()).place == here).then_some(dense)
                });
                dense.map(|dense| Memory::new(dense.bytes())).transpose()?
            }
            (Lower::State(_), None)
            | (Lower::Argument(_) | Lower::Output(_) | Lower::Packed(_), _) => None,
        };
        found.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("expected a constant, found {external:?}"))
        })
    }
}

fn caused(
    kind: ErrorKind,
    message: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::caused(kind, message, error)
}

pub(crate) fn pass_error(error: PassError) -> Error {
    let kind = match &error {
        PassError::UnboundSymbol { .. } | PassError::Length { .. } | PassError::Rule(_) => {
            ErrorKind::Shape
        }
        PassError::Size { .. } => ErrorKind::Memory,
        PassError::Kernel { .. } => ErrorKind::Unsupported,
        PassError::Diagnostics(diagnostics) => {
            return Error::diagnosed(ErrorKind::Gradient, diagnostics.clone(), None);
        }
        PassError::Unexpanded { .. } | PassError::Invalid { .. } | PassError::Plan(_) | _ => {
            ErrorKind::Internal
        }
    };
    Error::new(kind, error.to_string())
}

fn codegen_error(error: kilngrad_codegen::CodegenError) -> Error {
    use kilngrad_codegen::CodegenError as E;
    let kind = match &error {
        E::Memory(_) => ErrorKind::Memory,
        E::Unsupported { .. } | E::Tile { .. } => ErrorKind::Unsupported,
        E::Verify(_) | E::Backend { .. } | _ => ErrorKind::Internal,
    };
    caused(kind, "code generation failed", error)
}
