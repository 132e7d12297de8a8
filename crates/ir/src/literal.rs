//! Numbers and arrays that a program states.

use std::fmt;
use std::sync::Arc;

use crate::dtype::DType;

/// One element with its dtype, compared by bits: −0 differs from +0, and equal NaNs are equal.
///
/// ```
/// use kilngrad_ir::{DType, Literal};
///
/// let half = Literal::from_f64(DType::F32, 0.5);
/// assert_eq!((half.to_string(), half.to_f64()), ("0.5".into(), 0.5));
/// assert_ne!(Literal::from_f64(DType::F32, -0.0), Literal::from_f64(DType::F32, 0.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Literal {
    dtype: DType,
    bits: u64,
}

impl Literal {
    /// The element whose bit pattern is the low bits of `bits`; a truth value is `bits ≠ 0`.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_bits(DType::F32, 0x3f80_0000).to_f64(), 1.0);
    /// ```
    pub const fn from_bits(dtype: DType, bits: u64) -> Literal {
        let bits = match dtype {
            DType::F32 | DType::I32 => bits & 0xffff_ffff,
            DType::F64 | DType::I64 => bits,
            DType::U8 => bits & 0xff,
            DType::Bool => (bits != 0) as u64,
        };
        Literal { dtype, bits }
    }

    /// The element nearest to `value`: rounded to nearest for `f32`, truncated and saturated for
    /// integers with NaN as 0, `value ≠ 0` for `bool`: what `cast` from `f64` gives.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_f64(DType::U8, 300.7).to_i64(), 255);
    /// assert_eq!(Literal::from_f64(DType::I32, f64::NAN).to_i64(), 0);
    /// ```
    pub fn from_f64(dtype: DType, value: f64) -> Literal {
        let bits = match dtype {
            DType::F32 => u64::from((value as f32).to_bits()),
            DType::F64 => value.to_bits(),
            DType::I32 => u64::from(value as i32 as u32),
            DType::I64 => value as i64 as u64,
            DType::U8 => u64::from(value as u8),
            DType::Bool => u64::from(value != 0.0),
        };
        Literal { dtype, bits }
    }

    /// The element with the value of `value`, wrapped for narrower integers, rounded to nearest
    /// for floats, `value ≠ 0` for `bool`: what `cast` from `i64` gives.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_i64(DType::U8, 257).to_i64(), 1);
    /// ```
    pub fn from_i64(dtype: DType, value: i64) -> Literal {
        match dtype {
            DType::F32 => Literal::from_bits(dtype, u64::from((value as f32).to_bits())),
            DType::F64 => Literal::from_bits(dtype, (value as f64).to_bits()),
            DType::I32 | DType::I64 | DType::U8 | DType::Bool => {
                Literal::from_bits(dtype, value as u64)
            }
        }
    }

    /// Its dtype.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_i64(DType::U8, 7).dtype(), DType::U8);
    /// ```
    pub const fn dtype(self) -> DType {
        self.dtype
    }

    /// Its bit pattern, in the low bits.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_f64(DType::F32, 1.0).bits(), 0x3f80_0000);
    /// ```
    pub const fn bits(self) -> u64 {
        self.bits
    }

    /// The value as `f64`; exact save for large `i64`.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_i64(DType::I32, -7).to_f64(), -7.0);
    /// ```
    pub fn to_f64(self) -> f64 {
        match self.dtype {
            DType::F32 => f64::from(f32::from_bits(self.bits as u32)),
            DType::F64 => f64::from_bits(self.bits),
            DType::I32 | DType::I64 | DType::U8 | DType::Bool => self.to_i64() as f64,
        }
    }

    /// The value as `i64`; floats truncate and saturate, NaN is 0.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert_eq!(Literal::from_f64(DType::F64, -2.9).to_i64(), -2);
    /// ```
    pub fn to_i64(self) -> i64 {
        match self.dtype {
            DType::F32 | DType::F64 => self.to_f64() as i64,
            DType::I32 => i64::from(self.bits as u32 as i32),
            DType::I64 | DType::U8 | DType::Bool => self.bits as i64,
        }
    }

    /// The element as it lies in memory.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// let mut bytes = Vec::new();
    /// Literal::from_i64(DType::I32, 258).write_to(&mut bytes);
    /// assert_eq!(bytes, [2, 1, 0, 0]);
    /// ```
    pub fn write_to(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.bits.to_le_bytes()[..self.dtype.size()]);
    }

    /// Whether this is +0, 0 or false: what zeroed memory holds.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Literal};
    ///
    /// assert!(Literal::from_f64(DType::F32, 0.0).is_zero_bits());
    /// assert!(!Literal::from_f64(DType::F32, -0.0).is_zero_bits());
    /// ```
    pub const fn is_zero_bits(self) -> bool {
        self.bits == 0
    }
}

/// As the text form writes it, so that parsing gives the same bits: floats in the shortest decimal
/// that reads back equal, `inf`, `nan`, and NaNs of another payload as `nan(0x7fc00001)`.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dtype {
            DType::F32 => {
                let value = f32::from_bits(self.bits as u32);
                if value.is_nan() && self.bits != u64::from(f32::NAN.to_bits()) {
                    return write!(f, "nan({:#x})", self.bits);
                }
                write_float(f, value.is_nan(), format_args!("{value:?}"))
            }
            DType::F64 => {
                let value = f64::from_bits(self.bits);
                if value.is_nan() && self.bits != f64::NAN.to_bits() {
                    return write!(f, "nan({:#x})", self.bits);
                }
                write_float(f, value.is_nan(), format_args!("{value:?}"))
            }
            DType::I32 | DType::I64 | DType::U8 => write!(f, "{}", self.to_i64()),
            DType::Bool => f.write_str(if self.bits != 0 { "true" } else { "false" }),
        }
    }
}

