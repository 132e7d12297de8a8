//! NumPy's formats: an array in `.npy`, several in `.npz`.
//!
//! The header of an array is a Python dictionary of three keys, of which no more is read than NumPy
//! writes. An `.npz` is a zip archive of arrays, stored or deflated; what the archive says of sizes is
//! checked against what is there, and the sums of its content are.

#[cfg(feature = "data")]
use std::collections::BTreeMap;
use std::path::Path;

use kilngrad_interp::Array;
use kilngrad_ir::text::{Limits, MAX_RANK};
use kilngrad_ir::{DType, Error, ErrorKind};

use crate::arrays::{count_within, excerpt, read};
use crate::data::{for_array, named};

/// Reads a `.npy` file: see [`parse_npy`].
///
/// ```
/// use kilngrad::{Limits, data::read_npy};
/// let error = read_npy("/no/such/file.npy", &Limits::default()).unwrap_err().to_string();
/// assert!(error.contains("file.npy"));
/// ```
///
/// # Errors
///
/// If the file cannot be read or is larger than `limits` allow, and as [`parse_npy`].
pub fn read_npy(path: impl AsRef<Path>, limits: &Limits) -> Result<Array, Error> {
    let path = path.as_ref();
    named(path, parse_npy(&read(path, limits)?, limits))
}

/// The array of the bytes of a `.npy` file, in either order, of one of the compiler's dtypes,
/// little-endian.
///
/// ```
/// use kilngrad::{Limits, data::parse_npy};
///
/// let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
/// let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
/// bytes.extend((header.len() as u16).to_le_bytes());
/// bytes.extend(header.as_bytes());
/// bytes.extend([1f32, 2.0].map(f32::to_le_bytes).concat());
/// assert_eq!(parse_npy(&bytes, &Limits::default())?, vec![1f32, 2.0].into());
/// # Ok::<(), kilngrad::Error>(())
/// ```
///
/// # Errors
///
/// If it is no such file, is cut, too long, or larger than `limits` allow.
pub fn parse_npy(bytes: &[u8], limits: &Limits) -> Result<Array, Error> {
    parse(bytes, limits).map_err(|message| Error::new(ErrorKind::Format, message))
}

fn parse(bytes: &[u8], limits: &Limits) -> Result<Array, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("expected NumPy's magic, found none")?;
    let cut = "expected a header of the stated length, found the end";
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
    let (length, rest) = match version {
        [1, _] => {
            let (length, rest) = rest.split_first_chunk().ok_or(cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        [2 | 3, _] => {
            let (length, rest) = rest.split_first_chunk().ok_or(cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        [major, minor] => {
            return Err(format!("expected version 1, 2 or 3, found {major}.{minor}"));
        }
    };
    let (header, elements) = rest.split_at_checked(length).ok_or(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| "expected a header that is text")?;
    let Header { dtype, fortran, shape } = Header::parse(header)?;
    let (expected, found) = (count_within(&shape, limits)? * dtype.size(), elements.len());
    if found != expected {
        return Err(format!("expected {expected} bytes of {dtype}{shape:?}, found {found}"));
    }
    let truth = || format!("expected truth values of 0 and 1 in {dtype}{shape:?}");
    if !fortran {
        return Array::from_bytes(dtype, &shape, elements).ok_or_else(truth);
    }
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let array = Array::from_bytes(dtype, &reversed, elements).ok_or_else(truth)?;
    Ok(for_array!(array, array => {
        array.reversed_axes().as_standard_layout().into_owned().into()
    }))
}

/// What the dictionary says.
struct Header {
    dtype: DType,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Header, String> {
        let wrong = || format!("expected a header as NumPy writes it, found {}", excerpt(text));
        let inside = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let mut rest = inside.ok_or_else(wrong)?.trim();
        let (mut dtype, mut fortran, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = string(rest).ok_or_else(wrong)?;
            let after = after.trim_start().strip_prefix(':').ok_or_else(wrong)?.trim_start();
            rest = match key {
                "descr" => {
                    let (found, after) = string(after).ok_or_else(wrong)?;
                    dtype = Some(dtype_of(found)?);
                    after
                }
                "fortran_order" => {
                    let words = [("True", true), ("False", false)];
                    let found = words
                        .iter()
                        .find_map(|(word, value)| Some((*value, after.strip_prefix(word)?)));
                    let (value, after) = found.ok_or_else(wrong)?;
                    fortran = Some(value);
                    after
                }
                "shape" => {
                    let (inside, after) = after
                        .strip_prefix('(')
                        .and_then(|after| after.split_once(')'))
                        .ok_or_else(wrong)?;
                    shape = Some(lengths(inside).ok_or_else(wrong)?);
                    after
                }
                _ => return Err(wrong()),
            };
            rest = rest.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if rest.is_empty() => rest,
                None => return Err(wrong()),
            };
        }
        let (dtype, fortran, shape) =
            (dtype.ok_or_else(wrong)?, fortran.ok_or_else(wrong)?, shape.ok_or_else(wrong)?);
        if shape.len() > MAX_RANK {
            return Err(format!("expected at most {MAX_RANK} axes, found {}", shape.len()));
        }
        Ok(Header { dtype, fortran, shape })
    }
}

/// A string in single quotes without escapes, and what follows.
fn string(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'')
}

/// The lengths of a tuple.
fn lengths(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|length| length.trim().parse().ok()).collect()
}

