//! Any bytes as a file of weights, and as a model.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use kilngrad::prelude::{Executable, Load, Options, ProgramExt as _};
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
/// again as the same bits; loading them as a program fails, or gives one that is saved and loaded as
/// it is.
///
/// # Panics
///
/// If either does neither, or the file cannot be written.
pub fn load(bytes: &[u8]) {
    LOADED.with_borrow_mut(|(executable, path)| {
        as_weights(bytes, executable, path, &Load::strict());
        as_weights(bytes, executable, path, &Load::partial());
        as_program(bytes, path);
        std::fs::remove_file(path).expect("the file was written");
    });
}

fn as_weights(bytes: &[u8], executable: &mut Executable, path: &Path, load: &Load) {
    let before = states(executable);
    write(path, bytes);
    match executable.load(path, load) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(states(executable), before, "a failed load changed a state");
        }
        Ok(_) => {
            let loaded = states(executable);
            executable.save(path).expect("the file was written once");
            executable.load(path, &Load::strict()).expect("what was saved loads");
            assert_eq!(states(executable), loaded, "what was saved loads as other bits");
        }
    }
}

fn as_program(bytes: &[u8], path: &Path) {
    // Much smaller than the defaults, so that the target looks at many files a second.
    let limits = Limits { elements: 1 << 12, values: 1 << 10, ..Limits::default() };
    write(path, bytes);
    match Program::load(path, &limits) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(program) => {
            program.save(path).expect("the file was written once");
            // Arrays that were in the text are beside it now, and count towards the elements.
            let again = Program::load(path, &Limits::default()).expect("what was saved loads");
            assert_eq!(again.to_string(), program.to_string(), "what was saved loads as another");
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the folder for temporary files is writable");
}

fn states(executable: &Executable) -> Vec<Vec<u8>> {
    executable.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
}
