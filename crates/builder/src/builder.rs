//! The builder: states and entries of a program under construction.
//!
//! Everything that a user holds ([`Entry`], [`Tensor`](crate::Tensor), [`Length`], [`Scope`]) is a
//! `Copy` or cheap handle into the tables here, which are behind one `RefCell`. No call of a user's
//! code runs while it is borrowed.
//!
//! Nothing here returns `Result` or panics on a user's mistake: a failing call records one
//! diagnostic and yields a handle that every later call passes on in silence.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kilngrad_ir::{
    DType, Diagnostic, Dim, Mode, Program, Role, Site, State, StateId, Symbol, ValueName, verify,
};

use crate::entry::{Entry, EntryRecord};
use crate::error::BuildErrors;
use crate::init::Init;
use crate::optimizers::Group;
use crate::scope::Scope;
use crate::shape::{IntoShape, Length};

/// Builds a program: states, and entries over them.
///
/// ```
/// use kilngrad_builder::{Adam, Builder, Dense, F32, I64, Mode};
///
/// let b = Builder::new("digits");
/// let n = b.dim("n");
/// let layer = Dense::new(&b.scope("net"), "head", 64, 10);
/// let train = b.entry("train", Mode::Train);
/// let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
/// let loss = layer.forward(x).cross_entropy(y);
/// train.minimize(loss, b.params("net"), Adam::new(1e-3));
/// train.output("loss", loss);
/// let program = b.finish()?;
/// assert_eq!(program.states[0].path.as_ref(), "net.head.w");
/// # Ok::<(), kilngrad_builder::BuildErrors>(())
/// ```
pub struct Builder {
    pub(crate) id: BuilderId,
    pub(crate) inner: RefCell<Inner>,
}

/// Tells the builders of a process apart, so that a handle of one is not taken for one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BuilderId(u64);

/// What a builder knows so far.
pub(crate) struct Inner {
    name: Arc<str>,
    /// What `F32` stands for.
    pub(crate) float: DType,
    pub(crate) lengths: Lengths,
    pub(crate) states: Vec<State>,
    pub(crate) state_records: Vec<StateRecord>,
    paths: HashMap<Arc<str>, StateId>,
    pub(crate) entries: Vec<EntryRecord>,
    pub(crate) groups: Vec<Group>,
    diagnostics: Vec<Diagnostic>,
    /// Whose line everything is that a closure of a layer appends, while it does.
    attributed: Option<&'static Location<'static>>,
    /// The region of control flow that is being written, the innermost one: the index of its record.
    pub(crate) open: Option<usize>,
}

/// What the builder knows of a state beside what the program says.
pub(crate) struct StateRecord {
    /// Where it was declared.
    pub(crate) site: &'static Location<'static>,
    /// The path of the scope that it was declared in.
    pub(crate) scope: Arc<str>,
}

/// The polynomials that [`Length`]s stand for, each once.
#[derive(Default)]
pub(crate) struct Lengths {
    dims: Vec<Dim>,
    indices: HashMap<Dim, u32>,
}

impl Lengths {
    pub(crate) fn intern(&mut self, dim: Dim) -> u32 {
        if let Some(index) = self.indices.get(&dim) {
            return *index;
        }
        let index = u32::try_from(self.dims.len()).expect("a program has fewer than 2³² lengths");
        self.dims.push(dim.clone());
        self.indices.insert(dim, index);
        index
    }

    pub(crate) fn get(&self, index: u32) -> &Dim {
        &self.dims[index as usize]
    }
}

/// A parameter: a plain id that outlives the borrow of its builder, so that models are plain
/// structs. Its path is its identity; sharing it is using it again.
///
/// ```
/// use kilngrad_builder::{Builder, Init, Mode, Param};
///
/// struct Scale(Param); // a model is a plain struct: `'static`, `Copy`
/// let b = Builder::new("model");
/// let scale = Scale(b.param("scale", (3,), Init::Ones));
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", e.read(scale.0) * 2.0);
/// assert_eq!(b.finish()?.states[0].path.as_ref(), "scale");
/// # Ok::<(), kilngrad_builder::BuildErrors>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Param {
    pub(crate) builder: BuilderId,
    /// `None` where declaring it failed.
    pub(crate) state: Option<StateId>,
    pub(crate) site: &'static Location<'static>,
}