fn dtype_of(found: &str) -> Result<DType, String> {
    let (order, kind) = found.split_at_checked(1).unwrap_or(("", ""));
    match (order, kind) {
        ("<", "f4") => Ok(DType::F32),
        ("<", "f8") => Ok(DType::F64),
        ("<", "i4") => Ok(DType::I32),
        ("<", "i8") => Ok(DType::I64),
        ("|", "u1") => Ok(DType::U8),
        ("|", "b1") => Ok(DType::Bool),
        _ => {
            let found = excerpt(found);
            Err(format!("expected one of <f4, <f8, <i4, <i8, |u1 and |b1, found {found}"))
        }
    }
}

/// Reads the arrays of a `.npz` file by name: see [`parse_npz`].
///
/// ```
/// use kilngrad::{Limits, data::read_npz};
/// assert!(read_npz("/no/such/file.npz", &Limits::default()).is_err());
/// ```
///
/// # Errors
///
/// If the file cannot be read or is larger than `limits` allow, and as [`parse_npz`].
#[cfg(feature = "data")]
pub fn read_npz(path: impl AsRef<Path>, limits: &Limits) -> Result<BTreeMap<String, Array>, Error> {
    let path = path.as_ref();
    named(path, parse_npz(&read(path, limits)?, limits))
}

/// The arrays of the bytes of a `.npz` file, by name, as `numpy.savez` and `savez_compressed` write
/// it.
///
/// ```
/// use kilngrad::{Limits, data::parse_npz};
/// let error = parse_npz(b"PK", &Limits::default()).unwrap_err().to_string();
/// assert!(error.contains("expected a zip archive"));
/// ```
///
/// # Errors
///
/// If it is no such file, has two arrays of a name, is damaged, or larger, inflated, than `limits`
/// allow.
#[cfg(feature = "data")]
pub fn parse_npz(bytes: &[u8], limits: &Limits) -> Result<BTreeMap<String, Array>, Error> {
    let format = |message| Error::new(ErrorKind::Format, message);
    let members = crate::data::zip::members(bytes, limits).map_err(format)?;
    // Bytes and elements of all together are what the limits bound.
    let mut left = *limits;
    let mut arrays = BTreeMap::new();
    for member in members {
        let content = member.content(&left).map_err(format)?;
        left.file_bytes -= content.len();
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name);
        let array = parse(&content, &left)
            .map_err(|message| format(format!("{}: {message}", excerpt(name))))?;
        left.elements -= array.len();
        if arrays.insert(name.to_owned(), array).is_some() {
            return Err(format(format!("expected each name once, found {} again", excerpt(name))));
        }
    }
    Ok(arrays)
}
