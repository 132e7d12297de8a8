//! Arrays whose dtype is known at run time.

use kilngrad_ir::{DType, Dense, Literal, Type};
use ndarray::{ArrayD, Dimension, IxDyn};

use crate::element::Element;

/// An `ndarray` of any dtype and rank: how values enter, leave and are evaluated.
///
/// Compared by bits, as [`Literal`]: −0 differs from +0 and a NaN equals itself.
///
/// ```
/// use kilngrad_interp::Array;
/// use ndarray::array;
///
/// let matrix = Array::from(array![[1f32, 2.0], [3.0, 4.0]]);
/// assert_eq!(matrix.ty().to_string(), "f32[2,2]");
/// assert_eq!(matrix.to_f64_vec(), [1.0, 2.0, 3.0, 4.0]);
/// ```
#[derive(Debug, Clone)]
pub enum Array {
    /// Of `f32`.
    F32(ArrayD<f32>),
    /// Of `f64`.
    F64(ArrayD<f64>),
    /// Of `i32`.
    I32(ArrayD<i32>),
    /// Of `i64`.
    I64(ArrayD<i64>),
    /// Of `u8`.
    U8(ArrayD<u8>),
    /// Of truth values.
    Bool(ArrayD<bool>),
}

/// Where two arrays differ first.
///
/// ```
/// use kilngrad_interp::{Array, Difference};
///
/// let found = Array::from(vec![0.0, 1.0]).first_difference(&Array::from(vec![0.0, 1.5]));
/// assert!(matches!(found, Some(Difference::Element { index: 1, .. })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// In their types: the one's, the other's.
    Type(Box<[Type; 2]>),
    /// In an element.
    Element {
        /// Its position in row-major order.
        index: usize,
        /// The one's element.
        left: Literal,
        /// The other's.
        right: Literal,
    },
}

/// Evaluates an expression for the `ndarray` inside an [`Array`], whatever its dtype.
macro_rules! for_any {
    ($array:expr, $inner:ident => $body:expr) => {
        match $array {
            $crate::Array::F32($inner) => $body,
            $crate::Array::F64($inner) => $body,
            $crate::Array::I32($inner) => $body,
            $crate::Array::I64($inner) => $body,
            $crate::Array::U8($inner) => $body,
            $crate::Array::Bool($inner) => $body,
        }
    };
}

/// Evaluates an expression with a type alias for the elements of a dtype.
macro_rules! for_dtype {
    ($dtype:expr, $alias:ident => $body:expr) => {
        match $dtype {
            kilngrad_ir::DType::F32 => {
                type $alias = f32;
                $body
            }
            kilngrad_ir::DType::F64 => {
                type $alias = f64;
                $body
            }
            kilngrad_ir::DType::I32 => {
                type $alias = i32;
                $body
            }
            kilngrad_ir::DType::I64 => {
                type $alias = i64;
                $body
            }
            kilngrad_ir::DType::U8 => {
                type $alias = u8;
                $body
            }
            kilngrad_ir::DType::Bool => {
                type $alias = bool;
                $body
            }
        }
    };
}

pub(crate) use {for_any, for_dtype};

impl Array {
    /// The array of this shape with these elements in row-major order; `None` where their number
    /// is another.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    /// use ndarray::array;
    ///
    /// let matrix = Array::from_elements(&[2, 2], vec![1, 2, 3, 4]);
    /// assert_eq!(matrix, Some(Array::from(array![[1, 2], [3, 4]])));
    /// assert_eq!(Array::from_elements(&[2, 2], vec![1, 2, 3]), None);
    /// ```
    pub fn from_elements<T: Element>(shape: &[usize], elements: Vec<T>) -> Option<Array> {
        ArrayD::from_shape_vec(IxDyn(shape), elements).ok().map(T::wrap)
    }

    /// The array of this shape whose every element is `literal`.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// let ones = Array::splat(Literal::from_f64(DType::F32, 1.0), &[2]);
    /// assert_eq!(ones, Array::from(vec![1f32, 1.0]));
    /// ```
    pub fn splat(literal: Literal, shape: &[usize]) -> Array {
        for_dtype!(literal.dtype(), T => {
            T::wrap(ArrayD::from_elem(IxDyn(shape), T::from_literal(literal)))
        })
    }

