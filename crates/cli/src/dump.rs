//! `kilngrad dump`: the text of every stage of the compiler, in files.

use std::path::{Path, PathBuf};

use kilngrad::internals::ir::Entry;
use kilngrad::prelude::*;
use serde_json::json;

use crate::engine::Processor;
use crate::models::System;
use crate::output::{Lines, time};
use crate::program;
use crate::workloads::{WORKLOADS, workload};

/// Arguments of `kilngrad dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A program in a file, or what `kilngrad models` lists.
    program: String,
    /// The folder that the files go to, a folder an entry; it is made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only this entry [default: all].
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// The length of a symbol, as in n=32; may be given again.
    #[arg(long, value_name = "SYMBOL=N", value_parser = program::length)]
    bind: Vec<(String, usize)>,
    /// Instructions that the compiled code may use.
    #[arg(long, value_enum, default_value_t = Processor::Native)]
    processor: Processor,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = find(&args.program)?;
    let entries: Vec<Entry> = match &args.entry {
        Some(name) => vec![program::entry(&program, Some(name))?.clone()],
        None => program.entries.clone(),
    };
    for (symbol, _) in &args.bind {
        if !entries.iter().any(|entry| entry.symbols().iter().any(|s| s.name() == symbol)) {
            let message = format!("expected --bind of a symbol of the entry, found {symbol:?}");
            return Err(Error::new(ErrorKind::Name, message));
        }
    }
    let options = Options::new().entries(&[]).dump(&args.out).features(args.processor.features());
    let mut executable = program.compile(&options)?;
    let lines = Lines::new(args.json);
    let mut rows = Vec::new();
    for entry in &entries {
        let symbols = entry.symbols();
        let lengths: Vec<(String, usize)> = args
            .bind
            .iter()
            .filter(|(name, _)| symbols.iter().any(|symbol| symbol.name() == name))
            .cloned()
            .collect();
        if let Some(free) = symbols.iter().find(|s| lengths.iter().all(|(n, _)| n != s.name())) {
            let message = format!(
                "expected a length for {free} of entry {}: add --bind {free}=32, say",
                entry.name
            );
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let bound: Vec<(&str, usize)> = lengths.iter().map(|(name, n)| (&**name, *n)).collect();
        let spent = executable.specialise(&entry.name, &bound)?.time;
        lines.say(&format!("{}, in {}", program::called(entry, &lengths), time(spent)));
        let stages = executable.stages(&entry.name)?;
        for (index, stage) in stages.iter().enumerate() {
            // As wide as the plural, so that times stay under each other.
            let nodes = if stage.nodes == 1 { "node " } else { "nodes" };
            let text =
                format!("{:<14}{:>6} {nodes}  {}", stage.name, stage.nodes, time(stage.time));
            lines.row(&format!("{index:02}"), &text);
        }
        let stages = stages.iter().map(|stage| {
            json!({ "name": stage.name, "nodes": stage.nodes, "ms": stage.time.as_secs_f64() * 1e3 })
        });
        rows.push(json!({
            "entry": &*entry.name,
            "lengths": lengths.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "stages": stages.collect::<Vec<_>>(),
        }));
    }
    lines.say(&format!("written to {:?}, a folder an entry", args.out));
    lines.json(&json!({ "out": args.out.to_string_lossy(), "entries": rows }));
    Ok(())
}

/// A model, a workload, or a program in a file.
fn find(name: &str) -> Result<Program> {
    if let Some(system) = System::named(name) {
        return Ok(system.model()?.program);
    }
    if WORKLOADS.iter().any(|(workload, _)| *workload == name) {
        return Ok(workload(name)?.program);
    }
    program::load(Path::new(name))
}
