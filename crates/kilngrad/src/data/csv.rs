//! CSV: a header of names, and rows of numbers.

use std::collections::HashSet;
use std::path::Path;

use kilngrad_ir::text::Limits;
use kilngrad_ir::{Error, ErrorKind};

use crate::arrays::{excerpt, read};
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
/// integer of 64 bits, else of `f64`; `-0` is no integer. Fields are numbers, in quotes or not, with
/// `nan` and `inf` among them; blanks around a field are left out, but quotes follow a comma at once.
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
    parse(bytes, limits).map_err(|message| Error::new(ErrorKind::Format, message))
}

fn parse(bytes: &[u8], limits: &Limits) -> Result<Table, String> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let wrong = |error: csv::Error| format!("expected rows of fields: {error}");
    let header = reader.byte_headers().map_err(wrong)?.clone();
    if header.is_empty() {
        return Err("expected a row of column names, found none".into());
    }
    if header.len() > limits.values {
        let most = limits.values;
        return Err(format!("expected at most {most} columns, found {}", header.len()));
    }
    let names = header.iter().map(|name| text(bytes, &header, name));
    let names = names.collect::<Result<Vec<&str>, _>>()?;
    let mut known = HashSet::new();
    if let Some(name) = names.iter().find(|name| !known.insert(**name)) {
        return Err(format!("expected unique column names, found {} again", excerpt(name)));
    }
    let mut columns: Vec<Column> = names.iter().map(|_| Column::Integers(Vec::new())).collect();
    let (mut row, mut elements) = (csv::ByteRecord::new(), 0);
    while reader.read_byte_record(&mut row).map_err(wrong)? {
        elements += row.len();
        if elements > limits.elements {
            return Err(format!("expected at most {} numbers, found more", limits.elements));
        }
        if row.len() != names.len() {
            let (line, expected, found) = (line(bytes, &row), names.len(), row.len());
            return Err(format!("line {line}: expected {expected} fields, found {found}"));
        }
        for ((field, name), column) in row.iter().zip(&names).zip(&mut columns) {
            let field = text(bytes, &row, field)?;
            column.push(field).ok_or_else(|| {
                let (line, name, field) = (line(bytes, &row), excerpt(name), excerpt(field));
                format!("line {line}: expected a number in column {name}, found {field}")
            })?;
        }
    }
    let columns = names.into_iter().zip(columns).map(|(name, column)| match column {
        Column::Integers(integers) => (name.to_owned(), integers.into()),
        Column::Floats(floats) => (name.to_owned(), floats.into()),
    });
    Table::of(columns).map_err(|error| error.to_string())
}

fn text<'f>(bytes: &[u8], row: &csv::ByteRecord, field: &'f [u8]) -> Result<&'f str, String> {
    let found = std::str::from_utf8(field);
    found.map_err(|error| format!("line {}: expected UTF-8, found {error}", line(bytes, row)))
}

/// The line of a row, from 1. The reader knows where it began to look for the row: at the end of the
/// row before, of which a part may still be ahead, and before blank lines.
fn line(bytes: &[u8], row: &csv::ByteRecord) -> usize {
    let from = row.position().map_or(0, |position| position.byte() as usize).min(bytes.len());
    let (before, after) = bytes.split_at(from);
    let ends = after.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    1 + before.iter().chain(ends).filter(|byte| **byte == b'\n').count()
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
            match field.parse() {
                // No integer has the sign of a float's zero.
                Ok(integer) if integer != 0 || !field.starts_with('-') => {
                    integers.push(integer);
                    return Some(());
                }
                Ok(_) | Err(_) => {
                    let floats = integers.iter().map(|integer| *integer as f64).collect();
                    *self = Column::Floats(floats);
                }
            }
        }
        if let Column::Floats(floats) = self {
            floats.push(field.parse().ok()?);
        }
        Some(())
    }
}
