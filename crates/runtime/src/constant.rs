//! Memory that no call changes, shared by whatever code reads it.

use std::fmt;
use std::sync::{Arc, Weak};

use kilngrad_codegen::{FloatMode, Host, Module};
use kilngrad_ir::{Error, ErrorKind};

use crate::memory::AlignedBytes;

/// Bytes that are written once, before anyone reads them, and shared from then on. Two constants
/// are equal where they are the same memory.
#[derive(Clone)]
pub struct Constant(Arc<AlignedBytes>);

/// A constant that is there as long as someone else holds it.
#[derive(Debug, Clone)]
pub struct WeakConstant(Weak<AlignedBytes>);

impl Constant {
    /// A copy of `bytes`.
    ///
    /// # Errors
    ///
    /// If memory is refused.
    pub fn new(bytes: &[u8]) -> Result<Constant, Error> {
        Ok(Constant(Arc::new(AlignedBytes::copy_of(bytes)?)))
    }

    /// What a program makes of this constant: it reads external 0, writes external 1 and has no
    /// other. What it does not write is zero.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the program needs other memory than that, and
    /// [`ErrorKind::Memory`] if memory is refused.
    pub fn derive(&self, module: &Module) -> Result<Constant, Error> {
        let to = match module.externals() {
            [from, to] if !from.writable && to.writable && from.bytes <= self.bytes().len() => to,
            needs => {
                let found = format!("one of {} bytes and needs {needs:?}", self.bytes().len());
                let message =
                    format!("expected an external to read and one to write, found {found}");
                return Err(Error::new(ErrorKind::Internal, message));
            }
        };
        let mut made = AlignedBytes::zeroed(to.bytes)?;
        let mut arena = AlignedBytes::zeroed(module.arena_bytes())?;
        let mut scratch = AlignedBytes::zeroed(module.scratch_bytes())?;
        let table = [self.as_ptr().cast_mut(), made.as_mut_ptr()];
        let _mode = FloatMode::enter();
        // SAFETY: arena and scratch have the module's sizes; the table has its two externals, the
        // first of which is only read and has the bytes that the module reads, initialised, while
        // the second has those that it writes. All four are separate allocations, and `made`,
        // `arena` and `scratch` are borrowed exclusively. Chunks run in order on this thread,
        // which is in the default float mode.
        let ran = unsafe {
            module.entry().call(
                arena.as_mut_ptr(),
                table.as_ptr(),
                scratch.as_mut_ptr(),
                &Host::sequential(),
            )
        };
        ran.map_err(|stopped| {
            let message = format!("expected a program that runs to its end, found {stopped:?}");
            Error::new(ErrorKind::Internal, message)
        })?;
        Ok(Constant(Arc::new(made)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// This constant, without keeping it.
    pub fn downgrade(&self) -> WeakConstant {
        WeakConstant(Arc::downgrade(&self.0))
    }

    /// For generated code, which only reads.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

impl WeakConstant {
    /// The constant, if someone holds it.
    pub fn upgrade(&self) -> Option<Constant> {
        self.0.upgrade().map(Constant)
    }
}

impl PartialEq for Constant {
    fn eq(&self, other: &Constant) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Constant {}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Constant({} B)", self.bytes().len())
    }
}
