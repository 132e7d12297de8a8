//! Arguments of trigonometric functions as quarter turns and a rest: Payne and Hanek, "Radian
//! Reduction for Trigonometric Functions" (1983), in floating point.
//!
//! `x·2/π` is the sum of `x`'s products with parts of `2/π`, each exact as one or two numbers, and
//! multiples of 4 do not count: a product is reduced by them before it is added. So the parts
//! whose products are whole multiples of 4 may be left out, and so may those that are too small to
//! matter, however close to a multiple of `π/2` the argument is (for `f64` no closer than 2⁻⁶¹).
//! One way serves arguments of every size, without a branch.

use super::arithmetic::Arithmetic;
use super::compound::{Compound, format};
use super::double::{Double, DoubleArithmetic};
use crate::kernel::{BinaryInst, CompareInst, UnaryInst};

/// An argument as `quarters·π/2 + rest`, with `|rest| ≤ π/4`.
pub(super) struct Quadrant<R> {
    /// Integers, of which the low two bits count.
    pub(super) quarters: R,
    /// The rest in radians.
    pub(super) rest: Double<R>,
}

/// Bits of a part of [`TWO_OVER_PI`].
const PART: u32 = 48;

/// The last parts are too small for `f64`: all are held this power of two times larger, and the
/// argument is made as much smaller.
const SCALE: i32 = 256;

/// How many parts count for one argument.
const WINDOW: usize = 5;

/// `2/π` in parts of 48 bits, scaled.
const TWO_OVER_PI: [f64; 25] = parts(
    PART,
    SCALE,
    [
        0xa2f9_836e_4e44,
        0x1529_fc27_57d1,
        0xf534_ddc0_db62,
        0x9599_3c43_9041,
        0xfe51_63ab_debb,
        0xc561_b724_6e3a,
        0x424d_d2e0_0649,
        0x2eea_09d1_921c,
        0xfe1d_eb1c_b129,
        0xa73e_e882_35f5,
        0x2ebb_4484_e99c,
        0x7026_b45f_7e41,
        0x3991_d639_8353,
        0x39f4_9c84_5f8b,
        0xbdf9_283b_1ff8,
        0x97ff_de05_980f,
        0xef2f_118b_5a0a,
        0x6d1f_6d36_7ecf,
        0x27cb_09b7_4f46,
        0x3f66_9e5f_ea2d,
        0x7527_bac7_ebe5,
        0xf17b_3d07_39f7,
        0x8a52_92ea_6bfb,
        0x5fb1_1f8d_5d08,
        0x5603_3046_fc7b,
    ],
);

/// `2/π` in parts of 26 bits: for `f32`, whose products with them are single numbers.
const TWO_OVER_PI_SHORT: [f64; 8] = parts(
    26,
    0,
    [
        0x28b_e60d, 0x2e4_e441, 0x14a_7f09, 0x357_d1f5, 0x0d3_7703, 0x1b6_2959, 0x24f_10e4,
        0x041_fe51,
    ],
);

/// Digits of so many bits after the point, the first of them first, times `2^scale`.
const fn parts<const N: usize>(bits: u32, scale: i32, digits: [u64; N]) -> [f64; N] {
    let mut parts = [0.0; N];
    let mut at = 0;
    while at < N {
        let exponent = scale - bits as i32 * (at as i32 + 1);
        let power = f64::from_bits(((1023 + exponent) as u64) << 52);
        parts[at] = digits[at] as f64 * power;
        at += 1;
    }
    parts
}

/// `π/2 − FRAC_PI_2`.
const HALF_PI_LOW: f64 = 6.123_233_995_736_766e-17;

