//! How a value at an index map is computed, and from what.

use kilngrad_ir::op::{BinaryOp, CompareOp, Op, Window};
use kilngrad_ir::{Constant, DType, Literal, Node, Value};
use kilngrad_loops::{Affine, Reg};
use smallvec::SmallVec;

use super::{Coords, Expr, MapId, Memory, Site, Source, UNBOUND, address, row_major};
use crate::LowerError;
use crate::lanes::LANE;
use crate::random::Draw;

/// How a site is computed.
pub(super) enum Step<'a> {
    /// Read, at this element.
    Load(Memory, Affine),
    /// Bound to a register.
    Scalar(Reg),
    /// The same literal everywhere.
    Splat(Literal),
    /// The index itself; `short` if it fits `i32`.
    Iota { at: Affine, short: bool },
    /// A random element; the operands are the seed and the counter.
    Random(Draw),
    /// The operand.
    Same,
    /// Arithmetic on the operands.
    Arithmetic(&'a Op),
    /// A product of the first two operands plus the third.
    MulAdd,
    /// A comparison of an index (stated here, the operand being the other side) with a number.
    CompareIndex { op: CompareOp, at: Affine, index_first: bool },
}

/// A step with the sites of its operands.
pub(super) type Stepped<'a> = (Step<'a>, SmallVec<[Site; 3]>);

impl<'a> Expr<'a> {
    /// How a site is computed and from what. This is the only place that knows how operations
    /// move index maps.
    pub(super) fn step(&mut self, site: Site) -> Result<Stepped<'a>, LowerError> {
        let (value, map) = site;
        match &self.sources[value.index()] {
            Source::Memory(memory) => {
                let at = memory.at(&self.maps[map.0 as usize]);
                return Ok((Step::Load(memory.clone(), at), SmallVec::new()));
            }
            Source::Scalar(reg) => return Ok((Step::Scalar(*reg), SmallVec::new())),
            Source::Literal(literal) => return Ok((Step::Splat(*literal), SmallVec::new())),
            Source::Body => {}
        }
        let Some(node) = self.graph.defining_node(value) else {
            return self.unbound_argument(value, map);
        };
        let coords = &self.maps[map.0 as usize];
        let leaf = |step| Ok((step, SmallVec::new()));
        match &node.op {
            Op::Constant(Constant::Splat(literal)) => leaf(Step::Splat(*literal)),
            Op::Iota { axis } => {
                let short = self.shapes[value.index()][*axis] <= i32::MAX as usize;
                leaf(Step::Iota { at: coords[*axis].clone(), short })
            }
            Op::Random { stream } => {
                let strides = row_major(&self.shapes[value.index()]);
                let index = address(&Affine::constant(0), &strides, coords);
                let scalar = self.intern(&Coords::new());
                let operands = node.operands.iter().map(|operand| (*operand, scalar)).collect();
                let short = self.shapes[value.index()].iter().product::<usize>() <= 1 << 32;
                Ok((Step::Random(Draw { stream: *stream, at: index, short }), operands))
            }
            Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice(_) | Op::Windows(_) => {
                let moved = moved_map(node, coords)?;
                let map = self.intern(&moved);
                Ok((Step::Same, SmallVec::from_elem((node.operands[0], map), 1)))
            }
            Op::Binary(BinaryOp::Add) => Ok(self.sum(node, map)),
            Op::Compare(op) => self.comparison(node, *op, map),
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast => {
                Ok((Step::Arithmetic(&node.op), at_map(&node.operands, map)))
            }
            // Reductions of one element each; others are bound before they are read.
            Op::Reduce { axes, .. } if self.single(node.operands[0], axes) => {
                let operand = node.operands[0];
                let map = self.intern(&expanded(coords, axes, self.shapes[operand.index()].len()));
                Ok((Step::Same, SmallVec::from_elem((operand, map), 1)))
            }
            Op::ArgReduce { axis, .. } if self.single(node.operands[0], &[*axis]) => {
                leaf(Step::Splat(Literal::from_i64(DType::I64, 0)))
            }
            Op::State(_)
            | Op::Constant(Constant::Dense(_))
            | Op::Dimension(_)
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Argsort { .. }
            | Op::Dot(_)
            | Op::Reshape
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Fold(_)
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Gradient { .. }
            | Op::Kernel(_) => Err(LowerError::Body { op: node.op.name() }),
        }
    }

    /// Whether these axes of a value all have length 1.
    fn single(&self, value: Value, axes: &[usize]) -> bool {
        axes.iter().all(|axis| self.shapes[value.index()][*axis] == 1)
    }

    fn unbound_argument(&self, value: Value, map: MapId) -> Result<Stepped<'a>, LowerError> {
        let memory = Memory::dense(UNBOUND, &self.shapes[value.index()]);
        let at = memory.at(&self.maps[map.0 as usize]);
        Ok((Step::Load(memory, at), SmallVec::new()))
    }

    /// A sum, one of whose terms may be a product that nothing else needs.
    fn sum(&self, node: &'a Node, map: MapId) -> Stepped<'a> {
        if self.graph.ty(node.result()).dtype.is_float() {
            for (at, &term) in node.operands.iter().enumerate() {
                let bound = self.sources[term.index()] != Source::Body;
                if bound || self.uses[term.index()] != 1 {
                    continue;
                }
                let other = node.operands[1 - at];
                if let Some(Node { op: Op::Binary(BinaryOp::Mul), operands, .. }) =
                    self.graph.defining_node(term)
                {
                    let operands = [operands[0], operands[1], other];
                    return (Step::MulAdd, at_map(&operands, map));
                }
            }
        }
        (Step::Arithmetic(&node.op), at_map(&node.operands, map))
    }

    /// A comparison. An `i64` index compared with one number is compared as `i32`, four lanes at
    /// a time: this is how labels become one-hot rows.
    fn comparison(
        &mut self,
        node: &'a Node,
        op: CompareOp,
        map: MapId,
    ) -> Result<Stepped<'a>, LowerError> {
        if self.dtype(node.operands[0]) == DType::I64 {
            for index_at in [0, 1] {
                let other = (node.operands[1 - index_at], map);
                let index = self.short_index((node.operands[index_at], map))?;
                if let Some(at) = index
                    && self.lane_free(other)?
                {
                    let step = Step::CompareIndex { op, at, index_first: index_at == 0 };
                    return Ok((step, SmallVec::from_elem(other, 1)));
                }
            }
        }
        Ok((Step::Arithmetic(&node.op), at_map(&node.operands, map)))
    }

    /// The index that a site is, if it is one that moves from lane to lane and fits `i32` with room
    /// for the bounds that [`write_compare`](Self::write_compare) clamps to.
    fn short_index(&mut self, site: Site) -> Result<Option<Affine>, LowerError> {
        let (mut value, mut map) = site;
        loop {
            if self.sources[value.index()] != Source::Body {
                return Ok(None);
            }
            let Some(node) = self.graph.defining_node(value) else { return Ok(None) };
            match &node.op {
                Op::Iota { axis } => {
                    let at = &self.maps[map.0 as usize][*axis];
                    let short = self.shapes[value.index()][*axis] < i32::MAX as usize;
                    let moves = at.coefficient(LANE) != 0;
                    return Ok((short && moves).then(|| at.clone()));
                }
                Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice(_) | Op::Windows(_) => {
                    let moved = moved_map(node, &self.maps[map.0 as usize])?;
                    map = self.intern(&moved);
                    value = node.operands[0];
                }
                Op::State(_)
                | Op::Constant(_)
                | Op::Dimension(_)
                | Op::Random { .. }
                | Op::Unary(_)
                | Op::Binary(_)
                | Op::Compare(_)
                | Op::Select
                | Op::Cast
                | Op::Reduce { .. }
                | Op::ArgReduce { .. }
                | Op::Argsort { .. }
                | Op::Dot(_)
                | Op::Reshape
                | Op::Pad(_)
                | Op::Concat { .. }
                | Op::Gather { .. }
                | Op::ScatterAdd { .. }
                | Op::Fold(_)
                | Op::StopGradient
                | Op::CustomGradient(_)
                | Op::Scan(_)
                | Op::Cond(_)
                | Op::While(_)
                | Op::Gradient { .. }
                | Op::Kernel(_) => return Ok(None),
            }
        }
    }

    /// Whether a site is the same in every lane: it is a leaf whose map has no lane after layout
    /// operations. Deeper expressions are not looked into, which bounds the search.
    fn lane_free(&mut self, site: Site) -> Result<bool, LowerError> {
        let (mut value, mut map) = site;
        loop {
            if self.maps[map.0 as usize].iter().all(|at| at.coefficient(LANE) == 0) {
                return Ok(true);
            }
            if self.sources[value.index()] != Source::Body {
                return Ok(false);
            }
            let Some(node) = self.graph.defining_node(value) else { return Ok(false) };
            let moves = matches!(
                node.op,
                Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice(_) | Op::Windows(_)
            );
            if !moves {
                return Ok(matches!(node.op, Op::Constant(Constant::Splat(_))));
            }
            let moved = moved_map(node, &self.maps[map.0 as usize])?;
            map = self.intern(&moved);
            value = node.operands[0];
        }
    }
}

