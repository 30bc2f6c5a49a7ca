//! Who computes. Threads put work in a line; one of those that wait leads: it takes work from the line, runs it for everyone, and hands
//! the lead on. No thread exists only to schedule, and a thread that finds the line empty leads at once, without a wake-up.
//!
//! This file knows neither the work nor the clock, and it names its locks and threads through `super::sync`, so that
//! `crates/scheduler-check` compiles it over a model checker's.
//!
//! Rules:
//! - At most one thread leads. Only it takes work from the line and tells others that theirs is done.
//! - A thread that waits has work in the line or in the leader's hands. It leaves when its [`Seat`] says that the work is done.
//! - Work may not be ready yet, because company is expected. Then one waiting thread gathers: it sleeps with a timeout and leads when
//!   the time is over. A thread that completes the company leads at once; the gatherer is then one that waits as any other.

use std::time::Duration;

use super::sync::{AtomicU32, Lock, Ordering, Thread, current, park, park_timeout};

const WAITS: u32 = 0;
const LEADS: u32 = 1;
const GATHERS: u32 = 2;
const SERVED: u32 = 3;

/// The place of a thread that waits.
pub struct Seat {
    state: AtomicU32,
    thread: Thread,
}

impl Seat {
    /// For the current thread.
    pub fn new() -> Self {
        Self { state: AtomicU32::new(WAITS), thread: current() }
    }

    /// Marks the work of another thread, or of the leader itself, as done.
    ///
    /// # Safety
    /// `seat` belongs to a thread that waits or leads. It may be freed as soon as this is called.
    pub unsafe fn serve(seat: *const Self) {
        // SAFETY: the caller's promise.
        unsafe { Self::tell(seat, SERVED) }.unpark();
    }

    /// Changes the state of a thread that waits, and returns the thread, which is then to be unparked.
    ///
    /// # Safety
    /// As [`Self::serve`].
    unsafe fn tell(seat: *const Self, state: u32) -> Thread {
        // SAFETY: alive until the state changes.
        let thread = unsafe { (*seat).thread.clone() };
        // SAFETY: as above.
        unsafe { (*seat).state.store(state, Ordering::Release) };
        thread
    }
}

/// When the line's work is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// There is no work.
    None,
    Now,
    /// Company is expected; without it, after this time.
    Within(Duration),
}

/// The work that waits.
pub trait Line {
    fn demand(&self) -> Demand;
    /// The thread that is to lead next; asked only if there is work.
    fn first(&self) -> *const Seat;
}

struct State<L> {
    led: bool,
    /// The waiting thread that has a timeout.
    gatherer: *const Seat,
    line: L,
}

pub struct Turns<L>(Lock<State<L>>);

// SAFETY: `gatherer` points at a seat whose thread waits, and is read under the lock.
unsafe impl<L: Send> Send for Turns<L> {}
// SAFETY: as above.
unsafe impl<L: Send> Sync for Turns<L> {}

impl<L: Line> Turns<L> {
    pub fn new(line: L) -> Self {
        Self(Lock::new(State { led: false, gatherer: std::ptr::null(), line }))
    }

    /// Puts work in the line by `join`, and waits until it is done (false) or until this thread has to lead (true). A leader calls
    /// [`Self::with`] to take work and then [`Self::proceed`].
    pub fn enter(&self, seat: &Seat, join: impl FnOnce(&mut L)) -> bool {
        seat.state.store(WAITS, Ordering::Relaxed);
        let mut timeout = None;
        {
            let mut state = self.0.lock();
            join(&mut state.line);
            if !state.led {
                match state.line.demand() {
                    Demand::Now => {
                        state.led = true;
                        state.gatherer = std::ptr::null();
                        return true;
                    }
                    Demand::Within(time) if state.gatherer.is_null() => {
                        state.gatherer = seat;
                        timeout = Some(time);
                    }
                    _ => {}
                }
            }
        }
        self.wait(seat, timeout)
    }

    fn wait(&self, seat: &Seat, mut timeout: Option<Duration>) -> bool {
        loop {
            match seat.state.load(Ordering::Acquire) {
                SERVED => return false,
                LEADS => return true,
                WAITS => match timeout {
                    Some(time) => park_timeout(time),
                    None => park(),
                },
                _ => {
                    // Fails if the work was done meanwhile.
                    let _ = seat.state.compare_exchange(GATHERS, WAITS, Ordering::AcqRel, Ordering::Relaxed);
                    timeout = Some(Duration::ZERO);
                }
            }
            if timeout.is_some() {
                let mut state = self.0.lock();
                timeout = None;
                if std::ptr::eq(state.gatherer, seat) && !state.led {
                    match state.line.demand() {
                        Demand::Within(time) => timeout = Some(time),
                        _ => {
                            state.led = true;
                            state.gatherer = std::ptr::null();
                            return true;
                        }
                    }
                }
            }
        }
    }

    /// Reads or changes the line: the leader takes work.
    pub fn with<R>(&self, work: impl FnOnce(&mut L) -> R) -> R {
        work(&mut self.0.lock().line)
    }

    /// Changes the line from outside, for instance because expected company will not come, and wakes the gatherer if there is nothing
    /// more to wait for.
    pub fn update(&self, change: impl FnOnce(&mut L)) {
        let mut state = self.0.lock();
        change(&mut state.line);
        if !state.led && !state.gatherer.is_null() && state.line.demand() == Demand::Now {
            let seat = std::mem::replace(&mut state.gatherer, std::ptr::null());
            state.led = true;
            // SAFETY: the gatherer waits, and nobody else can serve it, because this call took the lead for it.
            let thread = unsafe { Seat::tell(seat, LEADS) };
            drop(state);
            thread.unpark();
        }
    }

    /// Ends a leader's turn. `own` is its seat if its own work is still in the line; then it may lead on (true), or wait as in
    /// [`Self::enter`]. Without `own` the lead goes to the first of the line, and the result is false.
    pub fn proceed(&self, own: Option<&Seat>) -> bool {
        let (mut timeout, mut wake) = (None, None);
        {
            let mut state = self.0.lock();
            match (state.line.demand(), own) {
                (Demand::Now, Some(_)) => return true,
                (Demand::Now, None) => {
                    // SAFETY: the line's threads wait; only a leader, which is this thread until the lead is passed on, serves them.
                    wake = Some(unsafe { Seat::tell(state.line.first(), LEADS) });
                }
                (Demand::Within(time), Some(seat)) => {
                    // It may have been told to lead.
                    seat.state.store(WAITS, Ordering::Relaxed);
                    state.led = false;
                    state.gatherer = seat;
                    timeout = Some(time);
                }
                (Demand::Within(_), None) => {
                    state.led = false;
                    let seat = state.line.first();
                    state.gatherer = seat;
                    // SAFETY: as above; a thread that takes the lead now needs the lock first.
                    wake = Some(unsafe { Seat::tell(seat, GATHERS) });
                }
                (Demand::None, _) => state.led = false,
            }
        }
        if let Some(thread) = wake {
            thread.unpark();
        }
        match own {
            Some(seat) => self.wait(seat, timeout),
            None => false,
        }
    }
}
