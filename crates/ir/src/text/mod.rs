//! The text form: `.kg` files and dumps.
//!
//! Text states a program whole: `parse(print(p)) == p` for every program that the verifier
//! accepts, with names, origins, places, plans and fused kernels, floats bit for bit. The language
//! is described in docs/ir.md. Large arrays may live beside the text, under keys (see
//! [`PrintOptions`] and [`parse`]).
//!
//! Printing takes any program, a broken one too, since a dump is wanted most where a pass went
//! wrong; parsing gives verified programs only.
//!
//! Files are untrusted. A file allocates in proportion to its own length and never for a number
//! that it merely states, nothing recurses but regions, which nest at most
//! [`MAX_NESTING`](crate::MAX_NESTING) deep, and what a file may ask for is bounded by [`Limits`].
//! Names from files are shown escaped.
//!
//! # Examples
//!
//! ```
//! use kilngrad_ir::{Program, text::Limits};
//!
//! let text = "kilngrad 1\nprogram \"p\"\n\nstate \"step\": i64[] = 0 buffer\n";
//! assert_eq!(Program::parse(text, &Limits::default())?.to_string(), text);
//! # Ok::<(), kilngrad_ir::text::ParseErrors>(())
//! ```

mod lex;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of tokens a rule names those that it takes; every other one is an error"
)]
mod parse;
mod print;
mod scope;

use std::fmt;

use crate::diagnostic::{Diagnostic, Source};
use crate::error::{Error, ErrorKind};
use crate::graph::is_word;
use crate::literal::Dense;
use crate::program::Program;
use crate::text::print::Beside;
use crate::types::Type;

/// The version in the first line of the text, which grows whenever a text would be read otherwise.
pub const VERSION: u64 = 1;

/// What keys of arrays that are no state's begin with.
pub const CONSTANT_KEY: &str = "kilngrad.constant.";

/// How many axes a type of a text may have.
pub const MAX_RANK: usize = 32;

/// How many terms the number of elements of a type of a text may have before it is reduced, and so
/// how many any length may have.
pub const MAX_TERMS: usize = 256;

/// How many symbols may be multiplied with each other in the number of elements of a type of a
/// text, and so in any length.
pub const MAX_DEGREE: usize = 32;

/// How many errors are reported before parsing stops.
pub const MAX_ERRORS: usize = 20;

/// What a file may ask for: a text, and the arrays beside it. The defaults are safe for files from
/// anywhere: a file within them is read in seconds, and in a small multiple of its own length and of
/// its states' size of memory.
///
/// ```
/// use kilngrad_ir::{Program, text::Limits};
///
/// let text = "kilngrad 1\nprogram \"p\"\nstate \"w\": f32[3] = [1.0, 2.0, 3.0] parameter\n";
/// assert!(Program::parse(text, &Limits::default()).is_ok());
/// assert!(Program::parse(text, &Limits { elements: 2, ..Limits::default() }).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a text; less than 2³² in any case. 256 MiB.
    pub bytes: usize,
    /// Bytes of a file of arrays, with what else is in it. 2 GiB.
    pub file_bytes: usize,
    /// Elements of all arrays that the text states or names and of all states, together, or of all
    /// arrays of a file. 256 Mi.
    pub elements: usize,
    /// Values of all graphs, and states, together, or arrays of a file. 4 Mi.
    pub values: usize,
    /// How deep regions nest; at most [`MAX_NESTING`](crate::MAX_NESTING) in any case.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 256 << 20,
            file_bytes: 2 << 30,
            elements: 256 << 20,
            values: 4 << 20,
            nesting: crate::verify::MAX_NESTING,
        }
    }
}

