//! Rules kernel_k5 and kernel_k6: the types of instructions.

use crate::kernel::{BinaryInst, Inst, Reg, RegType, Scalar, UnaryInst};

use super::{Problem, Rule};

/// Checks that `inst` can define a register of type `result`. `type_of` refuses registers that
/// may not be used; `uniform` tells whether a register's lanes are known to be equal.
pub(super) fn check(
    result: RegType,
    inst: &Inst,
    type_of: &dyn Fn(Reg) -> Result<RegType, Problem>,
    uniform: &dyn Fn(Reg) -> bool,
) -> Result<(), Problem> {
    let same = |reg: Reg, expected: RegType| -> Result<(), Problem> {
        expect(type_of(reg)? == expected, || format!("{reg} of type {expected}"), type_of(reg)?)
    };
    match *inst {
        Inst::Const { bits } => match result {
            RegType::Number { .. } => Ok(()),
            RegType::Mask { .. } => {
                expect(bits <= 1, || "a mask constant 0 or 1".into(), format!("{bits:#x}"))
            }
        },
        Inst::Index { .. } => expect(is_index(result), || "an i64 or i32 index".into(), result),
        // The buffer's scalar is compared where buffers are known.
        Inst::Load { .. } => Ok(()),
        Inst::Splat(value) => splat(result, type_of(value)?),
        Inst::Lane { vector, lane } => {
            let from = type_of(vector)?;
            let fits = matches!(
                (result, from),
                (RegType::Number { scalar, lanes: 1 }, RegType::Number { scalar: of, lanes })
                    if scalar == of && lanes > 1 && lane < lanes
            );
            expect(fits, || format!("lane {lane} of a vector of {result}"), from)
        }
        Inst::Unary(op, value) => {
            same(value, result)?;
            expect(unary_takes(op, result), || format!("an operand that {op} takes"), result)
        }
        Inst::Binary(op, lhs, rhs) => {
            same(lhs, result)?;
            same(rhs, result)?;
            expect(binary_takes(op, result), || format!("operands that {op} takes"), result)?;
            if is_shift(op) && result.lanes() > 1 && !uniform(rhs) {
                let message = format!("expected a constant or a splat as amount, found {rhs}");
                return Err((Rule::VectorShifts, message));
            }
            Ok(())
        }
        Inst::Fma(a, b, c) => {
            [a, b, c].into_iter().try_for_each(|reg| same(reg, result))?;
            expect(is_float(result), || "floats".into(), result)
        }
        Inst::Compare(_, lhs, rhs) => {
            let ty = type_of(lhs)?;
            same(rhs, ty)?;
            expect(matches!(ty, RegType::Number { .. }), || "numbers".into(), ty)?;
            expect(result == ty.mask(), || format!("a result of type {}", ty.mask()), result)
        }
        Inst::Mask(_, lhs, rhs) => {
            same(lhs, result)?;
            same(rhs, result)?;
            expect(is_mask(result), || "masks".into(), result)
        }
        Inst::MaskNot(value) => {
            same(value, result)?;
            expect(is_mask(result), || "a mask".into(), result)
        }
        Inst::Select(mask, then, otherwise) => {
            same(mask, result.mask())?;
            same(then, result)?;
            same(otherwise, result)
        }
        Inst::Convert(value) => {
            let from = type_of(value)?;
            expect(converts(from, result), || format!("a type that converts to {result}"), from)
        }
        Inst::Bitcast(value) => {
            let from = type_of(value)?;
            let fits = matches!((bytes(from), bytes(result)), (Some(from), Some(to)) if from == to);
            expect(fits, || format!("a number of the size of {result}"), from)
        }
        Inst::Interleave(_, lhs, rhs) => {
            same(lhs, result)?;
            same(rhs, result)?;
            let fits = matches!(result, RegType::Number { lanes: 2.., .. });
            expect(fits, || "vectors of numbers".into(), result)
        }
    }
}

