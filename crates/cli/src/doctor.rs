//! `kilngrad doctor`: this machine as the compiler sees it, and as fast as it is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kilngrad::prelude::*;
use kilngrad::{Features, Input};
use ndarray::{Array1, Array2, array};
use serde::Serialize;

use crate::output::{Failure, Lines, bytes, counted};

/// Arguments of `kilngrad doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
struct Findings {
    processor: String,
    features: String,
    /// Processors that this process may run on, and those that the machine has.
    cores: usize,
    machine_cores: usize,
    /// How many processors' time the container grants, if it is limited.
    quota: Option<f64>,
    /// Processes that wanted to run in the last minute, where the system tells.
    load: Option<f64>,
    tile_f32: [usize; 2],
    tile_f64: [usize; 2],
    /// Whether compiled code could be put into memory and run.
    executable_memory: bool,
    subnormals_kept: bool,
    sgemm_gflops: f64,
    copy_gb_per_s: f64,
    triad_gb_per_s: f64,
    warnings: Vec<String>,
    /// Why no more was measured, if it was not: what any command prints of a failure.
    #[serde(flatten)]
    failure: Option<Failure>,
}

/// How long each rate is measured.
const MEASURED: Duration = Duration::from_millis(400);

/// Rows and columns of the matrices.
const MATRIX: usize = 512;

/// Elements of the vectors, which no cache holds.
const VECTOR: usize = 16 << 20;

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut found = look();
    let measured = measure(&mut found);
    found.warnings = warnings(&found);
    found.failure = measured.as_ref().err().map(Failure::of);
    let lines = Lines::new(args.json);
    if args.json {
        lines.json(&found);
        return measured;
    }
    print(lines, &found);
    measured
}

/// What can be read.
fn look() -> Findings {
    let features = Features::detect();
    let machine = Options::new().machine();
    let tile = |tile: kilngrad::internals::ir::TileSize| [tile.rows, tile.cols];
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let listed = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    Findings {
        processor: model.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_owned(),
        features: features.to_string(),
        cores,
        machine_cores: listed.max(cores),
        quota: quota(),
        load: load.and_then(|text| text.split_whitespace().next()?.parse().ok()),
        tile_f32: tile(machine.tile_f32),
        tile_f64: tile(machine.tile_f64),
        ..Findings::default()
    }
}

/// The least quota of the control groups that this process is in: version 2 in the group and those
/// above it, version 1 where it is usually mounted.
fn quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = Path::new("/sys/fs/cgroup").join(group);
    let above = own.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let new = above.filter_map(|folder| {
        let text = std::fs::read_to_string(folder.join("cpu.max")).ok()?;
        share(&text)
    });
    let old = PathBuf::from("/sys/fs/cgroup/cpu");
    let read = |name: &str| std::fs::read_to_string(old.join(name)).unwrap_or_default();
    let (whole, period) = (read("cpu.cfs_quota_us"), read("cpu.cfs_period_us"));
    new.chain(share(&format!("{whole} {period}"))).reduce(f64::min)
}

/// Microseconds in a period; `max` and −1 stand for no limit.
fn share(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let (time, period): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (time > 0.0 && period > 0.0).then(|| time / period)
}

/// What must be tried, through programs of our own.
fn measure(found: &mut Findings) -> Result<()> {
    let mut executable = match program()?.compile(&Options::new()) {
        Ok(executable) => executable,
        Err(error) if error.kind() == ErrorKind::Memory => {
            let why = "expected memory that code can run in; a security policy may forbid it";
            return Err(Error::caused(error.kind(), why, error));
        }
        Err(error) => return Err(error),
    };
    found.executable_memory = true;
    let smallest = array![f32::MIN_POSITIVE];
    let outputs = executable.call("halve").feed("x", &smallest).run()?;
    found.subnormals_kept = outputs.view::<f32>("y")?.iter().all(|y| *y > 0.0);

    let matrix = Array2::from_shape_fn((MATRIX, MATRIX), |(i, j)| ((i + j) % 7) as f32 - 3.0);
    let seconds = best(&mut executable, "sgemm", &[("a", &matrix), ("b", &matrix)])?;
    found.sgemm_gflops = 2.0 * (MATRIX as f64).powi(3) / seconds / 1e9;

    let (x, y) = (Array1::from_elem(VECTOR, 1f32), Array1::from_elem(VECTOR, 2f32));
    let seconds = best(&mut executable, "triad", &[("x", &x), ("y", &y)])?;
    let vector_bytes = (VECTOR * size_of::<f32>()) as f64;
    found.triad_gb_per_s = 3.0 * vector_bytes / seconds / 1e9;
    let seconds = best(&mut executable, "copy", &[("x", &x)])?;
    found.copy_gb_per_s = 2.0 * vector_bytes / seconds / 1e9;
    Ok(())
}

