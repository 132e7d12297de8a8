//! The executable that users hold.

use std::path::Path;
use std::sync::Arc;

use kilngrad_ir::{Error, ErrorKind, Program, Symbol};
use kilngrad_runtime::{Call, Element, Input};
use ndarray::ArrayViewD;

use crate::compiler::{Compiler, Report};
use crate::frozen::Frozen;
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
    options: Options,
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
        let compiler =
            Compiler { program: Arc::clone(&program), options: options.clone(), weights: None };
        let mut inner = kilngrad_runtime::Executable::new(
            Arc::clone(&program),
            Box::new(compiler),
            options.seed,
            options.threads,
        )?;
        for (entry, bindings) in options.ahead(&program) {
            inner.specialise(&entry, &bindings)?;
        }
        Ok(Executable { inner, options: options.clone() })
    }

    /// Shares the program as it is now among threads: its states become constants, and what its
    /// entries compute from them alone is computed once. Entries and lengths that the options name
    /// are compiled ahead.
    ///
    /// # Errors
    ///
    /// If memory is refused or an entry cannot be compiled.
    pub fn freeze(&self) -> Result<Frozen, Error> {
        Frozen::new(&self.inner, &self.options)
    }

    /// Another executable over a copy of the states, which shares the compiled code: the two train
    /// on independently.
    ///
    /// # Errors
    ///
    /// If memory for the states is refused.
    pub fn fork(&self) -> Result<Executable, Error> {
        Ok(Executable { inner: self.inner.fork()?, options: self.options.clone() })
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
        let expanded = kilngrad_autodiff::differentiate(&self).map_err(|diagnostics| {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            Error::new(ErrorKind::Gradient, lines.join("\n"))
        })?;
        Interpreted::new(expanded, options.seed)
    }
}
