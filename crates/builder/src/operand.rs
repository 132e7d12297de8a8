//! What stands for a tensor in a call: a tensor, a parameter, or a bare number.

use kilngrad_ir::{DType, Literal};

use crate::builder::Param;
use crate::example::example;
use crate::tensor::Tensor;

/// A tensor, or a [`Param`], which stands for its value at that point of the entry.
#[doc = example!(
    x.matmul(w) => vec![3f32, 3.0];
    w = b.param("w", (2, 2), Init::Ones);
    x = e.constant([2], &[1f32, 2.0])
)]
pub trait IntoTensor<'b>: Operand<'b> {}

/// A tensor, a [`Param`], or a bare number, which takes the dtype of the tensor that it meets.
///
/// Nothing is rounded in silence where integers are meant: a bare float meets float tensors only,
/// a bare integer any number tensor that holds it, a bare `bool` boolean tensors only.
#[doc = example!(
    x.maximum(w) + 0.5 => vec![1.5f32, 2.5];
    w = b.param("w", (2,), Init::Ones);
    x = e.constant([2], &[-1f32, 2.0])
)]
pub trait Operand<'b>: sealed::IntoArgument<'b> {}

pub(crate) mod sealed {
    use crate::builder::Param;
    use crate::tensor::Tensor;

    /// The kinds of [`Operand`](super::Operand).
    #[derive(Debug, Clone, Copy)]
    pub enum Argument<'b> {
        Tensor(Tensor<'b>),
        Param(Param),
        Number(Number),
    }

    /// A bare number.
    #[derive(Debug, Clone, Copy)]
    pub enum Number {
        Float(f64),
        Integer(i64),
        Truth(bool),
    }

    pub trait IntoArgument<'b> {
        fn argument(self) -> Argument<'b>;
    }
}

pub(crate) use sealed::{Argument, Number};

impl Number {
    /// The element of `dtype`, or what was expected and found.
    pub(crate) fn literal(self, dtype: DType) -> Result<Literal, String> {
        let found = match self {
            Number::Float(value) if dtype.is_float() => return Ok(Literal::from_f64(dtype, value)),
            Number::Float(value) => format!("the float {value:?}"),
            Number::Integer(value) => {
                let literal = Literal::from_i64(dtype, value);
                let exact = dtype.is_integer() && literal.to_i64() == value;
                if dtype.is_float() || exact {
                    return Ok(literal);
                }
                format!("the integer {value}")
            }
            Number::Truth(value) if dtype == DType::Bool => {
                return Ok(Literal::from_i64(dtype, i64::from(value)));
            }
            Number::Truth(value) => format!("the truth value {value}"),
        };
        Err(format!("expected a number that {dtype} holds, found {found}"))
    }
}

impl<'b> IntoTensor<'b> for Tensor<'b> {}
impl<'b> Operand<'b> for Tensor<'b> {}
impl<'b> sealed::IntoArgument<'b> for Tensor<'b> {
    fn argument(self) -> Argument<'b> {
        Argument::Tensor(self)
    }
}

impl<'b> IntoTensor<'b> for Param {}
impl<'b> Operand<'b> for Param {}
impl<'b> sealed::IntoArgument<'b> for Param {
    fn argument(self) -> Argument<'b> {
        Argument::Param(self)
    }
}

macro_rules! numbers {
    ($($ty:ty => $kind:ident;)*) => {$(
        impl<'b> Operand<'b> for $ty {}
        impl<'b> sealed::IntoArgument<'b> for $ty {
            fn argument(self) -> Argument<'b> {
                Argument::Number(Number::$kind(self.into()))
            }
        }
    )*};
}

numbers! {
    f32 => Float;
    f64 => Float;
    i32 => Integer;
    i64 => Integer;
    bool => Truth;
}
