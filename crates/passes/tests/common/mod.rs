//! Reading, compiling and interpreting programs.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use kilngrad_interp::{Array, Outcome, States, eval_entry};
use kilngrad_ir::text::Limits;
use kilngrad_ir::{Bindings, Entry, Literal, Machine, Program, Symbol, Type};
use kilngrad_passes::{Compiled, Context, Exactness, Options, Pass, PassError, Stage, run};

/// The expansion of gradient requests, as a pass.
#[derive(Debug)]
pub struct Differentiate;

impl Pass for Differentiate {
    fn name(&self) -> &'static str {
        "differentiate"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, _: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        kilngrad_autodiff::differentiate(program).map_err(PassError::Diagnostics)
    }
}

pub fn parse(text: &str) -> Program {
    let text = format!("kilngrad 1\nprogram \"t\"\n{text}");
    Program::parse(&text, &Limits::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub fn bindings(symbols: &[(&str, usize)]) -> Bindings {
    symbols.iter().map(|(name, length)| (Symbol::new(name), *length)).collect()
}

pub fn compile(program: &Program, symbols: &[(&str, usize)]) -> Compiled {
    compile_observed(program, symbols, &mut |_| {})
}

pub fn compile_observed(
    program: &Program,
    symbols: &[(&str, usize)],
    observer: &mut dyn FnMut(&Stage<'_>),
) -> Compiled {
    let options = Options { machine: Machine::BASELINE, bindings: bindings(symbols) };
    run(program, &options, &[&Differentiate], observer).unwrap_or_else(|error| panic!("{error}"))
}

/// A deterministic source of numbers (SplitMix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// A small number, whole or not; now and then one of the numbers at which identities fail.
    pub fn number(&mut self, special: bool) -> f64 {
        const SPECIAL: [f64; 6] = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-310];
        if special && self.below(6) == 0 {
            SPECIAL[self.below(SPECIAL.len())]
        } else {
            (self.below(129) as f64 - 64.0) / 16.0
        }
    }

    pub fn array(&mut self, ty: &Type, special: bool) -> Array {
        let shape = ty.shape.as_constant().unwrap();
        let count: usize = shape.iter().product();
        let elements = (0..count).map(|_| Literal::from_f64(ty.dtype, self.number(special)));
        let dense = kilngrad_ir::Dense::new(ty.dtype, elements).unwrap();
        Array::from_dense(&dense, &shape).unwrap()
    }
}

/// The entry's roots on drawn inputs and states.
pub fn evaluate(program: &Program, entry: &Entry, seed: u64, special: bool) -> Outcome {
    let mut draw = Draw(seed);
    let states = program.states.iter().map(|state| draw.array(&state.ty, special)).collect();
    let states = States::new(program, states).unwrap();
    let graph = &entry.graph;
    let inputs: Vec<Array> =
        graph.arguments().iter().map(|value| draw.array(graph.ty(*value), special)).collect();
    eval_entry(program, entry, &inputs, &states).unwrap()
}
