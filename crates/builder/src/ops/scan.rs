//! Loops over the first axis of tensors.

use std::panic::Location;

use kilngrad_ir::op::{BinaryOp, Op, Scan};
use kilngrad_ir::{DType, Diagnostic, Dim, Origin, Type, Value};

use crate::entry::Entry;
use crate::example::example;
use crate::region::RegionKind;
use crate::shape::IntoLength;
use crate::tensor::Tensor;

/// Tensors in a shape that a user writes: a tensor, `()`, a tuple, an array or a vector of them. What
/// goes around a loop and what comes out of it has one.
///
/// ```
/// # use kilngrad_builder::{Builder, F32, Mode};
/// # let b = Builder::new("fibonacci");
/// # let e = b.entry("run", Mode::Eval);
/// let first = (e.scalar(F32, 0), e.scalar(F32, 1));
/// let ((_, _), [numbers]) = e.repeat(8, first, |(x, y)| ((y, x + y), [x]));
/// assert_eq!(numbers.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[8]"));
/// ```
pub trait Tensors<'b>: sealed::Group<'b> {}

mod sealed {
    use crate::tensor::Tensor;

    pub trait Group<'b>: Sized {
        /// Appends the tensors, in order.
        fn collect(&self, out: &mut Vec<Tensor<'b>>);

        /// The same shape of other tensors, as many as there are.
        fn rebuild(&self, tensors: &mut dyn Iterator<Item = Tensor<'b>>) -> Self;
    }
}

impl<'b> Tensors<'b> for Tensor<'b> {}
impl<'b> sealed::Group<'b> for Tensor<'b> {
    fn collect(&self, out: &mut Vec<Tensor<'b>>) {
        out.push(*self);
    }

    fn rebuild(&self, tensors: &mut dyn Iterator<Item = Tensor<'b>>) -> Self {
        tensors.next().unwrap_or(*self)
    }
}

impl<'b, G: Tensors<'b>, const N: usize> Tensors<'b> for [G; N] {}
impl<'b, G: Tensors<'b>, const N: usize> sealed::Group<'b> for [G; N] {
    fn collect(&self, out: &mut Vec<Tensor<'b>>) {
        self.iter().for_each(|group| group.collect(out));
    }

    fn rebuild(&self, tensors: &mut dyn Iterator<Item = Tensor<'b>>) -> Self {
        std::array::from_fn(|at| self[at].rebuild(tensors))
    }
}

impl<'b, G: Tensors<'b>> Tensors<'b> for Vec<G> {}
impl<'b, G: Tensors<'b>> sealed::Group<'b> for Vec<G> {
    fn collect(&self, out: &mut Vec<Tensor<'b>>) {
        self.iter().for_each(|group| group.collect(out));
    }

    fn rebuild(&self, tensors: &mut dyn Iterator<Item = Tensor<'b>>) -> Self {
        self.iter().map(|group| group.rebuild(tensors)).collect()
    }
}

impl<'b> Tensors<'b> for () {}
impl<'b> sealed::Group<'b> for () {
    fn collect(&self, _: &mut Vec<Tensor<'b>>) {}

    fn rebuild(&self, _: &mut dyn Iterator<Item = Tensor<'b>>) -> Self {}
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),*);)*) => {$(
        impl<'b, $($name: Tensors<'b>),*> Tensors<'b> for ($($name,)*) {}
        impl<'b, $($name: Tensors<'b>),*> sealed::Group<'b> for ($($name,)*) {
            fn collect(&self, out: &mut Vec<Tensor<'b>>) {
                $(self.$at.collect(out);)*
            }

            fn rebuild(&self, tensors: &mut dyn Iterator<Item = Tensor<'b>>) -> Self {
                ($(self.$at.rebuild(tensors),)*)
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
}

impl<'b> Tensor<'b> {
    /// Runs `body` once for each index of the first axis, in order: from what goes around, which is
    /// `first` before the first iteration, and the slice at the index, it makes what goes around next
    /// and what is stacked. Gives the last of what went around, and the stacks.
    ///
    /// The body is written once, here, and may use any tensor and parameter around it; nothing
    /// of it runs now. What it draws is drawn anew in each iteration, by its own tensors as by those and
    /// the entry around it. It is differentiated like
    /// anything else, to a loop the other way round, which goes through every iteration: one that the
    /// loss does not see gets zero, which a derivative that is infinite or not a number does not keep.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Init, Mode};
    /// # let b = Builder::new("scan");
    /// # let w = b.param("w", (4, 4), Init::Xavier);
    /// # let e = b.entry("run", Mode::Train);
    /// let xs = e.input("xs", F32, (b.dim("time"), b.dim("n"), 4));
    /// let (last, all) = xs.scan(e.zeros(F32, (b.dim("n"), 4)), |h, x| {
    ///     let h = (x + h.matmul(w)).tanh();
    ///     (h, h)
    /// });
    /// assert_eq!(last.ty().unwrap().to_string(), "f32[n,4]");
    /// assert_eq!(all.ty().unwrap().to_string(), "f32[time,n,4]");
    /// ```
    #[track_caller]
    pub fn scan<C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        first: C,
        body: impl FnOnce(C, Tensor<'b>) -> (C, Y),
    ) -> (C, Y) {
        self.entry.scan(self, first, body)
    }

