//! Functions of `f32` that are computed in `f64`: within half a unit in the last place, and a little.

use kilngrad_loops::{Reg, RegType, Scalar};
use smallvec::SmallVec;

use crate::code::Code;

/// A function of `f64`, of `x`; of `f32` too, by way of `f64`.
pub(super) fn in_f64(code: &mut Code<'_>, x: Reg, f: fn(&mut Code<'_>, Reg) -> Reg) -> Reg {
    if !code.is_f32(x) {
        return f(code, x);
    }
    let results: SmallVec<[Reg; 2]> = widened(code, x).iter().map(|&x| f(code, x)).collect();
    narrowed(code, &results)
}

/// The same of two operands.
pub(super) fn in_f64_of_two(
    code: &mut Code<'_>,
    x: Reg,
    y: Reg,
    f: fn(&mut Code<'_>, Reg, Reg) -> Reg,
) -> Reg {
    if !code.is_f32(x) {
        return f(code, x, y);
    }
    let (x, y) = (widened(code, x), widened(code, y));
    let results: SmallVec<[Reg; 2]> = x.iter().zip(&y).map(|(&x, &y)| f(code, x, y)).collect();
    narrowed(code, &results)
}

/// The lanes as `f64`: one scalar, or two vectors of two.
pub(super) fn widened(code: &mut Code<'_>, x: Reg) -> SmallVec<[Reg; 2]> {
    let lanes = usize::from(code.ty(x).lanes());
    let wide: SmallVec<[Reg; 4]> = (0..lanes)
        .map(|lane| {
            let lane = code.lane(x, lane);
            code.convert(Scalar::F64, lane)
        })
        .collect();
    match lanes {
        1 => wide.into_iter().collect(),
        _ => wide.chunks(2).map(|pair| code.assemble(RegType::vector(Scalar::F64), pair)).collect(),
    }
}

/// The lanes of `widened` registers as `f32`.
pub(super) fn narrowed(code: &mut Code<'_>, parts: &[Reg]) -> Reg {
    let mut lanes: SmallVec<[Reg; 4]> = SmallVec::new();
    for &part in parts {
        for lane in 0..usize::from(code.ty(part).lanes()) {
            let lane = code.lane(part, lane);
            lanes.push(code.convert(Scalar::F32, lane));
        }
    }
    match lanes.len() {
        1 => lanes[0],
        _ => code.assemble(RegType::vector(Scalar::F32), &lanes),
    }
}
