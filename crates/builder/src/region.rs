//! Regions under construction: functions within an entry, such as the way back of
//! [`Entry::custom_gradient`] and the body of a [`scan`](Entry::scan).
//!
//! A region has a record beside the entries', so its tensors are told from those around it. What
//! a user writes within one may use any tensor around it, which then becomes an argument: an
//! operation belongs to the innermost region that one of its operands is of, and what lies around
//! is brought in. What is read of states, and the key of random numbers, is read around it.
//!
//! The other way round a tensor of a region is a stranger: outside it has no value.
//!
//! What has no operands to tell by where it belongs, a draw or a loop of nothing, what is a region of
//! its own, and a check belong where they are written: in the innermost region of control flow that is
//! being written, also by the name of the entry around it. Each iteration so draws anew whoever is
//! asked to draw.

use std::collections::HashMap;
use std::panic::Location;

use kilngrad_ir::{Diagnostic, Dim, Graph, Type, Value};
use smallvec::SmallVec;

use crate::entry::{Entry, EntryRecord};
use crate::ops::RegionCheck;
use crate::tensor::Tensor;

/// What a builder knows of a region beside what it knows of an entry.
pub(crate) struct Region {
    kind: RegionKind,
    /// What the conditions are that it has to keep where it runs.
    checks: Vec<RegionCheck>,
    /// The argument that is the counter of an iteration's draws, and right around the region the
    /// stack of counters, or of a while the first one.
    counters: Option<[Value; 2]>,
    /// The record of what it lies in.
    around: usize,
    /// Values around it that it uses, in the order of their arguments.
    brought: Vec<Value>,
    /// The argument that stands for a value around it.
    arguments: HashMap<Value, Value>,
}

/// What a region is for.
#[derive(Debug, Clone)]
pub(crate) enum RegionKind {
    /// The way back of a custom gradient.
    WayBack,
    /// The body of a scan.
    Scan {
        /// How many iterations there are.
        length: Dim,
    },
    /// One side of a cond.
    Cond,
    /// What says whether a `repeat_while` goes on.
    Test,
    /// The body of a `repeat_while`.
    While,
}

impl RegionKind {
    fn describe(&self) -> &'static str {
        match self {
            RegionKind::WayBack => "the way back of a custom gradient",
            RegionKind::Scan { .. } => "the body of a scan",
            RegionKind::Cond => "one side of a cond",
            RegionKind::Test => "the test of a while",
            RegionKind::While => "the body of a while",
        }
    }

    /// The rule that what belongs to an entry breaks within it.
    fn rule(&self) -> &'static str {
        match self {
            RegionKind::WayBack => "custom_gradient_b3",
            RegionKind::Scan { .. } => "scan_b3",
            RegionKind::Cond => "cond_b1",
            RegionKind::Test | RegionKind::While => "while_b2",
        }
    }
}

/// Ends the writing of a region when it is dropped.
pub(crate) struct OpenBody<'b> {
    entry: Entry<'b>,
    outer: Option<usize>,
}

impl Drop for OpenBody<'_> {
    fn drop(&mut self) {
        self.entry.builder.inner.borrow_mut().open = self.outer;
    }
}