fn program() -> Result<Program> {
    let b = Builder::new("doctor");
    let e = b.entry("sgemm", Mode::Eval);
    let (a, c) = (e.input("a", F32, (MATRIX, MATRIX)), e.input("b", F32, (MATRIX, MATRIX)));
    e.output("y", a.matmul(c));
    let e = b.entry("triad", Mode::Eval);
    e.output("y", e.input("x", F32, (VECTOR,)) + e.input("y", F32, (VECTOR,)) * 3.0);
    let e = b.entry("copy", Mode::Eval);
    e.output("y", -e.input("x", F32, (VECTOR,)));
    let e = b.entry("halve", Mode::Eval);
    e.output("y", e.input("x", F32, (1,)) * 0.5);
    Ok(b.finish()?)
}

/// Seconds of the fastest call: what the machine can do when nothing else runs.
fn best(executable: &mut Executable, entry: &str, feeds: &[(&str, &dyn Input)]) -> Result<f64> {
    let end = Instant::now() + MEASURED;
    let mut least = f64::INFINITY;
    let mut calls = 0;
    while calls < 3 || Instant::now() < end {
        let begun = Instant::now();
        let call = feeds.iter().fold(executable.call(entry), |call, (name, x)| call.feed(name, *x));
        call.run()?;
        least = least.min(begun.elapsed().as_secs_f64());
        calls += 1;
    }
    Ok(least)
}

/// What makes this machine slower or less able than it looks.
fn warnings(found: &Findings) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |wrong: bool, text: String| {
        if wrong {
            warnings.push(text);
        }
    };
    let features = Features::detect();
    warn(
        cfg!(debug_assertions),
        "this command is a development build: compiling is slow; use cargo run --release".into(),
    );
    warn(
        !(features.avx2 && features.fma),
        "no AVX2 with FMA: contractions run at a fraction of the usual speed".into(),
    );
    if let Some(quota) = found.quota {
        warn(
            quota + 0.01 < found.cores as f64,
            format!(
                "the container grants {quota:.2} of {}: use no more threads",
                counted(found.cores, "core")
            ),
        );
    }
    if let Some(load) = found.load {
        warn(
            load > found.cores as f64 + 0.5,
            format!(
                "other programs are running (load {load:.1} on {}): rates are low",
                counted(found.cores, "core")
            ),
        );
    }
    warn(!found.executable_memory, "compiled code cannot run here: use --interp".into());
    warn(
        found.executable_memory && !found.subnormals_kept,
        "subnormal numbers became zero in compiled code: results differ from other machines".into(),
    );
    // A fifth of what one core with AVX2 has done for ten years.
    warn(
        features.avx2 && found.sgemm_gflops > 0.0 && found.sgemm_gflops < 12.0,
        format!("{:.1} Gflop/s is little for this processor", found.sgemm_gflops),
    );
    warnings
}

fn print(lines: Lines, found: &Findings) {
    lines.say(&format!("kilngrad {} on {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS));
    lines.row("processor", &found.processor);
    lines.row("features", &found.features);
    let quota = found.quota.map_or("no quota".to_owned(), |quota| format!("quota {quota:.2}"));
    lines.row("cores", &format!("{} of {} usable; {quota}", found.cores, found.machine_cores));
    let ([r32, c32], [r64, c64]) = (found.tile_f32, found.tile_f64);
    lines.row("tiles", &format!("{r32}×{c32} for f32, {r64}×{c64} for f64"));
    let can = if found.executable_memory { "may run" } else { "may not run" };
    lines.row("code", &format!("{can} in memory, never writable and executable at once"));
    if found.executable_memory {
        let kept = if found.subnormals_kept { "kept" } else { "flushed to zero" };
        lines.row("float mode", &format!("subnormals {kept}, rounded to nearest"));
        let what = format!("{MATRIX}×{MATRIX}×{MATRIX} in f32, one thread");
        lines.row("sgemm", &format!("{:.1} Gflop/s: {what}", found.sgemm_gflops));
        let (copy, triad) = (found.copy_gb_per_s, found.triad_gb_per_s);
        let of = bytes(VECTOR * size_of::<f32>());
        lines
            .row("memory", &format!("copy {copy:.1} GB/s, triad {triad:.1} GB/s: vectors of {of}"));
    }
    for warning in &found.warnings {
        lines.row("warning", warning);
    }
    if found.warnings.is_empty() {
        lines.say("nothing is wrong");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What could be read is there when nothing could be measured.
    #[test]
    fn a_failure_is_in_the_object() {
        let error = Error::new(ErrorKind::Memory, "no memory");
        let found = Findings { failure: Some(Failure::of(&error)), ..look() };
        let object = serde_json::to_value(&found).expect("plain JSON");
        assert_eq!((&object["error"], &object["kind"]), (&"no memory".into(), &"Memory".into()));
        assert_eq!(object["diagnostics"], serde_json::json!([]));
        assert!(object["cores"].as_u64() > Some(0), "{object}");
        let object = serde_json::to_value(look()).expect("plain JSON");
        assert_eq!(object.get("error"), None);
    }
}
