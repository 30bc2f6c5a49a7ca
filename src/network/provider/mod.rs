//! Devices whose libraries may be missing run in a library of their own, the provider, which is opened on first use: so one
//! `libkinglet.so` runs with or without a GPU, as ONNX Runtime and ggml do it.
//!
//! A provider is a second build of this crate, and what crosses is the trait `Network` alone, as a
//! table of C functions: tokens in, rows of numbers out. Tokenising, batching, generation and tasks stay in the one library that the
//! program links; no handle of the C ABI ever belongs to the other. Both are of the same version, which is checked, so that the table
//! may change with every release.

mod library;
mod remote;
mod serve;
mod table;
#[cfg(test)]
mod tests;

pub use table::Table;

use std::path::Path;

use crate::base::call::Cancellation;
use crate::base::error::Result;
use crate::network::placement::{Place, Placed, Progress};
use crate::spec::{Device, DeviceInfo, Spec};

/// What a provider hands out: the functions of this build.
pub fn table() -> &'static Table {
    &serve::TABLE
}

/// Loads a network in the provider, which reads the files again and refuses them if they give another Spec.
pub(crate) fn load(
    place: &Place,
    directory: &Path,
    spec: &Spec,
    progress: Progress<'_>,
    cancellation: Option<&Cancellation>,
) -> Result<Placed> {
    remote::load(library::open(place.device)?, place, directory, spec, progress, cancellation)
}

/// The GPUs that a kind's provider finds, or why there is none.
pub(crate) fn devices(device: Device) -> Result<Vec<DeviceInfo>> {
    remote::devices(library::open(device)?, device)
}

pub(crate) use library::is_named;
