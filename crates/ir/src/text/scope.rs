//! The names of one graph while it is parsed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Graph, Value, ValueName, is_word};
use crate::program::{Check, StateId};
use crate::text::lex::Span;

/// What a value is called, without a copy of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name<'t> {
    Number(u32),
    Word(&'t str),
}

impl<'t> Name<'t> {
    /// The name that `text` is, without its sign. Numbers are below 2³¹, so that passes find fresh
    /// ones above.
    pub(super) fn new(text: &'t str) -> Option<Name<'t>> {
        if is_word(text) {
            return Some(Name::Word(text));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = digits.then(|| text.parse().ok()).flatten()?;
        (number < 1 << 31).then_some(Name::Number(number))
    }

    pub(super) fn owned(self) -> ValueName {
        match self {
            Name::Number(number) => ValueName::Number(number),
            Name::Word(word) => ValueName::Word(word.into()),
        }
    }
}

/// What is known of a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// It is a value of the graph.
    Value(Value),
    /// Its definition is wrong, which has been reported: its uses are not.
    Broken,
}

/// A graph that is being read.
#[derive(Debug)]
pub(super) struct Scope<'t> {
    pub(super) graph: Graph,
    /// Names of an entry's results.
    pub(super) outputs: Vec<Arc<str>>,
    /// An entry's checks.
    pub(super) checks: Vec<Check>,
    /// An entry's updates.
    pub(super) updates: Vec<(StateId, Value)>,
    /// How many regions this one is in; 0 for an entry.
    pub(super) nesting: usize,
    names: HashMap<Name<'t>, (Known, Span)>,
}

impl<'t> Scope<'t> {
    pub(super) fn new(nesting: usize) -> Scope<'t> {
        Scope {
            graph: Graph::new(),
            outputs: Vec::new(),
            checks: Vec::new(),
            updates: Vec::new(),
            nesting,
            names: HashMap::new(),
        }
    }

    pub(super) fn get(&self, name: Name<'t>) -> Option<Known> {
        self.names.get(&name).map(|(known, _)| *known)
    }

    /// Where a name is defined.
    pub(super) fn span<'s>(&'s self, name: Name<'s>) -> Option<Span> {
        let names: &'s HashMap<Name<'s>, (Known, Span)> = &self.names;
        names.get(&name).map(|(_, span)| *span)
    }

    /// Where a value is defined.
    pub(super) fn value_span<'s>(&'s self, name: &'s ValueName) -> Option<Span> {
        match name {
            ValueName::Number(number) => self.span(Name::Number(*number)),
            ValueName::Word(word) => self.span(Name::Word(word)),
        }
    }

    /// Defines a name, unless it is taken: then the first definition stays.
    pub(super) fn define(&mut self, name: Name<'t>, known: Known, span: Span) {
        self.names.entry(name).or_insert((known, span));
    }
}
