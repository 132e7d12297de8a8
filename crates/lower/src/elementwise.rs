//! Elementwise operations on the lanes of a value.
//!
//! An operation stays in the form its operands have. Uniform operands give a uniform result.
//! Packed operands give a packed one, and pull separate ones with them. Bytes, integer division
//! and remainders have no vector instruction and are done lane by lane.

use kilngrad_ir::DType;
use kilngrad_ir::op::{BinaryOp, CompareOp, UnaryOp};
use kilngrad_loops::math::{Arithmetic, Function, atan2, pow};
use kilngrad_loops::{BinaryInst, CompareInst, MaskInst, Reg, RegType, UnaryInst};
use smallvec::SmallVec;

use crate::code::Code;
use crate::lanes::{Lanes, memory_scalar, packs};
use crate::math;

/// Operations that cost at least this are worth packing separate lanes for.
const PACKING_COST: u32 = 4;

/// Operations of the graph, by the forms of their operands.
impl Code<'_> {
    pub(crate) fn unary_op(&mut self, op: UnaryOp, dtype: DType, x: &Lanes) -> Lanes {
        match x {
            Lanes::Separate(_) if packs(dtype) && op.row().cost >= PACKING_COST => {
                let packed = Lanes::Packed(self.packed(dtype, x));
                packed.map(|x| self.unary_reg(op, dtype, x))
            }
            Lanes::Uniform(_) | Lanes::Packed(_) | Lanes::Separate(_) => {
                x.map(|x| self.unary_reg(op, dtype, x))
            }
        }
    }

    pub(crate) fn binary_op(&mut self, op: BinaryOp, dtype: DType, x: &Lanes, y: &Lanes) -> Lanes {
        let form = if dtype == DType::Bool {
            Form::of_masks(self, &[x, y])
        } else if scalar_only(op, dtype, y) {
            Form::of_bytes(&[x, y])
        } else {
            Form::of_numbers(dtype, &[x, y], op.row().cost >= PACKING_COST)
        };
        let (x, y) = (self.formed(form, dtype, x), self.formed(form, dtype, y));
        zip(&x, &y, |x, y| self.binary_reg(op, dtype, x, y))
    }

    pub(crate) fn compare_op(
        &mut self,
        op: CompareOp,
        dtype: DType,
        x: &Lanes,
        y: &Lanes,
    ) -> Lanes {
        if dtype == DType::Bool {
            let form = Form::of_masks(self, &[x, y]);
            let (x, y) = (self.formed(form, dtype, x), self.formed(form, dtype, y));
            return zip(&x, &y, |x, y| self.compare_masks(op, x, y));
        }
        let form = Form::of_numbers(dtype, &[x, y], false);
        let (x, y) = (self.formed(form, dtype, x), self.formed(form, dtype, y));
        zip(&x, &y, |x, y| self.compare(compare_inst(op), x, y))
    }

    pub(crate) fn select_op(
        &mut self,
        dtype: DType,
        condition: &Lanes,
        then: &Lanes,
        otherwise: &Lanes,
    ) -> Lanes {
        let operands = [condition, then, otherwise];
        if operands.iter().all(|operand| operand.is_uniform()) {
            let [c, t, e] = operands.map(|operand| operand.regs()[0]);
            return Lanes::Uniform(self.select(c, t, e));
        }
        let form = match dtype {
            DType::Bool => Form::of_masks(self, &operands),
            DType::U8 => Form::Separate,
            DType::F32 | DType::F64 | DType::I32 | DType::I64 => Form::Packed,
        };
        let then = self.formed(form, dtype, then);
        let otherwise = self.formed(form, dtype, otherwise);
        let condition = match form {
            Form::Packed => {
                let bits = 8 * memory_scalar(dtype).size() as u8;
                Lanes::Packed(self.packed_mask(bits, condition))
            }
            Form::Uniform | Form::Separate | Form::Mask(_) => {
                self.formed(form, DType::Bool, condition)
            }
        };
        let regs = condition.regs().iter().zip(then.regs()).zip(otherwise.regs());
        let regs: SmallVec<[Reg; 4]> = regs.map(|((c, t), e)| self.select(*c, *t, *e)).collect();
        match form {
            Form::Uniform | Form::Separate => Lanes::Separate(regs),
            Form::Packed | Form::Mask(_) => Lanes::Packed(regs.into_iter().collect()),
        }
    }

    pub(crate) fn cast(&mut self, from: DType, to: DType, x: &Lanes) -> Lanes {
        if from == to {
            return x.clone();
        }
        if to == DType::Bool {
            return x.map(|x| {
                let zero = self.bits_like(x, 0);
                self.compare(CompareInst::Ne, x, zero)
            });
        }
        if from == DType::Bool {
            return self.cast_mask(to, x);
        }
        let scalar = memory_scalar(to);
        match x {
            Lanes::Packed(_) if memory_scalar(from).size() == 4 && scalar.size() == 4 => {
                x.map(|x| self.convert(scalar, x))
            }
            Lanes::Uniform(_) => x.map(|x| self.convert(scalar, x)),
            Lanes::Packed(_) | Lanes::Separate(_) => {
                let lanes = self.separate(x);
                Lanes::Separate(lanes.into_iter().map(|x| self.convert(scalar, x)).collect())
            }
        }
    }

    fn cast_mask(&mut self, to: DType, x: &Lanes) -> Lanes {
        let scalar = memory_scalar(to);
        let masks = match x {
            Lanes::Packed(_) if packs(to) => {
                Lanes::Packed(self.packed_mask(8 * scalar.size() as u8, x))
            }
            Lanes::Packed(_) => Lanes::Separate(self.separate(x)),
            Lanes::Uniform(_) | Lanes::Separate(_) => x.clone(),
        };
        masks.map(|mask| {
            let ty = RegType::Number { scalar, lanes: self.ty(mask).lanes() };
            let one = if scalar.is_float() {
                self.b.const_float(scalar, 1.0, ty.lanes())
            } else {
                self.b.const_int(scalar, 1, ty.lanes())
            };
            let zero = self.b.constant(ty, 0);
            self.select(mask, one, zero)
        })
    }

    fn formed(&mut self, form: Form, dtype: DType, x: &Lanes) -> Lanes {
        match form {
            Form::Uniform => x.clone(),
            Form::Separate => Lanes::Separate(self.separate(x)),
            Form::Packed => Lanes::Packed(self.packed(dtype, x)),
            Form::Mask(bits) => Lanes::Packed(self.packed_mask(bits, x)),
        }
    }
}