/// Of an argument in `f64`. An infinite one has NaN for a rest.
#[inline(always)]
pub(super) fn reduce<A: Arithmetic>(code: &mut A, x: A::Reg) -> Quadrant<A::Reg> {
    let parts = window(code, x);
    let scaled = code.scale(x, 2f64.powi(-SCALE));
    let mut products = [Double(x, x); WINDOW];
    for (product, part) in products.iter_mut().zip(parts) {
        *product = code.two_product(scaled, part);
    }
    // Magnitudes are below 2¹⁰³, 2⁵⁵, 2⁷, 2⁻⁴¹, 2⁻⁸⁹, and second numbers 2⁵³ times smaller.
    let mut sum = Turns::new(code, products[0].0);
    sum.add(code, products[0].1, true);
    sum.add(code, products[1].0, true);
    sum.settle(code);
    sum.add(code, products[1].1, true);
    sum.add(code, products[2].0, true);
    sum.settle(code);
    sum.add(code, products[2].1, false);
    sum.add(code, products[3].0, false);
    let smallest = code.add(products[3].1, products[4].0);
    sum.low = code.add(sum.low, smallest);
    sum.finish(code, x)
}

/// Of an argument in `f64` that an `f32` holds.
#[inline(always)]
pub(super) fn reduce_f32<A: Arithmetic>(code: &mut A, x: A::Reg) -> Quadrant<A::Reg> {
    // Products of 24 and 26 bits are exact, and so are all sums that later ones may cancel.
    let mut whole = code.float_like(x, 0.0);
    let mut turns = whole;
    for (index, &part) in TWO_OVER_PI_SHORT.iter().enumerate() {
        let product = code.scale(x, part);
        // From part 5 on products are below ¼.
        if index < 5 {
            let product = modulo_four(code, product);
            turns = code.add(turns, product);
            let nearest = code.unary(UnaryInst::Nearest, turns);
            turns = code.sub(turns, nearest);
            whole = code.add(whole, nearest);
        } else {
            turns = code.add(turns, product);
        }
    }
    let nearest = code.unary(UnaryInst::Nearest, turns);
    let turns = code.sub(turns, nearest);
    let whole = code.add(whole, nearest);
    let rest = code.scale(turns, std::f64::consts::FRAC_PI_2);
    let zero = code.float_like(x, 0.0);
    unturned(code, x, whole, Double(rest, zero))
}

/// Quarter turns being added up: `whole + high + low`.
struct Turns<R> {
    whole: R,
    high: R,
    low: R,
}

impl<R: Copy> Turns<R> {
    #[inline(always)]
    fn new<A: Arithmetic<Reg = R>>(code: &mut A, product: R) -> Turns<R> {
        let zero = code.float_like(product, 0.0);
        Turns { whole: zero, high: modulo_four(code, product), low: zero }
    }

    #[inline(always)]
    fn add<A: Arithmetic<Reg = R>>(&mut self, code: &mut A, product: R, large: bool) {
        let product = if large { modulo_four(code, product) } else { product };
        let sum = code.two_sum(self.high, product);
        self.high = sum.0;
        self.low = code.add(self.low, sum.1);
    }

    /// Takes whole turns out, so that `low` is small beside what is left.
    #[inline(always)]
    fn settle<A: Arithmetic<Reg = R>>(&mut self, code: &mut A) {
        let nearest = code.unary(UnaryInst::Nearest, self.high);
        let rest = code.sub(self.high, nearest);
        self.whole = code.add(self.whole, nearest);
        Double(self.high, self.low) = code.two_sum(rest, self.low);
    }

    #[inline(always)]
    fn finish<A: Arithmetic<Reg = R>>(mut self, code: &mut A, x: R) -> Quadrant<R> {
        self.settle(code);
        let half_pi = Double(
            code.float_like(x, std::f64::consts::FRAC_PI_2),
            code.float_like(x, HALF_PI_LOW),
        );
        let rest = code.double_product(Double(self.high, self.low), half_pi);
        unturned(code, x, self.whole, rest)
    }
}

/// The quadrant, but the argument itself where it is within `π/4` of 0.
#[inline(always)]
fn unturned<A: Arithmetic>(
    code: &mut A,
    x: A::Reg,
    whole: A::Reg,
    rest: Double<A::Reg>,
) -> Quadrant<A::Reg> {
    let magnitude = code.abs(x);
    let small = code.test(CompareInst::Le, magnitude, std::f64::consts::FRAC_PI_4);
    let zero = code.float_like(x, 0.0);
    let whole = code.select(small, zero, whole);
    let high = code.select(small, x, rest.0);
    let low = code.select(small, zero, rest.1);
    let magic = format(code, x).magic;
    let rounded = code.offset(whole, magic);
    Quadrant { quarters: code.bits(rounded), rest: Double(high, low) }
}

