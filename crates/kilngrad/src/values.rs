//! Values inside an entry by name.

use std::sync::Arc;

use kilngrad_ir::{Entry, Error, ErrorKind, Program, Value, ValueName};

/// How many names an error lists.
const SHOWN: usize = 8;

/// The value of an entry that is called `name`: `h` or `%h`, `%12`, or the name of an output.
///
/// # Errors
///
/// Where there is none; the error lists the nearest names.
pub(crate) fn find(entry: &Entry, name: &str) -> Result<Value, Error> {
    let bare = name.strip_prefix('%').unwrap_or(name);
    let wanted = match bare.parse::<u32>() {
        Ok(number) => ValueName::Number(number),
        Err(_) => ValueName::Word(bare.into()),
    };
    let called = entry.graph.values().find(|(_, data)| data.name == wanted);
    let returned = || {
        let position = entry.outputs.iter().position(|output| **output == *name)?;
        entry.graph.results().get(position).copied()
    };
    called.map(|(value, _)| value).or_else(returned).ok_or_else(|| unknown(entry, bare))
}

fn unknown(entry: &Entry, found: &str) -> Error {
    let mut names: Vec<(usize, &str)> = entry
        .graph
        .values()
        .filter_map(|(_, data)| match &data.name {
            ValueName::Word(word) => Some((strsim::damerau_levenshtein(found, word), &**word)),
            ValueName::Number(_) => None,
        })
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(SHOWN);
    let nearest: Vec<String> =
        names.iter().take(SHOWN).map(|(_, name)| format!("{name:?}")).collect();
    let list = match (nearest.is_empty(), more) {
        (true, _) => "none has a name: give it one with `.named(..)`".to_owned(),
        (false, 0) => format!("expected one of {}", nearest.join(", ")),
        (false, more) => format!("nearest are {}, and {more} more have names", nearest.join(", ")),
    };
    let message = format!("no value of entry {:?} is called {found:?}: {list}", entry.name);
    Error::new(ErrorKind::Name, message)
}

/// A program of one entry that computes these values of an entry, under these names, and updates
/// nothing. What it does not need of the entry is dropped by the first passes.
///
/// # Errors
///
/// Where a name is unknown.
pub(crate) fn only_values(
    program: &Program,
    entry: usize,
    names: &[&str],
) -> Result<Program, Error> {
    let source = &program.entries[entry];
    let values = names.iter().map(|name| find(source, name)).collect::<Result<_, Error>>()?;
    let mut graph = source.graph.clone();
    graph.set_results(values);
    // Dumps of it go beside those of the entry.
    let words: Vec<&str> = names.iter().map(|name| name.trim_start_matches('%')).collect();
    let mut entry = Entry::new(&format!("{}.{}", source.name, words.join(".")), source.mode, graph);
    entry.outputs = names.iter().map(|name| Arc::from(*name)).collect();
    Ok(Program { name: program.name.clone(), states: program.states.clone(), entries: vec![entry] })
}
