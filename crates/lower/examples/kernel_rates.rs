//! Rates of lowered maps and reductions on one core: nanoseconds for a thousand elements, and bytes
//! of arguments and results a second.
//!
//! `cargo run --release -p kilngrad-lower --example kernel_rates`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example prints and may fail")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Body, program};
use kilngrad_codegen::{CodegenOptions, Features, FloatMode, Host, compile};
use kilngrad_ir::op::{BinaryOp, KernelKind, Op, ReduceOp, UnaryOp};
use kilngrad_ir::{DType, Graph, Machine, Value};

/// Memory aligned for vectors, of all-one floats as far as that goes.
fn buffer(bytes: usize, scalar: kilngrad_loops::Scalar) -> Vec<u64> {
    let pattern = match scalar {
        kilngrad_loops::Scalar::F32 => 0x3f80_0000_3f80_0000,
        kilngrad_loops::Scalar::F64 => 0x3ff0_0000_0000_0000,
        kilngrad_loops::Scalar::I32 | kilngrad_loops::Scalar::I64 | kilngrad_loops::Scalar::U8 => 0,
    };
    vec![pattern; bytes.div_ceil(8) + 8]
}

fn aligned(memory: &mut [u64]) -> *mut u8 {
    let start = memory.as_mut_ptr().cast::<u8>();
    start.wrapping_add(start.align_offset(64))
}

fn rate(name: &str, kind: KernelKind, body: Graph, elements: usize) {
    let features = Features::detect();
    let machine = Machine { fma: features.fma, l2_bytes: 2 << 20, ..Machine::BASELINE };
    let program = program(kind, body);
    let lowering = Instant::now();
    let lowered = common::lower(&program, &machine);
    let lowering = lowering.elapsed();
    let compiling = Instant::now();
    let module = compile(&lowered.program, &CodegenOptions::new(features)).unwrap();
    let compiling = compiling.elapsed();

    let mut memories: Vec<Vec<u64>> = vec![Vec::new(); lowered.program.externals];
    let mut bytes = 0;
    for place in &lowered.program.buffers {
        if let kilngrad_loops::Place::External { index } = place.place {
            let size = place.len * place.scalar.size();
            memories[index] = buffer(size, place.scalar);
            bytes += size;
        }
    }
    let externals: Vec<*mut u8> = memories.iter_mut().map(|memory| aligned(memory)).collect();
    let mut arena = vec![0u64; module.arena_bytes() / 8 + 9];
    let mut scratch = vec![0u64; module.scratch_bytes() / 8 + 9];
    let (arena, scratch) = (aligned(&mut arena), aligned(&mut scratch));
    let _mode = FloatMode::enter();
    let host = Host::sequential();
    // SAFETY: there is as much memory behind each pointer as the program says, aligned, disjoint
    // and initialised, and nothing else uses it.
    let ran = || unsafe { module.entry().call(arena, externals.as_ptr(), scratch, &host) };
    let call = || ran().expect("a kernel alone has no gate");
    call();
    let mut best = f64::INFINITY;
    let repeat = (20_000_000 / elements.max(1)).clamp(1, 20_000);
    for _ in 0..9 {
        let start = Instant::now();
        (0..repeat).for_each(|_| call());
        best = best.min(start.elapsed().as_secs_f64() / repeat as f64);
    }
    let chunks = lowered.program.kernels[0].chunks;
    println!(
        "{name:34} {:8.1} ns/1000  {:6.2} GB/s  chunks {chunks:2}  lower {lowering:8.1?} compile {compiling:8.1?}",
        best * 1e12 / elements as f64,
        bytes as f64 / best / 1e9,
    );
}

fn unary(name: &str, dtype: DType, op: UnaryOp, count: usize) {
    let mut body = Body::default();
    let x = body.argument(dtype, &[count]);
    let y = body.unary(op, x);
    rate(&format!("{name} {dtype}[{count}]"), KernelKind::Map, body.results(&[y]), count);
}

