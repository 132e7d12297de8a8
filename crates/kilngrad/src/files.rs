//! Programs in files: a text with its arrays beside it, or one file of arrays with the text in it.
//!
//! `NAME.kg` is a program's text; arrays of more than [`IN_TEXT`] elements are in
//! `NAME.kg.safetensors` beside it. `NAME.safetensors` holds every array that a state begins with,
//! under the state's path, so that any reader of the format finds the weights, and the text in the
//! header's table under [`PROGRAM`]. Both are the same text with the same keys.
//!
//! An executable is saved as its program whose states begin with what they hold now: a program that
//! is loaded and compiled goes on from there.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use kilngrad_ir::text::{self, Limits, ParseOptions, PrintOptions, Printed};
use kilngrad_ir::{Dense, Error, ErrorKind, Init, Program, Source, Type};

use crate::arrays::{ArrayFile, excerpt, listed, looks_like_arrays, read, write, write_arrays};

/// The key of the program's text in a header's table.
const PROGRAM: &str = "kilngrad.program";

/// Arrays of more elements than this are not in the text.
const IN_TEXT: usize = 256;

/// How weights are loaded into an executable.
///
/// ```
/// use kilngrad::{prelude::*, save_arrays};
///
/// let name = format!("kilngrad-load-{}.safetensors", std::process::id());
/// let file = std::env::temp_dir().join(name);
/// save_arrays(&file, [("w", &2f32.into())])?; // and no bias
///
/// let b = Builder::new("line");
/// b.param("w", (), Init::Zeros);
/// b.param("bias", (), Init::Ones);
/// let mut exe = b.finish()?.compile(&Options::new())?;
/// assert!(exe.load(&file, &Load::strict()).is_err());
/// assert_eq!(exe.state::<f32>("w")?.sum(), 0.0); // nothing has changed
/// exe.load(&file, &Load::partial())?;
/// assert_eq!(exe.state::<f32>("w")?.sum(), 2.0);
/// assert_eq!(exe.state::<f32>("bias")?.sum(), 1.0);
/// std::fs::remove_file(file)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    partial: bool,
    limits: Limits,
}

impl Load {
    /// The file has exactly the program's states, of their types; anything else is an error.
    ///
    /// ```
    /// use kilngrad::{prelude::*, save_arrays};
    ///
    /// let b = Builder::new("line");
    /// b.param("w", (), Init::Zeros);
    /// let mut exe = b.finish()?.compile(&Options::new())?;
    ///
    /// let name = format!("kilngrad-strict-{}.safetensors", std::process::id());
    /// let file = std::env::temp_dir().join(name);
    /// save_arrays(&file, [("w", &2f32.into()), ("bias", &1f32.into())])?;
    /// let error = exe.load(&file, &Load::strict()).expect_err("the program has no bias");
    /// assert!(error.to_string().contains("found unexpected \"bias\""));
    /// save_arrays(&file, [("w", &2f32.into())])?;
    /// assert_eq!(exe.load(&file, &Load::strict())?.loaded, ["w"]);
    /// std::fs::remove_file(file)?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn strict() -> Load {
        Load { partial: false, limits: Limits::default() }
    }

    /// States that the file has, of their types, are loaded, and the others keep their values;
    /// [`Loaded`] says which.
    ///
    /// ```
    /// use kilngrad::{prelude::*, save_arrays};
    ///
    /// let b = Builder::new("line");
    /// b.param("w", (), Init::Zeros);
    /// let mut exe = b.finish()?.compile(&Options::new())?;
    ///
    /// let name = format!("kilngrad-partial-{}.safetensors", std::process::id());
    /// let file = std::env::temp_dir().join(name);
    /// save_arrays(&file, [("w", &2f32.into()), ("bias", &1f32.into())])?;
    /// let done = exe.load(&file, &Load::partial())?;
    /// assert_eq!((done.loaded, done.unexpected), (vec!["w".into()], vec!["bias".into()]));
    /// assert_eq!(exe.state::<f32>("w")?.sum(), 2.0);
    /// std::fs::remove_file(file)?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn partial() -> Load {
        Load { partial: true, ..Load::strict() }
    }

    /// What the file may ask for, instead of [`Limits::default`].
    ///
    /// ```
    /// use kilngrad::{prelude::*, save_arrays};
    ///
    /// let b = Builder::new("line");
    /// b.param("w", (), Init::Zeros);
    /// let mut exe = b.finish()?.compile(&Options::new())?;
    ///
    /// let name = format!("kilngrad-limits-{}.safetensors", std::process::id());
    /// let file = std::env::temp_dir().join(name);
    /// save_arrays(&file, [("w", &2f32.into())])?;
    /// let small = Load::strict().limits(Limits { file_bytes: 16, ..Limits::default() });
    /// let error = exe.load(&file, &small).expect_err("the header is longer than that");
    /// assert_eq!(error.kind(), ErrorKind::Format);
    /// exe.load(&file, &Load::strict())?;
    /// std::fs::remove_file(file)?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Load {
        self.limits = limits;
        self
    }

    pub(crate) fn limits_of(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }
}

