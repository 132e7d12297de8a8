//! `kilngrad train`: a system from its declaration to its test metric.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use kilngrad::prelude::*;
use kilngrad::trainer::{self, Epoch, History, Progress, Stopped, Trainer};

use crate::engine::Engine;
use crate::models::{Column, Common, Model, System};
use crate::output::{Lines, bytes, counted, grouped, time};
use crate::signals;

/// Arguments of `kilngrad train`.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_value_name = "SYSTEM",
    subcommand_help_heading = "Systems",
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    system: System,
}

impl Args {
    /// Whether `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.system.parts().1.json
    }
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Summary {
    model: String,
    epochs: usize,
    loss: f64,
    metric: &'static str,
    value: f64,
    seconds: f64,
    compile_ms: f64,
    /// What was made with the trained program.
    made: Vec<String>,
}

/// Lines of epochs that are printed at most, and one.
const EPOCHS: usize = 30;

pub(crate) fn run(args: &Args) -> Result<()> {
    let (name, (_, common)) = (args.system.name(), args.system.parts());
    let lines = Lines::new(common.json);
    let model = args.system.model()?;
    let epochs = common.epochs.unwrap_or(model.epochs);
    let mut options = Options::new()
        .seed(i64::from(common.seed))
        .threads(common.threads)
        .features(common.processor.features());
    if let Some(folder) = &common.dump {
        options = options.dump(folder);
    }

    lines.say(&format!("{name}: {}", model.description));
    let started = Instant::now();
    let mut engine = Engine::new(model.program.clone(), &options, common.interp)?;
    if let Engine::Native(executable) = &mut engine {
        compile(executable, &model)?;
    }
    let compiled = started.elapsed();
    header(lines, &model, &engine, common, compiled);

    let ran = match &mut engine {
        Engine::Native(executable) => train(&mut **executable, lines, &model, common, epochs),
        Engine::Interpreter(program) => train(&mut **program, lines, &model, common, epochs),
    };
    let Run { history, spent, made } = ran.map_err(|error| match &common.data {
        Some(path) => {
            Error::caused(error.kind(), format!("could not train {name} on {path:?}"), error)
        }
        None => error,
    })?;
    if let Some(path) = &common.save {
        engine.save(path)?;
    }
    let metric = model.metric();
    let done = history.epochs.len();
    lines.say("");
    if history.stopped == Stopped::Asked {
        let kept = if common.checkpoint.is_some() { "; --resume goes on" } else { "" };
        lines.say(&format!("stopped after {}{kept}", counted(history.steps as usize, "step")));
    }
    for line in &made {
        lines.say(line);
    }
    let last = history.epochs.last();
    if let Some(last) = last {
        let (title, value) = (metric.title, metric.shown(last));
        lines.say(&format!("{title} {value} after {} in {}", counted(done, "epoch"), time(spent)));
    }
    lines.say(&format!("next: {}", next_command(name, common)));
    let value = |column: Column| last.map_or(f64::NAN, |epoch| column.value(epoch));
    lines.json(&Summary {
        model: name.to_owned(),
        epochs: done,
        loss: value(model.columns[0]),
        metric: metric.metric,
        value: value(metric),
        seconds: spent.as_secs_f64(),
        compile_ms: compiled.as_secs_f64() * 1e3,
        made,
    });
    Ok(())
}

/// Compiles for the sizes that training meets, before the clock of training runs.
fn compile(executable: &mut Executable, model: &Model) -> Result<()> {
    let sized = |rows: usize| -> Vec<(&str, usize)> {
        [("n", rows)].into_iter().chain(model.lengths.iter().copied()).collect()
    };
    let batch = model.batch.min(model.train.rows());
    let last = model.train.rows() % batch.max(1);
    for rows in [batch, last].into_iter().filter(|rows| *rows > 0) {
        executable.specialise("train", &sized(rows))?;
    }
    if model.test.rows() > 0 {
        executable.specialise("evaluate", &sized(model.test.rows()))?;
    }
    if batch > 0 {
        executable.specialise("train", &sized(batch))?;
    }
    Ok(())
}

/// What became of a run.
struct Run {
    history: History,
    spent: Duration,
    /// What was made with the trained program.
    made: Vec<String>,
}

