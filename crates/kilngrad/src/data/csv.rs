//! CSV: a header of names, and rows of numbers.

use std::path::Path;

use kilngrad_ir::text::{Limits, shown};
use kilngrad_ir::{Error, ErrorKind};

use crate::arrays::read;
use crate::data::{Table, named};

/// Reads a CSV file with a header row: see [`parse_csv`].
///
/// ```
/// use kilngrad::{Limits, data::read_csv, prelude::*};
///
/// # let path = std::env::temp_dir().join(format!("kilngrad-csv-{}.csv", std::process::id()));
/// std::fs::write(&path, "height,width,kind\n1.5,2,0\n2.5,3,1\n")?;
/// let table = read_csv(&path, &Limits::default())?.stack("x", &["height", "width"])?;
/// assert_eq!(table.column("x")?.to_f64_vec(), [1.5, 2.0, 2.5, 3.0]);
/// assert_eq!(table.column("kind")?.dtype(), I64);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// If the file cannot be read or is larger than `limits` allow, and as [`parse_csv`].
pub fn read_csv(path: impl AsRef<Path>, limits: &Limits) -> Result<Table, Error> {
    let path = path.as_ref();
    named(path, parse_csv(&read(path, limits)?, limits))
}

/// A column for each column of a CSV text with a header row: of `i64` where every field is an
/// integer, else of `f64`. Fields are numbers, in quotes or not, with `nan` and `inf` among them;
/// blanks around them are left out.
///
/// ```
/// use kilngrad::{Limits, data::parse_csv};
///
/// let error = parse_csv(b"a,b\n1,2\n3,four\n", &Limits::default()).unwrap_err().to_string();
/// assert_eq!(error, "line 3: expected a number in column \"b\", found \"four\"");
/// ```
///
/// # Errors
///
/// If a row has another number of fields than the header, a field is no number, two columns have one
/// name, or there is more than `limits` allow.
pub fn parse_csv(bytes: &[u8], limits: &Limits) -> Result<Table, Error> {
    let format = |message: String| Error::new(ErrorKind::Format, message);
    let wrong = |error| Error::caused(ErrorKind::Format, "expected rows of fields", error);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let names = reader.headers().map_err(wrong)?.clone();
    if names.is_empty() {
        return Err(format("expected a row of column names, found none".into()));
    }
    if names.len() > limits.values {
        let most = limits.values;
        return Err(format(format!("expected at most {most} columns, found {}", names.len())));
    }
    let mut columns: Vec<Column> = names.iter().map(|_| Column::Integers(Vec::new())).collect();
    let (mut row, mut elements) = (csv::StringRecord::new(), 0);
    while reader.read_record(&mut row).map_err(wrong)? {
        elements += row.len();
        if elements > limits.elements {
            return Err(format(format!(
                "expected at most {} numbers, found more",
                limits.elements
            )));
        }
        for ((field, name), column) in row.iter().zip(&names).zip(&mut columns) {
            column.push(field).ok_or_else(|| {
                let line = row.position().map_or(0, csv::Position::line);
                let (name, field) = (shown(name), shown(field));
                format(format!(
                    "line {line}: expected a number in column \"{name}\", found \"{field}\""
                ))
            })?;
        }
    }
    names.iter().zip(columns).try_fold(Table::new(), |table, (name, column)| match column {
        Column::Integers(integers) => table.with(name, integers),
        Column::Floats(floats) => table.with(name, floats),
    })
}

/// A column whose fields so far are all integers, or not.
enum Column {
    Integers(Vec<i64>),
    Floats(Vec<f64>),
}

impl Column {
    /// Adds a field, if it is a number.
    fn push(&mut self, field: &str) -> Option<()> {
        if let Column::Integers(integers) = self {
            if let Ok(integer) = field.parse() {
                integers.push(integer);
                return Some(());
            }
            *self = Column::Floats(integers.iter().map(|integer| *integer as f64).collect());
        }
        if let Column::Floats(floats) = self {
            floats.push(field.parse().ok()?);
        }
        Some(())
    }
}
