//! Memory for machine code: one mapping a program, written first and executed later, never both.
//!
//! Cranelift's JIT module places functions and resolves their calls; this provider gives it the
//! memory. The mapping is anonymous and private, writable until [`JITMemoryProvider::finalize`]
//! makes it executable and unwritable in one step, and belongs from then on to the [`CodeMemory`]
//! that outlives the JIT module. (The providers that come with the JIT leak, or map each function
//! on pages of its own, or panic where a system refuses executable memory.)

use std::io;
use std::sync::{Arc, OnceLock};

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};
use cranelift_module::{ModuleError, ModuleResult};
use memmap2::{Mmap, MmapMut};

/// Executable memory; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct CodeMemory {
    pages: Mmap,
}

impl CodeMemory {
    /// Whether an address lies in the memory.
    pub(crate) fn contains(&self, address: *const u8) -> bool {
        self.pages.as_ptr_range().contains(&address)
    }

    /// Bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }
}

/// Where the provider leaves the memory once it is executable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finished(Arc<OnceLock<CodeMemory>>);

impl Finished {
    /// The memory, if it was finalized and its provider is gone.
    pub(crate) fn take(self) -> Option<CodeMemory> {
        Arc::into_inner(self.0)?.into_inner()
    }
}

/// Hands out pieces of one writable mapping of a size known from the start.
pub(crate) struct CodeProvider {
    writable: Option<MmapMut>,
    /// The mapping's address, exposed once: a borrow of the whole mapping for each piece would
    /// invalidate the pointers to the pieces before it.
    base: usize,
    used: usize,
    finished: Finished,
}

impl CodeProvider {
    /// Maps at least `bytes` bytes.
    pub(crate) fn new(bytes: usize, finished: Finished) -> io::Result<CodeProvider> {
        let mut writable = MmapMut::map_anon(bytes.max(1))?;
        let base = writable.as_mut_ptr().expose_provenance();
        Ok(CodeProvider { writable: Some(writable), base, used: 0, finished })
    }
}

impl JITMemoryProvider for CodeProvider {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        match kind {
            JITMemoryKind::Executable => {}
            JITMemoryKind::Writable | JITMemoryKind::ReadOnly => {
                return Err(io::Error::other("programs have functions and no data"));
            }
        }
        let pages = self.writable.as_ref().ok_or_else(|| io::Error::other("already finalized"))?;
        // Mappings begin at a page, so aligning offsets aligns addresses.
        let piece = usize::try_from(align)
            .ok()
            .filter(|align| align.is_power_of_two() && *align <= 4096)
            .and_then(|align| self.used.checked_next_multiple_of(align))
            .and_then(|start| Some((start, start.checked_add(size)?)))
            .filter(|&(_, end)| end <= pages.len());
        let (start, end) = piece.ok_or_else(|| io::Error::other("code memory is too small"))?;
        self.used = end;
        Ok(std::ptr::with_exposed_provenance_mut(self.base + start))
    }

    unsafe fn free_memory(&mut self) {
        self.writable = None;
    }

    fn finalize(&mut self, _branch_protection: BranchProtection) -> ModuleResult<()> {
        let pages = self
            .writable
            .take()
            .ok_or_else(|| allocation(io::Error::other("already finalized")))?;
        // SAFETY: the range is the mapping, which `pages` keeps alive.
        unsafe {
            wasmtime_internal_jit_icache_coherence::clear_cache(pages.as_ptr().cast(), pages.len())
        }
        .map_err(|error| allocation(io::Error::other(error.to_string())))?;
        let pages = pages.make_exec().map_err(allocation)?;
        wasmtime_internal_jit_icache_coherence::pipeline_flush_mt()
            .map_err(|error| allocation(io::Error::other(error.to_string())))?;
        self.finished
            .0
            .set(CodeMemory { pages })
            .map_err(|_| allocation(io::Error::other("already finalized")))
    }
}

fn allocation(err: io::Error) -> ModuleError {
    ModuleError::Allocation { err }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn provider(bytes: usize) -> (CodeProvider, Finished) {
        let finished = Finished::default();
        (CodeProvider::new(bytes, finished.clone()).unwrap(), finished)
    }

    #[test]
    fn pieces_are_aligned_and_disjoint() {
        let (mut provider, _) = provider(4096);
        let first = provider.allocate(10, 64, JITMemoryKind::Executable).unwrap();
        let second = provider.allocate(10, 64, JITMemoryKind::Executable).unwrap();
        assert_eq!((first.addr() % 64, second.addr() - first.addr()), (0, 64));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (mut provider, _) = provider(4096);
        assert!(provider.allocate(4096, 1, JITMemoryKind::Executable).is_ok());
        assert!(provider.allocate(1, 1, JITMemoryKind::Executable).is_err());
        assert!(provider.allocate(usize::MAX, 1, JITMemoryKind::Executable).is_err());
        assert!(CodeProvider::new(usize::MAX / 4, Finished::default()).is_err());
    }

    #[test]
    fn there_is_no_data_and_no_second_end() {
        let (mut provider, finished) = provider(4096);
        assert!(provider.allocate(8, 8, JITMemoryKind::Writable).is_err());
        assert!(provider.allocate(8, 8, JITMemoryKind::ReadOnly).is_err());
        provider.finalize(BranchProtection::None).unwrap();
        assert!(provider.finalize(BranchProtection::None).is_err());
        assert!(provider.allocate(8, 8, JITMemoryKind::Executable).is_err());
        drop(provider);
        assert_eq!(finished.take().unwrap().len(), 4096);
    }
}
