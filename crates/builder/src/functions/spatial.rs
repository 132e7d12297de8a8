//! What convolutions, pools and resizing share: numbers for spatial axes, which are those behind
//! samples and channels, and windows along them.

use kilngrad_ir::op::{Op, PadAxis, SliceAxis, Window, Windows};
use kilngrad_ir::{Dim, Literal, Type};
use smallvec::SmallVec;

use crate::tensor::Tensor;

/// Axes that come before the spatial ones: samples and channels.
pub(crate) const BEFORE: usize = 2;

/// A number for each spatial axis: one `usize` for all of them, or an array
/// or slice.
///
/// ```
/// # use kilngrad_builder::{Builder, F32, Mode, Pool};
/// # let b = Builder::new("spatial");
/// # let e = b.entry("run", Mode::Eval);
/// let maps = e.input("maps", F32, (b.dim("n"), 1, 8, 8));
/// assert_eq!(maps.max_pool2d(2, Pool::new()).ty(), maps.max_pool2d([2, 2], Pool::new()).ty());
/// ```
pub trait IntoSpatial: sealed::Spatial {}

pub(crate) mod sealed {
    /// Numbers for spatial axes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Numbers {
        /// The same for every axis.
        All(usize),
        /// So many, the rest is 0.
        Each(usize, [usize; 3]),
    }

    pub trait Spatial {
        fn numbers(self) -> Numbers;
    }
}

pub(crate) use sealed::Numbers;

impl IntoSpatial for usize {}
impl sealed::Spatial for usize {
    fn numbers(self) -> Numbers {
        Numbers::All(self)
    }
}

macro_rules! arrays {
    ($($count:literal)*) => {$(
        impl IntoSpatial for [usize; $count] {}
        impl sealed::Spatial for [usize; $count] {
            fn numbers(self) -> Numbers {
                let mut numbers = [0; 3];
                numbers[..$count].copy_from_slice(&self);
                Numbers::Each($count, numbers)
            }
        }
    )*};
}

arrays! { 1 2 3 }

impl IntoSpatial for &[usize] {}
impl sealed::Spatial for &[usize] {
    fn numbers(self) -> Numbers {
        let mut numbers = [0; 3];
        // More than that are for no number of axes that there is.
        numbers.iter_mut().zip(self).for_each(|(number, own)| *number = *own);
        Numbers::Each(self.len(), numbers)
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Numbers::All(number) => write!(f, "{number}"),
            Numbers::Each(count, numbers) => {
                write!(f, "{:?}", &numbers[..numbers.len().min(*count)])
            }
        }
    }
}

/// A number that lengths are reckoned with; one that no memory holds may be any other such.
pub(crate) fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(i64::MAX / 8)
}

impl Numbers {
    /// The numbers for `count` axes; `None` if they are for another count.
    pub(crate) fn for_axes(self, count: usize) -> Option<SmallVec<[usize; 3]>> {
        match self {
            Numbers::All(number) => Some(SmallVec::from_elem(number, count)),
            Numbers::Each(own, numbers) => {
                (own == count).then(|| numbers.get(..count).unwrap_or_default().into())
            }
        }
    }
}

/// What is put before and behind an axis; what is negative is cut off instead.
pub(crate) type Margin = (i64, i64);

impl<'b> Tensor<'b> {
    /// Numbers for `count` spatial axes; `None` after an error.
    #[track_caller]
    pub(crate) fn spatial(
        self,
        what: &str,
        numbers: Numbers,
        count: usize,
        least: usize,
    ) -> Option<SmallVec<[usize; 3]>> {
        let Some(found) = numbers.for_axes(count) else {
            let message = format!("expected a {what} for {count} spatial axes, found {numbers}");
            self.entry.fail_on("spatial_b2", message, &[self]);
            return None;
        };
        if found.iter().any(|number| *number < least) {
            let message = format!("expected a {what} of at least {least}, found {found:?}");
            self.entry.fail_on("spatial_b3", message, &[self]);
            return None;
        }
        Some(found)
    }

    /// Whether there are samples, channels and `count` spatial axes; records an error where not.
    #[track_caller]
    pub(crate) fn has_spatial(self, count: usize) -> bool {
        let Some(ty) = self.ty() else { return false };
        if ty.rank() != BEFORE + count {
            let message = format!(
                "expected samples, channels and {count} spatial axes, which is {} axes, found {ty}",
                BEFORE + count
            );
            self.entry.fail_on("spatial_b1", message, &[self]);
        }
        ty.rank() == BEFORE + count
    }

