//! What computes: the compiler's machine code, or the interpreter's functions.

use std::fmt;

use kilngrad::prelude::{Builder, Executable, Mode, Options, ProgramExt};
use kilngrad::{Element, Error};
use kilngrad_tiles::Features;
use ndarray::Array1;

use super::functions::{Function, Interpreted};

/// Operands of one call. The odd one takes the code of the elements that fill no vector, and
/// overlaps the next batch, so that all neighbours are compared.
pub const BATCH: usize = (1 << 16) + 1;

/// What computes a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// Machine code with fused multiply-add.
    Fused,
    /// Machine code of every processor: products are rounded before they are added.
    Baseline,
    /// The interpreter.
    Interpreter,
}

impl Engine {
    /// Those of machine code that this processor runs.
    pub fn native() -> Vec<Engine> {
        let all = [Engine::Fused, Engine::Baseline];
        let skipped = usize::from(!Features::detect().fma);
        all[skipped..].to_vec()
    }

    /// All that this processor runs.
    pub fn available() -> Vec<Engine> {
        let mut engines = Engine::native();
        engines.push(Engine::Interpreter);
        engines
    }

    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Fused => "fused",
            Engine::Baseline => "baseline",
            Engine::Interpreter => "interpreter",
        }
    }
}

/// A function ready to run on batches of one dtype.
pub(super) enum Compiled<T: Float> {
    Native(Box<Executable>),
    Interpreted(fn(T, T) -> T),
}

impl<T: Float> fmt::Debug for Compiled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compiled::Native(_) => "Native",
            Compiled::Interpreted(_) => "Interpreted",
        })
    }
}

/// `f32` or `f64`.
pub trait Float: Element + Copy + PartialOrd + Into<f64> {
    /// The interpreter's function of this dtype.
    fn interpreted(of: &Interpreted) -> fn(Self, Self) -> Self;
}

impl Float for f32 {
    fn interpreted(of: &Interpreted) -> fn(f32, f32) -> f32 {
        of.f32
    }
}

impl Float for f64 {
    fn interpreted(of: &Interpreted) -> fn(f64, f64) -> f64 {
        of.f64
    }
}

impl<T: Float> Compiled<T> {
    /// `None` if the engine has no such function.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub(super) fn new(function: &Function, engine: Engine) -> Result<Option<Self>, Error> {
        let features = match engine {
            Engine::Fused => Features::detect(),
            Engine::Baseline => Features::baseline(),
            Engine::Interpreter => {
                let interpreted = function.interpreted.as_ref();
                return Ok(interpreted.map(|of| Compiled::Interpreted(T::interpreted(of))));
            }
        };
        let builder = Builder::new("accuracy");
        let entry = builder.entry("f", Mode::Eval);
        let x = entry.input("x", T::DTYPE, (BATCH,));
        let y = if function.is_binary() { entry.input("y", T::DTYPE, (BATCH,)) } else { x };
        entry.output("z", (function.build)(x, y));
        let program = builder.finish().expect("the functions of the table are well typed");
        let executable = program.compile(&Options::new().features(features))?;
        Ok(Some(Compiled::Native(Box::new(executable))))
    }

    /// The results for a batch; a function of one operand ignores `y`.
    ///
    /// # Errors
    ///
    /// What the runtime says.
    pub(super) fn run(
        &mut self,
        function: &Function,
        x: &Array1<T>,
        y: &Array1<T>,
        results: &mut Vec<T>,
    ) -> Result<(), Error> {
        results.clear();
        match self {
            Compiled::Native(executable) => {
                let mut call = executable.call("f").feed("x", x);
                if function.is_binary() {
                    call = call.feed("y", y);
                }
                let outputs = call.run()?;
                results.extend(outputs.view::<T>("z")?.iter());
            }
            Compiled::Interpreted(f) => results.extend(x.iter().zip(y).map(|(x, y)| f(*x, *y))),
        }
        Ok(())
    }
}
