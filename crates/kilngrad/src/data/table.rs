//! Named columns with as many rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use kilngrad_interp::Array;
use kilngrad_ir::text::Limits;
use kilngrad_ir::{DType, Error, ErrorKind};
use ndarray::{ArrayD, Axis};

use crate::arrays::{excerpt, listed};
use crate::data::order::permutation;

/// Named columns: arrays of any dtype whose first axis has one length, the number of rows.
///
/// ```
/// use kilngrad::data::Table;
/// use ndarray::{Array1, Array2};
///
/// let table = Table::new()
///     .with("x", Array2::<f32>::zeros((10, 3)))?
///     .with("y", Array1::from_iter(0..10i64))?;
/// let (train, test) = table.split_every(5);
/// assert_eq!((train.rows(), test.rows()), (8, 2));
/// let error = table.with("z", vec![1.0f32]).unwrap_err().to_string();
/// assert_eq!(error, "expected 10 rows in column \"z\", found 1");
/// # Ok::<(), kilngrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    rows: usize,
    /// Each in row-major order, in the order in which they were added.
    columns: Vec<(String, Array)>,
}

impl Table {
    /// No column.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new();
    /// assert_eq!((table.rows(), table.names().count()), (0, 0));
    /// ```
    pub fn new() -> Table {
        Table::default()
    }

    /// Every array of a safetensors file as a column.
    ///
    /// ```
    /// use kilngrad::data::Table;
    /// use kilngrad::{Array, Limits, save_arrays};
    ///
    /// # let path = std::env::temp_dir().join(format!("kilngrad-table-{}.safetensors", std::process::id()));
    /// save_arrays(&path, [("x", &Array::from(vec![1f32, 2.0]))])?;
    /// assert_eq!(Table::from_safetensors(&path, &Limits::default())?.rows(), 2);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load_arrays`](crate::load_arrays), and if numbers of rows differ.
    pub fn from_safetensors(path: impl AsRef<Path>, limits: &Limits) -> Result<Table, Error> {
        Table::from_arrays(path.as_ref(), crate::load_arrays(path.as_ref(), limits)?)
    }

