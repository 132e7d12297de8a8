//! The pipeline: passes in order, each followed by the verifier and shown to an observer.
//!
//! Differentiation lives in a crate that this one may not use, so the standard pipeline is two
//! lists with a gap between them: [`Pipeline::before_gradients`] and
//! [`Pipeline::after_gradients`]. Who sees both crates puts a [`Pass`] that expands gradient
//! requests between the two, or gives it to [`run`].

use std::time::{Duration, Instant};

use kilngrad_ir::{Bindings, Machine, Program, verify};

use crate::bind::Bind;
use crate::copies::Copies;
use crate::correlate::Correlate;
use crate::cse::Cse;
use crate::dce::Dce;
use crate::decide::Decide;
use crate::fold::Fold;
use crate::fuse::{Fuse, FusionReport};
use crate::hoist::Hoist;
use crate::pass::{Context, Exactness, Pass, PassError};
use crate::plan::{PlanMemory, PlanReport};
use crate::schedule::Schedule;
use crate::simplify::Simplify;
use crate::stabilise::Stabilise;
use crate::strength::Strength;

/// The program after a pass, as observers see it.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The pass that made it; `"input"` for the program as it came.
    pub name: &'static str,
    /// What the pass promises about values.
    pub exactness: Exactness,
    /// The program.
    pub program: &'a Program,
    /// How long the pass took.
    pub time: Duration,
    /// How long the verifier took.
    pub verify_time: Duration,
}

/// Who watches a pipeline: dumps, times, or interprets every stage.
pub type Observer<'o> = dyn FnMut(&Stage<'_>) + 'o;

/// Passes in order.
#[derive(Debug, Default)]
pub struct Pipeline {
    passes: Vec<Box<dyn Pass>>,
}

impl Pipeline {
    /// A pipeline without passes.
    pub fn new() -> Pipeline {
        Pipeline::default()
    }

    /// From a symbolic program to a small one whose symbols are bound and whose losses are
    /// stable, ready to be differentiated.
    pub fn before_gradients() -> Pipeline {
        Pipeline::new()
            .then(Bind)
            .then(Dce)
            .then(Stabilise)
            .then(Simplify)
            .then(Fold)
            .then(Decide)
            .then(Stabilise)
            .then(Simplify)
            .then(Cse)
            .then(Hoist)
            .then(Dce)
    }

    /// From a differentiated program to kernels in order with places in memory.
    pub fn after_gradients() -> Pipeline {
        Pipeline::new()
            .then(Dce)
            .then(Simplify)
            .then(Fold)
            .then(Cse)
            .then(Hoist)
            .then(Correlate)
            .then(Strength)
            .then(Simplify)
            .then(Fold)
            // Arrays that folding stated within a loop: a region holds none when it is planned.
            .then(Hoist)
            .then(Cse)
            .then(Dce)
            .then(Fuse)
            .then(Copies)
            .then(Schedule)
            .then(PlanMemory)
    }

    /// The pipeline with one more pass.
    #[must_use]
    pub fn then(mut self, pass: impl Pass + 'static) -> Pipeline {
        self.passes.push(Box::new(pass));
        self
    }

    /// The passes, in order.
    pub fn passes(&self) -> impl ExactSizeIterator<Item = &dyn Pass> {
        self.passes.iter().map(|pass| &**pass)
    }

    /// Runs the passes in order, each followed by the verifier and then by the observer.
    ///
    /// # Errors
    ///
    /// What the first failing pass reports, or [`PassError::Invalid`] where a pass left a program
    /// that breaks a rule.
    pub fn run(
        &self,
        mut program: Program,
        context: &mut Context<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<Program, PassError> {
        for pass in &self.passes {
            program = run_pass(&**pass, &program, context, observer)?;
        }
        Ok(program)
    }
}

/// Runs one pass, the verifier and the observer.
///
/// # Errors
///
/// As [`Pipeline::run`].
pub fn run_pass(
    pass: &dyn Pass,
    program: &Program,
    context: &mut Context<'_>,
    observer: &mut Observer<'_>,
) -> Result<Program, PassError> {
    let start = Instant::now();
    let program = pass.run(context, program)?;
    let time = start.elapsed();
    let start = Instant::now();
    verify(&program).map_err(|error| PassError::Invalid { pass: pass.name(), error })?;
    observer(&Stage {
        name: pass.name(),
        exactness: pass.exactness(),
        program: &program,
        time,
        verify_time: start.elapsed(),
    });
    Ok(program)
}

/// What a program is compiled for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The processor.
    pub machine: Machine,
    /// What symbols stand for.
    pub bindings: Bindings,
}

/// A compiled program with what was learned on the way.
#[derive(Debug)]
pub struct Compiled {
    /// Kernels in order, with places.
    pub program: Program,
    /// What fusion did, an entry each.
    pub fusion: Vec<FusionReport>,
    /// What the memory plan decided, an entry each.
    pub plans: Vec<PlanReport>,
}

/// Compiles a program: the passes before gradients, those in `gradients` (which expand gradient
/// requests; none where the program has none), and the passes after.
///
/// # Errors
///
/// As [`Pipeline::run`].
pub fn run(
    program: &Program,
    options: &Options,
    gradients: &[&dyn Pass],
    observer: &mut Observer<'_>,
) -> Result<Compiled, PassError> {
    let mut context = Context::new(&options.machine, &options.bindings);
    observer(&Stage {
        name: "input",
        exactness: Exactness::Exact,
        program,
        time: Duration::ZERO,
        verify_time: Duration::ZERO,
    });
    let before = Pipeline::before_gradients();
    let mut program = before.run(program.clone(), &mut context, observer)?;
    for pass in gradients {
        program = run_pass(*pass, &program, &mut context, observer)?;
    }
    let program = Pipeline::after_gradients().run(program, &mut context, observer)?;
    Ok(Compiled { program, fusion: context.fusion, plans: context.plans })
}
