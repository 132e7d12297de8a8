//! Contractions without a tile: those of integers.
//!
//! For each row of the result, sums of a block of columns are carried through the loops over the
//! depth: a vector of them where the right operand has columns side by side and the type has
//! vectors, else one.

use kilngrad_loops::{Access, Affine, BinaryInst, Buffer, KernelBuilder, Reg, RegType, Scalar};

use crate::LowerError;
use crate::space::repeat;

use super::epilogue::{Epilogue, Sums};
use super::nest::{Nest, blocks, loops};
use super::pack::vector_lanes;
use super::problem::{Axis, Position};

/// Sums that wait in scratch for the epilogue.
const HELD: usize = 512;

/// Writes the contraction; `chunk` is one chunk's part.
pub(crate) fn write(
    b: &mut KernelBuilder,
    chunk: &Nest,
    scalar: Scalar,
    operands: [Buffer; 2],
    epilogue: &mut Epilogue<'_>,
    start: &Position,
) -> Result<(), LowerError> {
    let output = epilogue.output();
    let held = chunk.cols.extent.min(HELD);
    let sums = match output {
        Some(output) => output,
        None => b.buffer("sums", scalar, held, Access::Scratch),
    };
    let mut axes = chunk.outer.clone();
    axes.push(chunk.rows);
    loops(b, &axes, start, &mut |b, position| {
        blocks(b, chunk.cols.extent, HELD, |b, first, held| {
            let position = &position.along(&chunk.cols, first);
            let at = match output {
                Some(_) => position.out.clone(),
                None => Affine::constant(0),
            };
            columns(b, chunk, operands, position, held, (sums, &at))?;
            if output.is_some() {
                return Ok(());
            }
            let cols = Axis { extent: held, ..chunk.cols };
            let row_stride = held as i64;
            let block = Sums { position, rows: Axis::UNIT, cols, buffer: sums, at, row_stride };
            epilogue.finish(b, &block)
        })
    })
}

/// The sums of neighbouring columns of one row.
fn columns(
    b: &mut KernelBuilder,
    chunk: &Nest,
    [lhs, rhs]: [Buffer; 2],
    position: &Position,
    count: usize,
    (sums, at): (Buffer, &Affine),
) -> Result<(), LowerError> {
    let scalar = b.buffer_decl(sums).scalar;
    let vector = if chunk.cols.rhs == 1 { vector_lanes(scalar) } else { 1 };
    let mut depth = chunk.outer_depth.clone();
    depth.push(chunk.depth);
    let mut done = 0;
    for lanes in [vector, 1] {
        let steps = (count - done) / lanes;
        repeat(b, steps, |b, step| {
            let column = step.scaled(lanes as i64).offset(done as i64);
            let position = position.along(&chunk.cols, &column);
            let ty = if lanes == 1 { RegType::scalar(scalar) } else { RegType::vector(scalar) };
            let zero = b.constant(ty, 0);
            let sum = terms(b, &depth, &position, zero, &|b, position, sum| {
                let left = b.load(lhs, position.lhs.clone(), 1);
                let left = b.splat(ty, left);
                let right = b.load(rhs, position.rhs.clone(), lanes as u8);
                let product = b.binary(BinaryInst::Mul, left, right);
                b.binary(BinaryInst::Add, sum, product)
            });
            b.store(sums, at.add(&column), sum);
            Ok(())
        })?;
        done += steps * lanes;
    }
    Ok(())
}

/// Carries `sum` through loops over `axes`, the first outermost.
fn terms(
    b: &mut KernelBuilder,
    axes: &[Axis],
    position: &Position,
    sum: Reg,
    add: &dyn Fn(&mut KernelBuilder, &Position, Reg) -> Reg,
) -> Reg {
    match axes {
        [] => add(b, position, sum),
        // The rank of a tensor bounds the recursion.
        [axis, inner @ ..] => {
            let sums = b.for_carry(axis.extent, &[sum], |b, var, sums| {
                vec![terms(b, inner, &position.along_var(axis, var), sums[0], add)]
            });
            sums[0]
        }
    }
}
