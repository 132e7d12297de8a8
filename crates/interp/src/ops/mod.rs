//! What each operation computes: one file a family.
//!
//! The functions here take operands that keep the rules of [`kilngrad_ir::infer`] and, for a
//! result that operands do not determine, its dtype and shape. They panic where a rule is broken,
//! which is a bug of the caller.

mod dot;
mod elementwise;
mod indexed;
mod layout;
mod reduce;
mod sort;
mod source;
mod windows;

use kilngrad_ir::{DType, Op};

use crate::array::Array;

/// The result of an operation without symbols.
pub(crate) fn eval(op: &Op, operands: &[&Array], dtype: DType, shape: &[usize]) -> Array {
    match op {
        Op::Constant(constant) => source::constant(constant, shape),
        Op::Dimension(dim) => source::dimension(dim, dtype),
        Op::Iota { axis } => source::iota(*axis, dtype, shape),
        Op::Random { stream } => source::random(operands[0], operands[1], *stream, dtype, shape),
        Op::Unary(op) => elementwise::unary(*op, operands[0]),
        Op::Binary(op) => elementwise::binary(*op, operands[0], operands[1]),
        Op::Compare(op) => elementwise::compare(*op, operands[0], operands[1]),
        Op::Select => elementwise::select(operands[0], operands[1], operands[2]),
        Op::Cast => elementwise::cast(operands[0], dtype),
        Op::Reduce { op, axes } => reduce::reduce(*op, axes, operands[0], shape),
        Op::ArgReduce { op, axis } => reduce::arg_reduce(*op, *axis, operands[0], shape),
        Op::Argsort { axis, descending } => sort::argsort(*axis, *descending, operands[0]),
        Op::Dot(axes) => dot::dot(axes, operands[0], operands[1], shape),
        Op::Broadcast { dims } => layout::broadcast(dims, operands[0], shape),
        Op::Reshape => layout::reshape(operands[0], shape),
        Op::Transpose { permutation } => layout::transpose(permutation, operands[0]),
        Op::Slice(axes) => layout::slice(axes, operands[0]),
        Op::Pad(axes) => layout::pad(axes, operands[0], operands[1], shape),
        Op::Concat { axis } => layout::concat(*axis, operands),
        Op::Gather { axis } => indexed::gather(*axis, operands[0], operands[1], shape),
        Op::ScatterAdd { axis } => {
            indexed::scatter_add(*axis, operands[0], operands[1], operands[2])
        }
        Op::Windows(windows) => windows::windows(windows, operands[0], shape),
        Op::Fold(windows) => windows::fold(windows, operands[0], shape),
        Op::StopGradient => operands[0].clone(),
        Op::State(_)
        | Op::CustomGradient(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => {
            unreachable!("the walk over the graph evaluates {}", op.name())
        }
    }
}
