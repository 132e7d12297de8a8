//! Weights of other frameworks: names for names, and matrices the other way round.

use std::collections::BTreeSet;
use std::path::Path;

use kilngrad_ir::{DType, Error, ErrorKind, Role, Type};

use crate::arrays::{ArrayFile, read};
use crate::executable::Executable;
use crate::files::{Load, Loaded, Mismatch, other_truths};

/// Which array of a file, under the name that another framework gave it, is which state's.
///
/// PyTorch's `Linear` keeps its matrix as outputs by inputs; [`Dense`](kilngrad_builder::Dense) as
/// inputs by outputs: such a state is [transposed](Self::transposed).
///
/// ```
/// use kilngrad::{Array, NameMap, prelude::*, save_arrays};
/// use ndarray::array;
///
/// # let path = std::env::temp_dir().join(format!("kilngrad-names-{}.safetensors", std::process::id()));
/// let (weight, bias) = (Array::from(array![[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]]), Array::from(vec![7f32; 3]));
/// save_arrays(&path, [("fc1.weight", &weight), ("fc1.bias", &bias)])?;
///
/// let b = Builder::new("imported");
/// let layer = Dense::new(&b.scope("net"), "hidden", 2, 3);
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", layer.forward(e.input("x", F32, (b.dim("n"), 2))));
/// let mut exe = b.finish()?.compile(&Options::new())?;
/// let names = NameMap::new()
///     .transposed("net.hidden.w", "fc1.weight")
///     .state("net.hidden.b", "fc1.bias");
/// exe.load_named(&path, &names, &Load::strict())?;
/// let y = exe.call("run").feed("x", &array![[1f32, 1.0]]).run()?.view::<f32>("y")?.to_owned();
/// assert_eq!(y, array![[10f32, 14.0, 18.0]].into_dyn());
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameMap {
    names: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    state: String,
    array: String,
    transposed: bool,
}

impl NameMap {
    /// No name.
    ///
    /// ```
    /// use kilngrad::NameMap;
    /// assert_eq!(NameMap::new(), NameMap::default());
    /// ```
    pub fn new() -> NameMap {
        NameMap::default()
    }

    /// The state at `path` has the elements of the file's array `name`.
    ///
    /// ```
    /// use kilngrad::NameMap;
    /// assert_ne!(NameMap::new().state("net.b", "bias"), NameMap::new());
    /// ```
    #[must_use]
    pub fn state(mut self, path: &str, name: &str) -> NameMap {
        self.names.push(Named { state: path.into(), array: name.into(), transposed: false });
        self
    }

    /// The state at `path`, a matrix, has the elements of the file's array `name`, rows for columns.
    ///
    /// ```
    /// use kilngrad::NameMap;
    /// let (whole, turned) = (NameMap::new().state("w", "w"), NameMap::new().transposed("w", "w"));
    /// assert_ne!(whole, turned);
    /// ```
    #[must_use]
    pub fn transposed(mut self, path: &str, name: &str) -> NameMap {
        self.names.push(Named { state: path.into(), array: name.into(), transposed: true });
        self
    }
}

