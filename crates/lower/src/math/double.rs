//! Numbers of twice the precision, as unevaluated sums of two floats.
//!
//! The error-free sum is Knuth's, the error-free product Dekker's or one of a fused multiply-add.

use kilngrad_loops::{BinaryInst, Reg, Scalar};

use crate::code::Code;

/// An unevaluated sum: the first is the sum rounded.
#[derive(Clone, Copy)]
pub(super) struct Double(pub(super) Reg, pub(super) Reg);

/// Arithmetic of unevaluated sums.
impl Code<'_> {
    /// Exact sum (Knuth).
    pub(super) fn two_sum(&mut self, x: Reg, y: Reg) -> Double {
        let sum = self.add(x, y);
        let part = self.sub(sum, x);
        let rest = self.sub(sum, part);
        let lost_x = self.sub(x, rest);
        let lost_y = self.sub(y, part);
        Double(sum, self.add(lost_x, lost_y))
    }

    /// Exact sum where `|x| ≥ |y|` or `x` is 0 (Dekker).
    pub(super) fn fast_two_sum(&mut self, x: Reg, y: Reg) -> Double {
        let sum = self.add(x, y);
        let part = self.sub(sum, x);
        Double(sum, self.sub(y, part))
    }

    /// Exact product; without a fused multiply-add, up to the rounding of its last term.
    pub(super) fn two_product(&mut self, x: Reg, y: Reg) -> Double {
        let product = self.mul(x, y);
        if self.target.fma {
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
    pub(super) fn halves(&mut self, x: Reg) -> (Reg, Reg) {
        let scalar = self.scalar(x);
        let bits = self.bits(x);
        let mask = if scalar == Scalar::F32 { 0xffff_f000 } else { 0xffff_ffff_f800_0000 };
        let mask = self.bits_like(bits, mask);
        let bits = self.binary(BinaryInst::And, bits, mask);
        let high = self.bitcast(scalar, bits);
        (high, self.sub(x, high))
    }

    pub(super) fn double_sum(&mut self, x: Double, y: Double) -> Double {
        let sum = self.two_sum(x.0, y.0);
        let low = self.add(x.1, y.1);
        let low = self.add(sum.1, low);
        self.fast_two_sum(sum.0, low)
    }

    pub(super) fn double_plus(&mut self, x: Double, y: Reg) -> Double {
        let sum = self.two_sum(x.0, y);
        let low = self.add(sum.1, x.1);
        self.fast_two_sum(sum.0, low)
    }

    pub(super) fn double_product(&mut self, x: Double, y: Double) -> Double {
        let product = self.two_product(x.0, y.0);
        let low = self.mul_add(x.0, y.1, product.1);
        let low = self.mul_add(x.1, y.0, low);
        self.fast_two_sum(product.0, low)
    }

    pub(super) fn double_square(&mut self, x: Double) -> Double {
        self.double_product(x, x)
    }

    pub(super) fn double_scaled(&mut self, x: Double, y: Reg) -> Double {
        let product = self.two_product(x.0, y);
        let low = self.mul_add(x.1, y, product.1);
        self.fast_two_sum(product.0, low)
    }

    /// `x / y`: the quotient, and its remainder divided again.
    pub(super) fn double_quotient(&mut self, x: Reg, y: Double) -> Double {
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
