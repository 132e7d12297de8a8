//! What Cranelift makes of typical kernels: time to compile, and time an element, at either effort.
//! With `text` as argument, prints the machine code instead.

use std::time::Instant;

use kilngrad_codegen::{CodegenOptions, Effort, Host, compile};
use kilngrad_loops::{
    Access, Affine, BinaryInst, BufferPlace, Call, CompareInst, Item, Kernel, KernelBuilder,
    KernelId, Place, Program, Reg, RegType, Scalar, Slot, UnaryInst,
};
use kilngrad_tiles::Features;

/// Elements of each buffer: with three buffers, well inside a first-level cache.
const LEN: usize = 2048;
const ROUNDS: usize = 3000;

type Body = fn(&mut KernelBuilder, Reg, Reg) -> Reg;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1).as_deref() == Some("text");
    let mut kernels = vec![
        map("axpb", 1, |b, x, y| {
            let two = b.const_f32(2.0, 4);
            let product = b.binary(BinaryInst::Mul, two, x);
            b.binary(BinaryInst::Add, product, y)
        }),
        map("axpb_relu", 4, |b, x, y| {
            let two = b.const_f32(2.0, 4);
            let sum = b.fma(two, x, y);
            let zero = b.const_f32(0.0, 4);
            b.binary(BinaryInst::MaxSelect, zero, sum)
        }),
        map("tanh", 1, tanh),
        map("tanh", 4, tanh),
        map("exp", 1, exp),
        map("exp", 4, exp),
        map("exp", 8, exp),
        sum(1),
        sum(8),
        transpose(),
        divide(),
    ];
    kernels.extend([2, 4, 8].map(block));
    if !text {
        forty(&kernels)?;
    }
    println!("{:<12} {:>8} {:>10} {:>10}", "kernel", "effort", "µs/compile", "ps/element");
    for kernel in kernels {
        for effort in [Effort::Ordered, Effort::Optimized] {
            let program = program_of(kernel.clone());
            let options = CodegenOptions {
                keep_text: text,
                effort: Some(effort),
                ..CodegenOptions::new(Features::detect())
            };
            let compile_time = (0..20)
                .map(|_| {
                    let start = Instant::now();
                    compile(&program, &options).map(|_| start.elapsed())
                })
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .min()
                .unwrap_or_default();
            let module = compile(&program, &options)?;
            if text {
                println!("; {} {effort:?}\n{}", kernel.name, module.texts()[0].clif);
                println!("{}", module.texts()[0].disassembly);
                continue;
            }
            let elements: usize =
                program.buffers.iter().map(|buffer| buffer.len).max().unwrap_or(1);
            let mut memory: Vec<Vec<f32>> =
                program.buffers.iter().map(|buffer| vec![0.5; buffer.len]).collect();
            let pointers: Vec<*mut u8> =
                memory.iter_mut().map(|bytes| bytes.as_mut_ptr().cast()).collect();
            let mut best = f64::INFINITY;
            for _ in 0..7 {
                let start = Instant::now();
                for _ in 0..ROUNDS {
                    // SAFETY: the program has neither arena nor scratch, all its buffers are `F32`,
                    // and each external has its buffer's length.
                    let ran = unsafe {
                        module.entry().call(
                            std::ptr::dangling_mut(),
                            pointers.as_ptr(),
                            std::ptr::dangling_mut(),
                            &Host::sequential(),
                        )
                    };
                    ran.expect("a kernel alone has no gate");
                }
                best = best.min(start.elapsed().as_secs_f64());
            }
            let picoseconds = best * 1e12 / (ROUNDS * elements) as f64;
            println!(
                "{:<12} {:>8} {:>10} {picoseconds:>10.0}",
                kernel.name,
                format!("{effort:?}").chars().take(8).collect::<String>(),
                compile_time.as_micros()
            );
        }
    }
    Ok(())
}

