//! A value of a body: all its lanes, in the form that is cheapest to have them in.
//!
//! A body computes one element (one logical lane) or several neighbours at once along the vector
//! axis. Numbers of 32 and 64 bits may meet in one body, and bytes have no vector form, so a value
//! is one of three things:
//!
//! - *uniform*: a scalar that is the same in every lane, computed once and outside the loop;
//! - *packed*: vector registers that hold the lanes in order, one or two of them;
//! - *separate*: a scalar for each lane.
//!
//! Truth values are masks in each of the three; packed ones are as wide as what was compared.
//! Moving between forms goes through lanes, since the loop IR has no shuffles.

use kilngrad_ir::DType;
use kilngrad_loops::math::Arithmetic;
use kilngrad_loops::{Affine, Buffer, CompareInst, Inst, LoopVar, Reg, RegType, Scalar};
use smallvec::SmallVec;

use crate::code::Code;

/// Stands for the lane's number in an affine index; no loop has it.
pub(crate) const LANE: LoopVar = LoopVar(u32::MAX);

/// The lanes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// The same scalar in every lane.
    Uniform(Reg),
    /// The lanes in order, in vector registers.
    Packed(SmallVec<[Reg; 2]>),
    /// A scalar for each lane.
    Separate(SmallVec<[Reg; 4]>),
}

impl Lanes {
    /// The registers, in order.
    pub(crate) fn regs(&self) -> &[Reg] {
        match self {
            Lanes::Uniform(reg) => std::slice::from_ref(reg),
            Lanes::Packed(regs) => regs,
            Lanes::Separate(regs) => regs,
        }
    }

    /// The same form with each register replaced.
    pub(crate) fn map(&self, mut f: impl FnMut(Reg) -> Reg) -> Lanes {
        match self {
            Lanes::Uniform(reg) => Lanes::Uniform(f(*reg)),
            Lanes::Packed(regs) => Lanes::Packed(regs.iter().map(|reg| f(*reg)).collect()),
            Lanes::Separate(regs) => Lanes::Separate(regs.iter().map(|reg| f(*reg)).collect()),
        }
    }

    /// Whether every lane is the same scalar.
    pub(crate) fn is_uniform(&self) -> bool {
        matches!(self, Lanes::Uniform(_))
    }
}

/// The scalar that an element of `dtype` is in memory.
pub(crate) fn memory_scalar(dtype: DType) -> Scalar {
    match dtype {
        DType::F32 => Scalar::F32,
        DType::F64 => Scalar::F64,
        DType::I32 => Scalar::I32,
        DType::I64 => Scalar::I64,
        DType::U8 | DType::Bool => Scalar::U8,
    }
}

/// Whether values of `dtype` have a packed form as numbers.
pub(crate) fn packs(dtype: DType) -> bool {
    match dtype {
        DType::F32 | DType::F64 | DType::I32 | DType::I64 => true,
        DType::U8 | DType::Bool => false,
    }
}

/// An affine index split into what lane 0 sees and the step from lane to lane.
pub(crate) fn split_lane(at: &Affine) -> (Affine, i64) {
    let step = at.coefficient(LANE);
    (at.clone().plus(LANE, -step), step)
}

