//! What code a value at an index map is.

use kilngrad_ir::op::{BinaryOp, CompareOp, Op};
use kilngrad_ir::{DType, Literal, Value};
use kilngrad_loops::BinaryInst::{MaxSelect, MinSelect};
use kilngrad_loops::math::{Arithmetic, Compound};
use kilngrad_loops::{Affine, Reg, RegType, Scalar};

use super::step::Step;
use super::{Expr, Site, UNBOUND};
use crate::LowerError;
use crate::code::Code;
use crate::lanes::{Lanes, memory_scalar};
use crate::random;

impl Expr<'_> {
    /// The lanes of a site whose operands are written.
    pub(super) fn write(
        &self,
        code: &mut Code<'_>,
        site: Site,
        step: &Step<'_>,
        operands: &[Site],
    ) -> Result<Lanes, LowerError> {
        let value = site.0;
        let dtype = self.dtype(value);
        let operand = |at: usize| &self.memo[&operands[at]];
        Ok(match step {
            Step::Load(memory, _) if memory.buffer == UNBOUND => {
                return Err(LowerError::Unbound);
            }
            Step::Load(memory, at) => code.load(dtype, memory.buffer, at),
            Step::Scalar(reg) => Lanes::Uniform(*reg),
            Step::Splat(literal) => Lanes::Uniform(splat_literal(code, *literal)),
            Step::Iota { at, short } => code.iota(dtype, at, *short),
            Step::Random(draw) => {
                let (seed, counter) = (operand(0).regs()[0], operand(1).regs()[0]);
                random::random(code, dtype, draw, seed, counter)
            }
            Step::Same => operand(0).clone(),
            Step::MulAdd => code.mul_add_op(dtype, operand(0), operand(1), operand(2)),
            Step::CompareIndex { op, at, index_first } => {
                code.compare_index(*op, at, operand(0), *index_first)
            }
            Step::Arithmetic(op) => {
                let from = self.operand_dtype(value);
                write_arithmetic(code, op, from, dtype, operands.len(), operand)
            }
        })
    }

    /// The dtype of the first operand of a value's node.
    fn operand_dtype(&self, value: Value) -> DType {
        let node = self.graph.defining_node(value).expect("arithmetic is done by a node");
        self.dtype(node.operands[0])
    }
}

fn write_arithmetic<'m>(
    code: &mut Code<'_>,
    op: &Op,
    from: DType,
    to: DType,
    arity: usize,
    operand: impl Fn(usize) -> &'m Lanes,
) -> Lanes {
    match op {
        Op::Unary(op) => code.unary_op(*op, to, operand(0)),
        Op::Binary(op) => code.binary_op(*op, to, operand(0), operand(1)),
        Op::Compare(op) => code.compare_op(*op, from, operand(0), operand(1)),
        Op::Select => code.select_op(to, operand(0), operand(1), operand(2)),
        Op::Cast => code.cast(from, to, operand(0)),
        Op::State(_)
        | Op::Constant(_)
        | Op::Dimension(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Gradient { .. }
        | Op::Kernel(_) => unreachable!("{} of {arity} operands is not arithmetic", op.name()),
    }
}

fn splat_literal(code: &mut Code<'_>, literal: Literal) -> Reg {
    let ty = match literal.dtype() {
        DType::Bool => RegType::Mask { bits: 8, lanes: 1 },
        dtype @ (DType::F32 | DType::F64 | DType::I32 | DType::I64 | DType::U8) => {
            RegType::scalar(memory_scalar(dtype))
        }
    };
    code.b.constant(ty, literal.bits())
}

/// Values generated from indices.
impl Code<'_> {
    /// The index as a number of `dtype`.
    fn iota(&mut self, dtype: DType, at: &Affine, short: bool) -> Lanes {
        match dtype {
            DType::F32 if short => {
                let index = self.index(Scalar::I32, at);
                self.cast(DType::I32, dtype, &index)
            }
            DType::I32 => self.index(Scalar::I32, at),
            DType::I64 => self.index(Scalar::I64, at),
            DType::F64 => {
                let index = self.index(Scalar::I64, at);
                index.map(|index| self.index_to_f64(index))
            }
            DType::F32 | DType::U8 | DType::Bool => {
                let index = self.index(Scalar::I64, at);
                self.cast(DType::I64, dtype, &index)
            }
        }
    }

    /// Compares an index that fits `i32` with an `i64`. Where the body has a vector's worth of 32-bit
    /// lanes the number is clamped, which keeps its order with every such index and makes it fit
    /// too; in a body of two lanes both are compared as they are.
    fn compare_index(
        &mut self,
        op: CompareOp,
        at: &Affine,
        number: &Lanes,
        index_first: bool,
    ) -> Lanes {
        if self.target.lanes == 2 {
            let index = self.index(Scalar::I64, at);
            let (x, y) = if index_first { (&index, number) } else { (number, &index) };
            return self.compare_op(op, DType::I64, x, y);
        }
        let number = number.map(|number| {
            let high = self.int_like(number, i64::from(i32::MAX));
            let low = self.int_like(number, -1);
            let number = self.binary(MinSelect, number, high);
            let number = self.binary(MaxSelect, number, low);
            self.convert(Scalar::I32, number)
        });
        let index = self.index(Scalar::I32, at);
        let (x, y) = if index_first { (&index, &number) } else { (&number, &index) };
        self.compare_op(op, DType::I32, x, y)
    }

    fn mul_add_op(&mut self, dtype: DType, x: &Lanes, y: &Lanes, z: &Lanes) -> Lanes {
        if !self.target.fma {
            let product = self.binary_op(BinaryOp::Mul, dtype, x, y);
            return self.binary_op(BinaryOp::Add, dtype, &product, z);
        }
        if [x, y, z].iter().all(|operand| operand.is_uniform()) {
            return Lanes::Uniform(self.mul_add(x.regs()[0], y.regs()[0], z.regs()[0]));
        }
        let [x, y, z] = [x, y, z].map(|operand| self.packed(dtype, operand));
        let sums = (0..z.len()).map(|part| self.mul_add(x[part], y[part], z[part]));
        Lanes::Packed(sums.collect())
    }
}
