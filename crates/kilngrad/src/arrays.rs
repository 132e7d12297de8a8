//! Named arrays in files: safetensors.
//!
//! A file is eight bytes with the length of a header, the header (JSON: a name, a dtype, a shape and
//! a place for each array, and a table of texts), and the elements. Files are untrusted: what is
//! allocated is in proportion to the bytes that are there, never to a number that they state, and
//! what comes from a file is escaped where an error shows it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kilngrad_interp::Array;
use kilngrad_ir::text::{Limits, MAX_RANK, shown};
use kilngrad_ir::{DType, Error, ErrorKind, Type};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};

/// Reads every array of a safetensors file, by name.
///
/// # Errors
///
/// If the file cannot be read, is damaged or larger than `limits` allow, or has an array of a dtype
/// that is none of the compiler's.
///
/// # Examples
///
/// ```
/// use kilngrad::{Array, load_arrays, prelude::*, save_arrays};
/// use ndarray::array;
///
/// let name = format!("kilngrad-load-arrays-{}.safetensors", std::process::id());
/// let file = std::env::temp_dir().join(name);
/// save_arrays(&file, [("w", &array![[1f32, 2.0]].into()), ("step", &7i64.into())])?;
/// let arrays = load_arrays(&file, &Limits::default())?;
/// assert!(arrays.keys().eq(["step", "w"]));
/// assert_eq!(arrays["w"], Array::from(array![[1f32, 2.0]]));
///
/// // A file from anywhere takes no more memory than it is given.
/// let few = Limits { elements: 2, ..Limits::default() };
/// assert_eq!(load_arrays(&file, &few).map_err(|error| error.kind()), Err(ErrorKind::Format));
/// std::fs::remove_file(file)?;
/// # Ok::<(), Error>(())
/// ```
pub fn load_arrays(
    path: impl AsRef<Path>,
    limits: &Limits,
) -> Result<BTreeMap<String, Array>, Error> {
    let path = path.as_ref();
    let file = ArrayFile::parse(path, read(path, limits)?, limits)?;
    let arrays = file.names().into_iter().map(|name| {
        let found = file.get(&name).map_err(|found| {
            let expected = format!("{path:?}: expected an array of a dtype of the compiler for");
            Error::new(ErrorKind::Format, format!("{expected} {}, found {found}", excerpt(&name)))
        });
        let (ty, bytes) = found?;
        let shape = ty.shape.as_constant().unwrap_or_default();
        let array = Array::from_bytes(ty.dtype, &shape, bytes).ok_or_else(|| {
            let message =
                format!("{path:?}: expected truth values of 0 and 1 in {}", excerpt(&name));
            Error::new(ErrorKind::Format, message)
        })?;
        Ok((name, array))
    });
    arrays.collect()
}

/// Writes arrays as safetensors. The file is written beside `path` and renamed, so what was there is
/// whole or replaced.
///
/// # Errors
///
/// If the file cannot be written.
///
/// # Examples
///
/// ```
/// use kilngrad::{Array, prelude::*, save_arrays};
/// use ndarray::array;
///
/// // Weights from elsewhere: an array for each state, under its path.
/// let weights = [("w", Array::from(array![3f32, 4.0])), ("bias", Array::from(5f32))];
/// let name = format!("kilngrad-save-arrays-{}.safetensors", std::process::id());
/// let file = std::env::temp_dir().join(name);
/// save_arrays(&file, weights.iter().map(|(path, array)| (*path, array)))?;
///
/// let b = Builder::new("line");
/// b.param("w", (2,), Init::Zeros);
/// b.param("bias", (), Init::Zeros);
/// let mut exe = b.finish()?.compile(&Options::new())?;
/// exe.load(&file, &Load::strict())?;
/// assert_eq!(exe.state::<f32>("w")?, array![3f32, 4.0].into_dyn());
/// assert_eq!(exe.state::<f32>("bias")?.sum(), 5.0);
/// std::fs::remove_file(file)?;
/// # Ok::<(), Error>(())
/// ```
pub fn save_arrays<'a>(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (&'a str, &'a Array)>,
) -> Result<(), Error> {
    let owned: Vec<(&str, Type, Vec<u8>)> =
        arrays.into_iter().map(|(name, array)| (name, array.ty(), array.to_bytes())).collect();
    let arrays = owned.iter().map(|(name, ty, bytes)| (*name, ty, bytes.as_slice()));
    write_arrays(path.as_ref(), arrays, None)
}

