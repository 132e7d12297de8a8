//! Programs without states that change: shared by threads, each with a session of its own.

use std::sync::Arc;

use kilngrad_ir::{Bindings, Error, Program};

use crate::call::Call;
use crate::code::{Code, Compile};
use crate::library::{Library, Wanted};
use crate::states::States;
use crate::workspace::Workspace;

/// A program whose compiled entries read constants alone. Copies of it share everything.
pub struct Frozen<A> {
    library: Arc<Library<A>>,
    threads: usize,
}

impl<A> Frozen<A> {
    /// Shares `program`, of which `compiler` makes code without states. Nothing is compiled yet.
    /// `threads` run each call of a session, the calling one included.
    pub fn new(program: Arc<Program>, compiler: Box<dyn Compile<A>>, threads: usize) -> Frozen<A> {
        Frozen { library: Arc::new(Library::new(program, compiler)), threads }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        self.library.program()
    }

    /// A caller's own place to work. It stays valid without this handle.
    pub fn session(&self) -> Session<A> {
        Session {
            library: Arc::clone(&self.library),
            states: States::none(),
            workspace: Workspace::new(&self.library, self.threads),
        }
    }

    /// Compiles an entry for a binding of its symbols, unless it is compiled already.
    ///
    /// # Errors
    ///
    /// If there is no such entry, a symbol is not bound, or it cannot be compiled.
    pub fn specialise(&self, name: &str, bindings: &Bindings) -> Result<Arc<Code<A>>, Error> {
        let entry = self.library.find(name)?;
        let lengths = &self.library.lengths(entry, bindings)?;
        self.library.code(&Wanted { entry, lengths, fetched: &[] })
    }
}

impl<A> Clone for Frozen<A> {
    fn clone(&self) -> Frozen<A> {
        Frozen { library: Arc::clone(&self.library), threads: self.threads }
    }
}

impl<A> std::fmt::Debug for Frozen<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("program", &self.program().name).finish_non_exhaustive()
    }
}

/// One caller of a [`Frozen`] program: an arena, outputs and threads of its own, and the code that
/// it has met.
///
/// A call of a binding that it has met takes no lock and allocates nothing. One that it has not met
/// takes the code from the handle, or waits while another session compiles it.
pub struct Session<A> {
    library: Arc<Library<A>>,
    /// None, which is what code must be content with to run here.
    states: States,
    workspace: Workspace<A>,
}

impl<A> Session<A> {
    /// Begins a call of the entry called `name`. Every mistake in it, an unknown name included, is
    /// reported when it is [run](Call::run), and leaves the session as it was.
    pub fn call<'a>(&'a mut self, name: &'a str) -> Call<'a, A> {
        Call::new(&self.library, &mut self.workspace, &mut self.states, name)
    }

    /// What an entry was last called for; `None` if it was not called.
    ///
    /// # Errors
    ///
    /// If there is no such entry.
    pub fn code(&self, name: &str) -> Result<Option<&Code<A>>, Error> {
        let latest = self.workspace.latest(self.library.find(name)?);
        Ok(latest.map(|binding| &*binding.code))
    }

    /// Whether each call from now on is watched: one after which an output is not finite fails.
    pub fn watch(&mut self, watch: bool) {
        self.workspace.watch(watch);
    }
}

impl<A> std::fmt::Debug for Session<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("program", &self.library.program().name)
            .field("memory", self.workspace.memory())
            .finish_non_exhaustive()
    }
}