impl Param {
    /// Whether declaring it failed: a layer then declares nothing more, so that one mistake is one
    /// diagnostic.
    pub(crate) fn is_failed(self) -> bool {
        self.state.is_none()
    }
}

/// Some parameters in the order of their declaration: what [`Builder::params`] selects.
///
/// ```
/// use kilngrad_builder::{Builder, Init, Params};
///
/// let b = Builder::new("choice");
/// let [w, v] = ["net.w", "net.v"].map(|path| b.param(path, (2,), Init::Zeros));
/// assert_eq!(b.params("net"), Params::from([w, v]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pub(crate) list: Vec<Param>,
    /// Whether selecting them failed, so that what needs them fails in silence.
    pub(crate) failed: bool,
}

impl Params {
    /// The parameters.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Init};
    ///
    /// let b = Builder::new("count");
    /// let w = b.param("net.w", (2,), Init::Zeros);
    /// assert!(b.params("net").iter().eq([w]));
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Param> + '_ {
        self.list.iter().copied()
    }

    /// These parameters without those of `others`: what is left out of an optimizer is frozen.
    ///
    /// ```
    /// use kilngrad_builder::*;
    ///
    /// let b = Builder::new("fine tuning");
    /// let net = b.scope("net");
    /// let (body, head) = (Dense::new(&net, "body", 8, 8), Dense::new(&net, "head", 8, 2));
    /// let trained = b.params("net").except(&b.params("net.body"));
    /// assert_eq!(trained, b.params("net.head"));
    /// # let _ = (body, head);
    /// ```
    #[must_use]
    pub fn except(mut self, others: &Params) -> Params {
        self.list.retain(|param| others.list.iter().all(|other| other.state != param.state));
        self.failed |= others.failed;
        self
    }
}

impl From<Param> for Params {
    fn from(param: Param) -> Params {
        Params { list: vec![param], failed: false }
    }
}

impl From<Vec<Param>> for Params {
    fn from(list: Vec<Param>) -> Params {
        Params { list, failed: false }
    }
}

impl From<&[Param]> for Params {
    fn from(list: &[Param]) -> Params {
        list.to_vec().into()
    }
}

impl<const N: usize> From<[Param; N]> for Params {
    fn from(list: [Param; N]) -> Params {
        list.to_vec().into()
    }
}

