//! States in files: safetensors, one tensor a state.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use kilngrad_ir::{DType, Error, ErrorKind};
use kilngrad_runtime::Executable;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// The key of the program's text in the metadata.
const PROGRAM: &str = "kilngrad.program";

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

pub(crate) fn save<A>(executable: &Executable<A>, path: &Path) -> Result<(), Error> {
    let failed = |error| Error::caused(ErrorKind::Io, format!("could not write {path:?}"), error);
    let program = executable.program();
    let mut tensors = Vec::with_capacity(program.states.len());
    for (state, (path, bytes)) in program.states.iter().zip(executable.state_bytes()) {
        let shape = state.ty.shape.as_constant().unwrap_or_default();
        let view = TensorView::new(dtype_in_file(state.ty.dtype), shape, bytes)
            .map_err(|error| Error::caused(ErrorKind::Internal, "a state has no view", error))?;
        tensors.push((path.to_owned(), view));
    }
    let metadata = HashMap::from([(PROGRAM.to_owned(), program.to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| Error::caused(ErrorKind::Internal, "states do not serialize", error))?;
    let beside = beside(path);
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
        // The half-written file is of no use to anyone; that it could not be written is the error.
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

/// A name in the same folder, so that renaming replaces at once.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

pub(crate) fn load<A>(executable: &mut Executable<A>, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::caused(ErrorKind::Io, format!("could not read {path:?}"), error))?;
    let damaged = |what: String| Error::new(ErrorKind::Format, format!("{path:?}: {what}"));
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        Error::caused(ErrorKind::Format, format!("{path:?} is not a safetensors file"), error)
    })?;
    let program = std::sync::Arc::clone(executable.program());
    // Everything is checked before the first state changes.
    for name in file.names() {
        if program.find_state(name).is_none() {
            return Err(damaged(format!("expected states of the program, found {name:?}")));
        }
    }
    for state in &program.states {
        let tensor = file.tensor(&state.path).map_err(|_| {
            damaged(format!("expected state {:?} of {}, found none", state.path, state.ty))
        })?;
        let shape = state.ty.shape.as_constant().unwrap_or_default();
        let truths = state.ty.dtype != DType::Bool || tensor.data().iter().all(|byte| *byte <= 1);
        if tensor.dtype() != dtype_in_file(state.ty.dtype) || tensor.shape() != shape || !truths {
            return Err(damaged(format!(
                "expected state {:?} of {}, found {:?}{:?}",
                state.path,
                state.ty,
                tensor.dtype(),
                tensor.shape()
            )));
        }
    }
    for state in &program.states {
        if let Ok(tensor) = file.tensor(&state.path) {
            executable.set_state_bytes(&state.path, tensor.data())?;
        }
    }
    Ok(())
}
