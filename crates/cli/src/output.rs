//! What the command prints, and where: results on standard output, progress on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
    done: u64,
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
        Progress { bar, plain, total, done: 0, last: Instant::now() }
    }

    pub(crate) fn step(&mut self, message: &str) {
        self.done += 1;
        if self.plain {
            if self.last.elapsed() >= Progress::PAUSE {
                self.last = Instant::now();
                eprintln!("{message}: step {} of {}", self.done, self.total);
            }
        } else {
            if self.bar.message() != message {
                self.bar.set_message(message.to_owned());
            }
            self.bar.inc(1);
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

/// `4.81 KiB`, `61.4 MiB`.
pub(crate) fn bytes(count: usize) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `4,810`.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 error`, `2 errors`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `812 µs`, `12.3 ms`, `4.2 s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(4810), "4,810");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(62_900), "61.4 KiB");
        assert_eq!(time(Duration::from_micros(812)), "812 µs");
        assert_eq!(time(Duration::from_millis(4200)), "4.2 s");
    }
}
