//! Tensors: `Copy` handles of values, and what they are made of.

use std::fmt;
use std::panic::Location;

use kilngrad_ir::{Constant, DType, Dense, Diagnostic, Literal, Op, Shape, Site, Type, Value};

use crate::builder::is_word;
use crate::entry::Entry;
use crate::example::example;
use crate::operand::{Argument, Number, Operand};
use crate::shape::{IntoShape, Length};

/// A value of an entry under construction: a dtype, a shape, and the operation that computes it.
///
/// Methods have PyTorch's names with `axis`; a negative axis counts from the last. Operators take
/// tensors, parameters and bare numbers, and broadcast as NumPy's do: axes are aligned at the
/// last, and one that is missing or of length 1 is repeated. Nothing is promoted in silence. A bare
/// number before an operator is an `f64` or `i64`, so that the literal in `(1.0 - x).relu()` has a
/// type; after it, any of `f32`, `f64`, `i32`, `i64` and, for truth values, `bool`.
///
/// A call that cannot be right records a diagnostic, which [`Builder::finish`] returns, and
/// gives a tensor that later calls pass on in silence.
///
/// [`Builder::finish`]: crate::Builder::finish
#[doc = example!(
    1.0 - x * row => array![[1.0, 0.0], [1.0, -1.0]];
    x = e.constant([2, 1], &[1.0, 2.0]);
    row = e.constant([2], &[0.0, 1.0])
)]
#[derive(Clone, Copy)]
pub struct Tensor<'b> {
    pub(crate) entry: Entry<'b>,
    /// `None` after an error.
    pub(crate) value: Option<Value>,
}

/// A Rust type whose values are elements of tensors.
#[doc = example!(e.constant([2], &[true, false]) => vec![true, false])]
pub trait Element: Copy {
    /// Its dtype.
    const DTYPE: DType;
    /// The element of the dtype that `DTYPE` stands for in the program.
    ///
    /// ```
    /// use kilngrad_builder::{DType, Element};
    ///
    /// assert_eq!(0.5f32.literal(DType::F64).to_f64(), 0.5);
    /// ```
    fn literal(self, dtype: DType) -> Literal;
}

macro_rules! elements {
    ($($ty:ty, $dtype:ident, $from:ident;)*) => {$(
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn literal(self, dtype: DType) -> Literal {
                Literal::$from(dtype, self.into())
            }
        }
    )*};
}

elements! {
    f32, F32, from_f64;
    f64, F64, from_f64;
    i32, I32, from_i64;
    i64, I64, from_i64;
    u8, U8, from_i64;
    bool, Bool, from_i64;
}

impl<'b> Tensor<'b> {
    /// The entry that it belongs to.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("entry");
    /// let x = b.entry("run", Mode::Eval).input("x", F32, (3,));
    /// assert_eq!(&*x.entry().name(), "run");
    /// ```
    pub fn entry(self) -> Entry<'b> {
        self.entry
    }

    /// The type; `None` where a call that it comes from has failed.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("types");
    /// let e = b.entry("run", Mode::Eval);
    /// let x = e.input("x", F32, (b.dim("n"), 8));
    /// assert_eq!(x.ty().expect("nothing failed").to_string(), "f32[n,8]");
    /// assert!(x.reshape((3,)).ty().is_none());
    /// ```
    pub fn ty(self) -> Option<Type> {
        let value = self.value?;
        Some(self.entry.with(|record| record.graph.ty(value).clone()))
    }

    /// The length along an axis.
    #[doc = example!(
        e.arange(I64, x.length(0) + 1) => vec![0i64, 1, 2];
        x = e.constant([2], &[7.0, 8.0])
    )]
    #[track_caller]
    pub fn length(self, axis: isize) -> Length<'b> {
        let axis = self.axis(axis);
        let dim = axis.zip(self.ty()).map(|(axis, ty)| ty.shape.dims()[axis].clone());
        Length::new(self.entry.builder, dim)
    }

    /// Calls the value by a name, which dumps and plans show: a word. An input keeps its own name,
    /// and a name that is taken gets a number after it.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("names");
    /// let e = b.entry("run", Mode::Eval);
    /// let hidden = e.input("x", F32, (3,)).relu().named("hidden");
    /// e.output("y", hidden.exp());
    /// assert!(b.finish()?.to_string().contains("%hidden: f32[3] = relu %x"));
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    #[must_use]
    pub fn named(self, name: &str) -> Tensor<'b> {
        if !is_word(name) {
            let message = format!("expected a word as a name, found {name:?}");
            return self.entry.fail(Diagnostic::new("entry_b2", message));
        }
        if let Some(value) = self.value {
            self.entry.name_value(value, name);
        }
        self
    }

    /// Where the call was that made it.
    pub(crate) fn site(self) -> Option<Site> {
        self.entry.site_of(self.value?)
    }

    /// The tensor that an operand stands for beside this one; a bare number becomes a scalar of
    /// this tensor's dtype.
    #[track_caller]
    pub(crate) fn operand(self, operand: impl Operand<'b>) -> Tensor<'b> {
        match operand.argument() {
            Argument::Tensor(tensor) => tensor,
            Argument::Param(param) => self.entry.read(param),
            Argument::Number(number) => match self.ty() {
                Some(ty) => self.number(number, &Type::scalar(ty.dtype)),
                None => self,
            },
        }
    }

    /// A bare number everywhere in a tensor of type `ty`, which it meets this tensor as.
    #[track_caller]
    pub(crate) fn number(self, number: Number, ty: &Type) -> Tensor<'b> {
        match number.literal(ty.dtype) {
            Ok(literal) => self.entry.splat(literal, ty.shape.clone()),
            Err(message) => {
                let diagnostic =
                    self.entry.with_operands(Diagnostic::new("dtype_b2", message), &[self]);
                let help = "convert the tensor with `.cast(..)`, or write another number";
                self.entry.fail(diagnostic.help(help))
            }
        }
    }

    /// A tensor of this one's type with the same number everywhere; `self` must be of a number
    /// dtype.
    #[track_caller]
    pub(crate) fn like(self, number: f64) -> Tensor<'b> {
        match self.ty() {
            Some(ty) => self.entry.splat(Literal::from_f64(ty.dtype, number), ty.shape),
            None => self,
        }
    }
}

