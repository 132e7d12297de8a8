//! One way to call a program, whichever way it runs.

use std::path::Path;

use kilngrad::prelude::*;
use kilngrad::{Array, Features, Input};

use clap::ValueEnum;

/// Which instructions generated code may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Processor {
    /// All that this processor has.
    Native,
    /// Neither AVX nor FMA.
    Baseline,
}

impl Processor {
    pub(crate) fn features(self) -> Features {
        match self {
            Processor::Native => Features::detect(),
            Processor::Baseline => Features::baseline().intersect(Features::detect()),
        }
    }
}

/// The floating-point type of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Float {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

impl Float {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Float::F32 => F32,
            Float::F64 => F64,
        }
    }
}

/// Numbers of threads.
pub(crate) fn threads() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=256)
}

/// A program that can be called: compiled, or interpreted.
pub(crate) enum Engine {
    Native(Box<Executable>),
    Interpreter(Box<Interpreted>),
}

impl Engine {
    pub(crate) fn new(program: Program, options: &Options, interpret: bool) -> Result<Engine> {
        Ok(if interpret {
            Engine::Interpreter(Box::new(program.interpret(options)?))
        } else {
            Engine::Native(Box::new(program.compile(options)?))
        })
    }

    /// Calls an entry and gives its scalar outputs in the order of `outputs`, as `f64`.
    pub(crate) fn call(
        &mut self,
        entry: &str,
        feeds: &[(&str, &dyn Input)],
        outputs: &[&str],
    ) -> Result<Vec<f64>> {
        match self {
            Engine::Native(executable) => {
                let call = executable.call(entry);
                let call = feeds.iter().fold(call, |call, (name, value)| call.feed(name, *value));
                let results = call.run()?;
                outputs.iter().map(|name| scalar(results.dtype(name)?, name, &results)).collect()
            }
            Engine::Interpreter(program) => {
                let call = program.call(entry);
                let call = feeds.iter().fold(call, |call, (name, value)| call.feed(name, *value));
                let results = call.run()?;
                outputs.iter().map(|name| results.number(name)).collect()
            }
        }
    }
}

impl Engine {
    /// Calls an entry, with lengths of symbols that no input binds, and gives its outputs by name in
    /// the order of the entry. The interpreter takes every length from the inputs.
    pub(crate) fn outputs(
        &mut self,
        entry: &str,
        feeds: &[(&str, &Array)],
        lengths: &[(String, usize)],
    ) -> Result<Vec<(String, Array)>> {
        let feeds = feeds.iter().map(|(name, array)| (*name, input(array)));
        match self {
            Engine::Native(executable) => {
                let call = feeds
                    .fold(executable.call(entry), |call, (name, value)| call.feed(name, value));
                let call = lengths.iter().fold(call, |call, (name, n)| call.bind(name, *n));
                let results = call.run()?;
                let named = |name: &str| Ok((name.to_owned(), output(&results, name)?));
                results.names().map(named).collect()
            }
            Engine::Interpreter(program) => {
                let names: Vec<String> = program
                    .program()
                    .entry(entry)
                    .map_or(Vec::new(), |e| e.outputs.iter().map(ToString::to_string).collect());
                let call =
                    feeds.fold(program.call(entry), |call, (name, value)| call.feed(name, value));
                let results = call.run()?;
                let named = |name: String| Ok((name.clone(), results.array(&name)?.clone()));
                names.into_iter().map(named).collect()
            }
        }
    }

    /// Gives the states their values from a file that has exactly them.
    pub(crate) fn load(&mut self, path: &Path) -> Result<()> {
        match self {
            Engine::Native(executable) => {
                executable.load(path, &Load::strict())?;
            }
            Engine::Interpreter(program) => {
                // Only an executable reads such a file; without an entry it is no more than its states.
                let mut held = program.snapshot().compile(&Options::new().entries(&[]))?;
                held.load(path, &Load::strict())?;
                program.copy_state(&held)?;
            }
        }
        Ok(())
    }

    /// Writes the program with what its states hold.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        match self {
            Engine::Native(executable) => executable.save(path),
            Engine::Interpreter(program) => program.snapshot().save(path),
        }
    }
}

fn input(array: &Array) -> &dyn Input {
    match array {
        Array::F32(array) => array,
        Array::F64(array) => array,
        Array::I32(array) => array,
        Array::I64(array) => array,
        Array::U8(array) => array,
        Array::Bool(array) => array,
    }
}

fn output(outputs: &Outputs<'_>, name: &str) -> Result<Array> {
    Ok(match outputs.dtype(name)? {
        DType::F32 => outputs.view::<f32>(name)?.to_owned().into(),
        DType::F64 => outputs.view::<f64>(name)?.to_owned().into(),
        DType::I32 => outputs.view::<i32>(name)?.to_owned().into(),
        DType::I64 => outputs.view::<i64>(name)?.to_owned().into(),
        DType::U8 => outputs.view::<u8>(name)?.to_owned().into(),
        DType::Bool => outputs.view::<bool>(name)?.to_owned().into(),
    })
}

fn scalar(dtype: DType, name: &str, outputs: &Outputs<'_>) -> Result<f64> {
    Ok(match dtype {
        DType::F32 => f64::from(outputs.scalar::<f32>(name)?),
        DType::F64 => outputs.scalar::<f64>(name)?,
        DType::I32 => f64::from(outputs.scalar::<i32>(name)?),
        DType::I64 => outputs.scalar::<i64>(name)? as f64,
        DType::U8 => f64::from(outputs.scalar::<u8>(name)?),
        DType::Bool => f64::from(u8::from(outputs.scalar::<bool>(name)?)),
    })
}
