//! Images of digits in files, and the numbers that they are generated from.

use std::path::Path;

use kilngrad::data::Table;
use kilngrad::prelude::*;
use kilngrad::{Array, plot, random};
use ndarray::Array2;

use crate::models::model::Show;

/// Images of 8×8 pixels, one a row, as one picture.
pub(crate) fn write(path: &Path, images: &Array2<f32>) -> Result<()> {
    plot::image_grid(path, images.view(), (8, 8))
}

/// Rows of 64 numbers of whatever dtype.
pub(crate) fn rows(array: &Array) -> Result<Array2<f32>> {
    let numbers: Vec<f32> = array.to_f64_vec().iter().map(|number| *number as f32).collect();
    Array2::from_shape_vec((numbers.len() / 64, 64), numbers).map_err(|_| {
        let message = format!("expected images of 64 pixels, found {}", array.ty());
        Error::new(ErrorKind::Shape, message)
    })
}

/// A table with one column `z`, in the dtype of a model.
pub(crate) fn codes(z: Array2<f32>, float: DType) -> Result<Table> {
    Table::new().with("z", z)?.cast("z", float)
}

/// Independent standard normal numbers, the same in every run: Box and Muller (1958).
pub(crate) fn normal(name: &str, (rows, columns): (usize, usize)) -> Array2<f32> {
    let key = random::key(0, random::stream_of(name), 0);
    let unit = |index| random::element(key, index, DType::F64).to_f64();
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let index = 2 * (row * columns + column) as u64;
        let radius = (-2.0 * (1.0 - unit(index)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * unit(index + 1)).cos()) as f32
    })
}

/// Lengths of codes.
pub(crate) fn code() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=1024)
}

/// What shows a generator: the images that its entry `sample` makes of the same numbers each time.
pub(crate) fn samples(path: &Path, code: usize, float: DType) -> Result<Show> {
    let (path, table) = (path.to_owned(), codes(normal("samples", (SAMPLES, code)), float)?);
    Ok(Box::new(move |predict| {
        write(&path, &rows(&predict("sample", &table)?["images"])?)?;
        Ok(vec![format!("{path:?} has {SAMPLES} digits that were never written")])
    }))
}

/// Images in a picture of samples.
pub(crate) const SAMPLES: usize = 100;
