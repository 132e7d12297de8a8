//! A program that is interpreted, called as an executable is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kilngrad_codegen::FloatMode;
use kilngrad_interp::{Array, Interpreter, Trace, eval_entry_until, order_inputs};
use kilngrad_ir::{DType, Error, ErrorKind, Program, ValueName};
use kilngrad_runtime::Input;

use crate::example::program_example;
use crate::executable::Executable;
use crate::options::Options;
use crate::{nan, values};

/// A program run by the reference interpreter: slow, and what every other way to run it is held
/// against.
#[doc = program_example!(
    "let mut slow = program.interpret(&Options::new())?;"
    "slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
    "assert_eq!(slow.state(\"total\"), Some(&3f32.into()));"
)]
#[derive(Debug)]
pub struct Interpreted {
    /// As it was given, with gradient requests.
    declared: Program,
    interpreter: Interpreter,
    check_nan: bool,
}

impl Interpreted {
    pub(crate) fn new(
        declared: Program,
        expanded: Program,
        options: &Options,
    ) -> Result<Interpreted, Error> {
        let interpreter = Interpreter::new(expanded, options.seed)?;
        Ok(Interpreted { declared, interpreter, check_nan: options.check_nan })
    }

    /// Begins a call of an entry.
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "let out = slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert_eq!(out.array(\"y\")?, &array![2f32, 4.0].into());"
    )]
    pub fn call<'a>(&'a mut self, name: &'a str) -> InterpretedCall<'a> {
        InterpretedCall {
            program: self,
            entry: name,
            feeds: Vec::new(),
            fetched: Vec::new(),
            cancel: None,
        }
    }

    /// The program, its gradient requests expanded.
    #[doc = program_example!(
        "let slow = program.clone().interpret(&Options::new())?;"
        "assert_eq!(slow.program(), &program); // which requests no gradient"
    )]
    pub fn program(&self) -> &Program {
        self.interpreter.program()
    }

    /// The program as it was declared, whose states begin with what they hold now: see
    /// [`Executable::snapshot`].
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "let exe = slow.snapshot().compile(&Options::new())?; // goes on from there"
        "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 3.0);"
    )]
    pub fn snapshot(&self) -> Program {
        let values = self.interpreter.states().values().iter().map(Array::to_dense);
        crate::files::with_states(&self.declared, values)
    }

    /// A state's value.
    #[doc = program_example!(
        "let slow = program.interpret(&Options::new())?;"
        "assert_eq!(slow.state(\"total\"), Some(&0f32.into()));"
        "assert_eq!(slow.state(\"totals\"), None);"
    )]
    pub fn state(&self, path: &str) -> Option<&Array> {
        self.interpreter.state(path)
    }

    /// The values of the states, in the order of the program's table.
    pub(crate) fn values(&self) -> &[Array] {
        self.interpreter.states().values()
    }

    /// As it was declared, with gradient requests.
    pub(crate) fn declared(&self) -> &Program {
        &self.declared
    }

    /// Gives a state another value of its type.
    pub(crate) fn set_state(&mut self, path: &str, value: Array) -> Result<(), Error> {
        Ok(self.interpreter.set_state(path, value)?)
    }

    /// Takes over every state of an executable of the same states.
    ///
    /// # Errors
    ///
    /// If a state is missing here or has another type.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.clone().compile(&Options::new())?;"
        "exe.set_state(\"total\", &7f32)?;"
        "let mut slow = program.interpret(&Options::new())?;"
        "slow.copy_state(&exe)?;"
        "assert_eq!(slow.state(\"total\"), Some(&7f32.into()));"
    )]
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
#[doc = program_example!(
    "let mut slow = program.interpret(&Options::new())?;"
    "let call = slow.call(\"run\"); // nothing happens before it is run"
    "assert_eq!(call.run().expect_err(\"x is not fed\").kind(), ErrorKind::Name);"
)]
#[must_use = "a call does nothing until it is run"]
pub struct InterpretedCall<'a> {
    program: &'a mut Interpreted,
    entry: &'a str,
    feeds: Vec<(&'a str, &'a dyn Input)>,
    fetched: Vec<&'a str>,
    cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for InterpretedCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InterpretedCall").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl<'a> InterpretedCall<'a> {
    /// Feeds an input.
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "let reversed = array![1f32, 2.0].slice_move(ndarray::s![..;-1]);"
        "let out = slow.call(\"run\").feed(\"x\", &reversed).run()?;"
        "assert_eq!(out.array(\"y\")?, &array![4f32, 2.0].into());"
    )]
    pub fn feed(mut self, name: &'a str, value: &'a dyn Input) -> InterpretedCall<'a> {
        self.feeds.push((name, value));
        self
    }

    /// Asks for a value inside the entry by its name: see [`Call::fetch`](crate::Call::fetch).
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "let out = slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).fetch(\"total.next\").run()?;"
        "assert_eq!(out.number(\"total.next\")?, 3.0);"
    )]
    pub fn fetch(mut self, name: &'a str) -> InterpretedCall<'a> {
        self.fetched.push(name);
        self
    }

    /// Ends the call with an error of kind [`Cancelled`](ErrorKind::Cancelled) once the flag is set:
    /// each iteration of a `while` looks at it. What else an entry does comes to an end by itself.
    #[doc = program_example!(
        "let flag = std::sync::atomic::AtomicBool::new(true); // which another thread may set"
        "let mut slow = program.interpret(&Options::new())?;"
        "slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).cancel(&flag).run()?; // it has no loop"
    )]
    pub fn cancel(mut self, flag: &'a AtomicBool) -> InterpretedCall<'a> {
        self.cancel = Some(flag);
        self
    }

    /// Interprets the entry.
    ///
    /// # Errors
    ///
    /// If the entry, an input or a fetched value is unknown, an input is fed twice or missing, a
    /// dtype or shape is another than expected, or a result is not finite and the options
    /// [forbid it](Options::check_nan). No state has changed then.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert!(slow.call(\"run\").feed(\"x\", &array![1f64, 2.0]).run().is_err());"
        "assert_eq!(slow.state(\"total\"), Some(&3f32.into()));"
    )]
    pub fn run(self) -> Result<InterpretedOutputs, Error> {
        let _mode = FloatMode::enter();
        let InterpretedCall { program, entry, feeds, fetched, cancel } = self;
        let feeds = feeds.into_iter().map(|(name, value)| Ok((name, array_of(value)?)));
        let feeds = feeds.collect::<Result<Vec<_>, Error>>()?;
        let Interpreted { interpreter, check_nan, declared: _ } = program;
        let entry = interpreter.entry(entry)?;
        let inputs = order_inputs(entry, feeds)?;
        let names = fetched.iter().map(|name| {
            Ok((entry.graph.name(values::find(entry, name)?).clone(), Arc::from(*name)))
        });
        let names: Vec<(ValueName, Arc<str>)> = names.collect::<Result<_, Error>>()?;
        let mut outputs = BTreeMap::new();
        let mut keep = |trace: Trace<'_>| {
            for (_, name) in names.iter().filter(|(value, _)| value == trace.name) {
                if !trace.nested {
                    outputs.insert(Arc::clone(name), trace.array.clone());
                }
            }
        };
        let (declared, states) = (interpreter.program(), interpreter.states());
        let never = AtomicBool::new(false);
        let cancel = cancel.unwrap_or(&never);
        let outcome = eval_entry_until(cancel, declared, entry, &inputs, states, &mut keep)?;
        if *check_nan {
            nan::check(
                &nan::Replay { program: declared, entry, inputs: &inputs, states, cancel },
                &outcome,
            )?;
        }
        outputs.extend(entry.outputs.iter().cloned().zip(outcome.outputs));
        interpreter.apply(outcome.updates);
        Ok(InterpretedOutputs { values: outputs })
    }
}

