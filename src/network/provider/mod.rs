//! Devices whose system libraries may be missing run in a separate shared library, the provider, which is opened on first use. So one
//! `libkinglet.so` runs with or without a GPU, as in ONNX Runtime and ggml.
//!
//! A provider is a second build of this crate. Only the trait `Network` crosses the boundary, as a table of C functions: tokens in, rows
//! of numbers out. Tokenising, batching, generation and tasks stay in the library that the program links. Both must be of the same
//! version, which is checked, so the table may change with every release.

mod library;
mod remote;
mod serve;
mod table;
#[cfg(test)]
mod tests;

pub use table::FunctionTable;

use std::path::Path;

use crate::base::call::Cancellation;
use crate::base::error::Result;
use crate::base::log::Log;
use crate::network::placement::{LoadedNetwork, Placement, Progress};
use crate::spec::{Device, DeviceInfo, Modules, Spec};

/// The function table of this build, which a provider exports.
pub fn table() -> &'static FunctionTable {
    &serve::TABLE
}

/// Loads a network in the provider. It reads the files again and refuses them if their Spec or modules differ from the host's.
pub(crate) fn load(
    place: &Placement,
    directory: &Path,
    spec: &Spec,
    modules: &Modules,
    progress: Progress<'_>,
    cancellation: Option<&Cancellation>,
    log: &Log,
) -> Result<LoadedNetwork> {
    remote::load(library::open(place.device, log)?, place, directory, spec, modules, progress, cancellation)
}

/// The GPUs that the provider of a kind of device finds, or why there are none.
pub(crate) fn devices(device: Device) -> Result<Vec<DeviceInfo>> {
    remote::devices(library::open(device, &Log::default())?, device)
}

pub(crate) use library::is_named;
