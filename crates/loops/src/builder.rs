//! Writes kernels: registers, loop variables and scopes are kept in order while statements come.
//!
//! Two things are shared so that lowering need not care. A constant is written once, at the
//! kernel's top. A splat is written once, in the scope that defines its scalar, hence outside
//! every loop that does not change it; the splat of a constant is a constant.
//! [`KernelBuilder::hoist`] does the same for any instruction.
//!
//! The builder does not judge what it is given: [`verify_kernel`](crate::verify_kernel) does.

use std::collections::HashMap;

use crate::kernel::{
    Access, Affine, Apply, BinaryInst, Buffer, BufferDecl, Carry, CompareInst, Half, Inst, Kernel,
    Loop, LoopVar, MaskInst, Reg, RegType, Scalar, Stmt, TileCall, UnaryInst,
};

/// A kernel under construction.
///
/// # Examples
///
/// ```
/// use kilngrad_loops::{Access, Affine, BinaryInst, KernelBuilder, Scalar, verify_kernel};
///
/// // x[i] = 2 · x[i], four elements at a time.
/// let mut b = KernelBuilder::new("double", 1);
/// let x = b.buffer("x", Scalar::F32, 64, Access::ReadWrite);
/// let two = b.const_f32(2.0, 4);
/// b.for_(16, |b, i| {
///     let at = Affine::constant(0).plus(i, 4);
///     let value = b.load(x, at.clone(), 4);
///     let doubled = b.binary(BinaryInst::Mul, two, value);
///     b.store(x, at, doubled);
/// });
/// let kernel = b.finish();
/// verify_kernel(&kernel)?;
/// # Ok::<(), kilngrad_loops::VerifyError>(())
/// ```
#[derive(Debug)]
pub struct KernelBuilder {
    name: String,
    chunks: usize,
    buffers: Vec<BufferDecl>,
    registers: Vec<RegType>,
    /// For each register, the index in `scopes` of the scope that defines it.
    depths: Vec<usize>,
    /// For each register, the number of the scope that defines it.
    homes: Vec<u32>,
    /// For each loop variable, the index in `scopes` of its body.
    variables: Vec<usize>,
    loops: u32,
    /// Constants; they precede the outermost scope.
    prologue: Vec<Stmt>,
    /// The open scopes, outermost first; never empty.
    scopes: Vec<Scope>,
    constants: HashMap<(RegType, u64), Reg>,
    constant_bits: HashMap<Reg, u64>,
}

#[derive(Debug, Default)]
struct Scope {
    /// Tells this scope from one that was open at the same depth before.
    number: u32,
    body: Vec<Stmt>,
    splats: HashMap<(RegType, Reg), Reg>,
    hoisted: HashMap<(RegType, Inst), Reg>,
}

impl KernelBuilder {
    /// An empty kernel that runs once for each of `chunks` chunks.
    pub fn new(name: impl Into<String>, chunks: usize) -> KernelBuilder {
        KernelBuilder {
            name: name.into(),
            chunks,
            buffers: Vec::new(),
            registers: Vec::new(),
            depths: Vec::new(),
            homes: Vec::new(),
            variables: vec![0],
            loops: 0,
            prologue: Vec::new(),
            scopes: vec![Scope::default()],
            constants: HashMap::new(),
            constant_bits: HashMap::new(),
        }
    }

    /// Declares the next buffer.
    pub fn buffer(
        &mut self,
        name: impl Into<String>,
        scalar: Scalar,
        len: usize,
        access: Access,
    ) -> Buffer {
        self.buffers.push(BufferDecl { name: name.into(), scalar, len, access });
        Buffer(self.buffers.len() as u32 - 1)
    }

    /// The declaration of a buffer.
    pub fn buffer_decl(&self, buffer: Buffer) -> &BufferDecl {
        &self.buffers[buffer.0 as usize]
    }

    /// The type of a register.
    pub fn reg_type(&self, reg: Reg) -> RegType {
        self.registers[reg.0 as usize]
    }

    /// The finished kernel.
    pub fn finish(mut self) -> Kernel {
        let mut body = self.prologue;
        body.append(&mut self.scopes[0].body);
        Kernel {
            name: self.name,
            chunks: self.chunks,
            buffers: self.buffers,
            registers: self.registers,
            body,
        }
    }
}

