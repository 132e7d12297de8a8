//! How a matrix product is cut up: chunks, cache blocks, and which operand is packed.
//!
//! The scheme is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication" (2008), and of BLIS (Van Zee and van de Geijn, 2015): tiles run down the rows
//! along one panel of the right operand, one tile wide and a block of depth high, then along the
//! next. Two things are different here. Blocks of depth are as long as panels in the second-level
//! cache allow, since tiles read those at full speed, while every further block of depth loads and
//! stores all sums again. And packing is a choice: it makes panels dense, which pays where they are
//! reused often enough, and in training that is not always so. Hence a model of the cost, in
//! cycles, by which every way to cut is judged. Its constants were fitted to measurements of the
//! products of small dense networks. It sees shapes and the machine model alone, so a program is
//! cut the same way wherever it is compiled and however many threads run it.
//!
//! Every chunk runs the same statements, so a chunk's share of the split axis is the same for all:
//! the number of chunks divides the length of an axis.

use kilngrad_ir::{DType, Machine, TileSize};

pub(crate) use super::nest::Share;
use super::nest::{Nest, Which};

/// The most chunks a product is split into.
const MAX_CHUNKS: usize = 16;

/// Cycles of calling a tile, sums in `out` excluded.
const CALL_CYCLES: f64 = 20.0;

/// Cycles for each register of sums that a tile loads and stores.
const SUM_CYCLES: f64 = 3.0;

/// Cycles of a load that a tile issues: of an element of the left operand for all columns, or of a
/// register of the right one.
const LOAD_CYCLES: f64 = 0.75;

/// Cycles for each 16 bytes that are packed in the order of memory.
const COPY_CYCLES: f64 = 1.2;

/// Cycles for each 16 bytes that are packed across the order of memory.
const TRANSPOSE_CYCLES: f64 = 2.4;

/// Cycles that 16 bytes cost more where an operand does not stay in the second-level cache.
const COLD_CYCLES: f64 = 3.0;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Bytes between lines that compete for few places of the first-level cache.
const COLLISION_BYTES: u64 = 1024;

/// How a nest is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Blocking {
    /// Which axis the chunks share out.
    pub(crate) share: Share,
    /// Rows of a tile, at most the tile's.
    pub(crate) tile_rows: usize,
    /// Rows of a cache block.
    pub(crate) rows: usize,
    /// Columns of a cache block.
    pub(crate) cols: usize,
    /// Terms of a cache block.
    pub(crate) depth: usize,
    /// Whether blocks of the left operand are packed.
    pub(crate) pack_lhs: bool,
    /// Whether blocks of the right operand are packed; always where its columns are apart.
    pub(crate) pack_rhs: bool,
}

/// The machine as the model sees it for one element type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    tile: TileSize,
    pub(crate) size: usize,
    l1: usize,
    l2: usize,
    fma: bool,
    chunk_cycles: usize,
    /// Whether an epilogue follows the sums.
    pub(crate) epilogue: bool,
    /// Whether the right operand lies in panels already, at which chunks have to begin.
    pub(crate) panels: bool,
}

impl Costs {
    /// Neither with an epilogue nor over panels.
    pub(crate) fn new(machine: &Machine, dtype: DType) -> Costs {
        let Machine { l1_bytes: l1, l2_bytes: l2, fma, chunk_cycles, .. } = *machine;
        let tile = machine.tile(dtype).unwrap_or(TileSize { rows: 1, cols: 1 });
        Costs {
            tile,
            size: dtype.size(),
            l1,
            l2,
            fma,
            chunk_cycles,
            epilogue: false,
            panels: false,
        }
    }

    /// Whether chunks of this share begin where they may.
    fn allows(&self, nest: &Nest, share: Share) -> bool {
        let within_panels = share.which == Some(Which::Cols)
            && !(nest.cols.extent / share.chunks).is_multiple_of(self.tile.cols);
        !(self.panels && within_panels)
    }
}

/// The cheapest way to cut a nest into chunks and those into blocks.
pub(crate) fn choose(nest: &Nest, costs: &Costs) -> Blocking {
    let (whole, alone) = cheapest_blocks(nest, costs, Share::WHOLE);
    let mut best = (whole, scored(alone, 1));
    for share in shares(nest, costs.chunk_cycles, alone).filter(|share| costs.allows(nest, *share))
    {
        let (blocking, cycles) = cheapest_blocks(nest, costs, share);
        let score = scored(cycles * share.chunks as f64, share.chunks);
        if score < best.1 {
            best = (blocking, score);
        }
    }
    best.0
}

