//! Loading a network on its device: resolves the precision, compares the memory limit, converts the weights.

use std::path::Path;
use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::cpu::{Cpu, observe::Observer};
use crate::base::error::{Error, Result};
use crate::base::memory::{Budget, ensure};
use crate::base::threads::Pool;
use crate::formats::tensor::{DType, QuantisedType};
use crate::kernels;
use crate::network::Network;
use crate::network::transformer::Transformer;
use crate::network::transformer::weights::ModelView;
use crate::spec::{Device, Precision, Spec};

/// Called with the number of loaded layers and of all layers; an error stops the load.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> Result<()>;

/// Where and how a network runs.
#[derive(Clone, Copy)]
pub(crate) struct Placement {
    pub device: Device,
    pub index: usize,
    /// The requested precision.
    pub precision: Precision,
    /// The precision of a `.kinglet` file.
    pub packed: Option<Precision>,
    /// A provider reads the files into memory instead of mapping them.
    pub read: bool,
    pub limit: Limit,
}

/// A loaded network.
pub(crate) struct LoadedNetwork {
    pub network: Box<dyn Network>,
    /// Never `Auto`.
    pub precision: Precision,
    pub weight_bytes: u64,
    /// The memory for KV caches.
    pub budget: Arc<Budget>,
}

impl Placement {
    /// Whether this build can run on the device.
    pub fn is_here(&self) -> bool {
        self.device == Device::Cpu || runs_here(self.device)
    }

    /// Converts the weights in this process's build.
    pub fn load(
        &self,
        directory: &Path,
        spec: &Spec,
        view: &mut ModelView,
        pool: &Arc<Pool>,
        observer: Option<Arc<Observer>>,
        progress: Progress<'_>,
    ) -> Result<LoadedNetwork> {
        let stored = view.dtype();
        match self.device {
            Device::Cpu => {
                let kernel = kernels::select().map_err(Error::invalid_argument)?;
                let precision = settle(self.precision, self.packed, stored);
                let backend = Cpu::new(kernel, precision, pool.clone()).observed_by(observer);
                self.transformer(backend, directory, spec, view, progress)
            }
            #[cfg(feature = "candle")]
            device => {
                let precision = settle_on(device, self.precision, self.packed, stored);
                let backend = crate::backend::candle::Candle::open(device, self.index, precision)?;
                self.transformer(backend, directory, spec, view, progress)
            }
            #[cfg(not(feature = "candle"))]
            device => Err(Error::unsupported(format!(
                "device {}: this build does not have the feature candle; use cpu",
                device.name()
            ))),
        }
    }

    fn transformer<B: Backend>(
        &self,
        backend: B,
        directory: &Path,
        spec: &Spec,
        view: &mut ModelView,
        progress: Progress<'_>,
    ) -> Result<LoadedNetwork> {
        let (weight_bytes, budget) = self.limit.check(&backend, view, spec, directory)?;
        let precision = backend.precision();
        let network = Box::new(Transformer::load(backend, spec, view, &budget, progress)?);
        Ok(LoadedNetwork { network, precision, weight_bytes, budget })
    }
}

#[cfg(feature = "candle")]
fn runs_here(device: Device) -> bool {
    crate::backend::candle::runs_on(device)
}

#[cfg(not(feature = "candle"))]
fn runs_here(_: Device) -> bool {
    false
}

/// Resolves `Auto`.
fn settle(asked: Precision, packed: Option<Precision>, stored: Option<DType>) -> Precision {
    match (asked, packed, stored) {
        (Precision::Auto, Some(packed), _) => packed,
        (Precision::Auto, _, stored) => match stored {
            Some(DType::F32) | None => Precision::F32,
            // The same weights: int4 takes these types without loss.
            Some(DType::Q4_0 | DType::Q4_1) => Precision::Int4,
            Some(DType::Quantised(QuantisedType { four_bits: true, .. })) => Precision::Int4,
            Some(DType::F16 | DType::BF16 | DType::Packed(_) | DType::Other(_)) => Precision::F16,
            // Other quantised types: f16 would take twice as much memory to keep more than the file does.
            Some(_) => Precision::Int8,
        },
        (asked, ..) => asked,
    }
}

/// Resolves `Auto` on candle's devices: the CPU device is a reference in f32, and GPUs have bf16 and run quantised files in f16.
#[cfg(feature = "candle")]
fn settle_on(device: Device, asked: Precision, packed: Option<Precision>, stored: Option<DType>) -> Precision {
    match (device, asked, stored) {
        (Device::CandleCpu, Precision::Auto, _) => Precision::F32,
        (_, Precision::Auto, Some(DType::BF16)) => Precision::Bf16,
        _ => match settle(asked, packed, stored) {
            Precision::Int8 | Precision::Int4 if asked == Precision::Auto && packed.is_none() => Precision::F16,
            precision => precision,
        },
    }
}

/// The memory limit of a model, and the memory that is used beside its network.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    /// In bytes; 0 for no limit.
    pub bytes: u64,
    pub tokenizer: u64,
    /// Threads that may run passes at the same time.
    pub threads: usize,
}

impl Limit {
    /// Refuses a model that exceeds the limit before anything is allocated. Returns the size of the weights and the budget that is left
    /// for KV caches.
    fn check<B: Backend>(
        &self,
        backend: &B,
        view: &ModelView,
        spec: &Spec,
        directory: &Path,
    ) -> Result<(u64, Arc<Budget>)> {
        let pass = super::activation_memory::pass_bytes(spec, backend.pass_tokens(), self.threads);
        self.of(view.bytes(backend, spec), pass, backend.precision(), directory)
    }

    /// As `check`, with known sizes.
    pub fn of(&self, weights: u64, pass: u64, precision: Precision, directory: &Path) -> Result<(u64, Arc<Budget>)> {
        let needed = weights.saturating_add(self.tokenizer).saturating_add(pass);
        if self.bytes != 0 && needed > self.bytes {
            let (directory, limit, precision) = (directory.display(), self.bytes, precision.name());
            return Err(Error::out_of_memory(format!(
                "{directory}: needs about {needed} bytes in {precision} ({weights} for weights, {pass} for activations, {} for the \
                 tokenizer); the memory limit is {limit}",
                self.tokenizer
            )));
        }
        ensure(needed, "the model")?;
        let left = if self.bytes == 0 { u64::MAX } else { self.bytes - needed };
        Ok((weights, Arc::new(Budget::new(left))))
    }
}
