//! Runs programs natively and in the loop evaluator, and compares every byte that they leave.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use kilngrad_codegen::{CodegenOptions, Effort, Host, Module, Stopped, compile};
use kilngrad_loops::{
    Access, BufferPlace, Call, Item, Kernel, KernelId, Memory, Place, Program, Scalar, Slot, Stmt,
    run_program,
};
use kilngrad_tiles::{Features, FloatMode};

/// A cache line, for memory as the entry wants it aligned.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

const GUARD: u8 = 0xC7;

/// Aligned memory between two lines of guard bytes, the second right after the last byte.
struct Guarded {
    lines: Vec<Line>,
    len: usize,
}

impl Guarded {
    fn new(bytes: &[u8]) -> Guarded {
        let mut guarded =
            Guarded { lines: vec![Line([GUARD; 64]); bytes.len() / 64 + 3], len: bytes.len() };
        guarded.all()[64..64 + bytes.len()].copy_from_slice(bytes);
        guarded
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: lines are plain bytes without padding.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), 64 * self.lines.len())
        }
    }

    fn pointer(&mut self) -> *mut u8 {
        // The pointer may reach the guards, so that a stray write is seen and not undefined.
        self.all().as_mut_ptr().wrapping_add(64)
    }

    fn finish(mut self, what: &str) -> Vec<u8> {
        let len = self.len;
        let all = self.all();
        let outside = all[..64].iter().chain(&all[64 + len..]);
        assert!(outside.copied().all(|byte| byte == GUARD), "{what}: a write outside");
        all[64..64 + len].to_vec()
    }
}

/// Runs a compiled program without a gate on a copy of the memory; returns what it leaves.
pub fn run_native(module: &Module, program: &Program, memory: &Memory, host: &Host) -> Memory {
    let (memory, ran) = try_native(module, program, memory, host);
    assert_eq!(ran, Ok(()), "the program has no gate, and nobody cancels it");
    memory
}

/// Runs a compiled program on a copy of the memory; returns what it leaves, and why it
/// ended early.
pub fn try_native(
    module: &Module,
    program: &Program,
    memory: &Memory,
    host: &Host,
) -> (Memory, Result<(), Stopped>) {
    let mut arena = Guarded::new(&memory.arena);
    let mut scratch = Guarded::new(&vec![0xA5; program.scratch_bytes()]);
    let mut externals: Vec<Guarded> =
        memory.externals.iter().map(|bytes| Guarded::new(bytes)).collect();
    let pointers: Vec<*mut u8> = externals.iter_mut().map(Guarded::pointer).collect();
    let ran = {
        let _mode = FloatMode::enter();
        // SAFETY: the memory is as large as the program says, aligned, initialised and nobody
        // else's; the host is one of this crate's tests.
        unsafe {
            let (arena, scratch) = (arena.pointer(), scratch.pointer());
            module.entry().call(arena, pointers.as_ptr(), scratch, host)
        }
    };
    scratch.finish("scratch");
    let memory = Memory {
        arena: arena.finish("arena"),
        externals: externals.into_iter().map(|bytes| bytes.finish("external")).collect(),
    };
    (memory, ran)
}

/// The feature sets that tests run with: everything, and the least that is supported.
pub fn feature_sets() -> [Features; 2] {
    let detected = Features::detect();
    [detected, detected.intersect(Features::baseline())]
}

/// Asserts that native code, with these features, leaves what the evaluator leaves.
pub fn check_with(program: &Program, memory: &Memory, features: Features) {
    let mut expected = memory.clone();
    run_program(program, &mut expected).unwrap_or_else(|error| panic!("{error}\n{program}"));
    for effort in [None, Some(Effort::Ordered), Some(Effort::Optimized)] {
        let options = CodegenOptions { effort, keep_text: true, ..CodegenOptions::new(features) };
        let module =
            compile(program, &options).unwrap_or_else(|error| panic!("{error:?}\n{program}"));
        assert_total(program, &module);
        let found = run_native(&module, program, memory, &Host::sequential());
        compare(program, &expected, &found, features);
    }
}

/// Asserts that kernels neither trap nor call anything but tiles and functions.
fn assert_total(program: &Program, module: &Module) {
    for (kernel, text) in program.kernels.iter().zip(module.texts()) {
        let clif = text.clif.replace("notrap", "");
        assert!(!clif.contains("trap"), "{clif}");
        let calls = text.clif.lines().filter(|line| line.contains("call")).count();
        assert_eq!(calls, leaves(&kernel.body), "{}", text.clif);
    }
}

/// Calls of tiles and functions that remain once loops of extent zero are gone.
fn leaves(stmts: &[Stmt]) -> usize {
    let count = |stmt: &Stmt| match stmt {
        Stmt::Tile(_) => 1,
        Stmt::Apply(apply) => usize::from(apply.count > 0),
        Stmt::For(inner) if inner.extent > 0 => leaves(&inner.body),
        Stmt::For(_) | Stmt::Let { .. } | Stmt::Store { .. } => 0,
    };
    stmts.iter().map(count).sum()
}

/// [`check_with`] each of the [`feature_sets`].
pub fn check(program: &Program, memory: &Memory) {
    for features in feature_sets() {
        check_with(program, memory, features);
    }
}

