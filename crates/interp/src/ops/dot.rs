//! Contraction: sums of products over paired axes.

use kilngrad_ir::op::DotAxes;
use ndarray::{ArrayD, IxDyn};

use super::reduce::{Number, for_number};
use crate::array::Array;

/// Operands are brought into the orders `[batch, free, contracted]` and `[batch, contracted,
/// free]`; then, for each batch, rows of the result are sums of rows of the right operand.
pub(super) fn dot(axes: &DotAxes, lhs: &Array, rhs: &Array, shape: &[usize]) -> Array {
    for_number!(lhs, lhs => {
        dot_of(axes, lhs, crate::Element::view(rhs).expect("operands have one dtype"), shape)
    })
}

fn dot_of<T: Number>(axes: &DotAxes, lhs: &ArrayD<T>, rhs: &ArrayD<T>, shape: &[usize]) -> Array {
    let (lhs_free, rhs_free) = (axes.lhs_free(lhs.ndim()), axes.rhs_free(rhs.ndim()));
    let left = wide(lhs, &[&axes.lhs_batch, &lhs_free, &axes.lhs_contract]);
    let right = wide(rhs, &[&axes.rhs_batch, &axes.rhs_contract, &rhs_free]);
    let count = |array: &ArrayD<T>, axes: &[usize]| -> usize {
        axes.iter().map(|axis| array.shape()[*axis]).product()
    };
    let batches = count(lhs, &axes.lhs_batch);
    let (rows, inner) = (count(lhs, &lhs_free), count(lhs, &axes.lhs_contract));
    let columns = count(rhs, &rhs_free);

    let mut sums = vec![T::ZERO; batches * rows * columns];
    for batch in 0..batches {
        for row in 0..rows {
            let sum = &mut sums[(batch * rows + row) * columns..][..columns];
            let factors = &left[(batch * rows + row) * inner..][..inner];
            for (index, factor) in factors.iter().enumerate() {
                let terms = &right[(batch * inner + index) * columns..][..columns];
                for (sum, term) in sum.iter_mut().zip(terms) {
                    *sum = *sum + *factor * *term;
                }
            }
        }
    }
    let sums = sums.into_iter().map(T::narrow).collect();
    Array::from_elements(shape, sums).expect("an element for each row and column of each batch")
}

/// The elements in row-major order once the axes are in this order, each in the type that sums are
/// accumulated in.
fn wide<T: Number>(x: &ArrayD<T>, axes: &[&[usize]]) -> Vec<T::Wide> {
    let order = axes.concat();
    x.view().permuted_axes(IxDyn(&order)).iter().map(|element| element.widen()).collect()
}
