//! Pools: reductions over windows.

use std::panic::Location;

use kilngrad_ir::op::{Axes, CustomGradient, Op, ReduceOp};
use kilngrad_ir::{DType, Literal, Shape, Type};
use smallvec::SmallVec;

use super::spatial::{BEFORE, Geometry, IntoSpatial, Margin, Numbers, signed};
use crate::example::example;
use crate::region::RegionKind;
use crate::tensor::Tensor;

/// Options of [`Tensor::max_pool2d`], [`Tensor::avg_pool2d`] and their kin. What takes numbers for
/// spatial axes takes one `usize` for all of them or an array.
///
/// ```
/// # use kilngrad_builder::{Builder, F32, Mode, Pool};
/// # let b = Builder::new("pool");
/// # let e = b.entry("run", Mode::Eval);
/// let maps = e.input("maps", F32, (b.dim("n"), 16, 28, 28));
/// let halves = maps.max_pool2d(2, Pool::new());
/// assert_eq!(halves.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16,14,14]"));
/// let smooth = maps.avg_pool2d(3, Pool::new().stride(1).padding(1));
/// assert_eq!(smooth.ty(), maps.ty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    stride: Option<Numbers>,
    padding: Numbers,
    dilation: Numbers,
    ceil: bool,
    count_padding: bool,
    divisor: Option<usize>,
}

impl Default for Pool {
    fn default() -> Pool {
        let (padding, dilation) = (Numbers::All(0), Numbers::All(1));
        Pool { stride: None, padding, dilation, ceil: false, count_padding: true, divisor: None }
    }
}

