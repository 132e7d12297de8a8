//! What can be trained: a program that is compiled, or interpreted.

use std::borrow::Cow;

use kilngrad_interp::Array;
use kilngrad_ir::{DType, Error, Program, Type};
use kilngrad_runtime::{Input, Outputs};

use crate::data::for_array;
use crate::executable::Executable;
use crate::interpreted::{Interpreted, array};

/// A program with states that can be trained: an [`Executable`], or an [`Interpreted`] program to
/// hold it against.
///
/// ```
/// use kilngrad::prelude::*;
/// use kilngrad::trainer::{Model, evaluate};
///
/// fn trainable(model: &mut impl Model) -> Result<()> {
///     let rows = kilngrad::data::Table::new().with("x", vec![1f32, 3.0])?;
///     assert_eq!(evaluate(model, "run", &rows, None)?[0].value, 2.0);
///     Ok(())
/// }
/// let b = Builder::new("mean");
/// let e = b.entry("run", Mode::Eval);
/// e.output("mean", e.input("x", F32, (b.dim("n"),)).mean(..));
/// let program = b.finish()?;
/// trainable(&mut program.clone().compile(&Options::new())?)?;
/// trainable(&mut program.interpret(&Options::new())?)?;
/// # Ok::<(), Error>(())
/// ```
pub trait Model: sealed::Model {}

impl Model for Executable {}
impl Model for Interpreted {}

/// The feeds of a call.
pub(super) type Feeds<'f, 'a> = &'f mut dyn Iterator<Item = (&'a str, &'a dyn Input)>;

pub(super) mod sealed {
    use super::{Array, Cow, Error, Feeds, Program, Type};

    /// What a trainer asks of a model.
    pub trait Model {
        /// The program as it was declared.
        fn declared(&self) -> &Program;

        /// Calls an entry and puts its scalar outputs of these names into `found`, as `f64`.
        fn numbers<'a>(
            &'a mut self,
            entry: &'a str,
            feeds: Feeds<'_, 'a>,
            names: &[String],
            found: &mut [f64],
        ) -> Result<(), Error>;

        /// Calls an entry and gives its outputs of these names.
        fn arrays<'a>(
            &'a mut self,
            entry: &'a str,
            feeds: Feeds<'_, 'a>,
            names: &[String],
        ) -> Result<Vec<Array>, Error>;

        /// Every state: its path, type and bytes, in the program's order.
        fn states(&self) -> Vec<(&str, &Type, Cow<'_, [u8]>)>;

        /// Replaces a state's bytes.
        fn set_state(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error>;
    }
}

impl sealed::Model for Executable {
    fn declared(&self) -> &Program {
        self.program()
    }

    fn numbers<'a>(
        &'a mut self,
        entry: &'a str,
        feeds: Feeds<'_, 'a>,
        names: &[String],
        found: &mut [f64],
    ) -> Result<(), Error> {
        let call = feeds.fold(self.call(entry), |call, (name, value)| call.feed(name, value));
        let outputs = call.run()?;
        for (name, found) in names.iter().zip(found) {
            *found = number(&outputs, name)?;
        }
        Ok(())
    }

    fn arrays<'a>(
        &'a mut self,
        entry: &'a str,
        feeds: Feeds<'_, 'a>,
        names: &[String],
    ) -> Result<Vec<Array>, Error> {
        let call = feeds.fold(self.call(entry), |call, (name, value)| call.feed(name, value));
        let outputs = call.run()?;
        names.iter().map(|name| output(&outputs, name)).collect()
    }

    fn states(&self) -> Vec<(&str, &Type, Cow<'_, [u8]>)> {
        let types = self.program().states.iter().map(|state| &state.ty);
        let states = self.state_bytes().zip(types);
        states.map(|((path, bytes), ty)| (path, ty, Cow::Borrowed(bytes))).collect()
    }

    fn set_state(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.set_state_bytes(path, bytes)
    }
}

impl sealed::Model for Interpreted {
    fn declared(&self) -> &Program {
        Interpreted::declared(self)
    }

    fn numbers<'a>(
        &'a mut self,
        entry: &'a str,
        feeds: Feeds<'_, 'a>,
        names: &[String],
        found: &mut [f64],
    ) -> Result<(), Error> {
        let call = feeds.fold(self.call(entry), |call, (name, value)| call.feed(name, value));
        let outputs = call.run()?;
        for (name, found) in names.iter().zip(found) {
            *found = outputs.number(name)?;
        }
        Ok(())
    }

    fn arrays<'a>(
        &'a mut self,
        entry: &'a str,
        feeds: Feeds<'_, 'a>,
        names: &[String],
    ) -> Result<Vec<Array>, Error> {
        let call = feeds.fold(self.call(entry), |call, (name, value)| call.feed(name, value));
        let outputs = call.run()?;
        names.iter().map(|name| outputs.array(name).cloned()).collect()
    }

    fn states(&self) -> Vec<(&str, &Type, Cow<'_, [u8]>)> {
        let states = self.program().states.iter().zip(self.values());
        states.map(|(state, value)| (&*state.path, &state.ty, value.to_bytes().into())).collect()
    }

    fn set_state(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let known = self.program().states.iter().find(|state| *state.path == *path);
        let Some(ty) = known.map(|state| state.ty.clone()) else { return Ok(()) };
        let value = array(ty.dtype, &ty.shape.as_constant().unwrap_or_default(), bytes)?;
        Interpreted::set_state(self, path, value)
    }
}

/// What is fed for an array.
pub(super) fn input(array: &Array) -> &dyn Input {
    for_array!(array, array => array)
}

fn output(outputs: &Outputs<'_>, name: &str) -> Result<Array, Error> {
    Ok(match outputs.dtype(name)? {
        DType::F32 => outputs.view::<f32>(name)?.to_owned().into(),
        DType::F64 => outputs.view::<f64>(name)?.to_owned().into(),
        DType::I32 => outputs.view::<i32>(name)?.to_owned().into(),
        DType::I64 => outputs.view::<i64>(name)?.to_owned().into(),
        DType::U8 => outputs.view::<u8>(name)?.to_owned().into(),
        DType::Bool => outputs.view::<bool>(name)?.to_owned().into(),
    })
}

fn number(outputs: &Outputs<'_>, name: &str) -> Result<f64, Error> {
    Ok(match outputs.dtype(name)? {
        DType::F32 => f64::from(outputs.scalar::<f32>(name)?),
        DType::F64 => outputs.scalar::<f64>(name)?,
        DType::I32 => f64::from(outputs.scalar::<i32>(name)?),
        DType::I64 => outputs.scalar::<i64>(name)? as f64,
        DType::U8 => f64::from(outputs.scalar::<u8>(name)?),
        DType::Bool => f64::from(u8::from(outputs.scalar::<bool>(name)?)),
    })
}
