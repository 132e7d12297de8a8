//! Recipes: the numbers that a random program is made from.
//!
//! A program is not drawn, it is *cooked*: [`Recipe`] is a header and a list of steps, a dozen
//! bytes each, and every recipe gives a valid program (see [`crate::generate`]). Whoever can make
//! bytes can make programs: a `proptest` strategy that shrinks (steps disappear, bytes go to zero,
//! and zero always means the simplest choice), a loop over seeds, a fuzzer.

use std::fmt;

use proptest::prelude::*;

/// Bytes of the header.
pub const HEADER: usize = 16;

/// Bytes of a step.
pub const STEP: usize = 12;

/// What the numbers of a program are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Regime {
    /// Floats hold whole numbers so small that every operation on them is exact, and integers
    /// anything: however a result is computed, it is the same, and every difference is a bug.
    Integers,
    /// Floats of moderate size, inside the domains of the operations: results agree within bounds.
    Reals,
    /// Floats hold any bits, NaN, infinity, subnormal numbers and −0 included: for what must keep
    /// every bit.
    Wild,
}

/// The numbers that a random program is made from. Every recipe gives a valid program.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What the program's numbers are like.
    pub regime: Regime,
    /// Lengths, symbols, outputs, the seed of values.
    pub header: [u8; HEADER],
    /// One operation, or a few, each.
    pub steps: Vec<[u8; STEP]>,
}

impl Recipe {
    /// The recipe that these bytes spell: the header, then the steps; what is missing is zero.
    pub fn from_bytes(regime: Regime, bytes: &[u8]) -> Recipe {
        let mut header = [0; HEADER];
        let (first, rest) = bytes.split_at(bytes.len().min(HEADER));
        header[..first.len()].copy_from_slice(first);
        let steps = rest.chunks(STEP).map(|chunk| {
            let mut step = [0; STEP];
            step[..chunk.len()].copy_from_slice(chunk);
            step
        });
        Recipe { regime, header, steps: steps.collect() }
    }

    /// The bytes that spell this recipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.header.iter().chain(self.steps.iter().flatten()).copied().collect()
    }

    /// A recipe with up to `steps` steps that depends on the seed alone.
    pub fn sample(regime: Regime, seed: u64, steps: usize) -> Recipe {
        let mut random = Random::new(seed);
        let count = 1 + random.below(steps.max(1));
        let bytes: Vec<u8> = (0..HEADER + count * STEP).map(|_| random.byte()).collect();
        Recipe::from_bytes(regime, &bytes)
    }

    /// The recipe with longer axes: the program's lengths are large ones, so that its kernels are
    /// blocked, split into chunks and unrolled.
    #[must_use]
    pub fn widened(mut self) -> Recipe {
        for (at, byte) in self.header[..4].iter_mut().enumerate() {
            // The upper part of the table of lengths, of which the longest end is the first one's.
            *byte |= if at == 0 { 224 } else { 192 };
        }
        self
    }

    /// Recipes with up to `steps` steps, for `proptest`.
    pub fn strategy(regime: Regime, steps: usize) -> impl Strategy<Value = Recipe> {
        let header = any::<[u8; HEADER]>();
        let steps = prop::collection::vec(any::<[u8; STEP]>(), 1..=steps.max(1));
        (header, steps).prop_map(move |(header, steps)| Recipe { regime, header, steps })
    }
}

/// As the Rust expression that gives it back.
impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe::from_bytes(Regime::{:?}, &{:?})", self.regime, self.to_bytes())
    }
}

/// A small generator of random numbers (SplitMix64): the same numbers on every machine, for ever.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator that begins at a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A random byte.
    pub fn byte(&mut self) -> u8 {
        (self.bits() >> 56) as u8
    }

    /// A number below `bound`, or 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

/// The bytes of a step, read as choices. Once they are used up, further choices are made from
/// them again, so that a step of zeros makes the first choice everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Picks<'r> {
    bytes: &'r [u8],
    at: usize,
}

impl<'r> Picks<'r> {
    pub(crate) fn new(bytes: &'r [u8]) -> Picks<'r> {
        Picks { bytes, at: 0 }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let round = (self.at / self.bytes.len()) as u32;
        let byte = self.bytes[self.at % self.bytes.len()];
        self.at += 1;
        byte.rotate_left(3 * (round % 8)).wrapping_mul((2 * round + 1) as u8)
    }

    /// A choice among `count`, which must not be 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// True one time in `count`, and not for zero bytes.
    pub(crate) fn rarely(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_samples_repeat() {
        for seed in 0..20 {
            let recipe = Recipe::sample(Regime::Reals, seed, 9);
            assert!((1..=9).contains(&recipe.steps.len()));
            assert_eq!(Recipe::from_bytes(recipe.regime, &recipe.to_bytes()), recipe);
            assert_eq!(Recipe::sample(Regime::Reals, seed, 9), recipe);
        }
        let short = Recipe::from_bytes(Regime::Wild, &[7; HEADER + 1]);
        assert_eq!(short.steps, [[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
    }
}
