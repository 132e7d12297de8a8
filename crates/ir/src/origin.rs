//! Provenance: where a value came from.
//!
//! An origin is syntax of the text form, not a comment: it survives printing and parsing, so a
//! dump read back still names the user's lines.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::graph::ValueName;

/// A position in a source file: a call of the builder in Rust, or a line of a `.kg` file.
///
/// ```
/// use kilngrad_ir::Site;
///
/// let site = Site { file: "src/main.rs".into(), line: 14, column: 20 };
/// assert_eq!(site.to_string(), "src/main.rs:14:20");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Path as the compiler was given it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Site {
    /// The site of a `#[track_caller]` call.
    ///
    /// ```
    /// use kilngrad_ir::Site;
    /// use std::panic::Location;
    ///
    /// let here = Location::caller();
    /// assert_eq!(Site::caller(here).line, here.line());
    /// ```
    pub fn caller(location: &Location<'_>) -> Site {
        Site { file: location.file().into(), line: location.line(), column: location.column() }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", crate::text::shown(&self.file), self.line, self.column)
    }
}

/// What is known of where a value came from. Cheap to clone.
///
/// ```
/// use kilngrad_ir::{Origin, Site, ValueName};
///
/// let site = Site { file: "src/main.rs".into(), line: 14, column: 20 };
/// let origin = Origin::call(site, "net".into()).cotangent(&ValueName::Number(7));
/// assert_eq!(origin.to_string(), "@src/main.rs:14:20 in \"net\" cotangent of %7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Origin(Option<Arc<OriginData>>);

/// The parts of an [`Origin`].
///
/// ```
/// use kilngrad_ir::{Origin, OriginData};
///
/// let data = OriginData { scope: "net".into(), ..OriginData::default() };
/// assert_eq!(Origin::new(data.clone()).data(), data);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OriginData {
    /// The user's call.
    pub site: Option<Site>,
    /// Names of the enclosing scopes joined by dots; empty outside any.
    pub scope: Arc<str>,
    /// The value that this is the cotangent of, as it was called when it was differentiated.
    pub cotangent_of: Option<ValueName>,
    /// Values that a pass replaced by this one, as they were called, in order.
    pub replaced: SmallVec<[ValueName; 2]>,
}

impl Origin {
    /// Nothing is known.
    ///
    /// ```
    /// use kilngrad_ir::Origin;
    ///
    /// assert_eq!(Origin::unknown().to_string(), "");
    /// ```
    pub fn unknown() -> Origin {
        Origin(None)
    }

    /// An origin with these parts.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, OriginData};
    ///
    /// assert_eq!(Origin::new(OriginData::default()), Origin::unknown());
    /// ```
    pub fn new(data: OriginData) -> Origin {
        if data == OriginData::default() { Origin(None) } else { Origin(Some(Arc::new(data))) }
    }

    /// A call of the builder within a scope.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, Site};
    ///
    /// let site = Site { file: "main.rs".into(), line: 3, column: 5 };
    /// assert_eq!(Origin::call(site, "net".into()).to_string(), "@main.rs:3:5 in \"net\"");
    /// ```
    pub fn call(site: Site, scope: Arc<str>) -> Origin {
        Origin::new(OriginData { site: Some(site), scope, ..OriginData::default() })
    }

    /// The user's call, if known.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, Site};
    ///
    /// let site = Site { file: "main.rs".into(), line: 3, column: 5 };
    /// assert_eq!(Origin::call(site.clone(), "".into()).site(), Some(&site));
    /// ```
    pub fn site(&self) -> Option<&Site> {
        self.0.as_ref().and_then(|data| data.site.as_ref())
    }

    /// The scope's path; empty outside any.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, Site};
    ///
    /// let site = Site { file: "main.rs".into(), line: 3, column: 5 };
    /// assert_eq!(Origin::call(site, "net.head".into()).scope(), "net.head");
    /// assert_eq!(Origin::unknown().scope(), "");
    /// ```
    pub fn scope(&self) -> &str {
        self.0.as_ref().map_or("", |data| &data.scope)
    }

    /// The value that this is the cotangent of.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, ValueName};
    ///
    /// let origin = Origin::unknown().cotangent(&ValueName::Number(7));
    /// assert_eq!(origin.cotangent_of(), Some(&ValueName::Number(7)));
    /// ```
    pub fn cotangent_of(&self) -> Option<&ValueName> {
        self.0.as_ref().and_then(|data| data.cotangent_of.as_ref())
    }

    /// Values that were replaced by this one.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, ValueName};
    ///
    /// let names = [3, 4].map(ValueName::Number);
    /// assert_eq!(Origin::unknown().replacing(&names).replaced(), names);
    /// ```
    pub fn replaced(&self) -> &[ValueName] {
        self.0.as_ref().map_or(&[], |data| &data.replaced)
    }

    /// The origin of the cotangent of the value called `name`, whose origin this is.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, ValueName};
    ///
    /// let origin = Origin::unknown().cotangent(&ValueName::Number(7));
    /// assert_eq!(origin.to_string(), "@? cotangent of %7");
    /// ```
    #[must_use]
    pub fn cotangent(&self, name: &ValueName) -> Origin {
        let mut data = self.data();
        data.cotangent_of = Some(name.clone());
        data.replaced.clear();
        Origin::new(data)
    }

    /// The origin of a value that replaces those called `names`, the first of which has this
    /// origin. At most eight names are kept, the first ones.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, ValueName};
    ///
    /// let origin = Origin::unknown().replacing(&[3, 4].map(ValueName::Number));
    /// assert_eq!(origin.to_string(), "@? replacing %3, %4");
    /// ```
    #[must_use]
    pub fn replacing<'a>(&self, names: impl IntoIterator<Item = &'a ValueName>) -> Origin {
        let mut data = self.data();
        for name in names {
            if data.replaced.len() < 8 && !data.replaced.contains(name) {
                data.replaced.push(name.clone());
            }
        }
        Origin::new(data)
    }

    /// The parts, owned.
    ///
    /// ```
    /// use kilngrad_ir::{Origin, OriginData};
    ///
    /// assert_eq!(Origin::unknown().data(), OriginData::default());
    /// ```
    pub fn data(&self) -> OriginData {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}

/// `@src/main.rs:14:20 in "net.hidden" cotangent of %7 replacing %3, %4`, with what is known;
/// empty where nothing is.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(data) = &self.0 else { return Ok(()) };
        f.write_str("@")?;
        match &data.site {
            Some(site) => {
                write!(
                    f,
                    "{}:{}:{}",
                    crate::text::bare_or_quoted(&site.file),
                    site.line,
                    site.column
                )?;
            }
            None => f.write_str("?")?,
        }
        if !data.scope.is_empty() {
            write!(f, " in {}", crate::text::quoted(&data.scope))?;
        }
        if let Some(name) = &data.cotangent_of {
            write!(f, " cotangent of {name}")?;
        }
        for (index, name) in data.replaced.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { " replacing " } else { ", " })?;
        }
        Ok(())
    }
}
