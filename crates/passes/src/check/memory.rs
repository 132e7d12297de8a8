//! Which bytes are whose, as a replay goes on.

use std::collections::BTreeMap;
use std::ops::Range;

use kilngrad_ir::Value;

/// Disjoint intervals of bytes, each with the value that was written there last.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    /// By first byte: the one after the last, and the value.
    by_start: BTreeMap<usize, (usize, Value)>,
}

impl Intervals {
    /// Gives bytes to a value and returns the values that had any of them, last byte first.
    ///
    /// What such a value has besides is given up as well: a value of which a byte is missing is not
    /// in memory, so nobody asks for the rest.
    pub(super) fn insert(&mut self, bytes: Range<usize>, value: Value) -> Vec<Value> {
        let mut displaced = Vec::new();
        if bytes.is_empty() {
            return displaced;
        }
        while let Some((&start, &(end, other))) = self.by_start.range(..bytes.end).next_back()
            && end > bytes.start
        {
            self.by_start.remove(&start);
            displaced.push(other);
        }
        self.by_start.insert(bytes.start, (bytes.end, value));
        displaced
    }

    /// Takes bytes, all of one value, from whoever has them.
    pub(super) fn remove(&mut self, bytes: Range<usize>) {
        if !bytes.is_empty() {
            self.by_start.remove(&bytes.start);
        }
    }
}

/// What has become of contents.
#[derive(Debug)]
pub(super) struct Contents {
    lost_to: Vec<Option<Value>>,
}

impl Contents {
    /// As many contents, none of them lost.
    pub(super) fn new(count: usize) -> Contents {
        Contents { lost_to: vec![None; count] }
    }

    /// Notes that `writer` was written over some bytes of a content.
    pub(super) fn lose(&mut self, content: Value, writer: Value) {
        self.lost_to[content.index()].get_or_insert(writer);
    }

    /// The first value that was written over some bytes of a content.
    pub(super) fn lost_to(&self, content: Value) -> Option<Value> {
        self.lost_to[content.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_agree_with_bytes_that_are_kept_one_by_one() {
        let mut intervals = Intervals::default();
        let mut owners: Vec<Option<Value>> = vec![None; 64];
        let mut random = 0x9e37_79b9_u32;
        let mut next = |bound: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % bound
        };
        for number in 0..2000 {
            let start = next(64) as usize;
            let end = (start + next(12) as usize).min(64);
            let value = Value::from_index(number);
            let mut expected: Vec<Value> = owners[start..end].iter().flatten().copied().collect();
            expected.reverse();
            expected.dedup();
            for owner in &mut owners {
                if owner.is_some_and(|owner| expected.contains(&owner)) {
                    *owner = None;
                }
            }
            owners[start..end].fill(Some(value));
            assert_eq!(intervals.insert(start..end, value), expected, "{start}..{end}");
        }
    }
}
