//! `kilngrad train`: a model from its declaration to its test accuracy.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kilngrad::data::{Batch, Dataset};
use kilngrad::prelude::*;
use kilngrad::{Input, data};
use ndarray::Array2;

use crate::engine::{Engine, Float, Processor};
use crate::models::{self, Model};
use crate::output::{Lines, Progress, bytes, grouped, time};

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
    let (train, test) = data::digits()?.split_every(5);
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
    let test = Rows::of(&test, args.float);
    // The sizes that training meets are compiled before the clock of training runs.
    if let Engine::Native(executable) = &mut engine {
        let lengths = [model.batch, train.len() % model.batch];
        for length in lengths.into_iter().filter(|length| *length > 0) {
            executable.specialise("train", &[("n", length)])?;
        }
        executable.specialise("evaluate", &[("n", test.y.len())])?;
        executable.specialise("train", &[("n", model.batch)])?;
    }
    let compiled = started.elapsed();
    header(lines, &model, &engine, args, (train.len(), test.y.len()), compiled);

    let (loss, accuracy, spent) =
        epochs_of(lines, &model, &mut engine, args, epochs, &train, &test)?;
    lines.say("");
    lines.say(&format!(
        "test accuracy {:.2}% after {epochs} epochs in {}",
        100.0 * accuracy,
        time(spent)
    ));
    lines.say(&format!("next: {}", next_command(args)));
    lines.json(&Summary {
        model: args.model.clone(),
        epochs,
        loss,
        metric: "accuracy",
        value: accuracy,
        seconds: spent.as_secs_f64(),
        compile_ms: compiled.as_secs_f64() * 1e3,
    });
    Ok(())
}

/// Trains and prints a line an epoch. Gives the last training loss and test accuracy, and the time
/// spent.
fn epochs_of(
    lines: Lines,
    model: &Model,
    engine: &mut Engine,
    args: &Args,
    epochs: usize,
    train: &Dataset<i64>,
    test: &Rows,
) -> Result<(f64, f64, Duration)> {
    lines.say("");
    lines.say("epoch   train loss    test loss   test accuracy       time");
    let steps = train.len().div_ceil(model.batch);
    let mut progress = Progress::new((epochs * steps) as u64);
    let (mut loss, mut accuracy) = (f64::NAN, f64::NAN);
    let started = Instant::now();
    for epoch in 0..epochs {
        let begun = Instant::now();
        let mut total = 0.0;
        let name = format!("epoch {}", epoch + 1);
        let order = u64::from(args.seed) << 32 | epoch as u64;
        for batch in train.batches(model.batch, order) {
            let rows = Rows::of(&batch, args.float);
            let outputs = engine.call("train", &rows.feeds(), &["loss"])?;
            total += outputs[0] * batch.len() as f64;
            progress.step(&name);
        }
        loss = total / train.len() as f64;
        let outputs = engine.call("evaluate", &test.feeds(), &["loss", "accuracy"])?;
        accuracy = outputs[1];
        let line = format!(
            "{:>5} {loss:>12.6} {:>12.6} {:>14.2}% {:>10}",
            epoch + 1,
            outputs[0],
            100.0 * accuracy,
            time(begun.elapsed())
        );
        progress.suspend(|| lines.say(&line));
    }
    progress.finish();
    Ok((loss, accuracy, started.elapsed()))
}

/// Rows in the model's floating-point type.
struct Rows {
    x: Box<dyn Input>,
    y: ndarray::Array1<i64>,
}

impl Rows {
    fn of(batch: &Batch<i64>, float: Float) -> Rows {
        let x: Box<dyn Input> = match float {
            Float::F32 => Box::new(batch.x.clone()),
            Float::F64 => Box::new(Array2::<f64>::from(batch.x.mapv(f64::from))),
        };
        Rows { x, y: batch.y.clone() }
    }

    fn feeds(&self) -> [(&str, &dyn Input); 2] {
        [("x", &*self.x), ("y", &self.y)]
    }
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