/// Prints how long forty kernels take to compile together, as a training step's would.
fn forty(kernels: &[Kernel]) -> Result<(), Box<dyn std::error::Error>> {
    let mut program = program_of(kernels[0].clone());
    program.body.clear();
    program.kernels = (0..40).map(|idx| kernels[idx % kernels.len()].clone()).collect();
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        compile(&program, &CodegenOptions::new(Features::detect()))?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("forty kernels: {:.1} ms", 1e3 * best);
    Ok(())
}

/// `z[i] = body(x[i], y[i])`, `unroll` vectors an iteration.
fn map(name: &str, unroll: usize, body: Body) -> Kernel {
    let mut b = KernelBuilder::new(format!("{name}×{unroll}"), 1);
    let x = b.buffer("x", Scalar::F32, LEN, Access::Read);
    let y = b.buffer("y", Scalar::F32, LEN, Access::Read);
    let z = b.buffer("z", Scalar::F32, LEN, Access::Write);
    b.for_(LEN / 4 / unroll, |b, i| {
        for part in 0..unroll as i64 {
            let at = Affine::constant(4 * part).plus(i, 4 * unroll as i64);
            let (left, right) = (b.load(x, at.clone(), 4), b.load(y, at.clone(), 4));
            let value = body(b, left, right);
            b.store(z, at, value);
        }
    });
    b.finish()
}

/// A polynomial exponential: range reduction, seven terms, scaling by bits.
fn exp(b: &mut KernelBuilder, x: Reg, _: Reg) -> Reg {
    let [low, high, log2e] =
        [-87.0, 88.0, std::f32::consts::LOG2_E].map(|value| b.const_f32(value, 4));
    let mut clamped = b.binary(BinaryInst::MinSelect, high, x);
    clamped = b.binary(BinaryInst::MaxSelect, low, clamped);
    let scaled = b.binary(BinaryInst::Mul, clamped, log2e);
    let whole = b.unary(UnaryInst::Nearest, scaled);
    let minus_ln2 = b.const_f32(-std::f32::consts::LN_2, 4);
    let rest = b.fma(whole, minus_ln2, clamped);
    let terms = [1.0, 1.0, 0.5, 0.166_666_67, 0.041_666_67, 0.008_333_33, 0.001_388_9];
    let mut sum = b.const_f32(0.000_198_4, 4);
    for &term in terms.iter().rev() {
        let term = b.const_f32(term, 4);
        sum = b.fma(sum, rest, term);
    }
    let exponent = b.convert(Scalar::I32, whole);
    let (bias, shift) = (b.const_int(Scalar::I32, 127, 4), b.const_int(Scalar::I32, 23, 4));
    let exponent = b.binary(BinaryInst::Add, exponent, bias);
    let exponent = b.binary(BinaryInst::Shl, exponent, shift);
    let scale = b.bitcast(RegType::vector(Scalar::F32), exponent);
    let result = b.binary(BinaryInst::Mul, sum, scale);
    let nan = b.compare(CompareInst::Ne, x, x);
    b.select(nan, x, result)
}

/// `1 − 2/(exp(2x) + 1)`.
fn tanh(b: &mut KernelBuilder, x: Reg, y: Reg) -> Reg {
    let double = b.binary(BinaryInst::Add, x, x);
    let power = exp(b, double, y);
    let (one, two) = (b.const_f32(1.0, 4), b.const_f32(2.0, 4));
    let below = b.binary(BinaryInst::Add, power, one);
    let part = b.binary(BinaryInst::Div, two, below);
    b.binary(BinaryInst::Sub, one, part)
}

/// The sum of `x` in `unroll` accumulators.
fn sum(unroll: usize) -> Kernel {
    let mut b = KernelBuilder::new(format!("sum×{unroll}"), 1);
    let x = b.buffer("x", Scalar::F32, LEN, Access::Read);
    let z = b.buffer("z", Scalar::F32, 4, Access::Write);
    let zeros = vec![b.const_f32(0.0, 4); unroll];
    let sums = b.for_carry(LEN / 4 / unroll, &zeros, |b, i, sums| {
        let mut next = Vec::new();
        for (part, &sum) in sums.iter().enumerate() {
            let at = Affine::constant(4 * part as i64).plus(i, 4 * unroll as i64);
            let value = b.load(x, at, 4);
            next.push(b.binary(BinaryInst::Add, sum, value));
        }
        next
    });
    let mut total = sums[0];
    for &sum in &sums[1..] {
        total = b.binary(BinaryInst::Add, total, sum);
    }
    b.store(z, Affine::constant(0), total);
    b.finish()
}

