//! Worker threads for kernels with several chunks.
//!
//! The calling thread and the workers take chunks from one counter. Which thread runs a chunk
//! changes nothing in the result: chunks are fixed by shape, and none writes what another touches.
//!
//! A job is published by writing its fields and then its *ticket*: the job's number in the high
//! half, the next chunk in the low half. A thread claims a chunk by advancing the ticket, which
//! succeeds only while the job is the one whose fields it read; the caller begins no other job
//! until every chunk of this one has ended. So a thread that wakes late claims nothing, and a
//! thread that holds a chunk holds the job's arguments alive.
//!
//! A worker cannot panic while it holds a chunk: between claiming one and counting it as ended it
//! calls generated code and nothing else, which has neither traps nor Rust frames that unwind. The
//! caller therefore always sees every chunk end, even if all workers are gone.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use kilngrad_codegen::{FloatMode, Host, KernelFn};
use kilngrad_ir::{Error, ErrorKind};

use crate::memory::AlignedBytes;

/// How often a thread looks before it gives its processor away: some tens of microseconds, longer
/// than the time between two kernels of a step.
const SPINS: u32 = 4_000;

/// Threads that help the calling one.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    thread: Option<JoinHandle<()>>,
    /// The memory behind this worker's entry of [`Shared::scratch`].
    scratch: AlignedBytes,
}

#[derive(Debug)]
struct Shared {
    ticket: AtomicU64,
    chunks: AtomicUsize,
    kernel: AtomicPtr<()>,
    args: AtomicPtr<*mut u8>,
    /// Chunks of the current job that have ended.
    ended: AtomicUsize,
    scratch: Vec<AtomicPtr<u8>>,
    /// Workers that run.
    begun: AtomicUsize,
    stop: AtomicBool,
    /// Number of workers that sleep, under the lock that their sleep releases.
    sleeping: Mutex<usize>,
    wake: Condvar,
}

