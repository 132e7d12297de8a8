//! Entries: the functions of a program, and the one place where nodes are appended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use kilngrad_ir::{
    Check, DType, Diagnostic, Graph, Mode, Op, Origin, Site, StateId, Type, Value, ValueName,
};
use kilngrad_ir::{Entry as ProgramEntry, Shape};
use smallvec::SmallVec;

use crate::builder::{Builder, Param, is_word, join};
use crate::example::example;
use crate::operand::{Argument, IntoTensor};
use crate::region::{Region, RegionKind};
use crate::shape::IntoShape;
use crate::tensor::Tensor;

/// A function of a program under construction: what a call feeds, computes, updates and returns.
///
/// A `Copy` handle; [`Builder::entry`] makes it.
///
/// ```
/// use kilngrad_builder::{Builder, F32, Mode};
/// # use kilngrad_interp::{Array, Interpreter};
///
/// let b = Builder::new("line");
/// let e = b.entry("run", Mode::Eval);
/// let x = e.input("x", F32, (b.dim("n"),));
/// e.output("y", x * 2.0 + 1.0);
/// # let mut run = Interpreter::new(b.finish()?, 0)?;
/// let y = run.call("run", [("x", Array::from(vec![1f32, 2.0]))])?;
/// assert_eq!(y["y"], Array::from(vec![3f32, 5.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Entry<'b> {
    pub(crate) builder: &'b Builder,
    pub(crate) index: usize,
}

/// What a builder knows of an entry.
pub(crate) struct EntryRecord {
    pub(crate) name: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) site: &'static Location<'static>,
    pub(crate) graph: Graph,
    /// The path that origins name.
    pub(crate) scope: Arc<str>,
    /// Where each argument of the graph was declared.
    input_sites: Vec<&'static Location<'static>>,
    inputs: HashMap<Arc<str>, usize>,
    outputs: Vec<Output>,
    output_indices: HashMap<Arc<str>, usize>,
    /// What reading a state gives from here on.
    current: HashMap<StateId, Value>,
    /// The nodes that read states, in order.
    reads: Vec<(StateId, Value)>,
    checks: Vec<Check>,
    updates: BTreeMap<StateId, Update>,
    /// Names that the user asked for, in order.
    names: Vec<(Value, Arc<str>)>,
    /// Seed and counter on entry, once something is drawn.
    pub(crate) random: Option<[Value; 2]>,
    /// How often each path of a random draw occurred.
    pub(crate) streams: HashMap<Arc<str>, u32>,
    /// What a region has beside this; `None` for an entry.
    pub(crate) region: Option<Region>,
    /// The last origin, since a composite function appends many nodes of one.
    last_origin: Option<(&'static Location<'static>, Arc<str>, Origin)>,
}

struct Output {
    name: Arc<str>,
    /// `None` where the tensor failed.
    value: Option<Value>,
    site: &'static Location<'static>,
}

struct Update {
    value: Value,
    site: &'static Location<'static>,
    /// Whether something read the state since.
    read: bool,
}

impl EntryRecord {
    pub(crate) fn new(name: &str, mode: Mode, site: &'static Location<'static>) -> EntryRecord {
        EntryRecord {
            name: name.into(),
            mode,
            site,
            graph: Graph::new(),
            scope: "".into(),
            input_sites: Vec::new(),
            inputs: HashMap::new(),
            outputs: Vec::new(),
            output_indices: HashMap::new(),
            current: HashMap::new(),
            reads: Vec::new(),
            checks: Vec::new(),
            updates: BTreeMap::new(),
            names: Vec::new(),
            random: None,
            streams: HashMap::new(),
            region: None,
            last_origin: None,
        }
    }

    fn origin(&mut self, site: &'static Location<'static>) -> Origin {
        if let Some((last, scope, origin)) = &self.last_origin
            && std::ptr::eq(*last, site)
            && Arc::ptr_eq(scope, &self.scope)
        {
            return origin.clone();
        }
        let origin = Origin::call(Site::caller(site), self.scope.clone());
        self.last_origin = Some((site, self.scope.clone(), origin.clone()));
        origin
    }

