//! Measures how accurate the elementary functions are, and prints the tables of docs/accuracy.md.
//!
//! `cargo run --release -p kilngrad-testing --example accuracy -- --all --markdown`

#![allow(clippy::print_stdout, reason = "a command prints")]

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use kilngrad::Error;
use kilngrad_testing::accuracy::{
    Effort, Engine, FUNCTIONS, Function, Row, every_f32, function, samples, table,
};

/// How accurate the elementary functions are, in units in the last place.
#[derive(Debug, Parser)]
struct Arguments {
    /// The functions to measure, such as exp and pow.
    #[arg(required_unless_present = "all")]
    functions: Vec<String>,
    /// Measure every function.
    #[arg(long, conflicts_with = "functions")]
    all: bool,
    /// Take every STRIDE-th operand of f32; 1 is all of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    stride: u64,
    /// Draw so many operands of f64, and of f32 for functions of two.
    #[arg(long, default_value_t = 100_000_000)]
    samples: u64,
    /// Threads that share the operands.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Only this dtype: f32 or f64.
    #[arg(long, value_parser = ["f32", "f64"])]
    dtype: Option<String>,
    /// Print the tables of docs/accuracy.md.
    #[arg(long)]
    markdown: bool,
    /// Print a JSON object for each row.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let chosen: Vec<&'static Function> = if arguments.all {
        FUNCTIONS.iter().collect()
    } else {
        let find = |name: &String| {
            function(name).ok_or_else(|| format!("expected a function, found {name:?}"))
        };
        arguments.functions.iter().map(find).collect::<Result<_, _>>()?
    };
    for dtype in ["f32", "f64"] {
        if arguments.dtype.as_deref().is_some_and(|only| only != dtype) {
            continue;
        }
        let mut rows: Vec<Row> = Vec::new();
        for function in &chosen {
            let found = measure(function, dtype, arguments);
            let found = found.map_err(|error| format!("{}: {error}", function.name))?;
            if arguments.json {
                found.iter().for_each(|row| println!("{}", json(row, dtype)));
            } else if !arguments.markdown {
                print!("{}", table(&found));
            }
            rows.extend(found);
        }
        if arguments.markdown {
            println!("### {dtype}\n\n{}", table(&rows));
        }
    }
    Ok(())
}

fn measure(
    function: &'static Function,
    dtype: &str,
    arguments: &Arguments,
) -> Result<Vec<Row>, Error> {
    let Arguments { stride, samples: count, threads, .. } = *arguments;
    let exhaustive = dtype == "f32" && !function.is_binary();
    let total = if exhaustive { (1u64 << 32).div_ceil(stride) } else { count };
    let style = "{prefix:16} {bar:40} {percent:3} % {elapsed_precise}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is well formed");
    let bar = ProgressBar::new(total).with_style(style);
    let bar = bar.with_prefix(format!("{} {dtype}", function.name));
    // In f32 the interpreter rounds what is the reference here.
    let engines = if dtype == "f32" { Engine::native() } else { Engine::available() };
    let effort = Effort { engines: &engines, threads, progress: &|seen| bar.inc(seen) };
    let tallies = match dtype {
        "f32" if exhaustive => every_f32(function, stride, &effort)?,
        "f32" => samples::<f32>(function, count, &effort)?,
        _ => samples::<f64>(function, count, &effort)?,
    };
    bar.finish_and_clear();
    let row = |(engine, tally)| Row { function, engine, tally };
    Ok(tallies.into_iter().map(row).collect())
}

fn json(row: &Row, dtype: &str) -> serde_json::Value {
    let Row { function, engine, tally } = row;
    let both = function.is_binary();
    let place = |at: (f64, f64)| if both { vec![at.0, at.1] } else { vec![at.0] };
    serde_json::json!({
        "function": function.name,
        "dtype": dtype,
        "engine": engine.name(),
        "count": tally.count,
        "ulps": tally.worst.map(|worst| worst.ulps),
        "at": tally.worst.map(|worst| place(worst.at)),
        "wrongly_rounded": tally.wrongly_rounded,
        "steps_back": tally.steps_back,
        "broken": tally.broken,
        "first_broken": tally.first_broken.map(place),
    })
}
