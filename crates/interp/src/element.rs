//! The Rust types of elements.

use std::fmt::Debug;

use kilngrad_ir::{DType, Literal};
use ndarray::ArrayD;

use crate::array::Array;

/// A Rust type that elements of a dtype are held in: `f32`, `f64`, `i32`, `i64`, `u8` and `bool`.
///
/// ```
/// use kilngrad_interp::{Array, Element};
///
/// fn largest<T: Element>(array: &Array) -> Option<T> {
///     T::view(array)?.iter().copied().reduce(|x, y| if y > x { y } else { x })
/// }
/// assert_eq!(largest(&Array::from(vec![1.0, 3.0, 2.0])), Some(3.0));
/// assert_eq!(largest::<i64>(&Array::from(vec![1.0])), None);
/// ```
pub trait Element: Copy + Debug + PartialOrd + sealed::Sealed + 'static {
    /// The dtype.
    const DTYPE: DType;

    /// The element with the bits of `literal`, whose dtype must be [`DTYPE`](Self::DTYPE).
    ///
    /// ```
    /// use kilngrad_interp::Element;
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(f32::from_literal(Literal::from_f64(DType::F32, 0.5)), 0.5);
    /// ```
    fn from_literal(literal: Literal) -> Self;

    /// The element as a literal.
    ///
    /// ```
    /// use kilngrad_interp::Element;
    ///
    /// assert_eq!(0.5f32.to_literal().bits(), 0x3f00_0000);
    /// ```
    fn to_literal(self) -> Literal;

    /// An array of such elements.
    ///
    /// ```
    /// use kilngrad_interp::{Array, Element};
    ///
    /// assert_eq!(i32::wrap(ndarray::arr0(7).into_dyn()), Array::from(7i32));
    /// ```
    fn wrap(array: ArrayD<Self>) -> Array;

    /// The elements of `array`; `None` where it has another dtype.
    ///
    /// ```
    /// use kilngrad_interp::{Array, Element};
    ///
    /// let array = Array::from(vec![1f32, 2.0]);
    /// assert_eq!(f32::view(&array).map(|view| view[1]), Some(2.0));
    /// assert!(f64::view(&array).is_none());
    /// ```
    fn view(array: &Array) -> Option<&ArrayD<Self>>;

    /// The elements of `array`, taken out.
    ///
    /// # Errors
    ///
    /// The array itself, where it has another dtype.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_interp::{Array, Element};
    ///
    /// assert!(f32::take(Array::from(1f32)).is_ok());
    /// assert_eq!(f64::take(Array::from(1f32)), Err(Array::from(1f32)));
    /// ```
    fn take(array: Array) -> Result<ArrayD<Self>, Array>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($ty:ty, $variant:ident, $literal:ident => $from:expr, $value:ident => $bits:expr) => {
        impl sealed::Sealed for $ty {}

        impl Element for $ty {
            const DTYPE: DType = DType::$variant;

            fn from_literal($literal: Literal) -> Self {
                debug_assert_eq!($literal.dtype(), Self::DTYPE, "the element's own dtype");
                $from
            }

            fn to_literal(self) -> Literal {
                let $value = self;
                Literal::from_bits(Self::DTYPE, $bits)
            }

            fn wrap(array: ArrayD<Self>) -> Array {
                Array::$variant(array)
            }

            fn view(array: &Array) -> Option<&ArrayD<Self>> {
                if let Array::$variant(array) = array { Some(array) } else { None }
            }

            fn take(array: Array) -> Result<ArrayD<Self>, Array> {
                if let Array::$variant(array) = array { Ok(array) } else { Err(array) }
            }
        }
    };
}

element!(f32, F32, literal => f32::from_bits(literal.bits() as u32), x => u64::from(x.to_bits()));
element!(f64, F64, literal => f64::from_bits(literal.bits()), x => x.to_bits());
element!(i32, I32, literal => literal.bits() as u32 as i32, x => u64::from(x as u32));
element!(i64, I64, literal => literal.bits() as i64, x => x as u64);
element!(u8, U8, literal => literal.bits() as u8, x => u64::from(x));
element!(bool, Bool, literal => literal.bits() != 0, x => u64::from(x));
