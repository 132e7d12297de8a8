//! Lengths and shapes as a user writes them.
//!
//! A [`Length`] is a `Copy` handle of a polynomial that the builder keeps, so `n * 2 + 1` can be
//! written without clones. Shapes are tuples, arrays, slices or vectors of lengths.

use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::panic::Location;

use kilngrad_ir::{Diagnostic, Dim, Shape, Site};
use smallvec::SmallVec;

use crate::builder::{Builder, BuilderId};
use crate::example::example;

/// A length that may be unknown until data is fed: a symbol, or a polynomial over symbols.
///
/// ```
/// # use kilngrad_builder::{Builder, F32, Mode};
/// let b = Builder::new("lengths");
/// let n = b.dim("n");
/// let e = b.entry("run", Mode::Eval);
/// let x = e.zeros(F32, (n * 2 + 1, 64));
/// assert_eq!(x.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[2*n + 1,64]"));
/// ```
#[derive(Clone, Copy)]
pub struct Length<'b> {
    builder: &'b Builder,
    /// Index into the builder's table; `None` where computing the length failed.
    index: Option<u32>,
}

/// What a shape is made of: `usize`, [`Length`] or [`Dim`].
#[doc = example!(
    e.cat([e.arange(I64, n), e.arange(I64, 1)], 0) => vec![0i64, 1, 0];
    n = e.zeros(F32, (2,)).length(0)
)]
pub trait IntoLength: sealed::Length {}

/// What a shape is written as: a tuple, array, slice or vector of lengths, or a [`Shape`].
#[doc = example!(
    e.zeros(F64, (n, 1)) + e.zeros(F64, [1, 2]) => array![[0.0, 0.0]];
    n = e.zeros(F64, (1,)).length(0)
)]
pub trait IntoShape: sealed::Shape {}

pub(crate) mod sealed {
    use kilngrad_ir::Dim;
    use smallvec::SmallVec;

    use crate::builder::BuilderId;

    /// A length on its way into a builder.
    #[derive(Debug, Clone)]
    pub struct Resolved {
        /// `None` where an earlier call failed.
        pub(crate) dim: Option<Dim>,
        /// The builder that it belongs to; `None` for numbers.
        pub(crate) owner: Option<BuilderId>,
    }

    pub trait Length: Sized {
        fn resolve(self) -> Resolved;
    }

    pub trait Shape {
        fn resolve(self) -> SmallVec<[Resolved; 4]>;
    }
}

use sealed::Resolved;

impl<'b> Length<'b> {
    pub(crate) fn new(builder: &'b Builder, dim: Option<Dim>) -> Length<'b> {
        let index = dim.map(|dim| builder.inner.borrow_mut().lengths.intern(dim));
        Length { builder, index }
    }

    /// The polynomial; `None` where a call that this length comes from has failed.
    ///
    /// ```
    /// use kilngrad_builder::Builder;
    ///
    /// let b = Builder::new("lengths");
    /// let doubled = b.dim("n") + b.dim("n");
    /// assert_eq!(doubled.dim().expect("nothing failed").to_string(), "2*n");
    /// ```
    pub fn dim(self) -> Option<Dim> {
        let inner = self.builder.inner.borrow();
        self.index.map(|index| inner.lengths.get(index).clone())
    }

    /// The length divided by `divisor`, which must divide every coefficient: the half of `2*n` is
    /// `n`, and that of `n` is an error.
    ///
    /// ```
    /// use kilngrad_builder::Builder;
    ///
    /// let b = Builder::new("lengths");
    /// let half = (b.dim("n") * 2 + 4).exact_div(2);
    /// assert_eq!(half.dim().expect("nothing failed").to_string(), "n + 2");
    /// ```
    #[track_caller]
    pub fn exact_div(self, divisor: usize) -> Length<'b> {
        let site = Location::caller();
        self.combine(
            divisor,
            site,
            |lhs, rhs| lhs.exact_div(rhs.as_constant()?),
            |lhs, rhs| format!("expected a length that {rhs} divides, found {lhs}"),
        )
    }

    fn combine(
        self,
        other: impl IntoLength,
        site: &'static Location<'static>,
        compute: impl FnOnce(&Dim, &Dim) -> Option<Dim>,
        message: impl FnOnce(&Dim, &Dim) -> String,
    ) -> Length<'b> {
        let dims = self.dim().zip(self.builder.resolve_length(other.resolve(), site));
        let dim = dims.and_then(|(lhs, rhs)| {
            let dim = compute(&lhs, &rhs);
            if dim.is_none() {
                self.builder.report(
                    Diagnostic::new("length_b2", message(&lhs, &rhs)).at(Site::caller(site)),
                );
            }
            dim
        });
        Length::new(self.builder, dim)
    }
}

