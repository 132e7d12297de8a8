//! Contraction tiles: a chain of terms for each element, in the order of `k`.

use crate::kernel::{Panel, Scalar, TileCall};

use super::EvalError;
use super::element::Element;
use super::machine::Machine;

/// Runs a tile call.
pub(super) fn run(machine: &mut Machine<'_>, call: &TileCall) -> Result<(), EvalError> {
    match (call.shape.scalar, call.shape.fma) {
        (Scalar::F32, true) => block(machine, call, 0.0f32, |a, b, sum| a.mul_add(b, sum)),
        (Scalar::F32, false) => block(machine, call, 0.0f32, |a, b, sum| sum + a * b),
        (Scalar::F64, true) => block(machine, call, 0.0f64, |a, b, sum| a.mul_add(b, sum)),
        (Scalar::F64, false) => block(machine, call, 0.0f64, |a, b, sum| sum + a * b),
        (Scalar::I32 | Scalar::I64 | Scalar::U8, _) => {
            unreachable!("verified tiles are of floats")
        }
    }
}

fn block<T: Element>(
    machine: &mut Machine<'_>,
    call: &TileCall,
    zero: T,
    add: impl Fn(T, T, T) -> T,
) -> Result<(), EvalError> {
    let (rows, cols) = (usize::from(call.rows), usize::from(call.cols));
    let depth = call.depth;
    let a = gather::<T>(machine, &call.a, rows, depth)?;
    let b = gather::<T>(machine, &call.b, depth, cols)?;
    let start = if call.accumulate {
        gather(machine, &call.c, rows, cols)?
    } else {
        vec![zero; rows * cols]
    };
    for (at, start) in start.into_iter().enumerate() {
        let (row, col) = (at / cols, at % cols);
        let sum = (0..depth).fold(start, |sum, k| add(a[row * depth + k], b[k * cols + col], sum));
        let element = element(machine, &call.c, row, col);
        sum.write(machine.elements(call.c.buffer, element, 1)?);
    }
    Ok(())
}

/// The elements of a panel, row by row.
fn gather<T: Element>(
    machine: &mut Machine<'_>,
    panel: &Panel,
    rows: usize,
    cols: usize,
) -> Result<Vec<T>, EvalError> {
    let mut values = Vec::new();
    for row in 0..rows {
        for col in 0..cols {
            let element = element(machine, panel, row, col);
            values.push(T::read(machine.elements(panel.buffer, element, 1)?));
        }
    }
    Ok(values)
}

fn element(machine: &Machine<'_>, panel: &Panel, row: usize, col: usize) -> i64 {
    let offset = |stride: i64, count: usize| stride.wrapping_mul(count as i64);
    machine
        .value(&panel.at)
        .wrapping_add(offset(panel.row_stride, row))
        .wrapping_add(offset(panel.col_stride, col))
}
