//! The executable that users hold.

use std::path::Path;
use std::sync::Arc;

use kilngrad_ir::text::Limits;
use kilngrad_ir::{Dense, Error, ErrorKind, Program, Symbol};
use kilngrad_passes::PlanReport;
use kilngrad_runtime::{Call, Code, Element, Input};
use ndarray::ArrayViewD;

use crate::compiler::Compiler;
use crate::example::program_example;
use crate::files::{self, Load, Loaded};
use crate::frozen::Frozen;
use crate::interpreted::Interpreted;
use crate::options::Options;
use crate::report::{KernelReport, Report, Stage};
use crate::summary::Summary;
use crate::why::{self, Why};

/// A compiled program with its states: call its entries, read and set its states, save them.
///
/// It is `Send`; one thread uses it at a time. Each entry is compiled once for each binding of its
/// symbols that is met, and the latest are kept, as many as [`Options::bindings`] says.
#[doc = program_example!(
    "let mut exe = program.compile(&Options::new())?;"
    "let x = array![1f32, 2.0];"
    "let out = exe.call(\"run\").feed(\"x\", &x).run()?;"
    "assert_eq!(out.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
    "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 3.0);"
)]
#[derive(Debug)]
pub struct Executable {
    inner: kilngrad_runtime::Executable<Report>,
    compiler: Compiler,
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
        options.expect_gradients(&program)?;
        let program = Arc::new(program);
        let compiler =
            Compiler { program: Arc::clone(&program), options: options.clone(), weights: None };
        let mut inner = kilngrad_runtime::Executable::new(
            Arc::clone(&program),
            Box::new(compiler.clone()),
            options.seed,
            options.threads,
        )?;
        inner.watch(options.check_nan);
        options.expect_symbols(&program)?;
        for (entry, bindings) in options.ahead(&program) {
            inner.specialise(&entry, &bindings)?;
        }
        Ok(Executable { inner, compiler })
    }

    /// Shares the program as it is now among threads: its states become constants, and what its
    /// entries compute from them alone is computed once. Entries and lengths that the options name
    /// are compiled ahead.
    ///
    /// # Errors
    ///
    /// If memory is refused or an entry cannot be compiled.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("line");
    /// let w = b.param("w", (), Init::Constant(2.0));
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, ()) * w);
    /// let mut exe = b.finish()?.compile(&Options::new())?;
    ///
    /// let model = exe.freeze()?;
    /// exe.set_state("w", &7f32)?; // of the executable alone
    /// let y: f32 = model.session().call("run").feed("x", &3f32).run()?.scalar("y")?;
    /// assert_eq!(y, 6.0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn freeze(&self) -> Result<Frozen, Error> {
        Frozen::new(&self.inner, &self.compiler.options)
    }

    /// Another executable over a copy of the states, which shares the compiled code: the two train
    /// on independently.
    ///
    /// # Errors
    ///
    /// If memory for the states is refused.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "exe.set_state(\"total\", &7f32)?;"
        "let mut other = exe.fork()?;"
        "other.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert_eq!(other.state::<f32>(\"total\")?.sum(), 10.0);"
        "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 7.0);"
    )]
    pub fn fork(&self) -> Result<Executable, Error> {
        Ok(Executable { inner: self.inner.fork()?, compiler: self.compiler.clone() })
    }

    /// Begins a call of the entry called `name`. Every mistake in it is reported when it is run.
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "exe.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "let error = exe.call(\"runs\").run().expect_err(\"there is no such entry\");"
        "assert_eq!(error.kind(), ErrorKind::Name);"
    )]
    pub fn call<'a>(&'a mut self, name: &'a str) -> Call<'a, Report> {
        self.inner.call(name)
    }

    /// Compiles an entry for these lengths of its symbols, unless it is compiled already.
    ///
    /// # Errors
    ///
    /// If there is no such entry, a symbol is not bound, or it cannot be compiled.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "let report = exe.specialise(\"run\", &[(\"n\", 4)])?;"
        "assert!(report.bindings.values().eq(&[4]));"
    )]
    pub fn specialise(&mut self, entry: &str, lengths: &[(&str, usize)]) -> Result<&Report, Error> {
        let bindings = lengths.iter().map(|(symbol, n)| (Symbol::new(symbol), *n)).collect();
        Ok(self.inner.specialise(entry, &bindings)?.artifacts())
    }

    /// Parameters and layers of the program, and what a call of each entry takes.
    #[doc = program_example!(
        "let exe = program.compile(&Options::new())?;"
        "assert_eq!(exe.summary().trainable.tensors, 1);"
    )]
    pub fn summary(&self) -> Summary {
        let program = self.program();
        let reports = program.entries.iter().map(|entry| self.report(&entry.name).ok());
        Summary::new(program, &reports.collect::<Vec<_>>())
    }

    /// What is known of an entry as it was last used.
    ///
    /// # Errors
    ///
    /// If there is no such entry, or it is not compiled yet because no call or
    /// [`specialise`](Self::specialise) has given the lengths of its symbols.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "assert!(exe.report(\"run\").is_err());"
        "exe.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert!(exe.report(\"run\").is_ok());"
    )]
    pub fn report(&self, entry: &str) -> Result<&Report, Error> {
        reported(self.inner.code(entry)?, entry)
    }

    /// Where an entry's values lie, and who is live where most memory is.
    ///
    /// # Errors
    ///
    /// As [`report`](Self::report).
    ///
    /// # Examples
    #[doc = program_example!(
        "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
        "let plan = exe.plan(\"run\")?;"
        "assert!(plan.lower_bound_bytes <= plan.peak_bytes);"
    )]
    pub fn plan(&self, entry: &str) -> Result<&PlanReport, Error> {
        Ok(&self.report(entry)?.plan)
    }

    /// An entry's kernels, in the order in which a call runs them.
    ///
    /// # Errors
    ///
    /// As [`report`](Self::report).
    ///
    /// # Examples
    #[doc = program_example!(
        "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
        "assert!(exe.kernels(\"run\")?.iter().any(|kernel| kernel.operations.contains(&\"mul\")));"
    )]
    pub fn kernels(&self, entry: &str) -> Result<&[KernelReport], Error> {
        Ok(&self.report(entry)?.kernels)
    }

    /// The stages that an entry is compiled through, with their texts, which are programs: they
    /// parse, and may be interpreted.
    ///
    /// The entry is compiled again to this end, for the lengths it was last used with. The same
    /// program on the same machine gives the same text.
    ///
    /// # Errors
    ///
    /// As [`report`](Self::report).
    ///
    /// # Examples
    #[doc = program_example!(
        "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
        "let stages = exe.stages(\"run\")?;"
        "assert!(stages.iter().any(|stage| stage.name == \"fuse\"));"
    )]
    pub fn stages(&self, entry: &str) -> Result<Vec<Stage>, Error> {
        self.stages_called(entry, |_| true)
    }

    /// The last stage called `name`: see [`stages`](Self::stages).
    ///
    /// # Errors
    ///
    /// As [`report`](Self::report), and if there is no such stage.
    ///
    /// # Examples
    #[doc = program_example!(
        "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
        "assert!(exe.stage(\"run\", \"bind\")?.text.contains(\"%x: f32[4]\"));"
    )]
    pub fn stage(&self, entry: &str, name: &str) -> Result<Stage, Error> {
        let found = self.stages_called(entry, |stage| stage == name)?.pop();
        found.ok_or_else(|| {
            let message = "expected a pass, \"input\", \"loops\", \"clif\" or \"assembly\"";
            Error::new(ErrorKind::Name, format!("{message}, found {name:?}"))
        })
    }

    fn stages_called(&self, entry: &str, keep: impl Fn(&str) -> bool) -> Result<Vec<Stage>, Error> {
        let bindings = &self.report(entry)?.bindings;
        self.compiler.stages(self.position(entry)?, bindings, keep)
    }

    /// What became of a value of an entry, from the line that made it to the kernel that computes
    /// it and the place where it lies. A value is called as in dumps, `h` or `%h`, `%12`, or by the
    /// name of an output.
    ///
    /// # Errors
    ///
    /// As [`report`](Self::report), and if there is no such value.
    ///
    /// # Examples
    #[doc = program_example!(
        "let exe = program.compile(&Options::new().specialise(\"n\", &[4]))?;"
        "assert_eq!(exe.why(\"run\", \"y\")?.operation, \"mul\");"
    )]
    pub fn why(&self, entry: &str, value: &str) -> Result<Why, Error> {
        let bindings = &self.report(entry)?.bindings;
        why::why(&self.compiler, self.position(entry)?, bindings, value)
    }

    fn position(&self, entry: &str) -> Result<usize, Error> {
        let position = self.program().entries.iter().position(|known| *known.name == *entry);
        position.ok_or_else(|| Error::new(ErrorKind::Name, format!("no entry is called {entry:?}")))
    }

    /// The program.
    #[doc = program_example!(
        "let exe = program.clone().compile(&Options::new())?;"
        "assert_eq!(exe.program(), &program);"
    )]
    pub fn program(&self) -> &Program {
        self.inner.program()
    }

    /// A state's value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or it has another dtype.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "exe.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 3.0);"
    )]
    pub fn state<T: Element>(&self, path: &str) -> Result<ArrayViewD<'_, T>, Error> {
        self.inner.state(path)
    }

    /// Gives a state another value.
    ///
    /// # Errors
    ///
    /// If there is no such state, or the value has another dtype or shape; nothing changes then.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "exe.set_state(\"total\", &7f32)?;"
        "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 7.0);"
        "assert!(exe.set_state(\"total\", &array![7f32, 8.0]).is_err());"
    )]
    pub fn set_state(&mut self, path: &str, value: &dyn Input) -> Result<(), Error> {
        self.inner.set_state(path, value)
    }

    /// Every state's path with its bytes, row-major and little-endian.
    #[doc = program_example!(
        "let exe = program.compile(&Options::new())?;"
        "assert!(exe.state_bytes().eq([(\"total\", &[0u8; 4][..])]));"
    )]
    pub fn state_bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.inner.state_bytes()
    }

    /// Replaces the bytes of a state by as many others, which are elements of its dtype.
    pub(crate) fn set_state_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.inner.set_state_bytes(path, bytes)
    }

    /// The program whose states begin with what they hold now: compiled again, it goes on from
    /// here, whatever the seed.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "exe.set_state(\"total\", &7f32)?;"
        "let again = exe.snapshot().compile(&Options::new())?;"
        "assert_eq!(again.state::<f32>(\"total\")?.sum(), 7.0);"
    )]
    pub fn snapshot(&self) -> Program {
        let states = self.program().states.iter().zip(self.state_bytes());
        let values = states.map(|(state, (_, bytes))| {
            Dense::from_bytes(state.ty.dtype, bytes.into())
                .expect("a state's bytes are elements of its dtype")
        });
        files::with_states(self.program(), values)
    }

    /// Writes the [`snapshot`](Self::snapshot): see [`ProgramExt::save`]. In a `.safetensors` file
    /// each state is an array under its path.
    ///
    /// # Errors
    ///
    /// As [`ProgramExt::save`].
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "exe.set_state(\"total\", &7f32)?;"
        "let name = format!(\"kilngrad-save-{}.safetensors\", std::process::id());"
        "let file = std::env::temp_dir().join(name);"
        "exe.save(&file)?;"
        "exe.set_state(\"total\", &0f32)?;"
        "exe.load(&file, &Load::strict())?;"
        "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 7.0);"
        "std::fs::remove_file(file)?;"
    )]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        files::save(&self.snapshot(), path.as_ref())
    }

    /// Gives states their values from a safetensors file: one that [`save`](Self::save) wrote, or
    /// any with an array for each state under its path.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or larger than the limits allow, or `load` is strict
    /// and a state is missing, unexpected, or of another type; nothing changes then.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "let error = exe.load(\"nowhere.safetensors\", &Load::strict());"
        "assert_eq!(error.expect_err(\"there is no such file\").kind(), ErrorKind::Io);"
    )]
    pub fn load(&mut self, path: impl AsRef<Path>, load: &Load) -> Result<Loaded, Error> {
        let program = Arc::clone(&self.compiler.program);
        files::load_states(&program, path.as_ref(), load, |name, bytes| {
            self.inner.set_state_bytes(name, bytes)
        })
    }
}

