//! The one error that users meet.

use std::error::Error as StdError;
use std::fmt;

use crate::diagnostic::{Diagnostic, Source};

/// What kind of thing went wrong: what a program may want to tell apart.
///
/// ```
/// use kilngrad_ir::{Error, ErrorKind};
///
/// let retry = |error: &Error| matches!(error.kind(), ErrorKind::Io | ErrorKind::Memory);
/// assert!(!retry(&Error::new(ErrorKind::Shape, "expected [3], found [4]")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A program was declared wrongly; the message lists each diagnostic.
    Build,
    /// A text, file or array of bytes is not what it should be.
    Format,
    /// A gradient that does not exist was asked for.
    Gradient,
    /// No entry, input, output or state has this name.
    Name,
    /// A value has another dtype.
    DType,
    /// A value has another shape, or lengths do not fit together.
    Shape,
    /// A condition that the program states does not hold: an index is out of range, say.
    Check,
    /// A call was cancelled before it ended.
    Cancelled,
    /// Memory was refused or would not fit the address space.
    Memory,
    /// A call computed NaN or an infinity, and was asked to watch for them.
    NotFinite,
    /// The processor or the compiler lacks something.
    Unsupported,
    /// A file could not be read or written.
    Io,
    /// A defect of the compiler.
    Internal,
}

/// An error of the compiler or of an executable. It says what was expected and what was found; a
/// program tells errors apart by their [`kind`](Self::kind).
///
/// ```
/// use kilngrad_ir::{Error, ErrorKind};
///
/// let cause = std::io::Error::other("disk full");
/// let error = Error::caused(ErrorKind::Io, "could not write \"w.safetensors\"", cause);
/// assert_eq!(error.to_string(), "could not write \"w.safetensors\": disk full");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    diagnostics: Vec<Diagnostic>,
}

impl Error {
    /// An error with a message in lower case and without a period.
    ///
    /// ```
    /// use kilngrad_ir::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Name, "no input is called \"x\"");
    /// assert_eq!(error.to_string(), "no input is called \"x\"");
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            diagnostics: Vec::new(),
        }))
    }

    /// An error of several diagnostics, a paragraph each, with the lines that they are about where
    /// these are of a text that is at hand.
    ///
    /// ```
    /// use kilngrad_ir::{Diagnostic, Error, ErrorKind, Site, Source};
    ///
    /// let site = Site { file: "m.kg".into(), line: 2, column: 9 };
    /// let found = Diagnostic::new("text_t1", "expected a name in quotes").at(site).spanning(4);
    /// let source = Source { file: "m.kg", text: "kilngrad 1\nprogram oops" };
    /// let error = Error::diagnosed(ErrorKind::Format, vec![found.clone()], Some(&source));
    /// assert!(error.to_string().ends_with(" 2 | program oops\n   |         ^^^^"));
    /// // Of a text that is not at hand only the place is named.
    /// let error = Error::diagnosed(ErrorKind::Format, vec![found], None);
    /// assert!(error.to_string().ends_with("--> m.kg:2:9"));
    /// ```
    pub fn diagnosed(
        kind: ErrorKind,
        diagnostics: Vec<Diagnostic>,
        text: Option<&Source<'_>>,
    ) -> Error {
        let show = |diagnostic: &Diagnostic| {
            text.map_or_else(|| diagnostic.to_string(), |text| diagnostic.render(text))
        };
        let shown: Vec<String> = diagnostics.iter().map(show).collect();
        Error(Box::new(Inner { kind, message: shown.join("\n\n"), source: None, diagnostics }))
    }

    /// An error with what caused it.
    ///
    /// ```
    /// use kilngrad_ir::{Error, ErrorKind};
    ///
    /// let error = Error::caused(ErrorKind::Io, "could not read", std::io::Error::other("gone"));
    /// assert!(std::error::Error::source(&error).is_some());
    /// ```
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            source: Some(source.into()),
            diagnostics: Vec::new(),
        }))
    }

    /// What kind of thing went wrong.
    ///
    /// ```
    /// use kilngrad_ir::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::DType, "expected f32, found i64");
    /// assert_eq!(error.kind(), ErrorKind::DType);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The diagnostics that it is made of; none where it is of another kind.
    ///
    /// ```
    /// use kilngrad_ir::{Error, Program, text::Limits};
    ///
    /// let found = Program::parse("kilngrad 1\nprogram oops", &Limits::default());
    /// let error = Error::from(found.expect_err("the name is not in quotes"));
    /// let lines = error.diagnostics().iter().map(|found| found.site.as_ref().map(|site| site.line));
    /// assert!(lines.eq([Some(2)]));
    /// ```
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }
}

/// The message, then each cause after a colon; one of several lines begins on a line of its own.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            write!(f, ":{}{text}", if text.contains('\n') { '\n' } else { ' ' })?;
            cause = error.source();
        }
        Ok(())
    }
}

/// As [`Display`](fmt::Display), so that `fn main() -> Result<()>` prints it readably.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::caused(ErrorKind::Io, "input or output failed", error)
    }
}
