//! Training: epochs over a table in shuffled batches, with everything around them.
//!
//! A [`Trainer`] is told what to do and then [runs](Trainer::run) over a [`Table`]: each column feeds
//! the input of its name. The step itself is the program's: losses, gradients and the update are in
//! the entry that is called. Outputs of that entry that are scalars are its metrics.
//!
//! ```
//! use kilngrad::data::Table;
//! use kilngrad::prelude::*;
//! use kilngrad::trainer::{Cosine, EarlyStopping, Trainer, evaluate};
//! use ndarray::Array2;
//!
//! let b = Builder::new("line");
//! let n = b.dim("n");
//! let line = Dense::new(&b.scope("line"), "fit", 1, 1);
//! let train = b.entry("train", Mode::Train);
//! let (x, t) = (train.input("x", F32, (n, 1)), train.input("t", F32, (n, 1)));
//! let loss = line.forward(x).mse_loss(t);
//! train.minimize(loss, b.params("line"), Sgd::new(train.input("rate", F32, ())));
//! train.output("loss", loss);
//! let e = b.entry("evaluate", Mode::Eval);
//! let (x, t) = (e.input("x", F32, (n, 1)), e.input("t", F32, (n, 1)));
//! e.output("r2", line.forward(x).r2_score(t));
//! let mut exe = b.finish()?.compile(&Options::new().seed(1))?;
//!
//! let x = Array2::from_shape_fn((60, 1), |(row, _)| row as f32 / 30.0);
//! let t = x.mapv(|x| 2.0 * x + 1.0);
//! let (rows, test) = Table::new().with("x", x)?.with("t", t)?.split_every(5);
//! let history = Trainer::new(&mut exe, "train")
//!     .epochs(100)
//!     .batch(16)
//!     .schedule("rate", Cosine { first: 0.3, last: 0.01, steps: 300 })
//!     .validate("evaluate", &test)
//!     .early_stopping(EarlyStopping::maximise("r2").patience(50))
//!     .run(&rows)?;
//! assert!(history.metric("r2").is_some_and(|r2| r2 > 0.999));
//! assert_eq!(Some(evaluate(&mut exe, "evaluate", &test, None)?[0].value), history.metric("r2"));
//! # Ok::<(), Error>(())
//! ```
//!
//! Invariants:
//!
//! - The order of rows is drawn by the seed and the epoch's number alone, so a position is two
//!   numbers, and a run that is resumed is the bits of one that was not interrupted.
//! - A step allocates nothing: rows are gathered into batches that are reused.
//! - A loss that is not finite ends the run before anything is written over the last checkpoint.

mod checkpoint;
mod evaluate;
mod history;
mod model;
#[cfg(feature = "progress")]
mod progress;
mod rows;
mod run;
mod schedule;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use kilngrad_ir::Error;
use kilngrad_ir::text::Limits;

use crate::data::Table;

pub use evaluate::{Metric, evaluate, predict};
pub use history::{Epoch, History, Stopped};
pub use model::Model;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use schedule::{Constant, Cosine, Schedule, StepDecay, WarmUp};

/// A training run being put together: see the [module](self).
///
/// ```
/// use kilngrad::{data::Table, prelude::*, trainer::Trainer};
///
/// let b = Builder::new("mean");
/// let mean = b.param("mean", (), Init::Zeros);
/// let e = b.entry("train", Mode::Train);
/// let loss = (e.input("x", F32, (b.dim("n"),)) - mean).square().mean(..);
/// e.minimize(loss, mean, Sgd::new(0.1));
/// e.output("loss", loss);
/// let mut exe = b.finish()?.compile(&Options::new())?;
/// let rows = Table::new().with("x", vec![1f32, 2.0, 3.0, 6.0])?;
/// let history = Trainer::new(&mut exe, "train").epochs(50).batch(4).run(&rows)?;
/// assert_eq!((history.epochs.len(), history.steps), (50, 50));
/// assert!((exe.state::<f32>("mean")?.sum() - 3.0).abs() < 1e-3);
/// # Ok::<(), Error>(())
/// ```
#[must_use = "a trainer does nothing until it is run"]
pub struct Trainer<'a, M: Model> {
    model: &'a mut M,
    plan: Plan<'a, M>,
}