/// What is known of an entry, if it is compiled.
pub(crate) fn reported<'c>(
    code: Option<&'c Code<Report>>,
    entry: &str,
) -> Result<&'c Report, Error> {
    let code = code.ok_or_else(|| {
        let message = format!(
            "expected entry {entry:?} to be compiled, found no lengths of its symbols: \
             call it, or state lengths with `Options::specialise`"
        );
        Error::new(ErrorKind::Shape, message)
    })?;
    Ok(code.artifacts())
}

/// What can be done with a program.
#[doc = program_example!(
    "let (mut exe, mut slow) ="
    "    (program.clone().compile(&Options::new())?, program.interpret(&Options::new())?);"
    "let x = array![1f32, 2.0];"
    "exe.call(\"run\").feed(\"x\", &x).run()?;"
    "slow.call(\"run\").feed(\"x\", &x).run()?;"
    "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 3.0);"
    "assert_eq!(slow.state(\"total\"), Some(&3f32.into()));"
)]
pub trait ProgramExt {
    /// Compiles it.
    ///
    /// # Errors
    ///
    /// If the program is invalid, asks for a gradient that does not exist, or memory is refused.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "let x = array![1f32, 2.0];"
        "let out = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(out.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
    )]
    fn compile(self, options: &Options) -> Result<Executable, Error>;

    /// Expands its gradient requests and gives it to the reference interpreter.
    ///
    /// # Errors
    ///
    /// If the program is invalid or asks for a gradient that does not exist.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut slow = program.interpret(&Options::new())?;"
        "let out = slow.call(\"run\").feed(\"x\", &array![1f32, 2.0]).run()?;"
        "assert_eq!(out.array(\"y\")?, &array![2f32, 4.0].into());"
    )]
    fn interpret(self, options: &Options) -> Result<Interpreted, Error>;

    /// Writes it: as text where `path` ends in `.kg`, with large arrays in `PATH.safetensors`
    /// beside it; or, where it ends in `.safetensors`, as one file of every array that a state
    /// begins with, under the state's path, and the text. Each file is written beside its place
    /// and renamed, so what was there is whole or replaced; of the two of a `.kg` the arrays go first,
    /// so a process that is killed between them leaves the old text beside new arrays.
    ///
    /// # Errors
    ///
    /// If the name has another ending, or a file cannot be written.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("half");
    /// let e = b.entry("run", Mode::Eval);
    /// e.output("y", e.input("x", F32, ()) * 0.5);
    /// let program = b.finish()?;
    ///
    /// let name = format!("kilngrad-save-{}.kg", std::process::id());
    /// let file = std::env::temp_dir().join(name);
    /// program.save(&file)?;
    /// assert!(std::fs::read_to_string(&file)?.contains("entry @run(%x: f32[]) eval {"));
    /// assert_eq!(Program::load(&file, &Limits::default())?, program);
    /// std::fs::remove_file(file)?;
    /// # Ok::<(), Error>(())
    /// ```
    fn save(&self, path: impl AsRef<Path>) -> Result<(), Error>;

    /// Reads what [`save`](Self::save) or [`Executable::save`] wrote, told apart by what is in the
    /// file. Nothing in it is trusted: it is verified whole, and bounded by `limits`.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is damaged or larger than `limits` allow, or arrays are missing,
    /// not named by the text, or of another type. The message shows the lines of the text that are
    /// wrong; [`Error::diagnostics`] has them.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let name = format!("kilngrad-read-{}.kg", std::process::id());
    /// let file = std::env::temp_dir().join(name);
    /// std::fs::write(&file, "kilngrad 1
    /// program \"half\"
    /// entry @run(%x: f32[n]) eval {
    ///   %half: f32[] = constant 0.5
    ///   %halves: f32[n] = broadcast %half dims=[]
    ///   %y: f32[n] = mul %x, %halves
    ///   return y = %y
    /// }
    /// ")?;
    /// let mut exe = Program::load(&file, &Limits::default())?.compile(&Options::new())?;
    /// let x = ndarray::array![3f32, 5.0];
    /// let out = exe.call("run").feed("x", &x).run()?;
    /// assert_eq!(out.view::<f32>("y")?, ndarray::array![1.5f32, 2.5].into_dyn());
    ///
    /// std::fs::write(&file, "kilngrad 1\nprogram half\n")?;
    /// let error = Program::load(&file, &Limits::default()).expect_err("the name is not in quotes");
    /// assert!(error.to_string().contains(" 2 | program half"));
    /// std::fs::remove_file(file)?;
    /// # Ok::<(), Error>(())
    /// ```
    fn load(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, Error>
    where
        Self: Sized;
}

impl ProgramExt for Program {
    fn compile(self, options: &Options) -> Result<Executable, Error> {
        Executable::new(self, options)
    }

    fn interpret(self, options: &Options) -> Result<Interpreted, Error> {
        kilngrad_ir::verify(&self)
            .map_err(|error| Error::caused(ErrorKind::Build, "invalid program", error))?;
        let expanded = expanded(&self)?;
        Interpreted::new(self, expanded, options)
    }

    fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        files::save(self, path.as_ref())
    }

    fn load(path: impl AsRef<Path>, limits: &Limits) -> Result<Program, Error> {
        files::load(path.as_ref(), limits)
    }
}

/// The program with its gradient requests expanded.
pub(crate) fn expanded(program: &Program) -> Result<Program, Error> {
    kilngrad_autodiff::differentiate(program)
        .map_err(|diagnostics| Error::diagnosed(ErrorKind::Gradient, diagnostics, None))
}
