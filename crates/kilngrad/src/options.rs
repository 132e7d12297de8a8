//! How a program is compiled and run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kilngrad_ir::{Bindings, DType, Entry, Error, ErrorKind, Machine, Program, Symbol, TileSize};
use kilngrad_loops::Scalar;
use kilngrad_tiles::Features;

use crate::example::program_example;
use crate::executable::expanded;

/// How to compile and run a program.
///
/// ```
/// use kilngrad::prelude::*;
///
/// let options = Options::new().seed(7).threads(2).specialise("n", &[1, 32]);
/// assert!(options.vectorises(F32));
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) seed: i64,
    pub(crate) threads: usize,
    pub(crate) features: Features,
    pub(crate) entries: Option<Vec<String>>,
    pub(crate) specialise: Vec<(String, Vec<usize>)>,
    pub(crate) bindings: usize,
    pub(crate) dump: Option<PathBuf>,
    pub(crate) check_nan: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// Seed 0, one thread, all features of this processor, every entry, no dump, no check for NaN.
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new())?;"
        "let x = array![1f32, 2.0];"
        "let out = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(out.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
    )]
    pub fn new() -> Options {
        Options {
            seed: 0,
            threads: 1,
            features: Features::detect(),
            entries: None,
            specialise: Vec::new(),
            bindings: kilngrad_runtime::KEPT_BINDINGS,
            dump: None,
            check_nan: false,
        }
    }

    /// The seed of initial values and of random numbers.
    ///
    /// ```
    /// use kilngrad::{Result, prelude::*};
    ///
    /// let drawn = |seed| -> Result<f32> {
    ///     let b = Builder::new("noise");
    ///     b.param("w", (), Init::Normal { mean: 0.0, std: 1.0 });
    ///     Ok(b.finish()?.compile(&Options::new().seed(seed))?.state::<f32>("w")?.sum())
    /// };
    /// assert_eq!(drawn(7)?, drawn(7)?);
    /// assert_ne!(drawn(7)?, drawn(8)?);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn seed(mut self, seed: i64) -> Options {
        self.seed = seed;
        self
    }

    /// Number of threads that run a call, the calling one included. Results are the same bits with
    /// any number; 0 counts as 1.
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new().threads(2))?;"
        "let x = array![1f32, 2.0];"
        "let out = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(out.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
    )]
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Options {
        self.threads = threads.max(1);
        self
    }

    /// The instructions that generated code may use; what this processor lacks is left out.
    #[doc = program_example!(
        "let baseline = kilngrad::Features::baseline();"
        "let mut exe = program.compile(&Options::new().features(baseline))?;"
        "let x = array![1f32, 2.0];"
        "let out = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(out.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
    )]
    #[must_use]
    pub fn features(mut self, features: Features) -> Options {
        self.features = features.intersect(Features::detect());
        self
    }

    /// Only these entries are compiled ahead; the others when they are first called.
    #[doc = program_example!(
        "let options = Options::new().specialise(\"n\", &[4]).entries(&[]);"
        "assert!(program.compile(&options)?.report(\"run\").is_err());"
    )]
    #[must_use]
    pub fn entries(mut self, names: &[&str]) -> Options {
        self.entries = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Compiles ahead for each of these lengths of a symbol. Entries without symbols are compiled
    /// ahead in any case, others when their lengths are first met.
    #[doc = program_example!(
        "let exe = program.compile(&Options::new().specialise(\"n\", &[1, 32]))?;"
        "assert!(exe.report(\"run\").is_ok());"
    )]
    #[must_use]
    pub fn specialise(mut self, symbol: &str, lengths: &[usize]) -> Options {
        self.specialise.push((symbol.to_owned(), lengths.to_vec()));
        self
    }

    /// How many bindings of an entry's symbols are kept compiled, 16 unless said, each with memory
    /// for its outputs; the least recently used goes, and is compiled again when it is met. A
    /// program that is called with more lengths in turn pays for a compile in every call. 0 counts
    /// as 1.
    #[doc = program_example!(
        "let lengths: Vec<usize> = (1..=20).collect();"
        "let options = Options::new().specialise(\"n\", &lengths).bindings(lengths.len());"
        "let exe = program.compile(&options)?; // all twenty are compiled, and stay so"
        "assert!(exe.report(\"run\").is_ok());"
    )]
    #[must_use]
    pub fn bindings(mut self, count: usize) -> Options {
        self.bindings = count.max(1);
        self
    }

    /// Writes a text file for each stage of each compile into `folder`, which is made if it does
    /// not exist.
    #[doc = program_example!(
        "let folder = std::env::temp_dir().join(format!(\"kilngrad-dump-{}\", std::process::id()));"
        "program.compile(&Options::new().specialise(\"n\", &[4]).dump(&folder))?;"
        "assert!(std::fs::read_to_string(folder.join(\"run.n4/plan.txt\"))?.contains(\"run\"));"
        "std::fs::remove_dir_all(folder)?;"
    )]
    #[must_use]
    pub fn dump(mut self, folder: impl AsRef<Path>) -> Options {
        self.dump = Some(folder.as_ref().to_owned());
        self
    }

    /// Whether a call whose outputs or updated states are not all finite fails and changes no
    /// state. The error, of kind [`ErrorKind::NotFinite`](crate::ErrorKind::NotFinite), names the
    /// first value that is not finite though its operands are, what these are, and the line that
    /// it comes from, forward or backward: the entry is run again in the reference interpreter.
    ///
    /// Infinities inside the entry that reach no result, such as a mask's, are no error. A checked
    /// call copies the states that it updates and reads through its results.
    #[doc = program_example!(
        "let mut exe = program.compile(&Options::new().check_nan(true))?;"
        "let error = exe.call(\"run\").feed(\"x\", &array![f32::NAN]).run().map(drop);"
        "assert_eq!(error.map_err(|error| error.kind()), Err(ErrorKind::NotFinite));"
        "assert_eq!(exe.state::<f32>(\"total\")?.sum(), 0.0);"
    )]
    #[must_use]
    pub fn check_nan(mut self, check: bool) -> Options {
        self.check_nan = check;
        self
    }

    /// The machine model that these options compile for.
    ///
    /// ```
    /// use kilngrad::{Features, Options};
    ///
    /// let machine = Options::new().features(Features::baseline()).machine();
    /// assert!(!machine.fma);
    /// ```
    pub fn machine(&self) -> Machine {
        let tile = |scalar| {
            let shape = kilngrad_tiles::best(self.features, scalar).shape;
            TileSize { rows: usize::from(shape.rows), cols: usize::from(shape.cols) }
        };
        Machine {
            fma: self.features.fma,
            leaf_elements: kilngrad_tiles::has_functions(self.features).then_some(32),
            tile_f32: tile(Scalar::F32),
            tile_f64: tile(Scalar::F64),
            l1_bytes: 32 << 10,
            l2_bytes: 1 << 20,
            l3_bytes: 4 << 20,
            ..Machine::BASELINE
        }
    }

    /// Refuses lengths of what is no symbol of any entry.
    pub(crate) fn expect_symbols(&self, program: &Program) -> Result<(), Error> {
        let symbols: BTreeSet<Symbol> = program.entries.iter().flat_map(Entry::symbols).collect();
        let unknown = |(name, _): &&(String, Vec<usize>)| {
            symbols.iter().all(|symbol| symbol.name() != name.as_str())
        };
        let Some((name, _)) = self.specialise.iter().find(unknown) else { return Ok(()) };
        let known: Vec<String> =
            symbols.iter().map(|symbol| format!("{:?}", symbol.name())).collect();
        let known = if known.is_empty() { "there are none".into() } else { known.join(", ") };
        let message = format!("expected a symbol of the program ({known}), found {name:?}");
        Err(Error::new(ErrorKind::Name, message))
    }

    /// Refuses gradients that do not exist, of entries that are compiled only when their lengths are
    /// met. What no result needs may be asked for, as where an entry is compiled.
    pub(crate) fn expect_gradients(&self, program: &Program) -> Result<(), Error> {
        let wanted = |entry: &&Entry| {
            let names = self.entries.as_ref();
            names.is_none_or(|names| names.iter().any(|name| **name == *entry.name))
        };
        for entry in program.entries.iter().filter(wanted) {
            if entry.symbols().is_empty() {
                continue;
            }
            let alone = Program {
                name: program.name.clone(),
                states: program.states.clone(),
                entries: vec![kilngrad_passes::dce::drop_dead(entry)],
            };
            expanded(&alone)?;
        }
        Ok(())
    }

    /// What is compiled ahead: names of entries, with each binding of their symbols that is stated.
    /// A name without an entry comes with no binding, for an error to say so.
    pub(crate) fn ahead(&self, program: &Program) -> Vec<(String, Bindings)> {
        let names: Vec<String> = match &self.entries {
            Some(names) => names.clone(),
            None => program.entries.iter().map(|entry| entry.name.to_string()).collect(),
        };
        let bindings = |name: &String| {
            let symbols = program.entry(name).map(Entry::symbols).unwrap_or_default();
            let bindings = bindings(&symbols, &self.specialise);
            bindings.into_iter().map(|bindings| (name.clone(), bindings)).collect::<Vec<_>>()
        };
        names.iter().flat_map(bindings).collect()
    }

    /// Whether a dtype is one that compiled code computes with in vectors.
    ///
    /// ```
    /// use kilngrad::prelude::*;
    ///
    /// assert!(Options::new().vectorises(F32) && !Options::new().vectorises(U8));
    /// ```
    pub fn vectorises(&self, dtype: DType) -> bool {
        self.machine().lanes(dtype) > 1
    }
}

/// Every binding of `symbols` by the lengths that options state; none where one has no length.
fn bindings(symbols: &BTreeSet<Symbol>, lengths: &[(String, Vec<usize>)]) -> Vec<Bindings> {
    let mut all = vec![Bindings::new()];
    for symbol in symbols {
        let stated: Vec<usize> = lengths
            .iter()
            .filter(|(name, _)| name == symbol.name())
            .flat_map(|(_, lengths)| lengths.iter().copied())
            .collect();
        all = all
            .iter()
            .flat_map(|bindings| {
                stated.iter().map(move |length| {
                    let mut more = bindings.clone();
                    more.insert(symbol.clone(), *length);
                    more
                })
            })
            .collect();
    }
    all
}
