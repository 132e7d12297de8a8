//! Errors of the functions in units in the last place, by the evaluator, against `f64` functions
//! of the standard library and `libm` (whose own error is well below one unit) over random bit
//! patterns, ranges where each function varies, and special values. For `f32` the reference is
//! exact in comparison.

use kilngrad_loops::math::{Function, atan2, pow};
use kilngrad_loops::{
    Access, Affine, ChunkOrder, Element, KernelBuilder, Reg, Scalar, bytes_of, run_kernel,
    values_of,
};

use kilngrad_ir::op::UnaryOp;

use crate::code::{Code, Target};

type Unary<'f> = &'f dyn Fn(&mut Code<'_>, Reg) -> Reg;
type Binary = fn(&mut Code<'_>, Reg, Reg) -> Reg;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 * 2f64.powi(-53))
    }
}

/// Runs `f` over operands, `lanes` at a time; both operands of a unary function are the same.
fn run<T: Element>(scalar: Scalar, lanes: u8, fma: bool, f: Binary, x: &[T], y: &[T]) -> Vec<T> {
    let count = x.len();
    let mut b = KernelBuilder::new("f", 1);
    let bx = b.buffer("x", scalar, count, Access::Read);
    let by = b.buffer("y", scalar, count, Access::Read);
    let out = b.buffer("z", scalar, count, Access::Write);
    assert!(count.is_multiple_of(usize::from(lanes)));
    b.for_(count / usize::from(lanes), |b, i| {
        let at = Affine::constant(0).plus(i, i64::from(lanes));
        let (x, y) = (b.load(bx, at.clone(), lanes), b.load(by, at.clone(), lanes));
        let target = Target { lanes: usize::from(lanes), fma };
        let z = f(&mut Code::new(b, target), x, y);
        b.store(out, at, z);
    });
    let mut params = [bytes_of(x), bytes_of(y), vec![0; size_of_val(x)]];
    run_kernel(&b.finish(), &mut params, ChunkOrder::Ascending).expect("the kernel is valid");
    values_of(&params[2])
}

