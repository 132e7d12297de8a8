//! The executable: compiled entries over one set of states.

use std::sync::Arc;

use kilngrad_codegen::{FloatMode, Host};
use kilngrad_ir::{Bindings, Error, ErrorKind, Program, StateId, Symbol};
use ndarray::ArrayViewD;
use smallvec::SmallVec;

use crate::call::Call;
use crate::code::{Code, Compile};
use crate::element::{Element, Input};
use crate::finite::{self, Copies, Found, NotFinite};
use crate::memory::AlignedBytes;
use crate::pool::Pool;
use crate::states::{States, unknown};

/// How many bindings of one entry's symbols are kept compiled; the least recently used goes.
pub const SPECIALISATIONS: usize = 16;

/// A program ready to run: its states, and its entries compiled for each binding of their symbols
/// that was met.
pub struct Executable<A> {
    program: Arc<Program>,
    compiler: Box<dyn Compile<A>>,
    pub(crate) states: States,
    entries: Vec<CompiledEntry<A>>,
    pub(crate) memory: Memory,
    pool: Option<Pool>,
    /// Copies of states, if calls are watched for numbers that are not finite.
    watched: Option<Copies>,
    clock: u64,
}

/// Memory that every entry uses in turn.
pub(crate) struct Memory {
    pub(crate) arena: AlignedBytes,
    pub(crate) scratch: AlignedBytes,
}

/// The bindings of one entry.
struct CompiledEntry<A> {
    symbols: Vec<Symbol>,
    specialised: Vec<Specialised<A>>,
}

/// An entry compiled for one binding, with memory of its own for what it returns and for inputs
/// that are not contiguous.
pub(crate) struct Specialised<A> {
    /// What the entry's symbols are bound to, in order.
    lengths: Lengths,
    /// The values that the code computes instead of the entry's outputs and updates, if it does.
    fetched: Vec<String>,
    last_used: u64,
    pub(crate) code: Code<A>,
    pub(crate) outputs: Vec<AlignedBytes>,
    pub(crate) staging: Vec<AlignedBytes>,
    pub(crate) table: Table,
}

/// What the symbols of an entry are bound to, in the order of their names.
pub(crate) type Lengths = SmallVec<[usize; 8]>;

/// The entry's table of external pointers, filled anew by each call.
pub(crate) struct Table(pub(crate) Vec<*mut u8>);

// SAFETY: the pointers are written and used within one call, which borrows the executable
// exclusively; between calls nothing reads them.
unsafe impl Send for Table {}
// SAFETY: as above; a shared borrow reaches no pointer.
unsafe impl Sync for Table {}

impl<A> Executable<A> {
    /// An executable of `program`, whose states have their first values under `seed`. Nothing is
    /// compiled yet. `threads` counts the calling one.
    ///
    /// # Errors
    ///
    /// If memory for the states or a thread is refused.
    pub fn new(
        program: Arc<Program>,
        compiler: Box<dyn Compile<A>>,
        seed: i64,
        threads: usize,
    ) -> Result<Executable<A>, Error> {
        let states = States::initial(&program, seed)?;
        let entries = program
            .entries
            .iter()
            .map(|entry| CompiledEntry {
                symbols: entry.symbols().into_iter().collect(),
                specialised: Vec::new(),
            })
            .collect();
        let pool = if threads > 1 { Some(Pool::new(threads - 1)?) } else { None };
        let memory = Memory { arena: AlignedBytes::zeroed(0)?, scratch: AlignedBytes::zeroed(0)? };
        Ok(Executable { program, compiler, states, entries, memory, pool, watched: None, clock: 0 })
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Begins a call of the entry called `name`. Every mistake in it, an unknown name included, is
    /// reported when it is [run](Call::run).
    pub fn call<'a>(&'a mut self, name: &'a str) -> Call<'a, A> {
        Call::new(self, name)
    }

    /// Compiles an entry for a binding of its symbols, unless it is compiled already.
    ///
    /// # Errors
    ///
    /// If there is no such entry, a symbol is not bound, or it cannot be compiled.
    pub fn specialise(&mut self, name: &str, bindings: &Bindings) -> Result<&Code<A>, Error> {
        let _mode = FloatMode::enter();
        let entry = self.find(name)?;
        let mut lengths = Lengths::new();
        for symbol in &self.entries[entry].symbols {
            let length = bindings.get(symbol).ok_or_else(|| unbound(symbol))?;
            lengths.push(*length);
        }
        let at = self.specialised(entry, &lengths, &[])?;
        Ok(&self.entries[entry].specialised[at].code)
    }

    /// What an entry was last used as compiled for; `None` if it is not compiled.
    ///
    /// # Errors
    ///
    /// If there is no such entry.
    pub fn code(&self, name: &str) -> Result<Option<&Code<A>>, Error> {
        let known = &self.entries[self.find(name)?].specialised;
        let whole = known.iter().filter(|specialised| specialised.fetched.is_empty());
        Ok(whole.max_by_key(|specialised| specialised.last_used).map(|latest| &latest.code))
    }

    /// Whether each call from now on is watched: one after which an output, or a state that it
    /// updates, is not finite fails, and has changed no state. A watched call copies those states
    /// and reads through its results.
    pub fn watch(&mut self, watch: bool) {
        self.watched = watch.then(Copies::default);
    }

    /// A state's value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or it has another dtype.
    pub fn state<T: Element>(&self, path: &str) -> Result<ArrayViewD<'_, T>, Error> {
        self.states.view(&self.program, path)
    }