/// Structure: loops, stores, tiles and functions.
impl KernelBuilder {
    /// Runs `body` `extent` times; returns what the closure returns, for errors and the like.
    /// Registers of the body must not be used after it.
    pub fn for_<T>(
        &mut self,
        extent: usize,
        body: impl FnOnce(&mut KernelBuilder, LoopVar) -> T,
    ) -> T {
        let var = self.open_loop();
        let result = body(self, var);
        self.close_loop(var, None, extent, Vec::new());
        result
    }

    /// Runs `body` once, for the iteration of `extent` that is nearest to `index`, an `I64`
    /// scalar; not at all where the extent is zero. Registers of the body must not be used after
    /// it.
    pub fn pick<T>(
        &mut self,
        index: Reg,
        extent: usize,
        body: impl FnOnce(&mut KernelBuilder, LoopVar) -> T,
    ) -> T {
        let var = self.open_loop();
        let result = body(self, var);
        self.close_loop(var, Some(index), extent, Vec::new());
        result
    }

    /// Runs `body` `extent` times. In the first iteration its registers are `init`, in every
    /// other what the last one returned; so are the results, after the last.
    ///
    /// # Panics
    ///
    /// If the body does not return one register for each of `init`.
    pub fn for_carry(
        &mut self,
        extent: usize,
        init: &[Reg],
        body: impl FnOnce(&mut KernelBuilder, LoopVar, &[Reg]) -> Vec<Reg>,
    ) -> Vec<Reg> {
        self.carrying(None, extent, init, body)
    }

    /// The elements of some buffers that are nearest to `index`, an `I64` scalar: each buffer's at
    /// `start` plus an index below `extent`.
    ///
    /// # Panics
    ///
    /// If the extent is zero.
    pub fn load_picked(
        &mut self,
        index: Reg,
        extent: usize,
        from: &[(Buffer, Affine)],
    ) -> Vec<Reg> {
        assert!(extent > 0, "an element is picked of at least one");
        let number = |b: &mut Self, buffer: Buffer| {
            let scalar = b.buffer_decl(buffer).scalar;
            b.constant(RegType::Number { scalar, lanes: 1 }, 0)
        };
        let init: Vec<Reg> = from.iter().map(|&(buffer, _)| number(self, buffer)).collect();
        self.carrying(Some(index), extent, &init, |b, var, _| {
            let loads = from.iter();
            loads.map(|(buffer, start)| b.load(*buffer, start.clone().plus(var, 1), 1)).collect()
        })
    }

    fn carrying(
        &mut self,
        pick: Option<Reg>,
        extent: usize,
        init: &[Reg],
        body: impl FnOnce(&mut KernelBuilder, LoopVar, &[Reg]) -> Vec<Reg>,
    ) -> Vec<Reg> {
        let var = self.open_loop();
        let types: Vec<RegType> = init.iter().map(|&reg| self.reg_type(reg)).collect();
        let params: Vec<Reg> = types.iter().map(|&ty| self.register(ty, self.depth())).collect();
        let next = body(self, var, &params);
        assert_eq!(next.len(), init.len(), "a loop's body returns one register a carry");
        let outside = self.depth() - 1;
        let results: Vec<Reg> = types.iter().map(|&ty| self.register(ty, outside)).collect();
        let carries = (0..init.len())
            .map(|at| Carry {
                param: params[at],
                init: init[at],
                next: next[at],
                result: results[at],
            })
            .collect();
        self.close_loop(var, pick, extent, carries);
        results
    }

    /// Writes as many elements as `value` has lanes.
    pub fn store(&mut self, buffer: Buffer, at: Affine, value: Reg) {
        self.push(Stmt::Store { buffer, at, value });
    }

    /// Calls a contraction tile.
    pub fn tile(&mut self, call: TileCall) {
        self.push(Stmt::Tile(Box::new(call)));
    }

    /// Applies a function to elements in place.
    pub fn apply(&mut self, apply: Apply) {
        self.push(Stmt::Apply(Box::new(apply)));
    }

    /// Defines a register of type `ty` here. The named methods are shorter, and share.
    pub fn let_(&mut self, ty: RegType, inst: Inst) -> Reg {
        let reg = self.register(ty, self.depth());
        self.push(Stmt::Let { reg, inst });
        reg
    }