impl Executable {
    /// Gives states their values from a safetensors file of another framework, by a map of names.
    /// [`Load::strict`] wants every parameter of the program to be mapped, every mapped array to be in
    /// the file in its state's type, and every array of the file to be mapped; [`Load::partial`] takes
    /// what fits and reports the rest. States that are no parameters need not be mapped.
    ///
    /// ```
    /// use kilngrad::{Array, NameMap, prelude::*, save_arrays};
    ///
    /// # let path = std::env::temp_dir().join(format!("kilngrad-named-{}.safetensors", std::process::id()));
    /// save_arrays(&path, [("scale", &Array::from(vec![1f32, 2.0]))])?;
    /// let b = Builder::new("scaled");
    /// b.param("w", (3,), Init::Zeros);
    /// let mut exe = b.finish()?.compile(&Options::new())?;
    /// let names = NameMap::new().state("w", "scale");
    /// let error = exe.load_named(&path, &names, &Load::strict()).unwrap_err().to_string();
    /// assert!(error.contains("expected state \"w\" of f32[3], found f32[2]"), "{error}");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and if the map names a state twice or one that does not exist, or
    /// transposes what is no matrix; nothing changes then.
    pub fn load_named(
        &mut self,
        path: impl AsRef<Path>,
        names: &NameMap,
        load: &Load,
    ) -> Result<Loaded, Error> {
        let (path, limits) = (path.as_ref(), load.limits_of());
        let file = ArrayFile::parse(path, read(path, limits)?, limits)?;
        let (mut loaded, mut values) = (Loaded::default(), Vec::new());
        let mut unmapped: BTreeSet<String> = file.names().into_iter().collect();
        // States with a name, and those of them whose array is not there.
        let (mut mapped, mut absent) = (BTreeSet::new(), BTreeSet::new());
        for Named { state: wanted, array, transposed } in &names.names {
            let program = self.program();
            let id = program.find_state(wanted).ok_or_else(|| {
                let message = format!("expected a state {wanted:?} for {array:?}, found none");
                Error::new(ErrorKind::Name, message)
            })?;
            if !mapped.insert(wanted.as_str()) {
                let message =
                    format!("expected one name for state {wanted:?}, found {array:?} too");
                return Err(Error::new(ErrorKind::Name, message));
            }
            unmapped.remove(array);
            if !file.has(array) {
                absent.insert(wanted.as_str());
                continue;
            }
            let expected = &program.state(id).ty;
            match value(&file, array, expected, *transposed) {
                Ok(bytes) => {
                    loaded.loaded.push(wanted.clone());
                    values.push((wanted.clone(), bytes));
                }
                Err(found) => loaded.mismatched.push(Mismatch {
                    path: wanted.clone(),
                    expected: expected.clone(),
                    found,
                }),
            }
        }
        let missing = self.program().states.iter().filter(|state| {
            let unmapped = state.role == Role::Parameter && !mapped.contains(&*state.path);
            unmapped || absent.contains(&*state.path)
        });
        loaded.missing = missing.map(|state| state.path.to_string()).collect();
        loaded.unexpected = unmapped.into_iter().collect();
        if !load.is_partial() {
            loaded.expect_all(path)?;
        }
        for (state, bytes) in values {
            self.set_state_bytes(&state, &bytes)?;
        }
        Ok(loaded)
    }
}

/// The bytes of a state of this type by the file's array, or what there is instead.
fn value(
    file: &ArrayFile,
    array: &str,
    expected: &Type,
    transposed: bool,
) -> Result<Vec<u8>, String> {
    let (mut ty, bytes) = file.get(array)?;
    let shape = ty.shape.as_constant().unwrap_or_default();
    let matrix = match (transposed, &shape[..]) {
        (false, _) => None,
        (true, [rows, columns]) => Some((*rows, *columns)),
        (true, _) => return Err(format!("{ty}, which is no matrix to transpose")),
    };
    if let Some((rows, columns)) = matrix {
        ty.shape = [columns, rows].into_iter().collect();
    }
    // Before anything goes through the elements: lengths may be any numbers.
    if ty != *expected {
        return Err(ty.to_string());
    }
    if ty.dtype == DType::Bool && bytes.iter().any(|byte| *byte > 1) {
        return Err(other_truths(&ty));
    }
    Ok(match matrix {
        Some((rows, columns)) if !bytes.is_empty() => turned(rows, columns, ty.dtype.size(), bytes),
        Some(_) | None => bytes.to_vec(),
    })
}

/// The elements of a matrix, column by column.
fn turned(rows: usize, columns: usize, size: usize, bytes: &[u8]) -> Vec<u8> {
    let mut turned = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            turned.extend_from_slice(&bytes[(row * columns + column) * size..][..size]);
        }
    }
    turned
}
