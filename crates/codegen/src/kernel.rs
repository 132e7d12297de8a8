//! From a kernel to a CLIF function: statements, loops, and calls of tiles and functions.
//!
//! Loop IR is in single-assignment form already, so translation is one walk: a register is a CLIF
//! value, a carry is a block parameter. A loop of constant extent is entered without a test and
//! tested at its end; extents 0 and 1 leave no loop behind. Extents, bounds and types are the
//! verifier's; what is emitted here relies on them and checks nothing again.

use std::collections::HashMap;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, AliasRegionData, BlockArg, Function, InstBuilder, MemFlagsData, Signature,
    UserFuncName, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use kilngrad_loops::{
    Access, Affine, Apply, Buffer, Inst, Kernel, Loop, Reg, RegType, Scalar, Stmt, TileCall,
};
use kilngrad_tiles::{Block, Features};

use crate::CodegenError;
use crate::address::{Addresses, Root, carried_strides, element_size};
use crate::uses;

/// The signature of [`KernelFn`](crate::KernelFn).
pub(crate) fn kernel_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend([AbiParam::new(types::I64); 3]);
    signature
}

/// Translates a verified kernel into `function`, which is overwritten.
///
/// `shared` says of each buffer whether some call binds its memory to another buffer too.
pub(crate) fn translate(
    kernel: &Kernel,
    shared: &[bool],
    features: Features,
    isa: &dyn TargetIsa,
    function: &mut Function,
) -> Result<(), CodegenError> {
    function.clear();
    function.name = UserFuncName::default();
    function.signature = kernel_signature(isa);
    let entry = function.dfg.make_block();
    let [args, scratch, chunk] =
        [(); 3].map(|()| function.dfg.append_block_param(entry, types::I64));
    let memory = memory(kernel, shared, function);
    let mut cursor = FuncCursor::new(function);
    cursor.insert_block(entry);
    let chunk = (kernel.chunks > 1).then_some(chunk);
    let mut translator = Translator {
        kernel,
        features,
        isa,
        cursor,
        addresses: Addresses::new(args, scratch, chunk),
        memory,
        values: vec![None; kernel.registers.len()],
        definitions: vec![None; kernel.registers.len()],
        uses: uses::counts(kernel),
        constants: HashMap::new(),
        leaf_signatures: HashMap::new(),
    };
    translator.stmts(&kernel.body)?;
    translator.cursor.ins().return_(&[]);
    Ok(())
}

/// How a buffer is reached.
#[derive(Debug, Clone, Copy)]
struct Memory {
    root: Root,
    /// Bytes from the root to the buffer.
    offset: i64,
    flags: MemFlagsData,
}

/// The state of one kernel's translation.
pub(crate) struct Translator<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) features: Features,
    isa: &'a dyn TargetIsa,
    pub(crate) cursor: FuncCursor<'a>,
    pub(crate) addresses: Addresses,
    memory: Vec<Memory>,
    values: Vec<Option<Value>>,
    /// The instruction that computes a register, for those that none of the loops carries.
    definitions: Vec<Option<&'a Inst>>,
    /// How often each register is an operand.
    pub(crate) uses: Vec<u32>,
    /// Constants outside all loops, by type and bits.
    pub(crate) constants: HashMap<(ir::Type, u128), Value>,
    /// By number of arguments.
    leaf_signatures: HashMap<usize, ir::SigRef>,
}

impl<'a> Translator<'a> {
    /// The value of a register.
    pub(crate) fn value(&self, reg: Reg) -> Value {
        self.values[reg.0 as usize].expect("the verifier requires definitions before uses")
    }

