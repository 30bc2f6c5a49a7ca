//! Turns a write beyond the file size limit (RLIMIT_FSIZE, `ulimit -f`) into an error.
//!
//! Such a write raises SIGXFSZ, which ends the process; if the signal is blocked, the write fails with EFBIG instead. A library must not
//! change the signal handling of the process, so the signal is blocked only in the writing thread, during the write.

#[cfg(unix)]
mod unix {
    use std::marker::PhantomData;
    use std::mem::MaybeUninit;

    /// Blocks SIGXFSZ in this thread while it lives. It must be dropped on the thread that made it.
    pub struct FileSizeGuard {
        /// The thread's mask before; None if the signal was blocked already, or the system refused.
        before: Option<libc::sigset_t>,
        of_this_thread: PhantomData<*const ()>,
    }

    fn only_this() -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set; the signal's number is valid.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGXFSZ);
            set.assume_init()
        }
    }

    impl FileSizeGuard {
        pub fn new() -> Self {
            let mut before = MaybeUninit::uninit();
            // SAFETY: both sets are valid; on success the old mask is written.
            let changed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &only_this(), before.as_mut_ptr()) } == 0;
            // SAFETY: written by the successful call.
            let before = changed.then(|| unsafe { before.assume_init() });
            // SAFETY: the set is initialised.
            let before = before.filter(|set| unsafe { libc::sigismember(set, libc::SIGXFSZ) } == 0);
            Self { before, of_this_thread: PhantomData }
        }
    }

    /// Removes a pending SIGXFSZ, without waiting for one.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn take_pending() {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the set and the time are valid; information on the signal is not asked for.
        unsafe { libc::sigtimedwait(&only_this(), std::ptr::null_mut(), &now) };
    }

    /// Removes a pending SIGXFSZ. Other systems have no sigtimedwait.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn take_pending() {
        let mut pending = MaybeUninit::uninit();
        let mut signal = 0;
        // SAFETY: sigpending writes the set; sigwait returns at once for a signal that is pending in this thread.
        unsafe {
            if libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), libc::SIGXFSZ) == 1 {
                libc::sigwait(&only_this(), &mut signal);
            }
        }
    }

    impl Drop for FileSizeGuard {
        fn drop(&mut self) {
            let Some(before) = self.before else { return };
            take_pending();
            // SAFETY: the mask is the one that this thread had.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
        }
    }
}

#[cfg(unix)]
pub use unix::FileSizeGuard;

/// Other systems have no such signal.
#[cfg(not(unix))]
pub struct FileSizeGuard;

#[cfg(not(unix))]
impl FileSizeGuard {
    pub fn new() -> Self {
        Self
    }
}
