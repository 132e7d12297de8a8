//! Values of a program's states.

use kilngrad_ir::infer::RuleError;
use kilngrad_ir::{Program, StateId, random};

use crate::array::Array;
use crate::error::InterpError;
use crate::example::program_example;

/// A value for each state of a program, by [`StateId`].
#[doc = program_example!(
    "let states = States::initial(&program, 0)?;"
    "assert_eq!(states.values(), [Array::from(40i64)]);"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States {
    values: Vec<Array>,
}

impl States {
    /// What the states hold before the first call, under the program's seed.
    ///
    /// # Errors
    ///
    /// [`InterpError::Rule`] where an initialiser does not fit its state, which the verifier
    /// refuses.
    ///
    /// # Examples
    #[doc = program_example!(
        "let states = States::initial(&program, 0)?;"
        "assert_eq!(states.get(StateId::from_index(0)), &Array::from(40i64));"
    )]
    pub fn initial(program: &Program, seed: i64) -> Result<States, InterpError> {
        let values = program.states.iter().map(|state| {
            let dense = random::initial(&state.init, &state.ty, seed);
            let shape = state.ty.shape.as_constant();
            let array = dense.zip(shape).and_then(|(d, shape)| Array::from_dense(&d, &shape));
            array.ok_or_else(|| InterpError::Rule {
                error: RuleError {
                    rule: "program_v3",
                    message: format!("expected an initialiser that fits {}", state.ty),
                },
                value: format!("state {:?}", state.path),
                site: None,
            })
        });
        Ok(States { values: values.collect::<Result<_, _>>()? })
    }

    /// States with these values, in the order of the program's table.
    ///
    /// # Errors
    ///
    /// [`InterpError::StateCount`] or [`InterpError::StateType`] where they do not fit the table.
    ///
    /// # Examples
    #[doc = program_example!(
        "assert!(States::new(&program, vec![Array::from(7i64)]).is_ok());"
        "assert!(States::new(&program, vec![]).is_err());"
    )]
    pub fn new(program: &Program, values: Vec<Array>) -> Result<States, InterpError> {
        if values.len() != program.states.len() {
            return Err(InterpError::StateCount {
                expected: program.states.len(),
                found: values.len(),
            });
        }
        for (index, value) in values.iter().enumerate() {
            check(program, StateId::from_index(index), value)?;
        }
        Ok(States { values: values.into_iter().map(Array::into_row_major).collect() })
    }

    /// A state's value.
    ///
    /// # Panics
    ///
    /// If the program that these are the states of has no such state.
    ///
    /// # Examples
    #[doc = program_example!(
        "let states = States::new(&program, vec![Array::from(7i64)])?;"
        "assert_eq!(states.get(StateId::from_index(0)), &Array::from(7i64));"
    )]
    pub fn get(&self, id: StateId) -> &Array {
        &self.values[id.index()]
    }

    /// Gives a state of `program`, whose states these are, another value.
    ///
    /// # Errors
    ///
    /// [`InterpError::StateType`] where its type is not the state's.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut states = States::initial(&program, 0)?;"
        "states.set(&program, StateId::from_index(0), Array::from(7i64))?;"
        "assert_eq!(states.values(), [Array::from(7i64)]);"
    )]
    pub fn set(&mut self, program: &Program, id: StateId, value: Array) -> Result<(), InterpError> {
        check(program, id, &value)?;
        self.values[id.index()] = value.into_row_major();
        Ok(())
    }

    /// The values, in the order of the table.
    #[doc = program_example!("assert_eq!(States::initial(&program, 0)?.values().len(), 1);")]
    pub fn values(&self) -> &[Array] {
        &self.values
    }

    /// Applies the updates of a call of an entry of the program whose states these are.
    ///
    /// # Panics
    ///
    /// If an update is of a state that the program has not.
    ///
    /// # Examples
    #[doc = program_example!(
        "let mut states = States::initial(&program, 0)?;"
        "let outcome = eval_entry(&program, &program.entries[0], &[Array::from(2i64)], &states)?;"
        "states.apply(outcome.updates);"
        "assert_eq!(states.values(), [Array::from(42i64)]);"
    )]
    pub fn apply(&mut self, updates: Vec<(StateId, Array)>) {
        for (id, value) in updates {
            self.values[id.index()] = value;
        }
    }
}

fn check(program: &Program, id: StateId, value: &Array) -> Result<(), InterpError> {
    let state = program.state(id);
    if value.ty() == state.ty {
        return Ok(());
    }
    Err(InterpError::StateType {
        path: state.path.to_string(),
        expected: Box::new(state.ty.clone()),
        found: Box::new(value.ty()),
    })
}
