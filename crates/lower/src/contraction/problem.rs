//! A contraction as loops see it: axes in four roles, with their strides.
//!
//! An axis of the operands or of the result is one of
//! - a *batch* axis, of both operands and the result;
//! - a *row* axis, of the left operand and the result;
//! - a *column* axis, of the right operand and the result;
//! - a *depth* axis, of both operands: summed over, and gone.
//!
//! Neighbours of one role collapse into one axis where each tensor that has them walks them with
//! one stride. What is left after that is usually one axis a role: the matrix product. Axes of
//! length 1 are dropped, whatever their strides.

use kilngrad_ir::op::DotAxes;
use kilngrad_loops::{Affine, LoopVar};

/// An axis and the elements that one step along it moves in each tensor; zero where the tensor
/// does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) extent: usize,
    pub(crate) lhs: i64,
    pub(crate) rhs: i64,
    pub(crate) out: i64,
    /// The axis of the result whose index this is; of collapsed axes the innermost, whose index
    /// then runs over all of them.
    pub(crate) result: Option<usize>,
    /// Indices of the result from one step to the next: more than one where a step is a block.
    pub(crate) step: i64,
}

impl Axis {
    /// An axis of length 1.
    pub(crate) const UNIT: Axis = Axis { extent: 1, lhs: 0, rhs: 0, out: 0, result: None, step: 1 };

    /// This and the axis inside it as one, where every stride allows it.
    fn merge(&self, inner: &Axis) -> Option<Axis> {
        let reach = i64::try_from(inner.extent).ok()?;
        let walks = |outer: i64, inner: i64| inner.checked_mul(reach) == Some(outer);
        let merges =
            walks(self.lhs, inner.lhs) && walks(self.rhs, inner.rhs) && walks(self.out, inner.out);
        merges.then(|| Axis { extent: self.extent * inner.extent, ..*inner })
    }

    fn swapped(self) -> Axis {
        Axis { lhs: self.rhs, rhs: self.lhs, ..self }
    }
}

/// How an operand lies in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) shape: Vec<usize>,
    /// Elements from one index to the next along each axis.
    pub(crate) strides: Vec<i64>,
}

/// `out[batch, rows, cols] = Σ_depth lhs[batch, rows, depth] · rhs[batch, depth, cols]`.
///
/// The axes of each role are in the order of the result, outermost first; those of depth in the
/// order of the left operand. None has length 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) batch: Vec<Axis>,
    pub(crate) rows: Vec<Axis>,
    pub(crate) cols: Vec<Axis>,
    pub(crate) depth: Vec<Axis>,
}

impl Problem {
    /// The contraction of two operands, of whose axes axis `i` of the result is `order[i]`. `may_merge(outer, inner, extent)` says
    /// whether the epilogue lets these axes of the result be walked as one, where the inner one has
    /// that extent and axes between them have length 1.
    pub(crate) fn new(
        axes: &DotAxes,
        View { shape: lhs_shape, strides: lhs_strides }: &View,
        View { shape: rhs_shape, strides: rhs_strides }: &View,
        order: &[usize],
        may_merge: impl Fn(usize, usize, usize) -> bool,
    ) -> Problem {
        let lhs_free = axes.lhs_free(lhs_shape.len());
        let rhs_free = axes.rhs_free(rhs_shape.len());
        let batch = axes.lhs_batch.iter().zip(&axes.rhs_batch).map(|(&l, &r)| Axis {
            extent: lhs_shape[l],
            lhs: lhs_strides[l],
            rhs: rhs_strides[r],
            ..Axis::UNIT
        });
        let rows = lhs_free.iter().map(|&l| Axis {
            extent: lhs_shape[l],
            lhs: lhs_strides[l],
            ..Axis::UNIT
        });
        let cols = rhs_free.iter().map(|&r| Axis {
            extent: rhs_shape[r],
            rhs: rhs_strides[r],
            ..Axis::UNIT
        });
        let mut result: Vec<Axis> = batch.chain(rows).chain(cols).collect();
        let shape: Vec<usize> = order.iter().map(|axis| result[*axis].extent).collect();
        for (index, (axis, stride)) in order.iter().zip(strides(&shape)).enumerate() {
            result[*axis].out = stride;
            result[*axis].result = Some(index);
        }
        let cols = result.split_off(axes.lhs_batch.len() + lhs_free.len());
        let rows = result.split_off(axes.lhs_batch.len());
        Problem {
            batch: collapse(result, &may_merge),
            rows: collapse(rows, &may_merge),
            cols: collapse(cols, &may_merge),
            depth: depth(axes, lhs_shape, lhs_strides, rhs_strides),
        }
    }

