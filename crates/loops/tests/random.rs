//! Random kernels, drawn from fixed seeds: the verifier, the text form and the evaluator must
//! agree about each, and an enumeration of all addresses is the judge.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use kilngrad_loops::math::Function;
use kilngrad_loops::{
    Access, Affine, Apply, BinaryInst, Buffer, ChunkOrder, CompareInst, Kernel, KernelBuilder,
    LoopVar, Reg, RegType, Rule, Scalar, Stmt, UnaryInst, parse_kernel, run_kernel, verify_kernel,
};

/// The SplitMix64 generator (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Stores of one lane in a random nest, at random addresses.
fn addresses(random: &mut Random) -> Kernel {
    let mut b = KernelBuilder::new("addresses", 1 + random.below(4));
    let scalar = random.pick(&[Scalar::U8, Scalar::F32]);
    let y = b.buffer("y", scalar, 40 + random.below(60), Access::ReadWrite);
    // The value tells the chunk, so that races show in the result.
    let chunk = b.index(Scalar::I64, 1, Affine::var(Kernel::CHUNK), 0);
    let value = b.convert(scalar, chunk);
    nest(&mut b, random, y, value, &mut vec![Kernel::CHUNK], 3);
    b.finish()
}

fn nest(
    b: &mut KernelBuilder,
    random: &mut Random,
    y: Buffer,
    value: Reg,
    vars: &mut Vec<LoopVar>,
    depth: usize,
) {
    let stride = random.pick(&[2, 3, 4, 8]);
    let split = random.below(2) == 0;
    for _ in 0..=random.below(2) {
        let mut at = Affine::constant(random.below(12) as i64);
        for &var in vars.iter() {
            let chunk = if split { stride } else { 12 };
            let factor = random.pick(&[0, 1, 2, 4, 8, 12, 16, 24, -1, -4]);
            at = at.plus(var, if var == Kernel::CHUNK { chunk } else { factor });
        }
        match random.below(4) {
            0 => drop(b.load(y, at, 1)),
            // Of floats, which `value` has the type of.
            1 if b.reg_type(value) == RegType::scalar(Scalar::F32) => {
                let (function, count) = (Function::Tanh, random.below(4));
                b.apply(Apply { function, buffer: y, at, count });
            }
            _ => b.store(y, at, value),
        }
    }
    if depth > 0 {
        b.for_(random.pick(&[0, 1, 2, 2, 3, 4]), |b, var| {
            vars.push(var);
            nest(b, random, y, value, vars, depth - 1);
            vars.pop();
        });
    }
}

/// What really happens to each address: the chunks that load or store it.
#[derive(Default)]
struct Touched {
    by: BTreeMap<i64, Vec<(usize, bool)>>,
}

impl Touched {
    fn of(kernel: &Kernel) -> Touched {
        let mut touched = Touched::default();
        for chunk in 0..kernel.chunks {
            let mut values = BTreeMap::from([(Kernel::CHUNK, chunk as i64)]);
            touched.walk(&kernel.body, chunk, &mut values);
        }
        touched
    }

    fn walk(&mut self, body: &[Stmt], chunk: usize, values: &mut BTreeMap<LoopVar, i64>) {
        for stmt in body {
            let (at, count, stores) = match stmt {
                Stmt::Let { inst: kilngrad_loops::Inst::Load { at, .. }, .. } => (at, 1, false),
                Stmt::Store { at, .. } => (at, 1, true),
                Stmt::Apply(apply) => (&apply.at, apply.count, true),
                Stmt::Let { .. } | Stmt::Tile(_) => continue,
                Stmt::For(inner) => {
                    for step in 0..inner.extent {
                        values.insert(inner.var, step as i64);
                        self.walk(&inner.body, chunk, values);
                    }
                    continue;
                }
            };
            let sum: i64 = at.terms.iter().map(|&(var, factor)| factor * values[&var]).sum();
            for element in (at.constant + sum..).take(count) {
                self.by.entry(element).or_default().push((chunk, stores));
            }
        }
    }

    fn in_range(&self, len: usize) -> bool {
        self.by.keys().all(|&at| (0..len as i64).contains(&at))
    }

    /// Whether a chunk touches what another stores.
    fn races(&self) -> bool {
        self.by.values().any(|users| {
            let stored = users.iter().any(|user| user.1);
            stored && users.iter().any(|user| user.0 != users[0].0)
        })
    }
}

#[test]
fn the_verifier_agrees_with_enumeration() {
    let (mut accepted, mut refused, mut out_of_range) = (0, 0, 0);
    for seed in 0..20_000 {
        let kernel = addresses(&mut Random(seed));
        let touched = Touched::of(&kernel);
        let in_range = touched.in_range(kernel.buffers[0].len);
        match verify_kernel(&kernel).map_err(|error| error.rule()) {
            Ok(()) => {
                assert!(in_range && !touched.races(), "seed {seed}: {kernel}");
                accepted += usize::from(kernel.chunks > 1);
                check_run(&kernel, seed);
            }
            Err(Rule::Addresses) => {
                assert!(!in_range, "seed {seed}: {kernel}");
                out_of_range += 1;
            }
            Err(Rule::Chunks) => {
                assert!(in_range, "seed {seed}: {kernel}");
                refused += usize::from(!touched.races());
            }
            Err(rule) => panic!("seed {seed}: {rule}: {kernel}"),
        }
    }
    // Every outcome is exercised, and few kernels without a race are refused.
    assert!(accepted > 500 && out_of_range > 500, "{accepted} {out_of_range}");
    assert!(refused < accepted, "{refused} of {accepted}");
}

