//! Use from several threads: a frozen program and its sessions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kilngrad_ir::{Entry, Error, ErrorKind, Op, Program, StateId, Symbol};
use kilngrad_passes::freeze::{PREPARE, freeze};
use kilngrad_runtime::{Call, Constant, WeakConstant};

use crate::compiler::Compiler;
use crate::executable::reported;
use crate::options::Options;
use crate::report::{Report, Stage};

/// A compiled program whose states are constants: what threads share to call it at the same time.
///
/// Copies are cheap and share everything: the weights, whatever the entries compute from them
/// alone, the panels that contractions read them in, and compiled code. Each caller has a
/// [`Session`] of its own.
///
/// Entries that update states, such as a training step, cannot be called; a call of one is an
/// error. [`Executable::freeze`](crate::Executable::freeze) copies the states, so the executable
/// trains on without any effect here.
///
/// Each entry is compiled once for each binding of its symbols, whichever session meets it first;
/// the latest are kept, as many as [`Options::bindings`] says, and so they are by each session.
///
/// ```
/// use kilngrad::{Result, prelude::*};
///
/// let b = Builder::new("line");
/// let w = b.param("w", (), Init::Constant(2.0));
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", e.input("x", F32, ()) * w);
/// let model = b.finish()?.compile(&Options::new())?.freeze()?;
///
/// let call = |x: f32| -> Result<f32> {
///     model.session().call("run").feed("x", &x).run()?.scalar("y")
/// };
/// std::thread::scope(|scope| {
///     let callers = [1.0, 2.0, 3.0].map(|x| scope.spawn(move || call(x)));
///     let results = callers.map(|caller| caller.join().expect("no caller panics"));
///     assert_eq!(results.map(Result::ok), [Some(2.0), Some(4.0), Some(6.0)]);
/// });
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Frozen {
    inner: kilngrad_runtime::Frozen<Report>,
    compiler: Compiler,
}

/// One caller of a [`Frozen`] program, with an arena and outputs of its own.
///
/// It is `Send`; one thread uses it at a time. Sessions share nothing that any of them writes: a
/// call for lengths that this session has met takes no lock and allocates nothing. A failed call
/// leaves it usable, and it outlives the handle that it came from.
///
/// Where the options ask for several [`threads`](crate::Options::threads), every session has so
/// many less one of its own, started by its first call and asleep between calls. Throughput wants
/// one thread and a session for each processor; several threads a session are for few calls that
/// are long.
///
/// ```
/// use kilngrad::prelude::*;
///
/// let b = Builder::new("line");
/// let w = b.param("w", (), Init::Constant(2.0));
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", e.input("x", F32, (b.dim("n"),)) * w);
/// let model = b.finish()?.compile(&Options::new())?.freeze()?;
///
/// let mut session = model.session();
/// drop(model); // the session goes on
/// assert!(session.call("run").run().is_err()); // x is not fed
/// let x = ndarray::array![1f32, 3.0];
/// let out = session.call("run").feed("x", &x).run()?;
/// assert_eq!(out.view::<f32>("y")?, ndarray::array![2f32, 6.0].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Session {
    inner: kilngrad_runtime::Session<Report>,
}

impl Frozen {
    /// Freezes the states of an executable of `program`.
    pub(crate) fn new(
        executable: &kilngrad_runtime::Executable<Report>,
        options: &Options,
    ) -> Result<Frozen, Error> {
        let cut = freeze(executable.program());
        let program = Arc::new(cut.program);
        let prepared = match cut.prepare {
            Some(prepare) => prepare_states(executable, prepare, options)?,
            None => HashMap::new(),
        };
        let weights = Some(Arc::new(Weights::new(&program, executable, prepared)?));
        let compiler =
            Compiler { program: Arc::clone(&program), options: options.clone(), weights };
        let shared = Box::new(compiler.clone());
        let inner = kilngrad_runtime::Frozen::new(program, shared, options.threads);
        let frozen = Frozen { inner, compiler };
        for (entry, bindings) in options.ahead(frozen.program()) {
            if frozen.program().entry(&entry).is_none_or(|entry| entry.updates.is_empty()) {
                frozen.inner.specialise(&entry, &bindings)?;
            }
        }
        Ok(frozen)
    }

