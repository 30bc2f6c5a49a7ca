//! Passes of whole texts: of one call alone, or of several calls together.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::grow;
use crate::engine::Engine;
use crate::engine::passes::{JoinedTexts, OrderedRows, passes};
use crate::network::Sequence;
use crate::spec::{Batch, EncodeOutput};
use crate::text::encoding::Encoding;

use super::attempt;
use super::line::{Queue, Request, Texts, Waiting, Work};
use super::steps::PROMPT_PART;

/// A pass to run.
#[derive(Default)]
pub(super) struct TextPlan {
    /// The calls that may be in the pass, and the next text of each.
    members: Vec<(Waiting, usize)>,
    /// The texts of the pass; unused if the call is alone.
    items: Vec<(Waiting, usize)>,
    alone: bool,
}

// SAFETY: as `Queue`.
unsafe impl Send for TextPlan {}

fn texts_of<'r>(request: &'r mut Request<'static, 'static>) -> Result<&'r mut Texts<'static>> {
    match &mut request.work {
        Work::Texts(texts) => Ok(texts),
        Work::Step(_) => Err(Error::internal("a step in a pass of texts")),
    }
}

/// Chooses the texts of the next pass: of all calls with the priority of `chosen` that want the same, one text of each in turn.
pub(super) fn plan(queue: &Queue, chosen: Waiting, max_tokens: usize, merges: bool, plan: &mut TextPlan) {
    let TextPlan { members, items, alone } = plan;
    members.clear();
    items.clear();
    // SAFETY: this thread leads.
    let (first, texts) = unsafe { (&*chosen, texts_of(&mut *chosen)) };
    let Ok(Texts { output, .. }) = texts else { return };
    for (&pointer, request) in queue.requests.iter().zip(queue.iter()) {
        let Work::Texts(other) = &request.work else { continue };
        let same = other.output == *output && request.call.priority == first.call.priority;
        if std::ptr::eq(pointer, chosen) || merges && same {
            members.push((pointer, other.next));
        }
    }
    *alone = queue.requests.len() == 1 && queue.between == 0;
    if *alone {
        return;
    }
    // Beside texts that are being written, a pass is as short as a slice of a prompt.
    let max_tokens = if queue.between > 0 { max_tokens / PROMPT_PART } else { max_tokens };
    let mut tokens = 0;
    let mut more = true;
    while std::mem::take(&mut more) {
        for (pointer, next) in &mut *members {
            // SAFETY: as above.
            let Ok(texts) = texts_of(unsafe { &mut **pointer }) else { continue };
            if *next == texts.end {
                continue;
            }
            let count = texts.tokens_of(*next);
            if !items.is_empty() && tokens + count > max_tokens {
                *next = texts.end;
                continue;
            }
            items.push((*pointer, *next));
            (tokens, *next, more) = (tokens + count, *next + 1, true);
        }
    }
}

/// Takes finished calls out of the line. Those that were in the pass and have more go to its end.
pub(super) fn finish(queue: &mut Queue, plan: &mut TextPlan, served: &mut Vec<Waiting>) {
    queue.remove(|request| {
        let Work::Texts(texts) = &request.work else { return false };
        let done = request.failure.is_some() || texts.next == texts.end;
        if done {
            served.push(request);
        }
        done
    });
    if !plan.alone && queue.requests.len() > 1 {
        let in_pass = |request: &Waiting| plan.items.iter().any(|(other, _)| std::ptr::eq(*other, *request));
        // At most as many as a pass has texts.
        let (mut last, first): (Vec<Waiting>, Vec<Waiting>) =
            queue.requests.iter().partition(|&request| in_pass(request));
        queue.requests = first;
        queue.requests.append(&mut last);
    }
}

impl Engine {
    /// Computes `output` for a batch and joins the rows of all passes.
    pub fn read(&self, encoding: &Encoding, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        // Allocated at once: growing would copy a large result.
        let values = output.rows(encoding.len(), encoding.ids()) * output.width(&self.spec, &self.modules);
        let mut rows = Vec::new();
        grow(&mut rows, values, "the result");
        let texts = Texts { encoding, output: Some(output), next: 0, end: encoding.len(), rows, sequences: Vec::new() };
        self.finite(self.run_call(texts, call)?.rows)
    }

    /// Runs the encoder on source texts. Returns an empty decoder sequence for each.
    pub fn read_sources(&self, encoding: &Encoding, texts: Range<usize>, call: Call<'_>) -> Result<Vec<Sequence>> {
        let Range { start: next, end } = texts;
        let sequences = Vec::with_capacity(texts.len());
        let texts = Texts { encoding, output: None, next, end, rows: Vec::new(), sequences };
        Ok(self.run_call(texts, call)?.sequences)
    }

