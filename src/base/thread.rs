//! Threads of the library's own, started by the system's call on Unix.
//!
//! A thread of Rust's standard library takes two locks as it begins and ends: one of the list with which the handler of stack overflows
//! finds a thread's name, and the dynamic linker's, to register destructors of thread-local values. Nothing releases the first in the
//! child of a `fork` that came at that moment: every thread that the child starts would wait for ever. The second is held by a library
//! whose initialiser does not return: joining a thread that has not begun yet would wait for ever, too.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::panics::guarded;

/// The stack of a thread, in bytes, that does not ask for more.
pub const STACK: usize = 2 << 20;

type Body<'a> = Box<dyn FnOnce() + Send + 'a>;
type Outcome = Result<(), Box<dyn Any + Send>>;

/// A running thread. It goes on if this is dropped.
pub struct Thread {
    handle: Option<system::Handle>,
    outcome: Arc<Mutex<Outcome>>,
}

impl Thread {
    /// Starts a thread that runs `body`. Its panics are not reported on standard error. `stack` is in bytes, a multiple of 64 KiB.
    ///
    /// # Errors
    /// The system has no memory for a thread, or none is allowed.
    pub fn start(name: &str, stack: usize, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        // SAFETY: the body borrows nothing that ends.
        unsafe { Self::start_borrowing(name, stack, Box::new(body)) }
    }

    /// # Safety
    /// The thread is joined before what `body` borrows ends.
    unsafe fn start_borrowing(name: &str, stack: usize, body: Body<'_>) -> io::Result<Self> {
        let outcome = Arc::new(Mutex::new(Ok(())));
        let result = outcome.clone();
        let body: Body<'_> = Box::new(move || {
            if let Err(panic) = guarded(body) {
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Err(panic);
            }
        });
        // SAFETY: the caller keeps alive what it borrows.
        let body: Body<'static> = unsafe { std::mem::transmute::<Body<'_>, Body<'static>>(body) };
        Ok(Self { handle: Some(system::start(name, stack, body)?), outcome })
    }

    /// Waits for its end. The error is its panic.
    pub fn join(mut self) -> Outcome {
        self.handle.take().into_iter().for_each(system::join);
        std::mem::replace(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.handle.take().into_iter().for_each(system::detach);
    }
}

/// Runs `work` on a thread with a stack of that many bytes, and waits for it.
///
/// # Errors
/// As [`Thread::start`].
pub fn with_stack<T: Send>(name: &str, stack: usize, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let mut result = None;
    let slot = &mut result;
    // SAFETY: it is joined in the next line.
    let thread = unsafe { Thread::start_borrowing(name, stack, Box::new(move || *slot = Some(work()))) }?;
    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    Ok(result.expect("a thread that does not panic has a result"))
}

/// Runs `work` on the calling thread and on as many `others`, or on fewer if the system refuses them, and waits for all.
pub fn beside(name: &str, others: usize, work: impl Fn() + Sync) {
    let mut threads = Vec::with_capacity(others);
    for _ in 0..others {
        // SAFETY: all are joined below, whether or not `work` panics.
        threads.extend(unsafe { Thread::start_borrowing(name, STACK, Box::new(&work)) });
    }
    let own = std::panic::catch_unwind(AssertUnwindSafe(&work));
    let theirs: Vec<Outcome> = threads.into_iter().map(Thread::join).collect();
    std::iter::once(own).chain(theirs).for_each(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic)));
}

#[cfg(unix)]
mod system {
    use std::ffi::{CString, c_void};
    use std::io;

    use super::Body;

    pub type Handle = libc::pthread_t;

    struct Start {
        name: CString,
        body: Body<'static>,
    }

