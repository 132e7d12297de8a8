//! The executable: compiled entries over one set of states.

use std::sync::Arc;

use kilngrad_ir::{Bindings, DType, Error, ErrorKind, Program, StateId};
use ndarray::ArrayViewD;

use crate::call::Call;
use crate::code::{Code, Compile};
use crate::element::{Element, Input};
use crate::library::{Library, Wanted};
use crate::states::{self, States};
use crate::workspace::Workspace;

/// A program ready to run: its states, and its entries compiled for each binding of their symbols
/// that was met.
pub struct Executable<A> {
    library: Arc<Library<A>>,
    states: States,
    workspace: Workspace<A>,
}

impl<A> Executable<A> {
    /// An executable of `program`, whose states have their first values under `seed`. Nothing is
    /// compiled yet. `threads` counts the calling one.
    ///
    /// # Errors
    ///
    /// If memory for the states is refused.
    pub fn new(
        program: Arc<Program>,
        compiler: Box<dyn Compile<A>>,
        seed: i64,
        threads: usize,
    ) -> Result<Executable<A>, Error> {
        let states = States::initial(&program, seed)?;
        let library = Arc::new(Library::new(program, compiler));
        let workspace = Workspace::new(&library, threads);
        Ok(Executable { library, states, workspace })
    }

    /// Another executable over a copy of the states; the two share their code and go their own
    /// ways from here.
    ///
    /// # Errors
    ///
    /// If memory for the states is refused.
    pub fn fork(&self) -> Result<Executable<A>, Error> {
        Ok(Executable {
            library: Arc::clone(&self.library),
            states: self.states.copied()?,
            workspace: self.workspace.like(&self.library),
        })
    }

    /// An executable of another program of the same states, with a copy of their values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Build`] if a state differs, and [`ErrorKind::Memory`] if memory for the states
    /// is refused.
    pub fn sibling(
        &self,
        program: Arc<Program>,
        compiler: Box<dyn Compile<A>>,
    ) -> Result<Executable<A>, Error> {
        if program.states != self.program().states {
            return Err(Error::new(ErrorKind::Build, "expected the same states, found others"));
        }
        let library = Arc::new(Library::new(program, compiler));
        let workspace = self.workspace.like(&library);
        Ok(Executable { library, states: self.states.copied()?, workspace })
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        self.library.program()
    }

    /// Begins a call of the entry called `name`. Every mistake in it, an unknown name included, is
    /// reported when it is [run](Call::run).
    pub fn call<'a>(&'a mut self, name: &'a str) -> Call<'a, A> {
        Call::new(&self.library, &mut self.workspace, &mut self.states, name)
    }

    /// Compiles an entry for a binding of its symbols, unless it is compiled already.
    ///
    /// # Errors
    ///
    /// If there is no such entry, a symbol is not bound, or it cannot be compiled.
    pub fn specialise(&mut self, name: &str, bindings: &Bindings) -> Result<&Code<A>, Error> {
        let Executable { library, states, workspace } = self;
        let entry = library.find(name)?;
        let lengths = library.lengths(entry, bindings)?;
        let wanted = Wanted { entry, lengths: &lengths, fetched: &[] };
        let at = workspace.bind(library, states, &wanted)?;
        Ok(&workspace.at(entry, at).code)
    }

    /// What an entry was last used as compiled for; `None` if it is not compiled.
    ///
    /// # Errors
    ///
    /// If there is no such entry.
    pub fn code(&self, name: &str) -> Result<Option<&Code<A>>, Error> {
        let latest = self.workspace.latest(self.library.find(name)?);
        Ok(latest.map(|binding| &*binding.code))
    }

    /// Whether each call from now on is watched: one after which an output, or a state that it
    /// updates, is not finite fails, and has changed no state. A watched call copies those states
    /// and reads through its results.
    pub fn watch(&mut self, watch: bool) {
        self.workspace.watch(watch);
    }

    /// A state's value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or it has another dtype.
    pub fn state<T: Element>(&self, path: &str) -> Result<ArrayViewD<'_, T>, Error> {
        self.states.view(self.program(), path)
    }

    /// Gives a state another value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or the value has another dtype or shape; nothing changes then.
    pub fn set_state(&mut self, path: &str, value: &dyn Input) -> Result<(), Error> {
        self.states.set(self.library.program(), path, value)
    }

    /// Every state's path with its bytes, row-major and little-endian, in the program's order.
    pub fn state_bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let states = self.program().states.iter().enumerate();
        states.map(|(index, state)| (&*state.path, self.states.bytes(StateId::from_index(index))))
    }

    /// Gives a state the elements in `bytes`, row-major and little-endian.
    ///
    /// # Errors
    ///
    /// If there is no such state, or the bytes are not as many elements of its dtype; nothing
    /// changes then.
    pub fn set_state_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let program = self.library.program();
        let id = states::find(program, path)?;
        let state = program.state(id);
        let truth = state.ty.dtype == DType::Bool;
        if state.ty.byte_count() != Some(bytes.len()) || (truth && bytes.iter().any(|b| *b > 1)) {
            let message = format!("expected the elements of {} for state {path:?}", state.ty);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        self.states.set_bytes(id, bytes);
        Ok(())
    }
}

impl<A> std::fmt::Debug for Executable<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executable")
            .field("program", &self.program().name)
            .field("memory", self.workspace.memory())
            .finish_non_exhaustive()
    }
}
