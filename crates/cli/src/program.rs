//! Programs in files, as several commands take them.

use std::path::Path;

use kilngrad::internals::autodiff;
use kilngrad::internals::ir::{Entry, Source};
use kilngrad::prelude::*;

/// A symbol with its length: `n=32`.
pub(crate) fn length(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, n)| Some((name, n.parse().ok()?)));
    match parsed {
        Some((name, n)) if !name.is_empty() => Ok((name.to_owned(), n)),
        _ => Err("expected a symbol and its length, as in n=32".to_owned()),
    }
}

pub(crate) fn load(path: &Path) -> Result<Program> {
    Program::load(path, &Limits::default())
}

/// The entry that is meant: the one with this name, or the only one.
pub(crate) fn entry<'p>(program: &'p Program, name: Option<&str>) -> Result<&'p Entry> {
    let only = if let [entry] = program.entries.as_slice() { Some(entry) } else { None };
    let found = name.map_or(only, |name| program.entry(name));
    found.ok_or_else(|| {
        let names: Vec<String> =
            program.entries.iter().map(|entry| format!("{:?}", entry.name)).collect();
        let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let found = name.map_or("none".to_owned(), |name| format!("{name:?}"));
        let message = format!("expected --entry to name one of {list}, found {found}");
        Error::new(ErrorKind::Name, message)
    })
}

/// The program of a file with its gradient requests expanded. Errors show the file's lines.
pub(crate) fn differentiate(program: &Program, path: &Path) -> Result<Program> {
    autodiff::differentiate(program).map_err(|diagnostics| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let source = Source { file: &path.to_string_lossy(), text: &text };
        Error::diagnosed(ErrorKind::Gradient, diagnostics, Some(&source))
    })
}

/// `entry predict, n=32`.
pub(crate) fn called(entry: &Entry, lengths: &[(String, usize)]) -> String {
    let lengths = lengths.iter().map(|(name, n)| format!(", {name}={n}"));
    format!("entry {}{}", entry.name, lengths.collect::<String>())
}