    fn run_call<'a>(&self, mut texts: Texts<'a>, call: Call<'a>) -> Result<Texts<'a>> {
        if texts.next == texts.end {
            return Ok(texts);
        }
        call.check()?;
        if self.runs_alone() {
            self.begin_call(call);
            self.run_alone(&mut texts, call, &|| false)?;
            return Ok(texts);
        }
        if let Some(done) = self.beside(call, || self.run_alone(&mut texts, call, &|| false)) {
            done?;
            return Ok(texts);
        }
        let (since, work) = (Instant::now(), Work::Texts(texts));
        let mut request = Request { seat: std::ptr::null(), call, since, begun: false, work, failure: None };
        self.wait_for(&mut request, |_| {})?;
        match request.work {
            Work::Texts(texts) => Ok(texts),
            Work::Step(_) => Err(Error::internal("texts that became a step")),
        }
    }

    /// Runs a planned pass. Returns its sequences and tokens.
    pub(super) fn run_texts(&self, plan: &mut TextPlan) -> (usize, usize) {
        let TextPlan { members, items, alone } = plan;
        if *alone {
            let Some(&(chosen, _)) = members.first() else { return (0, 0) };
            // SAFETY: this thread leads, and the request waits.
            let request = unsafe { &mut *chosen };
            self.begin(request);
            let call = request.call;
            let Ok(texts) = texts_of(request) else { return (0, 0) };
            let first = texts.next;
            let waiting = &self.scheduler.waiting;
            let outcome = attempt(|| self.run_alone(texts, call, &|| waiting.load(Ordering::Relaxed) > 1));
            let starts = texts.encoding.starts();
            let counts = (texts.next - first, starts[texts.next] - starts[first]);
            request.failure = outcome.err();
            return counts;
        }
        for (request, _) in &*items {
            // SAFETY: as above.
            self.begin(unsafe { &mut **request });
        }
        self.run_items(items);
        let tokens = |(request, text): &(Waiting, usize)| {
            // SAFETY: as above.
            texts_of(unsafe { &mut **request }).map_or(0, |texts| texts.tokens_of(*text))
        };
        (items.len(), items.iter().map(tokens).sum())
    }

    /// Runs texts of several calls together; if that fails, call by call.
    fn run_items(&self, items: &[(Waiting, usize)]) {
        let Some(&(first, _)) = items.first() else { return };
        let several = items.iter().any(|(request, _)| !std::ptr::eq(*request, first));
        // SAFETY: as above.
        let call = if several { Call::new(&self.counters) } else { unsafe { (*first).call } };
        let failure = match attempt(|| self.encode_items(items, call)) {
            Ok(()) => return,
            Err(failure) => failure,
        };
        if !several {
            // SAFETY: as above.
            unsafe { (*first).failure = Some(failure) };
            return;
        }
        let mut rest: Vec<(Waiting, usize)> = items.to_vec();
        while let Some(&(request, _)) = rest.first() {
            let (own, others) = rest.into_iter().partition(|(other, _)| std::ptr::eq(*other, request));
            let own: Vec<(Waiting, usize)> = own;
            self.run_items(&own);
            rest = others;
        }
    }

