//! The loop.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use kilngrad_ir::{DType, Entry, Error, ErrorKind};
use kilngrad_runtime::Input;

use crate::data::Table;
use crate::trainer::checkpoint::{Bits, Checkpoint, Position, Run, digest};
use crate::trainer::evaluate::{Metric, add, evaluate, expect_metrics};
use crate::trainer::history::{Epoch, History, Stopped, write_log};
use crate::trainer::model::Model;
#[cfg(feature = "progress")]
use crate::trainer::progress::Progress;
use crate::trainer::rows::{Rows, entry_of, inputs, metrics};
use crate::trainer::{Plan, Step};

/// A run under way.
struct Training<'r, 'a, M: Model> {
    model: &'r mut M,
    plan: Plan<'a, M>,
    rows: Rows<'r>,
    /// Of the entry's metrics.
    names: Vec<String>,
    /// Which of them must stay finite.
    loss: usize,
    /// Of validation's metrics.
    validated: Vec<String>,
    rate: Option<Rate>,
    run: Run,
    checkpoint: Option<Checkpoint>,
    position: Position,
    /// The metrics of the batch.
    found: Vec<f64>,
    sums: Vec<f64>,
    /// The step that the file is of.
    saved: Option<u64>,
    #[cfg(feature = "progress")]
    progress: Option<Progress>,
}

/// The input that the schedule feeds.
struct Rate {
    input: String,
    dtype: DType,
    single: f32,
    double: f64,
    /// Whether the entry of each batch, and that of each step, has it.
    takes: [bool; 2],
}

/// Trains `model` over `table` as planned.
pub(super) fn run<M: Model>(
    model: &mut M,
    plan: Plan<'_, M>,
    table: &Table,
) -> Result<History, Error> {
    let mut training = Training::new(model, plan, table)?;
    training.start()?;
    let stopped = training.epochs()?;
    training.save_unless_saved()?;
    Ok(training.ended(stopped))
}

impl<'r, 'a, M: Model> Training<'r, 'a, M> {
    /// Finds every mistake that can be found before the first step.
    fn new(
        model: &'r mut M,
        plan: Plan<'a, M>,
        table: &'r Table,
    ) -> Result<Training<'r, 'a, M>, Error> {
        let program = model.declared();
        let entry = entry_of(program, plan.entry)?;
        let (accumulate, stepping) = match plan.accumulate {
            None => (1, None),
            Some((0, _)) => {
                let message = "expected to accumulate at least one batch, found 0";
                return Err(Error::new(ErrorKind::Shape, message));
            }
            Some((batches, name)) => (batches, Some(entry_of(program, name)?)),
        };
        let rate = plan.schedule.as_ref().map(|(input, _)| rate(input, entry, stepping));
        let rate = rate.transpose()?;
        let given: Vec<&str> = rate.iter().map(|rate| &*rate.input).collect();
        let fed = |(name, _): &(&str, _)| !given.contains(name);
        if let Some((name, ty)) = stepping.and_then(|entry| inputs(entry).find(fed)) {
            let message = format!(
                "expected an entry that steps to have no input but the schedule's, found {name:?} \
                 of {ty}"
            );
            return Err(Error::new(ErrorKind::Name, message));
        }
        let rows = Rows::new(entry, table, plan.batch, &given)?;
        let names = expect_metrics(plan.entry, metrics(entry))?;
        let loss = position_of(&names, plan.loss.as_deref(), plan.entry)?;
        let mut validated = Vec::new();
        if let Some((name, table, batch)) = plan.validation {
            let entry = entry_of(program, name)?;
            Rows::new(entry, table, batch.unwrap_or(table.rows()), &[])?;
            validated = expect_metrics(name, metrics(entry))?;
        }
        if let Some(early) = &plan.early {
            let (entry, known) = match plan.validation {
                Some((entry, ..)) => (entry, &validated),
                None => (plan.entry, &names),
            };
            position_of(known, Some(&early.metric), entry)?;
        }
        let run = Run {
            digest: digest(program),
            entry: plan.entry.to_owned(),
            seed: plan.seed,
            rows: table.rows(),
            batch: plan.batch,
            accumulate,
        };
        let numbers = vec![0.0; names.len()];
        Ok(Training {
            rows,
            loss,
            rate,
            run,
            checkpoint: None,
            position: Position::default(),
            found: numbers.clone(),
            sums: numbers,
            names,
            validated,
            saved: None,
            #[cfg(feature = "progress")]
            progress: None,
            model,
            plan,
        })
    }