/// What is to be done.
struct Plan<'a, M> {
    entry: &'a str,
    epochs: u64,
    batch: usize,
    seed: u32,
    loss: Option<String>,
    /// The entry, its table, and how many rows at a time.
    validation: Option<(&'a str, &'a Table, Option<usize>)>,
    schedule: Option<(String, Box<dyn Schedule + 'a>)>,
    /// After how many batches which entry steps.
    accumulate: Option<(usize, &'a str)>,
    early: Option<EarlyStopping>,
    on_step: Option<OnStep<'a>>,
    on_epoch: Option<OnEpoch<'a>>,
    on_epoch_with: Option<OnEpochWith<'a, M>>,
    stop: Option<&'a AtomicBool>,
    checkpoint: Option<PathBuf>,
    every: Option<u64>,
    resume: bool,
    limits: Limits,
    log: Option<PathBuf>,
    #[cfg(feature = "plot")]
    plot: Option<PathBuf>,
    #[cfg(feature = "progress")]
    progress: bool,
}

type OnStep<'a> = Box<dyn for<'s> FnMut(&Step<'s>) -> ControlFlow<()> + 'a>;
type OnEpoch<'a> = Box<dyn FnMut(&Epoch) -> ControlFlow<()> + 'a>;
type OnEpochWith<'a, M> = Box<dyn FnMut(&mut M, &Epoch) -> Result<ControlFlow<()>, Error> + 'a>;

/// Where a run is after a batch.
///
/// ```
/// use kilngrad::trainer::Step;
/// let names = ["loss".to_owned()];
/// let step = Step { epoch: 1, batch: 2, batches: 9, step: 2, names: &names, values: &[0.5] };
/// assert_eq!(step.metric("loss"), Some(0.5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step<'s> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The batch in it, from 1.
    pub batch: usize,
    /// How many it has.
    pub batches: usize,
    /// Updates so far.
    pub step: u64,
    /// Names of the metrics.
    pub names: &'s [String],
    /// Their values in this batch.
    pub values: &'s [f64],
}

impl Step<'_> {
    /// A metric of this batch.
    ///
    /// ```
    /// use kilngrad::trainer::Step;
    /// let step = Step { epoch: 1, batch: 1, batches: 1, step: 1, names: &[], values: &[] };
    /// assert_eq!(step.metric("loss"), None);
    /// ```
    pub fn metric(&self, name: &str) -> Option<f64> {
        let position = self.names.iter().position(|known| known == name)?;
        self.values.get(position).copied()
    }
}

/// Ends a run whose metric gets no better: validation's, or training's where nothing is validated.
///
/// ```
/// use kilngrad::trainer::EarlyStopping;
/// let stopping = EarlyStopping::minimise("loss").patience(3).by_at_least(1e-4);
/// assert!(format!("{stopping:?}").contains("loss"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStopping {
    metric: String,
    patience: u64,
    least: f64,
    /// 1 where less is better, −1 where more is.
    sign: f64,
}

impl EarlyStopping {
    /// The less, the better. The run ends after 10 epochs that are no better than the best before.
    ///
    /// ```
    /// use kilngrad::trainer::EarlyStopping;
    /// assert_ne!(EarlyStopping::minimise("x"), EarlyStopping::maximise("x"));
    /// ```
    pub fn minimise(metric: &str) -> EarlyStopping {
        EarlyStopping { metric: metric.to_owned(), patience: 10, least: 0.0, sign: 1.0 }
    }

    /// The more, the better.
    ///
    /// ```
    /// use kilngrad::trainer::EarlyStopping;
    /// let stopping = EarlyStopping::maximise("accuracy");
    /// assert_eq!(stopping.clone().patience(10), stopping);
    /// ```
    pub fn maximise(metric: &str) -> EarlyStopping {
        EarlyStopping { sign: -1.0, ..EarlyStopping::minimise(metric) }
    }

    /// After how many epochs that are no better the run ends.
    ///
    /// ```
    /// use kilngrad::trainer::EarlyStopping;
    /// assert_ne!(EarlyStopping::minimise("x").patience(2), EarlyStopping::minimise("x"));
    /// ```
    #[must_use]
    pub fn patience(self, epochs: u64) -> EarlyStopping {
        EarlyStopping { patience: epochs, ..self }
    }

