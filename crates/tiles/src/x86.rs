//! Tiles for AVX2 with fused multiply-add, and for AVX-512.
//!
//! Sixteen 256-bit registers hold 6 × 2 registers of sums, two of `b` and one of `a`. Of the
//! thirty-two of 512 bits a block could take 14 × 2 for sums; 12 × 2 is as fast, since both have
//! fewer loads than multiply-adds and more sums than are in flight, and leaves larger edges of
//! powers of two. Edges in columns use masked moves, which access no memory where the mask is clear.

use std::arch::x86_64::*;

use kilngrad_loops::{Scalar, TileShape};

use crate::Tile;
use crate::block::Register;
use crate::tile::define_tile;

/// For processors with AVX2 and FMA.
pub(crate) const AVX2: [Tile; 2] = [
    Tile {
        shape: TileShape { scalar: Scalar::F32, rows: 6, cols: 16, fma: true },
        function: f32_6x16,
    },
    Tile {
        shape: TileShape { scalar: Scalar::F64, rows: 6, cols: 8, fma: true },
        function: f64_6x8,
    },
];

/// For processors with AVX-512.
pub(crate) const AVX512: [Tile; 2] = [
    Tile {
        shape: TileShape { scalar: Scalar::F32, rows: 12, cols: 32, fma: true },
        function: f32_12x32,
    },
    Tile {
        shape: TileShape { scalar: Scalar::F64, rows: 12, cols: 16, fma: true },
        function: f64_12x16,
    },
];

define_tile!(
    f32_6x16 = __m256, [1 2 3 4 5 6], features "avx2,fma"
);
define_tile!(
    f64_6x8 = __m256d, [1 2 3 4 5 6], features "avx2,fma"
);
define_tile!(
    f32_12x32 = __m512, [1 2 3 4 5 6 7 8 9 10 11 12],
    features "avx512f"
);
define_tile!(
    f64_12x16 = __m512d, [1 2 3 4 5 6 7 8 9 10 11 12],
    features "avx512f"
);

/// Implements [`Register`] by intrinsics. The two widths differ in more than names only in what a
/// mask is: a vector whose lanes are all ones or all zeros, or the bits of a mask register.
macro_rules! register {
    (
        $register:ty, $element:ty,
        $zero:ident $splat:ident $load:ident $store:ident $store_masked:ident $fma:ident,
        mask $mask:ty = |$count:ident| $make:expr,
        load_masked = |$from:ident, $lanes:ident| $load_masked:expr
    ) => {
        impl Register for $register {
            type Element = $element;
            type Mask = $mask;
            const LANES: usize = size_of::<$register>() / size_of::<$element>();

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller has the features.
                unsafe { $zero() }
            }

            #[inline(always)]
            unsafe fn splat(from: *const $element) -> Self {
                // SAFETY: the caller has the features and may read the element.
                unsafe { $splat(from.read()) }
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: the caller has the features and may read all lanes.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: the caller has the features and may write all lanes.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn mask($count: usize) -> $mask {
                $make
            }

            #[inline(always)]
            unsafe fn load_masked($from: *const $element, $lanes: $mask) -> Self {
                // SAFETY: the caller has the features and may read the lanes that the mask sets;
                // the instruction accesses no other.
                unsafe { $load_masked }
            }

            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $element, mask: $mask) {
                // SAFETY: the caller has the features and may write the lanes that the mask sets;
                // the instruction accesses no other.
                unsafe { $store_masked(to, mask, self) }
            }

            #[inline(always)]
            unsafe fn add_product(self, left: Self, right: Self) -> Self {
                // SAFETY: the caller has the features.
                unsafe { $fma(left, right, self) }
            }
        }
    };
}

register!(
    __m256, f32,
    _mm256_setzero_ps _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps
    _mm256_maskstore_ps _mm256_fmadd_ps,
    mask __m256i = |count| {
        // SAFETY: the caller has the features.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
        }
    },
    load_masked = |from, mask| _mm256_maskload_ps(from, mask)
);

register!(
    __m256d, f64,
    _mm256_setzero_pd _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd
    _mm256_maskstore_pd _mm256_fmadd_pd,
    mask __m256i = |count| {
        // SAFETY: the caller has the features.
        unsafe {
            let lanes = _mm256_setr_epi64x(0, 1, 2, 3);
            _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), lanes)
        }
    },
    load_masked = |from, mask| _mm256_maskload_pd(from, mask)
);

register!(
    __m512, f32,
    _mm512_setzero_ps _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps
    _mm512_mask_storeu_ps _mm512_fmadd_ps,
    mask __mmask16 = |count| 1u32.wrapping_shl(count as u32).wrapping_sub(1) as __mmask16,
    load_masked = |from, mask| _mm512_maskz_loadu_ps(mask, from)
);

register!(
    __m512d, f64,
    _mm512_setzero_pd _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd
    _mm512_mask_storeu_pd _mm512_fmadd_pd,
    mask __mmask8 = |count| 1u32.wrapping_shl(count as u32).wrapping_sub(1) as __mmask8,
    load_masked = |from, mask| _mm512_maskz_loadu_pd(mask, from)
);