/// The bytes of a file that is not larger than `limits` allow.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::caused(ErrorKind::Io, format!("could not read {path:?}"), error);
    let most = limits.file_bytes as u64;
    let file = File::open(path).map_err(failed)?;
    let stated = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    if stated <= most {
        // A file may grow while it is read, and what is no file has no length.
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    if stated > most || bytes.len() as u64 > most {
        let found = stated.max(bytes.len() as u64);
        let message = format!("{path:?}: expected a file of at most {most} bytes, found {found}");
        return Err(Error::new(ErrorKind::Format, message));
    }
    Ok(bytes)
}

/// Whether a file's bytes begin as those of a safetensors file, which no text does: a text's first
/// eight characters are not the length of anything that fits memory.
pub(crate) fn looks_like_arrays(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else { return false };
    rest.first() == Some(&b'{') && u64::from_le_bytes(*length) <= rest.len() as u64
}

/// A safetensors file that has been checked.
#[derive(Debug)]
pub(crate) struct ArrayFile {
    bytes: Vec<u8>,
    /// Where the elements begin.
    start: usize,
    header: Metadata,
}

impl ArrayFile {
    /// Checks the file's bytes; errors name it by `path`.
    pub(crate) fn parse(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<ArrayFile, Error> {
        let damaged = |why: String| {
            // The format's own reader repeats what it found, however long.
            let why: String = why.chars().take(200).collect();
            let message = format!("{path:?} is not a safetensors file: {}", shown(&why));
            Error::new(ErrorKind::Format, message)
        };
        check_header(&bytes, limits).map_err(damaged)?;
        let (length, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let file = ArrayFile { bytes, start: size_of::<u64>() + length, header };
        let mut elements = 0usize;
        for info in file.header.tensors().into_values() {
            // What is of no known type is refused when it is asked for.
            if type_of(info.dtype, &info.shape).is_ok() {
                let count = count_within(&info.shape, limits).map_err(damaged)?;
                elements = elements.saturating_add(count);
            }
        }
        match elements > limits.elements {
            false => Ok(file),
            true => {
                let most = limits.elements;
                Err(damaged(format!("expected at most {most} elements, found more")))
            }
        }
    }

    /// The names of the arrays, in the order of their elements.
    pub(crate) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Whether there is an array of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    /// A text of the header's table.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// An array's type and elements, or what there is instead.
    pub(crate) fn get(&self, name: &str) -> Result<(Type, &[u8]), String> {
        let info = self.header.info(name).ok_or("none")?;
        let ty = type_of(info.dtype, &info.shape)?;
        let (from, to) = info.data_offsets;
        Ok((ty, &self.bytes[self.start + from..self.start + to]))
    }
}

/// Writes arrays with an entry of the header's table.
pub(crate) fn write_arrays<'a>(
    path: &Path,
    arrays: impl IntoIterator<Item = (&'a str, &'a Type, &'a [u8])>,
    text: Option<(&str, String)>,
) -> Result<(), Error> {
    write(path, &serialized(path, arrays, text)?)
}

/// The bytes of a file of arrays with an entry of the header's table. One entry, for the format's
/// writer puts several in any order.
pub(crate) fn serialized<'a>(
    path: &Path,
    arrays: impl IntoIterator<Item = (&'a str, &'a Type, &'a [u8])>,
    text: Option<(&str, String)>,
) -> Result<Vec<u8>, Error> {
    let refused = |error| {
        Error::caused(ErrorKind::Format, format!("could not write {path:?} as safetensors"), error)
    };
    let views = arrays.into_iter().map(|(name, ty, bytes)| {
        let shape = ty.shape.as_constant().unwrap_or_default();
        Ok((name, TensorView::new(dtype_in_file(ty.dtype), shape, bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(refused)?;
    let table = text.map(|(key, text)| [(key.to_owned(), text)].into());
    safetensors::serialize(views, table).map_err(refused)
}

/// Writes a file beside `path` and renames it, so that what was there is whole or replaced, whenever
/// the machine stops.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_by(path, &beside(path), bytes)
}

/// [`write`] by a file of this name in the same folder.
pub(crate) fn write_by(path: &Path, beside: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = File::create(beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| std::fs::rename(beside, path)).inspect_err(|_| {
        // The half-written file is of no use to anyone; that it could not be written is the error.
        let _ = std::fs::remove_file(beside);
    });
    renamed
        .and_then(|()| sync_folder(path))
        .map_err(|error| Error::caused(ErrorKind::Io, format!("could not write {path:?}"), error))
}

/// Lets the folder's list of names reach the disk, without which a renamed file may be lost.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    if cfg!(not(unix)) {
        // Other systems open no folder as a file; theirs order what is renamed by themselves.
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A name of its own in the same folder, so that renaming replaces at once.
fn beside(path: &Path) -> PathBuf {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{number}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// How many elements a shape has, if they are within the limits and their bytes are a number. A zero
/// counts as one there: whoever goes through an array's rows does so whether there is anything in
/// them or not.
pub(crate) fn count_within(shape: &[usize], limits: &Limits) -> Result<usize, String> {
    let most = limits.elements.min(usize::MAX / size_of::<u64>());
    let steps = shape.iter().try_fold(1usize, |steps, length| steps.checked_mul((*length).max(1)));
    let count = if shape.contains(&0) { Some(0) } else { steps };
    match (count, steps) {
        (Some(count), Some(steps)) if count <= most && steps <= most.max(1) => Ok(count),
        _ => Err(format!("expected at most {most} elements, found shape {shape:?}")),
    }
}

/// The beginning of a text from a file, in quotes and escaped, as errors show it.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// The first of some names, as errors list them.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 4;
    let mut names = names.into_iter();
    let mut list: Vec<String> = names.by_ref().take(SHOWN).map(excerpt).collect();
    if names.next().is_some() {
        list.push("…".into());
    }
    list.join(", ")
}

fn dtype_in_file(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// The type of an array, whose size fits memory; the error says what there is instead.
fn type_of(dtype: Dtype, shape: &[usize]) -> Result<Type, String> {
    let known = DType::ALL.into_iter().find(|known| dtype_in_file(*known) == dtype);
    // Of lengths beside a zero the product says nothing.
    let fits = shape.iter().all(|length| i64::try_from(*length).is_ok());
    let ty = known.filter(|_| fits).map(|known| Type::new(known, shape.iter().copied().collect()));
    ty.filter(|ty| ty.byte_count().is_some()).ok_or_else(|| format!("{dtype}{shape:?}"))
}

/// Checks a header before it is read into tables: that names are unique, and that there are not
/// more of them, nor more axes, than `limits` and the language allow.
fn check_header(bytes: &[u8], limits: &Limits) -> Result<(), String> {
    let length =
        bytes.split_first_chunk().map(|(length, rest)| (u64::from_le_bytes(*length), rest));
    let header = length.and_then(|(length, rest)| rest.get(..usize::try_from(length).ok()?));
    let header = header.ok_or("expected a header of the stated length, found the end")?;
    let mut json = serde_json::Deserializer::from_slice(header);
    let arrays = Names { most: limits.values, arrays: true };
    arrays.deserialize(&mut json).map_err(|error| error.to_string())
}

/// An object whose names are unique: of the header, whose values are arrays but for the table of
/// texts, or that table.
struct Names {
    most: usize,
    arrays: bool,
}

/// What the header says of an array, as far as it is checked here.
#[derive(serde::Deserialize)]
struct Stated {
    #[serde(rename = "shape")]
    _shape: Axes,
}

/// Not too many axes.
struct Axes;

impl<'de> DeserializeSeed<'de> for Names {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Names {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let error = <A::Error as serde::de::Error>::custom::<String>;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.arrays && name == "__metadata__" {
                map.next_value_seed(Names { most: self.most, arrays: false })?;
            } else if self.arrays {
                map.next_value::<Stated>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if names.contains(&name) {
                let name = excerpt(&name);
                return Err(error(format!("expected unique names, found {name} twice")));
            }
            names.insert(name);
            if names.len() > self.most {
                return Err(error(format!("expected at most {} names, found more", self.most)));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Axes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Axes, D::Error> {
        deserializer.deserialize_seq(Axes)
    }
}

impl<'de> serde::de::Visitor<'de> for Axes {
    type Value = Axes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of lengths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut lengths: A) -> Result<Axes, A::Error> {
        let mut rank = 0;
        while lengths.next_element::<IgnoredAny>()?.is_some() {
            rank += 1;
            if rank > MAX_RANK {
                let message = format!("expected at most {MAX_RANK} axes, found more");
                return Err(serde::de::Error::custom(message));
            }
        }
        Ok(Axes)
    }
}