impl fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty() {
            Some(ty) => write!(f, "Tensor({ty})"),
            None => f.write_str("Tensor(failed)"),
        }
    }
}

impl<'b> Entry<'b> {
    /// Zeros, or false.
    #[doc = example!(e.zeros(F32, (2,)) => vec![0f32, 0.0])]
    #[track_caller]
    pub fn zeros(self, dtype: DType, shape: impl IntoShape) -> Tensor<'b> {
        self.full(dtype, shape, 0)
    }

    /// Ones, or true.
    #[doc = example!(e.ones(Bool, (2,)) => vec![true, true])]
    #[track_caller]
    pub fn ones(self, dtype: DType, shape: impl IntoShape) -> Tensor<'b> {
        self.full(dtype, shape, 1)
    }

    /// The same number everywhere; `dtype` must hold it.
    #[doc = example!(e.full(U8, (2,), 7) => vec![7u8, 7])]
    #[track_caller]
    pub fn full(self, dtype: DType, shape: impl IntoShape, number: impl Into<Fill>) -> Tensor<'b> {
        let dtype = self.builder.resolve_dtype(dtype);
        let Some(shape) = self.shape(shape) else { return self.poisoned() };
        let number = match (number.into().0, dtype) {
            // 0 and 1 are false and true where `zeros` and `ones` ask for them.
            (Number::Integer(bit @ (0 | 1)), DType::Bool) => Number::Truth(bit == 1),
            (number, _) => number,
        };
        match number.literal(dtype) {
            Ok(literal) => self.splat(literal, shape),
            Err(message) => self.fail(Diagnostic::new("dtype_b2", message)),
        }
    }

    /// One number as a scalar tensor.
    #[doc = example!(e.scalar(F32, 0.5) => 0.5f32)]
    #[track_caller]
    pub fn scalar(self, dtype: DType, number: impl Into<Fill>) -> Tensor<'b> {
        self.full(dtype, (), number)
    }

    /// The elements, in row-major order, of a tensor of this shape, which has no symbol.
    #[doc = example!(e.constant((2, 2), &[1.0, 2.0, 3.0, 4.0]) => array![[1.0, 2.0], [3.0, 4.0]])]
    #[track_caller]
    pub fn constant<T: Element>(self, shape: impl IntoShape, elements: &[T]) -> Tensor<'b> {
        let dtype = self.builder.resolve_dtype(T::DTYPE);
        let Some(shape) = self.shape(shape) else { return self.poisoned() };
        let literals = elements.iter().map(|element| element.literal(dtype));
        let dense = Dense::new(dtype, literals).expect("every literal has the dtype");
        self.emit(Op::Constant(Constant::Dense(dense)), &[], &[Type::new(dtype, shape)])
    }

    /// A length as a scalar tensor of a number dtype.
    #[doc = example!(
        x.sum(..) / e.length(x.length(0), F64) => 7.5;
        x = e.constant([2], &[7.0, 8.0])
    )]
    #[track_caller]
    pub fn length(self, length: Length<'b>, dtype: DType) -> Tensor<'b> {
        let resolved = crate::shape::sealed::Length::resolve(length);
        let dim = self.builder.resolve_length(resolved, Location::caller());
        let dtype = self.builder.resolve_dtype(dtype);
        let Some(dim) = dim else { return self.poisoned() };
        self.emit(Op::Dimension(dim), &[], &[Type::scalar(dtype)])
    }

    /// One element everywhere.
    #[track_caller]
    pub(crate) fn splat(self, literal: Literal, shape: Shape) -> Tensor<'b> {
        let ty = Type::new(literal.dtype(), shape);
        self.emit(Op::Constant(Constant::Splat(literal)), &[], &[ty])
    }
}

/// A bare number that fills a tensor: an integer, a float or a truth value.
#[doc = example!(
    e.stack([e.full(F64, (1,), 2), e.full(F64, (1,), 0.5)], 0) => array![[2.0], [0.5]]
)]
#[derive(Debug, Clone, Copy)]
pub struct Fill(Number);

macro_rules! fills {
    ($($ty:ty, $kind:ident;)*) => {$(
        impl From<$ty> for Fill {
            fn from(number: $ty) -> Fill {
                Fill(Number::$kind(number.into()))
            }
        }
    )*};
}

fills! {
    f32, Float;
    f64, Float;
    i32, Integer;
    i64, Integer;
    bool, Truth;
}
