//! What instructions do to numbers of Rust, for both that compute with them: the evaluator, lane by
//! lane, and elementary functions on one lane.
//!
//! Macros, because the numbers have no trait in common that has these operations.

use crate::kernel::CompareInst;

macro_rules! float_unary {
    ($op:expr, $x:expr) => {
        match $op {
            UnaryInst::Neg => -$x,
            UnaryInst::Abs => $x.abs(),
            UnaryInst::Sqrt => $x.sqrt(),
            UnaryInst::Floor => $x.floor(),
            UnaryInst::Ceil => $x.ceil(),
            UnaryInst::Trunc => $x.trunc(),
            UnaryInst::Nearest => $x.round_ties_even(),
            UnaryInst::Not => unreachable!("verified operands are integers"),
        }
    };
}

macro_rules! integer_unary {
    ($op:expr, $x:expr, $abs:expr) => {
        match $op {
            UnaryInst::Neg => $x.wrapping_neg(),
            UnaryInst::Abs => $abs,
            UnaryInst::Not => !$x,
            UnaryInst::Sqrt
            | UnaryInst::Floor
            | UnaryInst::Ceil
            | UnaryInst::Trunc
            | UnaryInst::Nearest => unreachable!("verified operands are floats"),
        }
    };
}

macro_rules! float_binary {
    ($op:expr, $x:expr, $y:expr) => {
        match $op {
            BinaryInst::Add => $x + $y,
            BinaryInst::Sub => $x - $y,
            BinaryInst::Mul => $x * $y,
            BinaryInst::Div => $x / $y,
            BinaryInst::MinSelect => {
                if $x < $y {
                    $x
                } else {
                    $y
                }
            }
            BinaryInst::MaxSelect => {
                if $x > $y {
                    $x
                } else {
                    $y
                }
            }
            BinaryInst::Rem
            | BinaryInst::And
            | BinaryInst::Or
            | BinaryInst::Xor
            | BinaryInst::Shl
            | BinaryInst::ShrU
            | BinaryInst::ShrS => unreachable!("verified operands are integers"),
        }
    };
}

/// `$ty` is the lane's type and `$unsigned` the unsigned one of its width, to which amounts of
/// shifts are reduced.
macro_rules! integer_binary {
    ($op:expr, $x:expr, $y:expr, $ty:ty, $unsigned:ty) => {
        match $op {
            BinaryInst::Add => $x.wrapping_add($y),
            BinaryInst::Sub => $x.wrapping_sub($y),
            BinaryInst::Mul => $x.wrapping_mul($y),
            // All bits set is −1, and 255 of u8.
            BinaryInst::Div => {
                if $y == 0 {
                    !0
                } else {
                    $x.wrapping_div($y)
                }
            }
            BinaryInst::Rem => {
                if $y == 0 {
                    $x
                } else {
                    $x.wrapping_rem($y)
                }
            }
            BinaryInst::MinSelect => $x.min($y),
            BinaryInst::MaxSelect => $x.max($y),
            BinaryInst::And => $x & $y,
            BinaryInst::Or => $x | $y,
            BinaryInst::Xor => $x ^ $y,
            BinaryInst::Shl => $x.wrapping_shl(($y as $unsigned % <$ty>::BITS as $unsigned) as u32),
            BinaryInst::ShrU => ($x as $unsigned)
                .wrapping_shr(($y as $unsigned % <$ty>::BITS as $unsigned) as u32)
                as $ty,
            BinaryInst::ShrS => {
                $x.wrapping_shr(($y as $unsigned % <$ty>::BITS as $unsigned) as u32)
            }
        }
    };
}

/// Whether two numbers of one type compare so.
#[inline(always)]
pub(crate) fn compare<T: PartialOrd>(op: CompareInst, x: T, y: T) -> bool {
    match op {
        CompareInst::Eq => x == y,
        CompareInst::Ne => x != y,
        CompareInst::Lt => x < y,
        CompareInst::Le => x <= y,
        CompareInst::Gt => x > y,
        CompareInst::Ge => x >= y,
    }
}

pub(crate) use {float_binary, float_unary, integer_binary, integer_unary};