    /// Takes the checkpoint's lock, and its position if the run is resumed; begins the log.
    fn start(&mut self) -> Result<(), Error> {
        match &self.plan.checkpoint {
            Some(path) => self.open(&path.clone())?,
            None if self.plan.resume => {
                let message = "expected a checkpoint to resume from, found no path of one";
                return Err(Error::new(ErrorKind::Io, message));
            }
            None => {}
        }
        self.log()
    }

    fn open(&mut self, path: &Path) -> Result<(), Error> {
        let checkpoint = Checkpoint::open(path)?;
        let exists = path.try_exists().map_err(|error| {
            Error::caused(ErrorKind::Io, format!("could not look at {path:?}"), error)
        })?;
        if exists && !self.plan.resume {
            let message = format!(
                "expected no file at {path:?}, found one: resume from it, or remove it first"
            );
            return Err(Error::new(ErrorKind::Io, message));
        }
        if exists {
            let (metrics, limits) = (self.names.len(), &self.plan.limits);
            self.position = checkpoint.read(self.model, &self.run, metrics, limits)?;
            self.saved = Some(self.step());
            for (sum, Bits(found)) in self.sums.iter_mut().zip(&self.position.sums) {
                *sum = *found;
            }
        }
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// Updates so far.
    fn step(&self) -> u64 {
        self.run.step(&self.position)
    }

    /// Epochs that are over.
    fn epoch(&self) -> u64 {
        self.position.history.len() as u64
    }

    /// Goes through the epochs that are left.
    fn epochs(&mut self) -> Result<Stopped, Error> {
        loop {
            let history = &self.position.history;
            let validated = self.plan.validation.is_some();
            if self.plan.early.as_ref().is_some_and(|early| early.is_over(history, validated)) {
                return Ok(Stopped::Early);
            }
            if self.epoch() >= self.plan.epochs {
                return Ok(Stopped::Done);
            }
            if let Some(stopped) = self.batches()? {
                return Ok(stopped);
            }
            self.end_epoch()?;
            // First of all: what can fail after it costs no epoch.
            self.save()?;
            if let Some(stopped) = self.tell()? {
                return Ok(stopped);
            }
        }
    }

    /// Goes through the batches that are left of an epoch. A run ends between steps, so that no sum
    /// of gradients is left for another one.
    fn batches(&mut self) -> Result<Option<Stopped>, Error> {
        let seed = u64::from(self.plan.seed) << 32 | (self.epoch() & u64::from(u32::MAX));
        self.rows.shuffle(seed);
        let batches = self.rows.batches();
        let mut stopped = None;
        while self.position.batch < batches {
            let updated = self.batch(batches)?;
            if self.report_step(batches).is_break() {
                stopped = Some(Stopped::Callback);
            }
            if self.plan.stop.is_some_and(|flag| flag.load(Ordering::SeqCst)) {
                stopped = Some(Stopped::Asked);
            }
            let due = self.plan.every.is_some_and(|every| self.step().is_multiple_of(every));
            if updated && (due || stopped.is_some()) {
                self.save()?;
            }
            if updated && stopped.is_some() {
                return Ok(stopped);
            }
        }
        Ok(None)
    }

    /// Feeds the next batch, steps if it is time to, and says whether it was.
    fn batch(&mut self, batches: usize) -> Result<bool, Error> {
        if let (Some(rate), Some((_, schedule))) = (&mut self.rate, &self.plan.schedule) {
            rate.double = schedule.rate(self.run.step(&self.position));
            rate.single = rate.double as f32;
        }
        let count = self.rows.gather(self.position.batch);
        {
            let mut feeds = self.rows.feeds(count).chain(fed(&self.rate, 0));
            self.model.numbers(self.plan.entry, &mut feeds, &self.names, &mut self.found)?;
        }
        let loss = self.found[self.loss];
        if !loss.is_finite() {
            return Err(self.not_finite(loss));
        }
        add(&mut self.sums, &self.found, self.rows.weight(count));
        self.position.batch += 1;
        let due = self.position.batch.is_multiple_of(self.run.accumulate)
            || self.position.batch == batches;
        if let (true, Some((_, entry))) = (due, self.plan.accumulate) {
            self.model.numbers(entry, &mut fed(&self.rate, 1), &[], &mut [])?;
        }
        Ok(due)
    }

    fn not_finite(&self, loss: f64) -> Error {
        let last = match (&self.checkpoint, self.saved) {
            (None, _) => String::new(),
            (Some(checkpoint), Some(step)) => {
                format!("; {:?} has the run after step {step}", checkpoint.path())
            }
            (Some(checkpoint), None) => format!("; {:?} was not written yet", checkpoint.path()),
        };
        let message = format!(
            "expected a finite {:?}, found {loss} in batch {} of epoch {}, after {} steps{last}",
            self.names[self.loss],
            self.position.batch + 1,
            self.epoch() + 1,
            self.step(),
        );
        Error::new(ErrorKind::NotFinite, message)
    }

    fn report_step(&mut self, batches: usize) -> ControlFlow<()> {
        let step = Step {
            epoch: self.epoch() + 1,
            batch: self.position.batch,
            batches,
            step: self.step(),
            names: &self.names,
            values: &self.found,
        };
        #[cfg(feature = "progress")]
        if self.plan.progress {
            let total = self.plan.epochs.saturating_mul(batches as u64);
            let progress = self.progress.get_or_insert_with(|| Progress::new(total));
            progress.reach((step.epoch - 1) * batches as u64 + step.batch as u64, step.epoch);
        }
        match &mut self.plan.on_step {
            Some(callback) => callback(&step),
            None => ControlFlow::Continue(()),
        }
    }

    /// Validates, notes the epoch and goes to the next one.
    fn end_epoch(&mut self) -> Result<(), Error> {
        let means = self.names.iter().zip(&self.sums);
        let training = means
            .map(|(name, sum)| Metric { name: name.clone(), value: self.rows.mean(*sum) })
            .collect();
        let validation = match self.plan.validation {
            Some((entry, table, batch)) => evaluate(self.model, entry, table, batch)?,
            None => Vec::new(),
        };
        let (number, step) = (self.epoch() + 1, self.step());
        self.position.history.push(Epoch { number, step, training, validation });
        self.position.batch = 0;
        self.sums.fill(0.0);
        Ok(())
    }

    /// Lets people and callbacks know of the epoch that is over.
    fn tell(&mut self) -> Result<Option<Stopped>, Error> {
        self.log()?;
        let epochs = &self.position.history;
        #[cfg(feature = "plot")]
        if let Some(path) = &self.plan.plot {
            let loss = &self.names[self.loss];
            // An epoch without validation is a gap.
            let of = |value: Option<f64>| value.unwrap_or(f64::NAN);
            let training: Vec<f64> = epochs.iter().map(|e| of(e.training(loss))).collect();
            let validation: Vec<f64> = epochs.iter().map(|e| of(e.validation(loss))).collect();
            let names = [format!("{loss}, training"), format!("{loss}, validation")];
            let series = [(&*names[0], &*training), (&*names[1], &*validation)];
            crate::plot::curves(path, "epoch", &series)?;
        }
        let Some(epoch) = epochs.last() else { return Ok(None) };
        let mut flows = [ControlFlow::Continue(()); 2];
        if let Some(callback) = &mut self.plan.on_epoch {
            flows[0] = callback(epoch);
        }
        if let Some(callback) = &mut self.plan.on_epoch_with {
            flows[1] = callback(self.model, epoch)?;
        }
        Ok(flows.iter().any(ControlFlow::is_break).then_some(Stopped::Callback))
    }

    /// Writes the log, where there is to be one.
    fn log(&self) -> Result<(), Error> {
        let Some(path) = &self.plan.log else { return Ok(()) };
        write_log(path, &self.names, &self.validated, &self.position.history)
    }

    /// Writes the checkpoint, where there is to be one.
    fn save(&mut self) -> Result<(), Error> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        self.position.sums.clear();
        self.position.sums.extend(self.sums.iter().copied().map(Bits));
        checkpoint.write(self.model, &self.run, &self.position)?;
        self.saved = Some(self.step());
        Ok(())
    }

