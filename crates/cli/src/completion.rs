//! `kilngrad completion`: completion of arguments in a shell.

use std::io::Write;

use clap_complete::{Shell, generate};
use kilngrad::prelude::*;

/// Arguments of `kilngrad completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "In bash: source <(kilngrad completion bash)")]
pub(crate) struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut clap::Command) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, command, "kilngrad", &mut script);
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(&script);
    Ok(())
}