/// What loading weights did. Paths and names are in order.
///
/// ```
/// use kilngrad::{prelude::*, save_arrays};
/// use ndarray::array;
///
/// let b = Builder::new("line");
/// for path in ["a", "b", "c"] {
///     b.param(path, (), Init::Zeros);
/// }
/// let mut exe = b.finish()?.compile(&Options::new())?;
///
/// let name = format!("kilngrad-loaded-{}.safetensors", std::process::id());
/// let file = std::env::temp_dir().join(name);
/// let arrays = [("a", 1f32.into()), ("b", array![1f32, 2.0].into()), ("d", 4f32.into())];
/// save_arrays(&file, arrays.iter().map(|(path, array)| (*path, array)))?;
/// let done = exe.load(&file, &Load::partial())?;
/// assert_eq!(done.loaded, ["a"]);
/// assert_eq!(done.mismatched[0].path, "b");
/// assert_eq!(done.missing, ["c"]);
/// assert_eq!(done.unexpected, ["d"]);
/// std::fs::remove_file(file)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// States that have their values from the file.
    pub loaded: Vec<String>,
    /// States that the file has not.
    pub missing: Vec<String>,
    /// Arrays of the file that are no state of the program.
    pub unexpected: Vec<String>,
    /// States that the file has with another type.
    pub mismatched: Vec<Mismatch>,
}

/// A state that a file has with another type.
///
/// ```
/// use kilngrad::{prelude::*, save_arrays};
///
/// let b = Builder::new("line");
/// b.param("w", (3,), Init::Zeros);
/// let mut exe = b.finish()?.compile(&Options::new())?;
///
/// let name = format!("kilngrad-mismatch-{}.safetensors", std::process::id());
/// let file = std::env::temp_dir().join(name);
/// save_arrays(&file, [("w", &2f64.into())])?;
/// let wrong = &exe.load(&file, &Load::partial())?.mismatched[0];
/// assert_eq!(wrong.path, "w");
/// assert_eq!((wrong.expected.to_string(), &*wrong.found), ("f32[3]".into(), "f64[]"));
/// std::fs::remove_file(file)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The state.
    pub path: String,
    /// Its type.
    pub expected: Type,
    /// What the file has.
    pub found: String,
}

/// Writes a program as its file's name says.
pub(crate) fn save(program: &Program, path: &Path) -> Result<(), Error> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("kg") => {
            let options = PrintOptions { external_above: IN_TEXT, external_states: false };
            let printed = text::print(program, &options);
            // The arrays first: whoever finds the text finds what it names.
            if !printed.arrays.is_empty() {
                save_arrays(&printed, &arrays_of(path), None)?;
            }
            write(path, printed.text.as_bytes())
        }
        Some("safetensors") => {
            let options = PrintOptions { external_above: IN_TEXT, external_states: true };
            let printed = text::print(program, &options);
            save_arrays(&printed, path, Some((PROGRAM, printed.text.clone())))
        }
        Some(_) | None => {
            let message =
                format!("expected a name that ends in .kg or .safetensors, found {path:?}");
            Err(Error::new(ErrorKind::Format, message))
        }
    }
}

/// Writes the arrays that a text names.
fn save_arrays(printed: &Printed, path: &Path, text: Option<(&str, String)>) -> Result<(), Error> {
    let arrays = printed.arrays.iter();
    write_arrays(
        path,
        arrays.map(|array| (&*array.key, &array.ty, &array.elements.bytes()[..])),
        text,
    )
}

/// Reads a program from either kind of file, told apart by what is in it.
pub(crate) fn load(path: &Path, limits: &Limits) -> Result<Program, Error> {
    let bytes = read(path, limits)?;
    let stated = path.extension().is_some_and(|extension| extension == "safetensors");
    match stated || looks_like_arrays(&bytes) {
        true => one_file(path, bytes, limits),
        false => text_file(path, &bytes, limits),
    }
}

fn one_file(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Program, Error> {
    let file = ArrayFile::parse(path, bytes, limits)?;
    let text = file.text(PROGRAM).ok_or_else(|| {
        let message = format!(
            "{path:?}: expected a program's text under {PROGRAM} in the header, found weights alone: \
             load them into an executable"
        );
        Error::new(ErrorKind::Format, message)
    })?;
    // A line of this text is nothing that a reader can look up: origins are those that it states.
    let (program, named) = parse(path, text, limits, false, || Ok(&file))?;
    expect_named(path, &file, &named)?;
    Ok(program)
}

fn text_file(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Program, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("{path:?}: expected a program's text or a safetensors file");
        Error::caused(ErrorKind::Format, message, error)
    })?;
    let beside = arrays_of(path);
    // Of a text that names no array, what is beside it is no concern.
    let file = OnceCell::new();
    let open = || read(&beside, limits).and_then(|bytes| ArrayFile::parse(&beside, bytes, limits));
    let arrays = || file.get_or_init(|| open().map_err(|error| error.to_string())).as_ref();
    let (program, named) = parse(path, text, limits, true, arrays)?;
    if let Some(Ok(file)) = file.get() {
        expect_named(&beside, file, &named)?;
    }
    Ok(program)
}

