//! What docs/accuracy.md states is so, and what it was measured against is right.

#![allow(missing_docs, clippy::print_stdout)]

use std::fs;

use dashu_float::{FBig, round::mode::HalfEven};
use kilngrad_ir::op::{BINARY, BinaryOp, Domain, UNARY};
use kilngrad_testing::accuracy::{
    Effort, Engine, Exact, FUNCTIONS, Function, Sample, Stated, Stream, Tallies, draw, every_f32,
    function, of_binary, of_unary, read_table, samples, these, ulps_f64,
};

type Big = FBig<HalfEven, 2>;

/// Bits of the arithmetic that is believed.
const PRECISION: usize = 192;

fn big(x: f64) -> Big {
    Big::try_from(x).expect("the number is finite").with_precision(PRECISION).value()
}

fn whole(x: u32) -> Big {
    Big::from(x).with_precision(PRECISION).value()
}

/// `2/√π·e^(−x²)·Σ 2ⁿ·x²ⁿ⁺¹/(2n + 1)!!`, to so many bits.
fn big_erf(x: &Big, bits: usize) -> Big {
    let x = x.clone().with_precision(bits).value();
    let square = &x * &x;
    let twice = &square + &square;
    let least = whole(1) >> bits as isize;
    let (mut term, mut sum) = (x.clone(), x.clone());
    for odd in (3..).step_by(2) {
        term = &term * &twice / whole(odd);
        sum += &term;
        if &term / &sum < least && &term / &sum > -&least {
            break;
        }
    }
    whole(2) / Big::pi(bits).sqrt() * (-square).exp() * sum
}

/// The function to [`PRECISION`] bits, from its definition.
fn believed(function: &Function, x: f64, y: f64) -> Big {
    let one = whole(1);
    // Large angles lose all bits but those that are more than their exponent.
    let bits = if x.abs() < 1e10 { PRECISION } else { PRECISION + 1100 };
    let x = big(x).with_precision(bits).value();
    match function.name {
        "exp" => x.exp(),
        "exp2" => whole(2).powf(&x),
        "log2" => x.ln() / whole(2).ln(),
        // The difference keeps what e^(−x²) leaves of the bits.
        "erfc" => {
            let square = (&x * &x).to_f64().value();
            &one - big_erf(&x, PRECISION + (1.5 * square) as usize)
        }
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "asinh" => x.asinh(),
        "acosh" => x.acosh(),
        "atanh" => x.atanh(),
        "atan2" => x.atan2(&big(y)),
        "expm1" => x.exp_m1(),
        "log" => x.ln(),
        "log1p" => x.ln_1p(),
        "sqrt" => x.sqrt(),
        "rsqrt" => one / x.sqrt(),
        "reciprocal" => one / x,
        "tanh" => x.tanh(),
        "sigmoid" => &one / (&one + (-x).exp()),
        "softplus" => x.exp().ln_1p(),
        "silu" => &x / (one + (-&x).exp()),
        "erf" => big_erf(&x, PRECISION),
        "pow" => {
            let odd = y.trunc() == y && (y * 0.5).trunc() != y * 0.5;
            let negative = x < whole(0);
            let power = if negative { (-x).powf(&big(y)) } else { x.powf(&big(y)) };
            if negative && odd { -power } else { power }
        }
        other => panic!("expected a definition of {other}, found none"),
    }
}

/// `|found/expected − 1|`.
fn relative_error(found: &Exact, expected: &Big) -> f64 {
    let found = (big(found.value.high) + big(found.value.low)) << found.exponent as isize;
    let difference = (found - expected) / expected;
    difference.to_f64().value().abs()
}