    /// By how much an epoch must be better than the best before to count as better.
    ///
    /// ```
    /// use kilngrad::trainer::EarlyStopping;
    /// assert_ne!(EarlyStopping::minimise("x").by_at_least(0.1), EarlyStopping::minimise("x"));
    /// ```
    #[must_use]
    pub fn by_at_least(self, least: f64) -> EarlyStopping {
        EarlyStopping { least, ..self }
    }

    /// Whether the last epochs, as many as patience has, were no better than the best before them.
    /// Those without the metric, which the run did not have before it was resumed, do not count.
    fn is_over(&self, epochs: &[Epoch], validated: bool) -> bool {
        let (mut best, mut stale) = (None, 0);
        for epoch in epochs {
            let value = match validated {
                true => epoch.validation(&self.metric),
                false => epoch.training(&self.metric),
            };
            match value {
                Some(value) if self.is_better(value, best) => (best, stale) = (Some(value), 0),
                Some(_) => stale += 1,
                None => {}
            }
        }
        stale >= self.patience.max(1)
    }

    /// Whether a value is better than the best before. NaN never is.
    fn is_better(&self, value: f64, best: Option<f64>) -> bool {
        match best {
            None => !value.is_nan(),
            Some(best) => self.sign * (best - value) > self.least,
        }
    }
}

/// An example of a trainer's method: `exe` fits a mean by its entry `train`, which takes `x` and a
/// `rate`, to `rows` of four numbers.
macro_rules! example {
    ($($line:literal)*) => {
        concat!(
            "```\n",
            "# use std::ops::ControlFlow;\n",
            "# use kilngrad::{data::Table, prelude::*, trainer::*};\n",
            "# let b = Builder::new(\"mean\");\n",
            "# let mean = b.param(\"mean\", (), Init::Zeros);\n",
            "# let e = b.entry(\"train\", Mode::Train);\n",
            "# let loss = (e.input(\"x\", F32, (b.dim(\"n\"),)) - mean).square().mean(..);\n",
            "# e.minimize(loss, mean, Sgd::new(e.input(\"rate\", F32, ())));\n",
            "# e.output(\"loss\", loss);\n",
            "# let e = b.entry(\"test\", Mode::Eval);\n",
            "# e.output(\"error\", (e.input(\"x\", F32, (b.dim(\"n\"),)) - mean).abs().mean(..));\n",
            "# let mut exe = b.finish()?.compile(&Options::new())?;\n",
            "# let rows = Table::new().with(\"x\", vec![1f32, 2.0, 3.0, 6.0])?;\n",
            "# let thread = std::thread::current().id();\n",
            "# let name = format!(\"kilngrad-example-{}-{thread:?}\", std::process::id());\n",
            "# let folder = std::env::temp_dir().join(name);\n",
            "# std::fs::create_dir_all(&folder)?;\n",
            "let trainer = Trainer::new(&mut exe, \"train\").schedule(\"rate\", Constant(0.1));\n",
            $($line, "\n",)*
            "# std::fs::remove_dir_all(&folder)?;\n",
            "# Ok::<(), kilngrad::Error>(())\n```",
        )
    };
}

