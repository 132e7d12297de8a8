//! From instructions to CLIF: one function a family, each choosing what is exact and cheap.
//!
//! Everything here is total. Division guards its operands instead of trapping, conversions
//! saturate, and every rounding is one instruction of the required baseline, so no kernel calls a
//! library. Where Cranelift's own operation costs more than the loop IR asks for (`fmin`, `fneg`),
//! it is spelled out so that one machine instruction remains.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{
    self, ConstantData, Endianness, InstBuilder, MemFlagsData, Value, types,
};
use kilngrad_loops::{
    Affine, BinaryInst, CompareInst, Half, Inst, MaskInst, Reg, RegType, Scalar, UnaryInst,
};

use crate::CodegenError;
use crate::address::Root;
use crate::kernel::{Translator, clif_type, scalar_type};

impl<'a> Translator<'a> {
    /// The value that an instruction gives a register of type `ty`.
    pub(crate) fn inst(&mut self, ty: RegType, inst: &'a Inst) -> Result<Value, CodegenError> {
        Ok(match inst {
            Inst::Const { bits } => self.constant(ty, *bits),
            Inst::Index { at, step } => self.index(ty, at, *step),
            Inst::Load { buffer, at } => self.load(clif_type(ty), *buffer, at),
            Inst::Splat(source) => self.splat(ty, *source),
            Inst::Lane { vector, lane } => self.lane(*vector, *lane),
            Inst::Unary(op, x) => self.unary(ty, *op, *x),
            Inst::Binary(op, x, y) => self.binary(ty, *op, *x, *y),
            Inst::Fma(a, b, c) => self.fma(*a, *b, *c)?,
            Inst::Compare(op, x, y) => self.compare(*op, *x, *y),
            Inst::Mask(op, x, y) => self.mask(*op, *x, *y),
            Inst::MaskNot(x) => self.mask_not(ty, *x),
            Inst::Select(mask, x, y) => self.select(*mask, *x, *y),
            Inst::Convert(x) => self.convert(ty, *x),
            Inst::Bitcast(x) => {
                let x = self.value(*x);
                self.bitcast(clif_type(ty), x)
            }
            Inst::Interleave(half, x, y) => self.interleave(ty, *half, *x, *y),
        })
    }