/// What an interpreted call returned.
#[doc = program_example!(
    "let mut slow = program.interpret(&Options::new())?;"
    "let out = slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
    "assert_eq!(out.array(\"y\")?.to_f64_vec(), [2.0, 4.0]);"
)]
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
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "let out = slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert_eq!(out.array(\"y\")?, &array![2f32, 4.0].into());"
        "assert!(out.array(\"z\").is_err());"
    )]
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
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    /// use ndarray::array;
    ///
    /// let b = Builder::new("sum");
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("sum", e.input("x", F32, (b.dim("n"),)).sum(..));
    /// let mut slow = b.finish()?.interpret(&Options::new())?;
    /// let out = slow.call("run").feed("x", &array![1f32, 2.0]).run()?;
    /// assert_eq!(out.number("sum")?, 3.0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn number(&self, name: &str) -> Result<f64, Error> {
        let array = self.array(name)?;
        array.scalar().map(kilngrad_ir::Literal::to_f64).ok_or_else(|| {
            let message =
                format!("expected a scalar for output {name:?}, found shape {:?}", array.shape());
            Error::new(ErrorKind::Shape, message)
        })
    }
}

/// What is fed as the interpreter's array.
pub(crate) fn array_of(value: &dyn Input) -> Result<Array, Error> {
    let mut bytes = vec![0; value.shape().iter().product::<usize>() * value.dtype().size()];
    value.write_to(&mut bytes);
    array(value.dtype(), value.shape(), &bytes)
}

/// Elements in memory as the interpreter's array.
pub(crate) fn array(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Array, Error> {
    Array::from_bytes(dtype, shape, bytes).ok_or_else(|| {
        Error::new(ErrorKind::Internal, format!("expected the bytes of {dtype} {shape:?}"))
    })
}