/// How to share out a nest that is not cut further and takes so many cycles: over as many chunks as
/// pay off, along the outermost axis that has so many.
pub(crate) fn share(nest: &Nest, costs: &Costs, cycles: f64) -> Share {
    let shares = || shares(nest, costs.chunk_cycles, cycles);
    let most = shares().map(|share| share.chunks).max();
    shares().find(|share| Some(share.chunks) == most).unwrap_or(Share::WHOLE)
}

/// The ways to share out work of so many cycles over two chunks or more.
///
/// A chunk takes `chunk_cycles` at least, for its dispatch to be small beside it.
fn shares(nest: &Nest, chunk_cycles: usize, cycles: f64) -> impl Iterator<Item = Share> {
    let most = ((cycles / chunk_cycles.max(1) as f64) as usize).clamp(1, MAX_CHUNKS);
    nest.splittable().flat_map(move |which| {
        let extent = nest.axis(which).extent;
        (2..=most)
            .filter(move |chunks| extent.is_multiple_of(*chunks) && extent > 0)
            .map(move |chunks| Share { which: Some(which), chunks })
    })
}

/// Work is weighed against how far it can be shared out, with diminishing returns: sixteen chunks
/// may cost three percent more than eight.
fn scored(cycles: f64, chunks: usize) -> f64 {
    cycles * (1.0 + 0.5 / chunks as f64)
}

/// The cheapest blocks for one chunk of a split, and the cycles of that chunk.
fn cheapest_blocks(nest: &Nest, costs: &Costs, share: Share) -> (Blocking, f64) {
    let chunk = nest.part(share);
    let must_pack_rhs = !costs.panels && chunk.cols.extent > 1 && chunk.cols.rhs != 1;
    let choices = [(false, false), (false, true), (true, false), (true, true)];
    let mut best: Option<(Blocking, f64)> = None;
    for (pack_lhs, pack_rhs) in choices {
        if must_pack_rhs && !pack_rhs || costs.panels && pack_rhs {
            continue;
        }
        let blocking = blocks(&chunk, costs, share, pack_lhs, pack_rhs);
        let cycles = chunk.repeats() as f64 * cycles(&chunk, costs, &blocking);
        if best.is_none_or(|best| cycles < best.1) {
            best = Some((blocking, cycles));
        }
    }
    best.expect("packing the left operand is a choice with or without the right one")
}

/// Block sizes for what is packed.
fn blocks(chunk: &Nest, costs: &Costs, share: Share, pack_lhs: bool, pack_rhs: bool) -> Blocking {
    let (m, n, k) = (chunk.rows.extent, chunk.cols.extent, chunk.depth.extent);
    let TileSize { rows: tile_rows, cols: tile_cols } = costs.tile;
    // Panels of the right operand come from the second level as fast as tiles read them, while sums
    // that are put away and taken up again cost more the shorter the depth.
    let depth_limit = (costs.l2 / 16 / (tile_cols * costs.size)).clamp(64, 1024);
    let depth = even(k, depth_limit, 1);
    let block = depth.max(1) * costs.size;
    // Sums that an epilogue reads stay in the first level until it does.
    let panel = tile_cols * costs.size;
    let rows_limit = if costs.epilogue { costs.l1 / 3 / panel } else { costs.l2 / 2 / block };
    let rows = even(m, rows_limit.min(costs.l2 / 2 / block).max(tile_rows), tile_rows);
    // So does what is packed of the columns of a block in the second, and sums that wait there.
    let wait = costs.epilogue && (k > depth || !chunk.outer_depth.is_empty());
    let waiting = if wait { m * costs.size } else { 0 };
    let held = waiting.max(if pack_rhs { block } else { costs.size });
    let cols = even(n, (costs.l2 / 2 / held).max(tile_cols), tile_cols);
    let tile_rows = even(rows, tile_rows, 1);
    Blocking { share, tile_rows, rows, cols, depth, pack_lhs, pack_rhs }
}

/// The length of equal blocks of `extent`, at most `limit` each, a multiple of `unit` unless one
/// block holds everything. The last block may be shorter.
fn even(extent: usize, limit: usize, unit: usize) -> usize {
    if extent <= limit {
        return extent;
    }
    let limit = limit / unit * unit;
    extent.div_ceil(extent.div_ceil(limit)).next_multiple_of(unit)
}