/// Distance of `found` from `exact` in units in the last place of an `f32` near `exact`.
fn ulp_f32(found: f32, exact: f64) -> f64 {
    if exact.is_nan() || found.is_nan() {
        return if exact.is_nan() && found.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let nearest = exact as f32;
    if found == nearest {
        let zero_signs = found == 0.0 && found.is_sign_negative() != exact.is_sign_negative();
        return if zero_signs {
            f64::INFINITY
        } else if found.is_infinite() {
            0.0
        } else {
            (f64::from(found) - exact).abs() / unit_f32(exact)
        };
    }
    if nearest.is_infinite() || found.is_infinite() {
        // One step from the largest number is one unit.
        let step = found.to_bits().abs_diff(nearest.to_bits());
        return f64::from(step);
    }
    (f64::from(found) - exact).abs() / unit_f32(exact)
}

fn unit_f32(exact: f64) -> f64 {
    let exponent = exact.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    2f64.powi(exponent as i32 - 23)
}

/// Distance in numbers of `f64`.
fn ulp_f64(found: f64, expected: f64) -> f64 {
    if expected.is_nan() || found.is_nan() {
        return if expected.is_nan() && found.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if found == 0.0 && expected == 0.0 {
        let same = found.is_sign_negative() == expected.is_sign_negative();
        return if same { 0.0 } else { f64::INFINITY };
    }
    let ordered = |x: f64| {
        let bits = x.to_bits() as i64;
        i128::from(if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits })
    };
    (ordered(found) - ordered(expected)).abs() as f64
}

const SPECIALS: [f64; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e-45,
    -1e-45,
    1.1e-38,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    f64::MAX,
    3.4e38,
    -3.4e38,
    88.72,
    -103.9,
];

fn samples(range: (f64, f64), count: usize) -> (Vec<f32>, Vec<f64>) {
    let mut random = Random(0x5eed);
    let mut singles: Vec<f32> = SPECIALS.iter().map(|x| *x as f32).collect();
    let mut doubles: Vec<f64> = SPECIALS.to_vec();
    while singles.len() < count {
        let bits = random.next();
        singles.push(f32::from_bits(bits as u32));
        doubles.push(f64::from_bits(bits));
        let x = random.between(range.0, range.1);
        singles.push(x as f32);
        doubles.push(x);
        // Where functions change their form: small magnitudes of every size.
        let small = random.between(-1.0, 1.0) * 2f64.powi(-((bits % 40) as i32));
        singles.push(small as f32);
        doubles.push(small);
    }
    singles.resize(singles.len().next_multiple_of(4), 1.0);
    doubles.resize(doubles.len().next_multiple_of(4), 1.0);
    (singles, doubles)
}

const COUNT: usize = 40_000;

/// Within two numbers of `f64`, of a reference that is itself a unit off.
fn check(function: Function, range: (f64, f64), reference: fn(f64) -> f64) {
    check_within(2.0, function, range, reference);
}

/// Within so many numbers of `f64`: three where either errs by more than two units, as the tables
/// of docs/accuracy.md state, which are held against exact values. And the code that the lowering
/// writes computes the bits of [`Function::of_f32`] and [`Function::of_f64`], as leaf functions do.
fn check_within(numbers: f64, function: Function, range: (f64, f64), reference: fn(f64) -> f64) {
    let of = |code: &mut Code<'_>, x: Reg| function.of(code, x);
    check_code(numbers, function.name(), &of, range, reference);
    let (singles, doubles) = samples(range, COUNT);
    for (x, found) in singles.iter().zip(run_unary(Scalar::F32, 4, true, &of, &singles)) {
        let same = |y: f32| y.to_bits() == found.to_bits() || y.is_nan() && found.is_nan();
        assert!(same(function.of_f32(*x)), "{function} of f32 {x:e}: {found:e}");
    }
    for (x, found) in doubles.iter().zip(run_unary(Scalar::F64, 2, true, &of, &doubles)) {
        let same = |y: f64| y.to_bits() == found.to_bits() || y.is_nan() && found.is_nan();
        assert!(same(function.of_f64(*x)), "{function} of f64 {x:e}: {found:e}");
    }
}

fn check_code(
    numbers: f64,
    name: &str,
    function: Unary<'_>,
    range: (f64, f64),
    reference: fn(f64) -> f64,
) {
    let (singles, doubles) = samples(range, COUNT);
    for fma in [false, true] {
        for lanes in [1, 4] {
            let found = run_unary(Scalar::F32, lanes, fma, function, &singles);
            let worst = worst_of(&singles, &found, |x, y| ulp_f32(y, reference(f64::from(x))));
            println!("{name} f32x{lanes} fma={fma}: {:.3} ULP at {:e}", worst.0, worst.1);
            assert!(worst.0 <= 2.0, "{name} f32x{lanes} fma={fma}: {worst:?}");
        }
        for lanes in [1, 2] {
            let found = run_unary(Scalar::F64, lanes, fma, function, &doubles);
            let worst = worst_of(&doubles, &found, |x, y| ulp_f64(y, reference(x)));
            println!("{name} f64x{lanes} fma={fma}: {:.3} ULP at {:e}", worst.0, worst.1);
            assert!(worst.0 <= numbers, "{name} f64x{lanes} fma={fma}: {worst:?}");
        }
    }
}

fn run_unary<T: Element>(
    scalar: Scalar,
    lanes: u8,
    fma: bool,
    function: Unary<'_>,
    x: &[T],
) -> Vec<T> {
    let mut b = KernelBuilder::new("f", 1);
    let bx = b.buffer("x", scalar, x.len(), Access::Read);
    let out = b.buffer("y", scalar, x.len(), Access::Write);
    b.for_(x.len() / usize::from(lanes), |b, i| {
        let at = Affine::constant(0).plus(i, i64::from(lanes));
        let x = b.load(bx, at.clone(), lanes);
        let target = Target { lanes: usize::from(lanes), fma };
        let y = function(&mut Code::new(b, target), x);
        b.store(out, at, y);
    });
    let mut params = [bytes_of(x), vec![0; size_of_val(x)]];
    run_kernel(&b.finish(), &mut params, ChunkOrder::Ascending).expect("the kernel is valid");
    values_of(&params[1])
}

fn worst_of<T: Element + Into<f64>>(x: &[T], y: &[T], error: impl Fn(T, T) -> f64) -> (f64, f64) {
    let mut worst = (0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let error = error(*x, *y);
        if error > worst.0 {
            worst = (error, (*x).into());
        }
    }
    worst
}

#[test]
fn exp_is_close() {
    check(Function::Exp, (-110.0, 90.0), f64::exp);
    check(Function::Exp, (-760.0, 715.0), f64::exp);
}

#[test]
fn expm1_is_close() {
    check(Function::Expm1, (-50.0, 90.0), f64::exp_m1);
    check(Function::Expm1, (-1.5, 1.5), f64::exp_m1);
}

#[test]
fn log_is_close() {
    check(Function::Log, (0.0, 3.0), f64::ln);
}

#[test]
fn log1p_is_close() {
    check(Function::Log1p, (-1.0, 3.0), f64::ln_1p);
    check(Function::Log1p, (-1e10, 1e20), f64::ln_1p);
}

#[test]
fn tanh_is_close() {
    check(Function::Tanh, (-12.0, 12.0), f64::tanh);
    check(Function::Tanh, (-1.0, 1.0), f64::tanh);
}

#[test]
fn sigmoid_is_close() {
    check(Function::Sigmoid, (-110.0, 40.0), |x| (kilngrad_ir::op::UnaryOp::Sigmoid.row().f64)(x));
    check(Function::Sigmoid, (-5.0, 5.0), |x| (kilngrad_ir::op::UnaryOp::Sigmoid.row().f64)(x));
}

#[test]
fn erf_is_close() {
    let erf = kilngrad_ir::op::UnaryOp::Erf.row().f64;
    check(Function::Erf, (-7.0, 7.0), erf);
    check(Function::Erf, (-1.5, 1.5), erf);
}

/// The interpreter's function, whose own error is below one unit.
fn row(op: UnaryOp) -> fn(f64) -> f64 {
    op.row().f64
}

#[test]
fn erfc_is_close() {
    check_within(3.0, Function::Erfc, (-7.0, 28.0), row(UnaryOp::Erfc));
    check_within(3.0, Function::Erfc, (-1.5, 1.5), row(UnaryOp::Erfc));
}

#[test]
fn exp2_and_log2_are_close() {
    check(Function::Exp2, (-1080.0, 1030.0), f64::exp2);
    check(Function::Exp2, (-150.0, 130.0), f64::exp2);
    check(Function::Log2, (0.0, 3.0), f64::log2);
}

#[test]
fn powers_of_two_are_exact() {
    let exponents: Vec<f64> = (-1074..1024).map(f64::from).collect();
    let powers =
        run_unary(Scalar::F64, 2, false, &|code, x| Function::Exp2.of(code, x), &exponents);
    let logs = run_unary(Scalar::F64, 2, false, &|code, x| Function::Log2.of(code, x), &powers);
    for ((exponent, power), log) in exponents.iter().zip(powers).zip(logs) {
        assert_eq!((power, log), (exponent.exp2(), *exponent));
    }
}

/// Arguments next to multiples of π/2 of every size, for which the reduction needs most bits.
#[test]
fn trigonometric_functions_are_close_at_their_zeros() {
    let (mut doubles, mut singles) = (Vec::new(), vec![16_367_173.0 * 2f32.powi(72)]);
    for power in 0..1000 {
        let multiple = (std::f64::consts::FRAC_PI_2 * 2f64.powi(power)).abs();
        doubles.extend([multiple, -3.0 * multiple]);
        if power < 124 {
            singles.extend([multiple as f32, -3.0 * multiple as f32]);
        }
    }
    type Case = (Function, fn(f64) -> f64);
    let functions: [Case; 3] =
        [(Function::Sin, f64::sin), (Function::Cos, f64::cos), (Function::Tan, f64::tan)];
    for (name, reference) in functions {
        let function: Unary<'_> = &|code, x| name.of(code, x);
        for fma in [false, true] {
            let found = run_unary(Scalar::F64, 2, fma, function, &doubles);
            let worst = worst_of(&doubles, &found, |x, y| ulp_f64(y, reference(x)));
            println!("{name} f64 fma={fma}: {:.3} ULP at {:e}", worst.0, worst.1);
            assert!(worst.0 <= 2.0, "{name}: {worst:?}");
            let found = run_unary(Scalar::F32, 1, fma, function, &singles);
            let worst = worst_of(&singles, &found, |x, y| ulp_f32(y, reference(f64::from(x))));
            println!("{name} f32 fma={fma}: {:.3} ULP at {:e}", worst.0, worst.1);
            assert!(worst.0 <= 0.51, "{name}: {worst:?}");
        }
    }
}

/// The `f64` that is closest to a multiple of π/2 (Muller, "Elementary Functions", table 11.1), of
/// which not every system's library knows the cosine.
#[test]
fn the_hardest_angle_is_reduced() {
    let hardest = 6_381_956_970_095_103.0 * 2f64.powi(797);
    for fma in [false, true] {
        let found =
            run_unary(Scalar::F64, 1, fma, &|code, x| Function::Cos.of(code, x), &[hardest])[0];
        assert!(ulp_f64(found, -4.687_165_924_254_628e-19) <= 1.0, "{found:e}");
    }
}

#[test]
fn trigonometric_functions_are_close() {
    for range in [(-10.0, 10.0), (-1e5, 1e5), (-1e20, 1e20), (-1e300, 1e300)] {
        check(Function::Sin, range, f64::sin);
        check(Function::Cos, range, f64::cos);
        check(Function::Tan, range, f64::tan);
    }
}

#[test]
fn inverse_trigonometric_functions_are_close() {
    check(Function::Asin, (-1.0, 1.0), f64::asin);
    check(Function::Acos, (-1.0, 1.0), f64::acos);
    check(Function::Atan, (-5.0, 5.0), f64::atan);
}

#[test]
fn hyperbolic_functions_are_close() {
    for range in [(-5.0, 5.0), (-711.0, 711.0)] {
        check_within(3.0, Function::Sinh, range, f64::sinh);
        check_within(3.0, Function::Cosh, range, f64::cosh);
    }
    check(Function::Asinh, (-10.0, 10.0), row(UnaryOp::Asinh));
    check(Function::Acosh, (1.0, 5.0), row(UnaryOp::Acosh));
    check(Function::Atanh, (-1.0, 1.0), row(UnaryOp::Atanh));
}

#[test]
fn rsqrt_is_close() {
    check_code(2.0, "rsqrt", &super::rsqrt, (0.0, 10.0), |x| 1.0 / x.sqrt());
}

#[test]
fn sign_and_relu_are_exact() {
    use kilngrad_ir::op::UnaryOp::{Relu, Sign};
    let (singles, _) = samples((-2.0, 2.0), 4000);
    let cases: [(Unary<'_>, UnaryOp); 2] = [(&super::sign, Sign), (&super::relu, Relu)];
    for (function, op) in cases {
        for lanes in [1, 4] {
            let found = run_unary(Scalar::F32, lanes, false, function, &singles);
            for (x, found) in singles.iter().zip(found) {
                let expected = (op.row().f32)(*x);
                assert!(
                    expected.to_bits() == found.to_bits() || expected.is_nan() && found.is_nan(),
                    "{op:?}({x:e}): expected {expected:e}, found {found:e}"
                );
            }
        }
    }
}

/// Pairs of special values, random bits, and pairs that are likely to be in range.
fn pairs(count: usize) -> Vec<(f64, f64)> {
    let mut random = Random(0xfeed);
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for x in SPECIALS {
        pairs.extend(SPECIALS.iter().map(|y| (x, *y)));
    }
    while pairs.len() < count {
        let (a, b) = (random.next(), random.next());
        pairs.push((f64::from_bits(a), f64::from_bits(b)));
        pairs.push((f64::from(f32::from_bits(a as u32)), f64::from(f32::from_bits(b as u32))));
        let x = random.between(-4.0, 4.0);
        pairs.push((x, random.between(-30.0, 30.0).trunc()));
        pairs.push((x.abs(), random.between(-60.0, 60.0)));
        // Results over the whole range of exponents.
        let base = 2f64.powf(random.between(-60.0, 60.0));
        pairs.push((base, random.between(-1080.0, 1030.0) / base.log2()));
        pairs.push((base, random.between(-152.0, 129.0) / base.log2()));
        pairs.push((1.0 + x * 1e-5, random.between(-1e7, 1e7)));
    }
    pairs.resize(pairs.len().next_multiple_of(4), (1.0, 1.0));
    pairs
}

#[test]
fn pow_is_close() {
    check_binary("pow", |code, x, y| pow(code, x, y), f64::powf);
}

#[test]
fn atan2_is_close() {
    check_binary("atan2", |code, x, y| atan2(code, x, y), f64::atan2);
}

fn check_binary(name: &str, function: Binary, reference: fn(f64, f64) -> f64) {
    let pairs = pairs(COUNT);
    let split = |index: usize| -> Vec<f64> {
        pairs.iter().map(|pair| if index == 0 { pair.0 } else { pair.1 }).collect()
    };
    let (x, y) = (split(0), split(1));
    let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|v| *v as f32).collect() };
    let (sx, sy) = (single(&x), single(&y));
    for fma in [false, true] {
        for (lanes_f32, lanes_f64) in [(1, 1), (4, 2)] {
            let found = run(Scalar::F32, lanes_f32, fma, function, &sx, &sy);
            let mut worst = (0.0, (0.0, 0.0));
            for ((x, y), found) in sx.iter().zip(&sy).zip(found) {
                let error = ulp_f32(found, reference(f64::from(*x), f64::from(*y)));
                if error > worst.0 {
                    worst = (error, (*x, *y));
                }
            }
            println!("{name} f32x{lanes_f32} fma={fma}: {:.3} ULP at {:?}", worst.0, worst.1);
            assert!(worst.0 <= 2.0, "{worst:?}");
            let found = run(Scalar::F64, lanes_f64, fma, function, &x, &y);
            let mut worst = (0.0, (0.0, 0.0));
            for ((x, y), found) in x.iter().zip(&y).zip(found) {
                let error = ulp_f64(found, reference(*x, *y));
                if error > worst.0 {
                    worst = (error, (*x, *y));
                }
            }
            println!("{name} f64x{lanes_f64} fma={fma}: {:.3} ULP at {:?}", worst.0, worst.1);
            assert!(worst.0 <= 2.0, "{worst:?}");
        }
    }
}

#[test]
fn rem_is_exact() {
    let pairs = pairs(COUNT);
    let x: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let y: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let found = run(Scalar::F64, 1, false, super::rem, &x, &y);
    for ((x, y), found) in x.iter().zip(&y).zip(found) {
        assert!(ulp_f64(found, x % y) == 0.0, "{x:e} % {y:e}: {:e}, found {found:e}", x % y);
    }
    let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
    let y: Vec<f32> = y.iter().map(|y| *y as f32).collect();
    let found = run(Scalar::F32, 1, false, super::rem, &x, &y);
    for ((x, y), found) in x.iter().zip(&y).zip(found) {
        assert!(ulp_f32(found, f64::from(x % y)) == 0.0, "{x:e} % {y:e}: found {found:e}");
    }
}
