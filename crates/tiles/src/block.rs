//! The register block: the one algorithm that every tile is an instance of.
//!
//! A block of `ROWS` rows by `VECTORS` registers of sums stays in registers while `k` runs. Each
//! step loads one row of `b`, and for each row of the block broadcasts one element of `a` and adds
//! the products: an outer product a step, as in Goto and van de Geijn, "Anatomy of High-Performance
//! Matrix Multiplication" (2008). An element's sum is a single chain from its start value, never
//! split over accumulators and joined, because the order of its terms is part of a tile's meaning;
//! what hides the latency of a sum is that the block has many. Nothing is prefetched: the operands
//! are streams that processors follow by themselves, and prefetching `b` or `c` measured no faster.
//!
//! The functions are `inline(always)` and carry no features: they are compiled inside the callers
//! that enable them, which is what makes a register operation one instruction.

use crate::Block;

/// The arguments of a [`TileFn`](crate::TileFn), typed.
pub(crate) struct Call<E> {
    pub(crate) a: *const E,
    pub(crate) b: *const E,
    pub(crate) c: *mut E,
    pub(crate) depth: usize,
    pub(crate) a_row: isize,
    pub(crate) a_col: isize,
    pub(crate) b_row: isize,
    pub(crate) c_row: isize,
    pub(crate) block: Block,
}

/// A vector of [`Register::LANES`] elements. Pointers need no more than an element's alignment.
pub(crate) trait Register: Copy {
    /// The type of a lane.
    type Element: Copy;
    /// Which lanes of a register are part of the block: always the first ones.
    type Mask: Copy;
    /// Number of lanes.
    const LANES: usize;

    /// `+0` in every lane.
    ///
    /// # Safety
    /// The processor has the register's features; so for every function here.
    unsafe fn zero() -> Self;

    /// The element in every lane.
    ///
    /// # Safety
    /// The element may be read.
    unsafe fn splat(from: *const Self::Element) -> Self;

    /// Consecutive elements.
    ///
    /// # Safety
    /// All of them may be read.
    unsafe fn load(from: *const Self::Element) -> Self;

    /// Writes consecutive elements.
    ///
    /// # Safety
    /// All of them may be written.
    unsafe fn store(self, to: *mut Self::Element);

    /// The mask of the first `count` lanes, at most [`Register::LANES`].
    ///
    /// # Safety
    /// The features alone.
    unsafe fn mask(count: usize) -> Self::Mask;

    /// Elements where the mask is set, `+0` elsewhere.
    ///
    /// # Safety
    /// Those where the mask is set may be read; no other is.
    unsafe fn load_masked(from: *const Self::Element, mask: Self::Mask) -> Self;

    /// Writes the elements where the mask is set.
    ///
    /// # Safety
    /// Those where the mask is set may be written; no other is.
    unsafe fn store_masked(self, to: *mut Self::Element, mask: Self::Mask);

    /// `self + left · right`, rounded as the tile's shape says.
    ///
    /// # Safety
    /// The features alone.
    unsafe fn add_product(self, left: Self, right: Self) -> Self;
}

/// A block of `ROWS` rows and up to two registers of columns.
///
/// # Safety
///
/// The contract of [`TileFn`](crate::TileFn) holds for `call`, whose block has `ROWS` rows.
#[inline(always)]
pub(crate) unsafe fn two_registers<R: Register, const ROWS: usize>(call: &Call<R::Element>) {
    let cols = usize::from(call.block.cols);
    // SAFETY: of the block's columns, the contract gives each case those that it names: all lanes
    // of both registers, or all of the first and `cols − LANES` of the second, or `cols` of one.
    unsafe {
        if cols == 2 * R::LANES {
            register_block::<R, ROWS, 2, false>(call, R::mask(R::LANES));
        } else if cols > R::LANES {
            register_block::<R, ROWS, 2, true>(call, R::mask(cols.wrapping_sub(R::LANES)));
        } else {
            register_block::<R, ROWS, 1, true>(call, R::mask(cols));
        }
    }
}

/// The block itself. Every register of a row but the last is full; of the last, the lanes in `last`
/// count if `MASKED`, else all.
///
/// # Safety
///
/// The contract of [`TileFn`](crate::TileFn) holds for `call`, whose block has `ROWS` rows and the
/// columns just said.
#[inline(always)]
unsafe fn register_block<
    R: Register,
    const ROWS: usize,
    const VECTORS: usize,
    const MASKED: bool,
>(
    call: &Call<R::Element>,
    last: R::Mask,
) {
    // SAFETY: the features are the caller's.
    let mut sums = [[unsafe { R::zero() }; VECTORS]; ROWS];
    if call.block.accumulate {
        let mut c = call.c.cast_const();
        for row in &mut sums {
            // SAFETY: `c` is the start of a row of the block, which the contract lets us read.
            *row = unsafe { load_row::<R, VECTORS, MASKED>(c, last) };
            c = c.wrapping_offset(call.c_row);
        }
    }
    let (mut a, mut b) = (call.a, call.b);
    for _ in 0..call.depth {
        // SAFETY: `b` is the start of row `k` of the right operand, with `k < depth`.
        let right = unsafe { load_row::<R, VECTORS, MASKED>(b, last) };
        let mut element = a;
        for row in &mut sums {
            // SAFETY: `element` is `a[i,k]` with `i < ROWS` and `k < depth`.
            let left = unsafe { R::splat(element) };
            for (sum, right) in row.iter_mut().zip(right) {
                // SAFETY: the features are the caller's.
                *sum = unsafe { sum.add_product(left, right) };
            }
            element = element.wrapping_offset(call.a_row);
        }
        // After the last step these point past the operands, where nothing reads.
        a = a.wrapping_offset(call.a_col);
        b = b.wrapping_offset(call.b_row);
    }
    let mut c = call.c;
    for row in sums {
        // SAFETY: `c` is the start of a row of the block, which the contract lets us write.
        unsafe { store_row::<R, VECTORS, MASKED>(row, c, last) };
        c = c.wrapping_offset(call.c_row);
    }
}

/// Reads one row of a block.
///
/// # Safety
///
/// The lanes named by `VECTORS`, `MASKED` and `last` may be read.
#[inline(always)]
unsafe fn load_row<R: Register, const VECTORS: usize, const MASKED: bool>(
    mut from: *const R::Element,
    last: R::Mask,
) -> [R; VECTORS] {
    // SAFETY: the features are the caller's.
    let mut row = [unsafe { R::zero() }; VECTORS];
    for (idx, register) in row.iter_mut().enumerate() {
        // SAFETY: only the last register is masked; `from` advances by the lanes read.
        *register = unsafe {
            if MASKED && idx == VECTORS.wrapping_sub(1) {
                R::load_masked(from, last)
            } else {
                R::load(from)
            }
        };
        from = from.wrapping_add(R::LANES);
    }
    row
}

/// Writes one row of a block.
///
/// # Safety
///
/// The lanes named by `VECTORS`, `MASKED` and `last` may be written.
#[inline(always)]
unsafe fn store_row<R: Register, const VECTORS: usize, const MASKED: bool>(
    row: [R; VECTORS],
    mut to: *mut R::Element,
    last: R::Mask,
) {
    for (idx, register) in row.into_iter().enumerate() {
        // SAFETY: only the last register is masked; `to` advances by the lanes written.
        unsafe {
            if MASKED && idx == VECTORS.wrapping_sub(1) {
                register.store_masked(to, last);
            } else {
                register.store(to);
            }
        }
        to = to.wrapping_add(R::LANES);
    }
}
