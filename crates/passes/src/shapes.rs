//! Constant shapes: after `bind` every length is a number.

use kilngrad_ir::{Shape, Type};
use smallvec::SmallVec;

/// Lengths or strides, outermost first.
pub(crate) type Lengths = SmallVec<[usize; 4]>;

/// The lengths of a bound type.
///
/// # Panics
///
/// If a symbol is left, which `bind` excludes.
pub(crate) fn lengths(ty: &Type) -> Lengths {
    shape_lengths(&ty.shape)
}

/// The lengths of a bound shape.
pub(crate) fn shape_lengths(shape: &Shape) -> Lengths {
    let length = |dim: &kilngrad_ir::Dim| {
        let value = dim.as_constant().and_then(|value| usize::try_from(value).ok());
        value.expect("symbols are bound before this pass")
    };
    shape.dims().iter().map(length).collect()
}

/// Number of elements of a bound type.
pub(crate) fn elements(ty: &Type) -> usize {
    ty.element_count().expect("the verifier checked the sizes of bound types")
}

/// Bytes of a bound type.
pub(crate) fn bytes(ty: &Type) -> usize {
    ty.byte_count().expect("the verifier checked the sizes of bound types")
}

/// Row-major strides in elements.
pub(crate) fn strides(ty: &Type) -> Lengths {
    let lengths = lengths(ty);
    let mut strides: Lengths = SmallVec::from_elem(1, lengths.len());
    for axis in (1..lengths.len()).rev() {
        strides[axis - 1] = strides[axis] * lengths[axis].max(1);
    }
    strides
}

/// Every index of a shape in row-major order.
#[derive(Debug)]
pub(crate) struct Cursor {
    lengths: Lengths,
    next: Option<Lengths>,
}

impl Cursor {
    pub(crate) fn new(lengths: &[usize]) -> Cursor {
        let start = SmallVec::from_elem(0, lengths.len());
        let empty = lengths.contains(&0);
        Cursor { lengths: lengths.into(), next: (!empty).then_some(start) }
    }
}

impl Iterator for Cursor {
    type Item = Lengths;

    fn next(&mut self) -> Option<Lengths> {
        let current = self.next.take()?;
        let mut following = current.clone();
        for axis in (0..following.len()).rev() {
            following[axis] += 1;
            if following[axis] < self.lengths[axis] {
                self.next = Some(following);
                break;
            }
            following[axis] = 0;
        }
        Some(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_visit_every_index_in_order() {
        let all: Vec<Vec<usize>> = Cursor::new(&[2, 3]).map(|index| index.to_vec()).collect();
        let expected: Vec<Vec<usize>> =
            (0..2).flat_map(|i| (0..3).map(move |j| vec![i, j])).collect();
        assert_eq!(all, expected);
        assert_eq!(Cursor::new(&[]).count(), 1);
        assert_eq!(Cursor::new(&[2, 0]).count(), 0);
    }
}
