//! The compiler's stages one by one, and the ways to run what they make.
//!
//! The face of the compiler hides its stages; the properties are about what lies between them. So
//! this module composes the stages again, and nothing in it is clever: [`Compiled::new`] is passes,
//! differentiation and lowering; [`Compiled::evaluate`] runs the loop program in the loop
//! evaluator; [`Compiled::native`] compiles it and runs the machine code through the runtime;
//! [`Compiled::kernels`] gives each kernel as a program of its own.

use std::sync::Arc;

use kilngrad_codegen::CodegenOptions;
use kilngrad_interp::{Array, States};
use kilngrad_ir::{
    Bindings, Constant as Stated, DType, Entry, Error, ErrorKind, Graph, Machine, Mode, Node,
    NodeId, Op, Origin, Place, Plan, Program, StateId, TileSize, Value, ValueName,
};
use kilngrad_loops::{ChunkOrder, EvalError, Memory, Scalar};
use kilngrad_lower::{External, Lowered, Packing};
use kilngrad_passes::{Context, Exactness, Pass, PassError, Stage};
use kilngrad_runtime::{Code, Compile, Constant, Executable, Input, Outputs, Slot};
use kilngrad_tiles::Features;

/// The expansion of gradient requests, as a pass.
#[derive(Debug, Clone, Copy)]
pub struct Differentiate;

impl Pass for Differentiate {
    fn name(&self) -> &'static str {
        "differentiate"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        kilngrad_autodiff::differentiate(program).map_err(PassError::Diagnostics)
    }
}

/// What a call gave: the outputs in order, and every state after it, in the program's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// Whether every check held. If not, there are no outputs.
    pub held: bool,
    /// The outputs.
    pub outputs: Vec<Array>,
    /// The states.
    pub states: Vec<Array>,
}

/// An entry through every stage up to loop IR.
#[derive(Debug)]
pub struct Compiled {
    /// The program as it was declared, with this entry alone.
    pub declared: Program,
    /// The program after the last pass: kernels in order, with places.
    pub planned: Program,
    /// Its loops.
    pub lowered: Lowered,
    /// What it was compiled for.
    pub features: Features,
    /// Whether the states are constants.
    frozen: bool,
}

/// The machine model for these features. Its caches, chunks and strips are small, so that small
/// programs are blocked and split as large ones are.
pub fn machine(features: Features) -> Machine {
    let tile = |scalar| {
        let shape = kilngrad_tiles::best(features, scalar).shape;
        TileSize { rows: usize::from(shape.rows), cols: usize::from(shape.cols) }
    };
    Machine {
        fma: features.fma,
        leaf_elements: kilngrad_tiles::has_functions(features).then_some(2),
        tile_f32: tile(Scalar::F32),
        tile_f64: tile(Scalar::F64),
        l1_bytes: 2 << 10,
        l2_bytes: 8 << 10,
        chunk_cycles: 256,
        ..Machine::BASELINE
    }
}

