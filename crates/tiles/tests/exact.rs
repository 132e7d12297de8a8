//! Every tile of this machine against the meaning of a tile call, bit for bit.

mod model;

use kilngrad_tiles::{Block, Tile};
use model::{Float, Operands, Random, Rectangle, blocks, call, tiles};

const DEPTHS: [usize; 7] = [0, 1, 2, 3, 7, 8, 64];

/// Canaries before and after each buffer: more than the columns of any tile.
const MARGIN: usize = 80;

/// Elements of one operand between canaries.
struct Panel<F> {
    elements: Vec<F>,
    origin: usize,
    rectangle: Rectangle,
}

impl<F: Float> Panel<F> {
    /// Canaries outside the rectangle, and in it what `value` yields.
    fn new(rectangle: Rectangle, mut value: impl FnMut() -> F) -> Panel<F> {
        let mut elements = vec![F::CANARY; rectangle.len() + 2 * MARGIN];
        let origin = MARGIN.strict_add_signed(-rectangle.span().0);
        for (row, col) in rectangle.positions() {
            elements[origin.strict_add_signed(rectangle.offset(row, col))] = value();
        }
        Panel { elements, origin, rectangle }
    }

    fn at(&self, row: usize, col: usize) -> usize {
        self.origin.strict_add_signed(self.rectangle.offset(row, col))
    }

    fn get(&self, row: usize, col: usize) -> F {
        self.elements[self.at(row, col)]
    }
}

/// Ways in which the operands of a block may lie.
fn layouts(block: Block, depth: usize) -> Vec<Operands> {
    let (rows, cols) = (usize::from(block.rows), usize::from(block.cols));
    let operands = |(a_row, a_col): (isize, isize), b_row, c_row| Operands {
        a: Rectangle { rows, cols: depth, row_stride: a_row, col_stride: a_col },
        b: Rectangle { rows: depth, cols, row_stride: b_row, col_stride: 1 },
        c: Rectangle { rows, cols, row_stride: c_row, col_stride: 1 },
    };
    let (r, c, d) = (rows as isize, cols as isize, depth as isize);
    vec![
        // Packed panels, as the loops make them.
        operands((1, r), c, c),
        // Views of larger matrices.
        operands((d + 3, 1), c + 5, c + 2),
        operands((1, r + 9), 2 * c, 3 * c + 1),
        // Reversed operands, and no stride equal to another.
        operands((-2 * d - 1, 2), -c - 1, -c - 4),
        operands((3, -3 * r - 2), c + 7, c),
        // Broadcast operands; overlapping rows of the right one, as in a convolution.
        operands((0, 1), 1, c),
        operands((5, 0), 0, c + 1),
    ]
}

/// The meaning of a tile call.
fn expected<F: Float>(tile: Tile, block: Block, a: &Panel<F>, b: &Panel<F>, c: &mut Panel<F>) {
    for (row, col) in c.rectangle.positions() {
        let start = if block.accumulate { c.get(row, col) } else { F::ZERO };
        let sum = (0..a.rectangle.cols)
            .fold(start, |sum, k| sum.add_product(a.get(row, k), b.get(k, col), tile.shape.fma));
        let at = c.at(row, col);
        c.elements[at] = sum;
    }
}

fn check<F: Float>(tile: Tile, block: Block, operands: Operands, value: &mut dyn FnMut() -> F) {
    // Equal operands overlap themselves where strides are zero; the last value written stays.
    let a = Panel::new(operands.a, &mut *value);
    let b = Panel::new(operands.b, &mut *value);
    // A block that does not accumulate must not look at what `c` holds.
    let start = |value: &mut dyn FnMut() -> F| if block.accumulate { value() } else { F::CANARY };
    let mut found = Panel::new(operands.c, || start(&mut *value));
    let mut wanted = Panel {
        elements: found.elements.clone(),
        origin: found.origin,
        rectangle: found.rectangle,
    };
    expected(tile, block, &a, &b, &mut wanted);
    let c = found.elements.as_mut_ptr().wrapping_add(found.origin);
    let pointers = [&a, &b].map(|panel| panel.elements.as_ptr().wrapping_add(panel.origin));
    // SAFETY: each buffer holds its rectangle around its origin, and the tile is of this machine.
    unsafe { call(tile, operands, block, pointers, c) };
    let context = || format!("{} {block:?}\n{operands:?}", name(tile));
    for (row, col) in found.rectangle.positions() {
        let at = found.at(row, col);
        let (found, wanted) = (&mut found.elements[at], &mut wanted.elements[at]);
        assert!(
            found.key() == wanted.key(),
            "expected c[{row},{col}] = {wanted:?}, found {found:?}: {}",
            context()
        );
        (*found, *wanted) = (F::CANARY, F::CANARY);
    }
    for (at, element) in found.elements.iter().enumerate() {
        assert!(
            element.bits() == F::CANARY.bits(),
            "element {at} outside the block was written, origin {}: {}",
            found.origin,
            context()
        );
    }
}

fn name(tile: Tile) -> String {
    let shape = tile.shape;
    format!("{} {}x{} fma={}", shape.scalar.name(), shape.rows, shape.cols, shape.fma)
}

fn every_block<F: Float>(value: fn(u64) -> F) {
    for tile in tiles::<F>() {
        let mut random = Random(u64::from(tile.shape.rows));
        for block in blocks(tile) {
            for depth in DEPTHS {
                for operands in layouts(block, depth) {
                    check(tile, block, operands, &mut || value(random.next()));
                }
            }
        }
    }
}

#[test]
fn f32_blocks_are_exact() {
    every_block(<f32 as Float>::ordinary);
}

#[test]
fn f64_blocks_are_exact() {
    every_block(<f64 as Float>::ordinary);
}

#[test]
fn f32_zeros_subnormals_and_infinities_are_exact() {
    every_block(<f32 as Float>::delicate);
}

#[test]
fn f64_zeros_subnormals_and_infinities_are_exact() {
    every_block(<f64 as Float>::delicate);
}

/// The terms' order and rounding are visible in the numbers that the tests above draw: a model with
/// either of them changed would not agree with itself.
#[test]
fn ordinary_numbers_tell_orders_and_roundings_apart() {
    fn sums<F: Float>() -> [u64; 3] {
        let mut random = Random(7);
        let terms: Vec<(F, F)> =
            (0..64).map(|_| (F::ordinary(random.next()), F::ordinary(random.next()))).collect();
        let chain = |terms: &mut dyn Iterator<Item = &(F, F)>, fma: bool| {
            terms.fold(F::ZERO, |sum, &(left, right)| sum.add_product(left, right, fma)).bits()
        };
        [
            chain(&mut terms.iter(), true),
            chain(&mut terms.iter(), false),
            chain(&mut terms.iter().rev(), true),
        ]
    }
    for [fused, rounded_twice, reversed] in [sums::<f32>(), sums::<f64>()] {
        assert_ne!(fused, rounded_twice);
        assert_ne!(fused, reversed);
    }
}