    /// Defines a register of type `ty` in the outermost open scope that knows all that `inst`
    /// needs, hence outside every loop that does not change it; or finds the register that an
    /// equal instruction defined there. A load from memory that the kernel writes stays here and
    /// is not shared, as its place among stores matters.
    pub fn hoist(&mut self, ty: RegType, inst: Inst) -> Reg {
        if let Inst::Load { buffer, .. } = inst
            && self.buffer_decl(buffer).access != Access::Read
        {
            return self.let_(ty, inst);
        }
        let depth = self.depth_of(&inst).min(self.depth());
        let key = (ty, inst);
        if let Some(&reg) = self.scopes[depth].hoisted.get(&key) {
            return reg;
        }
        let reg = self.register(ty, depth);
        // What an open scope holds so far precedes the loop that is open inside it.
        self.scopes[depth].body.push(Stmt::Let { reg, inst: key.1.clone() });
        self.scopes[depth].hoisted.insert(key, reg);
        reg
    }

    /// Whether a register may be used here: the scope that defines it is still open.
    pub fn in_scope(&self, reg: Reg) -> bool {
        let scope = self.scopes.get(self.depths[reg.0 as usize]);
        scope.is_some_and(|scope| scope.number == self.homes[reg.0 as usize])
    }
}

/// Constants. Each is written once, at the kernel's top.
impl KernelBuilder {
    /// The lane pattern `bits`, in a register of type `ty`.
    pub fn constant(&mut self, ty: RegType, bits: u64) -> Reg {
        if let Some(&reg) = self.constants.get(&(ty, bits)) {
            return reg;
        }
        let reg = self.register(ty, 0);
        self.prologue.push(Stmt::Let { reg, inst: Inst::Const { bits } });
        self.constants.insert((ty, bits), reg);
        self.constant_bits.insert(reg, bits);
        reg
    }

    /// An `F32` in each of `lanes` lanes.
    pub fn const_f32(&mut self, value: f32, lanes: u8) -> Reg {
        let ty = RegType::Number { scalar: Scalar::F32, lanes };
        self.constant(ty, u64::from(value.to_bits()))
    }

    /// An `F64` in each of `lanes` lanes.
    pub fn const_f64(&mut self, value: f64, lanes: u8) -> Reg {
        self.constant(RegType::Number { scalar: Scalar::F64, lanes }, value.to_bits())
    }

    /// An integer, wrapped to `scalar`, in each of `lanes` lanes.
    ///
    /// # Panics
    ///
    /// If `scalar` is a float.
    pub fn const_int(&mut self, scalar: Scalar, value: i64, lanes: u8) -> Reg {
        let bits = match scalar {
            Scalar::U8 => u64::from(value as u8),
            Scalar::I32 => u64::from(value as u32),
            Scalar::I64 => value as u64,
            Scalar::F32 | Scalar::F64 => panic!("expected an integer scalar, found {scalar}"),
        };
        self.constant(RegType::Number { scalar, lanes }, bits)
    }

    /// A float, rounded to `scalar`, in each of `lanes` lanes.
    ///
    /// # Panics
    ///
    /// If `scalar` is an integer.
    pub fn const_float(&mut self, scalar: Scalar, value: f64, lanes: u8) -> Reg {
        match scalar {
            Scalar::F32 => self.const_f32(value as f32, lanes),
            Scalar::F64 => self.const_f64(value, lanes),
            Scalar::I32 | Scalar::I64 | Scalar::U8 => {
                panic!("expected a float scalar, found {scalar}")
            }
        }
    }
}

/// Instructions.
impl KernelBuilder {
    /// The value of `at`, and `step` more from lane to lane.
    pub fn index(&mut self, scalar: Scalar, lanes: u8, at: Affine, step: i64) -> Reg {
        self.let_(RegType::Number { scalar, lanes }, Inst::Index { at, step })
    }

    /// `lanes` consecutive elements.
    pub fn load(&mut self, buffer: Buffer, at: Affine, lanes: u8) -> Reg {
        let scalar = self.buffer_decl(buffer).scalar;
        self.let_(RegType::Number { scalar, lanes }, Inst::Load { buffer, at })
    }

    /// `value` in every lane of a register of type `ty`; `value` itself where `ty` is its type.
    pub fn splat(&mut self, ty: RegType, value: Reg) -> Reg {
        if self.reg_type(value) == ty {
            return value;
        }
        if let Some(&bits) = self.constant_bits.get(&value) {
            return self.constant(ty, bits);
        }
        // A register used out of its scope is left for the verifier to refuse.
        let depth = self.depths[value.0 as usize].min(self.depth());
        if let Some(&reg) = self.scopes[depth].splats.get(&(ty, value)) {
            return reg;
        }
        let reg = self.register(ty, depth);
        self.scopes[depth].body.push(Stmt::Let { reg, inst: Inst::Splat(value) });
        self.scopes[depth].splats.insert((ty, value), reg);
        reg
    }

