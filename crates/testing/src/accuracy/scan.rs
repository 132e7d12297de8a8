//! Running a function over many operands, on several threads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kilngrad::Error;
use ndarray::Array1;

use super::functions::Function;
use super::native::{BATCH, Compiled, Engine};
use super::sample::{Sample, Stream, draw};
use super::tally::Tally;

/// How to run a measurement.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// What computes.
    pub engines: &'a [Engine],
    /// Threads that share the operands.
    pub threads: usize,
    /// Told how many operands were seen each time that some were; called by all threads.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl fmt::Debug for Effort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Effort { engines, threads, progress: _ } = self;
        f.debug_struct("Effort").field("engines", engines).field("threads", threads).finish()
    }
}

/// A tally for each engine that has the function, in their order.
pub type Tallies = Vec<(Engine, Tally)>;

/// New operands of a batch.
const FRESH: u64 = (BATCH - 1) as u64;

/// Every `stride`-th of the 2³² operands of `f32`: all of them for 1.
///
/// # Errors
///
/// What the compiler or the runtime says.
pub fn every_f32(function: &Function, stride: u64, effort: &Effort<'_>) -> Result<Tallies, Error> {
    let count = (1u64 << 32).div_ceil(stride);
    in_blocks(function, count.div_ceil(FRESH), effort, true, |block, x: &mut Array1<f32>, _| {
        let first = block * FRESH;
        for (at, x) in (first..).zip(x.iter_mut()) {
            *x = f32::from_bits((at * stride).min(u64::from(u32::MAX)) as u32);
        }
        (FRESH.min(count - first)) as usize
    })
}

/// `count` operands of `f32` or `f64`, drawn from all bit patterns and where the function varies.
///
/// # Errors
///
/// What the compiler or the runtime says.
pub fn samples<T: Sample>(
    function: &Function,
    count: u64,
    effort: &Effort<'_>,
) -> Result<Tallies, Error> {
    in_blocks(function, count.div_ceil(FRESH), effort, false, |block, x, y| {
        let mut stream = Stream::new(block);
        for (x, y) in x.iter_mut().zip(y.iter_mut()) {
            (*x, *y) = draw::<T>(function, &mut stream);
        }
        FRESH.min(count - block * FRESH) as usize
    })
}

/// These operands, at most a batch of them, in this order.
///
/// # Errors
///
/// What the compiler or the runtime says.
///
/// # Panics
///
/// If there are more than a batch holds.
pub fn these<T: Sample>(
    function: &Function,
    operands: &[(T, T)],
    engines: &[Engine],
) -> Result<Tallies, Error> {
    assert!(operands.len() < BATCH, "expected less than a batch, found {}", operands.len());
    let effort = Effort { engines, threads: 1, progress: &|_| {} };
    in_blocks(function, 1, &effort, false, |_, x, y| {
        for ((x, y), operands) in x.iter_mut().zip(y.iter_mut()).zip(operands) {
            (*x, *y) = *operands;
        }
        operands.len()
    })
}

/// Runs blocks of operands: `fill` writes a batch and says how many of them count; one more may be
/// there to compare the last with.
fn in_blocks<T: Sample>(
    function: &Function,
    blocks: u64,
    effort: &Effort<'_>,
    in_order: bool,
    fill: impl Fn(u64, &mut Array1<T>, &mut Array1<T>) -> usize + Sync,
) -> Result<Tallies, Error> {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut worker = Worker::new(function, effort.engines, in_order)?;
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                return Ok(worker.tallies());
            }
            let fresh = fill(block, &mut worker.x, &mut worker.y);
            worker.run(fresh)?;
            (effort.progress)(fresh as u64);
        }
    };
    let found: Vec<Result<Tallies, Error>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..effort.threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|result| result.expect("a measurement does not panic")).collect()
    });
    let mut total: Tallies = Vec::new();
    for tallies in found {
        let tallies = tallies?;
        if total.is_empty() {
            total = tallies;
            continue;
        }
        for ((_, sum), (_, more)) in total.iter_mut().zip(&tallies) {
            sum.merge(more);
        }
    }
    Ok(total)
}

/// A thread's code and memory.
struct Worker<'f, T: Sample> {
    function: &'f Function,
    code: Vec<(Engine, Compiled<T>, Tally)>,
    x: Array1<T>,
    y: Array1<T>,
    /// Whether operands are neighbours, so that results can be compared with each other.
    in_order: bool,
    references: Vec<T::Reference>,
    results: Vec<T>,
}

impl<'f, T: Sample> Worker<'f, T> {
    fn new(function: &'f Function, engines: &[Engine], in_order: bool) -> Result<Self, Error> {
        let mut code = Vec::new();
        for &engine in engines {
            if let Some(compiled) = Compiled::new(function, engine)? {
                code.push((engine, compiled, Tally::default()));
            }
        }
        let ones = || Array1::from_elem(BATCH, T::nearest(1.0));
        let (references, results) = (Vec::new(), Vec::new());
        Ok(Worker { function, code, x: ones(), y: ones(), in_order, references, results })
    }

    /// Measures the first `fresh` operands.
    fn run(&mut self, fresh: usize) -> Result<(), Error> {
        let function = self.function;
        self.references.clear();
        let operands = self.x.iter().zip(&self.y).take(fresh);
        self.references.extend(operands.map(|(x, y)| T::reference(function, *x, *y)));
        for (_, compiled, tally) in &mut self.code {
            compiled.run(function, &self.x, &self.y, &mut self.results)?;
            let operands = self.x.iter().zip(&self.y);
            for (((x, y), found), reference) in operands.zip(&self.results).zip(&self.references) {
                T::add(tally, function, ((*x).into(), (*y).into()), *found, reference);
            }
            if let Some(direction) = function.direction.filter(|_| self.in_order) {
                for (at, pair) in self.x.iter().zip(self.results.windows(2)).take(fresh) {
                    tally.compare(direction, (*at).into(), pair[0].into(), pair[1].into());
                }
            }
        }
        Ok(())
    }

    fn tallies(self) -> Tallies {
        self.code.into_iter().map(|(engine, _, tally)| (engine, tally)).collect()
    }
}
