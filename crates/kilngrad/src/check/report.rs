//! What a check has found.

use std::fmt;

use kilngrad_ir::Site;

use super::problem::Subject;
use super::quotient::Quotient;

/// How gradients compare with difference quotients.
///
/// ```
/// use kilngrad::check::{GradientCheck, check_gradients};
/// use kilngrad::prelude::*;
///
/// let b = Builder::new("example").with_float(F64);
/// let e = b.entry("run", Mode::Train);
/// let x = e.input("x", F32, (3,));
/// // The derivative of x² is 2x.
/// e.output("y", x.custom_gradient(|x| x.square(), |x, _, dy| dy * x));
///
/// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
/// let shown = report.to_string();
/// assert!(shown.starts_with("gradients of entry \"run\" do not agree with difference quotients"));
/// assert_eq!(shown.lines().count(), 2); // the verdict, and one value
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a report says whether the gradients are right"]
#[non_exhaustive]
pub struct GradientReport {
    /// The entry.
    pub entry: String,
    /// What was allowed.
    pub tolerance: f64,
    /// Each value that was moved, once for each order.
    pub values: Vec<CheckedValue>,
}

/// The derivatives of one order by one input or parameter.
///
/// ```
/// use kilngrad::check::{GradientCheck, check_gradients};
/// use kilngrad::prelude::*;
///
/// let b = Builder::new("example").with_float(F64);
/// let e = b.entry("run", Mode::Train);
/// let x = e.input("x", F32, (3,));
/// e.output("y", x.square());
///
/// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
/// let by_x = &report.values[0];
/// assert_eq!((&*by_x.name, by_x.order, by_x.elements), ("x", 1, 3));
/// assert_eq!((by_x.compared, by_x.skipped), (7, 0)); // 3 elements and 4 directions
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckedValue {
    /// The input's name or the state's path.
    pub name: String,
    /// Where the program reads it first.
    pub site: Option<Site>,
    /// 1 or 2.
    pub order: usize,
    /// Number of its elements.
    pub elements: usize,
    /// Elements and directions that were compared.
    pub compared: usize,
    /// Elements and directions that have no sure quotient: at a kink, a jump, or a number that is
    /// not finite.
    pub skipped: usize,
    /// The largest disagreement, that of an element before one along a direction if both are too
    /// large; `None` if nothing was compared.
    pub worst: Option<Disagreement>,
}

/// A derivative beside its quotient.
///
/// ```
/// use kilngrad::check::{GradientCheck, check_gradients};
/// use kilngrad::prelude::*;
///
/// let b = Builder::new("example").with_float(F64);
/// let e = b.entry("run", Mode::Train);
/// let x = e.input("x", F32, (3,));
/// // The derivative of x² is 2x.
/// e.output("y", x.custom_gradient(|x| x.square(), |x, _, dy| dy * x));
///
/// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
/// let worst = report.worst().and_then(|value| value.worst.as_ref()).expect("x was moved");
/// assert!((worst.numeric / worst.analytic - 2.0).abs() < 1e-6);
/// assert!((worst.error - 1.0 / 3.0).abs() < 1e-2); // |x − 2x|, of |x| + |2x|
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Disagreement {
    /// The element's index along each axis; `None` along a random direction.
    pub index: Option<Vec<usize>>,
    /// The derivative, by differentiation.
    pub analytic: f64,
    /// The quotient.
    pub numeric: f64,
    /// How far they are apart, relative to the sizes of what they are made of.
    pub error: f64,
}

impl GradientReport {
    pub(super) fn new(entry: &str, tolerance: f64, values: Vec<CheckedValue>) -> GradientReport {
        GradientReport { entry: entry.to_owned(), tolerance, values }
    }

