//! Text-file tests: a folder of inputs, each beside what is expected of it.

use std::path::{Path, PathBuf};

/// The files of a folder with this extension, in order of name.
///
/// # Panics
///
/// If the folder cannot be read or has no such file: a test that finds nothing tests nothing.
pub fn inputs(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be read to its end").path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|known| known == extension)).collect();
    found.sort();
    assert!(!found.is_empty(), "no .{extension} file in {}", folder.display());
    found
}

/// Runs `produce` on the text of each file of a folder with the extension `input`, and compares
/// what it gives with the file of the same name and the extension `expected`. Where the variable
/// `KILNGRAD_BLESS` is 1, that file is written instead.
///
/// # Panics
///
/// If any file differs, after all have been run, with the first line that does.
pub fn check(
    folder: &Path,
    [input, expected]: [&str; 2],
    mut produce: impl FnMut(&str) -> Result<String, String>,
) {
    let bless = std::env::var("KILNGRAD_BLESS").is_ok_and(|value| value == "1");
    let mut failures = Vec::new();
    for path in inputs(folder, input) {
        let text = read(&path);
        let found = produce(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let beside = path.with_extension(expected);
        if bless {
            std::fs::write(&beside, found)
                .unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
            continue;
        }
        let wanted = if beside.exists() { read(&beside) } else { String::new() };
        if let Some(difference) = first_difference(&wanted, &found) {
            failures.push(format!("{}:{difference}", beside.display()));
        }
    }
    assert!(
        failures.is_empty(),
        "{}\nset KILNGRAD_BLESS=1 to write what was found",
        failures.join("\n")
    );
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first line that differs, from 1, with both versions of it.
fn first_difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut left, mut right) = (expected.lines(), found.lines());
    for line in 1.. {
        match (left.next(), right.next()) {
            (Some(left), Some(right)) if left == right => {}
            (None, None) => return Some(format!("{line}: the ends differ in blank characters")),
            (left, right) => {
                let shown = |line: Option<&str>| line.unwrap_or("the end").to_owned();
                let (left, right) = (shown(left), shown(right));
                return Some(format!("{line}: expected\n  {left}\nfound\n  {right}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        let found = first_difference("a\nb\n", "a\nc\n");
        assert_eq!(found.as_deref(), Some("2: expected\n  b\nfound\n  c"));
        let found = first_difference("a\n", "a\nc\n");
        assert_eq!(found.as_deref(), Some("2: expected\n  the end\nfound\n  c"));
        assert!(first_difference("a", "a\n").is_some());
    }
}