fn write_float(f: &mut fmt::Formatter<'_>, is_nan: bool, value: fmt::Arguments<'_>) -> fmt::Result {
    if is_nan { f.write_str("nan") } else { f.write_fmt(value) }
}

/// What a `constant` holds.
///
/// ```
/// use kilngrad_ir::{Constant, DType, Literal};
///
/// let ones = Constant::Splat(Literal::from_f64(DType::F32, 1.0));
/// assert_eq!(ones.dtype(), DType::F32);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Constant {
    /// Every element is this one.
    Splat(Literal),
    /// Elements in row-major order.
    Dense(Dense),
}

impl Constant {
    /// The dtype of its elements.
    ///
    /// ```
    /// use kilngrad_ir::{Constant, DType, Dense};
    ///
    /// let bytes = Dense::from_bytes(DType::U8, vec![1, 2].into()).expect("two elements");
    /// assert_eq!(Constant::Dense(bytes).dtype(), DType::U8);
    /// ```
    pub fn dtype(&self) -> DType {
        match self {
            Constant::Splat(literal) => literal.dtype(),
            Constant::Dense(dense) => dense.dtype(),
        }
    }
}

/// Elements in row-major order, little-endian, shared.
///
/// ```
/// use kilngrad_ir::{DType, Dense, Literal};
///
/// let numbers = [1.5, 2.5].map(|number| Literal::from_f64(DType::F32, number));
/// let dense = Dense::new(DType::F32, numbers).expect("they are f32");
/// assert!(dense.iter().eq(numbers));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dense {
    dtype: DType,
    bytes: Arc<[u8]>,
}

impl Dense {
    /// The elements in order. Elements of another dtype than `dtype` are refused with `None`.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense, Literal};
    ///
    /// let number = Literal::from_f64(DType::F32, 1.0);
    /// assert!(Dense::new(DType::F32, [number]).is_some());
    /// assert!(Dense::new(DType::F64, [number]).is_none());
    /// ```
    pub fn new(dtype: DType, elements: impl IntoIterator<Item = Literal>) -> Option<Dense> {
        let mut bytes = Vec::new();
        for element in elements {
            if element.dtype() != dtype {
                return None;
            }
            element.write_to(&mut bytes);
        }
        Some(Dense { dtype, bytes: bytes.into() })
    }

    /// From bytes as they lie in memory; `None` where their number is not a multiple of the
    /// element's size or a truth value is neither 0 nor 1.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense};
    ///
    /// assert!(Dense::from_bytes(DType::Bool, vec![0, 1].into()).is_some());
    /// assert!(Dense::from_bytes(DType::Bool, vec![0, 2].into()).is_none());
    /// ```
    pub fn from_bytes(dtype: DType, bytes: Arc<[u8]>) -> Option<Dense> {
        let valid = dtype != DType::Bool || bytes.iter().all(|byte| *byte <= 1);
        (bytes.len().is_multiple_of(dtype.size()) && valid).then_some(Dense { dtype, bytes })
    }

    /// The dtype of the elements.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense};
    ///
    /// let dense = Dense::from_bytes(DType::U8, vec![1, 2].into()).expect("two elements");
    /// assert_eq!(dense.dtype(), DType::U8);
    /// ```
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense};
    ///
    /// let dense = Dense::from_bytes(DType::F32, vec![0; 12].into()).expect("three elements");
    /// assert_eq!(dense.len(), 3);
    /// ```
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there is no element.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense};
    ///
    /// assert!(Dense::new(DType::F32, []).expect("nothing is of another dtype").is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements as they lie in memory, little-endian.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense, Literal};
    ///
    /// let number = Literal::from_i64(DType::I32, 258);
    /// let dense = Dense::new(DType::I32, [number]).expect("it is i32");
    /// assert_eq!(dense.bytes()[..], [2, 1, 0, 0]);
    /// ```
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The elements in row-major order.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Dense};
    ///
    /// let dense = Dense::from_bytes(DType::U8, vec![7, 8].into()).expect("two elements");
    /// assert!(dense.iter().map(|element| element.to_i64()).eq([7, 8]));
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Literal> + '_ {
        self.bytes.chunks_exact(self.dtype.size()).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            Literal::from_bits(self.dtype, u64::from_le_bytes(word))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_saturate_and_wrap_as_documented() {
        assert_eq!(Literal::from_f64(DType::I32, f64::NAN).to_i64(), 0);
        assert_eq!(Literal::from_f64(DType::U8, -3.5).to_i64(), 0);
        assert_eq!(Literal::from_f64(DType::I32, 1e20).to_i64(), i64::from(i32::MAX));
        assert_eq!(Literal::from_i64(DType::U8, -1).to_i64(), 255);
        assert_eq!(Literal::from_i64(DType::I32, 1 << 31).to_i64(), i64::from(i32::MIN));
    }

    #[test]
    fn display_is_exact() {
        assert_eq!(Literal::from_f64(DType::F32, 0.1).to_string(), "0.1");
        assert_eq!(Literal::from_f64(DType::F32, -0.0).to_string(), "-0.0");
        assert_eq!(Literal::from_f64(DType::F64, f64::NEG_INFINITY).to_string(), "-inf");
        assert_eq!(Literal::from_f64(DType::F64, f64::NAN).to_string(), "nan");
        let odd = Literal::from_bits(DType::F32, 0x7fc0_0001);
        assert_eq!(odd.to_string(), "nan(0x7fc00001)");
    }
}
