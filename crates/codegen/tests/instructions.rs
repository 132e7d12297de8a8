//! Every instruction at every type it takes, on all combinations of special values, must leave the
//! bits that the loop evaluator leaves.

#![allow(clippy::unwrap_used)]

mod common;

use common::{bytes_of_bits, check, check_with, feature_sets, program_of, special_values};
use kilngrad_codegen::{CodegenOptions, compile};
use kilngrad_loops::{
    Access, Affine, BinaryInst, CompareInst, Half, Inst, KernelBuilder, MaskInst, Memory, Reg,
    RegType, Scalar, UnaryInst,
};

const SCALARS: [Scalar; 5] = [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64, Scalar::U8];

const UNARY: [UnaryInst; 8] = [
    UnaryInst::Neg,
    UnaryInst::Abs,
    UnaryInst::Sqrt,
    UnaryInst::Floor,
    UnaryInst::Ceil,
    UnaryInst::Trunc,
    UnaryInst::Nearest,
    UnaryInst::Not,
];

const BINARY: [BinaryInst; 13] = [
    BinaryInst::Add,
    BinaryInst::Sub,
    BinaryInst::Mul,
    BinaryInst::Div,
    BinaryInst::Rem,
    BinaryInst::MinSelect,
    BinaryInst::MaxSelect,
    BinaryInst::And,
    BinaryInst::Or,
    BinaryInst::Xor,
    BinaryInst::Shl,
    BinaryInst::ShrU,
    BinaryInst::ShrS,
];

const COMPARE: [CompareInst; 6] = [
    CompareInst::Eq,
    CompareInst::Ne,
    CompareInst::Lt,
    CompareInst::Le,
    CompareInst::Gt,
    CompareInst::Ge,
];

/// Scalar, and vector where there is one.
fn lane_counts(scalar: Scalar) -> &'static [u8] {
    match scalar {
        Scalar::F32 | Scalar::I32 => &[1, 4],
        Scalar::F64 | Scalar::I64 => &[1, 2],
        Scalar::U8 => &[1],
    }
}

/// All combinations of `arity` special values, padded to fill vectors: one column an operand.
fn combinations(scalar: Scalar, arity: u32) -> Vec<Vec<u64>> {
    let values = special_values(scalar);
    let count = values.len().pow(arity).next_multiple_of(4);
    (0..arity)
        .map(|operand| {
            let at = |idx: usize| values[idx / values.len().pow(operand) % values.len()];
            (0..count).map(at).collect()
        })
        .collect()
}

/// The memory and kernel of `out[i] = body(columns[0][i], …)`, run over all rows. Columns begin one
/// element into their memory: vectors of memory are not aligned.
fn mapped(
    name: &str,
    scalar: Scalar,
    lanes: u8,
    columns: &[Vec<u64>],
    out: Scalar,
    body: impl FnOnce(&mut KernelBuilder, &[Reg]) -> Reg,
) -> (kilngrad_loops::Program, Memory) {
    let rows = columns[0].len();
    let mut b = KernelBuilder::new(name, 1);
    let inputs: Vec<_> =
        columns.iter().map(|_| b.buffer("x", scalar, 1 + rows, Access::Read)).collect();
    let output = b.buffer("y", out, rows, Access::Write);
    b.for_(rows / usize::from(lanes), |b, i| {
        let at = Affine::constant(0).plus(i, i64::from(lanes));
        let values: Vec<Reg> =
            inputs.iter().map(|&input| b.load(input, at.clone().offset(1), lanes)).collect();
        let value = body(b, &values);
        b.store(output, at, value);
    });
    let mut externals: Vec<Vec<u8>> = columns
        .iter()
        .map(|column| [vec![0; scalar.size()], bytes_of_bits(scalar, column)].concat())
        .collect();
    externals.push(vec![0; rows * out.size()]);
    (program_of(b.finish()), Memory { arena: Vec::new(), externals })
}

fn unary_takes(op: UnaryInst, scalar: Scalar) -> bool {
    match op {
        UnaryInst::Neg => true,
        UnaryInst::Abs => scalar != Scalar::U8,
        UnaryInst::Not => !scalar.is_float(),
        UnaryInst::Sqrt
        | UnaryInst::Floor
        | UnaryInst::Ceil
        | UnaryInst::Trunc
        | UnaryInst::Nearest => scalar.is_float(),
    }
}