impl Compiled {
    /// Compiles one entry; `observer` sees the program after every pass.
    ///
    /// # Errors
    ///
    /// What the first stage that fails says.
    pub fn new(
        program: &Program,
        entry: usize,
        bindings: &Bindings,
        features: Features,
        observer: &mut dyn FnMut(&Stage<'_>),
    ) -> Result<Compiled, String> {
        let declared = Program {
            name: program.name.clone(),
            states: program.states.clone(),
            entries: vec![program.entries[entry].clone()],
        };
        let machine = machine(features);
        let options =
            kilngrad_passes::Options { machine: machine.clone(), bindings: bindings.clone() };
        let planned = kilngrad_passes::run(&declared, &options, &[&Differentiate], observer)
            .map_err(|error| error.to_string())?
            .program;
        let lowered = kilngrad_lower::lower_entry(&planned, &planned.entries[0], &machine)
            .map_err(|error| format!("lowering: {error}"))?;
        Ok(Compiled { declared, planned, lowered, features, frozen: false })
    }

    /// The same entry, lowered with its states as constants; `None` if it updates any.
    ///
    /// # Errors
    ///
    /// What lowering says.
    pub fn frozen(&self) -> Result<Option<Compiled>, String> {
        if !self.entry().updates.is_empty() {
            return Ok(None);
        }
        let machine = machine(self.features);
        let lowered = kilngrad_lower::lower_frozen(&self.planned, self.entry(), &machine)
            .map_err(|error| format!("lowering a frozen entry: {error}"))?;
        let (declared, planned) = (self.declared.clone(), self.planned.clone());
        Ok(Some(Compiled { declared, planned, lowered, features: self.features, frozen: true }))
    }

    /// The entry after the last pass.
    pub fn entry(&self) -> &Entry {
        &self.planned.entries[0]
    }

    /// Runs the loop program in the loop evaluator.
    ///
    /// # Errors
    ///
    /// What the evaluator says.
    pub fn evaluate(
        &self,
        inputs: &[Array],
        states: &States,
        order: ChunkOrder,
    ) -> Result<Ran, String> {
        let Lowered { program, externals, .. } = &self.lowered;
        let mut memory = Memory::zeroed(program);
        // What nothing initialises must not matter.
        memory.arena.fill(kilngrad_loops::SCRATCH_FILL);
        for (bytes, external) in memory.externals.iter_mut().zip(externals) {
            match external {
                External::Argument(at) => *bytes = inputs[*at].to_bytes(),
                External::Output(_) => bytes.fill(kilngrad_loops::SCRATCH_FILL),
                External::State(_) | External::Constant { .. } => {
                    *bytes = self.memory(external, states)?;
                }
                External::Packed(at) => {
                    let Packing { source, program } = &self.lowered.packings[*at];
                    let mut packed = Memory::zeroed(program);
                    packed.externals[0] = self.memory(source, states)?;
                    kilngrad_loops::run_program_in_order(program, &mut packed, order)
                        .map_err(|error| format!("packing: {error}"))?;
                    *bytes = packed.externals.swap_remove(1);
                }
            }
        }
        let held = match kilngrad_loops::run_program_in_order(program, &mut memory, order) {
            Ok(()) => true,
            Err(EvalError::Gate { .. }) => false,
            Err(error) => return Err(format!("evaluating: {error}")),
        };
        let written = |wanted: External| {
            let at = externals.iter().position(|external| *external == wanted)?;
            Some(&memory.externals[at])
        };
        let graph = &self.entry().graph;
        let returned = if held { graph.results() } else { &[] };
        let outputs = returned.iter().enumerate().map(|(at, value)| {
            let ty = graph.ty(*value);
            let shape = ty.shape.as_constant().ok_or("a symbol after the last pass")?;
            // An output without elements has no memory.
            let bytes = written(External::Output(at)).map_or(&[][..], |bytes| bytes);
            Array::from_bytes(ty.dtype, &shape, bytes)
                .ok_or_else(|| format!("output {at}: not the bytes of a {ty}"))
        });
        let outputs = outputs.collect::<Result<_, String>>()?;
        let after = self.planned.states.iter().enumerate().map(|(at, state)| {
            let id = StateId::from_index(at);
            let Some(bytes) = written(External::State(id)) else {
                return Ok(states.get(id).clone());
            };
            let shape = state.ty.shape.as_constant().ok_or("a state with a symbol")?;
            Array::from_bytes(state.ty.dtype, &shape, bytes)
                .ok_or_else(|| format!("state {:?}: not the bytes of a {}", state.path, state.ty))
        });
        Ok(Ran { held, outputs, states: after.collect::<Result<_, String>>()? })
    }

    /// Compiles the loop program to machine code and runs it, on so many threads.
    ///
    /// # Errors
    ///
    /// What code generation or the runtime says.
    pub fn native(&self, inputs: &[Array], states: &States, threads: usize) -> Result<Ran, String> {
        self.run_native(inputs, states, threads).map_err(|error| error.to_string())
    }

    fn run_native(&self, inputs: &[Array], states: &States, threads: usize) -> Result<Ran, Error> {
        let module = Generate {
            planned: self.planned.clone(),
            lowered: self.lowered.clone(),
            features: self.features,
            constants: self.constants()?,
            weights: self.frozen.then(|| states.clone()),
        };
        let declared = Arc::new(self.declared.clone());
        let mut executable = Executable::new(declared, Box::new(module), 0, threads)?;
        for (state, value) in self.declared.states.iter().zip(states.values()) {
            executable.set_state_bytes(&state.path, &value.to_bytes())?;
        }
        let entry = &self.declared.entries[0];
        let names: Vec<String> =
            entry.graph.arguments().iter().map(|value| word(entry.graph.name(*value))).collect();
        let mut call = executable.call(&entry.name);
        for (name, array) in names.iter().zip(inputs) {
            call = call.feed(name, input(array));
        }
        let outputs = match call.run() {
            Ok(found) => {
                let outputs = entry.outputs.iter().map(|name| output(&found, name));
                Some(outputs.collect::<Result<Vec<_>, Error>>()?)
            }
            Err(error) if error.kind() == ErrorKind::Check => None,
            Err(error) => return Err(error),
        };
        let mut after = Vec::new();
        for (state, (_, bytes)) in self.declared.states.iter().zip(executable.state_bytes()) {
            let shape = state.ty.shape.as_constant().unwrap_or_default();
            let array = Array::from_bytes(state.ty.dtype, &shape, bytes);
            after.push(array.ok_or_else(|| {
                let message = format!("expected the bytes of a {}", state.ty);
                Error::new(ErrorKind::Internal, message)
            })?);
        }
        Ok(Ran { held: outputs.is_some(), outputs: outputs.unwrap_or_default(), states: after })
    }

    /// A kernel of the planned entry or of a region of it, alone in a program whose inputs are its operands and whose
    /// outputs are its results, lowered like the whole.
    ///
    /// # Errors
    ///
    /// What lowering says.
    pub fn kernel(&self, graph: &Graph, id: NodeId) -> Result<Compiled, String> {
        let planned = isolated(graph, graph.node(id));
        let machine = machine(self.features);
        let lowered = kilngrad_lower::lower_entry(&planned, &planned.entries[0], &machine)
            .map_err(|error| format!("lowering a kernel alone: {error}"))?;
        let (declared, features) = (planned.clone(), self.features);
        Ok(Compiled { declared, planned, lowered, features, frozen: false })
    }

    /// The bytes of a state or a stated array.
    fn memory(&self, external: &External, states: &States) -> Result<Vec<u8>, String> {
        let offset = match external {
            External::State(id) => return Ok(states.get(*id).to_bytes()),
            External::Constant { offset } => *offset,
            External::Argument(_) | External::Output(_) | External::Packed(_) => {
                return Err(format!("expected a state or a constant, found {external:?}"));
            }
        };
        let constants = self.constants().map_err(|error| error.to_string())?;
        let found = constants.iter().find(|(at, _)| *at == offset);
        found
            .map(|(_, dense)| dense.bytes().to_vec())
            .ok_or_else(|| format!("expected a constant at {offset}, found none"))
    }

    /// The stated arrays by their places.
    fn constants(&self) -> Result<Vec<(usize, kilngrad_ir::Dense)>, Error> {
        let graph = &self.entry().graph;
        let dense = graph.nodes().filter_map(|(_, node)| {
            let Op::Constant(Stated::Dense(dense)) = &node.op else { return None };
            Some((node.result(), dense))
        });
        dense
            .map(|(value, dense)| match graph.value(value).place {
                Some(Place::Constant(offset)) => Ok((offset, dense.clone())),
                place => {
                    let message = format!("expected a place among the constants, found {place:?}");
                    Err(Error::new(ErrorKind::Internal, message))
                }
            })
            .collect()
    }
}

/// A program of one kernel, its operands in the caller's memory and its results too.
fn isolated(graph: &Graph, node: &Node) -> Program {
    let mut alone = Graph::new();
    let mut operands = Vec::new();
    for (at, operand) in node.operands.iter().enumerate() {
        let name = ValueName::word(&format!("a{at}")).expect("a letter with a number is a word");
        let value = alone.add_argument(name, graph.ty(*operand).clone());
        alone.set_place(value, Some(Place::Argument(at)));
        operands.push(value);
    }
    let types: Vec<_> = node.results.iter().map(|value| graph.ty(*value).clone()).collect();
    let id = alone.append_unchecked(node.op.clone(), &operands, &types, Origin::unknown());
    let results: Vec<Value> = alone.node(id).results.to_vec();
    for (at, result) in results.iter().enumerate() {
        alone.set_place(*result, Some(Place::Output(at)));
    }
    let outputs = (0..results.len()).map(|at| format!("r{at}").into()).collect();
    alone.set_results(results);
    let mut entry = Entry::new("kernel", Mode::Eval, alone);
    entry.outputs = outputs;
    entry.plan = Some(Plan { arena_bytes: 0, lower_bound_bytes: 0 });
    let mut program = Program::new("kernel");
    program.entries.push(entry);
    program
}

/// Generates code for a loop program that is there already.
struct Generate {
    planned: Program,
    lowered: Lowered,
    features: Features,
    constants: Vec<(usize, kilngrad_ir::Dense)>,
    /// The states' values where no call changes them.
    weights: Option<States>,
}

impl Generate {
    /// A state's value or a stated array.
    fn memory(&self, external: &External) -> Result<Constant, Error> {
        let offset = match (external, &self.weights) {
            (External::State(id), Some(weights)) => {
                return Constant::new(&weights.get(*id).to_bytes());
            }
            (External::Constant { offset }, _) => *offset,
            (External::State(_), None)
            | (External::Argument(_) | External::Output(_) | External::Packed(_), _) => {
                let message = format!("expected a constant, found {external:?}");
                return Err(Error::new(ErrorKind::Internal, message));
            }
        };
        let found = self.constants.iter().find(|(at, _)| *at == offset);
        let (_, dense) = found.expect("a constant at each place that is read");
        Constant::new(dense.bytes())
    }
}

impl Compile<()> for Generate {
    fn compile(&self, _: usize, _: &Bindings) -> Result<Code<()>, Error> {
        let failed = |error| Error::caused(ErrorKind::Internal, "code generation failed", error);
        let options = CodegenOptions::new(self.features);
        let module = kilngrad_codegen::compile(&self.lowered.program, &options).map_err(failed)?;
        let entry = &self.planned.entries[0];
        let slot = |name: &str, value: Value| {
            let ty = entry.graph.ty(value);
            let shape = ty.shape.as_constant().expect("no symbols after the last pass");
            Slot { name: name.into(), dtype: ty.dtype, shape }
        };
        let arguments = entry.graph.arguments().iter();
        let inputs = arguments.map(|value| slot(&word(entry.graph.name(*value)), *value)).collect();
        let results = entry.outputs.iter().zip(entry.graph.results());
        let outputs = results.map(|(name, value)| slot(name, *value)).collect();
        let externals = self.lowered.externals.iter().map(|external| {
            Ok(match external {
                External::Argument(at) => kilngrad_runtime::External::Argument(*at),
                External::Output(at) => kilngrad_runtime::External::Output(*at),
                External::State(id) if self.weights.is_none() => {
                    kilngrad_runtime::External::State(*id)
                }
                External::State(_) | External::Constant { .. } => {
                    kilngrad_runtime::External::Constant(self.memory(external)?)
                }
                External::Packed(at) => {
                    let Packing { source, program } = &self.lowered.packings[*at];
                    let module = kilngrad_codegen::compile(program, &options).map_err(failed)?;
                    kilngrad_runtime::External::Constant(self.memory(source)?.derive(&module)?)
                }
            })
        });
        let externals = externals.collect::<Result<_, Error>>()?;
        let checks = entry.checks.iter().map(|check| check.failure(&entry.name).into()).collect();
        Code::new(module, inputs, outputs, externals, checks, ())
    }
}

fn word(name: &ValueName) -> String {
    name.to_string().trim_start_matches('%').to_owned()
}

/// An output of a native call, copied.
///
/// # Errors
///
/// If there is no such output.
pub fn output(outputs: &Outputs<'_>, name: &str) -> Result<Array, Error> {
    Ok(match outputs.dtype(name)? {
        DType::F32 => Array::F32(outputs.view(name)?.to_owned()),
        DType::F64 => Array::F64(outputs.view(name)?.to_owned()),
        DType::I32 => Array::I32(outputs.view(name)?.to_owned()),
        DType::I64 => Array::I64(outputs.view(name)?.to_owned()),
        DType::U8 => Array::U8(outputs.view(name)?.to_owned()),
        DType::Bool => Array::Bool(outputs.view(name)?.to_owned()),
    })
}

/// The array as the runtime takes it.
pub fn input(array: &Array) -> &dyn Input {
    match array {
        Array::F32(array) => array,
        Array::F64(array) => array,
        Array::I32(array) => array,
        Array::I64(array) => array,
        Array::U8(array) => array,
        Array::Bool(array) => array,
    }
}