impl<'b> Entry<'b> {
    /// Begins a region of this entry or region.
    pub(crate) fn begin_region(
        self,
        site: &'static Location<'static>,
        kind: RegionKind,
    ) -> Entry<'b> {
        let mut inner = self.builder.inner.borrow_mut();
        let outer = &inner.entries[self.index];
        let mut record = EntryRecord::new(&outer.name, outer.mode, site);
        record.scope = outer.scope.clone();
        record.region = Some(Region {
            kind,
            checks: Vec::new(),
            counters: None,
            around: self.index,
            brought: Vec::new(),
            arguments: HashMap::new(),
        });
        let index = inner.entries.len();
        inner.entries.push(record);
        Entry { builder: self.builder, index }
    }

    /// Lets this region of control flow be the one that is being written, until the guard is dropped.
    pub(crate) fn open(self) -> OpenBody<'b> {
        let outer = self.builder.inner.borrow_mut().open.replace(self.index);
        OpenBody { entry: self, outer }
    }

    /// The innermost region of control flow that is being written, if it lies within this; this, if not.
    pub(crate) fn innermost(self) -> Entry<'b> {
        let open = self.builder.inner.borrow().open;
        let open = open.map(|index| Entry { builder: self.builder, index });
        open.filter(|open| open.is_within(self)).unwrap_or(self)
    }

    /// A new argument of a region, of the type of a tensor around it.
    pub(crate) fn stand_in(self, like: Tensor<'b>, site: &'static Location<'static>) -> Tensor<'b> {
        let value = like.ty().map(|ty| self.with_mut(|record| record.add_argument(ty, site)));
        Tensor { entry: self, value }
    }

    /// A new argument of a region, of the type of a slice of a tensor around it.
    pub(crate) fn stand_in_for_slice(
        self,
        stack: Tensor<'b>,
        site: &'static Location<'static>,
    ) -> Tensor<'b> {
        let ty = stack.ty().map(|ty| Type::new(ty.dtype, ty.shape.without(&[0])));
        let value = ty.map(|ty| self.with_mut(|record| record.add_argument(ty, site)));
        Tensor { entry: self, value }
    }

    /// A new argument of a region, of this type.
    pub(crate) fn stand_in_of(self, ty: Type) -> Tensor<'b> {
        let site = self.with(|record| record.site);
        let value = self.with_mut(|record| record.add_argument(ty, site));
        Tensor { entry: self, value: Some(value) }
    }

    /// A new argument of a region that stands for a tensor right around it wherever that is used.
    pub(crate) fn stand_in_for(
        self,
        tensor: Tensor<'b>,
        site: &'static Location<'static>,
    ) -> Tensor<'b> {
        let argument = self.stand_in(tensor, site);
        if let (Some(value), Some(argument)) = (tensor.value, argument.value) {
            self.with_mut(|record| {
                let region = record.region.as_mut();
                region.map(|region| region.arguments.entry(value).or_insert(argument));
            });
        }
        argument
    }

    /// Ends a region whose results these are: its graph, and the tensors right around it that its
    /// last arguments stand for. `None` after an error.
    #[track_caller]
    pub(crate) fn end_region<const N: usize>(
        self,
        results: [Tensor<'b>; N],
    ) -> Option<(Graph, Vec<Tensor<'b>>)> {
        let results = self.bring_in(results)?;
        let around = self.around()?;
        self.with_mut(|record| record.assign_names(&[]));
        self.with(|record| {
            let mut graph = record.graph.clone();
            graph.set_results(results.iter().filter_map(|result| result.value).collect());
            let brought = record.region.as_ref()?.brought.iter();
            let brought = brought.map(|value| Tensor { entry: around, value: Some(*value) });
            Some((graph, brought.collect()))
        })
    }

    /// Ends a region of control flow: its graph, and the tensors right around it that its first arguments
    /// stand for. `None` after an error.
    pub(crate) fn end_loop(
        self,
        carries: &[Value],
        slices: &[Value],
        results: Vec<Value>,
    ) -> Option<(Graph, Vec<Tensor<'b>>)> {
        let around = self.around()?;
        self.with_mut(|record| record.assign_names(&[]));
        self.with(|record| {
            let region = record.region.as_ref()?;
            let mut graph = record.graph.clone();
            let constants = region.brought.iter().map(|value| region.arguments[value]);
            let arguments: Vec<Value> =
                constants.chain(carries.iter().copied()).chain(slices.iter().copied()).collect();
            graph.reorder_arguments(&arguments);
            graph.set_results(results);
            let brought = region.brought.iter();
            let brought = brought.map(|value| Tensor { entry: around, value: Some(*value) });
            Some((graph, brought.collect()))
        })
    }

    /// What this is for, if it is a region.
    pub(crate) fn region_kind(self) -> Option<RegionKind> {
        self.with(|record| record.region.as_ref().map(|region| region.kind.clone()))
    }

    /// Notes a condition that the region has to keep where it runs.
    pub(crate) fn note_check(self, check: RegionCheck) {
        self.with_mut(|record| {
            if let Some(region) = &mut record.region {
                region.checks.push(check);
            }
        });
    }

    /// The conditions that were noted.
    pub(crate) fn take_checks(self) -> Vec<RegionCheck> {
        self.with_mut(|record| {
            record.region.as_mut().map(|region| std::mem::take(&mut region.checks))
        })
        .unwrap_or_default()
    }

    /// The counter of an iteration's draws and, around the region, the stack of counters of a scan or
    /// the first counter of a while, if the region draws.
    pub(crate) fn counters(self) -> Option<(Tensor<'b>, Tensor<'b>)> {
        let [argument, stack] = self.with(|record| record.region.as_ref()?.counters)?;
        let around = self.around()?;
        let argument = Tensor { entry: self, value: Some(argument) };
        Some((argument, Tensor { entry: around, value: Some(stack) }))
    }

    /// Lets an argument of a region be the counter of its draws, of a stack around the region.
    pub(crate) fn set_counters(self, argument: Tensor<'b>, stack: Tensor<'b>) {
        let Some(counters) = argument.value.zip(stack.value) else { return };
        self.with_mut(|record| {
            if let Some(region) = &mut record.region {
                region.counters = Some(counters.into());
            }
        });
    }

    /// As [`bring_in`](Self::bring_in), of any number of tensors.
    #[track_caller]
    pub(crate) fn bring_all(self, tensors: &[Tensor<'b>]) -> Option<Vec<Tensor<'b>>> {
        let mut brought = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let [tensor] = self.bring_in([*tensor])?;
            brought.push(tensor);
        }
        Some(brought)
    }

    /// Tensors of this entry or region, or of what lies around it, as tensors of it. `None` after
    /// an error of one of them, or if one is of something else.
    #[track_caller]
    pub(crate) fn bring_in<const N: usize>(
        self,
        tensors: [Tensor<'b>; N],
    ) -> Option<[Tensor<'b>; N]> {
        if tensors.iter().any(|tensor| tensor.value.is_none()) {
            return None;
        }
        if let Some(stranger) = tensors.iter().find(|tensor| !self.is_within(tensor.entry)) {
            self.fail_on_stranger(*stranger);
            return None;
        }
        Some(tensors.map(|tensor| Tensor { entry: self, value: self.bring_one(tensor) }))
    }

    /// Where an operation on these tensors belongs: this entry or region, or the innermost region
    /// within it that one of them is of. `None` after an error of one of them, or if they do not
    /// belong together.
    #[track_caller]
    pub(crate) fn home(self, operands: &[Tensor<'b>]) -> Option<Entry<'b>> {
        if operands.iter().any(|operand| operand.value.is_none()) {
            return None;
        }
        let mut home = self;
        for operand in operands {
            if home.is_within(operand.entry) {
                continue;
            }
            if !operand.entry.is_within(home) {
                home.fail_on_stranger(*operand);
                return None;
            }
            home = operand.entry;
        }
        Some(home)
    }

    /// The values of tensors of this region or of what lies around it.
    pub(crate) fn bring(self, operands: &[Tensor<'b>]) -> SmallVec<[Value; 3]> {
        operands.iter().filter_map(|operand| self.bring_one(*operand)).collect()
    }

    /// Recurses once a region that lies between.
    fn bring_one(self, tensor: Tensor<'b>) -> Option<Value> {
        if tensor.entry.is(self) {
            return tensor.value;
        }
        let value = self.around()?.bring_one(tensor)?;
        let ty = tensor.ty()?;
        let site = self.with(|record| record.site);
        self.with_mut(|record| {
            let region = record.region.as_ref()?;
            if let Some(argument) = region.arguments.get(&value) {
                return Some(*argument);
            }
            let argument = record.add_argument(ty, site);
            let region = record.region.as_mut()?;
            region.arguments.insert(value, argument);
            region.brought.push(value);
            Some(argument)
        })
    }

    /// What a region lies in.
    pub(crate) fn around(self) -> Option<Entry<'b>> {
        let index = self.with(|record| record.region.as_ref().map(|region| region.around))?;
        Some(Entry { builder: self.builder, index })
    }

    /// The entry that a region lies in, through others; an entry itself.
    pub(crate) fn outermost(self) -> Entry<'b> {
        std::iter::successors(Some(self), |entry| entry.around()).last().unwrap_or(self)
    }

    /// Whether this is `outer` or a region within it.
    fn is_within(self, outer: Entry<'b>) -> bool {
        if self.builder.id != outer.builder.id {
            return false;
        }
        let mut around = std::iter::successors(Some(self), |entry| entry.around());
        around.any(|entry| entry.is(outer))
    }

    /// Whether this is an entry, which `what` needs; records an error for a region.
    #[track_caller]
    pub(crate) fn is_outermost(self, what: &str) -> bool {
        let Some(kind) = self.region_kind() else { return true };
        let message = format!("expected {what} outside {}, found one within", kind.describe());
        self.fail(Diagnostic::new(kind.rule(), message));
        false
    }

    /// Records that a tensor is of something else.
    #[track_caller]
    pub(crate) fn fail_on_stranger(self, stranger: Tensor<'b>) {
        let message = if stranger.entry.builder.id != self.builder.id {
            format!("expected tensors of entry {:?}, found one of another builder", self.name())
        } else if let Some(kind) = stranger.entry.region_kind() {
            format!(
                "expected tensors of entry {:?}, found one of {}, which has no value outside it",
                self.name(),
                kind.describe()
            )
        } else {
            format!(
                "expected tensors of entry {:?}, found one of entry {:?}",
                self.name(),
                stranger.entry.name()
            )
        };
        let mut diagnostic = Diagnostic::new("entry_b1", message);
        if let Some((ty, site)) = stranger.ty().zip(stranger.site()) {
            diagnostic = diagnostic.related(format!("the stranger: {ty}"), site);
        }
        self.fail(diagnostic);
    }
}
