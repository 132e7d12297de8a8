//! One way to call a program, whichever way it runs.

use kilngrad::prelude::*;
use kilngrad::{Features, Input};

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
