//! Loops over a region, of a length that is known before they run.

use std::ops::Range;

use crate::dim::Dim;
use crate::example::scan_example;
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
#[doc = scan_example!("assert_eq!((scan.consts, scan.carries), (1, 1));")]
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
///
/// ```
/// use kilngrad_ir::{Place, op::Workspace};
///
/// let workspace = Workspace { bytes: 256, place: Place::Arena(64) };
/// assert_eq!(workspace.place, Place::Arena(64));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workspace {
    /// Bytes, which places in the region's arena count from the start of.
    pub bytes: usize,
    /// Where it is.
    pub place: Place,
}

impl Workspace {
    /// What the places in a workspace are multiples of, in bytes.
    ///
    /// ```
    /// assert!(kilngrad_ir::op::Workspace::ALIGN.is_power_of_two());
    /// ```
    pub const ALIGN: usize = 64;
}

impl Scan {
    /// Positions of the constants among operands and arguments.
    #[doc = scan_example!("assert_eq!(scan.const_operands(), 0..1);")]
    pub fn const_operands(&self) -> Range<usize> {
        0..self.consts
    }

    /// Positions of the carries among operands and arguments.
    #[doc = scan_example!("assert_eq!(scan.carry_operands(), 1..2);")]
    pub fn carry_operands(&self) -> Range<usize> {
        self.consts..self.consts + self.carries
    }

    /// Positions of what is scanned among operands and arguments.
    #[doc = scan_example!("assert_eq!(scan.scanned_operands(), 2..3);")]
    pub fn scanned_operands(&self) -> Range<usize> {
        self.consts + self.carries..self.body.arguments().len()
    }

    /// Positions of the carries among results.
    #[doc = scan_example!("assert_eq!(scan.carry_results(), 0..1);")]
    pub fn carry_results(&self) -> Range<usize> {
        0..self.carries
    }

    /// Positions of the stacks among results.
    #[doc = scan_example!("assert_eq!(scan.stacked_results(), 1..2);")]
    pub fn stacked_results(&self) -> Range<usize> {
        self.carries..self.body.results().len()
    }

    /// The type of a stack of slices of a type.
    #[doc = scan_example!(
        "let slice = scan.body.ty(scan.body.results()[1]);"
        "assert_eq!(scan.stacked(slice).to_string(), \"f32[5,3]\");"
    )]
    pub fn stacked(&self, slice: &Type) -> Type {
        Type::new(slice.dtype, std::iter::once(&self.length).chain(slice.shape.dims()).collect())
    }
}
