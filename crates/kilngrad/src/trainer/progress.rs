//! How far a run is, on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress over a known number of steps: a bar on a terminal, a line now and then elsewhere. It is
/// gone when it is dropped.
///
/// ```
/// use kilngrad::trainer::Progress;
///
/// let mut progress = Progress::new(20);
/// progress.reach(10, 1);
/// progress.suspend(|| println!("epoch 1: half of it"));
/// assert_eq!(progress.done(), 10);
/// ```
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    total: u64,
    /// What the bar says.
    epoch: u64,
    last: Instant,
}

impl Progress {
    /// Time between two plain lines.
    const PAUSE: Duration = Duration::from_secs(5);

    /// None of so many steps is done.
    ///
    /// ```
    /// assert_eq!(kilngrad::trainer::Progress::new(20).done(), 0);
    /// ```
    pub fn new(total: u64) -> Progress {
        let plain = !std::io::stderr().is_terminal();
        let target =
            if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            "{bar:30} {percent:>3}% {msg} {eta} left"
        } else {
            "{bar:30.cyan} {percent:>3}% {msg} {eta} left"
        };
        // The template is a constant, so it parses.
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        Progress { bar, plain, total, epoch: 0, last: Instant::now() }
    }

    /// Shows that so many steps are done, the last of them in this epoch.
    ///
    /// ```
    /// let mut progress = kilngrad::trainer::Progress::new(20);
    /// progress.reach(20, 2);
    /// assert_eq!(progress.done(), 20);
    /// ```
    pub fn reach(&mut self, done: u64, epoch: u64) {
        self.bar.set_position(done);
        if self.plain {
            if self.last.elapsed() >= Progress::PAUSE {
                self.last = Instant::now();
                eprintln!("epoch {epoch}: step {done} of {}", self.total);
            }
        } else if epoch != self.epoch {
            self.epoch = epoch;
            self.bar.set_message(format!("epoch {epoch}"));
        }
    }

    /// How many steps are done.
    ///
    /// ```
    /// assert_eq!(kilngrad::trainer::Progress::new(20).done(), 0);
    /// ```
    pub fn done(&self) -> u64 {
        self.bar.position()
    }

    /// Runs `write` with the bar out of its way.
    ///
    /// ```
    /// let mut said = false;
    /// kilngrad::trainer::Progress::new(20).suspend(|| said = true); // a line of its own, say
    /// assert!(said);
    /// ```
    pub fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
