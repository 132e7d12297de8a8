//! Real data sets that ship inside the binary, splits and shuffled mini-batches.
//!
//! See data/README.md for their sources. Feature `data`.
//!
//! ```
//! use kilngrad::data;
//!
//! let (train, test) = data::digits()?.split_every(5);
//! let rows: usize = train.batches(32, 1).map(|batch| batch.len()).sum();
//! assert_eq!((rows, test.len()), (1437, 360));
//! # Ok::<(), kilngrad::Error>(())
//! ```

use ndarray::{Array1, Array2, Axis};

use kilngrad_ir::{Error, ErrorKind};

use crate::data::order::permutation;

/// Rows of features with a target each: a class index (`i64`) or a number (`f32`).
///
/// ```
/// use kilngrad::data;
///
/// let iris = data::iris()?;
/// assert_eq!((iris.x.dim(), iris.y.len()), ((150, 4), 150));
/// # Ok::<(), kilngrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset<T> {
    /// Features, rows × columns.
    pub x: Array2<f32>,
    /// Targets, one a row.
    pub y: Array1<T>,
}

/// Some rows of a data set.
///
/// ```
/// use kilngrad::data::{self, Batch};
///
/// let batch: Batch<i64> = data::iris()?.select(&[0, 149]);
/// assert_eq!(batch.y.to_vec(), [0, 2]);
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub type Batch<T> = Dataset<T>;

/// Handwritten digits: 1797 images of 8×8 pixels, scaled to 0…1, and the digit 0…9.
///
/// # Errors
///
/// Never, unless the embedded file is damaged.
///
/// # Examples
///
/// ```
/// use kilngrad::data;
///
/// let digits = data::digits()?;
/// assert_eq!((digits.x.dim(), digits.y[0]), ((1797, 64), 0));
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub fn digits() -> Result<Dataset<i64>, Error> {
    let (x, y) = parse(include_str!("../../../../data/digits.csv"))?;
    Ok(Dataset { x: x / 16.0, y: y.mapv(|digit| digit as i64) })
}

/// Breast cancer: 569 rows of 30 measurements, and 1 for benign or 0 for malignant.
///
/// # Errors
///
/// Never, unless the embedded file is damaged.
///
/// # Examples
///
/// ```
/// use kilngrad::data;
///
/// assert_eq!(data::breast_cancer()?.x.dim(), (569, 30));
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub fn breast_cancer() -> Result<Dataset<f32>, Error> {
    let (x, y) = parse(include_str!("../../../../data/breast_cancer.csv"))?;
    Ok(Dataset { x, y })
}

/// Diabetes: 442 rows of 10 measurements, and the disease's progression after a year.
///
/// # Errors
///
/// Never, unless the embedded file is damaged.
///
/// # Examples
///
/// ```
/// use kilngrad::data;
///
/// assert_eq!(data::diabetes()?.x.dim(), (442, 10));
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub fn diabetes() -> Result<Dataset<f32>, Error> {
    let (x, y) = parse(include_str!("../../../../data/diabetes.csv"))?;
    Ok(Dataset { x, y })
}

/// Iris: 150 rows of 4 measurements, and the species 0…2.
///
/// # Errors
///
/// Never, unless the embedded file is damaged.
///
/// # Examples
///
/// ```
/// use kilngrad::data;
///
/// assert_eq!(data::iris()?.x.dim(), (150, 4));
/// # Ok::<(), kilngrad::Error>(())
/// ```
pub fn iris() -> Result<Dataset<i64>, Error> {
    let (x, y) = parse(include_str!("../../../../data/iris.csv"))?;
    Ok(Dataset { x, y: y.mapv(|species| species as i64) })
}

/// Features and target of a CSV text with a header row, whose last column is the target.
fn parse(text: &str) -> Result<(Array2<f32>, Array1<f32>), Error> {
    let damaged = |what: String| Error::new(ErrorKind::Format, what);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let (mut features, mut targets) = (Vec::new(), Vec::new());
    for record in reader.deserialize::<Vec<f32>>() {
        let mut row = record
            .map_err(|error| Error::caused(ErrorKind::Format, "expected rows of numbers", error))?;
        targets.extend(row.pop());
        features.extend(row);
    }
    let rows = targets.len();
    let columns = features.len().checked_div(rows).unwrap_or(0);
    let x = Array2::from_shape_vec((rows, columns), features)
        .map_err(|_| damaged("expected rows of equal length".into()))?;
    Ok((x, Array1::from(targets)))
}