/// `z[j, i] = x[i, j]`, scalar.
fn transpose() -> Kernel {
    let (rows, cols) = (32, LEN / 32);
    let mut b = KernelBuilder::new("transpose", 1);
    let x = b.buffer("x", Scalar::F32, LEN, Access::Read);
    let z = b.buffer("z", Scalar::F32, LEN, Access::Write);
    b.for_(rows, |b, i| {
        b.for_(cols, |b, j| {
            let value = b.load(x, Affine::constant(0).plus(i, cols as i64).plus(j, 1), 1);
            b.store(z, Affine::constant(0).plus(j, rows as i64).plus(i, 1), value);
        });
    });
    b.finish()
}

/// `z[i] = (i / 7) % 5`, as integers whose bits are stored: what an index expression of a gather
/// comes to.
fn divide() -> Kernel {
    let mut b = KernelBuilder::new("divide", 1);
    let z = b.buffer("z", Scalar::F32, LEN, Access::Write);
    let [seven, five] = [7, 5].map(|value| b.const_int(Scalar::I32, value, 1));
    b.for_(LEN, |b, i| {
        let index = b.index(Scalar::I32, 1, Affine::var(i), 0);
        let quotient = b.binary(BinaryInst::Div, index, seven);
        let remainder = b.binary(BinaryInst::Rem, quotient, five);
        let bits = b.bitcast(RegType::scalar(Scalar::F32), remainder);
        b.store(z, Affine::var(i), bits);
    });
    b.finish()
}

/// Rows of a small product kept in registers: `rows` × 8 sums over 64 terms, the pressure of a
/// contraction written as loops.
fn block(rows: usize) -> Kernel {
    let depth = 64;
    let mut b = KernelBuilder::new(format!("block×{rows}"), 1);
    let x = b.buffer("x", Scalar::F32, rows * depth, Access::Read);
    let y = b.buffer("y", Scalar::F32, 8 * depth, Access::Read);
    let z = b.buffer("z", Scalar::F32, 8 * rows, Access::Write);
    let zeros = vec![b.const_f32(0.0, 4); 2 * rows];
    let ty = RegType::vector(Scalar::F32);
    let sums = b.for_carry(depth, &zeros, |b, k, sums| {
        let right = [0, 4].map(|at| b.load(y, Affine::constant(at).plus(k, 8), 4));
        let mut next = Vec::new();
        for row in 0..rows {
            let left = b.load(x, Affine::constant((row * depth) as i64).plus(k, 1), 1);
            let left = b.splat(ty, left);
            next.push(b.fma(left, right[0], sums[2 * row]));
            next.push(b.fma(left, right[1], sums[2 * row + 1]));
        }
        next
    });
    for (at, &sum) in sums.iter().enumerate() {
        b.store(z, Affine::constant(4 * at as i64), sum);
    }
    b.finish()
}

fn program_of(kernel: Kernel) -> Program {
    let buffers: Vec<BufferPlace> = kernel
        .buffers
        .iter()
        .enumerate()
        .map(|(index, buffer)| BufferPlace {
            name: buffer.name.clone(),
            scalar: buffer.scalar,
            len: buffer.len,
            place: Place::External { index },
            writable: buffer.access != Access::Read,
        })
        .collect();
    Program {
        name: kernel.name.clone(),
        arena_bytes: 0,
        externals: buffers.len(),
        body: vec![Item::Call(Call {
            kernel: KernelId(0),
            args: (0..buffers.len() as u32).map(Slot).collect(),
        })],
        gate: None,
        buffers,
        kernels: vec![kernel],
    }
}
