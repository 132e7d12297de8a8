//! Hyperbolic tangent.
//!
//! For `f32`, Cephes (Moshier, `tanhf.c`): a polynomial near zero, elsewhere `1 − 2/(e²ˣ + 1)`. For
//! `f64`, fdlibm (Sun Microsystems, `s_tanh.c`): `t/(t + 2)` with `t = e²ˣ − 1`.

use kilngrad_loops::{CompareInst, Reg};

use super::{exp, expm1};
use crate::code::Code;

/// `tanh x`.
pub(crate) fn tanh(code: &mut Code<'_>, x: Reg) -> Reg {
    let magnitude = code.abs(x);
    if !code.is_f32(x) {
        // Beyond 20 the result rounds to 1.
        let clamped = code.clamp(magnitude, 0.0, 20.0);
        let twice = code.add(clamped, clamped);
        let power = expm1(code, twice);
        let divisor = code.offset(power, 2.0);
        let result = code.div(power, divisor);
        return code.with_sign(result, x);
    }
    let clamped = code.clamp(magnitude, 0.0, 10.0);
    let twice = code.add(clamped, clamped);
    let power = exp(code, twice);
    let divisor = code.offset(power, 1.0);
    let minus_two = code.float_like(x, -2.0);
    let quotient = code.div(minus_two, divisor);
    let far = code.offset(quotient, 1.0);
    let square = code.mul(x, x);
    let polynomial = code.polynomial(
        square,
        &[
            -5.704_988_727_45e-3,
            2.063_908_879_54e-2,
            -5.373_971_555_31e-2,
            1.333_144_220_36e-1,
            -3.333_328_194_22e-1,
        ],
    );
    let cube = code.mul(square, polynomial);
    let near = code.mul_add(cube, magnitude, magnitude);
    let is_near = code.test(CompareInst::Lt, magnitude, 0.625);
    let result = code.select(is_near, near, far);
    code.with_sign(result, x)
}