    /// What computes a register, unless a loop carries it.
    pub(crate) fn definition(&self, reg: Reg) -> Option<&'a Inst> {
        self.definitions[reg.0 as usize]
    }

    fn define(&mut self, reg: Reg, value: Value) {
        self.values[reg.0 as usize] = Some(value);
    }

    /// Loops nest no deeper than the verifier's bound, so the recursion is shallow.
    fn stmts(&mut self, stmts: &'a [Stmt]) -> Result<(), CodegenError> {
        for stmt in stmts {
            match stmt {
                Stmt::Let { reg, inst } => {
                    let value = self.inst(self.kernel.reg_type(*reg), inst)?;
                    self.define(*reg, value);
                    self.definitions[reg.0 as usize] = Some(inst);
                }
                Stmt::Store { buffer, at, value } => {
                    let memory = self.memory[buffer.0 as usize];
                    let value = self.value(*value);
                    let (base, offset) = self.address(*buffer, at);
                    self.cursor.ins().store(memory.flags, value, base, offset);
                }
                Stmt::For(inner) => self.for_loop(inner)?,
                Stmt::Tile(call) => self.tile(call)?,
                Stmt::Apply(apply) => self.apply(apply)?,
            }
        }
        Ok(())
    }

    /// Where an element is: a base and a displacement.
    fn address(&mut self, buffer: Buffer, at: &Affine) -> (Value, i32) {
        let Memory { root, offset, .. } = self.memory[buffer.0 as usize];
        let size = element_size(self.kernel, buffer);
        self.addresses.resolve(&mut self.cursor, root, at, size, offset)
    }

    /// Consecutive elements as a register of type `ty`.
    pub(crate) fn load(&mut self, ty: ir::Type, buffer: Buffer, at: &Affine) -> Value {
        let flags = self.memory[buffer.0 as usize].flags;
        let (base, offset) = self.address(buffer, at);
        if ty.is_vector() && ty.lane_type().is_float() && !self.features.avx {
            // Without AVX a comparison of floats must not read memory that is not aligned, and
            // Cranelift 0.135 makes a load that is compared part of `cmpps` all the same. It does
            // not look through a change of type, which is no instruction.
            let bits = self.cursor.ins().load(ty.as_int(), flags, base, offset);
            return self.cursor.ins().bitcast(ty, MemFlagsData::new(), bits);
        }
        self.cursor.ins().load(ty, flags, base, offset)
    }

    fn for_loop(&mut self, inner: &'a Loop) -> Result<(), CodegenError> {
        match inner.extent {
            0 => {
                for carry in &inner.carries {
                    self.define(carry.result, self.value(carry.init));
                }
                Ok(())
            }
            // The variable is zero, and an address without its term is right as it is.
            1 => {
                for carry in &inner.carries {
                    self.define(carry.param, self.value(carry.init));
                }
                self.stmts(&inner.body)?;
                for carry in &inner.carries {
                    self.define(carry.result, self.value(carry.next));
                }
                Ok(())
            }
            extent => match inner.pick {
                None => self.counted_loop(inner, extent),
                Some(index) => self.picked_iteration(inner, index, extent),
            },
        }
    }

    /// ```text
    ///   jump body(max(min(index, extent − 1), 0))
    /// body(variable):
    ///   …
    /// ```
    ///
    /// The block is there for [`Addresses`], which puts what the iteration does not change before
    /// the jump.
    fn picked_iteration(
        &mut self,
        inner: &'a Loop,
        index: Reg,
        extent: usize,
    ) -> Result<(), CodegenError> {
        let index = self.value(index);
        let last = self.cursor.ins().iconst(types::I64, extent as i64 - 1);
        let zero = self.cursor.ins().iconst(types::I64, 0);
        let below = self.cursor.ins().smin(index, last);
        let nearest = self.cursor.ins().smax(below, zero);
        let body = self.cursor.func.dfg.make_block();
        let entry = self.cursor.ins().jump(body, &[BlockArg::Value(nearest)]);
        self.cursor.insert_block(body);
        let variable = self.cursor.func.dfg.append_block_param(body, types::I64);
        for carry in &inner.carries {
            self.define(carry.param, self.value(carry.init));
        }
        self.addresses.enter(inner.var, entry, vec![(1, variable)]);
        self.stmts(&inner.body)?;
        self.addresses.leave();
        for carry in &inner.carries {
            self.define(carry.result, self.value(carry.next));
        }
        Ok(())
    }

    /// ```text
    ///   jump body(0…, init…)
    /// body(product…, param…):
    ///   …
    ///   brif product' != extent · stride, body(product'…, next…), exit
    /// exit:
    /// ```
    fn counted_loop(&mut self, inner: &'a Loop, extent: usize) -> Result<(), CodegenError> {
        let mut strides = if contains_loop(&inner.body) {
            Vec::new()
        } else {
            carried_strides(self.kernel, inner.var, &inner.body)
        };
        // The loop ends when its first product does, so that one must not wrap. Strides of accesses
        // that run cannot, but the verifier says nothing of those in a loop that never runs.
        if strides.first().is_none_or(|stride| stride.checked_mul(extent as i64).is_none()) {
            strides.insert(0, 1);
        }
        let inits: Vec<Value> = inner.carries.iter().map(|carry| self.value(carry.init)).collect();
        let zero = self.cursor.ins().iconst(types::I64, 0);
        let body = self.cursor.func.dfg.make_block();
        let exit = self.cursor.func.dfg.make_block();
        let entry = self.cursor.ins().jump(body, &block_args(strides.len(), zero, &inits));

        self.cursor.insert_block(body);
        let products: Vec<(i64, Value)> = strides
            .iter()
            .map(|&stride| (stride, self.cursor.func.dfg.append_block_param(body, types::I64)))
            .collect();
        for carry in &inner.carries {
            let ty = clif_type(self.kernel.reg_type(carry.param));
            let param = self.cursor.func.dfg.append_block_param(body, ty);
            self.define(carry.param, param);
        }
        self.addresses.enter(inner.var, entry, products.clone());
        self.stmts(&inner.body)?;
        self.addresses.leave();

        let mut next: Vec<BlockArg> = Vec::with_capacity(products.len() + inner.carries.len());
        for &(stride, product) in &products {
            let stride = self.cursor.ins().iconst(types::I64, stride);
            next.push(self.cursor.ins().iadd(product, stride).into());
        }
        let limit = (extent as i64).wrapping_mul(strides[0]);
        let limit = self.cursor.ins().iconst(types::I64, limit);
        let first = next[0].as_value().expect("the products are values");
        next.extend(inner.carries.iter().map(|carry| BlockArg::Value(self.value(carry.next))));
        let more = self.cursor.ins().icmp(IntCC::NotEqual, first, limit);
        self.cursor.ins().brif(more, body, &next, exit, &[]);
        self.cursor.insert_block(exit);
        for carry in &inner.carries {
            self.define(carry.result, self.value(carry.next));
        }
        Ok(())
    }

    fn tile(&mut self, call: &TileCall) -> Result<(), CodegenError> {
        let tile = kilngrad_tiles::find(self.features, call.shape).ok_or_else(|| {
            CodegenError::Tile { kernel: self.kernel.name.clone(), shape: call.shape }
        })?;
        // Three pointers, five numbers, the block.
        let signature = self.leaf_signature(9);
        let block = Block { rows: call.rows, cols: call.cols, accumulate: call.accumulate };
        let [a, b, c] =
            [&call.a, &call.b, &call.c].map(|panel| self.pointer(panel.buffer, &panel.at));
        // The entry point of a function is its address; pointers in registers carry no provenance.
        let function = tile.function as *const () as usize as i64;
        let numbers = [
            call.depth as i64,
            call.a.row_stride,
            call.a.col_stride,
            call.b.row_stride,
            call.c.row_stride,
            block.pack() as i64,
        ]
        .map(|number| self.cursor.ins().iconst(types::I64, number));
        let function = self.cursor.ins().iconst(types::I64, function);
        let mut args = vec![a, b, c];
        args.extend(numbers);
        self.cursor.ins().call_indirect(signature, function, &args);
        Ok(())
    }

    fn apply(&mut self, apply: &Apply) -> Result<(), CodegenError> {
        if apply.count == 0 {
            return Ok(());
        }
        let (function, scalar) =
            (apply.function, self.kernel.buffers[apply.buffer.0 as usize].scalar);
        let code =
            kilngrad_tiles::find_function(self.features, function, scalar).ok_or_else(|| {
                CodegenError::Function { kernel: self.kernel.name.clone(), function, scalar }
            })?;
        let elements = self.pointer(apply.buffer, &apply.at);
        let count = self.cursor.ins().iconst(types::I64, apply.count as i64);
        let code = self.cursor.ins().iconst(types::I64, code as *const () as usize as i64);
        let signature = self.leaf_signature(2);
        self.cursor.ins().call_indirect(signature, code, &[elements, count]);
        Ok(())
    }

    /// Where an element is, as one value.
    fn pointer(&mut self, buffer: Buffer, at: &Affine) -> Value {
        let (base, offset) = self.address(buffer, at);
        if offset == 0 {
            return base;
        }
        let offset = self.cursor.ins().iconst(types::I64, i64::from(offset));
        self.cursor.ins().iadd(base, offset)
    }

    /// The signature of a leaf function of so many pointers and numbers: that of
    /// [`kilngrad_tiles::TileFn`], or of [`kilngrad_tiles::ElementsFn`].
    fn leaf_signature(&mut self, arguments: usize) -> ir::SigRef {
        if let Some(&signature) = self.leaf_signatures.get(&arguments) {
            return signature;
        }
        let mut signature = Signature::new(self.isa.default_call_conv());
        signature.params.extend(vec![AbiParam::new(types::I64); arguments]);
        let signature = self.cursor.func.import_signature(signature);
        self.leaf_signatures.insert(arguments, signature);
        signature
    }
}

