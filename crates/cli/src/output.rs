//! What the command prints, and where: results on standard output, progress on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
pub(crate) use kilngrad::units::{bytes, grouped, time};

/// Lines of results. With `--json` standard output is left to the JSON object that ends the run,
/// and the lines go to standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    json: bool,
}

impl Lines {
    pub(crate) fn new(json: bool) -> Lines {
        Lines { json }
    }

    pub(crate) fn say(self, line: &str) {
        // A closed pipe is the reader's choice; the work goes on for its other effects.
        let _ = if self.json {
            writeln!(std::io::stderr(), "{line}")
        } else {
            writeln!(std::io::stdout(), "{line}")
        };
    }

    /// A row of the header: a label and what it says.
    pub(crate) fn row(self, label: &str, text: &str) {
        self.say(&format!("  {label:<11} {text}"));
    }

    /// The JSON object that ends a run.
    pub(crate) fn json(self, object: &impl serde::Serialize) {
        if self.json {
            let text = serde_json::to_string(object).expect("rows of results are plain JSON");
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}

/// Progress over a known number of steps: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
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

    pub(crate) fn new(total: u64) -> Progress {
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
    pub(crate) fn reach(&mut self, done: usize, epoch: u64) {
        if self.plain {
            if self.last.elapsed() >= Progress::PAUSE {
                self.last = Instant::now();
                eprintln!("epoch {epoch}: step {done} of {}", self.total);
            }
        } else {
            if epoch != self.epoch {
                self.epoch = epoch;
                self.bar.set_message(format!("epoch {epoch}"));
            }
            self.bar.set_position(done as u64);
        }
    }

    /// Runs `write` with the bar out of its way.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