    /// Whether the result has no element.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.iter().chain(&self.rows).chain(&self.cols).any(|axis| axis.extent == 0)
    }

    /// The same sums with the operands exchanged, which exchanges rows and columns. Every product
    /// commutes, to the bit.
    pub(crate) fn swapped(self) -> Problem {
        let swap = |axes: Vec<Axis>| axes.into_iter().map(Axis::swapped).collect();
        Problem {
            batch: swap(self.batch),
            rows: swap(self.cols),
            cols: swap(self.rows),
            depth: swap(self.depth),
        }
    }
}

/// Row-major strides. Every size was checked, so none overflows; of an empty tensor they are those
/// of the axes that are not empty.
pub(crate) fn strides(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        let extent = shape[axis].max(1);
        strides[axis - 1] = strides[axis].saturating_mul(extent as i64);
    }
    strides
}

/// Merges neighbours that walk as one.
fn collapse(axes: Vec<Axis>, may_merge: &impl Fn(usize, usize, usize) -> bool) -> Vec<Axis> {
    let mut collapsed: Vec<Axis> = Vec::with_capacity(axes.len());
    for axis in axes.into_iter().filter(|axis| axis.extent != 1) {
        let merged = collapsed.last().and_then(|outer: &Axis| {
            let allowed = may_merge(outer.result?, axis.result?, axis.extent);
            allowed.then(|| outer.merge(&axis)).flatten()
        });
        match merged {
            Some(merged) => *collapsed.last_mut().expect("merged with the last") = merged,
            None => collapsed.push(axis),
        }
    }
    collapsed
}

/// The contracted axes in the order of the left operand's memory, collapsed. The sum's order is
/// free, so they need not stay in the order of the pairs.
fn depth(
    axes: &DotAxes,
    lhs_shape: &[usize],
    lhs_strides: &[i64],
    rhs_strides: &[i64],
) -> Vec<Axis> {
    let pairs = axes.lhs_contract.iter().zip(&axes.rhs_contract);
    let mut depth: Vec<Axis> = pairs
        .filter(|(l, _)| lhs_shape[**l] != 1)
        .map(|(&l, &r)| Axis {
            extent: lhs_shape[l],
            lhs: lhs_strides[l],
            rhs: rhs_strides[r],
            ..Axis::UNIT
        })
        .collect();
    if depth.iter().any(|axis| axis.extent == 0) {
        return vec![Axis { extent: 0, ..Axis::UNIT }];
    }
    depth.sort_by_key(|axis| (-axis.lhs, -axis.rhs));
    let mut collapsed: Vec<Axis> = Vec::with_capacity(depth.len());
    for axis in depth {
        match collapsed.last_mut().and_then(|outer| Some((outer.merge(&axis)?, outer))) {
            Some((merged, outer)) => *outer = merged,
            None => collapsed.push(axis),
        }
    }
    collapsed
}

/// Where the loops stand: the first element of what remains, in each tensor, and the index in each
/// axis of the result.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) lhs: Affine,
    pub(crate) rhs: Affine,
    pub(crate) out: Affine,
    pub(crate) index: Vec<Affine>,
}

impl Position {
    /// The first element of everything, of a result with `rank` axes.
    pub(crate) fn origin(rank: usize) -> Position {
        let zero = Affine::constant(0);
        Position {
            lhs: zero.clone(),
            rhs: zero.clone(),
            out: zero.clone(),
            index: vec![zero; rank],
        }
    }

