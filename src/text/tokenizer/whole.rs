//! Tokenising a text, or a part of one, at once. The crate cannot be interrupted, so a long part is tokenised on a thread of its own: the
//! call ends soon after its cancellation or deadline, and the thread when it has finished.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tokenizers::Encoding;

use super::backtracking::Poll;
use super::{ENCODING_FACTOR, Inner, cuts, untokenizable};
use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::base::memory::ensure;
use crate::base::panics;
use crate::base::thread::{STACK, Thread};

/// The bytes that the calling thread tokenises itself: a few hundredths of a second at most.
const LONG: usize = 4 * cuts::PART;

/// How long a cancellation may stay unnoticed.
const POLL: Duration = Duration::from_millis(10);

/// The most threads at a time, so that calls which are cancelled again and again do not gather them. A part beyond it is tokenised by the
/// calling thread.
const THREADS: usize = 16;
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// A place among [`THREADS`].
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let free = |running: usize| (running < THREADS).then_some(running + 1);
        RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Set when the call has ended without waiting.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    /// Tokenises a text at once. Without `offsets` the encoding has none.
    pub(super) fn encode_whole(self: &Arc<Self>, text: &str, offsets: bool, call: Call<'_>) -> Result<Encoding> {
        call.check()?;
        if text.len() <= LONG {
            return self.encode_here(text, offsets, &|| call.check());
        }
        ensure((text.len() as u64).saturating_mul(ENCODING_FACTOR), "tokenizing a text")?;
        let can_end = call.cancelled.is_some() || call.deadline.is_some();
        match can_end.then(Place::take).flatten() {
            Some(place) => self.encode_beside(text, offsets, call, place),
            None => self.encode_here(text, offsets, &|| call.check()),
        }
    }

    fn encode_here(&self, text: &str, offsets: bool, poll: Poll<'_>) -> Result<Encoding> {
        let tokenizer = self.hf()?;
        self.backtracking.check(tokenizer, text, poll)?;
        let encoded = if offsets { tokenizer.encode(text, false) } else { tokenizer.encode_fast(text, false) };
        encoded.map_err(untokenizable)
    }

    fn encode_beside(self: &Arc<Self>, text: &str, offsets: bool, call: Call<'_>, place: Place) -> Result<Encoding> {
        let (sender, result) = channel();
        let abandoned = Abandoned(Arc::default());
        let (inner, owned, flag) = (self.clone(), text.to_owned(), abandoned.0.clone());
        let body = move || {
            let _place = place;
            let poll = || if flag.load(Ordering::Relaxed) { Err(Error::cancelled()) } else { Ok(()) };
            // Nobody receives it if the call has ended.
            let _ = sender.send(panics::guarded(|| inner.encode_here(&owned, offsets, &poll)));
        };
        if Thread::start("kinglet-text", STACK, body).is_err() {
            return self.encode_here(text, offsets, &|| call.check());
        }
        loop {
            match result.recv_timeout(POLL) {
                Ok(encoded) => return encoded.unwrap_or_else(|panic| resume_unwind(panic)),
                Err(RecvTimeoutError::Timeout) => call.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::internal("the tokenizer's thread has ended")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::super::{EncodeOptions, Tokenizer};
    use super::*;
    use crate::base::counters::Counters;
    use crate::base::error::Status;
    use crate::base::threads::Pool;

    /// A thread that has not ended by then hangs; it needs half a second.
    const WATCHDOG: Duration = Duration::from_secs(60);

    #[test]
    fn a_call_ends_before_a_long_part_is_tokenised_and_its_thread_after_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xlm-roberta");
        let tokenizer = Tokenizer::from_directory(&folder).unwrap();
        let (counters, pool) = (Counters::default(), Pool::new(1));
        let options = EncodeOptions { max_length: Some(usize::MAX), ..EncodeOptions::default() };
        // Unigram finds no place to cut it.
        let text = "=".repeat(4 << 20);
        let expected = tokenizer.encode(&[&text], None, &options, &pool, Call::new(&counters)).unwrap();
        let cancelled = AtomicBool::new(false);
        let call = Call { cancelled: Some(&cancelled), ..Call::new(&counters) };
        let encoded = tokenizer.encode(&[&text], None, &options, &pool, call).unwrap();
        assert_eq!(encoded.ids(), expected.ids());
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                cancelled.store(true, Ordering::Relaxed);
            });
            tokenizer.encode(&[&text], None, &options, &pool, call).err().unwrap()
        });
        assert_eq!(error.status(), Status::Cancelled);
        let deadline = Some(Instant::now() + Duration::from_millis(20));
        let call = Call { deadline, ..Call::new(&counters) };
        let error = tokenizer.encode(&[&text], None, &options, &pool, call).err().unwrap();
        assert_eq!(error.status(), Status::DeadlineExceeded);
        let start = Instant::now();
        while Arc::strong_count(&tokenizer.0) > 1 {
            assert!(start.elapsed() < WATCHDOG, "a thread does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
