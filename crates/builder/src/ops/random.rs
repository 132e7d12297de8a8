//! Random draws: counter-based, so that bits depend on the seed, the stream, the counter and the
//! element's index alone (see [`kilngrad_ir::random`]).
//!
//! A draw has a name. Its stream is that of the scope's path with the name; where a path draws
//! again in an entry, as a layer that is applied twice does, the later streams are those of
//! `path#2`, `path#3` and so on. Adding a layer so changes no other layer's numbers. The seed and
//! the counter are states, `random.seed` and `random.counter`, made on first use; each call of an
//! entry that draws adds one to the counter, once. In the body of a scan each iteration has a counter
//! of its own.

use std::panic::Location;
use std::sync::Arc;

use kilngrad_ir::op::Op;
use kilngrad_ir::random::stream_of;
use kilngrad_ir::{DType, Diagnostic, Dim, Init, Literal, Mode, Role, State, Type};

use crate::builder::Param;
use crate::entry::Entry;
use crate::example::example;
use crate::functions::normal_quantile;
use crate::region::RegionKind;
use crate::shape::IntoShape;
use crate::tensor::Tensor;

impl<'b> Entry<'b> {
    /// Independent uniform numbers in `[0, 1)` of dtype `F32`: multiples of 2⁻²⁴, or of 2⁻⁵³ in
    /// `f64`. No gradient passes.
    #[doc = example!((u.ge(0.0) & u.lt(1.0)).cast(I32).min(..) => 1; u = e.uniform("u", (100,)))]
    #[track_caller]
    pub fn uniform(self, name: &str, shape: impl IntoShape) -> Tensor<'b> {
        let float = self.builder.resolve_dtype(DType::F32);
        self.draw(name, float, shape)
    }

    /// Independent standard normal numbers of dtype `F32`, by the inverse of the distribution
    /// function (Wichura's AS 241). None is infinite: the largest are 5.42 in size, or 8.29 in
    /// `f64`. No gradient passes.
    #[doc = example!(z.mean(..).abs().lt(0.1) => true; z = e.normal("z", (1000,)))]
    #[track_caller]
    pub fn normal(self, name: &str, shape: impl IntoShape) -> Tensor<'b> {
        let uniform = self.uniform(name, shape);
        let Some(ty) = uniform.ty() else { return uniform };
        let _scope = uniform.entry.enter("normal");
        // The draws are the left ends of equal cells: their middles are symmetric about ½ and
        // meet neither 0 nor 1. Seen from ½ they are exact in their own dtype, as no number near 1
        // would be.
        let half_cell = match ty.dtype {
            DType::F64 => 2f64.powi(-54),
            DType::F32 | DType::I32 | DType::I64 | DType::U8 | DType::Bool => 2f64.powi(-25),
        };
        normal_quantile((uniform - 0.5) + half_cell)
    }

    /// Independent truth values, true with probability `p`, which is rounded up to a multiple of
    /// 2⁻²⁴ (2⁻⁵³ in `f64`).
    #[doc = example!(
        (rate.gt(0.2) & rate.lt(0.3)) => true;
        rate = e.bernoulli("coin", 0.25, (1000,)).cast(F32).mean(..)
    )]
    #[track_caller]
    pub fn bernoulli(self, name: &str, p: f64, shape: impl IntoShape) -> Tensor<'b> {
        if !(0.0..=1.0).contains(&p) {
            let message = format!("expected a probability from 0 to 1, found {p}");
            return self.fail(Diagnostic::new("loss_b2", message));
        }
        self.uniform(name, shape).lt(p)
    }

    /// Independent integers with uniform bits, of dtype `I32` or `I64`.
    #[doc = example!(
        first.eq(second) => vec![false, false];
        first = e.random_bits("bits", I64, (2,));
        second = e.random_bits("bits", I64, (2,))
    )]
    #[track_caller]
    pub fn random_bits(self, name: &str, dtype: DType, shape: impl IntoShape) -> Tensor<'b> {
        if !matches!(dtype, DType::I32 | DType::I64) {
            let message = format!("expected dtype i32 or i64, found {dtype}");
            return self.fail(Diagnostic::new("random_c2", message));
        }
        self.draw(name, dtype, shape)
    }

    #[track_caller]
    fn draw(self, name: &str, dtype: DType, shape: impl IntoShape) -> Tensor<'b> {
        let Some(shape) = self.shape(shape) else { return self.poisoned() };
        let home = self.innermost();
        let Some(key) = home.random_key() else { return self.poisoned() };
        let stream = stream_of(&self.stream_path(name));
        home.emit(Op::Random { stream }, &key, &[Type::new(dtype, shape)])
    }

    /// The path of a draw, with its number where it is not the first of that path.
    fn stream_path(self, name: &str) -> Arc<str> {
        let path = self.path_of(name);
        self.outermost().with_mut(|record| {
            let count = record.streams.entry(path.clone()).or_insert(0);
            *count += 1;
            match *count {
                1 => path,
                count => format!("{path}#{count}").into(),
            }
        })
    }

    /// Seed and counter as the call began with them; `None` after an error.
    #[track_caller]
    fn random_key(self) -> Option<[Tensor<'b>; 2]> {
        if let Some(kind) = self.region_kind() {
            let key = self.around()?.random_key()?;
            return match kind {
                RegionKind::WayBack | RegionKind::Cond => Some(key),
                RegionKind::Scan { length } => self.key_of_iteration(key, Some(length)),
                RegionKind::While => self.key_of_iteration(key, None),
                RegionKind::Test => {
                    self.is_outermost("draws");
                    None
                }
            };
        }
        if let Some(values) = self.with(|record| record.random) {
            return Some(values.map(|value| Tensor { entry: self, value: Some(value) }));
        }
        let seed = self.random_state("random.seed", Init::Seed);
        let zero = Init::Splat(Literal::from_i64(DType::I64, 0));
        let counter = self.random_state("random.counter", zero);
        let key = [self.read(seed), self.read(counter)];
        let values = [key[0].value?, key[1].value?];
        self.with_mut(|record| record.random = Some(values));
        self.update(counter, key[1] + 1);
        Some(key)
    }

    /// The key of what an iteration of a scan draws: for a counter it has a number drawn of the key
    /// around the scan, at the iteration's index. So iterations draw apart, the same ones however often
    /// they are computed. Those of a while count on from one number.
    #[track_caller]
    fn key_of_iteration(
        self,
        key: [Tensor<'b>; 2],
        length: Option<Dim>,
    ) -> Option<[Tensor<'b>; 2]> {
        if let Some((counter, _)) = self.counters() {
            return Some([key[0], counter]);
        }
        let around = self.around()?;
        let stream = stream_of(&self.stream_path("iteration"));
        let ty = Type::new(DType::I64, length.into_iter().collect());
        let counters = around.emit(Op::Random { stream }, &key, &[ty]);
        let counter = self.stand_in_of(Type::scalar(DType::I64));
        self.set_counters(counter, counters);
        Some([key[0], counter])
    }

    /// The state at `path`, which the first entry that draws declares.
    #[track_caller]
    fn random_state(self, path: &str, init: Init) -> Param {
        let site = Location::caller();
        let known = self.builder.find(path, Role::Random);
        known.unwrap_or_else(|| {
            let ty = Type::scalar(DType::I64);
            let state = State { path: path.into(), ty, init, role: Role::Random };
            self.builder.declare(state, "random".into(), site)
        })
    }
}

