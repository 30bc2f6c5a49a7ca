//! The provider's side: the functions of the table.

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::backend::LogitRows;
use crate::base::call::Call;
use crate::base::counters::Counters;
use crate::base::error::{Error, Result, Status};
use crate::base::panics::{describe, guarded};
use crate::base::threads::Pool;
use crate::families;
use crate::formats::packed::Opening;
use crate::formats::source::Source;
use crate::network::placement::{Limit, LoadedNetwork, Placement};
use crate::network::transformer::weights::ModelView;
use crate::network::{Feed, Network, Sequence, StepOutput, Want};
use crate::spec::{
    Batch, Device, DeviceInfo, EncodeOutput, Layers, Layout, Modules, Pooling, Precision, RotarySwitch, SparsePooling,
    Spec, VocabularyRows,
};

use super::table::{
    Caller, FeedView, FunctionTable, LAYERS_HEAD, LAYERS_MASKS, LAYERS_MODULES, LAYERS_NONE, LAYERS_SPARSE, NO_TOKEN,
    OutputView, PassView, Slice, VERSION, WANT_LOGITS, WANT_NOTHING, WANT_TOKEN, WANT_TOP_K,
};

pub static TABLE: FunctionTable = FunctionTable {
    version: VERSION,
    build: BUILD,
    devices,
    load,
    network_free,
    encode,
    read_sources,
    sequence,
    step,
    cache_bytes,
    sequence_fork,
    sequence_length,
    sequence_truncate,
    sequence_free,
};

const BUILD: Slice<u8> = Slice::of(env!("CARGO_PKG_VERSION").as_bytes());

/// The arguments of `load`.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub path: PathBuf,
    pub device: u32,
    pub index: usize,
    pub precision: u32,
    pub memory_limit: u64,
    pub tokenizer: u64,
    pub threads: usize,
    /// As [`LoadOptions::map_files`](crate::LoadOptions), No.
    pub read: bool,
    /// The host's Spec in the format `{:#?}`.
    pub spec: String,
}

/// The result of `load`.
#[derive(Serialize, Deserialize)]
pub struct Description {
    pub precision: u32,
    pub kernels: String,
    pub weight_bytes: u64,
    pub budget: u64,
    pub pass_tokens: usize,
    pub switch: Option<RotarySwitch>,
    pub info: serde_json::Value,
}

/// A [`DeviceInfo`] in JSON.
#[derive(Serialize, Deserialize)]
pub struct DeviceEntry {
    pub device: u32,
    pub index: usize,
    pub name: String,
    pub memory_total: u64,
    pub memory_free: u64,
}

struct Served {
    network: Box<dyn Network>,
    /// Sent to the host after each call.
    counters: Counters,
}

impl Caller {
    fn send_text(&self, text: &str) {
        // SAFETY: the text lives during the call.
        unsafe { (self.text)(self.context, Slice::of(text.as_bytes())) }
    }
}

/// Runs `work` and sends the message of its error.
///
/// # Safety
/// `caller` is valid.
unsafe fn respond(caller: *const Caller, work: impl FnOnce(&Caller) -> Result<()>) -> u32 {
    // SAFETY: the caller's promise.
    let caller = unsafe { &*caller };
    let error = match guarded(|| work(caller)) {
        Ok(Ok(())) => return Status::Ok as u32,
        Ok(Err(error)) => error,
        Err(payload) => Error::new(Status::Panic, describe(&*payload)),
    };
    caller.send_text(error.message());
    error.status() as u32
}

/// Runs a call on a network and sends its counters.
///
/// # Safety
/// `network` and `caller` are valid.
unsafe fn run(
    network: *const c_void,
    caller: *const Caller,
    work: impl FnOnce(&dyn Network, Call<'_>, &Caller) -> Result<()>,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        respond(caller, |caller| {
            let served = &*network.cast::<Served>();
            let call = Call { cancelled: caller.cancelled.as_ref(), ..Call::new(&served.counters) };
            let result = work(&*served.network, call, caller);
            served.counters.take(|stage, t| {
                (caller.stage)(caller.context, Slice::of(&[stage as u64, t.calls, t.items, t.tokens, t.nanoseconds]));
            });
            result
        })
    }
}