fn sum(shape: &[usize], axes: &[usize]) {
    let mut body = Body::default();
    let x = body.argument(DType::F32, shape);
    let y = body.reduce(ReduceOp::Sum, axes, x);
    let name = format!("sum f32{shape:?} over {axes:?}");
    rate(&name, KernelKind::Reduce, body.results(&[y]), shape.iter().product());
}

fn softmax(shape: &[usize]) {
    let mut body = Body::default();
    let x = body.argument(DType::F32, shape);
    let axis = shape.len() - 1;
    let spread = |body: &mut Body, x: Value| body.spread(x, &[axis], shape);
    let largest = body.reduce(ReduceOp::Max, &[axis], x);
    let largest = spread(&mut body, largest);
    let below = body.binary(BinaryOp::Sub, x, largest);
    let power = body.unary(UnaryOp::Exp, below);
    let total = body.reduce(ReduceOp::Sum, &[axis], power);
    let total = spread(&mut body, total);
    let y = body.binary(BinaryOp::Div, power, total);
    let name = format!("softmax f32{shape:?}");
    rate(&name, KernelKind::Reduce, body.results(&[y]), shape.iter().product());
}

fn main() {
    for count in [4096, 65_536, 8 << 20] {
        let mut body = Body::default();
        let [a, x, y] = [0; 3].map(|_| body.argument(DType::F32, &[count]));
        let product = body.binary(BinaryOp::Mul, a, x);
        let z = body.binary(BinaryOp::Add, product, y);
        rate(&format!("a·x + y f32[{count}]"), KernelKind::Map, body.results(&[z]), count);
    }
    for op in [
        UnaryOp::Relu,
        UnaryOp::Sqrt,
        UnaryOp::Rsqrt,
        UnaryOp::Exp,
        UnaryOp::Expm1,
        UnaryOp::Log,
        UnaryOp::Log1p,
        UnaryOp::Tanh,
        UnaryOp::Sigmoid,
        UnaryOp::Erf,
    ] {
        for dtype in [DType::F32, DType::F64] {
            unary(op.row().name, dtype, op, 4096);
        }
    }
    for op in [BinaryOp::Pow, BinaryOp::Rem] {
        for dtype in [DType::F32, DType::F64] {
            let mut body = Body::default();
            let (x, y) = (body.argument(dtype, &[4096]), body.argument(dtype, &[4096]));
            let z = body.binary(op, x, y);
            let name = format!("{} {dtype}[4096]", op.row().name);
            rate(&name, KernelKind::Map, body.results(&[z]), 4096);
        }
    }
    for dtype in [DType::F32, DType::F64] {
        let mut body = Body::default();
        let [seed, counter] = [0; 2].map(|_| body.argument(DType::I64, &[]));
        let z = body.declared(Op::Random { stream: 1 }, &[seed, counter], dtype, &[4096]);
        rate(&format!("random {dtype}[4096]"), KernelKind::Map, body.results(&[z]), 4096);
    }
    for (shape, axes) in [
        (&[4096][..], &[0][..]),
        (&[8 << 20], &[0]),
        (&[4096, 128], &[1]),
        (&[4096, 128], &[0]),
        (&[4096, 4], &[0]),
        (&[128, 512], &[0]),
        (&[128, 512], &[1]),
        (&[128, 10], &[1]),
        (&[128, 10], &[0]),
        (&[64, 28, 28, 32], &[0, 1, 2]),
    ] {
        sum(shape, axes);
    }
    softmax(&[128, 10]);
    softmax(&[128, 1000]);
    softmax(&[64, 4096]);
    let mut body = Body::default();
    let x = body.argument(DType::F32, &[1024, 1024]);
    let y = body.transpose(x, &[1, 0]);
    rate("transpose f32[1024,1024]", KernelKind::Map, body.results(&[y]), 1 << 20);
}