/// Operands for which the definition above converges and stays cheap.
fn is_moderate(function: &Function, (x, y): (f64, f64)) -> bool {
    let size = x.abs();
    x.is_finite()
        && y.is_finite()
        && match function.name {
            "erf" | "erfc" => (1e-30..27.5).contains(&size),
            "log" | "log2" | "sqrt" | "rsqrt" | "reciprocal" => size > 0.0,
            "sin" | "cos" | "tan" | "atan" | "asinh" | "acosh" => size > 1e-280,
            "pow" => (size.ln() * y).abs() < 800.0 && size > 0.0,
            "atan2" => size > 1e-280 && y.abs() > 1e-280,
            "exp2" => (1e-280..1075.0).contains(&size),
            _ => (1e-280..750.0).contains(&size),
        }
}

#[test]
fn double_doubles_are_right() {
    for function in &FUNCTIONS {
        let mut stream = Stream::new(7);
        let (mut worst, mut coarse, mut seen) = (0.0f64, 0.0f64, 0);
        for _ in 0..verified() {
            let (x, y) = draw::<f64>(function, &mut stream);
            if !is_moderate(function, (x, y)) {
                continue;
            }
            let Some(exact) = (function.exact)(x, y) else { continue };
            seen += 1;
            let error = relative_error(&exact, &believed(function, x, y));
            assert!(error < 2f64.powi(-86), "{}({x:e}, {y:e}): off by {error:e}", function.name);
            worst = worst.max(error);
            // The double is the reference of `f32` only, which is far from its own subnormals.
            if exact.to_double().high.abs() > 1e-60 {
                coarse = coarse.max(ulps_f64((function.reference)(x, y), &exact));
            }
        }
        println!("{}: {seen} seen, 2^{:.1}, libm {coarse:.3} ULP", function.name, worst.log2());
        assert!(seen > verified() / 10, "{}: only {seen} were compared", function.name);
        assert!(coarse < 3.0, "{}: the double is {coarse} units off", function.name);
    }
}

/// How many operands of each function are compared with arithmetic of any precision.
fn verified() -> usize {
    let number = std::env::var("KILNGRAD_VERIFIED");
    number.map_or(300, |number| number.parse().expect("KILNGRAD_VERIFIED is a number"))
}

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/accuracy.md");

/// The rows under the heading `### f32` or `### f64`.
fn stated(dtype: &str) -> Vec<Stated> {
    let document = fs::read_to_string(DOCUMENT).expect("docs/accuracy.md is there");
    let heading = format!("### {dtype}\n");
    let (_, after) = document.split_once(&heading).expect("the document has a table of the dtype");
    let section = after.split("\n##").next().unwrap_or(after);
    read_table(section).expect("the table is well formed")
}