    fn encode_items(&self, items: &[(Waiting, usize)], call: Call<'_>) -> Result<()> {
        let start = Instant::now();
        let mut texts = Vec::with_capacity(items.len());
        let mut output = None;
        for &(request, text) in items {
            // SAFETY: as above; only the encoding and the output outlive this statement, and they are shared.
            let of = texts_of(unsafe { &mut *request })?;
            output = of.output;
            texts.push((of.encoding, text));
        }
        let tokens: usize = texts.iter().map(|(encoding, text)| encoding.tokens_of(*text)).sum();
        let threads = self.pool.threads();
        // Threads that run parts of their own wait for each other only at the end.
        let apart = self.network.thread_pass_tokens().is_some_and(|part| {
            output.is_some() && threads > 1 && texts.len() >= 2 * threads && 4 * tokens >= 3 * part * threads
        });
        let parts = JoinedTexts::of(&texts, if apart { threads } else { 1 });
        call.counters.add(Stage::Pack, texts.len(), tokens, start.elapsed());
        let Some(output) = output else {
            let mut sequences = Vec::with_capacity(texts.len());
            for part in &parts {
                sequences.extend(self.network.read_sources(&part.batch(), call)?);
            }
            for (&(request, _), sequence) in items.iter().zip(sequences) {
                // SAFETY: as above.
                let texts = texts_of(unsafe { &mut *request })?;
                texts.sequences.push(sequence);
                texts.next += 1;
            }
            return Ok(());
        };
        let results: Vec<_> = parts.iter().map(|_| Mutex::new(Ok(Vec::new()))).collect();
        self.pool.run(parts.len(), |i| {
            let rows = self.network.encode(&parts[i].batch(), output, call);
            *results[i].lock().unwrap_or_else(PoisonError::into_inner) = rows;
        });
        let mut rows = Vec::new();
        for result in results {
            let part = result.into_inner().unwrap_or_else(PoisonError::into_inner)?;
            if rows.is_empty() { rows = part } else { rows.extend(part) }
        }
        let width = output.width(&self.spec, &self.modules);
        let mut rest = &rows[..];
        for (&(request, _), (encoding, text)) in items.iter().zip(texts) {
            let count = output.rows(1, encoding.ids_of(text)) * width;
            let row = rest.split_off(..count).ok_or_else(|| Error::internal("a pass with fewer rows than texts"))?;
            // SAFETY: as above.
            let texts = texts_of(unsafe { &mut *request })?;
            texts.rows.extend_from_slice(row);
            texts.next += 1;
        }
        Ok(())
    }

    /// Runs a call's texts, pass by pass, until `stop` says that others wait. In a large batch each thread runs its own passes, so
    /// threads wait for each other only at the end; in a small one all threads share each pass.
    fn run_alone(&self, texts: &mut Texts, call: Call<'_>, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let Texts { encoding, output, next, end, rows, sequences } = texts;
        let (network, pool) = (&self.network, &self.pool);
        let bounds = &encoding.starts()[*next..=*end];
        let longest = bounds.windows(2).map(|bounds| bounds[1] - bounds[0]).max().unwrap_or(0);
        let count = bounds[bounds.len() - 1] - bounds[0];
        let tokens = network.pass_tokens();
        let apart = network.thread_pass_tokens().filter(|&part| {
            output.is_some() && pool.threads() > 1 && longest <= tokens && count >= 2 * part * pool.threads()
        });
        let alone = network.thread_pass_tokens().filter(|_| output.is_some() && pool.threads() == 1);
        let mut passes = passes(encoding, *next..*end, apart.or(alone).unwrap_or(tokens));
        let mut following = || {
            let start = Instant::now();
            let pass = passes.next()?;
            call.counters.add(Stage::Pack, pass.layout.sequences(), pass.layout.tokens(), start.elapsed());
            Some(pass)
        };
        let (Some(output), Some(_)) = (*output, apart) else {
            while let Some(pass) = following() {
                match output {
                    Some(output) => rows.extend(network.encode(&pass, output, call)?),
                    None => sequences.extend(network.read_sources(&pass, call)?),
                }
                *next += pass.layout.sequences();
                if stop() {
                    break;
                }
            }
            return Ok(());
        };
        let passes: Vec<Batch> = std::iter::from_fn(following).collect();
        let parts = Mutex::new(OrderedRows::new(std::mem::take(rows), passes.len()));
        let parts_of = || parts.lock().unwrap_or_else(PoisonError::into_inner);
        // The first pass that is left for later.
        let left = AtomicUsize::new(usize::MAX);
        pool.run(passes.len(), |i| {
            if i > 0 && stop() {
                left.fetch_min(i, Ordering::Relaxed);
            }
            if i < left.load(Ordering::Relaxed) && !parts_of().has_failed() {
                let part = network.encode(&passes[i], output, call);
                parts_of().add(i, part);
            }
        });
        let (joined, done) = parts.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
        *rows = joined;
        *next += passes[..done].iter().map(|pass| pass.layout.sequences()).sum::<usize>();
        Ok(())
    }

    /// Refuses results that are infinite or not a number: sums that overflowed, most likely in 16 bits.
    pub fn finite(&self, rows: Vec<f32>) -> Result<Vec<f32>> {
        const EXPONENT: u32 = 0x7f80_0000;
        // A maximum of integers, because that is vectorised.
        let largest = rows.iter().fold(0, |most, value| (value.to_bits() & EXPONENT).max(most));
        if largest != EXPONENT {
            return Ok(rows);
        }
        let (path, backend) = (self.path.display(), self.network.describe());
        Err(Error::unsupported(format!("{path}: a result is not finite with {backend}; load the model in f32")))
    }
}
