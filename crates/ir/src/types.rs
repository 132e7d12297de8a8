//! Shapes and types of values.

use std::fmt;

use smallvec::SmallVec;

use crate::dim::{Bindings, Dim, Symbol};
use crate::dtype::DType;

/// Lengths of a tensor's axes, outermost first.
///
/// ```
/// use kilngrad_ir::{Dim, Shape, Symbol};
///
/// let shape = Shape::new([Dim::symbol(Symbol::new("n")), Dim::constant(8)]);
/// assert_eq!(shape.to_string(), "[n,8]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Shape(SmallVec<[Dim; 4]>);

impl Shape {
    /// The shape of a scalar.
    ///
    /// ```
    /// use kilngrad_ir::Shape;
    ///
    /// assert_eq!((Shape::scalar().rank(), Shape::scalar().to_string()), (0, "[]".into()));
    /// ```
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// The shape with these lengths.
    ///
    /// ```
    /// use kilngrad_ir::Shape;
    ///
    /// assert_eq!(Shape::new([2, 3]).to_string(), "[2,3]");
    /// ```
    pub fn new(dims: impl IntoIterator<Item = impl Into<Dim>>) -> Shape {
        Shape(dims.into_iter().map(Into::into).collect())
    }

    /// Number of axes.
    ///
    /// ```
    /// use kilngrad_ir::Shape;
    ///
    /// assert_eq!(Shape::new([2, 3]).rank(), 2);
    /// ```
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The lengths, outermost first.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Shape};
    ///
    /// assert_eq!(Shape::new([2, 3]).dims(), [Dim::constant(2), Dim::constant(3)]);
    /// ```
    pub fn dims(&self) -> &[Dim] {
        &self.0
    }

    /// Number of elements, as a polynomial; `None` where a coefficient leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Shape, Symbol};
    ///
    /// let shape = Shape::new([Dim::symbol(Symbol::new("n")), Dim::constant(8)]);
    /// assert_eq!(shape.elements().expect("small numbers").to_string(), "8*n");
    /// ```
    pub fn elements(&self) -> Option<Dim> {
        self.0.iter().try_fold(Dim::constant(1), |product, dim| product.checked_mul(dim))
    }

    /// The lengths, if none depends on a symbol and none is negative.
    ///
    /// ```
    /// use kilngrad_ir::{Shape, Symbol};
    ///
    /// assert_eq!(Shape::new([2, 3]).as_constant(), Some(vec![2, 3]));
    /// assert_eq!(Shape::new([Symbol::new("n")]).as_constant(), None);
    /// ```
    pub fn as_constant(&self) -> Option<Vec<usize>> {
        self.0.iter().map(|dim| usize::try_from(dim.as_constant()?).ok()).collect()
    }

    /// Every symbol that occurs.
    ///
    /// ```
    /// use kilngrad_ir::{Shape, Symbol};
    ///
    /// let shape = Shape::new([Symbol::new("n"), Symbol::new("m")]);
    /// assert!(shape.symbols().map(Symbol::name).eq(["n", "m"]));
    /// ```
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.0.iter().flat_map(Dim::symbols)
    }

    /// The shape with symbols replaced by what they are bound to; `None` where one is unbound or
    /// a length would be negative.
    ///
    /// ```
    /// use kilngrad_ir::{Bindings, Shape, Symbol};
    ///
    /// let shape = Shape::new([Symbol::new("n")]);
    /// let bound = shape.bind(&Bindings::from([(Symbol::new("n"), 32)]));
    /// assert_eq!(bound, Some(Shape::new([32])));
    /// ```
    pub fn bind(&self, bindings: &Bindings) -> Option<Shape> {
        let bound = |dim: &Dim| Some(Dim::from(usize::try_from(dim.evaluate(bindings)?).ok()?));
        Some(Shape(self.0.iter().map(bound).collect::<Option<_>>()?))
    }

    /// The shape without the given axes.
    ///
    /// ```
    /// use kilngrad_ir::Shape;
    ///
    /// assert_eq!(Shape::new([2, 3, 5]).without(&[0, 2]), Shape::new([3]));
    /// ```
    pub fn without(&self, axes: &[usize]) -> Shape {
        let kept = self.0.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        Shape(kept.map(|(_, dim)| dim.clone()).collect())
    }
}