impl<'a, M: Model> Trainer<'a, M> {
    /// A run that calls `entry` for each batch: one epoch, batches of 32 rows, seed 0.
    ///
    /// ```
    /// # use kilngrad::{prelude::*, trainer::Trainer};
    /// # let b = Builder::new("none");
    /// # b.entry("train", Mode::Train);
    /// # let mut exe = b.finish()?.compile(&Options::new())?;
    /// let trainer = Trainer::new(&mut exe, "train").epochs(10).batch(64).seed(7);
    /// assert!(format!("{trainer:?}").contains("train"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new(model: &'a mut M, entry: &'a str) -> Trainer<'a, M> {
        let plan = Plan {
            entry,
            epochs: 1,
            batch: 32,
            seed: 0,
            loss: None,
            validation: None,
            schedule: None,
            accumulate: None,
            early: None,
            on_step: None,
            on_epoch: None,
            on_epoch_with: None,
            stop: None,
            checkpoint: None,
            every: None,
            resume: false,
            limits: Limits::default(),
            log: None,
            #[cfg(feature = "plot")]
            plot: None,
            #[cfg(feature = "progress")]
            progress: false,
        };
        Trainer { model, plan }
    }

    /// How often to go through the rows, counted from the beginning of a run that is resumed.
    #[doc = ""]
    #[doc = example!(
        "assert_eq!(trainer.epochs(3).run(&rows)?.epochs.len(), 3);"
    )]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.plan.epochs = epochs;
        self
    }

    /// Rows of a batch. The last of an epoch has what is left; the table may have fewer rows.
    #[doc = ""]
    #[doc = example!(
        "assert_eq!(trainer.batch(3).run(&rows)?.steps, 2);"
    )]
    pub fn batch(mut self, rows: usize) -> Self {
        self.plan.batch = rows;
        self
    }

    /// The seed of the order of rows, which is another in each epoch.
    #[doc = ""]
    #[doc = example!(
        "assert!(trainer.batch(2).seed(7).run(&rows)?.metric(\"loss\").is_some());"
    )]
    pub fn seed(mut self, seed: u32) -> Self {
        self.plan.seed = seed;
        self
    }

    /// The metric that must stay finite: `loss` where there is one, else the first.
    #[doc = ""]
    #[doc = example!(
        "let error = trainer.loss(\"los\").run(&rows).unwrap_err().to_string();"
        "assert_eq!(error, \"expected a metric \\\"los\\\" of \\\"train\\\", found \\\"loss\\\"\");"
    )]
    pub fn loss(mut self, metric: &str) -> Self {
        self.plan.loss = Some(metric.to_owned());
        self
    }

    /// Calls `entry` over all rows of `table` after each epoch, and keeps its metrics.
    #[doc = ""]
    #[doc = example!(
        "let history = trainer.validate(\"test\", &rows).run(&rows)?;"
        "assert!(history.epochs[0].validation(\"error\").is_some());"
    )]
    pub fn validate(mut self, entry: &'a str, table: &'a Table) -> Self {
        self.plan.validation = Some((entry, table, None));
        self
    }

    /// [`validate`](Self::validate), `rows` at a time; metrics are means by rows.
    #[doc = ""]
    #[doc = example!(
        "let history = trainer.validate_by(\"test\", &rows, 3).run(&rows)?;"
        "assert!(history.epochs[0].validation(\"error\").is_some());"
    )]
    pub fn validate_by(mut self, entry: &'a str, table: &'a Table, rows: usize) -> Self {
        self.plan.validation = Some((entry, table, Some(rows)));
        self
    }

    /// Feeds an input, a float scalar, with what `schedule` says for the step.
    #[doc = ""]
    #[doc = example!(
        "let trainer = trainer.schedule(\"rate\", |step: u64| 0.5 / (1.0 + step as f64));"
        "trainer.run(&rows)?;"
        "assert_eq!(exe.state::<f32>(\"mean\")?.sum(), 3.0);"
    )]
    pub fn schedule(mut self, input: &str, schedule: impl Schedule + 'a) -> Self {
        self.plan.schedule = Some((input.to_owned(), Box::new(schedule)));
        self
    }

    /// Calls `entry`, which steps, after each `batches` batches and at the end of an epoch; the
    /// trained entry adds gradients up. See [`Accumulator`](kilngrad_builder::Accumulator). A run ends
    /// between steps, so none leaves gradients in the sums for the next one, save by an error: load
    /// the last checkpoint then.
    ///
    /// ```
    /// use kilngrad::{data::Table, prelude::*, trainer::Trainer};
    ///
    /// let b = Builder::new("mean");
    /// let mean = b.param("mean", (), Init::Zeros);
    /// let sums = Accumulator::new(&b.scope("sums"), mean);
    /// let add = b.entry("add", Mode::Train);
    /// let x = add.input("x", F32, (b.dim("n"),));
    /// let loss = (x - mean).square().mean(..);
    /// sums.add(loss, x);
    /// add.output("loss", loss);
    /// let step = b.entry("step", Mode::Train);
    /// step.apply_gradients(mean, &sums.take(step), Sgd::new(0.5));
    /// let mut exe = b.finish()?.compile(&Options::new())?;
    /// let rows = Table::new().with("x", vec![1f32, 2.0, 3.0, 6.0])?;
    /// let history = Trainer::new(&mut exe, "add").batch(3).accumulate(2, "step").run(&rows)?;
    /// assert_eq!(history.steps, 1);
    /// assert_eq!(exe.state::<f32>("mean")?.sum(), 3.0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn accumulate(mut self, batches: usize, entry: &'a str) -> Self {
        self.plan.accumulate = Some((batches, entry));
        self
    }

    /// Ends the run when a metric gets no better.
    #[doc = ""]
    #[doc = example!(
        "let stopping = EarlyStopping::minimise(\"loss\").patience(2).by_at_least(100.0);"
        "let history = trainer.epochs(90).early_stopping(stopping).run(&rows)?;"
        "assert_eq!((history.stopped, history.epochs.len()), (Stopped::Early, 3));"
    )]
    pub fn early_stopping(mut self, stopping: EarlyStopping) -> Self {
        self.plan.early = Some(stopping);
        self
    }

    /// Is called after each batch; [`ControlFlow::Break`] ends the run, after the step where batches
    /// [accumulate](Self::accumulate).
    #[doc = ""]
    #[doc = example!(
        "let mut seen = 0;"
        "let trainer = trainer.batch(2).on_step(|step| {"
        "    seen += usize::from(step.metric(\"loss\").is_some());"
        "    ControlFlow::Continue(())"
        "});"
        "trainer.run(&rows)?;"
        "assert_eq!(seen, 2);"
    )]
    pub fn on_step(
        mut self,
        callback: impl for<'s> FnMut(&Step<'s>) -> ControlFlow<()> + 'a,
    ) -> Self {
        self.plan.on_step = Some(Box::new(callback));
        self
    }

    /// Is called after each epoch; [`ControlFlow::Break`] ends the run.
    #[doc = ""]
    #[doc = example!(
        "let history = trainer.epochs(9).on_epoch(|epoch| match epoch.number {"
        "    2 => ControlFlow::Break(()),"
        "    _ => ControlFlow::Continue(()),"
        "});"
        "assert_eq!(history.run(&rows)?.stopped, Stopped::Callback);"
    )]
    pub fn on_epoch(mut self, callback: impl FnMut(&Epoch) -> ControlFlow<()> + 'a) -> Self {
        self.plan.on_epoch = Some(Box::new(callback));
        self
    }

    /// [`on_epoch`](Self::on_epoch), with the model as it is after the epoch: to draw what it makes, say.
    /// An error ends the run. An entry that is called here should write no state, a random draw's
    /// counter among them, or a run that is resumed is another.
    #[doc = ""]
    #[doc = example!(
        "let mut errors = Vec::new();"
        "let trainer = trainer.epochs(3).on_epoch_with(|model, _| {"
        "    errors.extend(evaluate(model, \"test\", &rows, None)?);"
        "    Ok(ControlFlow::Continue(()))"
        "});"
        "trainer.run(&rows)?;"
        "assert_eq!(errors.len(), 3);"
    )]
    pub fn on_epoch_with(
        mut self,
        callback: impl FnMut(&mut M, &Epoch) -> Result<ControlFlow<()>, Error> + 'a,
    ) -> Self {
        self.plan.on_epoch_with = Some(Box::new(callback));
        self
    }

    /// Ends the run after the step during which the flag is set: a signal's handler may set it. The
    /// library installs none.
    #[doc = ""]
    #[doc = example!(
        "let flag = std::sync::atomic::AtomicBool::new(true);"
        "assert_eq!(trainer.epochs(9).stop(&flag).run(&rows)?.steps, 1);"
    )]
    pub fn stop(mut self, flag: &'a AtomicBool) -> Self {
        self.plan.stop = Some(flag);
        self
    }

    /// Writes a checkpoint after each epoch, before anything else is made of it, and at the end,
    /// however the run ends, save for an error: then the last one stays. Where the file exists, the run is to be [resumed](Self::resume).
    #[doc = ""]
    #[doc = example!(
        "let path = folder.join(\"run.safetensors\");"
        "trainer.checkpoint(&path).run(&rows)?;"
        "assert_eq!(exe.load(&path, &Load::strict())?.loaded, [\"mean\"]);"
    )]
    pub fn checkpoint(mut self, path: impl AsRef<Path>) -> Self {
        self.plan.checkpoint = Some(path.as_ref().to_owned());
        self
    }

    /// Writes a checkpoint after each `steps` updates too.
    #[doc = ""]
    #[doc = example!(
        "let path = folder.join(\"run.safetensors\");"
        "trainer.batch(1).checkpoint(&path).checkpoint_every(2).run(&rows)?;"
        "assert!(path.exists());"
    )]
    pub fn checkpoint_every(mut self, steps: u64) -> Self {
        self.plan.every = Some(steps);
        self
    }

    /// Goes on from the checkpoint, if there is one; the run is then, bit for bit, one that was never
    /// interrupted. The checkpoint of another program, entry or seed, or of another number of rows,
    /// batch or accumulation, is refused. Other rows of the same number, another schedule, other
    /// validation and other early stopping are not noticed: they count from here, and early stopping
    /// goes by the history, the epochs before included.
    #[doc = ""]
    #[doc = example!(
        "let path = folder.join(\"run.safetensors\");"
        "assert_eq!(trainer.epochs(2).checkpoint(&path).resume().run(&rows)?.steps, 2);"
        "let trainer = Trainer::new(&mut exe, \"train\").schedule(\"rate\", Constant(0.1));"
        "assert_eq!(trainer.epochs(5).checkpoint(&path).resume().run(&rows)?.steps, 5);"
    )]
    pub fn resume(mut self) -> Self {
        self.plan.resume = true;
        self
    }

    /// What a checkpoint that is resumed from may ask for, instead of [`Limits::default`].
    #[doc = ""]
    #[doc = example!(
        "let path = folder.join(\"run.safetensors\");"
        "std::fs::write(&path, [0; 100])?;"
        "let limits = Limits { file_bytes: 99, ..Limits::default() };"
        "let trainer = trainer.checkpoint(&path).resume().limits(limits);"
        "assert!(trainer.run(&rows).unwrap_err().to_string().contains(\"at most 99 bytes\"));"
    )]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.plan.limits = limits;
        self
    }

    /// Writes a CSV file with a row an epoch: step, training metrics, validation metrics. What was
    /// there before the run is gone when it begins.
    #[doc = ""]
    #[doc = example!(
        "let path = folder.join(\"log.csv\");"
        "trainer.epochs(2).log(&path).run(&rows)?;"
        "assert!(std::fs::read_to_string(&path)?.starts_with(\"epoch,step,loss\\n1,1,\"));"
    )]
    pub fn log(mut self, path: impl AsRef<Path>) -> Self {
        self.plan.log = Some(path.as_ref().to_owned());
        self
    }

    /// Draws the loss by epoch, of training and, where it has it, of validation, as a PNG file.
    #[doc = ""]
    #[doc = example!(
        "let path = folder.join(\"loss.png\");"
        "trainer.epochs(2).plot(&path).run(&rows)?;"
        "assert!(path.exists());"
    )]
    #[cfg(feature = "plot")]
    pub fn plot(mut self, path: impl AsRef<Path>) -> Self {
        self.plan.plot = Some(path.as_ref().to_owned());
        self
    }

    /// Shows on standard error how far the run is: a bar on a terminal, a line now and then elsewhere.
    #[doc = ""]
    #[doc = example!(
        "assert_eq!(trainer.epochs(2).progress().run(&rows)?.epochs.len(), 2);"
    )]
    #[cfg(feature = "progress")]
    pub fn progress(mut self) -> Self {
        self.plan.progress = true;
        self
    }

    /// Trains.
    #[doc = ""]
    #[doc = example!(
        "let history = trainer.epochs(50).run(&rows)?;"
        "assert_eq!((history.steps, history.stopped), (50, Stopped::Done));"
    )]
    ///
    /// # Errors
    ///
    /// Before the first step: if an entry, a metric, a column or an input is missing or of another
    /// type, a table or a batch has no row, the checkpoint is another run's, exists though the run is
    /// not to be resumed, is damaged, or is locked by another run. Later: if a call fails, the loss is
    /// not finite ([`ErrorKind::NotFinite`](crate::ErrorKind::NotFinite)), or a file cannot be
    /// written.
    pub fn run(self, table: &Table) -> Result<History, Error> {
        run::run(self.model, self.plan, table)
    }
}

impl<M: Model> fmt::Debug for Trainer<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer")
            .field("entry", &self.plan.entry)
            .field("epochs", &self.plan.epochs)
            .field("batch", &self.plan.batch)
            .field("seed", &self.plan.seed)
            .finish_non_exhaustive()
    }
}
