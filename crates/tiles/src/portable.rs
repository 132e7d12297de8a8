//! Tiles in plain Rust, for processors without the instructions of the others.
//!
//! A register is an array that the compiler turns into a 128-bit vector where there is one. Each
//! term is rounded twice, by its product and by its sum: a fused multiply-add that the processor
//! lacks would be a call of a library function for each term.

use kilngrad_loops::{Scalar, TileShape};

use crate::Tile;
use crate::block::Register;
use crate::tile::define_tile;

/// One for each floating-point type. Eight registers of sums, two of `b`, one of `a` and one of
/// products fit the sixteen that x86-64 has.
pub(crate) const TILES: [Tile; 2] = [
    Tile {
        shape: TileShape { scalar: Scalar::F32, rows: 4, cols: 8, fma: false },
        function: f32_4x8,
    },
    Tile {
        shape: TileShape { scalar: Scalar::F64, rows: 4, cols: 4, fma: false },
        function: f64_4x4,
    },
];

define_tile!(f32_4x8 = Lanes<f32, 4>, [1 2 3 4]);
define_tile!(f64_4x4 = Lanes<f64, 2>, [1 2 3 4]);

/// `N` elements.
#[derive(Clone, Copy)]
struct Lanes<E, const N: usize>([E; N]);

macro_rules! register {
    ($element:ty) => {
        impl<const N: usize> Register for Lanes<$element, N> {
            type Element = $element;
            type Mask = usize;
            const LANES: usize = N;

            #[inline(always)]
            unsafe fn zero() -> Self {
                Lanes([0.0; N])
            }

            #[inline(always)]
            unsafe fn splat(from: *const $element) -> Self {
                // SAFETY: the element may be read, as the caller says.
                Lanes([unsafe { from.read() }; N])
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: `N` elements may be read, and an array is aligned as its element.
                Lanes(unsafe { from.cast::<[$element; N]>().read() })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: `N` elements may be written, and an array is aligned as its element.
                unsafe { to.cast::<[$element; N]>().write(self.0) }
            }

            #[inline(always)]
            unsafe fn mask(count: usize) -> usize {
                count
            }

            #[inline(always)]
            unsafe fn load_masked(from: *const $element, mask: usize) -> Self {
                let mut lanes = [0.0; N];
                for (idx, lane) in lanes.iter_mut().enumerate() {
                    if idx < mask {
                        // SAFETY: the caller lets the first `mask` elements be read.
                        *lane = unsafe { from.wrapping_add(idx).read() };
                    }
                }
                Lanes(lanes)
            }

            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $element, mask: usize) {
                for (idx, lane) in self.0.into_iter().enumerate() {
                    if idx < mask {
                        // SAFETY: the caller lets the first `mask` elements be written.
                        unsafe { to.wrapping_add(idx).write(lane) }
                    }
                }
            }

            #[inline(always)]
            unsafe fn add_product(mut self, left: Self, right: Self) -> Self {
                for (sum, (left, right)) in self.0.iter_mut().zip(left.0.into_iter().zip(right.0)) {
                    *sum += left * right;
                }
                self
            }
        }
    };
}

register!(f32);
register!(f64);
