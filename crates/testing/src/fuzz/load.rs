//! Any bytes as a file of weights.

use std::cell::RefCell;
use std::path::PathBuf;

use kilngrad::prelude::{Executable, Options, ProgramExt as _};
use kilngrad_ir::Program;
use kilngrad_ir::text::Limits;

/// A program with states of several dtypes and ranks, one without elements.
const PROGRAM: &str = r#"kilngrad 1
program "files"

state "net.w": f32[2,3] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] parameter
state "net.b": f64[3] = 0.5 parameter
state "step": i64[] = 7 buffer
state "mask": bool[4] = [true, false, true, true] buffer
state "none": u8[0] = 0 buffer

entry @run(%x: f32[2]) eval {
  return y = %x
}
"#;

thread_local! {
    static LOADED: RefCell<(Executable, PathBuf)> = RefCell::new(executable());
}

/// The executable whose states are loaded.
///
/// # Panics
///
/// Never.
pub fn weights() -> Executable {
    let program = Program::parse(PROGRAM, &Limits::default()).expect("a valid text");
    program.compile(&Options::new().threads(1)).expect("nothing to compile")
}

fn executable() -> (Executable, PathBuf) {
    let thread = format!("{:?}", std::thread::current().id());
    let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
    let name = format!("kilngrad-{}-{digits}.safetensors", std::process::id());
    (weights(), std::env::temp_dir().join(name))
}

/// Loading bytes as weights fails and changes no bit, or succeeds and what is saved then loads
/// again as the same bits.
///
/// # Panics
///
/// If it does neither, or the file cannot be written.
pub fn load(bytes: &[u8]) {
    LOADED.with_borrow_mut(|(executable, path)| {
        let before = states(executable);
        std::fs::write(&*path, bytes).expect("the folder for temporary files is writable");
        match executable.load(&*path) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_eq!(states(executable), before, "a failed load changed a state");
            }
            Ok(_) => {
                let loaded = states(executable);
                executable.save(&*path).expect("the file was written once");
                executable.load(&*path).expect("what was saved loads");
                assert_eq!(states(executable), loaded, "what was saved loads as other bits");
            }
        }
        std::fs::remove_file(path).expect("the file was written");
    });
}

fn states(executable: &Executable) -> Vec<Vec<u8>> {
    executable.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
}