impl<T: Copy> Dataset<T> {
    /// Number of rows.
    ///
    /// ```
    /// use kilngrad::data;
    ///
    /// assert_eq!(data::iris()?.len(), 150);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there is no row.
    ///
    /// ```
    /// use kilngrad::data;
    ///
    /// assert!(data::iris()?.select(&[]).is_empty());
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// The rows at these positions, in this order.
    ///
    /// # Panics
    ///
    /// If a position is past the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::data;
    ///
    /// let iris = data::iris()?;
    /// assert_eq!(iris.select(&[7]).x.row(0), iris.x.row(7));
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn select(&self, rows: &[usize]) -> Batch<T> {
        Dataset { x: self.x.select(Axis(0), rows), y: self.y.select(Axis(0), rows) }
    }

    /// A first part with `fraction` of the rows and a second with the others, drawn by `seed`.
    ///
    /// ```
    /// use kilngrad::data;
    ///
    /// let (train, test) = data::iris()?.split(0.8, 7);
    /// assert_eq!((train.len(), test.len()), (120, 30));
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn split(&self, fraction: f64, seed: u64) -> (Dataset<T>, Dataset<T>) {
        let order = permutation(self.len(), seed);
        let first = ((self.len() as f64 * fraction).round() as usize).min(self.len());
        (self.select(&order[..first]), self.select(&order[first..]))
    }

    /// Training rows and test rows, a row being test where its index is a multiple of `every`.
    ///
    /// # Panics
    ///
    /// If `every` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::data;
    ///
    /// let iris = data::iris()?;
    /// let (train, test) = iris.split_every(5);
    /// assert_eq!((train.len(), test.len()), (120, 30));
    /// assert_eq!(test.x.row(1), iris.x.row(5));
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn split_every(&self, every: usize) -> (Dataset<T>, Dataset<T>) {
        assert!(every > 0, "every zeroth row is no row");
        let (test, train): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|row| row.is_multiple_of(every));
        (self.select(&train), self.select(&test))
    }

    /// Every row once, in an order drawn by `seed`, `size` at a time; the last batch may be
    /// shorter.
    ///
    /// # Panics
    ///
    /// If `size` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad::data;
    ///
    /// let sizes: Vec<usize> = data::iris()?.batches(64, 1).map(|batch| batch.len()).collect();
    /// assert_eq!(sizes, [64, 64, 22]);
    /// # Ok::<(), kilngrad::Error>(())
    /// ```
    pub fn batches(&self, size: usize, seed: u64) -> impl Iterator<Item = Batch<T>> + '_ {
        assert!(size > 0, "a batch has at least one row");
        let order = permutation(self.len(), seed);
        let starts = (0..self.len()).step_by(size);
        starts.map(move |start| {
            let end = start.saturating_add(size).min(order.len());
            self.select(&order[start..end])
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_their_sizes() {
        assert_eq!(digits().unwrap().x.dim(), (1797, 64));
        assert_eq!(breast_cancer().unwrap().x.dim(), (569, 30));
        assert_eq!(diabetes().unwrap().x.dim(), (442, 10));
        assert_eq!(iris().unwrap().x.dim(), (150, 4));
        let digits = digits().unwrap();
        assert!(digits.x.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        assert!(digits.y.iter().all(|digit| (0..10).contains(digit)));
    }

    #[test]
    fn an_epoch_has_every_row_once() {
        let set = iris().unwrap();
        let tagged = Dataset { x: set.x.clone(), y: Array1::from_iter(0..150i64) };
        let mut seen: Vec<i64> = tagged.batches(32, 3).flat_map(|batch| batch.y).collect();
        assert_ne!(seen, (0..150).collect::<Vec<i64>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..150).collect::<Vec<i64>>());
        let sizes: Vec<usize> = tagged.batches(32, 3).map(|batch| batch.len()).collect();
        assert_eq!(sizes, [32, 32, 32, 32, 22]);
        let again: Vec<_> = tagged.batches(32, 3).map(|batch| batch.y).collect();
        let other: Vec<_> = tagged.batches(32, 4).map(|batch| batch.y).collect();
        assert_eq!(again, tagged.batches(32, 3).map(|batch| batch.y).collect::<Vec<_>>());
        assert_ne!(again, other);
    }

    #[test]
    fn every_fifth_row_is_test() {
        let set = Dataset { x: Array2::zeros((11, 1)), y: Array1::from_iter(0..11i64) };
        let (train, test) = set.split_every(5);
        assert_eq!(test.y.to_vec(), [0, 5, 10]);
        assert_eq!(train.len(), 8);
    }
}
