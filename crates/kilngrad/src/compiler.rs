//! From an entry to code: the only place that sees every stage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kilngrad_codegen::CodegenOptions;
use kilngrad_ir::{
    Bindings, Constant, Entry, Error, ErrorKind, Op, Place, Program, Value, ValueName,
};
use kilngrad_lower::Lowered;
use kilngrad_passes::{Context, Exactness, Pass, PassError, Stage as PassStage};
use kilngrad_runtime::{Code, Compile, External, Slot};

use crate::dump::Dump;
use crate::flops::flops;
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
        let Lowered { program: loops, externals } =
            kilngrad_lower::lower_entry(&compiled.program, planned, &machine)
                .map_err(|error| caused(ErrorKind::Internal, "lowering failed", error))?;
        stages.push(Stage {
            name: "loops",
            nodes: loops.body.len(),
            time: begun.elapsed(),
            text: if keep { loops.to_string() } else { String::new() },
        });

        let begun = Instant::now();
        let generate =
            CodegenOptions { keep_text: keep, ..CodegenOptions::new(self.options.features) };
        let module = kilngrad_codegen::compile(&loops, &generate).map_err(codegen_error)?;
        let clif: Vec<&str> = module.texts().iter().map(|text| text.clif.as_str()).collect();
        stages.push(Stage {
            name: "clif",
            nodes: loops.kernels.len(),
            time: begun.elapsed(),
            text: clif.join("\n"),
        });

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
        let externals = externals.into_iter().map(|external| self::external(external, planned));
        let externals = externals.collect::<Result<_, _>>()?;
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

/// What an external of the loop program is to the runtime. Constants are found by their place.
fn external(external: kilngrad_lower::External, entry: &Entry) -> Result<External, Error> {
    use kilngrad_lower::External as Lowered;
    Ok(match external {
        Lowered::Argument(index) => External::Argument(index),
        Lowered::Output(index) => External::Output(index),
        Lowered::State(id) => External::State(id),
        Lowered::Constant { offset } => {
            let here = Some(Place::Constant(offset));
            let dense = entry.graph.nodes().find_map(|(_, node)| {
                let Op::Constant(Constant::Dense(dense)) = &node.op else { return None };
                (entry.graph.value(node.result()).place == here).then(|| dense.clone())
            });
            External::Constant(dense.ok_or_else(|| {
                Error::new(ErrorKind::Internal, format!("expected a constant at {offset}"))
            })?)
        }
    })
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
