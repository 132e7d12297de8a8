//! The reference results, and programs evaluated against them.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::path::PathBuf;

use kilngrad_autodiff::differentiate;
use kilngrad_builder::{DType, Program};
use kilngrad_interp::{Array, Interpreter};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;

/// The folder of reference results.
pub fn folder() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference");
    std::env::var_os("KILNGRAD_REFERENCE").map_or_else(|| default.into(), PathBuf::from)
}

/// A list of cases with its tensors.
pub struct Reference {
    pub json: Json,
    bytes: Vec<u8>,
}

impl Reference {
    pub fn open(name: &str) -> Reference {
        let read = |extension: &str| {
            let path = folder().join(format!("{name}.{extension}"));
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Reference {
            json: serde_json::from_slice(&read("json")).unwrap(),
            bytes: read("safetensors"),
        }
    }

    pub fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }
}

/// A tensor by its key.
pub fn array(tensors: &SafeTensors<'_>, key: &str) -> Array {
    let view = tensors.tensor(key).unwrap_or_else(|error| panic!("{key}: {error}"));
    let dtypes = [(Dtype::F64, DType::F64), (Dtype::I64, DType::I64), (Dtype::BOOL, DType::Bool)];
    let dtype = dtypes.iter().find(|(stored, _)| *stored == view.dtype()).unwrap().1;
    Array::from_bytes(dtype, view.shape(), view.data()).unwrap()
}

/// Row `index` of an array's first axis.
pub fn row(array: &Array, index: usize) -> Array {
    let (first, rest) = array.shape().split_first().unwrap();
    let bytes = array.to_bytes();
    let size = bytes.len() / first;
    Array::from_bytes(array.dtype(), rest, &bytes[index * size..(index + 1) * size]).unwrap()
}

/// The program with its gradients expanded, ready to be called.
///
/// Every node must name a line of the test, none one of the library.
pub fn interpreter(program: &Program) -> Interpreter {
    for (_, node) in program.entries.iter().flat_map(|entry| entry.graph.nodes()) {
        let site = node.origin.site().expect("a node names its call");
        assert!(site.file.contains("tests/"), "{} of {site}", node.op.name());
    }
    let expanded = differentiate(program).unwrap_or_else(|errors| panic!("{errors:#?}"));
    Interpreter::new(expanded, 1).unwrap()
}

/// Compares within `rtol·|expected| + atol`, and says where it fails; shapes must be equal.
pub fn far(found: &Array, expected: &Array, rtol: f64, atol: f64) -> Option<String> {
    if found.shape() != expected.shape() {
        return Some(format!("expected {:?}, found {:?}", expected.shape(), found.shape()));
    }
    let (found, expected) = (found.to_f64_vec(), expected.to_f64_vec());
    let mut pairs = found.iter().zip(&expected).enumerate();
    pairs.find_map(|(index, (found, expected))| {
        let near = (found - expected).abs() <= rtol * expected.abs() + atol;
        let same = near || found == expected || (found.is_nan() && expected.is_nan());
        (!same).then(|| format!("expected {expected} at {index}, found {found}"))
    })
}
