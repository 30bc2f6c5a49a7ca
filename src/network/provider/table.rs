//! The function table of a provider, and the types of its arguments.

use std::ffi::c_void;
use std::sync::atomic::AtomicBool;

/// Changes with the table: FNV-1a (Fowler, Noll, Vo) over the source files that define it.
pub const VERSION: u64 = hash(include_bytes!("table.rs"), hash(include_bytes!("serve.rs"), 0xcbf2_9ce4_8422_2325));

const fn hash(text: &[u8], seed: u64) -> u64 {
    let (mut hash, mut i) = (seed, 0);
    while i < text.len() {
        hash = (hash ^ text[i] as u64).wrapping_mul(0x100_0000_01b3);
        i += 1;
    }
    hash
}

/// A slice that is borrowed for a call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Slice<T> {
    data: *const T,
    length: usize,
}

impl<T> Slice<T> {
    pub const fn of(values: &[T]) -> Self {
        Self { data: values.as_ptr(), length: values.len() }
    }

    /// # Safety
    /// The values live for `'a` and do not change.
    pub unsafe fn get<'a>(self) -> &'a [T] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// Callbacks of a function, called on the caller's thread until it returns.
#[repr(C)]
pub struct Caller {
    pub context: *mut c_void,
    /// Receives results.
    pub floats: unsafe extern "C" fn(context: *mut c_void, values: Slice<f32>),
    pub tokens: unsafe extern "C" fn(context: *mut c_void, values: Slice<u32>),
    /// Receives a result that is text, or the message of an error.
    pub text: unsafe extern "C" fn(context: *mut c_void, text: Slice<u8>),
    /// Receives a stage's number, calls, items, tokens and nanoseconds.
    pub stage: unsafe extern "C" fn(context: *mut c_void, figures: Slice<u64>),
    /// Receives the number of loaded layers and of all layers; returns 0 to stop the load.
    pub progress: unsafe extern "C" fn(context: *mut c_void, done: usize, all: usize) -> u32,
    /// NULL, or the flag that cancels the call. `AtomicBool` is one byte on all platforms.
    pub cancelled: *const AtomicBool,
}

/// A [`Batch`](crate::spec::Batch).
#[repr(C)]
pub struct PassView {
    pub starts: Slice<usize>,
    pub ids: Slice<u32>,
    pub type_ids: Slice<u32>,
    pub positions: Slice<u32>,
}

/// An [`Output`](crate::spec::Output).
#[repr(C)]
pub struct OutputView {
    pub poolings: Slice<u32>,
    pub skip: usize,
    /// One of `LAYERS_…`.
    pub layers: u32,
    /// How many modules of texts.
    pub texts: usize,
    /// With [`LAYERS_MASKS`]: the id of the tokens whose logits are wanted.
    pub mask: u32,
    /// With [`LAYERS_SPARSE`]: whether the weights of a text's tokens are summed, and whether the logarithm is taken twice.
    pub sum: bool,
    pub twice: bool,
}

pub const LAYERS_NONE: u32 = 0;
pub const LAYERS_HEAD: u32 = 1;
pub const LAYERS_MODULES: u32 = 2;
pub const LAYERS_MASKS: u32 = 3;
pub const LAYERS_SPARSE: u32 = 4;

/// A [`Feed`](crate::network::Feed).
#[repr(C)]
pub struct FeedView {
    pub sequence: *mut c_void,
    pub ids: Slice<u32>,
    pub last: usize,
    /// One of `WANT_…`.
    pub want: u32,
    pub k: usize,
    pub forbidden: Slice<u32>,
    /// NULL, or the flag that cancels this feed.
    pub cancelled: *const AtomicBool,
}

pub const WANT_NOTHING: u32 = 0;
pub const WANT_LOGITS: u32 = 1;
pub const WANT_TOKEN: u32 = 2;
pub const WANT_TOP_K: u32 = 3;

/// In a list of tokens: no token.
pub const NO_TOKEN: u32 = u32::MAX;

/// The functions return a status of the C ABI unless stated otherwise. `network` and `sequence` come from functions of the same table.
#[repr(C)]
pub struct FunctionTable {
    pub version: u64,
    /// The crate's version.
    pub build: Slice<u8>,
    /// Sends text: a JSON array of the GPUs of a kind.
    pub devices: unsafe extern "C" fn(device: u32, caller: *const Caller) -> u32,
    /// `request` is a JSON object. Sends text, a JSON object, and writes the network.
    pub load: unsafe extern "C" fn(request: Slice<u8>, network: *mut *mut c_void, caller: *const Caller) -> u32,
    pub network_free: unsafe extern "C" fn(network: *mut c_void),
    /// Sends floats.
    pub encode: unsafe extern "C" fn(
        network: *const c_void,
        pass: *const PassView,
        output: *const OutputView,
        caller: *const Caller,
    ) -> u32,
    /// Writes one sequence per text of the pass.
    pub read_sources: unsafe extern "C" fn(
        network: *const c_void,
        pass: *const PassView,
        sequences: *mut *mut c_void,
        caller: *const Caller,
    ) -> u32,
    pub sequence:
        unsafe extern "C" fn(network: *const c_void, sequence: *mut *mut c_void, caller: *const Caller) -> u32,
    /// Sends as tokens, for each feed, whether it was cancelled, 1 or 0; then, for each list of a
    /// `StepOutput` in order, its logits as floats, or its tokens, or its totals and logits as floats and
    /// its tokens.
    pub step: unsafe extern "C" fn(network: *const c_void, feeds: Slice<FeedView>, caller: *const Caller) -> u32,
    /// Returns the bytes of KV caches.
    pub cache_bytes: unsafe extern "C" fn(network: *const c_void) -> u64,
    /// Returns NULL on failure.
    pub sequence_fork: unsafe extern "C" fn(sequence: *const c_void) -> *mut c_void,
    pub sequence_length: unsafe extern "C" fn(sequence: *const c_void) -> usize,
    pub sequence_truncate: unsafe extern "C" fn(sequence: *mut c_void, length: usize),
    pub sequence_free: unsafe extern "C" fn(sequence: *mut c_void),
}

// SAFETY: `build` points to a constant of the crate.
unsafe impl Sync for FunctionTable {}
