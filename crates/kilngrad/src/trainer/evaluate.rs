//! A program's own entries over whole tables.

use std::collections::BTreeMap;

use kilngrad_interp::Array;
use kilngrad_ir::{Error, ErrorKind};
use ndarray::{ArrayD, ArrayViewD, Axis};
use serde::{Deserialize, Serialize};

use crate::data::Table;
use crate::trainer::model::Model;
use crate::trainer::rows::{Rows, entry_of, metrics};

/// A number by its name.
///
/// ```
/// use kilngrad::trainer::Metric;
/// let metric = Metric { name: "loss".into(), value: 0.5 };
/// assert_eq!(metric.to_string(), "loss 0.5");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What the entry's output is called.
    pub name: String,
    /// Its value.
    #[serde(with = "bits")]
    pub value: f64,
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.value)
    }
}

/// Floats in files as their bits: every number, NaN and infinities included, is read as it was.
pub(super) mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to_bits())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(f64::from_bits(u64::deserialize(from)?))
    }
}

/// The scalar outputs of an entry over a table, fed whole or `batch` rows at a time: the mean of the
/// batches', each by its rows. Columns feed the inputs of their names.
///
/// ```
/// use kilngrad::{data::Table, prelude::*, trainer::evaluate};
///
/// let b = Builder::new("mean");
/// let e = b.entry("run", Mode::Eval);
/// e.output("mean", e.input("x", F32, (b.dim("n"),)).mean(..));
/// let mut exe = b.finish()?.compile(&Options::new())?;
/// let table = Table::new().with("x", vec![1f32, 2.0, 3.0, 6.0, 8.0])?;
/// assert_eq!(evaluate(&mut exe, "run", &table, Some(3))?[0].value, 4.0);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// If there is no such entry, it has no scalar output, the table lacks a column, has one of another
/// type or has no row, or a call fails.
pub fn evaluate(
    model: &mut impl Model,
    entry: &str,
    table: &Table,
    batch: Option<usize>,
) -> Result<Vec<Metric>, Error> {
    let names = {
        let entry = entry_of(model.declared(), entry)?;
        expect_metrics(&entry.name, metrics(entry))?
    };
    let mut rows = in_order(model, entry, table, batch)?;
    let mut found = vec![0.0; names.len()];
    let mut sums = vec![0.0; names.len()];
    for at in 0..rows.batches() {
        let count = rows.gather(at);
        model.numbers(entry, &mut rows.feeds(count), &names, &mut found)?;
        add(&mut sums, &found, rows.weight(count));
    }
    let means = sums.into_iter().map(|sum| rows.mean(sum));
    Ok(names.into_iter().zip(means).map(|(name, value)| Metric { name, value }).collect())
}

/// The rows of a table for an entry, whole or so many at a time.
fn in_order<'t>(
    model: &impl Model,
    entry: &str,
    table: &'t Table,
    batch: Option<usize>,
) -> Result<Rows<'t>, Error> {
    let entry = entry_of(model.declared(), entry)?;
    Ok(Rows::new(entry, table, batch.unwrap_or(table.rows()), &[])?.in_order())
}

/// Adds numbers that count so much.
pub(super) fn add(sums: &mut [f64], found: &[f64], weight: f64) {
    for (sum, found) in sums.iter_mut().zip(found) {
        *sum += found * weight;
    }
}

/// Refuses an entry without metrics.
pub(super) fn expect_metrics(entry: &str, names: Vec<String>) -> Result<Vec<String>, Error> {
    match names.is_empty() {
        false => Ok(names),
        true => {
            let message = format!("expected an output of {entry:?} that is a scalar, found none");
            Err(Error::new(ErrorKind::Name, message))
        }
    }
}

/// The outputs of an entry for every row of a table, fed whole or `batch` rows at a time, by name.
/// The first axis of each output is rows.
///
/// ```
/// use kilngrad::{data::Table, prelude::*, trainer::predict};
///
/// let b = Builder::new("twice");
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", e.input("x", F32, (b.dim("n"),)) * 2.0);
/// let mut exe = b.finish()?.compile(&Options::new())?;
/// let table = Table::new().with("x", vec![1f32, 2.0, 3.0])?;
/// assert_eq!(predict(&mut exe, "run", &table, Some(2))?["y"], vec![2f32, 4.0, 6.0].into());
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// As [`evaluate`], and if an output has not a row for each row that was fed.
pub fn predict(
    model: &mut impl Model,
    entry: &str,
    table: &Table,
    batch: Option<usize>,
) -> Result<BTreeMap<String, Array>, Error> {
    let names: Vec<String> = {
        let entry = entry_of(model.declared(), entry)?;
        entry.outputs.iter().map(ToString::to_string).collect()
    };
    let mut rows = in_order(model, entry, table, batch)?;
    let mut parts: Vec<Vec<Array>> = names.iter().map(|_| Vec::new()).collect();
    for at in 0..rows.batches() {
        let count = rows.gather(at);
        let outputs = model.arrays(entry, &mut rows.feeds(count), &names)?;
        for ((name, output), parts) in names.iter().zip(outputs).zip(&mut parts) {
            if output.shape().first() != Some(&count) {
                let message = format!(
                    "expected {count} rows in output {name:?} of {entry:?}, found {}",
                    output.ty()
                );
                return Err(Error::new(ErrorKind::Shape, message));
            }
            parts.push(output);
        }
    }
    names.into_iter().zip(parts).map(|(name, parts)| Ok((name, joined(parts)?))).collect()
}

/// The rows of arrays of one dtype, one array after another.
fn joined(parts: Vec<Array>) -> Result<Array, Error> {
    macro_rules! joined {
        ($($variant:ident)*) => {
            match parts.first() {
                $(Some(Array::$variant(_)) => concatenated(parts.iter().filter_map(|part| {
                    if let Array::$variant(part) = part { Some(part.view()) } else { None }
                })),)*
                None => Ok(Array::from(Vec::<f32>::new())),
            }
        };
    }
    joined!(F32 F64 I32 I64 U8 Bool)
}

fn concatenated<'p, T>(parts: impl Iterator<Item = ArrayViewD<'p, T>>) -> Result<Array, Error>
where
    T: kilngrad_interp::Element + 'p,
    ArrayD<T>: Into<Array>,
{
    let parts: Vec<ArrayViewD<'_, T>> = parts.collect();
    let whole = ndarray::concatenate(Axis(0), &parts);
    let wrong = "expected rows of one shape in every batch";
    Ok(whole.map_err(|error| Error::caused(ErrorKind::Shape, wrong, error))?.into())
}