#[test]
fn unary() {
    for scalar in SCALARS {
        for op in UNARY.into_iter().filter(|&op| unary_takes(op, scalar)) {
            for &lanes in lane_counts(scalar) {
                let columns = combinations(scalar, 1);
                let name = format!("{op:?}");
                let (program, memory) =
                    mapped(&name, scalar, lanes, &columns, scalar, |b, x| b.unary(op, x[0]));
                check(&program, &memory);
            }
        }
    }
}

fn binary_takes(op: BinaryInst, scalar: Scalar, lanes: u8) -> bool {
    match op {
        BinaryInst::Add
        | BinaryInst::Sub
        | BinaryInst::Mul
        | BinaryInst::MinSelect
        | BinaryInst::MaxSelect => true,
        BinaryInst::Div => scalar.is_float() || lanes == 1,
        BinaryInst::Rem => !scalar.is_float() && lanes == 1,
        BinaryInst::And | BinaryInst::Or | BinaryInst::Xor => !scalar.is_float(),
        // Of vectors, in a test of their own.
        BinaryInst::Shl | BinaryInst::ShrU | BinaryInst::ShrS => !scalar.is_float() && lanes == 1,
    }
}

#[test]
fn binary() {
    for scalar in SCALARS {
        for op in BINARY {
            for &lanes in lane_counts(scalar) {
                if binary_takes(op, scalar, lanes) {
                    let columns = combinations(scalar, 2);
                    let name = format!("{op:?}");
                    let (program, memory) =
                        mapped(&name, scalar, lanes, &columns, scalar, |b, x| {
                            b.binary(op, x[0], x[1])
                        });
                    check(&program, &memory);
                }
            }
        }
    }
}

#[test]
fn binary_with_a_constant() {
    for scalar in SCALARS {
        for op in BINARY {
            for &lanes in lane_counts(scalar) {
                if !binary_takes(op, scalar, lanes) {
                    continue;
                }
                for bits in special_values(scalar) {
                    let columns = combinations(scalar, 1);
                    let ty = RegType::Number { scalar, lanes };
                    let name = format!("{op:?}");
                    let (program, memory) =
                        mapped(&name, scalar, lanes, &columns, scalar, |b, x| {
                            let constant = b.constant(ty, bits);
                            let left = b.binary(op, constant, x[0]);
                            let right = b.binary(op, x[0], constant);
                            // Both orders show, as neither hides the other's bits.
                            let mask = b.compare(CompareInst::Lt, x[0], constant);
                            b.select(mask, left, right)
                        });
                    check_with(&program, &memory, feature_sets()[0]);
                }
            }
        }
    }
}

/// A mask alone chooses zero, which takes one instruction where a blend takes several.
#[test]
fn select_with_a_constant() {
    for scalar in SCALARS {
        for &lanes in lane_counts(scalar) {
            let ty = RegType::Number { scalar, lanes };
            for bits in special_values(scalar) {
                for chosen in [true, false] {
                    let columns = combinations(scalar, 2);
                    let (program, memory) =
                        mapped("choose", scalar, lanes, &columns, scalar, |b, x| {
                            let constant = b.constant(ty, bits);
                            let mask = b.compare(CompareInst::Lt, x[0], x[1]);
                            let (then, otherwise) =
                                if chosen { (constant, x[1]) } else { (x[0], constant) };
                            b.select(mask, then, otherwise)
                        });
                    check(&program, &memory);
                    let features = feature_sets()[0];
                    let options =
                        CodegenOptions { keep_text: true, ..CodegenOptions::new(features) };
                    let module = compile(&program, &options).unwrap();
                    let blends = module.texts()[0].clif.contains("bitselect");
                    assert_eq!(blends, lanes > 1 && bits != 0, "{scalar} {bits:x}");
                }
            }
        }
    }
}