impl Pool {
    /// A pool of `workers` threads beside the caller's.
    pub(crate) fn new(workers: usize) -> Result<Pool, Error> {
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            chunks: AtomicUsize::new(0),
            kernel: AtomicPtr::new(std::ptr::null_mut()),
            args: AtomicPtr::new(std::ptr::null_mut()),
            ended: AtomicUsize::new(0),
            scratch: (0..workers).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect(),
            begun: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            sleeping: Mutex::new(0),
            wake: Condvar::new(),
        });
        let mut pool = Pool { shared, workers: Vec::with_capacity(workers) };
        for index in 0..workers {
            let shared = Arc::clone(&pool.shared);
            room_to_begin()?;
            let thread = std::thread::Builder::new()
                .name(format!("kilngrad-{}", index + 1))
                .spawn(move || shared.work(index))
                .map_err(|error| {
                    Error::caused(ErrorKind::Unsupported, "could not start a worker", error)
                })?;
            let scratch = AlignedBytes::zeroed(0)?;
            pool.workers.push(Worker { thread: Some(thread), scratch });
            // What it allocates finds the room that was seen, and no call in steady state sees it.
            while pool.shared.begun.load(Ordering::Acquire) <= index {
                std::thread::yield_now();
            }
        }
        Ok(pool)
    }

    /// Gives every worker at least `bytes` of scratch.
    pub(crate) fn reserve_scratch(&mut self, bytes: usize) -> Result<(), Error> {
        for (worker, pointer) in self.workers.iter_mut().zip(&self.shared.scratch) {
            worker.scratch.reserve(bytes)?;
            pointer.store(worker.scratch.as_mut_ptr(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// The host through which an entry reaches this pool and the flag that ends its whiles; both
    /// must outlive the call.
    pub(crate) fn host(&self, cancel: &AtomicBool) -> Host {
        Host { run_chunks, context: Arc::as_ptr(&self.shared).cast(), cancel }
    }
}

/// Sees that there is address space for one more thread. A thread allocates when it is made and when
/// it begins, where the standard library and the C library end the process if they are refused.
fn room_to_begin() -> Result<(), Error> {
    /// More than a stack and what is allocated beside it, and so much that an allocator maps it
    /// alone and gives it back when it is freed: glibc maps from 32 MiB on, or else takes it from
    /// the 64 MiB that it has reserved for a thread. It is never written.
    const BYTES: usize = 65 << 20;
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(BYTES);
    // The compiler may leave out an allocation that nothing sees.
    drop(std::hint::black_box(room));
    reserved.map_err(|error| Error::caused(ErrorKind::Memory, "no memory for a worker", error))
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        {
            // Taking the lock orders the store before the look of a worker about to sleep.
            let _asleep = self.shared.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_all();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker runs generated code alone, which does not panic.
                let _ = thread.join();
            }
        }
    }
}

/// What compiled entries call for a kernel with several chunks.
unsafe extern "C" fn run_chunks(
    host: *const Host,
    kernel: KernelFn,
    args: *const *mut u8,
    scratch: *mut u8,
    chunks: usize,
) {
    // SAFETY: the entry passes the host that it was called with, which `Pool::host` made; the pool
    // outlives the call, so the context is its shared part.
    let shared = unsafe { &*(*host).context.cast::<Shared>() };
    shared.run(kernel, args, scratch, chunks);
}

fn job_of(ticket: u64) -> u32 {
    (ticket >> 32) as u32
}

impl Shared {
    fn run(&self, kernel: KernelFn, args: *const *mut u8, scratch: *mut u8, chunks: usize) {
        let job = job_of(self.ticket.load(Ordering::Relaxed)).wrapping_add(1);
        // Closing the ticket first keeps a late worker from claiming with half of the new fields.
        self.ticket.store(u64::from(job) << 32 | u64::from(u32::MAX), Ordering::Relaxed);
        // Pairs with the fence before a claim: whoever read a new field finds the ticket closed.
        fence(Ordering::Release);
        self.kernel.store(kernel as *mut (), Ordering::Relaxed);
        self.args.store(args.cast_mut(), Ordering::Relaxed);
        self.chunks.store(chunks, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        let job = job.wrapping_add(1);
        self.ticket.store(u64::from(job) << 32, Ordering::SeqCst);
        if *self.sleeping.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
            self.wake.notify_all();
        }
        self.take_chunks(job, scratch);
        let mut spins = 0;
        while self.ended.load(Ordering::Acquire) < chunks {
            // A worker that was preempted in its chunk needs a processor, perhaps this one.
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Runs chunks of a job until none is left to claim.
    fn take_chunks(&self, job: u32, scratch: *mut u8) {
        loop {
            let ticket = self.ticket.load(Ordering::Acquire);
            let kernel = self.kernel.load(Ordering::Relaxed);
            let args = self.args.load(Ordering::Relaxed);
            let chunk = ticket & u64::from(u32::MAX);
            if job_of(ticket) != job || chunk >= self.chunks.load(Ordering::Relaxed) as u64 {
                return;
            }
            fence(Ordering::Acquire);
            let claimed = self.ticket.compare_exchange(
                ticket,
                ticket + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if claimed.is_err() {
                continue;
            }
            // SAFETY: the ticket was still this job's, so `kernel` and `args` are its fields, and
            // they stay valid until this chunk is counted as ended; `kernel` was stored from a
            // function of this type; no other thread runs this chunk or uses this scratch.
            unsafe {
                let kernel = std::mem::transmute::<*mut (), KernelFn>(kernel);
                kernel(args, scratch, chunk as usize);
            }
            self.ended.fetch_add(1, Ordering::Release);
        }
    }

    fn work(&self, index: usize) {
        let _mode = FloatMode::enter();
        self.begun.fetch_add(1, Ordering::Release);
        let mut seen = 0;
        while let Some(job) = self.next_job(seen) {
            seen = job;
            self.take_chunks(job, self.scratch[index].load(Ordering::Relaxed));
        }
    }

    /// Waits for a job other than `seen`; `None` when the pool is dropped.
    fn next_job(&self, seen: u32) -> Option<u32> {
        let look = || {
            let job = job_of(self.ticket.load(Ordering::SeqCst));
            (job != seen).then_some(job)
        };
        for _ in 0..SPINS {
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            if let Some(job) = look() {
                return Some(job);
            }
            std::hint::spin_loop();
        }
        let mut sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        *sleeping += 1;
        let found = loop {
            if self.stop.load(Ordering::Acquire) {
                break None;
            }
            if let Some(job) = look() {
                break Some(job);
            }
            sleeping = self.wake.wait(sleeping).unwrap_or_else(PoisonError::into_inner);
        };
        *sleeping -= 1;
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Adds 1 to the chunk's element of the first argument, and notes in the scratch that it ran.
    unsafe extern "C" fn count(args: *const *mut u8, scratch: *mut u8, chunk: usize) {
        // SAFETY: the test passes one argument with a counter for each chunk, and scratch of eight
        // bytes for each thread.
        unsafe {
            let counters = (*args).cast::<u32>();
            *counters.add(chunk) += 1;
            *scratch.cast::<u64>() += 1;
        }
    }

    /// Every chunk of every job runs once, on whichever thread, also after the workers slept.
    #[test]
    fn every_chunk_runs_once() {
        let mut pool = Pool::new(3).unwrap();
        pool.reserve_scratch(8).unwrap();
        let never = AtomicBool::new(false);
        let host = pool.host(&never);
        let mut own = AlignedBytes::zeroed(8).unwrap();
        let mut expected_total = 0;
        for job in 0..3000u32 {
            let chunks = 1 + (job as usize * 7) % 40;
            let mut counters = vec![0u32; chunks];
            let args = [counters.as_mut_ptr().cast::<u8>()];
            // SAFETY: the host is the pool's, which lives; `count` keeps to its arguments.
            unsafe { (host.run_chunks)(&host, count, args.as_ptr(), own.as_mut_ptr(), chunks) };
            assert!(counters.iter().all(|count| *count == 1), "job {job}: {counters:?}");
            expected_total += chunks as u64;
            if job % 1000 == 999 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        let words =
            |bytes: &AlignedBytes| u64::from_ne_bytes(bytes.as_slice()[..8].try_into().unwrap());
        let total: u64 = pool.workers.iter().map(|worker| words(&worker.scratch)).sum();
        assert_eq!(total + words(&own), expected_total);
    }

    /// A worker claims a chunk only to run it, so one that is gone costs speed alone.
    #[test]
    fn jobs_end_without_workers() {
        let pool = Pool::new(2).unwrap();
        pool.shared.stop.store(true, Ordering::Release);
        while !pool.workers.iter().all(|worker| worker.thread.as_ref().unwrap().is_finished()) {
            pool.shared.wake.notify_all();
            std::thread::yield_now();
        }
        let never = AtomicBool::new(false);
        let host = pool.host(&never);
        let mut own = AlignedBytes::zeroed(8).unwrap();
        let mut counters = [0u32; 40];
        let args = [counters.as_mut_ptr().cast::<u8>()];
        // SAFETY: as above.
        unsafe { (host.run_chunks)(&host, count, args.as_ptr(), own.as_mut_ptr(), 40) };
        assert_eq!(counters, [1; 40]);
    }

    #[test]
    fn dropping_a_pool_ends_its_threads() {
        for _ in 0..50 {
            let pool = Pool::new(2).unwrap();
            let weak = Arc::downgrade(&pool.shared);
            drop(pool);
            assert!(weak.upgrade().is_none(), "a worker still holds the pool");
        }
    }
}
