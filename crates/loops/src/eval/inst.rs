//! Instructions, lane by lane.

use crate::kernel::{
    BinaryInst, CompareInst, Half, Inst, Kernel, MaskInst, Reg, RegType, Scalar, UnaryInst,
};

use super::element::{Bits, Element, lane, lanes};
use crate::number::{self, float_binary, float_unary, integer_binary, integer_unary};

/// Evaluates an instruction that reads registers only. Its types are verified.
pub(super) fn pure(kernel: &Kernel, ty: RegType, inst: &Inst, registers: &[Bits]) -> Bits {
    let get = |reg: Reg| &registers[reg.0 as usize];
    let count = ty.lanes();
    match *inst {
        Inst::Const { bits } => constant(ty, bits),
        Inst::Splat(value) => splat(ty, get(value)),
        Inst::Lane { vector, lane } => {
            let size = element_size(ty);
            let mut bits = [0; 16];
            bits[..size].copy_from_slice(&get(vector)[usize::from(lane) * size..][..size]);
            bits
        }
        Inst::Unary(op, value) => unary(op, number(ty), count, get(value)),
        Inst::Binary(op, lhs, rhs) => binary(op, number(ty), count, get(lhs), get(rhs)),
        Inst::Fma(a, b, c) => fma(number(ty), count, get(a), get(b), get(c)),
        Inst::Compare(op, lhs, rhs) => {
            compare(op, number(kernel.reg_type(lhs)), count, get(lhs), get(rhs))
        }
        Inst::Mask(op, lhs, rhs) => mask(op, count, get(lhs), get(rhs)),
        Inst::MaskNot(value) => lanes(count, |at| 1 - get(value)[at]),
        Inst::Select(mask, then, otherwise) => {
            select(element_size(ty), get(mask), get(then), get(otherwise))
        }
        Inst::Convert(value) => convert(kernel.reg_type(value), number(ty), count, get(value)),
        Inst::Bitcast(value) => *get(value),
        Inst::Interleave(half, lhs, rhs) => interleave(element_size(ty), half, get(lhs), get(rhs)),
        Inst::Index { .. } | Inst::Load { .. } => {
            unreachable!("the machine evaluates what reads variables or memory")
        }
    }
}

/// The values of an affine expression, `step` apart.
pub(super) fn index(ty: RegType, first: i64, step: i64) -> Bits {
    let value = |at: usize| first.wrapping_add(step.wrapping_mul(at as i64));
    match number(ty) {
        Scalar::I64 => lanes(ty.lanes(), value),
        Scalar::I32 => lanes(ty.lanes(), |at| value(at) as i32),
        Scalar::F32 | Scalar::F64 | Scalar::U8 => unreachable!("verified indices are integers"),
    }
}

fn interleave(size: usize, half: Half, lhs: &Bits, rhs: &Bits) -> Bits {
    let first = match half {
        Half::Low => 0,
        Half::High => 8,
    };
    let mut bits = [0; 16];
    for (pair, at) in bits.chunks_exact_mut(2 * size).zip((first..).step_by(size)) {
        let (left, right) = pair.split_at_mut(size);
        left.copy_from_slice(&lhs[at..at + size]);
        right.copy_from_slice(&rhs[at..at + size]);
    }
    bits
}

/// The scalar of a register that holds numbers.
fn number(ty: RegType) -> Scalar {
    match ty {
        RegType::Number { scalar, .. } => scalar,
        RegType::Mask { .. } => unreachable!("verified operands are numbers"),
    }
}

/// Bytes of a lane in [`Bits`].
fn element_size(ty: RegType) -> usize {
    match ty {
        RegType::Number { scalar, .. } => scalar.size(),
        RegType::Mask { .. } => 1,
    }
}

fn constant(ty: RegType, bits: u64) -> Bits {
    let count = ty.lanes();
    match ty {
        RegType::Mask { .. } => lanes(count, |_| bits as u8),
        RegType::Number { scalar, .. } => match scalar {
            Scalar::F32 => lanes(count, |_| f32::from_bits(bits as u32)),
            Scalar::F64 => lanes(count, |_| f64::from_bits(bits)),
            Scalar::I32 => lanes(count, |_| bits as i32),
            Scalar::I64 => lanes(count, |_| bits as i64),
            Scalar::U8 => lanes(count, |_| bits as u8),
        },
    }
}

fn splat(ty: RegType, value: &Bits) -> Bits {
    let size = element_size(ty);
    let mut bits = [0; 16];
    for place in bits.chunks_exact_mut(size).take(usize::from(ty.lanes())) {
        place.copy_from_slice(&value[..size]);
    }
    bits
}

fn select(size: usize, mask: &Bits, then: &Bits, otherwise: &Bits) -> Bits {
    let mut bits = *otherwise;
    for (at, place) in bits.chunks_exact_mut(size).enumerate() {
        if mask[at] != 0 {
            place.copy_from_slice(&then[at * size..][..size]);
        }
    }
    bits
}

