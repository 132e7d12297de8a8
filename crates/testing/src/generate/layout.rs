//! The same elements elsewhere.

use kilngrad_ir::op::{Axes, PadAxis, SliceAxis};
use kilngrad_ir::{Dim, Op, Shape, Type, Value};

use super::Generator;
use crate::recipe::Picks;

impl Generator {
    pub(super) fn broadcast_step(&mut self, picks: &mut Picks<'_>) {
        let Some(x) = self.pick_where(picks, |value| self.graph.ty(value).rank() < 4) else {
            return;
        };
        let mut dims: Vec<Dim> = self.graph.ty(x).shape.dims().to_vec();
        let mut kept: Vec<usize> = (0..dims.len()).collect();
        for _ in 0..=picks.below(2) {
            let at = picks.below(dims.len() + 1);
            dims.insert(at, picks.of(&self.lengths));
            for axis in &mut kept {
                *axis += usize::from(*axis >= at);
            }
        }
        let ty = Type::new(self.dtype(x), dims.into_iter().collect());
        let dims = kept.into_iter().collect();
        self.emit(Op::Broadcast { dims }, &[x], &[ty], self.range(x));
    }

    /// A value of a type by broadcasting a smaller one, or a constant where there is none.
    pub(super) fn stretched(&mut self, ty: &Type, picks: &mut Picks<'_>) -> Option<Value> {
        let small = self.pick_where(picks, |value| {
            let other = self.graph.ty(value);
            other.dtype == ty.dtype
                && other.rank() < ty.rank()
                && subsequence(&other.shape, &ty.shape).is_some()
        });
        let Some(small) = small else { return self.splat(ty.clone(), picks) };
        let dims = subsequence(&self.graph.ty(small).shape, &ty.shape)?;
        self.emit(Op::Broadcast { dims }, &[small], std::slice::from_ref(ty), self.range(small))
    }

    pub(super) fn reshape_step(&mut self, picks: &mut Picks<'_>) {
        let x = self.pick(picks);
        let mut dims: Vec<Dim> = self.graph.ty(x).shape.dims().to_vec();
        let one = Dim::constant(1);
        let at = picks.below(dims.len() + 1);
        match picks.below(5) {
            // Two axes become one.
            0 if at + 1 < dims.len() => {
                dims[at] = &dims[at] * &dims[at + 1];
                dims.remove(at + 1);
            }
            // All axes become one.
            1 => dims = vec![dims.iter().fold(one, |product, dim| &product * dim)],
            // An axis becomes two.
            2 if at < dims.len() => {
                let divisor = picks.of(&[2, 3, 4, 5, 7, 8]);
                if let Some(quotient) = dims[at].exact_div(divisor) {
                    dims[at] = quotient;
                    dims.insert(at + picks.below(2), Dim::constant(divisor));
                }
            }
            // Axes of length 1 go.
            3 => dims.retain(|dim| *dim != one),
            _ => dims.insert(at, one),
        }
        if dims.len() > 5 {
            return;
        }
        let ty = Type::new(self.dtype(x), dims.into_iter().collect());
        self.emit(Op::Reshape, &[x], &[ty], self.range(x));
    }

    pub(super) fn transpose_step(&mut self, picks: &mut Picks<'_>) {
        let Some(x) = self.pick_where(picks, |value| self.graph.ty(value).rank() > 1) else {
            return;
        };
        let mut rest: Vec<usize> = (0..self.graph.ty(x).rank()).rev().collect();
        let mut permutation = Axes::new();
        while !rest.is_empty() {
            permutation.push(rest.remove(picks.below(rest.len())));
        }
        self.emit(Op::Transpose { permutation }, &[x], &[], self.range(x));
    }

    pub(super) fn slice_step(&mut self, picks: &mut Picks<'_>) {
        let x = self.pick(picks);
        let ty = self.ty(x);
        let lengths = self.shape(&ty);
        let dims = ty.shape.dims().iter().zip(lengths);
        let axes = dims.map(|(dim, length)| {
            let symbolic = dim.as_constant().is_none();
            let start = match picks.below(3) {
                0 => 0,
                1 => length.min(1),
                _ => picks.below(length + 1),
            };
            let limit = match picks.below(3) {
                // Of a symbolic axis, all from the start on.
                0 | 1 => dim.clone(),
                _ if symbolic => dim.clone(),
                _ => Dim::from(start + picks.below(length - start + 1)),
            };
            let stride = if symbolic { 1 } else { picks.of(&[1, 1, 2, 3, 1, 7]) };
            SliceAxis { start: Dim::from(start), limit, stride }
        });
        let op = Op::Slice(axes.collect());
        self.emit(op, &[x], &[], self.range(x));
    }

    pub(super) fn pad_step(&mut self, picks: &mut Picks<'_>) {
        let Some(x) = self.pick_where(picks, |value| self.graph.ty(value).rank() < 4) else {
            return;
        };
        let ty = self.ty(x);
        let scalar = Type::scalar(ty.dtype);
        let same = |value: Value| *self.graph.ty(value) == scalar;
        let padding = match self.pick_where(picks, same) {
            Some(padding) if picks.rarely(2) => Some(padding),
            _ => self.splat(scalar, picks),
        };
        let Some(padding) = padding else { return };
        let amount = |picks: &mut Picks<'_>| Dim::constant(picks.of(&[0, 1, 0, 2, 5]));
        let axes = ty.shape.dims().iter().map(|dim| PadAxis {
            low: amount(picks),
            high: amount(picks),
            interior: if dim.as_constant().is_some() { picks.of(&[0, 0, 1, 2]) } else { 0 },
        });
        let op = Op::Pad(axes.collect());
        let range = self.range(x).union(self.range(padding));
        self.emit(op, &[x, padding], &[], range);
    }

    pub(super) fn concat_step(&mut self, picks: &mut Picks<'_>) {
        let Some(x) = self.pick_where(picks, |value| self.graph.ty(value).rank() > 0) else {
            return;
        };
        let ty = self.ty(x);
        let axis = picks.below(ty.rank());
        let mut pieces = vec![x];
        for _ in 0..=picks.below(3) {
            let fits = |value: Value| {
                let other = self.graph.ty(value);
                other.dtype == ty.dtype
                    && other.rank() == ty.rank()
                    && other.shape.without(&[axis]) == ty.shape.without(&[axis])
            };
            pieces.extend(self.pick_where(picks, fits));
        }
        let ranges = pieces.iter().map(|piece| self.range(*piece));
        let range = ranges.reduce(|lhs, rhs| lhs.union(rhs)).expect("at least one piece");
        self.emit(Op::Concat { axis }, &pieces, &[], range);
    }
}

/// Which axes of `large` the axes of `small` are, in order, if they are there.
fn subsequence(small: &Shape, large: &Shape) -> Option<Axes> {
    let mut axes = Axes::new();
    let mut rest = large.dims().iter().enumerate();
    for dim in small.dims() {
        let (axis, _) = rest.find(|(_, other)| *other == dim)?;
        axes.push(axis);
    }
    Some(axes)
}
