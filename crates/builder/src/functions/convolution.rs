//! Convolutions: contractions of windows. A transposed one folds a contraction back.

use kilngrad_ir::op::{Axes, DotAxes, Op};
use kilngrad_ir::{Dim, Literal, Shape, Type};
use smallvec::SmallVec;

use super::spatial::{BEFORE, Geometry, IntoSpatial, Margin, Numbers, signed};
use crate::example::example;
use crate::operand::IntoTensor;
use crate::tensor::Tensor;

/// Options of [`Tensor::conv2d`] and its kin. What takes numbers for spatial axes takes one `usize`
/// for all of them or an array.
///
/// ```
/// # use kilngrad_builder::{Builder, Conv, F32, Mode};
/// # let b = Builder::new("convolution");
/// # let e = b.entry("run", Mode::Eval);
/// let images = e.input("images", F32, (b.dim("n"), 3, 28, 28));
/// let weight = e.input("weight", F32, (16, 3, 3, 3));
/// let maps = images.conv2d(weight, Conv::new().stride(2).padding(1));
/// assert_eq!(maps.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16,14,14]"));
/// let maps = images.conv2d(weight, Conv::new().same());
/// assert_eq!(maps.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16,28,28]"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    stride: Numbers,
    padding: Padding,
    dilation: Numbers,
    groups: usize,
}

/// Zeros around the spatial axes.
#[derive(Debug, Clone, Copy)]
enum Padding {
    /// So many on either side.
    Each(Numbers),
    /// As many as give `⌈length/stride⌉` windows.
    Same,
}

impl Default for Conv {
    fn default() -> Conv {
        let padding = Padding::Each(Numbers::All(0));
        Conv { stride: Numbers::All(1), padding, dilation: Numbers::All(1), groups: 1 }
    }
}

