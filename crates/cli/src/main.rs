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

/// A static-graph compiler for deep learning on CPUs.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
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

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Grad(args) => grad::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Models(args) => list::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completion(args) => completion::run(&args, &mut Args::command()),
    };
    match result {
        // So that nothing goes on with what is half trained.
        Ok(()) if signals::asked() => ExitCode::from(signals::EXIT_CODE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Diagnostics say of themselves that they are errors.
            let label = if error.diagnostics().is_empty() { "error: " } else { "" };
            let _ = writeln!(std::io::stderr(), "{label}{error}");
            ExitCode::FAILURE
        }
    }
}
