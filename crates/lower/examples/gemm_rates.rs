//! Rates of lowered matrix products on one core, beside that of the bare tile in the first-level
//! cache: what loops, packing and memory cost.
//!
//! `cargo run --release -p kilngrad-lower --example gemm_rates`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example prints and may fail")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Body, program};
use kilngrad_codegen::{CodegenOptions, Entry, Features, FloatMode, Host, compile};
use kilngrad_ir::op::{BinaryOp, DotAxes, KernelKind, Op, UnaryOp};
use kilngrad_ir::{DType, Graph, Machine, TileSize};
use kilngrad_loops::{Access, Scalar};
use kilngrad_tiles::{Block, Tile};

/// Terms of each sum of the bare tile.
const DEPTH: usize = 256;

/// A cache line of floats.
#[derive(Clone, Copy)]
#[repr(align(64))]
#[expect(dead_code, reason = "only compiled code reads it")]
struct Line([f32; 16]);

fn memory(bytes: usize) -> Vec<Line> {
    // Sums stay small, so that no run meets infinities or subnormals.
    vec![Line([1e-2; 16]); bytes.div_ceil(64) + 1]
}

/// The model of this processor, its caches taken to be those of a server.
fn machine(features: Features) -> Machine {
    let tile = |scalar| {
        let shape = kilngrad_tiles::best(features, scalar).shape;
        TileSize { rows: shape.rows.into(), cols: shape.cols.into() }
    };
    Machine {
        fma: features.fma,
        leaf_elements: kilngrad_tiles::has_functions(features).then_some(32),
        tile_f32: tile(Scalar::F32),
        tile_f64: tile(Scalar::F64),
        l1_bytes: 48 << 10,
        l2_bytes: 2 << 20,
        ..Machine::BASELINE
    }
}

/// Seconds that the bare tile takes for 10⁹ operations at this moment.
fn bare(tile: Tile) -> f64 {
    let (rows, cols) = (usize::from(tile.shape.rows), usize::from(tile.shape.cols));
    let (left, right) = (memory(4 * rows * DEPTH), memory(4 * cols * DEPTH));
    let mut sums = memory(4 * rows * cols);
    let block = Block { rows: tile.shape.rows, cols: tile.shape.cols, accumulate: true }.pack();
    let mut call = || {
        // SAFETY: the panels and the block are as large as the strides say, and the tile is one
        // that the detected features allow.
        unsafe {
            (tile.function)(
                left.as_ptr().cast(),
                right.as_ptr().cast(),
                sums.as_mut_ptr().cast(),
                DEPTH,
                1,
                rows as isize,
                cols as isize,
                cols as isize,
                block,
            );
        }
    };
    (0..4).for_each(|_| call());
    let start = Instant::now();
    (0..40).for_each(|_| call());
    start.elapsed().as_secs_f64() / (40 * 2 * rows * cols * DEPTH) as f64 * 1e9
}

/// The smallest of times, and the median share of the bare tile's rate. Each run is compared with
/// the tile just before and after it, which cancels what else the machine does.
fn measure(entry: Entry<'_>, memories: &mut [Vec<Line>], scratch: usize, work: f64) -> [f64; 2] {
    let tile = kilngrad_tiles::best(Features::detect(), Scalar::F32);
    let externals: Vec<*mut u8> =
        memories.iter_mut().map(|memory| memory.as_mut_ptr().cast()).collect();
    let mut scratch = memory(scratch);
    let mut arena = memory(0);
    let host = Host::sequential();
    let _mode = FloatMode::enter();
    let runs = ((1e10 / work) as usize).clamp(30, 1000);
    let (mut best, mut shares) = (f64::INFINITY, Vec::with_capacity(runs));
    for _ in 0..runs {
        let before = bare(tile);
        let start = Instant::now();
        // SAFETY: there is as much memory behind each pointer as the program says, aligned,
        // disjoint and initialised, and nothing else uses it.
        let ran = unsafe {
            let (arena, scratch) = (arena.as_mut_ptr().cast(), scratch.as_mut_ptr().cast());
            entry.call(arena, externals.as_ptr(), scratch, &host)
        };
        ran.expect("a contraction alone has no gate");
        let seconds = start.elapsed().as_secs_f64();
        best = best.min(seconds);
        shares.push(work / 1e9 * (before + bare(tile)) / 2.0 / seconds);
    }
    shares.sort_by(f64::total_cmp);
    [best, shares[runs / 2]]
}

