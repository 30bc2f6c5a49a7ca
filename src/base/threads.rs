//! A small fork-join pool. A call splits its work into numbered tasks; the caller works too, idle workers join in, and the call
//! returns when every task is done. Workers spin for a few microseconds before they sleep, because the regions of a forward pass
//! follow each other closely. An idle pool sleeps and costs nothing.
//!
//! Results do not depend on which thread runs a task: the caller fixes the tasks, and only their placement varies.
//!
//! In the child of a `fork` there are no workers: every call runs on its own thread.
//!
//! If the pool is serving another caller, a call runs its tasks on its own thread instead of waiting: with many concurrent calls
//! every core is busy anyway.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::base::fork::{self, Birth};
use crate::base::thread::{STACK, Thread};

/// How often a worker checks for work before it sleeps: about 20 to 50 microseconds.
const SPINS: u32 = 4_000;

/// `state` packs: bit 0 "open" (workers may join), bits 1..32 workers inside, bits 32.. the region's number.
const OPEN: u64 = 1;
const ENTERED: u64 = 2;
const INSIDE_MASK: u64 = 0xffff_fffe;
const REGION: u64 = 1 << 32;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

struct Region {
    task: *const Task<'static>,
    tasks: usize,
}

struct Shared {
    state: AtomicU64,
    next: AtomicUsize,
    region: UnsafeCell<Region>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    stop: AtomicBool,
    /// As [`spins`].
    spins: u32,
}

// SAFETY: `region` is written only by the caller that holds `busy`, while `state` is closed and nobody is inside; workers read it
// only after entering an open region with Acquire. The pointer in it is used only between entering and leaving.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it is tied to one thread.
unsafe impl Send for Shared {}

/// A pool of `threads - 1` workers and the calling thread.
pub struct Pool {
    shared: Arc<Shared>,
    busy: AtomicBool,
    workers: Vec<Thread>,
    /// When the workers were started.
    birth: Birth,
}

impl Pool {
    /// `threads` includes the caller; 1 starts no worker. If the system refuses to start a worker, the pool is smaller.
    pub fn new(threads: usize) -> Self {
        fork::watch();
        let empty: &'static Task<'static> = &|_| {};
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            region: UnsafeCell::new(Region { task: empty, tasks: 0 }),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            spins: spins(),
        });
        let workers = (1..threads)
            .filter_map(|i| {
                let shared = shared.clone();
                Thread::start(&format!("kinglet-worker-{i}"), STACK, move || shared.work()).ok()
            })
            .collect();
        Self { shared, busy: AtomicBool::new(false), workers, birth: Birth::now() }
    }

    /// Threads that serve a call, including the caller.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(0) … task(tasks - 1)`, each once, in any order, and returns when all are done. A panic in a task is resumed on
    /// the caller after the running tasks have ended.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        let alone = self.workers.is_empty() || self.birth.was_in_a_parent();
        if tasks <= 1 || alone || self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(task);
            return;
        }
        let release = Release(&self.busy);
        self.shared.run(tasks, &task);
        drop(release);
    }
}

struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Shared {
    fn run(&self, tasks: usize, task: &Task<'_>) {
        // SAFETY: the lifetime is erased, not extended: `run` returns only after the region is closed and all workers left it.
        let task: *const Task<'static> = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        // SAFETY: the caller holds `busy`, and the region is closed and empty, so no thread reads `region` now.
        unsafe { *self.region.get() = Region { task, tasks } };
        self.next.store(0, Ordering::Relaxed);
        let number = self.state.load(Ordering::Relaxed) & !(REGION - 1);
        self.state.store(number.wrapping_add(REGION) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
        self.drain();
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.state.load(Ordering::Acquire) & INSIDE_MASK != 0 {
            spins += 1;
            // A worker may have been preempted in the middle of a task: yield this core to it.
            if spins.is_multiple_of(256) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Takes tasks until none are left.
    fn drain(&self) {
        // SAFETY: called by the region's owner or from inside the open region, so `region` is not being written.
        let Region { task, tasks } = unsafe { &*self.region.get() };
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= *tasks {
                return;
            }
            // SAFETY: the owner keeps the closure alive until all workers have left the region.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (**task)(i) }));
            if let Err(payload) = outcome {
                self.next.store(*tasks, Ordering::Relaxed);
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
            }
        }
    }

    fn work(&self) {
        let mut seen = 0u64;
        loop {
            let state = self.wait(seen);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            seen = state & !(REGION - 1);
            // Enter only the region that was seen open: meanwhile it may have closed, and another may have opened.
            let mut current = state;
            let entered = loop {
                if current & OPEN == 0 || current & !(REGION - 1) != seen {
                    break false;
                }
                match self.state.compare_exchange_weak(current, current + ENTERED, Ordering::AcqRel, Ordering::Acquire)
                {
                    Ok(_) => break true,
                    Err(now) => current = now,
                }
            };
            if entered {
                self.drain();
                self.state.fetch_sub(ENTERED, Ordering::AcqRel);
            }
        }
    }

    /// Waits until a region other than `seen` is open, or the pool stops.
    fn wait(&self, seen: u64) -> u64 {
        let fresh = |state: u64| state & OPEN != 0 && state & !(REGION - 1) != seen;
        for _ in 0..self.spins {
            let state = self.state.load(Ordering::Acquire);
            if fresh(state) || self.stop.load(Ordering::Relaxed) {
                return state;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            let state = self.state.load(Ordering::SeqCst);
            if fresh(state) || self.stop.load(Ordering::SeqCst) {
                break state;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        state
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.birth.was_in_a_parent() {
            // The workers do not exist here, and one may have held the lock.
            self.workers.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.stop.store(true, Ordering::SeqCst);
        {
            let _guard = self.shared.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker cannot panic: panics of its tasks are caught.
            let _ = worker.join();
        }
    }
}

/// The number of threads that this process may run at once: its CPU affinity, and its cgroup's quota rounded up.
pub fn available() -> usize {
    num_cpus::get()
}

/// How often a worker checks for work before it sleeps. Under a quota of a fraction of a CPU, which [`available`] rounds up and the
/// standard library rounds down, waiting threads would use up the time of those that work.
fn spins() -> u32 {
    let whole = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if whole < available() { 0 } else { SPINS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 5] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 100] {
                for _ in 0..50 {
                    let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                    pool.run(tasks, |i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} threads, {tasks} tasks");
                }
            }
        }
    }

    #[test]
    fn concurrent_callers_all_finish() {
        let pool = Pool::new(3);
        let total = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        pool.run(8, |_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 6 * 300 * 8);
    }

    #[test]
    fn a_sleeping_pool_wakes() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            // Each task waits for the other one, which only the second thread can run.
            let (running, changed) = (Mutex::new(0), std::sync::Condvar::new());
            pool.run(2, |_| {
                *running.lock().unwrap() += 1;
                changed.notify_all();
                let both = changed.wait_while(running.lock().unwrap(), |running| *running < 2);
                drop(both.unwrap());
            });
            assert_eq!(*running.lock().unwrap(), 2);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(16, |i| assert_ne!(i, 5, "task five"))));
        assert!(outcome.is_err());
        let total = AtomicU32::new(0);
        pool.run(4, |_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(total.load(Ordering::Relaxed), 4);
    }
}
