//! Contractions: both derivatives are again contractions.

use kilngrad_ir::op::{Axes, DotAxes};
use kilngrad_ir::rewrite::Emitter;
use kilngrad_ir::{Op, Value};

use super::Pull;
use super::product::inverse;

/// Where `z[b,i,j] = Σₖ x[b,i,k]·y[b,k,j]`, `x̄[b,i,k] = Σⱼ z̄[b,i,j]·y[b,k,j]` and
/// `ȳ[b,k,j] = Σᵢ x[b,i,k]·z̄[b,i,j]`. The order of the factors is such that for matrices the
/// results need no transposition.
pub(super) fn dot(e: &mut Emitter<'_>, axes: &DotAxes, pull: Pull<'_>, operand: usize) -> Value {
    let [lhs, rhs] = [pull.node.operands[0], pull.node.operands[1]];
    let lhs_free = axes.lhs_free(e.ty(lhs).rank());
    let rhs_free = axes.rhs_free(e.ty(rhs).rank());
    let batch = axes.lhs_batch.len();
    let batches: Axes = (0..batch).collect();
    let of_lhs: Axes = (batch..batch + lhs_free.len()).collect();
    let of_rhs: Axes = (0..rhs_free.len()).map(|axis| batch + lhs_free.len() + axis).collect();
    if operand == 0 {
        let back = DotAxes {
            lhs_batch: batches,
            rhs_batch: axes.rhs_batch.clone(),
            lhs_contract: of_rhs,
            rhs_contract: rhs_free,
        };
        let result = e.emit(Op::Dot(back), &[pull.cotangent, rhs], &[]);
        let contracted = in_order_of(&axes.rhs_contract, &axes.lhs_contract);
        arranged(e, result, [&axes.lhs_batch, &lhs_free, &contracted])
    } else {
        let back = DotAxes {
            lhs_batch: axes.lhs_batch.clone(),
            rhs_batch: batches,
            lhs_contract: lhs_free,
            rhs_contract: of_lhs,
        };
        let result = e.emit(Op::Dot(back), &[lhs, pull.cotangent], &[]);
        let contracted = in_order_of(&axes.lhs_contract, &axes.rhs_contract);
        arranged(e, result, [&axes.rhs_batch, &contracted, &rhs_free])
    }
}

/// The partners of `theirs`, sorted by them: free axes of a result come in their operand's order.
fn in_order_of(theirs: &Axes, partners: &Axes) -> Axes {
    let mut pairs: Vec<(usize, usize)> =
        theirs.iter().copied().zip(partners.iter().copied()).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, partner)| partner).collect()
}

/// The value whose axis `axes[i]` is axis `i` of `x`.
fn arranged(e: &mut Emitter<'_>, x: Value, axes: [&Axes; 3]) -> Value {
    let axes: Axes = axes.into_iter().flatten().copied().collect();
    if axes.iter().copied().eq(0..axes.len()) {
        return x;
    }
    e.emit(Op::Transpose { permutation: inverse(&axes) }, &[x], &[])
}