impl Builder {
    /// A builder of a program called `name`, which may be any text.
    ///
    /// ```
    /// use kilngrad_builder::Builder;
    ///
    /// assert_eq!(&*Builder::new("digits").finish()?.name, "digits");
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    pub fn new(name: &str) -> Builder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let inner = Inner {
            name: name.into(),
            float: DType::F32,
            lengths: Lengths::default(),
            states: Vec::new(),
            state_records: Vec::new(),
            paths: HashMap::new(),
            entries: Vec::new(),
            groups: Vec::new(),
            diagnostics: Vec::new(),
            attributed: None,
            open: None,
        };
        Builder { id: BuilderId(NEXT.fetch_add(1, Ordering::Relaxed)), inner: RefCell::new(inner) }
    }

    /// Makes `F32` mean `float`, one of `F32` and `F64`, in every later call of this builder:
    /// inputs, parameters and states, constants, casts, random numbers. Everything else has the
    /// dtype of its operands and follows. `F64` always means `F64`.
    ///
    /// The same declaration is so a program for training and one for checking it: feed `f64` to
    /// the inputs that say `F32`, and read `f64` from the outputs. Initial values are the same
    /// numbers before rounding; random draws of an entry are not, since the two dtypes take
    /// different bits of the generator.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, F64, Mode};
    ///
    /// let b = Builder::new("checked").with_float(F64);
    /// let x = b.entry("run", Mode::Eval).input("x", F32, (3,));
    /// assert_eq!(x.ty().expect("nothing failed").dtype, F64);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn with_float(self, float: DType) -> Builder {
        if float.is_float() {
            self.inner.borrow_mut().float = float;
        } else {
            let message = format!("expected a float dtype (f32, f64), found {float}");
            self.report(Diagnostic::new("cast_b1", message).at(Site::caller(Location::caller())));
        }
        self
    }

    /// The symbolic length called `name`; the same one each time.
    ///
    /// Names are an ASCII letter or underscore, then letters, digits and underscores.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("any batch");
    /// let e = b.entry("run", Mode::Eval);
    /// let (x, y) = (e.input("x", F32, (b.dim("n"), 4)), e.input("y", F32, (b.dim("n"), 1)));
    /// assert_eq!((x + y).ty().expect("one n").to_string(), "f32[n,4]");
    /// ```
    #[track_caller]
    pub fn dim(&self, name: &str) -> Length<'_> {
        if !is_word(name) || name.contains('.') {
            let message = format!("expected a word without dots as a name, found {name:?}");
            let site = Site::caller(Location::caller());
            self.report(Diagnostic::new("entry_b2", message).at(site));
            return Length::new(self, None);
        }
        Length::new(self, Some(Dim::symbol(Symbol::new(name))))
    }

    /// A scope for names: what is declared in it has `name` before its own, joined by a dot.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Init};
    ///
    /// let b = Builder::new("names");
    /// b.scope("net").param("w", (2,), Init::Zeros);
    /// assert!(b.finish()?.find_state("net.w").is_some());
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn scope(&self, name: &str) -> Scope<'_> {
        self.root().scope(name)
    }

    /// The scope without a name, which paths begin in.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Dense};
    ///
    /// let b = Builder::new("one layer");
    /// Dense::new(&b.root(), "fit", 1, 1);
    /// assert!(b.finish()?.find_state("fit.w").is_some());
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    pub fn root(&self) -> Scope<'_> {
        Scope::root(self)
    }

    /// Declares a parameter outside any scope: see [`Scope::param`].
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Init};
    ///
    /// let b = Builder::new("line");
    /// b.param("slope", (), Init::Constant(0.5));
    /// assert_eq!(b.finish()?.states[0].ty.to_string(), "f32[]");
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn param(&self, name: &str, shape: impl IntoShape, init: Init) -> Param {
        self.root().param(name, shape, init)
    }

    /// Declares a state outside any scope: see [`Scope::state`].
    ///
    /// ```
    /// use kilngrad_builder::{Builder, I64, Init};
    ///
    /// let b = Builder::new("counted");
    /// b.state("calls", I64, (), Init::Zeros);
    /// assert_eq!(b.finish()?.states[0].ty.to_string(), "i64[]");
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn state(&self, name: &str, dtype: DType, shape: impl IntoShape, init: Init) -> Param {
        self.root().state(name, dtype, shape, init)
    }

    /// The parameters declared so far whose path is `prefix` or lies under it: `"net"` selects
    /// `net.w` and `net.hidden.w` but not `network.w`; `""` selects all. Other states are none.
    ///
    /// Selecting nothing is an error, for it would freeze a model in silence.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Init};
    ///
    /// let b = Builder::new("prefixes");
    /// ["net.w", "net.hidden.w", "network.w"].map(|path| b.param(path, (2,), Init::Zeros));
    /// assert_eq!(b.params("net").iter().len(), 2);
    /// assert_eq!(b.params("").iter().len(), 3);
    /// ```
    #[track_caller]
    pub fn params(&self, prefix: &str) -> Params {
        let site = Location::caller();
        let inner = self.inner.borrow();
        let under = |path: &str| {
            prefix.is_empty()
                || path
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let states = inner.states.iter().enumerate();
        let list: Vec<Param> = states
            .filter(|(_, state)| state.role == Role::Parameter && under(&state.path))
            .map(|(index, _)| Param {
                builder: self.id,
                state: Some(StateId::from_index(index)),
                site: inner.state_records[index].site,
            })
            .collect();
        let failed = list.is_empty();
        // After an error of a declaration it may be that one which is missing.
        let declares = |rule: &str| rule.starts_with("param_") || rule.starts_with("init_");
        let all_declared = !inner.diagnostics.iter().any(|found| declares(found.rule));
        drop(inner);
        if failed && all_declared {
            let message = format!("expected at least one parameter under {prefix:?}, found none");
            let diagnostic = Diagnostic::new("param_b4", message).at(Site::caller(site));
            self.report(diagnostic.help(self.known_parameters()));
        }
        Params { list, failed }
    }

    fn known_parameters(&self) -> String {
        let inner = self.inner.borrow();
        let parameters = inner.states.iter().filter(|state| state.role == Role::Parameter);
        let mut paths: Vec<&str> = parameters.map(|state| &*state.path).collect();
        let count = paths.len();
        paths.truncate(8);
        match count {
            0 => "no parameter is declared yet".into(),
            1..=8 => format!("declared are {}", paths.join(", ")),
            _ => format!("declared are {} and {} more", paths.join(", "), count - paths.len()),
        }
    }

    /// Begins an entry, a function of the program. Its name is a word that no other entry has.
    ///
    /// Whether masks are drawn and statistics are the batch's is decided by `mode`, here and never
    /// at run time.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("two functions");
    /// for mode in [Mode::Train, Mode::Eval] {
    ///     let e = b.entry(mode.name(), mode);
    ///     e.output("y", e.input("x", F32, (3,)).exp());
    /// }
    /// assert_eq!(b.finish()?.entries.len(), 2);
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn entry(&self, name: &str, mode: Mode) -> Entry<'_> {
        let site = Location::caller();
        let mut inner = self.inner.borrow_mut();
        let earlier =
            inner.entries.iter().find(|entry| entry.region.is_none() && *entry.name == *name);
        let fault = if !is_word(name) {
            Some(Diagnostic::new("entry_b2", format!("expected a word as a name, found {name:?}")))
        } else {
            earlier.map(|earlier| {
                let message = format!("expected a new name for an entry, found {name:?} again");
                Diagnostic::new("entry_b3", message)
                    .related(format!("{name:?} is begun here"), Site::caller(earlier.site))
            })
        };
        inner.diagnostics.extend(fault.map(|fault| fault.at(Site::caller(site))));
        let index = inner.entries.len();
        inner.entries.push(EntryRecord::new(name, mode, site));
        Entry { builder: self, index }
    }

    /// Ends building: the program, verified.
    ///
    /// # Errors
    ///
    /// Every diagnostic at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("two mistakes");
    /// let e = b.entry("run", Mode::Eval);
    /// let x = e.input("x", F32, (3,));
    /// e.output("sum", x + e.zeros(F32, (4,)));
    /// e.output("part", x.index(0, 7));
    /// assert_eq!(b.finish().map_err(|errors| errors.diagnostics().len()), Err(2));
    /// ```
    pub fn finish(self) -> Result<Program, BuildErrors> {
        let inner = self.inner.into_inner();
        if !inner.diagnostics.is_empty() {
            return Err(BuildErrors::new(inner.diagnostics));
        }
        let paths: Vec<Arc<str>> = inner.states.iter().map(|state| state.path.clone()).collect();
        let entries = inner.entries.into_iter().filter(|entry| entry.region.is_none());
        let entries = entries.map(|entry| entry.finish(&paths)).collect();
        let program = Program { name: inner.name, states: inner.states, entries };
        match verify(&program) {
            Ok(()) => Ok(program),
            Err(error) => {
                let site = error.origin.site().cloned();
                let diagnostic = Diagnostic::new(error.error.rule, error.error.message).at(site);
                Err(BuildErrors::new(vec![diagnostic]))
            }
        }
    }

    /// The state at `path`, if it has this role.
    pub(crate) fn find(&self, path: &str, role: Role) -> Option<Param> {
        let inner = self.inner.borrow();
        let id = *inner.paths.get(path)?;
        let site = inner.state_records[id.index()].site;
        let known = inner.states[id.index()].role == role;
        known.then_some(Param { builder: self.id, state: Some(id), site })
    }

    /// The dtype that `dtype` stands for in this program.
    pub(crate) fn resolve_dtype(&self, dtype: DType) -> DType {
        match dtype {
            DType::F32 => self.inner.borrow().float,
            DType::F64 | DType::I32 | DType::I64 | DType::U8 | DType::Bool => dtype,
        }
    }

    /// Attributes everything that is appended to `site` until the guard is dropped: closures do not
    /// know whose call they are part of.
    pub(crate) fn attribute(&self, site: &'static Location<'static>) -> Attribution<'_> {
        let outer = self.inner.borrow_mut().attributed.replace(site);
        Attribution { builder: self, outer }
    }

    /// The line of a call: the caller's, unless it is attributed to another.
    pub(crate) fn site(&self, caller: &'static Location<'static>) -> &'static Location<'static> {
        self.inner.borrow().attributed.unwrap_or(caller)
    }

    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.inner.borrow_mut().diagnostics.push(diagnostic);
    }

    /// Reports why a parameter is not declared, at the caller's line.
    #[track_caller]
    pub(crate) fn failed_param(&self, diagnostic: Diagnostic) -> Param {
        let site = Location::caller();
        self.report(diagnostic.at(Site::caller(site)));
        Param { builder: self.id, state: None, site }
    }

    /// Adds a state whose type and initialiser are known to fit.
    ///
    /// Two states of one path are an error; the first one stays.
    pub(crate) fn declare(
        &self,
        state: State,
        scope: Arc<str>,
        site: &'static Location<'static>,
    ) -> Param {
        let mut inner = self.inner.borrow_mut();
        let id = StateId::from_index(inner.states.len());
        if let Some(earlier) = inner.paths.get(&state.path) {
            let earlier = inner.state_records[earlier.index()].site;
            let message = format!("expected a new path, found {:?} again", state.path);
            let diagnostic = Diagnostic::new("param_b2", message)
                .at(Site::caller(site))
                .related(format!("{:?} is declared here", state.path), Site::caller(earlier))
                .help("to share a parameter, use the same layer or `Param` again");
            inner.diagnostics.push(diagnostic);
            return Param { builder: self.id, state: None, site };
        }
        inner.paths.insert(state.path.clone(), id);
        inner.states.push(state);
        inner.state_records.push(StateRecord { site, scope });
        Param { builder: self.id, state: Some(id), site }
    }
}

/// Ends an attribution when it is dropped.
pub(crate) struct Attribution<'b> {
    builder: &'b Builder,
    outer: Option<&'static Location<'static>>,
}

impl Drop for Attribution<'_> {
    fn drop(&mut self) {
        self.builder.inner.borrow_mut().attributed = self.outer;
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.borrow();
        f.debug_struct("Builder")
            .field("name", &inner.name)
            .field("states", &inner.states.len())
            .field("entries", &inner.entries.iter().filter(|entry| entry.region.is_none()).count())
            .field("diagnostics", &inner.diagnostics)
            .finish_non_exhaustive()
    }
}

/// `path.name`, or `name` alone.
pub(crate) fn join(path: &str, name: &str) -> Arc<str> {
    if path.is_empty() { name.into() } else { format!("{path}.{name}").into() }
}

/// Whether the text form writes `name` bare.
pub(crate) fn is_word(name: &str) -> bool {
    ValueName::word(name).is_some()
}