    /// One lane of a vector; a scalar is its own lane 0.
    pub fn lane(&mut self, vector: Reg, lane: u8) -> Reg {
        match self.reg_type(vector) {
            RegType::Number { lanes: 1, .. } if lane == 0 => vector,
            RegType::Number { scalar, .. } => {
                self.let_(RegType::scalar(scalar), Inst::Lane { vector, lane })
            }
            RegType::Mask { .. } => {
                self.let_(RegType::Mask { bits: 8, lanes: 1 }, Inst::Lane { vector, lane })
            }
        }
    }

    /// Lane by lane.
    pub fn unary(&mut self, op: UnaryInst, value: Reg) -> Reg {
        self.let_(self.reg_type(value), Inst::Unary(op, value))
    }

    /// Lane by lane.
    pub fn binary(&mut self, op: BinaryInst, lhs: Reg, rhs: Reg) -> Reg {
        self.let_(self.reg_type(lhs), Inst::Binary(op, lhs, rhs))
    }

    /// `a·b + c` with one rounding.
    pub fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        self.let_(self.reg_type(c), Inst::Fma(a, b, c))
    }

    /// Lane by lane, into a mask.
    pub fn compare(&mut self, op: CompareInst, lhs: Reg, rhs: Reg) -> Reg {
        self.let_(self.reg_type(lhs).mask(), Inst::Compare(op, lhs, rhs))
    }

    /// Lane by lane on masks.
    pub fn mask(&mut self, op: MaskInst, lhs: Reg, rhs: Reg) -> Reg {
        self.let_(self.reg_type(lhs), Inst::Mask(op, lhs, rhs))
    }

    /// The opposite mask.
    pub fn mask_not(&mut self, mask: Reg) -> Reg {
        self.let_(self.reg_type(mask), Inst::MaskNot(mask))
    }

    /// `then` where the mask is set, else `otherwise`.
    pub fn select(&mut self, mask: Reg, then: Reg, otherwise: Reg) -> Reg {
        self.let_(self.reg_type(then), Inst::Select(mask, then, otherwise))
    }

    /// The same numbers in another scalar type; the same register where nothing changes.
    pub fn convert(&mut self, scalar: Scalar, value: Reg) -> Reg {
        let ty = RegType::Number { scalar, lanes: self.reg_type(value).lanes() };
        if self.reg_type(value) == ty { value } else { self.let_(ty, Inst::Convert(value)) }
    }

    /// The lanes of one half of each vector in turn.
    pub fn interleave(&mut self, half: Half, lhs: Reg, rhs: Reg) -> Reg {
        self.let_(self.reg_type(lhs), Inst::Interleave(half, lhs, rhs))
    }

    /// The same bits in another type; the same register where nothing changes.
    pub fn bitcast(&mut self, ty: RegType, value: Reg) -> Reg {
        if self.reg_type(value) == ty { value } else { self.let_(ty, Inst::Bitcast(value)) }
    }
}

impl KernelBuilder {
    /// The index of the innermost open scope.
    fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    /// The index of the outermost scope that knows all operands and variables of `inst`.
    fn depth_of(&self, inst: &Inst) -> usize {
        let reg = |reg: &Reg| self.depths[reg.0 as usize];
        let affine = |at: &Affine| {
            let depths = at.terms.iter().map(|term| self.variables[term.0.0 as usize]);
            depths.max().unwrap_or(0)
        };
        match inst {
            Inst::Const { .. } => 0,
            Inst::Index { at, .. } | Inst::Load { at, .. } => affine(at),
            Inst::Splat(a)
            | Inst::Lane { vector: a, .. }
            | Inst::Unary(_, a)
            | Inst::MaskNot(a)
            | Inst::Convert(a)
            | Inst::Bitcast(a) => reg(a),
            Inst::Binary(_, a, b)
            | Inst::Compare(_, a, b)
            | Inst::Mask(_, a, b)
            | Inst::Interleave(_, a, b) => reg(a).max(reg(b)),
            Inst::Fma(a, b, c) | Inst::Select(a, b, c) => reg(a).max(reg(b)).max(reg(c)),
        }
    }

    fn register(&mut self, ty: RegType, depth: usize) -> Reg {
        self.registers.push(ty);
        self.depths.push(depth);
        self.homes.push(self.scopes[depth].number);
        Reg(self.registers.len() as u32 - 1)
    }

