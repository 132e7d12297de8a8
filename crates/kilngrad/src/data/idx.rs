//! IDX, the format of the MNIST files: an array, big-endian, often gzipped.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use kilngrad_interp::Array;
use kilngrad_ir::text::{Limits, MAX_RANK};
use kilngrad_ir::{Error, ErrorKind};

use crate::arrays::{count_within, read};
use crate::data::named;

/// Reads an IDX file, gzipped or not: see [`parse_idx`].
///
/// ```
/// use kilngrad::{Limits, data::read_idx};
///
/// # let path = std::env::temp_dir().join(format!("kilngrad-idx-{}", std::process::id()));
/// std::fs::write(&path, [0, 0, 8, 1, 0, 0, 0, 2, 7, 9])?;
/// assert_eq!(read_idx(&path, &Limits::default())?, vec![7u8, 9].into());
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), kilngrad::Error>(())
/// ```
///
/// # Errors
///
/// If the file cannot be read or is larger than `limits` allow, and as [`parse_idx`].
pub fn read_idx(path: impl AsRef<Path>, limits: &Limits) -> Result<Array, Error> {
    let path = path.as_ref();
    named(path, parse_idx(&read(path, limits)?, limits))
}

/// The array of the bytes of an IDX file, gzipped or not: of `u8`, `i32`, `f32` or `f64` as it has
/// them, its 8-bit and 16-bit signed integers as `i32`.
///
/// ```
/// use kilngrad::{Limits, data::parse_idx};
/// let error = parse_idx(&[0, 0, 8, 1, 0, 0, 0, 9, 7], &Limits::default()).unwrap_err();
/// assert_eq!(error.to_string(), "expected 9 bytes of shape [9], found 1");
/// ```
///
/// # Errors
///
/// If it is no such file, is cut, too long, or larger, inflated, than `limits` allow.
pub fn parse_idx(bytes: &[u8], limits: &Limits) -> Result<Array, Error> {
    let format = |message| Error::new(ErrorKind::Format, message);
    parse(&inflated(bytes, limits).map_err(format)?, limits).map_err(format)
}

/// What is gzipped, or the bytes as they are.
fn inflated<'f>(bytes: &'f [u8], limits: &Limits) -> Result<Cow<'f, [u8]>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut inflated = Vec::new();
    let most = limits.file_bytes;
    let mut reader = GzDecoder::new(bytes).take((most as u64).saturating_add(1));
    let read = reader.read_to_end(&mut inflated);
    read.map_err(|error| format!("expected gzipped bytes: {error}"))?;
    match inflated.len() > most {
        false => Ok(Cow::Owned(inflated)),
        true => Err(format!("expected at most {most} bytes when inflated, found more")),
    }
}

fn parse(bytes: &[u8], limits: &Limits) -> Result<Array, String> {
    let ([zero, nought, kind, rank], rest) =
        bytes.split_first_chunk().ok_or("expected the magic number of IDX, found the end")?;
    if [*zero, *nought] != [0, 0] {
        return Err("expected the magic number of IDX, found another".into());
    }
    let size = match kind {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        kind => {
            return Err(format!("expected a type 8, 9, 0xb, 0xc, 0xd or 0xe, found {kind:#x}"));
        }
    };
    if usize::from(*rank) > MAX_RANK {
        return Err(format!("expected at most {MAX_RANK} axes, found {rank}"));
    }
    let lengths = rest.split_at_checked(usize::from(*rank) * 4);
    let (lengths, elements) = lengths.ok_or("expected the lengths of the axes, found the end")?;
    let (lengths, _) = lengths.as_chunks::<4>();
    let shape: Vec<usize> =
        lengths.iter().map(|length| u32::from_be_bytes(*length) as usize).collect();
    let (expected, found) = (count_within(&shape, limits)? * size, elements.len());
    if found != expected {
        return Err(format!("expected {expected} bytes of shape {shape:?}, found {found}"));
    }
    /// Elements of so many bytes each.
    macro_rules! of {
        ($size:literal, $element:expr) => {
            Array::from_elements(
                &shape,
                elements.as_chunks::<$size>().0.iter().map(|bytes| $element(*bytes)).collect(),
            )
        };
    }
    let array = match kind {
        0x09 => of!(1, byte),
        0x0b => of!(2, short),
        0x0c => of!(4, i32::from_be_bytes),
        0x0d => of!(4, f32::from_be_bytes),
        0x0e => of!(8, f64::from_be_bytes),
        _ => Array::from_elements(&shape, elements.to_vec()),
    };
    array.ok_or_else(|| "expected as many elements as the shape has".into())
}

fn byte(bytes: [u8; 1]) -> i32 {
    i8::from_be_bytes(bytes).into()
}

fn short(bytes: [u8; 2]) -> i32 {
    i16::from_be_bytes(bytes).into()
}