    /// As [`scan`](Self::scan), from the last index to the first. Stacks are in the order of indices.
    #[doc = example!(
        x.scan_reverse(e.scalar(F64, 0), |sum, x| (sum + x, sum + x)).1 => vec![6.0, 5.0, 3.0];
        x = e.constant([3], &[1.0, 2.0, 3.0])
    )]
    #[track_caller]
    pub fn scan_reverse<C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        first: C,
        body: impl FnOnce(C, Tensor<'b>) -> (C, Y),
    ) -> (C, Y) {
        self.entry.scan_reverse(self, first, body)
    }
}

impl<'b> Entry<'b> {
    /// As [`Tensor::scan`] of several tensors, whose first axes have one length.
    #[doc = example!(
        e.scan([x, y], e.scalar(F64, 0), |sum, [x, y]| (sum + x * y, ())).0 => 32.0;
        x = e.constant([3], &[1.0, 2.0, 3.0]);
        y = e.constant([3], &[4.0, 5.0, 6.0])
    )]
    #[track_caller]
    pub fn scan<X: Tensors<'b>, C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        xs: X,
        first: C,
        body: impl FnOnce(C, X) -> (C, Y),
    ) -> (C, Y) {
        self.run_scan(Way { length: None, reverse: false }, xs, first, body)
    }

    /// As [`Tensor::scan_reverse`] of several tensors, whose first axes have one length.
    #[doc = example!(
        e.scan_reverse((x, c), e.scalar(F64, 0), |y, (x, c)| (y * x + c, ())).0 => 17.0;
        x = e.full(F64, (3,), 2);
        c = e.constant([3], &[1.0, 2.0, 3.0])
    )]
    #[track_caller]
    pub fn scan_reverse<X: Tensors<'b>, C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        xs: X,
        first: C,
        body: impl FnOnce(C, X) -> (C, Y),
    ) -> (C, Y) {
        self.run_scan(Way { length: None, reverse: true }, xs, first, body)
    }

    /// Runs `body` so many times, each time on what the time before gave: [`Tensor::scan`] of nothing.
    ///
    #[doc = example!(
        // Newton's method for square roots.
        e.repeat(8, a, |x| ((x + a / x) * 0.5, ())).0 => about vec![1.4142, 3.0];
        a = e.constant([2], &[2.0, 9.0])
    )]
    #[track_caller]
    pub fn repeat<C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        length: impl IntoLength,
        first: C,
        body: impl FnOnce(C) -> (C, Y),
    ) -> (C, Y) {
        let length = self.builder.resolve_length(length.resolve(), Location::caller());
        match length {
            Some(length) => {
                let way = Way { length: Some(length), reverse: false };
                self.run_scan(way, (), first, |carries, ()| body(carries))
            }
            None => self.fail_scan(&(), first, |carries, ()| body(carries)),
        }
    }

    /// The body is called in any case: what it gives has the shape of what is given back.
    fn fail_scan<X: Tensors<'b>, C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        xs: &X,
        first: C,
        body: impl FnOnce(C, X) -> (C, Y),
    ) -> (C, Y) {
        let mut poisoned = std::iter::repeat(self.poisoned());
        let (next, stacks) = body(first.rebuild(&mut poisoned), xs.rebuild(&mut poisoned));
        (next.rebuild(&mut poisoned), stacks.rebuild(&mut poisoned))
    }

    #[track_caller]
    fn run_scan<X: Tensors<'b>, C: Tensors<'b>, Y: Tensors<'b>>(
        self,
        way: Way,
        xs: X,
        first: C,
        body: impl FnOnce(C, X) -> (C, Y),
    ) -> (C, Y) {
        let site = self.builder.site(Location::caller());
        let (firsts, stacks) = (list(&first), list(&xs));
        let Some((home, length)) = self.scanned(&way, &firsts, &stacks) else {
            return self.fail_scan(&xs, first, body);
        };
        let region = home.begin_region(site, RegionKind::Scan { length: length.clone() });
        let carries: Vec<Tensor<'b>> =
            firsts.iter().map(|first| region.stand_in(*first, site)).collect();
        let slices: Vec<Tensor<'b>> =
            stacks.iter().map(|stack| region.stand_in_for_slice(*stack, site)).collect();
        let arguments = (carries.clone(), slices.clone());
        let open = region.open();
        let (next, ys) =
            body(first.rebuild(&mut carries.into_iter()), xs.rebuild(&mut slices.into_iter()));
        drop(open);
        let results = (list(&next), list(&ys));
        let way = (length, way.reverse);
        let made = home.emit_scan(region, arguments, (firsts, stacks), results, way);
        let mut made = made.map_or_else(
            || Box::new(std::iter::repeat(self.poisoned())) as Box<dyn Iterator<Item = _>>,
            |made| Box::new(made.into_iter()),
        );
        (next.rebuild(&mut *made), ys.rebuild(&mut *made))
    }

    /// Where a scan of these tensors belongs, and its length. `None` after an error.
    #[track_caller]
    fn scanned(
        self,
        way: &Way,
        firsts: &[Tensor<'b>],
        stacks: &[Tensor<'b>],
    ) -> Option<(Entry<'b>, Dim)> {
        let home = self.innermost().home(&[firsts, stacks].concat())?;
        let mut length = way.length.clone();
        for stack in stacks {
            let ty = stack.ty()?;
            let found = ty.shape.dims().first();
            let fits = found.is_some_and(|found| length.as_ref().is_none_or(|it| it == found));
            if !fits {
                let expected = match &length {
                    Some(length) => format!("a first axis of length {length}"),
                    None => "an axis to scan over".to_owned(),
                };
                self.fail_on("scan_b1", format!("expected {expected}, found {ty}"), stacks);
                return None;
            }
            length = found.cloned();
        }
        if length.is_none() {
            let message = "expected at least one tensor to scan over, found none";
            self.fail(Diagnostic::new("scan_b1", message).help("`repeat` runs a number of times"));
        }
        Some((home, length?))
    }

    /// The next values of what goes around a region, which have the types of the first ones. `None`
    /// after an error.
    #[track_caller]
    pub(super) fn next_values(
        self,
        rule: &'static str,
        firsts: &[Tensor<'b>],
        nexts: &[Tensor<'b>],
    ) -> Option<Vec<Tensor<'b>>> {
        let brought = self.bring_all(nexts)?;
        if nexts.len() != firsts.len() {
            let (expected, found) = (firsts.len(), nexts.len());
            let message = format!("expected {expected} tensors that go around, found {found}");
            self.fail(Diagnostic::new(rule, message));
            return None;
        }
        for (first, next) in firsts.iter().zip(nexts) {
            let (expected, found) = (first.ty()?, next.ty()?);
            if expected != found {
                let message = format!(
                    "expected a next value of type {expected}, as the first, found {found}"
                );
                let diagnostic = Diagnostic::new(rule, message)
                    .related(format!("the first value: {expected}"), first.site())
                    .related(format!("the next value: {found}"), next.site());
                self.fail(diagnostic);
                return None;
            }
        }
        Some(brought)
    }

    /// Appends the node, and what the region asserted as checks of what is around it.
    #[track_caller]
    fn emit_scan(
        self,
        region: Entry<'b>,
        (carries, slices): (Vec<Tensor<'b>>, Vec<Tensor<'b>>),
        (mut firsts, mut stacks): (Vec<Tensor<'b>>, Vec<Tensor<'b>>),
        (nexts, results): (Vec<Tensor<'b>>, Vec<Tensor<'b>>),
        (length, reverse): (Dim, bool),
    ) -> Option<Vec<Tensor<'b>>> {
        let mut nexts = region.next_values("scan_b2", &firsts, &nexts)?;
        let results = region.bring_all(&results)?;
        let (own, mut around_carries) = (firsts.len(), values(&carries));
        let mut around_slices = values(&slices);
        // A condition that every iteration has to keep goes around as one that all so far have kept.
        let checks = region.take_checks();
        for (condition, ..) in &checks {
            let held = region.stand_in_of(Type::scalar(DType::Bool));
            let op = Op::Binary(BinaryOp::And);
            let condition = Tensor { entry: region, value: Some(*condition) };
            nexts.push(region.emit(op, &[held, condition], &[]));
            firsts.push(self.full(DType::Bool, (), true));
            around_carries.extend(held.value);
        }
        if let Some((argument, counters)) = region.counters() {
            around_slices.extend(argument.value);
            stacks.push(counters);
        }
        let results = [values(&nexts), values(&results)].concat();
        let (body, consts) = region.end_loop(&around_carries, &around_slices, results)?;
        let op = Op::Scan(Box::new(Scan {
            body,
            consts: consts.len(),
            carries: firsts.len(),
            length,
            reverse,
            workspace: None,
        }));
        let operands = [consts, firsts, stacks].concat();
        let mut made = self.emit_all(op, &operands, &[])?.into_vec();
        let held: Vec<Tensor<'b>> = made.drain(own..own + checks.len()).collect();
        for ((_, expected, origin), held) in checks.into_iter().zip(held) {
            self.add_check(held, &expected, origin);
        }
        Some(made)
    }
}

/// How a scan runs.
struct Way {
    length: Option<Dim>,
    reverse: bool,
}

/// A condition that a region asserts, what is expected, and whose line it is.
pub(crate) type RegionCheck = (Value, std::sync::Arc<str>, Origin);

pub(super) fn list<'b>(group: &impl Tensors<'b>) -> Vec<Tensor<'b>> {
    let mut tensors = Vec::new();
    group.collect(&mut tensors);
    tensors
}

pub(super) fn values(tensors: &[Tensor<'_>]) -> Vec<Value> {
    tensors.iter().filter_map(|tensor| tensor.value).collect()
}
