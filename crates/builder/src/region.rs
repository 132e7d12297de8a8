//! Regions under construction: functions within an entry, such as the way back of
//! [`Entry::custom_gradient`].
//!
//! A region has a record beside the entries', so its tensors are told from those around it. What
//! a user writes within one may use any tensor around it, which then becomes an argument: an
//! operation belongs to the innermost region that one of its operands is of, and what lies around
//! is brought in. What is read of states, and the key of random numbers, is read around it.
//!
//! The other way round a tensor of a region is a stranger: outside it has no value.

use std::collections::HashMap;
use std::panic::Location;

use kilngrad_ir::{Diagnostic, Graph, Value};
use smallvec::SmallVec;

use crate::entry::{Entry, EntryRecord};
use crate::tensor::Tensor;

/// What a builder knows of a region beside what it knows of an entry.
pub(crate) struct Region {
    /// The record of what it lies in.
    around: usize,
    /// Values around it that it uses, in the order of their arguments.
    brought: Vec<Value>,
    /// The argument that stands for a value around it.
    arguments: HashMap<Value, Value>,
}

impl<'b> Entry<'b> {
    /// Begins a region of this entry or region.
    pub(crate) fn begin_region(self, site: &'static Location<'static>) -> Entry<'b> {
        let mut inner = self.builder.inner.borrow_mut();
        let outer = &inner.entries[self.index];
        let mut record = EntryRecord::new(&outer.name, outer.mode, site);
        record.scope = outer.scope.clone();
        record.region =
            Some(Region { around: self.index, brought: Vec::new(), arguments: HashMap::new() });
        let index = inner.entries.len();
        inner.entries.push(record);
        Entry { builder: self.builder, index }
    }

    /// A new argument of a region, of the type of a tensor around it.
    pub(crate) fn stand_in(self, like: Tensor<'b>, site: &'static Location<'static>) -> Tensor<'b> {
        let value = like.ty().map(|ty| self.with_mut(|record| record.add_argument(ty, site)));
        Tensor { entry: self, value }
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
    fn around(self) -> Option<Entry<'b>> {
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
        let region = self.with(|record| record.region.is_some());
        if region {
            let message = format!(
                "expected {what} outside the way back of a custom gradient, found one within"
            );
            self.fail(Diagnostic::new("custom_gradient_b3", message));
        }
        !region
    }

    /// Records that a tensor is of something else.
    #[track_caller]
    pub(crate) fn fail_on_stranger(self, stranger: Tensor<'b>) {
        let message = if stranger.entry.builder.id != self.builder.id {
            format!("expected tensors of entry {:?}, found one of another builder", self.name())
        } else if stranger.entry.around().is_some() {
            format!(
                "expected tensors of entry {:?}, found one of the way back of a custom gradient, \
                 which has no value outside it",
                self.name()
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
