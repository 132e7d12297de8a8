//! Signals that end a run: the first after its step, the second at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

#[cfg(unix)]
use signal_hook::consts::SIGHUP;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What the command ends with after a signal, as shells say of SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The flag that the first signal sets.
pub(crate) fn stop() -> &'static AtomicBool {
    &STOP
}

/// Whether a signal has asked the command to end.
pub(crate) fn asked() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Lets SIGINT, SIGTERM and SIGHUP set the flag, and end the process where it is set already, which
/// loses no file. A signal that was ignored when the command started, as `nohup` and a shell's
/// background jobs have it, stays ignored.
pub(crate) fn install() {
    let ignored = ignored();
    for signal in SIGNALS {
        if ignored >> (signal - 1) & 1 == 1 {
            continue;
        }
        // Without a handler a signal ends the process. The check that the flag is set comes first, so
        // the signal that sets it does not end the process.
        let _ = flag::register_conditional_shutdown(signal, EXIT_CODE.into(), STOP.clone())
            .and_then(|_| flag::register(signal, STOP.clone()));
    }
}

/// The signals that are ignored, a bit each from signal 1, as Linux tells; none elsewhere.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
