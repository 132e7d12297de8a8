//! Every operation's derivatives, of three orders, against differences in `f64`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, array, check, check_typed, dense, dim, drawn, symbolic, ty};
use kilngrad_ir::op::{
    BINARY, BinaryDerivative, BinaryOp, CompareOp, DotAxes, PadAxis, ReduceOp, SliceAxis, UNARY,
    UnaryDerivative, UnaryOp,
};
use kilngrad_ir::{DType, Dim, Op, Type, Value};

#[test]
fn unary_operations() {
    for row in &UNARY {
        let (low, high) = match row.op {
            UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Sqrt | UnaryOp::Rsqrt => (0.6, 2.0),
            UnaryOp::Asin | UnaryOp::Acos | UnaryOp::Atanh => (-0.8, 0.8),
            UnaryOp::Acosh => (1.2, 3.0),
            UnaryOp::Tan => (-1.2, 1.2),
            UnaryOp::Log1p => (-0.5, 2.0),
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Exp
            | UnaryOp::Expm1
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid
            | UnaryOp::Relu
            | UnaryOp::Erf
            | UnaryOp::Erfc
            | UnaryOp::Exp2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Atan
            | UnaryOp::Sinh
            | UnaryOp::Cosh
            | UnaryOp::Asinh
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc => (-1.9, 1.9),
            UnaryOp::Not => continue,
        };
        assert!(!matches!(row.derivative, UnaryDerivative::None), "{}", row.name);
        check(row.name, &[drawn(&[5], low, high, 3)], |b, x| b.unary(row.op, x[0]));
    }
}

#[test]
fn binary_operations() {
    for row in &BINARY {
        if matches!(row.derivative, BinaryDerivative::None) {
            assert!(!row.domain.contains(DType::F64), "{}", row.name);
            continue;
        }
        let x = if row.op == BinaryOp::Pow { (0.5, 2.0) } else { (-2.0, 2.0) };
        let y = drawn(&[6], 0.7, 2.5, 4);
        let signed: Vec<f64> =
            y.to_f64_vec().iter().zip([1.0, -1.0].iter().cycle()).map(|(y, s)| y * s).collect();
        let inputs = [drawn(&[6], x.0, x.1, 3), array(&[6], &signed)];
        check(row.name, &inputs, |b, x| b.binary(row.op, x[0], x[1]));
        let twice = format!("{} of one value", row.name);
        check(&twice, &[drawn(&[3], 0.7, 1.9, 5)], |b, x| b.binary(row.op, x[0], x[0]));
    }
}

#[test]
fn select_and_casts() {
    let inputs = [drawn(&[5], -1.0, 1.0, 1), drawn(&[5], -1.0, 1.0, 2)];
    check("select", &inputs, |b, x| {
        let condition = b.op(Op::Compare(CompareOp::Gt), &[x[0], x[1]]);
        let (square, product) = (b.mul(x[0], x[0]), b.mul(x[0], x[1]));
        b.op(Op::Select, &[condition, square, product])
    });
    check("cast to the same dtype", &inputs[..1], |b, x| {
        let cast = b.op_as(Op::Cast, &[x[0]], ty(&[5]));
        b.mul(cast, x[0])
    });
}

/// What of a value is differentiated a second and third time is the square.
fn squared(b: &mut Build, x: Value) -> Value {
    b.mul(x, x)
}

#[test]
fn reductions() {
    let x = drawn(&[2, 3, 2], -1.5, 1.5, 7);
    for (op, name) in ReduceOp::ALL {
        for axes in [&[][..], &[0], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2]] {
            check(&format!("{name} over {axes:?}"), std::slice::from_ref(&x), |b, x| {
                let reduced = b.reduce(op, axes, x[0]);
                squared(b, reduced)
            });
        }
    }
}

#[test]
fn products_with_zeros_and_of_any_count() {
    let product = |b: &mut Build, x: &[Value]| b.reduce(ReduceOp::Prod, &[1], x[0]);
    for count in [0, 1, 2, 3, 4, 5, 7, 8] {
        let name = format!("product of {count}");
        check(&name, &[drawn(&[2, count], -1.5, 1.5, 8)], product);
    }
    let zeros = array(
        &[5, 5],
        &[
            [0.7, -1.2, 1.4, 0.9, -0.8],
            [0.7, 0.0, 1.4, 0.9, -0.8],
            [0.0, -1.2, 1.4, 0.0, -0.8],
            [0.0, 0.0, 1.4, 0.9, 0.0],
            [0.0; 5],
        ]
        .concat(),
    );
    check("product with zeros", std::slice::from_ref(&zeros), product);
    check_typed("product of a symbol", &[symbolic(&["m", "n"])], &[zeros], product);
    check_typed(
        "product over two symbolic axes",
        &[symbolic(&["m", "k", "n"])],
        &[drawn(&[2, 2, 2], -1.0, 1.0, 1)],
        |b, x| b.reduce(ReduceOp::Prod, &[0, 2], x[0]),
    );
}

