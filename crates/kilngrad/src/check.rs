//! Gradients held against difference quotients, for tests of a user's own programs.
//!
//! Whoever writes a gradient by hand ([`custom_gradient`]), or builds a function of many pieces,
//! wants to know that what is derived is the derivative. [`check_gradients`] takes a loss of an
//! entry's outputs, has it differentiated, and compares the result with quotients of the loss
//! itself, both computed by the reference interpreter in `f64`.
//!
//! The loss is `Σ c·y` over the elements of the outputs with drawn numbers `c`, none of which is
//! 1, so that a dropped factor is seen. Second derivatives are those of `Σ c·g` over the elements of the
//! first ones. Each input and parameter is moved by itself: element by element, where there are
//! not too many, and along random directions through all of its elements.
//!
//! A quotient is only as good as the function is smooth: at the kink of a `relu` there is none. So
//! each comes with its own uncertainty, and where that is not small against what the comparison
//! allows, the place is skipped and counted. A check that skips every place of a value fails.
//!
//! ```
//! use kilngrad::check::{GradientCheck, check_gradients};
//! use kilngrad::prelude::*;
//!
//! let b = Builder::new("squares").with_float(F64);
//! let run = b.entry("run", Mode::Train);
//! let x = run.input("x", F32, (3,));
//! // The derivative of x² is 2x.
//! let wrong = x.custom_gradient(|x| x.square(), |x, _, dy| dy * x);
//! let right = x.custom_gradient(|x| x.square(), |x, _, dy| dy * x * 2.0);
//! run.output("wrong", wrong);
//! run.output("right", right);
//! let program = b.finish()?;
//!
//! let check = |output| check_gradients(&program, "run", &GradientCheck::new().outputs(&[output]));
//! assert!(check("right")?.passed());
//! assert!(!check("wrong")?.passed());
//! # Ok::<(), kilngrad::Error>(())
//! ```
//!
//! [`custom_gradient`]: kilngrad_builder::Tensor::custom_gradient

mod problem;
mod quotient;
mod report;

use kilngrad_interp::Array;
use kilngrad_ir::{Bindings, Error, ErrorKind, Program, Symbol};
use kilngrad_runtime::Input;

pub use report::{CheckedValue, Disagreement, GradientReport};

use problem::{Problem, Subject};
use quotient::{OFFSETS, Quotient};

/// How gradients are checked.
///
/// ```
/// use kilngrad::check::{GradientCheck, check_gradients};
/// use kilngrad::prelude::*;
///
/// // Differences need `f64`: the same declaration, in another dtype.
/// let b = Builder::new("layer").with_float(F64);
/// let layer = Dense::new(&b.scope("net"), "layer", 3, 2);
/// let run = b.entry("run", Mode::Train);
/// run.output("y", layer.forward(run.input("x", F32, (b.dim("n"), 3))).gelu());
///
/// let check = GradientCheck::new().bind("n", 4).second_order(true);
/// let report = check_gradients(&b.finish()?, "run", &check)?;
/// assert!(report.passed(), "{report}");
/// # Ok::<(), kilngrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GradientCheck {
    second_order: bool,
    outputs: Option<Vec<String>>,
    wrt: Option<Vec<String>>,
    feeds: Vec<(String, Array)>,
    bindings: Bindings,
    seed: i64,
    range: (f64, f64),
    step: f64,
    tolerance: f64,
    elements: usize,
    directions: usize,
}

impl Default for GradientCheck {
    fn default() -> GradientCheck {
        GradientCheck::new()
    }
}

impl GradientCheck {
    /// First derivatives of every float output by every float input and every parameter; inputs
    /// drawn from −1.5 to 1.5 by seed 0; steps of 1e-3, a tolerance of 1e-6, up to 64 elements
    /// and 4 directions of each value.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", x.square() * x);
    ///
    /// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new())?;
    /// assert!(report.passed(), "{report}");
    /// assert_eq!(report.compared(), 7); // 3 elements and 4 directions
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new() -> GradientCheck {
        GradientCheck {
            second_order: false,
            outputs: None,
            wrt: None,
            feeds: Vec::new(),
            bindings: Bindings::new(),
            seed: 0,
            range: (-1.5, 1.5),
            step: 1e-3,
            tolerance: 1e-6,
            elements: 64,
            directions: 4,
        }
    }

