//! Rearrangements: tensors put together of parts of a tensor.

use kilngrad_ir::op::Op;
use kilngrad_ir::{DType, Dim, Literal, Shape};

use crate::example::example;
use crate::ops::IntoAxes;
use crate::tensor::Tensor;

/// What stands beyond the ends of an axis, in the words of PyTorch's `pad`.
#[doc = example!(
    x.pad_with(0, 2, 1, PadMode::Reflect) => vec![3.0, 2.0, 1.0, 2.0, 3.0, 2.0];
    x = e.constant([3], &[1.0, 2.0, 3.0])
)]
#[doc = example!(
    x.pad_with(0, 2, 1, PadMode::Circular) => vec![2.0, 3.0, 1.0, 2.0, 3.0, 1.0];
    x = e.constant([3], &[1.0, 2.0, 3.0])
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    /// The elements mirrored at the outermost ones, which are not repeated: `3 2 | 1 2 3 | 2 1`.
    Reflect,
    /// The outermost elements: `1 1 | 1 2 3 | 3 3`.
    Replicate,
    /// The elements of the other end: `2 3 | 1 2 3 | 1 2`.
    Circular,
}

impl<'b> Tensor<'b> {
    /// The tensor with `low` elements of its own before an axis's first and `high` after its last.
    /// [`Reflect`](PadMode::Reflect) takes fewer than the axis has, and
    /// [`Circular`](PadMode::Circular) no more.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Mode, PadMode};
    /// # let b = Builder::new("pad");
    /// # let e = b.entry("run", Mode::Eval);
    /// let image = e.input("image", F32, (b.dim("n"), 3, 28, 28));
    /// let wide = image.pad_with(-1, 1, 1, PadMode::Reflect).pad_with(-2, 1, 1, PadMode::Reflect);
    /// assert_eq!(wide.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,3,30,30]"));
    /// ```
    #[doc = example!(
        x.pad_with(-1, 2, 1, PadMode::Replicate) => array![[1.0, 1.0, 1.0, 2.0, 2.0]];
        x = e.constant([1, 2], &[1.0, 2.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn pad_with(self, axis: isize, low: usize, high: usize, mode: PadMode) -> Tensor<'b> {
        let Some((ty, from_first)) = self.ty().zip(self.axis(axis)) else {
            return self.entry.poisoned();
        };
        if low == 0 && high == 0 {
            return self;
        }
        let most = low.max(high);
        let needed = match mode {
            PadMode::Reflect => most.saturating_add(1),
            PadMode::Replicate => 1,
            PadMode::Circular => most,
        };
        let length = ty.shape.dims()[from_first].as_constant();
        if length.is_some_and(|length| i64::try_from(needed).map_or(true, |least| length < least)) {
            let message = format!(
                "expected axis {from_first} of at least {needed} elements to pad it by {low} and \
                 {high}, found {ty}"
            );
            return self.entry.fail_on("shape_b1", message, &[self]);
        }
        let _scope = self.entry.enter("pad");
        let (before, after) = (low as isize, high as isize);
        let mut parts = Vec::new();
        match mode {
            PadMode::Reflect => {
                for index in (1..=before).rev() {
                    parts.push(self.slice(axis, index..index + 1));
                }
                parts.push(self);
                for index in 2..after + 2 {
                    parts.push(self.slice(axis, -index..1 - index));
                }
            }
            PadMode::Replicate => {
                // One broadcast, however wide the margin is.
                let wide = |count: usize| {
                    let mut dims = ty.shape.dims().to_vec();
                    dims[from_first] = Dim::constant(i64::try_from(count).unwrap_or(i64::MAX));
                    dims.iter().collect::<Shape>()
                };
                if low > 0 {
                    parts.push(self.slice(axis, ..1).stretch(&wide(low)));
                }
                parts.push(self);
                if high > 0 {
                    parts.push(self.slice(axis, -1..).stretch(&wide(high)));
                }
            }
            PadMode::Circular => {
                if low > 0 {
                    parts.push(self.slice(axis, -before..));
                }
                parts.push(self);
                if high > 0 {
                    parts.push(self.slice(axis, ..after));
                }
            }
        }
        self.entry.cat(parts, axis)
    }

    /// The elements along these axes in the opposite order. A length that is a symbol is not bound
    /// to 0.
    #[doc = example!(
        x.flip(-1) => array![[2.0, 1.0], [4.0, 3.0]];
        x = e.constant([2, 2], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn flip(self, axes: impl IntoAxes) -> Tensor<'b> {
        let Some((ty, axes)) = self.ty().zip(self.axes(axes)) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter("flip");
        let mut flipped = self;
        for axis in axes {
            let length: Shape = ty.shape.dims()[axis..=axis].iter().collect();
            if length.dims()[0].as_constant().is_some_and(|length| length <= 1) {
                continue;
            }
            let index = self.entry.iota(DType::I64, &length, 0);
            let one = self.entry.splat(Literal::from_i64(DType::I64, 1), length);
            let last = self.count(&[axis], index, 0) - one;
            // Every index is one of the axis, so there is nothing to check.
            flipped = self.entry.emit(Op::Gather { axis }, &[flipped, last - index], &[]);
        }
        flipped
    }

    /// The elements on a diagonal of two axes, whose lengths have no symbols, along a new last
    /// axis; the two disappear. Diagonal 0 is the main one, 1 the one above it.
    #[doc = example!(
        x.diagonal(1, 0, 1) => vec![2.0, 6.0];
        x = e.constant([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn diagonal(self, diagonal: i64, rows: isize, columns: isize) -> Tensor<'b> {
        let (Some(ty), Some(rows), Some(columns)) =
            (self.ty(), self.axis(rows), self.axis(columns))
        else {
            return self.entry.poisoned();
        };
        let lengths = [rows, columns].map(|axis| ty.shape.dims()[axis].as_constant());
        let ([Some(height), Some(width)], true) = (lengths, rows != columns) else {
            let message = format!(
                "expected two axes without symbols, found axes {rows} and {columns} of {ty}"
            );
            return self.entry.fail_on("shape_b1", message, &[self]);
        };
        let _scope = self.entry.enter("diagonal");
        let others: Vec<usize> =
            (0..ty.rank()).filter(|axis| ![rows, columns].contains(axis)).collect();
        let order: Vec<isize> =
            others.iter().chain(&[rows, columns]).map(|axis| *axis as isize).collect();
        let mut shape: Vec<Dim> =
            others.iter().map(|axis| ty.shape.dims()[*axis].clone()).collect();
        shape.push(Dim::constant(height.saturating_mul(width)));
        let flat = self.transpose(&order[..]).reshape(shape);
        // In a matrix as a row, neighbours on a diagonal are a row and an element apart.
        let (start, count) = match diagonal {
            0.. => (diagonal, height.min(width.saturating_sub(diagonal))),
            ..0 => {
                let below = diagonal.saturating_neg();
                (below.saturating_mul(width), width.min(height.saturating_sub(below)))
            }
        };
        if count <= 0 {
            return flat.slice(-1, ..0);
        }
        let last = start + (count - 1) * (width + 1);
        flat.slice_step(-1, start as isize..last as isize + 1, width as usize + 1)
    }

    /// Channels become resolution: `[…, c·r², h, w]` as `[…, c, h·r, w·r]`, where channel
    /// `c·r² + i·r + j` gives the pixels at `(i, j)` of each square of `r` by `r`. Shi and others,
    /// "Real-Time Single Image and Video Super-Resolution" (2016).
    #[doc = example!(
        x.pixel_shuffle(2) => array![[[1.0, 2.0], [3.0, 4.0]]];
        x = e.constant([4, 1, 1], &[1.0, 2.0, 3.0, 4.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn pixel_shuffle(self, factor: usize) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let side = i64::try_from(factor).unwrap_or(i64::MAX);
        let dims = ty.shape.dims();
        let channels = dims.len().checked_sub(3).and_then(|axis| {
            let channels = dims[axis].exact_div(side.checked_mul(side)?)?;
            Some((axis, channels))
        });
        let Some((axis, channels)) = channels else {
            let message = format!(
                "expected three axes or more, the third from the last a multiple of {factor}², \
                 found {ty}"
            );
            return self.entry.fail_on("shape_b1", message, &[self]);
        };
        let _scope = self.entry.enter("pixel_shuffle");
        let (height, width, side) = (&dims[axis + 1], &dims[axis + 2], Dim::constant(side));
        let before = || dims[..axis].iter().cloned();
        let apart = [channels.clone(), side.clone(), side.clone(), height.clone(), width.clone()];
        let apart: Shape = before().chain(apart).collect();
        let order: Vec<isize> = (0..axis)
            .chain([0, 3, 1, 4, 2].map(|place| axis + place))
            .map(|axis| axis as isize)
            .collect();
        let sides = height.checked_mul(&side).zip(width.checked_mul(&side));
        let Some((height, width)) = sides else {
            let message = format!("expected a size that fits memory, found {ty} by {factor}");
            return self.entry.fail_on("size_b1", message, &[self]);
        };
        let joined: Shape = before().chain([channels, height, width]).collect();
        self.reshape(apart).transpose(&order[..]).reshape(joined)
    }
}
