//! Elements of buffers and lanes of registers, as Rust numbers.

use crate::kernel::Scalar;

/// A Rust number that a [`Scalar`] stands for. Bytes are in the machine's order.
pub trait Element: Copy + sealed::Sealed {
    /// Its scalar type.
    const SCALAR: Scalar;

    /// Reads one from the front of `bytes`.
    ///
    /// # Panics
    ///
    /// If there are too few bytes.
    fn read(bytes: &[u8]) -> Self;

    /// Writes one to the front of `bytes`.
    ///
    /// # Panics
    ///
    /// If there are too few bytes.
    fn write(self, bytes: &mut [u8]);
}

mod sealed {
    /// Keeps the list of elements closed.
    pub trait Sealed {}
}

macro_rules! element {
    ($($ty:ident is $scalar:ident),*) => {$(
        impl sealed::Sealed for $ty {}

        impl Element for $ty {
            const SCALAR: Scalar = Scalar::$scalar;

            fn read(bytes: &[u8]) -> $ty {
                let (bytes, _) = bytes.split_first_chunk().expect("an element's bytes are there");
                $ty::from_ne_bytes(*bytes)
            }

            fn write(self, bytes: &mut [u8]) {
                let place = bytes.split_first_chunk_mut();
                let (place, _) = place.expect("an element's bytes are there");
                *place = self.to_ne_bytes();
            }
        }
    )*};
}

element!(f32 is F32, f64 is F64, i32 is I32, i64 is I64, u8 is U8);

/// The contents of a register: its lanes in order from byte 0 on, as memory would hold them. A
/// mask has one byte a lane, 0 or 1.
pub(super) type Bits = [u8; 16];

/// Lane `lane` of a register of `T`.
pub(super) fn lane<T: Element>(bits: &Bits, lane: usize) -> T {
    T::read(&bits[lane * size_of::<T>()..])
}

/// A register whose lane `l` is `value(l)`; what is beyond the lanes is zero.
pub(super) fn lanes<T: Element>(count: u8, value: impl Fn(usize) -> T) -> Bits {
    let mut bits = [0; 16];
    for at in 0..usize::from(count) {
        value(at).write(&mut bits[at * size_of::<T>()..]);
    }
    bits
}
