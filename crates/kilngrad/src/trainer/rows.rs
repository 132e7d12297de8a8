//! Rows of a table as the inputs of an entry.

use kilngrad_interp::Array;
use kilngrad_ir::{Entry, Error, ErrorKind, Program, Type, ValueName};
use kilngrad_runtime::Input;

use crate::data::{Table, gather};
use crate::trainer::model::input;

/// Feeds an entry with rows of a table, by way of memory that is reused: one batch of the usual size
/// and one of the last, which may be shorter.
pub(super) struct Rows<'t> {
    /// Columns of the table and the names of the inputs that take them.
    columns: Vec<(String, &'t Array)>,
    rows: usize,
    size: usize,
    full: Vec<Array>,
    last: Vec<Array>,
}

impl<'t> Rows<'t> {
    /// Columns for every input of the entry but those in `given`, `size` rows at a time.
    pub(super) fn new(
        entry: &Entry,
        table: &'t Table,
        size: usize,
        given: &[&str],
    ) -> Result<Rows<'t>, Error> {
        let rows = table.rows();
        if rows == 0 {
            let message = format!("expected at least one row to feed {:?}, found none", entry.name);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        if size == 0 {
            let message = "expected a batch of at least one row, found 0";
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let mut columns = Vec::new();
        for (name, ty) in inputs(entry).filter(|(name, _)| !given.contains(name)) {
            columns.push((name.to_owned(), column(entry, table, name, ty)?));
        }
        let size = size.min(rows);
        let of = |rows: usize| columns.iter().map(|(_, column)| zeros(column, rows)).collect();
        let (full, last) = (of(size), of(rows % size));
        Ok(Rows { columns, rows, size, full, last })
    }

    /// How many batches have every row once.
    pub(super) fn batches(&self) -> usize {
        self.rows.div_ceil(self.size)
    }

    /// Copies the rows of batch `at` in this order of all rows, and says how many they are.
    pub(super) fn gather(&mut self, order: &[usize], at: usize) -> usize {
        let rows = &order[at * self.size..((at + 1) * self.size).min(self.rows)];
        let places = if rows.len() == self.size { &mut self.full } else { &mut self.last };
        for ((_, column), place) in self.columns.iter().zip(places) {
            gather(column, rows, place);
        }
        rows.len()
    }

    /// The feeds of a batch of so many rows that was gathered.
    pub(super) fn feeds(&self, rows: usize) -> impl Iterator<Item = (&str, &dyn Input)> {
        let places = if rows == self.size { &self.full } else { &self.last };
        let names = self.columns.iter().map(|(name, _)| name.as_str());
        names.zip(places.iter().map(input))
    }
}

/// The entry called `name`.
pub(super) fn entry_of<'p>(program: &'p Program, name: &str) -> Result<&'p Entry, Error> {
    program.entry(name).ok_or_else(|| {
        let known: Vec<String> =
            program.entries.iter().map(|entry| format!("{:?}", entry.name)).collect();
        let message = format!("expected an entry {name:?}, found {}", known.join(", "));
        Error::new(ErrorKind::Name, message)
    })
}

/// The names and types of an entry's inputs.
pub(super) fn inputs(entry: &Entry) -> impl Iterator<Item = (&str, &Type)> {
    entry.graph.arguments().iter().map(|argument| match entry.graph.name(*argument) {
        ValueName::Word(word) => (&**word, entry.graph.ty(*argument)),
        // The verifier holds arguments of entries to words.
        ValueName::Number(_) => ("", entry.graph.ty(*argument)),
    })
}

/// The outputs of an entry that are scalars: its metrics.
pub(super) fn metrics(entry: &Entry) -> Vec<String> {
    let outputs = entry.outputs.iter().zip(entry.graph.results());
    let scalars = outputs.filter(|(_, value)| entry.graph.ty(**value).rank() == 0);
    scalars.map(|(name, _)| name.to_string()).collect()
}

/// The column that an input takes, of its type as far as it is known before a call.
fn column<'t>(entry: &Entry, table: &'t Table, name: &str, ty: &Type) -> Result<&'t Array, Error> {
    let of = |error| {
        let message = format!("the table does not fit input {name:?} of {ty} of {:?}", entry.name);
        Error::caused(ErrorKind::Name, message, error)
    };
    let column = table.column(name).map_err(of)?;
    let (dims, found) = (ty.shape.dims(), column.shape());
    let fits = dims.len() == found.len()
        && dims.iter().zip(found).skip(1).all(|(dim, length)| {
            dim.as_constant().is_none_or(|dim| usize::try_from(dim) == Ok(*length))
        });
    match column.dtype() == ty.dtype {
        true if fits => Ok(column),
        true => {
            let message = format!(
                "expected a column {name:?} of {ty} for {:?}, found rows {:?} of {}",
                entry.name,
                &found[1..],
                column.ty()
            );
            Err(Error::new(ErrorKind::Shape, message))
        }
        false => {
            let message = format!(
                "expected a column {name:?} of {ty} for {:?}, found {}",
                entry.name,
                column.ty()
            );
            Err(Error::new(ErrorKind::DType, message))
        }
    }
}

fn zeros(column: &Array, rows: usize) -> Array {
    let mut shape = column.shape().to_vec();
    shape[0] = rows;
    Array::splat(kilngrad_ir::Literal::from_i64(column.dtype(), 0), &shape)
}