    fn push(&mut self, stmt: Stmt) {
        let innermost = self.depth();
        self.scopes[innermost].body.push(stmt);
    }

    fn open_loop(&mut self) -> LoopVar {
        self.loops += 1;
        self.variables.push(self.scopes.len());
        self.scopes.push(Scope { number: self.loops, ..Scope::default() });
        LoopVar(self.loops)
    }

    fn close_loop(&mut self, var: LoopVar, pick: Option<Reg>, extent: usize, carries: Vec<Carry>) {
        let scope = self.scopes.pop().expect("open_loop opened a scope");
        self.push(Stmt::For(Box::new(Loop { var, pick, extent, carries, body: scope.body })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_shared_and_precede_everything() {
        let mut b = KernelBuilder::new("k", 1);
        let x = b.buffer("x", Scalar::F32, 8, Access::ReadWrite);
        b.for_(2, |b, i| {
            let at = Affine::constant(0).plus(i, 4);
            let value = b.load(x, at.clone(), 4);
            let one = b.const_f32(1.0, 1);
            let ones = b.splat(RegType::vector(Scalar::F32), one);
            let again = b.const_f32(1.0, 4);
            assert_eq!(ones, again);
            let sum = b.binary(BinaryInst::Add, value, ones);
            b.store(x, at, sum);
        });
        let kernel = b.finish();
        crate::verify_kernel(&kernel).expect("the builder's kernel is valid");
        assert_eq!(kernel.body.len(), 3);
        assert!(matches!(
            kernel.body[1],
            Stmt::Let { inst: Inst::Const { bits: 0x3f80_0000 }, .. }
        ));
        assert!(matches!(kernel.body[2], Stmt::For(_)));
    }

    #[test]
    fn a_splat_sits_where_its_scalar_is_defined() {
        let mut b = KernelBuilder::new("k", 1);
        let x = b.buffer("x", Scalar::F32, 8, Access::ReadWrite);
        let scale = b.load(x, Affine::constant(0), 1);
        b.for_(2, |b, i| {
            let at = Affine::constant(0).plus(i, 4);
            let value = b.load(x, at.clone(), 4);
            let first = b.splat(RegType::vector(Scalar::F32), scale);
            assert_eq!(first, b.splat(RegType::vector(Scalar::F32), scale));
            let product = b.binary(BinaryInst::Mul, value, first);
            b.store(x, at, product);
        });
        let kernel = b.finish();
        crate::verify_kernel(&kernel).expect("the builder's kernel is valid");
        assert!(matches!(kernel.body[1], Stmt::Let { inst: Inst::Splat(_), .. }));
    }

    #[test]
    fn what_a_loop_does_not_change_is_hoisted_once() {
        let mut b = KernelBuilder::new("k", 1);
        let x = b.buffer("x", Scalar::F32, 8, Access::Read);
        let y = b.buffer("y", Scalar::F32, 16, Access::Write);
        let ty = RegType::scalar(Scalar::F32);
        let double = |b: &mut KernelBuilder, at: Affine| {
            let value = b.hoist(ty, Inst::Load { buffer: x, at });
            b.hoist(ty, Inst::Binary(BinaryInst::Add, value, value))
        };
        let mut first = None;
        b.for_(8, |b, i| {
            b.for_(2, |b, j| {
                let value = double(b, Affine::var(i));
                assert_eq!(value, double(b, Affine::var(i)));
                b.store(y, Affine::var(j).plus(i, 2), value);
                first = Some(value);
                assert!(b.in_scope(value));
            });
        });
        assert!(!b.in_scope(first.expect("the body ran")));
        let kernel = b.finish();
        crate::verify_kernel(&kernel).expect("the builder's kernel is valid");
        let Stmt::For(outer) = &kernel.body[0] else { panic!("expected a loop first") };
        assert_eq!(outer.body.len(), 3);
    }

    #[test]
    fn carries_are_wired() {
        let mut b = KernelBuilder::new("k", 1);
        let x = b.buffer("x", Scalar::F64, 5, Access::Read);
        let y = b.buffer("y", Scalar::F64, 1, Access::Write);
        let zero = b.const_f64(0.0, 1);
        let sums = b.for_carry(5, &[zero], |b, i, params| {
            let value = b.load(x, Affine::var(i), 1);
            vec![b.binary(BinaryInst::Add, params[0], value)]
        });
        b.store(y, Affine::constant(0), sums[0]);
        crate::verify_kernel(&b.finish()).expect("the builder's kernel is valid");
    }
}