#[test]
fn vector_shifts_by_constants_and_splats() {
    for scalar in [Scalar::I32, Scalar::I64] {
        let lanes = lane_counts(scalar)[1];
        let ty = RegType::vector(scalar);
        for op in [BinaryInst::Shl, BinaryInst::ShrU, BinaryInst::ShrS] {
            for amount in special_values(scalar) {
                let columns = combinations(scalar, 1);
                let (program, memory) =
                    mapped("by_constant", scalar, lanes, &columns, scalar, |b, x| {
                        let amount = b.constant(ty, amount);
                        b.binary(op, x[0], amount)
                    });
                check(&program, &memory);
                let (program, memory) =
                    mapped("by_splat", scalar, lanes, &columns, scalar, |b, x| {
                        let amount = b.constant(RegType::scalar(scalar), amount);
                        let first = b.lane(x[0], 0);
                        let amount = b.binary(BinaryInst::Xor, amount, first);
                        let amount = b.splat(ty, amount);
                        b.binary(op, x[0], amount)
                    });
                check(&program, &memory);
            }
        }
    }
}

#[test]
fn fused_multiply_add() {
    let features = feature_sets()[0];
    if !features.fma {
        return;
    }
    for scalar in [Scalar::F32, Scalar::F64] {
        for &lanes in lane_counts(scalar) {
            let columns = combinations(scalar, 3);
            let (program, memory) =
                mapped("fma", scalar, lanes, &columns, scalar, |b, x| b.fma(x[0], x[1], x[2]));
            check_with(&program, &memory, features);
        }
    }
}

#[test]
fn compare_and_select() {
    for scalar in SCALARS {
        for op in COMPARE {
            for &lanes in lane_counts(scalar) {
                let columns = combinations(scalar, 2);
                let ty = RegType::Number { scalar, lanes };
                let (program, memory) =
                    mapped("select", scalar, lanes, &columns, scalar, |b, x| {
                        let mask = b.compare(op, x[0], x[1]);
                        let [yes, no] = [1, 2].map(|bits| b.constant(ty, bits));
                        b.select(mask, yes, no)
                    });
                check(&program, &memory);
            }
            let columns = combinations(scalar, 2);
            let (program, memory) = mapped("to_u8", scalar, 1, &columns, Scalar::U8, |b, x| {
                let mask = b.compare(op, x[0], x[1]);
                b.convert(Scalar::U8, mask)
            });
            check(&program, &memory);
        }
    }
}

#[test]
fn select_keeps_the_bits_of_numbers() {
    for scalar in SCALARS {
        for &lanes in lane_counts(scalar) {
            let columns = combinations(scalar, 2);
            let (program, memory) = mapped("keep", scalar, lanes, &columns, scalar, |b, x| {
                let mask = b.compare(CompareInst::Le, x[0], x[1]);
                b.select(mask, x[1], x[0])
            });
            check(&program, &memory);
        }
    }
}

#[test]
fn masks() {
    for scalar in SCALARS {
        for op in [MaskInst::And, MaskInst::Or, MaskInst::Xor] {
            for &lanes in lane_counts(scalar) {
                let columns = combinations(scalar, 2);
                let ty = RegType::Number { scalar, lanes };
                let (program, memory) = mapped("masks", scalar, lanes, &columns, scalar, |b, x| {
                    let one = b.compare(CompareInst::Lt, x[0], x[1]);
                    let two = b.compare(CompareInst::Ne, x[0], x[1]);
                    let not = b.mask_not(two);
                    let both = b.mask(op, one, not);
                    let always = b.constant(ty.mask(), 1);
                    let never = b.constant(ty.mask(), 0);
                    let picked = b.select(both, two, always);
                    let picked = b.mask(MaskInst::Xor, picked, never);
                    b.select(picked, x[0], x[1])
                });
                check(&program, &memory);
            }
        }
    }
}

#[test]
fn splats_and_lanes() {
    for scalar in [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64] {
        let lanes = lane_counts(scalar)[1];
        let ty = RegType::vector(scalar);
        for lane in 0..lanes {
            let columns = combinations(scalar, 2);
            let (program, memory) = mapped("splat", scalar, lanes, &columns, scalar, |b, x| {
                let number = b.lane(x[0], lane);
                let other = b.lane(x[1], 0);
                let mask = b.compare(CompareInst::Ge, number, other);
                let mask = b.splat(ty.mask(), mask);
                let number = b.splat(ty, number);
                b.select(mask, number, x[1])
            });
            check(&program, &memory);
        }
    }
}

#[test]
fn interleaving() {
    for scalar in [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64] {
        let lanes = lane_counts(scalar)[1];
        for half in Half::ALL {
            let columns = combinations(scalar, 2);
            let (program, memory) =
                mapped("interleave", scalar, lanes, &columns, scalar, |b, x| {
                    b.interleave(*half, x[0], x[1])
                });
            check(&program, &memory);
        }
    }
}

