//! Writes straight-line code into a kernel: instructions shared and hoisted as they are written.
//!
//! Everything here goes through [`KernelBuilder::hoist`], so what a loop does not change is
//! computed outside it, and equal instructions once. Callers therefore write the expression that
//! they mean, wherever they are.

use kilngrad_loops::{
    BinaryInst, CompareInst, Inst, KernelBuilder, MaskInst, Reg, RegType, Scalar, UnaryInst,
};

/// What a body is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Logical lanes of the body: 1, 2 or 4. Numbers of 32 bits fill one register with four lanes,
    /// numbers of 64 bits one register with two and two registers with four.
    pub(crate) lanes: usize,
    /// Whether the machine multiplies and adds with one rounding.
    pub(crate) fma: bool,
}

impl Target {
    /// The same machine, one lane.
    pub(crate) fn scalar(self) -> Target {
        Target { lanes: 1, ..self }
    }
}

/// A kernel's builder with the target of the body that is being written.
pub(crate) struct Code<'b> {
    /// Where statements go.
    pub(crate) b: &'b mut KernelBuilder,
    /// What they are written for.
    pub(crate) target: Target,
}

impl<'b> Code<'b> {
    pub(crate) fn new(b: &'b mut KernelBuilder, target: Target) -> Code<'b> {
        Code { b, target }
    }

    pub(crate) fn ty(&self, reg: Reg) -> RegType {
        self.b.reg_type(reg)
    }

    /// The scalar type of a number's lanes.
    ///
    /// # Panics
    ///
    /// If the register holds a mask.
    pub(crate) fn scalar(&self, reg: Reg) -> Scalar {
        match self.ty(reg) {
            RegType::Number { scalar, .. } => scalar,
            RegType::Mask { .. } => panic!("expected a number, found a mask"),
        }
    }

    pub(crate) fn unary(&mut self, op: UnaryInst, x: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x), Inst::Unary(op, x))
    }

    pub(crate) fn binary(&mut self, op: BinaryInst, x: Reg, y: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x), Inst::Binary(op, x, y))
    }

    pub(crate) fn add(&mut self, x: Reg, y: Reg) -> Reg {
        self.binary(BinaryInst::Add, x, y)
    }

    pub(crate) fn sub(&mut self, x: Reg, y: Reg) -> Reg {
        self.binary(BinaryInst::Sub, x, y)
    }

    pub(crate) fn mul(&mut self, x: Reg, y: Reg) -> Reg {
        self.binary(BinaryInst::Mul, x, y)
    }

    pub(crate) fn div(&mut self, x: Reg, y: Reg) -> Reg {
        self.binary(BinaryInst::Div, x, y)
    }

    pub(crate) fn neg(&mut self, x: Reg) -> Reg {
        self.unary(UnaryInst::Neg, x)
    }

    pub(crate) fn abs(&mut self, x: Reg) -> Reg {
        self.unary(UnaryInst::Abs, x)
    }

    /// `x·y + z`, rounded once where the machine can and twice elsewhere.
    pub(crate) fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        if self.target.fma {
            self.b.hoist(self.b.reg_type(z), Inst::Fma(x, y, z))
        } else {
            let product = self.mul(x, y);
            self.add(product, z)
        }
    }

    pub(crate) fn compare(&mut self, op: CompareInst, x: Reg, y: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x).mask(), Inst::Compare(op, x, y))
    }

    pub(crate) fn mask(&mut self, op: MaskInst, x: Reg, y: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x), Inst::Mask(op, x, y))
    }

    pub(crate) fn mask_not(&mut self, mask: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(mask), Inst::MaskNot(mask))
    }

    /// `then` where the mask is set, else `otherwise`.
    pub(crate) fn select(&mut self, mask: Reg, then: Reg, otherwise: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(then), Inst::Select(mask, then, otherwise))
    }

    /// Whether `x` is NaN, lane by lane.
    pub(crate) fn is_nan(&mut self, x: Reg) -> Reg {
        self.compare(CompareInst::Ne, x, x)
    }

    /// The same numbers in another scalar type; see [`Inst::Convert`] for what vectors may.
    pub(crate) fn convert(&mut self, scalar: Scalar, x: Reg) -> Reg {
        let ty = RegType::Number { scalar, lanes: self.ty(x).lanes() };
        if self.ty(x) == ty { x } else { self.b.hoist(ty, Inst::Convert(x)) }
    }

    /// The same bits as lanes of another scalar type of equal size.
    pub(crate) fn bitcast(&mut self, scalar: Scalar, x: Reg) -> Reg {
        let from = self.ty(x);
        let bytes = self.scalar(x).size() * usize::from(from.lanes());
        let ty = RegType::Number { scalar, lanes: (bytes / scalar.size()) as u8 };
        if from == ty { x } else { self.b.hoist(ty, Inst::Bitcast(x)) }
    }

    /// `x` in every lane of a register of type `ty`.
    pub(crate) fn splat(&mut self, ty: RegType, x: Reg) -> Reg {
        // The builder's splat knows constants.
        self.b.splat(ty, x)
    }

    /// One lane of a vector of numbers; a scalar is its own lane 0.
    pub(crate) fn lane(&mut self, vector: Reg, lane: usize) -> Reg {
        if self.ty(vector).lanes() == 1 {
            return vector;
        }
        let ty = RegType::scalar(self.scalar(vector));
        self.b.hoist(ty, Inst::Lane { vector, lane: lane as u8 })
    }

    /// The float nearest to `value` in every lane of a register of the type of `like`.
    pub(crate) fn float_like(&mut self, like: Reg, value: f64) -> Reg {
        let lanes = self.ty(like).lanes();
        let scalar = self.scalar(like);
        self.b.const_float(scalar, value, lanes)
    }

    /// The integer in every lane of a register of the type of `like`.
    pub(crate) fn int_like(&mut self, like: Reg, value: i64) -> Reg {
        let lanes = self.ty(like).lanes();
        let scalar = self.scalar(like);
        self.b.const_int(scalar, value, lanes)
    }

    /// The bit pattern in every lane of a register of the type of `like`.
    pub(crate) fn bits_like(&mut self, like: Reg, bits: u64) -> Reg {
        self.b.constant(self.b.reg_type(like), bits)
    }

    /// Shift by a constant amount.
    pub(crate) fn shift(&mut self, op: BinaryInst, x: Reg, amount: u32) -> Reg {
        let amount = self.int_like(x, i64::from(amount));
        self.binary(op, x, amount)
    }
}
