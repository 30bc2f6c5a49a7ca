//! The scheduler's turns under a model checker: `src/engine/scheduler/turns.rs` over the locks and threads of shuttle, which runs it in
//! thousands of orders. A timeout may end at any moment. shuttle fails if all threads wait. Run it with `make scheduler-check`.
#![cfg(test)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::sync::Arc;

#[path = "../../../src/engine/scheduler/turns.rs"]
mod turns;

/// What `turns.rs` needs, as `src/engine/scheduler/sync.rs`.
mod sync {
    use std::time::Duration;

    pub use shuttle::sync::atomic::{AtomicU32, Ordering};
    pub use shuttle::thread::{Thread, current, park};

    pub fn park_timeout(_: Duration) {
        shuttle::thread::yield_now();
    }

    pub struct Lock<T>(shuttle::sync::Mutex<T>);

    impl<T> Lock<T> {
        pub fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

use turns::{Demand, Line, Seat, Turns};

/// Work of one thread.
struct Job {
    seat: *const Seat,
    /// Runs until it is done, and those that are left.
    left: usize,
    runs: usize,
}

#[derive(Default)]
struct Jobs {
    waiting: Vec<*mut Job>,
    between: usize,
    /// Questions until the time for company is over.
    patience: AtomicUsize,
}

// SAFETY: the jobs' threads wait, and only the leader accesses them.
unsafe impl Send for Jobs {}

impl Line for Jobs {
    fn demand(&self) -> Demand {
        if self.waiting.is_empty() {
            return Demand::None;
        }
        let asked = self.patience.load(Ordering::Relaxed);
        if self.between == 0 || asked == 0 {
            return Demand::Now;
        }
        self.patience.store(asked - 1, Ordering::Relaxed);
        Demand::Within(Duration::from_micros(1))
    }

    fn first(&self) -> *const Seat {
        // SAFETY: as above.
        unsafe { (*self.waiting[0]).seat }
    }
}

/// One turn of a leader: runs some of the jobs, and serves those that are done.
fn lead(turns: &Turns<Jobs>, leaders: &AtomicUsize, own: *mut Job, most: usize) -> bool {
    assert_eq!(leaders.fetch_add(1, Ordering::SeqCst), 0, "two leaders");
    let some: Vec<*mut Job> = turns.with(|jobs| jobs.waiting.iter().copied().take(most).collect());
    shuttle::thread::yield_now();
    let mut served = Vec::new();
    for &job in &some {
        // SAFETY: its thread waits.
        let job = unsafe { &mut *job };
        (job.left, job.runs) = (job.left - 1, job.runs + 1);
        if job.left == 0 {
            served.push(&raw mut *job);
        }
    }
    turns.with(|jobs| {
        jobs.waiting.retain(|job| !served.contains(job));
        let some = usize::from(!jobs.waiting.is_empty());
        jobs.waiting.rotate_left(some);
        jobs.between += served.len();
        jobs.patience.store(2, Ordering::Relaxed);
    });
    leaders.fetch_sub(1, Ordering::SeqCst);
    for &job in served.iter().filter(|&&job| job != own) {
        // SAFETY: it has left the line, and its thread waits.
        unsafe { Seat::serve((*job).seat) };
    }
    served.contains(&own)
}

fn caller(turns: &Turns<Jobs>, leaders: &AtomicUsize, number: usize, steps: usize) {
    let mut counted = false;
    for step in 0..steps {
        let seat = Seat::new();
        let length = 1 + (number + step) % 2;
        let mut job = Job { seat: &raw const seat, left: length, runs: 0 };
        let own = &raw mut job;
        let mut leads = turns.enter(&seat, |jobs| {
            jobs.between -= usize::from(counted);
            jobs.waiting.push(own);
        });
        while leads {
            let served = lead(turns, leaders, own, 1 + number % 3);
            leads = turns.proceed((!served).then_some(&seat));
        }
        // SAFETY: the job has left the line.
        let (left, runs) = unsafe { ((*own).left, (*own).runs) };
        assert_eq!((left, runs), (0, length), "a job that was not run, or run twice");
        counted = true;
    }
    turns.update(|jobs| jobs.between -= 1);
}

fn callers(count: usize, steps: usize) {
    let turns = Arc::new(Turns::new(Jobs::default()));
    let leaders = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (turns, leaders) = (turns.clone(), leaders.clone());
            shuttle::thread::spawn(move || caller(&turns, &leaders, number, steps))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(turns.with(|jobs| jobs.waiting.is_empty() && jobs.between == 0));
}

#[test]
fn everybody_is_served_once_and_one_leads() {
    shuttle::check_pct(|| callers(3, 2), 3_000, 3);
    shuttle::check_random(|| callers(3, 3), 3_000);
    shuttle::check_random(|| callers(6, 2), 1_000);
}
