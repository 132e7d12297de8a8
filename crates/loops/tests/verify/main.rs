//! Each rule of the verifier, by label: what it accepts and what it refuses.
#![allow(clippy::unwrap_used)]

mod kernels;
mod programs;