/// The CLIF type of a register. A scalar mask is a byte 0 or 1, a vector mask has all bits of a
/// lane equal.
pub(crate) fn clif_type(ty: RegType) -> ir::Type {
    match ty {
        RegType::Number { scalar, lanes } => {
            scalar_type(scalar).by(u32::from(lanes)).expect("at most 16 bytes")
        }
        RegType::Mask { bits, lanes } => ir::Type::int(u16::from(bits))
            .and_then(|lane| lane.by(u32::from(lanes)))
            .expect("masks have lanes of 8, 32 or 64 bits"),
    }
}

/// The CLIF type of a number.
pub(crate) fn scalar_type(scalar: Scalar) -> ir::Type {
    match scalar {
        Scalar::F32 => types::F32,
        Scalar::F64 => types::F64,
        Scalar::I32 => types::I32,
        Scalar::I64 => types::I64,
        Scalar::U8 => types::I8,
    }
}

/// How each buffer is reached, and what may be assumed of it.
///
/// The verifier has proved every access in range, so none traps. Buffers do not overlap, unless a
/// call binds the same memory to two of them: each has an alias region of its own, shared ones have
/// one together. A buffer that is only read, and whose memory nothing else writes, is constant while
/// the kernel runs, so loads from it may move.
fn memory(kernel: &Kernel, shared: &[bool], function: &mut Function) -> Vec<Memory> {
    let (scratch, _) = kernel.scratch_layout();
    let mut arguments = 0..;
    let buffers = kernel.buffers.iter().zip(scratch).zip(shared).enumerate();
    buffers
        .map(|(idx, ((buffer, scratch), &shared))| {
            let region = if shared { 0 } else { 1 + u32::try_from(idx).expect("few buffers") };
            let region = function
                .dfg
                .alias_regions
                .insert(AliasRegionData { user_id: region, description: "".into() });
            let mut flags = MemFlagsData::new().with_notrap().with_alias_region(Some(region));
            if buffer.access == Access::Read && !shared {
                flags = flags.with_readonly().with_can_move();
            }
            match scratch {
                Some(offset) => Memory { root: Root::Scratch, offset: offset as i64, flags },
                None => {
                    let index = arguments.next().expect("the range has no end");
                    Memory { root: Root::Argument(index), offset: 0, flags }
                }
            }
        })
        .collect()
}

