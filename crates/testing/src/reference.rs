//! The reference harness: results computed by PyTorch in `f64`, and how far from them is wrong.
//!
//! The folder is `tests/reference`, or the one that `KILNGRAD_REFERENCE` names, so that the same
//! checks run on other cases of the same operations. A name such as `ops` stands for a list of
//! cases, `ops.json`, with their tensors, `ops.safetensors`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kilngrad_interp::Array;
use kilngrad_ir::{DType, Literal};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;

/// A list of cases and their tensors.
#[derive(Debug)]
pub struct Reference {
    /// The list, as its file has it.
    pub json: Json,
    tensors: BTreeMap<String, Array>,
}

/// How far a number may be from the expected one: `relative·|expected| + absolute`.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// As a share of the expected number.
    pub relative: f64,
    /// In units.
    pub absolute: f64,
}

impl Reference {
    /// Of a run in `f64`.
    pub const F64: Tolerance = Tolerance { relative: 1e-9, absolute: 1e-10 };

    /// Of a run in `f32` whose inputs are the reference's, rounded.
    pub const F32: Tolerance = Tolerance { relative: 2e-4, absolute: 2e-5 };

    /// The cases called `name` of the folder in use.
    ///
    /// # Panics
    ///
    /// If a file cannot be read.
    pub fn open(name: &str) -> Reference {
        let folder = std::env::var_os("KILNGRAD_REFERENCE").map_or_else(own_folder, PathBuf::from);
        Reference::read(folder, name)
    }

    /// The cases called `name` of the project's own folder.
    ///
    /// # Panics
    ///
    /// If a file cannot be read.
    pub fn own(name: &str) -> Reference {
        Reference::read(own_folder(), name)
    }

    fn read(folder: PathBuf, name: &str) -> Reference {
        let read = |extension: &str| {
            let path = folder.join(format!("{name}.{extension}"));
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let json = serde_json::from_slice(&read("json"));
        let json = json.unwrap_or_else(|error| panic!("{name}.json: {error}"));
        let bytes = read("safetensors");
        let stored = SafeTensors::deserialize(&bytes);
        let stored = stored.unwrap_or_else(|error| panic!("{name}.safetensors: {error}"));
        let tensors = stored.iter().map(|(key, view)| (key.to_owned(), array(key, &view)));
        Reference { json, tensors: tensors.collect() }
    }

    /// A tensor by its key.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn array(&self, key: &str) -> &Array {
        self.tensors.get(key).unwrap_or_else(|| panic!("expected a tensor {key:?}, found none"))
    }
}

/// The array with its floats rounded to a float dtype; integers and truth values stay.
pub fn rounded(array: &Array, float: DType) -> Array {
    if !array.dtype().is_float() {
        return array.clone();
    }
    let mut bytes = Vec::new();
    for x in array.iter() {
        Literal::from_f64(float, x.to_f64()).write_to(&mut bytes);
    }
    Array::from_bytes(float, array.shape(), &bytes).expect("as many elements as before")
}

/// Where an array is too far from the expected one, or has another shape or kind of dtype; `None`
/// where it agrees. NaN agrees with NaN, an infinity with itself.
pub fn far(found: &Array, expected: &Array, tolerance: Tolerance) -> Option<String> {
    let kind = |array: &Array| (array.dtype().is_float(), array.dtype() == DType::Bool);
    if found.shape() != expected.shape() || kind(found) != kind(expected) {
        let [expected, found] =
            [expected, found].map(|array| format!("{}{:?}", array.dtype(), array.shape()));
        return Some(format!("expected {expected}, found {found}"));
    }
    let (found, expected) = (found.to_f64_vec(), expected.to_f64_vec());
    let mut pairs = found.iter().zip(&expected).enumerate();
    pairs.find_map(|(index, (found, expected))| {
        let bound = tolerance.relative * expected.abs() + tolerance.absolute;
        let near = found == expected
            || (found.is_nan() && expected.is_nan())
            || (expected.is_finite() && (found - expected).abs() <= bound);
        (!near).then(|| format!("expected {expected} at {index}, found {found}"))
    })
}

fn array(key: &str, view: &TensorView<'_>) -> Array {
    let dtypes = [(Dtype::F64, DType::F64), (Dtype::I64, DType::I64), (Dtype::BOOL, DType::Bool)];
    let dtype = dtypes.iter().find(|(stored, _)| *stored == view.dtype());
    let (_, dtype) = dtype.unwrap_or_else(|| panic!("{key}: found {:?}", view.dtype()));
    Array::from_bytes(*dtype, view.shape(), view.data()).expect("as many bytes as its shape")
}

fn own_folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(elements: &[f64]) -> Array {
        Array::from_elements(&[elements.len()], elements.to_vec()).expect("as many elements")
    }

    #[test]
    fn only_what_is_near_agrees() {
        let tolerance = Tolerance { relative: 0.1, absolute: 0.01 };
        let near = |found, expected| far(&floats(&[found]), &floats(&[expected]), tolerance);
        for (found, expected) in
            [(1.1, 1.0), (0.01, 0.0), (f64::NAN, f64::NAN), (f64::INFINITY, f64::INFINITY)]
        {
            assert_eq!(near(found, expected), None);
        }
        for (found, expected) in [
            (1.12, 1.0),
            (-1.0, 1.0),
            (0.02, 0.0),
            (f64::NAN, 1.0),
            (1.0, f64::NAN),
            (1.0, f64::INFINITY),
            (f64::INFINITY, 1.0),
            (f64::NEG_INFINITY, f64::INFINITY),
        ] {
            assert!(near(found, expected).is_some(), "{found} passes for {expected}");
        }
        let integers = Array::from_elements(&[1], vec![1i64]).expect("one element");
        assert!(far(&integers, &floats(&[1.0]), tolerance).is_some());
        assert!(far(&floats(&[1.0]), &floats(&[1.0, 1.0]), tolerance).is_some());
    }
}