/// How a text is read.
///
/// ```
/// use kilngrad_ir::text::{ParseOptions, no_arrays, parse};
///
/// let text = "kilngrad 1\nprogram \"p\"\nentry @run(%x: f32[]) eval {\n  return x = %y\n}\n";
/// let options = ParseOptions { sites: true, ..ParseOptions::new("model.kg") };
/// let errors = parse(text, &options, &mut no_arrays).expect_err("there is no %y");
/// assert!(errors.to_string().contains("model.kg:4:"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ParseOptions<'a> {
    /// What diagnostics call the text: its path.
    pub file: &'a str,
    /// What it may ask for.
    pub limits: Limits,
    /// Whether a node without an origin gets its own line of the text for one, so that later
    /// errors name it. Without, text that is read and printed does not change.
    pub sites: bool,
}

impl<'a> ParseOptions<'a> {
    /// The default limits, and origins only where the text has them.
    ///
    /// ```
    /// use kilngrad_ir::text::{Limits, ParseOptions};
    ///
    /// assert_eq!(ParseOptions::new("model.kg").limits, Limits::default());
    /// ```
    pub fn new(file: &'a str) -> ParseOptions<'a> {
        ParseOptions { file, limits: Limits::default(), sites: false }
    }
}

/// How a program is written.
///
/// ```
/// use kilngrad_ir::text::PrintOptions;
///
/// assert_eq!(PrintOptions::default().external_above, usize::MAX);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrintOptions {
    /// Arrays of more elements are left out of the text, which names them by a key instead.
    pub external_above: usize,
    /// Whether every array that a state begins with is left out, however short: the arrays beside
    /// the text are then all the states' values.
    pub external_states: bool,
}

impl Default for PrintOptions {
    /// Every array is in the text.
    fn default() -> PrintOptions {
        PrintOptions { external_above: usize::MAX, external_states: false }
    }
}

/// A program as text, with the arrays that are beside it.
///
/// ```
/// use kilngrad_ir::{Program, Type, text::{Limits, ParseOptions, PrintOptions, parse, print}};
///
/// let text = "kilngrad 1\nprogram \"p\"\nstate \"w\": f32[3] = [1.0, 2.0, 3.0] parameter\n";
/// let program = Program::parse(text, &Limits::default())?;
/// let printed = print(&program, &PrintOptions { external_above: 2, ..PrintOptions::default() });
/// assert!(printed.text.contains("= external \"w\""));
///
/// let mut beside = |key: &str, ty: &Type| printed.array(key, ty);
/// let again = parse(&printed.text, &ParseOptions::new("p.kg"), &mut beside)?;
/// assert_eq!(again, program);
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Printed {
    /// The text.
    pub text: String,
    /// The arrays that the text names, by key, in the order of the text. A state's array has the
    /// state's path for its key; others have keys that begin with [`CONSTANT_KEY`] and are no
    /// state's path.
    pub arrays: Vec<NamedArray>,
}

/// An array beside a text.
///
/// ```
/// use kilngrad_ir::{Program, text::{Limits, PrintOptions, print}};
///
/// let text = "kilngrad 1\nprogram \"p\"\nstate \"net.w\": f32[2] = [1.0, 2.0] parameter\n";
/// let program = Program::parse(text, &Limits::default())?;
/// let options = PrintOptions { external_states: true, ..PrintOptions::default() };
/// let array = &print(&program, &options).arrays[0];
/// assert_eq!((&*array.key, array.ty.to_string()), ("net.w", "f32[2]".into()));
/// assert!(array.elements.iter().map(|element| element.to_f64()).eq([1.0, 2.0]));
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    /// What the text calls it.
    pub key: String,
    /// Its type.
    pub ty: Type,
    /// Its elements.
    pub elements: Dense,
}

impl Printed {
    /// The array of a type under a key, as [`parse`] asks for it.
    ///
    /// # Errors
    ///
    /// That there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_ir::{DType, Program, Type, text::{Limits, PrintOptions, print}};
    ///
    /// let text = "kilngrad 1\nprogram \"p\"\nstate \"net.w\": i64[2] = [4, 5] parameter\n";
    /// let program = Program::parse(text, &Limits::default())?;
    /// let printed = print(&program, &PrintOptions { external_above: 1, ..PrintOptions::default() });
    /// let pair = |dtype| Type::new(dtype, [2usize].into_iter().collect());
    /// let found = printed.array("net.w", &pair(DType::I64)).map(|array| array.len());
    /// assert_eq!(found, Ok(2));
    /// assert!(printed.array("net.w", &pair(DType::F32)).is_err());
    /// assert!(printed.array("net.v", &pair(DType::I64)).is_err());
    /// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
    /// ```
    pub fn array(&self, key: &str, ty: &Type) -> Result<Dense, String> {
        let found = self.arrays.iter().find(|array| array.key == key && array.ty == *ty);
        found.map_or_else(|| no_arrays(key, ty), |array| Ok(array.elements.clone()))
    }
}