/// Runs a dtype's functions over some operands, and over the one where its row says that the error
/// is largest.
fn check_table<T: Sample>(
    dtype: &str,
    engines: &[Engine],
    nearest: fn(f64) -> T,
    some: impl Fn(&Function, &Effort<'_>) -> Tallies,
) {
    let rows = stated(dtype);
    for function in &FUNCTIONS {
        let effort = Effort { engines, threads: 2, progress: &|_| {} };
        let mut measured = 0;
        for (engine, tally) in some(function, &effort) {
            measured += 1;
            let name = format!("{} {dtype}, {}", function.name, engine.name());
            let row = rows.iter().find(|row| row.function == function.name && row.engine == engine);
            let row = row.unwrap_or_else(|| panic!("{name}: expected a row in docs/accuracy.md"));
            assert_eq!(tally.broken, 0, "{name}: {:?}", tally.first_broken);
            let worst = tally.worst.expect("some results are compared");
            assert!(worst.ulps <= row.ulps, "{name}: stated {}, found {worst:?}", row.ulps);

            let at = (nearest(row.at.0), nearest(row.at.1));
            let there = these(function, &[at], &[engine]).expect("the function compiles");
            let found = there[0].1.worst.expect("the error there is measured").ulps;
            let off = row.ulps - found;
            assert!((0.0..1.001e-4).contains(&off), "{name}: stated {row:?}, found {found}");
        }
        let interpreted = engines.contains(&Engine::Interpreter);
        let missing = interpreted && function.interpreted.is_none();
        let expected = engines.len() - usize::from(missing);
        assert_eq!(measured, expected, "{}: each engine is measured", function.name);
    }
}

/// Some hundred thousand operands; of a function of one evenly over all, by a prime so that all low
/// bits occur.
fn some_f32(function: &Function, effort: &Effort<'_>) -> Tallies {
    let tallies = if function.is_binary() {
        samples::<f32>(function, 100_000, effort)
    } else {
        every_f32(function, 16_411, effort)
    };
    tallies.expect("the function compiles and runs")
}

#[test]
fn the_interpreter_rounds_correctly_in_single_precision() {
    for function in &FUNCTIONS {
        let engines = &[Engine::Interpreter];
        let effort = Effort { engines, threads: 2, progress: &|_| {} };
        for (_, tally) in some_f32(function, &effort) {
            assert_eq!(tally.broken, 0, "{}: {:?}", function.name, tally.first_broken);
            let worst = tally.worst.expect("some results are compared");
            // Rounded twice, from a double that is itself a unit off.
            assert!(worst.ulps < 0.5 + 1e-7, "{}: {worst:?}", function.name);
        }
    }
}

#[test]
fn single_precision_is_as_stated() {
    check_table::<f32>("f32", &Engine::native(), |x| x as f32, some_f32);
}

#[test]
fn double_precision_is_as_stated() {
    check_table::<f64>(
        "f64",
        &Engine::available(),
        |x| x,
        |function, effort| {
            samples::<f64>(function, 50_000, effort).expect("the function compiles and runs")
        },
    );
}

const SPECIALS: [f64; 17] = [
    0.0,
    -0.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1.0,
    -1.0,
    2.0,
    -2.0,
    0.5,
    3.0,
    -3.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
];

#[test]
fn special_values_follow_the_rules() {
    fn check<T: Sample>(nearest: fn(f64) -> T, more: &[T]) {
        let numbers: Vec<T> =
            SPECIALS.iter().map(|x| nearest(*x)).chain(more.iter().copied()).collect();
        let pairs: Vec<(T, T)> =
            numbers.iter().flat_map(|x| numbers.iter().map(move |y| (*x, *y))).collect();
        for function in &FUNCTIONS {
            let tallies = these(function, &pairs, &Engine::available());
            for (engine, tally) in tallies.expect("the function compiles and runs") {
                let name = format!("{}, {}", function.name, engine.name());
                assert_eq!(tally.broken, 0, "{name}: {:?}", tally.first_broken);
                let worst = tally.worst.expect("some results are compared");
                assert!(worst.ulps < 2.5, "{name}: {worst:?}");
            }
        }
    }
    check(|x| x as f32, &[f32::MAX, f32::MIN_POSITIVE, 1e-45, -1e-45, 1.1e-38]);
    check(|x| x, &[]);
}

#[test]
fn the_interpreters_power_is_close() {
    let pow = function("pow").expect("pow is in the table");
    let mut stream = Stream::new(11);
    for _ in 0..20_000 {
        let (x, y) = draw::<f64>(pow, &mut stream);
        let Some(exact) = (pow.exact)(x, y) else { continue };
        let found = (BinaryOp::Pow.row().f64)(x, y);
        assert!(ulps_f64(found, &exact) <= 1.0, "pow({x:e}, {y:e}) = {found:e}");
    }
}

#[test]
fn every_operation_is_measured_or_exact() {
    let unary = UNARY.iter().map(|row| (row.name, row.domain, of_unary(row.op)));
    let binary = BINARY.iter().map(|row| (row.name, row.domain, of_binary(row.op)));
    for (name, domain, found) in unary.chain(binary) {
        let exact = found.is_none_or(|function| function.name == name);
        assert!(exact, "{name} is measured by another name");
        assert!(found.is_none() || domain == Domain::Float, "{name}");
    }
    assert!(FUNCTIONS.iter().all(|known| function(known.name).is_some()));
}