/// A form that operands are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Uniform,
    Separate,
    Packed,
    /// Packed masks of lanes of so many bits.
    Mask(u8),
}

impl Form {
    fn of_bytes(operands: &[&Lanes]) -> Form {
        if operands.iter().all(|x| x.is_uniform()) { Form::Uniform } else { Form::Separate }
    }

    fn of_numbers(dtype: DType, operands: &[&Lanes], costly: bool) -> Form {
        let packed = operands.iter().any(|x| matches!(x, Lanes::Packed(_)));
        match Form::of_bytes(operands) {
            Form::Separate if packs(dtype) && (packed || costly) => Form::Packed,
            form @ (Form::Uniform | Form::Separate | Form::Packed | Form::Mask(_)) => form,
        }
    }

    fn of_masks(code: &Code<'_>, operands: &[&Lanes]) -> Form {
        let widths = operands.iter().find_map(|x| match x {
            Lanes::Packed(regs) => match code.ty(regs[0]) {
                RegType::Mask { bits, .. } => Some(bits),
                RegType::Number { .. } => None,
            },
            Lanes::Uniform(_) | Lanes::Separate(_) => None,
        });
        widths.map_or_else(|| Form::of_bytes(operands), Form::Mask)
    }
}

/// Combines registers pairwise; both have one form.
fn zip(x: &Lanes, y: &Lanes, mut f: impl FnMut(Reg, Reg) -> Reg) -> Lanes {
    let mut others = y.regs().iter();
    x.map(|x| f(x, *others.next().expect("both operands were brought to one form")))
}

/// Whether there is no vector instruction for `op`.
fn scalar_only(op: BinaryOp, dtype: DType, y: &Lanes) -> bool {
    match op {
        BinaryOp::Rem => true,
        BinaryOp::Div => dtype.is_integer(),
        BinaryOp::Shl | BinaryOp::Shr => !y.is_uniform(),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Pow
        | BinaryOp::Atan2
        | BinaryOp::Max
        | BinaryOp::Min
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor => !packs(dtype),
    }
}

fn compare_inst(op: CompareOp) -> CompareInst {
    match op {
        CompareOp::Eq => CompareInst::Eq,
        CompareOp::Ne => CompareInst::Ne,
        CompareOp::Lt => CompareInst::Lt,
        CompareOp::Le => CompareInst::Le,
        CompareOp::Gt => CompareInst::Gt,
        CompareOp::Ge => CompareInst::Ge,
    }
}

/// What computes an operation of one operand.
enum Way {
    Function(Function),
    Inst(UnaryInst),
    Not,
    Abs,
    Sign,
    Relu,
    Rsqrt,
}

