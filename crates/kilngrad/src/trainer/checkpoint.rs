//! Checkpoints: a run in a file, to go on from.
//!
//! A checkpoint is a safetensors file of every state under its path, with the run's [`Position`] in
//! the header, so that any reader of the format finds the weights. It is written beside its place,
//! synced and renamed, and its folder synced: whenever a run is killed, the file is the one before
//! or the one after, whole. `NAME.lock` beside it is locked while a run writes, and stays.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use kilngrad_ir::text::Limits;
use kilngrad_ir::{DType, Error, ErrorKind, Init, Literal, Program, Role, random};
use serde::{Deserialize, Serialize};

use crate::arrays::{ArrayFile, read, serialized, write_by};
use crate::files::{Load, load_states_of};
use crate::trainer::evaluate::bits;
use crate::trainer::history::Epoch;
use crate::trainer::model::Model;

/// The key of the position in the header's table.
const POSITION: &str = "kilngrad.trainer";

/// What a run is of: where two differ, going on from the one is not the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Of the program without initial values and places in sources.
    pub(super) digest: u64,
    pub(super) entry: String,
    pub(super) seed: u32,
    pub(super) rows: usize,
    pub(super) batch: usize,
    pub(super) accumulate: usize,
}

/// How far a run is. What follows from these is not there, so that nothing can contradict them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub(super) struct Position {
    /// Batches of the next epoch that are done.
    pub(super) batch: usize,
    /// Of the metrics over the rows of the batches that are done, by the batches' rows.
    pub(super) sums: Vec<Bits>,
    /// The epochs that are over.
    pub(super) history: Vec<Epoch>,
}

/// A float whose bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Bits(#[serde(with = "bits")] pub(super) f64);

/// What is in the header.
#[derive(Serialize, Deserialize)]
struct Header {
    run: Run,
    position: Position,
}

/// The file of a run, which no other run writes meanwhile.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    /// Locked until it is dropped.
    _lock: File,
}

impl Run {
    /// Batches of an epoch.
    pub(super) fn batches(&self) -> usize {
        self.rows.div_ceil(self.batch.max(1))
    }

    /// Updates up to a position: one after each so many batches, and one at the end of an epoch.
    pub(super) fn step(&self, position: &Position) -> u64 {
        let batches = self.batches();
        let done = match position.batch == batches {
            true => batches.div_ceil(self.accumulate),
            false => position.batch / self.accumulate,
        };
        (position.history.len() * batches.div_ceil(self.accumulate) + done) as u64
    }
}

impl Checkpoint {
    /// Takes the lock.
    pub(super) fn open(path: &Path) -> Result<Checkpoint, Error> {
        let lock = with_suffix(path, ".lock");
        let failed =
            |error| Error::caused(ErrorKind::Io, format!("could not lock {lock:?}"), error);
        // Its content is nothing, so whoever is first may make it.
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Checkpoint { path: path.to_owned(), _lock: file }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "expected to be alone in writing {path:?}, found {lock:?} locked by another run"
                );
                Err(Error::new(ErrorKind::Io, message))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the states and the position. A model whose parameters or moments are no longer finite
    /// is not written.
    pub(super) fn write(
        &self,
        model: &impl Model,
        run: &Run,
        position: &Position,
    ) -> Result<(), Error> {
        let states = model.states();
        for (state, (path, _, bytes)) in model.declared().states.iter().zip(&states) {
            let learned = matches!(state.role, Role::Parameter | Role::Optimizer);
            if learned && !finite(state.ty.dtype, bytes) {
                let message = format!(
                    "expected finite states to save, found {path:?} with NaN or infinity after step {}",
                    run.step(position)
                );
                return Err(Error::new(ErrorKind::NotFinite, message));
            }
        }
        let header = Header { run: run.clone(), position: position.clone() };
        let text = serde_json::to_string(&header).map_err(|error| {
            Error::caused(ErrorKind::Internal, "a position is plain JSON", error)
        })?;
        let arrays = states.iter().map(|(path, ty, bytes)| (*path, *ty, &**bytes));
        let bytes = serialized(&self.path, arrays, Some((POSITION, text)))?;
        // The lock makes one name enough, so a run that is killed leaves one file at most behind.
        write_by(&self.path, &with_suffix(&self.path, ".tmp"), &bytes)
    }

