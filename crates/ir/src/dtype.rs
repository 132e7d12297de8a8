//! Element types.

use std::fmt;

/// The type of a tensor's elements.
///
/// Nothing is promoted implicitly: operands of an operation have equal dtypes, and a `cast` says
/// where one turns into another.
///
/// ```
/// use kilngrad_ir::DType;
///
/// assert!(DType::ALL.into_iter().filter(|dtype| dtype.is_float()).eq([DType::F32, DType::F64]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Two's complement, 32 bits; arithmetic wraps.
    I32,
    /// Two's complement, 64 bits; arithmetic wraps.
    I64,
    /// Unsigned, 8 bits; arithmetic wraps.
    U8,
    /// A truth value, stored as one byte that is 0 or 1.
    Bool,
}

impl DType {
    /// Every dtype, in the order of the enum.
    pub const ALL: [DType; 6] =
        [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8, DType::Bool];

    /// Bytes of one element in memory.
    ///
    /// ```
    /// use kilngrad_ir::DType;
    ///
    /// assert_eq!((DType::F64.size(), DType::Bool.size()), (8, 1));
    /// ```
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// Whether elements are floating-point numbers.
    ///
    /// ```
    /// use kilngrad_ir::DType;
    ///
    /// assert!(DType::F32.is_float() && !DType::I32.is_float());
    /// ```
    pub const fn is_float(self) -> bool {
        match self {
            DType::F32 | DType::F64 => true,
            DType::I32 | DType::I64 | DType::U8 | DType::Bool => false,
        }
    }

    /// Whether elements are integers; truth values are not.
    ///
    /// ```
    /// use kilngrad_ir::DType;
    ///
    /// assert!(DType::U8.is_integer() && !DType::Bool.is_integer());
    /// ```
    pub const fn is_integer(self) -> bool {
        match self {
            DType::I32 | DType::I64 | DType::U8 => true,
            DType::F32 | DType::F64 | DType::Bool => false,
        }
    }

    /// The name in the text form.
    ///
    /// ```
    /// use kilngrad_ir::DType;
    ///
    /// assert_eq!(DType::I64.name(), "i64");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }

    /// The dtype whose [`name`](Self::name) is `name`.
    ///
    /// ```
    /// use kilngrad_ir::DType;
    ///
    /// assert_eq!(DType::from_name("u8"), Some(DType::U8));
    /// assert_eq!(DType::from_name("u16"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
