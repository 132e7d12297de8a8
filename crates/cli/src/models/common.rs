//! The arguments that every system takes, and the rows that they name.

use std::path::PathBuf;

use kilngrad::data::{self, Table};
use kilngrad::prelude::*;

use crate::engine::{Float, Processor, threads};
use crate::rows;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// How often to go through the training rows [default: the system's].
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Seed of the initial weights and of the order of the rows.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u32,
    /// Threads; the result is the same bits with any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads())]
    pub(crate) threads: usize,
    /// Interpret the graph instead of compiling it.
    #[arg(long)]
    pub(crate) interp: bool,
    /// Floating-point type of the model.
    #[arg(long, value_enum, default_value_t = Float::F32)]
    pub(crate) float: Float,
    /// Instructions that the compiled code may use.
    #[arg(long, value_enum, default_value_t = Processor::Native)]
    pub(crate) processor: Processor,
    /// End with one JSON object on standard output; everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Train on the rows of this file instead: .csv whose last column is the target, or .npz or
    /// .safetensors with arrays x and y.
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Write the run into this file after each epoch, and when it is interrupted.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint.
    #[arg(long, requires = "checkpoint")]
    pub(crate) resume: bool,
    /// Write the trained program into this file, which `kilngrad run` calls.
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) save: Option<PathBuf>,
    /// Write losses and metrics as CSV, a row an epoch.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Draw the losses as a PNG picture.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Write the text of each stage of the compiler into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) dump: Option<PathBuf>,
}

impl Common {
    /// The floating-point type of the model.
    pub(crate) fn float(&self) -> DType {
        self.float.dtype()
    }

    /// A builder of programs in the chosen floating-point type.
    pub(crate) fn builder(&self, name: &str) -> Builder {
        Builder::new(name).with_float(self.float())
    }

    /// Images of 64 pixels as `x` and their digits as `y`.
    pub(crate) fn digits(&self) -> Result<Table> {
        self.rows(|| Ok(Table::from(data::digits()?)), I64)
    }

    /// Columns `x`, in the chosen floating-point type, and `y`: the file's, or else the set's.
    pub(crate) fn rows(&self, set: impl FnOnce() -> Result<Table>, target: DType) -> Result<Table> {
        match &self.data {
            None => set()?.cast("x", self.float())?.cast("y", target),
            Some(path) => rows::read(path, self.float(), target),
        }
    }
}