    /// `steps` further along an axis.
    pub(crate) fn along(&self, axis: &Axis, steps: &Affine) -> Position {
        let mut index = self.index.clone();
        if let Some(at) = axis.result {
            index[at] = index[at].add(&steps.scaled(axis.step));
        }
        Position {
            lhs: self.lhs.add(&steps.scaled(axis.lhs)),
            rhs: self.rhs.add(&steps.scaled(axis.rhs)),
            out: self.out.add(&steps.scaled(axis.out)),
            index,
        }
    }

    /// `var` steps further along an axis.
    pub(crate) fn along_var(&self, axis: &Axis, var: LoopVar) -> Position {
        self.along(axis, &Affine::var(var))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn matmul() -> DotAxes {
        DotAxes { lhs_contract: smallvec![1], rhs_contract: smallvec![0], ..DotAxes::default() }
    }

    fn dense(shape: &[usize]) -> View {
        View { shape: shape.to_vec(), strides: strides(shape) }
    }

    fn facts(axes: &[Axis]) -> Vec<(usize, i64, i64, i64)> {
        axes.iter().map(|axis| (axis.extent, axis.lhs, axis.rhs, axis.out)).collect()
    }

    #[test]
    fn a_matrix_product_has_one_axis_a_role() {
        let problem =
            Problem::new(&matmul(), &dense(&[2, 3]), &dense(&[3, 5]), &[0, 1], |_, _, _| true);
        assert_eq!(facts(&problem.rows), [(2, 3, 0, 5)]);
        assert_eq!(facts(&problem.cols), [(5, 0, 1, 1)]);
        assert_eq!(facts(&problem.depth), [(3, 1, 5, 0)]);
        assert!(problem.batch.is_empty());
    }

    #[test]
    fn free_axes_collapse_unless_the_epilogue_tells_them_apart() {
        // [b, t, d] · [d, e]
        let axes = DotAxes {
            lhs_contract: smallvec![2],
            rhs_contract: smallvec![0],
            ..DotAxes::default()
        };
        let merged =
            Problem::new(&axes, &dense(&[4, 6, 3]), &dense(&[3, 5]), &[0, 1, 2], |_, _, _| true);
        assert_eq!(facts(&merged.rows), [(24, 3, 0, 5)]);
        assert_eq!(merged.rows[0].result, Some(1));
        let apart =
            Problem::new(&axes, &dense(&[4, 6, 3]), &dense(&[3, 5]), &[0, 1, 2], |outer, _, _| {
                outer != 0
            });
        assert_eq!(facts(&apart.rows), [(4, 18, 0, 30), (6, 3, 0, 5)]);
    }

    #[test]
    fn contracted_axes_collapse_in_the_order_of_memory() {
        // Σ_{b,t} x[b,t,d] · g[b,t,e], the pairs listed inside out.
        let axes = DotAxes {
            lhs_contract: smallvec![1, 0],
            rhs_contract: smallvec![1, 0],
            ..DotAxes::default()
        };
        let problem =
            Problem::new(&axes, &dense(&[4, 6, 3]), &dense(&[4, 6, 5]), &[0, 1], |_, _, _| true);
        assert_eq!(facts(&problem.depth), [(24, 3, 5, 0)]);
        assert_eq!(facts(&problem.rows), [(3, 1, 0, 5)]);
    }

    #[test]
    fn an_empty_depth_is_one_axis() {
        let problem =
            Problem::new(&matmul(), &dense(&[2, 0]), &dense(&[0, 5]), &[0, 1], |_, _, _| true);
        assert_eq!(facts(&problem.depth), [(0, 0, 0, 0)]);
        assert!(!problem.is_empty());
        assert!(
            Problem::new(&matmul(), &dense(&[0, 3]), &dense(&[3, 5]), &[0, 1], |_, _, _| true)
                .is_empty()
        );
    }
}