    /// A caller's own place to work. It acquires memory when it is first called.
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (), Init::Constant(2.0));
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, (b.dim("n"),)) * w);
    /// let model = b.finish()?.compile(&Options::new())?.freeze()?;
    ///
    /// let (mut one, mut other) = (model.session(), model.session());
    /// let (x, z) = (ndarray::array![1f32], ndarray::array![5f32]);
    /// let out = one.call("run").feed("x", &x).run()?;
    /// other.call("run").feed("x", &z).run()?;
    /// assert_eq!(out.view::<f32>("y")?[0], 2.0); // not overwritten by the other's call
    /// # Ok::<(), Error>(())
    /// ```
    pub fn session(&self) -> Session {
        let mut inner = self.inner.session();
        inner.watch(self.compiler.options.check_nan);
        Session { inner }
    }

    /// Compiles an entry for these lengths of its symbols, unless it is compiled already.
    ///
    /// # Errors
    ///
    /// If there is no such entry, it updates a state, a symbol is not bound, or it cannot be
    /// compiled.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (), Init::Constant(2.0));
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, (b.dim("n"),)) * w);
    /// let model = b.finish()?.compile(&Options::new())?.freeze()?;
    ///
    /// model.specialise("run", &[("n", 4)])?; // so that no caller waits for it
    /// let error = model.specialise("run", &[]).expect_err("n has no length");
    /// assert_eq!(error.kind(), ErrorKind::Shape);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn specialise(&self, entry: &str, lengths: &[(&str, usize)]) -> Result<(), Error> {
        let bindings = lengths.iter().map(|(symbol, n)| (Symbol::new(symbol), *n)).collect();
        self.inner.specialise(entry, &bindings).map(drop)
    }

    /// The stages that an entry is compiled through, with their texts, for these lengths of its
    /// symbols: see [`Executable::stages`](crate::Executable::stages). Those called `pack` are the
    /// loop programs that lay weights out once.
    ///
    /// # Errors
    ///
    /// As [`specialise`](Self::specialise).
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (), Init::Constant(2.0));
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, (b.dim("n"),)) * w);
    /// let model = b.finish()?.compile(&Options::new())?.freeze()?;
    ///
    /// let stages = model.stages("run", &[("n", 4)])?;
    /// let bound = stages.iter().find(|stage| stage.name == "bind").expect("it is a pass");
    /// assert!(bound.text.contains("%x: f32[4]"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stages(&self, entry: &str, lengths: &[(&str, usize)]) -> Result<Vec<Stage>, Error> {
        self.specialise(entry, lengths)?;
        let position = self.program().entries.iter().position(|known| *known.name == *entry);
        let position = position.expect("an entry that is compiled is one of the program");
        let bindings = lengths.iter().map(|(symbol, n)| (Symbol::new(symbol), *n)).collect();
        self.compiler.stages(position, &bindings, |_| true)
    }

    /// The program as sessions call it. States called `prepared.…` come after those that were
    /// declared: what entries compute of these alone.
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (3,), Init::Ones);
    /// let e = b.entry("run", Mode::Eval);
    /// // Of the weight alone: computed when the program is frozen.
    /// let scale = e.read(w).exp();
    /// e.output("y", e.input("x", F32, (b.dim("n"), 3)) * scale);
    /// let model = b.finish()?.compile(&Options::new())?.freeze()?;
    ///
    /// let states = model.program().states.iter().map(|state| state.path.to_string());
    /// assert!(states.eq(["w", "prepared.0"]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn program(&self) -> &Program {
        self.inner.program()
    }
}

impl Session {
    /// Begins a call of the entry called `name`. Every mistake in it is reported when it is run.
    ///
    /// What can be [fetched](Call::fetch) are the values of the entry as it is in
    /// [`Frozen::program`]: those from which prepared states were computed are not among them.
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (), Init::Constant(2.0));
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, (b.dim("n"),)) * w);
    /// let model = b.finish()?.compile(&Options::new())?.freeze()?;
    ///
    /// let mut session = model.session();
    /// let x = ndarray::array![1f32, 3.0];
    /// let out = session.call("run").feed("x", &x).run()?;
    /// assert_eq!(out.view::<f32>("y")?, ndarray::array![2f32, 6.0].into_dyn());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn call<'a>(&'a mut self, name: &'a str) -> Call<'a, Report> {
        self.inner.call(name)
    }

    /// What is known of an entry as it was last called here.
    ///
    /// # Errors
    ///
    /// If there is no such entry, or it was not called yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (), Init::Constant(2.0));
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, (b.dim("n"),)) * w);
    /// let model = b.finish()?.compile(&Options::new())?.freeze()?;
    ///
    /// let mut session = model.session();
    /// assert!(session.report("run").is_err());
    /// session.call("run").feed("x", &ndarray::array![1f32, 3.0]).run()?;
    /// assert!(session.report("run")?.bindings.values().eq(&[2]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn report(&self, entry: &str) -> Result<&Report, Error> {
        reported(self.inner.code(entry)?, entry)
    }
}