    /// Whether second derivatives are checked too.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// // The derivative is right, but written so that it has none itself.
    /// let y = x.custom_gradient(|x| x.square(), |x, _, dy| dy * (x * 2.0).stop_gradient());
    /// e.output("y", y);
    /// let program = b.finish()?;
    ///
    /// let (first, second) = (GradientCheck::new(), GradientCheck::new().second_order(true));
    /// assert!(check_gradients(&program, "run", &first)?.passed());
    /// assert!(!check_gradients(&program, "run", &second)?.passed());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn second_order(self, second_order: bool) -> GradientCheck {
        GradientCheck { second_order, ..self }
    }

    /// Only these outputs make the loss.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// e.output("right", x.square());
    /// // The derivative of x² is 2x.
    /// e.output("wrong", x.custom_gradient(|x| x.square(), |x, _, dy| dy * x));
    /// let program = b.finish()?;
    ///
    /// let check = |name| check_gradients(&program, "run", &GradientCheck::new().outputs(&[name]));
    /// assert!(check("right")?.passed());
    /// assert!(!check("wrong")?.passed());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn outputs(self, names: &[&str]) -> GradientCheck {
        GradientCheck { outputs: Some(owned(names)), ..self }
    }

    /// Only derivatives by these: names of inputs, paths of states.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let w = b.param("w", (3,), Init::Ones);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", x * w);
    ///
    /// let check = GradientCheck::new().wrt(&["w"]);
    /// let report = check_gradients(&b.finish()?, "run", &check)?;
    /// assert_eq!(report.values.len(), 1);
    /// assert_eq!(report.values[0].name, "w");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn wrt(self, names: &[&str]) -> GradientCheck {
        GradientCheck { wrt: Some(owned(names)), ..self }
    }

    /// An input; what is not fed is drawn. Integers and truth values must be fed.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let logits = e.input("logits", F32, (2, 3));
    /// let class = e.input("class", I64, (2,));
    /// e.output("loss", logits.cross_entropy(class));
    ///
    /// let check = GradientCheck::new().feed("class", &ndarray::array![0i64, 2]);
    /// let report = check_gradients(&b.finish()?, "run", &check)?;
    /// assert!(report.passed(), "{report}");
    /// assert_eq!(report.values.len(), 1); // an integer has no derivative
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn feed(mut self, name: &str, value: &dyn Input) -> GradientCheck {
        let mut bytes = vec![0; value.shape().iter().product::<usize>() * value.dtype().size()];
        value.write_to(&mut bytes);
        let array = Array::from_bytes(value.dtype(), value.shape(), &bytes);
        self.feeds.push((name.to_owned(), array.expect("an input writes its own elements")));
        self
    }

    /// What a symbol stands for, if no input that is fed says it.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (b.dim("n"), 3));
    /// e.output("y", x.softmax(-1));
    ///
    /// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new().bind("n", 4))?;
    /// assert!(report.passed(), "{report}");
    /// assert_eq!(report.values[0].elements, 12);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn bind(mut self, symbol: &str, length: usize) -> GradientCheck {
        self.bindings.insert(Symbol::new(symbol), length);
        self
    }

    /// The seed of drawn inputs, of initial values of states and of random numbers.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", x.tanh());
    /// let program = b.finish()?;
    ///
    /// let check = |seed| check_gradients(&program, "run", &GradientCheck::new().seed(seed));
    /// assert_eq!(check(7)?, check(7)?);
    /// assert_ne!(check(7)?, check(8)?); // at another place
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn seed(self, seed: i64) -> GradientCheck {
        GradientCheck { seed, ..self }
    }

    /// Where drawn inputs lie: from `low` to below `high`.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", x.log());
    /// let program = b.finish()?;
    ///
    /// let positive = GradientCheck::new().range(0.5, 2.0);
    /// assert!(check_gradients(&program, "run", &positive)?.passed());
    /// // There is no logarithm, so nothing to compare, and a check of nothing fails.
    /// let negative = GradientCheck::new().range(-2.0, -0.5);
    /// let report = check_gradients(&program, "run", &negative)?;
    /// assert!(!report.passed());
    /// assert_eq!((report.compared(), report.skipped()), (0, 7));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn range(self, low: f64, high: f64) -> GradientCheck {
        GradientCheck { range: (low, high), ..self }
    }

    /// How far an element is moved.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", (x * 1e3).sin()); // which bends within a step
    /// let program = b.finish()?;
    ///
    /// let wide = check_gradients(&program, "run", &GradientCheck::new())?;
    /// assert_eq!((wide.compared(), wide.skipped()), (0, 7));
    /// let narrow = check_gradients(&program, "run", &GradientCheck::new().step(1e-6))?;
    /// assert_eq!((narrow.passed(), narrow.skipped()), (true, 0), "{narrow}");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn step(self, step: f64) -> GradientCheck {
        GradientCheck { step, ..self }
    }

    /// How far a derivative may be from the quotient, relative to the sum of the sizes of what both
    /// are made of.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (3,));
    /// // A derivative that is one part in a thousand too large.
    /// e.output("y", x.custom_gradient(|x| x.square(), |x, _, dy| dy * x * 2.002));
    /// let program = b.finish()?;
    ///
    /// assert!(!check_gradients(&program, "run", &GradientCheck::new())?.passed());
    /// let lax = GradientCheck::new().tolerance(1e-2);
    /// assert!(check_gradients(&program, "run", &lax)?.passed());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> GradientCheck {
        GradientCheck { tolerance, ..self }
    }

    /// How many elements of each value are moved one by one, spread evenly where it has more, and
    /// along how many random directions it is moved.
    ///
    /// ```
    /// use kilngrad::check::{GradientCheck, check_gradients};
    /// use kilngrad::prelude::*;
    ///
    /// let b = Builder::new("example").with_float(F64);
    /// let e = b.entry("run", Mode::Train);
    /// let x = e.input("x", F32, (100,));
    /// e.output("y", x.square());
    ///
    /// let report = check_gradients(&b.finish()?, "run", &GradientCheck::new().effort(8, 2))?;
    /// assert_eq!((report.values[0].elements, report.compared()), (100, 10));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn effort(self, elements: usize, directions: usize) -> GradientCheck {
        GradientCheck { elements, directions, ..self }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Compares the gradients of an entry with difference quotients. States are not changed.