    /// Gives the model the states of the file, and the position, with a sum for each of so many
    /// metrics; nothing changes after an error.
    pub(super) fn read(
        &self,
        model: &mut impl Model,
        run: &Run,
        metrics: usize,
        limits: &Limits,
    ) -> Result<Position, Error> {
        let path = &self.path;
        let file = ArrayFile::parse(path, read(path, limits)?, limits)?;
        let wrong =
            |what: &str| Error::new(ErrorKind::Format, format!("{path:?}: expected {what}"));
        let text = file.text(POSITION).ok_or_else(|| {
            wrong("a trainer's checkpoint, found arrays without a position in the header")
        })?;
        let Header { run: found, position } = serde_json::from_str(text).map_err(|error| {
            let message = format!("{path:?}: expected the position of a run");
            Error::caused(ErrorKind::Format, message, error)
        })?;
        let program = model.declared().clone();
        let load = Load::strict().limits(*limits);
        // States first: their names say more than a digest.
        let mut values = Vec::new();
        load_states_of(&program, path, &file, &load, |name, bytes| {
            values.push((name.to_owned(), bytes.to_vec()));
            Ok(())
        })?;
        expect_run(path, run, &found)?;
        if position.batch > run.batches() {
            return Err(wrong(&format!("a position in the epoch, found batch {}", position.batch)));
        }
        if position.sums.len() != metrics {
            let found = position.sums.len();
            return Err(wrong(&format!("sums of {metrics} metrics, found {found}")));
        }
        for (name, bytes) in values {
            model.set_state(&name, &bytes)?;
        }
        Ok(position)
    }
}

/// Refuses to go on with another run than the file's.
fn expect_run(path: &Path, run: &Run, found: &Run) -> Result<(), Error> {
    let differs = |what: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        let message = format!("{path:?}: expected a run of {what} {expected:?}, found {found:?}");
        Err(Error::new(ErrorKind::Format, message))
    };
    let Run { digest, entry, seed, rows, batch, accumulate } = run;
    if *digest != found.digest {
        let message = format!(
            "{path:?}: expected a checkpoint of this program (digest {digest:016x}), found one of \
             the same states with other entries (digest {:016x})",
            found.digest
        );
        return Err(Error::new(ErrorKind::Format, message));
    }
    if *entry != found.entry {
        return differs("entry", entry, &found.entry);
    }
    let numbers = [
        ("seed", *seed as usize, found.seed as usize),
        ("rows", *rows, found.rows),
        ("batch", *batch, found.batch),
        ("accumulation", *accumulate, found.accumulate),
    ];
    match numbers.iter().find(|(_, expected, found)| expected != found) {
        Some((what, expected, found)) => differs(what, expected, found),
        None => Ok(()),
    }
}

/// A digest of the program: of its text without what states begin with, which the file has, and
/// without the lines of the source that it comes from, which may move.
pub(super) fn digest(program: &Program) -> u64 {
    let mut bare = program.clone();
    for state in &mut bare.states {
        state.init = Init::Splat(Literal::from_i64(state.ty.dtype, 0));
    }
    let text = bare.to_string();
    let lines = text.lines().map(|line| line.split_once("  @").map_or(line, |(before, _)| before));
    random::stream_of(&lines.collect::<Vec<_>>().join("\n"))
}

fn finite(dtype: DType, bytes: &[u8]) -> bool {
    match dtype {
        DType::F32 => {
            let (numbers, _) = bytes.as_chunks::<4>();
            numbers.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite())
        }
        DType::F64 => {
            let (numbers, _) = bytes.as_chunks::<8>();
            numbers.iter().all(|bytes| f64::from_le_bytes(*bytes).is_finite())
        }
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => true,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
