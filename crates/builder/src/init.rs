//! Initial values of parameters, and the formulas behind their names.

use kilngrad_ir::random::stream_of;
use kilngrad_ir::{Dense, Init as StateInit, Literal, Type};

/// What a parameter or state holds before the first call.
///
/// Random numbers depend on the program's seed and the state's path alone, so adding a layer
/// changes no other layer's.
///
/// Fans are those of a matrix `[inputs, outputs]`. Of a shape of higher rank the last two axes are
/// inputs and outputs, and the axes before them, a kernel's window, multiply both.
///
/// ```
/// use kilngrad_builder::{Builder, F32, Init};
/// # use kilngrad_interp::{Array, Interpreter};
///
/// let b = Builder::new("first values");
/// b.param("w", (2,), Init::Values(vec![0.5, -0.5]));
/// b.param("v", (100, 50), Init::Xavier); // within ±√(6/150) = ±0.2
/// # let run = Interpreter::new(b.finish()?, 7)?;
/// assert_eq!(run.state("w"), Some(&Array::from(vec![0.5f32, -0.5])));
/// assert!(run.state("v").expect("it is declared").to_f64_vec().iter().all(|v| v.abs() < 0.2001));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// 0, or false.
    Zeros,
    /// 1, or true.
    Ones,
    /// This number, which an integer dtype must hold exactly.
    Constant(f64),
    /// Uniform in `[low, high)`; floats only.
    Uniform {
        /// Least value.
        low: f64,
        /// Bound of the values.
        high: f64,
    },
    /// Normal; floats only.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `±√(6/(fan_in + fan_out))`: Glorot and Bengio, "Understanding the difficulty of
    /// training deep feedforward neural networks" (2010), equation 16.
    Xavier,
    /// Normal with standard deviation `√(2/(fan_in + fan_out))`.
    XavierNormal,
    /// Uniform in `±√(6/fan_in)`: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers" (2015),
    /// equation 10, for `relu` after it.
    Kaiming,
    /// Normal with standard deviation `√(2/fan_in)`.
    KaimingNormal,
    /// These numbers in row-major order, rounded to the dtype; an integer dtype must hold them
    /// exactly.
    Values(Vec<f64>),
}

impl Init {
    /// The initialiser of the state of type `ty` at `path`, or what is wrong.
    pub(crate) fn resolve(&self, path: &str, ty: &Type) -> Result<StateInit, String> {
        let stream = stream_of(path);
        let uniform = |low: f64, high: f64| floats(ty, StateInit::Uniform { low, high, stream });
        let normal = |mean: f64, std: f64| floats(ty, StateInit::Normal { mean, std, stream });
        match self {
            Init::Zeros => Ok(StateInit::Splat(Literal::from_i64(ty.dtype, 0))),
            Init::Ones => Ok(StateInit::Splat(Literal::from_i64(ty.dtype, 1))),
            Init::Constant(number) => Ok(StateInit::Splat(literal(ty, *number)?)),
            Init::Uniform { low, high } => {
                if !(low.is_finite() && high.is_finite() && low <= high) {
                    return Err(format!("expected finite bounds in order, found {low} and {high}"));
                }
                uniform(*low, *high)
            }
            Init::Normal { mean, std } => {
                if !(mean.is_finite() && std.is_finite() && *std >= 0.0) {
                    return Err(format!(
                        "expected a finite mean and a finite deviation of at least 0, found \
                         {mean} and {std}"
                    ));
                }
                normal(*mean, *std)
            }
            Init::Xavier => {
                let (inputs, outputs) = fans(ty)?;
                let bound = root(6.0, inputs + outputs);
                uniform(-bound, bound)
            }
            Init::XavierNormal => {
                let (inputs, outputs) = fans(ty)?;
                normal(0.0, root(2.0, inputs + outputs))
            }
            Init::Kaiming => {
                let bound = root(6.0, fans(ty)?.0);
                uniform(-bound, bound)
            }
            Init::KaimingNormal => normal(0.0, root(2.0, fans(ty)?.0)),
            Init::Values(values) => {
                if ty.element_count() != Some(values.len()) {
                    return Err(format!(
                        "expected as many values as {ty} has elements, found {}",
                        values.len()
                    ));
                }
                let elements: Result<Vec<Literal>, String> =
                    values.iter().map(|value| literal(ty, *value)).collect();
                let dense = Dense::new(ty.dtype, elements?).expect("every literal has the dtype");
                Ok(StateInit::Dense(dense))
            }
        }
    }

