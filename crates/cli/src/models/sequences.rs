//! Images as sequences: a row of pixels is a step.

use kilngrad::Array;
use kilngrad::data::Table;
use kilngrad::prelude::*;

/// Numbers of a step: the pixels of a row.
pub(super) const ROW: usize = 8;

/// Images `[n, 8·t]` as sequences `[n, t, 8]`.
pub(super) fn sequences(digits: &Table) -> Result<Table> {
    let x = digits.column("x")?;
    let rows = x.to_f64_vec();
    let shape = [digits.rows(), rows.len() / ROW / digits.rows().max(1), ROW];
    let Some(sequences) = Array::from_elements(&shape, rows) else {
        let message = format!("expected images of rows of {ROW} pixels, found {}", x.ty());
        return Err(Error::new(ErrorKind::Shape, message));
    };
    let table = Table::new().with("x", sequences)?.cast("x", x.dtype())?;
    table.with("y", digits.column("y")?.clone())
}
