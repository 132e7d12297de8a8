//! Functions of `f32` that are computed in `f64`: within little more than half a unit.

/// `function(code, x…)`, of operands in `f64`; of operands in `f32` too, by way of `f64`.
///
/// A macro, so that the function is called by its name: as a value it would be called through a
/// function of the compiler's making, which is inlined only where it is small.
macro_rules! in_f64 {
    ($function:path, $code:ident, $first:ident $(, $more:ident)*) => {{
        let single = $code.is_f32($first);
        let $first = $crate::math::wide::doubles($code, $first);
        $(let $more = $crate::math::wide::doubles($code, $more);)*
        let low = $function($code, $first.low $(, $more.low)*);
        let high = match ($first.high, $($more.high,)*) {
            (Some($first), $(Some($more),)*) => Some($function($code, $first $(, $more)*)),
            _ => None,
        };
        if single { $code.narrowed($crate::math::Widened { low, high }) } else { low }
    }};
}

pub(super) use in_f64;

use super::arithmetic::{Arithmetic, Widened};
use super::compound::Compound;

/// The lanes of a register as `f64`.
#[inline(always)]
pub(super) fn doubles<A: Arithmetic>(code: &mut A, x: A::Reg) -> Widened<A::Reg> {
    if code.is_f32(x) { code.widened(x) } else { Widened { low: x, high: None } }
}