/// Reads a text and the arrays that it names: the program, and these names. With `sites` a node
/// without an origin gets its line of the text for one.
fn parse<'f>(
    path: &Path,
    text: &str,
    limits: &Limits,
    sites: bool,
    arrays: impl Fn() -> Result<&'f ArrayFile, &'f String>,
) -> Result<(Program, HashSet<String>), Error> {
    let file = path.to_string_lossy();
    let options = ParseOptions { file: &file, limits: *limits, sites };
    let mut named = HashSet::new();
    let mut external = |key: &str, ty: &Type| {
        named.insert(key.to_owned());
        let found = arrays().map_err(String::clone).and_then(|file| elements(file, key, ty));
        found.map_err(|found| {
            format!("expected {ty} beside the text under the key {key:?}, found {found}")
        })
    };
    let program = text::parse(text, &options, &mut external)
        .map_err(|errors| errors.into_error(&Source { file: &file, text }))?;
    Ok((program, named))
}

/// Refuses a file with an array that the text does not name.
fn expect_named(path: &Path, file: &ArrayFile, named: &HashSet<String>) -> Result<(), Error> {
    match file.names().iter().find(|name| !named.contains(*name)) {
        None => Ok(()),
        Some(name) => {
            let name = excerpt(name);
            let message = format!("{path:?}: expected arrays that the text names, found {name}");
            Err(Error::new(ErrorKind::Format, message))
        }
    }
}

/// The elements of an array of this type, or what there is instead.
fn elements(file: &ArrayFile, name: &str, ty: &Type) -> Result<Dense, String> {
    let (found, bytes) = file.get(name)?;
    if found != *ty {
        return Err(found.to_string());
    }
    Dense::from_bytes(ty.dtype, bytes.into()).ok_or_else(|| other_truths(ty))
}

/// What there is instead of truth values.
pub(crate) fn other_truths(ty: &Type) -> String {
    format!("{ty} of other truth values than 0 and 1")
}

/// Where the arrays of a text are.
fn arrays_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".safetensors");
    name.into()
}

/// The program whose states begin with these values, in the order of its table.
pub(crate) fn with_states(program: &Program, values: impl IntoIterator<Item = Dense>) -> Program {
    let mut program = program.clone();
    for (state, value) in program.states.iter_mut().zip(values) {
        state.init = Init::Dense(value);
    }
    program
}

/// Gives states their values from a file by `set`. Everything is checked before the first changes.
pub(crate) fn load_states(
    program: &Program,
    path: &Path,
    load: &Load,
    set: impl FnMut(&str, &[u8]) -> Result<(), Error>,
) -> Result<Loaded, Error> {
    let file = ArrayFile::parse(path, read(path, &load.limits)?, &load.limits)?;
    load_states_of(program, path, &file, load, set)
}

/// [`load_states`] of a file that is read already.
pub(crate) fn load_states_of(
    program: &Program,
    path: &Path,
    file: &ArrayFile,
    load: &Load,
    mut set: impl FnMut(&str, &[u8]) -> Result<(), Error>,
) -> Result<Loaded, Error> {
    let names = file.names();
    let mut loaded = Loaded::default();
    let mut unexpected: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for state in &program.states {
        let path = state.path.to_string();
        if !unexpected.remove(&*path) {
            loaded.missing.push(path);
            continue;
        }
        match elements(file, &path, &state.ty) {
            Ok(_) => loaded.loaded.push(path),
            Err(found) => {
                loaded.mismatched.push(Mismatch { path, expected: state.ty.clone(), found });
            }
        }
    }
    // A program's own constants are in its file too, and are no weights.
    unexpected.retain(|name| !name.starts_with(text::CONSTANT_KEY));
    loaded.unexpected = unexpected.into_iter().map(str::to_owned).collect();
    if !load.partial {
        loaded.expect_all(path)?;
    }
    for name in &loaded.loaded {
        if let Ok((_, bytes)) = file.get(name) {
            set(name, bytes)?;
        }
    }
    Ok(loaded)
}

impl Loaded {
    /// The error of a file that has not exactly the states that are expected.
    pub(crate) fn expect_all(&self, path: &Path) -> Result<(), Error> {
        let mut wrong = Vec::new();
        for Mismatch { path, expected, found } in self.mismatched.iter().take(SHOWN) {
            wrong.push(format!("expected state {path:?} of {expected}, found {found}"));
        }
        for (what, names) in [("no", &self.missing), ("unexpected", &self.unexpected)] {
            if !names.is_empty() {
                let list = listed(names.iter().map(String::as_str));
                wrong.push(format!("expected the program's states, found {what} {list}"));
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => {
                let message = format!("{path:?}: {}", wrong.join("; "));
                Err(Error::new(ErrorKind::Format, message))
            }
        }
    }
}

/// How many states of another type an error lists.
const SHOWN: usize = 4;
