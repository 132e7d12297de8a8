//! Prints how fast each tile that this processor can run is, with its panels in the first-level
//! cache: `cargo run --release -p kilngrad-tiles --example tile_rates`.

use std::hint::black_box;
use std::time::Instant;

use kilngrad_loops::Scalar;
use kilngrad_tiles::{Block, Features, Tile};

/// Terms of each sum. The panels of the largest tile take 46 KiB.
const DEPTH: usize = 256;

/// Runs of which the median is printed.
const RUNS: usize = 15;

/// How the left operand lies.
#[derive(Clone, Copy)]
enum Left {
    /// One column of the block after the other, as packing leaves it.
    Packed,
    /// One row after the other.
    Strided,
}

fn main() {
    let features = Features::detect();
    println!("{features}; GFLOP/s of useful terms at depth {DEPTH}, median of {RUNS} runs");
    println!(
        "{:<18}{:>8}{:>9}{:>10}{:>10}{:>10}",
        "tile", "packed", "strided", "rows-1", "cols-1", "half cols"
    );
    for tile in kilngrad_tiles::available(features) {
        let shape = tile.shape;
        let full = Block { rows: shape.rows, cols: shape.cols, accumulate: true };
        let rates = [
            rate(tile, full, Left::Packed),
            rate(tile, full, Left::Strided),
            rate(tile, Block { rows: full.rows - 1, ..full }, Left::Packed),
            rate(tile, Block { cols: full.cols - 1, ..full }, Left::Packed),
            rate(tile, Block { cols: full.cols / 2, ..full }, Left::Packed),
        ];
        let name = format!(
            "{} {}x{}{}",
            shape.scalar.name(),
            shape.rows,
            shape.cols,
            if shape.fma { " fma" } else { "" }
        );
        print!("{name:<18}");
        for (rate, width) in rates.into_iter().zip([8, 9, 10, 10, 10]) {
            print!("{rate:>width$.1}");
        }
        println!();
    }
}

/// Two operations a term, in units of 10⁹ a second.
fn rate(tile: Tile, block: Block, left: Left) -> f64 {
    match tile.shape.scalar {
        Scalar::F32 => rate_of::<f32>(tile, block, left),
        Scalar::F64 => rate_of::<f64>(tile, block, left),
        Scalar::I32 | Scalar::I64 | Scalar::U8 => unreachable!("tiles multiply floats"),
    }
}

fn rate_of<E: From<f32> + Copy>(tile: Tile, block: Block, left: Left) -> f64 {
    let (rows, cols) = (usize::from(tile.shape.rows), usize::from(tile.shape.cols));
    // Sums stay small, so that no run meets infinities or subnormals.
    let a = vec![E::from(1e-3); rows * DEPTH];
    let b = vec![E::from(1e-3); cols * DEPTH];
    let mut c = vec![E::from(0.0); rows * cols];
    let (a_row, a_col) = match left {
        Left::Packed => (1, rows as isize),
        Left::Strided => (DEPTH as isize, 1),
    };
    let calls = 2_000_000 / (rows * cols) + 1;
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                // SAFETY: the buffers hold the shape's whole block at these strides, the block lies
                // in the shape, and the tile is one that the detected features allow.
                unsafe {
                    (tile.function)(
                        black_box(&a).as_ptr().cast(),
                        black_box(&b).as_ptr().cast(),
                        c.as_mut_ptr().cast(),
                        DEPTH,
                        a_row,
                        a_col,
                        cols as isize,
                        cols as isize,
                        block.pack(),
                    );
                }
            }
            start.elapsed().as_secs_f64()
        })
        .collect();
    black_box(&c);
    seconds.sort_by(f64::total_cmp);
    let terms = usize::from(block.rows) * usize::from(block.cols) * DEPTH * calls;
    2.0 * terms as f64 / seconds[RUNS / 2] / 1e9
}
