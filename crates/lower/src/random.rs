//! Random elements: Threefry-2×32 on lanes of 32 bits.
//!
//! The function is [`kilngrad_ir::random`]'s, bit for bit. The key depends on the seed, the stream
//! and the counter, all of which are the same for every element, so hoisting leaves only the last
//! encipherment in the loop. Elements of 32 bits take four indices at a time. An element of 64
//! bits needs both words side by side, and the loop IR has no shuffles; so each index is enciphered
//! in two neighbouring lanes, and one word is kept of each.

use kilngrad_ir::DType;
use kilngrad_ir::random::{PARITY, ROTATIONS};
use kilngrad_loops::math::Arithmetic;
use kilngrad_loops::{Affine, BinaryInst, Reg, Scalar};

use crate::code::Code;
use crate::lanes::{Lanes, memory_scalar, split_lane};
use crate::math::u53_to_f64;

/// Which elements of which stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) stream: u64,
    /// The logical index.
    pub(crate) at: Affine,
    /// Whether every index of the tensor fits 32 bits.
    pub(crate) short: bool,
}

type Words = [Reg; 2];

/// Elements of `dtype` under `seed` and `counter` (scalars, `i64`).
pub(crate) fn random(
    code: &mut Code<'_>,
    dtype: DType,
    draw: &Draw,
    seed: Reg,
    counter: Reg,
) -> Lanes {
    let key = key(code, draw.stream, seed, counter);
    let at = &draw.at;
    let (_, step) = split_lane(at);
    if step == 0 || code.target.lanes == 1 {
        let index = code.index(Scalar::I64, at).regs()[0];
        return Lanes::Uniform(element(code, dtype, key, index));
    }
    match memory_scalar(dtype).size() {
        8 => code.index(Scalar::I64, at).map(|index| element(code, dtype, key, index)),
        _ => short_elements(code, dtype, key, draw),
    }
}

fn key(code: &mut Code<'_>, stream: u64, seed: Reg, counter: Reg) -> Words {
    let seed = words(code, seed);
    let stream = code.b.const_int(Scalar::I64, stream as i64, 1);
    let stream = words(code, stream);
    let first = threefry(code, seed, stream);
    let counter = words(code, counter);
    threefry(code, first, counter)
}

/// The low and the high word of a scalar `i64`.
fn words(code: &mut Code<'_>, value: Reg) -> Words {
    let high = code.shift(BinaryInst::ShrU, value, 32);
    [code.convert(Scalar::I32, value), code.convert(Scalar::I32, high)]
}

/// One element from its index as an `i64`: scalar, or two lanes of an element of 64 bits.
fn element(code: &mut Code<'_>, dtype: DType, key: Words, index: Reg) -> Reg {
    if code.ty(index).lanes() == 1 {
        let counter = words(code, index);
        let [low, high] = threefry(code, key, counter);
        return match dtype {
            DType::F32 => unit_f32(code, low),
            DType::I32 => low,
            DType::F64 | DType::I64 | DType::U8 | DType::Bool => {
                let both = join(code, low, high);
                wide_element(code, dtype, both)
            }
        };
    }
    let counter = twice(code, index);
    let ty = code.ty(counter[0]);
    let key = key.map(|word| code.splat(ty, word));
    let [low, high] = threefry(code, key, counter);
    let (low, high) = (code.bitcast(Scalar::I64, low), code.bitcast(Scalar::I64, high));
    let low_half = code.int_like(low, 0xffff_ffff);
    let low = code.binary(BinaryInst::And, low, low_half);
    let high_half = code.bits_like(high, 0xffff_ffff_0000_0000);
    let high = code.binary(BinaryInst::And, high, high_half);
    let both = code.binary(BinaryInst::Or, low, high);
    wide_element(code, dtype, both)
}

