//! The host's side: a network that runs in a provider.

use std::any::Any;
use std::ffi::c_void;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::base::call::{Call, Cancellation};
use crate::base::counters::{Counters, Stage, StageTotals};
use crate::base::error::{Error, Result, Status};
use crate::base::memory::Budget;
use crate::network::placement::{Place, Placed, Progress};
use crate::network::{Feed, List, Network, Sequence, SequenceState, StepOutput, Want};
use crate::spec::{Batch, Device, DeviceInfo, Layers, Output, Precision};

use super::serve::{Description, DeviceEntry, Request};
use super::table::{
    Caller, FeedView, LAYERS_HEAD, LAYERS_MODULES, LAYERS_NONE, NO_TOKEN, OutputView, PassView, Slice, Table,
    WANT_LOGITS, WANT_NOTHING, WANT_TOKEN, WANT_TOP_K,
};

/// What a call brings.
#[derive(Default)]
struct Answer<'a> {
    floats: Vec<f32>,
    tokens: Vec<u32>,
    text: String,
    counters: Option<&'a Counters>,
    progress: Option<Progress<'a>>,
    /// Why the host stopped a load.
    stopped: Option<Error>,
}

/// # Safety
/// `context` is the answer of the call under way.
unsafe fn answer<'a>(context: *mut c_void) -> &'a mut Answer<'a> {
    // SAFETY: the caller's promise.
    unsafe { &mut *context.cast() }
}

unsafe extern "C" fn floats(context: *mut c_void, values: Slice<f32>) {
    // SAFETY: the provider hands back the context, and values that live during the call.
    unsafe { answer(context).floats.extend_from_slice(values.get()) }
}

unsafe extern "C" fn tokens(context: *mut c_void, values: Slice<u32>) {
    // SAFETY: as in `floats`.
    unsafe { answer(context).tokens.extend_from_slice(values.get()) }
}

unsafe extern "C" fn text(context: *mut c_void, text: Slice<u8>) {
    // SAFETY: as in `floats`.
    unsafe { answer(context).text = String::from_utf8_lossy(text.get()).into_owned() }
}

unsafe extern "C" fn stage(context: *mut c_void, figures: Slice<u64>) {
    // SAFETY: as in `floats`.
    let (counters, figures) = unsafe { (answer(context).counters, figures.get()) };
    if let (Some(counters), &[stage, calls, items, tokens, nanoseconds]) = (counters, figures)
        && let Some(stage) = u32::try_from(stage).ok().and_then(Stage::from_u32)
    {
        counters.put(stage, StageTotals { calls, items, tokens, nanoseconds });
    }
}

unsafe extern "C" fn progress(context: *mut c_void, done: usize, all: usize) -> u32 {
    // SAFETY: as in `floats`.
    let answer = unsafe { answer(context) };
    let Some(progress) = &mut answer.progress else { return 1 };
    // A panic must not cross into the provider.
    let outcome = crate::base::panics::guarded(|| progress(done, all));
    answer.stopped = outcome.unwrap_or_else(|_| Err(Error::internal("the progress callback panicked"))).err();
    u32::from(answer.stopped.is_none())
}

/// Calls a function of the table, and turns its status into an error.
fn call<'a>(
    mut answer: Answer<'a>,
    cancelled: Option<&std::sync::atomic::AtomicBool>,
    function: impl FnOnce(*const Caller) -> u32,
) -> Result<Answer<'a>> {
    let caller = Caller {
        context: (&raw mut answer).cast(),
        floats,
        tokens,
        text,
        stage,
        progress,
        cancelled: cancelled.map_or(std::ptr::null(), std::ptr::from_ref),
    };
    let status = function(&caller);
    if status == Status::Ok as u32 {
        return Ok(answer);
    }
    if let Some(error) = answer.stopped {
        return Err(error);
    }
    Err(Error::new(Status::from_u32(status).unwrap_or(Status::Internal), answer.text))
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::internal(format!("the provider's answer: {error}")))
}

pub fn devices(table: &'static Table, device: Device) -> Result<Vec<DeviceInfo>> {
    // SAFETY: the table's contract.
    let answer = call(Answer::default(), None, |caller| unsafe { (table.devices)(device as u32, caller) })?;
    let info = |entry: DeviceEntry| {
        let DeviceEntry { device, index, name, memory_total, memory_free } = entry;
        Some(DeviceInfo { device: Device::from_u32(device)?, index, name, memory_total, memory_free })
    };
    Ok(parsed::<Vec<DeviceEntry>>(&answer.text)?.into_iter().filter_map(info).collect())
}

