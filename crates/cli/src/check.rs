//! `kilngrad check`: what is wrong with programs in files.

use std::io::Write;
use std::path::{Path, PathBuf};

use kilngrad::prelude::*;
use serde_json::{Value, json};

use crate::output::{Lines, counted, diagnostics};
use crate::program;

/// Arguments of `kilngrad check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The programs: .kg texts, or .safetensors files with a program in them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut files = Vec::new();
    let (mut errors, mut wrong) = (0, 0);
    for path in &args.files {
        let found = check(path);
        if let Err(error) = &found {
            errors += error.diagnostics().len().max(1);
            wrong += 1;
            let label = if error.diagnostics().is_empty() { "error: " } else { "" };
            let _ = writeln!(std::io::stderr(), "{label}{error}\n");
        }
        files.push(json!({
            "file": path.to_string_lossy(),
            "errors": found.err().map_or(Vec::new(), |error| described(&error)),
        }));
    }
    let lines = Lines::new(args.json);
    lines.json(&json!({ "files": files, "errors": errors }));
    let all = counted(args.files.len(), "file");
    if errors == 0 {
        if !args.json {
            lines.say(&format!("{all} checked, no errors"));
        }
        return Ok(());
    }
    let message = format!("found {} in {wrong} of {all}", counted(errors, "error"));
    Err(Error::new(ErrorKind::Format, message))
}

/// Everything that is known before lengths are: syntax, rules, types, and that the gradients which
/// are asked for exist.
fn check(path: &Path) -> Result<()> {
    let program = program::load(path)?;
    program::differentiate(&program, path).map(|_| ())
}

fn described(error: &Error) -> Vec<Value> {
    if error.diagnostics().is_empty() {
        return vec![json!({ "message": error.to_string() })];
    }
    diagnostics(error)
}