fn mask(op: MaskInst, count: u8, a: &Bits, b: &Bits) -> Bits {
    lanes(count, |at| match op {
        MaskInst::And => a[at] & b[at],
        MaskInst::Or => a[at] | b[at],
        MaskInst::Xor => a[at] ^ b[at],
    })
}

fn map<T: Element>(count: u8, a: &Bits, f: impl Fn(T) -> T) -> Bits {
    lanes(count, |at| f(lane(a, at)))
}

fn map2<T: Element>(count: u8, a: &Bits, b: &Bits, f: impl Fn(T, T) -> T) -> Bits {
    lanes(count, |at| f(lane(a, at), lane(b, at)))
}

fn unary(op: UnaryInst, scalar: Scalar, count: u8, a: &Bits) -> Bits {
    match scalar {
        Scalar::F32 => map(count, a, |x: f32| float_unary!(op, x)),
        Scalar::F64 => map(count, a, |x: f64| float_unary!(op, x)),
        Scalar::I32 => map(count, a, |x: i32| integer_unary!(op, x, x.wrapping_abs())),
        Scalar::I64 => map(count, a, |x: i64| integer_unary!(op, x, x.wrapping_abs())),
        Scalar::U8 => map(count, a, |x: u8| integer_unary!(op, x, x)),
    }
}

fn binary(op: BinaryInst, scalar: Scalar, count: u8, a: &Bits, b: &Bits) -> Bits {
    match scalar {
        Scalar::F32 => map2(count, a, b, |x: f32, y: f32| float_binary!(op, x, y)),
        Scalar::F64 => map2(count, a, b, |x: f64, y: f64| float_binary!(op, x, y)),
        Scalar::I32 => map2(count, a, b, |x: i32, y: i32| integer_binary!(op, x, y, i32, u32)),
        Scalar::I64 => map2(count, a, b, |x: i64, y: i64| integer_binary!(op, x, y, i64, u64)),
        Scalar::U8 => map2(count, a, b, |x: u8, y: u8| integer_binary!(op, x, y, u8, u8)),
    }
}

fn fma(scalar: Scalar, count: u8, a: &Bits, b: &Bits, c: &Bits) -> Bits {
    match scalar {
        Scalar::F32 => lanes(count, |at| lane::<f32>(a, at).mul_add(lane(b, at), lane(c, at))),
        Scalar::F64 => lanes(count, |at| lane::<f64>(a, at).mul_add(lane(b, at), lane(c, at))),
        Scalar::I32 | Scalar::I64 | Scalar::U8 => unreachable!("verified operands are floats"),
    }
}

fn compare(op: CompareInst, scalar: Scalar, count: u8, a: &Bits, b: &Bits) -> Bits {
    match scalar {
        Scalar::F32 => compare_as::<f32>(op, count, a, b),
        Scalar::F64 => compare_as::<f64>(op, count, a, b),
        Scalar::I32 => compare_as::<i32>(op, count, a, b),
        Scalar::I64 => compare_as::<i64>(op, count, a, b),
        Scalar::U8 => compare_as::<u8>(op, count, a, b),
    }
}

fn compare_as<T: Element + PartialOrd>(op: CompareInst, count: u8, a: &Bits, b: &Bits) -> Bits {
    lanes(count, |at| {
        let (x, y) = (lane::<T>(a, at), lane::<T>(b, at));
        u8::from(number::compare(op, x, y))
    })
}

/// Rust's `as` is the conversion of the loop IR: it saturates from floats with NaN to 0, wraps to
/// narrower integers, rounds to nearest and extends `u8` with zeros.
fn convert(from: RegType, to: Scalar, count: u8, a: &Bits) -> Bits {
    let from = match from {
        RegType::Mask { .. } => Scalar::U8,
        RegType::Number { scalar, .. } => scalar,
    };
    match from {
        Scalar::F32 => convert_from!(f32, to, count, a),
        Scalar::F64 => convert_from!(f64, to, count, a),
        Scalar::I32 => convert_from!(i32, to, count, a),
        Scalar::I64 => convert_from!(i64, to, count, a),
        Scalar::U8 => convert_from!(u8, to, count, a),
    }
}

macro_rules! convert_from {
    ($from:ty, $to:expr, $count:expr, $a:expr) => {
        match $to {
            Scalar::F32 => lanes($count, |at| lane::<$from>($a, at) as f32),
            Scalar::F64 => lanes($count, |at| lane::<$from>($a, at) as f64),
            Scalar::I32 => lanes($count, |at| lane::<$from>($a, at) as i32),
            Scalar::I64 => lanes($count, |at| lane::<$from>($a, at) as i64),
            Scalar::U8 => lanes($count, |at| lane::<$from>($a, at) as u8),
        }
    };
}

use convert_from;
