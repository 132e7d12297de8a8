//! Operands drawn where a function has something to get wrong.

use std::f64::consts::{FRAC_PI_4, LN_2};

use kilngrad_ir::random::{Key, threefry};

use super::double::Exact;
use super::functions::{Function, Operands};
use super::native::Float;
use super::tally::Tally;

/// Numbers that do not depend on who draws them.
#[derive(Debug)]
pub struct Stream {
    key: Key,
    drawn: u32,
}

impl Stream {
    /// The stream of this number.
    pub fn new(number: u64) -> Stream {
        Stream { key: [number as u32, (number >> 32) as u32], drawn: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [low, high] = threefry(self.key, [self.drawn, 0x00ac_c11a]);
        self.drawn += 1;
        u64::from(low) | u64::from(high) << 32
    }

    /// One of `count`.
    fn below(&mut self, count: usize) -> usize {
        (self.bits() % count as u64) as usize
    }

    /// A number between the ends.
    fn between(&mut self, (low, high): (f64, f64)) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 * 2f64.powi(-53))
    }

    /// A number with the sign and the significand of any, and an exponent of `places` or more
    /// below 1.
    fn small(&mut self, places: usize) -> f64 {
        let exponent = -(self.below(places) as i32) - 1;
        let sign = if self.below(2) == 0 { 1.0 } else { -1.0 };
        sign * self.between((1.0, 2.0)) * 2f64.powi(exponent)
    }
}

/// A float format as measurements see it.
pub trait Sample: Float {
    /// What results are compared with.
    type Reference;

    /// The exponents of two that powers are drawn to have.
    const EXPONENTS: (f64, f64);

    /// The number nearest to `x`.
    fn nearest(x: f64) -> Self;

    /// Any of the format's bit patterns.
    fn of_bits(bits: u64) -> Self;

    /// What the results for these operands are compared with.
    fn reference(function: &Function, x: Self, y: Self) -> Self::Reference;

    /// Counts a result.
    fn add(
        tally: &mut Tally,
        function: &Function,
        operands: (f64, f64),
        found: Self,
        reference: &Self::Reference,
    );
}

impl Sample for f32 {
    type Reference = f64;

    const EXPONENTS: (f64, f64) = (-152.0, 129.0);

    fn nearest(x: f64) -> f32 {
        x as f32
    }

    fn of_bits(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }

    #[inline]
    fn reference(function: &Function, x: f32, y: f32) -> f64 {
        (function.reference)(x.into(), y.into())
    }

    #[inline]
    fn add(tally: &mut Tally, of: &Function, at: (f64, f64), found: f32, reference: &f64) {
        tally.add_f32(of, at, found, *reference);
    }
}

impl Sample for f64 {
    type Reference = Option<Exact>;

    const EXPONENTS: (f64, f64) = (-1080.0, 1026.0);

    fn nearest(x: f64) -> f64 {
        x
    }

    fn of_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }

    fn reference(function: &Function, x: f64, y: f64) -> Option<Exact> {
        (function.exact)(x, y)
    }

    fn add(tally: &mut Tally, of: &Function, at: (f64, f64), found: f64, exact: &Option<Exact>) {
        tally.add_f64(of, at, found, exact.as_ref());
    }
}

/// Operands for a function; the second is 1 where it takes one.
pub fn draw<T: Sample>(function: &Function, stream: &mut Stream) -> (T, T) {
    match function.operands {
        Operands::One(ranges) => (operand(ranges, stream), T::nearest(1.0)),
        Operands::Power => power(stream),
        Operands::Point => point(stream),
    }
}

fn operand<T: Sample>(ranges: &[(f64, f64)], stream: &mut Stream) -> T {
    match stream.below(8) {
        0 => T::of_bits(stream.bits()),
        1 => T::nearest(stream.small(60)),
        2 => {
            // Near multiples of ½ ln 2 and of ¼ π, where a reduction takes the next multiple.
            let count = stream.between((-2150.0, 2050.0)).round();
            let near = 1.0 + stream.small(50) * 1e-3;
            let step = [LN_2 / 2.0, FRAC_PI_4][stream.below(2)];
            T::nearest(count * step * near)
        }
        _ => {
            let range = ranges[stream.below(ranges.len())];
            T::nearest(stream.between(range))
        }
    }
}

/// The coordinates of a point, most of them with an angle that is not close to a right one's multiple.
fn point<T: Sample>(stream: &mut Stream) -> (T, T) {
    match stream.below(4) {
        0 => (T::of_bits(stream.bits()), T::of_bits(stream.bits())),
        1 => (T::nearest(stream.between((-3.0, 3.0))), T::nearest(stream.between((-3.0, 3.0)))),
        2 => {
            let size = 2f64.powf(stream.between(T::EXPONENTS) / 1.01);
            let (height, width) = (stream.small(30) * size, stream.between((-1.0, 1.0)) * size);
            (T::nearest(height), T::nearest(width))
        }
        _ => (T::nearest(stream.small(60)), T::nearest(stream.small(60))),
    }
}

/// A base and an exponent, most of them with a power in range.
fn power<T: Sample>(stream: &mut Stream) -> (T, T) {
    let base = match stream.below(6) {
        0 => return (T::of_bits(stream.bits()), T::of_bits(stream.bits())),
        1 => {
            let whole = stream.between((-40.0, 40.0)).round();
            return (T::nearest(stream.between((-8.0, 8.0))), T::nearest(whole));
        }
        2 => T::nearest(2f64.powf(stream.between(T::EXPONENTS) / 1.01)),
        3 => T::nearest(1.0 + stream.small(30)),
        _ => T::nearest(stream.between((0.25, 4.0))),
    };
    let size: f64 = base.into();
    (base, T::nearest(stream.between(T::EXPONENTS) / libm::log2(size.abs())))
}