fn rate(name: &str, body: Graph, [m, n, k]: [usize; 3]) {
    let features = Features::detect();
    let program = program(KernelKind::Contraction, body);
    let lowered = common::lower(&program, &machine(features));
    let module = compile(&lowered.program, &CodegenOptions::new(features)).unwrap();
    let mut memories: Vec<Vec<Line>> = vec![Vec::new(); lowered.program.externals];
    for place in &lowered.program.buffers {
        if let kilngrad_loops::Place::External { index } = place.place {
            memories[index] = memory(place.len * place.scalar.size());
        }
    }
    let work = 2.0 * m as f64 * n as f64 * k as f64;
    let scratch = lowered.program.scratch_bytes();
    let [best, share] = measure(module.entry(), &mut memories, scratch, work);
    let kernel = &lowered.program.kernels[0];
    let scratch: Vec<&str> = kernel
        .buffers
        .iter()
        .filter(|buffer| buffer.access == Access::Scratch)
        .map(|buffer| buffer.name.as_str())
        .collect();
    println!(
        "{name:30} {:6.1} GFLOP/s {:9.1} µs  {:5.1} % of the tile  chunks {:2}  {}",
        work / best / 1e9,
        best * 1e6,
        100.0 * share,
        kernel.chunks,
        scratch.join(", ")
    );
}

/// `lhs · rhs`, either stored transposed, and `relu(lhs · rhs + bias)`.
fn product(name: &str, [m, n, k]: [usize; 3], [lhs_transposed, rhs_transposed]: [bool; 2]) {
    for epilogue in [false, true] {
        let mut body = Body::default();
        let lhs = body.argument(DType::F32, &if lhs_transposed { [k, m] } else { [m, k] });
        let rhs = body.argument(DType::F32, &if rhs_transposed { [n, k] } else { [k, n] });
        let axes = DotAxes {
            lhs_contract: [usize::from(!lhs_transposed)].into_iter().collect(),
            rhs_contract: [usize::from(rhs_transposed)].into_iter().collect(),
            ..DotAxes::default()
        };
        let mut result = body.op(Op::Dot(axes), &[lhs, rhs]);
        if epilogue {
            let bias = body.argument(DType::F32, &[n]);
            let bias = body.broadcast(bias, &[1], &[m, n]);
            let sum = body.binary(BinaryOp::Add, result, bias);
            result = body.unary(UnaryOp::Relu, sum);
        }
        let name = format!("{name}{}", if epilogue { " + bias, relu" } else { "" });
        rate(&name, body.results(&[result]), [m, n, k]);
    }
}

fn main() {
    let (plain, lhs, rhs) = ([false, false], [true, false], [false, true]);
    product("256³", [256, 256, 256], plain);
    product("1024³", [1024, 1024, 1024], plain);
    product("x·w 128×784·512", [128, 512, 784], plain);
    product("g·wᵀ 128×512·784", [128, 784, 512], rhs);
    product("xᵀ·g 784×128·512", [784, 512, 128], lhs);
    product("1024×768·768", [1024, 768, 768], plain);
    product("16×32·16", [16, 16, 32], plain);
    product("128×512·10", [128, 10, 512], plain);
    product("4096×128·1", [4096, 1, 128], plain);
    product("128×4096·1", [128, 1, 4096], lhs);
}