    /// The array of this shape with the elements of `dense`; `None` where their number is another.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    /// use kilngrad_ir::{DType, Dense};
    ///
    /// let dense = Dense::from_bytes(DType::U8, vec![7, 8].into()).expect("two elements");
    /// assert_eq!(Array::from_dense(&dense, &[2]), Some(Array::from(vec![7u8, 8])));
    /// assert_eq!(Array::from_dense(&dense, &[3]), None);
    /// ```
    pub fn from_dense(dense: &Dense, shape: &[usize]) -> Option<Array> {
        for_dtype!(dense.dtype(), T => {
            Array::from_elements(shape, dense.iter().map(T::from_literal).collect::<Vec<T>>())
        })
    }

    /// The array of this shape with the elements in `bytes`, row-major and little-endian; `None`
    /// where their number is another or a truth value is neither 0 nor 1.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    /// use kilngrad_ir::DType;
    ///
    /// let array = Array::from_bytes(DType::I32, &[1], &[2, 1, 0, 0]);
    /// assert_eq!(array, Some(Array::from(vec![258])));
    /// ```
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Array> {
        Array::from_dense(&Dense::from_bytes(dtype, bytes.into())?, shape)
    }

    /// The elements in row-major order.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(vec![7u8, 8]).to_dense().bytes()[..], [7, 8]);
    /// ```
    pub fn to_dense(&self) -> Dense {
        Dense::new(self.dtype(), self.iter()).expect("an array's elements have its dtype")
    }

    /// The elements in row-major order, little-endian.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(258i32).to_bytes(), [2, 1, 0, 0]);
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len() * self.dtype().size());
        self.iter().for_each(|element| element.write_to(&mut bytes));
        bytes
    }

    /// The elements in row-major order, as `f64`: exact save for large `i64`.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(vec![true, false]).to_f64_vec(), [1.0, 0.0]);
    /// ```
    pub fn to_f64_vec(&self) -> Vec<f64> {
        self.iter().map(Literal::to_f64).collect()
    }

    /// The dtype.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    /// use kilngrad_ir::DType;
    ///
    /// assert_eq!(Array::from(1i64).dtype(), DType::I64);
    /// ```
    pub fn dtype(&self) -> DType {
        match self {
            Array::F32(_) => DType::F32,
            Array::F64(_) => DType::F64,
            Array::I32(_) => DType::I32,
            Array::I64(_) => DType::I64,
            Array::U8(_) => DType::U8,
            Array::Bool(_) => DType::Bool,
        }
    }

    /// Lengths of the axes, outermost first.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(vec![1.0, 2.0]).shape(), [2]);
    /// assert!(Array::from(1.0).shape().is_empty());
    /// ```
    pub fn shape(&self) -> &[usize] {
        for_any!(self, array => array.shape())
    }

    /// Number of elements.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(ndarray::array![[1, 2, 3], [4, 5, 6]]).len(), 6);
    /// ```
    pub fn len(&self) -> usize {
        for_any!(self, array => array.len())
    }

    /// Whether there is no element.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert!(Array::from(Vec::<f32>::new()).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(vec![1f32, 2.0]).ty().to_string(), "f32[2]");
    /// ```
    pub fn ty(&self) -> Type {
        Type::new(self.dtype(), self.shape().iter().copied().collect())
    }

    /// The elements in row-major order.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// let transposed = Array::from(ndarray::array![[1, 2], [3, 4]].reversed_axes());
    /// assert!(transposed.iter().map(|element| element.to_i64()).eq([1, 3, 2, 4]));
    /// ```
    pub fn iter(&self) -> Box<dyn Iterator<Item = Literal> + '_> {
        for_any!(self, array => Box::new(array.iter().map(|element| element.to_literal())))
    }

    /// The element of an array with one element; `None` where there are more or none.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// assert_eq!(Array::from(0.5).scalar().map(|element| element.to_f64()), Some(0.5));
    /// assert_eq!(Array::from(vec![0.5, 0.5]).scalar(), None);
    /// ```
    pub fn scalar(&self) -> Option<Literal> {
        let mut elements = self.iter();
        elements.next().filter(|_| self.len() == 1)
    }

    /// Where this array differs from another first, if it does. A NaN equals every NaN, since
    /// payloads are not defined; −0 differs from +0.
    ///
    /// ```
    /// use kilngrad_interp::Array;
    ///
    /// let [left, right] = [0.0, -0.0].map(|zero| Array::from(vec![f64::NAN, zero]));
    /// assert_eq!(left.first_difference(&left), None);
    /// assert!(left.first_difference(&right).is_some());
    /// ```
    pub fn first_difference(&self, other: &Array) -> Option<Difference> {
        if self.dtype() != other.dtype() || self.shape() != other.shape() {
            return Some(Difference::Type(Box::new([self.ty(), other.ty()])));
        }
        let nan = |x: Literal| x.to_f64().is_nan();
        let mut pairs = self.iter().zip(other.iter()).enumerate();
        let (index, (left, right)) =
            pairs.find(|(_, (left, right))| left != right && !(nan(*left) && nan(*right)))?;
        Some(Difference::Element { index, left, right })
    }

    /// The same elements held in row-major order, which evaluation relies on for speed alone.
    pub(crate) fn into_row_major(self) -> Array {
        for_any!(self, array => row_major(array))
    }

    /// Whether the elements are held in row-major order.
    pub(crate) fn is_row_major(&self) -> bool {
        for_any!(self, array => array.is_standard_layout())
    }
}

