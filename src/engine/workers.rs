//! Threads for calls that their callers do not wait for: started when there is work, at most so many, and ended when they were idle for
//! a while. What waits for one is ordered by priority.
//!
//! Such a call waits in the scheduler's line most of the time, so there may be more of them than cores.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Thread as Parked;
use std::time::Duration;

use crate::base::call::Priority;
use crate::base::error::{Error, Result, Status};
use crate::base::fork::{Birth, Lock};
use crate::base::thread::{STACK, Thread};

/// After this time without work a thread ends.
const IDLE: Duration = Duration::from_secs(10);

/// The prefix of thread names.
const NAME: &str = "kinglet-request-";

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    /// By [`Priority::rank`].
    jobs: [VecDeque<Job>; Priority::ALL.len()],
    /// Threads that wait for work.
    idle: Vec<Parked>,
    threads: usize,
    stopped: bool,
}

pub(crate) struct Workers {
    state: Arc<Lock<State>>,
    most: usize,
    queue: usize,
    birth: Birth,
}

impl Workers {
    /// At most `most` threads; at most `queue` jobs wait for one, 0 for any number.
    pub fn new(most: usize, queue: usize) -> Self {
        Self { state: Arc::default(), most, queue, birth: Birth::now() }
    }

    /// Runs `job`, which does not panic, on a thread.
    pub fn submit(&self, priority: Priority, job: Job) -> Result<()> {
        if self.birth.was_in_a_parent() {
            return Err(Error::unsupported(
                "a request in a process forked since the model was loaded; call the blocking form",
            ));
        }
        let mut state = self.state.lock();
        let waiting = state.jobs.iter().map(VecDeque::len).sum::<usize>();
        if self.queue > 0 && waiting >= self.queue {
            return Err(Error::new(
                Status::Busy,
                format!("the model's queue is full: {waiting} requests wait; try again later"),
            ));
        }
        state.jobs[priority.rank()].push_back(job);
        if let Some(thread) = state.idle.pop() {
            drop(state);
            thread.unpark();
        } else if state.threads < self.most {
            let shared = self.state.clone();
            match Thread::start(&format!("{NAME}{}", state.threads), STACK, move || work(&shared)) {
                Ok(_) => state.threads += 1,
                // Those that run will take it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.jobs[priority.rank()].pop_back();
                    return Err(Error::out_of_memory(format!("no thread for a request: {error}")));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Workers {
    /// No job is left, because each holds a reference to the model.
    fn drop(&mut self) {
        if !self.birth.was_in_a_parent() {
            let mut state = self.state.lock();
            state.stopped = true;
            let idle = std::mem::take(&mut state.idle);
            drop(state);
            idle.iter().for_each(Parked::unpark);
        }
    }
}

fn work(shared: &Lock<State>) {
    let own = std::thread::current();
    let mut rested = false;
    loop {
        let job = {
            let mut state = shared.lock();
            state.idle.retain(|thread| thread.id() != own.id());
            let job = state.jobs.iter_mut().find_map(VecDeque::pop_front);
            if job.is_none() {
                if state.stopped || rested {
                    state.threads -= 1;
                    return;
                }
                state.idle.push(own.clone());
            }
            job
        };
        match job {
            Some(job) => {
                job();
                rested = false;
            }
            None => {
                let begun = std::time::Instant::now();
                std::thread::park_timeout(IDLE);
                rested = begun.elapsed() >= IDLE;
            }
        }
    }
}
