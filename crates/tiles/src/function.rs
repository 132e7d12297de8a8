//! Elementary functions of many elements at once.
//!
//! What a function computes is stated in [`kilngrad_loops::math`], over registers of any number of
//! lanes. Here that algorithm is compiled once more, for one element in a loop that has neither
//! branches nor calls, with the processor's features enabled: so the compiler of this crate makes
//! the loop one of its widest vectors. Results are those of the straight-line code that the
//! lowering writes, bit for bit, NaN payloads aside.

use kilngrad_loops::Scalar;
use kilngrad_loops::math::Function;

use crate::Features;

/// A function as machine code calls it: `(elements, count)`.
///
/// Each of `count` consecutive floats is replaced by the function's value. Arithmetic is in the
/// thread's floating-point mode, which the caller sets; see [`FloatMode`](crate::FloatMode).
///
/// # Safety
///
/// The contract of every one, written here once:
///
/// 1. the processor has the features for which [`find_function`] gave it;
/// 2. the elements are initialised, aligned to their type and may be read and written, and nothing
///    else reads or writes them during the call.
///
/// With `count` zero, `elements` may be any pointer. The function reads and writes nothing else,
/// keeps no pointer, allocates nothing, and returns whatever the numbers are.
pub type ElementsFn = unsafe extern "C" fn(elements: *mut u8, count: usize);

/// The code of a function on floats of a type: on x86-64 with AVX2 and FMA, of AVX-512's vectors
/// where there is that too. `None` elsewhere, and of integers.
///
/// # Examples
///
/// ```
/// use kilngrad_loops::{Scalar, math::Function};
/// use kilngrad_tiles::{Features, find_function};
///
/// let mut elements = [0.0f32, 1.0, 2.0];
/// if let Some(exp2) = find_function(Features::detect(), Function::Exp2, Scalar::F32) {
///     // SAFETY: these are three floats, and this processor has the features that were detected.
///     unsafe { exp2(elements.as_mut_ptr().cast(), elements.len()) };
///     assert_eq!(elements, [1.0, 2.0, 4.0]);
/// }
/// ```
pub fn find_function(features: Features, function: Function, scalar: Scalar) -> Option<ElementsFn> {
    #[cfg(target_arch = "x86_64")]
    {
        if features.avx2 && features.fma {
            let find = if features.avx512 { x86::avx512 } else { x86::avx2 };
            return find(function, scalar);
        }
    }
    let _ = (features, function, scalar);
    None
}

/// Whether there is code for these features.
///
/// # Examples
///
/// ```
/// use kilngrad_tiles::{Features, has_functions};
///
/// assert!(!has_functions(Features::baseline()));
/// ```
pub fn has_functions(features: Features) -> bool {
    find_function(features, Function::Exp, Scalar::F32).is_some()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{ElementsFn, Function, Scalar};

    /// The body of a function: replaces the elements by blocks, and what does not fill a block in
    /// one that it begins.
    ///
    /// A macro, so that the function is called by its name in the one place that is compiled for
    /// wide vectors: a function value, such as a closure, would be code of its own without them.
    macro_rules! replace_all {
        ($float:ty, $block:literal, $elements:ident, $count:ident, $function:ident, $of:ident) => {
            if $count > 0 {
                // SAFETY: the contract gives us these elements, initialised, aligned and ours
                // alone.
                let all = unsafe { std::slice::from_raw_parts_mut($elements.cast(), $count) };
                let (blocks, rest) = all.as_chunks_mut::<$block>();
                let mut last: [$float; $block] = [0.0; $block];
                last[..rest.len()].copy_from_slice(rest);
                let padded = if rest.is_empty() { None } else { Some(&mut last) };
                for block in blocks.iter_mut().chain(padded) {
                    for element in block {
                        *element = Function::ALL[$function].$of(*element);
                    }
                }
                rest.copy_from_slice(&last[..rest.len()]);
            }
        };
    }

    /// Defines functions that look up the code for some features. A block is two vectors, so that
    /// two chains of operations run side by side.
    macro_rules! lookups {
        ([$($find:ident: $features:literal, blocks of $single:literal and $double:literal;)*] $names:tt) => {
            $(lookups!(@ $find $features $single $double $names);)*
        };
        (@ $find:ident $features:literal $single:literal $double:literal [$($name:ident)*]) => {
            pub(super) fn $find(function: Function, scalar: Scalar) -> Option<ElementsFn> {
                #[target_feature(enable = $features)]
                unsafe extern "C" fn singles<const FUNCTION: usize>(elements: *mut u8, count: usize) {
                    replace_all!(f32, $single, elements, count, FUNCTION, of_f32)
                }
                #[target_feature(enable = $features)]
                unsafe extern "C" fn doubles<const FUNCTION: usize>(elements: *mut u8, count: usize) {
                    replace_all!(f64, $double, elements, count, FUNCTION, of_f64)
                }
                match (scalar, function) {
                    $((Scalar::F32, Function::$name) => Some(singles::<{ Function::$name as usize }>),)*
                    $((Scalar::F64, Function::$name) => Some(doubles::<{ Function::$name as usize }>),)*
                    (Scalar::I32 | Scalar::I64 | Scalar::U8, _) => None,
                }
            }
        };
    }

    lookups! {
        [
            avx512: "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma", blocks of 32 and 16;
            avx2: "avx2,fma", blocks of 16 and 8;
        ]
        [
            Exp Exp2 Expm1 Log Log2 Log1p Tanh Sigmoid Erf Erfc
            Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh
        ]
    }
}
