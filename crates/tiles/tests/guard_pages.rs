//! Tiles and functions touch no byte outside their operands: each operand lies against a page that
//! may not be accessed, so that the first byte too many ends the process with a segmentation fault.
#![cfg(target_os = "linux")]

mod model;

use std::ffi::{c_int, c_void};

use kilngrad_loops::Scalar;
use kilngrad_loops::math::Function;
use kilngrad_tiles::{Block, Features, find_function};
use model::{Float, Operands, Rectangle, blocks, call, tiles};

// The C library that the standard library is linked with.
unsafe extern "C" {
    fn mmap(
        at: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        off: i64,
    ) -> *mut c_void;
    fn mprotect(at: *mut c_void, len: usize, prot: c_int) -> c_int;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

const PROT_NONE: c_int = 0;
const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;

/// A multiple of every page size in use.
const REGION: usize = 64 << 10;

/// A region of zeros that may be accessed, between two that may not.
struct Guarded(*mut u8);

/// Which end of its region an operand lies against.
#[derive(Clone, Copy)]
enum Against {
    Start,
    End,
}

impl Guarded {
    fn new() -> Guarded {
        // SAFETY: a fresh mapping at an address of the system's choice.
        let base = unsafe {
            mmap(std::ptr::null_mut(), 3 * REGION, PROT_NONE, MAP_PRIVATE_ANONYMOUS, -1, 0)
        };
        assert!(base.addr() != usize::MAX, "no memory to map");
        let region = base.wrapping_byte_add(REGION);
        // SAFETY: the region lies in the mapping just made.
        let status = unsafe { mprotect(region, REGION, PROT_READ_WRITE) };
        assert_eq!(status, 0, "the region cannot be made accessible");
        Guarded(region.cast())
    }

    /// The element (0, 0) of a rectangle against one end.
    fn place<F: Float>(&self, rectangle: Rectangle, against: Against) -> *mut F {
        let bytes = rectangle.len() * size_of::<F>();
        assert!(bytes <= REGION);
        let lowest = match against {
            Against::Start => self.0,
            Against::End => self.0.wrapping_add(REGION - bytes),
        };
        lowest.cast::<F>().wrapping_offset(-rectangle.span().0)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, of which nothing is used any more.
        let status = unsafe { munmap(self.0.wrapping_sub(REGION).cast(), 3 * REGION) };
        assert_eq!(status, 0, "the mapping cannot be removed");
    }
}

/// Packed panels, and panels whose rows or terms run backward.
fn layouts(block: Block, depth: usize) -> [Operands; 3] {
    let (rows, cols) = (usize::from(block.rows), usize::from(block.cols));
    let (r, c, d) = (rows as isize, cols as isize, depth as isize);
    [(1, r, c, c), (d + 1, 1, c + 3, c + 3), (-d, -1, -c, -c)].map(
        |(a_row, a_col, b_row, c_row)| Operands {
            a: Rectangle { rows, cols: depth, row_stride: a_row, col_stride: a_col },
            b: Rectangle { rows: depth, cols, row_stride: b_row, col_stride: 1 },
            c: Rectangle { rows, cols, row_stride: c_row, col_stride: 1 },
        },
    )
}

fn every_block<F: Float>() {
    let [a, b, c] = [Guarded::new(), Guarded::new(), Guarded::new()];
    for tile in tiles::<F>() {
        for block in blocks(tile) {
            for depth in [0, 1, 2, 5] {
                for operands in layouts(block, depth) {
                    for against in [Against::Start, Against::End] {
                        let left = a.place::<F>(operands.a, against).cast_const();
                        let right = b.place::<F>(operands.b, against).cast_const();
                        let result = c.place::<F>(operands.c, against);
                        // SAFETY: each region holds its rectangle, of zeros or of earlier sums of
                        // them, and the tile is of this machine.
                        unsafe { call(tile, operands, block, [left, right], result) };
                    }
                }
            }
        }
    }
}

#[test]
fn functions_stay_in_their_elements() {
    let region = Guarded::new();
    let elements = |count: usize| Rectangle { rows: 1, cols: count, row_stride: 0, col_stride: 1 };
    let detected = Features::detect();
    for features in [detected, Features { avx512: false, ..detected }] {
        for &function in Function::ALL {
            for count in 1..70 {
                for against in [Against::Start, Against::End] {
                    if let Some(code) = find_function(features, function, Scalar::F32) {
                        let at = region.place::<f32>(elements(count), against);
                        // SAFETY: the region holds so many floats, of earlier values or zero.
                        unsafe { code(at.cast(), count) };
                    }
                    if let Some(code) = find_function(features, function, Scalar::F64) {
                        let at = region.place::<f64>(elements(count), against);
                        // SAFETY: likewise.
                        unsafe { code(at.cast(), count) };
                    }
                }
            }
        }
    }
}

#[test]
fn f32_tiles_stay_in_their_operands() {
    every_block::<f32>();
}

#[test]
fn f64_tiles_stay_in_their_operands() {
    every_block::<f64>();
}
