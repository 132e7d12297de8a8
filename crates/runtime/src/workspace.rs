//! What one caller needs to run code: an arena, scratch, threads, and outputs of its own.
//!
//! Executables and sessions both have one. It holds the code that its owner has met, so that only
//! a binding that is new goes to the [`Library`].

use std::sync::Arc;

use kilngrad_codegen::Host;
use kilngrad_ir::Error;

use crate::code::{Code, Slot};
use crate::finite::Copies;
use crate::library::{Library, Version, Wanted, keep};
use crate::memory::AlignedBytes;
use crate::pool::Pool;
use crate::states::States;

/// Memory, threads, and the bindings that were met.
pub(crate) struct Workspace<A> {
    /// The bindings of each entry.
    entries: Vec<Vec<Binding<A>>>,
    memory: Memory,
    /// How many run a call, the calling one included.
    threads: usize,
    pool: Option<Pool>,
    /// Copies of states, if calls are watched for numbers that are not finite.
    pub(crate) watched: Option<Copies>,
    clock: u64,
}

/// Memory that every binding uses in turn.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) arena: AlignedBytes,
    pub(crate) scratch: AlignedBytes,
}

/// An entry's code for one binding, with memory of its own for what it returns and for inputs that
/// are not contiguous.
pub(crate) struct Binding<A> {
    pub(crate) version: Version,
    last_used: u64,
    pub(crate) code: Arc<Code<A>>,
    pub(crate) outputs: Vec<AlignedBytes>,
    pub(crate) staging: Vec<AlignedBytes>,
    pub(crate) table: Table,
}

/// The entry's table of external pointers, filled anew by each call.
pub(crate) struct Table(pub(crate) Vec<*mut u8>);

// SAFETY: the pointers are written and used within one call, which borrows the workspace
// exclusively; between calls nothing reads them.
unsafe impl Send for Table {}
// SAFETY: as above; a shared borrow reaches no pointer.
unsafe impl Sync for Table {}

impl<A> Workspace<A> {
    /// For the entries of a library. No memory is acquired and no thread started before there is
    /// code that wants them.
    pub(crate) fn new(library: &Library<A>, threads: usize) -> Workspace<A> {
        Workspace {
            entries: library.program().entries.iter().map(|_| Vec::new()).collect(),
            memory: Memory { arena: AlignedBytes::EMPTY, scratch: AlignedBytes::EMPTY },
            threads,
            pool: None,
            watched: None,
            clock: 0,
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Another one like this, which has met nothing.
    pub(crate) fn like(&self, library: &Library<A>) -> Workspace<A> {
        let mut workspace = Workspace::new(library, self.threads);
        workspace.watch(self.watched.is_some());
        workspace
    }

    /// Whether each call from now on is watched for numbers that are not finite.
    pub(crate) fn watch(&mut self, watch: bool) {
        self.watched = watch.then(Copies::default);
    }

    /// Whether what is wanted was met before.
    pub(crate) fn knows(&self, wanted: &Wanted<'_>) -> bool {
        self.entries[wanted.entry].iter().any(|binding| binding.version.is(wanted))
    }

    /// The binding of the whole entry that was used last.
    pub(crate) fn latest(&self, entry: usize) -> Option<&Binding<A>> {
        let whole = self.entries[entry].iter().filter(|it| it.version.fetched.is_empty());
        whole.max_by_key(|binding| binding.last_used)
    }

    /// The binding at a position of an entry.
    pub(crate) fn at(&self, entry: usize, at: usize) -> &Binding<A> {
        &self.entries[entry][at]
    }

    /// Position of the binding that is wanted, whose code comes from `library` if it was not met
    /// before.
    pub(crate) fn bind(
        &mut self,
        library: &Library<A>,
        states: &States,
        wanted: &Wanted<'_>,
    ) -> Result<usize, Error> {
        self.clock += 1;
        let last_used = self.clock;
        let known = &mut self.entries[wanted.entry];
        if let Some(at) = known.iter().position(|binding| binding.version.is(wanted)) {
            known[at].last_used = last_used;
            return Ok(at);
        }
        let code = library.code(wanted)?;
        code.check_states(states)?;
        self.reserve(&code)?;
        let zeroed = |slot: &Slot| AlignedBytes::zeroed(slot.bytes());
        let binding = Binding {
            version: Version::of(wanted),
            last_used,
            outputs: code.outputs.iter().map(zeroed).collect::<Result<_, _>>()?,
            staging: code.inputs.iter().map(|_| AlignedBytes::EMPTY).collect(),
            table: Table(vec![std::ptr::null_mut(); code.externals.len()]),
            code,
        };
        let kept = &mut self.entries[wanted.entry];
        Ok(keep(kept, library.kept_bindings(), binding, |binding| binding.last_used))
    }

    /// Memory for every binding so far and this code, on every thread.
    fn reserve(&mut self, code: &Code<A>) -> Result<(), Error> {
        let scratch_bytes = code.module.scratch_bytes();
        self.memory.arena.reserve(code.module.arena_bytes())?;
        self.memory.scratch.reserve(scratch_bytes)?;
        if self.threads > 1 {
            let pool = match &mut self.pool {
                Some(pool) => pool,
                none => none.insert(Pool::new(self.threads - 1)?),
            };
            pool.reserve_scratch(scratch_bytes)?;
        }
        Ok(())
    }

    /// The parts that a running call needs.
    pub(crate) fn parts(
        &mut self,
        entry: usize,
        at: usize,
    ) -> (&mut Binding<A>, &mut Memory, Host) {
        let host = self.pool.as_ref().map_or_else(Host::sequential, Pool::host);
        (&mut self.entries[entry][at], &mut self.memory, host)
    }
}
