//! A model of planned memory, word by word: what lies in each word after each kernel.
//!
//! It is as slow and as plain as it can be, so that it is right. Where [`check`] keeps a map of
//! intervals and times at which contents are lost, this keeps an array that says of each four
//! bytes whose they are.
//!
//! [`check`]: kilngrad_passes::check::check

use std::collections::BTreeMap;

use kilngrad_ir::op::{Kernel, KernelKind};
use kilngrad_ir::{Graph, Node, Op, Place, Program, StateId, Value};
use kilngrad_passes::check::ARENA_ALIGN;

/// Bytes of a word, the size of the smallest element that the model is asked about.
const WORD: usize = 4;

/// A planned entry, and what lies where between two of its kernels.
pub(super) struct Model<'p> {
    program: &'p Program,
    graph: &'p Graph,
    contents: Vec<Value>,
    memory: BTreeMap<Region, Vec<Option<Value>>>,
}

/// A piece of memory that no other overlaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Region {
    Arena,
    Constants,
    Argument(usize),
    Output(usize),
    State(StateId),
}

impl<'p> Model<'p> {
    pub(super) fn new(program: &'p Program) -> Model<'p> {
        let graph = &program.entries[0].graph;
        Model { program, graph, contents: contents(graph), memory: BTreeMap::new() }
    }

    /// Replays the entry, every word of it.
    pub(super) fn run(mut self) -> Result<(), String> {
        let arena = self.program.entries[0].plan.map_or(0, |plan| plan.arena_bytes);
        self.memory.insert(Region::Arena, vec![None; arena.div_ceil(WORD)]);
        for argument in self.graph.arguments() {
            self.fill(*argument);
        }
        let graph = self.graph;
        for (_, node) in graph.nodes() {
            if let Op::Kernel(kernel) = &node.op {
                self.kernel(node, kernel, arena)?;
            } else if node.op != Op::Reshape {
                // A state or a constant; a view is written where its operand is.
                self.fill(node.result());
            }
        }
        for &(id, value) in &self.program.entries[0].updates {
            let there = self.span(value).0 == Region::State(id);
            if !there && self.contents[value.index()] != self.old(id, value) {
                return Err(format!("the update of {id:?} is not there"));
            }
        }
        let roots = self.program.entries[0].roots();
        let gone = roots.into_iter().find(|root| !self.is_there(*root));
        gone.map_or(Ok(()), |root| Err(format!("{} is gone at the end", graph.name(root))))
    }

    /// What stands for the old value of a state, if that is read; else `other`.
    fn old(&self, id: StateId, other: Value) -> Value {
        let read = self.graph.nodes().find(|(_, node)| node.op == Op::State(id));
        read.map_or(other, |(_, node)| self.contents[node.result().index()])
    }

    /// Bytes of the arena that no plan of this order goes without: of what is there between two
    /// kernels, in lines.
    pub(super) fn least_bytes(&self) -> usize {
        let kernels: Vec<&Node> = self.graph.nodes().map(|(_, node)| node).collect();
        let position = |value: Value, of: &dyn Fn(&Node) -> &[Value]| -> Vec<usize> {
            let has = |node: &Node| {
                matches!(node.op, Op::Kernel(_))
                    && of(node).iter().any(|it| self.contents[it.index()] == value)
            };
            (0..kernels.len()).filter(|at| has(kernels[*at])).collect()
        };
        let arena = self.graph.values().filter(|(value, data)| {
            self.contents[value.index()] == *value && matches!(data.place, Some(Place::Arena(_)))
        });
        let mut between = vec![0; kernels.len() + 1];
        for (value, data) in arena {
            let written = position(value, &|node| &node.results);
            let read = position(value, &|node| &node.operands);
            let (Some(first), Some(last)) = (written.first(), read.last()) else { continue };
            let bytes = data.ty.byte_count().unwrap_or(0).next_multiple_of(ARENA_ALIGN);
            between[*first..*last].iter_mut().for_each(|sum| *sum += bytes);
        }
        between.into_iter().max().unwrap_or(0)
    }

    fn kernel(&mut self, node: &Node, kernel: &Kernel, arena: usize) -> Result<(), String> {
        let graph = self.graph;
        if let Some(gone) = node.operands.iter().find(|operand| !self.is_there(**operand)) {
            return Err(format!("{} is gone when it is read", graph.name(*gone)));
        }
        let mut written: Vec<Value> = Vec::new();
        for &result in &node.results {
            let name = graph.name(result);
            let (region, start, bytes) = self.span(result);
            if region == Region::Arena && (start % ARENA_ALIGN != 0 || start + bytes > arena) {
                return Err(format!("{name} is not in lines of the arena"));
            }
            for at in 0..bytes / WORD {
                let Some(under) = self.words(region, start, bytes)[at] else { continue };
                if written.contains(&under) {
                    return Err(format!("{name} is over another result"));
                }
                if self.is_read(node, under) && !self.in_place(node, kernel, result, under) {
                    return Err(format!("{name} is over an operand"));
                }
            }
            written.push(result);
            self.fill(result);
        }
        Ok(())
    }

    fn is_read(&self, node: &Node, content: Value) -> bool {
        node.operands.iter().any(|operand| self.contents[operand.index()] == content)
    }

    /// Whether a kernel may write a result where an operand lies: element by element, each after
    /// it was read for the last time. Bodies here read arguments elementwise or by the one node
    /// that moves them.
    fn in_place(&self, node: &Node, kernel: &Kernel, result: Value, under: Value) -> bool {
        let operands = node.operands.iter().enumerate();
        let mut over = operands.filter(|(_, operand)| self.contents[operand.index()] == under);
        over.all(|(at, operand)| {
            let argument = kernel.body.arguments()[at];
            let moved = kernel.body.nodes().any(|(_, node)| {
                matches!(node.op, Op::Transpose { .. } | Op::Reduce { .. } | Op::Broadcast { .. })
                    && node.operands.contains(&argument)
            });
            let (from, to) = (self.graph.ty(*operand), self.graph.ty(result));
            kernel.kind != KernelKind::Reduce
                && !moved
                && self.span(*operand) == self.span(result)
                && from.shape == to.shape
                && from.dtype.size() == to.dtype.size()
        })
    }

    fn is_there(&mut self, value: Value) -> bool {
        let content = self.contents[value.index()];
        let (region, start, bytes) = self.span(value);
        self.words(region, start, bytes).iter().all(|word| *word == Some(content))
    }

    /// Writes a value.
    fn fill(&mut self, value: Value) {
        let content = self.contents[value.index()];
        let (region, start, bytes) = self.span(value);
        self.words(region, start, bytes).fill(Some(content));
    }

    fn words(&mut self, region: Region, start: usize, bytes: usize) -> &mut [Option<Value>] {
        let words = self.memory.entry(region).or_default();
        let (start, end) = (start / WORD, (start + bytes) / WORD);
        if words.len() < end {
            words.resize(end, None);
        }
        &mut words[start..end]
    }

    /// Where a value lies: the region, the first byte in it, and the number of bytes.
    fn span(&self, value: Value) -> (Region, usize, usize) {
        let data = self.graph.value(value);
        let (region, start) = match data.place.expect("a planned value has a place") {
            Place::Arena(offset) => (Region::Arena, offset),
            Place::Argument(at) => (Region::Argument(at), 0),
            Place::Output(at) => (Region::Output(at), 0),
            Place::State(id) => (Region::State(id), 0),
            Place::Constant(offset) => (Region::Constants, offset),
        };
        (region, start, data.ty.byte_count().expect("a planned value has a size"))
    }
}

/// For each value the first that has the same bytes: views have their operand's, and all reads of
/// a state have one.
pub(super) fn contents(graph: &Graph) -> Vec<Value> {
    let mut contents: Vec<Value> = graph.values().map(|(value, _)| value).collect();
    let mut states: BTreeMap<StateId, Value> = BTreeMap::new();
    for (_, node) in graph.nodes() {
        if node.op == Op::Reshape {
            contents[node.result().index()] = contents[node.operands[0].index()];
        } else if let Op::State(id) = &node.op {
            contents[node.result().index()] = *states.entry(*id).or_insert(node.result());
        }
    }
    contents
}
