//! Arithmetic of one lane: numbers of Rust.

use super::arithmetic::{Arithmetic, Widened};
use crate::kernel::{BinaryInst, CompareInst, MaskInst, Scalar, UnaryInst};
use crate::number::{compare, float_binary, float_unary, integer_binary};

/// Registers of one lane, with fused multiply-add.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane;

/// A number: its bits, from the lowest on.
///
/// Where a function is compiled, the scalar is a constant, and nothing of it is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    scalar: Scalar,
    bits: u64,
}

impl From<f32> for Number {
    #[inline(always)]
    fn from(x: f32) -> Number {
        Number { scalar: Scalar::F32, bits: u64::from(x.to_bits()) }
    }
}

impl From<f64> for Number {
    #[inline(always)]
    fn from(x: f64) -> Number {
        Number { scalar: Scalar::F64, bits: x.to_bits() }
    }
}

impl From<i32> for Number {
    #[inline(always)]
    fn from(x: i32) -> Number {
        Number { scalar: Scalar::I32, bits: u64::from(x as u32) }
    }
}

impl From<i64> for Number {
    #[inline(always)]
    fn from(x: i64) -> Number {
        Number { scalar: Scalar::I64, bits: x as u64 }
    }
}

impl Number {
    #[inline(always)]
    pub(super) fn f32(self) -> f32 {
        f32::from_bits(self.bits as u32)
    }

    #[inline(always)]
    pub(super) fn f64(self) -> f64 {
        f64::from_bits(self.bits)
    }

    #[inline(always)]
    fn i32(self) -> i32 {
        self.bits as i32
    }

    #[inline(always)]
    fn i64(self) -> i64 {
        self.bits as i64
    }
}

impl Arithmetic for Lane {
    type Reg = Number;
    type Mask = bool;

    #[inline(always)]
    fn scalar(&self, x: Number) -> Scalar {
        x.scalar
    }

    #[inline(always)]
    fn has_fma(&self) -> bool {
        true
    }

    #[inline(always)]
    fn bits_like(&mut self, like: Number, bits: u64) -> Number {
        Number { bits, ..like }
    }

    #[inline(always)]
    fn unary(&mut self, op: UnaryInst, x: Number) -> Number {
        match x.scalar {
            Scalar::F32 => float_unary!(op, x.f32()).into(),
            Scalar::F64 => float_unary!(op, x.f64()).into(),
            Scalar::I32 | Scalar::I64 | Scalar::U8 => unreachable!("an operation of floats"),
        }
    }

    #[inline(always)]
    fn binary(&mut self, op: BinaryInst, x: Number, y: Number) -> Number {
        match x.scalar {
            Scalar::F32 => float_binary!(op, x.f32(), y.f32()).into(),
            Scalar::F64 => float_binary!(op, x.f64(), y.f64()).into(),
            Scalar::I32 => Number::from(integer_binary!(op, x.i32(), y.i32(), i32, u32)),
            Scalar::I64 => Number::from(integer_binary!(op, x.i64(), y.i64(), i64, u64)),
            Scalar::U8 => unreachable!("no function is of bytes"),
        }
    }

    #[inline(always)]
    fn mul_add(&mut self, x: Number, y: Number, z: Number) -> Number {
        match x.scalar {
            Scalar::F32 => x.f32().mul_add(y.f32(), z.f32()).into(),
            Scalar::F64 => x.f64().mul_add(y.f64(), z.f64()).into(),
            Scalar::I32 | Scalar::I64 | Scalar::U8 => unreachable!("an operation of floats"),
        }
    }

    #[inline(always)]
    fn compare(&mut self, op: CompareInst, x: Number, y: Number) -> bool {
        match x.scalar {
            Scalar::F32 => compare(op, x.f32(), y.f32()),
            Scalar::F64 => compare(op, x.f64(), y.f64()),
            Scalar::I32 => compare(op, x.i32(), y.i32()),
            Scalar::I64 => compare(op, x.i64(), y.i64()),
            Scalar::U8 => unreachable!("no function is of bytes"),
        }
    }

    #[inline(always)]
    fn mask(&mut self, op: MaskInst, x: bool, y: bool) -> bool {
        match op {
            MaskInst::And => x & y,
            MaskInst::Or => x | y,
            MaskInst::Xor => x ^ y,
        }
    }

    #[inline(always)]
    fn mask_not(&mut self, mask: bool) -> bool {
        !mask
    }

    #[inline(always)]
    fn select(&mut self, mask: bool, then: Number, otherwise: Number) -> Number {
        if mask { then } else { otherwise }
    }

    #[inline(always)]
    fn bitcast(&mut self, scalar: Scalar, x: Number) -> Number {
        Number { scalar, ..x }
    }

    #[inline(always)]
    fn to_f32(&mut self, x: Number) -> Number {
        (x.i32() as f32).into()
    }

    #[inline(always)]
    fn widened(&mut self, x: Number) -> Widened<Number> {
        Widened { low: f64::from(x.f32()).into(), high: None }
    }

    #[inline(always)]
    fn narrowed(&mut self, x: Widened<Number>) -> Number {
        (x.low.f64() as f32).into()
    }
}
