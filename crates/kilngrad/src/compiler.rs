//! From an entry to code: the only place that sees every stage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kilngrad_codegen::{CodegenOptions, Module};
use kilngrad_ir::{
    Bindings, Constant, Entry, Error, ErrorKind, Op, Place, Program, Value, ValueName,
};
use kilngrad_lower::{External as Lower, Lowered, Packing};
use kilngrad_passes::{Context, Exactness, Pass, PassError, Stage as PassStage};
use kilngrad_runtime::{Code, Compile, Constant as Memory, External, Slot};

use crate::dump::Dump;
use crate::flops::flops;
use crate::frozen::Weights;
use crate::options::Options;

/// What is known of an entry compiled for one binding of its symbols.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the symbols were bound to.
    pub bindings: Bindings,
    /// Bytes of the arena that a call uses: the plan's peak, and what single kernels keep beside.
    pub arena_bytes: usize,
    /// The most that is live at once in this order: no plan needs less.
    pub lower_bound_bytes: usize,
    /// Floating-point operations of one call: two for each term of a contraction, one for each
    /// element of an elementwise operation or a reduction, counted before fusion.
    pub flops: u64,
    /// How long it took from the declared graph to machine code.
    pub time: Duration,
    /// The stages in order; their texts only if the options ask for them.
    pub stages: Vec<Stage>,
}

/// A stage of the compiler.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The pass, or what was made.
    pub name: &'static str,
    /// Nodes of the entry's graph, or calls of the loop program, after it.
    pub nodes: usize,
    /// How long it took.
    pub time: Duration,
    /// Its text; empty unless the options ask for it.
    pub text: String,
}

/// Compiles the entries of one program on demand.
pub(crate) struct Compiler {
    pub(crate) program: Arc<Program>,
    pub(crate) options: Options,
    /// The states' values where no call changes them.
    pub(crate) weights: Option<Weights>,
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
        let started = Instant::now();
        if let Some(weights) = &self.weights {
            weights.check(&self.program, &self.program.entries[entry])?;
        }
        let program = only(&self.program, entry);
        let machine = self.options.machine();
        let keep = self.options.keep_stages || self.options.dump.is_some();
        let mut stages = Vec::new();
        let mut work = 0;

        let options =
            kilngrad_passes::Options { machine: machine.clone(), bindings: bindings.clone() };
        let mut observe = |stage: &PassStage<'_>| {
            let graph = &stage.program.entries[0].graph;
            // The last stage before fusion is the one whose operations are the call's work.
            if !graph.nodes().any(|(_, node)| matches!(node.op, Op::Kernel(_))) {
                work = flops(graph);
            }
            stages.push(Stage {
                name: stage.name,
                nodes: graph.node_count(),
                time: stage.time,
                text: if keep { stage.program.to_string() } else { String::new() },
            });
        };
        let compiled = kilngrad_passes::run(&program, &options, &[&Differentiate], &mut observe)
            .map_err(pass_error)?;
        let planned = &compiled.program.entries[0];

        let begun = Instant::now();
        let lower = match self.weights {
            Some(_) => kilngrad_lower::lower_frozen,
            None => kilngrad_lower::lower_entry,
        };
        let lowered = lower(&compiled.program, planned, &machine)
            .map_err(|error| caused(ErrorKind::Internal, "lowering failed", error))?;
        let loops = &lowered.program;
        stages.push(Stage {
            name: "loops",
            nodes: loops.body.len(),
            time: begun.elapsed(),
            text: if keep { loops.to_string() } else { String::new() },
        });

        stages.extend(lowered.packings.iter().map(|packing| Stage {
            name: "pack",
            nodes: packing.program.body.len(),
            time: Duration::ZERO,
            text: if keep { packing.program.to_string() } else { String::new() },
        }));

        let begun = Instant::now();
        let generate =
            CodegenOptions { keep_text: keep, ..CodegenOptions::new(self.options.features) };
        let module = kilngrad_codegen::compile(loops, &generate).map_err(codegen_error)?;
        let clif: Vec<&str> = module.texts().iter().map(|text| text.clif.as_str()).collect();
        stages.push(Stage {
            name: "clif",
            nodes: loops.kernels.len(),
            time: begun.elapsed(),
            text: clif.join("\n"),
        });

        let constants =
            Constants { entry: planned, lowered: &lowered, weights: self.weights.as_ref() };
        let externals = lowered.externals.iter().map(|external| {
            constants.external(external, &|program| {
                kilngrad_codegen::compile(program, &CodegenOptions::new(self.options.features))
                    .map_err(codegen_error)
            })
        });
        let externals = externals.collect::<Result<_, _>>()?;

        let plan = planned.plan.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "expected a planned entry after the last pass")
        })?;
        let report = Report {
            bindings: bindings.clone(),
            arena_bytes: loops.arena_bytes,
            lower_bound_bytes: plan.lower_bound_bytes,
            flops: work,
            time: started.elapsed(),
            stages,
        };
        if let Some(folder) = &self.options.dump {
            Dump::new(folder, &planned.name, bindings).write(&report, &compiled, &module)?;
        }
        let (inputs, outputs) = slots(planned)?;
        let checks = planned.checks.iter().map(|check| check.failure(&planned.name)).collect();
        Code::new(module, inputs, outputs, externals, checks, report)
    }
}

/// The program with one entry.
fn only(program: &Program, entry: usize) -> Program {
    Program {
        name: program.name.clone(),
        states: program.states.clone(),
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

fn pass_error(error: PassError) -> Error {
    let kind = match &error {
        PassError::UnboundSymbol { .. } | PassError::Length { .. } | PassError::Rule(_) => {
            ErrorKind::Shape
        }
        PassError::Size { .. } => ErrorKind::Memory,
        PassError::Diagnostics(_) => ErrorKind::Gradient,
        PassError::Unexpanded { .. }
        | PassError::Invalid { .. }
        | PassError::Kernel { .. }
        | PassError::Plan(_)
        | _ => ErrorKind::Internal,
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
