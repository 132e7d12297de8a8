//! The `kilngrad` command: runs programs, trains the models of the textbook, measures the compiler.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod completion;
mod doctor;
mod dump;
mod engine;
mod grad;
mod list;
mod models;
mod output;
mod program;
mod rows;
mod run;
mod signals;
mod table;
mod train;
mod workloads;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use kilngrad::prelude::*;

use crate::output::{Failure, Lines};

/// A static-graph compiler for deep learning on CPUs.
#[derive(Debug, Parser)]
#[command(name = "kilngrad", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 training that a signal ended.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model, on data that ships inside this program or on a file.
    Train(train::Args),
    /// Time one step of a workload.
    Bench(bench::Args),
    /// Call an entry of a program in a file.
    Run(run::Args),
    /// Print a program with its gradient requests expanded.
    Grad(grad::Args),
    /// Say what is wrong with programs in files.
    Check(check::Args),
    /// Write the text of each stage of the compiler for a program or a model.
    Dump(dump::Args),
    /// List what there is to train and to time.
    Models(list::Args),
    /// Look at this machine as the compiler does, and measure it.
    Doctor(doctor::Args),
    /// Print a script that completes this command's arguments in a shell.
    Completion(completion::Args),
}

impl Command {
    fn run(&self) -> Result<()> {
        match self {
            Command::Train(args) => train::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Run(args) => run::run(args),
            Command::Grad(args) => grad::run(args),
            Command::Check(args) => check::run(args),
            Command::Dump(args) => dump::run(args),
            Command::Models(args) => list::run(args),
            Command::Doctor(args) => doctor::run(args),
            Command::Completion(args) => completion::run(args, &mut Args::command()),
        }
    }

    /// Whether a failure is to be an object on standard output too.
    fn fails_in_json(&self) -> bool {
        match self {
            Command::Train(args) => args.json(),
            Command::Bench(args) => args.json,
            Command::Run(args) => args.json,
            Command::Grad(args) => args.json,
            Command::Dump(args) => args.json,
            Command::Models(args) => args.json,
            // These two have said in an object of their own what is wrong.
            Command::Check(_) | Command::Doctor(_) => false,
            Command::Completion(_) => false,
        }
    }
}

fn main() -> ExitCode {
    let command = Args::parse().command;
    match command.run() {
        // So that nothing goes on with what is half trained.
        Ok(()) if signals::asked() => ExitCode::from(signals::EXIT_CODE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Diagnostics say of themselves that they are errors.
            let label = if error.diagnostics().is_empty() { "error: " } else { "" };
            let _ = writeln!(std::io::stderr(), "{label}{error}");
            Lines::new(command.fails_in_json()).json(&Failure::of(&error));
            ExitCode::FAILURE
        }
    }
}