/// A kernel of random arithmetic in f32 and i32, with nested loops and carries.
fn arithmetic(random: &mut Random) -> Kernel {
    let mut b = KernelBuilder::new("arithmetic", 1 + random.below(3));
    let x = b.buffer("x", Scalar::F32, 256, Access::Read);
    let y = b.buffer("y", Scalar::F32, 768, Access::Write);
    let zero = b.const_f32(0.0, 4);
    let block = Affine::constant(0).plus(Kernel::CHUNK, 64);
    let mut pool = vec![zero];
    grow(&mut b, random, x, &block, &mut pool, 2);
    for (at, value) in pool.iter().rev().take(8).enumerate() {
        b.store(y, Affine::constant(4 * at as i64).plus(Kernel::CHUNK, 256), *value);
    }
    b.finish()
}

/// Adds f32 vectors to the pool.
fn grow(
    b: &mut KernelBuilder,
    random: &mut Random,
    x: Buffer,
    at: &Affine,
    pool: &mut Vec<Reg>,
    depth: usize,
) {
    for _ in 0..3 + random.below(6) {
        let (lhs, rhs) = (random.pick(pool), random.pick(pool));
        let reg = match random.below(9) {
            0 | 1 => b.load(x, at.clone().offset(random.below(40) as i64), 4),
            2 => b.binary(random.pick(&FLOAT_BINARY), lhs, rhs),
            3 => b.unary(random.pick(&UnaryInst::ALL[..7]), lhs),
            4 => b.fma(lhs, rhs, lhs),
            5 => {
                let mask = b.compare(random.pick(CompareInst::ALL), lhs, rhs);
                let mask = b.mask_not(mask);
                b.select(mask, lhs, rhs)
            }
            6 => {
                let lane = b.lane(lhs, random.below(4) as u8);
                b.splat(kilngrad_loops::RegType::vector(Scalar::F32), lane)
            }
            7 => {
                let whole = b.convert(Scalar::I32, lhs);
                let amount = b.const_int(Scalar::I32, random.below(40) as i64, 4);
                let op = random.pick(&[BinaryInst::Shl, BinaryInst::ShrU, BinaryInst::Xor]);
                let shifted = b.binary(op, whole, amount);
                b.convert(Scalar::F32, shifted)
            }
            _ if depth == 0 => b.const_f32(random.below(7) as f32 - 3.0, 4),
            _ => {
                let init = [lhs, rhs];
                let extent = random.below(4);
                let results = b.for_carry(extent, &init, |b, var, params| {
                    let mut inner = pool.clone();
                    inner.extend(params);
                    let at = at.clone().plus(var, 4);
                    grow(b, random, x, &at, &mut inner, depth - 1);
                    vec![random.pick(&inner), inner[inner.len() - 1]]
                });
                results[random.below(2)]
            }
        };
        pool.push(reg);
    }
}

const FLOAT_BINARY: [BinaryInst; 6] = [
    BinaryInst::Add,
    BinaryInst::Sub,
    BinaryInst::Mul,
    BinaryInst::Div,
    BinaryInst::MinSelect,
    BinaryInst::MaxSelect,
];

#[test]
fn built_kernels_verify_and_run_in_any_order() {
    for seed in 0..500 {
        let kernel = arithmetic(&mut Random(seed));
        if let Err(error) = verify_kernel(&kernel) {
            panic!("seed {seed}: {error}\n{kernel}");
        }
        check_run(&kernel, seed);
    }
}

/// The text round-trips, no access leaves its buffer, and the order of chunks does not matter.
fn check_run(kernel: &Kernel, seed: u64) {
    assert_eq!(&parse_kernel(&kernel.to_string()).unwrap(), kernel, "seed {seed}");
    let mut random = Random(seed ^ 0x5eed);
    let params: Vec<Vec<u8>> = kernel
        .buffers
        .iter()
        .map(|buffer| {
            let values: Vec<f32> =
                (0..buffer.len).map(|_| random.below(2000) as f32 / 16.0 - 60.0).collect();
            let mut bytes = kilngrad_loops::bytes_of(&values);
            bytes.truncate(buffer.len * buffer.scalar.size());
            bytes
        })
        .collect();
    let results = [ChunkOrder::Ascending, ChunkOrder::Descending].map(|order| {
        let mut params = params.clone();
        run_kernel(kernel, &mut params, order).unwrap();
        params
    });
    assert_eq!(results[0], results[1], "seed {seed}: {kernel}");
}

#[test]
fn mangled_texts_are_refused_or_round_trip() {
    let mut random = Random(7);
    let (mut parsed, mut valid) = (0, 0);
    for seed in 0..60 {
        let text = arithmetic(&mut Random(seed)).to_string();
        for _ in 0..200 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => {
                        bytes.remove(at);
                    }
                    1 => bytes[at] = random.pick(b"%@{}[]()=+-*;:.,x0123456789ai \"\\\n\xc3"),
                    _ => bytes.truncate(bytes.len() - random.below(3)),
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(kernel) = parse_kernel(&text) {
                assert_eq!(parse_kernel(&kernel.to_string()).unwrap(), kernel, "{text}");
                parsed += 1;
                valid += usize::from(verify_kernel(&kernel).is_ok());
            }
        }
    }
    assert!(parsed > 100 && valid > 10 && valid < parsed, "{parsed} {valid}");
}
