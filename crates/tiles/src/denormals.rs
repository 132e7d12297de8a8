//! The floating-point mode that generated code is compiled for.
//!
//! Hosts change it: a library built with fast-math sets flush-to-zero for the whole thread, and
//! subnormals would then vanish from some runs and not from others. A [`FloatMode`] puts the
//! IEEE 754 defaults in place while it lives, on each thread that enters generated code, and gives
//! the host's mode back.

use std::marker::PhantomData;

/// Holds the calling thread in the default floating-point mode: round to nearest, ties to even, no
/// exception raised, subnormals kept. Dropping it restores the mode, sticky exception flags
/// included, that was there before.
///
/// It orders itself only against calls and memory, so wrap it around a call of compiled code, not
/// around arithmetic written in Rust. Guards nest, as long as the last made is dropped first. On
/// architectures other than x86-64 and AArch64 it does nothing.
#[derive(Debug)]
#[must_use = "the mode is restored as soon as the guard is dropped"]
pub struct FloatMode {
    saved: imp::Control,
    /// The mode belongs to a thread, so the guard stays on it.
    thread: PhantomData<*const ()>,
}

impl FloatMode {
    /// Saves the mode and sets the default.
    pub fn enter() -> FloatMode {
        let saved = imp::read();
        imp::write(imp::DEFAULT);
        FloatMode { saved, thread: PhantomData }
    }
}

impl Drop for FloatMode {
    fn drop(&mut self) {
        imp::write(self.saved);
    }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    //! MXCSR, Intel SDM volume 1, section 10.2.3. The intrinsics for it are deprecated.

    use std::arch::asm;

    pub(super) type Control = u32;

    /// All exceptions masked, round to nearest, neither flush-to-zero nor denormals-are-zero.
    pub(super) const DEFAULT: Control = 0x1f80;

    pub(super) fn read() -> Control {
        let mut control = 0;
        // SAFETY: the instruction writes the four bytes of `control`, which outlive it.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        }
        control
    }

    pub(super) fn write(control: Control) {
        // The exception flags are of this register, so they are not preserved.
        // SAFETY: the instruction reads the four bytes of `control`. It faults on reserved bits
        // alone, and `control` is either `DEFAULT` or was read from the register.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack));
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    //! FPCR, Arm Architecture Reference Manual, section C5.2.8.

    use std::arch::asm;

    pub(super) type Control = u64;

    /// Round to nearest, no flush to zero, no trapped exception, NaNs propagated.
    pub(super) const DEFAULT: Control = 0;

    pub(super) fn read() -> Control {
        let control;
        // SAFETY: reading the register has no effect, and user code may.
        unsafe {
            asm!("mrs {}, fpcr", out(reg) control, options(nostack, preserves_flags));
        }
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: user code may write the register; reserved bits are zero in `DEFAULT` and as
        // they were in what was read from it.
        unsafe {
            asm!("msr fpcr, {}", in(reg) control, options(nostack, preserves_flags));
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod imp {
    //! No mode is known, and none is set.

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Control;

    pub(super) const DEFAULT: Control = Control;

    pub(super) fn read() -> Control {
        Control
    }

    pub(super) fn write(_control: Control) {}
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    const FLUSH_TO_ZERO: u32 = 1 << 15;
    const DENORMALS_ARE_ZERO: u32 = 1 << 6;
    const ROUND_UP: u32 = 2 << 13;

    /// Half the smallest normal number, computed by a call that is not folded or moved.
    #[inline(never)]
    fn half(value: f32) -> f32 {
        black_box(black_box(value) * black_box(0.5))
    }

    #[test]
    fn subnormals_survive_inside_and_the_mode_returns() {
        let before = imp::read();
        let host = imp::DEFAULT | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO | ROUND_UP;
        imp::write(host);
        let flushed = half(f32::MIN_POSITIVE);
        let guard = FloatMode::enter();
        let inside = imp::read();
        let kept = half(f32::MIN_POSITIVE);
        drop(guard);
        let restored = imp::read();
        imp::write(before);
        assert_eq!(flushed, 0.0);
        assert_eq!(inside, imp::DEFAULT);
        assert_eq!(kept, f32::MIN_POSITIVE / 2.0);
        // The flushed product left its sticky flags, which are not the mode.
        assert_eq!(restored & !0x3f, host);
    }

    #[test]
    fn guards_nest() {
        let before = imp::read();
        imp::write(imp::DEFAULT | FLUSH_TO_ZERO);
        let outer = FloatMode::enter();
        drop(FloatMode::enter());
        let between = half(f32::MIN_POSITIVE);
        drop(outer);
        let restored = imp::read();
        imp::write(before);
        assert_ne!(between, 0.0);
        assert_eq!(restored & !0x3f, imp::DEFAULT | FLUSH_TO_ZERO);
    }
}
