//! Rust types as elements, and arrays as what is fed.

use kilngrad_ir::{DType, Error, ErrorKind};
use ndarray::{ArrayBase, Data, Dimension};

/// Generated code is given the addresses of fed elements, so who may implement these traits is
/// part of what makes calls safe.
mod sealed {
    pub trait Sealed {}
    pub trait SealedInput {}
}

/// A Rust type that is an element of a tensor: `f32`, `f64`, `i32`, `i64`, `u8`, `bool`.
///
/// ```
/// use kilngrad_ir::DType;
/// use kilngrad_runtime::Element;
///
/// fn named<T: Element>(_: T) -> &'static str {
///     T::DTYPE.name()
/// }
/// assert_eq!((named(1f32), named(true)), ("f32", "bool"));
/// assert_eq!(u8::DTYPE, DType::U8);
/// ```
pub trait Element: Copy + Default + Send + Sync + 'static + sealed::Sealed {
    /// Its dtype.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements!(f32 => F32, f64 => F64, i32 => I32, i64 => I64, u8 => U8, bool => Bool);

/// The elements as they lie in memory.
pub(crate) fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: the six element types have no padding, so every byte is initialised; `u8` has no
    // alignment to keep, and the length is the slice's size in bytes.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Bytes as elements. The bytes are aligned to `T` and a whole number of elements.
///
/// # Errors
///
/// Truth values that are neither 0 nor 1, which no verified program writes.
pub(crate) fn elements_of<T: Element>(bytes: &[u8]) -> Result<&[T], Error> {
    assert!(bytes.as_ptr().cast::<T>().is_aligned() && bytes.len().is_multiple_of(size_of::<T>()));
    if T::DTYPE == DType::Bool && bytes.iter().any(|byte| *byte > 1) {
        return Err(Error::new(ErrorKind::Internal, "expected truth values of 0 and 1"));
    }
    // SAFETY: aligned and whole, as asserted; every bit pattern is a value of the number types, and
    // truth values were checked.
    Ok(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// What can be fed to an input or put into a state: an `ndarray` array or view of any layout, or
/// one element for a scalar.
///
/// ```
/// use kilngrad_runtime::Input;
///
/// let x = ndarray::array![[1f32, 2.0], [3.0, 4.0]];
/// let inputs: [&dyn Input; 3] = [&x, &x.t(), &7i64];
/// assert_eq!(inputs.map(|input| input.shape().len()), [2, 2, 0]);
/// ```
pub trait Input: sealed::SealedInput {
    /// The dtype of its elements.
    ///
    /// ```
    /// use kilngrad_runtime::Input;
    ///
    /// assert_eq!(ndarray::array![1f32].dtype(), kilngrad_ir::DType::F32);
    /// ```
    fn dtype(&self) -> DType;

    /// Its lengths, outermost first.
    ///
    /// ```
    /// use kilngrad_runtime::Input;
    ///
    /// assert_eq!(Input::shape(&ndarray::array![[1f32, 2.0]]), [1, 2]);
    /// ```
    fn shape(&self) -> &[usize];

    /// Its elements as they lie in memory, if they lie in row-major order without gaps.
    ///
    /// ```
    /// use kilngrad_runtime::Input;
    ///
    /// let x = ndarray::array![[1u8, 2], [3, 4]];
    /// assert_eq!(x.contiguous(), Some(&[1, 2, 3, 4][..]));
    /// assert_eq!(x.t().contiguous(), None);
    /// ```
    fn contiguous(&self) -> Option<&[u8]>;

    /// Writes its elements in row-major order.
    ///
    /// # Panics
    ///
    /// If `bytes` has another length than the elements.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_runtime::Input;
    ///
    /// let mut bytes = [0; 4];
    /// ndarray::array![[1u8, 2], [3, 4]].t().write_to(&mut bytes);
    /// assert_eq!(bytes, [1, 3, 2, 4]);
    /// ```
    fn write_to(&self, bytes: &mut [u8]);
}

impl<T: Element, S: Data<Elem = T>, D: Dimension> sealed::SealedInput for ArrayBase<S, D> {}

impl<T: Element, S: Data<Elem = T>, D: Dimension> Input for ArrayBase<S, D> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }

    fn shape(&self) -> &[usize] {
        ArrayBase::shape(self)
    }

    fn contiguous(&self) -> Option<&[u8]> {
        self.as_slice().map(bytes_of)
    }

    fn write_to(&self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.len() * size_of::<T>(), "a feed fills its buffer");
        for (element, place) in self.iter().zip(bytes.chunks_exact_mut(size_of::<T>())) {
            place.copy_from_slice(bytes_of(std::slice::from_ref(element)));
        }
    }
}

impl<T: Element> sealed::SealedInput for T {}

impl<T: Element> Input for T {
    fn dtype(&self) -> DType {
        T::DTYPE
    }

    fn shape(&self) -> &[usize] {
        &[]
    }

    fn contiguous(&self) -> Option<&[u8]> {
        Some(bytes_of(std::slice::from_ref(self)))
    }

    fn write_to(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(bytes_of(std::slice::from_ref(self)));
    }
}