    /// The initialiser with its fans known.
    pub(crate) fn with_fans(self, inputs: usize, outputs: usize) -> Init {
        let uniform = |bound: f64| Init::Uniform { low: -bound, high: bound };
        let normal = |std: f64| Init::Normal { mean: 0.0, std };
        let (inputs, outputs) = (inputs as f64, outputs as f64);
        match self {
            Init::Xavier => uniform(root(6.0, inputs + outputs)),
            Init::XavierNormal => normal(root(2.0, inputs + outputs)),
            Init::Kaiming => uniform(root(6.0, inputs)),
            Init::KaimingNormal => normal(root(2.0, inputs)),
            Init::Zeros
            | Init::Ones
            | Init::Constant(_)
            | Init::Uniform { .. }
            | Init::Normal { .. }
            | Init::Values(_) => self,
        }
    }

    /// Uniform in `±1/√inputs`, PyTorch's default for dense layers; all zeros without inputs.
    pub(crate) fn by_inputs(inputs: usize) -> Init {
        let bound = root(1.0, inputs as f64);
        Init::Uniform { low: -bound, high: bound }
    }
}

/// `√(numerator/fan)`, and 0 where there is nothing to multiply with.
fn root(numerator: f64, fan: f64) -> f64 {
    if fan > 0.0 { (numerator / fan).sqrt() } else { 0.0 }
}

/// Inputs and outputs that an element of a weight of type `ty` is among.
fn fans(ty: &Type) -> Result<(f64, f64), String> {
    let lengths = ty.shape.as_constant().unwrap_or_default();
    match lengths.as_slice() {
        [window @ .., inputs, outputs] => {
            let window: f64 = window.iter().map(|length| *length as f64).product();
            Ok((window * *inputs as f64, window * *outputs as f64))
        }
        [] | [_] => {
            Err(format!("expected a shape of at least two axes, which fans need, found {ty}"))
        }
    }
}

fn floats(ty: &Type, init: StateInit) -> Result<StateInit, String> {
    if ty.dtype.is_float() {
        Ok(init)
    } else {
        Err(format!("expected a float dtype (f32, f64) for random values, found {ty}"))
    }
}

/// The element of `ty` for `number`; floats round, other dtypes must hold it.
fn literal(ty: &Type, number: f64) -> Result<Literal, String> {
    let literal = Literal::from_f64(ty.dtype, number);
    if ty.dtype.is_float() || literal.to_f64() == number {
        Ok(literal)
    } else {
        Err(format!("expected a number that {} holds, found {number}", ty.dtype))
    }
}

#[cfg(test)]
mod tests {
    use kilngrad_ir::{DType, Shape};

    use super::*;

    fn ty(dtype: DType, shape: &[usize]) -> Type {
        Type::new(dtype, Shape::new(shape.iter().copied()))
    }

    #[test]
    fn bounds_follow_the_papers() {
        let bound = |init: Init, shape: &[usize]| match init.resolve("w", &ty(DType::F32, shape)) {
            Ok(StateInit::Uniform { low, high, .. }) => {
                assert_eq!(low, -high);
                high
            }
            other => panic!("expected uniform numbers, found {other:?}"),
        };
        assert_eq!(bound(Init::Xavier, &[2, 4]), 1.0);
        assert_eq!(bound(Init::Kaiming, &[6, 4]), 1.0);
        assert_eq!(bound(Init::Kaiming, &[3, 2, 4]), 1.0);
        assert_eq!(bound(Init::by_inputs(16), &[16, 1]), 0.25);
        assert_eq!(bound(Init::by_inputs(0), &[0, 1]), 0.0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused =
            |init: Init, dtype, shape: &[usize]| init.resolve("w", &ty(dtype, shape)).is_err();
        assert!(refused(Init::Xavier, DType::F32, &[3]));
        assert!(refused(Init::Kaiming, DType::I32, &[3, 3]));
        assert!(refused(Init::Constant(0.5), DType::I64, &[]));
        assert!(refused(Init::Values(vec![1.0]), DType::F32, &[2]));
        assert!(refused(Init::Uniform { low: 1.0, high: 0.0 }, DType::F32, &[2]));
        assert!(refused(Init::Normal { mean: f64::NAN, std: 1.0 }, DType::F32, &[2]));
        assert!(!refused(Init::Constant(0.1), DType::F32, &[2]));
    }
}
