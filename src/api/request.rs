//! Calls that the caller does not wait for.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::base::call::{Cancellation, Priority};
use crate::base::error::{Error, Result, Status};
use crate::base::fork::Lock;

use super::Model;

type Callback = Box<dyn FnOnce() + Send>;

/// A call that runs in the background, on one of a bounded number of the model's own threads
/// ([`SchedulerOptions::requests`](crate::SchedulerOptions::requests)). It is also a [`Future`], which needs no runtime. Dropping it cancels the
/// call.
pub struct Request<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Lock<State<T>>,
    cancellation: Cancellation,
}

struct State<T> {
    done: bool,
    result: Option<Result<T>>,
    waker: Option<Waker>,
    /// Threads that wait.
    threads: Vec<Thread>,
    callback: Option<Callback>,
}

impl<T> Shared<T> {
    fn complete(&self, result: Result<T>) {
        let (waker, threads, callback) = {
            let mut state = self.state.lock();
            state.done = true;
            state.result = Some(result);
            (state.waker.take(), std::mem::take(&mut state.threads), state.callback.take())
        };
        threads.iter().for_each(Thread::unpark);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(callback) = callback {
            callback();
        }
    }
}

impl Model {
    /// Starts a call in the background: `work` makes it, with the cancellation in its options. Requests of a higher `priority` start
    /// first; give the call the same one.
    ///
    /// ```no_run
    /// # use kinglet::{EmbedOptions, LoadOptions, Model, Priority};
    /// # let model = Model::load("all-MiniLM-L6-v2", LoadOptions::default())?;
    /// let request = model.submit(Priority::Normal, |model, cancellation| {
    ///     model.embed(&["a small bird"], &EmbedOptions { cancellation: Some(cancellation), ..EmbedOptions::default() })
    /// })?;
    /// let embeddings = request.join()?;
    /// # Ok::<(), kinglet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Status::Busy`](crate::Status::Busy) if as many requests wait as the queue may have; a process that was forked since the load.
    pub fn submit<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce(&Self, Cancellation) -> Result<T> + Send + 'static,
    ) -> Result<Request<T>> {
        self.submit_with(priority, Cancellation::new(), None, work)
    }

    /// As [`Self::submit`], with the cancellation of the request, and with a callback that is called on the model's thread when the
    /// request is done.
    pub fn submit_with<T: Send + 'static>(
        &self,
        priority: Priority,
        cancellation: Cancellation,
        callback: Option<Callback>,
        work: impl FnOnce(&Self, Cancellation) -> Result<T> + Send + 'static,
    ) -> Result<Request<T>> {
        let state = State { done: false, result: None, waker: None, threads: Vec::new(), callback };
        let shared = Arc::new(Shared { state: Lock::new(state), cancellation });
        let (model, own) = (self.clone(), shared.clone());
        let job = move || {
            let cancellation = own.cancellation.clone();
            let run = || match cancellation.is_cancelled() {
                true => Err(Error::cancelled()),
                false => work(&model, cancellation),
            };
            let result = catch_unwind(AssertUnwindSafe(run));
            // Before the request is done, so that its owner may free the model.
            drop(model);
            let panicked = || Error::new(Status::Panic, "a request panicked");
            let completed = catch_unwind(AssertUnwindSafe(|| own.complete(result.unwrap_or_else(|_| Err(panicked())))));
            // Of a waker or a callback; the request is done.
            drop(completed);
        };
        self.0.engine.workers.submit(priority, Box::new(job))?;
        Ok(Request(shared))
    }
}

impl<T> Request<T> {
    /// Whether it is done: then [`Self::take`] does not fail for that.
    pub fn is_done(&self) -> bool {
        self.0.state.lock().done
    }

    /// Waits until it is done, at most for `timeout`. Returns whether it is.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let begun = Instant::now();
        loop {
            let mut state = self.0.state.lock();
            if state.done {
                return true;
            }
            state.threads.push(std::thread::current());
            drop(state);
            match timeout.map(|timeout| timeout.saturating_sub(begun.elapsed())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => return false,
                Some(rest) => std::thread::park_timeout(rest),
            }
        }
    }

    /// Cancels the call. It is then done soon, with [`Status::Cancelled`](crate::Status::Cancelled) or with its result.
    pub fn cancel(&self) {
        self.0.cancellation.cancel();
    }

    /// The result, once it is done.
    ///
    /// # Errors
    /// The call's own error; a request that is not done, or whose result was taken.
    pub fn take(&self) -> Result<T> {
        let mut state = self.0.state.lock();
        match (state.done, state.result.take()) {
            (_, Some(result)) => result,
            (true, None) => Err(Error::invalid_argument("request: its result was taken before")),
            (false, None) => Err(Error::invalid_argument("request: is not done")),
        }
    }

    /// Waits for the result.
    pub fn join(self) -> Result<T> {
        self.wait(None);
        self.take()
    }
}

impl<T> Future for Request<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.0.state.lock();
        if state.done {
            drop(state);
            return Poll::Ready(self.take());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> std::fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_done() { "Request (done)" } else { "Request" })
    }
}
