//! Exact intervals of affine expressions over boxes, in checked arithmetic.

use crate::kernel::{Affine, Apply, Buffer, Inst, Kernel, LoopVar, Panel, Reg, Stmt, TileCall};

/// A dimension along which an access moves: `count` steps of `stride` elements, `count ≥ 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dim {
    pub(super) stride: i64,
    pub(super) count: usize,
}

/// Closed interval of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) low: i128,
    pub(super) high: i128,
}

impl Interval {
    pub(super) fn point(value: i128) -> Interval {
        Interval { low: value, high: value }
    }

    /// This plus every value of `x · stride` for `0 ≤ x < count`; `None` on overflow.
    pub(super) fn extend(self, dim: Dim) -> Option<Interval> {
        let last = i128::try_from(dim.count).ok()?.checked_sub(1)?;
        let reach = i128::from(dim.stride).checked_mul(last)?;
        Some(Interval {
            low: self.low.checked_add(reach.min(0))?,
            high: self.high.checked_add(reach.max(0))?,
        })
    }

    /// Whether every value is in `low .. end`.
    pub(super) fn within(self, low: i128, end: i128) -> bool {
        low <= self.low && self.high < end
    }
}

/// The extents of the variables in scope, indexed by variable.
#[derive(Debug, Default)]
pub(super) struct Extents(Vec<Option<usize>>);

impl Extents {
    pub(super) fn new(chunks: usize) -> Extents {
        Extents(vec![Some(chunks)])
    }

    pub(super) fn open(&mut self, var: LoopVar, extent: usize) {
        let at = var.0 as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at] = Some(extent);
    }

    pub(super) fn close(&mut self, var: LoopVar) {
        self.0[var.0 as usize] = None;
    }

    pub(super) fn get(&self, var: LoopVar) -> Option<usize> {
        self.0.get(var.0 as usize).copied().flatten()
    }

    /// The values of `at` plus `dims`; `None` on overflow or an unknown variable. No extent is
    /// zero.
    pub(super) fn interval(&self, at: &Affine, dims: &[Dim]) -> Option<Interval> {
        let start = Interval::point(i128::from(at.constant));
        let terms = at.terms.iter().try_fold(start, |sum, &(var, stride)| {
            sum.extend(Dim { stride, count: self.get(var)? })
        })?;
        dims.iter().try_fold(terms, |sum, &dim| sum.extend(dim))
    }
}

/// What a statement does to a buffer: `at` plus the dimensions, loaded or stored.
#[derive(Debug)]
pub(super) struct Touch<'k> {
    pub(super) buffer: Buffer,
    pub(super) at: &'k Affine,
    pub(super) dims: [Dim; 2],
    pub(super) stores: bool,
    pub(super) by_tile: bool,
}

const NO_DIM: Dim = Dim { stride: 0, count: 1 };

/// Calls `visit` for every rectangle of a buffer that a statement itself (not a loop's body)
/// touches.
pub(super) fn touches<'k>(kernel: &Kernel, stmt: &'k Stmt, mut visit: impl FnMut(Touch<'k>)) {
    match stmt {
        Stmt::Let { reg, inst: Inst::Load { buffer, at } } => {
            visit(plain(kernel, *buffer, at, *reg, false));
        }
        Stmt::Let { .. } | Stmt::For(_) => {}
        Stmt::Store { buffer, at, value } => visit(plain(kernel, *buffer, at, *value, true)),
        Stmt::Tile(call) => tile_touches(call).into_iter().flatten().for_each(visit),
        // None without elements. That they are read as well adds nothing to storing them.
        Stmt::Apply(apply) if apply.count > 0 => {
            let elements = Dim { stride: 1, count: apply.count };
            let Apply { buffer, at, .. } = &**apply;
            visit(Touch {
                buffer: *buffer,
                at,
                dims: [elements, NO_DIM],
                stores: true,
                by_tile: false,
            });
        }
        Stmt::Apply(_) => {}
    }
}

fn plain<'k>(kernel: &Kernel, buffer: Buffer, at: &'k Affine, reg: Reg, stores: bool) -> Touch<'k> {
    let lanes = Dim { stride: 1, count: usize::from(kernel.reg_type(reg).lanes()) };
    Touch { buffer, at, dims: [lanes, NO_DIM], stores, by_tile: false }
}

/// The panels of a tile that are not empty: a block of depth zero has no operands.
fn tile_touches(call: &TileCall) -> [Option<Touch<'_>>; 3] {
    let (rows, cols) = (usize::from(call.rows), usize::from(call.cols));
    let panel = |panel: &'_ Panel, rows: usize, cols: usize| {
        [
            Dim { stride: panel.row_stride, count: rows },
            Dim { stride: panel.col_stride, count: cols },
        ]
    };
    let touch = |p, rows, cols, stores| touch_panel(p, panel(p, rows, cols), stores);
    let deep = call.depth > 0;
    [
        deep.then(|| touch(&call.a, rows, call.depth, false)),
        deep.then(|| touch(&call.b, call.depth, cols, false)),
        Some(touch(&call.c, rows, cols, true)),
    ]
}

fn touch_panel(panel: &Panel, dims: [Dim; 2], stores: bool) -> Touch<'_> {
    Touch { buffer: panel.buffer, at: &panel.at, dims, stores, by_tile: true }
}