///
/// # Errors
///
/// If there is no such entry, output, input or state, what is checked is not `f64`, a symbol is
/// not bound or an input does not fit, a condition of the entry is false at the point,
/// or the entry cannot be differentiated or interpreted. That gradients disagree is no error but
/// what the report says.
///
/// # Examples
///
/// ```
/// use kilngrad::check::{GradientCheck, check_gradients};
/// use kilngrad::prelude::*;
///
/// let b = Builder::new("example").with_float(F64);
/// let e = b.entry("run", Mode::Train);
/// let x = e.input("x", F32, (3,));
/// e.output("y", x.gelu());
///
/// let check = GradientCheck::new().second_order(true);
/// let report = check_gradients(&b.finish()?, "run", &check)?;
/// assert!(report.passed(), "{report}");
/// let orders = report.values.iter().map(|value| value.order);
/// assert!(orders.eq([1, 2]));
/// # Ok::<(), Error>(())
/// ```
pub fn check_gradients(
    program: &Program,
    entry: &str,
    check: &GradientCheck,
) -> Result<GradientReport, Error> {
    let fine = |number: f64| number.is_finite() && number > 0.0;
    if !fine(check.step) || !fine(check.tolerance) {
        let message = format!(
            "expected a step and a tolerance above 0, found {} and {}",
            check.step, check.tolerance
        );
        return Err(Error::new(ErrorKind::Gradient, message));
    }
    let problem = Problem::new(program, entry, check)?;
    let here = problem.evaluate(None)?;
    let mut values = Vec::new();
    for subject in &problem.subjects {
        let mut checked: Vec<CheckedValue> =
            (1..=problem.orders).map(|order| CheckedValue::new(subject, order)).collect();
        for probe in probes(subject, check) {
            let mut around = Vec::with_capacity(OFFSETS.len());
            for offset in OFFSETS {
                let moved = probe.moved(subject, offset * check.step);
                around.push(problem.evaluate(Some((subject, &moved)))?);
            }
            for (order, checked) in checked.iter_mut().enumerate() {
                let losses: Vec<f64> = around.iter().map(|at| at.loss(order)).collect();
                let quotient = Quotient::of(&losses, here.loss(order), check.step);
                let terms = probe.terms(&here.gradient(subject, order));
                // What the rounding of the loss itself may do to a quotient.
                let noise = 1e3 * f64::EPSILON * here.magnitude(order) / check.step;
                checked.compare(probe.index(subject), &terms, quotient, noise, check.tolerance);
            }
        }
        values.extend(checked);
    }
    Ok(GradientReport::new(entry, check.tolerance, values))
}

/// Where a value is moved.
#[derive(Debug)]
enum Probe {
    Element(usize),
    /// Through all elements, each by so much.
    Direction(Vec<f64>),
}

/// The probes of a value: elements, then directions of length 1.
fn probes(subject: &Subject, check: &GradientCheck) -> Vec<Probe> {
    let length = subject.elements.len();
    if length == 0 {
        return Vec::new();
    }
    let count = length.min(check.elements);
    let elements = (0..count).map(|index| Probe::Element(index * length / count));
    let directions = (0..check.directions).map(|direction| {
        let stream = format!("check.direction.{}.{direction}", subject.name);
        let size = 1.0 / (length as f64).sqrt();
        let units = problem::units(check.seed, &stream, length);
        Probe::Direction(units.map(|unit| if unit < 0.5 { -size } else { size }).collect())
    });
    elements.chain(directions).collect()
}

impl Probe {
    /// The elements of the value at a distance.
    fn moved(&self, subject: &Subject, distance: f64) -> Vec<f64> {
        let mut elements = subject.elements.clone();
        match self {
            Probe::Element(index) => elements[*index] += distance,
            Probe::Direction(direction) => {
                for (element, along) in elements.iter_mut().zip(direction) {
                    *element += distance * along;
                }
            }
        }
        elements
    }

    /// What the derivative along the probe is the sum of.
    fn terms(&self, gradient: &[f64]) -> Vec<f64> {
        match self {
            Probe::Element(index) => vec![gradient[*index]],
            Probe::Direction(direction) => {
                gradient.iter().zip(direction).map(|(slope, along)| slope * along).collect()
            }
        }
    }

    /// The indices of the element; `None` for a direction.
    fn index(&self, subject: &Subject) -> Option<Vec<usize>> {
        match self {
            Probe::Element(index) => Some(subject.indices(*index)),
            Probe::Direction(_) => None,
        }
    }
}
