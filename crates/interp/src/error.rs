//! Why a program cannot be evaluated.

use kilngrad_ir::infer::RuleError;
use kilngrad_ir::{Error, ErrorKind, Site, Type, VerifyError};

/// Why a program, or a call of it, cannot be evaluated.
///
/// ```
/// use kilngrad_interp::{InterpError, Interpreter};
/// use kilngrad_ir::Program;
///
/// let mut interpreter = Interpreter::new(Program::new("empty"), 0)?;
/// let error = interpreter.call("train", []);
/// assert_eq!(error, Err(InterpError::UnknownEntry("train".into())));
/// # Ok::<(), InterpError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterpError {
    /// The program breaks a rule of the language.
    #[error(transparent)]
    Invalid(Box<VerifyError>),
    /// No entry has this name.
    #[error("expected the name of an entry, found {0:?}")]
    UnknownEntry(String),
    /// An entry has no input of a name that is fed.
    #[error("expected an input of entry {entry:?}, found {name:?}")]
    UnknownInput {
        /// The entry.
        entry: String,
        /// The name that was fed.
        name: String,
    },
    /// An input is not fed.
    #[error("expected input {name:?} of {ty}, found no feed")]
    Unfed {
        /// The input.
        name: String,
        /// The declared type.
        ty: Box<Type>,
    },
    /// An input is fed twice.
    #[error("expected one feed of input {0:?}, found two")]
    FedTwice(String),
    /// Another number of inputs than the entry has.
    #[error("expected {expected} inputs, found {found}")]
    InputCount {
        /// How many the entry has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// An input has another dtype or rank than declared.
    #[error("expected input {name} of type {expected}, found {found}")]
    InputType {
        /// The input.
        name: String,
        /// The declared type.
        expected: Box<Type>,
        /// The fed array's.
        found: Box<Type>,
    },
    /// An axis of an input has another length than its dimension has.
    #[error("expected axis {axis} of input {name} to have length {expected}, found {found}")]
    InputLength {
        /// The input.
        name: String,
        /// The axis.
        axis: usize,
        /// The dimension with its value, if one is known.
        expected: String,
        /// The fed array's length.
        found: usize,
    },
    /// A condition of the entry is false.
    #[error("{0}")]
    Check(String),
    /// The call was cancelled.
    #[error(
        "expected {value} to end before the call is cancelled, found iteration {iteration}{}",
        at(.site)
    )]
    Cancelled {
        /// The first carry of the loop.
        value: String,
        /// The iteration that was not begun.
        iteration: usize,
        /// The user's line, if known.
        site: Option<Site>,
    },
    /// A rule is broken once symbols are bound.
    #[error("{error} at {value}{}", at(.site))]
    Rule {
        /// The rule.
        error: RuleError,
        /// The value whose definition breaks it.
        value: String,
        /// The user's line, if known.
        site: Option<Site>,
    },
    /// A gradient request was not expanded.
    #[error(
        "expected gradient requests to be expanded by autodiff before evaluation, found {value}{}",
        at(.site)
    )]
    Gradient {
        /// The first derivative.
        value: String,
        /// The user's line, if known.
        site: Option<Site>,
    },
    /// A state is given a value of another type.
    #[error("expected a value of type {expected} for state {path:?}, found {found}")]
    StateType {
        /// The state.
        path: String,
        /// Its type.
        expected: Box<Type>,
        /// The value's.
        found: Box<Type>,
    },
    /// No state has this path.
    #[error("expected the path of a state, found {0:?}")]
    UnknownState(String),
    /// Another number of values than the program has states.
    #[error("expected values of {expected} states, found {found}")]
    StateCount {
        /// How many states the program has.
        expected: usize,
        /// How many values were given.
        found: usize,
    },
}

/// As the one error that users meet.
impl From<InterpError> for Error {
    fn from(error: InterpError) -> Error {
        let kind =
            match &error {
                InterpError::Invalid(_) => ErrorKind::Format,
                InterpError::UnknownEntry(_)
                | InterpError::UnknownInput { .. }
                | InterpError::Unfed { .. }
                | InterpError::FedTwice(_)
                | InterpError::UnknownState(_)
                | InterpError::InputCount { .. }
                | InterpError::StateCount { .. } => ErrorKind::Name,
                InterpError::InputType { expected, found, .. }
                | InterpError::StateType { expected, found, .. } => {
                    if expected.dtype == found.dtype { ErrorKind::Shape } else { ErrorKind::DType }
                }
                InterpError::Check(_) => ErrorKind::Check,
                InterpError::Cancelled { .. } => ErrorKind::Cancelled,
                InterpError::InputLength { .. } | InterpError::Rule { .. } => ErrorKind::Shape,
                InterpError::Gradient { .. } => ErrorKind::Gradient,
            };
        Error::new(kind, error.to_string())
    }
}

fn at(site: &Option<Site>) -> String {
    site.as_ref().map_or_else(String::new, |site| format!(", built at {site}"))
}
