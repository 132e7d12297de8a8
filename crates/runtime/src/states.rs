//! The states' memory.

use kilngrad_codegen::FloatMode;
use kilngrad_ir::{Error, ErrorKind, Program, StateId, random};
use ndarray::{ArrayViewD, IxDyn};

use crate::element::{Element, Input, elements_of};
use crate::memory::AlignedBytes;

/// The value of every state of a program.
#[derive(Debug)]
pub(crate) struct States {
    values: Vec<AlignedBytes>,
}

impl States {
    /// The states of a program that has none left.
    pub(crate) fn none() -> States {
        States { values: Vec::new() }
    }

    /// As many states with these values.
    pub(crate) fn copied(&self) -> Result<States, Error> {
        let values = self.values.iter().map(|value| AlignedBytes::copy_of(value.as_slice()));
        Ok(States { values: values.collect::<Result<_, _>>()? })
    }

    /// First values, from the program's initialisers and a seed.
    pub(crate) fn initial(program: &Program, seed: i64) -> Result<States, Error> {
        // The numbers are to be the same whatever float mode the caller's thread is in.
        let _mode = FloatMode::enter();
        let values = program
            .states
            .iter()
            .map(|state| {
                let misfit = || {
                    let message = format!("expected an initialiser that fits {:?}", state.path);
                    Error::new(ErrorKind::Build, message)
                };
                let mut value = AlignedBytes::zeroed(state.ty.byte_count().ok_or_else(misfit)?)?;
                random::fill(&state.init, &state.ty, seed, value.as_mut_slice())
                    .ok_or_else(misfit)?;
                Ok(value)
            })
            .collect::<Result<_, Error>>()?;
        Ok(States { values })
    }

    /// The bytes of each, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(AlignedBytes::as_slice)
    }

    pub(crate) fn bytes(&self, id: StateId) -> &[u8] {
        self.values[id.index()].as_slice()
    }

    pub(crate) fn try_bytes(&self, id: StateId) -> Option<&[u8]> {
        self.values.get(id.index()).map(AlignedBytes::as_slice)
    }

    pub(crate) fn as_mut_ptr(&mut self, id: StateId) -> *mut u8 {
        self.values[id.index()].as_mut_ptr()
    }

    pub(crate) fn view<T: Element>(
        &self,
        program: &Program,
        path: &str,
    ) -> Result<ArrayViewD<'_, T>, Error> {
        let id = find(program, path)?;
        let ty = &program.state(id).ty;
        expect_dtype(&format!("state {path:?}"), ty.dtype, T::DTYPE)?;
        let shape = ty.shape.as_constant().unwrap_or_default();
        view(elements_of(self.bytes(id))?, &shape)
    }

    pub(crate) fn set(
        &mut self,
        program: &Program,
        path: &str,
        value: &dyn Input,
    ) -> Result<(), Error> {
        let id = find(program, path)?;
        let ty = &program.state(id).ty;
        let what = format!("state {path:?}");
        expect_dtype(&what, ty.dtype, value.dtype())?;
        let shape = ty.shape.as_constant().unwrap_or_default();
        if shape != value.shape() {
            let message = format!("expected shape {shape:?} for {what}, found {:?}", value.shape());
            return Err(Error::new(ErrorKind::Shape, message));
        }
        value.write_to(self.values[id.index()].as_mut_slice());
        Ok(())
    }

    /// Replaces the bytes of a state by as many others, which are elements of its dtype.
    pub(crate) fn set_bytes(&mut self, id: StateId, bytes: &[u8]) {
        self.values[id.index()].as_mut_slice().copy_from_slice(bytes);
    }
}

pub(crate) fn find(program: &Program, path: &str) -> Result<StateId, Error> {
    program.find_state(path).ok_or_else(|| {
        let known = program.states.iter().map(|state| &*state.path);
        unknown("state", path, known)
    })
}

/// An error that lists what there is, as far as it fits a line or two.
pub(crate) fn unknown<'n>(what: &str, found: &str, known: impl Iterator<Item = &'n str>) -> Error {
    const SHOWN: usize = 8;
    let mut names: Vec<String> = known.map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let list = match (names.is_empty(), more) {
        (true, _) => "there is none".to_owned(),
        (false, 0) => format!("expected {}", names.join(", ")),
        (false, more) => format!("expected {} or one of {more} more", names.join(", ")),
    };
    Error::new(ErrorKind::Name, format!("no {what} is called {found:?}: {list}"))
}

pub(crate) fn expect_dtype(
    what: &str,
    expected: kilngrad_ir::DType,
    found: kilngrad_ir::DType,
) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::new(ErrorKind::DType, format!("expected {expected} for {what}, found {found}")))
}

pub(crate) fn view<'a, T: Element>(
    elements: &'a [T],
    shape: &[usize],
) -> Result<ArrayViewD<'a, T>, Error> {
    ArrayViewD::from_shape(IxDyn(shape), elements)
        .map_err(|error| Error::caused(ErrorKind::Internal, "memory does not fit its shape", error))
}