impl<'b> Tensor<'b> {
    /// In a `Train` entry each element is 0 with probability `p` and else divided by `1 − p`; in
    /// an `Eval` entry the tensor itself. The name tells the draw's stream.
    ///
    /// Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout" (2014).
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    /// use kilngrad_interp::Interpreter;
    ///
    /// let b = Builder::new("dropout");
    /// let e = b.entry("train", Mode::Train);
    /// e.output("y", e.ones(F32, (100,)).dropout("drop", 0.5));
    /// let y = Interpreter::new(b.finish()?, 7)?.call("train", [])?["y"].to_f64_vec();
    /// assert!(y.iter().all(|y| *y == 0.0 || *y == 2.0));
    /// assert!((30..=70).contains(&y.iter().filter(|y| **y == 0.0).count()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[must_use]
    pub fn dropout(self, name: &str, p: f64) -> Tensor<'b> {
        if !(0.0..=1.0).contains(&p) {
            let message = format!("expected a probability from 0 to 1, found {p}");
            return self.entry.fail_on("loss_b2", message, &[self]);
        }
        if !self.is_real("dropout") {
            return self.entry.poisoned();
        }
        match self.entry.mode() {
            Mode::Eval => self,
            Mode::Train if p == 0.0 => self,
            Mode::Train => {
                let Some(ty) = self.ty() else { return self };
                // The draw has the tensor's own dtype: a cast would round.
                let uniform = self.entry.draw(name, ty.dtype, &ty.shape);
                let _scope = uniform.entry.enter("dropout");
                let dropped = uniform.lt(p);
                let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 1.0 };
                dropped.select(self.like(0.0), self * scale)
            }
        }
    }
}
