//! The rows of a file that `--data` names.

use std::path::Path;

use kilngrad::Array;
use kilngrad::data::{self, Table};
use kilngrad::prelude::*;
use ndarray::Array2;

use crate::output::counted;

/// Columns `x`, of dtype `float`, and `y`, of dtype `target`, of a file: `.csv` whose last column is
/// the target, or `.npz` or `.safetensors` with these arrays.
///
/// # Errors
///
/// If it is no such file, has less than two rows, or `target` is an integer type and a target is no whole number.
pub(crate) fn read(path: &Path, float: DType, target: DType) -> Result<Table> {
    let limits = Limits::default();
    let table = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => features(&data::read_csv(path, &limits)?)?,
        Some("npz") => Table::from_npz(path, &limits)?,
        Some("safetensors") => Table::from_safetensors(path, &limits)?,
        Some(_) | None => {
            let message =
                format!("expected a file that ends in .csv, .npz or .safetensors, found {path:?}");
            return Err(Error::new(ErrorKind::Format, message));
        }
    };
    let typed = || {
        if table.rows() < 2 {
            let found = counted(table.rows(), "row");
            let message = format!("expected a row to test and one to train on, found {found}");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        if target.is_integer() {
            expect_whole(table.column("y")?)?;
        }
        table.cast("x", float)?.cast("y", target)
    };
    typed().map_err(|error| {
        Error::caused(error.kind(), format!("{path:?} has no rows to train on"), error)
    })
}

/// All columns but the last as one matrix, in a precision that loses nothing of theirs, and the last.
fn features(table: &Table) -> Result<Table> {
    let names: Vec<&str> = table.names().collect();
    let (target, features) = names.split_last().map_or(("", &[][..]), |(y, x)| (y, x));
    let mut x = Array2::<f64>::zeros((table.rows(), features.len()));
    for (name, mut place) in features.iter().zip(x.columns_mut()) {
        let column = table.column(name)?.to_f64_vec();
        place.iter_mut().zip(column).for_each(|(place, number)| *place = number);
    }
    Table::new().with("x", x)?.with("y", table.column(target)?.clone())
}

/// Refuses targets that a cast to integers would change.
fn expect_whole(y: &Array) -> Result<()> {
    if !y.dtype().is_float() {
        return Ok(());
    }
    // As many elements in a row as after the first axis.
    let width: usize = y.shape().iter().skip(1).product();
    let whole = |number: f64| number.trunc() == number && number.abs() < 2f64.powi(53);
    match y.to_f64_vec().into_iter().enumerate().find(|(_, number)| !whole(*number)) {
        None => Ok(()),
        Some((at, number)) => {
            let row = at / width.max(1) + 1;
            let message = format!("expected a whole number in y of row {row}, found {number:?}");
            Err(Error::new(ErrorKind::Format, message))
        }
    }
}