    /// Leaves a file behind where no epoch was to be done.
    fn save_unless_saved(&mut self) -> Result<(), Error> {
        if self.saved.is_none() { self.save() } else { Ok(()) }
    }

    fn ended(self, stopped: Stopped) -> History {
        History { steps: self.step(), epochs: self.position.history, stopped }
    }
}

/// The schedule's feed of the entry of each batch (0) or of each step (1).
fn fed(rate: &Option<Rate>, entry: usize) -> impl Iterator<Item = (&str, &dyn Input)> {
    rate.iter().filter(move |rate| rate.takes[entry]).map(|rate| {
        let value: &dyn Input = match rate.dtype {
            DType::F64 => &rate.double,
            DType::F32 | DType::I32 | DType::I64 | DType::U8 | DType::Bool => &rate.single,
        };
        (&*rate.input, value)
    })
}

/// The input of this name of the entry of each batch, or of that of each step.
fn rate(input: &str, entry: &Entry, stepping: Option<&Entry>) -> Result<Rate, Error> {
    let of = |entry: &Entry| {
        let found = inputs(entry).find(|(name, _)| *name == input);
        found.map(|(_, ty)| ty.clone())
    };
    let types = [of(entry), stepping.and_then(of)];
    if let [Some(batch), Some(step)] = &types
        && batch.dtype != step.dtype
    {
        let message = format!(
            "expected inputs {input:?} of one type for the schedule, found {batch} of {:?} and \
             {step} of the entry that steps",
            entry.name
        );
        return Err(Error::new(ErrorKind::DType, message));
    }
    for ty in types.iter().flatten() {
        if ty.rank() != 0 || !ty.dtype.is_float() {
            let message =
                format!("expected a float scalar for the schedule of {input:?}, found {ty}");
            return Err(Error::new(ErrorKind::DType, message));
        }
    }
    let takes = [types[0].is_some(), types[1].is_some()];
    let Some(ty) = types.into_iter().flatten().next() else {
        let known: Vec<String> = inputs(entry).map(|(name, _)| format!("{name:?}")).collect();
        let message = format!(
            "expected an input {input:?} of {:?} for the schedule, found {}",
            entry.name,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        return Err(Error::new(ErrorKind::Name, message));
    };
    Ok(Rate { input: input.to_owned(), dtype: ty.dtype, single: 0.0, double: 0.0, takes })
}

/// Where a metric is: the one of this name, or `loss`, or the first.
fn position_of(names: &[String], wanted: Option<&str>, entry: &str) -> Result<usize, Error> {
    let found = names.iter().position(|name| name == wanted.unwrap_or("loss"));
    match (found, wanted) {
        (Some(position), _) => Ok(position),
        (None, None) => Ok(0),
        (None, Some(wanted)) => {
            let known: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            let message =
                format!("expected a metric {wanted:?} of {entry:?}, found {}", known.join(", "));
            Err(Error::new(ErrorKind::Name, message))
        }
    }
}
