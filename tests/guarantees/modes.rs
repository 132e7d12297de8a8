//! The caller's floating-point mode changes no bit, and is the caller's again afterwards.

use kilngrad::prelude::*;
use kilngrad_testing::features;
use ndarray::Array1;

/// Products that are subnormal in f32, and quotients that depend on how they are rounded.
fn program() -> Program {
    let b = Builder::new("modes");
    let step = b.entry("step", Mode::Eval);
    let x = step.input("x", F32, (b.dim("n"),));
    step.output("small", x * 1e-36);
    step.output("thirds", x / 3.0);
    // Folded while compiling, most of it inexact.
    let parts: Vec<f32> = (1..=16).map(|index| 1.0 / index as f32).collect();
    let folded = (step.constant([16], &parts) / 3.0).sum(..);
    step.output("sum", (x * 1e-36).exp().sum(..) * folded);
    b.finish().unwrap()
}

/// The bits of all outputs of one call on enough elements for several chunks.
fn bits(exe: &mut Executable, x: &Array1<f32>) -> Vec<u32> {
    let outputs = exe.call("step").feed("x", x).run().unwrap();
    let mut bits = Vec::new();
    for name in ["small", "thirds", "sum"] {
        bits.extend(outputs.view::<f32>(name).unwrap().iter().map(|value| value.to_bits()));
    }
    bits
}

#[test]
fn subnormals_are_kept() {
    let x = Array1::from_shape_fn(200_000, |index| 1e-9 * (1 + index) as f32);
    for threads in [1, 3] {
        let options = Options::new().features(features()).threads(threads);
        let mut exe = program().compile(&options).unwrap();
        let outputs = exe.call("step").feed("x", &x).run().unwrap();
        let small = outputs.view::<f32>("small").unwrap();
        for (index, (small, x)) in small.iter().zip(&x).enumerate() {
            assert_eq!(small.to_bits(), (x * 1e-36).to_bits(), "element {index}");
            assert!(small.is_subnormal(), "element {index} is {small:e}");
        }
    }
}

/// The product with a reciprocal is cheaper, and rounded twice: 41 times the nearest number to a
/// 41st is not 1.
#[test]
fn quotients_by_constants_are_rounded_once() {
    let divisors = [41.0, 49.0, 3.0, -5.5, 1e-20, 1e38, f32::MAX, f32::from_bits(1)];
    let b = Builder::new("quotients");
    let divide = b.entry("divide", Mode::Eval);
    let x = divide.input("x", F32, (b.dim("n"),));
    for (at, divisor) in divisors.iter().enumerate() {
        divide.output(&format!("by {at}"), x / f64::from(*divisor));
    }
    let mut exe = b.finish().unwrap().compile(&Options::new().features(features())).unwrap();
    // Whole numbers, and every exponent.
    let x = Array1::from_shape_fn(100_000, |index| match index % 2 {
        0 => index as f32 / 2.0,
        _ => f32::from_bits((index as u32).wrapping_mul(0x9e37_79b9)),
    });
    let outputs = exe.call("divide").feed("x", &x).run().unwrap();
    for (at, divisor) in divisors.iter().enumerate() {
        let found = outputs.view::<f32>(&format!("by {at}")).unwrap();
        for (x, found) in x.iter().zip(&found) {
            let expected = x / divisor;
            let same = expected.to_bits() == found.to_bits();
            assert!(
                same || (expected.is_nan() && found.is_nan()),
                "{x:e} / {divisor:e}: {found:e}"
            );
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    //! MXCSR: Intel SDM volume 1, section 10.2.3.

    use std::arch::asm;

    /// Flush to zero, denormals are zero, round toward zero, no exception raised.
    pub(super) const HOSTILE: u32 = 0x1f80 | 1 << 15 | 1 << 6 | 3 << 13;

    /// The sticky flags of exceptions, which any arithmetic may set.
    pub(super) const FLAGS: u32 = 0x3f;

    pub(super) fn read() -> u32 {
        let mut control = 0u32;
        // SAFETY: the instruction writes the four bytes of `control`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack)) };
        control
    }

    pub(super) fn write(control: u32) {
        // SAFETY: the instruction reads the four bytes of `control`, whose reserved bits are 0.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack)) };
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_callers_mode_changes_no_bit_and_is_restored() {
    let x = Array1::from_shape_fn(200_000, |index| 1e-9 * (1 + index) as f32);
    for threads in [1, 3] {
        let options = Options::new().features(features()).threads(threads);
        let program = program();
        let mut exe = program.clone().compile(&options).unwrap();
        let expected = bits(&mut exe, &x);
        let before = control::read();
        control::write(control::HOSTILE);
        let found = bits(&mut exe, &x);
        // Compiled and its states initialised under the hostile mode, too.
        let ahead = options.specialise("n", &[x.len()]);
        let anew = program.compile(&ahead).map(|mut exe| bits(&mut exe, &x));
        let after = control::read();
        control::write(before);
        assert_eq!(after & !control::FLAGS, control::HOSTILE & !control::FLAGS);
        assert!(found == expected, "{threads} threads: the caller's mode changed a bit");
        assert!(anew.unwrap() == expected, "{threads} threads: so it did while compiling");
    }
}