fn compare(program: &Program, expected: &Memory, found: &Memory, features: Features) {
    for buffer in &program.buffers {
        let bytes = buffer.len * buffer.scalar.size();
        let part = |memory: &Memory| match buffer.place {
            Place::Arena { offset } => memory.arena[offset..offset + bytes].to_vec(),
            Place::External { index } => memory.externals[index][..bytes].to_vec(),
            // What is part of another buffer is compared there.
            Place::Part { .. } | Place::Turn { .. } => Vec::new(),
        };
        let (expected, found) = (part(expected), part(found));
        let size = buffer.scalar.size();
        for (idx, (want, have)) in expected.chunks(size).zip(found.chunks(size)).enumerate() {
            assert!(
                same(buffer.scalar, want, have),
                "{}[{idx}] with {features}: expected {want:02x?}, found {have:02x?}\n{program}",
                buffer.name
            );
        }
    }
}

/// The same bits, or both NaN.
fn same(scalar: Scalar, want: &[u8], have: &[u8]) -> bool {
    let nan = |bytes: &[u8]| match scalar {
        Scalar::F32 => f32::from_ne_bytes(bytes.try_into().unwrap()).is_nan(),
        Scalar::F64 => f64::from_ne_bytes(bytes.try_into().unwrap()).is_nan(),
        Scalar::I32 | Scalar::I64 | Scalar::U8 => false,
    };
    want == have || (nan(want) && nan(have))
}

/// The program that calls a kernel once, each parameter on an external of its own.
pub fn program_of(kernel: Kernel) -> Program {
    let buffers: Vec<BufferPlace> = kernel
        .buffers
        .iter()
        .filter(|buffer| buffer.access != Access::Scratch)
        .enumerate()
        .map(|(index, buffer)| BufferPlace {
            name: buffer.name.clone(),
            scalar: buffer.scalar,
            len: buffer.len,
            place: Place::External { index },
            writable: buffer.access != Access::Read,
        })
        .collect();
    let args = (0..buffers.len() as u32).map(Slot).collect();
    Program {
        name: kernel.name.clone(),
        arena_bytes: 0,
        externals: buffers.len(),
        buffers,
        kernels: vec![kernel],
        body: vec![Item::Call(Call { kernel: KernelId(0), args })],
        gate: None,
    }
}

/// A small generator (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014), so that tests do not depend on the versions of a library.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Bit patterns of a scalar type at which operations go wrong.
pub fn special_values(scalar: Scalar) -> Vec<u64> {
    let f32s = |values: &[f32]| values.iter().map(|x| u64::from(x.to_bits())).collect();
    let f64s = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect();
    match scalar {
        Scalar::F32 => f32s(&[
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            0.499_999_97,
            -0.75,
            3.0,
            255.0,
            255.5,
            256.0,
            -1e-3,
            8_388_607.5,
            16_777_217.0,
            2_147_483_520.0,
            2_147_483_648.0,
            -2_147_483_648.0,
            -2_147_483_904.0,
            9.223_372e18,
            -9.223_372e18,
            1e30,
            -1e30,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            -f32::from_bits(0x7f_ffff),
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            -f32::NAN,
            3.402_823_3e38,
        ]),
        Scalar::F64 => f64s(&[
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            0.499_999_999_999_999_94,
            -0.75,
            3.0,
            255.0,
            255.5,
            256.0,
            -1e-3,
            4_503_599_627_370_495.5,
            9_007_199_254_740_993.0,
            2_147_483_647.0,
            2_147_483_647.5,
            2_147_483_648.0,
            -2_147_483_648.5,
            -2_147_483_649.0,
            9_223_372_036_854_774_784.0,
            9_223_372_036_854_775_808.0,
            -9_223_372_036_854_775_808.0,
            1e300,
            -1e300,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            1e-40,
            7.1e-46,
            3.402_823_5e38,
            3.402_823_6e38,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            -f64::NAN,
            1.000_000_059_604_644_8,
        ]),
        Scalar::I32 => [
            0,
            1,
            -1,
            2,
            -2,
            3,
            7,
            31,
            32,
            33,
            63,
            255,
            256,
            -128,
            1000,
            0x5555_5555,
            16_777_217,
            i32::MAX,
            i32::MIN,
            i32::MAX - 1,
            i32::MIN + 1,
            -1_000_003,
        ]
        .iter()
        .map(|&x: &i32| u64::from(x as u32))
        .collect(),
        Scalar::I64 => [
            0,
            1,
            -1,
            2,
            -2,
            3,
            7,
            31,
            32,
            33,
            63,
            64,
            65,
            255,
            256,
            -128,
            1000,
            1 << 31,
            1 << 32,
            -(1 << 31),
            -(1 << 31) - 1,
            0x5555_5555_5555_5555,
            9_007_199_254_740_993,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
            i64::MIN + 1,
            -1_000_000_000_003,
            0x1_0000_0001,
        ]
        .iter()
        .map(|&x: &i64| x as u64)
        .collect(),
        Scalar::U8 => vec![0, 1, 2, 3, 7, 8, 9, 15, 100, 127, 128, 129, 200, 254, 255],
    }
}

/// The low bytes of each pattern, as a buffer of `scalar` holds them.
pub fn bytes_of_bits(scalar: Scalar, bits: &[u64]) -> Vec<u8> {
    bits.iter().flat_map(|bits| bits.to_le_bytes()[..scalar.size()].to_vec()).collect()
}