    /// Gives a state another value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or the value has another dtype or shape; nothing changes then.
    pub fn set_state(&mut self, path: &str, value: &dyn Input) -> Result<(), Error> {
        self.states.set(&self.program, path, value)
    }

    /// Every state's path with its bytes, row-major and little-endian, in the program's order.
    pub fn state_bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let states = self.program.states.iter().enumerate();
        states.map(|(index, state)| (&*state.path, self.states.bytes(StateId::from_index(index))))
    }

    /// Gives a state the elements in `bytes`, row-major and little-endian.
    ///
    /// # Errors
    ///
    /// If there is no such state, or the bytes are not as many elements of its dtype; nothing
    /// changes then.
    pub fn set_state_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let id = crate::states::find(&self.program, path)?;
        let state = self.program.state(id);
        let truth = state.ty.dtype == kilngrad_ir::DType::Bool;
        if state.ty.byte_count() != Some(bytes.len()) || (truth && bytes.iter().any(|b| *b > 1)) {
            let message = format!("expected the elements of {} for state {path:?}", state.ty);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        self.states.set_bytes(id, bytes);
        Ok(())
    }

    pub(crate) fn find(&self, name: &str) -> Result<usize, Error> {
        let entries = &self.program.entries;
        entries
            .iter()
            .position(|entry| *entry.name == *name)
            .ok_or_else(|| unknown("entry", name, entries.iter().map(|entry| &*entry.name)))
    }

    pub(crate) fn symbols(&self, entry: usize) -> &[Symbol] {
        &self.entries[entry].symbols
    }

    /// Whether the entry is compiled for these lengths.
    pub(crate) fn knows(&self, entry: usize, lengths: &Lengths) -> bool {
        self.entries[entry].specialised.iter().any(|s| s.is(lengths, &[]))
    }

    /// Position of the entry's code for these lengths, which is compiled if it is not there. With
    /// names in `fetched` it is code for these values of the entry alone.
    pub(crate) fn specialised(
        &mut self,
        entry: usize,
        lengths: &Lengths,
        fetched: &[&str],
    ) -> Result<usize, Error> {
        self.clock += 1;
        let known = &mut self.entries[entry].specialised;
        if let Some(at) = known.iter().position(|s| s.is(lengths, fetched)) {
            known[at].last_used = self.clock;
            return Ok(at);
        }
        let bindings = self.bindings(entry, lengths);
        let code = match fetched {
            [] => self.compiler.compile(entry, &bindings)?,
            names => self.compiler.compile_values(entry, &bindings, names)?,
        };
        code.check_states(&self.states)?;
        self.memory.arena.reserve(code.module.arena_bytes())?;
        self.memory.scratch.reserve(code.module.scratch_bytes())?;
        if let Some(pool) = &mut self.pool {
            pool.reserve_scratch(code.module.scratch_bytes())?;
        }
        let zeroed = |slot: &crate::code::Slot| AlignedBytes::zeroed(slot.bytes());
        let specialised = Specialised {
            lengths: lengths.clone(),
            fetched: fetched.iter().map(|name| (*name).to_owned()).collect(),
            last_used: self.clock,
            outputs: code.outputs.iter().map(zeroed).collect::<Result<_, _>>()?,
            staging: code
                .inputs
                .iter()
                .map(|_| AlignedBytes::zeroed(0))
                .collect::<Result<_, _>>()?,
            table: Table(vec![std::ptr::null_mut(); code.externals.len()]),
            code,
        };
        let known = &mut self.entries[entry].specialised;
        if known.len() < SPECIALISATIONS {
            known.push(specialised);
            return Ok(known.len() - 1);
        }
        let oldest = known.iter().enumerate().min_by_key(|(_, s)| s.last_used);
        let at = oldest.map_or(0, |(at, _)| at);
        known[at] = specialised;
        Ok(at)
    }

    /// The entry's symbols with these lengths.
    pub(crate) fn bindings(&self, entry: usize, lengths: &Lengths) -> Bindings {
        self.entries[entry].symbols.iter().cloned().zip(lengths.iter().copied()).collect()
    }

    /// The parts that a running call needs.
    pub(crate) fn parts(
        &mut self,
        entry: usize,
        at: usize,
    ) -> (&mut Specialised<A>, &mut States, &mut Memory, Host) {
        let host = self.pool.as_ref().map_or_else(Host::sequential, Pool::host);
        (&mut self.entries[entry].specialised[at], &mut self.states, &mut self.memory, host)
    }

    /// The code at a position, with what it returned last.
    pub(crate) fn at(&self, entry: usize, at: usize) -> &Specialised<A> {
        &self.entries[entry].specialised[at]
    }

    /// Runs `call`; if calls are watched and a result is not finite, the states are put back.
    pub(crate) fn watched(
        &mut self,
        entry: usize,
        at: usize,
        inputs: &[&dyn Input],
        call: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(mut copies) = self.watched.take() else { return call(self) };
        let outcome = self.run_watched(&mut copies, entry, at, inputs, call);
        self.watched = Some(copies);
        outcome
    }

    fn run_watched(
        &mut self,
        copies: &mut Copies,
        entry: usize,
        at: usize,
        inputs: &[&dyn Input],
        call: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let program = Arc::clone(&self.program);
        let updated = || program.entries[entry].updates.iter().map(|(id, _)| *id);
        copies.take(&self.states, updated())?;
        call(self)?;
        let Some(found) = self.not_finite(entry, at, updated())? else { return Ok(()) };
        copies.restore(&mut self.states);
        Err(self.compiler.explain(&NotFinite {
            entry,
            bindings: self.bindings(entry, &self.at(entry, at).lengths),
            inputs,
            states: self.state_bytes().map(|(_, bytes)| bytes).collect(),
            found,
        }))
    }

    /// The first number that is not finite in the outputs and these states.
    fn not_finite(
        &self,
        entry: usize,
        at: usize,
        updated: impl Iterator<Item = StateId>,
    ) -> Result<Option<Found>, Error> {
        let Specialised { code, outputs, .. } = self.at(entry, at);
        for (slot, value) in code.outputs.iter().zip(outputs) {
            if let Some(found) = finite::in_output(slot, value.as_slice())? {
                return Ok(Some(found));
            }
        }
        for id in updated {
            let state = self.program.state(id);
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

impl<A> Specialised<A> {
    fn is(&self, lengths: &Lengths, fetched: &[&str]) -> bool {
        self.lengths == *lengths && self.fetched == fetched
    }
}

pub(crate) fn unbound(symbol: &Symbol) -> Error {
    Error::new(
        ErrorKind::Shape,
        format!("expected a length for {symbol}, which no fed shape binds: bind it"),
    )
}

impl<A> std::fmt::Debug for Executable<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executable")
            .field("program", &self.program.name)
            .field("arena", &self.memory.arena)
            .finish_non_exhaustive()
    }
}
