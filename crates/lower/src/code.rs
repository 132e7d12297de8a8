//! Writes straight-line code into a kernel: instructions shared and hoisted as they are written.
//!
//! Everything here goes through [`KernelBuilder::hoist`], so what a loop does not change is
//! computed outside it, and equal instructions once. Callers therefore write the expression that
//! they mean, wherever they are.

use kilngrad_loops::math::{Arithmetic, Widened};
use kilngrad_loops::{
    BinaryInst, CompareInst, Inst, KernelBuilder, MaskInst, Reg, RegType, Scalar, UnaryInst,
};
use smallvec::SmallVec;

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

    /// The same numbers in another scalar type; see [`Inst::Convert`] for what vectors may.
    pub(crate) fn convert(&mut self, scalar: Scalar, x: Reg) -> Reg {
        let ty = RegType::Number { scalar, lanes: self.ty(x).lanes() };
        if self.ty(x) == ty { x } else { self.b.hoist(ty, Inst::Convert(x)) }
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
}

impl Arithmetic for Code<'_> {
    type Reg = Reg;
    type Mask = Reg;

    /// # Panics
    ///
    /// If the register holds a mask.
    fn scalar(&self, x: Reg) -> Scalar {
        match self.ty(x) {
            RegType::Number { scalar, .. } => scalar,
            RegType::Mask { .. } => panic!("expected a number, found a mask"),
        }
    }

    fn has_fma(&self) -> bool {
        self.target.fma
    }

    fn bits_like(&mut self, like: Reg, bits: u64) -> Reg {
        self.b.constant(self.b.reg_type(like), bits)
    }

    fn unary(&mut self, op: UnaryInst, x: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x), Inst::Unary(op, x))
    }

    fn binary(&mut self, op: BinaryInst, x: Reg, y: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x), Inst::Binary(op, x, y))
    }

    fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        if self.target.fma {
            self.b.hoist(self.b.reg_type(z), Inst::Fma(x, y, z))
        } else {
            let product = self.mul(x, y);
            self.add(product, z)
        }
    }

    fn compare(&mut self, op: CompareInst, x: Reg, y: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x).mask(), Inst::Compare(op, x, y))
    }

    fn mask(&mut self, op: MaskInst, x: Reg, y: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(x), Inst::Mask(op, x, y))
    }

    fn mask_not(&mut self, mask: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(mask), Inst::MaskNot(mask))
    }

    fn select(&mut self, mask: Reg, then: Reg, otherwise: Reg) -> Reg {
        self.b.hoist(self.b.reg_type(then), Inst::Select(mask, then, otherwise))
    }

    fn bitcast(&mut self, scalar: Scalar, x: Reg) -> Reg {
        let from = self.ty(x);
        let bytes = self.scalar(x).size() * usize::from(from.lanes());
        let ty = RegType::Number { scalar, lanes: (bytes / scalar.size()) as u8 };
        if from == ty { x } else { self.b.hoist(ty, Inst::Bitcast(x)) }
    }

    fn to_f32(&mut self, x: Reg) -> Reg {
        self.convert(Scalar::F32, x)
    }

    /// One scalar, or two vectors of two: there is no instruction that widens a vector.
    fn widened(&mut self, x: Reg) -> Widened<Reg> {
        let lanes = usize::from(self.ty(x).lanes());
        let wide: SmallVec<[Reg; 4]> = (0..lanes)
            .map(|lane| {
                let lane = self.lane(x, lane);
                self.convert(Scalar::F64, lane)
            })
            .collect();
        match wide.as_slice() {
            [lane] => Widened { low: *lane, high: None },
            lanes => {
                let (low, high) = lanes.split_at(lanes.len() / 2);
                let ty = RegType::vector(Scalar::F64);
                Widened { low: self.assemble(ty, low), high: Some(self.assemble(ty, high)) }
            }
        }
    }

    fn narrowed(&mut self, x: Widened<Reg>) -> Reg {
        let mut lanes: SmallVec<[Reg; 4]> = SmallVec::new();
        for part in std::iter::once(x.low).chain(x.high) {
            for lane in 0..usize::from(self.ty(part).lanes()) {
                let lane = self.lane(part, lane);
                lanes.push(self.convert(Scalar::F32, lane));
            }
        }
        match lanes.as_slice() {
            [lane] => *lane,
            lanes => self.assemble(RegType::vector(Scalar::F32), lanes),
        }
    }
}