impl Pool {
    /// Windows side by side, as many as fit.
    #[doc = example!(
        x.max_pool1d(2, Pool::new()) => array![[[2.0, 5.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    pub fn new() -> Pool {
        Pool::default()
    }

    /// Distance between neighbouring windows; as long as they are unless it is given.
    #[doc = example!(
        x.max_pool1d(2, Pool::new().stride(1)) => array![[[2.0, 3.0, 5.0, 5.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    #[must_use]
    pub fn stride(self, stride: impl IntoSpatial) -> Pool {
        Pool { stride: Some(stride.numbers()), ..self }
    }

    /// What is put on either side of each spatial axis: zeros, or in a maximum what is below every
    /// number; at most half as much as a window spans.
    #[doc = example!(
        x.max_pool1d(2, Pool::new().padding(1)) => array![[[1.0, 3.0, 5.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    #[must_use]
    pub fn padding(self, padding: impl IntoSpatial) -> Pool {
        Pool { padding: padding.numbers(), ..self }
    }

    /// Distance between elements that are neighbours in a window.
    #[doc = example!(
        x.max_pool1d(2, Pool::new().stride(1).dilation(2)) => array![[[3.0, 5.0, 4.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    #[must_use]
    pub fn dilation(self, dilation: impl IntoSpatial) -> Pool {
        Pool { dilation: dilation.numbers(), ..self }
    }

    /// Whether a last window that does not fit counts as well, if it begins before the padding behind
    /// the axis. Lengths have no symbols where the stride is not 1.
    #[doc = example!(
        x.max_pool1d(2, Pool::new().ceil(true)) => array![[[2.0, 5.0, 4.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    #[must_use]
    pub fn ceil(self, ceil: bool) -> Pool {
        Pool { ceil, ..self }
    }

    /// Whether averages count the padding as elements; they do unless told otherwise. What
    /// [`ceil`](Self::ceil) adds never counts.
    #[doc = example!(
        x.avg_pool1d(2, Pool::new().padding(1).count_padding(false)) => array![[[1.0, 2.5, 4.5]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    #[must_use]
    pub fn count_padding(self, count: bool) -> Pool {
        Pool { count_padding: count, ..self }
    }

    /// What sums are divided by, for averages, rather than the number of elements.
    #[doc = example!(
        x.avg_pool1d(2, Pool::new().divisor(1)) => array![[[3.0, 8.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 5.0, 4.0])
    )]
    #[must_use]
    pub fn divisor(self, divisor: usize) -> Pool {
        Pool { divisor: Some(divisor), ..self }
    }
}

macro_rules! pools {
    ($(
        $(#[$doc:meta])*
        $max:ident $avg:ident $adaptive_max:ident $adaptive_avg:ident $axes:literal $x:expr;
    )*) => {
        impl<'b> Tensor<'b> {$(
            /// The largest element of each window over
            $(#[$doc])*
            /// of samples `[n, channels, …]`; NaN if any is. The gradient goes to the first
            /// element, in row-major order of the window, that is the largest.
            #[doc = example!(x.$max(2, Pool::new()).sum(..) => 1.0; x = e.ones(F64, $x))]
            #[track_caller]
            #[must_use]
            pub fn $max(self, size: impl IntoSpatial, options: Pool) -> Tensor<'b> {
                self.max_pooled(stringify!($max), $axes, size.numbers(), options)
            }

            /// The mean of each window over
            $(#[$doc])*
            /// of samples `[n, channels, …]`, of floats.
            #[doc = example!(x.$avg(2, Pool::new()).sum(..) => 1.0; x = e.ones(F64, $x))]
            #[track_caller]
            #[must_use]
            pub fn $avg(self, size: impl IntoSpatial, options: Pool) -> Tensor<'b> {
                self.avg_pooled(stringify!($avg), $axes, size.numbers(), options)
            }

            /// The largest elements of so many windows over
            $(#[$doc])*
            /// of samples `[n, channels, …]`: window `i` of `count` is from `⌊i·length/count⌋` to
            /// below `⌈(i + 1)·length/count⌉`. Lengths have no symbols. The gradient is as that of
            #[doc = concat!("[`", stringify!($max), "`](Self::", stringify!($max), ").")]
            #[doc = example!(x.$adaptive_max(1).sum(..) => 1.0; x = e.ones(F64, $x))]
            #[track_caller]
            #[must_use]
            pub fn $adaptive_max(self, counts: impl IntoSpatial) -> Tensor<'b> {
                let name = stringify!($adaptive_max);
                self.adaptive(name, $axes, counts.numbers(), Pooling::Max)
            }

            /// The means of so many windows over
            $(#[$doc])*
            /// of samples `[n, channels, …]`, of floats. A count of 1 takes any length; otherwise
            /// the windows are those of
            #[doc = concat!("[`", stringify!($adaptive_max), "`](Self::", stringify!($adaptive_max), ").")]
            #[doc = example!(x.$adaptive_avg(1).sum(..) => 1.0; x = e.ones(F64, $x))]
            #[track_caller]
            #[must_use]
            pub fn $adaptive_avg(self, counts: impl IntoSpatial) -> Tensor<'b> {
                let name = stringify!($adaptive_avg);
                if !self.is_real(name) {
                    return self.entry.poisoned();
                }
                self.adaptive(name, $axes, counts.numbers(), Pooling::Mean)
            }
        )*}
    };
}

pools! {
    /// one axis
    max_pool1d avg_pool1d adaptive_max_pool1d adaptive_avg_pool1d 1 [1, 1, 3];
    /// two axes
    max_pool2d avg_pool2d adaptive_max_pool2d adaptive_avg_pool2d 2 [1, 1, 3, 3];
    /// three axes
    max_pool3d avg_pool3d adaptive_max_pool3d adaptive_avg_pool3d 3 [1, 1, 3, 3, 3];
}

/// What a pool makes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    Max,
    Mean,
}

/// Windows of a pool, and what lies around what they show.
struct Windows {
    geometry: Geometry,
    /// Padding that is asked for.
    padding: SmallVec<[usize; 3]>,
    /// What the last window needs behind that.
    beyond: SmallVec<[i64; 3]>,
}

impl Windows {
    fn margins(&self) -> Vec<Margin> {
        let pairs = self.padding.iter().zip(&self.beyond);
        pairs.map(|(pad, beyond)| (signed(*pad), signed(*pad) + beyond)).collect()
    }
}

impl<'b> Tensor<'b> {
    #[track_caller]
    fn max_pooled(self, name: &str, count: usize, size: Numbers, options: Pool) -> Tensor<'b> {
        let Some((ty, windows)) = self.ty().zip(self.pool_windows(count, size, options)) else {
            return self.entry.poisoned();
        };
        if ty.dtype == DType::Bool {
            let message = format!("expected numbers for {name}, found {ty}");
            return self.entry.fail_on("dtype_b3", message, &[self]);
        }
        let _scope = self.entry.enter(name);
        let lowest = match ty.dtype {
            DType::F32 | DType::F64 => Literal::from_f64(ty.dtype, f64::NEG_INFINITY),
            DType::I32 => Literal::from_i64(ty.dtype, i64::from(i32::MIN)),
            DType::I64 => Literal::from_i64(ty.dtype, i64::MIN),
            DType::U8 | DType::Bool => Literal::from_i64(ty.dtype, 0),
        };
        self.with_margins(&windows.margins(), lowest).max_of_windows(&windows.geometry)
    }

    #[track_caller]
    fn avg_pooled(self, name: &str, count: usize, size: Numbers, options: Pool) -> Tensor<'b> {
        if !self.is_real(name) {
            return self.entry.poisoned();
        }
        let Some((ty, windows)) = self.ty().zip(self.pool_windows(count, size, options)) else {
            return self.entry.poisoned();
        };
        if options.divisor == Some(0) {
            let message = "expected a divisor of at least 1, found 0";
            return self.entry.fail_on("pool_b3", message, &[self]);
        }
        let _scope = self.entry.enter(name);
        let zero = Literal::from_i64(ty.dtype, 0);
        let shown = self.with_margins(&windows.margins(), zero).view_windows(&windows.geometry);
        let sums = shown.reduce(ReduceOp::Sum, within(shown, count));
        if let Some(divisor) = options.divisor {
            return sums / sums.like(divisor as f64);
        }
        // A window has the same number of elements everywhere along an axis, or one of its own.
        let mut elements = 1;
        let mut divisor: Option<Tensor<'b>> = None;
        for at in 0..count {
            let padding = windows.padding[at];
            let even = windows.beyond[at] <= 0 && (padding == 0 || options.count_padding);
            if even {
                elements *= windows.geometry.sizes[at];
                continue;
            }
            let counts = self.elements_of_windows(&windows, at, options.count_padding);
            let counts = counts.along(sums, BEFORE + at);
            divisor = match divisor {
                Some(divisor) => Some(divisor * counts),
                None => Some(counts),
            };
        }
        let sums = if elements == 1 { sums } else { sums / sums.like(elements as f64) };
        match divisor {
            Some(divisor) => sums / divisor,
            None => sums,
        }
    }

    /// How many elements each window has along one spatial axis, in this tensor's dtype: the sum of
    /// ones over windows of ones and zeros, which is a constant once the length is known.
    #[track_caller]
    fn elements_of_windows(self, windows: &Windows, at: usize, count_padding: bool) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let length = ty.shape.dims()[BEFORE + at].clone();
        let one = Literal::from_i64(DType::I64, 1);
        let mut ones = self.entry.splat(one, Shape::new([length]));
        let (padding, beyond) = (signed(windows.padding[at]), windows.beyond[at]);
        ones = ones.with_margins(
            &[(padding, padding)],
            Literal::from_i64(DType::I64, i64::from(count_padding)),
        );
        ones = ones.with_margins(&[(0, beyond)], Literal::from_i64(DType::I64, 0));
        let shown = ones.view_windows(&windows.geometry.along(at));
        shown.reduce(ReduceOp::Sum, within(shown, 1)).cast_exactly(ty.dtype)
    }

    /// A vector along one axis of the shape of another tensor.
    #[track_caller]
    fn along(self, like: Tensor<'b>, axis: usize) -> Tensor<'b> {
        let Some((own, ty)) = self.ty().zip(like.ty()) else { return self.entry.poisoned() };
        let wide = Type::new(own.dtype, ty.shape);
        self.entry.emit(Op::Broadcast { dims: Axes::from_slice(&[axis]) }, &[self], &[wide])
    }

    /// The windows of a pool; `None` after an error.
    #[track_caller]
    fn pool_windows(self, count: usize, size: Numbers, options: Pool) -> Option<Windows> {
        if !self.has_spatial(count) {
            return None;
        }
        let ty = self.ty()?;
        let sizes = self.spatial("window", size, count, 1)?;
        let strides = self.spatial("stride", options.stride.unwrap_or(size), count, 1)?;
        let dilations = self.spatial("dilation", options.dilation, count, 1)?;
        let padding = self.spatial("padding", options.padding, count, 0)?;
        let geometry = Geometry { sizes, strides, dilations };
        if let Some(at) = (0..count).find(|at| signed(padding[*at]) > geometry.span(*at) / 2) {
            let message = format!(
                "expected a padding of at most half of what a window spans, found {} for {}",
                padding[at],
                geometry.span(at)
            );
            self.entry.fail_on("pool_b1", message, &[self]);
            return None;
        }
        let mut beyond = SmallVec::from_elem(0, count);
        for (at, length) in ty.shape.dims()[BEFORE..].iter().enumerate() {
            let (stride, span) = (signed(geometry.strides[at]), geometry.span(at));
            if !options.ceil || stride == 1 {
                continue;
            }
            let Some(length) = length.as_constant() else {
                let message = format!(
                    "expected a length without symbols to round up the number of windows, found \
                     axis {} of {ty}",
                    BEFORE + at
                );
                self.entry.fail_on("pool_b2", message, &[self]);
                return None;
            };
            let pad = signed(padding[at]);
            let room = length.saturating_add(2 * pad) - span;
            let mut last = (room + stride - 1).div_euclid(stride) * stride;
            // A window that begins in the padding behind the axis is none.
            if last >= length.saturating_add(pad) {
                last -= stride;
            }
            // Where not even the first one begins before the end there is nothing to round up.
            beyond[at] = if last < 0 { 0 } else { (last - room).max(0) };
        }
        let windows = Windows { geometry, padding, beyond };
        self.holds_windows(&windows.margins(), &windows.geometry).then_some(windows)
    }

    /// The largest element of each window, whose gradient goes to the first that is the largest.
    #[track_caller]
    pub(crate) fn max_of_windows(self, geometry: &Geometry) -> Tensor<'b> {
        let site = Location::caller();
        let shown = self.view_windows(geometry);
        let reduced = within(shown, geometry.sizes.len());
        let largest = shown.reduce(ReduceOp::Max, reduced);
        if !largest.ty().is_some_and(|ty| ty.dtype.is_float()) {
            return largest;
        }
        let (Some(own), Some(home)) = (self.ty(), self.entry.home(&[self, largest])) else {
            return self.entry.poisoned();
        };
        let way_back = home.begin_region(site, RegionKind::WayBack);
        let cotangent = way_back.stand_in(largest, site);
        let maximum = way_back.stand_in(largest, site);
        let x = way_back.stand_in_for(self, site);
        let first = x.first_in_windows(maximum, geometry);
        let share = first.select(first.spread_over(cotangent), 0.0);
        let gradient = share.fold_windows(geometry, own);
        let Some((backward, others)) = way_back.end_region([gradient]) else {
            return self.entry.poisoned();
        };
        let op = Op::CustomGradient(Box::new(CustomGradient { backward }));
        let operands: Vec<Tensor<'b>> = [&[largest, self], &others[..]].concat();
        home.emit(op, &operands, &[])
    }

    /// Where, of each window, the first element that is the maximum is; or the first NaN.
    #[track_caller]
    fn first_in_windows(self, maximum: Tensor<'b>, geometry: &Geometry) -> Tensor<'b> {
        let shown = self.view_windows(geometry);
        let Some(ty) = shown.ty() else { return shown };
        let count = geometry.sizes.len();
        let found = shown.eq(shown.spread_over(maximum)) | shown.ne(shown);
        // The place within the window in row-major order; a window is never so large.
        let mut place: Option<Tensor<'b>> = None;
        let mut stride = 1i64;
        for (at, size) in geometry.sizes.iter().enumerate().rev() {
            let axis = (ty.rank() - count + at) as isize;
            let index = self.entry.iota(DType::I32, &ty.shape, axis);
            let index = if stride == 1 { index } else { index * (stride as i32) };
            place = match place {
                Some(place) => Some(place + index),
                None => Some(index),
            };
            stride *= signed(*size);
        }
        let Some(place) = place else { return found };
        let none = self.entry.splat(Literal::from_i64(DType::I32, i64::from(i32::MAX)), ty.shape);
        let first = found.select(place, none).reduce(ReduceOp::Min, within(shown, count));
        place.eq(place.spread_over(first))
    }

    /// What each window has, at every element of the windows, which this tensor has the shape of.
    #[track_caller]
    fn spread_over(self, reduced: Tensor<'b>) -> Tensor<'b> {
        let Some((own, ty)) = self.ty().zip(reduced.ty()) else { return self.entry.poisoned() };
        let wide = Type::new(ty.dtype, own.shape);
        self.entry.emit(Op::Broadcast { dims: (0..ty.rank()).collect() }, &[reduced], &[wide])
    }

    /// As many windows along each axis as are asked for, of lengths that differ by one where they
    /// must.
    #[track_caller]
    fn adaptive(self, name: &str, count: usize, counts: Numbers, pooling: Pooling) -> Tensor<'b> {
        if !self.has_spatial(count) {
            return self.entry.poisoned();
        }
        let Some(counts) = self.spatial("count", counts, count, 1) else {
            return self.entry.poisoned();
        };
        let _scope = self.entry.enter(name);
        let (mut x, mut sizes) = (self, SmallVec::new());
        // What sums of windows are divided by: those of windows of other lengths are weighted.
        let mut elements = 1;
        for (at, &windows) in counts.iter().enumerate() {
            let Some(ty) = x.ty() else { return x };
            let length = ty.shape.dims()[BEFORE + at].as_constant();
            let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
                if windows != 1 || pooling != Pooling::Mean {
                    let message = format!(
                        "expected a length without symbols, found axis {} of {ty}",
                        BEFORE + at
                    );
                    return self.entry.fail_on("pool_b2", message, &[self]);
                }
                x = x.mean_keepdim((BEFORE + at) as isize);
                sizes.push(1);
                continue;
            };
            if length % windows == 0 {
                sizes.push(length / windows);
                elements *= length / windows;
            } else {
                let parts = Parts::new(length, windows);
                x = x.parts_apart(BEFORE + at, &parts, pooling);
                sizes.push(parts.longest);
            }
        }
        let dilations = SmallVec::from_elem(1, count);
        let geometry = Geometry { strides: sizes.clone(), sizes, dilations };
        match pooling {
            Pooling::Max => x.max_of_windows(&geometry),
            Pooling::Mean => {
                let shown = x.view_windows(&geometry);
                let sums = shown.reduce(ReduceOp::Sum, within(shown, count));
                if elements == 1 { sums } else { sums / sums.like(elements as f64) }
            }
        }
    }

    /// The parts of an axis one after the other, each as long as the longest: a shorter one is
    /// filled with its last element again, which changes no maximum, and which in a mean has no weight.
    #[track_caller]
    fn parts_apart(self, axis: usize, parts: &Parts, pooling: Pooling) -> Tensor<'b> {
        let entry = self.entry;
        let indices = entry.constant((parts.indices.len(),), &parts.indices);
        let apart = entry.emit(Op::Gather { axis }, &[self, indices], &[]);
        let Some(ty) = apart.ty().filter(|_| pooling == Pooling::Mean) else { return apart };
        let weights = entry.constant((parts.weights.len(),), &parts.weights);
        apart * weights.cast_exactly(ty.dtype).along(apart, axis)
    }
}

/// Parts of an axis, of lengths that differ.
struct Parts {
    longest: usize,
    /// For each part as many as the longest has.
    indices: Vec<i64>,
    /// Of each index in the mean of its part.
    weights: Vec<f64>,
}

impl Parts {
    fn new(length: usize, count: usize) -> Parts {
        let bounds = |part: usize| (part * length / count, ((part + 1) * length).div_ceil(count));
        let longest = (0..count).map(bounds).map(|(start, end)| end - start).max().unwrap_or(0);
        let (mut indices, mut weights) = (Vec::new(), Vec::new());
        for (start, end) in (0..count).map(bounds) {
            for index in start..start + longest {
                indices.push(index.min(end - 1) as i64);
                weights.push(if index < end { 1.0 / (end - start) as f64 } else { 0.0 });
            }
        }
        Parts { longest, indices, weights }
    }
}

/// The axes within windows: the last ones.
fn within(shown: Tensor<'_>, count: usize) -> Axes {
    let rank = shown.ty().map_or(count, |ty| ty.rank());
    (rank - count..rank).collect()
}
