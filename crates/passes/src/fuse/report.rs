//! What fusion did and why it did not do more.

use std::fmt;

/// What became of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FusionReport {
    /// The entry.
    pub entry: String,
    /// The kernels, in the order of their definition.
    pub kernels: Vec<KernelReport>,
}

/// What is known of one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelReport {
    /// Its name.
    pub name: String,
    /// Nodes in its body.
    pub nodes: usize,
    /// Bytes of its operands and results.
    pub bytes: usize,
    /// Where its nodes come from, each once, in order; what is not known is left out.
    pub origins: Vec<String>,
    /// Values that it reads from memory although another kernel computes them.
    pub rejected: Vec<Rejection>,
}

/// A producer and a consumer that are not in one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The value that the producer computes.
    pub producer: String,
    /// The value that the consumer computes.
    pub consumer: String,
    /// Why not.
    pub reason: Reason,
}

/// Why two nodes are not in one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The kernel's operands would depend on its results.
    Cycle {
        /// A value outside on the way.
        through: String,
    },
    /// Whether they would was not found out within the budget.
    SearchLimit,
    /// They are computed over different index spaces.
    Spaces {
        /// Lengths of one.
        producer: Vec<usize>,
        /// Lengths of the other.
        consumer: Vec<usize>,
    },
    /// They reduce different axes.
    Axes {
        /// Of one.
        producer: Vec<usize>,
        /// Of the other.
        consumer: Vec<usize>,
    },
    /// The consumer reads at other indices than the producer computes, for some of which the
    /// value would be computed again.
    Moved,
    /// A contraction is fused neither with another one nor with a reduction.
    Contraction,
    /// Pieces are put together by a kernel with one result, and what they become is read from
    /// memory.
    Pieces,
    /// The consumer reads its operand from memory: a contraction, a view, random numbers.
    Memory,
    /// The update of a state writes over what it reads, which a reduction may not.
    InPlace,
    /// The kernel would grow too large.
    Size,
    /// Computing the value again for each of its readers, or at each index at which one reads it,
    /// costs more than reading it.
    Recompute,
}

impl Reason {
    pub(super) fn spaces(producer: &[usize], consumer: &[usize]) -> Reason {
        Reason::Spaces { producer: producer.into(), consumer: consumer.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Cycle { through } => write!(f, "would create a cycle through {through}"),
            Reason::SearchLimit => f.write_str("the search for a cycle reached its limit"),
            Reason::Spaces { producer, consumer } => {
                write!(f, "different index spaces: {producer:?} and {consumer:?}")
            }
            Reason::Axes { producer, consumer } => {
                write!(f, "reductions over different axes: {producer:?} and {consumer:?}")
            }
            Reason::Moved => f.write_str("read at other indices than it is computed at"),
            Reason::Contraction => f.write_str("a contraction takes only elementwise epilogues"),
            Reason::Pieces => f.write_str("a concatenation or pad ends its kernel"),
            Reason::Memory => f.write_str("the consumer reads its operand from memory"),
            Reason::InPlace => f.write_str("a reduction writes no state that it reads"),
            Reason::Size => f.write_str("the kernel would grow too large"),
            Reason::Recompute => f.write_str("computing it again costs more than reading it"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} into {}: {}", self.producer, self.consumer, self.reason)
    }
}

/// A line a kernel, with an indented line for each value that it reads from another kernel.
impl fmt::Display for FusionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "entry {}: {} kernels", self.entry, self.kernels.len())?;
        for kernel in &self.kernels {
            let origins = kernel.origins.join(", ");
            writeln!(
                f,
                "  {}: {} nodes, {} B <- {origins}",
                kernel.name, kernel.nodes, kernel.bytes
            )?;
            for rejection in &kernel.rejected {
                writeln!(f, "    not fused: {rejection}")?;
            }
        }
        Ok(())
    }
}
