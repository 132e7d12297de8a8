//! `kilngrad bench`: one step of a workload against the clock.

use std::time::{Duration, Instant};

use kilngrad::Input;
use kilngrad::prelude::*;

use crate::engine::{Engine, Processor};
use crate::output::{Lines, bytes};
use crate::workloads::{WORKLOADS, Workload, workload};

/// Arguments of `kilngrad bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = workload_help())]
pub(crate) struct Args {
    /// Which workload; they are listed below.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(WORKLOADS.map(|w| w.0)))]
    workload: String,
    /// Time the interpreter instead of compiled code.
    #[arg(long)]
    interp: bool,
    /// Threads; the result is the same bits with any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = crate::engine::threads())]
    threads: usize,
    /// For how long to repeat the step.
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// Instructions that the compiled code may use.
    #[arg(long, value_enum, default_value_t = Processor::Native)]
    processor: Processor,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

fn workload_help() -> String {
    let lines: Vec<String> =
        WORKLOADS.iter().map(|(name, what)| format!("  {name:<12} {what}")).collect();
    format!("Workloads:\n{}", lines.join("\n"))
}

/// A row of results. Keys up to `peak_rss_mb` are those of the peers' scripts.
#[derive(Debug, serde::Serialize)]
struct Row {
    workload: String,
    system: &'static str,
    threads: usize,
    step_ms: f64,
    min_ms: f64,
    compile_s: f64,
    peak_rss_mb: Option<u64>,
    arena_bytes: usize,
    arena_lower_bound_bytes: usize,
    flops: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    /// Median step of the interpreter over the median step of compiled code.
    interpreter_ratio: Option<f64>,
}

/// Steps that are run before any is timed.
const WARM_UP: usize = 5;

/// Steps that are timed at least.
const MIN_STEPS: usize = 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    let workload = workload(&args.workload)?;
    let options = Options::new().threads(args.threads).features(args.processor.features());

    let started = Instant::now();
    let mut engine = Engine::new(workload.program.clone(), &options, args.interp)?;
    let mut loss = step(&mut engine, &workload)?;
    let first = started.elapsed();
    for _ in 0..if args.interp { 0 } else { WARM_UP } {
        loss = step(&mut engine, &workload)?;
    }
    let seconds = Duration::from_secs_f64(args.seconds.clamp(0.0, 3600.0));
    let times = times(&mut engine, &workload, seconds, &mut loss)?;

    let report = match &engine {
        Engine::Native(executable) => executable.report("step").ok(),
        Engine::Interpreter(_) => None,
    };
    let interpreter_ratio = match &engine {
        Engine::Native(_) => Some(median(&interpreter_times(&workload)?) / median(&times)),
        Engine::Interpreter(_) => None,
    };
    let row = Row {
        workload: args.workload.clone(),
        system: if args.interp { "kilngrad-interp" } else { "kilngrad" },
        threads: args.threads,
        step_ms: rounded(median(&times)),
        min_ms: rounded(times.first().copied().unwrap_or(f64::NAN)),
        compile_s: (first.as_secs_f64() * 1e4).round() / 1e4,
        peak_rss_mb: peak_rss_mb(),
        arena_bytes: report.as_ref().map_or(0, |report| report.arena_bytes),
        arena_lower_bound_bytes: report.as_ref().map_or(0, |r| r.plan.lower_bound_bytes),
        flops: report.as_ref().map_or(0, |report| report.flops),
        loss,
        interpreter_ratio: interpreter_ratio.map(rounded),
    };
    if args.json {
        Lines::new(true).json(&row);
    } else {
        print(&row);
    }
    Ok(())
}

fn print(row: &Row) {
    let lines = Lines::new(false);
    let what = WORKLOADS.iter().find(|(name, _)| *name == row.workload).map_or("", |w| w.1);
    lines.say(&format!("{}: {what}", row.workload));
    lines.row("step", &format!("{:.4} ms median, {:.4} ms least", row.step_ms, row.min_ms));
    if row.flops > 0 {
        let rate = row.flops as f64 / (row.step_ms * 1e6);
        lines
            .row("work", &format!("{:.2} Mflop a step, {rate:.1} Gflop/s", row.flops as f64 / 1e6));
    }
    lines.row("compile", &format!("{:.1} ms, first step included", row.compile_s * 1e3));
    if row.arena_bytes > 0 {
        let (arena, bound) = (bytes(row.arena_bytes), bytes(row.arena_lower_bound_bytes));
        lines.row("arena", &format!("{arena}; no plan of this order needs less than {bound}"));
    }
    if let Some(ratio) = row.interpreter_ratio {
        lines.row("speed-up", &format!("{ratio:.1} times the interpreter"));
    }
}

/// Gives the loss, where there is one.
fn step(engine: &mut Engine, workload: &Workload) -> Result<Option<f64>> {
    let floats = workload.floats.iter().map(|(name, array)| (*name, array as &dyn Input));
    let classes = workload.classes.iter().map(|(name, array)| (*name, array as &dyn Input));
    let feeds: Vec<(&str, &dyn Input)> = floats.chain(classes).collect();
    Ok(engine.call("step", &feeds, scalars(workload))?.first().copied())
}

/// The scalars that a step outputs: `loss`, or none.
fn scalars(workload: &Workload) -> &'static [&'static str] {
    let mut outputs = workload.program.entries.iter().flat_map(|entry| &entry.outputs);
    match outputs.any(|name| &**name == "loss") {
        true => &["loss"],
        false => &[],
    }
}

/// Milliseconds of each step, sorted.
fn times(
    engine: &mut Engine,
    workload: &Workload,
    duration: Duration,
    loss: &mut Option<f64>,
) -> Result<Vec<f64>> {
    let end = Instant::now() + duration;
    let mut times = Vec::new();
    while Instant::now() < end || times.len() < MIN_STEPS {
        let begun = Instant::now();
        *loss = step(engine, workload)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Milliseconds of a few interpreted steps, sorted: of one that is long, of three that are short.
fn interpreter_times(workload: &Workload) -> Result<Vec<f64>> {
    let program = workload.program.clone();
    let mut engine = Engine::new(program, &Options::new(), true)?;
    let mut times = Vec::new();
    let end = Instant::now() + Duration::from_millis(200);
    while times.is_empty() || (times.len() < 3 && Instant::now() < end) {
        let begun = Instant::now();
        step(&mut engine, workload)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The most memory that this process has had resident, where the system tells.
fn peak_rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
