//! Where buffers are, as the iterations of repeats go on.

use crate::program::{BufferPlace, Place, Program, Slot};

/// Memory that addresses are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// The arena.
    Arena,
    /// The external at this index.
    External(usize),
}

/// Where a buffer begins: `offset + Σ step·i` bytes from the start of a space, over the iterations
/// `i` of the repeats around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What it is in.
    pub space: Space,
    /// Bytes, where every iteration is the first.
    pub offset: i128,
    /// By nesting level, bytes from one iteration to the next; levels that are left out have 0.
    pub steps: Vec<(usize, i128)>,
}

impl Address {
    /// Where it is in these iterations, by level.
    pub fn at(&self, iterations: &[usize]) -> i128 {
        self.steps.iter().fold(self.offset, |at, (level, step)| {
            at + step * iterations.get(*level).map_or(0, |iteration| *iteration as i128)
        })
    }
}

impl Program {
    /// Where a buffer is while the iterations that are odd are those of the levels for which `odd`
    /// holds. The program is verified.
    pub fn address(&self, slot: Slot, odd: impl Fn(usize) -> bool) -> Address {
        let (mut slot, mut offset, mut steps) = (slot, 0i128, Vec::new());
        loop {
            let BufferPlace { scalar, place, .. } = self.buffers[slot.0 as usize];
            let bytes = scalar.size() as i128;
            slot = match place {
                Place::Arena { offset: start } => {
                    return Address { space: Space::Arena, offset: offset + start as i128, steps };
                }
                Place::External { index } => {
                    return Address { space: Space::External(index), offset, steps };
                }
                Place::Part { of, first, step, level } => {
                    offset += first as i128 * bytes;
                    steps.push((level, i128::from(step) * bytes));
                    of
                }
                Place::Turn { even, odd: other, level } => {
                    if odd(level) {
                        other
                    } else {
                        even
                    }
                }
            };
        }
    }

    /// Where a buffer is that no iteration moves.
    fn fixed(&self, slot: Slot) -> Option<Address> {
        let (space, offset) = match self.buffers[slot.0 as usize].place {
            Place::Arena { offset } => (Space::Arena, offset),
            Place::External { index } => (Space::External(index), 0),
            Place::Part { .. } | Place::Turn { .. } => return None,
        };
        Some(Address { space, offset: offset as i128, steps: Vec::new() })
    }

    /// The levels whose iterations decide, by being even or odd, where a buffer is; ascending.
    pub fn turns(&self, slot: Slot) -> Vec<usize> {
        let mut levels = Vec::new();
        let mut pending = vec![slot];
        let mut seen = Vec::new();
        while let Some(slot) = pending.pop() {
            if seen.contains(&slot) {
                continue;
            }
            seen.push(slot);
            match self.buffers[slot.0 as usize].place {
                Place::Arena { .. } | Place::External { .. } => {}
                Place::Part { of, .. } => pending.push(of),
                Place::Turn { even, odd, level } => {
                    pending.extend([even, odd]);
                    levels.push(level);
                }
            }
        }
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// How two buffers lie to each other in any iteration of repeats of these counts, from the
    /// outside in; `None` where too many of them decide where the buffers are to tell.
    pub fn overlap(&self, one: Slot, other: Slot, counts: &[usize]) -> Option<Overlap> {
        let bytes = |slot: Slot| {
            let buffer = &self.buffers[slot.0 as usize];
            (buffer.len * buffer.scalar.size()) as i128
        };
        if counts.contains(&0) || bytes(one) == 0 || bytes(other) == 0 {
            return Some(Overlap::Never);
        }
        if let (Some(a), Some(b)) = (self.fixed(one), self.fixed(other)) {
            return Some(between(&a, bytes(one), &b, bytes(other), &[]));
        }
        let mut levels = self.turns(one);
        levels.extend(self.turns(other));
        levels.sort_unstable();
        levels.dedup();
        // What runs once is even.
        levels.retain(|level| counts.get(*level).is_some_and(|count| *count > 1));
        if levels.len() > MAX_TURNS {
            return None;
        }
        let mut overlap = Overlap::Never;
        for which in 0..1usize << levels.len() {
            let odd = |level: usize| {
                let at = levels.iter().position(|known| *known == level);
                at.is_some_and(|at| which >> at & 1 == 1)
            };
            let (a, b) = (self.address(one, odd), self.address(other, odd));
            overlap = overlap.max(between(&a, bytes(one), &b, bytes(other), counts));
        }
        Some(overlap)
    }
}

/// Levels whose parities are told apart when two buffers are compared.
const MAX_TURNS: usize = 8;

/// How two buffers lie to each other, the worst of all iterations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlap {
    /// They share no byte.
    Never,
    /// They share none or begin at the same byte.
    Same,
    /// They may share some bytes.
    Partly,
}

/// How what is at two addresses lies to each other: the distance between them is an interval.
fn between(a: &Address, a_bytes: i128, b: &Address, b_bytes: i128, counts: &[usize]) -> Overlap {
    if a.space != b.space {
        return Overlap::Never;
    }
    let mut steps = vec![0i128; counts.len()];
    for (sign, address) in [(1, a), (-1, b)] {
        for (level, step) in &address.steps {
            if let Some(sum) = steps.get_mut(*level) {
                *sum += sign * step;
            }
        }
    }
    let (mut low, mut high) = (a.offset - b.offset, a.offset - b.offset);
    for (step, count) in steps.iter().zip(counts) {
        let reach = step * (*count as i128 - 1).max(0);
        low += reach.min(0);
        high += reach.max(0);
    }
    if low >= b_bytes || high <= -a_bytes {
        Overlap::Never
    } else if low == 0 && high == 0 {
        Overlap::Same
    } else {
        Overlap::Partly
    }
}
