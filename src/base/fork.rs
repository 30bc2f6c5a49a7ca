//! What `fork` leaves behind. In the child only the thread that called `fork` lives on: a lock that another thread held is never
//! released, and a thread pool has no workers.
//!
//! The library's locks are held for microseconds, so `fork` waits until no thread holds one: `pthread_atfork` runs [`close`] before,
//! and [`open`] or [`open_child`] after it. A child can therefore use models that its parent loaded, on the calling thread alone; load
//! its own; and free both.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bit 0: a fork is under way. The rest: the number of threads that hold a [`Lock`].
static HOLDERS: AtomicUsize = AtomicUsize::new(0);
const FORKING: usize = 1;
const HOLDER: usize = 2;

/// The number of forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The number of locks that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// When something was made, in forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth(u32);

impl Birth {
    pub fn now() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this process is a child, made since by `fork`.
    pub fn was_in_a_parent(self) -> bool {
        self != Self::now()
    }
}

/// Registers the handlers, once in a process.
pub fn watch() {
    #[cfg(unix)]
    {
        static WATCHING: std::sync::Once = std::sync::Once::new();
        WATCHING.call_once(|| {
            // SAFETY: the handlers touch only atomics and thread-local cells without destructors. The call fails only without memory;
            // a child then is as unsafe as without handlers.
            unsafe { libc::pthread_atfork(Some(close), Some(open), Some(open_child)) };
        });
    }
}

/// Waits until no other thread holds a lock, and keeps all from taking one.
#[cfg(unix)]
unsafe extern "C" fn close() {
    while HOLDERS.fetch_or(FORKING, Ordering::SeqCst) & FORKING != 0 {
        std::thread::yield_now();
    }
    let own = if HELD.get() > 0 { HOLDER } else { 0 };
    while HOLDERS.load(Ordering::SeqCst) != FORKING + own {
        std::thread::yield_now();
    }
}

#[cfg(unix)]
unsafe extern "C" fn open() {
    HOLDERS.fetch_and(!FORKING, Ordering::SeqCst);
}

#[cfg(unix)]
unsafe extern "C" fn open_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    HOLDERS.store(if HELD.get() > 0 { HOLDER } else { 0 }, Ordering::SeqCst);
}

/// A mutex that no other thread holds during a `fork`. Hold it for microseconds, and do not wait for anything meanwhile. A panic does
/// not poison it.
#[derive(Debug, Default)]
pub struct Lock<T>(Mutex<T>);

/// Releases its lock when it is dropped.
pub struct Locked<'a, T> {
    // Released before `_holder`: fields are dropped in order.
    guard: MutexGuard<'a, T>,
    _holder: Holder,
}

/// One of [`HOLDERS`], as long as this thread holds any lock.
struct Holder;

impl Holder {
    fn enter() -> Self {
        let held = HELD.get();
        // A thread that holds a lock may take a second one during a fork, which waits for both.
        if held == 0 {
            loop {
                let holders = HOLDERS.load(Ordering::Relaxed);
                if holders & FORKING != 0 {
                    std::thread::yield_now();
                    continue;
                }
                let entered =
                    HOLDERS.compare_exchange_weak(holders, holders + HOLDER, Ordering::SeqCst, Ordering::Relaxed);
                if entered.is_ok() {
                    break;
                }
            }
        }
        HELD.set(held + 1);
        Self
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let held = HELD.get() - 1;
        HELD.set(held);
        if held == 0 {
            HOLDERS.fetch_sub(HOLDER, Ordering::SeqCst);
        }
    }
}

impl<T> Lock<T> {
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub fn lock(&self) -> Locked<'_, T> {
        let holder = Holder::enter();
        Locked { guard: self.0.lock().unwrap_or_else(PoisonError::into_inner), _holder: holder }
    }
}

impl<T> std::ops::Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> std::ops::DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    /// A child that has not ended by then hangs; it needs milliseconds.
    const WATCHDOG: Duration = Duration::from_secs(30);

    #[test]
    fn a_child_can_take_a_lock_that_another_thread_held_at_the_fork() {
        watch();
        let lock = Lock::new(1);
        let (holds, held) = channel();
        let (forks, forking) = channel::<()>();
        std::thread::scope(|scope| {
            let lock = &lock;
            scope.spawn(move || {
                let locked = lock.lock();
                holds.send(()).unwrap();
                forking.recv().unwrap();
                // The fork begins meanwhile, and waits.
                std::thread::sleep(Duration::from_millis(200));
                drop(locked);
            });
            held.recv().unwrap();
            forks.send(()).unwrap();
            // SAFETY: the child takes a lock and leaves without running anything that the parent has registered.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let value = *lock.lock();
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(value - 1) };
            }
            assert!(child > 0, "{}", std::io::Error::last_os_error());
            let (start, mut status) = (Instant::now(), 0);
            // SAFETY: `child` is a child of this process that has not been waited for.
            while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
                if start.elapsed() > WATCHDOG {
                    // SAFETY: as above.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child hangs");
        });
    }
}
