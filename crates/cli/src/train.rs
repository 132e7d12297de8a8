//! `kilngrad train`: a model from its declaration to its test accuracy.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kilngrad::data::{self, Table};
use kilngrad::prelude::*;
use kilngrad::trainer::{History, Stopped, Trainer};

use crate::engine::{Engine, Float, Processor};
use crate::models::{self, Model};
use crate::output::{Lines, Progress, bytes, grouped, time};
use crate::{rows, signals};

/// Arguments of `kilngrad train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which model.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(models::NAMES))]
    model: String,
    /// How often to go through the training rows [default: the model's].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the initial weights and of the order of the rows.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u32,
    /// Threads; the result is the same bits with any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads())]
    threads: usize,
    /// Interpret the graph instead of compiling it.
    #[arg(long)]
    interp: bool,
    /// Floating-point type of the model.
    #[arg(long, value_enum, default_value_t = Float::F32)]
    float: Float,
    /// Instructions that the compiled code may use.
    #[arg(long, value_enum, default_value_t = Processor::Native)]
    processor: Processor,
    /// End with one JSON object on standard output; everything else goes to standard error.
    #[arg(long)]
    json: bool,
    /// Train on the rows of this file instead: .csv whose last column is the target, or .npz or
    /// .safetensors with arrays x and y.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Write the run into this file after each epoch, and when it is interrupted.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint.
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Write losses and metrics as CSV, a row an epoch.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Draw the losses as a PNG picture.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the text of each stage of the compiler into this folder.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

pub(crate) fn threads() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=256)
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
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let lines = Lines::new(args.json);
    let model = models::model(&args.model, args.float.dtype())?;
    let epochs = args.epochs.unwrap_or(model.epochs);
    let (train, test) = table(args)?.split_every(5);
    let mut options = Options::new()
        .seed(i64::from(args.seed))
        .threads(args.threads)
        .features(args.processor.features());
    if let Some(folder) = &args.dump {
        options = options.dump(folder);
    }

    lines.say(&format!("{}: {}", args.model, model.description));
    let started = Instant::now();
    let mut engine = Engine::new(model.program.clone(), &options, args.interp)?;
    // The sizes that training meets are compiled before the clock of training runs.
    if let Engine::Native(executable) = &mut engine {
        let lengths = [model.batch, train.rows() % model.batch];
        for length in lengths.into_iter().filter(|length| *length > 0) {
            executable.specialise("train", &[("n", length)])?;
        }
        executable.specialise("evaluate", &[("n", test.rows())])?;
        executable.specialise("train", &[("n", model.batch)])?;
    }
    let compiled = started.elapsed();
    header(lines, &model, &engine, args, (train.rows(), test.rows()), compiled);

    let rows = (&train, &test);
    let (history, spent) = match &mut engine {
        Engine::Native(executable) => {
            train_by(&mut **executable, lines, &model, args, epochs, rows)?
        }
        Engine::Interpreter(program) => {
            train_by(&mut **program, lines, &model, args, epochs, rows)?
        }
    };
    let accuracy = history.metric("accuracy").unwrap_or(f64::NAN);
    let done = history.epochs.len();
    lines.say("");
    if history.stopped == Stopped::Asked {
        let kept = if args.checkpoint.is_some() { "; --resume goes on" } else { "" };
        lines.say(&format!("stopped after {} steps{kept}", grouped(history.steps as usize)));
    }
    if done > 0 {
        lines.say(&format!(
            "test accuracy {:.2}% after {done} epochs in {}",
            100.0 * accuracy,
            time(spent)
        ));
    }
    lines.say(&format!("next: {}", next_command(args)));
    lines.json(&Summary {
        model: args.model.clone(),
        epochs: done,
        loss: history.epochs.last().and_then(|epoch| epoch.training("loss")).unwrap_or(f64::NAN),
        metric: "accuracy",
        value: accuracy,
        seconds: spent.as_secs_f64(),
        compile_ms: compiled.as_secs_f64() * 1e3,
    });
    Ok(())
}

/// The rows to train and test on: columns `x` and `y`, in the model's floating-point type.
fn table(args: &Args) -> Result<Table> {
    match &args.data {
        None => Table::from(data::digits()?).cast("x", args.float.dtype()),
        Some(path) => rows::read(path, args.float.dtype(), I64),
    }
}

/// Trains and prints a line an epoch. Gives what became of the run, and the time spent.
fn train_by(
    engine: &mut impl kilngrad::trainer::Model,
    lines: Lines,
    model: &Model,
    args: &Args,
    epochs: usize,
    (train, test): (&Table, &Table),
) -> Result<(History, Duration)> {
    lines.say("");
    lines.say("epoch   train loss    test loss   test accuracy       time");
    signals::install();
    let steps = train.rows().div_ceil(model.batch);
    let progress = RefCell::new(Progress::new(epochs.saturating_mul(steps) as u64));
    let started = Instant::now();
    let mut begun = started;
    let mut trainer = Trainer::new(engine, "train")
        .epochs(epochs as u64)
        .batch(model.batch)
        .seed(args.seed)
        .validate("evaluate", test)
        .stop(signals::stop())
        .on_step(|step| {
            progress.borrow_mut().reach((step.epoch - 1) as usize * steps + step.batch, step.epoch);
            ControlFlow::Continue(())
        })
        .on_epoch(|epoch| {
            let number = |found: Option<f64>| found.unwrap_or(f64::NAN);
            let line = format!(
                "{:>5} {:>12.6} {:>12.6} {:>14.2}% {:>10}",
                epoch.number,
                number(epoch.training("loss")),
                number(epoch.validation("loss")),
                100.0 * number(epoch.validation("accuracy")),
                time(begun.elapsed())
            );
            begun = Instant::now();
            progress.borrow().suspend(|| lines.say(&line));
            ControlFlow::Continue(())
        });
    if let Some(path) = &args.checkpoint {
        trainer = trainer.checkpoint(path);
    }
    if args.resume {
        trainer = trainer.resume();
    }
    if let Some(path) = &args.log {
        trainer = trainer.log(path);
    }
    if let Some(path) = &args.plot {
        trainer = trainer.plot(path);
    }
    let history = trainer.run(train)?;
    progress.into_inner().finish();
    Ok((history, started.elapsed()))
}

fn header(
    lines: Lines,
    model: &Model,
    engine: &Engine,
    args: &Args,
    (train, test): (usize, usize),
    compiled: Duration,
) {
    let parameters = model.program.states.iter().filter(|state| state.role == Role::Parameter);
    let (tensors, elements) = parameters
        .filter_map(|state| state.ty.element_count())
        .fold((0, 0), |(tensors, elements), count| (tensors + 1, elements + count));
    lines.row("parameters", &format!("{} in {tensors} tensors", grouped(elements)));
    lines.row(
        "data",
        &format!(
            "{} training rows, {} test rows (row i is test where i mod 5 = 0), batches of {}",
            grouped(train),
            grouped(test),
            model.batch
        ),
    );
    let threads = if args.threads == 1 { "thread" } else { "threads" };
    match engine {
        Engine::Native(executable) => {
            let features = args.processor.features();
            lines.row("processor", &format!("{features}; {} {threads}", args.threads));
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

fn next_command(args: &Args) -> String {
    let binary = "cargo run --release --";
    match &args.dump {
        None => format!("{binary} train {} --dump dump   # a text file for each stage", args.model),
        Some(_) => format!("{binary} bench mlp   # a step of a larger network against the clock"),
    }
}