    /// Called by `pthread_create` alone, with a [`Start`] that a box has given up.
    extern "C" fn run(start: *mut c_void) -> *mut c_void {
        // SAFETY: the starter leaves it to this thread.
        let Start { name, body } = *unsafe { Box::from_raw(start.cast::<Start>()) };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: the name ends in a null. A refused name does not matter.
        unsafe {
            libc::pthread_setname_np(libc::pthread_self(), name.as_ptr())
        };
        #[cfg(target_vendor = "apple")]
        // SAFETY: as above.
        unsafe {
            libc::pthread_setname_np(name.as_ptr())
        };
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        drop(name);
        body();
        std::ptr::null_mut()
    }

    pub fn start(name: &str, stack: usize, body: Body<'static>) -> io::Result<Handle> {
        let checked = |code| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
        // Linux keeps 15 bytes of a name, and refuses longer ones.
        let name = CString::new(&name.as_bytes()[..name.len().min(15)]).unwrap_or_default();
        let start = Box::into_raw(Box::new(Start { name, body }));
        // SAFETY: the attributes are initialised before they are used and destroyed once; the thread takes over `start` if it begins.
        let begun = unsafe {
            let mut attributes = std::mem::MaybeUninit::uninit();
            let mut thread = std::mem::MaybeUninit::uninit();
            checked(libc::pthread_attr_init(attributes.as_mut_ptr())).and_then(|()| {
                let begun = checked(libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), stack)).and_then(|()| {
                    checked(libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, start.cast()))
                });
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
                begun.map(|()| thread.assume_init())
            })
        };
        if begun.is_err() {
            // SAFETY: no thread has taken it over.
            drop(unsafe { Box::from_raw(start) });
        }
        begun
    }

    pub fn join(thread: Handle) {
        // SAFETY: a handle is joined once; the thread was not detached.
        unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    }

    pub fn detach(thread: Handle) {
        // SAFETY: as above; a handle that is detached is not joined.
        unsafe { libc::pthread_detach(thread) };
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use super::Body;

    pub type Handle = std::thread::JoinHandle<()>;

    pub fn start(name: &str, stack: usize, body: Body<'static>) -> io::Result<Handle> {
        std::thread::Builder::new().name(name.into()).stack_size(stack).spawn(body)
    }

    pub fn join(thread: Handle) {
        // Its panics are caught.
        let _ = thread.join();
    }

    pub fn detach(thread: Handle) {
        drop(thread);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_thread_has_its_name_and_returns_its_panic() {
        let thread = Thread::start("kinglet-thread-0", STACK, || {
            #[cfg(target_os = "linux")]
            {
                let mut name = [0u8; 32];
                // SAFETY: the length is the array's.
                let code = unsafe { libc::pthread_getname_np(libc::pthread_self(), name.as_mut_ptr().cast(), 32) };
                assert_eq!((code, &name[..16]), (0, &b"kinglet-thread-\0"[..]));
            }
            panic!("the end");
        });
        let panic = thread.unwrap().join().unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the end"));
    }

    #[test]
    fn work_on_a_large_stack_gives_its_result() {
        let sum = with_stack("kinglet-stack", 64 << 20, || {
            let large = std::hint::black_box([1u8; 16 << 20]);
            large.iter().map(|&x| usize::from(x)).sum::<usize>()
        });
        assert_eq!(sum.unwrap(), 16 << 20);
    }

    #[test]
    fn work_runs_on_each_thread_and_its_panic_comes_after_all_have_ended() {
        let calls = AtomicUsize::new(0);
        beside("kinglet-beside", 3, || {
            calls.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(calls.load(Ordering::SeqCst), 4);
        let outcome = guarded(|| {
            beside("kinglet-beside", 3, || {
                assert_eq!(calls.fetch_add(1, Ordering::SeqCst) % 2, 0, "odd");
            })
        });
        assert!(outcome.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 8);
    }

    #[test]
    fn a_stack_that_the_system_refuses_is_an_error() {
        assert!(Thread::start("kinglet-refused", 1 << 50, || ()).is_err());
    }
}
