//! `while`: what depends on it, since nothing flows through it.

use kilngrad_ir::op::While;

use super::Flow;
use super::region;

/// By operand and result of a `while`: how a derivative would flow over any number of iterations,
/// none among them.
pub(super) fn flows(repeat: &While) -> Vec<Vec<Flow>> {
    let consts = repeat.body_operands().len();
    let mut flows = region::flows(&repeat.body);
    region::keep_carries(&mut flows, &repeat.body, consts, repeat.carries);
    region::go_around(&mut flows, consts, repeat.carries);
    let refused = |flow: Flow| match flow {
        Flow::Derivative | Flow::Opaque => Flow::Opaque,
        Flow::Zero => Flow::Zero,
        Flow::None => Flow::None,
    };
    // Of what only the test reads, no element of a result depends differentiably.
    let tested = repeat.test_operands().map(|_| vec![Flow::None; repeat.carries]);
    let rows = flows.into_iter().map(|row| row.into_iter().map(refused).collect());
    tested.chain(rows).collect()
}