    /// Adds an argument of a region.
    pub(crate) fn add_argument(&mut self, ty: Type, site: &'static Location<'static>) -> Value {
        self.input_sites.push(site);
        self.graph.add_numbered_argument(ty)
    }

    /// Where a value was made.
    fn site_of(&self, value: Value) -> Option<Site> {
        match self.graph.value(value).def {
            kilngrad_ir::Def::Argument(index) => Some(Site::caller(self.input_sites[index])),
            kilngrad_ir::Def::Result { node, .. } => self.graph.node(node).origin.site().cloned(),
        }
    }

    /// The entry of a program without diagnostics.
    pub(crate) fn finish(mut self, paths: &[Arc<str>]) -> ProgramEntry {
        self.assign_names(paths);
        let value = |output: &Output| output.value.expect("a failed output leaves a diagnostic");
        let results = self.outputs.iter().map(value).collect();
        self.graph.set_results(results);
        let mut entry = ProgramEntry::new(&self.name, self.mode, self.graph);
        entry.outputs = self.outputs.into_iter().map(|output| output.name).collect();
        entry.checks = self.checks;
        entry.updates = self.updates.iter().map(|(id, update)| (*id, update.value)).collect();
        entry
    }

    /// Calls values by the names that the user gave, then outputs by theirs, then reads and
    /// updates of states by their paths, as far as these are words. A name that is taken gets a
    /// number after it: a layer that is applied twice names its values twice.
    pub(crate) fn assign_names(&mut self, paths: &[Arc<str>]) {
        let mut wanted = std::mem::take(&mut self.names);
        let outputs = self.outputs.iter();
        wanted.extend(outputs.filter_map(|o| Some((o.value?, o.name.clone()))));
        wanted.extend(self.reads.iter().map(|(id, value)| (*value, paths[id.index()].clone())));
        wanted.extend(
            self.updates
                .iter()
                .map(|(id, update)| (update.value, format!("{}.next", paths[id.index()]).into())),
        );
        let arguments = self.graph.arguments();
        let mut named: HashSet<Value> = arguments.iter().copied().collect();
        let mut taken: HashSet<Arc<str>> = self.inputs.keys().cloned().collect();
        let mut suffixes: HashMap<Arc<str>, u32> = HashMap::new();
        for (value, name) in wanted {
            if !is_word(&name) || !named.insert(value) {
                continue;
            }
            let mut unique = name.clone();
            while !taken.insert(unique.clone()) {
                let suffix = suffixes.entry(name.clone()).or_insert(1);
                *suffix += 1;
                unique = format!("{name}.{suffix}").into();
            }
            self.graph.rename(value, ValueName::Word(unique));
        }
    }
}

impl<'b> Entry<'b> {
    /// The entry's name.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Mode};
    ///
    /// let b = Builder::new("names");
    /// assert_eq!(&*b.entry("train", Mode::Train).name(), "train");
    /// ```
    pub fn name(self) -> Arc<str> {
        self.with(|record| record.name.clone())
    }

    /// What the entry is built for.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Mode};
    ///
    /// let b = Builder::new("modes");
    /// assert_eq!(b.entry("train", Mode::Train).mode(), Mode::Train);
    /// ```
    pub fn mode(self) -> Mode {
        self.with(|record| record.mode)
    }

