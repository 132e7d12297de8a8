//! What a system declares.

use std::collections::BTreeMap;
use std::fmt;

use kilngrad::Array;
use kilngrad::data::Table;
use kilngrad::prelude::*;
use kilngrad::trainer::Epoch;

use crate::models::Common;

/// A system's own arguments.
pub(crate) trait Declare: fmt::Debug {
    /// The program and its surroundings.
    fn declare(&self, common: &Common) -> Result<Model>;
}

/// Calls an entry of the trained program with a row of the table for each row of the result.
pub(crate) type Predict<'p> = dyn FnMut(&str, &Table) -> Result<BTreeMap<String, Array>> + 'p;

/// Makes pictures or text with the trained program, and says what it made, a line each.
pub(crate) type Show = Box<dyn Fn(&mut Predict<'_>) -> Result<Vec<String>>>;

/// A system ready to be trained: a program with the entries `train`, a step, and `evaluate`, the test
/// metrics, both fed with rows by the names of columns.
pub(crate) struct Model {
    pub(crate) program: Program,
    /// What it is, in a line.
    pub(crate) description: String,
    pub(crate) train: Table,
    pub(crate) test: Table,
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
    /// Lengths of symbols other than `n`, the rows.
    pub(crate) lengths: Vec<(&'static str, usize)>,
    /// What a line of an epoch shows. The first is the loss that must stay finite; the last is how
    /// good the model is.
    pub(crate) columns: Vec<Column>,
    /// What is made after training, if anything.
    pub(crate) show: Option<Show>,
    /// Whether it is made as training goes, too.
    pub(crate) show_often: bool,
}

/// Whose metric it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// The mean over the epoch's batches.
    Training,
    /// The test rows' after it.
    Test,
}

/// A metric as a line shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) part: Part,
    pub(crate) metric: &'static str,
    pub(crate) percent: bool,
}

impl Column {
    pub(crate) const TRAIN_LOSS: Column =
        Column { title: "train loss", part: Part::Training, metric: "loss", percent: false };
    pub(crate) const TEST_LOSS: Column = Column::test("test loss", "loss");
    pub(crate) const ACCURACY: Column =
        Column { percent: true, ..Column::test("test accuracy", "accuracy") };

    /// A metric of the test rows.
    pub(crate) const fn test(title: &'static str, metric: &'static str) -> Column {
        Column { title, part: Part::Test, metric, percent: false }
    }

    pub(crate) fn value(&self, epoch: &Epoch) -> f64 {
        let found = match self.part {
            Part::Training => epoch.training(self.metric),
            Part::Test => epoch.validation(self.metric),
        };
        found.unwrap_or(f64::NAN)
    }

    /// The title, as wide as the values under it.
    pub(crate) fn head(&self) -> String {
        format!("{:>width$}", self.title, width = self.width())
    }

    pub(crate) fn cell(&self, epoch: &Epoch) -> String {
        let value = self.value(epoch);
        match self.percent {
            true => format!("{:>width$.2}%", 100.0 * value, width = self.width() - 1),
            false => format!("{value:>width$.6}", width = self.width()),
        }
    }

    /// The value as a sentence has it.
    pub(crate) fn shown(&self, epoch: &Epoch) -> String {
        let value = self.value(epoch);
        match self.percent {
            true => format!("{:.2}%", 100.0 * value),
            false => format!("{value:.4}"),
        }
    }

    fn width(&self) -> usize {
        self.title.len().max(if self.percent { 15 } else { 12 })
    }
}

impl Model {
    /// A model that is shown by its losses and a metric of the test rows.
    pub(crate) fn new(
        program: Program,
        description: String,
        rows: &Table,
        metric: Column,
    ) -> Model {
        let (train, test) = rows.split_every(5);
        Model {
            program,
            description,
            train,
            test,
            batch: 32,
            epochs: 30,
            lengths: Vec::new(),
            columns: vec![Column::TRAIN_LOSS, Column::TEST_LOSS, metric],
            show: None,
            show_often: false,
        }
    }

    /// How good the model is.
    pub(crate) fn metric(&self) -> Column {
        *self.columns.last().expect("a model shows something")
    }
}
