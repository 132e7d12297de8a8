//! The `kilngrad` command: trains the models of the textbook and measures the compiler.

#![forbid(unsafe_code)]

mod bench;
mod engine;
mod models;
mod output;
mod train;
mod workloads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A static-graph compiler for deep learning on CPUs.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model on data that ships inside this program.
    Train(train::Args),
    /// Time one training step of a workload.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