/// Whether a counted loop remains in the statements once those of extent 0 and 1 are gone.
fn contains_loop(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|stmt| match stmt {
        Stmt::For(inner) => {
            (inner.extent > 1 && inner.pick.is_none()) || contains_loop(&inner.body)
        }
        Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => false,
    })
}

fn block_args(zeros: usize, zero: Value, values: &[Value]) -> Vec<BlockArg> {
    let zeros = std::iter::repeat_n(zero, zeros);
    zeros.chain(values.iter().copied()).map(BlockArg::Value).collect()
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::Context;
    use cranelift_codegen::control::ControlPlane;
    use cranelift_codegen::isa;
    use cranelift_codegen::settings::{self, Configurable};
    use kilngrad_loops::{
        Affine, BinaryInst, CompareInst, KernelBuilder, MaskInst, UnaryInst, verify_kernel,
    };

    use super::*;

    /// Every instruction at `scalar`, in one lane or all.
    fn everything(scalar: Scalar, lanes: u8) -> Kernel {
        use BinaryInst::{Add, And, Div, MaxSelect, MinSelect, Mul, Or, Rem, Shl, ShrS, ShrU, Sub};
        use UnaryInst::{Abs, Ceil, Floor, Nearest, Neg, Not, Sqrt, Trunc};
        let ty = RegType::Number { scalar, lanes };
        let mut b = KernelBuilder::new("everything", 2);
        let x = b.buffer("x", scalar, 64, Access::Read);
        let y = b.buffer("y", scalar, 64, Access::Write);
        b.for_(4, |b, i| {
            let value = b.load(x, Affine::constant(3).plus(i, 4), lanes);
            let other = b.load(x, Affine::constant(60).plus(i, -9), lanes);
            let (unary, binary): (&[UnaryInst], &[BinaryInst]) = if scalar.is_float() {
                (
                    &[Abs, Ceil, Floor, Nearest, Neg, Sqrt, Trunc],
                    &[Add, Div, MaxSelect, MinSelect, Mul, Sub],
                )
            } else if lanes > 1 {
                (&[Abs, Neg, Not], &[Add, And, MaxSelect, MinSelect, Mul, Or, Sub])
            } else {
                (
                    &[Neg, Not],
                    &[Add, And, Div, MaxSelect, MinSelect, Mul, Or, Rem, Shl, ShrS, ShrU, Sub],
                )
            };
            let mut sum = value;
            for &op in unary {
                let part = b.unary(op, value);
                sum = b.binary(Add, sum, part);
            }
            for &op in binary {
                let part = b.binary(op, value, other);
                sum = b.binary(Add, sum, part);
            }
            if scalar.is_float() {
                sum = b.fma(sum, value, other);
            }
            let less = b.compare(CompareInst::Lt, value, other);
            let mask = b.mask_not(less);
            let mask = b.mask(MaskInst::Xor, mask, less);
            sum = b.select(mask, sum, other);
            if lanes > 1 {
                let lane = b.lane(sum, 1);
                sum = b.splat(ty, lane);
            } else {
                for to in [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64, Scalar::U8] {
                    if to != scalar {
                        let there = b.convert(to, sum);
                        sum = b.convert(scalar, there);
                    }
                }
            }
            let at = Affine::constant(0).plus(Kernel::CHUNK, 32).plus(i, i64::from(lanes));
            b.store(y, at, sum);
        });
        b.finish()
    }

    /// Code for a processor that tests do not run on is at least accepted by Cranelift, with no
    /// call of a library in it.
    #[test]
    fn every_instruction_is_selected_on_aarch64_and_x86() {
        let features = Features::detect();
        for (triple, flags) in [
            ("aarch64-unknown-linux-gnu", vec![]),
            ("x86_64-unknown-linux-gnu", vec!["sse42", "has_avx", "has_avx2", "has_fma"]),
        ] {
            let mut builder = isa::lookup_by_name(triple).expect("both are compiled in");
            for flag in flags {
                builder.enable(flag).expect("a flag of x86");
            }
            let isa = builder.finish(settings::Flags::new(settings::builder())).expect("valid");
            for scalar in [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64, Scalar::U8] {
                for lanes in [1, RegType::vector(scalar).lanes()] {
                    if (scalar == Scalar::U8 && lanes > 1) || (scalar.is_float() && !features.fma) {
                        continue;
                    }
                    let kernel = everything(scalar, lanes);
                    verify_kernel(&kernel).expect("a kernel");
                    let mut context = Context::new();
                    translate(&kernel, &[false; 2], features, isa.as_ref(), &mut context.func)
                        .expect("translated");
                    let compiled = context
                        .compile(isa.as_ref(), &mut ControlPlane::default())
                        .unwrap_or_else(|error| panic!("{triple} {kernel}: {error:?}"));
                    assert!(compiled.buffer.relocs().is_empty(), "{triple} {kernel}");
                }
            }
        }
    }
}