    fn ins(&mut self) -> impl InstBuilder<'_> {
        self.cursor.ins()
    }

    fn constant(&mut self, ty: RegType, bits: u64) -> Value {
        let clif = clif_type(ty);
        let bits = match ty {
            RegType::Number { .. } => bits,
            RegType::Mask { lanes: 1, .. } => bits & 1,
            RegType::Mask { .. } => (bits & 1).wrapping_neg(),
        };
        self.splatted(clif, bits)
    }

    /// The low bits of `bits` in every lane.
    ///
    /// Integers are immediates of what uses them and stay where they are. Floats and vectors come
    /// from the constant pool and are loaded once, outside all loops.
    fn splatted(&mut self, ty: ir::Type, bits: u64) -> Value {
        let lane = ty.lane_bits();
        let bits = bits & (u64::MAX >> (64 - lane));
        if ty.is_int() {
            // Immediates are written sign-extended.
            let shift = 64 - lane;
            return self.ins().iconst(ty, (bits << shift) as i64 >> shift);
        }
        let all = (0..ty.lane_count()).fold(0, |all, idx| all | u128::from(bits) << (idx * lane));
        self.pooled(ty, all)
    }

    /// A constant that is loaded from memory, once in the kernel.
    fn pooled(&mut self, ty: ir::Type, bits: u128) -> Value {
        if let Some(&value) = self.constants.get(&(ty, bits)) {
            return value;
        }
        let value = self.addresses.outside_loops(&mut self.cursor, |cursor| {
            if ty.is_vector() {
                let data = ConstantData::from(bits.to_le_bytes().as_slice());
                let handle = cursor.func.dfg.constants.insert(data);
                cursor.ins().vconst(ty, handle)
            } else if ty == types::F32 {
                cursor.ins().f32const(Ieee32::with_bits(bits as u32))
            } else {
                cursor.ins().f64const(Ieee64::with_bits(bits as u64))
            }
        });
        self.constants.insert((ty, bits), value);
        value
    }

    fn index(&mut self, ty: RegType, at: &Affine, step: i64) -> Value {
        let (base, offset) = self.addresses.resolve(&mut self.cursor, Root::Zero, at, 1, 0);
        let mut value = base;
        if offset != 0 {
            let offset = self.ins().iconst(types::I64, i64::from(offset));
            value = self.ins().iadd(base, offset);
        }
        let clif = clif_type(ty);
        if clif.lane_type() == types::I32 {
            value = self.ins().ireduce(types::I32, value);
        }
        if !clif.is_vector() {
            return value;
        }
        let value = self.ins().splat(clif, value);
        if step == 0 {
            return value;
        }
        let lane = clif.lane_bits();
        let steps = (0..clif.lane_count()).fold(0, |all, idx| {
            let bits = step.wrapping_mul(i64::from(idx)) as u64 & (u64::MAX >> (64 - lane));
            all | u128::from(bits) << (idx * lane)
        });
        let steps = self.pooled(clif, steps);
        self.ins().iadd(value, steps)
    }

    fn splat(&mut self, ty: RegType, source: Reg) -> Value {
        let value = self.value(source);
        let clif = clif_type(ty);
        match ty {
            RegType::Number { lanes: 1, .. } | RegType::Mask { lanes: 1, .. } => value,
            RegType::Number { .. } => self.ins().splat(clif, value),
            RegType::Mask { .. } => {
                let lane = self.ins().bmask(clif.lane_type(), value);
                self.ins().splat(clif, lane)
            }
        }
    }

    fn lane(&mut self, vector: Reg, lane: u8) -> Value {
        let value = self.value(vector);
        self.ins().extractlane(value, lane)
    }

    fn unary(&mut self, ty: RegType, op: UnaryInst, x: Reg) -> Value {
        let value = self.value(x);
        let clif = clif_type(ty);
        let float = clif.lane_type().is_float();
        let sign = 1u64 << (clif.lane_bits() - 1);
        match op {
            UnaryInst::Neg if float => {
                let sign = self.splatted(clif, sign);
                self.ins().bxor(value, sign)
            }
            UnaryInst::Neg => self.ins().ineg(value),
            UnaryInst::Abs if float => {
                let rest = self.splatted(clif, sign - 1);
                self.ins().band(value, rest)
            }
            UnaryInst::Abs => self.ins().iabs(value),
            UnaryInst::Sqrt => self.ins().sqrt(value),
            UnaryInst::Floor => self.ins().floor(value),
            UnaryInst::Ceil => self.ins().ceil(value),
            UnaryInst::Trunc => self.ins().trunc(value),
            UnaryInst::Nearest => self.ins().nearest(value),
            UnaryInst::Not => self.ins().bnot(value),
        }
    }

    fn binary(&mut self, ty: RegType, op: BinaryInst, x: Reg, y: Reg) -> Value {
        let (a, b) = (self.value(x), self.value(y));
        let float = clif_type(ty).lane_type().is_float();
        match op {
            BinaryInst::Add if float => self.ins().fadd(a, b),
            BinaryInst::Add => self.ins().iadd(a, b),
            BinaryInst::Sub if float => self.ins().fsub(a, b),
            BinaryInst::Sub => self.ins().isub(a, b),
            BinaryInst::Mul if float => self.ins().fmul(a, b),
            BinaryInst::Mul => self.ins().imul(a, b),
            BinaryInst::Div if float => self.ins().fdiv(a, b),
            BinaryInst::Div => self.divide(ty, a, y, Division::Quotient),
            BinaryInst::Rem => self.divide(ty, a, y, Division::Remainder),
            BinaryInst::MinSelect => self.smaller(ty, a, b, a, b),
            BinaryInst::MaxSelect => self.smaller(ty, b, a, a, b),
            BinaryInst::And => self.ins().band(a, b),
            BinaryInst::Or => self.ins().bor(a, b),
            BinaryInst::Xor => self.ins().bxor(a, b),
            BinaryInst::Shl => {
                let amount = self.shift_amount(ty, y);
                self.ins().ishl(a, amount)
            }
            BinaryInst::ShrS if is_signed(ty) => {
                let amount = self.shift_amount(ty, y);
                self.ins().sshr(a, amount)
            }
            BinaryInst::ShrU | BinaryInst::ShrS => {
                let amount = self.shift_amount(ty, y);
                self.ins().ushr(a, amount)
            }
        }
    }

    /// `if low < high { yes } else { no }`, where `low` and `high` are `yes` and `no` or the
    /// reverse. Of floats, `minps` and `maxps` and their like are exactly this.
    fn smaller(&mut self, ty: RegType, low: Value, high: Value, yes: Value, no: Value) -> Value {
        let clif = clif_type(ty);
        let mask = if clif.lane_type().is_float() {
            self.ins().fcmp(FloatCC::LessThan, low, high)
        } else {
            let less = integer_condition(CompareInst::Lt, ty);
            self.ins().icmp(less, low, high)
        };
        self.choose(mask, yes, no)
    }

    /// Integer division without traps. Divisors 0 and −1 are replaced by 1 before dividing and have
    /// results of their own: `x/0 = −1`, `x%0 = x`, `x/−1 = −x` (which wraps), `x%−1 = 0`. A
    /// constant that is neither divides as it is.
    fn divide(&mut self, ty: RegType, a: Value, divisor: Reg, part: Division) -> Value {
        let b = self.value(divisor);
        let signed = is_signed(ty);
        if let Some(&Inst::Const { bits }) = self.definition(divisor) {
            let clif = clif_type(ty);
            let bits = bits << (64 - clif.lane_bits());
            let minus_one = u64::MAX << (64 - clif.lane_bits());
            if bits != 0 && !(signed && bits == minus_one) {
                return self.divide_unguarded(signed, a, b, part);
            }
        }
        let [zero, one, ones] = [0, 1, u64::MAX].map(|bits| self.splatted(clif_type(ty), bits));
        let is_zero = self.ins().icmp(IntCC::Equal, b, zero);
        let special = if signed {
            let above = self.ins().iadd(b, one);
            self.ins().icmp(IntCC::UnsignedLessThanOrEqual, above, one)
        } else {
            is_zero
        };
        let safe = self.ins().select(special, one, b);
        let usual = self.divide_unguarded(signed, a, safe, part);
        let instead = match (part, signed) {
            (Division::Quotient, true) => {
                let negated = self.ins().ineg(a);
                self.ins().select(is_zero, ones, negated)
            }
            (Division::Quotient, false) => ones,
            (Division::Remainder, true) => self.ins().select(is_zero, a, zero),
            (Division::Remainder, false) => a,
        };
        self.ins().select(special, instead, usual)
    }

    fn divide_unguarded(&mut self, signed: bool, a: Value, b: Value, part: Division) -> Value {
        match (part, signed) {
            (Division::Quotient, true) => self.ins().sdiv(a, b),
            (Division::Quotient, false) => self.ins().udiv(a, b),
            (Division::Remainder, true) => self.ins().srem(a, b),
            (Division::Remainder, false) => self.ins().urem(a, b),
        }
    }

    /// CLIF takes shift amounts modulo the width, as the loop IR does, and the one of a vector as a
    /// scalar, which is where the splat came from.
    fn shift_amount(&mut self, ty: RegType, amount: Reg) -> Value {
        let value = self.value(amount);
        let clif = clif_type(ty);
        match self.definition(amount) {
            _ if !clif.is_vector() => value,
            Some(Inst::Const { bits }) => self.splatted(clif.lane_type(), *bits),
            Some(Inst::Splat(source)) => self.value(*source),
            Some(_) | None => self.ins().extractlane(value, 0),
        }
    }

    fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Result<Value, CodegenError> {
        if cfg!(target_arch = "x86_64") && !(self.features.fma && self.features.avx) {
            return Err(CodegenError::Unsupported {
                what: format!(
                    "kernel {}: expected avx and fma for a fused multiply-add, found {}",
                    self.kernel.name, self.features
                ),
            });
        }
        // The machine's instruction overwrites a factor, never the sum: best one that is not used
        // again, so the one with fewer uses. Which factor is first does not change the product.
        let (first, second) =
            if self.uses[b.0 as usize] < self.uses[a.0 as usize] { (b, a) } else { (a, b) };
        let (first, second, c) = (self.value(first), self.value(second), self.value(c));
        Ok(self.ins().fma(first, second, c))
    }

    fn compare(&mut self, op: CompareInst, x: Reg, y: Reg) -> Value {
        let ty = self.kernel.reg_type(x);
        let (x, y) = (self.value(x), self.value(y));
        if clif_type(ty).lane_type().is_float() {
            self.ins().fcmp(float_condition(op), x, y)
        } else {
            self.ins().icmp(integer_condition(op, ty), x, y)
        }
    }

    fn mask(&mut self, op: MaskInst, x: Reg, y: Reg) -> Value {
        let (x, y) = (self.value(x), self.value(y));
        match op {
            MaskInst::And => self.ins().band(x, y),
            MaskInst::Or => self.ins().bor(x, y),
            MaskInst::Xor => self.ins().bxor(x, y),
        }
    }

    fn mask_not(&mut self, ty: RegType, x: Reg) -> Value {
        let value = self.value(x);
        let clif = clif_type(ty);
        if clif.is_vector() {
            return self.ins().bnot(value);
        }
        let one = self.splatted(clif, 1);
        self.ins().bxor(value, one)
    }

    fn select(&mut self, mask: Reg, x: Reg, y: Reg) -> Value {
        let (mask, x, y) = (self.value(mask), self.value(x), self.value(y));
        self.choose(mask, x, y)
    }

    /// The first where the mask is set, else the second.
    fn choose(&mut self, mask: Value, yes: Value, no: Value) -> Value {
        let mask_type = self.cursor.func.dfg.value_type(mask);
        if !mask_type.is_vector() {
            return self.ins().select(mask, yes, no);
        }
        let ty = self.cursor.func.dfg.value_type(yes);
        let mask = self.bitcast(ty, mask);
        // A mask alone, where a blend takes three times as long.
        let zero = self.constants.get(&(ty, 0)).copied();
        if zero == Some(yes) {
            self.ins().band_not(no, mask)
        } else if zero == Some(no) {
            self.ins().band(yes, mask)
        } else {
            self.ins().bitselect(mask, yes, no)
        }
    }

    /// The same bits; where lanes change their number, in the order in which they lie in memory.
    fn bitcast(&mut self, ty: ir::Type, value: Value) -> Value {
        let from = self.cursor.func.dfg.value_type(value);
        if from == ty {
            return value;
        }
        let mut flags = MemFlagsData::new();
        if from.lane_count() != ty.lane_count() {
            flags = flags.with_endianness(Endianness::Little);
        }
        self.ins().bitcast(ty, flags, value)
    }

    /// A shuffle of bytes, whose mask the backend knows as one instruction.
    fn interleave(&mut self, ty: RegType, half: Half, x: Reg, y: Reg) -> Value {
        let clif = clif_type(ty);
        let size = (clif.lane_bits() / 8) as u8;
        let first = match half {
            Half::Low => 0,
            Half::High => 8,
        };
        // Bytes of the second vector are numbered from 16 on.
        let mask: Vec<u8> = (0..16)
            .map(|byte| {
                let (lane, within) = (byte / size, byte % size);
                first + lane / 2 * size + within + lane % 2 * 16
            })
            .collect();
        let mask = self.cursor.func.dfg.immediates.push(mask.into());
        let [x, y] = [x, y].map(|reg| {
            let value = self.value(reg);
            self.bitcast(types::I8X16, value)
        });
        let bytes = self.ins().shuffle(x, y, mask);
        self.bitcast(clif, bytes)
    }

    fn convert(&mut self, ty: RegType, x: Reg) -> Value {
        let value = self.value(x);
        let to = clif_type(ty);
        let from = match self.kernel.reg_type(x) {
            RegType::Number { scalar, .. } => scalar,
            // A scalar mask is its number already.
            RegType::Mask { .. } => return value,
        };
        let target = match ty {
            RegType::Number { scalar, .. } => scalar,
            RegType::Mask { .. } => unreachable!("the verifier has masks converted to U8 only"),
        };
        match (from, target) {
            (Scalar::F32, Scalar::F64) => self.ins().fpromote(to, value),
            (Scalar::F64, Scalar::F32) => self.ins().fdemote(to, value),
            (Scalar::F32 | Scalar::F64, Scalar::I32 | Scalar::I64) => {
                self.ins().fcvt_to_sint_sat(to, value)
            }
            (Scalar::F32 | Scalar::F64, Scalar::U8) => self.float_to_byte(value),
            (Scalar::I32 | Scalar::I64, Scalar::F32 | Scalar::F64) => {
                self.ins().fcvt_from_sint(to, value)
            }
            (Scalar::U8, Scalar::F32 | Scalar::F64) => {
                let wide = self.ins().uextend(types::I32, value);
                self.ins().fcvt_from_sint(to, wide)
            }
            (Scalar::I32, Scalar::I64) => self.ins().sextend(to, value),
            (Scalar::I64, Scalar::I32) | (Scalar::I32 | Scalar::I64, Scalar::U8) => {
                self.ins().ireduce(to, value)
            }
            (Scalar::U8, Scalar::I32 | Scalar::I64) => self.ins().uextend(to, value),
            (Scalar::F32, Scalar::F32)
            | (Scalar::F64, Scalar::F64)
            | (Scalar::I32, Scalar::I32)
            | (Scalar::I64, Scalar::I64)
            | (Scalar::U8, Scalar::U8) => value,
        }
    }

    /// Saturates to 32 bits, then to the 8 that remain; NaN is 0 in both.
    fn float_to_byte(&mut self, value: Value) -> Value {
        let wide = self.ins().fcvt_to_sint_sat(types::I32, value);
        let [low, high] = [0, 255].map(|bound| self.ins().iconst(types::I32, bound));
        let wide = self.ins().smax(wide, low);
        let wide = self.ins().smin(wide, high);
        self.ins().ireduce(types::I8, wide)
    }
}

