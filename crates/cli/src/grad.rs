//! `kilngrad grad`: a program with its gradient requests expanded.

use std::io::Write;
use std::path::PathBuf;

use kilngrad::prelude::*;
use serde_json::json;

use crate::output::Lines;
use crate::program;

/// Arguments of `kilngrad grad`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program: a .kg text, or a .safetensors file with a program in it.
    file: PathBuf,
    /// Only this entry [default: all].
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Write it there, to .kg or .safetensors, instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut program = program::load(&args.file)?;
    if let Some(name) = &args.entry {
        program.entries = vec![program::entry(&program, Some(name))?.clone()];
    }
    let expanded = program::differentiate(&program, &args.file)?;
    let lines = Lines::new(args.json);
    match &args.out {
        Some(path) => {
            expanded.save(path)?;
            lines.json(&json!({ "out": path.to_string_lossy() }));
        }
        None if args.json => lines.json(&json!({ "program": expanded.to_string() })),
        None => {
            // A closed pipe is the reader's choice.
            let _ = write!(std::io::stdout().lock(), "{expanded}");
        }
    }
    Ok(())
}
