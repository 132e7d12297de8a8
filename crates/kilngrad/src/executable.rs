//! The executable that users hold.

use std::path::Path;
use std::sync::Arc;

use kilngrad_ir::{Bindings, Error, ErrorKind, Program, Symbol};
use kilngrad_runtime::{Call, Element, Input};
use ndarray::ArrayViewD;

use crate::compiler::{Compiler, Report};
use crate::interpreted::Interpreted;
use crate::options::Options;
use crate::weights;

/// A compiled program with its states: call its entries, read and set its states, save them.
///
/// It is `Send`; one thread uses it at a time. Each entry is compiled once for each binding of its
/// symbols that is met, and the latest [`kilngrad_runtime::SPECIALISATIONS`] are kept.
#[derive(Debug)]
pub struct Executable {
    inner: kilngrad_runtime::Executable<Report>,
}

impl Executable {
    /// Compiles a program.
    ///
    /// # Errors
    ///
    /// If a gradient that does not exist is asked for, memory is refused, or an option names an
    /// entry that is not there.
    pub(crate) fn new(program: Program, options: &Options) -> Result<Executable, Error> {
        kilngrad_ir::verify(&program)
            .map_err(|error| Error::caused(ErrorKind::Build, "invalid program", error))?;
        let program = Arc::new(program);
        let compiler = Compiler { program: Arc::clone(&program), options: options.clone() };
        let mut inner = kilngrad_runtime::Executable::new(
            Arc::clone(&program),
            Box::new(compiler),
            options.seed,
            options.threads,
        )?;
        let names: Vec<String> = match &options.entries {
            Some(names) => names.clone(),
            None => program.entries.iter().map(|entry| entry.name.to_string()).collect(),
        };
        for name in &names {
            let Some(entry) = program.entry(name) else {
                // The runtime's error lists the entries that there are.
                inner.specialise(name, &Bindings::new())?;
                continue;
            };
            let symbols: Vec<Symbol> = entry.symbols().into_iter().collect();
            for bindings in ahead(&symbols, &options.specialise) {
                inner.specialise(name, &bindings)?;
            }
        }
        Ok(Executable { inner })
    }

    /// Begins a call of the entry called `name`. Every mistake in it is reported when it is run.
    pub fn call<'a>(&'a mut self, name: &'a str) -> Call<'a, Report> {
        self.inner.call(name)
    }

    /// Compiles an entry for these lengths of its symbols, unless it is compiled already.
    ///
    /// # Errors
    ///
    /// If there is no such entry, a symbol is not bound, or it cannot be compiled.
    pub fn specialise(&mut self, entry: &str, lengths: &[(&str, usize)]) -> Result<&Report, Error> {
        let bindings = lengths.iter().map(|(symbol, n)| (Symbol::new(symbol), *n)).collect();
        Ok(self.inner.specialise(entry, &bindings)?.artifacts())
    }

    /// What is known of an entry as it was last used; `None` before it is compiled.
    pub fn report(&self, entry: &str) -> Option<&Report> {
        self.inner.code(entry).map(kilngrad_runtime::Code::artifacts)
    }

    /// The program.
    pub fn program(&self) -> &Program {
        self.inner.program()
    }

    /// A state's value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or it has another dtype.
    pub fn state<T: Element>(&self, path: &str) -> Result<ArrayViewD<'_, T>, Error> {
        self.inner.state(path)
    }

    /// Gives a state another value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or the value has another dtype or shape; nothing changes then.
    pub fn set_state(&mut self, path: &str, value: &dyn Input) -> Result<(), Error> {
        self.inner.set_state(path, value)
    }

    /// Every state's path with its bytes, row-major and little-endian.
    pub fn state_bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.inner.state_bytes()
    }

    /// Writes every state as safetensors, with the program's text in the metadata. The file is
    /// written beside `path` and renamed, so what was there is whole or replaced.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        weights::save(&self.inner, path.as_ref())
    }

    /// Reads every state from a file that [`save`](Self::save) wrote for a program of the same
    /// states.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or a state is missing, unexpected, or of another
    /// type; nothing changes then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        weights::load(&mut self.inner, path.as_ref())
    }
}

/// Every binding of `symbols` by the lengths that options state; none where one has no length.
fn ahead(symbols: &[Symbol], lengths: &[(String, Vec<usize>)]) -> Vec<Bindings> {
    let mut all = vec![Bindings::new()];
    for symbol in symbols {
        let stated: Vec<usize> = lengths
            .iter()
            .filter(|(name, _)| name == symbol.name())
            .flat_map(|(_, lengths)| lengths.iter().copied())
            .collect();
        all = all
            .iter()
            .flat_map(|bindings| {
                stated.iter().map(move |length| {
                    let mut more = bindings.clone();
                    more.insert(symbol.clone(), *length);
                    more
                })
            })
            .collect();
    }
    all
}

/// What can be done with a program.
pub trait ProgramExt {
    /// Compiles it.
    ///
    /// # Errors
    ///
    /// If the program is invalid, asks for a gradient that does not exist, or memory is refused.
    fn compile(self, options: &Options) -> Result<Executable, Error>;

    /// Expands its gradient requests and gives it to the reference interpreter.
    ///
    /// # Errors
    ///
    /// If the program is invalid or asks for a gradient that does not exist.
    fn interpret(self, options: &Options) -> Result<Interpreted, Error>;
}

impl ProgramExt for Program {
    fn compile(self, options: &Options) -> Result<Executable, Error> {
        Executable::new(self, options)
    }

    fn interpret(self, options: &Options) -> Result<Interpreted, Error> {
        kilngrad_ir::verify(&self)
            .map_err(|error| Error::caused(ErrorKind::Build, "invalid program", error))?;
        Interpreted::new(expanded(&self)?, options.seed)
    }
}

/// The program with its gradient requests expanded.
pub(crate) fn expanded(program: &Program) -> Result<Program, Error> {
    kilngrad_autodiff::differentiate(program).map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        Error::new(ErrorKind::Gradient, lines.join("\n"))
    })
}