    /// Whether every derivative is within the tolerance, and at least one of each value that has
    /// elements was compared.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// // The derivative of x² is 2x.
    /// e.output("y", x.custom_gradient(|x| x.square(), |x, _, dy| dy * x));
    ///
    /// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
    /// assert!(!report.passed());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn passed(&self) -> bool {
        self.compared() > 0 && self.values.iter().all(|value| value.passed(self.tolerance))
    }

    /// Elements and directions that were compared.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (2, 3));
    /// e.output("y", x.exp());
    ///
    /// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
    /// assert_eq!(report.compared(), 10); // 6 elements and 4 directions
    /// # Ok::<(), Error>(())
    /// ```
    pub fn compared(&self) -> usize {
        self.values.iter().map(|value| value.compared).sum()
    }

    /// Elements and directions that have no sure quotient.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", x.relu());
    ///
    /// let check = GradientCheck::new().feed("x", &ndarray::array![-1.0, 0.0, 1.0]).effort(3, 0);
    /// let report = check_gradients(&b.finish()?, "run", &check)?;
    /// assert_eq!((report.compared(), report.skipped()), (2, 1)); // the kink is at 0
    /// assert!(report.passed());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn skipped(&self) -> usize {
        self.values.iter().map(|value| value.skipped).sum()
    }

    /// The value with the largest disagreement, if anything was compared.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let [w, x] = ["w", "x"].map(|name| e.input(name, F32, (3,)));
    /// e.output("z", w.exp());
    /// // The derivative of x² is 2x.
    /// e.output("y", x.custom_gradient(|x| x.square(), |x, _, dy| dy * x));
    ///
    /// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
    /// assert_eq!(report.worst().map(|value| &*value.name), Some("x"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn worst(&self) -> Option<&CheckedValue> {
        let error = |value: &CheckedValue| value.worst.as_ref().map_or(-1.0, |worst| worst.error);
        let compared = self.values.iter().filter(|value| value.worst.is_some());
        compared.max_by(|lhs, rhs| error(lhs).total_cmp(&error(rhs)))
    }
}

impl CheckedValue {
    pub(super) fn new(subject: &Subject, order: usize) -> CheckedValue {
        CheckedValue {
            name: subject.name.clone(),
            site: subject.site.clone(),
            order,
            elements: subject.elements.len(),
            compared: 0,
            skipped: 0,
            worst: None,
        }
    }

    fn passed(&self, tolerance: f64) -> bool {
        let seen = self.compared > 0 || self.elements == 0;
        seen && self.worst.as_ref().is_none_or(|worst| worst.error <= tolerance)
    }

    /// Compares the derivative that is the sum of `terms` with a quotient. Beyond the tolerance,
    /// relative to the sizes of the terms and the quotient, `noise` is allowed.
    pub(super) fn compare(
        &mut self,
        index: Option<Vec<usize>>,
        terms: &[f64],
        quotient: Option<Quotient>,
        noise: f64,
        tolerance: f64,
    ) {
        let analytic: f64 = terms.iter().sum();
        let size: f64 = terms.iter().map(|term| term.abs()).sum();
        let sure = quotient.filter(|quotient| {
            let size = quotient.value.abs() + if size.is_finite() { size } else { 0.0 };
            quotient.uncertainty <= 0.25 * (tolerance * size + noise)
        });
        let Some(Quotient { value: numeric, .. }) = sure else {
            self.skipped += 1;
            return;
        };
        self.compared += 1;
        let allowed = size + numeric.abs() + noise / tolerance;
        let apart = (analytic - numeric).abs();
        let error = match apart == 0.0 {
            true => 0.0,
            // A derivative that is not a number is as far off as can be.
            false => Some(apart / allowed).filter(|e| e.is_finite()).unwrap_or(f64::INFINITY),
        };
        let rank =
            |index: &Option<Vec<usize>>, error: f64| (error > tolerance && index.is_some(), error);
        let worse = self
            .worst
            .as_ref()
            .is_none_or(|worst| rank(&index, error) > rank(&worst.index, worst.error));
        if worse {
            self.worst = Some(Disagreement { index, analytic, numeric, error });
        }
    }
}

/// A line for the whole, then one for each value and order.
impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "agree with" } else { "do not agree with" };
        write!(
            f,
            "gradients of entry {:?} {verdict} difference quotients: {} compared, {} skipped, \
             tolerance {:e}",
            self.entry,
            self.compared(),
            self.skipped(),
            self.tolerance
        )?;
        for value in &self.values {
            let mark = if value.passed(self.tolerance) { ' ' } else { '!' };
            write!(f, "\n{mark} {value}")?;
        }
        Ok(())
    }
}

/// One line: where, how many, and the largest disagreement.
impl fmt::Display for CheckedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.order == 1 { "first" } else { "second" };
        write!(
            f,
            "{order} order by {:?}: {} compared, {} skipped",
            self.name, self.compared, self.skipped
        )?;
        match &self.worst {
            Some(worst) => write!(f, "; {worst}")?,
            None if self.elements == 0 => f.write_str("; it has no elements")?,
            None => f.write_str("; nothing was compared")?,
        }
        match &self.site {
            Some(site) => write!(f, "; read at {site}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.index {
            Some(index) => write!(f, "worst at {index:?}")?,
            None => f.write_str("worst along a direction")?,
        }
        write!(
            f,
            ": {:?} by differentiation, {:?} by differences, relative error {:.1e}",
            self.analytic, self.numeric, self.error
        )
    }
}
