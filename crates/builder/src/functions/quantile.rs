//! The inverse of the normal distribution function: how uniform draws become normal ones.
//!
//! Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied
//! Statistics 37 (1988), 477–484, PPND16: relative error about 10⁻¹⁶. One rational function in the
//! middle (`|p − ½| ≤ 0.425`), two of `√−ln p` in the tails. One draw an element suffices, and
//! neither sine nor cosine is needed.

use kilngrad_ir::DType;

use crate::tensor::Tensor;

/// Coefficients of a rational function, ascending: numerator, denominator.
type Rational = [[f64; 8]; 2];

/// Of `0.425² − (p − ½)²`, times `p − ½`.
const CENTRE: Rational = [
    [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
];

/// Of `√−ln p − 1.6`, where that root is at most 5.
const TAIL: Rational = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        0.000_774_545_014_278_341_4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        0.000_547_593_808_499_534_5,
        1.050_750_071_644_416_9e-9,
    ],
];

/// Of `√−ln p − 5`, where that root is more than 5: `p` below e⁻²⁵.
const FAR_TAIL: Rational = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        0.599_832_206_555_887_9,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        0.000_786_869_131_145_613_3,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

/// The normal quantile of `½ + q`, for `|q| < ½`. Taking the distance from ½ keeps both tails
/// exact: `½ − |q|` rounds nothing.
#[track_caller]
pub(crate) fn normal_quantile(q: Tensor<'_>) -> Tensor<'_> {
    let Some(ty) = q.ty() else { return q };
    let size = q.abs();
    let centre = {
        let r = 0.180_625 - q * q;
        q * rational(r, &CENTRE)
    };
    let root = (-(0.5 - size).log()).sqrt();
    let near = rational(root - 1.6, &TAIL);
    let tail = match ty.dtype {
        // Cells of 2⁻²⁵ end at a root of 4.2.
        DType::F32 => near,
        DType::F64 | DType::I32 | DType::I64 | DType::U8 | DType::Bool => {
            root.gt(5.0).select(rational(root - 5.0, &FAR_TAIL), near)
        }
    };
    let signed = q.lt(0.0).select(-tail, tail);
    size.le(0.425).select(centre, signed)
}

#[track_caller]
fn rational<'b>(x: Tensor<'b>, [numerator, denominator]: &Rational) -> Tensor<'b> {
    horner(x, numerator) / horner(x, denominator)
}

#[track_caller]
fn horner<'b>(x: Tensor<'b>, coefficients: &[f64; 8]) -> Tensor<'b> {
    let mut sum = x * coefficients[7] + coefficients[6];
    for coefficient in coefficients[..6].iter().rev() {
        sum = sum * x + *coefficient;
    }
    sum
}

#[cfg(test)]
mod tests {
    use kilngrad_interp::{Array, Interpreter};

    use super::*;
    use crate::{Builder, F32, F64, Mode};

    /// Quantiles of `½ + q` in a dtype.
    fn quantiles(dtype: DType, q: Array) -> Vec<f64> {
        let b = Builder::new("quantile");
        let e = b.entry("run", Mode::Eval);
        e.output("z", normal_quantile(e.input("q", dtype, q.shape())));
        let program = b.finish().expect("the program is right");
        let mut interpreter = Interpreter::new(program, 0).expect("the program is verified");
        interpreter.call("run", [("q", q)]).expect("the call succeeds")["z"].to_f64_vec()
    }

    /// The distribution function, whose inverse is sought, by the error function's complement: its
    /// relative error is that of the tail.
    fn tail(z: f64) -> f64 {
        0.5 * libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2)
    }

    #[test]
    fn the_distribution_function_gives_the_probability_back() {
        // From the middle to the ends of the cells that draws come from, over every branch.
        let mut sizes: Vec<f64> = (0..400).map(|step| f64::from(step) / 800.0).collect();
        sizes.extend((3..54).map(|power| 0.5 - 2f64.powi(-power)));
        let q: Vec<f64> = sizes.iter().flat_map(|size| [-size, *size]).collect();
        let wide = quantiles(DType::F64, q.clone().into());
        let narrow: Vec<f32> = q.iter().map(|q| *q as f32).filter(|q| q.abs() < 0.5).collect();
        for (z, q) in wide.iter().zip(&q) {
            assert_eq!(*q == 0.0, *z == 0.0);
            assert!(*q == 0.0 || (*z < 0.0) == (*q < 0.0), "{q} {z}");
            let p = 0.5 - q.abs();
            // An error of z is z times as large in the tail.
            assert!((tail(*z) / p - 1.0).abs() < 1e-14 * (1.0 + z * z), "{q}: {z}");
        }
        let rounded: Vec<f64> = narrow.iter().map(|q| f64::from(*q)).collect();
        let exact = quantiles(DType::F64, rounded.into());
        for (z, exact) in quantiles(DType::F32, narrow.into()).iter().zip(&exact) {
            assert!((z - exact).abs() <= 1e-6 * exact.abs(), "{exact}: {z}");
        }
    }

    #[test]
    fn draws_have_the_moments_of_the_normal_distribution() {
        for float in [F32, F64] {
            let b = Builder::new("normal").with_float(float);
            let e = b.entry("run", Mode::Eval);
            e.output("z", e.normal("z", (100_000,)));
            let program = b.finish().expect("the program is right");
            let mut interpreter = Interpreter::new(program, 7).expect("the program is verified");
            let z = interpreter.call("run", []).expect("the call succeeds")["z"].to_f64_vec();
            let moment = |power: i32| z.iter().map(|z| z.powi(power)).sum::<f64>() / 1e5;
            // Four standard deviations of each moment's estimate.
            assert!(moment(1).abs() < 0.013, "{}", moment(1));
            assert!((moment(2) - 1.0).abs() < 0.018, "{}", moment(2));
            assert!(moment(3).abs() < 0.05, "{}", moment(3));
            assert!((moment(4) - 3.0).abs() < 0.13, "{}", moment(4));
        }
    }
}
