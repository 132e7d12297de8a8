//! Running code on inputs: filling its table of pointers, the native call, and watching it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kilngrad_codegen::{FloatMode, Stopped};
use kilngrad_ir::{Check, Dense, Entry, Error, ErrorKind, Graph, Op, Shape, StateId};

use crate::call::wrong_shape;
use crate::code::{External, Gate, Slot};
use crate::element::Input;
use crate::finite::{self, Copies, Found, NotFinite};
use crate::library::Library;
use crate::states::{States, expect_dtype};
use crate::workspace::{Binding, Workspace};

/// What bindings of an entry run with.
pub(crate) struct Launch<'l, A> {
    pub(crate) library: &'l Library<A>,
    pub(crate) workspace: &'l mut Workspace<A>,
    pub(crate) states: &'l mut States,
    pub(crate) entry: usize,
    /// In the order of the entry's inputs.
    pub(crate) inputs: &'l [&'l dyn Input],
    /// What ends loops.
    pub(crate) cancel: Option<&'l AtomicBool>,
}

impl<A> Launch<'_, A> {
    /// Runs the binding at a position.
    pub(crate) fn run(&mut self, at: usize) -> Result<(), Error> {
        let graph = &self.library.program().entries[self.entry].graph;
        let Launch { workspace, states, inputs, .. } = self;
        let (binding, memory, mut host) = workspace.parts(self.entry, at);
        if let Some(flag) = self.cancel {
            host.cancel = flag;
        }
        let Binding { code, outputs, staging, table, .. } = binding;
        for ((value, slot), argument) in inputs.iter().zip(&code.inputs).zip(graph.arguments()) {
            expect_slot(slot, *value, &graph.ty(*argument).shape)?;
        }
        for ((value, slot), place) in inputs.iter().zip(&code.inputs).zip(staging.iter_mut()) {
            if value.contiguous().is_none() {
                place.reserve(slot.bytes())?;
                value.write_to(&mut place.as_mut_slice()[..slot.bytes()]);
            }
        }
        for (pointer, external) in table.0.iter_mut().zip(&code.externals) {
            *pointer = match external {
                External::Argument(index) => {
                    let bytes = inputs[*index].contiguous();
                    let start = bytes.map_or(staging[*index].as_ptr(), <[u8]>::as_ptr);
                    start.cast_mut()
                }
                External::Output(index) => outputs[*index].as_mut_ptr(),
                External::State(id) => states.as_mut_ptr(*id),
                External::Constant(constant) => constant.as_ptr().cast_mut(),
            };
        }
        let _mode = FloatMode::enter();
        // SAFETY: arena and scratch have the module's sizes, since binding reserved them, and its
        // alignment; `Code::new` saw that each external has the bytes that the module expects of
        // it and may be written where the module writes, and the table is in that order. Inputs
        // have the slots' shapes and dtypes, so their bytes, and their elements are initialised.
        // Outputs, states, arena and scratch are borrowed exclusively and are separate
        // allocations; inputs and constants are only read, also by other sessions meanwhile. The
        // host is the pool's, which this workspace owns, or runs in order, and its threads are in
        // the default float mode; its flag is borrowed for longer than the call.
        let ran = unsafe {
            code.module.entry().call(
                memory.arena.as_mut_ptr(),
                table.0.as_ptr(),
                memory.scratch.as_mut_ptr(),
                &host,
            )
        };
        ran.map_err(|stopped| match stopped {
            Stopped::Gate(check) => {
                let message = match code.checks.get(check) {
                    Some(gate) => failure(gate, &code.inputs, inputs),
                    None => "expected a condition to hold".to_owned(),
                };
                Error::new(ErrorKind::Check, message)
            }
            Stopped::Cancelled => cancelled(&self.library.program().entries[self.entry]),
        })
    }

    /// Runs the binding at a position; if calls are watched and a result is not finite, the states
    /// are put back.
    pub(crate) fn run_watched(&mut self, at: usize) -> Result<(), Error> {
        let Some(mut copies) = self.workspace.watched.take() else { return self.run(at) };
        let outcome = self.run_with_copies(at, &mut copies);
        self.workspace.watched = Some(copies);
        outcome
    }

    fn run_with_copies(&mut self, at: usize, copies: &mut Copies) -> Result<(), Error> {
        let program = Arc::clone(self.library.program());
        let updates = &program.entries[self.entry].updates;
        let updated = || updates.iter().map(|(id, _)| *id);
        copies.take(self.states, updated())?;
        self.run(at)?;
        let Some(found) = self.not_finite(at, updated())? else { return Ok(()) };
        copies.restore(self.states);
        let lengths = &self.workspace.at(self.entry, at).version.lengths;
        Err(self.library.explain(&NotFinite {
            entry: self.entry,
            bindings: self.library.bindings(self.entry, lengths),
            inputs: self.inputs,
            states: self.states.all().collect(),
            cancel: self.cancel,
            found,
        }))
    }

    /// The first number that is not finite in the outputs and these states.
    fn not_finite(
        &self,
        at: usize,
        updated: impl Iterator<Item = StateId>,
    ) -> Result<Option<Found>, Error> {
        let Binding { code, outputs, .. } = self.workspace.at(self.entry, at);
        for (slot, value) in code.outputs.iter().zip(outputs) {
            if let Some(found) = finite::in_output(slot, value.as_slice())? {
                return Ok(Some(found));
            }
        }
        for id in updated {
            let state = self.library.program().state(id);
            let shape = state.ty.shape.as_constant().unwrap_or_default();
            let what = || format!("the new value of state {:?}", state.path);
            let found = finite::find(state.ty.dtype, self.states.bytes(id), &shape, what)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// What is said of a call that was cancelled, which its loops alone look for.
fn cancelled(entry: &Entry) -> Error {
    let mut lines = String::new();
    add_loops(&entry.graph, &mut lines);
    let entry = &entry.name;
    let message =
        format!("expected entry {entry:?} to end before it is cancelled, found a loop{lines}");
    Error::new(ErrorKind::Cancelled, message)
}

/// Adds the user's lines of the loops of a graph. Recurses once a region.
fn add_loops(graph: &Graph, lines: &mut String) {
    for (_, node) in graph.nodes() {
        if let (Op::While(_), Some(site)) = (&node.op, node.origin.site()) {
            let before = if lines.is_empty() { ", built at" } else { " or" };
            lines.push_str(&format!("{before} {site}"));
        }
        node.op.bodies().into_iter().for_each(|body| add_loops(body, lines));
    }
}

/// What is said of a condition that does not hold for these inputs.
fn failure(gate: &Gate, slots: &[Slot], inputs: &[&dyn Input]) -> String {
    let Some((slot, fed)) = gate.subject.and_then(|at| slots.get(at).zip(inputs.get(at))) else {
        return gate.message.clone();
    };
    let mut bytes = vec![0; slot.bytes()];
    fed.write_to(&mut bytes);
    match Dense::from_bytes(slot.dtype, bytes.into()) {
        Some(fed) => gate.message.clone() + &Check::found(&slot.name, fed.iter()),
        None => gate.message.clone(),
    }
}

/// `declared` is the shape before its symbols were bound.
fn expect_slot(slot: &Slot, value: &dyn Input, declared: &Shape) -> Result<(), Error> {
    if slot.dtype != value.dtype() {
        expect_dtype(&format!("input {:?}", slot.name), slot.dtype, value.dtype())?;
    }
    if slot.shape == value.shape() {
        return Ok(());
    }
    Err(wrong_shape(&slot.name, &declared.to_string(), value.shape()))
}