    /// Every array of a NumPy archive as a column.
    ///
    /// ```
    /// use kilngrad::{Limits, data::Table};
    /// let error = Table::from_npz("/no/such/file.npz", &Limits::default()).unwrap_err();
    /// assert!(error.to_string().contains("file.npz"));
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_npz`](crate::data::read_npz), and if numbers of rows differ.
    #[cfg(feature = "data")]
    pub fn from_npz(path: impl AsRef<Path>, limits: &Limits) -> Result<Table, Error> {
        Table::from_arrays(path.as_ref(), crate::data::read_npz(path.as_ref(), limits)?)
    }

    /// The arrays of a file as columns.
    pub(crate) fn from_arrays(
        path: &Path,
        arrays: BTreeMap<String, Array>,
    ) -> Result<Table, Error> {
        Table::of(arrays).map_err(|error| {
            Error::caused(ErrorKind::Format, format!("{path:?} is no table"), error)
        })
    }

    /// Columns whose names are known to be unique.
    pub(crate) fn of(columns: impl IntoIterator<Item = (String, Array)>) -> Result<Table, Error> {
        let mut table = Table::new();
        columns.into_iter().try_for_each(|(name, array)| table.add(name, array))?;
        Ok(table)
    }

    /// Adds a column.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![1f32, 2.0])?;
    /// assert_eq!(table.rows(), 2);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is a column of this name, the array is a scalar, or it has another number of rows.
    pub fn with(mut self, name: &str, array: impl Into<Array>) -> Result<Table, Error> {
        if self.names().any(|known| known == name) {
            let message =
                format!("expected a new name for a column, found {} again", excerpt(name));
            return Err(Error::new(ErrorKind::Shape, message));
        }
        self.add(name.to_owned(), array.into())?;
        Ok(self)
    }

    /// Adds a column of a new name.
    fn add(&mut self, name: String, array: Array) -> Result<(), Error> {
        let wrong = |message| Err(Error::new(ErrorKind::Shape, message));
        let Some(rows) = array.shape().first().copied() else {
            return wrong(format!("expected rows in column {}, found a scalar", excerpt(&name)));
        };
        if !self.columns.is_empty() && rows != self.rows {
            let (expected, name) = (self.rows, excerpt(&name));
            return wrong(format!("expected {expected} rows in column {name}, found {rows}"));
        }
        self.rows = rows;
        self.columns.push((name, row_major(array)));
        Ok(())
    }

    /// The table with these columns, which are numbers, side by side in one matrix of `f32` called
    /// `name` in place of each alone.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("a", vec![1i64, 2])?.with("b", vec![3f64, 4.0])?;
    /// let table = table.stack("x", &["a", "b"])?;
    /// assert_eq!(table.names().collect::<Vec<_>>(), ["x"]);
    /// assert_eq!(table.column("x")?, &ndarray::array![[1f32, 3.0], [2.0, 4.0]].into());
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no such column, one is no vector, or there is another column called `name`.
    pub fn stack(mut self, name: &str, columns: &[&str]) -> Result<Table, Error> {
        let known: HashMap<&str, &Array> =
            self.columns.iter().map(|(name, array)| (&**name, array)).collect();
        let parts = columns.iter().map(|name| match known.get(name) {
            Some(found) if found.shape().len() == 1 => Ok(*found),
            Some(found) => {
                let (name, ty) = (excerpt(name), found.ty());
                let message = format!("expected a column {name} of one number a row, found {ty}");
                Err(Error::new(ErrorKind::Shape, message))
            }
            None => self.column(name),
        });
        let parts = parts.collect::<Result<Vec<&Array>, _>>()?;
        let mut matrix = ndarray::Array2::<f32>::zeros((self.rows, parts.len()));
        for (part, mut place) in parts.into_iter().zip(matrix.columns_mut()) {
            for (place, element) in place.iter_mut().zip(part.iter()) {
                *place = element.to_f64() as f32;
            }
        }
        let stacked: HashSet<&str> = columns.iter().copied().collect();
        self.columns.retain(|(known, _)| !stacked.contains(&**known));
        self.with(name, matrix)
    }

    /// Number of rows.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![true; 3])?;
    /// assert_eq!(table.rows(), 3);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names of the columns, in order.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![1i64])?.with("a", vec![2i64])?;
    /// assert_eq!(table.names().collect::<Vec<_>>(), ["x", "a"]);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// A column.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![1i64, 2])?;
    /// assert_eq!(table.column("x")?.shape(), [2]);
    /// assert!(table.column("y").unwrap_err().to_string().contains("found columns \"x\""));
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is none of this name.
    pub fn column(&self, name: &str) -> Result<&Array, Error> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        found.map(|(_, array)| array).ok_or_else(|| {
            let (name, found) = (excerpt(name), listed(self.names()));
            let found = if found.is_empty() { "none".into() } else { found };
            Error::new(ErrorKind::Name, format!("expected a column {name}, found columns {found}"))
        })
    }

    /// The table with a column's numbers in another dtype. Floats are cut to integers towards zero,
    /// those that are beyond become the integer type's least or greatest, and NaN becomes 0: whether
    /// numbers are whole is for who casts them to see.
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// let table = kilngrad::data::Table::new().with("y", vec![1f32, 2.0])?.cast("y", I64)?;
    /// assert_eq!(table.column("y")?.dtype(), I64);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no such column.
    pub fn cast(mut self, name: &str, dtype: DType) -> Result<Table, Error> {
        self.column(name)?;
        for (_, column) in self.columns.iter_mut().filter(|(known, _)| known == name) {
            *column = cast(column, dtype);
        }
        Ok(self)
    }

    /// The rows at these positions, in this order.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![5i64, 6, 7])?.select(&[2, 0]);
    /// assert_eq!(table.column("x")?, &vec![7i64, 5].into());
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a position is past the end.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Table {
        let columns = self.columns.iter().map(|(name, array)| {
            let selected: Array = for_array!(array, array => array.select(Axis(0), rows).into());
            (name.clone(), row_major(selected))
        });
        Table { rows: rows.len(), columns: columns.collect() }
    }

    /// The rows in an order drawn by `seed`.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", (0..100i64).collect::<Vec<_>>())?;
    /// assert_eq!(table.shuffle(1), table.shuffle(1));
    /// assert_ne!(table.shuffle(1), table);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    #[must_use]
    pub fn shuffle(&self, seed: u64) -> Table {
        self.select(&permutation(self.rows, seed))
    }

    /// A first part with `fraction` of the rows and a second with the others, drawn by `seed`.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![0f32; 10])?;
    /// let (train, test) = table.split(0.8, 1);
    /// assert_eq!((train.rows(), test.rows()), (8, 2));
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn split(&self, fraction: f64, seed: u64) -> (Table, Table) {
        let order = permutation(self.rows, seed);
        let first = ((self.rows as f64 * fraction).round() as usize).min(self.rows);
        (self.select(&order[..first]), self.select(&order[first..]))
    }

    /// Training rows and test rows, a row being test where its index is a multiple of `every`.
    ///
    /// ```
    /// let table = kilngrad::data::Table::new().with("x", vec![0i64, 1, 2, 3])?;
    /// let (train, test) = table.split_every(3);
    /// assert_eq!(test.column("x")?, &vec![0i64, 3].into());
    /// assert_eq!(train.rows(), 2);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `every` is zero.
    pub fn split_every(&self, every: usize) -> (Table, Table) {
        assert!(every > 0, "every zeroth row is no row");
        let (test, train): (Vec<usize>, Vec<usize>) =
            (0..self.rows).partition(|row| row.is_multiple_of(every));
        (self.select(&train), self.select(&test))
    }