pub fn load(
    table: &'static Table,
    place: &Place,
    directory: &Path,
    progress: Progress<'_>,
    cancellation: Option<&Cancellation>,
) -> Result<Placed> {
    let request = Request {
        path: directory.to_path_buf(),
        device: place.device as u32,
        index: place.index,
        precision: place.precision as u32,
        memory_limit: place.limit.bytes,
        tokenizer: place.limit.tokenizer,
        threads: place.limit.threads,
    };
    let unreadable = |error| Error::invalid_argument(format!("{}: {error}", directory.display()));
    let request = serde_json::to_vec(&request).map_err(unreadable)?;
    let mut network = null_mut();
    let answer = Answer { progress: Some(progress), ..Answer::default() };
    let answer = call(answer, cancellation.map(Cancellation::flag), |caller| {
        // SAFETY: the table's contract.
        unsafe { (table.load)(Slice::of(&request), &mut network, caller) }
    })?;
    let mut remote = Remote { table, network, description: None };
    let description: Description = parsed(&answer.text)?;
    let precision = Precision::from_u32(description.precision)
        .ok_or_else(|| Error::internal("the provider runs an unknown precision"))?;
    let (weight_bytes, budget) = (description.weight_bytes, Arc::new(Budget::new(description.budget)));
    remote.description = Some(description);
    Ok(Placed { network: Box::new(remote), precision, weight_bytes, budget })
}

/// A network in a provider, freed with this.
struct Remote {
    table: &'static Table,
    network: *mut c_void,
    description: Option<Description>,
}

// SAFETY: the provider's networks, like ours, may be used from any thread at any time.
unsafe impl Send for Remote {}
// SAFETY: as above.
unsafe impl Sync for Remote {}

impl Drop for Remote {
    fn drop(&mut self) {
        // SAFETY: it came from this table, and nobody else has it.
        unsafe { (self.table.network_free)(self.network) }
    }
}

/// A sequence of a provider's.
struct Held {
    table: &'static Table,
    sequence: *mut c_void,
}

// SAFETY: the provider's sequences are ours, which are Send.
unsafe impl Send for Held {}
// SAFETY: and Sync.
unsafe impl Sync for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: it came from this table, and nobody else has it.
        unsafe { (self.table.sequence_free)(self.sequence) }
    }
}

impl SequenceState for Held {
    fn fork(&self) -> Box<dyn SequenceState> {
        // SAFETY: the sequence is alive.
        let sequence = unsafe { (self.table.sequence_fork)(self.sequence) };
        assert!(!sequence.is_null(), "the provider could not copy a sequence");
        Box::new(Self { table: self.table, sequence })
    }

    fn length(&self) -> usize {
        // SAFETY: the sequence is alive.
        unsafe { (self.table.sequence_length)(self.sequence) }
    }

    fn truncate(&mut self, length: usize) {
        // SAFETY: the sequence is alive, and nobody else uses it.
        unsafe { (self.table.sequence_truncate)(self.sequence, length) }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Remote {
    fn call<'a>(&self, call: Call<'a>, function: impl FnOnce(*const Caller) -> u32) -> Result<Answer<'a>> {
        let answer = Answer { counters: Some(call.counters), ..Answer::default() };
        self::call(answer, call.cancelled, function)
    }

    fn held(&self, sequence: *mut c_void) -> Sequence {
        Sequence::new(Box::new(Held { table: self.table, sequence }))
    }
}

fn view(pass: &Batch) -> PassView {
    PassView {
        starts: Slice::of(pass.layout.starts()),
        ids: Slice::of(pass.ids),
        type_ids: Slice::of(pass.type_ids),
        positions: Slice::of(&pass.positions),
    }
}

