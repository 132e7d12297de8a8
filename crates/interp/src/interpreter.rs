//! A program that is interpreted, with its states.

use std::collections::BTreeMap;
use std::sync::Arc;

use kilngrad_ir::{Entry, Graph, Program, StateId, Value, ValueName, verify};

use crate::array::Array;
use crate::error::InterpError;
use crate::eval::eval_entry;
use crate::example::program_example;
use crate::states::States;

/// A program with the values of its states, called by names.
#[doc = program_example!(
    "let mut interpreter = Interpreter::new(program, 0)?;"
    "let y = interpreter.call(\"add\", [(\"x\", Array::from(2i64))])?;"
    "assert_eq!(y[\"before\"], Array::from(40i64));"
    "assert_eq!(interpreter.state(\"total\"), Some(&Array::from(42i64)));"
)]
#[derive(Debug, Clone)]
pub struct Interpreter {
    program: Program,
    states: States,
}

impl Interpreter {
    /// A program whose states hold their first values under `seed`.
    ///
    /// # Errors
    ///
    /// [`InterpError::Invalid`] where the verifier refuses the program.
    ///
    /// # Examples
    #[doc = program_example!(
        "let interpreter = Interpreter::new(program, 0)?;"
        "assert_eq!(interpreter.state(\"total\"), Some(&Array::from(40i64)));"
    )]
    pub fn new(program: Program, seed: i64) -> Result<Interpreter, InterpError> {
        verify(&program).map_err(|error| InterpError::Invalid(Box::new(error)))?;
        let states = States::initial(&program, seed)?;
        Ok(Interpreter { program, states })
    }

    /// The program.
    #[doc = program_example!(
        "let interpreter = Interpreter::new(program.clone(), 0)?;"
        "assert_eq!(interpreter.program(), &program);"
    )]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What the states hold.
    #[doc = program_example!(
        "let interpreter = Interpreter::new(program, 0)?;"
        "assert_eq!(interpreter.states().values(), [Array::from(40i64)]);"
    )]
    pub fn states(&self) -> &States {
        &self.states
    }

    /// What the state at `path` holds, if there is one.
    #[doc = program_example!(
        "let interpreter = Interpreter::new(program, 0)?;"
        "assert_eq!(interpreter.state(\"total\"), Some(&Array::from(40i64)));"
        "assert_eq!(interpreter.state(\"totals\"), None);"
    )]
    pub fn state(&self, path: &str) -> Option<&Array> {
        self.program.find_state(path).map(|id| self.states.get(id))
    }

    /// Gives the state at `path` another value.
    ///
    /// # Errors
    ///
    /// Where there is no such state or the value has another type.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut interpreter = Interpreter::new(program, 0)?;"
        "interpreter.set_state(\"total\", Array::from(7i64))?;"
        "assert_eq!(interpreter.state(\"total\"), Some(&Array::from(7i64)));"
        "assert!(interpreter.set_state(\"total\", Array::from(7f32)).is_err());"
    )]
    pub fn set_state(&mut self, path: &str, value: Array) -> Result<(), InterpError> {
        let id = self.program.find_state(path);
        let id = id.ok_or_else(|| InterpError::UnknownState(path.to_owned()))?;
        self.states.set(&self.program, id, value)
    }

    /// Calls an entry: gives its outputs by name, and applies its updates once all are computed.
    ///
    /// # Errors
    ///
    /// Where there is no such entry, an input is missing or unknown or does not fit, or as
    /// [`eval_entry`]; no state has changed then.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut interpreter = Interpreter::new(program, 0)?;"
        "interpreter.call(\"add\", [(\"x\", Array::from(2i64))])?;"
        "assert_eq!(interpreter.state(\"total\"), Some(&Array::from(42i64)));"
        "assert!(interpreter.call(\"add\", []).is_err());"
    )]
    pub fn call<'n>(
        &mut self,
        entry: &str,
        feeds: impl IntoIterator<Item = (&'n str, Array)>,
    ) -> Result<BTreeMap<Arc<str>, Array>, InterpError> {
        let entry = self.entry(entry)?;
        let inputs = order_inputs(entry, feeds)?;
        let outcome = eval_entry(&self.program, entry, &inputs, &self.states)?;
        let outputs = entry.outputs.iter().cloned().zip(outcome.outputs).collect();
        self.apply(outcome.updates);
        Ok(outputs)
    }

    /// The entry called `name`.
    ///
    /// # Errors
    ///
    /// Where there is none.
    ///
    /// # Examples
    #[doc = program_example!(
        "let interpreter = Interpreter::new(program, 0)?;"
        "assert_eq!(&*interpreter.entry(\"add\")?.outputs[0], \"before\");"
        "assert!(interpreter.entry(\"subtract\").is_err());"
    )]
    pub fn entry(&self, name: &str) -> Result<&Entry, InterpError> {
        let found = self.program.entry(name);
        found.ok_or_else(|| InterpError::UnknownEntry(name.to_owned()))
    }

    /// Applies the updates of a call of one of the program's entries.
    ///
    /// # Panics
    ///
    /// As [`States::apply`].
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut interpreter = Interpreter::new(program, 0)?;"
        "interpreter.apply(vec![(StateId::from_index(0), Array::from(7i64))]);"
        "assert_eq!(interpreter.state(\"total\"), Some(&Array::from(7i64)));"
    )]
    pub fn apply(&mut self, updates: Vec<(StateId, Array)>) {
        self.states.apply(updates);
    }
}

/// The feeds in the order of an entry's inputs.
///
/// # Errors
///
/// Where an input is missing, unknown or fed twice.
///
/// # Examples
#[doc = program_example!(
    "let inputs = order_inputs(&program.entries[0], [(\"x\", Array::from(2i64))])?;"
    "assert_eq!(inputs, [Array::from(2i64)]);"
)]
pub fn order_inputs<'n>(
    entry: &Entry,
    feeds: impl IntoIterator<Item = (&'n str, Array)>,
) -> Result<Vec<Array>, InterpError> {
    let graph = &entry.graph;
    let mut slots: BTreeMap<&str, Option<Array>> = BTreeMap::new();
    for &argument in graph.arguments() {
        slots.insert(name_of(graph, argument), None);
    }
    for (name, array) in feeds {
        let slot = slots.get_mut(name).ok_or_else(|| InterpError::UnknownInput {
            entry: entry.name.to_string(),
            name: name.to_owned(),
        })?;
        if slot.replace(array).is_some() {
            return Err(InterpError::FedTwice(name.to_owned()));
        }
    }
    let inputs = graph.arguments().iter().map(|&argument| {
        let name = name_of(graph, argument);
        slots.remove(name).flatten().ok_or_else(|| InterpError::Unfed {
            name: name.to_owned(),
            ty: Box::new(graph.ty(argument).clone()),
        })
    });
    inputs.collect()
}

fn name_of(graph: &Graph, argument: Value) -> &str {
    match graph.name(argument) {
        ValueName::Word(word) => word,
        ValueName::Number(_) => unreachable!("the verifier asks arguments to be called by words"),
    }
}
