//! What the command prints, and where: results on standard output, progress on standard error.

use std::io::Write;

use kilngrad::prelude::*;
use serde_json::{Value, json};

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

/// What `--json` prints of a failure.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Failure {
    error: String,
    /// As the library calls it.
    kind: String,
    diagnostics: Vec<Value>,
}

impl Failure {
    pub(crate) fn of(error: &Error) -> Failure {
        Failure {
            error: error.to_string(),
            kind: format!("{:?}", error.kind()),
            diagnostics: diagnostics(error),
        }
    }
}

/// The diagnostics of an error, an object each.
pub(crate) fn diagnostics(error: &Error) -> Vec<Value> {
    let one = |diagnostic: &kilngrad::internals::ir::Diagnostic| {
        json!({
            "rule": diagnostic.rule,
            "message": diagnostic.message,
            "file": diagnostic.site.as_ref().map(|site| &*site.file),
            "line": diagnostic.site.as_ref().map(|site| site.line),
            "column": diagnostic.site.as_ref().map(|site| site.column),
        })
    };
    error.diagnostics().iter().map(one).collect()
}

/// `1 error`, `2 errors`, `1,437 training rows`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}