impl Conv {
    /// Every window that fits, one group of channels.
    #[doc = example!(
        x.conv1d(w, Conv::new()) => array![[[21.0, 32.0, 43.0, 54.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    pub fn new() -> Conv {
        Conv::default()
    }

    /// Distance between neighbouring windows.
    #[doc = example!(
        x.conv1d(w, Conv::new().stride(2)) => array![[[21.0, 43.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn stride(self, stride: impl IntoSpatial) -> Conv {
        Conv { stride: stride.numbers(), ..self }
    }

    /// Zeros on either side of each spatial axis.
    #[doc = example!(
        x.conv1d(w, Conv::new().padding(1)) => array![[[10.0, 21.0, 32.0, 43.0, 54.0, 5.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn padding(self, padding: impl IntoSpatial) -> Conv {
        Conv { padding: Padding::Each(padding.numbers()), ..self }
    }

    /// As many zeros as give `⌈length/stride⌉` windows; where their number is odd, one more behind
    /// than before. Where the stride is not 1, lengths have no symbols.
    #[doc = example!(
        x.conv1d(w, Conv::new().same()) => array![[[21.0, 32.0, 43.0, 54.0, 5.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn same(self) -> Conv {
        Conv { padding: Padding::Same, ..self }
    }

    /// Distance between elements that are neighbours in the kernel.
    #[doc = example!(
        x.conv1d(w, Conv::new().dilation(2)) => array![[[31.0, 42.0, 53.0]]];
        x = e.constant([1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn dilation(self, dilation: impl IntoSpatial) -> Conv {
        Conv { dilation: dilation.numbers(), ..self }
    }

    /// Channels in so many equal groups, each convolved with kernels of its own; as many groups as
    /// channels is a depthwise convolution.
    #[doc = example!(
        x.conv1d(w, Conv::new().groups(2)) => array![[[1.0, 2.0], [30.0, 40.0]]];
        x = e.constant([1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        w = e.constant([2, 1, 1], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn groups(self, groups: usize) -> Conv {
        Conv { groups, ..self }
    }

    pub(crate) fn group_count(self) -> usize {
        self.groups
    }
}

/// Options of [`Tensor::conv_transpose2d`] and its kin.
///
/// ```
/// # use kilngrad_builder::{Builder, ConvTranspose, F32, Mode};
/// # let b = Builder::new("convolution");
/// # let e = b.entry("run", Mode::Eval);
/// let maps = e.input("maps", F32, (b.dim("n"), 16, 7, 7));
/// let weight = e.input("weight", F32, (16, 3, 4, 4));
/// let images = maps.conv_transpose2d(weight, ConvTranspose::new().stride(2).padding(1));
/// assert_eq!(images.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,3,14,14]"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose {
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    dilation: Numbers,
    groups: usize,
}

impl Default for ConvTranspose {
    fn default() -> ConvTranspose {
        let [one, none] = [Numbers::All(1), Numbers::All(0)];
        ConvTranspose { stride: one, padding: none, output_padding: none, dilation: one, groups: 1 }
    }
}

impl ConvTranspose {
    /// The transpose of [`Conv::new`].
    #[doc = example!(
        x.conv_transpose1d(w, ConvTranspose::new()) => array![[[1.0, 12.0, 20.0]]];
        x = e.constant([1, 1, 2], &[1.0, 2.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    pub fn new() -> ConvTranspose {
        ConvTranspose::default()
    }

    /// Distance between what neighbouring elements are spread to.
    #[doc = example!(
        x.conv_transpose1d(w, ConvTranspose::new().stride(2)) => array![[[1.0, 10.0, 2.0, 20.0]]];
        x = e.constant([1, 1, 2], &[1.0, 2.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn stride(self, stride: impl IntoSpatial) -> ConvTranspose {
        ConvTranspose { stride: stride.numbers(), ..self }
    }

    /// What is cut off on either side of each spatial axis: the padding of the convolution that
    /// this is the transpose of.
    #[doc = example!(
        x.conv_transpose1d(w, ConvTranspose::new().padding(1)) => array![[[12.0]]];
        x = e.constant([1, 1, 2], &[1.0, 2.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn padding(self, padding: impl IntoSpatial) -> ConvTranspose {
        ConvTranspose { padding: padding.numbers(), ..self }
    }

    /// What is kept more behind each spatial axis: of several lengths that a convolution takes to one,
    /// it says which. It is less than the stride or the dilation.
    #[doc = example!(
        x.conv_transpose1d(w, ConvTranspose::new().stride(2).output_padding(1)) => array![[[1.0, 10.0, 2.0, 20.0, 0.0]]];
        x = e.constant([1, 1, 2], &[1.0, 2.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn output_padding(self, output_padding: impl IntoSpatial) -> ConvTranspose {
        ConvTranspose { output_padding: output_padding.numbers(), ..self }
    }

    /// Distance between elements that are neighbours in the kernel.
    #[doc = example!(
        x.conv_transpose1d(w, ConvTranspose::new().dilation(2)) => array![[[1.0, 2.0, 10.0, 20.0]]];
        x = e.constant([1, 1, 2], &[1.0, 2.0]); w = e.constant([1, 1, 2], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn dilation(self, dilation: impl IntoSpatial) -> ConvTranspose {
        ConvTranspose { dilation: dilation.numbers(), ..self }
    }

    /// Channels in so many equal groups, each with kernels of its own.
    #[doc = example!(
        x.conv_transpose1d(w, ConvTranspose::new().groups(2)) => array![[[1.0, 2.0], [30.0, 40.0]]];
        x = e.constant([1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        w = e.constant([2, 1, 1], &[1.0, 10.0])
    )]
    #[must_use]
    pub fn groups(self, groups: usize) -> ConvTranspose {
        ConvTranspose { groups, ..self }
    }

    pub(crate) fn group_count(self) -> usize {
        self.groups
    }
}

macro_rules! convolutions {
    ($(
        $(#[$doc:meta])*
        $conv:ident $transpose:ident $axes:literal $kernel:literal $x:expr, $w:expr, $sums:expr;
    )*) => {
        impl<'b> Tensor<'b> {$(
            /// Convolution over
            $(#[$doc])*
            /// of samples `[n, channels, …]` with kernels
            #[doc = concat!("`[outputs, channels/groups, ", $kernel, "]`:")]
            /// each output is the sum of products of a kernel, which is not reversed, with the
            /// elements of a window. The result is `[n, outputs, …]`; see [`Conv`] for its lengths.
            #[doc = example!(
                x.$conv(w, Conv::new()).sum(..) => $sums[0];
                x = e.ones(F64, $x);
                w = e.ones(F64, $w)
            )]
            #[track_caller]
            #[must_use]
            pub fn $conv(self, weight: impl IntoTensor<'b>, options: Conv) -> Tensor<'b> {
                self.convolved(stringify!($conv), $axes, weight, options)
            }

            /// Transposed convolution over
            $(#[$doc])*
            /// of samples `[n, channels, …]` with kernels
            #[doc = concat!("`[channels, outputs/groups, ", $kernel, "]`:")]
            /// each element spreads its kernel times itself over a window. A length becomes
            /// `(length − 1)·stride + dilation·(size − 1) + 1 − 2·padding + output_padding`.
            #[doc = example!(
                x.$transpose(w, ConvTranspose::new()).sum(..) => $sums[1];
                x = e.ones(F64, $x);
                w = e.ones(F64, $w)
            )]
            #[track_caller]
            #[must_use]
            pub fn $transpose(
                self,
                weight: impl IntoTensor<'b>,
                options: ConvTranspose,
            ) -> Tensor<'b> {
                self.conv_transposed(stringify!($transpose), $axes, weight, options)
            }
        )*}
    };
}

convolutions! {
    /// one axis
    conv1d conv_transpose1d 1 "l" [1, 1, 3], [1, 1, 2], [4.0, 6.0];
    /// two axes
    conv2d conv_transpose2d 2 "h, w" [1, 1, 3, 3], [1, 1, 2, 2], [16.0, 36.0];
    /// three axes
    conv3d conv_transpose3d 3 "d, h, w" [1, 1, 3, 3, 3], [1, 1, 2, 2, 2], [64.0, 216.0];
}

impl<'b> Tensor<'b> {
    /// The windows that [`conv2d`](Self::conv2d) with kernels of this size multiplies, as columns:
    /// `[n, channels·size, windows]`, each window in row-major order of channel and place. The
    /// options' groups count for nothing.
    #[doc = example!(
        x.unfold2d(2, Conv::new()) => array![[[1.0, 2.0], [2.0, 3.0], [4.0, 5.0], [5.0, 6.0]]];
        x = e.constant([1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    )]
    #[track_caller]
    #[must_use]
    pub fn unfold2d(self, size: impl IntoSpatial, options: Conv) -> Tensor<'b> {
        let failed = self.entry.poisoned();
        if !self.has_spatial(2) {
            return failed;
        }
        let Some(sizes) = self.spatial("size", size.numbers(), 2, 1) else { return failed };
        let strides = self.spatial("stride", options.stride, 2, 1);
        let dilations = self.spatial("dilation", options.dilation, 2, 1);
        let Some((strides, dilations)) = strides.zip(dilations) else { return failed };
        let geometry = Geometry { sizes, strides, dilations };
        let Some(margins) = self.conv_margins(options.padding, &geometry) else { return failed };
        let Some(ty) = self.ty() else { return failed };
        let _scope = self.entry.enter("unfold2d");
        let zero = Literal::from_i64(ty.dtype, 0);
        let windows = self.with_margins(&margins, zero).view_windows(&geometry);
        windows.transpose([0, 1, 4, 5, 2, 3]).flatten(1, 3).flatten(2, 3)
    }
}

/// The channels of a convolution, a group of them.
struct Channels {
    groups: Dim,
    /// Of the tensor.
    own: Dim,
    /// First and second axis of a group's kernels.
    kernel: [Dim; 2],
}

impl<'b> Tensor<'b> {
    #[track_caller]
    fn convolved(
        self,
        name: &str,
        count: usize,
        weight: impl IntoTensor<'b>,
        options: Conv,
    ) -> Tensor<'b> {
        let weight = self.entry.adopt(weight);
        let failed = self.entry.poisoned();
        let Some(sizes) = self.kernel_sizes(weight, count) else { return failed };
        let strides = self.spatial("stride", options.stride, count, 1);
        let dilations = self.spatial("dilation", options.dilation, count, 1);
        let Some((strides, dilations)) = strides.zip(dilations) else { return failed };
        let geometry = Geometry { sizes, strides, dilations };
        let Some(channels) = self.channels(weight, options.groups, 1) else { return failed };
        let Some(margins) = self.conv_margins(options.padding, &geometry) else { return failed };
        let Some(dtype) = self.ty().map(|ty| ty.dtype) else { return failed };
        if !self.holds_windows(&margins, &geometry) {
            return failed;
        }
        let _scope = self.entry.enter(name);
        let padded = self.with_margins(&margins, Literal::from_i64(dtype, 0));
        if options.groups == 1 {
            // Kernels first, so that neighbouring windows are neighbours in the result.
            let windows = padded.view_windows(&geometry);
            let kernel = 1..BEFORE + count;
            let window = [1].into_iter().chain(BEFORE + count..BEFORE + 2 * count);
            let axes = contracted(kernel.collect(), window.collect());
            let sums = self.entry.emit(Op::Dot(axes), &[weight, windows], &[]);
            return sums.swap_axes(0, 1);
        }
        let windows = padded.grouped(1, &channels.groups, &channels.own).view_windows(&geometry);
        let weight = weight.grouped(0, &channels.groups, &channels.kernel[0]);
        let kernel = BEFORE..BEFORE + 1 + count;
        let window = [BEFORE].into_iter().chain(BEFORE + 1 + count..BEFORE + 1 + 2 * count);
        let axes = DotAxes {
            lhs_batch: Axes::from_slice(&[0]),
            rhs_batch: Axes::from_slice(&[1]),
            ..contracted(kernel.collect(), window.collect())
        };
        // Groups, outputs of a group, samples, windows.
        let sums = self.entry.emit(Op::Dot(axes), &[weight, windows], &[]);
        let order: Vec<isize> = [2, 0, 1].into_iter().chain(3..3 + count as isize).collect();
        sums.transpose(&order[..]).joined(1)
    }

    #[track_caller]
    fn conv_transposed(
        self,
        name: &str,
        count: usize,
        weight: impl IntoTensor<'b>,
        options: ConvTranspose,
    ) -> Tensor<'b> {
        let weight = self.entry.adopt(weight);
        let failed = self.entry.poisoned();
        let Some(sizes) = self.kernel_sizes(weight, count) else { return failed };
        let strides = self.spatial("stride", options.stride, count, 1);
        let dilations = self.spatial("dilation", options.dilation, count, 1);
        let Some((strides, dilations)) = strides.zip(dilations) else { return failed };
        let geometry = Geometry { sizes, strides, dilations };
        let Some(channels) = self.channels(weight, options.groups, 0) else { return failed };
        let Some(margins) = self.transpose_margins(&options, &geometry) else { return failed };
        let Some(ty) = self.ty() else { return failed };
        let _scope = self.entry.enter(name);
        let x = self.grouped(1, &channels.groups, &channels.own);
        let kernels = weight.grouped(0, &channels.groups, &channels.kernel[0]);
        let axes = DotAxes {
            lhs_batch: Axes::from_slice(&[0]),
            rhs_batch: Axes::from_slice(&[1]),
            ..contracted(Axes::from_slice(&[1]), Axes::from_slice(&[BEFORE]))
        };
        // Groups, outputs of a group, kernel, samples, lengths.
        let spread = self.entry.emit(Op::Dot(axes), &[kernels, x], &[]);
        let (samples, lengths) = (2 + count, 3 + count);
        let order = [samples, 0, 1].into_iter().chain(lengths..lengths + count).chain(2..samples);
        let order: Vec<isize> = order.map(|axis| axis as isize).collect();
        let spread = spread.transpose(&order[..]);
        let full = |(at, length): (usize, &Dim)| {
            let stride = Dim::constant(i64::try_from(geometry.strides[at]).ok()?);
            let rest = geometry.span(at).checked_sub(stride.as_constant()?)?;
            length.checked_mul(&stride)?.checked_add(&Dim::constant(rest))
        };
        let lengths = ty.shape.dims()[BEFORE..].iter().enumerate();
        let Some(lengths) = lengths.map(full).collect::<Option<Vec<Dim>>>() else {
            let message = format!("expected a size that fits memory, found {ty} spread");
            return self.entry.fail_on("size_b1", message, &[self]);
        };
        let [samples, outputs] = [&ty.shape.dims()[0], &channels.kernel[1]];
        let before = [samples.clone(), channels.groups.clone(), outputs.clone()];
        let sums = Type::new(ty.dtype, before.into_iter().chain(lengths).collect());
        let sums = spread.fold_windows(&geometry, sums).joined(1);
        sums.with_margins(&margins, Literal::from_i64(ty.dtype, 0))
    }

    /// The spatial lengths of kernels for this tensor; `None` after an error.
    #[track_caller]
    fn kernel_sizes(self, weight: Tensor<'b>, count: usize) -> Option<SmallVec<[usize; 3]>> {
        let ty = self.ty().and(weight.ty())?;
        self.entry.home(&[self, weight])?;
        if !self.same_dtype(&[weight]) || !self.has_spatial(count) {
            return None;
        }
        let sizes = ty.shape.dims().get(BEFORE..).unwrap_or_default();
        let sizes: Option<SmallVec<[usize; 3]>> =
            sizes.iter().map(|size| usize::try_from(size.as_constant()?).ok()).collect();
        let sizes = sizes.filter(|sizes| sizes.len() == count && !sizes.contains(&0));
        if sizes.is_none() {
            let message = format!(
                "expected kernels of two axes of channels and {count} spatial ones, not empty and \
                 without symbols, found {ty}"
            );
            self.entry.fail_on("conv_b1", message, &[self, weight]);
        }
        sizes
    }

    /// Channels in groups, where `axis` of the kernels has this tensor's of one group (1), or of all
    /// groups (0), and the other axis the outputs likewise. `None` after an error.
    #[track_caller]
    fn channels(self, weight: Tensor<'b>, groups: usize, axis: usize) -> Option<Channels> {
        let (own, kernels) = self.ty().zip(weight.ty())?;
        let count = i64::try_from(groups).unwrap_or(i64::MAX);
        let channels = &own.shape.dims()[1];
        let [first, second] = [0, 1].map(|axis| kernels.shape.dims()[axis].clone());
        let parts = channels.exact_div(count).zip(first.exact_div(count));
        let parts = parts.filter(|(own, first)| *own == [first, &second][axis].clone());
        let Some((own, first)) = parts else {
            let divides = [channels, &first].map(|length| length.exact_div(count).is_some());
            let message = match axis {
                _ if divides != [true; 2] => format!(
                    "expected channels and kernels that {groups} groups divide, found {channels} \
                     channels in {own} and {first} kernels in {kernels}"
                ),
                1 => format!(
                    "expected {second} channels for each of {groups} groups, which is what the \
                     kernels {kernels} take, found {channels} channels in {own}"
                ),
                _ => format!(
                    "expected a kernel for each channel, found {channels} channels in {own} and \
                     {first} kernels in {kernels}"
                ),
            };
            self.entry.fail_on("conv_b2", message, &[self, weight]);
            return None;
        };
        Some(Channels { groups: Dim::constant(count), own, kernel: [first, second] })
    }

    /// An axis as two: groups, and what is in each.
    #[track_caller]
    fn grouped(self, axis: usize, groups: &Dim, within: &Dim) -> Tensor<'b> {
        let Some(ty) = self.ty() else { return self };
        let mut dims = ty.shape.dims().to_vec();
        dims.splice(axis..=axis, [groups.clone(), within.clone()]);
        self.reshape(Shape::new(dims))
    }

    /// An axis and the one behind it as one.
    #[track_caller]
    fn joined(self, axis: isize) -> Tensor<'b> {
        self.flatten(axis, axis + 1)
    }

    /// Zeros around a convolution's spatial axes; `None` after an error.
    #[track_caller]
    fn conv_margins(self, padding: Padding, geometry: &Geometry) -> Option<Vec<Margin>> {
        let count = geometry.sizes.len();
        if let Padding::Each(padding) = padding {
            let padding = self.spatial("padding", padding, count, 0)?;
            return Some(padding.iter().map(|zeros| (signed(*zeros), signed(*zeros))).collect());
        }
        let ty = self.ty()?;
        let mut margins = Vec::with_capacity(count);
        for (at, length) in ty.shape.dims()[BEFORE..].iter().enumerate() {
            let (stride, span) = (signed(geometry.strides[at]), geometry.span(at));
            let total = match (stride, length.as_constant()) {
                (1, _) => span - 1,
                (_, Some(length)) => {
                    let last = (length.saturating_add(stride - 1) / stride - 1) * stride;
                    (last.saturating_add(span) - length).max(0)
                }
                (_, None) => {
                    let message = format!(
                        "expected a length without symbols to pad for a stride of {stride}, found \
                         axis {} of {ty}",
                        BEFORE + at
                    );
                    self.entry.fail_on("conv_b3", message, &[self]);
                    return None;
                }
            };
            margins.push((total / 2, total - total / 2));
        }
        Some(margins)
    }

    /// What a transposed convolution cuts off and keeps more; `None` after an error.
    #[track_caller]
    fn transpose_margins(
        self,
        options: &ConvTranspose,
        geometry: &Geometry,
    ) -> Option<Vec<Margin>> {
        let count = geometry.sizes.len();
        let padding = self.spatial("padding", options.padding, count, 0)?;
        let more = self.spatial("output padding", options.output_padding, count, 0)?;
        let fits = |at: usize| more[at] < geometry.strides[at].max(geometry.dilations[at]);
        if !(0..count).all(fits) {
            let message = format!(
                "expected an output padding of less than the stride or the dilation, found {more:?}"
            );
            self.entry.fail_on("conv_b4", message, &[self]);
            return None;
        }
        let pairs = padding.iter().zip(&more);
        Some(pairs.map(|(cut, more)| (-signed(*cut), signed(*more) - signed(*cut))).collect())
    }
}

fn contracted(lhs: Axes, rhs: Axes) -> DotAxes {
    DotAxes { lhs_contract: lhs, rhs_contract: rhs, ..DotAxes::default() }
}
