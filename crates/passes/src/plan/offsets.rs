//! Offsets for blocks whose times of life are known: dynamic storage allocation, offline.
//!
//! Two ways are tried and the one with the smaller arena is kept:
//!
//! - *greedy by size*: large blocks first, each in the smallest gap between those placed before
//!   that live at the same time (Pisarchyk, Lee: "Efficient Memory Management for Deep Neural Net
//!   Inference", 2020). Quadratic, so only for up to [`MAX_GREEDY`] blocks;
//! - *best fit in order of time*: each block in the smallest free gap when its life begins, in
//!   `O(n log n)`.

use std::collections::{BTreeMap, BTreeSet};

/// How many blocks are placed greedily by size.
const MAX_GREEDY: usize = 4096;

/// Bytes that are needed from one kernel to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) size: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Where each block lies, and the bytes of the arena.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) offsets: Vec<usize>,
    pub(super) bytes: usize,
}

/// The better of the arrangements.
pub(super) fn arrange(blocks: &[Block]) -> Arena {
    let in_time = in_order_of_time(blocks);
    if blocks.len() > MAX_GREEDY {
        return in_time;
    }
    let by_size = greedy_by_size(blocks);
    if by_size.bytes <= in_time.bytes { by_size } else { in_time }
}

fn greedy_by_size(blocks: &[Block]) -> Arena {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(blocks[*index].size), blocks[*index].first));
    let mut arena = Arena { offsets: vec![0; blocks.len()], bytes: 0 };
    // Placed blocks, by offset.
    let mut placed: Vec<usize> = Vec::with_capacity(blocks.len());
    for index in order {
        let block = blocks[index];
        let beside = placed.iter().copied().filter(|other| {
            blocks[*other].first <= block.last && block.first <= blocks[*other].last
        });
        let (mut end, mut best) = (0, None);
        for other in beside {
            let start = arena.offsets[other];
            if start >= end + block.size {
                let gap = start - end;
                if best.is_none_or(|(size, _)| gap < size) {
                    best = Some((gap, end));
                }
            }
            end = end.max(start + blocks[other].size);
        }
        let offset = best.map_or(end, |(_, offset)| offset);
        arena.offsets[index] = offset;
        arena.bytes = arena.bytes.max(offset + block.size);
        let at = placed.partition_point(|other| arena.offsets[*other] <= offset);
        placed.insert(at, index);
    }
    arena
}

fn in_order_of_time(blocks: &[Block]) -> Arena {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|index| (blocks[*index].first, std::cmp::Reverse(blocks[*index].size)));
    let mut arena = Arena { offsets: vec![0; blocks.len()], bytes: 0 };
    let mut free = Gaps::default();
    let mut ends: BTreeSet<(usize, usize)> = BTreeSet::new();
    for index in order {
        let block = blocks[index];
        while let Some(&(last, other)) = ends.first() {
            if last >= block.first {
                break;
            }
            ends.pop_first();
            free.give(arena.offsets[other], blocks[other].size);
        }
        let offset = free.take(block.size).unwrap_or_else(|| {
            // The gap at the end of the arena, if there is one, grows.
            let start = free.take_end(arena.bytes).unwrap_or(arena.bytes);
            arena.bytes = start + block.size;
            start
        });
        arena.offsets[index] = offset;
        ends.insert((block.last, index));
    }
    arena
}

/// Free parts of an arena, by offset and by size.
#[derive(Debug, Default)]
struct Gaps {
    by_offset: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
}

impl Gaps {
    /// The smallest gap that is large enough; what is left of it stays free.
    fn take(&mut self, size: usize) -> Option<usize> {
        if size == 0 {
            return Some(0);
        }
        let &(found, offset) = self.by_size.range((size, 0)..).next()?;
        self.remove(offset, found);
        if found > size {
            self.insert(offset + size, found - size);
        }
        Some(offset)
    }

    /// The start of the gap that ends at `end`.
    fn take_end(&mut self, end: usize) -> Option<usize> {
        let (&offset, &size) = self.by_offset.last_key_value()?;
        (offset + size == end).then(|| {
            self.remove(offset, size);
            offset
        })
    }

    /// Frees a part and joins it with its neighbours.
    fn give(&mut self, mut offset: usize, mut size: usize) {
        if size == 0 {
            return;
        }
        if let Some((&before, &length)) = self.by_offset.range(..offset).next_back()
            && before + length == offset
        {
            self.remove(before, length);
            offset = before;
            size += length;
        }
        if let Some(&length) = self.by_offset.get(&(offset + size)) {
            self.remove(offset + size, length);
            size += length;
        }
        self.insert(offset, size);
    }

    fn insert(&mut self, offset: usize, size: usize) {
        self.by_offset.insert(offset, size);
        self.by_size.insert((size, offset));
    }

    fn remove(&mut self, offset: usize, size: usize) {
        self.by_offset.remove(&offset);
        self.by_size.remove(&(size, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: usize, first: usize, last: usize) -> Block {
        Block { size, first, last }
    }

    fn assert_disjoint(blocks: &[Block], arena: &Arena) {
        for (i, a) in blocks.iter().enumerate() {
            for (j, b) in blocks.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let (x, y) = (arena.offsets[i], arena.offsets[j]);
                assert!(!together || x + a.size <= y || y + b.size <= x, "{a:?} and {b:?}");
            }
            assert!(arena.offsets[i] + a.size <= arena.bytes, "{a:?}");
        }
    }

    #[test]
    fn blocks_that_live_together_are_apart() {
        let mut state = 7u64;
        let mut draw = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let blocks: Vec<Block> = (0..draw(40))
                .map(|_| {
                    let first = draw(30) as usize;
                    block(64 * draw(9) as usize, first, first + draw(10) as usize)
                })
                .collect();
            assert_disjoint(&blocks, &greedy_by_size(&blocks));
            assert_disjoint(&blocks, &in_order_of_time(&blocks));
        }
    }

    #[test]
    fn a_chain_needs_two_blocks() {
        let chain: Vec<Block> = (0..100).map(|i| block(64, i, i + 1)).collect();
        assert_eq!(arrange(&chain).bytes, 128);
    }
}