/// The index map of the operand of a layout operation whose result is wanted at `coords`.
fn moved_map(node: &Node, coords: &Coords) -> Result<Coords, LowerError> {
    match &node.op {
        Op::Broadcast { dims } => Ok(dims.iter().map(|axis| coords[*axis].clone()).collect()),
        Op::Transpose { permutation } => {
            let mut moved: Coords = SmallVec::from_elem(Affine::default(), permutation.len());
            for (axis, from) in permutation.iter().enumerate() {
                moved[*from] = coords[axis].clone();
            }
            Ok(moved)
        }
        Op::Slice(ranges) => ranges
            .iter()
            .zip(coords)
            .map(|(range, at)| {
                let start = range.start.as_constant().ok_or_else(|| LowerError::Shape {
                    ty: format!("a slice from {}", range.start),
                })?;
                Ok(at.scaled(range.stride as i64).offset(start))
            })
            .collect(),
        Op::Windows(windows) => Ok(through_windows(windows, coords)),
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Reshape
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => Err(LowerError::Body { op: node.op.name() }),
    }
}

/// The index map of what windows show: along each of their axes the window's first element, and
/// from there the index within it.
pub(crate) fn through_windows(windows: &[Window], coords: &[Affine]) -> Coords {
    let (positions, within) = coords.split_at(coords.len() - windows.len());
    let mut shown: Coords = positions.into();
    for (window, within) in windows.iter().zip(within) {
        let first = positions[window.axis].scaled(window.stride as i64);
        shown[window.axis] = first.add(&within.scaled(window.dilation as i64));
    }
    shown
}

/// The index map before axes of length 1 were removed.
fn expanded(coords: &Coords, removed: &[usize], rank: usize) -> Coords {
    let mut kept = coords.iter();
    let coord = |axis| match removed.contains(&axis) {
        true => Affine::default(),
        false => kept.next().expect("an index for each axis that is kept").clone(),
    };
    (0..rank).map(coord).collect()
}

fn at_map(operands: &[Value], map: MapId) -> SmallVec<[Site; 3]> {
    operands.iter().map(|operand| (*operand, map)).collect()
}
