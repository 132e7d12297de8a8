//! Loops over a region, of a length that is known before they run.

use std::ops::Range;

use crate::dim::Dim;
use crate::graph::Graph;
use crate::program::Place;
use crate::types::Type;

/// A region that is computed once for each index of an axis, in order, with values that go on from
/// one iteration to the next.
///
/// The node's operands are the constants, which every iteration reads, the first values of the
/// carries, and what is scanned: its first axis is the iteration's, and each iteration reads one
/// slice. The region's arguments stand for them in this order; its results are the carries' next
/// values and then the slices that are stacked. The node's results are the carries' last values and
/// the stacks.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// What an iteration computes.
    pub body: Graph,
    /// How many of the first operands are constants.
    pub consts: usize,
    /// How many operands after them are carries.
    pub carries: usize,
    /// How many iterations there are. Of none the carries' last values are their first.
    pub length: Dim,
    /// Whether iterations run from the last index to the first.
    pub reverse: bool,
    /// What the memory plan keeps for the iterations' own values.
    pub workspace: Option<Workspace>,
}

/// Memory of an iteration, which the next one takes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workspace {
    /// Bytes, which places in the region's arena count from the start of.
    pub bytes: usize,
    /// Where it is.
    pub place: Place,
}

impl Scan {
    /// Positions of the constants among operands and arguments.
    pub fn const_operands(&self) -> Range<usize> {
        0..self.consts
    }

    /// Positions of the carries among operands and arguments.
    pub fn carry_operands(&self) -> Range<usize> {
        self.consts..self.consts + self.carries
    }

    /// Positions of what is scanned among operands and arguments.
    pub fn scanned_operands(&self) -> Range<usize> {
        self.consts + self.carries..self.body.arguments().len()
    }

    /// Positions of the carries among results.
    pub fn carry_results(&self) -> Range<usize> {
        0..self.carries
    }

    /// Positions of the stacks among results.
    pub fn stacked_results(&self) -> Range<usize> {
        self.carries..self.body.results().len()
    }

    /// The type of a stack of slices of a type.
    pub fn stacked(&self, slice: &Type) -> Type {
        Type::new(slice.dtype, std::iter::once(&self.length).chain(slice.shape.dims()).collect())
    }
}