fn expect(
    holds: bool,
    expected: impl Fn() -> String,
    found: impl std::fmt::Display,
) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err((Rule::Types, format!("expected {}, found {found}", expected())))
}

fn splat(result: RegType, from: RegType) -> Result<(), Problem> {
    let fits = match (result, from) {
        (RegType::Number { scalar, lanes }, RegType::Number { scalar: of, lanes: 1 }) => {
            scalar == of && lanes > 1
        }
        (RegType::Mask { lanes, .. }, RegType::Mask { lanes: 1, .. }) => lanes > 1,
        (RegType::Number { .. } | RegType::Mask { .. }, _) => false,
    };
    expect(fits, || format!("a scalar to fill a vector {result}"), from)
}

fn is_float(ty: RegType) -> bool {
    matches!(ty, RegType::Number { scalar, .. } if scalar.is_float())
}

fn is_integer(ty: RegType) -> bool {
    matches!(ty, RegType::Number { scalar, .. } if !scalar.is_float())
}

fn is_mask(ty: RegType) -> bool {
    matches!(ty, RegType::Mask { .. })
}

fn is_index(ty: RegType) -> bool {
    matches!(ty, RegType::Number { scalar: Scalar::I32 | Scalar::I64, .. })
}

fn is_shift(op: BinaryInst) -> bool {
    match op {
        BinaryInst::Shl | BinaryInst::ShrU | BinaryInst::ShrS => true,
        BinaryInst::Add
        | BinaryInst::Sub
        | BinaryInst::Mul
        | BinaryInst::Div
        | BinaryInst::Rem
        | BinaryInst::MinSelect
        | BinaryInst::MaxSelect
        | BinaryInst::And
        | BinaryInst::Or
        | BinaryInst::Xor => false,
    }
}

fn unary_takes(op: UnaryInst, ty: RegType) -> bool {
    match op {
        UnaryInst::Neg => !is_mask(ty),
        UnaryInst::Abs => !is_mask(ty) && ty != RegType::scalar(Scalar::U8),
        UnaryInst::Sqrt
        | UnaryInst::Floor
        | UnaryInst::Ceil
        | UnaryInst::Trunc
        | UnaryInst::Nearest => is_float(ty),
        UnaryInst::Not => is_integer(ty),
    }
}

fn binary_takes(op: BinaryInst, ty: RegType) -> bool {
    match op {
        BinaryInst::Add
        | BinaryInst::Sub
        | BinaryInst::Mul
        | BinaryInst::MinSelect
        | BinaryInst::MaxSelect => !is_mask(ty),
        BinaryInst::Div => is_float(ty) || (is_integer(ty) && ty.lanes() == 1),
        BinaryInst::Rem => is_integer(ty) && ty.lanes() == 1,
        BinaryInst::And
        | BinaryInst::Or
        | BinaryInst::Xor
        | BinaryInst::Shl
        | BinaryInst::ShrU
        | BinaryInst::ShrS => is_integer(ty),
    }
}

fn converts(from: RegType, to: RegType) -> bool {
    match (from, to) {
        (RegType::Number { scalar: from, lanes: 1 }, RegType::Number { scalar: to, lanes: 1 }) => {
            from != to
        }
        (RegType::Number { scalar: from, lanes: 4 }, RegType::Number { scalar: to, lanes: 4 }) => {
            matches!((from, to), (Scalar::F32, Scalar::I32) | (Scalar::I32, Scalar::F32))
        }
        (RegType::Mask { lanes: 1, .. }, RegType::Number { scalar: Scalar::U8, lanes: 1 }) => true,
        (RegType::Number { .. } | RegType::Mask { .. }, _) => false,
    }
}

/// Bytes of a number; masks have no bit pattern to speak of.
fn bytes(ty: RegType) -> Option<usize> {
    match ty {
        RegType::Number { scalar, lanes } => Some(scalar.size() * usize::from(lanes)),
        RegType::Mask { .. } => None,
    }
}
