//! Rule kernel_k13: chunks do not touch what another chunk stores.
//!
//! The argument is in the documentation of the parent module.

use crate::kernel::{Access, Affine, Kernel, Stmt};

use super::range::{Dim, Extents, Interval, touches};
use super::{Problem, Rule};

/// Moduli that are tried for one buffer, at most three for each dimension of the loop nest: the bound
/// only cuts off kernels that nobody writes.
const MAX_CANDIDATES: usize = 64;

/// Checks every parameter that the kernel stores to.
pub(super) fn check(kernel: &Kernel) -> Result<(), Problem> {
    if kernel.chunks <= 1 {
        return Ok(());
    }
    let mut accesses = gather(kernel);
    for (buffer, accesses) in kernel.buffers.iter().zip(&mut accesses) {
        check_buffer(kernel.chunks, &buffer.name, accesses)?;
    }
    Ok(())
}

/// Checks two parameters as if they were one buffer.
pub(super) fn check_shared(kernel: &Kernel, first: usize, second: usize) -> Result<(), Problem> {
    if kernel.chunks <= 1 {
        return Ok(());
    }
    let mut accesses = gather(kernel);
    let mut shared = std::mem::take(&mut accesses[first]);
    shared.append(&mut accesses[second]);
    check_buffer(kernel.chunks, &kernel.buffers[first].name, &mut shared)
}

fn check_buffer(chunks: usize, name: &str, accesses: &mut Vec<Reach>) -> Result<(), Problem> {
    if !accesses.iter().any(|reach| reach.stores) {
        return Ok(());
    }
    // Stores and loads count alike, and repeated shapes once.
    accesses.iter_mut().for_each(|reach| reach.stores = true);
    accesses.sort();
    accesses.dedup();
    let chunk = accesses[0].chunk;
    if accesses.iter().any(|reach| reach.chunk != chunk) {
        let expected = format!("expected one factor of i0 in every access of {name}");
        return Err((Rule::Chunks, format!("{expected}, found several")));
    }
    if chunk == 0 {
        let message = format!("expected addresses of {name} that depend on i0, found none");
        return Err((Rule::Chunks, message));
    }
    let proved = separates(chunk, chunks, accesses, None)
        || candidates(chunk, chunks, accesses).any(|m| separates(chunk, chunks, accesses, Some(m)));
    if proved {
        return Ok(());
    }
    let expected = format!("expected chunks that are provably disjoint in {name}");
    Err((Rule::Chunks, format!("{expected}, found overlapping or unprovable accesses")))
}

/// The addresses of one access: `constant + chunk · p + Σ strides`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reach {
    constant: i64,
    chunk: i64,
    /// Stride and count; counts are above 1 and strides nonzero.
    dims: Vec<(i64, usize)>,
    stores: bool,
}

impl Reach {
    fn new(at: &Affine, dims: &[Dim], extents: &Extents, stores: bool) -> Reach {
        let terms = at.terms.iter().filter(|term| term.0 != Kernel::CHUNK).map(|&(var, stride)| {
            (stride, extents.get(var).expect("verified variables are in scope"))
        });
        let mut dims: Vec<(i64, usize)> = terms
            .chain(dims.iter().map(|dim| (dim.stride, dim.count)))
            .filter(|&(stride, count)| stride != 0 && count > 1)
            .collect();
        dims.sort();
        Reach { constant: at.constant, chunk: at.coefficient(Kernel::CHUNK), dims, stores }
    }

