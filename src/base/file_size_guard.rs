//! Writing beyond the limit on the size of files (RLIMIT_FSIZE, `ulimit -f`) as an error.
//!
//! The system answers such a write with the signal SIGXFSZ, which ends the process, unless the signal is blocked: then the write fails
//! with EFBIG. A library must not change what signals do in the process, so only the writing thread blocks it, while it writes.

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

    impl Drop for FileSizeGuard {
        fn drop(&mut self) {
            let Some(before) = self.before else { return };
            let mut pending = MaybeUninit::uninit();
            // SAFETY: sigpending writes the set; sigwait returns at once, because the signal is pending, and takes it away; the
            // mask is the one that this thread had.
            unsafe {
                if libc::sigpending(pending.as_mut_ptr()) == 0
                    && libc::sigismember(pending.as_ptr(), libc::SIGXFSZ) == 1
                {
                    let mut signal = 0;
                    libc::sigwait(&only_this(), &mut signal);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            }
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