    /// Every row once, in an order drawn by `seed`, `size` at a time; the last batch may be
    /// shorter. The order is that of [`shuffle`](Self::shuffle) with this seed, and of a set's own
    /// batches.
    ///
    /// ```
    /// use kilngrad::data::Table;
    ///
    /// let table = Table::new().with("x", (0..7i64).collect::<Vec<_>>())?;
    /// let batches: Vec<Table> = table.batches(3, 1).collect();
    /// assert_eq!(batches.iter().map(Table::rows).collect::<Vec<_>>(), [3, 3, 1]);
    /// assert_eq!(batches[0], table.shuffle(1).select(&[0, 1, 2]));
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `size` is zero.
    pub fn batches(&self, size: usize, seed: u64) -> impl Iterator<Item = Table> + '_ {
        assert!(size > 0, "a batch has at least one row");
        let order = permutation(self.rows, seed);
        let starts = (0..self.rows).step_by(size);
        starts.map(move |start| {
            let end = start.saturating_add(size).min(order.len());
            self.select(&order[start..end])
        })
    }
}

#[cfg(feature = "data")]
impl<T: kilngrad_interp::Element> From<crate::data::Dataset<T>> for Table {
    /// Columns `x` and `y`.
    ///
    /// # Panics
    ///
    /// If the set has not a target for each row.
    fn from(set: crate::data::Dataset<T>) -> Table {
        let rows = set.y.len();
        assert_eq!(set.x.nrows(), rows, "a target for each row");
        let columns = [("x", Array::from(set.x)), ("y", Array::from(set.y))];
        let columns = columns.map(|(name, array)| (name.to_owned(), row_major(array)));
        Table { rows, columns: columns.into() }
    }
}

/// Evaluates an expression for the `ndarray` inside an [`Array`], whatever its dtype.
macro_rules! for_array {
    ($array:expr, $inner:ident => $body:expr) => {
        match $array {
            kilngrad_interp::Array::F32($inner) => $body,
            kilngrad_interp::Array::F64($inner) => $body,
            kilngrad_interp::Array::I32($inner) => $body,
            kilngrad_interp::Array::I64($inner) => $body,
            kilngrad_interp::Array::U8($inner) => $body,
            kilngrad_interp::Array::Bool($inner) => $body,
        }
    };
}
pub(crate) use for_array;

/// The numbers of an array in another dtype. By way of `i64` where both are integers, which holds
/// them all.
fn cast(column: &Array, dtype: DType) -> Array {
    let elements = column.iter().map(kilngrad_ir::Literal::to_f64);
    let integers = || column.iter().map(kilngrad_ir::Literal::to_i64);
    let shape = column.shape();
    let whole = !column.dtype().is_float();
    let cast = match dtype {
        DType::F32 => Array::from_elements(shape, elements.map(|x| x as f32).collect()),
        DType::F64 => Array::from_elements(shape, elements.collect()),
        DType::I64 if whole => Array::from_elements(shape, integers().collect()),
        DType::I64 => Array::from_elements(shape, elements.map(|x| x as i64).collect()),
        DType::I32 => Array::from_elements(shape, elements.map(|x| x as i32).collect()),
        DType::U8 => Array::from_elements(shape, elements.map(|x| x as u8).collect()),
        DType::Bool => Array::from_elements(shape, elements.map(|x| x != 0.0).collect()),
    };
    cast.expect("as many elements in the same shape")
}

fn row_major(array: Array) -> Array {
    for_array!(array, array => match array.is_standard_layout() {
        true => array.into(),
        false => array.as_standard_layout().into_owned().into(),
    })
}

/// Copies rows of a column into `place`, which has its dtype, its further axes and as many rows as
/// `rows`. Allocates nothing.
///
/// # Panics
///
/// If it has not, or a row is past the end.
pub(crate) fn gather(column: &Array, rows: &[usize], place: &mut Array) {
    match (column, place) {
        (Array::F32(column), Array::F32(place)) => copy_rows(column, rows, place),
        (Array::F64(column), Array::F64(place)) => copy_rows(column, rows, place),
        (Array::I32(column), Array::I32(place)) => copy_rows(column, rows, place),
        (Array::I64(column), Array::I64(place)) => copy_rows(column, rows, place),
        (Array::U8(column), Array::U8(place)) => copy_rows(column, rows, place),
        (Array::Bool(column), Array::Bool(place)) => copy_rows(column, rows, place),
        (column, place) => {
            unreachable!("a place of {} for a column of {}", place.dtype(), column.dtype())
        }
    }
}

fn copy_rows<T: Copy>(column: &ArrayD<T>, rows: &[usize], place: &mut ArrayD<T>) {
    let width: usize = column.shape()[1..].iter().product();
    let from = column.as_slice().expect("a table's columns are in row-major order");
    let to = place.as_slice_mut().expect("a batch is in row-major order");
    assert_eq!(to.len(), rows.len() * width, "a batch of as many rows");
    if width == 0 {
        return;
    }
    for (row, to) in rows.iter().zip(to.chunks_exact_mut(width)) {
        to.copy_from_slice(&from[row * width..][..width]);
    }
}