unsafe extern "C" fn devices(device: u32, caller: *const Caller) -> u32 {
    let work = |caller: &Caller| {
        let all = match Device::from_u32(device) {
            #[cfg(feature = "candle")]
            Some(device) => crate::backend::candle::devices(device)?,
            _ => Vec::new(),
        };
        let entry = |info: DeviceInfo| {
            let DeviceInfo { device, index, name, memory_total, memory_free } = info;
            DeviceEntry { device: device as u32, index, name, memory_total, memory_free }
        };
        caller.send_text(&to_json(&all.into_iter().map(entry).collect::<Vec<_>>())?);
        Ok(())
    };
    // SAFETY: the host's promise.
    unsafe { respond(caller, work) }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}

unsafe extern "C" fn load(request: Slice<u8>, network: *mut *mut c_void, caller: *const Caller) -> u32 {
    let work = |caller: &Caller| {
        // SAFETY: the request lives during the call.
        let request: Request = serde_json::from_slice(unsafe { request.get() })
            .map_err(|error| Error::internal(format!("the request's JSON: {error}")))?;
        let unknown = || Error::internal("a request for an unknown device or precision");
        let place = Placement {
            device: Device::from_u32(request.device).ok_or_else(unknown)?,
            index: request.index,
            precision: Precision::from_u32(request.precision).ok_or_else(unknown)?,
            packed: None,
            read: request.read,
            limit: Limit { bytes: request.memory_limit, tokenizer: request.tokenizer, threads: request.threads },
        };
        let mut progress = |done: usize, all: usize| {
            // SAFETY: callbacks may be called until `load` returns.
            let proceed = unsafe { (caller.progress)(caller.context, done, all) };
            if proceed == 0 { Err(Error::cancelled()) } else { Ok(()) }
        };
        let (placed, description) = open(&request, place, &mut progress)?;
        caller.send_text(&to_json(&description)?);
        let served = Box::new(Served { network: placed.network, counters: Counters::default() });
        // SAFETY: `network` points to a pointer of the host.
        unsafe { network.write(Box::into_raw(served).cast()) };
        Ok(())
    };
    // SAFETY: the host's promise.
    unsafe { respond(caller, work) }
}

