//! Orders of rows.

use kilngrad_ir::{DType, random};

/// A permutation of `0..len` drawn by `seed`: Fisher and Yates' shuffle on the generator of
/// [`kilngrad_ir::random`].
pub(crate) fn permutation(len: usize, seed: u64) -> Vec<usize> {
    let mut order = Vec::new();
    permute(&mut order, len, seed);
    order
}

/// [`permutation`], in memory that is there.
pub(crate) fn permute(order: &mut Vec<usize>, len: usize, seed: u64) {
    let key = random::key(seed as i64, random::stream_of("data.shuffle"), 0);
    order.clear();
    order.extend(0..len);
    for last in (1..len).rev() {
        let unit = random::element(key, last as u64, DType::F64).to_f64();
        order.swap(last, (unit * (last + 1) as f64) as usize);
    }
}