/// The model: cycles of one pass over rows, columns and depth of a chunk.
fn cycles(chunk: &Nest, costs: &Costs, blocking: &Blocking) -> f64 {
    let (m, n, k) = (chunk.rows.extent, chunk.cols.extent, chunk.depth.extent);
    let depth_blocks = k.div_ceil(blocking.depth.max(1)).max(1) as f64;
    let mut total = 0.0;
    for (rows, row_tiles) in pieces(m, blocking.tile_rows) {
        for (cols, col_tiles) in pieces(n, costs.tile.cols) {
            let step = costs.step(rows, cols)
                + if blocking.pack_rhs { 0.0 } else { costs.direct_rhs(chunk, cols) }
                + if blocking.pack_lhs {
                    0.0
                } else {
                    costs.direct_lhs(chunk, rows, blocking.depth)
                };
            let sums = (rows * costs.registers(cols)) as f64;
            let call = depth_blocks * (CALL_CYCLES + sums * SUM_CYCLES);
            total += (row_tiles * col_tiles) as f64 * (k as f64 * step + call);
        }
    }
    if blocking.pack_lhs {
        let times = n.div_ceil(blocking.cols.max(1)) as f64;
        total += times * (m * k) as f64 * costs.packing(chunk.rows.lhs, m * k);
    }
    if blocking.pack_rhs {
        total += (n * k) as f64 * costs.packing(chunk.cols.rhs, n * k);
    }
    total
}

/// `extent` in pieces of `size` and the rest: each length with how often it occurs.
fn pieces(extent: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = size.max(1);
    [(size, extent / size), (extent % size, 1)]
        .into_iter()
        .filter(|(length, count)| *length > 0 && *count > 0)
}

impl Costs {
    /// Vector registers of a row of a tile: its columns are two.
    fn registers(&self, cols: usize) -> usize {
        if cols * 2 > self.tile.cols { 2 } else { 1 }
    }

    /// Cycles of one term of each sum of a tile: two products or two loads a cycle, and no sum
    /// faster than the latency of an addition.
    fn step(&self, rows: usize, cols: usize) -> f64 {
        let registers = self.registers(cols);
        let products = (rows * registers) as f64 * if self.fma { 0.5 } else { 1.0 };
        let loads = (rows + registers) as f64 * LOAD_CYCLES;
        products.max(loads).max(4.0)
    }

    /// Cycles of packing one of `count` elements, whose neighbours in the panel are `stride` apart.
    fn packing(&self, stride: i64, count: usize) -> f64 {
        let warm = if stride == 1 { COPY_CYCLES } else { TRANSPOSE_CYCLES };
        let cold = if count * self.size > self.l2 / 2 { COLD_CYCLES } else { 0.0 };
        (warm + cold) * self.size as f64 / 16.0
    }

    /// Cycles that a term costs more where the right operand is read in place. Every row of a
    /// panel is another line, and rows a multiple of a kilobyte apart compete for few places of
    /// the first-level cache.
    fn direct_rhs(&self, chunk: &Nest, cols: usize) -> f64 {
        if self.panels || chunk.cols.extent <= cols && chunk.depth.rhs.unsigned_abs() == cols as u64
        {
            return 0.0;
        }
        let lines = (cols * self.size).div_ceil(LINE_BYTES) as f64;
        lines * if self.collides(chunk.depth.rhs) { 2.0 } else { 0.5 }
    }

    /// Likewise for the left operand. Where its rows are side by side every term is another line,
    /// of which the next tile wants the rest; where its terms are, a line lasts for several.
    fn direct_lhs(&self, chunk: &Nest, rows: usize, depth: usize) -> f64 {
        if rows == 1 {
            return 0.0;
        }
        if chunk.rows.lhs == 1 {
            let collides = self.collides(chunk.depth.lhs);
            let operand = chunk.rows.extent * chunk.depth.extent * self.size;
            let stays = depth * LINE_BYTES <= self.l1 / 2 && !collides;
            let near = operand <= self.l2 / 2;
            return if stays {
                1.0
            } else if near {
                2.0
            } else {
                4.0
            };
        }
        let lines = if chunk.depth.lhs == 1 {
            (rows * self.size) as f64 / LINE_BYTES as f64
        } else {
            rows as f64
        };
        lines * if self.collides(chunk.rows.lhs) { 1.0 } else { 0.5 }
    }

    fn collides(&self, stride: i64) -> bool {
        let bytes = stride.unsigned_abs() * self.size as u64;
        bytes > 0 && bytes.is_multiple_of(COLLISION_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_even() {
        assert_eq!(even(784, 256, 1), 196);
        assert_eq!(even(100, 256, 1), 100);
        assert_eq!(even(1000, 300, 12), 252);
        assert_eq!(even(0, 256, 1), 0);
        assert_eq!(even(257, 256, 1), 129);
    }

    #[test]
    fn pieces_cover_the_extent() {
        for extent in 0..40 {
            let sum: usize = pieces(extent, 12).map(|(length, count)| length * count).sum();
            assert_eq!(sum, extent);
        }
    }
}