/// Trains and prints a line an epoch, or where these are many a line every so many.
fn train<M: trainer::Model>(
    engine: &mut M,
    lines: Lines,
    model: &Model,
    common: &Common,
    epochs: usize,
) -> Result<Run> {
    lines.say("");
    let heads: Vec<String> = model.columns.iter().map(Column::head).collect();
    lines.say(&format!("epoch {} {:>10}", heads.join(" "), "time"));
    signals::install();
    let steps = model.train.rows().div_ceil(model.batch.max(1));
    let progress = RefCell::new(Progress::new(epochs.saturating_mul(steps) as u64));
    let every = epochs.div_ceil(EPOCHS).max(1) as u64;
    let started = Instant::now();
    let mut begun = started;
    let loss = model.columns[0].metric;
    let mut trainer = Trainer::new(engine, "train")
        .epochs(epochs as u64)
        .batch(model.batch)
        .seed(common.seed)
        .loss(loss)
        .validate("evaluate", &model.test)
        .stop(signals::stop())
        .on_step(|step| {
            let done = (step.epoch - 1) * steps as u64 + step.batch as u64;
            progress.borrow_mut().reach(done, step.epoch);
            ControlFlow::Continue(())
        })
        .on_epoch_with(|engine, epoch| {
            if epoch.number % every != 0 && epoch.number != epochs as u64 {
                return Ok(ControlFlow::Continue(()));
            }
            let line = line(model, epoch, begun.elapsed());
            begun = Instant::now();
            progress.borrow().suspend(|| lines.say(&line));
            if model.show_often {
                show(engine, model)?;
            }
            Ok(ControlFlow::Continue(()))
        });
    if let Some(path) = &common.checkpoint {
        trainer = trainer.checkpoint(path);
    }
    if common.resume {
        trainer = trainer.resume();
    }
    if let Some(path) = &common.log {
        trainer = trainer.log(path);
    }
    if let Some(path) = &common.plot {
        trainer = trainer.plot(path);
    }
    let history = trainer.run(&model.train)?;
    let spent = started.elapsed();
    drop(progress);
    Ok(Run { made: show(engine, model)?, history, spent })
}

/// Makes what the system makes with its trained program.
fn show(engine: &mut impl trainer::Model, model: &Model) -> Result<Vec<String>> {
    match &model.show {
        Some(show) => show(&mut |entry, rows| trainer::predict(engine, entry, rows, None)),
        None => Ok(Vec::new()),
    }
}

fn line(model: &Model, epoch: &Epoch, spent: Duration) -> String {
    let cells: Vec<String> = model.columns.iter().map(|column| column.cell(epoch)).collect();
    format!("{:>5} {} {:>10}", epoch.number, cells.join(" "), time(spent))
}

fn header(lines: Lines, model: &Model, engine: &Engine, common: &Common, compiled: Duration) {
    let parameters = model.program.states.iter().filter(|state| state.role == Role::Parameter);
    let (tensors, elements) = parameters
        .filter_map(|state| state.ty.element_count())
        .fold((0, 0), |(tensors, elements), count| (tensors + 1, elements + count));
    lines.row("parameters", &format!("{} in {}", grouped(elements), counted(tensors, "tensor")));
    lines.row(
        "data",
        &format!(
            "{}, {} (row i is test where i mod 5 = 0), batches of {}",
            counted(model.train.rows(), "training row"),
            counted(model.test.rows(), "test row"),
            model.batch
        ),
    );
    match engine {
        Engine::Native(executable) => {
            let features = common.processor.features();
            lines.row("processor", &format!("{features}; {}", counted(common.threads, "thread")));
            lines.row("compiled", &format!("in {}", time(compiled)));
            if let Ok(report) = executable.report("train") {
                lines.row(
                    "arena",
                    &format!(
                        "{} for a training step; no plan of this order needs less than {}",
                        bytes(report.arena_bytes),
                        bytes(report.plan.lower_bound_bytes)
                    ),
                );
            }
        }
        Engine::Interpreter(_) => lines.row("engine", "interpreter"),
    }
}

fn next_command(name: &str, common: &Common) -> String {
    let binary = "cargo run --release --";
    match &common.dump {
        None => format!("{binary} train {name} --dump dump   # a text file for each stage"),
        Some(_) => format!("{binary} bench mlp   # a step of a larger network against the clock"),
    }
}