impl Network for Remote {
    fn encode(&self, pass: &Batch, output: &Output, call: Call<'_>) -> Result<Vec<f32>> {
        let (t, view) = (self.table, view(pass));
        let poolings: Vec<u32> = output.poolings.iter().map(|&pooling| pooling as u32).collect();
        let (layers, texts) = match output.layers {
            // Graphs do not run in providers.
            Layers::None | Layers::Graph => (LAYERS_NONE, 0),
            Layers::Head => (LAYERS_HEAD, 0),
            Layers::Modules { texts } => (LAYERS_MODULES, texts),
        };
        let output = OutputView { poolings: Slice::of(&poolings), skip: output.skip, layers, texts };
        // SAFETY: the table's contract.
        let run = |caller| unsafe { (t.encode)(self.network, &view, &output, caller) };
        Ok(self.call(call, run)?.floats)
    }

    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        let (t, view) = (self.table, view(pass));
        let mut sequences = vec![null_mut(); pass.layout.sequences()];
        // SAFETY: the table's contract; there is room for a sequence each.
        self.call(call, |caller| unsafe { (t.read_sources)(self.network, &view, sequences.as_mut_ptr(), caller) })?;
        Ok(sequences.into_iter().map(|sequence| self.held(sequence)).collect())
    }

    fn sequence(&self) -> Result<Sequence> {
        let (t, mut sequence) = (self.table, null_mut());
        // SAFETY: the table's contract.
        call(Answer::default(), None, |caller| unsafe { (t.sequence)(self.network, &mut sequence, caller) })?;
        Ok(self.held(sequence))
    }

    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        output.begin(feeds, self.description.as_ref().map_or(0, |description| description.vocabulary));
        output.fill();
        let mut views = Vec::with_capacity(feeds.len());
        for feed in feeds {
            let held = feed.sequence.state().as_any().downcast_mut::<Held>();
            let held = held.ok_or_else(|| Error::invalid_argument("a sequence of another model's"))?;
            let (want, k, forbidden) = match feed.want {
                Want::None => (WANT_NOTHING, 0, [].as_slice()),
                Want::Logits => (WANT_LOGITS, 0, [].as_slice()),
                Want::Token { forbidden } => (WANT_TOKEN, 0, forbidden),
                Want::TopK { k, forbidden } => (WANT_TOP_K, k, forbidden),
            };
            let (ids, forbidden) = (Slice::of(feed.ids), Slice::of(forbidden));
            let cancelled = feed.cancelled.map_or(std::ptr::null(), std::ptr::from_ref);
            views.push(FeedView { sequence: held.sequence, ids, last: feed.last, want, k, forbidden, cancelled });
        }
        // SAFETY: the table's contract; feeds have sequences of their own.
        let run = |caller| unsafe { (self.table.step)(self.network, Slice::of(&views), caller) };
        let Answer { floats, tokens, .. } = self.call(call, run)?;
        let wrong = || Error::internal("the provider's answer to a step is too short");
        let (cancelled, mut tokens) = tokens.split_at_checked(views.len()).ok_or_else(wrong)?;
        cancelled.iter().enumerate().filter(|(_, flag)| **flag != 0).for_each(|(feed, _)| output.cancel(feed, 0));
        let mut floats = floats.as_slice();
        for list in 0..output.lists() {
            match output.list(list) {
                List::Logits(out) => {
                    let found = floats.split_off(..out.len()).ok_or_else(wrong)?;
                    out.copy_from_slice(found);
                }
                List::Tokens(_, out) => {
                    let found = tokens.split_off(..out.len()).ok_or_else(wrong)?;
                    let found = found.iter().map(|&token| (token != NO_TOKEN).then_some(token));
                    out.iter_mut().zip(found).for_each(|(to, token)| *to = token);
                }
                List::TopK(_, out) => {
                    let totals = floats.split_off(..out.totals.len()).ok_or_else(wrong)?;
                    out.totals.copy_from_slice(totals);
                    let values = floats.split_off(..out.tokens.len()).ok_or_else(wrong)?;
                    let found = tokens.split_off(..out.tokens.len()).ok_or_else(wrong)?;
                    let found = values.iter().copied().zip(found.iter().copied());
                    out.tokens.iter_mut().zip(found).for_each(|(to, found)| *to = found);
                }
            }
        }
        Ok(())
    }

    fn switch(&self) -> Option<usize> {
        self.description.as_ref()?.switch
    }

    fn describe(&self) -> String {
        self.description.as_ref().map_or_else(String::new, |description| description.kernels.clone())
    }

    fn info(&self) -> serde_json::Value {
        self.description.as_ref().map_or_else(Default::default, |description| description.info.clone())
    }

    fn pass_tokens(&self) -> usize {
        self.description.as_ref().map_or(crate::backend::PASS_TOKENS, |description| description.pass_tokens)
    }

    fn cache_bytes(&self) -> u64 {
        // SAFETY: the network is alive.
        unsafe { (self.table.cache_bytes)(self.network) }
    }
}