fn open(
    request: &Request,
    place: Placement,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<(LoadedNetwork, Description)> {
    if !place.is_here() {
        let name = place.device.name();
        return Err(Error::unsupported(format!("device {name}: this provider was not built for it; use device cpu")));
    }
    let Source { files, weights, precision: packed, .. } =
        Source::open(&request.path, Opening { read: request.read, ..Opening::default() })?;
    let config = files.require_config("config.json")?;
    let mut spec = families::spec(&config)?;
    let modules = families::sentence_transformers(&files, &config, spec.hidden())?.known_modules();
    let view = ModelView::find(&spec, &weights)?;
    view.settle(&mut spec);
    check_equal(&request.spec, &to_text(&spec, &modules))?;
    let mut view = view.with_modules(&modules, &weights)?;
    let pool = Arc::new(Pool::new(1));
    let placed = Placement { packed, ..place }.load(&request.path, &spec, &mut view, &pool, None, progress)?;
    let description = Description {
        precision: placed.precision as u32,
        kernels: placed.network.describe(),
        weight_bytes: placed.weight_bytes,
        budget: placed.budget.limit(),
        pass_tokens: placed.network.pass_tokens(),
        switch: placed.network.rotary_switch(),
        info: placed.network.info(),
    };
    Ok((placed, description))
}

/// A Spec and the modules after it, one field per line.
pub fn to_text(spec: &Spec, modules: &Modules) -> String {
    format!("{spec:#?}\n{modules:#?}")
}

/// Refuses a Spec that differs from the host's, by the first different field. The host's tasks and generation rely on theirs.
fn check_equal(host: &str, own: &str) -> Result<()> {
    let mut fields: Vec<&str> = Vec::new();
    for (host, own) in host.lines().zip(own.lines()) {
        // A level is four spaces; lines without a name open a value or are items of a list.
        let (text, level) = (own.trim_start(), (own.len() - own.trim_start().len()) / 4);
        fields.resize(level + 1, "");
        // The end of a list belongs to the field that opened it.
        if !text.starts_with([']', '}', ')']) {
            fields[level] = text.split_once(": ").map_or("", |(name, _)| name);
        }
        if host != own {
            let field = fields.iter().filter(|field| !field.is_empty()).copied().collect::<Vec<_>>().join(".");
            return Err(Error::unsupported(format!(
                "the model's specification: {field}: the host has `{}` and the provider `{}`; did the files change?",
                host.trim_matches([' ', ',']),
                text.trim_end_matches(',')
            )));
        }
    }
    Ok(())
}

unsafe extern "C" fn network_free(network: *mut c_void) {
    // SAFETY: `network` is from `load` and is not used afterwards.
    let _ = guarded(|| drop(unsafe { Box::from_raw(network.cast::<Served>()) }));
}

/// # Safety
/// The pass lives for `'a`.
unsafe fn pass<'a>(view: *const PassView) -> Batch<'a> {
    // SAFETY: the caller's promise.
    unsafe {
        let PassView { starts, ids, type_ids, positions } = &*view;
        Batch {
            layout: Layout::new(starts.get().to_vec()),
            ids: ids.get(),
            type_ids: type_ids.get(),
            positions: positions.get().to_vec(),
        }
    }
}

/// # Safety
/// The view is a live one.
unsafe fn output(view: &OutputView) -> Result<EncodeOutput> {
    let unknown = || Error::internal("an output that is not known");
    // SAFETY: the caller's promise.
    let poolings = unsafe { view.poolings.get() }.iter().map(|&pooling| Pooling::from_u32(pooling));
    Ok(EncodeOutput {
        poolings: poolings.collect::<Option<_>>().ok_or_else(unknown)?,
        skip: view.skip,
        layers: match view.layers {
            LAYERS_NONE => Layers::None,
            LAYERS_HEAD => Layers::Head,
            LAYERS_MODULES => Layers::Modules { texts: view.texts },
            LAYERS_MASKS => Layers::Vocabulary(VocabularyRows::Masks(view.mask)),
            LAYERS_SPARSE => {
                Layers::Vocabulary(VocabularyRows::Texts(SparsePooling { sum: view.sum, twice: view.twice }))
            }
            _ => return Err(unknown()),
        },
    })
}

unsafe extern "C" fn encode(
    network: *const c_void,
    view: *const PassView,
    output: *const OutputView,
    caller: *const Caller,
) -> u32 {
    // SAFETY: the host's promise, for all that follows.
    unsafe {
        run(network, caller, |network, call, caller| {
            let values = network.encode(&pass(view), &self::output(&*output)?, call)?;
            (caller.floats)(caller.context, Slice::of(&values));
            Ok(())
        })
    }
}

fn into_raw(sequence: Sequence) -> *mut c_void {
    Box::into_raw(Box::new(sequence)).cast()
}

unsafe extern "C" fn read_sources(
    network: *const c_void,
    view: *const PassView,
    sequences: *mut *mut c_void,
    caller: *const Caller,
) -> u32 {
    // SAFETY: the host's promise, for all that follows.
    unsafe {
        run(network, caller, |network, call, _| {
            for (i, sequence) in network.read_sources(&pass(view), call)?.into_iter().enumerate() {
                sequences.add(i).write(into_raw(sequence));
            }
            Ok(())
        })
    }
}

unsafe extern "C" fn sequence(network: *const c_void, sequence: *mut *mut c_void, caller: *const Caller) -> u32 {
    // SAFETY: the host's promise, for all that follows.
    unsafe {
        run(network, caller, |network, _, _| {
            sequence.write(into_raw(network.sequence()?));
            Ok(())
        })
    }
}

/// # Safety
/// The feeds live for `'a`, and no two have the same sequence.
unsafe fn feeds<'a>(views: Slice<FeedView>) -> Result<Vec<Feed<'a>>> {
    // SAFETY: the caller's promise.
    let feed = |view: &FeedView| unsafe {
        let forbidden = view.forbidden.get();
        Ok(Feed {
            sequence: &mut *view.sequence.cast::<Sequence>(),
            ids: view.ids.get(),
            last: view.last,
            want: match view.want {
                WANT_NOTHING => Want::None,
                WANT_LOGITS => Want::Logits,
                WANT_TOKEN => Want::Token { forbidden },
                WANT_TOP_K => Want::TopK { k: view.k, forbidden },
                _ => return Err(Error::internal("a feed with an unknown want")),
            },
            cancelled: view.cancelled.as_ref(),
        })
    };
    // SAFETY: as above.
    unsafe { views.get() }.iter().map(feed).collect()
}

unsafe extern "C" fn step(network: *const c_void, views: Slice<FeedView>, caller: *const Caller) -> u32 {
    // SAFETY: the host's promise, for all that follows.
    unsafe {
        run(network, caller, |network, call, caller| {
            let (mut feeds, mut output) = (feeds(views)?, StepOutput::default());
            network.step(&mut feeds, &mut output, call)?;
            let mut tokens: Vec<u32> = (0..feeds.len()).map(|feed| u32::from(output.is_cancelled(feed))).collect();
            let floats = |values: &[f32]| (caller.floats)(caller.context, Slice::of(values));
            for list in 0..output.lists() {
                match output.list(list) {
                    LogitRows::Logits(logits) => floats(logits),
                    LogitRows::Tokens(_, found) => tokens.extend(found.iter().map(|token| token.unwrap_or(NO_TOKEN))),
                    LogitRows::TopK(_, found) => {
                        let (values, places): (Vec<f32>, Vec<u32>) = found.tokens.iter().copied().unzip();
                        floats(&found.totals);
                        floats(&values);
                        tokens.extend(places);
                    }
                }
            }
            (caller.tokens)(caller.context, Slice::of(&tokens));
            Ok(())
        })
    }
}

unsafe extern "C" fn cache_bytes(network: *const c_void) -> u64 {
    // SAFETY: the host's promise.
    guarded(|| unsafe { &*network.cast::<Served>() }.network.cache_bytes()).unwrap_or(0)
}

unsafe extern "C" fn sequence_fork(sequence: *const c_void) -> *mut c_void {
    // SAFETY: the host's promise.
    guarded(|| into_raw(unsafe { &*sequence.cast::<Sequence>() }.clone())).unwrap_or(std::ptr::null_mut())
}

unsafe extern "C" fn sequence_length(sequence: *const c_void) -> usize {
    // SAFETY: the host's promise.
    guarded(|| unsafe { &*sequence.cast::<Sequence>() }.length()).unwrap_or(0)
}

unsafe extern "C" fn sequence_truncate(sequence: *mut c_void, length: usize) {
    // SAFETY: the host's promise; the sequence is not shared.
    let _ = guarded(|| unsafe { &mut *sequence.cast::<Sequence>() }.truncate(length));
}

unsafe extern "C" fn sequence_free(sequence: *mut c_void) {
    // SAFETY: the sequence is from this table and is not used afterwards.
    let _ = guarded(|| drop(unsafe { Box::from_raw(sequence.cast::<Sequence>()) }));
}
