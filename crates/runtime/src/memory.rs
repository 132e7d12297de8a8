//! Memory for arenas, scratch, states and outputs: aligned, zeroed, and fallible to acquire.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::num::NonZero;
use std::ptr::NonNull;

use kilngrad_ir::{Error, ErrorKind};

/// Bytes at an address that is a multiple of [`AlignedBytes::ALIGN`].
pub(crate) struct AlignedBytes {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the bytes are owned by this value alone and are plain data.
unsafe impl Send for AlignedBytes {}
// SAFETY: shared access only reads them.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// A cache line, which is also what generated code may assume of arena and scratch.
    pub(crate) const ALIGN: usize = 64;

    /// No bytes.
    pub(crate) const EMPTY: AlignedBytes = AlignedBytes {
        start: NonNull::without_provenance(NonZero::new(Self::ALIGN).expect("it is not zero")),
        len: 0,
    };

    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Result<AlignedBytes, Error> {
        let refused =
            || Error::new(ErrorKind::Memory, format!("expected {len} bytes of memory, got none"));
        if len == 0 {
            return Ok(Self::EMPTY);
        }
        let layout = Layout::from_size_align(len, Self::ALIGN).map_err(|_| refused())?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        Ok(AlignedBytes { start, len })
    }

    /// A copy of `bytes`.
    pub(crate) fn copy_of(bytes: &[u8]) -> Result<AlignedBytes, Error> {
        let mut copy = AlignedBytes::zeroed(bytes.len())?;
        copy.as_mut_slice().copy_from_slice(bytes);
        Ok(copy)
    }

    /// Grows to at least `len` bytes; what was there is lost if it must.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<(), Error> {
        if self.len < len {
            *self = AlignedBytes::zeroed(len)?;
        }
        Ok(())
    }

    /// For generated code, which writes through it only while this is borrowed mutably.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// For generated code that only reads.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` points to `len` initialised bytes (or is dangling, aligned and len is 0)
        // that nothing writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated by `zeroed` with this very layout, which was valid then.
            unsafe {
                let layout = Layout::from_size_align_unchecked(self.len, Self::ALIGN);
                dealloc(self.start.as_ptr(), layout);
            }
        }
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({} B)", self.len)
    }
}
