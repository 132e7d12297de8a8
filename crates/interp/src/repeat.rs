//! Loops over a region for as long as another one says.

use std::borrow::Cow;
use std::ops::Range;

use kilngrad_ir::Graph;
use kilngrad_ir::op::While;

use crate::error::InterpError;

/// The last values of the carries. `run` computes a region, which is the test or the body, of its
/// arguments in an iteration; `goes_on` reads what the test gave.
pub(crate) fn repeat<'a, T: Clone>(
    repeat: &While,
    operands: &[&'a T],
    mut run: impl FnMut(usize, &Graph, Vec<Cow<'a, T>>) -> Result<Vec<T>, InterpError>,
    mut goes_on: impl FnMut(&T) -> bool,
) -> Result<Vec<T>, InterpError> {
    let consts = |at: Range<usize>| operands[at].iter().copied().map(Cow::Borrowed);
    let mut carries: Vec<T> = repeat.carry_operands().map(|at| operands[at].clone()).collect();
    for iteration in 0.. {
        let own = carries.iter().cloned().map(Cow::Owned);
        let arguments = consts(repeat.test_operands()).chain(own).collect();
        if !goes_on(&run(iteration, &repeat.test, arguments)?[0]) {
            break;
        }
        let own = carries.into_iter().map(Cow::Owned);
        let arguments = consts(repeat.body_operands()).chain(own).collect();
        carries = run(iteration, &repeat.body, arguments)?;
    }
    Ok(carries)
}
