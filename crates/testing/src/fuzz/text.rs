//! Any bytes as a program's text.

use std::collections::BTreeSet;

use kilngrad_ir::text::Limits;
use kilngrad_ir::{Bindings, Dim, Entry, Graph, Op, Program, Source, Symbol, Type, verify};
use kilngrad_passes::{Options, PassError};

use super::hold;
use crate::compile::{Differentiate, machine};
use crate::features;
use crate::generate::Case;
use crate::properties;
use crate::recipe::Regime;

/// What symbols stand for, one after the other.
const LENGTHS: [usize; 3] = [3, 1, 0];

/// Values of a program that is compiled, and elements of each in a program that is run.
const MAX_VALUES: usize = 64;
const MAX_ELEMENTS: usize = 512;

/// Gradient requests of a program that is compiled: each may multiply the program.
const MAX_REQUESTS: usize = 2;

/// Bytes are refused with diagnostics that can be shown, or are a program that verifies, prints and
/// reads back as the same program. One that is small is compiled for several lengths of its
/// symbols, or refused for a reason that is its own, and every stage of it computes the same.
///
/// # Panics
///
/// If a promise is broken.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Program::parse(text, &Limits::default()) {
        Err(errors) => {
            let source = Source { file: "any.kg", text };
            assert!(!errors.diagnostics().is_empty() && !errors.render(&source).is_empty());
        }
        Ok(program) => {
            hold(verify(&program).map_err(|error| error.to_string()), &text);
            hold(properties::text_round_trips(&program), &text);
            if is_small(&program) {
                for length in LENGTHS {
                    hold(compiles(&program, length), &text);
                }
            }
        }
    }
}

fn is_small(program: &Program) -> bool {
    let values = program.entries.iter().map(|entry| entry.graph.value_count()).sum::<usize>();
    let nodes = program.entries.iter().flat_map(|entry| entry.graph.nodes());
    let requests = nodes.filter(|(_, node)| matches!(node.op, Op::Gradient { .. })).count();
    values <= MAX_VALUES && requests <= MAX_REQUESTS && program.states.len() <= MAX_VALUES
}

fn compiles(program: &Program, length: usize) -> Result<(), String> {
    let symbols = program.entries.iter().flat_map(Entry::symbols);
    let bindings: Bindings = symbols.map(|symbol| (symbol, length)).collect();
    let mut compiled = true;
    for entry in &program.entries {
        let alone = Program {
            name: program.name.clone(),
            states: program.states.clone(),
            entries: vec![entry.clone()],
        };
        compiled &= entry_compiles(&alone, &bindings)?;
    }
    if compiled && fits(program, &bindings) {
        let case = Case::of(program.clone(), Regime::Wild, length);
        properties::passes_keep_values(&case, features())?;
        properties::loops_and_native_agree(&case, features())?;
    }
    Ok(())
}

/// Whether the entry compiles; an error where it is refused though nothing is wrong with it.
fn entry_compiles(alone: &Program, bindings: &Bindings) -> Result<bool, String> {
    let machine = machine(features());
    let options = Options { machine: machine.clone(), bindings: bindings.clone() };
    match kilngrad_passes::run(alone, &options, &[&Differentiate], &mut |_| {}) {
        Ok(compiled) => {
            let entry = &compiled.program.entries[0];
            let lowered = kilngrad_lower::lower_entry(&compiled.program, entry, &machine);
            lowered.map_err(|error| format!("lowering: {error}\n{}", compiled.program))?;
            Ok(true)
        }
        Err(
            PassError::UnboundSymbol { .. }
            | PassError::Length { .. }
            | PassError::Size { .. }
            | PassError::Rule(_)
            | PassError::Unexpanded { .. }
            | PassError::Diagnostics(_),
        ) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether inputs can bind every symbol, and every value is small enough to be computed by the
/// slowest of all evaluators.
fn fits(program: &Program, bindings: &Bindings) -> bool {
    let binds = |entry: &Entry| {
        let arguments = entry.graph.arguments().iter();
        let axes = arguments.flat_map(|value| entry.graph.ty(*value).shape.dims());
        let bound: BTreeSet<&Symbol> = axes.filter_map(Dim::as_symbol).collect();
        entry.symbols().iter().all(|symbol| bound.contains(symbol))
    };
    let small = |ty: &Type| {
        let bound = ty.shape.bind(bindings).map(|shape| Type::new(ty.dtype, shape));
        bound.and_then(|ty| ty.element_count()).is_some_and(|count| count <= MAX_ELEMENTS)
    };
    // Nobody knows whether a `while` ends.
    let ends = |entry: &Entry| !has_while(&entry.graph);
    program.entries.iter().all(binds)
        && program.entries.iter().all(ends)
        && program.states.iter().all(|state| small(&state.ty))
        && program.entries.iter().all(|entry| entry.graph.values().all(|(_, data)| small(&data.ty)))
}

/// Recurses once a region.
fn has_while(graph: &Graph) -> bool {
    graph.nodes().any(|(_, node)| {
        matches!(node.op, Op::While(_)) || node.op.bodies().into_iter().any(has_while)
    })
}
