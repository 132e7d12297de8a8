//! A program that is interpreted, called as an executable is.

use std::collections::BTreeMap;
use std::sync::Arc;

use kilngrad_interp::{Array, Interpreter};
use kilngrad_ir::{DType, Error, ErrorKind, Program};
use kilngrad_runtime::Input;

use crate::executable::Executable;

/// A program run by the reference interpreter: slow, and what every other way to run it is held
/// against.
#[derive(Debug)]
pub struct Interpreted {
    /// As it was given, with gradient requests.
    declared: Program,
    interpreter: Interpreter,
}

impl Interpreted {
    pub(crate) fn new(
        declared: Program,
        expanded: Program,
        seed: i64,
    ) -> Result<Interpreted, Error> {
        Ok(Interpreted { declared, interpreter: Interpreter::new(expanded, seed)? })
    }

    /// Begins a call of an entry.
    pub fn call<'a>(&'a mut self, name: &'a str) -> InterpretedCall<'a> {
        InterpretedCall { program: self, entry: name, feeds: Vec::new() }
    }

    /// The program, its gradient requests expanded.
    pub fn program(&self) -> &Program {
        self.interpreter.program()
    }

    /// The program as it was declared, whose states begin with what they hold now: see
    /// [`Executable::snapshot`].
    pub fn snapshot(&self) -> Program {
        let values = self.interpreter.states().values().iter().map(Array::to_dense);
        crate::files::with_states(&self.declared, values)
    }

    /// A state's value.
    pub fn state(&self, path: &str) -> Option<&Array> {
        self.interpreter.state(path)
    }

    /// Takes over every state of an executable of the same states.
    ///
    /// # Errors
    ///
    /// If a state is missing here or has another type.
    pub fn copy_state(&mut self, executable: &Executable) -> Result<(), Error> {
        for (path, bytes) in executable.state_bytes() {
            let found = self.interpreter.program().find_state(path);
            let id = found.ok_or_else(|| {
                Error::new(ErrorKind::Name, format!("expected a state at {path:?}, found none"))
            })?;
            let ty = self.interpreter.program().state(id).ty.clone();
            let shape = ty.shape.as_constant().unwrap_or_default();
            let array = array(ty.dtype, &shape, bytes)?;
            self.interpreter.set_state(path, array)?;
        }
        Ok(())
    }
}

/// A call of an interpreted entry being put together.
#[must_use = "a call does nothing until it is run"]
pub struct InterpretedCall<'a> {
    program: &'a mut Interpreted,
    entry: &'a str,
    feeds: Vec<(&'a str, &'a dyn Input)>,
}

impl std::fmt::Debug for InterpretedCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InterpretedCall").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl<'a> InterpretedCall<'a> {
    /// Feeds an input.
    pub fn feed(mut self, name: &'a str, value: &'a dyn Input) -> InterpretedCall<'a> {
        self.feeds.push((name, value));
        self
    }

    /// Interprets the entry.
    ///
    /// # Errors
    ///
    /// If the entry or an input is unknown, fed twice or missing, or a dtype or shape is another
    /// than expected. No state has changed then.
    pub fn run(self) -> Result<InterpretedOutputs, Error> {
        let feeds = self.feeds.into_iter().map(|(name, value)| {
            let mut bytes = vec![0; value.shape().iter().product::<usize>() * value.dtype().size()];
            value.write_to(&mut bytes);
            Ok((name, array(value.dtype(), value.shape(), &bytes)?))
        });
        let feeds = feeds.collect::<Result<Vec<_>, Error>>()?;
        let values = self.program.interpreter.call(self.entry, feeds)?;
        Ok(InterpretedOutputs { values })
    }
}

/// What an interpreted call returned.
#[derive(Debug, Clone)]
pub struct InterpretedOutputs {
    values: BTreeMap<Arc<str>, Array>,
}

impl InterpretedOutputs {
    /// An output as the interpreter's array.
    ///
    /// # Errors
    ///
    /// If there is no such output.
    pub fn array(&self, name: &str) -> Result<&Array, Error> {
        self.values
            .get(name)
            .ok_or_else(|| Error::new(ErrorKind::Name, format!("no output is called {name:?}")))
    }

    /// An output of rank 0 as a number.
    ///
    /// # Errors
    ///
    /// If there is no such output, or it is not a scalar.
    pub fn number(&self, name: &str) -> Result<f64, Error> {
        let array = self.array(name)?;
        array.scalar().map(kilngrad_ir::Literal::to_f64).ok_or_else(|| {
            let message =
                format!("expected a scalar for output {name:?}, found shape {:?}", array.shape());
            Error::new(ErrorKind::Shape, message)
        })
    }
}

fn array(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Array, Error> {
    Array::from_bytes(dtype, shape, bytes).ok_or_else(|| {
        Error::new(ErrorKind::Internal, format!("expected the bytes of {dtype} {shape:?}"))
    })
}