impl<D: Into<Dim>> FromIterator<D> for Shape {
    fn from_iter<I: IntoIterator<Item = D>>(dims: I) -> Shape {
        Shape::new(dims)
    }
}

/// `[n,8]`; a scalar is `[]`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.0.iter().enumerate() {
            if axis > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

/// The type of a value: what its elements are and how many along each axis.
///
/// ```
/// use kilngrad_ir::{DType, Shape, Type};
///
/// assert_eq!(Type::new(DType::F32, Shape::new([2, 3])).to_string(), "f32[2,3]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type {
    /// Type of an element.
    pub dtype: DType,
    /// Lengths of the axes.
    pub shape: Shape,
}

impl Type {
    /// The type with this dtype and shape.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Shape, Type};
    ///
    /// assert_eq!(Type::new(DType::Bool, Shape::new([4])).dtype, DType::Bool);
    /// ```
    pub fn new(dtype: DType, shape: Shape) -> Type {
        Type { dtype, shape }
    }

    /// One element.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Type};
    ///
    /// assert_eq!(Type::scalar(DType::I64).to_string(), "i64[]");
    /// ```
    pub fn scalar(dtype: DType) -> Type {
        Type { dtype, shape: Shape::scalar() }
    }

    /// The same shape with another dtype.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Shape, Type};
    ///
    /// let ty = Type::new(DType::F32, Shape::new([2, 3]));
    /// assert_eq!(ty.with_dtype(DType::I32).to_string(), "i32[2,3]");
    /// ```
    #[must_use]
    pub fn with_dtype(&self, dtype: DType) -> Type {
        Type { dtype, shape: self.shape.clone() }
    }

    /// Number of axes.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Shape, Type};
    ///
    /// assert_eq!(Type::new(DType::F32, Shape::new([2, 3])).rank(), 2);
    /// ```
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Number of elements of a type without symbols, by the one checked computation of sizes:
    /// `None` where a symbol occurs or elements × size does not fit `isize`.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Shape, Type};
    ///
    /// assert_eq!(Type::new(DType::F64, Shape::new([2, 3])).element_count(), Some(6));
    /// assert_eq!(Type::new(DType::F64, Shape::new([1 << 60])).element_count(), None);
    /// ```
    pub fn element_count(&self) -> Option<usize> {
        let lengths = self.shape.as_constant()?;
        // A zero anywhere empties the tensor, but the other lengths must still be representable:
        // strides are computed from them.
        let mut nonzero = lengths.iter().filter(|length| **length != 0);
        let product = nonzero.try_fold(1usize, |product, length| product.checked_mul(*length))?;
        isize::try_from(product.checked_mul(self.dtype.size())?).ok()?;
        Some(if lengths.contains(&0) { 0 } else { product })
    }

    /// Bytes of a type without symbols; `None` as for [`element_count`](Self::element_count).
    ///
    /// ```
    /// use kilngrad_ir::{DType, Shape, Type};
    ///
    /// assert_eq!(Type::new(DType::F64, Shape::new([2, 3])).byte_count(), Some(48));
    /// ```
    pub fn byte_count(&self) -> Option<usize> {
        Some(self.element_count()? * self.dtype.size())
    }
}

/// `f32[n,8]`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let of = |dims: &[usize]| Type::new(DType::F64, dims.iter().copied().collect());
        assert_eq!(of(&[2, 3]).byte_count(), Some(48));
        assert_eq!(of(&[]).byte_count(), Some(8));
        assert_eq!(of(&[5, 0]).byte_count(), Some(0));
        assert_eq!(of(&[1 << 60]).byte_count(), None);
        assert_eq!(of(&[1 << 60, 0]).byte_count(), None);
        assert_eq!(of(&[1 << 40, 1 << 40]).byte_count(), None);
    }
}