/// Writes a program.
///
/// ```
/// use kilngrad_ir::{Program, text::{PrintOptions, print}};
///
/// let printed = print(&Program::new("empty"), &PrintOptions::default());
/// assert_eq!(printed.text, "kilngrad 1\nprogram \"empty\"\n");
/// ```
pub fn print(program: &Program, options: &PrintOptions) -> Printed {
    let mut printed = Printed { text: String::new(), arrays: Vec::new() };
    let beside = Some(Beside::new(program, options, &mut printed.arrays));
    print::write(program, &mut printed.text, beside).expect("a string takes any text");
    printed
}

/// Gives the array of this type that is beside the text under this key, or says why it cannot: what
/// was expected, and what was found.
///
/// ```
/// use kilngrad_ir::{DType, Dense, Init, Type, text::{ParseOptions, parse}};
///
/// let text = "kilngrad 1\nprogram \"p\"\nstate \"w\": u8[2] = external \"w\" parameter\n";
/// let weights = Dense::from_bytes(DType::U8, vec![4, 5].into()).expect("two elements");
/// let mut beside = |key: &str, ty: &Type| match key {
///     "w" if ty.dtype == DType::U8 => Ok(weights.clone()),
///     _ => Err(format!("expected {ty} called {key:?}, found none")),
/// };
/// let program = parse(text, &ParseOptions::new("p.kg"), &mut beside)?;
/// assert_eq!(program.states[0].init, Init::Dense(weights));
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
pub type External<'a> = &'a mut dyn FnMut(&str, &Type) -> Result<Dense, String>;

/// Of a text beside which there is nothing.
///
/// # Errors
///
/// Always.
///
/// # Examples
///
/// ```
/// use kilngrad_ir::text::{ParseOptions, no_arrays, parse};
///
/// let text = "kilngrad 1\nprogram \"p\"\nstate \"w\": u8[2] = external \"w\" parameter\n";
/// let errors = parse(text, &ParseOptions::new("p.kg"), &mut no_arrays).expect_err("w is missing");
/// assert!(errors.to_string().contains("expected u8[2] beside the text under the key \"w\""));
/// ```
pub fn no_arrays(key: &str, ty: &Type) -> Result<Dense, String> {
    Err(format!("expected {ty} beside the text under the key {}, found none", quoted(key)))
}

/// Reads and verifies a program; `external` gives the arrays beside the text by their keys.
///
/// # Errors
///
/// What is wrong with the text, up to [`MAX_ERRORS`] diagnostics in the order of the text.
///
/// # Examples
///
/// ```
/// use kilngrad_ir::text::{ParseOptions, no_arrays, parse};
///
/// let text = "kilngrad 1\nprogram \"empty\"\n";
/// let program = parse(text, &ParseOptions::new("empty.kg"), &mut no_arrays)?;
/// assert_eq!(&*program.name, "empty");
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
pub fn parse(
    text: &str,
    options: &ParseOptions<'_>,
    external: External<'_>,
) -> Result<Program, ParseErrors> {
    parse::parse(text, options, external)
}

impl Program {
    /// Reads a program from its text form and verifies it. See [`text::parse`](parse) for texts
    /// with arrays beside them and for diagnostics that name a file.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_ir::{Program, text::Limits};
    ///
    /// let text = r#"kilngrad 1
    /// program "twice"
    ///
    /// entry @run(%x: f32[n]) eval {
    ///   %0: f32[n] = add %x, %x
    ///   return y = %0
    /// }
    /// "#;
    /// let program = Program::parse(text, &Limits::default())?;
    /// assert_eq!(program.to_string(), text);
    /// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
    /// ```
    pub fn parse(text: &str, limits: &Limits) -> Result<Program, ParseErrors> {
        let options = ParseOptions { limits: *limits, ..ParseOptions::new("program.kg") };
        parse(text, &options, &mut no_arrays)
    }
}

