//! Any bytes as files of data.

use kilngrad::data::{Table, parse_csv, parse_idx, parse_npy, parse_npz};
use kilngrad::{Array, Error};
use kilngrad_ir::text::Limits;

/// Much smaller than the defaults, so that a reader that passes them is noticed.
fn limits() -> Limits {
    Limits { file_bytes: 1 << 16, elements: 1 << 12, values: 64, ..Limits::default() }
}

/// A CSV text is refused, or read as columns of as many rows within the limits.
///
/// # Panics
///
/// If neither.
pub fn csv(bytes: &[u8]) {
    let Some(table) = said(parse_csv(bytes, &limits())) else { return };
    let names: Vec<&str> = table.names().collect();
    assert!(names.len() <= limits().values && !names.is_empty());
    assert!(names.len() * table.rows() <= limits().elements);
    for name in names {
        let column = table.column(name).expect("a name that the table gave");
        assert_eq!(column.shape(), [table.rows()]);
    }
}

/// A `.npy` file is refused, or read as an array of just its bytes.
///
/// # Panics
///
/// If neither.
pub fn npy(bytes: &[u8]) {
    let Some(array) = said(parse_npy(bytes, &limits())) else { return };
    within(&array);
    assert!(array.len() * array.dtype().size() < bytes.len(), "more elements than bytes");
}

/// A `.npz` file is refused, or read as arrays that are within the limits together.
///
/// # Panics
///
/// If neither.
pub fn npz(bytes: &[u8]) {
    let Some(arrays) = said(parse_npz(bytes, &limits())) else { return };
    assert!(arrays.len() <= limits().values);
    assert!(arrays.values().map(Array::len).sum::<usize>() <= limits().elements);
    arrays.values().for_each(within);
}

/// An IDX file, gzipped or not, is refused, or read as an array within the limits.
///
/// # Panics
///
/// If neither.
pub fn idx(bytes: &[u8]) {
    let Some(array) = said(parse_idx(bytes, &limits())) else { return };
    within(&array);
}

/// What was read; an error has something to say.
fn said<T>(read: Result<T, Error>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 4096, "an error of {} bytes", text.len());
            None
        }
    }
}

/// An array is within the limits, and so are the rows of a table of it.
fn within(array: &Array) {
    assert!(array.len() <= limits().elements, "{} elements", array.len());
    assert_eq!(array.shape().iter().product::<usize>(), array.len());
    if let Ok(table) = Table::new().with("x", array.clone()) {
        let rows = table.rows();
        assert!(rows <= limits().elements, "{rows} rows");
        let (train, test) = table.split_every(2);
        assert_eq!((train.rows(), test.rows()), (rows / 2, rows.div_ceil(2)));
    }
}
