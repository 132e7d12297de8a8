//! Compiled code that executables and sessions share.
//!
//! A [`Library`] is a program with what of it is compiled. Any number of threads ask it for an
//! entry under a binding of its symbols: the first one compiles, those that want the same wait for
//! it, and those that want another do not. Who has the code keeps it (see [`crate::workspace`]) and
//! comes back for what it has not met, so calls in steady state take no lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kilngrad_codegen::FloatMode;
use kilngrad_ir::{Bindings, Error, ErrorKind, Program, Symbol};
use smallvec::SmallVec;

use crate::code::{Code, Compile};
use crate::finite::NotFinite;
use crate::states::unknown;

/// How many bindings of one entry's symbols are kept compiled, by an executable or a handle and by
/// each session, where the [compiler](Compile::kept_bindings) says nothing else; the least recently
/// used goes.
pub const KEPT_BINDINGS: usize = 16;

/// What the symbols of an entry are bound to, in the order of their names.
pub(crate) type Lengths = SmallVec<[usize; 8]>;

/// A program with its entries compiled for each binding of their symbols that was met.
pub(crate) struct Library<A> {
    program: Arc<Program>,
    compiler: Box<dyn Compile<A>>,
    /// How many bindings of an entry are kept, at least one.
    kept: usize,
    /// The symbols of each entry.
    symbols: Vec<Vec<Symbol>>,
    shelves: Mutex<Shelves<A>>,
}

/// What is compiled of each entry.
struct Shelves<A> {
    entries: Vec<Vec<Volume<A>>>,
    clock: u64,
}

/// What is asked of a library: an entry under a binding, or, with names in `fetched`, these values
/// of it instead of its outputs and updates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'w> {
    pub(crate) entry: usize,
    pub(crate) lengths: &'w Lengths,
    pub(crate) fetched: &'w [&'w str],
}

/// What code of an entry was compiled for: see [`Wanted`].
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) lengths: Lengths,
    pub(crate) fetched: Vec<String>,
}

/// A version of an entry.
struct Volume<A> {
    version: Version,
    last_used: u64,
    slot: Arc<CodeSlot<A>>,
}

/// Code, or the lock that its compiler holds meanwhile.
type CodeSlot<A> = Mutex<Option<Arc<Code<A>>>>;

impl<A> Library<A> {
    pub(crate) fn new(program: Arc<Program>, compiler: Box<dyn Compile<A>>) -> Library<A> {
        let entries = program.entries.iter();
        let symbols = entries.clone().map(|entry| entry.symbols().into_iter().collect()).collect();
        let entries = entries.map(|_| Vec::new()).collect();
        let shelves = Mutex::new(Shelves { entries, clock: 0 });
        let kept = compiler.kept_bindings().max(1);
        Library { program, compiler, kept, symbols, shelves }
    }

    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The position of the entry called `name`.
    pub(crate) fn find(&self, name: &str) -> Result<usize, Error> {
        let entries = &self.program.entries;
        entries
            .iter()
            .position(|entry| *entry.name == *name)
            .ok_or_else(|| unknown("entry", name, entries.iter().map(|entry| &*entry.name)))
    }

    pub(crate) fn kept_bindings(&self) -> usize {
        self.kept
    }

    pub(crate) fn symbols(&self, entry: usize) -> &[Symbol] {
        &self.symbols[entry]
    }

    /// The lengths that `bindings` give an entry's symbols.
    pub(crate) fn lengths(&self, entry: usize, bindings: &Bindings) -> Result<Lengths, Error> {
        let symbols = self.symbols[entry].iter();
        symbols.map(|symbol| bindings.get(symbol).copied().ok_or_else(|| unbound(symbol))).collect()
    }

    /// An entry's symbols with these lengths.
    pub(crate) fn bindings(&self, entry: usize, lengths: &Lengths) -> Bindings {
        self.symbols[entry].iter().cloned().zip(lengths.iter().copied()).collect()
    }

    /// Why a call computed a number that is not finite.
    pub(crate) fn explain(&self, call: &NotFinite<'_>) -> Error {
        self.compiler.explain(call)
    }

    /// The code that is wanted, which is compiled if it is not there. Another thread that compiles
    /// the same is waited for.
    pub(crate) fn code(&self, wanted: &Wanted<'_>) -> Result<Arc<Code<A>>, Error> {
        let slot = self.slot(wanted);
        let mut code = lock(&slot);
        if let Some(code) = &*code {
            return Ok(Arc::clone(code));
        }
        let Wanted { entry, lengths, fetched } = *wanted;
        let bindings = self.bindings(entry, lengths);
        // Compiling folds constants by the same arithmetic as native code.
        let _mode = FloatMode::enter();
        let compiled = match fetched {
            [] => self.compiler.compile(entry, &bindings),
            names => self.compiler.compile_values(entry, &bindings, names),
        };
        match compiled {
            Ok(compiled) => Ok(Arc::clone(code.insert(Arc::new(compiled)))),
            Err(error) => {
                // What cannot be compiled is not to displace what can.
                let mut shelves = lock(&self.shelves);
                shelves.entries[entry].retain(|volume| !Arc::ptr_eq(&volume.slot, &slot));
                Err(error)
            }
        }
    }

    /// Where the code that is wanted is or will be.
    fn slot(&self, wanted: &Wanted<'_>) -> Arc<CodeSlot<A>> {
        let mut shelves = lock(&self.shelves);
        shelves.clock += 1;
        let last_used = shelves.clock;
        let shelf = &mut shelves.entries[wanted.entry];
        if let Some(volume) = shelf.iter_mut().find(|volume| volume.version.is(wanted)) {
            volume.last_used = last_used;
            return Arc::clone(&volume.slot);
        }
        let slot = Arc::new(Mutex::new(None));
        let volume = Volume { version: Version::of(wanted), last_used, slot: Arc::clone(&slot) };
        keep(shelf, self.kept, volume, |volume| volume.last_used);
        slot
    }
}

impl Version {
    pub(crate) fn of(wanted: &Wanted<'_>) -> Version {
        let fetched = wanted.fetched.iter().map(|name| (*name).to_owned()).collect();
        Version { lengths: wanted.lengths.clone(), fetched }
    }

    /// Whether this is what is wanted.
    pub(crate) fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.lengths == *wanted.lengths && self.fetched == wanted.fetched
    }
}

/// Adds an item to those that are kept, in place of the least recently used if there are as many
/// as may be. Its position.
pub(crate) fn keep<T>(
    kept: &mut Vec<T>,
    most: usize,
    item: T,
    last_used: impl Fn(&T) -> u64,
) -> usize {
    if kept.len() < most {
        kept.push(item);
        return kept.len() - 1;
    }
    let oldest = kept.iter().enumerate().min_by_key(|(_, item)| last_used(item));
    let at = oldest.map_or(0, |(at, _)| at);
    kept[at] = item;
    at
}

/// A compiler that panicked has left nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn unbound(symbol: &Symbol) -> Error {
    Error::new(
        ErrorKind::Shape,
        format!("expected a length for {symbol}, which no fed shape binds: bind it"),
    )
}