/// What is wrong with a text; at least one diagnostic.
///
/// ```
/// use kilngrad_ir::{Program, text::Limits};
///
/// let errors = Program::parse("kilngrad 99\n", &Limits::default());
/// assert!(errors.expect_err("it is of the future").to_string().starts_with("error[text_"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors {
    diagnostics: Vec<Diagnostic>,
}

impl ParseErrors {
    /// The diagnostics, at most [`MAX_ERRORS`], in the order in which they were found. Their
    /// sites are in the file that the options name.
    ///
    /// ```
    /// use kilngrad_ir::{Program, text::Limits};
    ///
    /// let errors = Program::parse("", &Limits::default()).expect_err("it is empty");
    /// assert_eq!(errors.diagnostics().len(), 1);
    /// ```
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// As an error that shows the lines of the text that the diagnostics are about.
    ///
    /// ```
    /// use kilngrad_ir::{ErrorKind, Source, text::{ParseOptions, no_arrays, parse}};
    ///
    /// let text = "kilngrad 1\nprogram oops";
    /// let errors = parse(text, &ParseOptions::new("m.kg"), &mut no_arrays).expect_err("no quotes");
    /// let error = errors.into_error(&Source { file: "m.kg", text });
    /// assert_eq!(error.kind(), ErrorKind::Format);
    /// assert!(error.to_string().contains(" 2 | program oops"));
    /// ```
    pub fn into_error(self, source: &Source<'_>) -> Error {
        Error::diagnosed(ErrorKind::Format, self.diagnostics, Some(source))
    }

    /// The diagnostics with the lines of the text that they are about.
    ///
    /// ```
    /// use kilngrad_ir::{Program, Source, text::Limits};
    ///
    /// let text = "kilngrad 1\nprogram oops\n";
    /// let errors = Program::parse(text, &Limits::default()).expect_err("no quotes");
    /// let shown = errors.render(&Source { file: "program.kg", text });
    /// assert!(shown.contains(" 2 | program oops"));
    /// ```
    pub fn render(&self, source: &Source<'_>) -> String {
        let rendered: Vec<String> =
            self.diagnostics.iter().map(|diagnostic| diagnostic.render(source)).collect();
        rendered.join("\n\n")
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseErrors {}

impl From<ParseErrors> for Error {
    fn from(errors: ParseErrors) -> Error {
        Error::diagnosed(ErrorKind::Format, errors.diagnostics, None)
    }
}

/// Writes a program with every array in the text.
pub(crate) fn print_program(program: &Program, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print::write(program, f, None)
}

/// Text in quotes, with what is not printable escaped.
pub(crate) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// A path as it is where it has only letters, digits and `_ - . /`, else in quotes.
pub(crate) fn bare_or_quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(lex::is_path_byte) && !text.contains("//");
    if plain { text.to_owned() } else { quoted(text) }
}

/// A name as it is where it is a word, else in quotes.
pub(crate) fn word_or_quoted(text: &str) -> String {
    if is_word(text) { text.to_owned() } else { quoted(text) }
}

/// A name or path as messages show it: as it is where every character is printable, else in
/// quotes and escaped.
///
/// ```
/// use kilngrad_ir::text::shown;
///
/// assert_eq!(shown("model.kg"), "model.kg");
/// assert_eq!(shown("a\u{202e}b"), "\"a\\u{202e}b\""); // it would turn the writing direction
/// ```
pub fn shown(text: &str) -> String {
    if text.chars().all(is_printable) { text.to_owned() } else { quoted(text) }
}

/// Whether a character can be shown as it is. Those that move the cursor or the writing direction
/// cannot.
pub(crate) fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}