/// `x` less a multiple of 4, exactly, between −2 and 2.
#[inline(always)]
fn modulo_four<A: Arithmetic>(code: &mut A, x: A::Reg) -> A::Reg {
    let quarter = code.scale(x, 0.25);
    let nearest = code.unary(UnaryInst::Nearest, quarter);
    let multiple = code.scale(nearest, 4.0);
    code.sub(x, multiple)
}

/// The parts of `2/π`, scaled, that count for `x`: from the first whose product with `x` is not a
/// multiple of 4 on. A part is chosen by the bits of its index, so the choice takes 40 selections
/// and not one a part.
#[inline(always)]
fn window<A: Arithmetic>(code: &mut A, x: A::Reg) -> [A::Reg; WINDOW] {
    // x is a multiple of 2^(e − 52), so its product with part i is one of 2^(e − 100 − 48·i).
    const LEAST: i32 = 54;
    let magnitude = code.abs(x);
    let least = code.float_like(x, 2f64.powi(LEAST));
    let magnitude = code.binary(BinaryInst::MaxSelect, magnitude, least);
    let bits = code.bits(magnitude);
    let exponent = code.shift(BinaryInst::ShrU, bits, 52);
    let bias = code.int_like(bits, i64::from(1023 + LEAST));
    let exponent = code.sub(exponent, bias);
    // A division by 48, of numbers below 1,000.
    let reciprocal = code.int_like(bits, (1 << 16) / i64::from(PART) + 1);
    let scaled = code.mul(exponent, reciprocal);
    let index = code.shift(BinaryInst::ShrU, scaled, 16);

    let mut parts = [x; 25];
    for (register, &part) in parts.iter_mut().zip(&TWO_OVER_PI) {
        *register = code.float_like(x, part);
    }
    // The digits after one add up to less than it, so fewer parts are left to choose from.
    let parts: [A::Reg; 15 + WINDOW] = later(code, index, 16, parts);
    let parts: [A::Reg; 7 + WINDOW] = later(code, index, 8, parts);
    let parts: [A::Reg; 3 + WINDOW] = later(code, index, 4, parts);
    let parts: [A::Reg; 1 + WINDOW] = later(code, index, 2, parts);
    later(code, index, 1, parts)
}

/// The first of some parts, or those that are `digit` later where the index has that digit.
#[inline(always)]
fn later<A: Arithmetic, const FROM: usize, const TO: usize>(
    code: &mut A,
    index: A::Reg,
    digit: usize,
    parts: [A::Reg; FROM],
) -> [A::Reg; TO] {
    let bit = code.int_like(index, digit as i64);
    let bit = code.binary(BinaryInst::And, index, bit);
    let zero = code.int_like(index, 0);
    let stays = code.compare(CompareInst::Eq, bit, zero);
    // Where there are none so much later, the index does not have the digit.
    let mut chosen = *parts.first_chunk().expect("no more are chosen than there are");
    for (chosen, &further) in chosen.iter_mut().zip(&parts[digit..]) {
        *chosen = code.select(stays, *chosen, further);
    }
    chosen
}

impl<R: Copy> Quadrant<R> {
    /// Whether the number of quarters, and `more`, has this bit.
    #[inline(always)]
    pub(super) fn has<A: Arithmetic<Reg = R>>(&self, code: &mut A, bit: i64, more: i64) -> A::Mask {
        let more = code.int_like(self.quarters, more);
        let quarters = code.add(self.quarters, more);
        let digit = code.int_like(quarters, bit);
        let digit = code.binary(BinaryInst::And, quarters, digit);
        let zero = code.int_like(quarters, 0);
        code.compare(CompareInst::Ne, digit, zero)
    }
}
