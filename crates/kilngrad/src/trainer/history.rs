//! What became of a run.

use std::fmt::Write as _;
use std::path::Path;

use kilngrad_ir::Error;
use serde::{Deserialize, Serialize};

use crate::arrays::write;
use crate::trainer::evaluate::Metric;

/// What a run has done: its epochs, and why it ended.
///
/// ```
/// use kilngrad::trainer::{History, Stopped};
/// let history = History { epochs: vec![], steps: 0, stopped: Stopped::Done };
/// assert_eq!(history.metric("loss"), None);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The epochs, those before the run was resumed included.
    pub epochs: Vec<Epoch>,
    /// Updates, those before included.
    pub steps: u64,
    /// Why it ended.
    pub stopped: Stopped,
}

/// Why a run ended.
///
/// ```
/// use kilngrad::trainer::Stopped;
/// assert_ne!(Stopped::Done, Stopped::Early);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs are over.
    Done,
    /// The metric of early stopping got no better.
    Early,
    /// A callback said so.
    Callback,
    /// The stop flag was set.
    Asked,
}

/// One epoch.
///
/// ```
/// use kilngrad::trainer::{Epoch, Metric};
/// let loss = Metric { name: "loss".into(), value: 0.5 };
/// let epoch = Epoch { number: 1, step: 10, training: vec![loss], validation: vec![] };
/// assert_eq!(epoch.training("loss"), Some(0.5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub number: u64,
    /// Updates so far.
    pub step: u64,
    /// Means over the rows of the training entry's metrics, each as its batch was met.
    pub training: Vec<Metric>,
    /// The validation entry's metrics after the epoch.
    pub validation: Vec<Metric>,
}

impl Epoch {
    /// A training metric.
    ///
    /// ```
    /// use kilngrad::trainer::Epoch;
    /// let epoch = Epoch { number: 1, step: 0, training: vec![], validation: vec![] };
    /// assert_eq!(epoch.training("loss"), None);
    /// ```
    pub fn training(&self, name: &str) -> Option<f64> {
        value(&self.training, name)
    }

    /// A validation metric.
    ///
    /// ```
    /// use kilngrad::trainer::{Epoch, Metric};
    /// let r2 = Metric { name: "r2".into(), value: 0.75 };
    /// let epoch = Epoch { number: 1, step: 0, training: vec![], validation: vec![r2] };
    /// assert_eq!(epoch.validation("r2"), Some(0.75));
    /// ```
    pub fn validation(&self, name: &str) -> Option<f64> {
        value(&self.validation, name)
    }
}

fn value(metrics: &[Metric], name: &str) -> Option<f64> {
    metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

impl History {
    /// The last value of a metric: validation's, or else training's.
    ///
    /// ```
    /// use kilngrad::trainer::{Epoch, History, Metric, Stopped};
    /// let loss = Metric { name: "loss".into(), value: 0.5 };
    /// let epoch = Epoch { number: 1, step: 9, training: vec![loss], validation: vec![] };
    /// let history = History { epochs: vec![epoch], steps: 9, stopped: Stopped::Done };
    /// assert_eq!(history.metric("loss"), Some(0.5));
    /// ```
    pub fn metric(&self, name: &str) -> Option<f64> {
        let last = self.epochs.last()?;
        last.validation(name).or_else(|| last.training(name))
    }
}

/// Writes a table with a row an epoch: `epoch`, `step`, the training metrics by their names, and
/// those of validation as `validation NAME`. It has these metrics, and any that an epoch before the
/// run was resumed had; a field is empty where an epoch has none.
pub(super) fn write_log(
    path: &Path,
    training: &[String],
    validation: &[String],
    epochs: &[Epoch],
) -> Result<(), Error> {
    let training = names(training, epochs.iter().flat_map(|epoch| &epoch.training));
    let validation = names(validation, epochs.iter().flat_map(|epoch| &epoch.validation));
    let mut text = String::from("epoch,step");
    for name in &training {
        text += &format!(",{}", quoted(name));
    }
    for name in &validation {
        text += &format!(",{}", quoted(&format!("validation {name}")));
    }
    text.push('\n');
    for epoch in epochs {
        let trained = training.iter().map(|name| epoch.training(name));
        let validated = validation.iter().map(|name| epoch.validation(name));
        // Writing to a string fails nowhere. The shortest digits that are read as the same number.
        let _ = write!(text, "{},{}", epoch.number, epoch.step);
        for value in trained.chain(validated) {
            let _ = match value {
                Some(value) => write!(text, ",{value}"),
                None => write!(text, ","),
            };
        }
        text.push('\n');
    }
    write(path, text.as_bytes())
}

/// These names and then those of metrics that are not among them.
fn names<'n>(known: &'n [String], met: impl Iterator<Item = &'n Metric>) -> Vec<&'n str> {
    let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
    for metric in met {
        if !names.contains(&&*metric.name) {
            names.push(&metric.name);
        }
    }
    names
}

/// A field as CSV has it.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