fn row_major<T: Element>(array: ArrayD<T>) -> Array {
    if array.is_standard_layout() {
        return T::wrap(array);
    }
    T::wrap(array.as_standard_layout().into_owned())
}

impl PartialEq for Array {
    fn eq(&self, other: &Array) -> bool {
        self.dtype() == other.dtype()
            && self.shape() == other.shape()
            && self.iter().eq(other.iter())
    }
}

impl Eq for Array {}

impl<T: Element, D: Dimension> From<ndarray::Array<T, D>> for Array {
    fn from(array: ndarray::Array<T, D>) -> Array {
        T::wrap(array.into_dyn())
    }
}

/// A vector.
impl<T: Element> From<Vec<T>> for Array {
    fn from(elements: Vec<T>) -> Array {
        ndarray::Array1::from_vec(elements).into()
    }
}

/// A scalar.
impl<T: Element> From<T> for Array {
    fn from(element: T) -> Array {
        ndarray::arr0(element).into()
    }
}

macro_rules! try_from_array {
    ($($ty:ty),*) => {$(
        /// The elements, or the array itself where it has another dtype.
        impl TryFrom<Array> for ArrayD<$ty> {
            type Error = Array;

            fn try_from(array: Array) -> Result<ArrayD<$ty>, Array> {
                <$ty as Element>::take(array)
            }
        }
    )*};
}

try_from_array!(f32, f64, i32, i64, u8, bool);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_and_dense_round_trip_for_every_dtype() {
        let arrays = [
            Array::from(vec![1f32, -0.0, f32::NAN]),
            Array::from(vec![1f64, f64::INFINITY]),
            Array::from(vec![i32::MIN, 7]),
            Array::from(vec![i64::MIN, 7]),
            Array::from(vec![0u8, 255]),
            Array::from(vec![true, false]),
            Array::from(3f32),
            Array::from_elements::<f32>(&[2, 0], vec![]).unwrap(),
        ];
        for array in arrays {
            let again = Array::from_bytes(array.dtype(), array.shape(), &array.to_bytes());
            assert_eq!(again.as_ref(), Some(&array));
            assert_eq!(Array::from_dense(&array.to_dense(), array.shape()), Some(array));
        }
        assert_eq!(Array::from_bytes(DType::F32, &[2], &[0; 4]), None);
        assert_eq!(Array::from_bytes(DType::Bool, &[1], &[2]), None);
    }

    #[test]
    fn differences_are_by_bits_but_for_payloads() {
        let payload = f32::from_bits(0x7fc0_0001);
        let left = Array::from(vec![f32::NAN, 0.0, 1.0]);
        assert_eq!(left.first_difference(&Array::from(vec![payload, 0.0, 1.0])), None);
        assert_ne!(left, Array::from(vec![payload, 0.0, 1.0]));
        let found = left.first_difference(&Array::from(vec![f32::NAN, -0.0, 1.0]));
        assert!(matches!(found, Some(Difference::Element { index: 1, .. })), "{found:?}");
        let found = left.first_difference(&Array::from(1f32));
        assert!(matches!(found, Some(Difference::Type(_))), "{found:?}");
    }

    #[test]
    fn elements_are_in_logical_order_whatever_the_layout() {
        let matrix = ndarray::array![[1i32, 2], [3, 4]].reversed_axes();
        let array = Array::from(matrix);
        assert_eq!(array.to_f64_vec(), [1.0, 3.0, 2.0, 4.0]);
        assert!(!array.is_row_major());
        assert_eq!(array.clone().into_row_major(), array);
        assert!(array.into_row_major().is_row_major());
    }
}
