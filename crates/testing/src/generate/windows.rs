//! Views of windows, and what is folded back.

use kilngrad_ir::op::{ReduceOp, Window, Windows};
use kilngrad_ir::{DType, Op, Value};

use super::Generator;
use super::range;
use crate::recipe::Picks;

impl Generator {
    pub(super) fn windows_step(&mut self, picks: &mut Picks<'_>) {
        self.windows(picks);
    }

    /// A tensor, the windows of an axis or two of it, and the view of them.
    fn windows(&mut self, picks: &mut Picks<'_>) -> Option<(Value, Windows, Value)> {
        let fits = |value: Value| {
            let shape = self.shape(self.graph.ty(value));
            shape.len() < 4 && shape.iter().any(|length| *length > 0)
        };
        let x = self.pick_where(picks, fits)?;
        let ty = self.ty(x);
        let shape = self.shape(&ty);
        let mut axes: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] > 0).collect();
        while axes.len() > 2 || (axes.len() > 1 && picks.rarely(2)) {
            axes.remove(picks.below(axes.len()));
        }
        let windows: Windows = axes
            .into_iter()
            .map(|axis| {
                let length = shape[axis];
                let size = 1 + picks.below(length.min(5));
                let dilation = picks.of(&[1, 1, 2, 3]);
                let dilation = if (size - 1) * dilation < length { dilation } else { 1 };
                // Of a symbolic axis, whose number of windows is to be a polynomial, all.
                let symbolic = ty.shape.dims()[axis].as_constant().is_none();
                let stride = if symbolic { 1 } else { picks.of(&[1, 2, 1, 3, size]) };
                Window { axis, size, stride, dilation }
            })
            .collect();
        let range = self.range(x);
        let shown = self.emit(Op::Windows(windows.clone()), &[x], &[], range)?;
        Some((x, windows, shown))
    }

    pub(super) fn fold_step(&mut self, picks: &mut Picks<'_>) {
        let Some((x, windows, shown)) = self.windows(picks) else { return };
        let dtype = self.dtype(x);
        if dtype == DType::Bool {
            return;
        }
        let ty = self.ty(shown);
        let same = self.pick_where(picks, |value| *self.graph.ty(value) == ty);
        let terms = same.unwrap_or(shown);
        // Every index within a window may show one element.
        let count = windows.iter().map(|window| window.size).product();
        let reach =
            |g: &Generator, value| range::reduce(ReduceOp::Sum, g.range(value), count, dtype);
        let most = (self.limit() / count as f64).floor().max(1.0);
        let too_far = dtype.is_float() && reach(self, terms).magnitude() > self.limit();
        let terms = if too_far { self.clamp(terms, -most, most) } else { Some(terms) };
        let Some(terms) = terms else { return };
        let range = reach(self, terms);
        let ty = self.ty(x);
        self.emit(Op::Fold(windows), &[terms], &[ty], range);
    }
}
