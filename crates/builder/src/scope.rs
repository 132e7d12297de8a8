//! Scopes: where layers and models declare their states.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use kilngrad_ir::{DType, Diagnostic, Role, Site, State, Type};

use crate::builder::{Builder, Param, join};
use crate::init::Init;
use crate::shape::IntoShape;

/// A prefix of paths: where layers and models declare their parameters.
///
/// ```
/// use kilngrad_builder::{Builder, Dense, Scope};
///
/// struct Net { hidden: Dense, head: Dense }
/// impl Net {
///     fn new(scope: &Scope<'_>) -> Net {
///         Net { hidden: Dense::new(scope, "hidden", 8, 4), head: Dense::new(scope, "head", 4, 1) }
///     }
/// }
/// let b = Builder::new("model");
/// Net::new(&b.scope("net"));
/// assert_eq!(b.params("net.head").iter().len(), 2);
/// ```
#[derive(Clone)]
pub struct Scope<'b> {
    builder: &'b Builder,
    path: Arc<str>,
}

impl<'b> Scope<'b> {
    /// The scope without a name.
    pub(crate) fn root(builder: &'b Builder) -> Scope<'b> {
        Scope { builder, path: "".into() }
    }

    /// The scope called `name` in this one. A name has no empty part between dots.
    ///
    /// ```
    /// use kilngrad_builder::Builder;
    ///
    /// let b = Builder::new("blocks");
    /// assert_eq!(b.scope("net").scope("block").path(), "net.block");
    /// ```
    #[track_caller]
    pub fn scope(&self, name: &str) -> Scope<'b> {
        self.check_name(name, Location::caller());
        Scope { builder: self.builder, path: join(&self.path, name) }
    }

    /// The path: the names of the scopes from the outside in, joined by dots.
    ///
    /// ```
    /// use kilngrad_builder::Builder;
    ///
    /// let b = Builder::new("paths");
    /// assert_eq!(b.scope("net.block").path(), "net.block");
    /// assert_eq!(b.root().path(), "");
    /// ```
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The builder that the scope belongs to.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Length, Scope};
    ///
    /// fn batch<'b>(scope: &Scope<'b>) -> Length<'b> {
    ///     scope.builder().dim("n")
    /// }
    /// let b = Builder::new("batch");
    /// assert_eq!(batch(&b.root()).dim(), b.dim("n").dim());
    /// ```
    pub fn builder(&self) -> &'b Builder {
        self.builder
    }

    /// Declares a parameter of dtype `F32`: a state that `minimize` may update.
    ///
    /// The shape has no symbol. Declaring a path twice is an error.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, Init};
    ///
    /// let b = Builder::new("matrix");
    /// b.scope("net").param("w", (2, 3), Init::Xavier);
    /// let program = b.finish()?;
    /// assert_eq!((&*program.states[0].path, program.states[0].ty.rank()), ("net.w", 2));
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn param(&self, name: &str, shape: impl IntoShape, init: Init) -> Param {
        self.declare(name, DType::F32, shape, init, Role::Parameter)
    }

    /// Declares a parameter of a given float dtype.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F64, Init};
    ///
    /// let b = Builder::new("precise");
    /// b.root().param_of("offset", F64, (), Init::Zeros);
    /// assert_eq!(b.finish()?.states[0].ty.to_string(), "f64[]");
    /// # Ok::<(), kilngrad_builder::BuildErrors>(())
    /// ```
    #[track_caller]
    pub fn param_of(&self, name: &str, dtype: DType, shape: impl IntoShape, init: Init) -> Param {
        self.declare(name, dtype, shape, init, Role::Parameter)
    }

    /// Declares a state that is not a parameter, such as a running mean: only
    /// [`Entry::update`](crate::Entry::update) changes it.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Init};
    ///
    /// let b = Builder::new("statistics");
    /// b.scope("norm").param("w", (4,), Init::Ones);
    /// b.scope("norm").state("mean", F32, (4,), Init::Zeros);
    /// assert_eq!(b.params("norm").iter().len(), 1);
    /// ```
    #[track_caller]
    pub fn state(&self, name: &str, dtype: DType, shape: impl IntoShape, init: Init) -> Param {
        self.declare(name, dtype, shape, init, Role::Buffer)
    }

    #[track_caller]
    fn declare(
        &self,
        name: &str,
        dtype: DType,
        shape: impl IntoShape,
        init: Init,
        role: Role,
    ) -> Param {
        let site = Location::caller();
        let failed = Param { builder: self.builder.id, state: None, site };
        let named = self.check_name(name, site);
        let Some(shape) = self.builder.resolve_shape(shape, site) else { return failed };
        if !named {
            return failed;
        }
        let path = join(&self.path, name);
        let ty = Type::new(self.builder.resolve_dtype(dtype), shape);
        if ty.byte_count().is_none() {
            let message = format!(
                "expected a type without symbols whose size fits memory, found {ty} of {path:?}"
            );
            self.builder.report(Diagnostic::new("param_b3", message).at(Site::caller(site)));
            return failed;
        }
        let init = match init.resolve(&path, &ty) {
            Ok(init) => init,
            Err(message) => {
                self.builder.report(Diagnostic::new("init_b1", message).at(Site::caller(site)));
                return failed;
            }
        };
        self.builder.declare(State { path, ty, init, role }, self.path.clone(), site)
    }

    fn check_name(&self, name: &str, site: &'static Location<'static>) -> bool {
        let fine = name.split('.').all(|part| !part.is_empty());
        if !fine {
            let message = format!("expected names joined by single dots, found {name:?}");
            self.builder.report(Diagnostic::new("entry_b2", message).at(Site::caller(site)));
        }
        fine
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.path).finish()
    }
}
