//! Control flow that data decide: one of two regions, and a region over and over.

use std::ops::Range;

use smallvec::SmallVec;

use super::Workspace;
use crate::example::{cond_example, while_example};
use crate::graph::Graph;

/// One of two regions, by what a predicate holds; the other one is not computed.
///
/// The node's operands are the predicate, what the first region reads and what the second one
/// reads. The arguments of each stand for its own part, in order, and the results of either for the
/// node's.
#[doc = cond_example!("assert_eq!(cond.then.results().len(), cond.otherwise.results().len());")]
#[derive(Debug, Clone, PartialEq)]
pub struct Cond {
    /// What is computed where the predicate is true.
    pub then: Graph,
    /// What is computed where it is false.
    pub otherwise: Graph,
    /// What the memory plan keeps for the values of the region that runs.
    pub workspace: Option<Workspace>,
}

impl Cond {
    /// Positions among operands of what the first region reads.
    #[doc = cond_example!("assert_eq!(cond.then_operands(), 1..2);")]
    pub fn then_operands(&self) -> Range<usize> {
        1..1 + self.then.arguments().len()
    }

    /// Positions among operands of what the second region reads.
    #[doc = cond_example!("assert_eq!(cond.otherwise_operands(), 2..4);")]
    pub fn otherwise_operands(&self) -> Range<usize> {
        let start = self.then_operands().end;
        start..start + self.otherwise.arguments().len()
    }

    /// Both regions with the positions of what they read.
    #[doc = cond_example!(
        "assert_eq!(cond.branches().map(|(_, operands)| operands.len()), [1, 2]);"
    )]
    pub fn branches(&self) -> [(&Graph, Range<usize>); 2] {
        [(&self.then, self.then_operands()), (&self.otherwise, self.otherwise_operands())]
    }

    /// The region that runs where the predicate is `holds`, with the positions of what it reads.
    #[doc = cond_example!("assert_eq!(cond.branch(false), (&cond.otherwise, 2..4));")]
    pub fn branch(&self, holds: bool) -> (&Graph, Range<usize>) {
        let [then, otherwise] = self.branches();
        if holds { then } else { otherwise }
    }
}

/// A region that is computed as long as another one gives true, on what it gave before.
///
/// The node's operands are the constants of the test, those of the body, and the first values of the
/// carries. The arguments of either region stand for its constants and then for the carries. The
/// test's result says whether the body is computed once more; the body's results are the carries'
/// next values. The node's results are the carries' last values.
#[doc = while_example!("assert_eq!(repeat.carries, 2);")]
#[derive(Debug, Clone, PartialEq)]
pub struct While {
    /// Whether there is one more iteration.
    pub test: Graph,
    /// What an iteration computes.
    pub body: Graph,
    /// How many of the last operands are carries.
    pub carries: usize,
    /// What the memory plan keeps for the iterations' own values.
    pub workspace: Option<Workspace>,
}

impl While {
    /// Positions among operands of the constants that the test reads.
    #[doc = while_example!("assert_eq!(repeat.test_operands(), 0..1);")]
    pub fn test_operands(&self) -> Range<usize> {
        0..self.test.arguments().len().saturating_sub(self.carries)
    }

    /// Positions among operands of the constants that the body reads.
    #[doc = while_example!("assert_eq!(repeat.body_operands(), 1..2);")]
    pub fn body_operands(&self) -> Range<usize> {
        let start = self.test_operands().end;
        start..start + self.body.arguments().len().saturating_sub(self.carries)
    }

    /// Positions of the carries among operands.
    #[doc = while_example!("assert_eq!(repeat.carry_operands(), 2..4);")]
    pub fn carry_operands(&self) -> Range<usize> {
        let start = self.body_operands().end;
        start..start + self.carries
    }

    /// Where the result of the test and those of the body lie in the workspace, as they must outlive
    /// their regions' own values: bytes from its start, each a multiple of [`Workspace::ALIGN`]; and
    /// last, where the memory begins that the regions have for themselves. `None` where a size is not
    /// known.
    #[doc = while_example!("assert_eq!(repeat.layout().unwrap()[..], [0, 64, 128, 192]);")]
    pub fn layout(&self) -> Option<SmallVec<[usize; 4]>> {
        let regions = [&self.test, &self.body];
        let results = regions.into_iter().flat_map(|region| {
            region.results().iter().map(|result| region.ty(*result).byte_count())
        });
        let mut end = 0usize;
        let mut offsets = SmallVec::from_iter([0]);
        for bytes in results {
            end = end.checked_add(bytes?)?.checked_next_multiple_of(Workspace::ALIGN)?;
            offsets.push(end);
        }
        Some(offsets)
    }
}
