//! Numbers of twice the precision, as unevaluated sums of two floats.
//!
//! The error-free sum is Knuth's, the error-free product Dekker's or one of a fused multiply-add.

use super::arithmetic::Arithmetic;
use super::compound::Compound;
use crate::kernel::{BinaryInst, Scalar};

/// An unevaluated sum: the first is the sum rounded.
#[derive(Clone, Copy)]
pub(super) struct Double<R>(pub(super) R, pub(super) R);

/// Arithmetic of unevaluated sums.
pub(super) trait DoubleArithmetic: Arithmetic {
    /// Exact sum (Knuth).
    #[inline(always)]
    fn two_sum(&mut self, x: Self::Reg, y: Self::Reg) -> Double<Self::Reg> {
        let sum = self.add(x, y);
        let part = self.sub(sum, x);
        let rest = self.sub(sum, part);
        let lost_x = self.sub(x, rest);
        let lost_y = self.sub(y, part);
        Double(sum, self.add(lost_x, lost_y))
    }

    /// Exact sum where `|x| ≥ |y|` or `x` is 0 (Dekker).
    #[inline(always)]
    fn fast_two_sum(&mut self, x: Self::Reg, y: Self::Reg) -> Double<Self::Reg> {
        let sum = self.add(x, y);
        let part = self.sub(sum, x);
        Double(sum, self.sub(y, part))
    }

    /// Exact product; without a fused multiply-add, up to the rounding of its last term.
    #[inline(always)]
    fn two_product(&mut self, x: Self::Reg, y: Self::Reg) -> Double<Self::Reg> {
        let product = self.mul(x, y);
        if self.has_fma() {
            let minus = self.neg(product);
            return Double(product, self.mul_add(x, y, minus));
        }
        let ((xh, xl), (yh, yl)) = (self.halves(x), self.halves(y));
        let minus = self.neg(product);
        let mut error = self.mul_add(xh, yh, minus);
        error = self.mul_add(xh, yl, error);
        error = self.mul_add(xl, yh, error);
        Double(product, self.mul_add(xl, yl, error))
    }

    /// A number as the sum of two of half as many bits: by clearing the low ones.
    #[inline(always)]
    fn halves(&mut self, x: Self::Reg) -> (Self::Reg, Self::Reg) {
        let scalar = self.scalar(x);
        let bits = self.bits(x);
        let mask = if scalar == Scalar::F32 { 0xffff_f000 } else { 0xffff_ffff_f800_0000 };
        let mask = self.bits_like(bits, mask);
        let bits = self.binary(BinaryInst::And, bits, mask);
        let high = self.bitcast(scalar, bits);
        (high, self.sub(x, high))
    }

    #[inline(always)]
    fn double_sum(&mut self, x: Double<Self::Reg>, y: Double<Self::Reg>) -> Double<Self::Reg> {
        let sum = self.two_sum(x.0, y.0);
        let low = self.add(x.1, y.1);
        let low = self.add(sum.1, low);
        self.fast_two_sum(sum.0, low)
    }

    #[inline(always)]
    fn double_plus(&mut self, x: Double<Self::Reg>, y: Self::Reg) -> Double<Self::Reg> {
        let sum = self.two_sum(x.0, y);
        let low = self.add(sum.1, x.1);
        self.fast_two_sum(sum.0, low)
    }

    #[inline(always)]
    fn double_product(&mut self, x: Double<Self::Reg>, y: Double<Self::Reg>) -> Double<Self::Reg> {
        let product = self.two_product(x.0, y.0);
        let low = self.mul_add(x.0, y.1, product.1);
        let low = self.mul_add(x.1, y.0, low);
        self.fast_two_sum(product.0, low)
    }

    #[inline(always)]
    fn double_square(&mut self, x: Double<Self::Reg>) -> Double<Self::Reg> {
        self.double_product(x, x)
    }

    #[inline(always)]
    fn double_scaled(&mut self, x: Double<Self::Reg>, y: Self::Reg) -> Double<Self::Reg> {
        let product = self.two_product(x.0, y);
        let low = self.mul_add(x.1, y, product.1);
        self.fast_two_sum(product.0, low)
    }

    /// `x / y`: the quotient, and its remainder divided again.
    #[inline(always)]
    fn double_quotient(&mut self, x: Self::Reg, y: Double<Self::Reg>) -> Double<Self::Reg> {
        let quotient = self.div(x, y.0);
        let product = self.two_product(quotient, y.0);
        let rest = self.sub(x, product.0);
        let rest = self.sub(rest, product.1);
        let minus = self.neg(quotient);
        let rest = self.mul_add(minus, y.1, rest);
        let low = self.div(rest, y.0);
        self.fast_two_sum(quotient, low)
    }
}

impl<A: Arithmetic> DoubleArithmetic for A {}
