//! Counter-based random numbers: what `random` and random initialisers are defined by.
//!
//! Bits depend on the seed, the stream, the counter and the element's logical index, and on
//! nothing else: not on layout, fusion, order or threads, so a value may be computed again instead
//! of kept. The function is Threefry-2×32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel
//! Random Numbers: As Easy as 1, 2, 3", SC 2011), of which additions, rotations and exclusive-ors
//! of 32 bits are all that vector units need.
//!
//! ```text
//! key(seed, stream, counter) = T(T((seed), (stream)), (counter))
//! word(key, i)               = T(key, (i))              a pair (w0, w1)
//! i32  w0                    i64  w0 + 2³²·w1
//! f32  (w0 >> 8)·2⁻²⁴        f64  ((w0 + 2³²·w1) >> 11)·2⁻⁵³
//! ```
//!
//! where a 64-bit integer stands for its low and high words, so floats are uniform in `[0, 1)`.
//!
//! # Examples
//!
//! ```
//! use kilngrad_ir::{DType, random::{element, key, stream_of}};
//!
//! let key = key(7, stream_of("net.drop"), 0);
//! let draw: Vec<f64> = (0..4).map(|index| element(key, index, DType::F32).to_f64()).collect();
//! assert!(draw.iter().all(|number| (0.0..1.0).contains(number)));
//! assert_eq!(element(key, 2, DType::F32).to_f64(), draw[2]); // whoever else was drawn
//! ```

use crate::dtype::DType;
use crate::literal::{Dense, Literal};
use crate::program::Init;
use crate::types::Type;

/// Rotations of the rounds, repeating.
pub const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];

/// The constant of the key schedule.
pub const PARITY: u32 = 0x1bd1_1bda;

/// A key of the generator: two words.
///
/// ```
/// use kilngrad_ir::random::{Key, key};
///
/// let of = |stream: u64| -> Key { key(7, stream, 0) };
/// assert_ne!(of(1), of(2));
/// ```
pub type Key = [u32; 2];

/// Threefry-2×32 with 20 rounds: `counter` enciphered under `key`.
///
/// ```
/// use kilngrad_ir::random::threefry;
///
/// // The test vector of the paper's Random123 library.
/// assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
/// ```
pub fn threefry(key: Key, counter: [u32; 2]) -> [u32; 2] {
    let schedule = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(key[0]), counter[1].wrapping_add(key[1])];
    for group in 0..5 {
        for round in 0..4 {
            x[0] = x[0].wrapping_add(x[1]);
            x[1] = x[1].rotate_left(ROTATIONS[(4 * group + round) % 8]) ^ x[0];
        }
        let next = group + 1;
        x[0] = x[0].wrapping_add(schedule[next % 3]);
        x[1] = x[1].wrapping_add(schedule[(next + 1) % 3]).wrapping_add(next as u32);
    }
    x
}

/// The key of one draw.
///
/// ```
/// use kilngrad_ir::random::key;
///
/// assert_eq!(key(7, 1, 0), key(7, 1, 0));
/// assert_ne!(key(7, 1, 0), key(7, 1, 1));
/// ```
pub fn key(seed: i64, stream: u64, counter: i64) -> Key {
    threefry(threefry(words(seed as u64), words(stream)), words(counter as u64))
}