/// Refuses an entry that updates states.
pub(crate) fn check_callable(program: &Program, entry: &Entry) -> Result<(), Error> {
    let Some((state, _)) = entry.updates.first() else { return Ok(()) };
    let (name, path) = (&entry.name, &program.state(*state).path);
    let more = match entry.updates.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "expected an entry that updates no state, as the program is frozen, found {name:?}, \
         which updates {path:?}{more}: call it on the executable"
    );
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// The values of the prepared states, by their paths.
fn prepare_states(
    executable: &kilngrad_runtime::Executable<Report>,
    prepare: Program,
    options: &Options,
) -> Result<HashMap<Arc<str>, Constant>, Error> {
    let program = Arc::new(prepare);
    let compiler =
        Compiler { program: Arc::clone(&program), options: options.clone(), weights: None };
    let mut preparing = executable.sibling(program, Box::new(compiler))?;
    // Where a call is not finite is for that call to say.
    preparing.watch(false);
    let outputs = preparing.call(PREPARE).run()?;
    outputs.names().map(|name| Ok((name.into(), Constant::new(outputs.bytes(name)?)?))).collect()
}

/// The states of a frozen program, and in which order of elements contractions read them.
#[derive(Debug)]
pub(crate) struct Weights {
    /// By [`StateId`]; `None` where no entry that can be called reads the state.
    values: Vec<Option<Constant>>,
    /// What packing programs made of states, as long as some code reads it.
    packed: Mutex<HashMap<(StateId, kilngrad_loops::Program), WeakConstant>>,
}

impl Weights {
    fn new(
        program: &Program,
        executable: &kilngrad_runtime::Executable<Report>,
        prepared: HashMap<Arc<str>, Constant>,
    ) -> Result<Weights, Error> {
        let mut read = vec![false; program.states.len()];
        let callable = program.entries.iter().filter(|entry| entry.updates.is_empty());
        for (_, node) in callable.flat_map(|entry| entry.graph.nodes()) {
            if let Op::State(id) = node.op {
                read[id.index()] = true;
            }
        }
        let declared = executable.state_bytes().map(|(_, bytes)| Some(bytes));
        let declared = declared.chain(std::iter::repeat(None));
        let values =
            program.states.iter().zip(declared).zip(read).map(
                |((state, bytes), read)| match bytes {
                    Some(bytes) if read => Constant::new(bytes).map(Some),
                    Some(_) => Ok(None),
                    None => Ok(prepared.get(&state.path).cloned()),
                },
            );
        Ok(Weights { values: values.collect::<Result<_, Error>>()?, packed: Mutex::default() })
    }

    /// The bytes of every state; zeros where no entry that can be called reads it.
    pub(crate) fn all(&self, program: &Program) -> Vec<Cow<'_, [u8]>> {
        let states = program.states.iter().zip(&self.values);
        let bytes = states.map(|(state, value)| match value {
            Some(constant) => Cow::Borrowed(constant.bytes()),
            None => Cow::Owned(vec![0; state.ty.byte_count().unwrap_or(0)]),
        });
        bytes.collect()
    }

    /// A state's value, if an entry that can be called reads it.
    pub(crate) fn value(&self, id: StateId) -> Option<&Constant> {
        self.values[id.index()].as_ref()
    }

    /// What `program` makes of a state, by `pack` if it is not there yet. Whoever wants any packed
    /// state waits meanwhile, so none is packed twice.
    pub(crate) fn packed(
        &self,
        id: StateId,
        program: &kilngrad_loops::Program,
        pack: impl FnOnce() -> Result<Constant, Error>,
    ) -> Result<Constant, Error> {
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id, program.clone());
        if let Some(constant) = packed.get(&key).and_then(WeakConstant::upgrade) {
            return Ok(constant);
        }
        let constant = pack()?;
        packed.retain(|_, constant| constant.upgrade().is_some());
        packed.insert(key, constant.downgrade());
        Ok(constant)
    }
}
