//! Learning rates as functions of the step: of arithmetic and `libm`, so the same bits on every
//! machine.

use std::f64::consts::PI;

/// A learning rate, or any other number that is fed, as a function of the step.
///
/// A function is one: `|step: u64| 0.1 / (1.0 + step as f64)`.
///
/// ```
/// use kilngrad::trainer::{Cosine, Schedule};
///
/// let falling = |step: u64| 1.0 / (1.0 + step as f64);
/// assert_eq!(falling.rate(3), 0.25);
/// let warm = Cosine { first: 1.0, last: 0.0, steps: 100 }.warm_up(10);
/// assert_eq!((warm.rate(0), warm.rate(9), warm.rate(10), warm.rate(500)), (0.1, 1.0, 1.0, 0.0));
/// ```
pub trait Schedule {
    /// The rate of a step, counted from 0.
    ///
    /// ```
    /// use kilngrad::trainer::{Constant, Schedule};
    /// assert_eq!(Constant(0.5).rate(1_000), 0.5);
    /// ```
    fn rate(&self, step: u64) -> f64;

    /// The schedule after `steps` steps in which the rate grows from near 0 to its first one in equal
    /// parts; its own steps count from there.
    ///
    /// ```
    /// use kilngrad::trainer::{Constant, Schedule};
    /// let warm = Constant(1.0).warm_up(4);
    /// assert_eq!([0, 1, 2, 3, 4].map(|step| warm.rate(step)), [0.25, 0.5, 0.75, 1.0, 1.0]);
    /// ```
    fn warm_up(self, steps: u64) -> WarmUp<Self>
    where
        Self: Sized,
    {
        WarmUp { steps, then: self }
    }
}

impl<F: Fn(u64) -> f64> Schedule for F {
    fn rate(&self, step: u64) -> f64 {
        self(step)
    }
}

/// The same rate at every step.
///
/// ```
/// use kilngrad::trainer::{Constant, Schedule};
/// assert_eq!(Constant(0.5).rate(7), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant(
    /// The rate.
    pub f64,
);

/// A rate that is multiplied by `factor` after each `every` steps.
///
/// ```
/// use kilngrad::trainer::{Schedule, StepDecay};
/// let decay = StepDecay { first: 1.0, factor: 0.5, every: 10 };
/// assert_eq!([0, 9, 10, 25].map(|step| decay.rate(step)), [1.0, 1.0, 0.5, 0.25]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDecay {
    /// The rate of the first steps.
    pub first: f64,
    /// What it is multiplied by.
    pub factor: f64,
    /// After how many steps; 0 is never.
    pub every: u64,
}

/// Half a cosine from `first` down to `last` in `steps` steps, and `last` from there: Loshchilov and
/// Hutter, "SGDR" (2017), without restarts.
///
/// ```
/// use kilngrad::trainer::{Cosine, Schedule};
/// let cosine = Cosine { first: 1.0, last: 0.5, steps: 10 };
/// assert_eq!([0, 5, 10, 11].map(|step| cosine.rate(step)), [1.0, 0.75, 0.5, 0.5]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cosine {
    /// The rate of the first step.
    pub first: f64,
    /// The rate after `steps`.
    pub last: f64,
    /// How long it takes.
    pub steps: u64,
}

/// A schedule after a growing rate: see [`Schedule::warm_up`].
///
/// ```
/// use kilngrad::trainer::{Constant, Schedule, WarmUp};
/// let warm = WarmUp { steps: 2, then: Constant(1.0) };
/// assert_eq!(warm.rate(0), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmUp<S> {
    /// How long the rate grows.
    pub steps: u64,
    /// What follows.
    pub then: S,
}

impl Schedule for Constant {
    fn rate(&self, _: u64) -> f64 {
        self.0
    }
}

impl Schedule for StepDecay {
    fn rate(&self, step: u64) -> f64 {
        let mut times = step.checked_div(self.every).unwrap_or(0);
        let (mut factor, mut rate) = (self.factor, self.first);
        // By squares, of which the power has those that its exponent has bits.
        while times > 0 {
            if times & 1 == 1 {
                rate *= factor;
            }
            factor *= factor;
            times >>= 1;
        }
        rate
    }
}

impl Schedule for Cosine {
    fn rate(&self, step: u64) -> f64 {
        if step >= self.steps {
            return self.last;
        }
        let angle = PI * step as f64 / self.steps as f64;
        self.last + (self.first - self.last) * 0.5 * (1.0 + libm::cos(angle))
    }
}

impl<S: Schedule> Schedule for WarmUp<S> {
    fn rate(&self, step: u64) -> f64 {
        match step.checked_sub(self.steps) {
            Some(step) => self.then.rate(step),
            None => self.then.rate(0) * (step + 1) as f64 / self.steps as f64,
        }
    }
}
