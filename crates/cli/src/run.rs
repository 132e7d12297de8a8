//! `kilngrad run`: one call of an entry of a program in a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use kilngrad::internals::ir::text::shown;
use kilngrad::prelude::*;
use kilngrad::{Array, load_arrays, save_arrays};
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::output::{Lines, counted, time};
use crate::{program, table};

/// Arguments of `kilngrad run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program: a .kg text, or a .safetensors file with a program in it.
    file: PathBuf,
    /// Which entry [default: the only one].
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// The inputs, by name, in a safetensors file.
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// The states' values, by name, in a safetensors file of exactly these: what --save writes.
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Write the outputs, by name, as safetensors.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the program with its updated states, to .kg or .safetensors.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The length of a symbol that no input binds, as in n=32; may be given again.
    #[arg(long, value_name = "SYMBOL=N", value_parser = program::length, conflicts_with = "interp")]
    bind: Vec<(String, usize)>,
    /// Seed of initial values and random numbers, where the program does not hold them.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: i64,
    /// Threads; the result is the same bits with any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = crate::engine::threads())]
    threads: usize,
    /// Interpret the graph instead of compiling it.
    #[arg(long)]
    interp: bool,
    /// Print one JSON object with every element of the outputs.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = program::load(&args.file)?;
    let entry = program::entry(&program, args.entry.as_deref())?.clone();
    let inputs = match &args.inputs {
        Some(path) => load_arrays(path, &Limits::default())?,
        None => BTreeMap::new(),
    };
    // One file may hold the inputs of several entries.
    let names: Vec<String> = entry
        .graph
        .arguments()
        .iter()
        .map(|argument| entry.graph.name(*argument).to_string().trim_start_matches('%').to_owned())
        .collect();
    let feeds: Vec<(&str, &Array)> =
        names.iter().filter_map(|name| Some((&**name, inputs.get(name)?))).collect();

    // Nothing is compiled that is not called.
    let options = Options::new().seed(args.seed).threads(args.threads).entries(&[]);
    let mut engine = Engine::new(program.clone(), &options, args.interp)?;
    if let Some(path) = &args.states {
        engine.load(path)?;
    }
    let begun = Instant::now();
    let outputs = engine.outputs(&entry.name, &feeds, &args.bind)?;
    let spent = begun.elapsed();
    if let Some(path) = &args.out {
        save_arrays(path, outputs.iter().map(|(name, array)| (name.as_str(), array)))?;
    }
    if let Some(path) = &args.save {
        engine.save(path)?;
    }

    let updated: Vec<&str> =
        entry.updates.iter().map(|(id, _)| &*program.state(*id).path).collect();
    if args.json {
        let values = outputs.iter().map(|(name, array)| {
            let value = json!({
                "dtype": array.dtype().name(),
                "shape": array.shape(),
                "values": table::json(array),
            });
            (name.clone(), value)
        });
        Lines::new(true).json(&json!({
            "program": &*program.name,
            "entry": &*entry.name,
            "outputs": Value::Object(values.collect::<Map<_, _>>()),
            "updated": updated,
            "seconds": spent.as_secs_f64(),
        }));
        return Ok(());
    }
    let lines = Lines::new(false);
    let how = if args.interp { "interpreted" } else { "compiled and run" };
    let called = program::called(&entry, &args.bind);
    lines.say(&format!("{:?}: {called}, {how} in {}", &*program.name, time(spent)));
    for (name, array) in &outputs {
        let (name, values) = (&shown(name), table::lines(array));
        match (array.shape(), values.as_slice()) {
            ([], [value]) => lines.row(name, &format!("{} {value}", array.ty())),
            _ => {
                lines.row(name, &array.ty().to_string());
                values.iter().for_each(|line| lines.say(&format!("    {line}")));
            }
        }
    }
    match (&args.save, updated.len()) {
        (_, 0) => {}
        (Some(path), count) => {
            lines.row("updated", &format!("{}, saved in {path:?}", counted(count, "state")))
        }
        (None, count) => {
            let states = counted(count, "state");
            lines.row("updated", &format!("{states}; --save FILE keeps what is held now"));
        }
    }
    Ok(())
}
