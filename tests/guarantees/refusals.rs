//! What the system refuses is an error that says so, and changes nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kilngrad::prelude::*;
use kilngrad_testing::features;
use ndarray::Array2;

use crate::in_child;

/// What is refused: allocations of so many bytes and more.
const LARGE: usize = 512 << 10;

thread_local! {
    /// How many large allocations of this thread succeed before one is refused.
    static ALLOWED: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The system's allocator, which refuses one large allocation where it is told to.
struct Refusing;

impl Refusing {
    fn refuses(layout: Layout) -> bool {
        if layout.size() < LARGE {
            return false;
        }
        let allowed = ALLOWED.get();
        ALLOWED.set(if allowed == 0 { usize::MAX } else { allowed.saturating_sub(1) });
        allowed == 0
    }
}

// SAFETY: every call that is not refused is handed to the system's allocator as it came, and null
// is an allocator's way to refuse.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Refusing::refuses(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Refusing::refuses(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// A step whose states, arena and output are each larger than [`LARGE`].
fn large() -> Program {
    let b = Builder::new("large");
    let scope = b.scope("net");
    let w = scope.param("w", (400, 400), Init::Normal { mean: 0.0, std: 0.1 });
    let step = b.entry("step", Mode::Train);
    let x = step.input("x", F32, (b.dim("n"), 400));
    let y = x.matmul(step.read(w)).tanh();
    step.output("y", y);
    step.minimize(y.square().mean(..), b.params("net"), Sgd::new(0.1).momentum(0.9));
    b.finish().unwrap()
}

fn states(exe: &Executable) -> Vec<Vec<u8>> {
    exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
}

/// Refuses the first large allocation, then the second, and so on until all are granted: each
/// refusal is an error of its own kind, none ends the process, none changes a state.
#[test]
fn refused_memory_is_an_error_and_changes_nothing() {
    let x = Array2::from_shape_fn((500, 400), |(i, j)| ((i * 400 + j) as f32).sin());
    let options = Options::new().features(features()).threads(1);
    let refused_at = |n: usize, what: &mut dyn FnMut() -> Result<(), Error>| {
        ALLOWED.set(n);
        let result = what();
        ALLOWED.set(usize::MAX);
        match result {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
                true
            }
        }
    };
    let program = large();
    let mut compiling = 0;
    while refused_at(compiling, &mut || program.clone().compile(&options).map(drop)) {
        compiling += 1;
    }
    assert_eq!(compiling, 2, "the weight and its velocity");
    let mut calling = 0;
    loop {
        let mut exe = program.clone().compile(&options).unwrap();
        let before = states(&exe);
        let refused = refused_at(calling, &mut || exe.call("step").feed("x", &x).run().map(drop));
        if !refused {
            break;
        }
        assert!(states(&exe) == before, "call refused at {calling} changed a state");
        calling += 1;
        // The executable goes on as if nothing had been.
        let mut fresh = program.clone().compile(&options).unwrap();
        for exe in [&mut exe, &mut fresh] {
            exe.call("step").feed("x", &x).run().unwrap();
        }
        assert!(states(&exe) == states(&fresh), "call refused at {calling}");
    }
    assert!(calling >= 2, "the arena and the output are large, {calling} refusals");
}

/// Systemd's `MemoryDenyWriteExecute`, seccomp filters and hardened kernels refuse memory that was
/// written and shall be executed.
#[test]
fn refused_executable_memory_is_an_error() {
    in_child("refusals::refused_executable_memory_is_an_error", || {
        const PR_SET_MDWE: i32 = 65;
        const PR_MDWE_REFUSE_EXEC_GAIN: u64 = 1;
        // SAFETY: sets a flag of the process, and takes no pointer.
        let set = unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0u64, 0u64, 0u64) };
        if set != 0 {
            eprintln!("this kernel is older than 6.3 and cannot refuse executable memory");
            return;
        }
        let options = Options::new().features(features()).threads(1);
        let x = Array2::<f32>::ones((5, 400));
        let mut exe = large().compile(&options).unwrap();
        let before = states(&exe);
        let error = exe.call("step").feed("x", &x).run().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
        assert!(error.to_string().contains("no memory for code"), "{error}");
        assert!(states(&exe) == before, "the refused call changed a state");
        // What needs no executable memory works.
        let mut interpreted = large().interpret(&options).unwrap();
        interpreted.call("step").feed("x", &x).run().unwrap();
    });
}

/// Caps what the process may map at `bytes` more than it has.
fn cap_address_space(bytes: u64) {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split_whitespace().next().unwrap().parse().unwrap();
    // SAFETY: the calls read and write the structure that they are given, which lives.
    unsafe {
        let used = pages * libc::sysconf(libc::_SC_PAGESIZE) as u64;
        let limit = libc::rlimit { rlim_cur: used + bytes, rlim_max: libc::RLIM_INFINITY };
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
    }
}

#[test]
fn an_address_space_too_small_is_an_error() {
    in_child("refusals::an_address_space_too_small_is_an_error", || {
        cap_address_space(256 << 20);
        let b = Builder::new("too large");
        let step = b.entry("step", Mode::Eval);
        let x = step.input("x", F32, (b.dim("n"), 400));
        step.output("y", x.matmul(x.t()).softmax(-1).square().mean(..));
        let options = Options::new().features(features()).threads(1);
        let mut exe = b.finish().unwrap().compile(&options).unwrap();
        // An arena of 20,000² numbers, 1.6 GB, does not fit; one of 100² does, afterwards as well.
        let mean = |exe: &mut Executable, rows: usize| {
            let x = Array2::<f32>::ones((rows, 400));
            let outputs = exe.call("step").feed("x", &x).run()?;
            outputs.scalar::<f32>("y")
        };
        let before = mean(&mut exe, 100).unwrap();
        let error = mean(&mut exe, 20_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
        assert_eq!(mean(&mut exe, 100).unwrap().to_bits(), before.to_bits());
    });
}

#[test]
fn threads_that_are_refused_are_an_error() {
    in_child("refusals::threads_that_are_refused_are_an_error", || {
        let options = Options::new().features(features()).threads(101);
        let x = Array2::<f32>::ones((5, 400));
        let call = |options: &Options| {
            let mut exe = large().compile(options)?;
            exe.call("step").feed("x", &x).run().map(drop)
        };
        // A worker's stack is 2 MiB of address space, a hundred of them too much. Wherever it ends,
        // those that had begun must have had room for what they allocate themselves.
        for quarters in 0..64 {
            cap_address_space((128 << 20) + (quarters << 18));
            let error = call(&options).unwrap_err();
            let kinds = [ErrorKind::Unsupported, ErrorKind::Memory];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
        call(&options.threads(1)).unwrap();
    });
}

#[test]
fn no_page_is_writable_and_executable() {
    let options = Options::new().features(features()).threads(2);
    let mut exe = large().compile(&options).unwrap();
    exe.call("step").feed("x", &Array2::<f32>::ones((5, 400))).run().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let permissions = || maps.lines().filter_map(|line| line.split_whitespace().nth(1));
    // Code of the entry is there: an executable mapping that no file is behind.
    let anonymous = |line: &&str| line.split_whitespace().nth(4) == Some("0");
    let code = maps.lines().filter(anonymous).filter(|line| line.contains(" r-xp "));
    assert!(code.filter(|line| !line.contains("[vdso]")).count() > 0, "{maps}");
    assert!(permissions().all(|bits| !(bits.contains('w') && bits.contains('x'))), "{maps}");
}