impl fmt::Debug for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dim() {
            Some(dim) => write!(f, "Length({dim})"),
            None => f.write_str("Length(failed)"),
        }
    }
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident $name:literal $compute:expr;)*) => {$(
        impl<'b, R: IntoLength> $trait<R> for Length<'b> {
            type Output = Length<'b>;
            #[track_caller]
            fn $method(self, other: R) -> Length<'b> {
                self.combine(other, Location::caller(), $compute, |lhs, rhs| {
                    format!("expected a {} that fits 64 bits, found that of {lhs} and {rhs}", $name)
                })
            }
        }

        impl<'b> $trait<Length<'b>> for usize {
            type Output = Length<'b>;
            #[track_caller]
            fn $method(self, other: Length<'b>) -> Length<'b> {
                let site = Location::caller();
                let dim = other.builder.resolve_length(sealed::Length::resolve(self), site);
                let this = Length::new(other.builder, dim);
                this.combine(other, site, $compute, |lhs, rhs| {
                    format!("expected a {} that fits 64 bits, found that of {lhs} and {rhs}", $name)
                })
            }
        }
    )*};
}

arithmetic! {
    Add add "sum" Dim::checked_add;
    Sub sub "difference" |lhs: &Dim, rhs: &Dim| {
        lhs.checked_add(&rhs.checked_mul(&Dim::constant(-1))?)
    };
    Mul mul "product" Dim::checked_mul;
}

impl IntoLength for usize {}
impl sealed::Length for usize {
    fn resolve(self) -> Resolved {
        // A length beyond `i64` becomes the largest `i64`: no tensor of it fits memory either.
        let value = i64::try_from(self).unwrap_or(i64::MAX);
        Resolved { dim: Some(Dim::constant(value)), owner: None }
    }
}

impl IntoLength for Length<'_> {}
impl sealed::Length for Length<'_> {
    fn resolve(self) -> Resolved {
        Resolved { dim: self.dim(), owner: Some(self.builder.id) }
    }
}

impl IntoLength for Dim {}
impl sealed::Length for Dim {
    fn resolve(self) -> Resolved {
        Resolved { dim: Some(self), owner: None }
    }
}

impl IntoLength for &Dim {}
impl sealed::Length for &Dim {
    fn resolve(self) -> Resolved {
        Resolved { dim: Some(self.clone()), owner: None }
    }
}

macro_rules! tuples {
    ($($($letter:ident)*;)*) => {$(
        impl<$($letter: IntoLength),*> IntoShape for ($($letter,)*) {}
        impl<$($letter: IntoLength),*> sealed::Shape for ($($letter,)*) {
            fn resolve(self) -> SmallVec<[Resolved; 4]> {
                #[allow(non_snake_case, reason = "one letter names the type and the value")]
                let ($($letter,)*) = self;
                #[allow(unused_mut, reason = "the empty tuple pushes nothing")]
                let mut lengths = SmallVec::new();
                $(lengths.push($letter.resolve());)*
                lengths
            }
        }
    )*};
}

tuples! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

impl<L: IntoLength, const N: usize> IntoShape for [L; N] {}
impl<L: IntoLength, const N: usize> sealed::Shape for [L; N] {
    fn resolve(self) -> SmallVec<[Resolved; 4]> {
        self.into_iter().map(sealed::Length::resolve).collect()
    }
}

impl<L: IntoLength> IntoShape for Vec<L> {}
impl<L: IntoLength> sealed::Shape for Vec<L> {
    fn resolve(self) -> SmallVec<[Resolved; 4]> {
        self.into_iter().map(sealed::Length::resolve).collect()
    }
}

impl<L: IntoLength + Clone> IntoShape for &[L] {}
impl<L: IntoLength + Clone> sealed::Shape for &[L] {
    fn resolve(self) -> SmallVec<[Resolved; 4]> {
        self.iter().cloned().map(sealed::Length::resolve).collect()
    }
}

impl IntoShape for Shape {}
impl sealed::Shape for Shape {
    fn resolve(self) -> SmallVec<[Resolved; 4]> {
        self.dims().iter().map(sealed::Length::resolve).collect()
    }
}

impl IntoShape for &Shape {}
impl sealed::Shape for &Shape {
    fn resolve(self) -> SmallVec<[Resolved; 4]> {
        self.dims().iter().map(sealed::Length::resolve).collect()
    }
}

impl Builder {
    /// The length, if it belongs here and no call before it failed.
    pub(crate) fn resolve_length(
        &self,
        length: Resolved,
        site: &'static Location<'static>,
    ) -> Option<Dim> {
        let dim = length.dim?;
        if length.owner.is_some_and(|owner: BuilderId| owner != self.id) {
            let message = format!("expected a length of this builder, found {dim} of another one");
            self.report(Diagnostic::new("length_b1", message).at(Site::caller(site)));
            return None;
        }
        Some(dim)
    }

    /// The shape, if each length belongs here and no call before it failed.
    pub(crate) fn resolve_shape(
        &self,
        shape: impl IntoShape,
        site: &'static Location<'static>,
    ) -> Option<Shape> {
        let lengths = shape.resolve().into_iter();
        let dims: Option<SmallVec<[Dim; 4]>> =
            lengths.map(|length| self.resolve_length(length, site)).collect();
        Some(Shape::new(dims?))
    }
}
