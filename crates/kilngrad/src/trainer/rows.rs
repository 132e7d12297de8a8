//! Rows of a table as the inputs of an entry.

use kilngrad_interp::Array;
use kilngrad_ir::{Dim, Entry, Error, ErrorKind, Program, Type, ValueName};
use kilngrad_runtime::Input;

use crate::data::{Table, gather, permute};
use crate::trainer::model::input;

/// Feeds an entry with rows of a table, by way of memory that is reused: one batch of the usual size
/// and one of the last, which may be shorter.
pub(super) struct Rows<'t> {
    /// Columns of the table and the names of the inputs that take them.
    columns: Vec<(String, &'t Array)>,
    rows: usize,
    size: usize,
    order: Vec<usize>,
    /// Empty where one batch has every row in the table's order: its places are the columns.
    full: Vec<Array>,
    last: Vec<Array>,
}

impl<'t> Rows<'t> {
    /// Columns for every input of the entry but those in `given`, `size` rows at a time, once they
    /// have an order.
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
        let size = size.min(rows);
        let mut columns = Vec::new();
        for (name, ty) in inputs(entry).filter(|(name, _)| !given.contains(name)) {
            columns.push((name.to_owned(), column(entry, table, size, name, ty)?));
        }
        Ok(Rows { columns, rows, size, order: Vec::new(), full: Vec::new(), last: Vec::new() })
    }

    /// Goes through the rows in the table's order.
    pub(super) fn in_order(mut self) -> Rows<'t> {
        if self.size < self.rows {
            self.order.extend(0..self.rows);
            self.make_places();
        }
        self
    }

    /// Goes through the rows in an order drawn by `seed`.
    pub(super) fn shuffle(&mut self, seed: u64) {
        permute(&mut self.order, self.rows, seed);
        if self.full.is_empty() {
            self.make_places();
        }
    }

    fn make_places(&mut self) {
        let of = |rows| self.columns.iter().map(|(_, column)| zeros(column, rows)).collect();
        (self.full, self.last) = (of(self.size), of(self.rows % self.size));
    }

    /// How many batches have every row once.
    pub(super) fn batches(&self) -> usize {
        self.rows.div_ceil(self.size)
    }

    /// What so many rows count in a mean over all. One batch of all rows is its own mean, to the
    /// last bit.
    pub(super) fn weight(&self, rows: usize) -> f64 {
        if self.batches() == 1 { 1.0 } else { rows as f64 }
    }

    /// The mean over all rows of sums by [`weight`](Self::weight).
    pub(super) fn mean(&self, sum: f64) -> f64 {
        sum / self.weight(self.rows)
    }

    /// Makes the rows of batch `at` those that are fed, and says how many they are.
    pub(super) fn gather(&mut self, at: usize) -> usize {
        let from = at * self.size;
        let rows = self.size.min(self.rows - from);
        let places = if rows == self.size { &mut self.full } else { &mut self.last };
        for ((_, column), place) in self.columns.iter().zip(places) {
            gather(column, &self.order[from..from + rows], place);
        }
        rows
    }

    /// The feeds of a batch of so many rows that was gathered.
    pub(super) fn feeds(&self, rows: usize) -> impl Iterator<Item = (&str, &dyn Input)> {
        let places = if rows == self.size { &self.full } else { &self.last };
        let columns = self.columns.iter().enumerate();
        columns.map(|(at, (name, column))| (name.as_str(), input(places.get(at).unwrap_or(column))))
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

/// The column that an input takes `size` rows at a time, of its type as far as it is known before a
/// call.
fn column<'t>(
    entry: &Entry,
    table: &'t Table,
    size: usize,
    name: &str,
    ty: &Type,
) -> Result<&'t Array, Error> {
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
    let other = |kind, remedy: &str| {
        let (entry, found) = (&entry.name, column.ty());
        let message =
            format!("expected a column {name:?} of {ty} for {entry:?}, found {found}{remedy}");
        Err(Error::new(kind, message))
    };
    // First, since what `cast` gives would not fit either.
    if !fits {
        return other(ErrorKind::Shape, "");
    }
    if column.dtype() != ty.dtype {
        let remedy = format!("; `Table::cast({name:?}, {:?})` converts it", ty.dtype);
        return other(ErrorKind::DType, &remedy);
    }
    let wrong = |message| Err(Error::new(ErrorKind::Shape, message));
    let Some(rows) = dims.first().and_then(Dim::as_constant) else { return Ok(column) };
    let batches = |found| {
        wrong(format!("expected batches of {rows} rows for input {name:?} of {ty}, found {found}"))
    };
    match (usize::try_from(rows) == Ok(size), table.rows() % size) {
        (true, 0) => Ok(column),
        (true, last) => batches(format!("a last one of {last}")),
        (false, _) => batches(size.to_string()),
    }
}

fn zeros(column: &Array, rows: usize) -> Array {
    let mut shape = column.shape().to_vec();
    shape[0] = rows;
    Array::splat(kilngrad_ir::Literal::from_i64(column.dtype(), 0), &shape)
}
