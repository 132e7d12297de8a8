//! Dumps: a text file for each stage, each of which parses and runs again.

use std::fmt::Write as _;
use std::path::PathBuf;

use kilngrad_ir::{Bindings, Error, ErrorKind};
use kilngrad_passes::Compiled;

use crate::report::Stage;

/// Where the files of one compile go.
pub(crate) struct Dump {
    folder: PathBuf,
    name: String,
}

impl Dump {
    /// Files of entry `entry` under `bindings`, in a folder of their own below `folder`.
    pub(crate) fn new(folder: &std::path::Path, entry: &str, bindings: &Bindings) -> Dump {
        let mut name = in_file_name(entry);
        for (symbol, length) in bindings {
            let _ = write!(name, ".{}{length}", in_file_name(symbol.name()));
        }
        Dump { folder: folder.join(&name), name }
    }

    /// Writes `00-input.kg`, `01-bind.kg`, …, the loop program, the code, a drawing of the
    /// kernels, and what fusion and the memory plan decided.
    pub(crate) fn write(&self, stages: &[Stage], compiled: &Compiled) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder).map_err(|error| self.failed(error))?;
        for (index, stage) in stages.iter().enumerate() {
            let extension = match stage.name {
                "loops" | "pack" => "loops",
                "clif" => "clif",
                "assembly" => "s",
                _ => "kg",
            };
            self.file(&format!("{index:02}-{}.{extension}", stage.name), &stage.text)?;
        }
        let entry = &compiled.program.entries[0];
        let drawing = kilngrad_passes::draw::dot(&compiled.program, entry);
        self.file("kernels.dot", &drawing)?;
        let mut fusion = String::new();
        for entry in &compiled.fusion {
            let _ = writeln!(fusion, "{entry}");
        }
        self.file("fusion.txt", &fusion)?;
        let mut plan = String::new();
        for entry in &compiled.plans {
            let _ = writeln!(plan, "{entry}");
        }
        self.file("plan.txt", &plan)
    }

    fn file(&self, name: &str, text: &str) -> Result<(), Error> {
        std::fs::write(self.folder.join(name), text).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::caused(ErrorKind::Io, format!("could not write the dump of {}", self.name), error)
    }
}

/// A name as a part of a file's name: what a program calls things never leaves the folder, nor is
/// it hidden there.
fn in_file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name = name.chars().map(|c| if plain(c) { c } else { '_' });
    // Longer names than this are refused by file systems; what a call is bound to is still added.
    name.take(100).collect::<String>().trim_start_matches('.').to_owned()
}