/// Moving between memory, scalars and vectors.
impl Code<'_> {
    /// The integer `at` in each lane.
    pub(crate) fn index(&mut self, scalar: Scalar, at: &Affine) -> Lanes {
        let (base, step) = split_lane(at);
        if step == 0 || self.target.lanes == 1 {
            let inst = Inst::Index { at: base, step: 0 };
            return Lanes::Uniform(self.b.hoist(RegType::scalar(scalar), inst));
        }
        let ty = RegType::vector(scalar);
        let width = usize::from(ty.lanes());
        let parts = (0..self.target.lanes / width).map(|part| {
            let at = base.clone().offset((part * width) as i64 * step);
            self.b.hoist(ty, Inst::Index { at, step })
        });
        Lanes::Packed(parts.collect())
    }

    /// Elements of `dtype` at `at` for each lane.
    pub(crate) fn load(&mut self, dtype: DType, buffer: Buffer, at: &Affine) -> Lanes {
        let (base, step) = split_lane(at);
        let scalar = memory_scalar(dtype);
        if step == 0 || self.target.lanes == 1 {
            return Lanes::Uniform(self.load_one(dtype, buffer, base));
        }
        if step == 1 && packs(dtype) {
            let ty = RegType::vector(scalar);
            let width = usize::from(ty.lanes());
            let parts = (0..self.target.lanes / width).map(|part| {
                let at = base.clone().offset((part * width) as i64);
                self.b.hoist(ty, Inst::Load { buffer, at })
            });
            return Lanes::Packed(parts.collect());
        }
        let lanes = (0..self.target.lanes)
            .map(|lane| self.load_one(dtype, buffer, base.clone().offset(lane as i64 * step)));
        Lanes::Separate(lanes.collect())
    }

    fn load_one(&mut self, dtype: DType, buffer: Buffer, at: Affine) -> Reg {
        let ty = RegType::scalar(memory_scalar(dtype));
        let element = self.b.hoist(ty, Inst::Load { buffer, at });
        if dtype == DType::Bool {
            let zero = self.int_like(element, 0);
            self.compare(CompareInst::Ne, element, zero)
        } else {
            element
        }
    }

    /// Writes each lane to its element at `at`, whose lanes are apart from each other.
    pub(crate) fn store(&mut self, dtype: DType, buffer: Buffer, at: &Affine, value: &Lanes) {
        let (base, step) = split_lane(at);
        if self.target.lanes == 1 || step == 0 {
            let element = self.separate(value)[0];
            let element = self.stored(dtype, element);
            return self.b.store(buffer, base, element);
        }
        if step == 1 && packs(dtype) {
            let width = 16 / memory_scalar(dtype).size();
            for (part, reg) in self.packed(dtype, value).into_iter().enumerate() {
                self.b.store(buffer, base.clone().offset((part * width) as i64), reg);
            }
            return;
        }
        let lanes = match value {
            // A mask is spread as numbers: one selection for all lanes.
            Lanes::Packed(masks) if dtype == DType::Bool => self.mask_lanes(masks),
            Lanes::Uniform(_) | Lanes::Packed(_) | Lanes::Separate(_) => self.separate(value),
        };
        for (lane, reg) in lanes.into_iter().enumerate() {
            let element = self.stored(dtype, reg);
            self.b.store(buffer, base.clone().offset(lane as i64 * step), element);
        }
    }

    /// A scalar as it is in memory.
    fn stored(&mut self, dtype: DType, element: Reg) -> Reg {
        if dtype == DType::Bool { self.convert(Scalar::U8, element) } else { element }
    }

    /// A scalar for each lane; one for a uniform value of a body with one lane.
    pub(crate) fn separate(&mut self, value: &Lanes) -> SmallVec<[Reg; 4]> {
        match value {
            Lanes::Uniform(reg) => SmallVec::from_elem(*reg, self.target.lanes),
            Lanes::Separate(regs) => regs.clone(),
            Lanes::Packed(regs) if matches!(self.ty(regs[0]), RegType::Mask { .. }) => {
                let numbers = self.mask_lanes(regs);
                numbers
                    .into_iter()
                    .map(|number| {
                        let zero = self.int_like(number, 0);
                        self.compare(CompareInst::Ne, number, zero)
                    })
                    .collect()
            }
            Lanes::Packed(regs) => self.spread(regs),
        }
    }

    /// 0 or 1 for each lane of masks.
    fn mask_lanes(&mut self, masks: &[Reg]) -> SmallVec<[Reg; 4]> {
        let numbers: SmallVec<[Reg; 2]> = masks
            .iter()
            .map(|&mask| {
                let scalar = match self.ty(mask) {
                    RegType::Mask { bits: 64, .. } => Scalar::I64,
                    RegType::Mask { .. } | RegType::Number { .. } => Scalar::I32,
                };
                let lanes = self.ty(mask).lanes();
                let one = self.b.const_int(scalar, 1, lanes);
                let zero = self.b.const_int(scalar, 0, lanes);
                self.select(mask, one, zero)
            })
            .collect();
        self.spread(&numbers)
    }

    fn spread(&mut self, vectors: &[Reg]) -> SmallVec<[Reg; 4]> {
        let mut lanes = SmallVec::new();
        for &vector in vectors {
            for lane in 0..usize::from(self.ty(vector).lanes()) {
                lanes.push(self.lane(vector, lane));
            }
        }
        lanes
    }

    /// Vector registers of numbers of `dtype`, which packs; scalars in a body of one lane.
    pub(crate) fn packed(&mut self, dtype: DType, value: &Lanes) -> SmallVec<[Reg; 2]> {
        let ty = match self.target.lanes {
            1 => RegType::scalar(memory_scalar(dtype)),
            _ => RegType::vector(memory_scalar(dtype)),
        };
        self.packed_as(ty, value)
    }

    /// Vector masks of lanes of `bits` bits; scalar masks in a body of one lane.
    pub(crate) fn packed_mask(&mut self, bits: u8, value: &Lanes) -> SmallVec<[Reg; 2]> {
        let ty = match self.target.lanes {
            1 => RegType::Mask { bits: 8, lanes: 1 },
            _ => RegType::Mask { bits, lanes: 128 / bits },
        };
        self.packed_as(ty, value)
    }

    fn packed_as(&mut self, ty: RegType, value: &Lanes) -> SmallVec<[Reg; 2]> {
        let parts = self.target.lanes / usize::from(ty.lanes());
        match value {
            Lanes::Uniform(reg) => {
                let vector = self.splat(ty, *reg);
                SmallVec::from_elem(vector, parts)
            }
            Lanes::Packed(regs) if self.ty(regs[0]) == ty => regs.clone(),
            Lanes::Packed(_) | Lanes::Separate(_) => {
                let lanes = self.separate(value);
                lanes.chunks(usize::from(ty.lanes())).map(|part| self.assemble(ty, part)).collect()
            }
        }
    }

    /// A vector of type `ty` from its lanes: each is put everywhere, and chosen in its place.
    pub(crate) fn assemble(&mut self, ty: RegType, lanes: &[Reg]) -> Reg {
        let mut vector = self.splat(ty, lanes[0]);
        for (lane, &scalar) in lanes.iter().enumerate().skip(1) {
            if scalar == lanes[0] {
                continue;
            }
            let here = self.lane_is(ty, lane);
            let everywhere = self.splat(ty, scalar);
            vector = self.select(here, everywhere, vector);
        }
        vector
    }

    /// The mask that is set in one lane.
    fn lane_is(&mut self, ty: RegType, lane: usize) -> Reg {
        let scalar = if ty.lanes() == 2 { Scalar::I64 } else { Scalar::I32 };
        let numbers = Inst::Index { at: Affine::constant(0), step: 1 };
        let numbers = self.b.hoist(RegType::vector(scalar), numbers);
        let this = self.int_like(numbers, lane as i64);
        self.compare(CompareInst::Eq, numbers, this)
    }
}
