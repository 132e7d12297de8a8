//! A topological order that is kept while nodes are merged.
//!
//! Fusion merges groups of nodes, and a merge is legal only if no path leads from one group out
//! and back into the other. This is the dynamic order of Pearce and Kelly ("A Dynamic Topological
//! Sort Algorithm for Directed Acyclic Graphs", JEA 2006), of which only merging is needed: every
//! group has a rank, edges ascend, so a path between two groups stays within their ranks and a
//! search need not look outside. Searches have a budget; one that exceeds it refuses the merge,
//! so the work of a pass is bounded by the number of merges that it tries.

/// How many edges a search may follow.
const BUDGET: usize = 1024;

/// Groups of nodes of an acyclic graph.
#[derive(Debug)]
pub(super) struct Order {
    parent: Vec<u32>,
    rank: Vec<u32>,
    successors: Vec<Vec<u32>>,
    predecessors: Vec<Vec<u32>>,
    /// Marks of the searches: a node was visited by the search whose number it holds.
    visited: Vec<u32>,
    search: u32,
}

/// Why two groups cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A path leads from one to the other through this group.
    Cycle(u32),
    /// The search for such a path was given up.
    Budget,
}

impl Order {
    /// Every node alone, ranked by its index: edges must ascend.
    pub(super) fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32)>) -> Order {
        let count = u32::try_from(nodes).expect("a graph has fewer than 2³² nodes");
        let mut order = Order {
            parent: (0..count).collect(),
            rank: (0..count).collect(),
            successors: vec![Vec::new(); nodes],
            predecessors: vec![Vec::new(); nodes],
            visited: vec![0; nodes],
            search: 0,
        };
        for (from, to) in edges {
            debug_assert!(from < to, "nodes are in topological order");
            order.successors[from as usize].push(to);
            order.predecessors[to as usize].push(from);
        }
        order
    }

    /// The group of a node.
    pub(super) fn find(&mut self, node: u32) -> u32 {
        let mut root = node;
        while self.parent[root as usize] != root {
            root = self.parent[root as usize];
        }
        let mut node = node;
        while self.parent[node as usize] != root {
            node = std::mem::replace(&mut self.parent[node as usize], root);
        }
        root
    }

    /// The rank of a group.
    pub(super) fn rank(&self, group: u32) -> u32 {
        self.rank[group as usize]
    }

    /// Merges two groups, of which the one with the longer lists gives its name; that name.
    ///
    /// # Errors
    ///
    /// That another group lies between them, or that the search was given up.
    pub(super) fn merge(&mut self, a: u32, b: u32) -> Result<u32, Refusal> {
        let (first, last) =
            if self.rank[a as usize] < self.rank[b as usize] { (a, b) } else { (b, a) };
        let after = self.reached(first, last)?;
        let before = self.reaching(first, last)?;
        self.reorder(first, last, before, after);
        Ok(self.join(first, last))
    }

    /// Merges `group` into the only group that its edges lead to, which keeps its rank and name.
    pub(super) fn absorb(&mut self, group: u32, into: u32) {
        self.take_edges(group, into);
        self.parent[group as usize] = into;
    }

    /// Groups that `first` reaches below the rank of `last`, which must not be among what they
    /// lead to.
    fn reached(&mut self, first: u32, last: u32) -> Result<Vec<u32>, Refusal> {
        self.walk(first, last, true)
    }

    /// Groups above the rank of `first` that reach `last`.
    fn reaching(&mut self, first: u32, last: u32) -> Result<Vec<u32>, Refusal> {
        self.walk(last, first, false)
    }

    fn walk(&mut self, start: u32, goal: u32, forward: bool) -> Result<Vec<u32>, Refusal> {
        self.search += 1;
        let mut budget = BUDGET;
        let bound = self.rank[goal as usize];
        let mut found = Vec::new();
        let mut stack = vec![start];
        while let Some(group) = stack.pop() {
            let lists = if forward { &self.successors } else { &self.predecessors };
            for index in 0..lists[group as usize].len() {
                budget = budget.checked_sub(1).ok_or(Refusal::Budget)?;
                let lists = if forward { &self.successors } else { &self.predecessors };
                let next = lists[group as usize][index];
                let next = self.find(next);
                if next == goal {
                    if group != start {
                        return Err(Refusal::Cycle(group));
                    }
                    continue;
                }
                let rank = self.rank[next as usize];
                let inside = if forward { rank < bound } else { rank > bound };
                if inside && next != start && self.visited[next as usize] != self.search {
                    self.visited[next as usize] = self.search;
                    found.push(next);
                    stack.push(next);
                }
            }
        }
        Ok(found)
    }

    /// Gives the ranks of all groups concerned anew: first what leads to `last`, then the merged
    /// group, then what `first` leads to. No group is in both, or there were a path.
    fn reorder(&mut self, first: u32, last: u32, mut before: Vec<u32>, mut after: Vec<u32>) {
        let key = |group: &u32| self.rank[*group as usize];
        before.sort_unstable_by_key(key);
        after.sort_unstable_by_key(key);
        let concerned = before.iter().chain([&first, &last]).chain(&after);
        let mut ranks: Vec<u32> = concerned.map(key).collect();
        ranks.sort_unstable();
        for (group, rank) in before.iter().zip(&ranks) {
            self.rank[*group as usize] = *rank;
        }
        let merged = ranks[before.len()];
        self.rank[first as usize] = merged;
        self.rank[last as usize] = merged;
        for (group, rank) in after.iter().rev().zip(ranks.iter().rev()) {
            self.rank[*group as usize] = *rank;
        }
    }

    fn take_edges(&mut self, gone: u32, kept: u32) {
        let moved = std::mem::take(&mut self.successors[gone as usize]);
        self.successors[kept as usize].extend(moved);
        let moved = std::mem::take(&mut self.predecessors[gone as usize]);
        self.predecessors[kept as usize].extend(moved);
    }

    /// The shorter lists are appended to the longer ones, so an edge moves at most log n times.
    fn join(&mut self, a: u32, b: u32) -> u32 {
        let size = |group: u32| {
            self.successors[group as usize].len() + self.predecessors[group as usize].len()
        };
        let (kept, gone) = if size(a) >= size(b) { (a, b) } else { (b, a) };
        self.take_edges(gone, kept);
        self.parent[gone as usize] = kept;
        // Edges within a group would be followed by every later search.
        for forward in [true, false] {
            let lists = if forward { &mut self.successors } else { &mut self.predecessors };
            let mut list = std::mem::take(&mut lists[kept as usize]);
            if list.len() <= BUDGET {
                list.iter_mut().for_each(|node| *node = self.find(*node));
                list.retain(|node| *node != kept);
            }
            let lists = if forward { &mut self.successors } else { &mut self.predecessors };
            lists[kept as usize] = list;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diamond() -> Order {
        // 0 → 1 → 3, 0 → 2 → 3, 3 → 4
        Order::new(5, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)].into_iter())
    }

    #[test]
    fn a_path_around_refuses_the_merge() {
        let mut order = diamond();
        let merged = order.merge(0, 1).expect("0 and 1 are neighbours");
        assert_eq!(order.merge(merged, 3), Err(Refusal::Cycle(2)));
        let merged = order.merge(merged, 2).expect("nothing lies between");
        assert!(order.merge(merged, 3).is_ok());
    }

    #[test]
    fn ranks_ascend_along_edges_after_every_merge() {
        // Two chains that cross: 0 → 2 → 4 and 1 → 3 → 5.
        let edges = [(0, 2), (2, 4), (1, 3), (3, 5)];
        let mut order = Order::new(6, edges.into_iter());
        for (a, b) in [(4, 1), (2, 0), (5, 3)] {
            let (a, b) = (order.find(a), order.find(b));
            order.merge(a, b).expect("no path leads around");
            for (from, to) in edges {
                let (from, to) = (order.find(from), order.find(to));
                assert!(from == to || order.rank(from) < order.rank(to), "{from} → {to}");
            }
        }
        let (a, b) = (order.find(0), order.find(3));
        assert!(matches!(order.merge(a, b), Err(Refusal::Cycle(_))));
    }
}
