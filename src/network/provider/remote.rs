//! The host's side: a network in a provider.

use std::any::Any;
use std::ffi::c_void;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::backend::LogitRows;
use crate::base::call::{Call, Cancellation};
use crate::base::counters::{Counters, Stage, StageTotals};
use crate::base::error::{Error, Result, Status};
use crate::base::memory::Budget;
use crate::network::placement::{LoadedNetwork, Placement, Progress};
use crate::network::{Feed, Network, Sequence, SequenceState, StepOutput, Want};
use crate::spec::{
    Batch, Device, DeviceInfo, EncodeOutput, Layers, Modules, Precision, RotarySwitch, SparsePooling, Spec,
    VocabularyRows,
};

use super::serve::{Description, DeviceEntry, Request, to_text};
use super::table::{
    Caller, FeedView, FunctionTable, LAYERS_HEAD, LAYERS_MASKS, LAYERS_MODULES, LAYERS_NONE, LAYERS_SPARSE, NO_TOKEN,
    OutputView, PassView, Slice, WANT_LOGITS, WANT_NOTHING, WANT_TOKEN, WANT_TOP_K,
};

/// What a call sends back.
#[derive(Default)]
struct Received<'a> {
    floats: Vec<f32>,
    tokens: Vec<u32>,
    text: String,
    counters: Option<&'a Counters>,
    progress: Option<Progress<'a>>,
    /// The error of the host's progress callback, which stopped the load.
    stopped: Option<Error>,
}

/// # Safety
/// `context` is the [`Received`] of the running call.
unsafe fn received<'a>(context: *mut c_void) -> &'a mut Received<'a> {
    // SAFETY: the caller's promise.
    unsafe { &mut *context.cast() }
}

unsafe extern "C" fn floats(context: *mut c_void, values: Slice<f32>) {
    // SAFETY: the provider passes the context, and values that live during the call.
    unsafe { received(context).floats.extend_from_slice(values.get()) }
}

unsafe extern "C" fn tokens(context: *mut c_void, values: Slice<u32>) {
    // SAFETY: as in `floats`.
    unsafe { received(context).tokens.extend_from_slice(values.get()) }
}

unsafe extern "C" fn text(context: *mut c_void, text: Slice<u8>) {
    // SAFETY: as in `floats`.
    unsafe { received(context).text = String::from_utf8_lossy(text.get()).into_owned() }
}

unsafe extern "C" fn stage(context: *mut c_void, figures: Slice<u64>) {
    // SAFETY: as in `floats`.
    let (counters, figures) = unsafe { (received(context).counters, figures.get()) };
    if let (Some(counters), &[stage, calls, items, tokens, nanoseconds]) = (counters, figures)
        && let Some(stage) = u32::try_from(stage).ok().and_then(Stage::from_u32)
    {
        counters.put(stage, StageTotals { calls, items, tokens, nanoseconds });
    }
}

unsafe extern "C" fn progress(context: *mut c_void, done: usize, all: usize) -> u32 {
    // SAFETY: as in `floats`.
    let received = unsafe { received(context) };
    let Some(progress) = &mut received.progress else { return 1 };
    // A panic must not cross into the provider.
    let outcome = crate::base::panics::guarded(|| progress(done, all));
    received.stopped = outcome.unwrap_or_else(|_| Err(Error::internal("the progress callback panicked"))).err();
    u32::from(received.stopped.is_none())
}

/// Calls a function of the table and converts its status to an error.
fn call<'a>(
    mut received: Received<'a>,
    cancelled: Option<&std::sync::atomic::AtomicBool>,
    function: impl FnOnce(*const Caller) -> u32,
) -> Result<Received<'a>> {
    let caller = Caller {
        context: (&raw mut received).cast(),
        floats,
        tokens,
        text,
        stage,
        progress,
        cancelled: cancelled.map_or(std::ptr::null(), std::ptr::from_ref),
    };
    let status = function(&caller);
    if status == Status::Ok as u32 {
        return Ok(received);
    }
    if let Some(error) = received.stopped {
        return Err(error);
    }
    Err(Error::new(Status::from_u32(status).unwrap_or(Status::Internal), received.text))
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::internal(format!("the provider's JSON: {error}")))
}

