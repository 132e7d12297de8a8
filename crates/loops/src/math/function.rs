//! The functions of one operand by name.

use std::fmt;

use super::Arithmetic;
use super::lane::{Lane, Number};

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $function:ident;)*) => {
        /// An elementary function of one operand.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Function {
            $($(#[$doc])* $name,)*
        }

        impl Function {
            /// Every function, in the order of the enum.
            pub const ALL: &[Function] = &[$(Function::$name),*];

            /// The name in the text form.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Function::$name => stringify!($function),)*
                }
            }

            /// Its value at `x`, a register of floats.
            #[inline(always)]
            pub fn of<A: Arithmetic>(self, code: &mut A, x: A::Reg) -> A::Reg {
                match self {
                    $(Function::$name => super::$function(code, x),)*
                }
            }
        }
    };
}

functions! {
    /// `eˣ`.
    Exp = exp;
    /// `2ˣ`.
    Exp2 = exp2;
    /// `eˣ − 1`.
    Expm1 = expm1;
    /// Natural logarithm.
    Log = log;
    /// Binary logarithm.
    Log2 = log2;
    /// `ln(1 + x)`.
    Log1p = log1p;
    /// Hyperbolic tangent.
    Tanh = tanh;
    /// `1/(1 + e⁻ˣ)`.
    Sigmoid = sigmoid;
    /// Error function.
    Erf = erf;
    /// `1 − erf x`.
    Erfc = erfc;
    /// Sine.
    Sin = sin;
    /// Cosine.
    Cos = cos;
    /// Tangent.
    Tan = tan;
    /// Inverse sine.
    Asin = asin;
    /// Inverse cosine.
    Acos = acos;
    /// Inverse tangent.
    Atan = atan;
    /// Hyperbolic sine.
    Sinh = sinh;
    /// Hyperbolic cosine.
    Cosh = cosh;
    /// Inverse hyperbolic sine.
    Asinh = asinh;
    /// Inverse hyperbolic cosine.
    Acosh = acosh;
    /// Inverse hyperbolic tangent.
    Atanh = atanh;
}

impl Function {
    /// Its value at a number, with fused multiply-add.
    ///
    /// Inlined by force: where the caller is compiled for wide vectors, so is a loop of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_loops::math::Function;
    ///
    /// assert_eq!(Function::Exp.of_f32(0.0), 1.0);
    /// ```
    #[inline(always)]
    pub fn of_f32(self, x: f32) -> f32 {
        self.of(&mut Lane, Number::from(x)).f32()
    }

    /// Likewise, of the wider type.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_loops::math::Function;
    ///
    /// assert_eq!(Function::Log2.of_f64(8.0), 3.0);
    /// ```
    #[inline(always)]
    pub fn of_f64(self, x: f64) -> f64 {
        self.of(&mut Lane, Number::from(x)).f64()
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