/// Which result of a division.
#[derive(Debug, Clone, Copy)]
enum Division {
    Quotient,
    Remainder,
}

/// Whether the integers of this type have a sign.
fn is_signed(ty: RegType) -> bool {
    match ty {
        RegType::Number { scalar, .. } => scalar_type(scalar) != types::I8,
        RegType::Mask { .. } => false,
    }
}

/// Ordered conditions, but for `Ne`, which is true of NaN.
fn float_condition(op: CompareInst) -> FloatCC {
    match op {
        CompareInst::Eq => FloatCC::Equal,
        CompareInst::Ne => FloatCC::NotEqual,
        CompareInst::Lt => FloatCC::LessThan,
        CompareInst::Le => FloatCC::LessThanOrEqual,
        CompareInst::Gt => FloatCC::GreaterThan,
        CompareInst::Ge => FloatCC::GreaterThanOrEqual,
    }
}

fn integer_condition(op: CompareInst, ty: RegType) -> IntCC {
    let signed = match op {
        CompareInst::Eq => IntCC::Equal,
        CompareInst::Ne => IntCC::NotEqual,
        CompareInst::Lt => IntCC::SignedLessThan,
        CompareInst::Le => IntCC::SignedLessThanOrEqual,
        CompareInst::Gt => IntCC::SignedGreaterThan,
        CompareInst::Ge => IntCC::SignedGreaterThanOrEqual,
    };
    if is_signed(ty) { signed } else { signed.unsigned() }
}