pub fn devices(table: &'static FunctionTable, device: Device) -> Result<Vec<DeviceInfo>> {
    // SAFETY: the table's contract.
    let received = call(Received::default(), None, |caller| unsafe { (table.devices)(device as u32, caller) })?;
    let info = |entry: DeviceEntry| {
        let DeviceEntry { device, index, name, memory_total, memory_free } = entry;
        Some(DeviceInfo { device: Device::from_u32(device)?, index, name, memory_total, memory_free })
    };
    Ok(parsed::<Vec<DeviceEntry>>(&received.text)?.into_iter().filter_map(info).collect())
}

pub fn load(
    table: &'static FunctionTable,
    place: &Placement,
    directory: &Path,
    spec: &Spec,
    modules: &Modules,
    progress: Progress<'_>,
    cancellation: Option<&Cancellation>,
) -> Result<LoadedNetwork> {
    let request = Request {
        path: directory.to_path_buf(),
        device: place.device as u32,
        index: place.index,
        precision: place.precision as u32,
        read: place.read,
        memory_limit: place.limit.bytes,
        tokenizer: place.limit.tokenizer,
        threads: place.limit.threads,
        spec: to_text(spec, modules),
    };
    let unreadable = |error| Error::invalid_argument(format!("{}: {error}", directory.display()));
    let request = serde_json::to_vec(&request).map_err(unreadable)?;
    let mut network = null_mut();
    let received = Received { progress: Some(progress), ..Received::default() };
    let received = call(received, cancellation.map(Cancellation::flag), |caller| {
        // SAFETY: the table's contract.
        unsafe { (table.load)(Slice::of(&request), &mut network, caller) }
    })?;
    let mut remote = Remote { table, network, vocabulary: spec.vocabulary, description: None };
    let description: Description = parsed(&received.text)?;
    let precision = Precision::from_u32(description.precision)
        .ok_or_else(|| Error::internal("the provider has an unknown precision"))?;
    let (weight_bytes, budget) = (description.weight_bytes, Arc::new(Budget::new(description.budget)));
    remote.description = Some(description);
    Ok(LoadedNetwork { network: Box::new(remote), precision, weight_bytes, budget })
}

/// A network in a provider. It is freed on drop.
struct Remote {
    table: &'static FunctionTable,
    network: *mut c_void,
    vocabulary: usize,
    description: Option<Description>,
}

// SAFETY: networks are Send and Sync on both sides.
unsafe impl Send for Remote {}
// SAFETY: as above.
unsafe impl Sync for Remote {}

impl Drop for Remote {
    fn drop(&mut self) {
        // SAFETY: it comes from this table and is not shared.
        unsafe { (self.table.network_free)(self.network) }
    }
}

/// A sequence in a provider.
struct RemoteSequence {
    table: &'static FunctionTable,
    sequence: *mut c_void,
}

// SAFETY: sequences are Send on both sides.
unsafe impl Send for RemoteSequence {}
// SAFETY: and Sync.
unsafe impl Sync for RemoteSequence {}

impl Drop for RemoteSequence {
    fn drop(&mut self) {
        // SAFETY: it comes from this table and is not shared.
        unsafe { (self.table.sequence_free)(self.sequence) }
    }
}