/// Element `index` of a draw of floats, integers of 32 or of 64 bits; other dtypes take the low
/// bits.
///
/// ```
/// use kilngrad_ir::{DType, random};
///
/// let unit = random::element(random::key(7, 1, 0), 5, DType::F32).to_f64();
/// assert!((0.0..1.0).contains(&unit));
/// assert_eq!((unit * 2f64.powi(24)).fract(), 0.0);
/// ```
pub fn element(key: Key, index: u64, dtype: DType) -> Literal {
    let [low, high] = threefry(key, words(index));
    let both = u64::from(low) | u64::from(high) << 32;
    match dtype {
        DType::F32 => {
            let unit = (low >> 8) as f32 * (1.0 / (1u32 << 24) as f32);
            Literal::from_bits(dtype, u64::from(unit.to_bits()))
        }
        DType::F64 => {
            let unit = (both >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
            Literal::from_bits(dtype, unit.to_bits())
        }
        DType::I32 | DType::I64 | DType::U8 => Literal::from_bits(dtype, both),
        DType::Bool => Literal::from_bits(dtype, both & 1),
    }
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// The stream that belongs to a path: FNV-1a of its bytes, 64 bits. A stream depends on its path
/// alone, so adding a layer changes no other layer's numbers.
///
/// ```
/// use kilngrad_ir::random::stream_of;
///
/// assert_eq!(stream_of("a"), 0xaf63_dc4c_8601_ec8c); // FNV-1a's published value
/// ```
pub fn stream_of(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The first value of a state of type `ty`, which has no symbol, under the program's seed.
/// `None` where the initialiser does not fit the type, which the verifier refuses.
///
/// ```
/// use kilngrad_ir::{DType, Init, Shape, Type, random};
///
/// let init = Init::Uniform { low: -0.5, high: 0.5, stream: 1 };
/// let value = random::initial(&init, &Type::new(DType::F32, Shape::new([100])), 7);
/// let value = value.expect("random numbers fit floats");
/// assert!(value.iter().all(|element| element.to_f64().abs() <= 0.5));
/// ```
pub fn initial(init: &Init, ty: &Type, seed: i64) -> Option<Dense> {
    let mut bytes = vec![0; ty.byte_count()?];
    fill(init, ty, seed, &mut bytes)?;
    Dense::from_bytes(ty.dtype, bytes.into())
}

/// Writes the first value of a state, as [`initial`] gives it, into memory of its size. `None`
/// where the initialiser or the memory does not fit the type.
///
/// Uniform and normal numbers are drawn in `f64` and rounded once, so an `f32` program starts from
/// the rounded parameters of the same program in `f64`. Normal numbers are by Box and Muller:
/// `√(−2 ln(1 − u₂ᵢ))·cos(2π u₂ᵢ₊₁)`.
///
/// ```
/// use kilngrad_ir::{DType, Init, Type, random};
///
/// let mut bytes = [0; 8];
/// assert_eq!(random::fill(&Init::Seed, &Type::scalar(DType::I64), 7, &mut bytes), Some(()));
/// assert_eq!(bytes, 7i64.to_le_bytes());
/// ```
pub fn fill(init: &Init, ty: &Type, seed: i64, bytes: &mut [u8]) -> Option<()> {
    let (size, total) = (ty.dtype.size(), bytes.len());
    if ty.byte_count()? != total {
        return None;
    }
    let uniform = |key: Key, index: u64| element(key, index, DType::F64).to_f64();
    let mut write = |element: &mut dyn FnMut(u64) -> Literal| {
        for (index, place) in bytes.chunks_exact_mut(size).enumerate() {
            let element = element(index as u64);
            place.copy_from_slice(&element.bits().to_le_bytes()[..size]);
        }
    };
    match init {
        Init::Splat(literal) if literal.dtype() == ty.dtype => write(&mut |_| *literal),
        Init::Dense(dense) if dense.dtype() == ty.dtype && dense.bytes().len() == total => {
            let mut elements = dense.iter();
            write(&mut |_| elements.next().expect("as many elements as places"));
        }
        Init::Splat(_) | Init::Dense(_) => return None,
        Init::Uniform { low, high, stream } => {
            let key = key(seed, *stream, 0);
            write(&mut |index| {
                Literal::from_f64(ty.dtype, low + (high - low) * uniform(key, index))
            });
        }
        Init::Normal { mean, std, stream } => {
            let key = key(seed, *stream, 0);
            write(&mut |index| {
                let first = uniform(key, 2 * index);
                let second = uniform(key, 2 * index + 1);
                // Not by the platform's library, which differs in the last bit from system to system.
                let radius = (-2.0 * libm::log1p(-first)).sqrt();
                let value = mean + std * radius * libm::cos(std::f64::consts::TAU * second);
                Literal::from_f64(ty.dtype, value)
            });
        }
        Init::Seed => write(&mut |_| Literal::from_i64(ty.dtype, seed)),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the generator's authors (Random123, kat_vectors).
    #[test]
    fn known_answers() {
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([!0, !0], [!0, !0]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(
            threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]),
            [0xc492_3a9c, 0x483d_f7a0]
        );
    }

    #[test]
    fn initial_numbers_have_the_stated_moments() {
        let ty = Type::new(DType::F64, [100_000usize].into_iter().collect());
        let moments = |init: &Init| {
            let dense = initial(init, &ty, 7).expect("the initialiser fits");
            let mean = dense.iter().map(Literal::to_f64).sum::<f64>() / 1e5;
            let square = |x: Literal| (x.to_f64() - mean).powi(2);
            (mean, (dense.iter().map(square).sum::<f64>() / 1e5).sqrt())
        };
        let (mean, std) = moments(&Init::Normal { mean: 2.0, std: 3.0, stream: 5 });
        assert!((mean - 2.0).abs() < 0.05 && (std - 3.0).abs() < 0.05, "{mean} {std}");
        let (mean, std) = moments(&Init::Uniform { low: -1.0, high: 3.0, stream: 5 });
        let expected = 4.0 / 12f64.sqrt();
        assert!((mean - 1.0).abs() < 0.02 && (std - expected).abs() < 0.02, "{mean} {std}");
    }
}
