//! What the command prints, and where: results on standard output, progress on standard error.

use std::io::Write;

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

/// `1 error`, `2 errors`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