    /// The values of the low part `l`, chunk excluded, its constant moved by a multiple of
    /// `modulus` so that the least value of `chunk · p + l` is in `[0, modulus)`. `None` where
    /// some value of it is not, or on overflow.
    fn low(&self, chunks: usize, modulus: Option<u64>) -> Option<Interval> {
        let keeps = |stride: i64| modulus.is_none_or(|m| !stride.unsigned_abs().is_multiple_of(m));
        let start = Interval::point(i128::from(self.constant));
        let low = self
            .dims
            .iter()
            .filter(|dim| keeps(dim.0))
            .try_fold(start, |sum, &(stride, count)| sum.extend(Dim { stride, count }))?;
        let Some(modulus) = modulus.map(i128::from) else { return Some(low) };
        let whole = low.extend(Dim { stride: self.chunk, count: chunks })?;
        let shift = whole.low.div_euclid(modulus).checked_mul(modulus)?;
        if whole.high.checked_sub(shift)? >= modulus {
            return None;
        }
        Some(Interval { low: low.low.checked_sub(shift)?, high: low.high.checked_sub(shift)? })
    }
}

/// Every access of every buffer that can happen, scratch excluded.
fn gather(kernel: &Kernel) -> Vec<Vec<Reach>> {
    let mut accesses = vec![Vec::new(); kernel.buffers.len()];
    let mut extents = Extents::new(kernel.chunks);
    gather_body(kernel, &kernel.body, &mut extents, &mut accesses);
    accesses
}

fn gather_body(kernel: &Kernel, body: &[Stmt], extents: &mut Extents, accesses: &mut [Vec<Reach>]) {
    for stmt in body {
        if let Stmt::For(inner) = stmt
            && inner.extent > 0
        {
            extents.open(inner.var, inner.extent);
            gather_body(kernel, &inner.body, extents, accesses);
            extents.close(inner.var);
        }
        touches(kernel, stmt, |touch| {
            let at = touch.buffer.0 as usize;
            if kernel.buffers[at].access != Access::Scratch {
                accesses[at].push(Reach::new(touch.at, &touch.dims, extents, touch.stores));
            }
        });
    }
}

/// Whether the modulus proves that no address belongs to two chunks.
fn separates(chunk: i64, chunks: usize, accesses: &[Reach], modulus: Option<u64>) -> bool {
    let mut all: Option<Interval> = None;
    for reach in accesses {
        let Some(low) = reach.low(chunks, modulus) else { return false };
        all = Some(match all {
            None => low,
            Some(all) => Interval { low: all.low.min(low.low), high: all.high.max(low.high) },
        });
    }
    let width = i128::from(chunk.unsigned_abs());
    all.is_none_or(|all| all.high.checked_sub(all.low).is_some_and(|span| span < width))
}

/// Moduli worth trying, in a fixed order: divisors of the strides above each bound, alone, with the
/// jumps that unrolled rows leave between constants, and with the reach of all chunks, which in a
/// dense buffer is the stride of the axis around the one that is shared out.
fn candidates(chunk: i64, chunks: usize, accesses: &[Reach]) -> impl Iterator<Item = u64> {
    let width = chunk.unsigned_abs();
    let reach = width.saturating_mul(chunks as u64);
    let mut strides: Vec<u64> = accesses
        .iter()
        .flat_map(|reach| reach.dims.iter().map(|dim| dim.0.unsigned_abs()))
        .filter(|&stride| stride > width)
        .collect();
    strides.sort_unstable();
    strides.dedup();
    let jumps = jumps(width, accesses);
    // After the loop, `divisors[i]` divides the i largest strides.
    let mut divisors = vec![0];
    for &stride in strides.iter().rev().take(MAX_CANDIDATES / 3) {
        divisors.push(gcd(divisors[divisors.len() - 1], stride));
    }
    let moduli = move |divisor| [divisor, gcd(divisor, jumps), gcd(divisor, reach)];
    divisors.into_iter().flat_map(moduli).filter(|&modulus| modulus > 0)
}

/// The greatest common divisor of the distances between groups of constants; within a group they
/// are less than `width` from its first.
fn jumps(width: u64, accesses: &[Reach]) -> u64 {
    // The accesses are sorted by constant.
    let origin = accesses[0].constant;
    let mut first = origin;
    let mut divisor = 0;
    for reach in accesses {
        if reach.constant.abs_diff(first) >= width {
            first = reach.constant;
            divisor = gcd(divisor, first.abs_diff(origin));
        }
    }
    divisor
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
