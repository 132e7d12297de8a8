//! A compiled entry and what it needs to run.

use std::sync::Arc;

use kilngrad_codegen::Module;
use kilngrad_ir::{Bindings, DType, Error, ErrorKind, StateId};

use crate::constant::Constant;
use crate::finite::NotFinite;
use crate::library::KEPT_BINDINGS;
use crate::states::States;

/// What stands behind a pointer of the entry's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum External {
    /// The input at this position.
    Argument(usize),
    /// The output at this position.
    Output(usize),
    /// A state's own memory.
    State(StateId),
    /// Memory that no call changes.
    Constant(Constant),
}

/// An input or output of a compiled entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: Arc<str>,
    /// Type of its elements.
    pub dtype: DType,
    /// Its lengths, outermost first.
    pub shape: Vec<usize>,
}

impl Slot {
    /// Bytes of its elements, which [`Code::new`] has seen to fit memory.
    pub fn bytes(&self) -> usize {
        self.checked_bytes().unwrap_or(usize::MAX)
    }

    fn checked_bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.dtype.size(), |bytes, length| bytes.checked_mul(*length))
    }
}

/// What is said where a condition does not hold.
///
/// ```
/// use kilngrad_runtime::Gate;
///
/// let gate = Gate { message: "expected class indices from 0 to below 10".into(), subject: Some(1) };
/// assert_eq!(gate, gate.clone());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What was expected, and where.
    pub message: String,
    /// The input that the condition is computed from, whose numbers are shown.
    pub subject: Option<usize>,
}

impl From<String> for Gate {
    /// A message alone.
    fn from(message: String) -> Gate {
        Gate { message, subject: None }
    }
}

/// One entry compiled for one binding of its symbols, with whatever `A` the compiler keeps beside
/// it.
#[derive(Debug)]
pub struct Code<A> {
    pub(crate) module: Module,
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
    pub(crate) externals: Vec<External>,
    /// For each condition of the module's gate.
    pub(crate) checks: Vec<Gate>,
    artifacts: A,
}

impl<A> Code<A> {
    /// Puts a compiled module together with what its pointers stand for, and what is said where a
    /// condition of its gate does not hold. States are checked when the code meets the
    /// executable's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] where the module expects other memory than these externals give, or
    /// two externals are the same writable memory.
    pub fn new(
        module: Module,
        inputs: Vec<Slot>,
        outputs: Vec<Slot>,
        externals: Vec<External>,
        checks: Vec<Gate>,
        artifacts: A,
    ) -> Result<Code<A>, Error> {
        let mismatch = |what: String| Error::new(ErrorKind::Internal, what);
        let needs = module.externals();
        if needs.len() != externals.len() {
            let (expected, found) = (needs.len(), externals.len());
            return Err(mismatch(format!("expected {expected} externals, found {found}")));
        }
        if inputs.iter().chain(&outputs).any(|slot| slot.checked_bytes().is_none()) {
            return Err(mismatch("expected inputs and outputs that fit memory".into()));
        }
        for (index, (external, need)) in externals.iter().zip(needs).enumerate() {
            let (bytes, writable) = match external {
                External::Argument(index) => (inputs.get(*index).map(Slot::bytes), false),
                External::Output(index) => (outputs.get(*index).map(Slot::bytes), true),
                External::State(_) => (Some(need.bytes), true),
                External::Constant(constant) => (Some(constant.bytes().len()), false),
            };
            let twice = writable && externals[..index].contains(external);
            if twice || bytes.is_none_or(|bytes| bytes < need.bytes) || need.writable && !writable {
                return Err(mismatch(format!("expected memory as {need:?}, found {external:?}")));
            }
        }
        Ok(Code { module, inputs, outputs, externals, checks, artifacts })
    }

    /// Checks that the module reaches no further into states than these have bytes.
    pub(crate) fn check_states(&self, states: &States) -> Result<(), Error> {
        for (external, need) in self.externals.iter().zip(self.module.externals()) {
            if let External::State(id) = external
                && states.try_bytes(*id).is_none_or(|bytes| bytes.len() < need.bytes)
            {
                let message = format!("expected a state of {} bytes, found {id:?}", need.bytes);
                return Err(Error::new(ErrorKind::Internal, message));
            }
        }
        Ok(())
    }

    /// Bytes of the arena that a call uses.
    pub fn arena_bytes(&self) -> usize {
        self.module.arena_bytes()
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> &[Slot] {
        &self.inputs
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[Slot] {
        &self.outputs
    }

    /// What the compiler keeps beside the code.
    pub fn artifacts(&self) -> &A {
        &self.artifacts
    }
}

/// Compiles an entry for a binding of its symbols, when it is first called with them, and says what
/// went wrong in it. Calls from several threads may overlap.
pub trait Compile<A>: Send + Sync {
    /// The program's entry at position `entry`, compiled.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being compiled.
    fn compile(&self, entry: usize, bindings: &Bindings) -> Result<Code<A>, Error>;

    /// Code with the inputs of the entry at position `entry` whose outputs are the values of the
    /// entry that are called `names`, under these names and in this order, and which updates no
    /// state.
    ///
    /// # Errors
    ///
    /// Where a name is unknown, or as [`compile`](Self::compile). Unless a compiler says otherwise
    /// it knows no names.
    fn compile_values(
        &self,
        entry: usize,
        bindings: &Bindings,
        names: &[&str],
    ) -> Result<Code<A>, Error> {
        let (_, _) = (entry, bindings);
        let message = format!("expected a compiler that knows values by name, to fetch {names:?}");
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// How many bindings of one entry's symbols are kept compiled; less than 1 is 1.
    fn kept_bindings(&self) -> usize {
        KEPT_BINDINGS
    }

    /// Why a call computed a number that is not finite.
    fn explain(&self, call: &NotFinite<'_>) -> Error {
        Error::new(ErrorKind::NotFinite, format!("expected finite numbers, found {}", call.found))
    }
}