    /// The builder that the entry belongs to.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Entry, F32, Mode, Tensor};
    ///
    /// fn images(e: Entry<'_>) -> Tensor<'_> {
    ///     e.input("images", F32, (e.builder().dim("n"), 8, 8))
    /// }
    /// let b = Builder::new("digits");
    /// let x = images(b.entry("run", Mode::Eval));
    /// assert_eq!(x.ty().expect("nothing failed").to_string(), "f32[n,8,8]");
    /// ```
    pub fn builder(self) -> &'b Builder {
        self.builder
    }

    /// Declares an input, which each call feeds under this name: a word, unique in the entry.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, I64, Mode};
    ///
    /// let b = Builder::new("labels");
    /// let y = b.entry("run", Mode::Eval).input("y", I64, (b.dim("n"),));
    /// assert_eq!(y.ty().expect("nothing failed").to_string(), "i64[n]");
    /// ```
    #[track_caller]
    pub fn input(self, name: &str, dtype: DType, shape: impl IntoShape) -> Tensor<'b> {
        let site = Location::caller();
        let dtype = self.builder.resolve_dtype(dtype);
        let shape = self.builder.resolve_shape(shape, site);
        if !self.is_outermost("inputs") {
            return self.poisoned();
        }
        if !is_word(name) {
            let message = format!("expected a word as a name, found {name:?}");
            return self.fail(Diagnostic::new("entry_b2", message));
        }
        let earlier =
            self.with(|record| record.inputs.get(name).map(|index| record.input_sites[*index]));
        if let Some(earlier) = earlier {
            let message = format!("expected a new name for an input, found {name:?} again");
            let diagnostic = Diagnostic::new("entry_b4", message);
            let related = format!("{name:?} is declared here");
            return self.fail(diagnostic.related(related, Site::caller(earlier)));
        }
        let Some(shape) = shape else { return self.poisoned() };
        let ty = Type::new(dtype, shape);
        if let Some(diagnostic) = oversized(&ty) {
            return self.fail(diagnostic);
        }
        let word = ValueName::Word(name.into());
        let value = self.with_mut(|record| {
            record.inputs.insert(name.into(), record.input_sites.len());
            record.input_sites.push(site);
            record.graph.add_argument(word, ty)
        });
        Tensor { entry: self, value: Some(value) }
    }

    /// Declares an output: each call returns the tensor under this name, unique in the entry.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("two outputs");
    /// let e = b.entry("run", Mode::Eval);
    /// let x = e.input("x", F32, (3,));
    /// e.output("sum", x.sum(..));
    /// e.output("largest", x.max(..));
    /// let names: Vec<String> =
    ///     b.finish()?.entries[0].outputs.iter().map(|name| name.to_string()).collect();
    /// assert_eq!(names, ["sum", "largest"]);
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn output(self, name: &str, tensor: impl IntoTensor<'b>) {
        let site = Location::caller();
        if !self.is_outermost("outputs") {
            return;
        }
        let tensor = self.adopt(tensor);
        let value = self.admit(&[tensor]).map(|values| values[0]);
        let earlier = self.with(|record| {
            record.output_indices.get(name).map(|index| record.outputs[*index].site)
        });
        if let Some(earlier) = earlier {
            let message = format!("expected a new name for an output, found {name:?} again");
            let diagnostic = Diagnostic::new("entry_b5", message)
                .related(format!("{name:?} is declared here"), Site::caller(earlier));
            self.fail(diagnostic);
            return;
        }
        self.with_mut(|record| {
            record.output_indices.insert(name.into(), record.outputs.len());
            record.outputs.push(Output { name: name.into(), value, site });
        });
    }

    /// Lets a call fail unless every element of `condition`, a `bool` tensor, is true. No state has
    /// changed then, and the error says "expected", `expected`, and this line.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("safe");
    /// let e = b.entry("mean", Mode::Eval);
    /// let x = e.input("x", F32, (b.dim("n"),));
    /// e.check(x.ge(0.0), "counts that are not negative");
    /// e.output("mean", x.mean(..));
    /// assert_eq!(b.finish()?.entries[0].checks.len(), 1);
    /// # Ok::<(), BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn check(self, condition: impl IntoTensor<'b>, expected: &str) {
        let site = Location::caller();
        let condition = self.adopt(condition);
        let Some(home) = self.innermost().home(&[condition]) else { return };
        let condition = condition.all(..);
        let origin = home.with_mut(|record| record.origin(site));
        home.add_check(condition, &expected.into(), origin);
    }

    /// As [`check`](Self::check), for a line that may be another's.
    #[track_caller]
    pub(crate) fn add_check(self, condition: Tensor<'b>, expected: &Arc<str>, origin: Origin) {
        if let Some(RegionKind::Scan { .. } | RegionKind::Cond | RegionKind::While) =
            self.region_kind()
        {
            let Some([Tensor { value: Some(condition), .. }]) = self.bring_in([condition]) else {
                return;
            };
            self.note_check((condition, expected.clone(), origin));
            return;
        }
        if !self.is_outermost("checks") {
            return;
        }
        let Some(values) = self.admit(&[condition]) else { return };
        let expected = expected.clone();
        self.with_mut(|record| {
            record.checks.push(Check { condition: values[0], expected, origin });
        });
    }

    /// A parameter's or state's value at this point: what the call began with, or what the last
    /// [`update`](Self::update) before this point set.
    #[doc = example!(e.read(w) * 2.0 => vec![2f32, 2.0]; w = b.param("w", (2,), Init::Ones))]
    #[track_caller]
    pub fn read(self, param: Param) -> Tensor<'b> {
        let outermost = self.outermost();
        if !outermost.is(self) {
            return outermost.read(param);
        }
        let Some(id) = self.state_of(param) else { return self.poisoned() };
        let current = self.with_mut(|record| {
            if let Some(update) = record.updates.get_mut(&id) {
                update.read = true;
            }
            record.current.get(&id).copied()
        });
        if current.is_some() {
            return Tensor { entry: self, value: current };
        }
        let ty = self.builder.inner.borrow().states[id.index()].ty.clone();
        let tensor = self.emit(Op::State(id), &[], &[ty]);
        if let Some(value) = tensor.value {
            self.with_mut(|record| {
                record.current.insert(id, value);
                record.reads.push((id, value));
            });
        }
        tensor
    }

    /// Lets the call end with `value` in a parameter or state. Reading it after this point gives
    /// `value`; what was read before keeps what the call began with.
    ///
    /// A state may be updated again by what depends on a read in between; the last value stays.
    /// An update that no read follows must be the last, or it would be lost in silence.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, I64, Init, Mode};
    /// # use kilngrad_interp::{Array, Interpreter};
    ///
    /// let b = Builder::new("counter");
    /// let calls = b.state("calls", I64, (), Init::Zeros);
    /// let e = b.entry("count", Mode::Eval);
    /// let before = e.read(calls);
    /// e.update(calls, before + 1);
    /// e.output("both", e.stack([before, e.read(calls)], 0));
    /// # let mut run = Interpreter::new(b.finish()?, 0)?;
    /// assert_eq!(run.call("count", [])?["both"], Array::from(vec![0i64, 1]));
    /// assert_eq!(run.call("count", [])?["both"], Array::from(vec![1i64, 2]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn update(self, param: Param, value: impl IntoTensor<'b>) {
        let site = Location::caller();
        if !self.is_outermost("updates") {
            return;
        }
        let tensor = self.adopt(value);
        let Some(id) = self.state_of(param) else { return };
        let Some(values) = self.admit(&[tensor]) else { return };
        let value = values[0];
        let (state, ty) = {
            let inner = self.builder.inner.borrow();
            (inner.states[id.index()].clone(), inner.entries[self.index].graph.ty(value).clone())
        };
        if ty != state.ty {
            let message =
                format!("expected a value of type {} for {:?}, found {ty}", state.ty, state.path);
            let diagnostic = Diagnostic::new("update_b2", message);
            let declared = format!("{:?} is declared here", state.path);
            let diagnostic = self.with_operands(diagnostic, &[tensor]);
            self.fail(diagnostic.related(declared, Site::caller(param.site)));
            return;
        }
        let lost = self.with_mut(|record| {
            let earlier = record.updates.insert(id, Update { value, site, read: false });
            record.current.insert(id, value);
            earlier.filter(|earlier| !earlier.read)
        });
        if let Some(lost) = lost {
            let message = format!(
                "expected a read of {:?} between two updates, found none: the first is lost",
                state.path
            );
            let diagnostic = Diagnostic::new("update_b1", message);
            self.fail(diagnostic.related("it is first updated here", Site::caller(lost.site)));
        }
    }

    /// Names what `body` computes as being in a scope: dumps and random streams show it.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("scopes");
    /// let e = b.entry("run", Mode::Eval);
    /// let x = e.input("x", F32, (3,));
    /// e.output("y", e.within("attention", || x.exp()));
    /// assert!(b.finish()?.to_string().contains("in \"attention\""));
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    pub fn within<T>(self, name: &str, body: impl FnOnce() -> T) -> T {
        let _guard = self.enter(name);
        body()
    }

    /// The inner path of the current scope with `name` at its end.
    pub(crate) fn path_of(self, name: &str) -> Arc<str> {
        self.with(|record| join(&record.scope, name))
    }

    /// Enters a scope of the current one until the guard is dropped.
    pub(crate) fn enter(self, name: &str) -> ScopeGuard<'b> {
        let path = self.path_of(name);
        self.enter_path(path)
    }

    /// Enters the scope that a parameter was declared in, as a layer's call does.
    pub(crate) fn enter_scope_of(self, param: Param) -> ScopeGuard<'b> {
        let inner = self.builder.inner.borrow();
        let own = param.state.filter(|_| param.builder == self.builder.id);
        let path = match own {
            Some(id) => inner.state_records[id.index()].scope.clone(),
            None => inner.entries[self.index].scope.clone(),
        };
        drop(inner);
        self.enter_path(path)
    }

    fn enter_path(self, path: Arc<str>) -> ScopeGuard<'b> {
        let outer = self.with_mut(|record| std::mem::replace(&mut record.scope, path));
        ScopeGuard { entry: self, outer }
    }

    pub(crate) fn with<T>(self, body: impl FnOnce(&EntryRecord) -> T) -> T {
        body(&self.builder.inner.borrow().entries[self.index])
    }

    pub(crate) fn with_mut<T>(self, body: impl FnOnce(&mut EntryRecord) -> T) -> T {
        body(&mut self.builder.inner.borrow_mut().entries[self.index])
    }

    pub(crate) fn is(self, other: Entry<'_>) -> bool {
        self.builder.id == other.builder.id && self.index == other.index
    }

    /// What a call that fails yields: every later call passes it on in silence.
    pub(crate) fn poisoned(self) -> Tensor<'b> {
        Tensor { entry: self, value: None }
    }

    /// Records what is wrong with the caller's line.
    #[track_caller]
    pub(crate) fn fail(self, diagnostic: Diagnostic) -> Tensor<'b> {
        let site = self.builder.site(Location::caller());
        self.builder.report(diagnostic.at(Site::caller(site)));
        self.poisoned()
    }

    /// Records a broken rule of the caller's line with the operands and where they come from.
    #[track_caller]
    pub(crate) fn fail_on(
        self,
        rule: &'static str,
        message: impl Into<String>,
        operands: &[Tensor<'b>],
    ) -> Tensor<'b> {
        let diagnostic = self.with_operands(Diagnostic::new(rule, message), operands);
        self.fail(diagnostic)
    }

    /// The diagnostic with each operand's type and call site.
    pub(crate) fn with_operands(
        self,
        mut diagnostic: Diagnostic,
        operands: &[Tensor<'b>],
    ) -> Diagnostic {
        for (index, operand) in operands.iter().enumerate() {
            let role = match (operands.len(), index) {
                (1, _) => "operand".to_owned(),
                (2, 0) => "left operand".to_owned(),
                (2, _) => "right operand".to_owned(),
                _ => format!("operand {index}"),
            };
            if let Some((ty, site)) = operand.ty().zip(operand.site()) {
                diagnostic = diagnostic.related(format!("{role}: {ty}"), site);
            }
        }
        diagnostic
    }

    /// The tensor that an argument stands for.
    #[track_caller]
    pub(crate) fn adopt(self, tensor: impl IntoTensor<'b>) -> Tensor<'b> {
        match tensor.argument() {
            Argument::Tensor(tensor) => tensor,
            Argument::Param(param) => self.read(param),
            Argument::Number(_) => unreachable!("only tensors and parameters are `IntoTensor`"),
        }
    }

    /// The state of a parameter of this builder; `None` after an error.
    #[track_caller]
    pub(crate) fn state_of(self, param: Param) -> Option<StateId> {
        let id = param.state?;
        if param.builder != self.builder.id {
            let diagnostic = Diagnostic::new(
                "param_b1",
                "expected a parameter of this builder, found one of another builder",
            );
            self.fail(diagnostic.related("it is declared here", Site::caller(param.site)));
            return None;
        }
        Some(id)
    }

    /// The values of operands that belong to this entry; `None` after an error of one of them or
    /// an error before.
    #[track_caller]
    pub(crate) fn admit(self, operands: &[Tensor<'b>]) -> Option<SmallVec<[Value; 3]>> {
        let values: Option<SmallVec<[Value; 3]>> =
            operands.iter().map(|operand| operand.value).collect();
        let values = values?;
        let Some(stranger) = operands.iter().find(|operand| !operand.entry.is(self)) else {
            return Some(values);
        };
        self.fail_on_stranger(*stranger);
        None
    }

    /// Appends a node with one result, where its operands belong.
    #[track_caller]
    pub(crate) fn emit(self, op: Op, operands: &[Tensor<'b>], declared: &[Type]) -> Tensor<'b> {
        self.emit_all(op, operands, declared).map_or(self.poisoned(), |results| results[0])
    }

    /// Appends a node where its operands belong: the one place where a graph grows. `None` after
    /// an error.
    #[track_caller]
    pub(crate) fn emit_all(
        self,
        op: Op,
        operands: &[Tensor<'b>],
        declared: &[Type],
    ) -> Option<SmallVec<[Tensor<'b>; 1]>> {
        let site = self.builder.site(Location::caller());
        let home = self.home(operands)?;
        let values = home.bring(operands);
        let appended = home.with_mut(|record| {
            let origin = record.origin(site);
            let node = record.graph.append(op, &values, declared, origin)?;
            let results = record.graph.node(node).results.clone();
            let fault = oversized(record.graph.ty(results[0]));
            Ok((results, fault))
        });
        match appended {
            Ok((results, None)) => {
                let tensor = |value| Tensor { entry: home, value: Some(value) };
                Some(results.into_iter().map(tensor).collect())
            }
            Ok((_, Some(diagnostic))) => {
                let diagnostic = self.with_operands(diagnostic, operands);
                self.fail(diagnostic);
                None
            }
            Err(kilngrad_ir::infer::RuleError { rule, message }) => {
                self.fail_on(rule, message, operands);
                None
            }
        }
    }

    /// The shape, if each of its lengths belongs here and no call before it failed.
    #[track_caller]
    pub(crate) fn shape(self, shape: impl IntoShape) -> Option<Shape> {
        self.builder.resolve_shape(shape, Location::caller())
    }

    /// The site of a value of this entry.
    pub(crate) fn site_of(self, value: Value) -> Option<Site> {
        self.with(|record| record.site_of(value))
    }

    /// Notes the name that a value is to have.
    pub(crate) fn name_value(self, value: Value, name: &str) {
        self.with_mut(|record| record.names.push((value, name.into())));
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.name()).finish()
    }
}

/// Restores the scope that was current when it was made.
#[must_use]
pub(crate) struct ScopeGuard<'b> {
    entry: Entry<'b>,
    outer: Arc<str>,
}

impl Drop for ScopeGuard<'_> {
    fn drop(&mut self) {
        self.entry.with_mut(|record| std::mem::replace(&mut record.scope, self.outer.clone()));
    }
}

/// What is wrong with a type that no memory holds: a length below zero, or too many bytes.
fn oversized(ty: &Type) -> Option<Diagnostic> {
    let constant = ty.shape.symbols().next().is_none();
    let negative = |dim: &kilngrad_ir::Dim| dim.as_constant().is_some_and(|length| length < 0);
    let wrong = ty.shape.dims().iter().any(negative) || (constant && ty.byte_count().is_none());
    wrong.then(|| {
        Diagnostic::new("size_b1", format!("expected a size that fits memory, found {ty}"))
    })
}