impl SequenceState for RemoteSequence {
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
        // SAFETY: the sequence is alive and borrowed mutably.
        unsafe { (self.table.sequence_truncate)(self.sequence, length) }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Remote {
    fn call<'a>(&self, call: Call<'a>, function: impl FnOnce(*const Caller) -> u32) -> Result<Received<'a>> {
        let received = Received { counters: Some(call.counters), ..Received::default() };
        self::call(received, call.cancelled, function)
    }

    fn own(&self, sequence: *mut c_void) -> Sequence {
        Sequence::new(Box::new(RemoteSequence { table: self.table, sequence }))
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
    fn encode(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        let (t, view) = (self.table, view(pass));
        let poolings: Vec<u32> = output.poolings.iter().map(|&pooling| pooling as u32).collect();
        let (mut texts, mut mask, mut sparse) = (0, 0, SparsePooling::default());
        let layers = match output.layers {
            // Graphs do not run in providers.
            Layers::None | Layers::Graph => LAYERS_NONE,
            Layers::Head => LAYERS_HEAD,
            Layers::Modules { texts: count } => {
                texts = count;
                LAYERS_MODULES
            }
            Layers::Vocabulary(VocabularyRows::Masks(id)) => {
                mask = id;
                LAYERS_MASKS
            }
            Layers::Vocabulary(VocabularyRows::Texts(pooling)) => {
                sparse = pooling;
                LAYERS_SPARSE
            }
        };
        let (poolings, SparsePooling { sum, twice }) = (Slice::of(&poolings), sparse);
        let output = OutputView { poolings, skip: output.skip, layers, texts, mask, sum, twice };
        // SAFETY: the table's contract.
        let run = |caller| unsafe { (t.encode)(self.network, &view, &output, caller) };
        Ok(self.call(call, run)?.floats)
    }

    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        let (t, view) = (self.table, view(pass));
        let mut sequences = vec![null_mut(); pass.layout.sequences()];
        // SAFETY: the table's contract; there is space for one sequence per text.
        self.call(call, |caller| unsafe { (t.read_sources)(self.network, &view, sequences.as_mut_ptr(), caller) })?;
        Ok(sequences.into_iter().map(|sequence| self.own(sequence)).collect())
    }

    fn sequence(&self) -> Result<Sequence> {
        let (t, mut sequence) = (self.table, null_mut());
        // SAFETY: the table's contract.
        call(Received::default(), None, |caller| unsafe { (t.sequence)(self.network, &mut sequence, caller) })?;
        Ok(self.own(sequence))
    }

    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        output.begin(feeds, self.vocabulary);
        output.fill();
        let mut views = Vec::with_capacity(feeds.len());
        for feed in feeds {
            let sequence = feed.sequence.state().as_any().downcast_mut::<RemoteSequence>();
            let sequence = sequence.ok_or_else(|| Error::invalid_argument("a sequence of another model"))?;
            let (want, k, forbidden) = match feed.want {
                Want::None => (WANT_NOTHING, 0, [].as_slice()),
                Want::Logits => (WANT_LOGITS, 0, [].as_slice()),
                Want::Token { forbidden } => (WANT_TOKEN, 0, forbidden),
                Want::TopK { k, forbidden } => (WANT_TOP_K, k, forbidden),
            };
            let (ids, forbidden) = (Slice::of(feed.ids), Slice::of(forbidden));
            let cancelled = feed.cancelled.map_or(std::ptr::null(), std::ptr::from_ref);
            views.push(FeedView { sequence: sequence.sequence, ids, last: feed.last, want, k, forbidden, cancelled });
        }
        // SAFETY: the table's contract; no two feeds have the same sequence.
        let run = |caller| unsafe { (self.table.step)(self.network, Slice::of(&views), caller) };
        let Received { floats, tokens, .. } = self.call(call, run)?;
        let wrong = || Error::internal("the provider returned too few values for a step");
        let (cancelled, mut tokens) = tokens.split_at_checked(views.len()).ok_or_else(wrong)?;
        cancelled.iter().enumerate().filter(|(_, flag)| **flag != 0).for_each(|(feed, _)| output.cancel(feed, 0));
        let mut floats = floats.as_slice();
        for list in 0..output.lists() {
            match output.list(list) {
                LogitRows::Logits(out) => {
                    let found = floats.split_off(..out.len()).ok_or_else(wrong)?;
                    out.copy_from_slice(found);
                }
                LogitRows::Tokens(_, out) => {
                    let found = tokens.split_off(..out.len()).ok_or_else(wrong)?;
                    let found = found.iter().map(|&token| (token != NO_TOKEN).then_some(token));
                    out.iter_mut().zip(found).for_each(|(to, token)| *to = token);
                }
                LogitRows::TopK(_, out) => {
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

    fn rotary_switch(&self) -> Option<RotarySwitch> {
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
