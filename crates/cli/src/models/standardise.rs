//! Features on one scale.

use kilngrad::data::Table;
use kilngrad::prelude::*;

/// `(x − mean)/deviation` of each column, as the training rows have them: states of the program, so that
/// it takes rows as they are measured.
pub(crate) struct Standardise {
    mean: Param,
    deviation: Param,
    /// Number of columns.
    pub(crate) columns: usize,
}

impl Standardise {
    /// Measures the column `x` of the training rows.
    pub(crate) fn new(scope: &Scope<'_>, rows: &Table) -> Result<Standardise> {
        let (train, _) = rows.split_every(5);
        let x = train.column("x")?;
        let &[count, columns] = x.shape() else {
            let message = format!("expected a column \"x\" of rows of numbers, found {}", x.ty());
            return Err(Error::new(ErrorKind::Shape, message));
        };
        let elements = x.to_f64_vec();
        let of = |column: usize| elements.iter().skip(column).step_by(columns);
        let mean = |column| of(column).sum::<f64>() / count as f64;
        let deviation = |column| {
            let mean = mean(column);
            let variance = of(column).map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
            // What never changes says nothing, and is not divided by 0.
            if variance > 0.0 { variance.sqrt() } else { 1.0 }
        };
        let state = |name, values| scope.state(name, F32, (columns,), Init::Values(values));
        Ok(Standardise {
            mean: state("mean", (0..columns).map(mean).collect()),
            deviation: state("deviation", (0..columns).map(deviation).collect()),
            columns,
        })
    }

    pub(crate) fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        (x - self.mean) / self.deviation
    }
}