#[test]
fn conversions() {
    for from in SCALARS {
        for to in SCALARS.into_iter().filter(|&to| to != from) {
            let columns = combinations(from, 1);
            let (program, memory) =
                mapped("convert", from, 1, &columns, to, |b, x| b.convert(to, x[0]));
            check(&program, &memory);
        }
    }
    for (from, to) in [(Scalar::F32, Scalar::I32), (Scalar::I32, Scalar::F32)] {
        let columns = combinations(from, 1);
        let (program, memory) =
            mapped("convert", from, 4, &columns, to, |b, x| b.convert(to, x[0]));
        check(&program, &memory);
    }
}

#[test]
fn bitcasts() {
    for from in SCALARS {
        for to in SCALARS {
            for lanes in [1, (16 / from.size()) as u8] {
                let other = usize::from(lanes) * from.size() / to.size();
                let known = |scalar: Scalar, lanes: usize| {
                    lane_counts(scalar).iter().any(|&have| usize::from(have) == lanes)
                };
                if from == to || !known(from, lanes.into()) || !known(to, other) {
                    continue;
                }
                // Rows of the input's type; the output has as many bytes.
                let mut column = combinations(from, 1).remove(0);
                column.truncate(column.len() / 4 * 4);
                let mut b = KernelBuilder::new("bitcast", 1);
                let input = b.buffer("x", from, column.len(), Access::Read);
                let out_len = column.len() * from.size() / to.size();
                let output = b.buffer("y", to, out_len, Access::Write);
                b.for_(column.len() / usize::from(lanes), |b, i| {
                    let value = b.load(input, Affine::constant(0).plus(i, lanes.into()), lanes);
                    let ty = RegType::Number { scalar: to, lanes: other as u8 };
                    let value = b.bitcast(ty, value);
                    b.store(output, Affine::constant(0).plus(i, other as i64), value);
                });
                let externals = vec![bytes_of_bits(from, &column), vec![0; out_len * to.size()]];
                check(&program_of(b.finish()), &Memory { arena: Vec::new(), externals });
            }
        }
    }
}

#[test]
fn indices() {
    for scalar in [Scalar::I32, Scalar::I64] {
        for &lanes in lane_counts(scalar) {
            for (constant, scale, step) in
                [(0, 1, 0), (5, 4, 1), (-7, -3, 1000), (1 << 33, 1 << 20, -1), (i64::MAX - 9, 1, 1)]
            {
                let step = if lanes == 1 { 0 } else { step };
                let mut b = KernelBuilder::new("index", 3);
                let output = b.buffer("y", scalar, 3 * 6 * usize::from(lanes), Access::Write);
                b.for_(2, |b, i| {
                    b.for_(3, |b, j| {
                        let at = Affine::constant(constant)
                            .plus(i, scale)
                            .plus(j, 2)
                            .plus(kilngrad_loops::Kernel::CHUNK, -1);
                        let value = b.index(scalar, lanes, at, step);
                        let lanes = i64::from(lanes);
                        let at = Affine::constant(0)
                            .plus(kilngrad_loops::Kernel::CHUNK, 6 * lanes)
                            .plus(i, 3 * lanes)
                            .plus(j, lanes);
                        b.store(output, at, value);
                    });
                });
                let bytes = 3 * 6 * usize::from(lanes) * scalar.size();
                let memory = Memory { arena: Vec::new(), externals: vec![vec![0; bytes]] };
                check(&program_of(b.finish()), &memory);
            }
        }
    }
}

#[test]
fn constants_of_every_type() {
    for scalar in SCALARS {
        for &lanes in lane_counts(scalar) {
            let values = special_values(scalar);
            let mut b = KernelBuilder::new("constants", 1);
            let len = values.len() * usize::from(lanes);
            let output = b.buffer("y", scalar, len, Access::Write);
            for (idx, &bits) in values.iter().enumerate() {
                let ty = RegType::Number { scalar, lanes };
                let value = b.let_(ty, Inst::Const { bits });
                b.store(output, Affine::constant(idx as i64 * i64::from(lanes)), value);
            }
            let memory =
                Memory { arena: Vec::new(), externals: vec![vec![0; len * scalar.size()]] };
            check(&program_of(b.finish()), &memory);
        }
    }
}