    /// The tensor with a margin of one number around its spatial axes.
    #[track_caller]
    pub(crate) fn with_margins(self, margins: &[Margin], number: Literal) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let first = ty.rank() - margins.len();
        let mut padded = self;
        if margins.iter().any(|(low, high)| *low > 0 || *high > 0) {
            let whole = PadAxis { low: Dim::constant(0), high: Dim::constant(0), interior: 0 };
            let mut amounts: SmallVec<[PadAxis; 2]> = SmallVec::from_elem(whole, ty.rank());
            for (amount, (low, high)) in amounts[first..].iter_mut().zip(margins) {
                amount.low = Dim::constant((*low).max(0));
                amount.high = Dim::constant((*high).max(0));
            }
            let scalar = self.entry.splat(number, Type::scalar(ty.dtype).shape);
            padded = self.entry.emit(Op::Pad(amounts), &[self, scalar], &[]);
        }
        let Some(ty) = padded.ty() else { return padded };
        if margins.iter().all(|(low, high)| *low >= 0 && *high >= 0) {
            return padded;
        }
        let mut ranges: SmallVec<[SliceAxis; 2]> = SmallVec::new();
        for (axis, length) in ty.shape.dims().iter().enumerate() {
            let (low, high) = match axis.checked_sub(first) {
                Some(spatial) => margins[spatial],
                None => (0, 0),
            };
            let Some(limit) = length.checked_add(&Dim::constant(high.min(0))) else {
                let message = format!("expected a size that fits memory, found {ty}");
                return self.entry.fail_on("size_b1", message, &[self]);
            };
            ranges.push(SliceAxis { start: Dim::constant(-low.min(0)), limit, stride: 1 });
        }
        self.entry.emit(Op::Slice(ranges), &[padded], &[])
    }

    /// Whether windows fit the spatial axes with their margins, as far as that is known; says where
    /// they do not.
    #[track_caller]
    pub(crate) fn holds_windows(self, margins: &[Margin], geometry: &Geometry) -> bool {
        let Some(ty) = self.ty() else { return false };
        let first = ty.rank() - margins.len();
        for (at, (low, high)) in margins.iter().enumerate() {
            let Some(length) = ty.shape.dims()[first + at].as_constant() else { continue };
            let (padded, span) = (length.saturating_add(low + high), geometry.span(at));
            if span > padded {
                let message = format!(
                    "expected a window that axis {} of {ty} holds, {padded} long with its padding \
                     of {low} and {high}, found one of {} elements {} apart, which spans {span}",
                    first + at,
                    geometry.sizes[at],
                    geometry.dilations[at],
                );
                self.entry.fail_on("windows_c3", message, &[self]);
                return false;
            }
        }
        true
    }

    /// Every window along the last axes, the index within them behind all others.
    #[track_caller]
    pub(crate) fn view_windows(self, geometry: &Geometry) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let windows = geometry.windows(ty.rank() - geometry.sizes.len());
        self.entry.emit(Op::Windows(windows), &[self], &[])
    }

    /// The transpose of [`view_windows`](Self::view_windows): the sums of a tensor of type `ty`.
    #[track_caller]
    pub(crate) fn fold_windows(self, geometry: &Geometry, ty: Type) -> Tensor<'b> {
        let windows = geometry.windows(ty.rank() - geometry.sizes.len());
        self.entry.emit(Op::Fold(windows), &[self], &[ty])
    }
}

/// Windows along spatial axes.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    pub(crate) sizes: SmallVec<[usize; 3]>,
    pub(crate) strides: SmallVec<[usize; 3]>,
    pub(crate) dilations: SmallVec<[usize; 3]>,
}

impl Geometry {
    /// The windows, the first along axis `first`.
    pub(crate) fn windows(&self, first: usize) -> Windows {
        (0..self.sizes.len()).map(|at| self.window(at, first + at)).collect()
    }

    fn window(&self, at: usize, axis: usize) -> Window {
        let (size, stride, dilation) = (self.sizes[at], self.strides[at], self.dilations[at]);
        Window { axis, size, stride, dilation }
    }

    /// The windows of one axis alone.
    pub(crate) fn along(&self, at: usize) -> Geometry {
        let only = |numbers: &[usize]| SmallVec::from_elem(numbers[at], 1);
        Geometry {
            sizes: only(&self.sizes),
            strides: only(&self.strides),
            dilations: only(&self.dilations),
        }
    }

    /// How many indices a window reaches over along a spatial axis; huge where it is no number.
    pub(crate) fn span(&self, at: usize) -> i64 {
        self.window(at, 0).span().unwrap_or(i64::MAX).min(i64::MAX / 8)
    }
}
