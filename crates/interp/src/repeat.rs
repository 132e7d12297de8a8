//! Loops over a region for as long as another one says.

use kilngrad_ir::Graph;
use kilngrad_ir::op::While;

use crate::error::InterpError;

/// The last values of the carries. `run` computes a region, which is the test or the body, of its
/// arguments in an iteration; `goes_on` reads what the test gave.
pub(crate) fn repeat<T: Clone>(
    repeat: &While,
    operands: &[&T],
    mut run: impl FnMut(usize, &Graph, Vec<T>) -> Result<Vec<T>, InterpError>,
    mut goes_on: impl FnMut(&T) -> bool,
) -> Result<Vec<T>, InterpError> {
    let whole = |position: usize| operands[position].clone();
    let mut carries: Vec<T> = repeat.carry_operands().map(whole).collect();
    for iteration in 0.. {
        let consts = repeat.test_operands().map(whole);
        let tested = run(iteration, &repeat.test, consts.chain(carries.iter().cloned()).collect())?;
        if !goes_on(&tested[0]) {
            break;
        }
        let consts = repeat.body_operands().map(whole);
        carries = run(iteration, &repeat.body, consts.chain(carries).collect())?;
    }
    Ok(carries)
}