fn dot(lhs_batch: &[usize], rhs_batch: &[usize], lhs: &[usize], rhs: &[usize]) -> Op {
    Op::Dot(DotAxes {
        lhs_batch: lhs_batch.into(),
        rhs_batch: rhs_batch.into(),
        lhs_contract: lhs.into(),
        rhs_contract: rhs.into(),
    })
}

#[test]
fn contractions() {
    type Case = (&'static [usize], &'static [usize], [&'static [usize]; 4]);
    let cases: [Case; 9] = [
        (&[2, 3], &[3, 4], [&[], &[], &[1], &[0]]),
        (&[2, 3], &[4, 2], [&[], &[], &[0], &[1]]),
        (&[2], &[3], [&[], &[], &[], &[]]),
        (&[3], &[3], [&[], &[], &[0], &[0]]),
        (&[3], &[3], [&[0], &[0], &[], &[]]),
        (&[2, 3, 2], &[3, 2, 4], [&[1], &[0], &[0], &[1]]),
        // Two contracted axes that are paired crosswise.
        (&[2, 4, 3], &[3, 2, 2], [&[], &[], &[0, 2], &[2, 0]]),
        (&[2, 3, 4, 2], &[4, 2, 3, 3], [&[2, 0], &[0, 1], &[1], &[3]]),
        (&[2, 0], &[0, 3], [&[], &[], &[1], &[0]]),
    ];
    for (index, (lhs, rhs, [lb, rb, lc, rc])) in cases.into_iter().enumerate() {
        let inputs = [drawn(lhs, -1.0, 1.0, 1), drawn(rhs, -1.0, 1.0, 2)];
        check(&format!("contraction {index}"), &inputs, |b, x| {
            b.op(dot(lb, rb, lc, rc), &[x[0], x[1]])
        });
    }
    check("a matrix with itself", &[drawn(&[3, 3], -1.0, 1.0, 1)], |b, x| {
        b.op(dot(&[], &[], &[1], &[0]), &[x[0], x[0]])
    });
}

#[test]
fn views() {
    let x = drawn(&[2, 3], -1.0, 1.0, 6);
    let check = |name: &str, view: &dyn Fn(&mut Build, Value) -> Value| {
        check(name, std::slice::from_ref(&x), |b, x| {
            let seen = view(b, x[0]);
            squared(b, seen)
        });
    };
    check("broadcast", &|b, x| {
        b.op_as(Op::Broadcast { dims: [1, 3].as_slice().into() }, &[x], ty(&[2, 2, 2, 3]))
    });
    check("broadcast along nothing", &|b, x| {
        b.op_as(Op::Broadcast { dims: [0, 1].as_slice().into() }, &[x], ty(&[2, 3]))
    });
    check("broadcast to nothing", &|b, x| {
        b.op_as(Op::Broadcast { dims: [1, 2].as_slice().into() }, &[x], ty(&[0, 2, 3]))
    });
    check("reshape", &|b, x| b.op_as(Op::Reshape, &[x], ty(&[3, 1, 2])));
    check("transpose", &|b, x| b.op(Op::Transpose { permutation: [1, 0].as_slice().into() }, &[x]));
    check("transpose of three", &|b, x| {
        let cube = b.op_as(Op::Reshape, &[x], ty(&[1, 2, 3]));
        b.op(Op::Transpose { permutation: [2, 0, 1].as_slice().into() }, &[cube])
    });
    check("stop_gradient of a factor", &|b, x| {
        let held = b.op(Op::StopGradient, &[x]);
        let zero = b.splat(ty(&[2, 3]), 0.0);
        let nothing = b.mul(held, zero);
        b.add(nothing, x)
    });
}

fn range(start: usize, limit: usize, stride: usize) -> SliceAxis {
    SliceAxis { start: Dim::from(start), limit: Dim::from(limit), stride }
}

fn amount(low: usize, high: usize, interior: usize) -> PadAxis {
    PadAxis { low: Dim::from(low), high: Dim::from(high), interior }
}

#[test]
fn slices_and_pads() {
    let x = drawn(&[2, 7], -1.0, 1.0, 6);
    for columns in [
        range(0, 7, 1),
        range(2, 5, 1),
        range(1, 7, 2),
        range(0, 6, 3),
        range(3, 3, 2),
        range(6, 7, 9),
    ] {
        let name = format!("slice {columns:?}");
        check(&name, std::slice::from_ref(&x), |b, x| {
            let part =
                b.op(Op::Slice([range(1, 2, 1), columns.clone()].into_iter().collect()), &[x[0]]);
            squared(b, part)
        });
    }
    for length in [0, 1, 3] {
        for columns in [amount(0, 0, 0), amount(2, 1, 0), amount(1, 0, 2), amount(0, 3, 1)] {
            let name = format!("pad {length} by {columns:?}");
            let inputs = [drawn(&[2, length], -1.0, 1.0, 6), 0.6.into()];
            check(&name, &inputs, |b, x| {
                let axes = [amount(0, 1, 0), columns.clone()].into_iter().collect();
                let padded = b.op(Op::Pad(axes), &[x[0], x[1]]);
                squared(b, padded)
            });
        }
    }
}

#[test]
fn concatenation() {
    let inputs =
        [drawn(&[2, 1], -1.0, 1.0, 1), drawn(&[2, 3], -1.0, 1.0, 2), drawn(&[2, 0], 0.0, 1.0, 3)];
    check("concat", &inputs, |b, x| {
        let joined = b.op(Op::Concat { axis: 1 }, &[x[0], x[1], x[2], x[0]]);
        squared(b, joined)
    });
}

#[test]
fn symbolic_shapes() {
    let n = || dim("n");
    let inputs = [drawn(&[3, 2], -1.0, 1.0, 1), drawn(&[2, 2], -1.0, 1.0, 2)];
    let types = [symbolic(&["n", "2"]), symbolic(&["2", "2"])];
    check_typed("a chain over symbols", &types, &inputs, |b, x| {
        let product = b.op(dot(&[], &[], &[1], &[0]), &[x[0], x[1]]);
        let mean = b.reduce(ReduceOp::Sum, &[0], product);
        let count = b.op_as(Op::Dimension(n()), &[], ty(&[]));
        let count = b.broadcast(count, &[], mean);
        let mean = b.binary(BinaryOp::Div, mean, count);
        let mean = b.broadcast(mean, &[1], product);
        let centred = b.binary(BinaryOp::Sub, product, mean);
        let joined = b.op(Op::Concat { axis: 0 }, &[centred, x[0]]);
        let ranges = [
            SliceAxis { start: n(), limit: &n() + &n(), stride: 1 },
            SliceAxis { start: Dim::from(0usize), limit: Dim::from(2usize), stride: 1 },
        ];
        let part = b.op(Op::Slice(ranges.into_iter().collect()), &[joined]);
        let zero = b.splat(ty(&[]), 0.3);
        let amounts = [PadAxis { low: n(), high: n(), interior: 0 }, amount(1, 0, 1)];
        let padded = b.op(Op::Pad(amounts.into_iter().collect()), &[part, zero]);
        let elements = b.graph.ty(padded).shape.elements().unwrap();
        let flat = Type::new(DType::F64, [elements].into_iter().collect());
        let flat = b.op_as(Op::Reshape, &[padded], flat);
        let total = b.total(flat);
        let total = b.broadcast(total, &[], centred);
        let all = b.mul(total, centred);
        let largest = b.reduce(ReduceOp::Max, &[1], all);
        b.unary(UnaryOp::Tanh, largest)
    });
}

#[test]
fn composites() {
    let inputs = [drawn(&[3, 4], -2.0, 2.0, 1), drawn(&[3, 4], 0.1, 1.0, 2)];
    check("cross entropy of softmax", &inputs, |b, x| {
        let largest = b.reduce(ReduceOp::Max, &[1], x[0]);
        let held = b.op(Op::StopGradient, &[largest]);
        let shift = b.broadcast(held, &[0], x[0]);
        let shifted = b.binary(BinaryOp::Sub, x[0], shift);
        let exp = b.unary(UnaryOp::Exp, shifted);
        let sum = b.reduce(ReduceOp::Sum, &[1], exp);
        let log = b.unary(UnaryOp::Log, sum);
        let log = b.broadcast(log, &[0], x[0]);
        let log_softmax = b.binary(BinaryOp::Sub, shifted, log);
        b.mul(log_softmax, x[1])
    });
    let inputs = [drawn(&[2, 3], -2.0, 2.0, 1), drawn(&[3], 0.5, 1.5, 2)];
    check("layer norm", &inputs, |b, x| {
        let three = b.splat(ty(&[2]), 3.0);
        let sum = b.reduce(ReduceOp::Sum, &[1], x[0]);
        let mean = b.binary(BinaryOp::Div, sum, three);
        let mean = b.broadcast(mean, &[0], x[0]);
        let centred = b.binary(BinaryOp::Sub, x[0], mean);
        let squares = b.mul(centred, centred);
        let sum = b.reduce(ReduceOp::Sum, &[1], squares);
        let variance = b.binary(BinaryOp::Div, sum, three);
        let epsilon = b.splat(ty(&[2]), 1e-5);
        let variance = b.add(variance, epsilon);
        let scale = b.unary(UnaryOp::Rsqrt, variance);
        let scale = b.broadcast(scale, &[0], x[0]);
        let normal = b.mul(centred, scale);
        let gain = b.broadcast(x[1], &[1], x[0]);
        b.mul(normal, gain)
    });
    let inputs =
        [drawn(&[2, 2], -1.0, 1.0, 1), drawn(&[2, 3], -1.0, 1.0, 2), drawn(&[3, 1], -1.0, 1.0, 3)];
    check("a network of two layers", &inputs, |b, x| {
        let bias = b.op_as(dense(&[0.1, -0.2, 0.3]), &[], ty(&[3]));
        let first = b.op(dot(&[], &[], &[1], &[0]), &[x[0], x[1]]);
        let bias = b.broadcast(bias, &[1], first);
        let sum = b.add(first, bias);
        let hidden = b.unary(UnaryOp::Tanh, sum);
        b.op(dot(&[], &[], &[1], &[0]), &[hidden, x[2]])
    });
}