fn way_of(op: UnaryOp) -> Way {
    match op {
        UnaryOp::Exp => Way::Function(Function::Exp),
        UnaryOp::Expm1 => Way::Function(Function::Expm1),
        UnaryOp::Log => Way::Function(Function::Log),
        UnaryOp::Log1p => Way::Function(Function::Log1p),
        UnaryOp::Tanh => Way::Function(Function::Tanh),
        UnaryOp::Sigmoid => Way::Function(Function::Sigmoid),
        UnaryOp::Erf => Way::Function(Function::Erf),
        UnaryOp::Erfc => Way::Function(Function::Erfc),
        UnaryOp::Exp2 => Way::Function(Function::Exp2),
        UnaryOp::Log2 => Way::Function(Function::Log2),
        UnaryOp::Sin => Way::Function(Function::Sin),
        UnaryOp::Cos => Way::Function(Function::Cos),
        UnaryOp::Tan => Way::Function(Function::Tan),
        UnaryOp::Asin => Way::Function(Function::Asin),
        UnaryOp::Acos => Way::Function(Function::Acos),
        UnaryOp::Atan => Way::Function(Function::Atan),
        UnaryOp::Sinh => Way::Function(Function::Sinh),
        UnaryOp::Cosh => Way::Function(Function::Cosh),
        UnaryOp::Asinh => Way::Function(Function::Asinh),
        UnaryOp::Acosh => Way::Function(Function::Acosh),
        UnaryOp::Atanh => Way::Function(Function::Atanh),
        UnaryOp::Neg => Way::Inst(UnaryInst::Neg),
        UnaryOp::Sqrt => Way::Inst(UnaryInst::Sqrt),
        UnaryOp::Floor => Way::Inst(UnaryInst::Floor),
        UnaryOp::Ceil => Way::Inst(UnaryInst::Ceil),
        UnaryOp::Round => Way::Inst(UnaryInst::Nearest),
        UnaryOp::Trunc => Way::Inst(UnaryInst::Trunc),
        UnaryOp::Not => Way::Not,
        UnaryOp::Abs => Way::Abs,
        UnaryOp::Sign => Way::Sign,
        UnaryOp::Relu => Way::Relu,
        UnaryOp::Rsqrt => Way::Rsqrt,
    }
}

/// The elementary function that an operation is; `None` of what takes an instruction or two.
pub(crate) fn function_of(op: UnaryOp) -> Option<Function> {
    if let Way::Function(function) = way_of(op) { Some(function) } else { None }
}

/// Operations of the graph on one register, scalar or vector.
impl Code<'_> {
    fn unary_reg(&mut self, op: UnaryOp, dtype: DType, x: Reg) -> Reg {
        match way_of(op) {
            Way::Function(function) => function.of(self, x),
            Way::Inst(inst) => self.unary(inst, x),
            Way::Not if dtype == DType::Bool => self.mask_not(x),
            Way::Not => self.unary(UnaryInst::Not, x),
            Way::Abs if dtype == DType::U8 => x,
            Way::Abs => self.abs(x),
            Way::Sign => math::sign(self, x),
            Way::Relu => math::relu(self, x),
            Way::Rsqrt => math::rsqrt(self, x),
        }
    }

    fn binary_reg(&mut self, op: BinaryOp, dtype: DType, x: Reg, y: Reg) -> Reg {
        let masks = dtype == DType::Bool;
        match op {
            BinaryOp::Add => self.add(x, y),
            BinaryOp::Sub => self.sub(x, y),
            BinaryOp::Mul => self.mul(x, y),
            BinaryOp::Div => self.div(x, y),
            BinaryOp::Rem if dtype.is_float() => math::rem(self, x, y),
            BinaryOp::Rem => self.binary(BinaryInst::Rem, x, y),
            BinaryOp::Pow => pow(self, x, y),
            BinaryOp::Atan2 => atan2(self, x, y),
            BinaryOp::Max => math::max(self, x, y),
            BinaryOp::Min => math::min(self, x, y),
            BinaryOp::And if masks => self.mask(MaskInst::And, x, y),
            BinaryOp::And => self.binary(BinaryInst::And, x, y),
            BinaryOp::Or if masks => self.mask(MaskInst::Or, x, y),
            BinaryOp::Or => self.binary(BinaryInst::Or, x, y),
            BinaryOp::Xor if masks => self.mask(MaskInst::Xor, x, y),
            BinaryOp::Xor => self.binary(BinaryInst::Xor, x, y),
            BinaryOp::Shl => self.binary(BinaryInst::Shl, x, y),
            BinaryOp::Shr => self.binary(BinaryInst::ShrS, x, y),
        }
    }

    /// A comparison of truth values, `false < true`.
    fn compare_masks(&mut self, op: CompareOp, x: Reg, y: Reg) -> Reg {
        match op {
            CompareOp::Eq => {
                let differ = self.mask(MaskInst::Xor, x, y);
                self.mask_not(differ)
            }
            CompareOp::Ne => self.mask(MaskInst::Xor, x, y),
            CompareOp::Lt => {
                let not = self.mask_not(x);
                self.mask(MaskInst::And, not, y)
            }
            CompareOp::Le => {
                let not = self.mask_not(x);
                self.mask(MaskInst::Or, not, y)
            }
            CompareOp::Gt => {
                let not = self.mask_not(y);
                self.mask(MaskInst::And, x, not)
            }
            CompareOp::Ge => {
                let not = self.mask_not(y);
                self.mask(MaskInst::Or, x, not)
            }
        }
    }
}
