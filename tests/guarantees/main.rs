//! What docs/guarantees.md promises where no other test shows it: what happens when the machine
//! refuses something, and which floating-point mode counts.
//!
//! Limits of a process are set in a child of its own: this binary again, told to run one test.

#![allow(missing_docs, clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod checkpoints;
mod document;
mod modes;
#[cfg(target_os = "linux")]
mod refusals;

use std::process::Command;

/// The variable that tells a child of this binary that it is one.
const CHILD: &str = "KILNGRAD_TEST_CHILD";

/// Runs `body` in a child process that runs this very test; `test` is the test's full name.
fn in_child(test: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(said.contains("1 passed"), "{test} is no test: {said}");
}