/// Each word of the lanes of an `i64` vector, twice: in both halves of its lane.
fn twice(code: &mut Code<'_>, index: Reg) -> Words {
    let high = code.shift(BinaryInst::ShrU, index, 32);
    let up = code.shift(BinaryInst::Shl, index, 32);
    let low_half = code.int_like(index, 0xffff_ffff);
    let low = code.binary(BinaryInst::And, index, low_half);
    let low = code.binary(BinaryInst::Or, low, up);
    let high_up = code.shift(BinaryInst::Shl, high, 32);
    let high = code.binary(BinaryInst::Or, high, high_up);
    [code.bitcast(Scalar::I32, low), code.bitcast(Scalar::I32, high)]
}

/// `low + 2³²·high` of scalar words.
fn join(code: &mut Code<'_>, low: Reg, high: Reg) -> Reg {
    let (low, high) = (code.convert(Scalar::I64, low), code.convert(Scalar::I64, high));
    let low_half = code.int_like(low, 0xffff_ffff);
    let low = code.binary(BinaryInst::And, low, low_half);
    let high = code.shift(BinaryInst::Shl, high, 32);
    code.binary(BinaryInst::Or, low, high)
}

fn wide_element(code: &mut Code<'_>, dtype: DType, both: Reg) -> Reg {
    match dtype {
        DType::F64 => {
            let whole = code.shift(BinaryInst::ShrU, both, 11);
            let whole = u53_to_f64(code, whole);
            let unit = code.float_like(whole, 1.0 / (1u64 << 53) as f64);
            code.mul(whole, unit)
        }
        DType::I64 | DType::F32 | DType::I32 | DType::U8 | DType::Bool => both,
    }
}

/// Four elements of 32 bits.
fn short_elements(code: &mut Code<'_>, dtype: DType, key: Words, draw: &Draw) -> Lanes {
    let low = code.index(Scalar::I32, &draw.at);
    let high = if draw.short {
        Lanes::Uniform(code.b.const_int(Scalar::I32, 0, 1))
    } else {
        let index = code.index(Scalar::I64, &draw.at);
        let high = index.map(|index| code.shift(BinaryInst::ShrU, index, 32));
        code.cast(DType::I64, DType::I32, &high)
    };
    // Four lanes of 32 bits are one register.
    let high = code.packed(DType::I32, &high)[0];
    low.map(|low| {
        let ty = code.ty(low);
        let key = key.map(|word| code.splat(ty, word));
        let [first, _] = threefry(code, key, [low, high]);
        if dtype == DType::F32 { unit_f32(code, first) } else { first }
    })
}

/// `(word >> 8)·2⁻²⁴`.
fn unit_f32(code: &mut Code<'_>, word: Reg) -> Reg {
    let whole = code.shift(BinaryInst::ShrU, word, 8);
    let whole = code.convert(Scalar::F32, whole);
    let unit = code.float_like(whole, 1.0 / f64::from(1u32 << 24));
    code.mul(whole, unit)
}

/// Threefry-2×32 with 20 rounds.
fn threefry(code: &mut Code<'_>, key: Words, counter: Words) -> Words {
    let parity = code.int_like(key[0], i64::from(PARITY as i32));
    let mixed = code.binary(BinaryInst::Xor, key[0], key[1]);
    let schedule = [key[0], key[1], code.binary(BinaryInst::Xor, mixed, parity)];
    let mut x = [code.add(counter[0], key[0]), code.add(counter[1], key[1])];
    for group in 0..5 {
        for round in 0..4 {
            x[0] = code.add(x[0], x[1]);
            let turned = rotate(code, x[1], ROTATIONS[(4 * group + round) % 8]);
            x[1] = code.binary(BinaryInst::Xor, turned, x[0]);
        }
        let next = group + 1;
        x[0] = code.add(x[0], schedule[next % 3]);
        // The number of the group is added to the key, which hoists.
        let number = code.int_like(key[0], next as i64);
        let numbered = code.add(schedule[(next + 1) % 3], number);
        x[1] = code.add(x[1], numbered);
    }
    x
}

fn rotate(code: &mut Code<'_>, x: Reg, amount: u32) -> Reg {
    let left = code.shift(BinaryInst::Shl, x, amount);
    let right = code.shift(BinaryInst::ShrU, x, 32 - amount);
    code.binary(BinaryInst::Or, left, right)
}
