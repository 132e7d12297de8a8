//! Functions of many elements give the bits of the same function of one, whatever the count, and
//! touch nothing else.

use std::time::Instant;

use kilngrad_loops::Scalar;
use kilngrad_loops::math::Function;
use kilngrad_tiles::{ElementsFn, Features, find_function};

/// More than two blocks of any vectors.
const MOST: usize = 70;

/// What this machine has, and less.
fn feature_sets() -> Vec<Features> {
    let detected = Features::detect();
    vec![detected, Features { avx512: false, ..detected }]
}

/// The code of every function on elements of a type.
fn functions(scalar: Scalar) -> Vec<(Function, ElementsFn)> {
    let mut found = Vec::new();
    for features in feature_sets() {
        for &function in Function::ALL {
            found.extend(find_function(features, function, scalar).map(|code| (function, code)));
        }
    }
    found
}

macro_rules! agree {
    ($test:ident, $float:ident, $bits:ident, $scalar:ident, $of:ident) => {
        #[test]
        fn $test() {
            // Special values first, then the bits of SplitMix64 (Steele, Lea, Flood 2014), half of
            // them of moderate size.
            let mut operands: Vec<$float> = vec![
                0.0,
                -0.0,
                1.0,
                -1.0,
                0.5,
                2.0,
                1e-9,
                100.0,
                -100.0,
                1000.0,
                $float::INFINITY,
                $float::NEG_INFINITY,
                $float::NAN,
                $float::MIN_POSITIVE,
                $float::MAX,
                $float::MIN,
                $float::from_bits(1),
            ];
            let mut state = 7u64;
            for at in 0..4000 {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let z = z ^ (z >> 31);
                let moderate = (z >> 40) as $float / (1 << 22) as $float - 2.0;
                operands.push(if at % 2 == 0 { $float::from_bits(z as $bits) } else { moderate });
            }
            let key = |x: $float| if x.is_nan() { $bits::MAX } else { x.to_bits() };
            for (function, code) in functions(Scalar::$scalar) {
                let mut found = operands.clone();
                // SAFETY: these are as many floats, and this processor has the features.
                unsafe { code(found.as_mut_ptr().cast(), found.len()) };
                for (&x, &y) in operands.iter().zip(&found) {
                    let expected = function.$of(x);
                    assert_eq!(
                        key(y),
                        key(expected),
                        "{function} of {x:e}: {y:e}, not {expected:e}"
                    );
                }
                for count in 0..=MOST {
                    let mut some = operands[..MOST + 1].to_vec();
                    // SAFETY: there are more floats than that.
                    unsafe { code(some.as_mut_ptr().cast(), count) };
                    let keys =
                        |all: &[$float]| -> Vec<$bits> { all.iter().map(|x| key(*x)).collect() };
                    assert_eq!(keys(&some[..count]), keys(&found[..count]), "{function}, {count}");
                    assert_eq!(keys(&some[count..]), keys(&operands[count..=MOST]), "{function}");
                }
            }
        }
    };
}

agree!(singles_agree_with_one_at_a_time, f32, u32, F32, of_f32);
agree!(doubles_agree_with_one_at_a_time, f64, u64, F64, of_f64);

/// With the features for it there is code of every function of floats, and without them none.
#[test]
fn functions_are_found_by_features() {
    let detected = Features::detect();
    for features in feature_sets().into_iter().filter(|features| features.avx2 && features.fma) {
        for &function in Function::ALL {
            for scalar in Scalar::ALL {
                let found = find_function(features, function, scalar).is_some();
                assert_eq!(found, scalar.is_float(), "{function} of {scalar}");
            }
        }
    }
    let unfused = Features { fma: false, ..detected };
    for features in [Features::baseline(), unfused, Features { avx2: false, ..detected }] {
        assert!(find_function(features, Function::Exp, Scalar::F32).is_none(), "{features}");
    }
}

/// Every function is code of vectors, not a loop of calls: many times as fast as one element at a
/// time compiled without the features, where each fused multiply-add is a call of a library.
#[test]
fn functions_are_code_of_vectors() {
    for features in feature_sets() {
        for &function in Function::ALL {
            let find = |scalar: Scalar| find_function(features, function, scalar);
            let single =
                find(Scalar::F32).map(|code| ratio(code, |x: &mut f32| *x = function.of_f32(*x)));
            let double =
                find(Scalar::F64).map(|code| ratio(code, |x: &mut f64| *x = function.of_f64(*x)));
            for ratio in [single, double].into_iter().flatten() {
                assert!(ratio > 4.0, "{function}, {features}: {ratio:.1}");
            }
        }
    }
}

/// How many times as long as the code of many elements that of one takes, in the fastest of some
/// runs.
fn ratio<E: From<f32> + Copy>(code: ElementsFn, one: impl Fn(&mut E)) -> f64 {
    let operands: Vec<E> = (0..512).map(|at| E::from(at as f32 / 512.0)).collect();
    let fastest = |run: &dyn Fn(&mut [E])| {
        let seconds = (0..7).map(|_| {
            let mut elements = operands.clone();
            let start = Instant::now();
            run(&mut elements);
            start.elapsed().as_secs_f64()
        });
        seconds.fold(f64::INFINITY, f64::min)
    };
    let many = fastest(&|elements| {
        // SAFETY: these are as many floats of the type, and this processor has the features.
        unsafe { code(elements.as_mut_ptr().cast(), elements.len()) }
    });
    fastest(&|elements| elements.iter_mut().for_each(&one)) / many
}
